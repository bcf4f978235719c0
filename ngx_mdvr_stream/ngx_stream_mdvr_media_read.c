/*
 * Bytes to messages.
 *
 * Between two messages a connection owns no buffer: the socket is read into
 * one scratch of the worker and parsed in place.  Only an incomplete message
 * is kept, in a buffer that grows with the bytes that really came, at most to
 * the limit of its type: who announces 4 MiB and sends 10 bytes costs a few
 * KiB.
 *
 * A frame comes in many segments, and waking for each of them is most of what a
 * stream costs.  While a message is known to lack a good deal the socket's low
 * water mark is raised, so that the kernel wakes us for a chunk of it, or for
 * its end.  While nobody follows a live stream the kernel collects a quarter of
 * a second of it; the first who does follow ends that at once.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"


#define NGX_STREAM_MDVR_MEDIA_SCRATCH  (256 * 1024)
#define NGX_STREAM_MDVR_MEDIA_CHUNK    (16 * 1024)
#define NGX_STREAM_MDVR_MEDIA_TURN     (1024 * 1024)    /* bytes per event */
#define NGX_STREAM_MDVR_MEDIA_LACK     2920             /* two segments */
#define NGX_STREAM_MDVR_MEDIA_SPARE    (256 * 1024)
#define NGX_STREAM_MDVR_MEDIA_HEAD     (64 * 1024)      /* of the scratch */
#define NGX_STREAM_MDVR_MEDIA_GULP     (8 * 1024)       /* in steps of this */
#define NGX_STREAM_MDVR_MEDIA_GULPS    8                /* at most */


static ngx_int_t ngx_stream_mdvr_media_parse(ngx_stream_mdvr_media_t *m,
    u_char *p, u_char *last);
static ngx_int_t ngx_stream_mdvr_media_room(ngx_stream_mdvr_media_t *m);
static int ngx_stream_mdvr_media_gulp(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_media_mark(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_media_discard(ngx_stream_mdvr_media_t *m);


/* what is read next comes behind the head: room for an incomplete message */

static u_char  ngx_stream_mdvr_media_scratch[NGX_STREAM_MDVR_MEDIA_HEAD
                                             + NGX_STREAM_MDVR_MEDIA_SCRATCH];

/* one buffer that is free waits for the next frame, still warm */

static u_char  *ngx_stream_mdvr_media_spare;
static size_t   ngx_stream_mdvr_media_spare_size;


void
ngx_stream_mdvr_media_read(ngx_event_t *rev)
{
    u_char                   *p;
    size_t                    size, turn;
    ssize_t                   n;
    ngx_int_t                 rc;
    ngx_connection_t         *c = rev->data;
    ngx_stream_session_t     *s = c->data;
    ngx_stream_mdvr_media_t  *m;

    m = ngx_stream_get_module_ctx(s, ngx_stream_mdvr_media_module);

    turn = 0;

    if (m->len && m->bytes == 0) {              /* from a preread phase */
        m->bytes = m->len;
        n = (ssize_t) m->len;
        p = m->buf;
        goto parse;
    }

    for ( ;; ) {

        if (m->state == NGX_STREAM_MDVR_MEDIA_LINGERING) {
            ngx_stream_mdvr_media_discard(m);
            return;
        }

        if (m->held && m->state == NGX_STREAM_MDVR_MEDIA_BOUND) {
            break;                              /* the tick goes on */
        }

        if (turn >= NGX_STREAM_MDVR_MEDIA_TURN) {
            ngx_post_event(rev, &ngx_posted_next_events);
            break;
        }

        if (m->len > NGX_STREAM_MDVR_MEDIA_HEAD) {
            if (ngx_stream_mdvr_media_room(m) != NGX_OK) {
                (void) ngx_stream_mdvr_media_close(m);
                return;
            }

            p = m->buf + m->len;
            size = m->cap - m->len;

        } else {
            p = ngx_stream_mdvr_media_scratch + NGX_STREAM_MDVR_MEDIA_HEAD;
            size = NGX_STREAM_MDVR_MEDIA_SCRATCH;
        }

        n = c->recv(c, p, size);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            m->eof = 1;
            (void) ngx_stream_mdvr_media_close(m);
            return;
        }

        m->heard = ngx_current_msec;
        m->bytes += n;
        turn += n;

        if (m->len > NGX_STREAM_MDVR_MEDIA_HEAD) {
            m->len += n;
            p = m->buf;
            n = (ssize_t) m->len;

        } else if (m->len) {
            p -= m->len;
            n += (ssize_t) m->len;
            ngx_memcpy(p, m->buf, m->len);
            ngx_stream_mdvr_media_free(m);
        }

    parse:

        if (m->state == NGX_STREAM_MDVR_MEDIA_STOPPING) {
            m->len = 0;                         /* nobody wants it any more */
            continue;
        }

        rc = ngx_stream_mdvr_media_parse(m, p, p + n);

        if (rc == NGX_ERROR) {
            (void) ngx_stream_mdvr_media_close(m);
            return;
        }
    }

    ngx_stream_mdvr_media_mark(m);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        (void) ngx_stream_mdvr_media_close(m);
    }
}


/* Takes all whole messages from [p, last) and keeps the rest. */

static ngx_int_t
ngx_stream_mdvr_media_parse(ngx_stream_mdvr_media_t *m, u_char *p,
    u_char *last)
{
    size_t             rest;
    ngx_int_t          rc;
    mdvr_rc_t          verdict;
    const uint8_t     *pos = p;
    mdvr_media_msg_t   msg;

    for ( ;; ) {

        verdict = mdvr_media_next(&m->parser, &pos, last, &msg);

        if (verdict == MDVR_AGAIN) {
            break;
        }

        if (verdict == MDVR_OK) {
            rc = ngx_stream_mdvr_media_message(m, &msg);

            if (rc == NGX_OK) {
                continue;
            }

            if (rc == NGX_DONE) {
                pos = last;
                break;
            }

            return NGX_ERROR;
        }

        if (verdict == MDVR_E_LEGACY) {
            return ngx_stream_mdvr_media_refuse(m, "legacy");
        }

        if (!m->parser.started
            && mdvr_media_first(pos, last) == MDVR_MEDIA_FIRST_BINARY)
        {
            return ngx_stream_mdvr_media_refuse(m, "unregistered");
        }

        return ngx_stream_mdvr_media_refuse(m,
                                  verdict == MDVR_E_LIMIT ? "media_length"
                                                          : "media_syntax");
    }

    rest = last - pos;

    if (rest == 0) {
        ngx_stream_mdvr_media_free(m);
        return NGX_OK;
    }

    if (m->buf == NULL) {
        m->cap = ngx_align(rest, 1024);

        if (ngx_stream_mdvr_media_spare_size >= m->cap) {
            m->buf = ngx_stream_mdvr_media_spare;
            m->cap = ngx_stream_mdvr_media_spare_size;
            ngx_stream_mdvr_media_spare = NULL;
            ngx_stream_mdvr_media_spare_size = 0;

        } else {
            m->buf = ngx_alloc(m->cap, m->connection->log);
            if (m->buf == NULL) {
                return NGX_ERROR;
            }
        }

        ngx_memcpy(m->buf, pos, rest);

    } else if (pos != m->buf) {
        ngx_memmove(m->buf, pos, rest);
    }

    m->len = rest;

    return NGX_OK;
}


/*
 * Makes room behind an incomplete message: twice what is there, but not more
 * than the message needs (and a chunk for what follows it).
 */

static ngx_int_t
ngx_stream_mdvr_media_room(ngx_stream_mdvr_media_t *m)
{
    size_t   cap, need;
    u_char  *buf;

    if (m->cap - m->len >= 4096) {
        return NGX_OK;
    }

    need = ngx_max(m->parser.need, m->len) + NGX_STREAM_MDVR_MEDIA_CHUNK;
    cap = ngx_min(m->len * 2 + NGX_STREAM_MDVR_MEDIA_CHUNK, need);

    buf = ngx_alloc(cap, m->connection->log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(buf, m->buf, m->len);
    ngx_free(m->buf);

    m->buf = buf;
    m->cap = cap;

    return NGX_OK;
}


/*
 * What may come together: a quarter of a second's bytes of a live stream that
 * nobody follows, in steps, so that it does not change all the time.  1: no more
 * than what there is.
 */

static int
ngx_stream_mdvr_media_gulp(ngx_stream_mdvr_media_t *m)
{
    size_t  steps;

    if (m->gulp <= NGX_STREAM_MDVR_MEDIA_CHUNK
        || m->state != NGX_STREAM_MDVR_MEDIA_BOUND
        || m->kind != &ngx_stream_mdvr_media_live || m->info->live_ms == 0
        || mdvr_bus_followed(ngx_mdvr_bus(), m->ref, mdvr_bus_clock_ms()))
    {
        return 1;
    }

    steps = ngx_min(m->gulp / NGX_STREAM_MDVR_MEDIA_GULP,
                    NGX_STREAM_MDVR_MEDIA_GULPS);

    if ((int) ((steps + 1) * NGX_STREAM_MDVR_MEDIA_GULP) == m->mark
        || (steps > 1
            && (int) ((steps - 1) * NGX_STREAM_MDVR_MEDIA_GULP) == m->mark))
    {
        return m->mark;                         /* as good as what is set */
    }

    return (int) (steps * NGX_STREAM_MDVR_MEDIA_GULP);
}


void
ngx_stream_mdvr_media_look(ngx_stream_mdvr_media_t *m)
{
    ngx_event_t  *rev = m->connection->read;

    if (m->mark == 1) {
        return;
    }

    /* no event has told of it: have the kernel asked all the same */

    rev->ready = 1;
    rev->available = -1;

    ngx_post_event(rev, &ngx_posted_events);
}


/*
 * Not more than a chunk at a time: a slow device is to be seen alive.  The
 * kernel keeps the mark below half of its buffer.
 */

static void
ngx_stream_mdvr_media_mark(ngx_stream_mdvr_media_t *m)
{
    int  mark;

    mark = ngx_stream_mdvr_media_gulp(m);

    if (mark == 1 && m->len && m->parser.need > m->len + NGX_STREAM_MDVR_MEDIA_LACK) {
        mark = (int) ngx_min(m->parser.need - m->len,
                             NGX_STREAM_MDVR_MEDIA_CHUNK);
    }

    if (mark == m->mark) {
        return;
    }

    if (setsockopt(m->connection->fd, SOL_SOCKET, SO_RCVLOWAT,
                   (const void *) &mark, sizeof(int))
        == 0)
    {
        m->mark = mark;
    }
}


void
ngx_stream_mdvr_media_free(ngx_stream_mdvr_media_t *m)
{
    if (m->buf && m->cap > ngx_stream_mdvr_media_spare_size
        && m->cap <= NGX_STREAM_MDVR_MEDIA_SPARE)
    {
        if (ngx_stream_mdvr_media_spare) {
            ngx_free(ngx_stream_mdvr_media_spare);
        }

        ngx_stream_mdvr_media_spare = m->buf;
        ngx_stream_mdvr_media_spare_size = m->cap;

    } else if (m->buf) {
        ngx_free(m->buf);
    }

    m->buf = NULL;

    m->len = 0;
    m->cap = 0;
}


/* Our side is shut: wait for the peer's end. */

static void
ngx_stream_mdvr_media_discard(ngx_stream_mdvr_media_t *m)
{
    size_t             turn;
    ssize_t            n;
    ngx_connection_t  *c = m->connection;

    for (turn = 0; turn < NGX_STREAM_MDVR_MEDIA_TURN; turn += n) {

        n = c->recv(c, ngx_stream_mdvr_media_scratch,
                    NGX_STREAM_MDVR_MEDIA_SCRATCH);

        if (n == NGX_AGAIN) {
            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                break;
            }

            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            break;
        }
    }

    m->eof = 1;
    (void) ngx_stream_mdvr_media_close(m);
}
