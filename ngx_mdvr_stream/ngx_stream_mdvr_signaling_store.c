
/*
 * What has to become true in PostgreSQL: alarms, and the record of a device.
 *
 *                      PostgreSQL is there        it is away
 *   alarm, V299        stored, then C100          journal, fsync, then C100
 *   online, offline    stored                     journal
 *   commands           stored                     journal
 *   health, knocks     stored                     dropped, counted
 *
 * An acknowledgement means stored.  Alarms of one link are stored one after
 * the other, so that an end never overtakes its start.  While the journal
 * holds anything, everything that may be journaled goes through it: the order
 * is kept.  Statements recognise what they have seen before, so a call whose
 * fate is unknown (timeout, connection lost) is simply journaled too.  A worker
 * that has just started and still makes its first connection has not seen that
 * PostgreSQL is away: what it has to store waits for that connection, no longer
 * than for an answer.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_store.h"

#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"


#define NGX_MDVR_STORE_FLIGHT   16          /* records sent at a time */
#define NGX_MDVR_STORE_LINE     65536       /* records waiting */


static void ngx_mdvr_store_start(ngx_mdvr_store_t *store);
static void ngx_mdvr_store_stored(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_store_synced(void *data, ngx_uint_t ok);
static void ngx_mdvr_store_finish(ngx_mdvr_store_t *store, ngx_uint_t ok);
static void ngx_mdvr_store_recorded(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static ngx_uint_t ngx_mdvr_store_flying(const ngx_mdvr_store_t *store);
static void ngx_mdvr_store_told(const ngx_mdvr_store_t *store,
    const ngx_mdvr_pg_rows_t *rows);


const ngx_mdvr_store_call_t  ngx_mdvr_store_calls[] = {

    { NULL, 0, 0, 0 },

    /* NGX_MDVR_STORE_ALARM */
    { "select message, is_new, alarm_id, $2::text, $4::text = 'end',"
      " (extract(epoch from $10::timestamptz) * 1000000)::bigint,"
      " is_new and mdvr.record_on_alarm($1::uuid, $4, $9::timestamptz)"
      " from mdvr.store_alarm($1::uuid, $2, $3, $4, $5,"
      " $6, $7, $8, $9::timestamptz, $10::timestamptz, $11::jsonb,"
      " $12::jsonb, $13, $14)", 14, 1, 1 },

    /* NGX_MDVR_STORE_FILE */
    { "select download_id, is_new, alarm_id, 'V232', true,"
      " (extract(epoch from $4::timestamptz) * 1000000)::bigint"
      " from mdvr.store_alarm_file($1::uuid, $2,"
      " $3::timestamptz, $4::timestamptz, $5, $6, $7::bigint,"
      " $8::timestamptz, $9::int, $10::int, $11::jsonb)", 11, 1, 0 },

    /* NGX_MDVR_STORE_RELEASE */
    { "select message from mdvr.release_alarms($1::uuid, $2, $3,"
      " $4::timestamptz)", 4, 1, 1 },

    /* NGX_MDVR_STORE_REGISTER */
    { "select message from mdvr.register_device($1::uuid, $2, $3::uuid, $4,"
      " $5::timestamptz, $6::jsonb)", 6, 1, 1 },

    /* NGX_MDVR_STORE_OFFLINE */
    { "select message from mdvr.device_offline($1::uuid, $2,"
      " $3::timestamptz, $4)", 4, 1, 1 },

    /* NGX_MDVR_STORE_COMMAND */
    { "select message from mdvr.command_update($1::uuid, $2, $3, $4::int, $5,"
      " $6, $7)", 7, 1, 1 },

    /* NGX_MDVR_STORE_HEALTH */
    { "select mdvr.device_health($1::uuid, $2::jsonb)", 2, 0, 0 },

    /* NGX_MDVR_STORE_HELD */
    { "select command_id, keyword,"
      " encode(mdvr.command_body_bytes(body), 'hex'), timeout_s,"
      " coalesce(request_id, ''), coalesce(traceparent, '')"
      " from mdvr.commands_held($1::uuid)", 1, 0, 0 },

    /* NGX_MDVR_STORE_KNOCK */
    { "select mdvr.knock($1, $2)", 2, 0, 0 },

    /* NGX_MDVR_STORE_REFUSED */
    { "select mdvr.device_refused($1::uuid, $2, $3, $4)", 4, 0, 0 },

    /* NGX_MDVR_STORE_CONTESTED */
    { "select message from mdvr.device_contested($1::uuid, $2,"
      " $3::timestamptz, $4, $5, $6::int)", 6, 1, 1 },

    /* NGX_MDVR_STORE_LATE */
    { "select message from mdvr.command_late($1::uuid, $2, $3::timestamptz,"
      " $4, $5, $6::int, $7, $8, $9)", 9, 1, 1 },

    /* NGX_MDVR_STORE_CLOCK */
    { "select mdvr.device_clock($1::uuid, $2::smallint)", 2, 0, 0 },

    /* NGX_MDVR_STORE_CALL */
    { "select message from mdvr.device_call($1::uuid, $2, $3)", 3, 0, 1 }
};


/* the records, which have no answer to give: first in, first out */

static ngx_mdvr_store_t   *ngx_mdvr_store_head;
static ngx_mdvr_store_t  **ngx_mdvr_store_last = &ngx_mdvr_store_head;
static ngx_mdvr_store_t   *ngx_mdvr_store_flight[NGX_MDVR_STORE_FLIGHT];

ngx_uint_t                 ngx_mdvr_store_waiting;


ngx_mdvr_store_t *
ngx_mdvr_store_new(ngx_mdvr_store_kind_e kind,
    const ngx_mdvr_uuid_t *device_id, const ngx_mdvr_uuid_t *tenant_id,
    const ngx_str_t *params, ngx_uint_t n, const mdvr_message_t *m,
    int16_t offset, mdvr_str_t content)
{
    u_char            *p;
    size_t             size;
    ngx_uint_t         i;
    ngx_mdvr_store_t  *store;

    size = sizeof(ngx_mdvr_store_t);

    for (i = 0; i < n; i++) {
        size += params[i].data ? params[i].len : 0;
    }

    if (m) {
        size += m->number.len + m->keyword.len + m->serial.len
                + m->workstation.len + m->time.len + content.len;
    }

    store = ngx_alloc(size, ngx_mdvr_sig.log);
    if (store == NULL) {
        return NULL;
    }

    ngx_memzero(store, sizeof(ngx_mdvr_store_t));

    store->kind = kind;
    store->nparams = n;
    store->device_id = *device_id;
    store->tenant_id = *tenant_id;
    store->offset = offset;

    p = (u_char *) (store + 1);

    for (i = 0; i < n; i++) {

        if (params[i].data == NULL) {
            ngx_str_null(&store->params[i]);
            continue;
        }

        store->params[i].data = p;
        store->params[i].len = params[i].len;
        p = ngx_cpymem(p, params[i].data, params[i].len);
    }

#define ngx_mdvr_store_copy(field, from)                                      \
    store->field = mdvr_str(p, (from).len);                                   \
    if ((from).len) {                                                         \
        p = ngx_cpymem(p, (from).p, (from).len);                              \
    }

    if (m) {
        store->answer = 1;
        ngx_mdvr_store_copy(number, m->number);
        ngx_mdvr_store_copy(keyword, m->keyword);
        ngx_mdvr_store_copy(serial, m->serial);
        ngx_mdvr_store_copy(workstation, m->workstation);
        ngx_mdvr_store_copy(time, m->time);
        ngx_mdvr_store_copy(content, content);
    }

#undef ngx_mdvr_store_copy

    return store;
}


void
ngx_mdvr_store_queue(ngx_mdvr_store_t *store, ngx_mdvr_link_t *link)
{
    store->next = NULL;
    store->link = link;

    if (link) {
        *link->stores_last = store;
        link->stores_last = &store->next;
        link->nstores++;

        if (link->stores == store) {
            ngx_mdvr_store_start(store);
        }

        return;
    }

    if (ngx_mdvr_store_waiting >= NGX_MDVR_STORE_LINE) {
        ngx_mdvr_refusal("record_queue");
        ngx_free(store);
        return;
    }

    if (store->kind == NGX_MDVR_STORE_REGISTER
        || store->kind == NGX_MDVR_STORE_OFFLINE)
    {
        ngx_mdvr_batch_add(store);
        return;
    }

    ngx_mdvr_store_add(store);
    ngx_mdvr_store_line();
}


/* -- alarms: one at a time per link --------------------------------------- */

static void
ngx_mdvr_store_start(ngx_mdvr_store_t *store)
{
    store->sent_us = ngx_mdvr_trace_on() ? ngx_mdvr_trace_now() : 0;

    if (!ngx_mdvr_journal_empty(&ngx_mdvr_sig.journal)
        || !ngx_mdvr_pg_expected(NGX_MDVR_PG_STREAM)
        || ngx_mdvr_store_send(store->kind, store->params,
                               ngx_mdvr_sig.conf->alarm_timeout,
                               ngx_mdvr_store_stored, store)
           != NGX_OK)
    {
        ngx_mdvr_store_journal(store);
    }
}


static void
ngx_mdvr_store_stored(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_store_t  *store = data;

    if (rc == MDVR_OK) {
        ngx_mdvr_store_told(store, rows);
        ngx_mdvr_store_finish(store, 1);
        return;
    }

    if (ngx_mdvr_store_refused(rc)) {
        ngx_mdvr_refusal("alarm");
        ngx_log_error(NGX_LOG_ERR, ngx_mdvr_sig.log, 0,
                      "mdvr: %*s of device \"%*s\" refused: %V",
                      store->keyword.len, store->keyword.p,
                      store->serial.len, store->serial.p,
                      &ngx_mdvr_pg_error()->message);
        ngx_mdvr_store_finish(store, 0);
        return;
    }

    ngx_mdvr_store_journal(store);
}


void
ngx_mdvr_store_journal(ngx_mdvr_store_t *store)
{
    u_char                      tenant[NGX_MDVR_UUID_LEN];
    ngx_str_t                   params[NGX_MDVR_STORE_PARAMS + 1];
    ngx_uint_t                  n;
    ngx_mdvr_journal_waiter_t  *w;

    n = store->nparams;
    ngx_memcpy(params, store->params, n * sizeof(ngx_str_t));

    params[n].data = tenant;
    params[n].len = ngx_mdvr_uuid_print(tenant, &store->tenant_id) - tenant;
    n++;

    w = NULL;

    if (store->answer) {
        w = ngx_alloc(sizeof(ngx_mdvr_journal_waiter_t), ngx_mdvr_sig.log);
        if (w == NULL) {
            ngx_mdvr_store_finish(store, 0);
            return;
        }

        w->handler = ngx_mdvr_store_synced;
        w->data = store;
    }

    if (ngx_mdvr_journal_append(&ngx_mdvr_sig.journal, store->kind, params, n,
                                1, w)
        != NGX_OK)
    {
        ngx_mdvr_refusal("journal");

        if (w) {
            ngx_free(w);
        }

        ngx_mdvr_store_finish(store, 0);
        return;
    }

    if (w == NULL) {
        ngx_mdvr_store_finish(store, 1);
    }
}


static void
ngx_mdvr_store_synced(void *data, ngx_uint_t ok)
{
    ngx_mdvr_store_finish(data, ok);
}


/* without `ok` there is no answer: the device repeats */

static void
ngx_mdvr_store_finish(ngx_mdvr_store_t *store, ngx_uint_t ok)
{
    ngx_uint_t         i;
    mdvr_buf_t         b;
    ngx_mdvr_link_t   *link;
    ngx_mdvr_store_t  *next;

    static u_char      body[2048];

    link = store->link;

    if (!store->answer) {

        for (i = 0; i < NGX_MDVR_STORE_FLIGHT; i++) {
            if (ngx_mdvr_store_flight[i] == store) {
                ngx_mdvr_store_flight[i] = NULL;
            }
        }

        ngx_free(store);
        return;
    }

    next = store->next;

    if (link) {

        link->stores = next;
        link->nstores--;

        if (next == NULL) {
            link->stores_last = &link->stores;
        }

        if (ok) {
            b = mdvr_buf(body, sizeof(body));
            mdvr_body_c100(&b, store->keyword, store->time, store->content);

            if (!b.full) {
                (void) ngx_mdvr_link_write(link, store->number,
                                           MDVR_STR("C100"), store->serial,
                                           store->workstation, store->offset,
                                           mdvr_buf_view(&b));
            }
        }
    }

    ngx_free(store);

    if (next) {
        ngx_mdvr_store_start(next);
    }

    if (link && link->paused && link->nstores <= link->conf->alarm_queue / 2)
    {
        link->paused = 0;
        ngx_mdvr_link_resume(link);
    }
}


/*
 * Nobody is there any more to be answered; what was queued is stored in its
 * order all the same.
 */

void
ngx_mdvr_store_detach(ngx_mdvr_link_t *link)
{
    ngx_mdvr_store_t  *store;

    for (store = link->stores; store; store = store->next) {
        store->link = NULL;
    }

    link->stores = NULL;
    link->stores_last = &link->stores;
    link->nstores = 0;
}


/* -- records -------------------------------------------------------------- */

void
ngx_mdvr_store_add(ngx_mdvr_store_t *store)
{
    store->next = NULL;
    ngx_mdvr_store_waiting++;

    *ngx_mdvr_store_last = store;
    ngx_mdvr_store_last = &store->next;
}


void
ngx_mdvr_store_line(void)
{
    ngx_uint_t                    i, up;
    ngx_mdvr_store_t             *store;
    const ngx_mdvr_store_call_t  *call;

    up = ngx_mdvr_pg_expected(NGX_MDVR_PG_STREAM);

    while (ngx_mdvr_store_head) {

        store = ngx_mdvr_store_head;
        call = &ngx_mdvr_store_calls[store->kind];

        for (i = 0; i < NGX_MDVR_STORE_FLIGHT; i++) {
            if (ngx_mdvr_store_flight[i] == NULL) {
                break;
            }
        }

        if (i == NGX_MDVR_STORE_FLIGHT || ngx_mdvr_store_flying(store)) {
            return;                         /* when one of them is done */
        }

        ngx_mdvr_store_head = store->next;
        ngx_mdvr_store_waiting--;

        if (ngx_mdvr_store_head == NULL) {
            ngx_mdvr_store_last = &ngx_mdvr_store_head;
        }

        store->next = NULL;

        if (up
            && (!call->journal
                || ngx_mdvr_journal_empty(&ngx_mdvr_sig.journal))
            && ngx_mdvr_store_send(store->kind, store->params,
                                   NGX_MDVR_STORE_RECORD,
                                   ngx_mdvr_store_recorded, store)
               == NGX_OK)
        {
            ngx_mdvr_store_flight[i] = store;
            continue;
        }

        if (call->journal) {
            ngx_mdvr_store_journal(store);

        } else {
            ngx_mdvr_refusal("unavailable");
            ngx_free(store);
        }
    }
}


static ngx_uint_t
ngx_mdvr_store_flying(const ngx_mdvr_store_t *store)
{
    ngx_uint_t  i;

    if (store->kind == NGX_MDVR_STORE_KNOCK) {
        return 0;
    }

    for (i = 0; i < NGX_MDVR_STORE_FLIGHT; i++) {
        if (ngx_mdvr_store_flight[i]
            && ngx_mdvr_uuid_equal(&ngx_mdvr_store_flight[i]->device_id,
                                   &store->device_id))
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_mdvr_store_recorded(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_store_t  *store = data;

    if (rc == MDVR_OK) {
        ngx_mdvr_store_told(store, rows);

        if (store->kind == NGX_MDVR_STORE_HELD) {
            ngx_mdvr_task_held_rows(&store->device_id, rows);
        }

        ngx_mdvr_store_finish(store, 1);

    } else if (ngx_mdvr_store_refused(rc)) {
        ngx_log_error(NGX_LOG_ERR, ngx_mdvr_sig.log, 0,
                      "mdvr: device record refused: %V",
                      &ngx_mdvr_pg_error()->message);
        ngx_mdvr_store_finish(store, 0);

    } else if (ngx_mdvr_store_calls[store->kind].journal) {
        ngx_mdvr_store_journal(store);

    } else {
        ngx_mdvr_refusal("unavailable");
        ngx_mdvr_store_finish(store, 0);
    }

    ngx_mdvr_store_line();
}


/* -- both ----------------------------------------------------------------- */

static void
ngx_mdvr_store_told(const ngx_mdvr_store_t *store,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_mdvr_stored_t  told = {
        .kind = store->kind,
        .sql = ngx_mdvr_store_calls[store->kind].sql,
        .rows = ngx_mdvr_store_calls[store->kind].rows,
        .tenant_id = &store->tenant_id,
        .device_id = &store->device_id,
        .serial = store->serial,
        .log = store->link ? store->link->connection->log : ngx_mdvr_sig.log,
        .sent_us = store->sent_us
    };

    ngx_mdvr_stored(&told, rows);
}


ngx_int_t
ngx_mdvr_store_send(ngx_uint_t kind, ngx_str_t *params, ngx_msec_t timeout,
    ngx_mdvr_pg_done_pt done, void *data)
{
    ngx_uint_t                    i;
    ngx_mdvr_pg_call_t            call;
    ngx_mdvr_pg_param_t           values[NGX_MDVR_STORE_PARAMS];
    const ngx_mdvr_store_call_t  *known;

    known = &ngx_mdvr_store_calls[kind];

    for (i = 0; i < known->nparams; i++) {
        values[i].data = params[i].data;
        values[i].len = params[i].len;
        values[i].binary = 0;
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = known->sql;
    call.params = values;
    call.nparams = known->nparams;
    call.spare = 1;

    return ngx_mdvr_pg_query(NULL, &call, timeout, done, data);
}


/*
 * Whether the statement can never succeed as it is: bad data (22, 23), no such
 * device (02), or our own functions' refusal (MD).  Everything else is the
 * server's trouble and passes.
 */

ngx_uint_t
ngx_mdvr_store_refused(mdvr_rc_t rc)
{
    u_char                     *p;
    const ngx_mdvr_pg_error_t  *error;

    if (rc == MDVR_E_UNAVAILABLE || rc == MDVR_E_TIMEOUT) {
        return 0;
    }

    error = ngx_mdvr_pg_error();

    if (error == NULL || error->sqlstate.len < 5) {
        return 0;
    }

    p = error->sqlstate.data;

    return (p[0] == '2' && (p[1] == '2' || p[1] == '3'))
           || (p[0] == '0' && p[1] == '2')
           || (p[0] == 'M' && p[1] == 'D');
}
