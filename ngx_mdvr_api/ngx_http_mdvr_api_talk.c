
/*
 * POST /devices/{id}/talk/start, step by step:
 *
 *   device   the row under row security
 *   claim    mdvr.talk_claim(): one open row per device is the lock, on all
 *            nodes; who has it is named in the 409, `force` takes it
 *   slot     a session on this node's bus, C550 (listen: C551) with this
 *            node's address; the answer waits for V100, or for the media
 *            connection if that is faster
 *   answer   the audit row, a stream token of channel 0
 *
 * Whatever fails after the claim gives the lock back with its reason.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_talk.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_begin.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_talk.h"
#include "mdvr/dc/write.h"


#define NGX_HTTP_MDVR_API_TALK_DEADLINE  20000      /* ms for V105 */


typedef struct {
    ngx_http_mdvr_api_ctx_t    *ctx;

    ngx_mdvr_uuid_t             device;
    ngx_mdvr_uuid_t             tenant;
    ngx_mdvr_uuid_t             session;
    ngx_str_t                   session_text;
    ngx_str_t                   serial;
    ngx_int_t                   channel;    /* of a camera's microphone, or 0 */
    time_t                      expires;

    mdvr_bus_ref_t              ref;
    ngx_mdvr_bus_watch_t        watch;
    unsigned                    listen:1;
    unsigned                    half:1;
    unsigned                    force:1;
    unsigned                    repeated:1;
    unsigned                    live:1;
    unsigned                    decided:1;
} ngx_http_mdvr_api_talk_t;


static void ngx_http_mdvr_api_talk_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_talk_claim(ngx_http_mdvr_api_talk_t *v,
    ngx_uint_t force);
static void ngx_http_mdvr_api_talk_claimed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_talk_command(ngx_http_mdvr_api_talk_t *v);
static void ngx_http_mdvr_api_talk_answer(void *data,
    const ngx_mdvr_answer_t *answer, mdvr_rc_t rc);
static void ngx_http_mdvr_api_talk_media(void *data);
static void ngx_http_mdvr_api_talk_audit(ngx_http_mdvr_api_talk_t *v);
static void ngx_http_mdvr_api_talk_done(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);


static ngx_uint_t
ngx_http_mdvr_api_talk_flag(ngx_http_mdvr_api_ctx_t *ctx, const char *name)
{
    return json_is_true(json_object_get(ctx->body, name));
}


static ngx_uint_t
ngx_http_mdvr_api_talk_word(ngx_http_mdvr_api_ctx_t *ctx, const char *name,
    const char *word)
{
    ngx_str_t  s;

    s = ngx_http_mdvr_api_str(ctx, name);

    return s.len == ngx_strlen(word) && ngx_memcmp(s.data, word, s.len) == 0;
}


static void
ngx_http_mdvr_api_talk_cleanup(void *data)
{
    ngx_http_mdvr_api_talk_t  *v = data;

    if (v->watch.active) {
        ngx_mdvr_bus_unwatch(&v->watch);
    }
}


/* --- start ------------------------------------------------------------------------ */

void
ngx_http_mdvr_api_talk_start(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_mdvr_api_talk_t  *v;

    cln = ngx_pool_cleanup_add(ctx->request->pool,
                               sizeof(ngx_http_mdvr_api_talk_t));
    if (cln == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    v = cln->data;
    ngx_memzero(v, sizeof(ngx_http_mdvr_api_talk_t));
    cln->handler = ngx_http_mdvr_api_talk_cleanup;

    v->ctx = ctx;
    v->listen = ngx_http_mdvr_api_talk_word(ctx, "mode", "listen");
    v->half = ngx_http_mdvr_api_talk_word(ctx, "duplex", "half");
    v->force = ngx_http_mdvr_api_talk_flag(ctx, "force");
    v->channel = (ngx_int_t) ngx_http_mdvr_api_int(ctx, "channel", 0);

    if (v->channel && !v->listen) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "channel",
                                "a talk uses the intercom; a camera's "
                                "microphone can be listened to");
        return;
    }

    (void) ngx_mdvr_uuid_parse(&ctx->ids[0], &v->device);
    (void) ngx_mdvr_uuid_parse(&ctx->tenant, &v->tenant);

    ctx->data = v;

    ngx_http_mdvr_api_query(ctx,
        "select d.serial, d.channels, d.enabled, mdvr.quota_live(),"
        " mdvr.device_upgrading(d.id)::int"
        " from mdvr.device d where d.id = $1::uuid and d.deleted_at is null",
        "id", NULL, ngx_http_mdvr_api_talk_device);
}


/* 409 with who or what is in the way */

static void
ngx_http_mdvr_api_talk_busy(ngx_http_mdvr_api_talk_t *v, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    p = ngx_pcalloc(v->ctx->request->pool, 512);

    if (p) {
        va_start(args, fmt);
        (void) ngx_vslprintf(p, p + 511, fmt, args);
        va_end(args);
    }

    ngx_mdvr_refusal("talk_busy");
    ngx_http_mdvr_api_problem(v->ctx, NGX_HTTP_CONFLICT, "device_busy",
                              (char *) p, 0);
}


static void
ngx_http_mdvr_api_talk_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    int64_t                    channels;
    ngx_str_t                  s;
    ngx_http_mdvr_api_talk_t  *v = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 0);
    v->serial = ngx_http_mdvr_api_dup(ctx->request->pool, (char *) s.data,
                                      s.len);

    if (ngx_mdvr_pg_int(rows, 0, 1, &channels) != NGX_OK
        || v->channel > (ngx_int_t) channels)
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

    if (ngx_mdvr_bus() == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "voice is not available", 2);
        return;
    }

    /* an upgrade is the one thing that a device does not interrupt */

    s = ngx_mdvr_pg_value(rows, 0, 4);

    if (s.len && s.data[0] == '1') {
        ngx_http_mdvr_api_talk_busy(v, API_UPGRADING);
        return;
    }

    ngx_http_mdvr_api_talk_claim(v, v->force);
}


static void
ngx_http_mdvr_api_talk_claim(ngx_http_mdvr_api_talk_t *v, ngx_uint_t force)
{
    ngx_str_t                 bind[3];
    ngx_http_mdvr_api_ctx_t  *ctx = v->ctx;

    v->expires = ngx_time() + ngx_http_mdvr_api_conf(ctx)->stream_ttl;

    bind[0] = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle)->node;
    bind[1] = ngx_http_mdvr_api_time_text(ctx->request->pool, v->expires);

    if (bind[1].data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    bind[2].data = (u_char *) (force ? "true" : "false");
    bind[2].len = ngx_strlen(bind[2].data);

    ngx_http_mdvr_api_query(ctx,
        "select c.verdict, c.id, c.holder, mdvr.rfc3339(c.since), c.node"
        " from mdvr.talk_claim($2::uuid, $3, $4::timestamptz, $1::uuid,"
        "  $5::boolean) c",
        "$session,id,@0,@1,@2", bind, ngx_http_mdvr_api_talk_claimed);
}


/* The session on this node's bus whose token is that of row `id`. */

static ngx_uint_t
ngx_http_mdvr_api_talk_here(const ngx_mdvr_uuid_t *device,
    const ngx_mdvr_uuid_t *id, mdvr_bus_info_t *info,
    ngx_mdvr_talk_note_t *note)
{
    return ngx_mdvr_talk_find(device->b, info) == MDVR_OK
           && ngx_mdvr_talk_note(info->ref, note) == MDVR_OK && note->known
           && ngx_memcmp(note->session.b, id->b, 16) == 0;
}


static void
ngx_http_mdvr_api_talk_claimed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_str_t                  verdict, id, holder, since, node, self;
    mdvr_bus_info_t            info;
    ngx_mdvr_uuid_t            old;
    ngx_mdvr_talk_note_t       note;
    ngx_http_mdvr_api_talk_t  *v = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0
        || ngx_mdvr_pg_uuid(rows, 0, 1, &v->session) != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    verdict = ngx_mdvr_pg_value(rows, 0, 0);
    id = ngx_mdvr_pg_value(rows, 0, 1);
    holder = ngx_mdvr_pg_value(rows, 0, 2);
    since = ngx_mdvr_pg_value(rows, 0, 3);
    node = ngx_mdvr_pg_value(rows, 0, 4);

    v->session_text = ngx_http_mdvr_api_dup(ctx->request->pool,
                                            (char *) id.data, id.len);

    if (verdict.len == 3 && ngx_memcmp(verdict.data, "new", 3) == 0) {

        if (holder.len && ngx_mdvr_uuid_parse(&holder, &old) == NGX_OK) {
            ngx_mdvr_auth_revoke_session(&old, ngx_time() + 86400);
        }

        /* C551 as a command has no row, but the device's microphone */

        if (ngx_mdvr_talk_find(v->device.b, &info) == MDVR_OK) {
            (void) ngx_mdvr_bus_end(info.ref, MDVR_BUS_END_REPLACED,
                                    ctx->request->connection->log);
        }

        ngx_http_mdvr_api_talk_command(v);
        return;
    }

    self = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle)->node;

    if (node.len == self.len && ngx_memcmp(node.data, self.data, self.len) == 0)
    {
        if (!ngx_http_mdvr_api_talk_here(&v->device, &v->session, &info,
                                         &note))
        {
            /* its session is gone, its row not yet: nobody talks */

            if (!v->repeated) {
                v->repeated = 1;
                ngx_http_mdvr_api_talk_claim(v, 1);
                return;
            }

        } else if (verdict.data[0] == 'o' && note.listen == v->listen
                   && note.half == v->half
                   && (ngx_int_t) note.channel == v->channel)
        {
            v->ref = info.ref;
            v->live = info.state == MDVR_BUS_LIVE;
            ngx_http_mdvr_api_talk_audit(v);
            return;
        }
    }

    /* one's own talk of another kind, or begun at another node: again */

    if (verdict.data[0] == 'o' && !v->repeated) {
        v->repeated = 1;
        ngx_http_mdvr_api_talk_claim(v, 1);
        return;
    }

    ngx_http_mdvr_api_talk_busy(v, "%V has the device's voice channel since "
                                "%V; force takes it over", &holder, &since);
}


/* Gives the lock back and answers. */

static void
ngx_http_mdvr_api_talk_fail(ngx_http_mdvr_api_talk_t *v, mdvr_bus_end_e why,
    ngx_uint_t status, const char *code, const char *detail)
{
    v->decided = 1;
    ngx_http_mdvr_api_talk_cleanup(v);

    (void) ngx_mdvr_bus_end(v->ref, why, v->ctx->request->connection->log);

    ngx_http_mdvr_api_problem(v->ctx, status, code, detail,
                              status == NGX_HTTP_SERVICE_UNAVAILABLE ? 2 : 0);
}


static void
ngx_http_mdvr_api_talk_command(ngx_http_mdvr_api_talk_t *v)
{
    bool                      created;
    u_char                   *p, note[256];
    mdvr_rc_t                 rc;
    mdvr_buf_t                b;
    mdvr_bus_t               *bus;
    mdvr_bus_info_t           info;
    mdvr_bus_start_t          start;
    ngx_mdvr_command_t        command;
    ngx_http_request_t       *r;
    ngx_http_mdvr_api_ctx_t  *ctx;

    ctx = v->ctx;
    r = ctx->request;
    bus = ngx_mdvr_bus();
    p = ngx_pnalloc(r->pool, 512);

    *ngx_snprintf(note, sizeof(note) - 1,
                  "{\"session_id\":\"%V\",\"listen\":%s,\"half\":%s,"
                  "\"channel\":%i}", &v->session_text,
                  v->listen ? "true" : "false", v->half ? "true" : "false",
                  v->channel) = '\0';

    ngx_memzero(&start, sizeof(start));

    start.kind = MDVR_BUS_KIND_TALK;
    ngx_memcpy(start.tenant_id, v->tenant.b, 16);
    ngx_memcpy(start.device_id, v->device.b, 16);
    start.serial = (char *) v->serial.data;
    start.deadline_ms = mdvr_bus_clock_ms() + NGX_HTTP_MDVR_API_TALK_DEADLINE;
    start.note = (char *) note;

    rc = bus && p ? mdvr_bus_start(bus, &start, mdvr_bus_clock_ms(), &v->ref,
                                   &created)
                  : MDVR_E_UNAVAILABLE;

    if (rc != MDVR_OK || mdvr_bus_info(bus, v->ref, &info) != MDVR_OK) {

        /* the row without a session goes with the next request */

        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "too_many_streams",
                                  "this node carries all the streams it can",
                                  5);
        return;
    }

    b = mdvr_buf(p, 512);
    ngx_memzero(&command, sizeof(command));

    ngx_mdvr_talk_command(&info, 1, &command.keyword, &b);

    command.serial = v->serial;
    command.body.data = b.len && p[0] == ',' ? p + 1 : p;
    command.body.len = b.len && p[0] == ',' ? b.len - 1 : b.len;
    command.timeout = ngx_http_mdvr_api_conf(ctx)->command_timeout;
    command.request_id = *ngx_mdvr_http_request_id(r);
    command.traceparent = ngx_mdvr_http_traceparent(r);

    (void) ngx_mdvr_bus_watch(&v->watch, v->ref, NGX_MDVR_BUS_WATCH,
                              ngx_http_mdvr_api_talk_media, v);

    if (ngx_mdvr_command_send(r->pool, &command,
                              ngx_http_mdvr_api_talk_answer, v)
        != NGX_OK)
    {
        ngx_http_mdvr_api_talk_fail(v, MDVR_BUS_END_FAILED,
                                    NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                    "too many commands in flight");
    }
}


static void
ngx_http_mdvr_api_talk_answer(void *data, const ngx_mdvr_answer_t *answer,
    mdvr_rc_t rc)
{
    ngx_connection_t           *c;
    ngx_http_mdvr_api_talk_t   *v = data;
    ngx_http_mdvr_api_begin_t   why;

    if (v->decided || (answer && answer->status == NGX_MDVR_ANSWER_SENT)) {
        return;
    }

    c = v->ctx->request->connection;

    if (ngx_http_mdvr_api_begin_answer(v->ctx->request->pool, answer, &why)
        == NGX_OK)
    {
        v->decided = 1;
        ngx_http_mdvr_api_talk_cleanup(v);
        ngx_http_mdvr_api_talk_audit(v);

    } else {
        ngx_http_mdvr_api_talk_fail(v, why.end, why.status, why.code,
                                    why.detail);
    }

    ngx_http_run_posted_requests(c);
}


/* the media connection may be faster than V100 */

static void
ngx_http_mdvr_api_talk_media(void *data)
{
    mdvr_bus_info_t            info;
    ngx_connection_t          *c;
    ngx_http_mdvr_api_talk_t  *v = data;

    if (v->decided) {
        return;
    }

    c = v->ctx->request->connection;
    ngx_memzero(&info, sizeof(info));

    if (mdvr_bus_info(ngx_mdvr_bus(), v->ref, &info) != MDVR_OK
        || info.state == MDVR_BUS_ENDING)
    {
        ngx_http_mdvr_api_talk_fail(v, MDVR_BUS_END_FAILED, NGX_HTTP_CONFLICT,
                                    mdvr_bus_end_name(info.end),
                                    mdvr_bus_end_text(info.end));

    } else if (info.connected || info.state == MDVR_BUS_LIVE) {
        v->decided = 1;
        v->live = info.state == MDVR_BUS_LIVE;
        ngx_http_mdvr_api_talk_cleanup(v);
        ngx_http_mdvr_api_talk_audit(v);
    }

    ngx_http_run_posted_requests(c);
}


/* --- the answer ------------------------------------------------------------------------ */

static void
ngx_http_mdvr_api_talk_audit(ngx_http_mdvr_api_talk_t *v)
{
    ngx_str_t  bind[4];

    bind[0] = v->session_text;
    bind[1].data = (u_char *) (v->listen ? "listen" : "talk");
    bind[1].len = ngx_strlen(bind[1].data);
    bind[2].data = (u_char *) (v->force ? "true" : "false");
    bind[2].len = ngx_strlen(bind[2].data);
    bind[3] = ngx_http_mdvr_api_time_text(v->ctx->request->pool, v->expires);

    if (bind[3].data == NULL) {
        ngx_http_mdvr_api_problem(v->ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_query(v->ctx,
        "select mdvr.rfc3339($10::timestamptz),"
        " mdvr.video_session_renew($7::uuid, $10::timestamptz),"
        API_AUDIT("talk.start", "device", "$6::text",
                  "jsonb_build_object('session_id', $7::uuid, 'mode', $8::text,"
                  " 'force', $9::boolean)"),
        API_WHO ",id,@0,@1,@2,@3", bind, ngx_http_mdvr_api_talk_done);
}


static void
ngx_http_mdvr_api_talk_done(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char                     ws[1024], whep[1024];
    ngx_str_t                  token, expires;
    ngx_mdvr_stream_token_t    fields;
    ngx_http_mdvr_api_talk_t  *v = ctx->data;

    ngx_memzero(&fields, sizeof(fields));

    fields.session = v->session;
    fields.tenant = v->tenant;
    fields.user = ctx->principal.user;
    fields.user_session = ctx->principal.session;
    fields.device = v->device;
    fields.issued_at = ngx_time();
    fields.expires_at = v->expires;
    fields.node = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle)->node;

    if (ngx_mdvr_pg_nrows(rows) == 0
        || ngx_mdvr_stream_token_make(ctx->request->pool, &fields, &token)
           != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "no signing key yet", 1);
        return;
    }

    ngx_mdvr_stream_token_renew(&v->session, v->expires);

    expires = ngx_mdvr_pg_value(rows, 0, 0);

    *ngx_snprintf(ws, sizeof(ws) - 1, "/live/%V/ws", &token) = '\0';
    *ngx_snprintf(whep, sizeof(whep) - 1, "/live/%V/whep", &token) = '\0';

    ngx_http_mdvr_api_json(ctx, NGX_HTTP_OK,
        json_pack("{s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:{s:s, s:s}}",
                  "session_id", json_stringn((char *) v->session_text.data,
                                             v->session_text.len),
                  "device_id", json_stringn((char *) ctx->ids[0].data,
                                            ctx->ids[0].len),
                  "mode", v->listen ? "listen" : "talk",
                  "duplex", v->half ? "half" : "full",
                  "status", v->live ? "live" : "starting",
                  "token", json_stringn((char *) token.data, token.len),
                  "expires_at", json_stringn((char *) expires.data,
                                             expires.len),
                  "urls", "ws", ws, "whep", whep));
}


/* --- stop ---------------------------------------------------------------------------------- */

static void
ngx_http_mdvr_api_talk_stopped(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_uint_t             i, n;
    mdvr_bus_info_t        info;
    ngx_mdvr_uuid_t        id, device;
    ngx_mdvr_command_t     command;
    ngx_mdvr_talk_note_t   note;

    n = ngx_mdvr_pg_nrows(rows);

    if (n == 0 || ngx_mdvr_uuid_parse(&ctx->ids[0], &device) != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    for (i = 0; i < n; i++) {

        if (ngx_mdvr_pg_uuid(rows, i, 0, &id) != NGX_OK) {
            continue;
        }

        /* on another node it ends when its operator has lost the way in */

        ngx_mdvr_auth_revoke_session(&id, ngx_time() + 86400);

        if (ngx_http_mdvr_api_talk_here(&device, &id, &info, &note)
            && ngx_mdvr_bus_end(info.ref, MDVR_BUS_END_STOPPED,
                                ctx->request->connection->log)
               == MDVR_OK
            && !info.connected)
        {
            ngx_mdvr_bus_stop_device(&info);
        }
    }

    /* none that ran: a call of the vehicle that waits is refused */

    if (ngx_mdvr_pg_uuid(rows, 0, 0, &id) != NGX_OK) {
        ngx_memzero(&command, sizeof(ngx_mdvr_command_t));
        command.serial = ngx_mdvr_pg_value(rows, 0, 1);
        ngx_str_set(&command.keyword, "C100");
        ngx_str_set(&command.body, "V130,0");
        command.timeout = 5000;
        command.request_id = *ngx_mdvr_http_request_id(ctx->request);

        (void) ngx_mdvr_command_send(NULL, &command, NULL, NULL);
    }

    ngx_http_mdvr_api_empty(ctx);
}


void
ngx_http_mdvr_api_talk_stop(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  force;

    force.data = (u_char *) (ngx_http_mdvr_api_talk_flag(ctx, "force")
                             ? "true" : "false");
    force.len = ngx_strlen(force.data);

    ngx_http_mdvr_api_query(ctx,
        "with d as (select id, serial from mdvr.device"
        "   where id = $6::uuid and deleted_at is null),"
        " gone as materialized (select v.id,"
        "   mdvr.video_session_end(v.id, 'stopped', 0)"
        "   from mdvr.video_session v, d where v.device_id = d.id"
        "   and v.kind = 'talk' and v.ended_at is null"
        "   and (v.session_id = $3::uuid or $7::boolean))"
        " select g.id, d.serial, case when g.id is not null then"
        API_AUDIT("talk.stop", "device", "$6::text",
                  "jsonb_build_object('session_id', g.id, 'force',"
                  " $7::boolean)")
        " end from d left join gone g on true",
        API_WHO ",id,@0", &force, ngx_http_mdvr_api_talk_stopped);
}
