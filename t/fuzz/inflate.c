/*
 * Any bytes as a deflated message, through the very file of the front: nginx's
 * few names that it needs are made here.  Whatever comes, no more memory is
 * taken than the limit of a message allows, and what was deflated comes back.
 */

#define NGX_MDVR_WEBSOCKET_PARTS_H

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef intptr_t       ngx_int_t;
typedef uintptr_t      ngx_uint_t;
typedef unsigned char  u_char;

typedef struct {
    size_t   len;
    u_char  *data;
} ngx_str_t;

#define NGX_OK               0
#define NGX_ERROR           -1
#define NGX_DECLINED        -5
#define NGX_ABORT           -6
#define NGX_MDVR_WS_WINDOW  12

#define ngx_min(a, b)       ((a) > (b) ? (b) : (a))
#define ngx_max(a, b)       ((a) < (b) ? (b) : (a))
#define ngx_memcpy(d, s, n) memcpy(d, s, n)

static struct { void *log; }  fuzz_cycle, *ngx_cycle = &fuzz_cycle;

/* what a message may take: the buffer beside the one that it grows out of */

static size_t  fuzz_limit = SIZE_MAX - 1;

static void *
ngx_alloc(size_t size, void *log)
{
    (void) log;

    if (size > fuzz_limit + 1) {
        abort();
    }

    return malloc(size);
}

#define ngx_free(p)  free(p)

u_char *ngx_mdvr_ws_deflate(const u_char *p, size_t len, size_t *packed);
ngx_int_t ngx_mdvr_ws_inflate(const ngx_str_t *packed, size_t limit,
    ngx_str_t *msg);

#include "ngx_mdvr_core/ngx_mdvr_websocket_deflate.c"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t     limit, n;
    u_char    *p, *copy;
    ngx_int_t  rc;
    ngx_str_t  packed, msg;

    if (size < 2) {
        return 0;
    }

    limit = (size_t) data[0] << (data[1] & 7);      /* 0 to 32,640 */
    data += 2;
    size -= 2;

    /* as it came; one byte more or less would be seen */

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    packed.data = copy;
    packed.len = size;

    fuzz_limit = limit;
    rc = ngx_mdvr_ws_inflate(&packed, limit, &msg);
    fuzz_limit = SIZE_MAX - 1;

    if (rc == NGX_OK) {
        if (msg.len > limit) {
            abort();
        }

        free(msg.data);

    } else if (rc != NGX_DECLINED && rc != NGX_ABORT) {
        abort();
    }

    /* there and back */

    p = ngx_mdvr_ws_deflate(copy, size, &n);

    if (p) {
        packed.data = p;
        packed.len = n;

        if (n >= size
            || ngx_mdvr_ws_inflate(&packed, size, &msg) != NGX_OK
            || msg.len != size || memcmp(msg.data, copy, size) != 0)
        {
            abort();
        }

        free(msg.data);

        /* a byte less than it has is refused */

        if (size && ngx_mdvr_ws_inflate(&packed, size - 1, &msg)
                    != NGX_DECLINED)
        {
            abort();
        }
    }

    free(copy);

    return 0;
}
