
/*
 * One TCP connection on the signaling port: bytes in, bytes out, timers, end.
 *
 * There is no buffer per connection: recv() fills one scratch of the worker,
 * messages are handled in place, and only what is incomplete is kept.  Before
 * V101 at most one message's worth is read at a time, so that what a stranger
 * can make us keep is 10 KB.
 *
 * A link has one timer, the one of its read event.  It is armed for the
 * earliest deadline, never moved back, and asks what is due when it fires:
 *
 *   NEW      close_at                 10 s for V101; an alarm extends it
 *   ONLINE   last_recv + idle         180 s of silence
 *            last_sent + heartbeat    60 s: C501
 *            route_at + 120 s         the route in Redis is kept alive
 *   both     last_recv + 5 s, stale_since + 30 s    an incomplete message
 *            drain_at                 this worker is to go
 *   CLOSING  close_at                 the peer had its time
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"


#define NGX_MDVR_LINK_BUCKETS  16384
#define NGX_MDVR_LINK_SCRATCH  (3 * NGX_MDVR_SIG_READ)


static void ngx_mdvr_link_read_handler(ngx_event_t *rev);
static void ngx_mdvr_link_write_handler(ngx_event_t *wev);
static void ngx_mdvr_link_read(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_discard(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_parse(ngx_mdvr_link_t *link, const u_char *pos,
    const u_char *last);
static void ngx_mdvr_link_keep(ngx_mdvr_link_t *link, const u_char *pos,
    const u_char *last, ngx_uint_t moved);
static void ngx_mdvr_link_done(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_timer(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_incomplete(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_arm(ngx_mdvr_link_t *link);
static ngx_int_t ngx_mdvr_link_send(ngx_mdvr_link_t *link, u_char *p,
    size_t len);
static void ngx_mdvr_link_shutdown(ngx_mdvr_link_t *link);
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


static void
ngx_mdvr_link_read_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_mdvr_link_t       *link;
    ngx_stream_session_t  *s;

    c = rev->data;
    s = c->data;
    link = ngx_stream_get_module_ctx(s, ngx_stream_mdvr_signaling_module);

    if (c->close) {                     /* worker_shutdown_timeout */
        ngx_mdvr_link_close(link, "server stop", 0);
    }

    if (link->dead) {
        ngx_mdvr_link_done(link);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_mdvr_link_timer(link);
        return;
    }

    ngx_mdvr_link_read(link);
}


static void
ngx_mdvr_link_read(ngx_mdvr_link_t *link)
{
    u_char            *buf;
    size_t             room;
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = link->connection;
    buf = ngx_mdvr_sig.scratch;

    for (i = 0; i < NGX_MDVR_SIG_READS; i++) {

        if (link->state == NGX_MDVR_LINK_CLOSING || link->dead) {
            ngx_mdvr_link_discard(link);
            break;
        }

        if (link->lookup || link->paused) {
            break;
        }

        room = link->state == NGX_MDVR_LINK_ONLINE ? NGX_MDVR_SIG_READ
                                                   : MDVR_FRAME_MAX + 2;

        n = c->recv(c, buf + link->tail_len, room);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0) {
            ngx_mdvr_link_close(link, "closed by the device", 0);
            break;
        }

        if (n == NGX_ERROR) {
            ngx_mdvr_link_close(link, "connection lost", 0);
            break;
        }

        ngx_mdvr_count_n(signaling_bytes_in_total, n);
        link->session->received += n;
        link->last_recv = ngx_current_msec;

        if (link->tail_len) {
            ngx_memcpy(buf, link->tail, link->tail_len);
        }

        ngx_mdvr_link_parse(link, buf, buf + link->tail_len + n);

        if (!c->read->ready) {
            break;
        }
    }

    if (i == NGX_MDVR_SIG_READS && !link->dead) {

        /* others first; a flood must not starve the timers */

        ngx_post_event(c->read, &ngx_posted_next_events);
    }

    ngx_mdvr_link_done(link);
}


static void
ngx_mdvr_link_discard(ngx_mdvr_link_t *link)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = link->connection;

    for (i = 0; i < NGX_MDVR_SIG_READS && !link->dead; i++) {

        n = c->recv(c, ngx_mdvr_sig.scratch, NGX_MDVR_SIG_READ);

        if (n == NGX_AGAIN) {
            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            link->dead = 1;
            return;
        }
    }

    if (!link->dead) {
        ngx_post_event(c->read, &ngx_posted_next_events);
    }
}


void
ngx_mdvr_link_resume(ngx_mdvr_link_t *link)
{
    u_char  *buf;

    if (link->lookup || link->paused || link->dead
        || link->state == NGX_MDVR_LINK_CLOSING)
    {
        return;
    }

    buf = ngx_mdvr_sig.scratch;

    if (link->tail_len) {
        ngx_memcpy(buf, link->tail, link->tail_len);
        ngx_mdvr_link_parse(link, buf, buf + link->tail_len);
    }

    /* what arrived meanwhile; not from here, the caller may be in a loop */

    ngx_post_event(link->connection->read, &ngx_posted_events);
}


static void
ngx_mdvr_link_parse(ngx_mdvr_link_t *link, const u_char *pos,
    const u_char *last)
{
    mdvr_rc_t          rc;
    uint64_t           garbage;
    const u_char      *start;
    mdvr_frame_msg_t   msg;

    start = pos;
    garbage = link->frame.garbage_total;
    link->busy = 1;

    while (link->state != NGX_MDVR_LINK_CLOSING && !link->dead) {

        rc = mdvr_frame_next(&link->frame, &pos, last, &msg);

        if (rc == MDVR_AGAIN) {
            break;
        }

        if (rc != MDVR_OK) {
            if (rc == MDVR_E_LIMIT) {
                ngx_mdvr_refusal("garbage");
                ngx_mdvr_link_close(link, "too much garbage", 0);
            } else {
                ngx_mdvr_refusal("syntax");
                ngx_mdvr_link_close(link, "malformed bytes", 0);
            }

            ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                          "mdvr: closing, %s: %s", link->reason,
                          mdvr_rc_words(rc));
            break;
        }

        if (msg.repair != MDVR_REPAIR_NONE) {
            ngx_mdvr_refusal("length");

            if (msg.first_repair) {
                ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                              "mdvr: wrong length %ud of a message of %uz "
                              "bytes repaired", msg.declared,
                              msg.content.len);
            }
        }

        if (ngx_mdvr_sig_message(link, msg.content) == NGX_AGAIN) {
            pos = msg.wire.p;
            link->frame.scanned = 0;
            link->frame.messages--;
            break;
        }

        if (link->paused) {
            break;
        }
    }

    link->busy = 0;

    if (link->frame.garbage_total != garbage) {
        ngx_mdvr_refusal("garbage");
    }

    if (link->state == NGX_MDVR_LINK_CLOSING || link->dead) {
        pos = last;
    }

    ngx_mdvr_link_keep(link, pos, last, pos != start);
}


static void
ngx_mdvr_link_keep(ngx_mdvr_link_t *link, const u_char *pos,
    const u_char *last, ngx_uint_t moved)
{
    size_t   len, size;
    u_char  *p;

    len = last - pos;

    if (len == 0) {

        if (link->tail) {
            ngx_free(link->tail);
            link->tail = NULL;
            link->tail_size = 0;
            link->tail_len = 0;
        }

        return;
    }

    if (link->tail_len == 0 || moved) {
        link->stale_since = ngx_current_msec;
    }

    if (len > link->tail_size) {

        size = ngx_align(len, 256);

        p = ngx_alloc(size, link->connection->log);
        if (p == NULL) {
            ngx_mdvr_link_close(link, "out of memory", 0);
            return;
        }

        if (link->tail) {
            ngx_free(link->tail);
        }

        link->tail = p;
        link->tail_size = size;
    }

    ngx_memcpy(link->tail, pos, len);
    link->tail_len = len;
}


/* the end of each event of a link: nothing may touch it afterwards */

static void
ngx_mdvr_link_done(ngx_mdvr_link_t *link)
{
    ngx_connection_t  *c;

    c = link->connection;

    if (!link->dead && ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_mdvr_link_close(link, "event failure", 0);
    }

    if (link->dead) {
        ngx_stream_finalize_session(link->session, NGX_STREAM_OK);
        return;
    }

    ngx_mdvr_link_arm(link);
}


/* -- timers --------------------------------------------------------------- */

#define ngx_mdvr_link_due(at)                                                 \
    ((ngx_msec_int_t) (ngx_current_msec - (at)) >= 0)


static void
ngx_mdvr_link_timer(ngx_mdvr_link_t *link)
{
    u_char      number[8];
    mdvr_str_t  serial;

    switch (link->state) {

    case NGX_MDVR_LINK_CLOSING:
        if (ngx_mdvr_link_due(link->close_at)) {
            link->dead = 1;
        }
        break;

    case NGX_MDVR_LINK_NEW:
        if (ngx_mdvr_link_due(link->close_at) && !link->lookup) {
            ngx_mdvr_refusal("timeout");
            ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                          "mdvr: not registered in time");
            ngx_mdvr_link_close(link, "not registered in time", 0);
        }
        break;

    case NGX_MDVR_LINK_ONLINE:

        if (ngx_mdvr_link_due(link->last_recv + link->conf->idle_timeout)) {
            ngx_mdvr_refusal("timeout");
            ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                          "mdvr: silent for %M ms",
                          link->conf->idle_timeout);
            ngx_mdvr_link_close(link, "silent", 0);
            break;
        }

        serial = mdvr_str(link->serial, link->serial_len);

        if (ngx_mdvr_link_due(link->route_at + NGX_MDVR_SIG_ROUTE)) {
            ngx_str_t  name = { link->serial_len, link->serial };

            link->route_at = ngx_current_msec;

            if (ngx_mdvr_registry_check(&link->claim) != NGX_OK) {
                ngx_mdvr_link_close(link, "replaced", 0);
                break;
            }

            ngx_mdvr_route_refresh(&name, link->connection->number);
            ngx_mdvr_sig_recheck(link);
            ngx_mdvr_task_held(link);
        }

        if (link->state != NGX_MDVR_LINK_ONLINE) {
            break;
        }

        if (ngx_mdvr_link_due(link->last_sent + link->conf->heartbeat)) {
            (void) ngx_mdvr_link_write(link,
                       mdvr_str(number, ngx_mdvr_link_number(link, number)),
                       MDVR_STR("C501"), serial, MDVR_STR(""),
                       link->utc_offset, MDVR_STR(""));
        }

        break;
    }

    if (link->tail_len && !link->lookup && !link->paused
        && link->state != NGX_MDVR_LINK_CLOSING)
    {
        ngx_mdvr_link_incomplete(link);
    }

    if (link->draining && link->state != NGX_MDVR_LINK_CLOSING
        && ngx_mdvr_link_due(link->drain_at))
    {
        if (link->nstores) {
            link->drain_at = ngx_current_msec + 500;

        } else {
            ngx_mdvr_link_close(link, "server reload", 1);
        }
    }

    ngx_mdvr_link_done(link);
}


static void
ngx_mdvr_link_incomplete(ngx_mdvr_link_t *link)
{
    u_char            *buf;
    mdvr_rc_t          rc;
    const u_char      *pos, *last;
    mdvr_frame_msg_t   msg;

    buf = ngx_mdvr_sig.scratch;

    ngx_memcpy(buf, link->tail, link->tail_len);
    pos = buf;
    last = buf + link->tail_len;

    if (ngx_mdvr_link_due(link->stale_since + MDVR_FRAME_STALE_MS)) {

        ngx_mdvr_refusal("stale");
        rc = mdvr_frame_stale(&link->frame, &pos, last);

        if (rc != MDVR_OK) {
            ngx_mdvr_refusal("syntax");
            ngx_mdvr_link_close(link, "incomplete message", 0);
            return;
        }

        ngx_mdvr_link_parse(link, pos, last);
        link->stale_since = ngx_current_msec;
        return;
    }

    if (last[-1] == '#'
        && ngx_mdvr_link_due(link->last_recv + MDVR_FRAME_IDLE_MS)
        && mdvr_frame_idle(&link->frame, &pos, last, &msg) == MDVR_OK)
    {
        ngx_mdvr_refusal("length");

        link->busy = 1;

        if (ngx_mdvr_sig_message(link, msg.content) == NGX_AGAIN) {
            link->busy = 0;
            return;                     /* kept as it is; idle comes again */
        }

        link->busy = 0;
        ngx_mdvr_link_parse(link, pos, last);
    }
}


static void
ngx_mdvr_link_arm(ngx_mdvr_link_t *link)
{
    ngx_msec_t    at;
    ngx_event_t  *rev;

#define ngx_mdvr_link_earlier(t)                                              \
    if ((ngx_msec_int_t) ((t) - at) < 0) {                                    \
        at = (t);                                                             \
    }

    rev = link->connection->read;

    if (link->state == NGX_MDVR_LINK_ONLINE) {
        at = link->last_recv + link->conf->idle_timeout;
        ngx_mdvr_link_earlier(link->last_sent + link->conf->heartbeat);
        ngx_mdvr_link_earlier(link->route_at + NGX_MDVR_SIG_ROUTE);

    } else {
        at = link->close_at;

        if (link->lookup && ngx_mdvr_link_due(at)) {
            at = ngx_current_msec + 1000;   /* its own deadline ends it */
        }
    }

    if (link->tail_len && !link->lookup && !link->paused
        && link->state != NGX_MDVR_LINK_CLOSING)
    {
        ngx_mdvr_link_earlier(link->stale_since + MDVR_FRAME_STALE_MS);

        if (link->tail[link->tail_len - 1] == '#'
            && !ngx_mdvr_link_due(link->last_recv + MDVR_FRAME_IDLE_MS))
        {
            ngx_mdvr_link_earlier(link->last_recv + MDVR_FRAME_IDLE_MS);
        }
    }

    if (link->draining && link->state != NGX_MDVR_LINK_CLOSING) {
        ngx_mdvr_link_earlier(link->drain_at);
    }

#undef ngx_mdvr_link_earlier

    if (rev->timer_set && (ngx_msec_int_t) (rev->timer.key - at) <= 0) {
        return;
    }

    ngx_add_timer(rev, ngx_mdvr_link_due(at) ? 1 : at - ngx_current_msec);
}


/* -- output --------------------------------------------------------------- */

ngx_int_t
ngx_mdvr_link_write(ngx_mdvr_link_t *link, mdvr_str_t number,
    mdvr_str_t keyword, mdvr_str_t serial, mdvr_str_t workstation,
    int16_t offset, mdvr_str_t body)
{
    mdvr_buf_t     b;
    mdvr_head_t    head;

    static u_char  buf[MDVR_FRAME_MAX];

    if (link->shut || link->dead) {
        return NGX_ERROR;
    }

    head.number = number;
    head.keyword = keyword;
    head.serial = serial;
    head.workstation = workstation;
    head.unix_s = ngx_time();
    head.offset_minutes = offset;

    b = mdvr_buf(buf, sizeof(buf));

    if (mdvr_write_message(&b, &head, body) != MDVR_OK) {
        ngx_log_error(NGX_LOG_ERR, link->connection->log, 0,
                      "mdvr: message %*s of %uz bytes does not fit",
                      keyword.len, keyword.p, body.len);
        return NGX_DECLINED;
    }

    return ngx_mdvr_link_send(link, b.p, b.len);
}


size_t
ngx_mdvr_link_number(ngx_mdvr_link_t *link, u_char *number)
{
    link->number = link->number == 65535 ? 1 : link->number + 1;

    return ngx_sprintf(number, "%ud", (ngx_uint_t) link->number) - number;
}


static ngx_int_t
ngx_mdvr_link_send(ngx_mdvr_link_t *link, u_char *p, size_t len)
{
    size_t             size, left;
    u_char            *out;
    ssize_t            n;
    ngx_connection_t  *c;

    c = link->connection;
    link->last_sent = ngx_current_msec;

    if (link->out_len == 0) {

        n = c->send(c, p, len);

        if (n == NGX_ERROR) {
            ngx_mdvr_link_close(link, "connection lost", 0);
            return NGX_ERROR;
        }

        if (n > 0) {
            ngx_mdvr_count_n(signaling_bytes_out_total, n);
            p += n;
            len -= n;
        }

        if (len == 0) {
            return NGX_OK;
        }
    }

    left = link->out_len - link->out_pos;

    if (left + len > link->conf->output_limit) {
        ngx_mdvr_refusal("slow_peer");
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "mdvr: device takes no more, %uz bytes unsent",
                      left + len);
        ngx_mdvr_link_close(link, "slow peer", 0);
        return NGX_ERROR;
    }

    if (left + len > link->out_size) {
        size = ngx_align(left + len, 1024);

        out = ngx_alloc(size, c->log);
        if (out == NULL) {
            ngx_mdvr_link_close(link, "out of memory", 0);
            return NGX_ERROR;
        }

        if (link->out) {
            ngx_memcpy(out, link->out + link->out_pos, left);
            ngx_free(link->out);
        }

        link->out = out;
        link->out_size = size;

    } else {
        ngx_memmove(link->out, link->out + link->out_pos, left);
    }

    ngx_memcpy(link->out + left, p, len);
    link->out_pos = 0;
    link->out_len = left + len;

    if (!c->write->timer_set) {
        ngx_add_timer(c->write, link->conf->send_timeout);
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_mdvr_link_close(link, "event failure", 0);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mdvr_link_write_handler(ngx_event_t *wev)
{
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_mdvr_link_t       *link;
    ngx_stream_session_t  *s;

    c = wev->data;
    s = c->data;
    link = ngx_stream_get_module_ctx(s, ngx_stream_mdvr_signaling_module);

    if (wev->timedout) {
        wev->timedout = 0;
        ngx_mdvr_refusal("slow_peer");
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "mdvr: device took nothing for %M ms",
                      link->conf->send_timeout);
        ngx_mdvr_link_close(link, "slow peer", 0);
        ngx_mdvr_link_done(link);
        return;
    }

    while (link->out_pos < link->out_len && !link->dead) {

        n = c->send(c, link->out + link->out_pos,
                    link->out_len - link->out_pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_mdvr_link_close(link, "connection lost", 0);
            break;
        }

        ngx_mdvr_count_n(signaling_bytes_out_total, n);
        link->out_pos += n;

        ngx_add_timer(wev, link->conf->send_timeout);
    }

    if (link->out_len && link->out_pos == link->out_len) {
        ngx_free(link->out);
        link->out = NULL;
        link->out_pos = 0;
        link->out_len = 0;
        link->out_size = 0;

        if (wev->timer_set) {
            ngx_del_timer(wev);
        }

        if (link->state == NGX_MDVR_LINK_CLOSING) {
            ngx_mdvr_link_shutdown(link);
        }
    }

    if (!link->dead && ngx_handle_write_event(wev, 0) != NGX_OK) {
        link->dead = 1;
    }

    ngx_mdvr_link_done(link);
}


/* -- life and death ------------------------------------------------------- */

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


static void
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
            || link->state == NGX_MDVR_LINK_CLOSING)
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
    }

    return p;
}
