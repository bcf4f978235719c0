
/*
 * Position reports: one row each, stored in batches; one live message each,
 * published at once.
 *
 * A batch is kept as the 24 array literals of mdvr.store_positions(), one
 * buffer per column, so that sending it costs no further conversion.  It goes
 * out at mdvr_telemetry_batch rows or mdvr_telemetry_flush after its first row
 * (four times as long when it fills fast), at most mdvr_telemetry_batches of
 * them at a time.  What PostgreSQL cannot take (away, too slow, unknown
 * outcome) goes to the spool as it is; rows have an identity (device, time,
 * digest of the body), so storing one twice stores it once.  Until one of both
 * has happened the messages of a batch are kept in a file that outlives this
 * worker, see _keep.c.
 *
 * A row without digest only moves the latest position: the locations inside
 * other messages.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/basics/json.h"
#include "mdvr/dc/time.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"

#include <ngx_md5.h>


#define NGX_MDVR_POSITION_REPLAY   30000    /* ms for a batch of the spool */
#define NGX_MDVR_POSITION_ELEMENT  96       /* longest element, all columns */
#define NGX_MDVR_POSITION_KIND     1
#define NGX_MDVR_POSITION_FAST     50       /* rows within mdvr_telemetry_flush */
#define NGX_MDVR_POSITION_KEEP     512      /* bytes of a message, usually */


/* name, type: the parameters of mdvr.store_positions() in their order */

#define NGX_MDVR_POSITION_COLUMNS(C)                                          \
    C(device_id, "uuid[]")                                                    \
    C(recorded_at, "timestamptz[]")                                           \
    C(received_at, "timestamptz[]")                                           \
    C(gps_valid, "bool[]")                                                    \
    C(lat_deg, "float8[]")                                                    \
    C(lon_deg, "float8[]")                                                    \
    C(satellites, "int2[]")                                                   \
    C(speed_kmh, "real[]")                                                    \
    C(course_deg, "real[]")                                                   \
    C(acc, "bool[]")                                                          \
    C(mileage_m, "bigint[]")                                                  \
    C(fuel_l, "real[]")                                                       \
    C(status_hex, "text[]")                                                   \
    C(mask_hex, "text[]")                                                     \
    C(temp_device_c, "real[]")                                                \
    C(temp_engine_c, "real[]")                                                \
    C(temp_cabin_c, "real[]")                                                 \
    C(parking_s, "int[]")                                                     \
    C(rpm, "int[]")                                                           \
    C(obd_speed_kmh, "real[]")                                                \
    C(people, "int[]")                                                        \
    C(trigger, "int2[]")                                                      \
    C(late, "bool[]")                                                         \
    C(body_digest, "bytea[]")

typedef enum {
#define C(name, type)  NGX_MDVR_COL_##name,
    NGX_MDVR_POSITION_COLUMNS(C)
#undef C
    NGX_MDVR_COL_COUNT
} ngx_mdvr_col_e;


typedef struct ngx_mdvr_batch_s  ngx_mdvr_batch_t;

struct ngx_mdvr_batch_s {
    ngx_mdvr_batch_t             *next;         /* free or in flight */
    ngx_uint_t                    rows;
    ngx_uint_t                    reports;      /* of them with a digest */
    ngx_uint_t                    waited;       /* for more rows, once */
    ngx_mdvr_keep_t              *keep;         /* its messages, or NULL */
    mdvr_buf_t                    col[NGX_MDVR_COL_COUNT];
};


static ngx_mdvr_batch_t *ngx_mdvr_position_batch(void);
static void ngx_mdvr_position_adopt(const ngx_mdvr_kept_t *kept);
static int ngx_mdvr_position_take(const ngx_mdvr_kept_t *kept,
    const mdvr_message_t *m, const mdvr_location_t *loc);
static void ngx_mdvr_position_keep(const ngx_mdvr_kept_t *kept);
static void ngx_mdvr_position_row(const ngx_mdvr_uuid_t *device_id,
    int64_t recorded, int64_t received, const mdvr_location_t *loc,
    int trigger, const u_char *digest);
static void ngx_mdvr_position_live(ngx_mdvr_link_t *link, int64_t at,
    const mdvr_location_t *loc, int trigger);
static void ngx_mdvr_position_flush_handler(ngx_event_t *ev);
static void ngx_mdvr_position_flush(void);
static ngx_int_t ngx_mdvr_position_send(ngx_str_t *params,
    ngx_msec_t timeout, ngx_mdvr_pg_done_pt done, void *data);
static void ngx_mdvr_position_stored(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static ngx_int_t ngx_mdvr_position_spool(ngx_mdvr_batch_t *batch);
static void ngx_mdvr_position_recycle(ngx_mdvr_batch_t *batch);
static void ngx_mdvr_position_replayed(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);


static ngx_mdvr_batch_t  *ngx_mdvr_position_current;
static ngx_mdvr_batch_t  *ngx_mdvr_position_free;
static ngx_mdvr_batch_t  *ngx_mdvr_position_flying;
static ngx_uint_t         ngx_mdvr_position_nflying;
static ngx_event_t        ngx_mdvr_position_timer;
static char               ngx_mdvr_position_sql[1024];


ngx_int_t
ngx_mdvr_position_init(ngx_cycle_t *cycle)
{
    u_char      *p, *last;
    ngx_uint_t   i;

    static const char  *types[] = {
#define C(name, type)  type,
        NGX_MDVR_POSITION_COLUMNS(C)
#undef C
    };

    p = (u_char *) ngx_mdvr_position_sql;
    last = p + sizeof(ngx_mdvr_position_sql) - 1;

    p = ngx_slprintf(p, last, "select mdvr.store_positions(");

    for (i = 0; i < NGX_MDVR_COL_COUNT; i++) {
        p = ngx_slprintf(p, last, "%s$%ui::%s", i ? ", " : "", i + 1,
                         types[i]);
    }

    p = ngx_slprintf(p, last, ")");
    *p = '\0';

    /* not cancelable: a draining worker stores what it has */

    ngx_mdvr_position_timer.handler = ngx_mdvr_position_flush_handler;
    ngx_mdvr_position_timer.log = cycle->log;
    ngx_mdvr_position_timer.data = &ngx_mdvr_sig_dummy;

    return NGX_OK;
}


/* what does not fit into a batch of that many rows makes it a shorter one */

ngx_int_t
ngx_mdvr_position_open(ngx_str_t *path)
{
    size_t  size;

    size = ngx_mdvr_sig.conf->batch * NGX_MDVR_POSITION_KEEP;

    return ngx_mdvr_keep_open(path, ngx_mdvr_sig.conf->batches + 1,
                              ngx_max(size, 2 * MDVR_FRAME_MAX),
                              ngx_mdvr_position_adopt, ngx_mdvr_sig.log);
}


/* what this worker still has in memory survives it */

void
ngx_mdvr_position_exit(void)
{
    ngx_mdvr_batch_t  *batch;

    if (ngx_mdvr_position_timer.timer_set) {
        ngx_del_timer(&ngx_mdvr_position_timer);
    }

    for (batch = ngx_mdvr_position_flying; batch; batch = batch->next) {
        if (ngx_mdvr_position_spool(batch) == NGX_OK) {
            ngx_mdvr_keep_release(batch->keep);
        }
    }

    ngx_mdvr_position_flying = NULL;

    batch = ngx_mdvr_position_current;

    if (batch && batch->rows && ngx_mdvr_position_spool(batch) == NGX_OK) {
        ngx_mdvr_keep_release(batch->keep);
    }

    ngx_mdvr_position_current = NULL;
}


void
ngx_mdvr_position_report(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc)
{
    int              trigger;
    int64_t          at;
    ngx_mdvr_kept_t  kept;

    kept.device_id = link->device_id;
    kept.received = ngx_mdvr_now_ms();
    kept.utc_offset = link->utc_offset;
    kept.bus_layout = link->bus_layout;
    kept.content = m->content;

    if (!mdvr_time_clamp(m->time, link->utc_offset, kept.received, &at)) {
        ngx_mdvr_refusal("clock");
    }

    trigger = ngx_mdvr_position_take(&kept, m, loc);

    if (mdvr_status_flag(&loc->status, MDVR_STATUS_late) == 1) {
        ngx_mdvr_count(telemetry_late_total);
        return;                             /* history, not where it is now */
    }

    ngx_mdvr_position_live(link, at, loc, trigger);
}


/* a message that a worker had taken before it was killed: its live message was
 * published then */

static void
ngx_mdvr_position_adopt(const ngx_mdvr_kept_t *kept)
{
    mdvr_message_t  *m;
    mdvr_location_t  loc;

    m = &ngx_mdvr_sig.message;

    if (mdvr_message_parse(kept->content, m) != MDVR_OK
        || mdvr_location_parse(m, kept->bus_layout, &loc) != MDVR_OK)
    {
        ngx_mdvr_refusal("location");
        return;
    }

    ngx_mdvr_count(telemetry_adopted_total);

    (void) ngx_mdvr_position_take(kept, m, &loc);
}


/* from here on it will be stored; what made the device report is returned */

static int
ngx_mdvr_position_take(const ngx_mdvr_kept_t *kept, const mdvr_message_t *m,
    const mdvr_location_t *loc)
{
    int         trigger;
    u_char      digest[16];
    int64_t     stamp;
    ngx_md5_t   md5;
    mdvr_str_t  body;

    trigger = mdvr_location_trigger(m, loc);
    body = mdvr_message_body(m);

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, body.p, body.len);
    ngx_md5_final(digest, &md5);

    /* the store keeps a time it does not believe beside its own */

    stamp = mdvr_time_parse(m->time, kept->utc_offset, &stamp)
            ? stamp * 1000 : kept->received;

    ngx_mdvr_position_keep(kept);
    ngx_mdvr_position_row(&kept->device_id, stamp, kept->received, loc,
                          trigger, digest);

    return trigger;
}


static void
ngx_mdvr_position_keep(const ngx_mdvr_kept_t *kept)
{
    ngx_mdvr_batch_t  *batch;

    batch = ngx_mdvr_position_batch();

    if (batch == NULL || batch->keep == NULL
        || ngx_mdvr_keep_add(batch->keep, kept) == NGX_OK)
    {
        return;
    }

    ngx_mdvr_position_flush();

    batch = ngx_mdvr_position_batch();

    if (batch && batch->keep) {
        (void) ngx_mdvr_keep_add(batch->keep, kept);
    }
}


void
ngx_mdvr_position_seen(const ngx_mdvr_uuid_t *device_id, int16_t offset,
    const mdvr_message_t *m, const mdvr_location_t *loc)
{
    int64_t  at, now;

    now = ngx_mdvr_now_ms();

    if (mdvr_status_flag(&loc->status, MDVR_STATUS_late) == 1
        || !mdvr_time_clamp(m->time, offset, now, &at))
    {
        return;
    }

    ngx_mdvr_position_row(device_id, at, now, loc, -1, NULL);
}


/* -- rows ----------------------------------------------------------------- */

static ngx_mdvr_batch_t *
ngx_mdvr_position_batch(void)
{
    u_char            *p;
    ngx_uint_t         i;
    ngx_mdvr_batch_t  *batch;

    batch = ngx_mdvr_position_current;

    if (batch == NULL) {

        batch = ngx_mdvr_position_free;

        if (batch) {
            ngx_mdvr_position_free = batch->next;

        } else {
            batch = ngx_calloc(sizeof(ngx_mdvr_batch_t), ngx_mdvr_sig.log);
            if (batch == NULL) {
                return NULL;
            }
        }

        batch->keep = ngx_mdvr_keep_take();
        ngx_mdvr_position_current = batch;
    }

    for (i = 0; i < NGX_MDVR_COL_COUNT; i++) {

        mdvr_buf_t  *b = &batch->col[i];

        if (b->cap - b->len >= NGX_MDVR_POSITION_ELEMENT) {
            continue;
        }

        p = ngx_alloc(b->cap ? 2 * b->cap : 1024, ngx_mdvr_sig.log);
        if (p == NULL) {
            return NULL;
        }

        ngx_memcpy(p, b->p, b->len);
        ngx_free(b->p);

        b->cap = b->cap ? 2 * b->cap : 1024;
        b->p = p;
    }

    return batch;
}


#define ngx_mdvr_position_null(b)  mdvr_buf_add(b, "NULL", 4)


static ngx_inline void
ngx_mdvr_position_dec(mdvr_buf_t *b, double v, unsigned places)
{
    if (v != v || v < -1e9 || v > 1e9) {
        ngx_mdvr_position_null(b);
        return;
    }

    mdvr_buf_dec(b, v, places);
}


static ngx_inline void
ngx_mdvr_position_int(mdvr_buf_t *b, int64_t v, int64_t max)
{
    if (v < 0 || v > max) {
        ngx_mdvr_position_null(b);
        return;
    }

    mdvr_buf_i64(b, v);
}


static ngx_inline void
ngx_mdvr_position_bool(mdvr_buf_t *b, int v)
{
    if (v < 0) {
        ngx_mdvr_position_null(b);
        return;
    }

    mdvr_buf_chr(b, v ? 't' : 'f');
}


/* as it arrived, provided that it is what it should be */

static ngx_inline void
ngx_mdvr_position_hex(mdvr_buf_t *b, mdvr_str_t s)
{
    size_t  i;

    for (i = 0; i < s.len; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9')
              || ((s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'f')))
        {
            break;
        }
    }

    if (i == 0 || i != s.len || i > 32) {
        ngx_mdvr_position_null(b);
        return;
    }

    mdvr_buf_add(b, s.p, s.len);
}


static void
ngx_mdvr_position_row(const ngx_mdvr_uuid_t *device_id, int64_t recorded,
    int64_t received, const mdvr_location_t *loc, int trigger,
    const u_char *digest)
{
    u_char             uuid[NGX_MDVR_UUID_LEN];
    mdvr_buf_t        *col;
    ngx_uint_t         i;
    ngx_mdvr_batch_t  *batch;

    batch = ngx_mdvr_position_batch();
    if (batch == NULL) {
        ngx_mdvr_refusal("memory");
        return;
    }

    col = batch->col;

    for (i = 0; i < NGX_MDVR_COL_COUNT; i++) {
        mdvr_buf_chr(&col[i], batch->rows ? ',' : '{');
    }

#define col(name)  &col[NGX_MDVR_COL_##name]

    ngx_mdvr_uuid_print(uuid, device_id);
    mdvr_buf_add(col(device_id), uuid, NGX_MDVR_UUID_LEN);
    mdvr_time_write_rfc3339(col(recorded_at), recorded);
    mdvr_time_write_rfc3339(col(received_at), received);
    ngx_mdvr_position_bool(col(gps_valid), loc->gps_valid);

    if (loc->has_position) {
        mdvr_buf_dec(col(lat_deg), loc->lat_deg, 7);
        mdvr_buf_dec(col(lon_deg), loc->lon_deg, 7);

    } else {
        ngx_mdvr_position_null(col(lat_deg));
        ngx_mdvr_position_null(col(lon_deg));
    }

    ngx_mdvr_position_int(col(satellites), loc->satellites, 32767);
    ngx_mdvr_position_dec(col(speed_kmh), loc->speed_kmh, 2);
    ngx_mdvr_position_dec(col(course_deg), loc->course_deg, 4);
    ngx_mdvr_position_bool(col(acc), mdvr_status_flag(&loc->status,
                                                      MDVR_STATUS_acc));
    ngx_mdvr_position_int(col(mileage_m), loc->mileage_m, INT64_MAX);
    ngx_mdvr_position_dec(col(fuel_l), loc->fuel_l, 2);
    ngx_mdvr_position_hex(col(status_hex), loc->status_hex);
    ngx_mdvr_position_hex(col(mask_hex), loc->mask_hex);
    ngx_mdvr_position_dec(col(temp_device_c), loc->temp_device_c, 2);
    ngx_mdvr_position_dec(col(temp_engine_c), loc->temp_engine_c, 2);
    ngx_mdvr_position_dec(col(temp_cabin_c), loc->temp_cabin_c, 2);
    ngx_mdvr_position_int(col(parking_s), loc->parking_s, INT32_MAX);
    ngx_mdvr_position_int(col(rpm), loc->rpm, INT32_MAX);
    ngx_mdvr_position_dec(col(obd_speed_kmh), loc->obd_speed_kmh, 2);
    ngx_mdvr_position_int(col(people), loc->people, INT32_MAX);
    ngx_mdvr_position_int(col(trigger), trigger, 32767);
    ngx_mdvr_position_bool(col(late),
                           mdvr_status_flag(&loc->status,
                                            MDVR_STATUS_late) == 1);

    if (digest) {
        mdvr_buf_add(col(body_digest), "\"\\\\x", 4);
        mdvr_buf_hexs(col(body_digest), mdvr_str(digest, 8));
        mdvr_buf_chr(col(body_digest), '"');
        batch->reports++;

    } else {
        ngx_mdvr_position_null(col(body_digest));
    }

#undef col

    batch->rows++;

    if (batch->rows >= ngx_mdvr_sig.conf->batch) {
        ngx_mdvr_position_flush();
        return;
    }

    if (!ngx_mdvr_position_timer.timer_set) {
        ngx_add_timer(&ngx_mdvr_position_timer,
                      ngx_mdvr_sig.conf->batch_delay);
    }
}


/* -- live ----------------------------------------------------------------- */

static void
ngx_mdvr_position_live(ngx_mdvr_link_t *link, int64_t at,
    const mdvr_location_t *loc, int trigger)
{
    u_char        *p, id[64], uuid[NGX_MDVR_UUID_LEN],
                   stamp[NGX_MDVR_RFC3339_LEN];
    int64_t        now;
    ngx_str_t      msg;
    mdvr_buf_t     b;
    mdvr_json_t    j;

    static u_char  buf[4096];

    if (!ngx_mdvr_redis_up()) {
        return;
    }

    now = ngx_mdvr_now_ms();

    /*
     * The id is a time: resuming after it replays what happened since.  Slot
     * and counter make it unique.
     */

    p = ngx_sprintf(id, "t%L-%ui.%ui", now, ngx_mdvr_slot,
                    ++ngx_mdvr_sig.event);

    b = mdvr_buf(buf, sizeof(buf));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_cstr(&j, "type", "telemetry");
    mdvr_json_str(&j, "id", mdvr_str(id, p - id));

    ngx_mdvr_uuid_print(uuid, &link->tenant_id);
    mdvr_json_str(&j, "tenant_id", mdvr_str(uuid, NGX_MDVR_UUID_LEN));
    ngx_mdvr_uuid_print(uuid, &link->device_id);
    mdvr_json_str(&j, "device_id", mdvr_str(uuid, NGX_MDVR_UUID_LEN));
    mdvr_json_str(&j, "serial", mdvr_str(link->serial, link->serial_len));

    p = ngx_mdvr_rfc3339(stamp, at);
    mdvr_json_str(&j, "at", mdvr_str(stamp, p - stamp));
    p = ngx_mdvr_rfc3339(stamp, now);
    mdvr_json_str(&j, "received_at", mdvr_str(stamp, p - stamp));

    mdvr_location_json(&j, loc);
    mdvr_json_cstr(&j, "trigger", mdvr_trigger_name(trigger));
    mdvr_json_object_end(&j);

    if (b.full) {
        return;
    }

    msg.data = b.p;
    msg.len = b.len;

    ngx_mdvr_sig_publish(&link->tenant_id, &msg, NGX_MDVR_REDIS_DROPPABLE);
}


/* -- batches -------------------------------------------------------------- */

/*
 * A batch that fills fast waits for more: the statement itself costs as much
 * as a few hundred rows.
 */

static void
ngx_mdvr_position_flush_handler(ngx_event_t *ev)
{
    ngx_mdvr_batch_t  *batch;

    batch = ngx_mdvr_position_current;

    if (batch && !batch->waited && batch->rows >= NGX_MDVR_POSITION_FAST
        && !ngx_exiting)
    {
        batch->waited = 1;
        ngx_add_timer(ev, 3 * ngx_mdvr_sig.conf->batch_delay);
        return;
    }

    ngx_mdvr_position_flush();
}


static void
ngx_mdvr_position_flush(void)
{
    ngx_uint_t         i;
    ngx_str_t          params[NGX_MDVR_COL_COUNT];
    ngx_mdvr_batch_t  *batch;

    if (ngx_mdvr_position_timer.timer_set) {
        ngx_del_timer(&ngx_mdvr_position_timer);
    }

    batch = ngx_mdvr_position_current;

    if (batch == NULL || batch->rows == 0) {
        return;
    }

    ngx_mdvr_position_current = NULL;

    if (!ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM)
        || ngx_mdvr_position_nflying >= ngx_mdvr_sig.conf->batches)
    {
        (void) ngx_mdvr_position_spool(batch);
        ngx_mdvr_position_recycle(batch);
        return;
    }

    for (i = 0; i < NGX_MDVR_COL_COUNT; i++) {
        mdvr_buf_chr(&batch->col[i], '}');
        params[i].data = batch->col[i].p;
        params[i].len = batch->col[i].len;
    }

    if (ngx_mdvr_position_send(params, ngx_mdvr_sig.conf->batch_timeout,
                               ngx_mdvr_position_stored, batch)
        != NGX_OK)
    {
        (void) ngx_mdvr_position_spool(batch);
        ngx_mdvr_position_recycle(batch);
        return;
    }

    batch->next = ngx_mdvr_position_flying;
    ngx_mdvr_position_flying = batch;
    ngx_mdvr_position_nflying++;
}


static ngx_int_t
ngx_mdvr_position_send(ngx_str_t *params, ngx_msec_t timeout,
    ngx_mdvr_pg_done_pt done, void *data)
{
    ngx_uint_t           i;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  values[NGX_MDVR_COL_COUNT];

    for (i = 0; i < NGX_MDVR_COL_COUNT; i++) {
        values[i].data = params[i].data;
        values[i].len = params[i].len;
        values[i].binary = 0;
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = ngx_mdvr_position_sql;
    call.params = values;
    call.nparams = NGX_MDVR_COL_COUNT;
    call.retry = 1;
    call.bulk = 1;

    return ngx_mdvr_pg_query(NULL, &call, timeout, done, data);
}


static void
ngx_mdvr_position_stored(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    int64_t             n;
    ngx_mdvr_batch_t   *batch = data;
    ngx_mdvr_batch_t  **p;

    for (p = &ngx_mdvr_position_flying; *p; p = &(*p)->next) {
        if (*p == batch) {
            *p = batch->next;
            break;
        }
    }

    ngx_mdvr_position_nflying--;

    if (rc == MDVR_OK) {
        n = 0;
        (void) ngx_mdvr_pg_int(rows, 0, 0, &n);
        ngx_mdvr_count_n(telemetry_stored_total, n);

        if ((ngx_uint_t) n < batch->reports) {
            ngx_mdvr_count_n(telemetry_duplicate_total, batch->reports - n);
        }

    } else {
        ngx_log_error(NGX_LOG_WARN, ngx_mdvr_sig.log, 0,
                      "mdvr: %ui positions go to the spool: %s",
                      batch->rows, mdvr_rc_words(rc));
        (void) ngx_mdvr_position_spool(batch);
    }

    ngx_mdvr_position_recycle(batch);
}


static ngx_int_t
ngx_mdvr_position_spool(ngx_mdvr_batch_t *batch)
{
    ngx_str_t    params[NGX_MDVR_COL_COUNT];
    ngx_uint_t   i;
    mdvr_buf_t  *b;

    for (i = 0; i < NGX_MDVR_COL_COUNT; i++) {

        b = &batch->col[i];

        if (b->p[b->len - 1] != '}') {
            mdvr_buf_chr(b, '}');
        }

        params[i].data = b->p;
        params[i].len = b->len;
    }

    if (ngx_mdvr_journal_append(&ngx_mdvr_sig.spool, NGX_MDVR_POSITION_KIND,
                                params, NGX_MDVR_COL_COUNT, batch->rows, NULL)
        != NGX_OK)
    {
        ngx_mdvr_refusal("spool");
        ngx_log_error(NGX_LOG_ERR, ngx_mdvr_sig.log, 0,
                      "mdvr: %ui positions lost, the spool takes no more",
                      batch->rows);
        return NGX_ERROR;
    }

    ngx_mdvr_count_n(telemetry_spooled_total, batch->rows);

    return NGX_OK;
}


static void
ngx_mdvr_position_recycle(ngx_mdvr_batch_t *batch)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MDVR_COL_COUNT; i++) {
        batch->col[i].len = 0;
        batch->col[i].full = 0;
    }

    ngx_mdvr_keep_release(batch->keep);

    batch->keep = NULL;
    batch->rows = 0;
    batch->reports = 0;
    batch->waited = 0;
    batch->next = ngx_mdvr_position_free;
    ngx_mdvr_position_free = batch;
}


/* -- replay --------------------------------------------------------------- */

void
ngx_mdvr_position_replay(ngx_mdvr_journal_t *j, ngx_uint_t kind,
    ngx_str_t *params, ngx_uint_t n)
{
    if (kind != NGX_MDVR_POSITION_KIND || n != NGX_MDVR_COL_COUNT) {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_REFUSED);
        return;
    }

    if (!ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM)
        || ngx_mdvr_position_send(params, NGX_MDVR_POSITION_REPLAY,
                                  ngx_mdvr_position_replayed, j)
           != NGX_OK)
    {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_RETRY);
    }
}


static void
ngx_mdvr_position_replayed(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    int64_t              n;
    ngx_mdvr_journal_t  *j = data;

    if (rc == MDVR_OK) {
        n = 0;
        (void) ngx_mdvr_pg_int(rows, 0, 0, &n);
        ngx_mdvr_count_n(telemetry_stored_total, n);

        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_STORED);
        return;
    }

    ngx_mdvr_journal_replayed(j, ngx_mdvr_store_refused(rc)
                                 ? NGX_MDVR_JOURNAL_REFUSED
                                 : NGX_MDVR_JOURNAL_RETRY);
}
