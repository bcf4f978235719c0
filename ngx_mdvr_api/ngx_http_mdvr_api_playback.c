
/*
 * POST /devices/{id}/playback/start, /control, /stop.
 *
 *   device    the row under row security; what is in the way (409 device_busy,
 *             unless "force": the device lets the newer one win)
 *   session   a row per viewer, as for live video
 *   slot      a PLAYBACK session on this node's bus; its note tells the player
 *             (worker/playback.c) what to play
 *   answer    with the first picture, or with the reason why there is none
 *
 * Control changes the note, on whichever node the session is.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_playback.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_video.h"
#include "ngx_mdvr_core/ngx_mdvr_playback.h"


#define NGX_HTTP_MDVR_API_PLAYBACK_WAIT  25000      /* ms, for a picture */


typedef struct {
    ngx_http_mdvr_api_ctx_t    *ctx;

    ngx_mdvr_uuid_t             device;
    ngx_mdvr_uuid_t             tenant;
    ngx_str_t                   serial;
    ngx_str_t                   id;             /* of the viewer's session */
    ngx_str_t                   expires_text;
    time_t                      expires;
    ngx_uint_t                  channel;
    ngx_int_t                   audio_type;
    double                      duration_s;
    double                      position_s;
    double                      speed;

    mdvr_bus_ref_t              ref;
    ngx_mdvr_bus_watch_t        watch;
    ngx_event_t                 timer;
    mdvr_bus_end_e              end;            /* why there is no picture */
    ngx_str_t                   detail;
    unsigned                    decided:1;
    unsigned                    full:1;         /* there is no slot */
} ngx_http_mdvr_api_playback_t;


static void ngx_http_mdvr_api_playback_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_playback_session(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_playback_news(void *data);
static void ngx_http_mdvr_api_playback_fail(ngx_http_mdvr_api_playback_t *p,
    mdvr_bus_end_e end);
static void ngx_http_mdvr_api_playback_late(ngx_event_t *ev);


static void
ngx_http_mdvr_api_playback_cleanup(void *data)
{
    ngx_http_mdvr_api_playback_t  *p = data;

    if (p->watch.active) {
        ngx_mdvr_bus_unwatch(&p->watch);
    }

    if (p->timer.timer_set) {
        ngx_del_timer(&p->timer);
    }
}


static double
ngx_http_mdvr_api_playback_number(ngx_http_mdvr_api_ctx_t *ctx,
    const char *name, double none)
{
    json_t  *value;

    value = json_object_get(ctx->body, name);

    return json_is_number(value) ? json_number_value(value) : none;
}


void
ngx_http_mdvr_api_playback_start(ngx_http_mdvr_api_ctx_t *ctx)
{
    json_t                        *path;
    ngx_pool_cleanup_t            *cln;
    ngx_http_mdvr_api_playback_t  *p;

    path = json_object_get(ctx->body, "path");

    if (memchr(json_string_value(path), '\0', json_string_length(path))) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "path", NULL);
        return;
    }

    cln = ngx_pool_cleanup_add(ctx->request->pool,
                               sizeof(ngx_http_mdvr_api_playback_t));
    if (cln == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    p = cln->data;
    ngx_memzero(p, sizeof(ngx_http_mdvr_api_playback_t));
    cln->handler = ngx_http_mdvr_api_playback_cleanup;

    p->ctx = ctx;
    p->position_s = ngx_http_mdvr_api_playback_number(ctx, "position_s", 0);
    p->speed = ngx_http_mdvr_api_playback_number(ctx, "speed", 1);
    (void) ngx_mdvr_uuid_parse(&ctx->ids[0], &p->device);
    (void) ngx_mdvr_uuid_parse(&ctx->tenant, &p->tenant);
    ctx->data = p;

    ngx_http_mdvr_api_query(ctx,
        "with b as (select $1::jsonb as b),"
        " f as (select regexp_match(b->>'path',"
        "    '(?:ch)?(\\d\\d)-((?:[01]\\d|2[0-3])[0-5]\\d[0-5]\\d)"
        "-((?:[01]\\d|2[0-3])[0-5]\\d[0-5]\\d)[^/]*$') as m from b),"
        " busy as (select string_agg(x.by, ', ') as by from ("
        "   select distinct 'live video of channel ' || m.channel || ' ('"
        "     || m.stream || ')' as by from mdvr.media_session m"
        "    where m.device_id = $2::uuid and m.kind = 'live'"
        "    and m.ended_at is null and m.started_at > now() - interval '1 day'"
        "   union all select 'playback of another recording'"
        "    from mdvr.video_session v where v.device_id = $2::uuid"
        "    and v.kind = 'playback' and v.ended_at is null"
        "    and v.expires_at > now()"
        "   union all select 'a download' from mdvr.download l"
        "    where l.device_id = $2::uuid and l.status = 'running') x)"
        " select d.serial, d.enabled::int, mdvr.quota_live(),"
        " mdvr.device_upgrading(d.id)::int, coalesce(s.online, false)::int,"
        " (select by from busy), coalesce((b.b->>'channel')::int,"
        "   case when f.m[1]::int between 1 and d.channels"
        "    then f.m[1]::int end, 1),"
        " coalesce((b.b->>'duration_s')::float8, extract(epoch from"
        "   f.m[3]::time - f.m[2]::time)"
        "   + case when f.m[3] < f.m[2] then 86400 else 0 end, 0),"
        " coalesce((s.registration->>'audio_type')::int, 0), d.channels::int"
        " from mdvr.device d left join mdvr.device_state s"
        " on s.device_id = d.id, b, f"
        " where d.id = $2::uuid and d.deleted_at is null",
        "$body,id", NULL, ngx_http_mdvr_api_playback_device);
}


/* With "force": what this node carries of the device gives way. */

static void
ngx_http_mdvr_api_playback_clear(ngx_http_mdvr_api_playback_t *p)
{
    uint32_t          i;
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;

    (void) ngx_mdvr_playback_end(p->device.b, MDVR_BUS_END_REPLACED);

    for (i = 0; i < mdvr_bus_streams(bus); i++) {
        if (mdvr_bus_at(bus, i, &ref) == MDVR_OK
            && mdvr_bus_info(bus, ref, &info) == MDVR_OK
            && info.kind == MDVR_BUS_KIND_LIVE
            && info.state != MDVR_BUS_ENDING
            && ngx_memcmp(info.device_id, p->device.b, 16) == 0
            && ngx_mdvr_bus_end(ref, MDVR_BUS_END_REPLACED, ngx_cycle->log)
               == MDVR_OK)
        {
            ngx_mdvr_bus_stop_device(&info);
        }
    }
}


static void
ngx_http_mdvr_api_playback_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char                         detail[512];
    int64_t                        n;
    ngx_str_t                      s, bind[4];
    mdvr_bus_t                    *bus;
    ngx_http_mdvr_api_playback_t  *p = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    p->channel = ngx_mdvr_pg_int(rows, 0, 6, &n) == NGX_OK ? n : 1;

    if (ngx_mdvr_pg_int(rows, 0, 9, &n) != NGX_OK
        || p->channel > (ngx_uint_t) n)
    {
        ngx_http_mdvr_api_invalid_field(ctx, "out_of_range", "channel",
                                "the device does not have this channel");
        return;
    }

    if (ngx_mdvr_pg_int(rows, 0, 1, &n) != NGX_OK || !n) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_disabled",
                                  "the device is disabled", 0);
        return;
    }

    if (ngx_mdvr_pg_int(rows, 0, 4, &n) != NGX_OK || !n) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_offline",
                                  "the device is not connected", 0);
        return;
    }

    if (ngx_mdvr_pg_int(rows, 0, 3, &n) != NGX_OK || n) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_busy",
                                  API_UPGRADING, 0);
        return;
    }

    bus = ngx_mdvr_bus();

    if (bus == NULL || !mdvr_bus_encoder(bus)) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable",
                                  "no player of recordings runs on this node",
                                  5);
        return;
    }

    if (json_is_true(json_object_get(ctx->body, "force"))) {
        ngx_http_mdvr_api_playback_clear(p);

    } else if (!ngx_mdvr_pg_isnull(rows, 0, 5)) {
        s = ngx_mdvr_pg_value(rows, 0, 5);
        *ngx_snprintf(detail, sizeof(detail) - 1, "%V is in the way", &s)
            = '\0';
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_busy",
                                  (char *) detail, 0);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 0);
    p->serial = ngx_http_mdvr_api_dup(ctx->request->pool, (char *) s.data,
                                      s.len);
    s = ngx_mdvr_pg_value(rows, 0, 7);
    p->duration_s = s.len ? strtod((char *) s.data, NULL) : 0;
    p->audio_type = ngx_mdvr_pg_int(rows, 0, 8, &n) == NGX_OK ? n : 0;
    p->expires = ngx_time() + ngx_http_mdvr_api_conf(ctx)->stream_ttl;

    bind[0].data = ngx_pnalloc(ctx->request->pool, NGX_INT_T_LEN);
    bind[2].data = ngx_pnalloc(ctx->request->pool, NGX_MDVR_RFC3339_LEN + 1);

    if (bind[0].data == NULL || bind[2].data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    bind[0].len = ngx_sprintf(bind[0].data, "%ui", p->channel) - bind[0].data;
    bind[1] = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle)->node;
    bind[2].len = ngx_mdvr_rfc3339(bind[2].data, (int64_t) p->expires * 1000)
                  - bind[2].data;
    bind[3].data = (u_char *) json_string_value(json_object_get(ctx->body,
                                                                "path"));
    bind[3].len = ngx_strlen(bind[3].data);

    ngx_http_mdvr_api_query(ctx,
        "with gone as materialized (select mdvr.video_session_end(v.id,"
        "   'replaced', 0), v.id from mdvr.video_session v"
        "   where v.device_id = $6::uuid and v.kind = 'playback'"
        "   and v.ended_at is null),"
        " new as materialized (select mdvr.video_session_start($6::uuid,"
        "   $7::int, 'main', $8, $9::timestamptz, $3::uuid, 'playback') as id)"
        " select n.id, mdvr.rfc3339($9::timestamptz),"
        "  (select string_agg(g.id::text, ' ') from gone g),"
        API_AUDIT("playback.start", "device", "$6::text",
                  "jsonb_build_object('session_id', n.id, 'path', $10::text)")
        " from new n",
        API_WHO ",id,@0,@1,@2,@3", bind, ngx_http_mdvr_api_playback_session);
}


/* The session that the player finds. */

static mdvr_rc_t
ngx_http_mdvr_api_playback_slot(ngx_http_mdvr_api_playback_t *p)
{
    bool                    created;
    char                   *text;
    u_char                  dir[NGX_MAX_PATH], port[8], host[256];
    json_t                 *note;
    mdvr_rc_t               rc;
    mdvr_bus_t             *bus = ngx_mdvr_bus();
    mdvr_bus_start_t        start;
    ngx_mdvr_core_conf_t   *core;

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    *ngx_snprintf(dir, sizeof(dir) - 1, "%V/playback", &core->state_dir)
        = '\0';
    *ngx_snprintf(port, sizeof(port) - 1, "%ui", (ngx_uint_t)
                  core->media_port) = '\0';
    *ngx_snprintf(host, sizeof(host) - 1, "%V", &core->public_host) = '\0';

    note = json_pack("{s:s, s:o, s:s, s:s, s:s, s:f, s:f, s:b, s:i, s:i}",
                     "session_id", p->id.data,
                     "path", json_incref(json_object_get(p->ctx->body,
                                                         "path")),
                     "dir", dir, "port", port, "host", host,
                     "duration_s", p->duration_s, "speed", p->speed,
                     "paused", 0, "audio_type", (int) p->audio_type,
                     "seek", p->position_s > 0 ? 1 : 0);

    if (note && p->position_s > 0) {
        json_object_set_new(note, "position_s", json_real(p->position_s));
    }

    text = note ? json_dumps(note, JSON_COMPACT) : NULL;
    json_decref(note);

    if (text == NULL) {
        return MDVR_E_NO_MEMORY;
    }

    ngx_memzero(&start, sizeof(start));
    start.kind = MDVR_BUS_KIND_PLAYBACK;
    ngx_memcpy(start.tenant_id, p->tenant.b, 16);
    ngx_memcpy(start.device_id, p->device.b, 16);
    start.serial = (char *) p->serial.data;
    start.channel = (uint8_t) NGX_MDVR_PLAYBACK_CHANNEL(p->channel);
    start.deadline_ms = mdvr_bus_clock_ms() + NGX_HTTP_MDVR_API_PLAYBACK_WAIT;
    start.note = text;

    rc = mdvr_bus_start(bus, &start, mdvr_bus_clock_ms(), &p->ref, &created);
    free(text);

    return rc == MDVR_OK && !created ? MDVR_E_BUSY : rc;
}


static void
ngx_http_mdvr_api_playback_session(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char                        *word, *last;
    json_t                        *set;
    mdvr_rc_t                      rc;
    ngx_str_t                      s, old;
    ngx_mdvr_uuid_t                uuid;
    ngx_http_mdvr_api_playback_t  *p = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 0);
    p->id = ngx_http_mdvr_api_dup(ctx->request->pool, (char *) s.data, s.len);
    s = ngx_mdvr_pg_value(rows, 0, 1);
    p->expires_text = ngx_http_mdvr_api_dup(ctx->request->pool,
                                            (char *) s.data, s.len);

    /* replaced ones on other nodes */

    s = ngx_mdvr_pg_value(rows, 0, 2);
    last = s.data + s.len;

    for (word = s.data; s.data && last - word >= NGX_MDVR_UUID_LEN;
         word += NGX_MDVR_UUID_LEN + 1)
    {
        old.data = word;
        old.len = NGX_MDVR_UUID_LEN;

        set = json_pack("{s:b}", "stop", 1);
        ngx_mdvr_playback_set(&old, set);
        json_decref(set);

        if (ngx_mdvr_uuid_parse(&old, &uuid) == NGX_OK) {
            ngx_mdvr_auth_revoke_session(&uuid, ngx_time() + 86400);
        }
    }

    rc = ngx_http_mdvr_api_playback_slot(p);

    if (rc != MDVR_OK
        || ngx_mdvr_bus_watch(&p->watch, p->ref, NGX_MDVR_BUS_WATCH,
                              ngx_http_mdvr_api_playback_news, p)
           != MDVR_OK)
    {
        p->full = 1;
        ngx_http_mdvr_api_playback_fail(p, MDVR_BUS_END_FAILED);
        return;
    }

    p->timer.handler = ngx_http_mdvr_api_playback_late;
    p->timer.data = p;
    p->timer.log = ctx->request->connection->log;
    ngx_add_timer(&p->timer, NGX_HTTP_MDVR_API_PLAYBACK_WAIT);
}


static void
ngx_http_mdvr_api_playback_done(ngx_http_mdvr_api_playback_t *p)
{
    json_t                   *answer;
    ngx_mdvr_stream_token_t   fields;
    ngx_http_mdvr_api_ctx_t  *ctx = p->ctx;

    ngx_memzero(&fields, sizeof(fields));

    (void) ngx_mdvr_uuid_parse(&p->id, &fields.session);
    fields.tenant = p->tenant;
    fields.user = ctx->principal.user;
    fields.user_session = ctx->principal.session;
    fields.device = p->device;
    fields.channel = NGX_MDVR_PLAYBACK_CHANNEL(p->channel);
    fields.issued_at = ngx_time();
    fields.expires_at = p->expires;
    fields.node = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle)->node;

    answer = ngx_http_mdvr_api_video_json(ctx, &fields, &p->id,
                                          &p->expires_text, p->channel, 1);
    if (answer == NULL) {
        return;                                 /* answered */
    }

    json_object_set(answer, "path", json_object_get(ctx->body, "path"));
    json_object_set_new(answer, "duration_s",
                        p->duration_s > 0 ? json_real(p->duration_s)
                                          : json_null());
    json_object_set_new(answer, "position_s", json_real(p->position_s));
    json_object_set_new(answer, "speed", json_real(p->speed));

    ngx_http_mdvr_api_json(ctx, NGX_HTTP_OK, answer);
}


static void
ngx_http_mdvr_api_playback_failed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_uint_t                     status;
    const char                    *code;
    ngx_http_mdvr_api_playback_t  *p = ctx->data;

    if (p->full) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "too_many_streams",
                                  "this node carries all the streams it can",
                                  5);
        return;
    }

    status = NGX_HTTP_CONFLICT;

    switch (p->end) {

    case MDVR_BUS_END_OFFLINE:
        code = "device_offline";
        break;

    case MDVR_BUS_END_REFUSED:
        code = "device_refused";
        break;

    case MDVR_BUS_END_UNSUPPORTED:
        code = "unsupported";
        break;

    case MDVR_BUS_END_NO_MEDIA:
        status = NGX_HTTP_GATEWAY_TIME_OUT;
        code = "device_timeout";
        break;

    default:
        code = "stream_ended";
    }

    ngx_http_mdvr_api_problem(ctx, status, code, (char *) p->detail.data, 0);
}


/* The row is closed before the answer: who asks again at once is not busy. */

static void
ngx_http_mdvr_api_playback_fail(ngx_http_mdvr_api_playback_t *p,
    mdvr_bus_end_e end)
{
    char          text[MDVR_BUS_NOTE_MAX];
    json_t       *note;
    ngx_str_t     bind[2];
    const char   *detail;

    note = NULL;

    if (mdvr_bus_note(ngx_mdvr_bus(), p->ref, text, sizeof(text)) == MDVR_OK) {
        note = json_loads(text, 0, NULL);
    }

    detail = json_string_value(json_object_get(note, "detail"));
    detail = detail ? detail : mdvr_bus_end_text(end);

    p->end = end;
    p->detail = ngx_http_mdvr_api_dup(p->ctx->request->pool, detail,
                                      ngx_strlen(detail));
    json_decref(note);

    bind[0] = p->id;
    bind[1].data = (u_char *) mdvr_bus_end_name(end);
    bind[1].len = ngx_strlen(bind[1].data);

    ngx_http_mdvr_api_query(p->ctx,
        "select mdvr.video_session_end($1::uuid, $2, 0)", "@0,@1", bind,
        ngx_http_mdvr_api_playback_failed);
}


static void
ngx_http_mdvr_api_playback_decide(ngx_http_mdvr_api_playback_t *p,
    ngx_uint_t late)
{
    mdvr_bus_end_e     end;
    mdvr_bus_info_t    info;
    ngx_connection_t  *c;

    if (p->decided) {
        return;
    }

    c = p->ctx->request->connection;
    end = MDVR_BUS_END_FAILED;

    if (mdvr_bus_info(ngx_mdvr_bus(), p->ref, &info) == MDVR_OK) {

        if (info.state == MDVR_BUS_LIVE) {
            end = MDVR_BUS_END_NONE;

        } else if (info.state == MDVR_BUS_ENDING) {

            /* a short one may have been sent as a whole */

            end = info.frames && info.end == MDVR_BUS_END_COMPLETE
                  ? MDVR_BUS_END_NONE : info.end;

        } else if (!late) {
            return;

        } else {
            end = MDVR_BUS_END_NO_MEDIA;
            (void) ngx_mdvr_bus_end(p->ref, end, c->log);
        }
    }

    p->decided = 1;
    ngx_http_mdvr_api_playback_cleanup(p);

    if (end == MDVR_BUS_END_NONE) {
        ngx_http_mdvr_api_playback_done(p);
    } else {
        ngx_http_mdvr_api_playback_fail(p, end);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_playback_news(void *data)
{
    ngx_http_mdvr_api_playback_decide(data, 0);
}


static void
ngx_http_mdvr_api_playback_late(ngx_event_t *ev)
{
    ngx_http_mdvr_api_playback_decide(ev->data, 1);
}


/* --- control and stop ------------------------------------------------------------- */

/* one's own session of the device, or the newest of them */

#define NGX_HTTP_MDVR_API_PLAYBACK_OWN(session, device, id)                   \
    " from mdvr.device d left join mdvr.video_session v"                      \
    " on v.device_id = d.id and v.kind = 'playback'"                          \
    " and v.ended_at is null and v.expires_at > now()"                        \
    " and v.session_id is not distinct from " session "::uuid"                \
    " and (" id "::uuid is null or v.id = " id "::uuid)"                      \
    " where d.id = " device "::uuid and d.deleted_at is null"                 \
    " order by v.id desc nulls last limit 1"


/* 404: no such device; 409: nothing of it is played for this person */

static ngx_int_t
ngx_http_mdvr_api_playback_is(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return NGX_DECLINED;
    }

    if (ngx_mdvr_pg_isnull(rows, 0, 0)) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "not_playing",
                                  "nothing of this device is played", 0);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_mdvr_api_playback_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    json_t     *set, *answer;
    double      position_s, speed;
    ngx_str_t   id, action;

    if (ngx_http_mdvr_api_playback_is(ctx, rows) != NGX_OK) {
        return;
    }

    id = ngx_mdvr_pg_value(rows, 0, 0);
    action = ngx_http_mdvr_api_str(ctx, "action");
    position_s = ngx_http_mdvr_api_playback_number(ctx, "position_s", -1);
    speed = ngx_http_mdvr_api_playback_number(ctx, "speed", -1);

    set = json_object();

    if (action.data[0] == 'p' || action.data[0] == 'r') {
        json_object_set_new(set, "paused", json_boolean(action.data[0]
                                                        == 'p'));
    }

    if (position_s >= 0) {
        json_object_set_new(set, "position_s", json_real(position_s));
    }

    if (speed > 0) {
        json_object_set_new(set, "speed", json_real(speed));
    }

    ngx_mdvr_playback_set(&id, set);

    answer = json_pack("{s:o, s:o}", "session_id",
                       json_stringn((char *) id.data, id.len),
                       "action", json_stringn((char *) action.data,
                                              action.len));

    if (answer) {
        json_object_update(answer, set);
    }

    json_decref(set);
    ngx_http_mdvr_api_json(ctx, NGX_HTTP_OK, answer);
}


void
ngx_http_mdvr_api_playback_control(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  action, bind;

    action = ngx_http_mdvr_api_str(ctx, "action");

    if (ngx_strcmp(action.data, "seek") == 0
        && json_object_get(ctx->body, "position_s") == NULL)
    {
        ngx_http_mdvr_api_invalid_field(ctx, "required", "position_s",
                                        "is required to seek");
        return;
    }

    if (ngx_strcmp(action.data, "speed") == 0
        && json_object_get(ctx->body, "speed") == NULL)
    {
        ngx_http_mdvr_api_invalid_field(ctx, "required", "speed",
                                        "is required");
        return;
    }

    bind = ngx_http_mdvr_api_str(ctx, "session_id");

    ngx_http_mdvr_api_query(ctx,
        "select v.id" NGX_HTTP_MDVR_API_PLAYBACK_OWN("$1", "$2", "$3"),
        "$session,id,@0", &bind, ngx_http_mdvr_api_playback_found);
}


static void
ngx_http_mdvr_api_playback_stopped(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    json_t           *set;
    ngx_str_t         id;
    ngx_mdvr_uuid_t   uuid;

    if (ngx_http_mdvr_api_playback_is(ctx, rows) != NGX_OK) {
        return;
    }

    id = ngx_mdvr_pg_value(rows, 0, 0);

    if (ngx_mdvr_uuid_parse(&id, &uuid) == NGX_OK) {
        ngx_mdvr_auth_revoke_session(&uuid, ngx_time() + 86400);
    }

    set = json_pack("{s:b}", "stop", 1);
    ngx_mdvr_playback_set(&id, set);
    json_decref(set);

    ngx_http_mdvr_api_empty(ctx);
}


void
ngx_http_mdvr_api_playback_stop(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  bind;

    bind = ngx_http_mdvr_api_str(ctx, "session_id");

    ngx_http_mdvr_api_query(ctx,
        "with o as materialized (select v.id"
        NGX_HTTP_MDVR_API_PLAYBACK_OWN("$3", "$6", "$7") "), gone as materialized (select o.id,"
        "  case when o.id is not null then"
        "   mdvr.video_session_end(o.id, 'stopped', 0) end from o)"
        " select g.id, case when g.id is not null then"
        API_AUDIT("playback.stop", "device", "$6::text",
                  "jsonb_build_object('session_id', g.id)")
        " end from gone g",
        API_WHO ",id,@0", &bind, ngx_http_mdvr_api_playback_stopped);
}
