
/*
 * POST /devices/{id}/video/start, step by step (docs/internals.md):
 *
 *   device   the row under row security, its channels, the plan's live minutes,
 *            what a recorder does not do beside filming (`force` lets it give way)
 *   slot     the session on this node's bus is shared when there is one
 *   claim    mdvr:live:{device:channel:stream} names the node where the stream
 *            arrives; when another node has it, the token names that node
 *   command  otherwise a slot is made and C508 goes out; the answer waits for
 *            V100, or for the media connection if that is faster
 *   session  a row per viewer, the audit row, the token
 *
 * A device that refuses, is not there or does not answer makes an end of the
 * slot with its reason, for viewers that joined in the meantime.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_video.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_begin.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_playback.h"
#include "mdvr/domain/keys.h"
#include "mdvr/dc/write.h"


#define NGX_HTTP_MDVR_API_MEDIA_DEADLINE  20000


typedef struct {
    ngx_http_mdvr_api_ctx_t    *ctx;

    ngx_mdvr_uuid_t             device;
    ngx_mdvr_uuid_t             tenant;
    ngx_str_t                   serial;
    ngx_str_t                   node;
    ngx_uint_t                  channel;
    ngx_uint_t                  stream;
    ngx_uint_t                  live;       /* pictures come already */
    ngx_uint_t                  audio;      /* V101's type, 0 not known */
    time_t                      expires;

    u_char                      key[MDVR_KEY_MAX];      /* mdvr:live:... */
    size_t                      key_len;

    mdvr_bus_ref_t              ref;
    ngx_mdvr_bus_watch_t        watch;
    unsigned                    claimed:1;
    unsigned                    decided:1;
} ngx_http_mdvr_api_video_t;


static void ngx_http_mdvr_api_video_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_video_busy(ngx_http_mdvr_api_video_t *v,
    const ngx_str_t *what);
static void ngx_http_mdvr_api_video_claim(ngx_http_mdvr_api_video_t *v);
static void ngx_http_mdvr_api_video_claimed(void *data,
    const redisReply *reply, mdvr_rc_t rc);
static void ngx_http_mdvr_api_video_command(ngx_http_mdvr_api_video_t *v);
static void ngx_http_mdvr_api_video_answer(void *data,
    const ngx_mdvr_answer_t *answer, mdvr_rc_t rc);
static void ngx_http_mdvr_api_video_media(void *data);
static void ngx_http_mdvr_api_video_session(ngx_http_mdvr_api_video_t *v);
static void ngx_http_mdvr_api_video_done(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);


static const char *const  ngx_http_mdvr_api_streams[] = { "main", "sub" };


static ngx_uint_t
ngx_http_mdvr_api_stream_of(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  stream;

    stream = ngx_http_mdvr_api_str(ctx, "stream");

    return stream.len == 4 ? 0 : 1;         /* "main"; sub is the default */
}


static void
ngx_http_mdvr_api_video_cleanup(void *data)
{
    ngx_http_mdvr_api_video_t  *v = data;

    if (v->watch.active) {
        ngx_mdvr_bus_unwatch(&v->watch);
    }
}


/* --- start ------------------------------------------------------------------------ */

void
ngx_http_mdvr_api_video_start(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_mdvr_api_video_t  *v;

    cln = ngx_pool_cleanup_add(ctx->request->pool,
                               sizeof(ngx_http_mdvr_api_video_t));
    if (cln == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    v = cln->data;
    ngx_memzero(v, sizeof(ngx_http_mdvr_api_video_t));

    cln->handler = ngx_http_mdvr_api_video_cleanup;

    v->ctx = ctx;
    v->channel = ngx_http_mdvr_api_int(ctx, "channel", 1);
    v->stream = ngx_http_mdvr_api_stream_of(ctx);

    (void) ngx_mdvr_uuid_parse(&ctx->ids[0], &v->device);
    (void) ngx_mdvr_uuid_parse(&ctx->tenant, &v->tenant);

    ctx->data = v;

    ngx_http_mdvr_api_query(ctx,
        "select d.serial, d.channels, d.enabled, mdvr.quota_live(),"
        " mdvr.device_upgrading(d.id)::int,"
        /* the protocol's table: filming ends these, unlike evidence, which is
           fetched by itself and goes on later */
        " (select string_agg(x.by, ', ') from ("
        "   select distinct 'download of ' || l.path as by"
        "   from mdvr.download l where l.device_id = d.id"
        "   and l.status = 'running' and l.origin in ('user', 'playback')"
        "   union all select 'playback of a recording'"
        "   from mdvr.video_session v where v.device_id = d.id"
        "   and v.kind = 'playback' and v.ended_at is null"
        "   and v.expires_at > now()) x),"
        " case when s.registration->>'audio_type' ~ '^[0-9]{1,2}$'"
        "  then (s.registration->>'audio_type')::int else 0 end"
        " from mdvr.device d left join mdvr.device_state s"
        " on s.device_id = d.id"
        " where d.id = $1::uuid and d.deleted_at is null",
        "id", NULL, ngx_http_mdvr_api_video_device);
}


static void
ngx_http_mdvr_api_video_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    int64_t                     channels, upgrading, audio;
    ngx_str_t                   s;
    mdvr_bus_t                 *bus;
    mdvr_bus_info_t             info;
    ngx_http_mdvr_api_video_t  *v = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 0);
    v->serial = ngx_http_mdvr_api_dup(ctx->request->pool, (char *) s.data,
                                      s.len);

    if (ngx_mdvr_pg_int(rows, 0, 1, &channels) != NGX_OK
        || v->channel > (ngx_uint_t) channels)
    {
        ngx_http_mdvr_api_invalid_field(ctx, "out_of_range", "channel",
                                "the device does not have this channel");
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 2);

    if (s.len == 0 || s.data[0] != 't') {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_disabled",
                                  "the device is disabled", 0);
        return;
    }

    if (ngx_mdvr_pg_int(rows, 0, 4, &upgrading) != NGX_OK || upgrading) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_busy",
                                  API_UPGRADING, 0);
        return;
    }

    v->audio = ngx_mdvr_pg_int(rows, 0, 6, &audio) == NGX_OK ? audio : 0;
    v->node = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle)->node;

    bus = ngx_mdvr_bus();

    if (bus == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "live video is not available",
                                  2);
        return;
    }

    if (mdvr_bus_find_key(bus, MDVR_BUS_KIND_LIVE, v->device.b, v->channel,
                          v->stream, &v->ref)
        == MDVR_OK
        && mdvr_bus_info(bus, v->ref, &info) == MDVR_OK
        && (info.state == MDVR_BUS_STARTING || info.state == MDVR_BUS_LIVE))
    {
        v->live = info.state == MDVR_BUS_LIVE;
        ngx_http_mdvr_api_video_session(v);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 5);

    if (s.len && !json_is_true(json_object_get(ctx->body, "force"))) {
        ngx_http_mdvr_api_video_busy(v, &s);
        return;
    }

    /* a recording that is played ends */

    (void) ngx_mdvr_playback_end(v->device.b, MDVR_BUS_END_REPLACED);

    ngx_http_mdvr_api_video_claim(v);
}


static void
ngx_http_mdvr_api_video_busy(ngx_http_mdvr_api_video_t *v,
    const ngx_str_t *what)
{
    u_char  *p;

    p = ngx_pnalloc(v->ctx->request->pool, what->len + 64);

    if (p) {
        ngx_sprintf(p, "%V is in the way%Z", what);
    }

    ngx_http_mdvr_api_problem(v->ctx, NGX_HTTP_CONFLICT, "device_busy",
                              p ? (char *) p : NULL, 0);
}


static void
ngx_http_mdvr_api_video_claim(ngx_http_mdvr_api_video_t *v)
{
    size_t       lens[6];
    mdvr_buf_t   b;
    ngx_uint_t   i;
    const char  *argv[6];

    b = mdvr_buf(v->key, sizeof(v->key));
    mdvr_key_live(&b, mdvr_str(v->ctx->ids[0].data, v->ctx->ids[0].len),
                  v->channel, mdvr_cstr(ngx_http_mdvr_api_streams[v->stream]));
    v->key_len = b.len;

    /* one round trip: the old value comes back when there is one */

    argv[0] = "SET";
    argv[1] = (char *) v->key;
    argv[2] = (char *) v->node.data;
    argv[3] = "NX";
    argv[4] = "EX";
    argv[5] = "30";

    for (i = 0; i < 6; i++) {
        lens[i] = i == 1 ? v->key_len : i == 2 ? v->node.len
                                               : ngx_strlen(argv[i]);
    }

    if (!ngx_mdvr_redis_up()
        || ngx_mdvr_redis_command(v->ctx->request->pool, 1000, 6, argv, lens,
                                  ngx_http_mdvr_api_video_claimed, v)
           != NGX_OK)
    {
        ngx_http_mdvr_api_video_command(v);     /* alone, as far as we know */
    }
}


static void
ngx_http_mdvr_api_video_holder(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    ngx_connection_t           *c;
    ngx_http_mdvr_api_video_t  *v = data;

    c = v->ctx->request->connection;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_STRING
        && !(reply->len == v->node.len
             && ngx_memcmp(reply->str, v->node.data, v->node.len) == 0)
        && reply->len <= NGX_MDVR_NODE_MAX)
    {
        v->node = ngx_http_mdvr_api_dup(v->ctx->request->pool, reply->str,
                                        reply->len);
        ngx_http_mdvr_api_video_session(v);

    } else {
        v->claimed = 1;
        ngx_http_mdvr_api_video_command(v);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_video_claimed(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    size_t                      lens[2];
    const char                 *argv[2];
    ngx_connection_t           *c;
    ngx_http_mdvr_api_video_t  *v = data;

    c = v->ctx->request->connection;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_NIL) {

        argv[0] = "GET";
        lens[0] = 3;
        argv[1] = (char *) v->key;
        lens[1] = v->key_len;

        if (ngx_mdvr_redis_command(v->ctx->request->pool, 1000, 2, argv, lens,
                                   ngx_http_mdvr_api_video_holder, v)
            == NGX_OK)
        {
            return;
        }
    }

    v->claimed = rc == MDVR_OK;
    ngx_http_mdvr_api_video_command(v);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_video_command(ngx_http_mdvr_api_video_t *v)
{
    char                            note[NGX_MDVR_BUS_LIVE_NOTE];
    bool                            created;
    u_char                         *p;
    mdvr_rc_t                       rc;
    mdvr_buf_t                      b;
    mdvr_bus_t                     *bus;
    mdvr_endpoint_t                 media;
    mdvr_bus_info_t                 info;
    mdvr_bus_start_t                start;
    ngx_mdvr_command_t              command;
    ngx_mdvr_core_conf_t           *core;
    ngx_http_request_t             *r;
    ngx_http_mdvr_api_ctx_t        *ctx;

    ctx = v->ctx;
    r = ctx->request;
    bus = ngx_mdvr_bus();
    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (bus == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "live video is not available",
                                  2);
        return;
    }

    ngx_memzero(&start, sizeof(start));

    start.kind = MDVR_BUS_KIND_LIVE;
    ngx_memcpy(start.tenant_id, v->tenant.b, 16);
    ngx_memcpy(start.device_id, v->device.b, 16);
    start.serial = (char *) v->serial.data;
    start.channel = v->channel;
    start.stream = v->stream;
    start.deadline_ms = mdvr_bus_clock_ms() + NGX_HTTP_MDVR_API_MEDIA_DEADLINE;
    start.note = ngx_mdvr_bus_live_note(note, v->audio);

    rc = mdvr_bus_start(bus, &start, mdvr_bus_clock_ms(), &v->ref, &created);

    if (rc != MDVR_OK || mdvr_bus_info(bus, v->ref, &info) != MDVR_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "too_many_streams",
                                  "this node carries all the streams it can",
                                  5);
        return;
    }

    if (!created) {
        v->live = info.state == MDVR_BUS_LIVE;
        ngx_http_mdvr_api_video_session(v);
        return;
    }

    p = ngx_pnalloc(r->pool, 512);
    if (p == NULL) {
        (void) ngx_mdvr_bus_end(v->ref, MDVR_BUS_END_FAILED,
                                r->connection->log);
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    media.address = mdvr_str(core->public_host.data, core->public_host.len);
    media.port = core->media_port;

    b = mdvr_buf(p, 512);
    mdvr_body_c508_start(&b, mdvr_cstr(info.session), (int) v->channel - 1,
                         (int) v->stream, media);

    ngx_memzero(&command, sizeof(command));

    command.serial = v->serial;
    ngx_str_set(&command.keyword, "C508");
    command.body.data = b.len && p[0] == ',' ? p + 1 : p;
    command.body.len = b.len && p[0] == ',' ? b.len - 1 : b.len;
    command.timeout = ngx_http_mdvr_api_conf(ctx)->command_timeout;
    command.request_id = *ngx_mdvr_http_request_id(r);
    command.traceparent = ngx_mdvr_http_traceparent(r);

    (void) ngx_mdvr_bus_watch(&v->watch, v->ref, NGX_MDVR_BUS_WATCH,
                              ngx_http_mdvr_api_video_media, v);

    if (ngx_mdvr_command_send(r->pool, &command,
                              ngx_http_mdvr_api_video_answer, v)
        != NGX_OK)
    {
        (void) ngx_mdvr_bus_end(v->ref, MDVR_BUS_END_FAILED,
                                r->connection->log);
        ngx_http_mdvr_api_video_cleanup(v);
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                  "too many commands in flight", 1);
    }
}


static void
ngx_http_mdvr_api_video_fail(ngx_http_mdvr_api_video_t *v, mdvr_bus_end_e why,
    ngx_uint_t status, const char *code, const char *detail)
{
    size_t       lens[2];
    const char  *argv[2];

    v->decided = 1;
    ngx_http_mdvr_api_video_cleanup(v);

    (void) ngx_mdvr_bus_end(v->ref, why, v->ctx->request->connection->log);

    if (v->claimed) {
        argv[0] = "DEL";
        lens[0] = 3;
        argv[1] = (char *) v->key;
        lens[1] = v->key_len;
        (void) ngx_mdvr_redis_command(NULL, 1000, 2, argv, lens, NULL, NULL);
    }

    ngx_http_mdvr_api_problem(v->ctx, status, code, detail,
                              status == NGX_HTTP_SERVICE_UNAVAILABLE ? 2 : 0);
}


static void
ngx_http_mdvr_api_video_answer(void *data, const ngx_mdvr_answer_t *answer,
    mdvr_rc_t rc)
{
    ngx_connection_t           *c;
    ngx_http_mdvr_api_video_t  *v = data;
    ngx_http_mdvr_api_begin_t   why;

    if (v->decided || (answer && answer->status == NGX_MDVR_ANSWER_SENT)) {
        return;
    }

    c = v->ctx->request->connection;

    if (ngx_http_mdvr_api_begin_answer(v->ctx->request->pool, answer, &why)
        == NGX_OK)
    {
        v->decided = 1;
        ngx_http_mdvr_api_video_cleanup(v);
        ngx_http_mdvr_api_video_session(v);

    } else {
        ngx_http_mdvr_api_video_fail(v, why.end, why.status, why.code,
                                     why.detail);
    }

    ngx_http_run_posted_requests(c);
}


/* the media connection may be faster than V100 */

static void
ngx_http_mdvr_api_video_media(void *data)
{
    mdvr_bus_info_t             info;
    ngx_connection_t           *c;
    ngx_http_mdvr_api_video_t  *v = data;

    if (v->decided) {
        return;
    }

    c = v->ctx->request->connection;

    if (mdvr_bus_info(ngx_mdvr_bus(), v->ref, &info) != MDVR_OK
        || info.state == MDVR_BUS_ENDING)
    {
        ngx_http_mdvr_api_video_fail(v, MDVR_BUS_END_FAILED,
                                     NGX_HTTP_CONFLICT, "stream_ended",
                                     "the stream ended before it began");

    } else if (info.connected || info.state == MDVR_BUS_LIVE) {
        v->decided = 1;
        v->live = info.state == MDVR_BUS_LIVE;
        ngx_http_mdvr_api_video_cleanup(v);
        ngx_http_mdvr_api_video_session(v);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_video_session(ngx_http_mdvr_api_video_t *v)
{
    ngx_str_t                 bind[5];
    ngx_pool_t               *pool;
    ngx_http_mdvr_api_ctx_t  *ctx;

    ctx = v->ctx;
    pool = ctx->request->pool;

    v->expires = ngx_time() + ngx_http_mdvr_api_conf(ctx)->stream_ttl;

    bind[0].data = ngx_pnalloc(pool, NGX_INT_T_LEN);
    if (bind[0].data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    bind[0].len = ngx_sprintf(bind[0].data, "%ui", v->channel) - bind[0].data;
    bind[1].data = (u_char *) ngx_http_mdvr_api_streams[v->stream];
    bind[1].len = ngx_strlen(bind[1].data);
    bind[2] = v->node;
    bind[3] = ngx_http_mdvr_api_time_text(pool, v->expires);

    ngx_str_null(&bind[4]);

    if (ctx->replay) {
        bind[4].data = (u_char *) json_string_value(
                                  json_object_get(ctx->replay, "session_id"));
        bind[4].len = bind[4].data ? ngx_strlen(bind[4].data) : 0;
    }

    /* a repeated request gets its own session again while that lasts */

    ngx_http_mdvr_api_query(ctx,
        "with old as materialized (select v.id from mdvr.video_session v"
        "   where v.id = $11::uuid and v.ended_at is null"
        "   and mdvr.video_session_renew(v.id, $10::timestamptz)),"
        " new as materialized (select coalesce((select id from old),"
        "   mdvr.video_session_start($6::uuid, $7::int, $8, $9,"
        "    $10::timestamptz, $3::uuid)) as id)"
        " select id, mdvr.rfc3339($10::timestamptz),"
        API_AUDIT("video.start", "device", "$6::text",
                  "jsonb_build_object('session_id', id, 'channel', $7::int,"
                  " 'stream', $8)")
        " from new",
        API_WHO ",id,@0,@1,@2,@3,@4", bind, ngx_http_mdvr_api_video_done);
}


json_t *
ngx_http_mdvr_api_video_json(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_stream_token_t *fields, const ngx_str_t *id,
    const ngx_str_t *expires, ngx_uint_t channel, ngx_uint_t live)
{
    u_char      url[1024];
    json_t     *urls;
    ngx_str_t   token;
    ngx_uint_t  i;

    static const struct {
        const char  *name;
        const char  *file;
    } transports[] = {
        { "hls",  "index.m3u8" },
        { "fmp4", "stream.mp4" },
        { "ws",   "ws" },
        { "whep", "whep" }
    };

    if (ngx_mdvr_stream_token_make(ctx->request->pool, fields, &token)
        != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "no signing key yet", 1);
        return NULL;
    }

    urls = json_object();

    for (i = 0; i < sizeof(transports) / sizeof(transports[0]); i++) {
        *ngx_snprintf(url, sizeof(url) - 1, "/live/%V/%s", &token,
                      transports[i].file) = '\0';
        json_object_set_new(urls, transports[i].name,
                            json_string((char *) url));
    }

    return json_pack("{s:o, s:o, s:i, s:s, s:s, s:o, s:o, s:o}",
                     "session_id", json_stringn((char *) id->data, id->len),
                     "device_id", json_stringn((char *) ctx->ids[0].data,
                                               ctx->ids[0].len),
                     "channel", (int) channel,
                     "stream", ngx_http_mdvr_api_streams[fields->stream],
                     "status", live ? "live" : "starting",
                     "token", json_stringn((char *) token.data, token.len),
                     "expires_at", json_stringn((char *) expires->data,
                                                expires->len),
                     "urls", urls);
}


static void
ngx_http_mdvr_api_video_done(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    json_t                     *answer;
    ngx_str_t                   id, expires;
    ngx_mdvr_stream_token_t     fields;
    ngx_http_mdvr_api_video_t  *v = ctx->data;

    ngx_memzero(&fields, sizeof(fields));

    if (ngx_mdvr_pg_nrows(rows) == 0
        || ngx_mdvr_pg_uuid(rows, 0, 0, &fields.session) != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    fields.tenant = v->tenant;
    fields.user = ctx->principal.user;
    fields.user_session = ctx->principal.session;
    fields.device = v->device;
    fields.channel = v->channel;
    fields.stream = v->stream;
    fields.issued_at = ngx_time();
    fields.expires_at = v->expires;
    fields.node = v->node;

    id = ngx_mdvr_pg_value(rows, 0, 0);
    expires = ngx_mdvr_pg_value(rows, 0, 1);

    answer = ngx_http_mdvr_api_video_json(ctx, &fields, &id, &expires,
                                          v->channel, v->live);
    if (answer) {
        ngx_http_mdvr_api_json(ctx, NGX_HTTP_OK, answer);
    }
}


/* --- stop and renew --------------------------------------------------------------------- */

static void
ngx_http_mdvr_api_video_stopped(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    int64_t           others;
    ngx_uint_t        i, n;
    mdvr_bus_t       *bus;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;
    ngx_mdvr_uuid_t   id, device;

    n = ngx_mdvr_pg_nrows(rows);

    if (n == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    for (i = 0; i < n; i++) {
        if (ngx_mdvr_pg_uuid(rows, i, 0, &id) == NGX_OK) {
            ngx_mdvr_auth_revoke_session(&id, ngx_time() + 86400);
        }
    }

    /* the caller was the last one: the device need not go on for 15 s */

    bus = ngx_mdvr_bus();

    if (bus && ngx_mdvr_pg_int(rows, 0, 1, &others) == NGX_OK && others == 0
        && ngx_mdvr_uuid_parse(&ctx->ids[0], &device) == NGX_OK
        && mdvr_bus_find_key(bus, MDVR_BUS_KIND_LIVE, device.b,
                             ngx_http_mdvr_api_int(ctx, "channel", 1),
                             ngx_http_mdvr_api_stream_of(ctx), &ref)
           == MDVR_OK
        && mdvr_bus_info(bus, ref, &info) == MDVR_OK
        && ngx_mdvr_bus_end(ref, MDVR_BUS_END_STOPPED,
                            ctx->request->connection->log)
           == MDVR_OK
        && !info.connected)
    {
        /* otherwise who holds the media connection tells the device */

        ngx_mdvr_bus_stop_device(&info);
    }

    ngx_http_mdvr_api_empty(ctx);
}


void
ngx_http_mdvr_api_video_stop(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  bind[2];

    bind[0].data = ngx_pnalloc(ctx->request->pool, NGX_INT_T_LEN);
    if (bind[0].data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    bind[0].len = ngx_sprintf(bind[0].data, "%ui", (ngx_uint_t)
                              ngx_http_mdvr_api_int(ctx, "channel", 1))
                  - bind[0].data;
    bind[1].data = (u_char *) ngx_http_mdvr_api_streams[
                                           ngx_http_mdvr_api_stream_of(ctx)];
    bind[1].len = ngx_strlen(bind[1].data);

    ngx_http_mdvr_api_query(ctx,
        "with d as (select id from mdvr.device"
        "   where id = $6::uuid and deleted_at is null),"
        " open as (select v.id, v.session_id = $3::uuid as own"
        "   from mdvr.video_session v, d where v.device_id = d.id"
        "   and v.channel = $7::int and v.stream = $8 and v.kind = 'live'"
        "   and v.ended_at is null and v.expires_at > now()),"
        " gone as materialized (select o.id,"
        "   mdvr.video_session_end(o.id, 'stopped', 0) from open o where own)"
        " select g.id, (select count(*) from open where not own),"
        " case when g.id is not null then"
        API_AUDIT("video.stop", "device", "$6::text",
                  "jsonb_build_object('session_id', g.id)")
        " end from d left join gone g on true",
        API_WHO ",id,@0,@1", bind, ngx_http_mdvr_api_video_stopped);
}


static void
ngx_http_mdvr_api_video_renewed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    time_t           *expires = ctx->data;
    ngx_str_t         text;
    ngx_mdvr_uuid_t   id;

    if (ngx_mdvr_pg_nrows(rows) == 0
        || ngx_mdvr_uuid_parse(&ctx->ids[0], &id) != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    ngx_mdvr_stream_token_renew(&id, *expires);

    text = ngx_mdvr_pg_value(rows, 0, 0);
    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_OK, NULL, &text, 1);
}


void
ngx_http_mdvr_api_video_renew(ngx_http_mdvr_api_ctx_t *ctx)
{
    time_t     *expires;
    ngx_str_t   text;

    expires = ngx_palloc(ctx->request->pool, sizeof(time_t));
    if (expires == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    *expires = ngx_time() + ngx_http_mdvr_api_conf(ctx)->stream_ttl;
    ctx->data = expires;
    text = ngx_http_mdvr_api_time_text(ctx->request->pool, *expires);

    ngx_http_mdvr_api_query(ctx,
        "with r as materialized (select mdvr.video_session_renew($1::uuid,"
        "   $2::timestamptz) as done)"
        " select json_build_object('session_id', $1::uuid, 'expires_at',"
        "  mdvr.rfc3339($2::timestamptz))::text from r where done",
        "id,@0", &text, ngx_http_mdvr_api_video_renewed);
}
