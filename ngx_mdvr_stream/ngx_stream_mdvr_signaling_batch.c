
/*
 * Begins and ends of connections are stored in batches, one batch at a time:
 * what comes while one is under way is the next.  While devices wait for their
 * look-up, which is what C100 needs, batches leave them room.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_store.h"


#define NGX_MDVR_BATCH_MAX      64          /* connections in one call */
#define NGX_MDVR_BATCH_LOOKUPS  4           /* more: batches are spaced */
#define NGX_MDVR_BATCH_SPACE    50          /* ms */


static void ngx_mdvr_batch_next(void);
static void ngx_mdvr_batch_handler(ngx_event_t *ev);
static ngx_int_t ngx_mdvr_batch_stores(ngx_mdvr_store_t *first);
static void ngx_mdvr_batch_done(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);


static ngx_mdvr_store_t   *ngx_mdvr_batch_head;
static ngx_mdvr_store_t  **ngx_mdvr_batch_last = &ngx_mdvr_batch_head;
static ngx_uint_t          ngx_mdvr_batch_busy;
static ngx_event_t         ngx_mdvr_batch_timer;


void
ngx_mdvr_batch_add(ngx_mdvr_store_t *store)
{
    store->next = NULL;
    ngx_mdvr_store_waiting++;

    *ngx_mdvr_batch_last = store;
    ngx_mdvr_batch_last = &store->next;

    ngx_mdvr_batch_next();
}


static void
ngx_mdvr_batch_next(void)
{
    ngx_uint_t          n;
    ngx_mdvr_store_t   *first, *store, **last;

    if (ngx_mdvr_batch_timer.timer_set) {
        return;
    }

    while (ngx_mdvr_batch_head && !ngx_mdvr_batch_busy) {

        first = ngx_mdvr_batch_head;
        n = 0;

        for (last = &first; *last && n < NGX_MDVR_BATCH_MAX;
             last = &(*last)->next)
        {
            n++;
        }

        ngx_mdvr_batch_head = *last;
        *last = NULL;
        ngx_mdvr_store_waiting -= n;

        if (ngx_mdvr_batch_head == NULL) {
            ngx_mdvr_batch_last = &ngx_mdvr_batch_head;
        }

        if (ngx_mdvr_pg_expected(NGX_MDVR_PG_STREAM)
            && ngx_mdvr_journal_empty(&ngx_mdvr_sig.journal)
            && ngx_mdvr_batch_stores(first) == NGX_OK)
        {
            ngx_mdvr_batch_busy = 1;
            return;
        }

        for (store = first; store; store = first) {
            first = store->next;
            ngx_mdvr_store_journal(store);
        }
    }
}


static void
ngx_mdvr_batch_handler(ngx_event_t *ev)
{
    ngx_mdvr_batch_next();
}


static ngx_int_t
ngx_mdvr_batch_stores(ngx_mdvr_store_t *first)
{
    size_t             room;
    ngx_mdvr_batch_t   batch;
    ngx_mdvr_store_t  *s;

    room = 0;

    for (s = first; s; s = s->next) {
        room += ngx_mdvr_batch_room(s->kind, s->params);
    }

    if (ngx_mdvr_batch_begin(&batch, room) != NGX_OK) {
        return NGX_ERROR;
    }

    for (s = first; s; s = s->next) {
        ngx_mdvr_batch_put(&batch, s->kind, s->params);
    }

    return ngx_mdvr_batch_send(&batch, NGX_MDVR_STORE_RECORD,
                               ngx_mdvr_batch_done, first);
}


static void
ngx_mdvr_batch_done(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_mdvr_store_t *store = data;

    ngx_uint_t         refused;
    ngx_mdvr_store_t  *next;

    ngx_mdvr_batch_busy = 0;

    if (ngx_mdvr_sig.nlookups > NGX_MDVR_BATCH_LOOKUPS) {
        ngx_mdvr_batch_timer.handler = ngx_mdvr_batch_handler;
        ngx_mdvr_batch_timer.data = &ngx_mdvr_sig_dummy;
        ngx_mdvr_batch_timer.log = ngx_mdvr_sig.log;

        ngx_add_timer(&ngx_mdvr_batch_timer, NGX_MDVR_BATCH_SPACE);
    }

    if (rc == MDVR_OK) {
        ngx_mdvr_batch_told(rows);

        for ( /* void */ ; store; store = next) {
            next = store->next;
            ngx_free(store);
        }

        ngx_mdvr_batch_next();
        return;
    }

    /* one that can never be stored must not keep the others: each by itself */

    refused = ngx_mdvr_store_refused(rc);

    for ( /* void */ ; store; store = next) {

        next = store->next;

        if (refused) {
            ngx_mdvr_store_add(store);

        } else {
            ngx_mdvr_store_journal(store);
        }
    }

    ngx_mdvr_store_line();
    ngx_mdvr_batch_next();
}


/* -- the call ------------------------------------------------------------- */

size_t
ngx_mdvr_batch_room(ngx_uint_t kind, const ngx_str_t *params)
{
    return 256 + 2 * params[3].len
           + (kind == NGX_MDVR_STORE_REGISTER ? params[5].len : 0);
}


ngx_int_t
ngx_mdvr_batch_begin(ngx_mdvr_batch_t *batch, size_t room)
{
    room += 64;

    batch->data = ngx_alloc(room, ngx_mdvr_sig.log);
    if (batch->data == NULL) {
        return NGX_ERROR;
    }

    batch->buf = mdvr_buf(batch->data, room);
    mdvr_json_init(&batch->json, &batch->buf);
    mdvr_json_array(&batch->json, NULL);

    return NGX_OK;
}


void
ngx_mdvr_batch_put(ngx_mdvr_batch_t *batch, ngx_uint_t kind,
    const ngx_str_t *params)
{
    mdvr_json_t  *j;

    j = &batch->json;

    mdvr_json_object(j, NULL);
    mdvr_json_str(j, "device", ngx_mdvr_sig_view(&params[0]));

    if (kind == NGX_MDVR_STORE_REGISTER) {
        mdvr_json_bool(j, "online", true);
        mdvr_json_str(j, "at", ngx_mdvr_sig_view(&params[4]));
        mdvr_json_str(j, "address", ngx_mdvr_sig_view(&params[3]));

        if (params[5].data) {
            mdvr_json_raw(j, "v101", ngx_mdvr_sig_view(&params[5]));
        }

    } else {
        mdvr_json_bool(j, "online", false);
        mdvr_json_str(j, "at", ngx_mdvr_sig_view(&params[2]));
        mdvr_json_str(j, "reason", ngx_mdvr_sig_view(&params[3]));
    }

    mdvr_json_object_end(j);
}


ngx_int_t
ngx_mdvr_batch_send(ngx_mdvr_batch_t *batch, ngx_msec_t timeout,
    ngx_mdvr_pg_done_pt done, void *data)
{
    u_char               boot[NGX_MDVR_UUID_LEN];
    ngx_int_t            rc;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[3];

    mdvr_json_array_end(&batch->json);

    params[0] = ngx_mdvr_pg_text(&ngx_mdvr_sig.core->node);
    params[1].data = boot;
    params[1].len = ngx_mdvr_uuid_print(boot, ngx_mdvr_boot()) - boot;
    params[1].binary = 0;
    params[2].data = batch->buf.p;
    params[2].len = batch->buf.len;
    params[2].binary = 0;

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = "select tenant_id, device_id, message, held::int"
               " from mdvr.record_devices($1, $2::uuid, $3::jsonb)";
    call.params = params;
    call.nparams = 3;
    call.bulk = 1;
    call.spare = 1;

    rc = batch->buf.full ? NGX_ERROR
                         : ngx_mdvr_pg_query(NULL, &call, timeout, done, data);
    ngx_mdvr_batch_drop(batch);

    return rc;
}


void
ngx_mdvr_batch_drop(ngx_mdvr_batch_t *batch)
{
    ngx_free(batch->data);
}


void
ngx_mdvr_batch_told(const ngx_mdvr_pg_rows_t *rows)
{
    int64_t          held;
    ngx_str_t        msg;
    ngx_uint_t       i;
    ngx_mdvr_uuid_t  id;

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {

        if (!ngx_mdvr_pg_isnull(rows, i, 2)
            && ngx_mdvr_pg_uuid(rows, i, 0, &id) == NGX_OK)
        {
            msg = ngx_mdvr_pg_value(rows, i, 2);
            ngx_mdvr_sig_publish(&id, &msg, 0);
        }

        if (ngx_mdvr_pg_int(rows, i, 3, &held) == NGX_OK && held
            && ngx_mdvr_pg_uuid(rows, i, 1, &id) == NGX_OK)
        {
            ngx_mdvr_task_held_device(&id);
        }
    }
}
