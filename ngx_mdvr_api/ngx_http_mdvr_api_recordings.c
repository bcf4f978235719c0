
/*
 * GET /devices/{id}/recordings: what the device has on its disks.
 *
 * A search of the wire (C701) never spans midnight of the device's clock, so a
 * range is asked for day by day, the newest first, and put together: what is too
 * much is old, and the answer says that it is cut.  The
 * records (0x6101) arrive on the media port and are read from the ring of the
 * session; an answer is kept in Redis for 60 s, for the other people who look at
 * the same page.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_recordings.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_playback.h"
#include "mdvr/dc/media.h"
#include "mdvr/dc/text.h"
#include "mdvr/dc/time.h"
#include "mdvr/dc/write.h"
#include "mdvr/domain/keys.h"


#define NGX_HTTP_MDVR_API_DAYS       31         /* of one request */
#define NGX_HTTP_MDVR_API_FILES_MAX  5000       /* of a day; no more days then */
#define NGX_HTTP_MDVR_API_LIST_WAIT  20000      /* ms, for the first record */


typedef struct {
    ngx_http_mdvr_api_ctx_t    *ctx;
    ngx_mdvr_uuid_t             device;
    ngx_mdvr_uuid_t             tenant;
    ngx_str_t                   serial;
    int                         offset_minutes;
    int                         type;
    int                         channel;        /* 98: all */
    int64_t                     from;           /* unix s, of what is asked */
    int64_t                     to;
    int64_t                     until;          /* before what was searched */

    json_t                     *items;
    json_t                     *found;          /* of the running search */
    ngx_str_t                   key;            /* of the cache */

    mdvr_bus_ref_t              ref;
    mdvr_bus_reader_t           reader;
    ngx_mdvr_bus_watch_t        watch;
    unsigned                    answered:1;     /* V100 has come */
    unsigned                    over:1;         /* the list has ended */
    unsigned                    failed:1;
    unsigned                    cut:1;          /* there may be more */
    unsigned                    calendar:1;     /* by days, not by files */
} ngx_http_mdvr_api_list_t;


static void ngx_http_mdvr_api_list_begin(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t calendar);
static void ngx_http_mdvr_api_list_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_list_days(ngx_http_mdvr_api_list_t *l,
    const json_t *items);
static void ngx_http_mdvr_api_list_cached(void *data,
    const redisReply *reply, mdvr_rc_t rc);
static void ngx_http_mdvr_api_list_next(ngx_http_mdvr_api_list_t *l);
static void ngx_http_mdvr_api_list_answer(void *data,
    const ngx_mdvr_answer_t *answer, mdvr_rc_t rc);
static void ngx_http_mdvr_api_list_news(void *data);


static const struct {
    const char  *word;
    int          type;
} ngx_http_mdvr_api_list_types[] = {
    { "normal_video",   1 },
    { "normal",         1 },
    { "alarm_video",    2 },
    { "alarm",          2 },
    { "video",          3 },
    { "all",            3 },
    { "normal_picture", 4 },
    { "alarm_picture",  5 },
    { "picture",        6 },
    { "log",            7 },
    { NULL,             0 }
};


static void
ngx_http_mdvr_api_list_cleanup(void *data)
{
    ngx_http_mdvr_api_list_t  *l = data;

    if (l->watch.active) {
        ngx_mdvr_bus_unwatch(&l->watch);
    }

    json_decref(l->items);
    json_decref(l->found);
}


void
ngx_http_mdvr_api_recordings(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_list_begin(ctx, 0);
}


void
ngx_http_mdvr_api_recordings_calendar(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_list_begin(ctx, 1);
}


static void
ngx_http_mdvr_api_list_begin(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t calendar)
{
    int64_t                    ms;
    ngx_str_t                 *arg;
    ngx_uint_t                 i;
    ngx_pool_cleanup_t        *cln;
    ngx_http_mdvr_api_list_t  *l;

    cln = ngx_pool_cleanup_add(ctx->request->pool,
                               sizeof(ngx_http_mdvr_api_list_t));
    if (cln == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    l = cln->data;
    ngx_memzero(l, sizeof(ngx_http_mdvr_api_list_t));
    cln->handler = ngx_http_mdvr_api_list_cleanup;

    l->ctx = ctx;
    l->calendar = calendar;
    l->items = json_array();
    l->found = json_array();
    ctx->data = l;

    arg = ngx_http_mdvr_api_arg(ctx, "to");
    l->to = arg->data && ngx_mdvr_rfc3339_parse(arg, &ms) == NGX_OK
            ? ms / 1000 : (int64_t) ngx_time();

    arg = ngx_http_mdvr_api_arg(ctx, "from");
    l->from = arg->data && ngx_mdvr_rfc3339_parse(arg, &ms) == NGX_OK
              ? ms / 1000 : l->to - NGX_HTTP_MDVR_API_DAY;

    if (l->from > l->to
        || l->to - l->from > NGX_HTTP_MDVR_API_DAYS * NGX_HTTP_MDVR_API_DAY)
    {
        ngx_http_mdvr_api_invalid_field(ctx, "out_of_range", "from",
                            "must lie before to, by 31 days at most");
        return;
    }

    arg = ngx_http_mdvr_api_arg(ctx, "channel");
    l->channel = arg->data && arg->data[0] != '0'
                 ? (int) ngx_atoi(arg->data, arg->len) - 1 : 98;

    arg = ngx_http_mdvr_api_arg(ctx, "type");
    l->type = 3;

    if (arg->data) {
        for (i = 0; ngx_http_mdvr_api_list_types[i].word; i++) {
            if (ngx_strcmp(ngx_http_mdvr_api_list_types[i].word, arg->data)
                == 0)
            {
                break;
            }
        }

        l->type = ngx_http_mdvr_api_list_types[i].type;

        if (l->type == 0) {
            ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "type",
                                    "is not one of the allowed values");
            return;
        }
    }

    ngx_http_mdvr_api_query(ctx,
        "select d.serial, coalesce(d.utc_offset_minutes,"
        " s.utc_offset_minutes, 0)::int, d.channels::int"
        " from mdvr.device d"
        " left join mdvr.device_state s on s.device_id = d.id"
        " where d.id = $1::uuid and d.deleted_at is null",
        "id", NULL, ngx_http_mdvr_api_list_device);
}


static void
ngx_http_mdvr_api_list_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    size_t                     lens[2];
    int64_t                    n;
    ngx_str_t                  s;
    mdvr_buf_t                 b;
    const char                *argv[2];
    ngx_http_mdvr_api_list_t  *l = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 0);
    l->serial = ngx_http_mdvr_api_dup(ctx->request->pool, (char *) s.data,
                                      s.len);
    l->offset_minutes = ngx_mdvr_pg_int(rows, 0, 1, &n) == NGX_OK ? n : 0;

    if (l->channel != 98
        && (ngx_mdvr_pg_int(rows, 0, 2, &n) != NGX_OK || l->channel >= n))
    {
        ngx_http_mdvr_api_invalid_field(ctx, "out_of_range", "channel",
                                "the device does not have this channel");
        return;
    }

    (void) ngx_mdvr_uuid_parse(&ctx->ids[0], &l->device);
    (void) ngx_mdvr_uuid_parse(&ctx->tenant, &l->tenant);

    l->until = l->to;

    l->key.data = ngx_pnalloc(ctx->request->pool, 160);

    if (l->key.data == NULL || !ngx_mdvr_redis_up()) {
        ngx_str_null(&l->key);
        ngx_http_mdvr_api_list_next(l);
        return;
    }

    /* whole minutes, so that "until now" is asked for once a minute */

    b = mdvr_buf(l->key.data, 160);
    mdvr_key_list(&b, mdvr_str(ctx->ids[0].data, ctx->ids[0].len),
                  l->from / 60, l->to / 60, l->type, l->channel);
    l->key.len = b.len;

    argv[0] = "GET";
    lens[0] = 3;
    argv[1] = (char *) l->key.data;
    lens[1] = l->key.len;

    if (ngx_mdvr_redis_command(ctx->request->pool, 1000, 2, argv, lens,
                               ngx_http_mdvr_api_list_cached, l)
        != NGX_OK)
    {
        ngx_http_mdvr_api_list_next(l);
    }
}


static void
ngx_http_mdvr_api_list_cached(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    json_t                    *known;
    ngx_str_t                  text;
    ngx_connection_t          *c;
    ngx_http_mdvr_api_list_t  *l = data;

    c = l->ctx->request->connection;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_STRING) {
        text.data = (u_char *) reply->str;
        text.len = reply->len;

        if (l->calendar) {
            known = json_loadb(reply->str, reply->len, 0, NULL);
            l->cut = json_is_true(json_object_get(known, "truncated"));
            ngx_http_mdvr_api_list_days(l, json_object_get(known, "items"));
            json_decref(known);

        } else {
            ngx_http_mdvr_api_answer(l->ctx, NGX_HTTP_OK, NULL, &text, 1);
        }

    } else {
        ngx_http_mdvr_api_list_next(l);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_list_days(ngx_http_mdvr_api_list_t *l, const json_t *items)
{
    char       *dump;
    json_t     *days;
    ngx_str_t   text;

    days = ngx_http_mdvr_api_calendar(l->ctx->request->pool, items,
                                      l->offset_minutes);
    (void) json_object_set_new(days, "truncated", json_boolean(l->cut));
    dump = days ? json_dumps(days, JSON_COMPACT) : NULL;
    json_decref(days);

    if (dump == NULL) {
        ngx_http_mdvr_api_problem(l->ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    text = ngx_http_mdvr_api_dup(l->ctx->request->pool, dump,
                                 ngx_strlen(dump));
    free(dump);

    ngx_http_mdvr_api_answer(l->ctx, NGX_HTTP_OK, NULL, &text, 0);
}


static void
ngx_http_mdvr_api_list_done(ngx_http_mdvr_api_list_t *l)
{
    char        *dump;
    json_t      *answer;
    size_t       lens[5];
    ngx_str_t    text;
    const char  *argv[5];

    answer = json_pack("{s:O, s:n, s:b}", "items", l->items, "next_cursor",
                       "truncated", l->cut);
    dump = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    json_decref(answer);

    if (dump == NULL) {
        ngx_http_mdvr_api_problem(l->ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    text = ngx_http_mdvr_api_dup(l->ctx->request->pool, dump,
                                 ngx_strlen(dump));
    free(dump);

    if (l->key.len) {
        argv[0] = "SET";
        argv[1] = (char *) l->key.data;
        argv[2] = (char *) text.data;
        argv[3] = "EX";
        argv[4] = "60";

        lens[0] = 3;
        lens[1] = l->key.len;
        lens[2] = text.len;
        lens[3] = 2;
        lens[4] = 2;

        (void) ngx_mdvr_redis_command(NULL, 1000, 5, argv, lens, NULL, NULL);
    }

    if (l->calendar) {
        ngx_http_mdvr_api_list_days(l, l->items);
        return;
    }

    ngx_http_mdvr_api_answer(l->ctx, NGX_HTTP_OK, NULL, &text, 0);
}


/* the search of the day before, or the answer */

static void
ngx_http_mdvr_api_list_next(ngx_http_mdvr_api_list_t *l)
{
    bool                      created;
    u_char                    body[256];
    int64_t                   shift, begin;
    mdvr_buf_t                b;
    mdvr_bus_t               *bus;
    mdvr_bus_info_t           info;
    mdvr_endpoint_t           media;
    mdvr_bus_start_t          start;
    ngx_mdvr_command_t        command;
    ngx_http_request_t       *r;
    ngx_mdvr_core_conf_t     *core;
    ngx_http_mdvr_api_ctx_t  *ctx;

    ctx = l->ctx;
    r = ctx->request;

    if (l->until < l->from
        || json_array_size(l->items) >= NGX_HTTP_MDVR_API_FILES_MAX)
    {
        l->cut |= l->until >= l->from;
        ngx_http_mdvr_api_list_done(l);
        return;
    }

    bus = ngx_mdvr_bus();
    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    ngx_memzero(&start, sizeof(start));

    start.kind = MDVR_BUS_KIND_SEARCH;
    ngx_memcpy(start.tenant_id, l->tenant.b, 16);
    ngx_memcpy(start.device_id, l->device.b, 16);
    start.serial = (char *) l->serial.data;
    start.deadline_ms = mdvr_bus_clock_ms() + NGX_HTTP_MDVR_API_LIST_WAIT
                        + ngx_http_mdvr_api_conf(ctx)->command_timeout;

    if (bus == NULL
        || mdvr_bus_start(bus, &start, mdvr_bus_clock_ms(), &l->ref, &created)
           != MDVR_OK
        || mdvr_bus_info(bus, l->ref, &info) != MDVR_OK
        || mdvr_bus_reader_init(bus, l->ref, MDVR_BUS_RING_MEDIA, true,
                                &l->reader)
           != MDVR_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable",
                                  "no media session can be opened", 2);
        return;
    }

    l->reader.need_key = false;             /* records, not pictures */
    l->answered = 0;
    l->over = 0;

    /* from the begin of the day by the device's clock */

    shift = (int64_t) l->offset_minutes * 60;
    begin = (l->until + shift) / NGX_HTTP_MDVR_API_DAY * NGX_HTTP_MDVR_API_DAY
            - shift;
    begin = ngx_max(begin, l->from);

    media.address = mdvr_str(core->public_host.data, core->public_host.len);
    media.port = core->media_port;

    b = mdvr_buf(body, sizeof(body));

    (void) mdvr_body_c701(&b, mdvr_cstr(info.session), begin, l->until,
                          l->offset_minutes, l->type, l->channel, media);
    l->until = begin - 1;

    ngx_memzero(&command, sizeof(command));

    command.serial = l->serial;
    ngx_str_set(&command.keyword, "C701");
    command.body.data = body + 1;
    command.body.len = b.len - 1;
    command.timeout = ngx_http_mdvr_api_conf(ctx)->command_timeout;
    command.request_id = *ngx_mdvr_http_request_id(r);
    command.traceparent = ngx_mdvr_http_traceparent(r);

    (void) ngx_mdvr_bus_watch(&l->watch, l->ref, NGX_MDVR_BUS_WATCH,
                              ngx_http_mdvr_api_list_news, l);

    if (ngx_mdvr_command_send(r->pool, &command, ngx_http_mdvr_api_list_answer,
                              l)
        != NGX_OK)
    {
        (void) ngx_mdvr_bus_end(l->ref, MDVR_BUS_END_FAILED,
                                r->connection->log);
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                  "too many commands in flight", 1);
    }
}


static void
ngx_http_mdvr_api_list_fail(ngx_http_mdvr_api_list_t *l, mdvr_bus_end_e why,
    ngx_uint_t status, const char *code, const char *detail)
{
    l->failed = 1;

    ngx_mdvr_bus_unwatch(&l->watch);
    (void) ngx_mdvr_bus_end(l->ref, why, l->ctx->request->connection->log);

    ngx_http_mdvr_api_problem(l->ctx, status, code, detail,
                              status == NGX_HTTP_SERVICE_UNAVAILABLE ? 2 : 0);
}


static void
ngx_http_mdvr_api_list_go_on(ngx_http_mdvr_api_list_t *l)
{
    json_t  *day;

    if (!l->answered || !l->over || l->failed) {
        return;
    }

    ngx_mdvr_bus_unwatch(&l->watch);

    /* before the days that are known */

    day = l->found;
    (void) json_array_extend(day, l->items);
    (void) json_array_clear(l->items);
    l->found = l->items;
    l->items = day;

    ngx_http_mdvr_api_list_next(l);
}


static void
ngx_http_mdvr_api_list_answer(void *data, const ngx_mdvr_answer_t *answer,
    mdvr_rc_t rc)
{
    u_char                     detail[256];
    ngx_connection_t          *c;
    ngx_http_mdvr_api_list_t  *l = data;

    if (l->failed
        || (answer && answer->status == NGX_MDVR_ANSWER_SENT))
    {
        return;
    }

    c = l->ctx->request->connection;

    if (answer == NULL) {
        ngx_http_mdvr_api_list_fail(l, MDVR_BUS_END_FAILED,
                                    NGX_HTTP_SERVICE_UNAVAILABLE,
                                    "unavailable",
                                    "the way to the device is away");

    } else if (answer->status == NGX_MDVR_ANSWER_OFFLINE) {
        ngx_http_mdvr_api_list_fail(l, MDVR_BUS_END_OFFLINE,
                                    NGX_HTTP_CONFLICT, "device_offline",
                                    "the device is not connected");

    } else if (answer->status == NGX_MDVR_ANSWER_TIMEOUT && !l->over) {
        ngx_http_mdvr_api_list_fail(l, MDVR_BUS_END_NO_MEDIA,
                                    NGX_HTTP_GATEWAY_TIME_OUT,
                                    "device_timeout",
                                    "the device did not answer in time");

    } else if (answer->status == NGX_MDVR_ANSWER_FAILED) {
        *ngx_snprintf(detail, sizeof(detail) - 1, "the device refused%s%V%s%V",
                      answer->error.len ? ": " : "", &answer->error,
                      answer->reason.len ? ": " : "", &answer->reason) = '\0';
        ngx_http_mdvr_api_list_fail(l, MDVR_BUS_END_REFUSED,
                                    NGX_HTTP_CONFLICT, "device_refused",
                                    (char *) detail);
    } else {
        l->answered = 1;
        ngx_http_mdvr_api_list_go_on(l);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_list_item(ngx_http_mdvr_api_list_t *l,
    const mdvr_media_record_t *record)
{
    u_char      path[1024], from[40], to[40];
    json_t     *item;
    int64_t     at;
    mdvr_buf_t  b;
    ngx_uint_t  dated;

    if (json_array_size(l->found) >= NGX_HTTP_MDVR_API_FILES_MAX) {
        (void) json_array_remove(l->found, 0);
        l->cut = 1;
    }

    b = mdvr_buf(path, sizeof(path));
    mdvr_text_decode(&b, record->name, 512);

    dated = mdvr_time_parse_bcd6(record->start, l->offset_minutes, &at);

    if (dated) {
        *ngx_mdvr_rfc3339(from, at * 1000) = '\0';
        *ngx_mdvr_rfc3339(to, (at + record->duration_s) * 1000) = '\0';
    }

    item = json_pack("{s:o, s:i, s:s, s:s?, s:s?, s:I, s:I}",
                     "path", json_stringn((char *) path, b.len),
                     "channel", record->channel + 1,
                     "type", record->file_type ? "alarm" : "normal",
                     "from", dated ? (char *) from : NULL,
                     "to", dated ? (char *) to : NULL,
                     "duration_s", (json_int_t) record->duration_s,
                     "size_bytes", (json_int_t) record->size);

    if (item) {
        json_array_append_new(l->found, item);
    }
}


static void
ngx_http_mdvr_api_list_news(void *data)
{
    unsigned                   i, n;
    uint8_t                    buf[MDVR_MEDIA_SEARCH_MAX];
    mdvr_rc_t                  rc;
    mdvr_str_t                 payload;
    mdvr_bus_t                *bus;
    mdvr_bus_rec_t             rec;
    mdvr_bus_info_t            info;
    ngx_connection_t          *c;
    mdvr_media_record_t        record;
    ngx_http_mdvr_api_list_t  *l = data;

    if (l->failed || l->over) {
        return;
    }

    c = l->ctx->request->connection;
    bus = ngx_mdvr_bus();

    while (bus) {
        rc = mdvr_bus_read(bus, &l->reader, &rec, buf, sizeof(buf));

        if (rc != MDVR_OK) {
            break;
        }

        payload = mdvr_str(buf, rec.len);
        n = mdvr_media_record_count(payload);

        for (i = 0; i < n; i++) {
            if (mdvr_media_read_record(payload, i, &record) == MDVR_OK
                && !record.last)
            {
                ngx_http_mdvr_api_list_item(l, &record);
            }
        }
    }

    if (bus == NULL || mdvr_bus_info(bus, l->ref, &info) != MDVR_OK
        || info.state == MDVR_BUS_ENDING)
    {
        l->over = 1;

        if (bus && info.end == MDVR_BUS_END_NO_MEDIA && l->answered) {
            ngx_http_mdvr_api_list_fail(l, MDVR_BUS_END_NO_MEDIA,
                                NGX_HTTP_GATEWAY_TIME_OUT, "device_timeout",
                                "the device did not send its list in time");
        } else {
            ngx_http_mdvr_api_list_go_on(l);
        }
    }

    ngx_http_run_posted_requests(c);
}


/* --- downloads ---------------------------------------------------------------------- */

/*
 * A row is all that is needed: the node that holds the device fetches the file.
 * A recorder cannot film and send a file at once, so a running live stream is in the
 * way, unless "force" says that it has to give way.
 */

void
ngx_http_mdvr_api_download(ngx_http_mdvr_api_ctx_t *ctx)
{
    json_t           *path;
    int64_t           from, to;
    ngx_mdvr_uuid_t   device;

    path = json_object_get(ctx->body, "path");

    if (memchr(json_string_value(path), '\0', json_string_length(path))) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "path", NULL);
        return;
    }

    from = ngx_http_mdvr_api_int(ctx, "from_byte", 0);
    to = ngx_http_mdvr_api_int(ctx, "to_byte", from);

    if (to < from) {
        ngx_http_mdvr_api_invalid_field(ctx, "out_of_range", "to_byte",
                                        "must lie behind from_byte");
        return;
    }

    from = ngx_http_mdvr_api_int(ctx, "from_s", 0);
    to = ngx_http_mdvr_api_int(ctx, "to_s", from);

    if (to < from) {
        ngx_http_mdvr_api_invalid_field(ctx, "out_of_range", "to_s",
                                        "must lie behind from_s");
        return;
    }

    if (json_is_true(json_object_get(ctx->body, "force"))
        && ngx_mdvr_uuid_parse(&ctx->ids[0], &device) == NGX_OK)
    {
        (void) ngx_mdvr_playback_end(device.b, MDVR_BUS_END_REPLACED);
    }

    ngx_http_mdvr_api_select(ctx,
        "with b as (select $6::jsonb as b),"
        /* recorders name a file by day, channel, begin and end */
        " f as (select regexp_match(b->>'path',"
        "    '(20\\d\\d-(?:0[1-9]|1[0-2]))-([0-2]\\d|3[01])/(?:[^/]*-)?(?:ch)?"
        "(\\d\\d)-((?:[01]\\d|2[0-3])[0-5]\\d[0-5]\\d)"
        "-((?:[01]\\d|2[0-3])[0-5]\\d[0-5]\\d)[^/]*$') as m from b),"
        " d as (select d.id, d.tenant_id, coalesce(s.online, false) as online,"
        "    make_interval(mins => coalesce(d.utc_offset_minutes,"
        "     s.utc_offset_minutes, 0)) as ahead"
        "   from mdvr.device d left join mdvr.device_state s"
        "   on s.device_id = d.id"
        "   where d.id = $7::uuid and d.deleted_at is null),"
        " busy as (select string_agg(x.by, ', ') as by from ("
        "   select distinct 'live video of channel ' || m.channel || ' ('"
        "    || m.stream || ')' as by"
        "   from mdvr.media_session m, d where m.device_id = d.id"
        "   and m.kind = 'live' and m.ended_at is null"
        "   and m.started_at > now() - interval '1 day'"
        "   union all select 'playback of a recording'"
        "   from mdvr.video_session v, d where v.device_id = d.id"
        "   and v.kind = 'playback' and v.ended_at is null"
        "   and v.expires_at > now()) x),"
        " made as (insert into mdvr.download (id, tenant_id, device_id,"
        "    user_id, origin, path, media_kind, channel, file_at, duration_s,"
        "    from_byte, to_byte, from_s, to_s, force, request_id, traceparent)"
        "   select mdvr.uuid7(), d.tenant_id, d.id, (select u.id"
        "     from mdvr.user u where u.id = $2::uuid), 'user', b->>'path',"
        "    case when b->>'path' ~* '\\.(jpe?g|bmp|gif)$' then 'jpeg'"
        "     else 'mp4' end,"
        "    case when f.m[3]::int between 1 and 64 then f.m[3]::int end,"
        "    ((f.m[1] || '-01')::date + (f.m[2]::int - 1) + f.m[4]::time)"
        "     at time zone 'UTC' - d.ahead,"
        "    case when f.m[5] > f.m[4] then extract(epoch from"
        "     f.m[5]::time - f.m[4]::time) end,"
        "    (b->>'from_byte')::bigint, (b->>'to_byte')::bigint,"
        "    (b->>'from_s')::int, (b->>'to_s')::int,"
        "    coalesce((b->>'force')::boolean, false), $5, $8"
        "   from d, b, f, busy"
        "   where (d.online or mdvr.refuse('MD409', 'device_offline',"
        "      'the device is not connected'))"
        "    and (not mdvr.device_upgrading(d.id)"
        "      or mdvr.refuse('MD409', 'device_busy', '" API_UPGRADING "'))"
        "    and (busy.by is null or coalesce((b->>'force')::boolean, false)"
        "      or mdvr.refuse('MD409', 'device_busy', busy.by"
        "       || ' is in the way'))"
        "   returning id, status, path)"
        " select json_build_object('download_id', m.id, 'status',"
        "   m.status)::text, null, null, null,"
        API_AUDIT("download", "device", "$7::text",
                  "jsonb_build_object('download_id', m.id, 'path', m.path)")
        " from made m",
        API_WHO ",$body,id,$trace", NULL);
}
