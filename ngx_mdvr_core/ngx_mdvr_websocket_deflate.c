/*
 * permessage-deflate, RFC 7692, without context: one deflating and one
 * inflating state per worker, reset for each message.  A message that goes to
 * many sockets is deflated once.
 */

#include "ngx_mdvr_core/ngx_mdvr_websocket_parts.h"

#include <zlib.h>


#define NGX_MDVR_WS_LEVEL    4
#define NGX_MDVR_WS_MEMORY   5          /* 8 KiB to clear for each message */
#define NGX_MDVR_WS_TAIL     4          /* 00 00 ff ff, not sent */
#define NGX_MDVR_WS_BETWEEN  128        /* of data_type: at a block's end */


static z_stream  ngx_mdvr_ws_deflater;
static z_stream  ngx_mdvr_ws_inflater;
static u_char   *ngx_mdvr_ws_packed;
static size_t    ngx_mdvr_ws_packed_size;


static ngx_int_t
ngx_mdvr_ws_deflate_start(size_t len)
{
    z_stream  *z;

    z = &ngx_mdvr_ws_deflater;

    if (z->state == NULL) {
        if (deflateInit2(z, NGX_MDVR_WS_LEVEL, Z_DEFLATED,
                         -NGX_MDVR_WS_WINDOW, NGX_MDVR_WS_MEMORY,
                         Z_DEFAULT_STRATEGY)
            != Z_OK)
        {
            return NGX_ERROR;
        }

    } else {
        (void) deflateReset(z);
    }

    if (ngx_mdvr_ws_packed_size < len) {
        if (ngx_mdvr_ws_packed) {
            ngx_free(ngx_mdvr_ws_packed);
        }

        ngx_mdvr_ws_packed_size = ngx_max(len, 4096);
        ngx_mdvr_ws_packed = ngx_alloc(ngx_mdvr_ws_packed_size,
                                       ngx_cycle->log);

        if (ngx_mdvr_ws_packed == NULL) {
            ngx_mdvr_ws_packed_size = 0;
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


u_char *
ngx_mdvr_ws_deflate(const u_char *p, size_t len, size_t *packed)
{
    z_stream  *z;

    if (len > UINT_MAX / 2 || ngx_mdvr_ws_deflate_start(len) != NGX_OK) {
        return NULL;
    }

    z = &ngx_mdvr_ws_deflater;
    z->next_in = (Bytef *) p;
    z->avail_in = (uInt) len;
    z->next_out = ngx_mdvr_ws_packed;
    z->avail_out = (uInt) len;          /* longer is not wanted */

    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_in
        || z->avail_out == 0)           /* the tail may not be out */
    {
        return NULL;
    }

    *packed = len - z->avail_out - NGX_MDVR_WS_TAIL;

    return ngx_mdvr_ws_packed;
}


/*
 * More than `limit` is never kept: the buffer doubles up to one byte beyond
 * it.
 */

ngx_int_t
ngx_mdvr_ws_inflate(const ngx_str_t *packed, size_t limit, ngx_str_t *msg)
{
    int         rc;
    size_t      size, more;
    u_char     *p;
    z_stream   *z;
    ngx_uint_t  tail, full;

    static u_char  end[NGX_MDVR_WS_TAIL] = { 0, 0, 0xff, 0xff };

    z = &ngx_mdvr_ws_inflater;

    if (z->state == NULL) {
        if (inflateInit2(z, -MAX_WBITS) != Z_OK) {
            return NGX_ERROR;
        }

    } else {
        (void) inflateReset(z);
    }

    size = ngx_min(4 * packed->len + 64, limit + 1);
    msg->len = 0;
    msg->data = ngx_alloc(size, ngx_cycle->log);

    if (msg->data == NULL) {
        return NGX_ERROR;
    }

    z->next_in = packed->data;
    z->avail_in = (uInt) packed->len;
    tail = 0;
    full = 0;

    for ( ;; ) {

        if (z->avail_in == 0 && !full) {
            if (tail) {
                if (z->data_type & NGX_MDVR_WS_BETWEEN) {
                    return NGX_OK;
                }

                ngx_free(msg->data);    /* it ended within a block */
                return NGX_ABORT;
            }

            tail = 1;
            z->next_in = end;
            z->avail_in = NGX_MDVR_WS_TAIL;
        }

        z->next_out = msg->data + msg->len;
        z->avail_out = (uInt) (size - msg->len);

        rc = inflate(z, Z_SYNC_FLUSH);

        msg->len = size - z->avail_out;

        if (rc == Z_STREAM_END) {
            (void) inflateReset(z);     /* a last block: another may follow */

        } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
            ngx_free(msg->data);
            return NGX_ABORT;
        }

        if (msg->len > limit) {
            ngx_free(msg->data);
            return NGX_DECLINED;
        }

        full = (msg->len == size);      /* there may be more of it */

        if (!full) {

            if (rc == Z_BUF_ERROR && z->avail_in) {
                ngx_free(msg->data);
                return NGX_ABORT;
            }

            continue;
        }

        more = ngx_min(2 * size, limit + 1);

        p = ngx_alloc(more, ngx_cycle->log);
        if (p == NULL) {
            ngx_free(msg->data);
            return NGX_ERROR;
        }

        ngx_memcpy(p, msg->data, msg->len);
        ngx_free(msg->data);
        msg->data = p;
        size = more;
    }
}
