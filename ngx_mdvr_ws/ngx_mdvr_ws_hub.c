/*
 * Hubs: the messages of a tenant, in order, once.
 *
 * Events of a tenant are numbered without gaps (0004_events.sql): whoever has
 * n and receives n + 2 knows that one is missing, and PostgreSQL has it.  A
 * number that PostgreSQL does not have either belonged to a device that was
 * deleted since.  A publication that was lost altogether is found by asking
 * every 15 s, every second while Redis is away.
 *
 * Numbers go back when the database does (a replica that lacked the last seconds
 * took over), and leap when a backup was restored (ops/restore lets them, so
 * that none means two events).  A number that was had already, or the next
 * look, tells; then clients are told {"type":"gap"}.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"

#include "mdvr/domain/keys.h"
#include "mdvr/web/peek.h"


#define NGX_MDVR_HUB_PAGE      500
#define NGX_MDVR_HUB_POLL      15000    /* ms */
#define NGX_MDVR_HUB_POLL_DOWN 1000
#define NGX_MDVR_HUB_DOUBT     500      /* a number came that was had */
#define NGX_MDVR_HUB_TIMEOUT   5000


struct ngx_mdvr_hub_s {
    ngx_str_node_t            sn;            /* by the tenant's 16 bytes */
    ngx_pool_t               *pool;          /* its own; ties its queries */
    ngx_log_t                 log;           /* that of its first client's
                                                location */
    ngx_mdvr_uuid_t           tenant;
    u_char                    tenant_text[NGX_MDVR_UUID_LEN];
    ngx_str_t                 channel;
    u_char                    channel_text[MDVR_KEY_MAX];
    ngx_queue_t               clients;
    int64_t                   seq;           /* newest that clients have, -1 */
    int64_t                   want;          /* newest that was heard of */
    int64_t                   asked;         /* `want` when the query went out */
    int64_t                   had;           /* and `seq` */
    ngx_event_t               timer;
    unsigned                  live:1;        /* Redis has confirmed */
    unsigned                  busy:1;        /* its list is being walked */
    unsigned                  fetching:1;
    unsigned                  doubtful:1;    /* asked again soon */
};


static void ngx_mdvr_hub_free(ngx_mdvr_hub_t *hub);
static void ngx_mdvr_hub_message(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg);
static void ngx_mdvr_hub_dispatch(ngx_mdvr_hub_t *hub, ngx_mdvr_push_t *push);
static void ngx_mdvr_hub_fetch(ngx_mdvr_hub_t *hub);
static void ngx_mdvr_hub_rows(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_hub_timer(ngx_event_t *ev);
static void ngx_mdvr_hub_watch_handler(ngx_event_t *ev);


static ngx_rbtree_t       ngx_mdvr_hubs;
static ngx_rbtree_node_t  ngx_mdvr_hubs_end;
static ngx_event_t        ngx_mdvr_hub_watch;
static ngx_connection_t   ngx_mdvr_hub_dummy;


ngx_int_t
ngx_mdvr_hub_init(void)
{
    ngx_mdvr_hub_dummy.fd = (ngx_socket_t) -1;
    ngx_mdvr_hub_watch.handler = ngx_mdvr_hub_watch_handler;
    ngx_mdvr_hub_watch.data = &ngx_mdvr_hub_dummy;
    ngx_mdvr_hub_watch.log = ngx_cycle->log;
    ngx_mdvr_hub_watch.cancelable = 1;

    ngx_rbtree_init(&ngx_mdvr_hubs, &ngx_mdvr_hubs_end,
                    ngx_str_rbtree_insert_value);

    return NGX_OK;
}


ngx_uint_t
ngx_mdvr_hub_is_ready(const ngx_mdvr_hub_t *hub)
{
    return hub->seq >= 0 && (hub->live || !ngx_mdvr_redis_up());
}


int64_t
ngx_mdvr_hub_seq(const ngx_mdvr_hub_t *hub)
{
    return hub->seq;
}


ngx_int_t
ngx_mdvr_hub_join(ngx_mdvr_client_t *client)
{
    uint32_t         hash;
    ngx_str_t        key;
    mdvr_buf_t       b;
    ngx_pool_t      *pool;
    ngx_mdvr_hub_t  *hub;

    key.data = client->tenant.b;
    key.len = 16;
    hash = ngx_crc32_short(key.data, key.len);

    hub = (ngx_mdvr_hub_t *) ngx_str_rbtree_lookup(&ngx_mdvr_hubs, &key, hash);

    if (hub == NULL) {

        pool = ngx_create_pool(1024, ngx_cycle->log);
        if (pool == NULL) {
            return NGX_ERROR;
        }

        hub = ngx_pcalloc(pool, sizeof(ngx_mdvr_hub_t));
        if (hub == NULL) {
            ngx_destroy_pool(pool);
            return NGX_ERROR;
        }

        hub->pool = pool;
        hub->log = *client->c->log;
        hub->log.handler = NULL;
        hub->log.data = NULL;
        hub->log.action = NULL;
        hub->log.connection = 0;
        hub->tenant = client->tenant;
        hub->seq = -1;
        hub->want = -1;
        ngx_memcpy(hub->tenant_text, client->tenant_text, NGX_MDVR_UUID_LEN);
        ngx_queue_init(&hub->clients);

        hub->timer.handler = ngx_mdvr_hub_timer;
        hub->timer.data = hub;
        hub->timer.log = ngx_cycle->log;
        hub->timer.cancelable = 1;

        b = mdvr_buf(hub->channel_text, MDVR_KEY_MAX);
        mdvr_channel_event(&b, mdvr_str(hub->tenant_text, NGX_MDVR_UUID_LEN));
        hub->channel.data = b.p;
        hub->channel.len = b.len;

        if (ngx_mdvr_redis_subscribe(&hub->channel, ngx_mdvr_hub_message, hub)
            != NGX_OK)
        {
            ngx_destroy_pool(pool);
            return NGX_ERROR;
        }

        hub->sn.str.data = hub->tenant.b;
        hub->sn.str.len = 16;
        hub->sn.node.key = hash;
        ngx_rbtree_insert(&ngx_mdvr_hubs, &hub->sn.node);

        if (!ngx_mdvr_hub_watch.timer_set) {
            ngx_add_timer(&ngx_mdvr_hub_watch, NGX_MDVR_HUB_POLL_DOWN);
        }

        ngx_mdvr_hub_fetch(hub);
    }

    client->hub = hub;
    ngx_queue_insert_tail(&hub->clients, &client->queue);

    return NGX_OK;
}


void
ngx_mdvr_hub_leave(ngx_mdvr_client_t *client)
{
    ngx_mdvr_hub_t  *hub;

    hub = client->hub;

    if (hub == NULL) {
        return;
    }

    client->hub = NULL;
    ngx_queue_remove(&client->queue);

    if (ngx_queue_empty(&hub->clients) && !hub->busy) {
        ngx_mdvr_hub_free(hub);
    }
}


static void
ngx_mdvr_hub_free(ngx_mdvr_hub_t *hub)
{
    ngx_mdvr_redis_unsubscribe(&hub->channel, ngx_mdvr_hub_message, hub);

    if (hub->timer.timer_set) {
        ngx_del_timer(&hub->timer);
    }

    ngx_rbtree_delete(&ngx_mdvr_hubs, &hub->sn.node);
    ngx_destroy_pool(hub->pool);
}


/*
 * Tells those who wait for it.  Each may go on to its next message and leave:
 * the hub may be gone afterwards.
 */

static void
ngx_mdvr_hub_ready(ngx_mdvr_hub_t *hub)
{
    ngx_queue_t  *q, *next;

    hub->busy = 1;

    for (q = ngx_queue_head(&hub->clients);
         q != ngx_queue_sentinel(&hub->clients);
         q = next)
    {
        next = ngx_queue_next(q);
        ngx_mdvr_client_ready(ngx_queue_data(q, ngx_mdvr_client_t, queue));
    }

    hub->busy = 0;

    if (ngx_queue_empty(&hub->clients)) {
        ngx_mdvr_hub_free(hub);
    }
}


/* -- what arrives -------------------------------------------------------- */

static ngx_int_t
ngx_mdvr_hub_read(const ngx_str_t *msg, ngx_mdvr_push_t *push)
{
    ngx_str_t           s;
    ngx_uint_t          i;
    mdvr_str_t          v[3];

    static const char *const  names[] = { "type", "id", "device_id" };

    if (!mdvr_peek(mdvr_str(msg->data, msg->len), names, 3, v)
        || v[0].p == NULL || v[1].p == NULL || v[2].p == NULL)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_MDVR_TOPICS; i++) {
        if (v[0].len == ngx_mdvr_topic_names[i].len
            && ngx_memcmp(v[0].p, ngx_mdvr_topic_names[i].data, v[0].len) == 0)
        {
            break;
        }
    }

    s.data = (u_char *) v[2].p;
    s.len = v[2].len;

    if (i == NGX_MDVR_TOPICS
        || ngx_mdvr_uuid_parse(&s, &push->device) != NGX_OK)
    {
        return NGX_ERROR;
    }

    push->topic = i;
    push->text = *msg;
    push->payload = NULL;
    push->event = NULL;
    push->seq = 0;

    if (i != NGX_MDVR_TOPIC_TELEMETRY) {
        push->seq = ngx_atoof((u_char *) v[1].p, v[1].len);

        if (push->seq <= 0) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_mdvr_hub_message(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg)
{
    ngx_mdvr_hub_t *hub = data;

    ngx_mdvr_push_t  push;

    if (msg == NULL) {

        /* something may have been missed */

        hub->live = 1;
        ngx_mdvr_hub_fetch(hub);
        ngx_mdvr_hub_ready(hub);
        return;
    }

    if (ngx_mdvr_hub_read(msg, &push) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "message on \"%V\" is not understood", channel);
        return;
    }

    if (push.seq == 0) {
        ngx_mdvr_hub_dispatch(hub, &push);
        return;
    }

    hub->want = ngx_max(hub->want, push.seq);

    if (hub->seq < 0) {
        return;
    }

    if (push.seq <= hub->seq) {

        /* said twice, or the numbers went back */

        if (!hub->doubtful) {
            hub->doubtful = 1;
            ngx_add_timer(&hub->timer, NGX_MDVR_HUB_DOUBT);
        }

        return;
    }

    if (push.seq == hub->seq + 1 && !hub->fetching) {
        hub->seq = push.seq;
        ngx_mdvr_hub_dispatch(hub, &push);
        return;
    }

    ngx_mdvr_hub_fetch(hub);
}


/*
 * One line for an event and all of its viewers here, with the keys of the line
 * that signaling wrote when it was stored.  Alarms at INFO, others at DEBUG.
 */

static void
ngx_mdvr_hub_log(ngx_mdvr_hub_t *hub, const ngx_mdvr_push_t *push,
    ngx_uint_t viewers)
{
    u_char       device[NGX_MDVR_UUID_LEN], trace[NGX_MDVR_TRACE_KEY_LEN];
    ngx_str_t    alarm, key;
    ngx_uint_t   level;
    mdvr_str_t   v[1];

    static const char *const  names[] = { "alarm_id" };

    level = push->topic == NGX_MDVR_TOPIC_ALARM ? NGX_LOG_INFO : NGX_LOG_DEBUG;

    if (hub->log.log_level < level) {
        return;
    }

    ngx_str_null(&alarm);

    if (mdvr_peek(mdvr_str(push->text.data, push->text.len), names, 1, v)
        && v[0].p)
    {
        alarm.data = (u_char *) v[0].p;
        alarm.len = v[0].len;
    }

    key = ngx_mdvr_trace_key(&alarm, trace);
    (void) ngx_mdvr_uuid_print(device, &push->device);

    ngx_log_error(level, &hub->log, 0,
                  "event %V pushed, event_id: %L, viewers: %ui, "
                  "tenant_id: %*s, device_id: %*s, alarm_id: %V, trace_id: %V",
                  &ngx_mdvr_topic_names[push->topic], push->seq, viewers,
                  (size_t) NGX_MDVR_UUID_LEN, hub->tenant_text,
                  (size_t) NGX_MDVR_UUID_LEN, device, &alarm, &key);
}


static void
ngx_mdvr_hub_dispatch(ngx_mdvr_hub_t *hub, ngx_mdvr_push_t *push)
{
    ngx_uint_t        n;
    ngx_queue_t      *q, *next;
    static uint64_t   number;

    push->number = ++number;
    n = 0;

    for (q = ngx_queue_head(&hub->clients);
         q != ngx_queue_sentinel(&hub->clients);
         q = next)
    {
        next = ngx_queue_next(q);
        __builtin_prefetch(ngx_queue_data(next, ngx_mdvr_client_t, queue));

        n += ngx_mdvr_client_deliver(ngx_queue_data(q, ngx_mdvr_client_t,
                                                    queue), push);
    }

    if (n && push->seq) {
        ngx_mdvr_hub_log(hub, push, n);
    }

    if (push->payload) {
        ngx_mdvr_ws_payload_drop(push->payload);
        push->payload = NULL;
    }

    if (push->event) {
        ngx_mdvr_ws_payload_drop(push->event);
        push->event = NULL;
    }
}


/* -- what did not -------------------------------------------------------- */

static void
ngx_mdvr_hub_fetch(ngx_mdvr_hub_t *hub)
{
    u_char               text[NGX_INT64_LEN];
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  param;

    if (hub->fetching) {
        return;
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

    call.role = NGX_MDVR_PG_API;
    call.tenant.data = hub->tenant_text;
    call.tenant.len = NGX_MDVR_UUID_LEN;
    ngx_str_set(&call.app_role, "technician");      /* all of the tenant's */
    call.retry = 1;

    if (hub->seq < 0) {
        call.sql = "select mdvr.event_position()";

    } else {
        param.data = text;
        param.len = ngx_sprintf(text, "%L", hub->seq) - text;
        param.binary = 0;

        call.sql = "select p.at, e.id, e.message"
                   " from (select mdvr.event_position() as at) p"
                   " left join mdvr.events_after($1) e on true"
                   " order by e.id::bigint";
        call.params = &param;
        call.nparams = 1;
    }

    hub->asked = hub->want;
    hub->had = hub->seq;
    hub->doubtful = 0;

    if (ngx_mdvr_pg_query(hub->pool, &call, NGX_MDVR_HUB_TIMEOUT,
                          ngx_mdvr_hub_rows, hub)
        == NGX_OK)
    {
        hub->fetching = 1;

    } else {
        ngx_add_timer(&hub->timer, NGX_MDVR_HUB_POLL_DOWN);
    }
}


/*
 * The database is an older one: what clients had may be void.  Closing takes
 * effect later, so that the list stays as it is.
 */

static void
ngx_mdvr_hub_gap(ngx_mdvr_hub_t *hub, int64_t at)
{
    ngx_queue_t  *q;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "events of tenant %*s went from %L to %L, as after a "
                  "restore: clients are told", (size_t) NGX_MDVR_UUID_LEN,
                  hub->tenant_text, hub->had, at);

    hub->seq = ngx_min(hub->seq, at);
    hub->want = at;
    hub->asked = at;
    hub->doubtful = 1;              /* what was heard of since is asked for */

    for (q = ngx_queue_head(&hub->clients);
         q != ngx_queue_sentinel(&hub->clients);
         q = ngx_queue_next(q))
    {
        ngx_mdvr_replay_gap(ngx_queue_data(q, ngx_mdvr_client_t, queue),
                            hub->seq);
    }
}


static void
ngx_mdvr_hub_rows(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_mdvr_hub_t *hub = data;

    int64_t            seq, at;
    ngx_str_t          msg;
    ngx_uint_t         i, n, first;
    ngx_mdvr_push_t    push;

    hub->fetching = 0;

    if (rc != MDVR_OK) {
        ngx_add_timer(&hub->timer, NGX_MDVR_HUB_POLL_DOWN);
        return;
    }

    first = (hub->seq < 0);
    n = ngx_mdvr_pg_nrows(rows);

    if (n == 0 || ngx_mdvr_pg_int(rows, 0, 0, &at) != NGX_OK) {
        ngx_add_timer(&hub->timer, NGX_MDVR_HUB_POLL_DOWN);
        return;
    }

    if (first) {
        hub->seq = at;
        n = 0;

    } else {
        if (ngx_mdvr_pg_isnull(rows, 0, 1)) {
            n = 0;
        }

        if (at < hub->had || at - hub->had > NGX_MDVR_EVENTS_LEAP) {
            ngx_mdvr_hub_gap(hub, at);
        }

        for (i = 0; i < n; i++) {
            if (ngx_mdvr_pg_int(rows, i, 1, &seq) != NGX_OK
                || seq <= hub->seq)
            {
                continue;
            }

            hub->seq = seq;
            msg = ngx_mdvr_pg_value(rows, i, 2);

            if (ngx_mdvr_hub_read(&msg, &push) == NGX_OK) {
                ngx_mdvr_hub_dispatch(hub, &push);
            }
        }

        if (n < NGX_MDVR_HUB_PAGE) {

            /* what was published before the query and is not there is gone */

            hub->seq = ngx_max(ngx_max(hub->seq, hub->asked), at);
        }
    }

    if (n == NGX_MDVR_HUB_PAGE || (hub->seq >= 0 && hub->want > hub->seq)) {
        ngx_mdvr_hub_fetch(hub);

    } else {
        ngx_add_timer(&hub->timer, hub->doubtful ? NGX_MDVR_HUB_DOUBT
                                   : ngx_mdvr_redis_up()
                                     ? NGX_MDVR_HUB_POLL
                                     : NGX_MDVR_HUB_POLL_DOWN);
    }

    if (first) {
        ngx_mdvr_hub_ready(hub);
    }
}


static void
ngx_mdvr_hub_timer(ngx_event_t *ev)
{
    ngx_mdvr_hub_fetch(ev->data);
}


/* Notices that Redis went away, which none of the hubs is told. */

static void
ngx_mdvr_hub_watch_handler(ngx_event_t *ev)
{
    ngx_rbtree_node_t  *node;

    if (ngx_mdvr_hubs.root == ngx_mdvr_hubs.sentinel) {
        return;
    }

    if (!ngx_mdvr_redis_up()) {
        for (node = ngx_rbtree_min(ngx_mdvr_hubs.root, ngx_mdvr_hubs.sentinel);
             node;
             node = ngx_rbtree_next(&ngx_mdvr_hubs, node))
        {
            ngx_mdvr_hub_fetch((ngx_mdvr_hub_t *) node);
        }
    }

    ngx_add_timer(ev, NGX_MDVR_HUB_POLL_DOWN);
}
