/*
 * HLS: playlists from the table in the stream's slot, segments and parts from
 * the files that the media front writes.  Any worker answers.
 *
 * A request makes the front write parts for the next `hls_keep` and counts as
 * a viewer for `lease`.  Blocking reload (_HLS_msn, _HLS_part) waits for what
 * it names; so does a request for the part or segment that comes next.
 *
 * Caching: what has a number never changes and may be kept; a playlist that
 * names what it wants may be kept as long as that is news; other playlists
 * are asked for anew each time.  With "mdvr_live_cdn" the names of a playlist
 * begin with the stream's own ("<id>/seg-12.m4s"), so that without the token they
 * are the same for all viewers of the stream and for no other.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"

#include "mdvr/media/playlist.h"


#define NGX_HTTP_MDVR_HLS_AHEAD  2          /* msn that may be waited for */
#define NGX_HTTP_MDVR_HLS_PARTS  3          /* segments listed with parts */
#define NGX_HTTP_MDVR_HLS_TEXT   65536


typedef struct {
    ngx_uint_t                 blocking;
    uint64_t                   msn;
    int64_t                    part;        /* -1: the whole segment */
} ngx_http_mdvr_hls_want_t;


typedef struct {
    mdvr_hls_name_e            kind;
    uint64_t                   number;
    int                        part;
} ngx_http_mdvr_hls_file_t;


static ngx_int_t ngx_http_mdvr_hls_strip(ngx_http_mdvr_live_ctx_t *ctx);
static void ngx_http_mdvr_hls_playlist_ready(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_hls_try_playlist(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_hls_send_playlist(
    ngx_http_mdvr_live_ctx_t *ctx, mdvr_bus_hls_t *hls, ngx_uint_t ended);
static void ngx_http_mdvr_hls_master_ready(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_hls_try_master(ngx_http_mdvr_live_ctx_t *ctx);
static void ngx_http_mdvr_hls_file_ready(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_hls_try_file(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_hls_send_file(ngx_http_mdvr_live_ctx_t *ctx,
    off_t offset, off_t size);


static mdvr_bus_hls_t  ngx_http_mdvr_hls_table;     /* one at a time */

static ngx_str_t  ngx_http_mdvr_hls_type =
    ngx_string("application/vnd.apple.mpegurl");


/* --- what all of them do ------------------------------------------------------ */

ngx_int_t
ngx_http_mdvr_hls_attach(ngx_http_mdvr_live_ctx_t *ctx)
{
    int64_t      now_ms;
    uint64_t     who;
    mdvr_bus_t  *bus = ngx_mdvr_bus();

    now_ms = mdvr_bus_clock_ms();
    ngx_memcpy(&who, ctx->token.session.b + 8, sizeof(uint64_t));

    if (mdvr_bus_viewer_lease(bus, ctx->ref, who, now_ms,
                              now_ms + (int64_t) ctx->conf->lease)
        != MDVR_OK)
    {
        return NGX_DECLINED;
    }

    if (ctx->conf->audio) {
        mdvr_bus_want_aac(bus, ctx->ref,
                          now_ms + (int64_t) ctx->conf->hls_keep);
    }

    mdvr_bus_want_hls(bus, ctx->ref, now_ms + (int64_t) ctx->conf->hls_keep);

    return NGX_OK;
}


/* NGX_AGAIN: the session lives; otherwise the answer for one that ended. */

static ngx_int_t
ngx_http_mdvr_hls_over(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_str_t  retry;

    if (ctx->timedout) {
        ngx_str_set(&retry, "1");
        (void) ngx_mdvr_http_header(ctx->request, "Retry-After", &retry);

        return ngx_mdvr_http_problem(ctx->request,
                                     NGX_HTTP_SERVICE_UNAVAILABLE,
                                     "stream_starting",
                                     "it has not come yet");
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_mdvr_hls_cache(ngx_http_request_t *r, const char *text)
{
    ngx_str_t  value;

    value.data = (u_char *) text;
    value.len = ngx_strlen(text);

    return ngx_mdvr_http_header(r, "Cache-Control", &value);
}


static ngx_uint_t
ngx_http_mdvr_hls_ended(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_bus_info_t  info;

    return mdvr_bus_info(ngx_mdvr_bus(), ctx->ref, &info) != MDVR_OK
           || info.state == MDVR_BUS_ENDING;
}


/* --- media playlist --------------------------------------------------------------- */

/* NGX_DECLINED: _HLS_ parameters that are none. */

static ngx_int_t
ngx_http_mdvr_hls_directives(ngx_http_request_t *r,
    ngx_http_mdvr_hls_want_t *want)
{
    ngx_int_t  n;
    ngx_str_t  value;

    want->blocking = 0;
    want->part = -1;

    if (ngx_http_arg(r, (u_char *) "_HLS_msn", 8, &value) != NGX_OK) {
        return ngx_http_arg(r, (u_char *) "_HLS_part", 9, &value) == NGX_OK
               ? NGX_DECLINED : NGX_OK;
    }

    n = value.len > 15 ? NGX_ERROR : ngx_atoi(value.data, value.len);

    if (n == NGX_ERROR) {
        return NGX_DECLINED;
    }

    want->blocking = 1;
    want->msn = (uint64_t) n;

    if (ngx_http_arg(r, (u_char *) "_HLS_part", 9, &value) == NGX_OK) {
        n = value.len > 9 ? NGX_ERROR : ngx_atoi(value.data, value.len);

        if (n == NGX_ERROR) {
            return NGX_DECLINED;
        }

        want->part = n;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_mdvr_live_playlist(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_msec_t                 wait;
    ngx_http_mdvr_hls_want_t  *want;

    want = ngx_palloc(ctx->request->pool, sizeof(ngx_http_mdvr_hls_want_t));
    if (want == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_mdvr_hls_directives(ctx->request, want) != NGX_OK) {
        return ngx_mdvr_http_problem(ctx->request, NGX_HTTP_BAD_REQUEST,
                                     "invalid", "_HLS_msn and _HLS_part are "
                                     "numbers, the second needs the first");
    }

    if (ngx_http_mdvr_hls_attach(ctx) != NGX_OK) {
        return ngx_http_mdvr_live_gone(ctx);
    }

    ctx->data = want;

    rc = ngx_http_mdvr_hls_try_playlist(ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    wait = ctx->conf->wait;

    if (want->blocking) {
        wait = ngx_min(wait, 3 * (ngx_http_mdvr_hls_table.segment_us / 1000));
        wait = ngx_max(wait, 3000);
    }

    return ngx_http_mdvr_live_park(ctx, ngx_http_mdvr_hls_playlist_ready,
                                   wait);
}


static void
ngx_http_mdvr_hls_playlist_ready(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_mdvr_hls_try_playlist(ctx);

    if (rc != NGX_AGAIN) {
        ngx_http_mdvr_live_resume(ctx, rc);
    }
}


/* NGX_AGAIN: what is wanted is not there yet. */

static ngx_int_t
ngx_http_mdvr_hls_try_playlist(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t                  rc;
    ngx_uint_t                 ended, closed;
    mdvr_bus_hls_t            *hls = &ngx_http_mdvr_hls_table;
    mdvr_bus_segment_t        *last;
    ngx_http_mdvr_hls_want_t  *want = ctx->data;

    ended = ngx_http_mdvr_hls_ended(ctx);
    rc = mdvr_bus_hls_get(ngx_mdvr_bus(), ctx->ref, hls);

    if (rc == MDVR_E_NOT_FOUND || (ended && hls->n_segments == 0)) {
        return ngx_http_mdvr_live_gone(ctx);
    }

    if (rc != MDVR_OK || hls->n_segments == 0) {
        return ngx_http_mdvr_hls_over(ctx);
    }

    if (ended) {
        return ngx_http_mdvr_hls_send_playlist(ctx, hls, 1);
    }

    last = &hls->segment[hls->n_segments - 1];
    closed = hls->n_segments > 1 || last->closed;

    if (!want->blocking) {

        /* who does not know parts needs a whole segment */

        if (!closed) {
            return ngx_http_mdvr_hls_over(ctx);
        }

        return ngx_http_mdvr_hls_send_playlist(ctx, hls, 0);
    }

    if (want->msn > (uint64_t) last->msn + NGX_HTTP_MDVR_HLS_AHEAD) {
        return ngx_mdvr_http_problem(ctx->request, NGX_HTTP_BAD_REQUEST,
                                     "invalid", "_HLS_msn is too far ahead");
    }

    /* a later segment is an answer, too: the hinted part may never come */

    if (last->msn > want->msn
        || (last->msn == want->msn
            && (last->closed
                || (want->part >= 0 && (int64_t) last->parts > want->part))))
    {
        return ngx_http_mdvr_hls_send_playlist(ctx, hls, 0);
    }

    return ngx_http_mdvr_hls_over(ctx);
}


static ngx_int_t
ngx_http_mdvr_hls_send_playlist(ngx_http_mdvr_live_ctx_t *ctx,
    mdvr_bus_hls_t *hls, ngx_uint_t ended)
{
    size_t                     len;
    uint32_t                   i, k;
    ngx_str_t                  body;
    mdvr_buf_t                 b;
    mdvr_hls_media_t           pl;
    mdvr_bus_segment_t        *s;
    ngx_http_request_t        *r = ctx->request;
    ngx_http_mdvr_hls_want_t  *want = ctx->data;

    static u_char              text[NGX_HTTP_MDVR_HLS_TEXT];
    static u_char              prefix[NGX_HTTP_MDVR_LIVE_ID + 1];
    static mdvr_hls_part_t     parts[MDVR_BUS_HLS_PARTS];
    static mdvr_hls_segment_t  segments[MDVR_BUS_HLS_SEGMENTS];

    k = 0;

    for (i = 0; i < hls->n_segments; i++) {
        s = &hls->segment[i];

        ngx_memzero(&segments[i], sizeof(mdvr_hls_segment_t));
        segments[i].msn = s->msn;
        segments[i].duration_us = s->dur_us;
        segments[i].start_unix_ms = (int64_t) (s->received_us / 1000);
        segments[i].init_version = s->init_version;
        segments[i].discontinuity = s->discont;

        while (k < hls->n_parts && hls->part[k].msn < s->msn) {
            k++;
        }

        /* a segment whose first parts are no longer in the table has none */

        if (k < hls->n_parts && hls->part[k].msn == s->msn
            && hls->part[k].part == 0)
        {
            segments[i].parts = &parts[k];

            for ( /* void */ ; k < hls->n_parts
                               && hls->part[k].msn == s->msn; k++)
            {
                parts[k].duration_us = hls->part[k].dur_us;
                parts[k].independent = hls->part[k].independent;
                segments[i].nparts++;
            }
        }
    }

    ngx_memzero(&pl, sizeof(mdvr_hls_media_t));
    pl.segments = segments;
    pl.nsegments = hls->n_segments;
    pl.open = !hls->segment[hls->n_segments - 1].closed;
    pl.ended = ended;
    pl.low_latency = !ended;
    pl.target_us = hls->segment_us;
    pl.part_target_us = hls->part_us;
    pl.discontinuity_sequence = hls->segment[0].discont_seq
                                - hls->segment[0].discont;
    pl.parts_segments = NGX_HTTP_MDVR_HLS_PARTS;

    if (ctx->conf->cdn
        && ngx_http_mdvr_live_id(ctx->ref, prefix) == MDVR_OK)
    {
        prefix[NGX_HTTP_MDVR_LIVE_ID] = '/';
        pl.prefix = mdvr_str(prefix, sizeof(prefix));
    }

    b = mdvr_buf(text, sizeof(text));

    if (mdvr_hls_media(&b, &pl) != MDVR_OK) {
        return ngx_mdvr_http_verdict(r, MDVR_E_INTERNAL, NULL);
    }

    len = b.len;
    body.data = text;
    body.len = len;

    if (ngx_http_mdvr_hls_cache(r, ended ? "max-age=1"
                                   : want->blocking ? "max-age=6"
                                                    : "no-cache")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mdvr_http_send(r, NGX_HTTP_OK,
                              (char *) ngx_http_mdvr_hls_type.data, &body, 1);
}


/* --- multivariant playlist ---------------------------------------------------------- */

ngx_int_t
ngx_http_mdvr_live_master(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ngx_http_mdvr_hls_attach(ctx) != NGX_OK) {
        return ngx_http_mdvr_live_gone(ctx);
    }

    rc = ngx_http_mdvr_hls_try_master(ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return ngx_http_mdvr_live_park(ctx, ngx_http_mdvr_hls_master_ready,
                                   ctx->conf->wait);
}


static void
ngx_http_mdvr_hls_master_ready(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_mdvr_hls_try_master(ctx);

    if (rc != NGX_AGAIN) {
        ngx_http_mdvr_live_resume(ctx, rc);
    }
}


static ngx_int_t
ngx_http_mdvr_hls_try_master(ngx_http_mdvr_live_ctx_t *ctx)
{
    int64_t              ms;
    u_char               text[1024], codecs[96];
    ngx_str_t            body;
    mdvr_buf_t           b;
    mdvr_bus_hls_t      *hls = &ngx_http_mdvr_hls_table;
    mdvr_bus_info_t      info;
    mdvr_hls_variant_t   variant;
    ngx_http_request_t  *r = ctx->request;

    if (mdvr_bus_info(ngx_mdvr_bus(), ctx->ref, &info) != MDVR_OK
        || info.state == MDVR_BUS_ENDING)
    {
        return ngx_http_mdvr_live_gone(ctx);
    }

    if (info.init_version == 0) {
        return ngx_http_mdvr_hls_over(ctx);
    }

    ngx_memzero(&variant, sizeof(mdvr_hls_variant_t));
    variant.uri = MDVR_STR("media.m3u8");

    /* whether there is sound is settled with the first segment */

    if (mdvr_bus_hls_get(ngx_mdvr_bus(), ctx->ref, hls) != MDVR_OK
        || hls->n_segments == 0)
    {
        return ngx_http_mdvr_hls_over(ctx);
    }

    variant.codecs = mdvr_str(codecs, ngx_snprintf(codecs, sizeof(codecs),
                              "%s%s", info.codecs,
                              hls->audio ? ",mp4a.40.2" : "") - codecs);
    variant.width = info.width;
    variant.height = info.height;

    /* measured so far; a peak is taken to be twice the average */

    ms = info.last_frame_ms - info.live_ms;
    variant.average_bandwidth = ms > 1000
                               ? (uint32_t) (info.bytes * 8000 / (uint64_t) ms)
                               : 2000000;
    variant.bandwidth = variant.average_bandwidth * 2;

    b = mdvr_buf(text, sizeof(text));

    if (mdvr_hls_multivariant(&b, &variant, 1) != MDVR_OK) {
        return ngx_mdvr_http_verdict(r, MDVR_E_INTERNAL, NULL);
    }

    body.data = text;
    body.len = b.len;

    if (ngx_http_mdvr_hls_cache(r, "no-cache") != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mdvr_http_send(r, NGX_HTTP_OK,
                              (char *) ngx_http_mdvr_hls_type.data, &body, 1);
}


/* --- init segments, segments, parts ---------------------------------------------------- */

/* "<id>/name": NGX_OK with the name alone; NGX_DECLINED: of another stream. */

static ngx_int_t
ngx_http_mdvr_hls_strip(ngx_http_mdvr_live_ctx_t *ctx)
{
    u_char  *slash, id[NGX_HTTP_MDVR_LIVE_ID];

    slash = ngx_strlchr(ctx->name.data, ctx->name.data + ctx->name.len, '/');

    if (slash == NULL) {
        return NGX_OK;
    }

    if (slash - ctx->name.data != NGX_HTTP_MDVR_LIVE_ID
        || ngx_http_mdvr_live_id(ctx->ref, id) != MDVR_OK
        || ngx_memcmp(id, ctx->name.data, NGX_HTTP_MDVR_LIVE_ID) != 0)
    {
        return NGX_DECLINED;
    }

    ctx->name.data += NGX_HTTP_MDVR_LIVE_ID + 1;
    ctx->name.len -= NGX_HTTP_MDVR_LIVE_ID + 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_mdvr_live_file(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_mdvr_hls_file_t  *file;

    file = ngx_palloc(ctx->request->pool, sizeof(ngx_http_mdvr_hls_file_t));
    if (file == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_mdvr_hls_strip(ctx) != NGX_OK
        || !mdvr_hls_name(mdvr_str(ctx->name.data, ctx->name.len), &file->kind,
                          &file->number, &file->part))
    {
        return ngx_mdvr_http_problem(ctx->request, NGX_HTTP_NOT_FOUND,
                                     "not_found", NULL);
    }

    if (ngx_http_mdvr_hls_attach(ctx) != NGX_OK) {
        return ngx_http_mdvr_live_gone(ctx);
    }

    ctx->data = file;

    rc = ngx_http_mdvr_hls_try_file(ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    return ngx_http_mdvr_live_park(ctx, ngx_http_mdvr_hls_file_ready,
                                   ngx_min(ctx->conf->wait, 10000));
}


static void
ngx_http_mdvr_hls_file_ready(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_mdvr_hls_try_file(ctx);

    if (rc != NGX_AGAIN) {
        ngx_http_mdvr_live_resume(ctx, rc);
    }
}


static ngx_int_t
ngx_http_mdvr_hls_none(ngx_http_mdvr_live_ctx_t *ctx)
{
    return ngx_mdvr_http_problem(ctx->request, NGX_HTTP_NOT_FOUND,
                                 "not_found", "not in the playlist");
}


/* NGX_AGAIN: it is what comes next. */

static ngx_int_t
ngx_http_mdvr_hls_try_file(ngx_http_mdvr_live_ctx_t *ctx)
{
    uint32_t                   i;
    mdvr_bus_hls_t            *hls = &ngx_http_mdvr_hls_table;
    mdvr_bus_segment_t        *s;
    ngx_http_mdvr_hls_file_t  *file = ctx->data;

    if (file->kind == MDVR_HLS_INIT) {
        return ngx_http_mdvr_hls_send_file(ctx, 0, -1);
    }

    if (mdvr_bus_hls_get(ngx_mdvr_bus(), ctx->ref, hls) != MDVR_OK
        || hls->n_segments == 0)
    {
        return ngx_http_mdvr_hls_none(ctx);
    }

    s = &hls->segment[hls->n_segments - 1];

    if (file->number > s->msn) {

        if (file->number > (uint64_t) s->msn + 1
            || ngx_http_mdvr_hls_ended(ctx))
        {
            return ngx_http_mdvr_hls_none(ctx);
        }

        return ngx_http_mdvr_hls_over(ctx);
    }

    if (file->kind == MDVR_HLS_PART) {

        for (i = hls->n_parts; i > 0; i--) {
            if (hls->part[i - 1].msn == file->number
                && hls->part[i - 1].part == file->part)
            {
                return ngx_http_mdvr_hls_send_file(ctx, hls->part[i - 1].offset,
                                                   hls->part[i - 1].size);
            }
        }

        if (file->number == s->msn && !s->closed && file->part == s->parts
            && !ngx_http_mdvr_hls_ended(ctx))
        {
            return ngx_http_mdvr_hls_over(ctx);
        }

        return ngx_http_mdvr_hls_none(ctx);
    }

    for (i = 0; i < hls->n_segments; i++) {
        if (hls->segment[i].msn == file->number) {

            if (hls->segment[i].closed) {
                return ngx_http_mdvr_hls_send_file(ctx, 0,
                                                   hls->segment[i].size);
            }

            if (ngx_http_mdvr_hls_ended(ctx)) {
                return ngx_http_mdvr_hls_none(ctx);
            }

            return ngx_http_mdvr_hls_over(ctx);
        }
    }

    /* it has left the list, its file stays for a while */

    return ngx_http_mdvr_hls_send_file(ctx, 0, -1);
}


static ngx_int_t
ngx_http_mdvr_hls_send_file(ngx_http_mdvr_live_ctx_t *ctx, off_t offset,
    off_t size)
{
    u_char                    *p;
    ngx_fd_t                   fd;
    ngx_int_t                  rc;
    ngx_buf_t                 *b;
    ngx_chain_t                out;
    struct stat                st;
    ngx_pool_cleanup_t        *cln;
    ngx_http_request_t        *r = ctx->request;
    ngx_pool_cleanup_file_t   *clnf;
    ngx_http_mdvr_hls_file_t  *file = ctx->data;
    u_char                     path[NGX_MAX_PATH];

    p = ngx_slprintf(path, path + NGX_MAX_PATH - 64, "%s/%uD-%uD/",
                     mdvr_bus_hls_dir(ngx_mdvr_bus()), ctx->ref.index,
                     ctx->ref.generation);

    if (file->kind == MDVR_HLS_INIT) {
        p = ngx_slprintf(p, path + NGX_MAX_PATH - 1, "init-%uL.mp4",
                         file->number);
    } else {
        p = ngx_slprintf(p, path + NGX_MAX_PATH - 1, "seg-%uL.m4s",
                         file->number);
    }

    *p = '\0';

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_pool_cleanup_file_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fd = ngx_open_file(path, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_ENOENT) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, ngx_errno,
                          ngx_open_file_n " \"%s\" failed", path);
        }

        return ngx_http_mdvr_hls_none(ctx);
    }

    cln->handler = ngx_pool_cleanup_file;
    clnf = cln->data;
    clnf->fd = fd;
    clnf->name = (u_char *) "hls";
    clnf->log = r->pool->log;

    if (size < 0) {
        if (fstat(fd, &st) == -1) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        size = st.st_size;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;
    r->allow_ranges = 1;

    ngx_str_set(&r->headers_out.content_type, "video/mp4");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    if (ngx_http_mdvr_hls_cache(r, "public, max-age=3600, immutable")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (size == 0) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->file = ngx_pcalloc(r->pool, sizeof(ngx_file_t));
    if (b->file == NULL) {
        return NGX_ERROR;
    }

    b->file_pos = offset;
    b->file_last = offset + size;
    b->in_file = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    b->file->fd = fd;
    b->file->name.data = clnf->name;
    b->file->name.len = 3;
    b->file->log = r->connection->log;

    ngx_mdvr_count_by(media_bytes_total, &(ngx_str_t) ngx_string("out"),
                      (int64_t) size);

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
