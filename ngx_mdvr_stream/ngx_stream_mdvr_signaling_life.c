
/*
 * How a connection on the signaling port begins and ends, and where it can be
 * found meanwhile: registered links are in two tables of the worker, by serial
 * and by nginx' connection number.
 *
 * A link is ended by link_close(), which takes it out of everything at once
 * but leaves its memory to its own event handler: whoever calls may be in the
 * middle of something that concerns it.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"


#define NGX_MDVR_LINK_BUCKETS  16384
#define NGX_MDVR_LINK_SCRATCH  (3 * NGX_MDVR_SIG_READ)


static void ngx_mdvr_link_leave(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_cleanup(void *data);
static u_char *ngx_mdvr_link_log(ngx_log_t *log, u_char *buf, size_t len);


ngx_int_t
ngx_mdvr_link_tables(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_mdvr_sig.links);

    ngx_mdvr_sig.serials = ngx_pcalloc(cycle->pool, NGX_MDVR_LINK_BUCKETS
                                                    * sizeof(void *));
    ngx_mdvr_sig.numbers = ngx_pcalloc(cycle->pool, NGX_MDVR_LINK_BUCKETS
                                                    * sizeof(void *));
    ngx_mdvr_sig.scratch = ngx_palloc(cycle->pool, NGX_MDVR_LINK_SCRATCH);

    if (ngx_mdvr_sig.serials == NULL
        || ngx_mdvr_sig.numbers == NULL
        || ngx_mdvr_sig.scratch == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_mdvr_link_accept(ngx_stream_session_t *s)
{
    ngx_connection_t     *c;
    ngx_mdvr_link_t      *link;
    ngx_pool_cleanup_t   *cln;
    ngx_mdvr_sig_conf_t  *conf;

    c = s->connection;
    conf = ngx_stream_get_module_srv_conf(s,
                                          ngx_stream_mdvr_signaling_module);

    c->log->action = "accepting a device";

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_mdvr_link_t));
    if (cln == NULL) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    link = cln->data;
    ngx_memzero(link, sizeof(ngx_mdvr_link_t));

    link->connection = c;
    link->session = s;
    link->conf = conf;
    link->stores_last = &link->stores;
    link->connected_at = ngx_mdvr_now_ms();
    link->last_recv = ngx_current_msec;
    link->last_sent = ngx_current_msec;
    link->close_at = ngx_current_msec + conf->register_timeout;

    ngx_queue_insert_tail(&ngx_mdvr_sig.links, &link->queue);
    ngx_mdvr_gauge(device_connections, ++ngx_mdvr_sig.nlinks);

    cln->handler = ngx_mdvr_link_cleanup;

    ngx_stream_set_ctx(s, link, ngx_stream_mdvr_signaling_module);
    s->log_handler = ngx_mdvr_link_log;

    /* a zone too full to count is no reason to refuse anybody */

    switch (ngx_mdvr_address_add(c->sockaddr, NGX_MDVR_ADDR_SOCKET,
                                 conf->per_address))
    {
    case NGX_OK:
        link->counted = 1;
        break;
    case NGX_BUSY:
        goto refused;
    }

    switch (ngx_mdvr_address_add(c->sockaddr, NGX_MDVR_ADDR_UNREGISTERED,
                                 conf->unregistered))
    {
    case NGX_OK:
        link->counted_new = 1;
        break;
    case NGX_BUSY:
        goto refused;
    }

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    c->read->handler = ngx_mdvr_link_read_handler;
    c->write->handler = ngx_mdvr_link_write_handler;
    c->log->action = "waiting for the registration";

    if (ngx_exiting) {
        ngx_mdvr_link_drain();
    }

    ngx_mdvr_link_read(link);
    return;

refused:

    ngx_mdvr_refusal("address_limit");
    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "mdvr: too many connections from this address");
    ngx_stream_finalize_session(s, NGX_STREAM_SERVICE_UNAVAILABLE);
}


static ngx_uint_t
ngx_mdvr_link_bucket(uint64_t n)
{
    return (n * 2654435761u >> 8) & (NGX_MDVR_LINK_BUCKETS - 1);
}


void
ngx_mdvr_link_online(ngx_mdvr_link_t *link)
{
    ngx_uint_t  n;

    if (link->counted_new) {
        ngx_mdvr_address_sub(link->connection->sockaddr,
                             NGX_MDVR_ADDR_UNREGISTERED);
        link->counted_new = 0;
    }

    link->state = NGX_MDVR_LINK_ONLINE;
    link->frame.relaxed = 1;
    link->route_at = ngx_current_msec;
    link->in_tables = 1;
    link->connection->log->action = "serving a device";

    link->serial_hash = ngx_crc32_short(link->serial, link->serial_len);
    n = ngx_mdvr_link_bucket(link->serial_hash);
    link->by_serial = ngx_mdvr_sig.serials[n];
    ngx_mdvr_sig.serials[n] = link;

    n = ngx_mdvr_link_bucket(link->connection->number);
    link->by_number = ngx_mdvr_sig.numbers[n];
    ngx_mdvr_sig.numbers[n] = link;

    ngx_mdvr_gauge(devices_online, ++ngx_mdvr_sig.nonline);
}


static void
ngx_mdvr_link_leave(ngx_mdvr_link_t *link)
{
    ngx_uint_t         n;
    ngx_mdvr_link_t  **p;

    if (!link->in_tables) {
        return;
    }

    link->in_tables = 0;

    n = ngx_mdvr_link_bucket(link->serial_hash);

    for (p = &ngx_mdvr_sig.serials[n]; *p; p = &(*p)->by_serial) {
        if (*p == link) {
            *p = link->by_serial;
            break;
        }
    }

    n = ngx_mdvr_link_bucket(link->connection->number);

    for (p = &ngx_mdvr_sig.numbers[n]; *p; p = &(*p)->by_number) {
        if (*p == link) {
            *p = link->by_number;
            break;
        }
    }

    ngx_mdvr_gauge(devices_online, --ngx_mdvr_sig.nonline);

    ngx_mdvr_sig_offline(link, link->reason ? link->reason : "server stop");
}


ngx_mdvr_link_t *
ngx_mdvr_link_find(mdvr_str_t serial)
{
    uint32_t          hash;
    ngx_mdvr_link_t  *link;

    if (serial.len > MDVR_SERIAL_MAX || ngx_mdvr_sig.serials == NULL) {
        return NULL;
    }

    hash = ngx_crc32_short((u_char *) serial.p, serial.len);

    for (link = ngx_mdvr_sig.serials[ngx_mdvr_link_bucket(hash)];
         link;
         link = link->by_serial)
    {
        if (link->serial_hash == hash && link->serial_len == serial.len
            && ngx_memcmp(link->serial, serial.p, serial.len) == 0)
        {
            return link;
        }
    }

    return NULL;
}


ngx_mdvr_link_t *
ngx_mdvr_link_find_number(uint64_t connection)
{
    ngx_mdvr_link_t  *link;

    for (link = ngx_mdvr_sig.numbers[ngx_mdvr_link_bucket(connection)];
         link;
         link = link->by_number)
    {
        if (link->connection->number == connection) {
            return link;
        }
    }

    return NULL;
}


void
ngx_mdvr_link_close(ngx_mdvr_link_t *link, const char *reason,
    ngx_uint_t clean)
{
    if (link->dead) {
        return;
    }

    if (link->state != NGX_MDVR_LINK_CLOSING) {
        link->reason = reason;
        ngx_mdvr_link_leave(link);
        link->state = NGX_MDVR_LINK_CLOSING;
        link->close_at = ngx_current_msec + NGX_MDVR_SIG_LINGER;

        if (clean && link->out_len == 0) {
            ngx_mdvr_link_shutdown(link);
        }

    } else if (clean) {
        return;
    }

    if (!clean) {
        link->dead = 1;
    }

    if (!link->busy) {

        /* its own handler ends it, whoever called */

        ngx_post_event(link->connection->read, &ngx_posted_events);
    }
}


/*
 * The end of a registered link that a reload asks for.  What the device sent
 * before it noticed is a report like any other; alarms are not answered any
 * more, so it repeats them on its next connection.
 */

void
ngx_mdvr_link_see_off(ngx_mdvr_link_t *link)
{
    link->reason = "server reload";
    ngx_mdvr_link_leave(link);

    link->state = NGX_MDVR_LINK_LEAVING;
    link->close_at = ngx_current_msec + NGX_MDVR_SIG_LINGER;

    if (link->out_len == 0) {
        ngx_mdvr_link_shutdown(link);
    }
}


void
ngx_mdvr_link_shutdown(ngx_mdvr_link_t *link)
{
    if (link->shut) {
        return;
    }

    link->shut = 1;

    if (ngx_shutdown_socket(link->connection->fd, NGX_WRITE_SHUTDOWN) == -1) {
        link->dead = 1;
    }
}


static void
ngx_mdvr_link_cleanup(void *data)
{
    ngx_mdvr_link_t  *link = data;

    ngx_mdvr_link_leave(link);
    ngx_mdvr_store_detach(link);
    ngx_mdvr_task_detach(link);

    if (link->counted) {
        ngx_mdvr_address_sub(link->connection->sockaddr,
                             NGX_MDVR_ADDR_SOCKET);
    }

    if (link->counted_new) {
        ngx_mdvr_address_sub(link->connection->sockaddr,
                             NGX_MDVR_ADDR_UNREGISTERED);
    }

    if (link->lookup) {
        ngx_mdvr_sig.nlookups--;
    }

    if (link->tail) {
        ngx_free(link->tail);
    }

    if (link->out) {
        ngx_free(link->out);
    }

    ngx_queue_remove(&link->queue);
    ngx_mdvr_gauge(device_connections, --ngx_mdvr_sig.nlinks);
}


/* spread over the configured time, so that devices do not all come at once */

void
ngx_mdvr_link_drain(void)
{
    ngx_queue_t               *q;
    ngx_mdvr_link_t           *link;
    ngx_mdvr_sig_main_conf_t  *conf;

    conf = ngx_mdvr_sig.conf;

    for (q = ngx_queue_head(&ngx_mdvr_sig.links);
         q != ngx_queue_sentinel(&ngx_mdvr_sig.links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_mdvr_link_t, queue);

        if (link->draining || link->dead
            || link->state >= NGX_MDVR_LINK_LEAVING)
        {
            continue;
        }

        link->draining = 1;
        link->drain_at = ngx_current_msec + conf->drain_delay
                         + (conf->drain_spread
                            ? ngx_random() % conf->drain_spread : 0);

        ngx_mdvr_link_arm(link);
    }
}


/*
 * The process ends.  What it held is swept by the others, or reported by the
 * next boot; nginx itself complains about sockets that a draining worker
 * leaves open.
 */

void
ngx_mdvr_link_exit(void)
{
    ngx_queue_t      *q;
    ngx_mdvr_link_t  *link;

    for (q = ngx_queue_head(&ngx_mdvr_sig.links);
         q != ngx_queue_sentinel(&ngx_mdvr_sig.links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_mdvr_link_t, queue);
        ngx_close_connection(link->connection);
    }
}


static u_char *
ngx_mdvr_link_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                *p;
    ngx_mdvr_link_t       *link;
    ngx_stream_session_t  *s;

    s = log->data;
    link = ngx_stream_get_module_ctx(s, ngx_stream_mdvr_signaling_module);

    p = buf;

    if (link && link->serial_len) {
        p = ngx_snprintf(buf, len, ", device: \"%*s\"",
                         (size_t) link->serial_len, link->serial);

        if (link->state == NGX_MDVR_LINK_ONLINE
            && (size_t) (buf + len - p) > NGX_MDVR_UUID_LEN + 13)
        {
            p = ngx_cpymem(p, ", tenant_id: ", 13);
            p = ngx_mdvr_uuid_print(p, &link->tenant_id);
        }
    }

    return p;
}
