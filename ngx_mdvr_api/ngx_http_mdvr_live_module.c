/*
 * Live video over HTTP: the token, and which of its names is asked for.
 *
 *   /live/<token>/index.m3u8      HLS media playlist (also media.m3u8)
 *   /live/<token>/master.m3u8     the same with CODECS, for who insists
 *   /live/<token>/init-*.mp4, seg-*.m4s, part-*.m4s
 *   /live/<token>/stream.mp4      one endless answer
 *   /live/<token>/ws              WebSocket; both take ?codec=h264
 *   /live/<token>/whep            WebRTC, by mdvr-rtc
 *   /live/<token>/permit          only whether the token is good
 *
 * A token of channel 0 is one of a talk: it has ws and whep, with a microphone.
 *
 * index.m3u8 is a media playlist and not a multivariant one: there is one
 * variant, players find its codecs in the init segment, and the first picture
 * is one round trip earlier.
 *
 * A token that names another node is passed on to @mdvr_peer; $mdvr_peer is
 * that node's address, which each node keeps in `mdvr:node:<id>`.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"

#include "ngx_mdvr_core/ngx_mdvr_peer.h"
#include "mdvr/media/nal.h"


static ngx_int_t ngx_http_mdvr_live_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_mdvr_live_is_whep(const ngx_str_t *name);
static ngx_int_t ngx_http_mdvr_live_dispatch(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_live_h264(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_live_peer(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_live_peer_go(ngx_http_request_t *r,
    const ngx_str_t *url);
static void ngx_http_mdvr_live_peer_found(void *data, const ngx_str_t *url);
static ngx_int_t ngx_http_mdvr_live_peer_unknown(ngx_http_request_t *r);
static ngx_int_t ngx_http_mdvr_live_peer_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static u_char *ngx_http_mdvr_live_log(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);
static ngx_int_t ngx_http_mdvr_live_add_variables(ngx_conf_t *cf);
static void *ngx_http_mdvr_live_create_conf(ngx_conf_t *cf);
static char *ngx_http_mdvr_live_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_mdvr_live(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_mdvr_live_commands[] = {

    { ngx_string("mdvr_live"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_mdvr_live,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_live_wait"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, wait),
      NULL },

    { ngx_string("mdvr_live_max_delay"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, max_delay),
      NULL },

    { ngx_string("mdvr_live_recheck"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, recheck),
      NULL },

    { ngx_string("mdvr_live_lease"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, lease),
      NULL },

    { ngx_string("mdvr_live_hls_keep"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, hls_keep),
      NULL },

    { ngx_string("mdvr_live_audio"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, audio),
      NULL },

    { ngx_string("mdvr_live_cdn"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, cdn),
      NULL },

    { ngx_string("mdvr_live_max_queue"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, max_queue),
      NULL },

    { ngx_string("mdvr_live_tiles"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, tiles),
      NULL },

    { ngx_string("mdvr_live_send_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_live_conf_t, send_timeout),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_mdvr_live_module_ctx = {
    ngx_http_mdvr_live_add_variables,      /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_mdvr_live_create_conf,        /* create location configuration */
    ngx_http_mdvr_live_merge_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_mdvr_live_module = {
    NGX_MODULE_V1,
    &ngx_http_mdvr_live_module_ctx,        /* module context */
    ngx_http_mdvr_live_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_str_t  ngx_http_mdvr_live_peer_name = ngx_string("mdvr_peer");

static ngx_str_t  ngx_http_mdvr_live_peer_location = ngx_string("@mdvr_peer");

static ngx_int_t  ngx_http_mdvr_live_peer_index;


/* --- requests --------------------------------------------------------------- */

static ngx_int_t
ngx_http_mdvr_live_handler(ngx_http_request_t *r)
{
    u_char                     *p, *last, *slash;
    mdvr_rc_t                   rc;
    ngx_int_t                   n;
    ngx_str_t                   token;
    ngx_mdvr_core_conf_t       *core;
    ngx_http_mdvr_live_ctx_t   *ctx;
    ngx_http_core_loc_conf_t   *clcf;

    /* error lines of this request do not show the token */

    r->log_handler = ngx_http_mdvr_live_log;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (core == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* <location><token>/<name> */

    if (r->uri.len < clcf->name.len) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_FOUND, "not_found", NULL);
    }

    p = r->uri.data + clcf->name.len;
    last = r->uri.data + r->uri.len;

    slash = ngx_strlchr(p, last, '/');

    if (slash == NULL || slash == p || slash + 1 == last) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_FOUND, "not_found",
                                     "addresses are those that video/start "
                                     "gives");
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_mdvr_live_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_mdvr_live_module);
    ctx->name.data = slash + 1;
    ctx->name.len = last - slash - 1;

    token.data = p;
    token.len = slash - p;

    if (!ngx_http_mdvr_live_is_whep(&ctx->name)) {

        n = ngx_http_discard_request_body(r);
        if (n != NGX_OK) {
            return n;
        }

        if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
            return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_ALLOWED,
                                         "method_not_allowed", NULL);
        }
    }

    rc = ngx_mdvr_stream_token_check(&token, &ctx->token, ctx->node);

    if (rc == MDVR_E_UNAUTHENTICATED || rc == MDVR_E_EXPIRED) {
        return ngx_mdvr_http_verdict(r, rc, "this address has expired, or whom "
                                     "it was given to has stopped watching or "
                                     "signed out: start the stream again");
    }

    if (rc != MDVR_OK) {
        return ngx_mdvr_http_verdict(r, rc, NULL);
    }

    ngx_http_set_ctx(r, ctx, ngx_http_mdvr_live_module);

    if (ctx->token.node.len
        && (ctx->token.node.len != core->node.len
            || ngx_memcmp(ctx->token.node.data, core->node.data,
                          core->node.len) != 0))
    {
        return ngx_http_mdvr_live_peer(ctx);
    }

    return ngx_http_mdvr_live_dispatch(ctx);
}


/* "whep" and what lies below: the only names that take a body */

static ngx_uint_t
ngx_http_mdvr_live_is_whep(const ngx_str_t *name)
{
    return name->len >= 4 && ngx_memcmp(name->data, "whep", 4) == 0
           && (name->len == 4 || name->data[4] == '/');
}


static ngx_int_t
ngx_http_mdvr_live_dispatch(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t   rc;
    ngx_int_t   n;
    ngx_uint_t  i;

    static const struct {
        ngx_str_t   name;
        ngx_int_t (*handler)(ngx_http_mdvr_live_ctx_t *ctx);
    } names[] = {
        { ngx_string("index.m3u8"),  ngx_http_mdvr_live_playlist },
        { ngx_string("media.m3u8"),  ngx_http_mdvr_live_playlist },
        { ngx_string("master.m3u8"), ngx_http_mdvr_live_master },
        { ngx_string("stream.mp4"),  ngx_http_mdvr_live_mp4 },
        { ngx_string("ws"),          ngx_http_mdvr_live_ws },
        { ngx_null_string,           ngx_http_mdvr_live_file }
    };

    if (ctx->name.len == sizeof("permit") - 1
        && ngx_memcmp(ctx->name.data, "permit", sizeof("permit") - 1) == 0)
    {
        return ngx_http_mdvr_live_permit(ctx);
    }

    rc = ctx->token.channel ? ngx_http_mdvr_live_find(ctx)
                            : ngx_http_mdvr_talk_session(ctx);

    if (rc == MDVR_E_NOT_FOUND) {
        return ngx_http_mdvr_live_gone(ctx);
    }

    if (rc != MDVR_OK) {
        return ngx_mdvr_http_verdict(ctx->request, rc, NULL);
    }

    if (ngx_http_mdvr_live_is_whep(&ctx->name)) {
        return ngx_http_mdvr_live_whep(ctx);
    }

    if (ctx->token.channel == 0) {
        return ngx_http_mdvr_talk_ws(ctx);
    }

    for (i = 0; names[i].name.len; i++) {
        if (names[i].name.len == ctx->name.len
            && ngx_memcmp(names[i].name.data, ctx->name.data, ctx->name.len)
               == 0)
        {
            break;
        }
    }

    if (names[i].handler == ngx_http_mdvr_live_mp4
        || names[i].handler == ngx_http_mdvr_live_ws)
    {
        n = ngx_http_mdvr_live_h264(ctx);

        if (n != NGX_DECLINED) {
            return n;
        }
    }

    return names[i].handler(ctx);
}


/*
 * "?codec=h264" of who cannot show H.265: goes on with what the worker makes of
 * it.  NGX_DECLINED, or the answer's result.  A stream that has not begun stays what
 * it is.
 */

static ngx_int_t
ngx_http_mdvr_live_h264(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t            rc;
    ngx_str_t            retry;
    ngx_http_request_t  *r = ctx->request;

    if (!ngx_http_mdvr_live_wants_h264(r)) {
        return NGX_DECLINED;
    }

    rc = ngx_http_mdvr_live_to_h264(&ctx->ref);

    if (rc == MDVR_OK) {
        return NGX_DECLINED;
    }

    if (rc == MDVR_E_UNAVAILABLE) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_CONFLICT,
                                     "codec_unsupported",
                                     "the camera sends H.265, and nothing "
                                     "here makes H.264 of it");
    }

    if (rc == MDVR_E_BUSY) {
        ngx_str_set(&retry, "5");
        (void) ngx_mdvr_http_header(r, "Retry-After", &retry);

        return ngx_mdvr_http_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                     "transcoder_busy",
                                     "the camera sends H.265, and as many of "
                                     "these as this node converts are watched");
    }

    return ngx_http_mdvr_live_gone(ctx);
}


ngx_uint_t
ngx_http_mdvr_live_wants_h264(ngx_http_request_t *r)
{
    ngx_str_t  value;

    return ngx_http_arg(r, (u_char *) "codec", 5, &value) == NGX_OK
           && value.len == 4 && ngx_memcmp(value.data, "h264", 4) == 0;
}


mdvr_rc_t
ngx_http_mdvr_live_to_h264(mdvr_bus_ref_t *ref)
{
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    mdvr_bus_info_t   info;

    if (mdvr_bus_info(bus, *ref, &info) != MDVR_OK
        || info.codec != MDVR_CODEC_H265)
    {
        return MDVR_OK;
    }

    return mdvr_bus_h264(bus, *ref, mdvr_bus_clock_ms(), ref);
}


mdvr_rc_t
ngx_http_mdvr_live_find(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t    rc;
    mdvr_bus_t  *bus = ngx_mdvr_bus();

    if (bus == NULL) {
        return MDVR_E_UNAVAILABLE;
    }

    rc = mdvr_bus_find_key(bus, MDVR_BUS_KIND_LIVE, ctx->token.device.b,
                           ctx->token.channel, ctx->token.stream, &ctx->ref);

    if (rc == MDVR_E_NOT_FOUND) {
        rc = mdvr_bus_find_key(bus, MDVR_BUS_KIND_PLAYBACK,
                               ctx->token.device.b, ctx->token.channel,
                               ctx->token.stream, &ctx->ref);
    }

    return rc;
}


ngx_int_t
ngx_http_mdvr_live_gone(ngx_http_mdvr_live_ctx_t *ctx)
{
    uint32_t          i;
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    mdvr_bus_end_e    end;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;

    end = MDVR_BUS_END_NONE;

    if (mdvr_bus_info(bus, ctx->ref, &info) == MDVR_OK) {
        end = info.end;
    }

    for (i = 0; end == MDVR_BUS_END_NONE && i < mdvr_bus_streams(bus); i++) {

        /* it may have ended within the last seconds */

        if (mdvr_bus_at(bus, i, &ref) == MDVR_OK
            && mdvr_bus_info(bus, ref, &info) == MDVR_OK
            && info.state == MDVR_BUS_ENDING
            && info.channel == ctx->token.channel
            && info.stream == ctx->token.stream
            && ngx_memcmp(info.device_id, ctx->token.device.b, 16) == 0)
        {
            end = info.end;
        }
    }

    if (end != MDVR_BUS_END_NONE) {
        return ngx_mdvr_http_problem(ctx->request, NGX_HTTP_NOT_FOUND,
                                     mdvr_bus_end_name(end),
                                     mdvr_bus_end_text(end));
    }

    return ngx_mdvr_http_problem(ctx->request, NGX_HTTP_NOT_FOUND,
                                 "stream_not_running",
                                 "the stream does not run; start it again");
}


/* --- streams of other nodes ----------------------------------------------------- */

/*
 * A named location starts without the contexts of modules, but with the
 * variables of the request: the address is put among those.
 */

static ngx_int_t
ngx_http_mdvr_live_peer_go(ngx_http_request_t *r, const ngx_str_t *url)
{
    ngx_http_variable_value_t  *v;

    v = &r->variables[ngx_http_mdvr_live_peer_index];

    v->len = url->len;
    v->data = url->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return ngx_http_named_location(r, &ngx_http_mdvr_live_peer_location);
}


static void
ngx_http_mdvr_live_peer_found(void *data, const ngx_str_t *url)
{
    ngx_int_t            rc;
    ngx_str_t            kept;
    ngx_connection_t    *c;
    ngx_http_request_t  *r = data;

    c = r->connection;
    rc = NGX_ERROR;

    if (url) {
        kept.len = url->len;
        kept.data = ngx_pstrdup(r->pool, (ngx_str_t *) url);

        if (kept.data) {
            rc = ngx_http_mdvr_live_peer_go(r, &kept);
        }

    } else {
        rc = ngx_http_mdvr_live_peer_unknown(r);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_mdvr_live_peer_unknown(ngx_http_request_t *r)
{
    return ngx_mdvr_http_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "node_unavailable",
                                 "the node of this stream is not known");
}


static ngx_int_t
ngx_http_mdvr_live_peer(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            url;
    ngx_http_request_t  *r = ctx->request;

    rc = ngx_mdvr_peer_find(r->pool, &ctx->token.node, &url,
                            ngx_http_mdvr_live_peer_found, r);

    if (rc == NGX_OK) {
        return ngx_http_mdvr_live_peer_go(r, &url);
    }

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return NGX_DONE;
    }

    return ngx_http_mdvr_live_peer_unknown(r);
}


/* until it is known */

static ngx_int_t
ngx_http_mdvr_live_peer_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    v->not_found = 1;

    return NGX_OK;
}


/* --- logs ------------------------------------------------------------------------- */

/* What nginx appends to an error line, without the token. */

static u_char *
ngx_http_mdvr_live_log(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char                    *p;
    ngx_http_mdvr_live_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_live_module);

    p = ngx_snprintf(buf, len, ", request: \"%V /live/[redacted]/%*s\"",
                     &r->method_name, ctx ? ctx->name.len : 0,
                     ctx ? ctx->name.data : (u_char *) "");

    return p;
}


/* --- configuration ------------------------------------------------------------------ */

static ngx_int_t
ngx_http_mdvr_live_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    var = ngx_http_add_variable(cf, &ngx_http_mdvr_live_peer_name, 0);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_mdvr_live_peer_variable;

    ngx_http_mdvr_live_peer_index =
                  ngx_http_get_variable_index(cf, &ngx_http_mdvr_live_peer_name);

    return ngx_http_mdvr_live_peer_index == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static void *
ngx_http_mdvr_live_create_conf(ngx_conf_t *cf)
{
    ngx_http_mdvr_live_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_mdvr_live_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->wait = NGX_CONF_UNSET_MSEC;
    conf->max_delay = NGX_CONF_UNSET_MSEC;
    conf->recheck = NGX_CONF_UNSET_MSEC;
    conf->lease = NGX_CONF_UNSET_MSEC;
    conf->hls_keep = NGX_CONF_UNSET_MSEC;
    conf->max_queue = NGX_CONF_UNSET_SIZE;
    conf->audio = NGX_CONF_UNSET;
    conf->cdn = NGX_CONF_UNSET;
    conf->tiles = NGX_CONF_UNSET_UINT;
    conf->send_timeout = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_http_mdvr_live_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_mdvr_live_conf_t  *prev = parent;
    ngx_http_mdvr_live_conf_t  *conf = child;

    ngx_conf_merge_msec_value(conf->wait, prev->wait, 20000);
    ngx_conf_merge_msec_value(conf->max_delay, prev->max_delay, 1000);
    ngx_conf_merge_msec_value(conf->recheck, prev->recheck, 1000);
    ngx_conf_merge_msec_value(conf->lease, prev->lease, 15000);
    ngx_conf_merge_msec_value(conf->hls_keep, prev->hls_keep, 30000);
    ngx_conf_merge_size_value(conf->max_queue, prev->max_queue, 512 * 1024);
    ngx_conf_merge_value(conf->audio, prev->audio, 1);
    ngx_conf_merge_value(conf->cdn, prev->cdn, 0);
    ngx_conf_merge_uint_value(conf->tiles, prev->tiles, 64);
    ngx_conf_merge_msec_value(conf->send_timeout, prev->send_timeout, 30000);

    if (conf->recheck < 100 || conf->recheck > 4000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"mdvr_live_recheck\" %Mms: it must be "
                           "between 100ms and 4s", conf->recheck);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_mdvr_live(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is duplicate";
    }

    if (clcf->name.len == 0 || clcf->name.data[clcf->name.len - 1] != '/') {
        return "needs a location prefix that ends with a slash";
    }

    clcf->handler = ngx_http_mdvr_live_handler;

    return NGX_CONF_OK;
}
