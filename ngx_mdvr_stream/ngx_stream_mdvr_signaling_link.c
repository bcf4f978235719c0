
/*
 * One TCP connection on the signaling port: bytes in, bytes out, timers.  How it
 * begins and ends is in _life.c.
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
 *   LEAVING, CLOSING  close_at        the peer had its time
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_route.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"


static void ngx_mdvr_link_discard(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_parse(ngx_mdvr_link_t *link, const u_char *pos,
    const u_char *last);
static void ngx_mdvr_link_keep(ngx_mdvr_link_t *link, const u_char *pos,
    const u_char *last, ngx_uint_t moved);
static void ngx_mdvr_link_done(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_timer(ngx_mdvr_link_t *link);
static void ngx_mdvr_link_incomplete(ngx_mdvr_link_t *link);
static ngx_int_t ngx_mdvr_link_send(ngx_mdvr_link_t *link, u_char *p,
    size_t len);


void
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


void
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

        room = link->state == NGX_MDVR_LINK_NEW ? MDVR_FRAME_MAX + 2
                                                : NGX_MDVR_SIG_READ;

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

static void
ngx_mdvr_link_timer(ngx_mdvr_link_t *link)
{
    u_char      number[8];
    mdvr_str_t  serial;

    switch (link->state) {

    case NGX_MDVR_LINK_LEAVING:
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
                ngx_mdvr_sig_replaced(link, NULL);
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

    if (link->draining && link->state < NGX_MDVR_LINK_LEAVING
        && ngx_mdvr_link_due(link->drain_at))
    {
        if (link->nstores) {
            link->drain_at = ngx_current_msec + 500;

        } else if (link->state == NGX_MDVR_LINK_ONLINE) {
            ngx_mdvr_link_see_off(link);

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


void
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

    if (link->draining && link->state < NGX_MDVR_LINK_LEAVING) {
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

    ngx_mdvr_sig_wire(link, 1, keyword, body);

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


void
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

        if (link->state >= NGX_MDVR_LINK_LEAVING) {
            ngx_mdvr_link_shutdown(link);
        }
    }

    if (!link->dead && ngx_handle_write_event(wev, 0) != NGX_OK) {
        link->dead = 1;
    }

    ngx_mdvr_link_done(link);
}
