/*
 * Devices by serial, from the cache or from PostgreSQL.
 *
 * What is not in the cache is asked for together: all serials of one turn of
 * the event loop in one statement, and while NGX_MDVR_LOOKUP_FLIGHT statements
 * are under way the rest gathers for the next.  One device alone does not
 * wait; a fleet that comes back costs a query per hundred devices.
 *
 * A serial that is not plain text goes alone: PostgreSQL may refuse it, and
 * its neighbours must not suffer.
 */

#include "ngx_mdvr_core/ngx_mdvr_registry.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_tie.h"


#define NGX_MDVR_LOOKUP_FLIGHT   2       /* statements of a worker at a time */
#define NGX_MDVR_LOOKUP_BATCH    128     /* serials in one */
#define NGX_MDVR_LOOKUP_WAITING  8192    /* serials waiting */
#define NGX_MDVR_LOOKUP_TIMEOUT  10000   /* ms for a statement */


typedef struct {
    ngx_mdvr_tie_t            tie;
    ngx_queue_t               queue;         /* waiting, or in its batch */
    ngx_event_t               timer;
    ngx_mdvr_device_pt        done;
    void                     *data;
    ngx_uint_t                waiting;       /* not sent yet */
    ngx_uint_t                nth;           /* place in the batch, from 1 */
    ngx_str_t                 serial;
    u_char                    text[NGX_MDVR_SERIAL_MAX + 1];
} ngx_mdvr_lookup_t;


static void ngx_mdvr_lookup_handler(ngx_event_t *ev);
static void ngx_mdvr_lookup_send(void);
static ngx_uint_t ngx_mdvr_lookup_plain(const ngx_str_t *serial);
static void ngx_mdvr_lookup_fetched(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static void ngx_mdvr_lookup_row(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    const ngx_str_t *serial, ngx_mdvr_device_t *device);
static void ngx_mdvr_lookup_found(ngx_mdvr_lookup_t *lookup,
    const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row);
static void ngx_mdvr_lookup_failed(ngx_mdvr_lookup_t *lookup, mdvr_rc_t rc);
static void ngx_mdvr_lookup_deadline(ngx_event_t *ev);
static void ngx_mdvr_lookup_gone(ngx_mdvr_tie_t *tie);
static void ngx_mdvr_lookup_answer(ngx_mdvr_lookup_t *lookup,
    const ngx_mdvr_device_t *device, mdvr_rc_t rc);
static void ngx_mdvr_lookup_detach(ngx_mdvr_lookup_t *lookup);


static ngx_queue_t  ngx_mdvr_lookup_waiting;
static ngx_uint_t   ngx_mdvr_lookup_nwaiting;
static ngx_uint_t   ngx_mdvr_lookup_flying;
static ngx_event_t  ngx_mdvr_lookup_event;


ngx_int_t
ngx_mdvr_registry_lookup(ngx_pool_t *pool, const ngx_str_t *serial,
    ngx_mdvr_device_t *device, ngx_msec_t timeout, ngx_mdvr_device_pt done,
    void *data)
{
    ngx_int_t           rc;
    ngx_mdvr_lookup_t  *lookup;

    if (serial->len == 0 || serial->len > NGX_MDVR_SERIAL_MAX) {
        return NGX_DECLINED;
    }

    rc = ngx_mdvr_registry_find(serial, device);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (!ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM)
        && ngx_mdvr_registry_stale(serial, device) == NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_mdvr_lookup_nwaiting >= NGX_MDVR_LOOKUP_WAITING) {
        ngx_mdvr_count(db_refused_total);
        return NGX_BUSY;
    }

    lookup = ngx_calloc(sizeof(ngx_mdvr_lookup_t), ngx_cycle->log);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    if (ngx_mdvr_tie(pool, &lookup->tie, ngx_mdvr_lookup_gone) != NGX_OK) {
        ngx_free(lookup);
        return NGX_ERROR;
    }

    lookup->serial.len = serial->len;
    lookup->serial.data = lookup->text;
    ngx_memcpy(lookup->text, serial->data, serial->len);
    lookup->done = done;
    lookup->data = data;

    lookup->timer.handler = ngx_mdvr_lookup_deadline;
    lookup->timer.data = lookup;
    lookup->timer.log = ngx_cycle->log;
    ngx_add_timer(&lookup->timer, ngx_max(timeout, 1));

    if (ngx_mdvr_lookup_waiting.next == NULL) {
        ngx_queue_init(&ngx_mdvr_lookup_waiting);
    }

    ngx_queue_insert_tail(&ngx_mdvr_lookup_waiting, &lookup->queue);
    ngx_mdvr_lookup_nwaiting++;
    lookup->waiting = 1;

    if (ngx_mdvr_lookup_flying < NGX_MDVR_LOOKUP_FLIGHT) {
        ngx_mdvr_lookup_event.handler = ngx_mdvr_lookup_handler;
        ngx_mdvr_lookup_event.log = ngx_cycle->log;
        ngx_post_event(&ngx_mdvr_lookup_event, &ngx_posted_events);
    }

    return NGX_AGAIN;
}


/* -- statements ----------------------------------------------------------- */

static void
ngx_mdvr_lookup_handler(ngx_event_t *ev)
{
    ngx_mdvr_lookup_send();
}


static void
ngx_mdvr_lookup_send(void)
{
    u_char               *p, list[NGX_MDVR_LOOKUP_BATCH
                                  * (2 * NGX_MDVR_SERIAL_MAX + 3) + 2];
    ngx_str_t             text;
    ngx_uint_t            i, n, plain;
    ngx_queue_t          *q, *batch;
    ngx_mdvr_lookup_t    *lookup;
    ngx_mdvr_pg_call_t    call;
    ngx_mdvr_pg_param_t   param;

    while (!ngx_queue_empty(&ngx_mdvr_lookup_waiting)
           && ngx_mdvr_lookup_flying < NGX_MDVR_LOOKUP_FLIGHT)
    {
        batch = ngx_alloc(sizeof(ngx_queue_t), ngx_cycle->log);
        if (batch == NULL) {
            return;                     /* their deadlines answer them */
        }

        ngx_queue_init(batch);
        p = list;
        *p++ = '{';

        for (n = 0; n < NGX_MDVR_LOOKUP_BATCH; /* void */ ) {

            if (ngx_queue_empty(&ngx_mdvr_lookup_waiting)) {
                break;
            }

            q = ngx_queue_head(&ngx_mdvr_lookup_waiting);
            lookup = ngx_queue_data(q, ngx_mdvr_lookup_t, queue);
            plain = ngx_mdvr_lookup_plain(&lookup->serial);

            if (!plain && n) {
                break;
            }

            ngx_queue_remove(q);
            ngx_queue_insert_tail(batch, q);
            ngx_mdvr_lookup_nwaiting--;
            lookup->waiting = 0;
            lookup->nth = ++n;

            if (n > 1) {
                *p++ = ',';
            }

            *p++ = '"';

            for (i = 0; i < lookup->serial.len; i++) {
                if (lookup->text[i] == '"' || lookup->text[i] == '\\') {
                    *p++ = '\\';
                }

                *p++ = lookup->text[i];
            }

            *p++ = '"';

            if (!plain) {
                break;
            }
        }

        *p++ = '}';

        text.data = list;
        text.len = p - list;
        param = ngx_mdvr_pg_text(&text);

        ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
        call.role = NGX_MDVR_PG_STREAM;
        call.sql = "select n, device_id, tenant_id, utc_offset_minutes,"
                   " text_encoding, bus_layout::int, imei, channels,"
                   " suspended::int, offset_set::int"
                   " from mdvr.devices_by_serial($1::text[])";
        call.params = &param;
        call.nparams = 1;
        call.retry = 1;

        ngx_mdvr_lookup_flying++;

        if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_LOOKUP_TIMEOUT,
                              ngx_mdvr_lookup_fetched, batch)
            != NGX_OK)
        {
            ngx_mdvr_lookup_fetched(batch, NULL, MDVR_E_UNAVAILABLE);
        }
    }
}


static ngx_uint_t
ngx_mdvr_lookup_plain(const ngx_str_t *serial)
{
    ngx_uint_t  i;

    for (i = 0; i < serial->len; i++) {
        if (serial->data[i] < 0x20 || serial->data[i] > 0x7e) {
            return 0;
        }
    }

    return 1;
}


/*
 * The rows come in the order of the serials, those that nobody owns left out;
 * an answer may end other lookups of the same batch.
 */

static void
ngx_mdvr_lookup_fetched(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_queue_t *batch = data;

    int64_t             n;
    ngx_uint_t          row, nrows;
    ngx_queue_t        *q;
    ngx_mdvr_lookup_t  *lookup;
    uint8_t             at[NGX_MDVR_LOOKUP_BATCH + 1];

    ngx_mdvr_lookup_flying--;

    ngx_memzero(at, sizeof(at));
    nrows = rc == MDVR_OK ? ngx_mdvr_pg_nrows(rows) : 0;

    for (row = 0; row < nrows && row < NGX_MDVR_LOOKUP_BATCH; row++) {
        if (ngx_mdvr_pg_int(rows, row, 0, &n) == NGX_OK
            && n >= 1 && n <= NGX_MDVR_LOOKUP_BATCH)
        {
            at[n] = (uint8_t) (row + 1);
        }
    }

    while (!ngx_queue_empty(batch)) {
        q = ngx_queue_head(batch);
        lookup = ngx_queue_data(q, ngx_mdvr_lookup_t, queue);

        if (rc != MDVR_OK) {
            ngx_mdvr_lookup_failed(lookup, rc);

        } else if (at[lookup->nth]) {
            ngx_mdvr_lookup_found(lookup, rows, at[lookup->nth] - 1);

        } else {
            ngx_mdvr_registry_store(&lookup->serial, NULL);
            ngx_mdvr_lookup_answer(lookup, NULL, MDVR_E_NOT_FOUND);
        }
    }

    ngx_free(batch);

    /* not from here: this may be the call that found no connection */

    if (ngx_mdvr_lookup_nwaiting) {
        ngx_post_event(&ngx_mdvr_lookup_event, &ngx_posted_next_events);
    }
}


static void
ngx_mdvr_lookup_found(ngx_mdvr_lookup_t *lookup,
    const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row)
{
    ngx_mdvr_device_t  device;

    ngx_mdvr_lookup_row(rows, row, &lookup->serial, &device);
    ngx_mdvr_registry_store(&lookup->serial, &device);

    /* with its holder, as far as the zone had room for it */

    (void) ngx_mdvr_registry_holder(&lookup->serial, &device.holder);

    ngx_mdvr_lookup_answer(lookup, &device, MDVR_OK);
}


static void
ngx_mdvr_lookup_row(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    const ngx_str_t *serial, ngx_mdvr_device_t *device)
{
    int64_t    n;
    ngx_str_t  s;

    ngx_memzero(device, sizeof(ngx_mdvr_device_t));

    (void) ngx_mdvr_pg_uuid(rows, row, 1, &device->device_id);
    (void) ngx_mdvr_pg_uuid(rows, row, 2, &device->tenant_id);

    device->utc_offset_minutes = NGX_MDVR_OFFSET_UNKNOWN;

    if (ngx_mdvr_pg_int(rows, row, 3, &n) == NGX_OK) {
        device->utc_offset_minutes = (int16_t) n;
    }

    s = ngx_mdvr_pg_value(rows, row, 4);
    ngx_cpystrn(device->text_encoding, s.data, sizeof(device->text_encoding));

    if (ngx_mdvr_pg_int(rows, row, 5, &n) == NGX_OK) {
        device->bus_layout = (uint8_t) n;
    }

    s = ngx_mdvr_pg_value(rows, row, 6);
    ngx_cpystrn(device->imei, s.data, sizeof(device->imei));

    if (ngx_mdvr_pg_int(rows, row, 7, &n) == NGX_OK) {
        device->channels = (uint8_t) n;
    }

    if (ngx_mdvr_pg_int(rows, row, 9, &n) == NGX_OK) {
        device->offset_set = (uint8_t) n;
    }

    if (ngx_mdvr_pg_int(rows, row, 8, &n) == NGX_OK) {
        device->suspended = (uint8_t) n;
    }

    device->serial_len = (uint8_t) serial->len;
    ngx_memcpy(device->serial, serial->data, serial->len);
}


/* -- answers -------------------------------------------------------------- */

static void
ngx_mdvr_lookup_failed(ngx_mdvr_lookup_t *lookup, mdvr_rc_t rc)
{
    ngx_mdvr_device_t  device;

    if (ngx_mdvr_registry_stale(&lookup->serial, &device) == NGX_OK) {
        ngx_mdvr_lookup_answer(lookup, &device, MDVR_OK);
        return;
    }

    ngx_mdvr_lookup_answer(lookup, NULL, rc);
}


static void
ngx_mdvr_lookup_deadline(ngx_event_t *ev)
{
    ngx_mdvr_lookup_failed(ev->data, ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM)
                                     ? MDVR_E_TIMEOUT : MDVR_E_UNAVAILABLE);
}


static void
ngx_mdvr_lookup_gone(ngx_mdvr_tie_t *tie)
{
    ngx_mdvr_lookup_t  *lookup;

    lookup = (ngx_mdvr_lookup_t *)
                 ((u_char *) tie - offsetof(ngx_mdvr_lookup_t, tie));

    ngx_mdvr_lookup_detach(lookup);
    ngx_free(lookup);
}


static void
ngx_mdvr_lookup_answer(ngx_mdvr_lookup_t *lookup,
    const ngx_mdvr_device_t *device, mdvr_rc_t rc)
{
    void                *data;
    ngx_mdvr_device_pt   done;

    done = lookup->done;
    data = lookup->data;

    ngx_mdvr_lookup_detach(lookup);
    ngx_free(lookup);

    done(data, device, rc);
}


static void
ngx_mdvr_lookup_detach(ngx_mdvr_lookup_t *lookup)
{
    ngx_mdvr_untie(&lookup->tie);
    ngx_queue_remove(&lookup->queue);

    if (lookup->waiting) {
        ngx_mdvr_lookup_nwaiting--;
    }

    if (lookup->timer.timer_set) {
        ngx_del_timer(&lookup->timer);
    }
}
