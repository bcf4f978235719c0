
/*
 * Position history and the present state of a device.
 *
 * These are the two answers that PostgreSQL does not write itself: the 64 status
 * bits are decoded by the wire library, so that REST and WebSocket show the same
 * words.  One reader of rows serves JSON, GeoJSON, GPX and CSV.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_telemetry.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "mdvr/web/accept.h"
#include "mdvr/basics/json.h"
#include "mdvr/dc/location.h"


/* columns of both statements, in this order */

#define POSITION_COLUMNS                                                      \
    " mdvr.rfc3339(t.recorded_at), mdvr.rfc3339(t.received_at),"              \
    " t.lat_deg, t.lon_deg, t.gps_valid, t.satellites, t.speed_kmh,"          \
    " t.course_deg, t.acc, t.mileage_m, t.fuel_l, t.temp_device_c,"           \
    " t.temp_engine_c, t.temp_cabin_c, t.parking_s, t.rpm, t.obd_speed_kmh,"  \
    " t.people, t.status_hex, t.mask_hex, t.trigger"

enum {
    col_at = 0,
    col_received_at,
    col_lat,
    col_lon,
    col_gps_valid,
    col_satellites,
    col_speed,
    col_course,
    col_acc,
    col_mileage,
    col_fuel,
    col_temp_device,
    col_temp_engine,
    col_temp_cabin,
    col_parking,
    col_rpm,
    col_obd_speed,
    col_people,
    col_status,
    col_mask,
    col_trigger,

    col_late,               /* history */
    col_serial,
    col_key,

    col_head = col_late,    /* state */
    col_channels,
    col_network,
    col_network_name
};


/* how a column is written, and under which name */

static const struct {
    ngx_uint_t   col;
    const char  *name;
    ngx_uint_t   flag;
} ngx_http_mdvr_api_numbers[] = {
    { col_lat,          "lat",           0 },
    { col_lon,          "lon",           0 },
    { col_gps_valid,    "gps_valid",     1 },
    { col_satellites,   "satellites",    0 },
    { col_speed,        "speed_kmh",     0 },
    { col_course,       "course_deg",    0 },
    { col_acc,          "acc",           1 },
    { col_mileage,      "mileage_m",     0 },
    { col_fuel,         "fuel_l",        0 },
    { col_temp_device,  "temp_device_c", 0 },
    { col_temp_engine,  "temp_engine_c", 0 },
    { col_temp_cabin,   "temp_cabin_c",  0 },
    { col_parking,      "parking_s",     0 },
    { col_rpm,          "rpm",           0 },
    { col_obd_speed,    "obd_speed_kmh", 0 },
    { col_people,       "people",        0 }
};

#define NGX_HTTP_MDVR_API_NUMBERS                                             \
    (sizeof(ngx_http_mdvr_api_numbers) / sizeof(ngx_http_mdvr_api_numbers[0]))

#define NGX_HTTP_MDVR_API_ROW_MAX  2048


typedef struct {
    ngx_str_t                   device;
    const ngx_mdvr_pg_rows_t   *rows;
    ngx_uint_t                  n;          /* rows to write */
    ngx_str_t                   next;
} ngx_http_mdvr_api_history_t;

typedef void (*ngx_http_mdvr_api_writer_pt)(mdvr_buf_t *b,
    ngx_http_mdvr_api_history_t *h);


const char *const  ngx_http_mdvr_api_telemetry_exports[] = {
    "application/geo+json", "application/gpx+xml", "text/csv", NULL
};


static mdvr_str_t
ngx_http_mdvr_api_cell(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col)
{
    ngx_str_t  s;

    s = ngx_mdvr_pg_value(rows, row, col);

    return mdvr_str(s.data, s.len);
}


static void
ngx_http_mdvr_api_status_of(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    mdvr_status_t *st)
{
    uint64_t  bits, mask;

    memset(st, 0, sizeof(mdvr_status_t));

    if (!mdvr_str_hex(ngx_http_mdvr_api_cell(rows, row, col_status), &bits)) {
        return;
    }

    if (!mdvr_str_hex(ngx_http_mdvr_api_cell(rows, row, col_mask), &mask)
        || mask == 0)
    {
        mask = ~(uint64_t) 0;               /* devices send no mask, or zeros */
    }

    st->bits = bits & mask;
    st->known = mask;
    st->present = true;
}


/* the members of a position, inside an object that the caller opened */

static void
ngx_http_mdvr_api_position(mdvr_json_t *j, const ngx_mdvr_pg_rows_t *rows,
    ngx_uint_t row)
{
    int64_t        trigger;
    ngx_str_t      s;
    ngx_uint_t     i, col;
    mdvr_status_t  st;

    mdvr_json_str(j, "at", ngx_http_mdvr_api_cell(rows, row, col_at));
    mdvr_json_str(j, "received_at",
                  ngx_http_mdvr_api_cell(rows, row, col_received_at));

    for (i = 0; i < NGX_HTTP_MDVR_API_NUMBERS; i++) {
        col = ngx_http_mdvr_api_numbers[i].col;

        if (ngx_mdvr_pg_isnull(rows, row, col)) {
            mdvr_json_null(j, ngx_http_mdvr_api_numbers[i].name);

        } else if (ngx_http_mdvr_api_numbers[i].flag) {
            s = ngx_mdvr_pg_value(rows, row, col);
            mdvr_json_bool(j, ngx_http_mdvr_api_numbers[i].name,
                           s.len && s.data[0] == 't');

        } else {
            mdvr_json_raw(j, ngx_http_mdvr_api_numbers[i].name,
                          ngx_http_mdvr_api_cell(rows, row, col));
        }
    }

    ngx_http_mdvr_api_status_of(rows, row, &st);

    if (st.present) {
        mdvr_status_json(j, "status", &st);

    } else {
        mdvr_json_null(j, "status");
    }

    mdvr_json_cstr(j, "trigger",
                   ngx_mdvr_pg_int(rows, row, col_trigger, &trigger) == NGX_OK
                   ? mdvr_trigger_name((int) trigger) : NULL);
}


static void
ngx_http_mdvr_api_write_json(mdvr_buf_t *b, ngx_http_mdvr_api_history_t *h)
{
    ngx_str_t    s;
    ngx_uint_t   i;
    mdvr_json_t  j;

    mdvr_json_init(&j, b);
    mdvr_json_object(&j, NULL);
    mdvr_json_array(&j, "items");

    for (i = 0; i < h->n; i++) {
        mdvr_json_object(&j, NULL);
        mdvr_json_str(&j, "device_id", mdvr_str(h->device.data, h->device.len));
        mdvr_json_str(&j, "serial",
                      ngx_http_mdvr_api_cell(h->rows, i, col_serial));
        ngx_http_mdvr_api_position(&j, h->rows, i);

        s = ngx_mdvr_pg_value(h->rows, i, col_late);
        mdvr_json_bool(&j, "late", s.len && s.data[0] == 't');
        mdvr_json_object_end(&j);
    }

    mdvr_json_array_end(&j);

    if (h->next.len) {
        mdvr_json_str(&j, "next_cursor", mdvr_str(h->next.data, h->next.len));

    } else {
        mdvr_json_null(&j, "next_cursor");
    }

    mdvr_json_object_end(&j);
}


static void
ngx_http_mdvr_api_write_geojson(mdvr_buf_t *b, ngx_http_mdvr_api_history_t *h)
{
    ngx_uint_t   i;
    mdvr_json_t  j;

    mdvr_json_init(&j, b);
    mdvr_json_object(&j, NULL);
    mdvr_json_cstr(&j, "type", "FeatureCollection");
    mdvr_json_array(&j, "features");

    for (i = 0; i < h->n; i++) {
        mdvr_json_object(&j, NULL);
        mdvr_json_cstr(&j, "type", "Feature");

        if (ngx_mdvr_pg_isnull(h->rows, i, col_lat)
            || ngx_mdvr_pg_isnull(h->rows, i, col_lon))
        {
            mdvr_json_null(&j, "geometry");

        } else {
            mdvr_json_object(&j, "geometry");
            mdvr_json_cstr(&j, "type", "Point");
            mdvr_json_array(&j, "coordinates");
            mdvr_json_raw(&j, NULL,
                          ngx_http_mdvr_api_cell(h->rows, i, col_lon));
            mdvr_json_raw(&j, NULL,
                          ngx_http_mdvr_api_cell(h->rows, i, col_lat));
            mdvr_json_array_end(&j);
            mdvr_json_object_end(&j);
        }

        mdvr_json_object(&j, "properties");
        mdvr_json_str(&j, "device_id", mdvr_str(h->device.data, h->device.len));
        ngx_http_mdvr_api_position(&j, h->rows, i);
        mdvr_json_object_end(&j);
        mdvr_json_object_end(&j);
    }

    mdvr_json_array_end(&j);
    mdvr_json_object_end(&j);
}


static void
ngx_http_mdvr_api_write_gpx(mdvr_buf_t *b, ngx_http_mdvr_api_history_t *h)
{
    ngx_uint_t  i;

    mdvr_buf_cstr(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<gpx version=\"1.1\" creator=\"MDVR platform\" "
                     "xmlns=\"http://www.topografix.com/GPX/1/1\">\n"
                     "<trk><name>");
    mdvr_buf_str(b, mdvr_str(h->device.data, h->device.len));
    mdvr_buf_cstr(b, "</name><trkseg>\n");

    /* a track runs forward */

    for (i = h->n; i > 0; i--) {

        if (ngx_mdvr_pg_isnull(h->rows, i - 1, col_lat)
            || ngx_mdvr_pg_isnull(h->rows, i - 1, col_lon))
        {
            continue;
        }

        mdvr_buf_cstr(b, "<trkpt lat=\"");
        mdvr_buf_str(b, ngx_http_mdvr_api_cell(h->rows, i - 1, col_lat));
        mdvr_buf_cstr(b, "\" lon=\"");
        mdvr_buf_str(b, ngx_http_mdvr_api_cell(h->rows, i - 1, col_lon));
        mdvr_buf_cstr(b, "\"><time>");
        mdvr_buf_str(b, ngx_http_mdvr_api_cell(h->rows, i - 1, col_at));
        mdvr_buf_cstr(b, "</time></trkpt>\n");
    }

    mdvr_buf_cstr(b, "</trkseg></trk></gpx>\n");
}


static void
ngx_http_mdvr_api_write_csv(mdvr_buf_t *b, ngx_http_mdvr_api_history_t *h)
{
    ngx_str_t   s;
    ngx_uint_t  i, n, col;

    mdvr_buf_cstr(b, "device_id,at,received_at");

    for (n = 0; n < NGX_HTTP_MDVR_API_NUMBERS; n++) {
        mdvr_buf_chr(b, ',');
        mdvr_buf_cstr(b, ngx_http_mdvr_api_numbers[n].name);
    }

    mdvr_buf_cstr(b, "\r\n");

    for (i = 0; i < h->n; i++) {
        mdvr_buf_str(b, mdvr_str(h->device.data, h->device.len));
        mdvr_buf_chr(b, ',');
        mdvr_buf_str(b, ngx_http_mdvr_api_cell(h->rows, i, col_at));
        mdvr_buf_chr(b, ',');
        mdvr_buf_str(b, ngx_http_mdvr_api_cell(h->rows, i, col_received_at));

        for (n = 0; n < NGX_HTTP_MDVR_API_NUMBERS; n++) {
            mdvr_buf_chr(b, ',');
            col = ngx_http_mdvr_api_numbers[n].col;

            if (ngx_mdvr_pg_isnull(h->rows, i, col)) {
                continue;
            }

            if (ngx_http_mdvr_api_numbers[n].flag) {
                s = ngx_mdvr_pg_value(h->rows, i, col);
                mdvr_buf_cstr(b, s.data[0] == 't' ? "true" : "false");

            } else {
                mdvr_buf_str(b, ngx_http_mdvr_api_cell(h->rows, i, col));
            }
        }

        mdvr_buf_cstr(b, "\r\n");
    }
}


/* the usual form first, then as in ngx_http_mdvr_api_telemetry_exports */

static const struct {
    const char                    *type;
    ngx_http_mdvr_api_writer_pt    write;
} ngx_http_mdvr_api_forms[] = {
    { NULL, ngx_http_mdvr_api_write_json },
    { "application/geo+json", ngx_http_mdvr_api_write_geojson },
    { "application/gpx+xml", ngx_http_mdvr_api_write_gpx },
    { "text/csv; charset=utf-8", ngx_http_mdvr_api_write_csv }
};


static ngx_uint_t
ngx_http_mdvr_api_form(ngx_http_request_t *r)
{
    ngx_str_t   *accept;
    ngx_uint_t   i;
    const char  *types[4] = { "application/json" };

    for (i = 1; i < 4; i++) {
        types[i] = ngx_http_mdvr_api_telemetry_exports[i - 1];
    }

    accept = ngx_mdvr_http_find(r, "accept");

    return accept == NULL
           ? 0 : mdvr_accept(mdvr_str(accept->data, accept->len), types, 4);
}


static void
ngx_http_mdvr_api_history(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char                       *p;
    size_t                        size;
    ngx_str_t                    *arg, text, link, vary;
    ngx_int_t                     limit;
    ngx_uint_t                    i;
    mdvr_buf_t                    b;
    ngx_http_request_t           *r;
    ngx_http_mdvr_api_history_t   h;

    r = ctx->request;
    ngx_memzero(&h, sizeof(h));

    h.rows = rows;
    h.n = ngx_mdvr_pg_nrows(rows);
    h.device = ctx->ids[0];

    if (h.n == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    if (ngx_mdvr_pg_isnull(rows, 0, col_at)) {
        h.n = 0;
    }

    arg = ngx_http_mdvr_api_arg(ctx, "limit");
    limit = arg->data ? ngx_atoi(arg->data, arg->len) : 50;

    if (h.n > (ngx_uint_t) limit) {
        h.n = limit;
        h.next = ngx_mdvr_pg_value(rows, limit - 1, col_key);
    }

    i = ngx_http_mdvr_api_form(r);

    size = (h.n + 1) * NGX_HTTP_MDVR_API_ROW_MAX;

    p = ngx_palloc(r->pool, size);
    if (p == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    b = mdvr_buf(p, size);
    ngx_http_mdvr_api_forms[i].write(&b, &h);

    if (b.full) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_str_set(&vary, "Accept");
    (void) ngx_mdvr_http_header(r, "Vary", &vary);

    if (h.next.len && ngx_http_mdvr_api_forms[i].type) {
        link.data = ngx_pnalloc(r->pool, h.next.len + 64);

        if (link.data) {
            link.len = ngx_sprintf(link.data, "<?cursor=%V>; rel=\"next\"",
                                   &h.next) - link.data;
            (void) ngx_mdvr_http_header(r, "Link", &link);
        }
    }

    text.data = p;
    text.len = b.len;

    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_OK, ngx_http_mdvr_api_forms[i].type,
                             &text, 0);
}


#define HISTORY_WHERE                                                         \
    " t.device_id = d.id"                                                     \
    " and ($4::text is null or (t.recorded_at, t.body_digest)"                \
    "   < (mdvr.cursor_time($4), decode(substr($4, 17), 'hex')))"             \
    " and ($4::text is null or t.recorded_at <= mdvr.cursor_time($4))"        \
    " and ($2::timestamptz is null or t.recorded_at >= $2::timestamptz)"      \
    " and ($3::timestamptz is null or t.recorded_at <= $3::timestamptz)"

#define HISTORY_ORDER  " order by t.recorded_at desc, t.body_digest desc"

void
ngx_http_mdvr_api_telemetry(ngx_http_mdvr_api_ctx_t *ctx)
{
    static const char  all[] =
        "select" POSITION_COLUMNS ", t.late, d.serial,"
        " mdvr.cursor_make(t.recorded_at, encode(t.body_digest, 'hex'))"
        " from mdvr.device d left join lateral (select * from mdvr.telemetry t"
        "  where" HISTORY_WHERE HISTORY_ORDER
        "  limit coalesce($5::int, 50) + 1) t on true"
        " where d.id = $1::uuid and d.deleted_at is null" HISTORY_ORDER;

    /*
     * The newest of every so many seconds: one step through the index per row
     * shown, however many lie between.
     */

    static const char  sampled[] =
        "select" POSITION_COLUMNS ", t.late, d.serial,"
        " mdvr.cursor_make(to_timestamp(floor(extract(epoch from t.recorded_at)"
        "   / $6::int) * $6::int), '00')"
        " from mdvr.device d left join lateral ("
        "  with recursive w as ("
        "   (select t.* from mdvr.telemetry t where" HISTORY_WHERE
        HISTORY_ORDER " limit 1)"
        "   union all"
        "   (select n.* from w, lateral (select t.* from mdvr.telemetry t"
        "     where t.device_id = d.id and t.recorded_at < to_timestamp(floor("
        "      extract(epoch from w.recorded_at) / $6::int) * $6::int)"
        "      and ($2::timestamptz is null"
        "           or t.recorded_at >= $2::timestamptz)"
        HISTORY_ORDER " limit 1) n))"
        "  select * from w limit coalesce($5::int, 50) + 1) t on true"
        " where d.id = $1::uuid and d.deleted_at is null" HISTORY_ORDER;

    if (ngx_http_mdvr_api_arg(ctx, "every_s")->data) {
        ngx_http_mdvr_api_query(ctx, sampled,
                                "id,?from,?to,?cursor,?limit,?every_s", NULL,
                                ngx_http_mdvr_api_history);
        return;
    }

    ngx_http_mdvr_api_query(ctx, all, "id,?from,?to,?cursor,?limit", NULL,
                            ngx_http_mdvr_api_history);
}


/* --- the present state ---------------------------------------------------------- */

static void
ngx_http_mdvr_api_channels(mdvr_json_t *j, const mdvr_status_t *st,
    ngx_uint_t channels, const ngx_mdvr_uuid_t *device)
{
    uint32_t         recording, loss, known_r, known_l, bit;
    ngx_uint_t       i, s;
    mdvr_bus_t      *bus;
    mdvr_bus_ref_t   ref;

    static const char *const  streams[] = { "main", "sub" };

    bus = ngx_mdvr_bus();
    known_r = 0;
    known_l = 0;
    recording = st->present
                ? mdvr_status_set(st, MDVR_STATUS_RECORDING, &known_r) : 0;
    loss = st->present
           ? mdvr_status_set(st, MDVR_STATUS_VIDEO_LOSS, &known_l) : 0;

    mdvr_json_array(j, "channels");

    for (i = 1; i <= channels; i++) {
        bit = i <= 32 ? 1u << (i - 1) : 0;

        mdvr_json_object(j, NULL);
        mdvr_json_i64(j, "channel", i);

        if (known_r & bit) {
            mdvr_json_bool(j, "recording", recording & bit);

        } else {
            mdvr_json_null(j, "recording");
        }

        if (known_l & bit) {
            mdvr_json_bool(j, "video_loss", loss & bit);

        } else {
            mdvr_json_null(j, "video_loss");
        }

        mdvr_json_array(j, "streams");

        for (s = 0; bus && s < 2; s++) {
            if (mdvr_bus_find_key(bus, MDVR_BUS_KIND_LIVE, device->b, i, s,
                                  &ref)
                == MDVR_OK)
            {
                mdvr_json_cstr(j, NULL, streams[s]);
            }
        }

        mdvr_json_array_end(j);
        mdvr_json_object_end(j);
    }

    mdvr_json_array_end(j);
}


static void
ngx_http_mdvr_api_state(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    int               v;
    u_char           *p;
    size_t            size;
    int64_t           channels;
    ngx_str_t         head, text;
    ngx_uint_t        i;
    mdvr_buf_t        b;
    mdvr_json_t       j;
    mdvr_status_t     st;
    ngx_mdvr_uuid_t   device;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    (void) ngx_mdvr_uuid_parse(&ctx->ids[0], &device);

    if (ngx_mdvr_pg_int(rows, 0, col_channels, &channels) != NGX_OK) {
        channels = 0;
    }

    ngx_http_mdvr_api_status_of(rows, 0, &st);

    head = ngx_mdvr_pg_value(rows, 0, col_head);
    size = head.len + 16384;

    p = ngx_palloc(ctx->request->pool, size);
    if (p == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    b = mdvr_buf(p, size);

    /* {"device_id":..., ...}  without the closing brace, then what follows */

    mdvr_buf_add(&b, head.data, head.len - 1);
    mdvr_buf_chr(&b, ',');

    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, "network");

    if (ngx_mdvr_pg_isnull(rows, 0, col_network)) {
        mdvr_json_null(&j, "type");

    } else {
        mdvr_json_str(&j, "type",
                      ngx_http_mdvr_api_cell(rows, 0, col_network));
    }

    if (ngx_mdvr_pg_isnull(rows, 0, col_network_name)) {
        mdvr_json_null(&j, "name");

    } else {
        mdvr_json_str(&j, "name",
                      ngx_http_mdvr_api_cell(rows, 0, col_network_name));
    }

    mdvr_json_cstr(&j, "signal",
                   st.present ? mdvr_network_name(mdvr_status_network(&st))
                              : NULL);
    mdvr_json_object_end(&j);

    mdvr_buf_chr(&b, ',');
    mdvr_json_init(&j, &b);
    mdvr_json_array(&j, "disks");

    for (i = 1; i <= 2 && st.present; i++) {
        v = mdvr_status_disk(&st, i);

        if (v >= 0) {
            mdvr_json_object(&j, NULL);
            mdvr_json_i64(&j, "disk", i);
            mdvr_json_cstr(&j, "state", mdvr_disk_name(v));
            mdvr_json_object_end(&j);
        }
    }

    mdvr_json_array_end(&j);

    mdvr_buf_chr(&b, ',');
    mdvr_json_init(&j, &b);
    ngx_http_mdvr_api_channels(&j, &st, channels, &device);

    mdvr_buf_chr(&b, ',');
    mdvr_json_init(&j, &b);

    if (ngx_mdvr_pg_isnull(rows, 0, col_at)) {
        mdvr_json_null(&j, "position");

    } else {
        mdvr_json_object(&j, "position");
        ngx_http_mdvr_api_position(&j, rows, 0);
        mdvr_json_object_end(&j);
    }

    mdvr_buf_chr(&b, '}');

    text.data = p;
    text.len = b.len;

    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_OK, NULL, &text, 0);
}


void
ngx_http_mdvr_api_device_status(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "select" POSITION_COLUMNS ","
        " json_build_object('device_id', d.id, 'serial', d.serial,"
        "  'online', coalesce(s.online, false),"
        "  'node', case when s.online then s.node end,"
        "  'address', host(s.address),"
        "  'connected_at', mdvr.rfc3339(case when s.online"
        "    then s.connected_at end),"
        "  'last_seen_at', mdvr.rfc3339(greatest(s.last_seen_at,"
        "    t.received_at)),"
        "  'offline_at', mdvr.rfc3339(case when not s.online"
        "    then s.offline_at end),"
        "  'offline_reason', case when not s.online"
        "    then s.offline_reason end,"
        "  'firmware', s.registration->>'firmware',"
        "  'device_type', s.registration->>'device_type',"
        "  'utc_offset_minutes', coalesce(d.utc_offset_minutes,"
        "    s.utc_offset_minutes),"
        "  'utc_offset_detected', s.utc_offset_minutes,"
        "  'registration', coalesce(s.registration, '{}'),"
        "  'health', coalesce(s.health, '{}'))::text,"
        " d.channels, s.registration->>'network',"
        " s.registration->>'network_name'"
        " from mdvr.device d"
        " left join mdvr.device_state s on s.device_id = d.id"
        " left join mdvr.position t on t.device_id = d.id"
        " where d.id = $1::uuid and d.deleted_at is null",
        "id", NULL, ngx_http_mdvr_api_state);
}
