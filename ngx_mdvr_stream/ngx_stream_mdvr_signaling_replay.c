
/*
 * What was in the journal of alarms and records: each by itself, but begins
 * and ends of connections, which are what fills it, many in one call.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_store.h"


#define NGX_MDVR_REPLAY_TIMEOUT  30000      /* ms */


typedef struct {
    ngx_mdvr_journal_t           *journal;
    ngx_uint_t                    kind;
    ngx_mdvr_uuid_t               tenant_id;
    ngx_mdvr_uuid_t               device_id;
} ngx_mdvr_replay_t;


static int ngx_mdvr_replay_boot(const ngx_str_t *params);
static void ngx_mdvr_replay_done(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_replay_group_done(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);


void
ngx_mdvr_store_replay(ngx_mdvr_journal_t *j, ngx_uint_t kind,
    ngx_str_t *params, ngx_uint_t n)
{
    static ngx_mdvr_replay_t  replay;

    if (kind == 0 || kind >= NGX_MDVR_STORE_KINDS
        || n != ngx_mdvr_store_calls[kind].nparams + 1
        || ngx_mdvr_uuid_parse(&params[n - 1], &replay.tenant_id) != NGX_OK
        || ((kind == NGX_MDVR_STORE_ALARM || kind == NGX_MDVR_STORE_FILE)
            && ngx_mdvr_uuid_parse(&params[0], &replay.device_id) != NGX_OK))
    {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_REFUSED);
        return;
    }

    if (kind == NGX_MDVR_STORE_REGISTER && ngx_mdvr_replay_boot(params) < 0) {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_STORED);
        return;
    }

    replay.journal = j;
    replay.kind = kind;

    if (!ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM)
        || ngx_mdvr_store_send(kind, params, NGX_MDVR_REPLAY_TIMEOUT,
                               ngx_mdvr_replay_done, &replay)
           != NGX_OK)
    {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_RETRY);
    }
}


static void
ngx_mdvr_replay_done(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_replay_t  *replay = data;

    if (rc == MDVR_OK) {
        ngx_mdvr_stored_t  told = {
            .kind = replay->kind,
            .sql = ngx_mdvr_store_calls[replay->kind].sql,
            .rows = ngx_mdvr_store_calls[replay->kind].rows,
            .tenant_id = &replay->tenant_id,
            .device_id = &replay->device_id,
            .log = ngx_mdvr_sig.log
        };

        ngx_mdvr_stored(&told, rows);
        ngx_mdvr_journal_replayed(replay->journal, NGX_MDVR_JOURNAL_STORED);
        return;
    }

    ngx_mdvr_journal_replayed(replay->journal,
                              ngx_mdvr_store_refused(rc)
                              ? NGX_MDVR_JOURNAL_REFUSED
                              : NGX_MDVR_JOURNAL_RETRY);
}


/*
 * Below 0: a registration of an earlier boot, that connection is no more.
 * Above 0: of a later one, met by a worker that drains after a binary upgrade.
 * Boots are in the order of their ids, which begin with the time.
 */

static int
ngx_mdvr_replay_boot(const ngx_str_t *params)
{
    ngx_mdvr_uuid_t  boot;

    if (ngx_mdvr_uuid_parse(&params[2], &boot) != NGX_OK) {
        return -1;
    }

    return ngx_memcmp(&boot, ngx_mdvr_boot(), sizeof(boot));
}


/* A group is of this node, and of this boot but for those that are no more. */

ngx_uint_t
ngx_mdvr_store_joins(const ngx_mdvr_journal_record_t *record)
{
    const ngx_str_t  *node, *params;

    node = &ngx_mdvr_sig.core->node;
    params = record->params;

    if ((record->kind != NGX_MDVR_STORE_REGISTER
         && record->kind != NGX_MDVR_STORE_OFFLINE)
        || record->nparams != ngx_mdvr_store_calls[record->kind].nparams + 1
        || params[1].len != node->len
        || ngx_memcmp(params[1].data, node->data, node->len) != 0)
    {
        return 0;
    }

    return record->kind == NGX_MDVR_STORE_OFFLINE
           || ngx_mdvr_replay_boot(params) <= 0;
}


void
ngx_mdvr_store_replay_group(ngx_mdvr_journal_t *j,
    const ngx_mdvr_journal_record_t *first)
{
    size_t                            room;
    ngx_uint_t                        n;
    ngx_mdvr_batch_t                  batch;
    const ngx_mdvr_journal_record_t  *r;

    if (!ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM)) {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_RETRY);
        return;
    }

    room = 0;

    for (r = first; r; r = r->next) {
        room += ngx_mdvr_batch_room(r->kind, r->params);
    }

    if (ngx_mdvr_batch_begin(&batch, room) != NGX_OK) {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_RETRY);
        return;
    }

    n = 0;

    for (r = first; r; r = r->next) {
        if (r->kind == NGX_MDVR_STORE_OFFLINE
            || ngx_mdvr_replay_boot(r->params) == 0)
        {
            ngx_mdvr_batch_put(&batch, r->kind, r->params);
            n++;
        }
    }

    if (n == 0) {
        ngx_mdvr_batch_drop(&batch);
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_STORED);
        return;
    }

    if (ngx_mdvr_batch_send(&batch, NGX_MDVR_REPLAY_TIMEOUT,
                            ngx_mdvr_replay_group_done, j)
        != NGX_OK)
    {
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_SINGLY);
    }
}


/* Whatever is wrong with a group while PostgreSQL is there may be one of it. */

static void
ngx_mdvr_replay_group_done(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_journal_t  *j = data;

    if (rc == MDVR_OK) {
        ngx_mdvr_batch_told(rows);
        ngx_mdvr_journal_replayed(j, NGX_MDVR_JOURNAL_STORED);
        return;
    }

    ngx_mdvr_journal_replayed(j, rc == MDVR_E_UNAVAILABLE
                                 ? NGX_MDVR_JOURNAL_RETRY
                                 : NGX_MDVR_JOURNAL_SINGLY);
}
