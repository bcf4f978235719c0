/*
 * What a client missed: its events from PostgreSQL, page by page as its socket
 * takes them, and the last position of each of its devices.
 *
 * Meanwhile live events are held, a few of them.  A page tells the newest number
 * of its snapshot: the last page holds everything up to it, live begins behind
 * it.  When more came than can be held, the pages simply go on.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"

#include "mdvr/dc/location.h"

#include <math.h>


#define NGX_MDVR_REPLAY_PAGE     200
#define NGX_MDVR_REPLAY_HELD     64
#define NGX_MDVR_REPLAY_TIMEOUT  5000


static void ngx_mdvr_replay_page(ngx_mdvr_client_t *client);
static void ngx_mdvr_replay_rows(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_positions_page(ngx_mdvr_client_t *client);
static void ngx_mdvr_positions_rows(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);


static void
ngx_mdvr_replay_release(ngx_mdvr_client_t *client)
{
    ngx_uint_t  i;

    for (i = 0; i < client->nheld; i++) {
        ngx_mdvr_ws_payload_drop(client->held[i]);
    }

    client->nheld = 0;
    client->held_lost = 0;
}


void
ngx_mdvr_replay_stop(ngx_mdvr_client_t *client)
{
    ngx_mdvr_replay_release(client);

    if (client->held) {
        ngx_free(client->held);
        client->held = NULL;
    }

    if (client->held_seq) {
        ngx_free(client->held_seq);
        client->held_seq = NULL;
    }

    client->page_ready = 0;
    client->positions = 0;
}


/* client->after is where it begins; client->seq is what live begins behind */

void
ngx_mdvr_replay_start(ngx_mdvr_client_t *client)
{
    client->held = ngx_alloc(NGX_MDVR_REPLAY_HELD * sizeof(void *),
                             ngx_cycle->log);
    client->held_seq = ngx_alloc(NGX_MDVR_REPLAY_HELD * sizeof(int64_t),
                                 ngx_cycle->log);

    if (client->held == NULL || client->held_seq == NULL) {
        ngx_mdvr_client_close(client, 1011, "no memory");
        return;
    }

    client->seq = ngx_mdvr_hub_seq(client->hub);

    ngx_mdvr_replay_page(client);
}


void
ngx_mdvr_replay_hold(ngx_mdvr_client_t *client, ngx_mdvr_push_t *push)
{
    ngx_mdvr_ws_payload_t  *payload;

    if (client->held_lost) {
        return;
    }

    if (client->nheld == NGX_MDVR_REPLAY_HELD) {
        ngx_mdvr_replay_release(client);
        client->held_lost = 1;
        return;
    }

    payload = ngx_mdvr_client_form(client, push);

    if (payload == NULL) {
        client->held_lost = 1;
        return;
    }

    ngx_mdvr_ws_payload_hold(payload);
    client->held[client->nheld] = payload;
    client->held_seq[client->nheld] = push->seq;
    client->nheld++;
}


static void
ngx_mdvr_replay_say_gap(ngx_mdvr_client_t *client, int64_t at)
{
    (void) ngx_mdvr_client_say(client, "{\"type\":\"gap\",\"id\":\"%L\"}",
                               at);
}


void
ngx_mdvr_replay_gap(ngx_mdvr_client_t *client, int64_t at)
{
    switch (client->state) {

    case NGX_MDVR_CLIENT_REPLAYING:

        /* what is held has old numbers: the pages go on instead */

        ngx_mdvr_replay_release(client);
        client->held_lost = 1;
        client->seq = ngx_min(client->seq, at);
        break;                          /* its page tells it, or the next */

    case NGX_MDVR_CLIENT_LIVE:
        client->seq = ngx_min(client->seq, at);
        ngx_mdvr_replay_say_gap(client, at);
        break;

    default:                            /* resumes, and is told then */
        break;
    }
}


void
ngx_mdvr_replay_drained(ngx_mdvr_client_t *client)
{
    if (client->page_ready) {
        client->page_ready = 0;
        ngx_mdvr_replay_page(client);
    }

    if (client->positions && !client->positions_busy) {
        ngx_mdvr_positions_page(client);
    }
}


/* Arrays of topics and devices as PostgreSQL reads them. */

static ngx_int_t
ngx_mdvr_replay_filter(ngx_mdvr_client_t *client, ngx_str_t *topics,
    ngx_str_t *devices, u_char *topics_text)
{
    u_char      *p;
    ngx_uint_t   i;

    p = topics_text;
    *p++ = '{';

    for (i = 1; i < NGX_MDVR_TOPICS; i++) {
        if (client->topics & (1 << i)) {
            p = ngx_sprintf(p, "%V,", &ngx_mdvr_topic_names[i]);
        }
    }

    if (p[-1] == ',') {
        p--;
    }

    *p++ = '}';

    topics->data = topics_text;
    topics->len = p - topics_text;

    ngx_str_null(devices);

    if (!client->filtered) {
        return NGX_OK;
    }

    p = ngx_alloc(2 + client->devices.n * (NGX_MDVR_UUID_LEN + 1),
                  ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    devices->data = p;
    *p++ = '{';

    for (i = 0; i < client->devices.n; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_mdvr_uuid_print(p, &client->devices.ids[i]);
    }

    *p++ = '}';
    devices->len = p - devices->data;

    return NGX_OK;
}


static void
ngx_mdvr_replay_page(ngx_mdvr_client_t *client)
{
    u_char               topics_text[64];
    ngx_int_t            rc;
    ngx_str_t            topics, devices;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[3];

    if (client->paging) {
        return;
    }

    if (ngx_mdvr_replay_filter(client, &topics, &devices, topics_text)
        != NGX_OK)
    {
        ngx_mdvr_client_close(client, 1011, "no memory");
        return;
    }

    /* from here on everything newer is held, or found by another page */

    ngx_mdvr_replay_release(client);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    ngx_mdvr_client_scope(client, &call);

    params[0] = (ngx_mdvr_pg_param_t) { client->after, client->after_len, 0 };
    params[1] = ngx_mdvr_pg_text(&topics);
    params[2] = ngx_mdvr_pg_text(&devices);

    /* one row at least: the newest number that the page knows of */

    call.sql = "select p.at, e.id, e.message, mdvr.event_seq($1)"
               " from (select mdvr.event_position() as at) p"
               " left join mdvr.events_after($1, $2::text[], $3::uuid[], 200)"
               " e on true order by e.id::bigint";
    call.params = params;
    call.nparams = 3;
    call.retry = 1;

    client->seq = ngx_max(client->seq, ngx_mdvr_hub_seq(client->hub));

    rc = ngx_mdvr_pg_query(client->pool, &call, NGX_MDVR_REPLAY_TIMEOUT,
                           ngx_mdvr_replay_rows, client);

    if (devices.data) {
        ngx_free(devices.data);
    }

    if (rc != NGX_OK) {
        ngx_mdvr_client_close(client, 1013, "try again later");
        return;
    }

    client->paging = 1;
}


static void
ngx_mdvr_replay_rows(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_mdvr_client_t *client = data;

    int64_t     seq, last, at, from;
    ngx_str_t   msg;
    ngx_uint_t  i, n;

    client->paging = 0;

    if (client->state != NGX_MDVR_CLIENT_REPLAYING) {
        return;
    }

    if (rc == MDVR_E_RANGE) {
        (void) ngx_mdvr_client_say(client, "{\"type\":\"error\",\"code\":"
                                   "\"unknown_id\",\"detail\":\"after is no "
                                   "id of a message\"}");
        at = client->seq;
        goto live;
    }

    if (rc != MDVR_OK) {
        ngx_mdvr_client_close(client, 1013, "try again later");
        return;
    }

    n = ngx_mdvr_pg_nrows(rows);
    last = 0;

    if (n == 0 || ngx_mdvr_pg_int(rows, 0, 0, &at) != NGX_OK) {
        ngx_mdvr_client_close(client, 1013, "try again later");
        return;
    }

    if (ngx_mdvr_pg_isnull(rows, 0, 1)) {
        n = 0;
    }

    if (ngx_mdvr_pg_int(rows, 0, 3, &from) == NGX_OK
        && (from > at || (from && at - from > NGX_MDVR_EVENTS_LEAP)))
    {
        /* it has had what this database does not know: see the hub */

        from = ngx_min(from, at);
        client->seq = ngx_min(client->seq, from);
        client->after_len = ngx_sprintf(client->after, "%L", from)
                            - client->after;
        ngx_mdvr_replay_say_gap(client, from);
    }

    for (i = 0; i < n; i++) {
        if (ngx_mdvr_pg_int(rows, i, 1, &seq) != NGX_OK) {
            continue;
        }

        msg = ngx_mdvr_pg_value(rows, i, 2);

        if (last && ngx_mdvr_client_queued(client) + msg.len
                    > client->conf->ws.max_queue / 2)
        {
            break;                      /* the rest when this is written */
        }

        if (ngx_mdvr_client_send(client, &msg, 0) != NGX_OK) {
            return;                     /* closed */
        }

        last = seq;
    }

    if (i < n || n == NGX_MDVR_REPLAY_PAGE || client->held_lost) {

        if (i == n && n < NGX_MDVR_REPLAY_PAGE) {
            last = at;
        }

        if (last) {
            client->after_len = ngx_sprintf(client->after, "%L", last)
                                - client->after;
        }

        if (ngx_mdvr_client_queued(client) == 0) {
            ngx_mdvr_replay_page(client);

        } else {
            client->page_ready = 1;
        }

        return;
    }

live:

    /*
     * All up to `at` was in the pages or before `after`, also when the hub
     * does not know of it yet.
     */

    client->seq = ngx_max(client->seq, at);
    client->state = NGX_MDVR_CLIENT_LIVE;

    for (i = 0; i < client->nheld; i++) {

        if (client->held_seq[i] <= client->seq) {
            continue;
        }

        client->seq = client->held_seq[i];

        if (ngx_mdvr_client_payload(client, client->held[i], 0) != NGX_OK) {
            break;                      /* closed */
        }
    }

    ngx_mdvr_replay_release(client);
    ngx_free(client->held);
    ngx_free(client->held_seq);
    client->held = NULL;
    client->held_seq = NULL;

    if (client->state == NGX_MDVR_CLIENT_LIVE
        && (client->topics & (1 << NGX_MDVR_TOPIC_TELEMETRY)))
    {
        ngx_mdvr_positions_start(client);
    }
}


/* -- last positions ------------------------------------------------------ */

void
ngx_mdvr_positions_start(ngx_mdvr_client_t *client)
{
    client->positions = 1;
    ngx_memzero(&client->positions_at, sizeof(ngx_mdvr_uuid_t));

    if (!client->positions_busy) {
        ngx_mdvr_positions_page(client);
    }
}


static void
ngx_mdvr_positions_page(ngx_mdvr_client_t *client)
{
    u_char               at[NGX_MDVR_UUID_LEN], topics_text[64];
    ngx_int_t            rc;
    ngx_str_t            topics, devices;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[2];

    if (ngx_mdvr_replay_filter(client, &topics, &devices, topics_text)
        != NGX_OK)
    {
        client->positions = 0;
        return;
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    ngx_mdvr_client_scope(client, &call);

    (void) ngx_mdvr_uuid_print(at, &client->positions_at);

    params[0] = (ngx_mdvr_pg_param_t) { at, sizeof(at), 0 };
    params[1] = ngx_mdvr_pg_text(&devices);

    call.sql =
        "select p.device_id, d.serial,"
        " (extract(epoch from p.recorded_at) * 1000)::bigint,"
        " (extract(epoch from p.received_at) * 1000)::bigint,"
        " p.gps_valid::int, p.lat_deg, p.lon_deg, p.satellites, p.speed_kmh,"
        " p.course_deg, p.mileage_m, p.fuel_l, p.status_hex, p.mask_hex,"
        " p.trigger"
        " from mdvr.position p join mdvr.device d on d.id = p.device_id"
        " where p.device_id > $1::uuid"
        " and ($2::uuid[] is null or p.device_id = any ($2::uuid[]))"
        " and d.deleted_at is null"
        " order by p.device_id limit 200";
    call.params = params;
    call.nparams = 2;
    call.retry = 1;

    rc = ngx_mdvr_pg_query(client->pool, &call, NGX_MDVR_REPLAY_TIMEOUT,
                           ngx_mdvr_positions_rows, client);

    if (devices.data) {
        ngx_free(devices.data);
    }

    if (rc == NGX_OK) {
        client->positions_busy = 1;

    } else {
        client->positions = 0;
    }
}


static double
ngx_mdvr_positions_dec(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col)
{
    if (ngx_mdvr_pg_isnull(rows, row, col)) {
        return NAN;
    }

    return strtod((char *) ngx_mdvr_pg_value(rows, row, col).data, NULL);
}


static int64_t
ngx_mdvr_positions_int(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col)
{
    int64_t  n;

    return ngx_mdvr_pg_int(rows, row, col, &n) == NGX_OK ? n : -1;
}


/* The same message as the one that was live when it arrived. */

static ngx_int_t
ngx_mdvr_positions_message(ngx_mdvr_client_t *client,
    const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row, ngx_str_t *text,
    u_char *buf, size_t size)
{
    u_char           id[64], stamp[NGX_MDVR_UUID_LEN], *p;
    ngx_str_t        device, serial, status, mask;
    mdvr_buf_t       b;
    mdvr_json_t      j;
    mdvr_location_t  loc;

    ngx_memzero(&loc, sizeof(mdvr_location_t));

    loc.layout = MDVR_LOC_CURRENT;
    loc.gps_valid = (ngx_mdvr_positions_int(rows, row, 4) == 1);
    loc.has_position = !ngx_mdvr_pg_isnull(rows, row, 5);
    loc.lat_deg = ngx_mdvr_positions_dec(rows, row, 5);
    loc.lon_deg = ngx_mdvr_positions_dec(rows, row, 6);
    loc.satellites = (int) ngx_mdvr_positions_int(rows, row, 7);
    loc.speed_kmh = ngx_mdvr_positions_dec(rows, row, 8);
    loc.course_deg = ngx_mdvr_positions_dec(rows, row, 9);
    loc.mileage_m = ngx_mdvr_positions_int(rows, row, 10);
    loc.fuel_l = ngx_mdvr_positions_dec(rows, row, 11);

    status = ngx_mdvr_pg_value(rows, row, 12);
    mask = ngx_mdvr_pg_value(rows, row, 13);
    mdvr_status_read(mdvr_str(status.data, status.len),
                     mdvr_str(mask.data, mask.len), &loc.status);

    device = ngx_mdvr_pg_value(rows, row, 0);
    serial = ngx_mdvr_pg_value(rows, row, 1);

    /* resuming behind it gives what happened since now */

    p = ngx_sprintf(id, "%L-p%ui", ngx_mdvr_hub_seq(client->hub),
                    ++client->npositions);

    b = mdvr_buf(buf, size);
    mdvr_json_init(&j, &b);

    mdvr_json_object(&j, NULL);
    mdvr_json_cstr(&j, "type", "telemetry");
    mdvr_json_str(&j, "id", mdvr_str(id, p - id));
    mdvr_json_str(&j, "tenant_id",
                  mdvr_str(client->tenant_text, NGX_MDVR_UUID_LEN));
    mdvr_json_str(&j, "device_id", mdvr_str(device.data, device.len));
    mdvr_json_str(&j, "serial", mdvr_str(serial.data, serial.len));

    p = ngx_mdvr_rfc3339(stamp, ngx_mdvr_positions_int(rows, row, 2));
    mdvr_json_str(&j, "at", mdvr_str(stamp, p - stamp));

    p = ngx_mdvr_rfc3339(stamp, ngx_mdvr_positions_int(rows, row, 3));
    mdvr_json_str(&j, "received_at", mdvr_str(stamp, p - stamp));

    mdvr_location_json(&j, &loc);
    mdvr_json_cstr(&j, "trigger",
                   mdvr_trigger_name(ngx_mdvr_positions_int(rows, row, 14)));
    mdvr_json_object_end(&j);

    text->data = b.p;
    text->len = b.len;

    return b.full ? NGX_ERROR : NGX_OK;
}


static void
ngx_mdvr_positions_rows(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_client_t *client = data;

    ngx_str_t      text;
    ngx_uint_t     i, n;
    static u_char  buf[4096];

    client->positions_busy = 0;

    if (!client->positions || client->hub == NULL
        || client->state != NGX_MDVR_CLIENT_LIVE)
    {
        client->positions = 0;
        return;
    }

    if (rc != MDVR_OK) {
        client->positions = 0;
        return;
    }

    n = ngx_mdvr_pg_nrows(rows);

    for (i = 0; i < n; i++) {

        if (ngx_mdvr_pg_uuid(rows, i, 0, &client->positions_at) != NGX_OK
            || ngx_mdvr_positions_message(client, rows, i, &text, buf,
                                          sizeof(buf))
               != NGX_OK)
        {
            continue;
        }

        if (ngx_mdvr_client_send(client, &text, NGX_MDVR_WS_DROPPABLE)
            == NGX_ERROR)
        {
            return;
        }
    }

    if (n < 200) {
        client->positions = 0;
        return;
    }

    if (ngx_mdvr_client_queued(client) == 0) {
        ngx_mdvr_positions_page(client);
    }
}
