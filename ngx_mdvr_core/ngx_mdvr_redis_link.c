/*
 * The two links to Redis: connecting, greeting, bytes in and out, time.
 */

#include "ngx_mdvr_core/ngx_mdvr_redis_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_REDIS_KEEP         65536   /* output buffer kept when empty */

#define NGX_MDVR_REDIS_CONNECT      3000    /* ms */
#define NGX_MDVR_REDIS_PING         5000
#define NGX_MDVR_REDIS_BACKOFF_MIN  100
#define NGX_MDVR_REDIS_BACKOFF_MAX  3000


static void ngx_mdvr_redis_greet(ngx_mdvr_redis_link_t *link);
static void ngx_mdvr_redis_write_handler(ngx_event_t *wev);
static void ngx_mdvr_redis_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_mdvr_redis_reply(ngx_mdvr_redis_link_t *link,
    redisReply *reply);


static ngx_int_t
ngx_mdvr_redis_get_peer(ngx_peer_connection_t *pc, void *data)
{
    return NGX_OK;
}


void
ngx_mdvr_redis_connect(ngx_mdvr_redis_link_t *link)
{
    ngx_int_t               rc;
    ngx_peer_connection_t  *pc;

    pc = &link->peer;

    ngx_memzero(pc, sizeof(ngx_peer_connection_t));

    pc->sockaddr = &ngx_mdvr_redis_place.addr.sockaddr;
    pc->socklen = ngx_mdvr_redis_place.addrlen;
    pc->name = &ngx_mdvr_redis_place.name;
    pc->get = ngx_mdvr_redis_get_peer;
    pc->log = ngx_cycle->log;
    pc->log_error = NGX_ERROR_INFO;

    link->reader = redisReaderCreate();
    if (link->reader == NULL) {
        ngx_mdvr_redis_close(link, "no memory");
        return;
    }

    rc = ngx_event_connect_peer(pc);

    link->c = pc->connection;

    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        ngx_mdvr_redis_close(link, "connect() failed");
        return;
    }

    link->c->data = link;
    link->c->read->handler = ngx_mdvr_redis_read_handler;
    link->c->write->handler = ngx_mdvr_redis_write_handler;
    link->state = redis_connecting;
    link->heard = ngx_current_msec;
    link->pinged = 0;

    ngx_add_timer(&link->timer, NGX_MDVR_REDIS_CONNECT);

    if (rc == NGX_OK) {
        ngx_mdvr_redis_greet(link);
    }
}


static void
ngx_mdvr_redis_greet(ngx_mdvr_redis_link_t *link)
{
    size_t       lens[3];
    ngx_int_t    n;
    u_char       db[NGX_INT_T_LEN];
    const char  *argv[3];

    link->state = redis_greeting;
    link->greetings = 0;

    if (ngx_mdvr_redis_place.password.len) {
        n = 0;
        argv[n] = "AUTH";
        lens[n++] = 4;

        if (ngx_mdvr_redis_place.user.len) {
            argv[n] = (char *) ngx_mdvr_redis_place.user.data;
            lens[n++] = ngx_mdvr_redis_place.user.len;
        }

        argv[n] = (char *) ngx_mdvr_redis_place.password.data;
        lens[n++] = ngx_mdvr_redis_place.password.len;

        (void) ngx_mdvr_redis_append(link, n, argv, lens);
        link->greetings++;
    }

    if (ngx_mdvr_redis_place.db) {
        argv[0] = "SELECT";
        lens[0] = 6;
        argv[1] = (char *) db;
        lens[1] = ngx_sprintf(db, "%i", ngx_mdvr_redis_place.db) - db;

        (void) ngx_mdvr_redis_append(link, 2, argv, lens);
        link->greetings++;
    }

    /* a server that is still loading its data, or a stopped one: not ready */

    argv[0] = "PING";
    lens[0] = 4;

    (void) ngx_mdvr_redis_append(link, 1, argv, lens);
    link->greetings++;

    argv[0] = "ROLE";

    (void) ngx_mdvr_redis_append(link, 1, argv, lens);
    link->greetings++;
}


static void
ngx_mdvr_redis_ready(ngx_mdvr_redis_link_t *link)
{
    ngx_uint_t                 i;
    ngx_mdvr_redis_channel_t  *channel;

    if (link->backoff) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "Redis (%s) is back",
                      link->sub ? "subscriptions" : "commands");
    }

    link->state = redis_ready;
    link->backoff = 0;

    ngx_add_timer(&link->timer, NGX_MDVR_REDIS_PING);

    ngx_mdvr_count(redis_connects_total);
    ngx_mdvr_gauge(redis_connections,
                   (ngx_mdvr_redis_cmd.state == redis_ready)
                   + (ngx_mdvr_redis_sub.state == redis_ready));

    if (!link->sub) {
        return;
    }

    for (i = 0; i < NGX_MDVR_REDIS_BUCKETS; i++) {
        for (channel = ngx_mdvr_redis_channels[i];
             channel;
             channel = channel->next)
        {
            ngx_mdvr_redis_subscription("SUBSCRIBE", &channel->name);
        }
    }
}


void
ngx_mdvr_redis_close(ngx_mdvr_redis_link_t *link, const char *why)
{
    ngx_uint_t                 i;
    ngx_msec_t                 wait;
    ngx_queue_t                fifo, *q;
    ngx_mdvr_redis_req_t      *req;
    ngx_mdvr_redis_channel_t  *channel;

    ngx_log_error((link->backoff ? NGX_LOG_INFO : NGX_LOG_ERR), ngx_cycle->log,
                  0, "Redis (%s) is away: %s",
                  link->sub ? "subscriptions" : "commands", why);

    if (link->c) {
        ngx_close_connection(link->c);
        link->c = NULL;
    }

    if (link->reader) {
        redisReaderFree(link->reader);
        link->reader = NULL;
    }

    if (link->out) {
        ngx_free(link->out);
        link->out = NULL;
    }

    link->size = 0;
    link->head = 0;
    link->tail = 0;
    link->state = redis_idle;

    if (link->backoff == 0) {
        link->backoff = NGX_MDVR_REDIS_BACKOFF_MIN;

    } else {
        link->backoff = ngx_min(link->backoff * 2, NGX_MDVR_REDIS_BACKOFF_MAX);
    }

    wait = link->backoff / 2 + ngx_random() % (link->backoff / 2 + 1);

    ngx_add_timer(&link->timer, wait);

    ngx_mdvr_gauge(redis_connections,
                   (ngx_mdvr_redis_cmd.state == redis_ready)
                   + (ngx_mdvr_redis_sub.state == redis_ready));

    if (link->sub) {
        for (i = 0; i < NGX_MDVR_REDIS_BUCKETS; i++) {
            for (channel = ngx_mdvr_redis_channels[i];
                 channel;
                 channel = channel->next)
            {
                channel->live = 0;
            }
        }
    }

    if (ngx_queue_empty(&link->fifo)) {
        return;
    }

    ngx_queue_init(&fifo);
    ngx_queue_add(&fifo, &link->fifo);
    ngx_queue_init(&link->fifo);

    while (!ngx_queue_empty(&fifo)) {
        q = ngx_queue_head(&fifo);
        req = ngx_queue_data(q, ngx_mdvr_redis_req_t, queue);

        ngx_queue_remove(q);
        ngx_mdvr_count(redis_errors_total);
        ngx_mdvr_redis_answer(req, NULL, MDVR_E_UNAVAILABLE);
        ngx_free(req);
    }
}


static ngx_int_t
ngx_mdvr_redis_connected(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    return err ? NGX_ERROR : NGX_OK;
}


static void
ngx_mdvr_redis_write_handler(ngx_event_t *wev)
{
    ssize_t                 n;
    ngx_connection_t       *c;
    ngx_mdvr_redis_link_t  *link;

    c = wev->data;
    link = c->data;

    if (link->state == redis_connecting) {

        if (ngx_mdvr_redis_connected(c) != NGX_OK) {
            ngx_mdvr_redis_close(link, "connect() failed");
            return;
        }

        ngx_mdvr_redis_greet(link);
    }

    while (link->head < link->tail) {

        n = c->send(c, link->out + link->head, link->tail - link->head);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_mdvr_redis_close(link, "send() failed");
            return;
        }

        link->head += n;
    }

    if (link->head == link->tail) {
        link->head = 0;
        link->tail = 0;

        if (link->size > NGX_MDVR_REDIS_KEEP) {
            ngx_free(link->out);
            link->out = NULL;
            link->size = 0;
        }
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_mdvr_redis_close(link, "no event");
    }
}


static void
ngx_mdvr_redis_read_handler(ngx_event_t *rev)
{
    void                   *reply;
    ssize_t                 n;
    ngx_uint_t              turns;
    ngx_connection_t       *c;
    ngx_mdvr_redis_link_t  *link;
    static u_char           buf[65536];

    c = rev->data;
    link = c->data;

    if (link->state == redis_connecting) {
        ngx_mdvr_redis_write_handler(c->write);

        if (link->c != c) {
            return;
        }
    }

    for (turns = 0; turns < 16; turns++) {

        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_mdvr_redis_close(link, "connection lost");
            return;
        }

        link->heard = ngx_current_msec;
        link->pinged = 0;

        if (redisReaderFeed(link->reader, (char *) buf, n) != REDIS_OK) {
            ngx_mdvr_redis_close(link, "no memory");
            return;
        }

        for ( ;; ) {
            reply = NULL;

            if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
                ngx_mdvr_redis_close(link, "reply is not understood");
                return;
            }

            if (reply == NULL) {
                break;
            }

            if (ngx_mdvr_redis_reply(link, reply) != NGX_OK) {
                freeReplyObject(reply);
                return;                 /* closed */
            }

            freeReplyObject(reply);

            if (link->c != c) {
                return;                 /* closed by a handler */
            }
        }
    }

    if (turns == 16) {
        ngx_post_event(rev, &ngx_posted_next_events);
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_mdvr_redis_close(link, "no event");
    }
}


/* NGX_ERROR: it is a replica, the link was closed. */

static ngx_int_t
ngx_mdvr_redis_role(ngx_mdvr_redis_link_t *link, const redisReply *reply)
{
    /* an ACL may refuse it: then nothing is known, and only READONLY tells */

    link->no_role = (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0
                     || reply->element[0]->type != REDIS_REPLY_STRING);

    if (link->no_role || ngx_strcmp(reply->element[0]->str, "master") == 0) {
        return NGX_OK;
    }

    ngx_mdvr_redis_demoted(link);

    return NGX_ERROR;
}


static void
ngx_mdvr_redis_asked_role(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    if (rc == MDVR_OK) {
        (void) ngx_mdvr_redis_role(data, reply);
    }
}


/* NGX_ERROR: the link was closed. */

static ngx_int_t
ngx_mdvr_redis_reply(ngx_mdvr_redis_link_t *link, redisReply *reply)
{
    ngx_queue_t           *q;
    ngx_mdvr_redis_req_t  *req;

    if (link->greetings) {

        if (link->greetings == 1) {         /* ROLE is the last one */
            if (ngx_mdvr_redis_role(link, reply) != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (reply->type == REDIS_REPLY_ERROR) {
            ngx_mdvr_redis_close(link, reply->str);
            return NGX_ERROR;
        }

        if (--link->greetings == 0) {
            ngx_mdvr_redis_ready(link);
        }

        return NGX_OK;
    }

    if (link->sub) {
        ngx_mdvr_redis_pushed(reply);
        return NGX_OK;
    }

    if (ngx_queue_empty(&link->fifo)) {
        return NGX_OK;                  /* the answer to our PING */
    }

    q = ngx_queue_head(&link->fifo);
    req = ngx_queue_data(q, ngx_mdvr_redis_req_t, queue);

    ngx_queue_remove(q);

    if (reply->type == REDIS_REPLY_ERROR
        && ngx_strncmp(reply->str, "READONLY", 8) == 0)
    {
        ngx_mdvr_count(redis_errors_total);
        ngx_mdvr_redis_answer(req, NULL, MDVR_E_UNAVAILABLE);
        ngx_free(req);

        ngx_mdvr_redis_demoted(link);
        return NGX_ERROR;
    }

    if (reply->type == REDIS_REPLY_ERROR
        && req->done != ngx_mdvr_redis_asked_role)
    {
        ngx_mdvr_count(redis_errors_total);
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "Redis answered \"%s\"", reply->str);
        ngx_mdvr_redis_answer(req, reply, MDVR_E_INTERNAL);

    } else {
        ngx_mdvr_redis_answer(req, reply, MDVR_OK);
    }

    ngx_free(req);

    return NGX_OK;
}


void
ngx_mdvr_redis_timer(ngx_event_t *ev)
{
    size_t                  len;
    const char             *ping;
    ngx_mdvr_redis_req_t   *req;
    ngx_mdvr_redis_link_t  *link;

    link = ev->data;

    switch (link->state) {

    case redis_idle:
        ngx_mdvr_redis_connect(link);
        return;

    case redis_connecting:
    case redis_greeting:
        ngx_mdvr_redis_close(link, "no answer");
        return;

    case redis_ready:
        break;
    }

    if (link->pinged) {
        ngx_mdvr_redis_close(link, "no answer");
        return;
    }

    if (ngx_current_msec - link->heard >= NGX_MDVR_REDIS_PING / 2
        || (!link->sub && !link->no_role))
    {
        ping = "PING";
        len = 4;

        if (!link->sub) {
            req = ngx_calloc(sizeof(ngx_mdvr_redis_req_t), ngx_cycle->log);
            if (req == NULL) {
                goto done;
            }

            if (!link->no_role) {
                ping = "ROLE";
                req->done = ngx_mdvr_redis_asked_role;
                req->data = link;
            }

            ngx_queue_insert_tail(&link->fifo, &req->queue);
        }

        if (ngx_mdvr_redis_append(link, 1, &ping, &len) != NGX_OK) {
            ngx_mdvr_redis_close(link, "no memory");
            return;
        }

        link->pinged = 1;
    }

done:

    ngx_add_timer(ev, NGX_MDVR_REDIS_PING);
}
