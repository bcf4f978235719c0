
/*
 * This node as PostgreSQL knows it: started (what an earlier boot held is
 * offline), alive (heartbeat), and the others (who has gone silent is lost).
 * One worker of the node does it, the chief.
 *
 * The chief also has the rules looked at (geofences, speed limit, idling), which
 * PostgreSQL evaluates on the latest positions; the database lets one node at a
 * time do it.
 *
 * A node that could not reach PostgreSQL for a while has been given up by the
 * others: each worker then records its devices again, a few hundred a second.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_record.h"


#define NGX_MDVR_NODE_HEARTBEAT  10000      /* ms */
#define NGX_MDVR_NODE_SILENT     "60 seconds"
#define NGX_MDVR_NODE_AWAY       45000      /* ms without PostgreSQL */
#define NGX_MDVR_NODE_AGAIN      500        /* devices a second */
#define NGX_MDVR_NODE_RULES      10000      /* ms for one look at the rules */


enum {
    NGX_MDVR_NODE_STARTED = 1,
    NGX_MDVR_NODE_TAKEN
};


static ngx_uint_t ngx_mdvr_node_start(void);
static void ngx_mdvr_node_call(const char *sql, ngx_uint_t boot,
    ngx_uint_t started);
static void ngx_mdvr_node_done(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_node_events(const ngx_mdvr_pg_rows_t *rows);
static void ngx_mdvr_node_record(void);
static void ngx_mdvr_node_rules(ngx_uint_t store);
static void ngx_mdvr_node_evaluated(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static void ngx_mdvr_node_ruled(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);


static ngx_uint_t  ngx_mdvr_node_rules_busy;
static ngx_uint_t  ngx_mdvr_node_busy;
static ngx_uint_t  ngx_mdvr_node_is_started;
static ngx_uint_t  ngx_mdvr_node_taken;
static ngx_msec_t  ngx_mdvr_node_taken_at;
static ngx_uint_t  ngx_mdvr_node_beats;
static ngx_msec_t  ngx_mdvr_node_beat_at;
static ngx_msec_t  ngx_mdvr_node_up_at;
static ngx_uint_t  ngx_mdvr_node_again;


void
ngx_mdvr_node_tick(void)
{
    if (!ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM)) {
        return;
    }

    if (ngx_mdvr_node_up_at
        && ngx_current_msec - ngx_mdvr_node_up_at > NGX_MDVR_NODE_AWAY)
    {
        ngx_mdvr_sig.records++;
        ngx_mdvr_node_again = 1;
    }

    ngx_mdvr_node_up_at = ngx_current_msec;

    if (ngx_mdvr_node_again) {
        ngx_mdvr_node_record();
    }

    if (ngx_exiting || !ngx_mdvr_is_chief()) {
        return;
    }

    if (!ngx_mdvr_node_rules_busy) {
        ngx_mdvr_node_rules(0);
    }

    if (ngx_mdvr_node_busy) {
        return;
    }

    if (!ngx_mdvr_node_is_started && ngx_mdvr_node_start()) {
        return;
    }

    if (ngx_current_msec - ngx_mdvr_node_beat_at < NGX_MDVR_NODE_HEARTBEAT) {
        return;
    }

    ngx_mdvr_node_beat_at = ngx_current_msec;

    if (ngx_mdvr_node_beats++ % 3 == 2) {
        ngx_mdvr_node_call("select tenant_id, message"
                           " from mdvr.nodes_expire('" NGX_MDVR_NODE_SILENT
                           "')", 0, 0);
        return;
    }

    ngx_mdvr_node_call("select null, null from"
                       " mdvr.node_heartbeat($1, $2::uuid)", 1, 0);
}


/*
 * What an earlier boot of this node held is offline: at once after a start,
 * but after a binary upgrade only when the old workers have had the time to
 * drain, since until then they do hold their devices.
 */

static ngx_uint_t
ngx_mdvr_node_start(void)
{
    ngx_msec_t  drain;

    if (ngx_inherited && !ngx_mdvr_node_taken) {
        ngx_mdvr_node_taken_at = ngx_current_msec;
        ngx_mdvr_node_call("select null, null from"
                           " mdvr.node_upgraded($1, $2::uuid)", 1,
                           NGX_MDVR_NODE_TAKEN);
        return 1;
    }

    drain = ngx_mdvr_sig.conf->drain_delay + ngx_mdvr_sig.conf->drain_spread
            + NGX_MDVR_NODE_HEARTBEAT;

    if (ngx_inherited
        && ngx_current_msec - ngx_mdvr_node_taken_at < drain)
    {
        return 0;
    }

    ngx_mdvr_node_call("select tenant_id, message"
                       " from mdvr.node_started($1, $2::uuid)", 1,
                       NGX_MDVR_NODE_STARTED);
    return 1;
}


static void
ngx_mdvr_node_call(const char *sql, ngx_uint_t boot, ngx_uint_t started)
{
    u_char               text[NGX_MDVR_UUID_LEN];
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[2];

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = sql;

    if (boot) {
        params[0] = ngx_mdvr_pg_text(&ngx_mdvr_sig.core->node);
        params[1].data = text;
        params[1].len = ngx_mdvr_uuid_print(text, ngx_mdvr_boot()) - text;
        params[1].binary = 0;

        call.params = params;
        call.nparams = 2;
    }

    if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_NODE_HEARTBEAT,
                          ngx_mdvr_node_done, (void *) (uintptr_t) started)
        == NGX_OK)
    {
        ngx_mdvr_node_busy = 1;
    }
}


static void
ngx_mdvr_node_done(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_mdvr_node_busy = 0;

    if (rc != MDVR_OK) {
        return;
    }

    if ((uintptr_t) data == NGX_MDVR_NODE_STARTED) {
        ngx_mdvr_node_is_started = 1;

    } else if ((uintptr_t) data == NGX_MDVR_NODE_TAKEN) {
        ngx_mdvr_node_taken = 1;
    }

    ngx_mdvr_node_events(rows);
}


static void
ngx_mdvr_node_events(const ngx_mdvr_pg_rows_t *rows)
{
    ngx_str_t        msg;
    ngx_uint_t       i;
    ngx_mdvr_uuid_t  tenant_id;

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {
        if (ngx_mdvr_pg_uuid(rows, i, 0, &tenant_id) == NGX_OK
            && !ngx_mdvr_pg_isnull(rows, i, 1))
        {
            msg = ngx_mdvr_pg_value(rows, i, 1);
            ngx_mdvr_sig_publish(&tenant_id, &msg, 0);
        }
    }
}


static void
ngx_mdvr_node_record(void)
{
    ngx_uint_t        n;
    ngx_queue_t      *q;
    ngx_mdvr_link_t  *link;

    n = 0;

    for (q = ngx_queue_head(&ngx_mdvr_sig.links);
         q != ngx_queue_sentinel(&ngx_mdvr_sig.links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_mdvr_link_t, queue);

        if (link->state != NGX_MDVR_LINK_ONLINE
            || link->record == ngx_mdvr_sig.records)
        {
            continue;
        }

        if (n++ == NGX_MDVR_NODE_AGAIN) {
            return;
        }

        link->record = ngx_mdvr_sig.records;
        ngx_mdvr_sig_record(link, NULL, 0, 0);
    }

    ngx_mdvr_node_again = 0;
}


/* looks at the positions, then stores what was found, device by device */

static void
ngx_mdvr_node_rules(ngx_uint_t store)
{
    ngx_mdvr_pg_call_t  call;

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = store ? "select tenant_id, message, record_device, record_alarm"
                       " from mdvr.rules_store()"
                     : "select mdvr.rules_evaluate()";
    call.bulk = 1;

    ngx_mdvr_node_rules_busy =
        ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_NODE_RULES,
                          store ? ngx_mdvr_node_ruled
                                : ngx_mdvr_node_evaluated, NULL)
        == NGX_OK;
}


static void
ngx_mdvr_node_evaluated(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    int64_t  n;

    ngx_mdvr_node_rules_busy = 0;

    if (rc == MDVR_OK && ngx_mdvr_pg_int(rows, 0, 0, &n) == NGX_OK && n) {
        ngx_mdvr_node_rules(1);
    }
}


static void
ngx_mdvr_node_ruled(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_uint_t       i;
    ngx_mdvr_uuid_t  device, alarm;

    ngx_mdvr_node_rules_busy = 0;

    if (rc != MDVR_OK || ngx_mdvr_pg_nrows(rows) == 0) {
        return;
    }

    ngx_mdvr_node_events(rows);

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {
        if (ngx_mdvr_pg_uuid(rows, i, 2, &device) == NGX_OK
            && ngx_mdvr_pg_uuid(rows, i, 3, &alarm) == NGX_OK)
        {
            ngx_mdvr_record_alarm(&device, &alarm);
        }
    }

    ngx_mdvr_node_rules(1);
}
