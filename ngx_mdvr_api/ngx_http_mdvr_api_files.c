
/*
 * Who may see a stored file is decided once, by the API; what it hands out is an
 * address with an expiry and a MAC (ngx_mdvr_url.h), which works without a
 * token: in a video element, in a mail, through a CDN.
 *
 *   location /files/    { mdvr_files /.objects/; }      checks, then passes on
 *   location /.objects/ { internal; alias <storage>/; } serves, ranges and all
 *
 * Objects in S3 have presigned addresses of their own; "/files/" then only sends
 * on to them, which is how the pieces of a playlist are found.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_files.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_s3.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_url.h"


#define NGX_HTTP_MDVR_API_FILES   "/files/"
#define NGX_HTTP_MDVR_API_KEY     "_url\" : \""
#define NGX_HTTP_MDVR_API_PIECE   "media.mp4"


static ngx_int_t ngx_http_mdvr_api_files_handler(ngx_http_request_t *r);


/* `signed_part` is the key, or a folder that it lies in */

static ngx_str_t
ngx_http_mdvr_api_file_sign(ngx_pool_t *pool, const ngx_str_t *key,
    const ngx_str_t *signed_part, time_t expires_at)
{
    ngx_str_t  url, mark;

    ngx_str_null(&url);

    if (ngx_mdvr_url_sign(pool, signed_part, expires_at, &mark) != NGX_OK) {
        return url;
    }

    url.data = ngx_pnalloc(pool, sizeof(NGX_HTTP_MDVR_API_FILES) + mark.len
                                 + key->len + 1);
    if (url.data == NULL) {
        return url;
    }

    url.len = ngx_sprintf(url.data, NGX_HTTP_MDVR_API_FILES "%V/%V", &mark, key)
              - url.data;

    return url;
}


ngx_str_t
ngx_http_mdvr_api_file_url(ngx_http_request_t *r, const ngx_str_t *key,
    time_t expires_at)
{
    ngx_http_mdvr_api_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_mdvr_api_module);

    return conf->s3 ? ngx_http_mdvr_api_s3_url(r->pool, conf->s3, key,
                                               expires_at)
                    : ngx_http_mdvr_api_file_sign(r->pool, key, key,
                                                  expires_at);
}


ngx_int_t
ngx_http_mdvr_api_sign_urls(ngx_http_mdvr_api_ctx_t *ctx, ngx_str_t *text)
{
    u_char      *p, *last, *end, *dst;
    size_t       n;
    time_t       expires_at;
    ngx_str_t    key, url, out;

    static const size_t  len = sizeof(NGX_HTTP_MDVR_API_KEY) - 1;

    last = text->data + text->len;
    n = 0;

    for (p = text->data;
         (p = ngx_strlcasestrn(p, last, (u_char *) NGX_HTTP_MDVR_API_KEY,
                               len - 1));
         p += len)
    {
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    /* whole minutes: the same picture keeps its address, browsers cache it */

    expires_at = (ngx_time() + ngx_http_mdvr_api_conf(ctx)->url_ttl) / 300
                 * 300 + 300;

    out.data = ngx_pnalloc(ctx->request->pool,
                   text->len
                   + n * (ngx_http_mdvr_api_conf(ctx)->s3
                          ? NGX_HTTP_MDVR_API_S3_URL
                          : sizeof(NGX_HTTP_MDVR_API_FILES)
                            + NGX_MDVR_URL_MARK_MAX + 1));
    if (out.data == NULL) {
        return NGX_ERROR;
    }

    dst = out.data;
    p = text->data;

    for ( ;; ) {
        end = ngx_strlcasestrn(p, last, (u_char *) NGX_HTTP_MDVR_API_KEY,
                               len - 1);
        if (end == NULL) {
            dst = ngx_cpymem(dst, p, last - p);
            break;
        }

        end += len;
        dst = ngx_cpymem(dst, p, end - p);

        key.data = end;
        p = ngx_strlchr(end, last, '"');

        if (p == NULL) {
            return NGX_ERROR;
        }

        key.len = p - end;
        url = ngx_http_mdvr_api_file_url(ctx->request, &key, expires_at);
        dst = ngx_cpymem(dst, url.data, url.len);
    }

    out.len = dst - out.data;
    *text = out;

    return NGX_OK;
}


static void
ngx_http_mdvr_api_media_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    time_t      expires_at;
    u_char      at[NGX_MDVR_RFC3339_LEN];
    ngx_str_t   key, url;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    if (ngx_mdvr_pg_isnull(rows, 0, 0)) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "not_ready",
                                  "this item has no such file (yet)", 0);
        return;
    }

    key = ngx_mdvr_pg_value(rows, 0, 0);
    expires_at = ngx_time() + ngx_http_mdvr_api_conf(ctx)->url_ttl;
    url = ngx_http_mdvr_api_file_url(ctx->request, &key, expires_at);

    if (url.data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "no signing key yet", 1);
        return;
    }

    (void) ngx_mdvr_rfc3339(at, (int64_t) expires_at * 1000);

    ngx_http_mdvr_api_json(ctx, NGX_HTTP_OK,
        json_pack("{s:o, s:o}",
                  "url", json_stringn((char *) url.data, url.len),
                  "expires_at", json_stringn((char *) at, sizeof(at))));
}


void
ngx_http_mdvr_api_media_url(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "with m as (select m.id, case when m.status = 'ready'"
        "   or m.status = 'failed' and $7 = 'original' then"
        "   case coalesce($7, 'playback') when 'original' then m.original_key"
        "    when 'thumbnail' then m.thumbnail_key"
        "    when 'sprite' then m.sprite_key"
        "    else coalesce(m.playback_key, case when m.kind = 'jpeg'"
        "      then m.original_key end) end end as key"
        "  from mdvr.media m where m.id = $6::uuid and m.deleted_at is null"
        "   and m.quarantined is null)"
        " select m.key, case when m.key is not null then"
        API_AUDIT("media.view", "media", "m.id::text",
                  "jsonb_build_object('variant', coalesce($7, 'playback'))")
        " end from m",
        API_WHO ",id,?variant", NULL, ngx_http_mdvr_api_media_found);
}


/*
 * The playlist itself, with an address of ours for its pieces: presigned ones
 * would be signed one by one, and a playlist that lay in S3 would look for them
 * there, without any signature.
 */

static ngx_int_t
ngx_http_mdvr_api_hls_text(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *playlist, const ngx_str_t *folder)
{
    u_char     *p, *q, *last, *dst;
    size_t      n;
    ngx_str_t   key, url, text;

    static const size_t  len = sizeof(NGX_HTTP_MDVR_API_PIECE) - 1;

    key.len = folder->len + len;
    key.data = ngx_pnalloc(ctx->request->pool, key.len);

    if (key.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(key.data, folder->data, folder->len);
    ngx_memcpy(p, NGX_HTTP_MDVR_API_PIECE, len);

    url = ngx_http_mdvr_api_file_sign(ctx->request->pool, &key, folder,
                         ngx_time() + ngx_http_mdvr_api_conf(ctx)->url_ttl);
    if (url.data == NULL) {
        return NGX_ERROR;
    }

    last = playlist->data + playlist->len;
    n = 0;

    for (p = playlist->data;
         (p = ngx_strlcasestrn(p, last, (u_char *) NGX_HTTP_MDVR_API_PIECE,
                               len - 1));
         p += len)
    {
        n++;
    }

    text.data = ngx_pnalloc(ctx->request->pool, playlist->len + n * url.len);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    dst = text.data;

    for (p = playlist->data;
         (q = ngx_strlcasestrn(p, last, (u_char *) NGX_HTTP_MDVR_API_PIECE,
                               len - 1));
         p = q + len)
    {
        dst = ngx_cpymem(dst, p, q - p);
        dst = ngx_cpymem(dst, url.data, url.len);
    }

    dst = ngx_cpymem(dst, p, last - p);
    text.len = dst - text.data;

    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_OK,
                             "application/vnd.apple.mpegurl", &text, 0);
    return NGX_OK;
}


static void
ngx_http_mdvr_api_hls_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char     *p;
    ngx_str_t   key, folder, url, text;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    if (ngx_mdvr_pg_isnull(rows, 0, 0)) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "not_ready",
                                  "this item is not stored as HLS (yet)", 0);
        return;
    }

    /* what the playlist names lies beside it: the folder is signed */

    key = ngx_mdvr_pg_value(rows, 0, 0);
    folder = key;

    for (p = key.data + key.len; p > key.data && p[-1] != '/'; p--) {
        folder.len--;
    }

    if (ngx_http_mdvr_api_conf(ctx)->s3) {
        if (ngx_mdvr_pg_isnull(rows, 0, 1)) {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "not_ready",
                                      "this item has no playlist", 0);
            return;
        }

        text = ngx_mdvr_pg_value(rows, 0, 1);

        if (ngx_http_mdvr_api_hls_text(ctx, &text, &folder) == NGX_OK) {
            return;
        }

        ngx_str_null(&url);

    } else {
        url = ngx_http_mdvr_api_file_sign(ctx->request->pool, &key, &folder,
                         ngx_time() + ngx_http_mdvr_api_conf(ctx)->url_ttl);
    }

    if (url.data == NULL
        || ngx_mdvr_http_header(ctx->request, "Location", &url) != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "no signing key yet", 1);
        return;
    }

    ngx_str_null(&text);
    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_TEMPORARY_REDIRECT,
                             "application/vnd.apple.mpegurl", &text, 0);
}


void
ngx_http_mdvr_api_media_hls(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "select m.hls_key, m.hls_playlist,"
        API_AUDIT("media.view", "media", "m.id::text",
                  "'{\"variant\":\"hls\"}'")
        " from mdvr.media m where m.id = $6::uuid and m.deleted_at is null"
        "  and m.quarantined is null",
        API_WHO ",id", NULL, ngx_http_mdvr_api_hls_found);
}


/* --- the location ------------------------------------------------------------- */

static ngx_int_t
ngx_http_mdvr_api_files_handler(ngx_http_request_t *r)
{
    u_char                         *p, *last;
    mdvr_rc_t                       rc;
    ngx_str_t                       mark, key, uri;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    static ngx_str_t  cache = ngx_string("private, max-age=3600");
    static ngx_str_t  sniff = ngx_string("nosniff");

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_http_mdvr_api_module);

    last = r->uri.data + r->uri.len;
    mark.data = r->uri.data + sizeof(NGX_HTTP_MDVR_API_FILES) - 1;

    p = mark.data < last ? ngx_strlchr(mark.data, last, '/') : NULL;

    if (p == NULL || p + 1 == last) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_FOUND, "not_found", NULL);
    }

    mark.len = p - mark.data;
    key.data = p + 1;
    key.len = last - p - 1;

    rc = ngx_mdvr_url_check(&mark, &key);

    if (rc != MDVR_OK) {
        ngx_mdvr_refusal("file_url");
        return ngx_mdvr_http_problem(r, NGX_HTTP_FORBIDDEN,
                                     rc == MDVR_E_EXPIRED ? "url_expired"
                                                          : "url_invalid",
                                     "ask for a new address");
    }

    if (conf->s3) {
        uri = ngx_http_mdvr_api_s3_url(r->pool, conf->s3, &key,
                                       ngx_time() + conf->url_ttl);

        if (uri.data == NULL
            || ngx_mdvr_http_header(r, "Location", &uri) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_TEMPORARY_REDIRECT;
    }

    uri.len = conf->files.len + key.len;
    uri.data = ngx_pnalloc(r->pool, uri.len);

    if (uri.data == NULL
        || ngx_mdvr_http_header(r, "Cache-Control", &cache) != NGX_OK
        || ngx_mdvr_http_header(r, "X-Content-Type-Options", &sniff) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(uri.data, conf->files.data, conf->files.len);
    ngx_memcpy(p, key.data, key.len);

    (void) ngx_http_internal_redirect(r, &uri, NULL);

    return NGX_DONE;
}


char *
ngx_http_mdvr_api_files(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_mdvr_api_loc_conf_t  *lcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (lcf->files.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].data[0] != '/' || value[1].data[value[1].len - 1] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid location \"%V\" in \"%V\": it must begin "
                           "and end with a slash", &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    lcf->files = value[1];

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_mdvr_api_files_handler;

    return NGX_CONF_OK;
}
