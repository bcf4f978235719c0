/*
 * Redis from the event loop.
 *
 * hiredis formats commands and parses replies; the bytes are moved by nginx.
 * (hiredis' own asynchronous context has neither timers nor a bound on its
 * output, and moves the whole buffer at each partial write.)
 *
 * Two links: commands, answered strictly in order, and subscriptions.  Each is
 * pinged every 5 s of silence and given up after 5 s more: a stopped Redis
 * looks just like a slow one.
 *
 * A replica is as good as none: it takes publications, but nobody hears them.
 * So each link asks for the server's role first, the commands' link again every
 * 5 s, and a READONLY answer ends both at once: they come back when the address
 * is a master's.
 */

#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_tie.h"

#include <ngx_event_connect.h>


#define NGX_MDVR_REDIS_OUT          (4 * 1024 * 1024)
#define NGX_MDVR_REDIS_OUT_DROP     (1024 * 1024)
#define NGX_MDVR_REDIS_KEEP         65536   /* output buffer kept when empty */
#define NGX_MDVR_REDIS_GATHER       3       /* ms that a droppable message may */
#define NGX_MDVR_REDIS_GATHER_SIZE  16384   /* wait for others, and bytes */

#define NGX_MDVR_REDIS_CONNECT      3000    /* ms */
#define NGX_MDVR_REDIS_PING         5000
#define NGX_MDVR_REDIS_BACKOFF_MIN  100
#define NGX_MDVR_REDIS_BACKOFF_MAX  3000

#define NGX_MDVR_REDIS_BUCKETS      1024    /* channels, a power of two */


typedef enum {
    redis_idle = 0,         /* no socket; backing off */
    redis_connecting,
    redis_greeting,         /* AUTH and SELECT are under way */
    redis_ready
} ngx_mdvr_redis_state_e;


typedef struct {
    ngx_mdvr_redis_state_e    state;
    ngx_uint_t                sub;           /* the link of subscriptions */
    ngx_peer_connection_t     peer;
    ngx_connection_t         *c;
    redisReader              *reader;
    ngx_queue_t               fifo;          /* commands, oldest first */
    ngx_uint_t                greetings;     /* answers still to come */
    ngx_uint_t                no_role;       /* it may not be asked */
    ngx_event_t               timer;
    ngx_msec_t                backoff;
    ngx_msec_t                heard;         /* last time it said anything */
    ngx_uint_t                pinged;

    u_char                   *out;
    size_t                    size;
    size_t                    head;          /* out[head..tail) is to be sent */
    size_t                    tail;
} ngx_mdvr_redis_link_t;


typedef struct {
    ngx_mdvr_tie_t            tie;
    ngx_queue_t               queue;         /* fifo of the link, or refused */
    ngx_event_t               timer;
    ngx_mdvr_redis_done_pt    done;          /* NULL: nobody waits */
    void                     *data;
    ngx_uint_t                refused;
} ngx_mdvr_redis_req_t;


typedef struct ngx_mdvr_redis_reg_s  ngx_mdvr_redis_reg_t;

struct ngx_mdvr_redis_reg_s {
    ngx_mdvr_redis_reg_t       *next;
    ngx_mdvr_redis_message_pt   handler;     /* NULL: removed */
    void                       *data;
    ngx_uint_t                  told;        /* the gap notice was given */
};


typedef struct ngx_mdvr_redis_channel_s  ngx_mdvr_redis_channel_t;

struct ngx_mdvr_redis_channel_s {
    ngx_mdvr_redis_channel_t  *next;
    ngx_mdvr_redis_reg_t      *regs;
    uint32_t                   hash;
    ngx_uint_t                 busy;         /* its handlers are running */
    ngx_uint_t                 live;         /* Redis has confirmed */
    ngx_str_t                  name;
};


static ngx_int_t ngx_mdvr_redis_append(ngx_mdvr_redis_link_t *link,
    ngx_int_t argc, const char **argv, const size_t *lens);
static ngx_int_t ngx_mdvr_redis_format(ngx_mdvr_redis_link_t *link,
    ngx_int_t argc, const char **argv, const size_t *lens);
static void ngx_mdvr_redis_leave(ngx_mdvr_redis_link_t *link,
    ngx_uint_t gather);
static void ngx_mdvr_redis_gathered(ngx_event_t *ev);
static void ngx_mdvr_redis_refuse(ngx_event_t *ev);
static void ngx_mdvr_redis_deadline(ngx_event_t *ev);
static void ngx_mdvr_redis_gone(ngx_mdvr_tie_t *tie);
static void ngx_mdvr_redis_answer(ngx_mdvr_redis_req_t *req,
    const redisReply *reply, mdvr_rc_t rc);
static void ngx_mdvr_redis_connect(ngx_mdvr_redis_link_t *link);
static void ngx_mdvr_redis_greet(ngx_mdvr_redis_link_t *link);
static void ngx_mdvr_redis_ready(ngx_mdvr_redis_link_t *link);
static void ngx_mdvr_redis_close(ngx_mdvr_redis_link_t *link,
    const char *why);
static void ngx_mdvr_redis_write_handler(ngx_event_t *wev);
static void ngx_mdvr_redis_read_handler(ngx_event_t *rev);
static void ngx_mdvr_redis_timer(ngx_event_t *ev);
static ngx_int_t ngx_mdvr_redis_reply(ngx_mdvr_redis_link_t *link,
    redisReply *reply);
static ngx_int_t ngx_mdvr_redis_role(ngx_mdvr_redis_link_t *link,
    const redisReply *reply);
static void ngx_mdvr_redis_asked_role(void *data, const redisReply *reply,
    mdvr_rc_t rc);
static void ngx_mdvr_redis_pushed(const redisReply *reply);
static void ngx_mdvr_redis_tell(ngx_mdvr_redis_channel_t *channel,
    const ngx_str_t *msg);
static ngx_mdvr_redis_channel_t **ngx_mdvr_redis_channel(
    const ngx_str_t *name);
static void ngx_mdvr_redis_tidy(ngx_mdvr_redis_channel_t *channel);
static void ngx_mdvr_redis_subscription(const char *verb,
    const ngx_str_t *name);


static ngx_mdvr_redis_link_t      ngx_mdvr_redis_cmd;
static ngx_mdvr_redis_link_t      ngx_mdvr_redis_sub;
static ngx_event_t                ngx_mdvr_redis_gather;
static ngx_queue_t                ngx_mdvr_redis_refused;
static ngx_event_t                ngx_mdvr_redis_refuse_event;
static ngx_mdvr_redis_channel_t  *ngx_mdvr_redis_channels
                                                  [NGX_MDVR_REDIS_BUCKETS];

/*
 * From the configuration, in its memory: a worker takes that of its cycle,
 * since the master has parsed another one when a reload was refused.  The
 * strings are zero-terminated.
 */

typedef struct {
    ngx_sockaddr_t                addr;
    socklen_t                     addrlen;
    ngx_str_t                     name;
    ngx_str_t                     user;
    ngx_str_t                     password;
    ngx_int_t                     db;
} ngx_mdvr_redis_place_t;

static ngx_uint_t                 ngx_mdvr_redis_configured;
static ngx_mdvr_redis_place_t     ngx_mdvr_redis_place;


/* -- configuration ------------------------------------------------------- */

static char *
ngx_mdvr_redis_read_password(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *word)
{
    u_char      buf[1024];
    ssize_t     n;
    ngx_fd_t    fd;

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", path);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    (void) ngx_close_file(fd);

    while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r')) {
        n--;
    }

    if (n <= 0 || n == sizeof(buf)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" does not hold a password", path);
        return NGX_CONF_ERROR;
    }

    word->len = n;
    word->data = ngx_pnalloc(cf->pool, n + 1);
    if (word->data == NULL) {
        return NGX_CONF_ERROR;
    }

    *ngx_cpymem(word->data, buf, n) = '\0';

    if (ngx_mdvr_is_example(word)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the password in \"%V\" is an example, or shorter "
                           "than 8 characters", path);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * unix:<path>[?db=N] or redis://[[user][:password]@]<numeric address>[:port]
 * [/db].  A name would have to be resolved, which blocks.
 */

char *
ngx_mdvr_redis_conf(ngx_conf_t *cf, ngx_mdvr_core_conf_t *conf)
{
    u_char     *p, *last, *at, *colon, *slash;
    ngx_str_t   address;
    ngx_url_t   url;

    ngx_mdvr_redis_place.db = 0;
    ngx_str_null(&ngx_mdvr_redis_place.user);
    ngx_str_null(&ngx_mdvr_redis_place.password);

    address = conf->redis_url;
    last = address.data + address.len;

    if (ngx_strncmp(address.data, "unix:", 5) == 0) {

        p = ngx_strlchr(address.data, last, '?');

        if (p) {
            if (last - p < 5 || ngx_strncmp(p, "?db=", 4) != 0) {
                goto invalid;
            }

            ngx_mdvr_redis_place.db = ngx_atoi(p + 4, last - p - 4);
            address.len = p - address.data;
        }

    } else if (ngx_strncmp(address.data, "redis://", 8) == 0) {

        p = address.data + 8;
        at = NULL;

        for (slash = p; slash < last; slash++) {
            if (*slash == '@') {
                at = slash;
            }
        }

        if (at) {
            colon = ngx_strlchr(p, at, ':');

            if (colon) {
                ngx_mdvr_redis_place.password.len = at - colon - 1;
                ngx_mdvr_redis_place.password.data = ngx_pstrdup(cf->pool,
                    &(ngx_str_t) { at - colon - 1, colon + 1 });
                at = colon;
            }

            if (at > p) {
                ngx_mdvr_redis_place.user.len = at - p;
                ngx_mdvr_redis_place.user.data = p;
            }

            while (*at != '@') {
                at++;
            }

            p = at + 1;
        }

        slash = ngx_strlchr(p, last, '/');

        if (slash) {
            if (slash + 1 < last) {
                ngx_mdvr_redis_place.db = ngx_atoi(slash + 1, last - slash - 1);
            }

            last = slash;
        }

        address.data = p;
        address.len = last - p;

    } else {
        goto invalid;
    }

    if (ngx_mdvr_redis_place.db == NGX_ERROR || ngx_mdvr_redis_place.db > 15) {
        goto invalid;
    }

    ngx_memzero(&url, sizeof(ngx_url_t));
    url.url = address;
    url.default_port = 6379;
    url.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &url) != NGX_OK || url.naddrs == 0) {
        goto invalid;
    }

    ngx_memcpy(&ngx_mdvr_redis_place.addr, url.addrs[0].sockaddr,
               url.addrs[0].socklen);
    ngx_mdvr_redis_place.addrlen = url.addrs[0].socklen;
    ngx_mdvr_redis_place.name = url.addrs[0].name;

    if (conf->redis_password_file.len
        && ngx_mdvr_redis_read_password(cf, &conf->redis_password_file,
                                        &ngx_mdvr_redis_place.password)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    conf->redis_place = ngx_palloc(cf->pool, sizeof(ngx_mdvr_redis_place_t));

    if (conf->redis_place == NULL) {
        return NGX_CONF_ERROR;
    }

    *(ngx_mdvr_redis_place_t *) conf->redis_place = ngx_mdvr_redis_place;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid address in \"mdvr_redis\": it must be "
                       "unix:<path> or redis://<numeric address>:<port>");

    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_mdvr_redis_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    ngx_uint_t              i;
    ngx_mdvr_redis_link_t  *link;

    ngx_queue_init(&ngx_mdvr_redis_refused);

    ngx_mdvr_redis_configured = conf->redis_place != NULL;

    if (conf->redis_place) {
        ngx_mdvr_redis_place = *(ngx_mdvr_redis_place_t *) conf->redis_place;
    }

    ngx_mdvr_redis_refuse_event.handler = ngx_mdvr_redis_refuse;
    ngx_mdvr_redis_refuse_event.log = cycle->log;

    ngx_mdvr_redis_gather.handler = ngx_mdvr_redis_gathered;
    ngx_mdvr_redis_gather.data = &ngx_mdvr_redis_cmd;
    ngx_mdvr_redis_gather.log = cycle->log;

    for (i = 0; i < 2; i++) {
        link = i ? &ngx_mdvr_redis_sub : &ngx_mdvr_redis_cmd;

        link->sub = i;
        link->timer.handler = ngx_mdvr_redis_timer;
        link->timer.data = link;
        link->timer.log = cycle->log;
        link->timer.cancelable = 1;
        ngx_queue_init(&link->fifo);

        if (ngx_mdvr_redis_configured) {
            ngx_mdvr_redis_connect(link);
        }
    }

    return NGX_OK;
}


void
ngx_mdvr_redis_exit(void)
{
    ngx_uint_t              i;
    ngx_mdvr_redis_link_t  *link;

    for (i = 0; i < 2; i++) {
        link = i ? &ngx_mdvr_redis_sub : &ngx_mdvr_redis_cmd;

        if (link->c) {

            /* last words, as far as the socket takes them */

            if (link->tail > link->head) {
                (void) link->c->send(link->c, link->out + link->head,
                                     link->tail - link->head);
            }

            ngx_close_connection(link->c);
            link->c = NULL;
        }
    }
}


ngx_uint_t
ngx_mdvr_redis_up(void)
{
    return ngx_mdvr_redis_cmd.state == redis_ready
           && ngx_mdvr_redis_sub.state == redis_ready;
}


/* -- commands ------------------------------------------------------------ */

ngx_int_t
ngx_mdvr_redis_command(ngx_pool_t *pool, ngx_msec_t timeout, ngx_int_t argc,
    const char **argv, const size_t *lens, ngx_mdvr_redis_done_pt done,
    void *data)
{
    ngx_mdvr_redis_req_t   *req;
    ngx_mdvr_redis_link_t  *link;

    link = &ngx_mdvr_redis_cmd;

    req = ngx_calloc(sizeof(ngx_mdvr_redis_req_t), ngx_cycle->log);
    if (req == NULL) {
        return NGX_ERROR;
    }

    req->done = done;
    req->data = data;
    req->timer.handler = ngx_mdvr_redis_deadline;
    req->timer.data = req;
    req->timer.log = ngx_cycle->log;

    if (ngx_mdvr_tie(pool, &req->tie, ngx_mdvr_redis_gone) != NGX_OK) {
        ngx_free(req);
        return NGX_ERROR;
    }

    if (link->state != redis_ready
        || link->tail - link->head > NGX_MDVR_REDIS_OUT
        || ngx_mdvr_redis_append(link, argc, argv, lens) != NGX_OK)
    {
        req->refused = 1;
        ngx_queue_insert_tail(&ngx_mdvr_redis_refused, &req->queue);
        ngx_post_event(&ngx_mdvr_redis_refuse_event, &ngx_posted_events);
        return NGX_OK;
    }

    ngx_queue_insert_tail(&link->fifo, &req->queue);

    if (done) {
        ngx_add_timer(&req->timer, ngx_max(timeout, 1));
    }

    ngx_mdvr_count(redis_commands_total);

    return NGX_OK;
}


ngx_int_t
ngx_mdvr_redis_publish(const ngx_str_t *channel, const ngx_str_t *msg,
    ngx_uint_t flags)
{
    size_t                  limit, lens[3];
    const char             *argv[3];
    ngx_mdvr_redis_req_t   *req;
    ngx_mdvr_redis_link_t  *link;

    link = &ngx_mdvr_redis_cmd;

    limit = (flags & NGX_MDVR_REDIS_DROPPABLE) ? NGX_MDVR_REDIS_OUT_DROP
                                               : NGX_MDVR_REDIS_OUT;

    argv[0] = "PUBLISH";
    lens[0] = 7;
    argv[1] = (char *) channel->data;
    lens[1] = channel->len;
    argv[2] = (char *) msg->data;
    lens[2] = msg->len;

    if (link->state != redis_ready || link->tail - link->head > limit) {
        ngx_mdvr_count(redis_dropped_total);
        return NGX_DECLINED;
    }

    /* its answer has a place in the order but interests nobody */

    req = ngx_calloc(sizeof(ngx_mdvr_redis_req_t), ngx_cycle->log);

    if (req == NULL
        || ngx_mdvr_redis_format(link, 3, argv, lens) != NGX_OK)
    {
        if (req) {
            ngx_free(req);
        }

        ngx_mdvr_count(redis_dropped_total);
        return NGX_DECLINED;
    }

    ngx_queue_insert_tail(&link->fifo, &req->queue);
    ngx_mdvr_redis_leave(link, flags & NGX_MDVR_REDIS_DROPPABLE);

    return NGX_OK;
}


static ngx_int_t
ngx_mdvr_redis_append(ngx_mdvr_redis_link_t *link, ngx_int_t argc,
    const char **argv, const size_t *lens)
{
    if (ngx_mdvr_redis_format(link, argc, argv, lens) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mdvr_redis_leave(link, 0);

    return NGX_OK;
}


/* straight into the output buffer */

static ngx_int_t
ngx_mdvr_redis_format(ngx_mdvr_redis_link_t *link, ngx_int_t argc,
    const char **argv, const size_t *lens)
{
    size_t      need, size, len;
    u_char     *p;
    ngx_int_t   i;

    need = NGX_INT_T_LEN + 3;

    for (i = 0; i < argc; i++) {
        need += NGX_INT_T_LEN + 5 + (lens ? lens[i] : ngx_strlen(argv[i]));
    }

    if (link->size - link->tail < need) {

        if (link->head) {
            ngx_memmove(link->out, link->out + link->head,
                        link->tail - link->head);
            link->tail -= link->head;
            link->head = 0;
        }

        if (link->size - link->tail < need) {
            size = ngx_max(link->size, 4096);

            while (size - link->tail < need) {
                size *= 2;
            }

            p = ngx_alloc(size, ngx_cycle->log);
            if (p == NULL) {
                return NGX_ERROR;
            }

            if (link->out) {
                ngx_memcpy(p, link->out, link->tail);
                ngx_free(link->out);
            }

            link->out = p;
            link->size = size;
        }
    }

    p = ngx_sprintf(link->out + link->tail, "*%i" CRLF, argc);

    for (i = 0; i < argc; i++) {
        len = lens ? lens[i] : ngx_strlen(argv[i]);
        p = ngx_sprintf(p, "$%uz" CRLF, len);
        p = ngx_cpymem(p, argv[i], len);
        *p++ = CR;
        *p++ = LF;
    }

    link->tail = p - link->out;

    return NGX_OK;
}


/*
 * The bytes leave at the end of this turn of the event loop, all in one write.
 * Live positions, which come one a turn, gather for a moment: a write, a
 * wake-up of Redis and its answer for each cost more than everything else.
 */

static void
ngx_mdvr_redis_leave(ngx_mdvr_redis_link_t *link, ngx_uint_t gather)
{
    if (link->state < redis_greeting) {
        return;
    }

    if (gather && link->tail - link->head < NGX_MDVR_REDIS_GATHER_SIZE) {

        if (!ngx_mdvr_redis_gather.timer_set) {
            ngx_add_timer(&ngx_mdvr_redis_gather, NGX_MDVR_REDIS_GATHER);
        }

        return;
    }

    ngx_post_event(link->c->write, &ngx_posted_events);
}


static void
ngx_mdvr_redis_gathered(ngx_event_t *ev)
{
    ngx_mdvr_redis_leave(ev->data, 0);
}


/* Commands that could not be sent are told so, but not from within the call. */

static void
ngx_mdvr_redis_refuse(ngx_event_t *ev)
{
    ngx_queue_t           *q;
    ngx_mdvr_redis_req_t  *req;

    while (!ngx_queue_empty(&ngx_mdvr_redis_refused)) {
        q = ngx_queue_head(&ngx_mdvr_redis_refused);
        req = ngx_queue_data(q, ngx_mdvr_redis_req_t, queue);

        ngx_queue_remove(q);
        ngx_mdvr_count(redis_errors_total);
        ngx_mdvr_redis_answer(req, NULL, MDVR_E_UNAVAILABLE);
        ngx_free(req);
    }
}


static void
ngx_mdvr_redis_answer(ngx_mdvr_redis_req_t *req, const redisReply *reply,
    mdvr_rc_t rc)
{
    ngx_mdvr_redis_done_pt  done;

    if (req->timer.timer_set) {
        ngx_del_timer(&req->timer);
    }

    ngx_mdvr_untie(&req->tie);

    done = req->done;
    req->done = NULL;

    if (done) {
        done(req->data, reply, rc);
    }
}


static void
ngx_mdvr_redis_deadline(ngx_event_t *ev)
{
    ngx_mdvr_count(redis_errors_total);
    ngx_mdvr_redis_answer(ev->data, NULL, MDVR_E_TIMEOUT);
}


static void
ngx_mdvr_redis_gone(ngx_mdvr_tie_t *tie)
{
    ngx_mdvr_redis_req_t  *req;

    req = (ngx_mdvr_redis_req_t *)
              ((u_char *) tie - offsetof(ngx_mdvr_redis_req_t, tie));

    req->done = NULL;

    if (req->timer.timer_set) {
        ngx_del_timer(&req->timer);
    }
}


/* -- links --------------------------------------------------------------- */

static ngx_int_t
ngx_mdvr_redis_get_peer(ngx_peer_connection_t *pc, void *data)
{
    return NGX_OK;
}


static void
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


static void
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


/* Both: what one was told holds for the other. */

static void
ngx_mdvr_redis_demoted(ngx_mdvr_redis_link_t *link)
{
    ngx_mdvr_redis_link_t  *other;

    static const char  why[] = "it is a replica, not the master";

    other = link->sub ? &ngx_mdvr_redis_cmd : &ngx_mdvr_redis_sub;

    if (other->state == redis_ready) {
        ngx_mdvr_redis_close(other, why);
    }

    ngx_mdvr_redis_close(link, why);
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


static void
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


/* -- subscriptions ------------------------------------------------------- */

static void
ngx_mdvr_redis_subscription(const char *verb, const ngx_str_t *name)
{
    size_t       lens[2];
    const char  *argv[2];

    if (ngx_mdvr_redis_sub.state != redis_ready) {
        return;                         /* ready() does all of them */
    }

    argv[0] = verb;
    lens[0] = ngx_strlen(verb);
    argv[1] = (char *) name->data;
    lens[1] = name->len;

    if (ngx_mdvr_redis_append(&ngx_mdvr_redis_sub, 2, argv, lens) != NGX_OK) {
        ngx_mdvr_redis_close(&ngx_mdvr_redis_sub, "no memory");
    }
}


static ngx_mdvr_redis_channel_t **
ngx_mdvr_redis_channel(const ngx_str_t *name)
{
    uint32_t                    hash;
    ngx_mdvr_redis_channel_t  **pp;

    hash = ngx_murmur_hash2(name->data, name->len);

    for (pp = &ngx_mdvr_redis_channels[hash % NGX_MDVR_REDIS_BUCKETS];
         *pp;
         pp = &(*pp)->next)
    {
        if ((*pp)->hash == hash && (*pp)->name.len == name->len
            && ngx_memcmp((*pp)->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    return pp;
}


ngx_int_t
ngx_mdvr_redis_subscribe(const ngx_str_t *name,
    ngx_mdvr_redis_message_pt handler, void *data)
{
    ngx_mdvr_redis_reg_t       *reg, **last;
    ngx_mdvr_redis_channel_t   *channel, **pp;

    pp = ngx_mdvr_redis_channel(name);
    channel = *pp;

    reg = ngx_calloc(sizeof(ngx_mdvr_redis_reg_t), ngx_cycle->log);
    if (reg == NULL) {
        return NGX_ERROR;
    }

    reg->handler = handler;
    reg->data = data;

    if (channel == NULL) {
        channel = ngx_calloc(sizeof(ngx_mdvr_redis_channel_t) + name->len,
                             ngx_cycle->log);
        if (channel == NULL) {
            ngx_free(reg);
            return NGX_ERROR;
        }

        channel->hash = ngx_murmur_hash2(name->data, name->len);
        channel->name.len = name->len;
        channel->name.data = (u_char *) (channel + 1);
        ngx_memcpy(channel->name.data, name->data, name->len);
        *pp = channel;

        ngx_mdvr_redis_subscription("SUBSCRIBE", &channel->name);

    } else if (channel->live) {

        /* Redis confirms again, which tells the newcomer where it begins */

        ngx_mdvr_redis_subscription("SUBSCRIBE", &channel->name);
    }

    for (last = &channel->regs; *last; last = &(*last)->next) { /* void */ }

    *last = reg;

    return NGX_OK;
}


void
ngx_mdvr_redis_unsubscribe(const ngx_str_t *name,
    ngx_mdvr_redis_message_pt handler, void *data)
{
    ngx_mdvr_redis_reg_t      *reg;
    ngx_mdvr_redis_channel_t  *channel;

    channel = *ngx_mdvr_redis_channel(name);

    if (channel == NULL) {
        return;
    }

    for (reg = channel->regs; reg; reg = reg->next) {
        if (reg->handler == handler && reg->data == data) {
            reg->handler = NULL;
            break;
        }
    }

    if (!channel->busy) {
        ngx_mdvr_redis_tidy(channel);
    }
}


/* Frees what was removed; a channel without handlers is unsubscribed. */

static void
ngx_mdvr_redis_tidy(ngx_mdvr_redis_channel_t *channel)
{
    ngx_mdvr_redis_reg_t      *reg, **pp;
    ngx_mdvr_redis_channel_t  **cp;

    pp = &channel->regs;

    while (*pp) {
        reg = *pp;

        if (reg->handler) {
            pp = &reg->next;
            continue;
        }

        *pp = reg->next;
        ngx_free(reg);
    }

    if (channel->regs) {
        return;
    }

    ngx_mdvr_redis_subscription("UNSUBSCRIBE", &channel->name);

    cp = ngx_mdvr_redis_channel(&channel->name);
    *cp = channel->next;
    ngx_free(channel);
}


static void
ngx_mdvr_redis_pushed(const redisReply *reply)
{
    ngx_str_t                  kind, name, msg;
    ngx_mdvr_redis_channel_t  *channel;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        return;                         /* "pong" */
    }

    kind.data = (u_char *) reply->element[0]->str;
    kind.len = reply->element[0]->len;
    name.data = (u_char *) reply->element[1]->str;
    name.len = reply->element[1]->len;

    channel = *ngx_mdvr_redis_channel(&name);

    if (channel == NULL) {
        return;                         /* unsubscribed meanwhile */
    }

    if (kind.len == 7 && ngx_memcmp(kind.data, "message", 7) == 0) {
        msg.data = (u_char *) reply->element[2]->str;
        msg.len = reply->element[2]->len;

        ngx_mdvr_redis_tell(channel, &msg);

    } else if (kind.len == 9 && ngx_memcmp(kind.data, "subscribe", 9) == 0) {

        if (!channel->live) {
            ngx_mdvr_redis_reg_t  *reg;

            for (reg = channel->regs; reg; reg = reg->next) {
                reg->told = 0;
            }
        }

        channel->live = 1;
        ngx_mdvr_redis_tell(channel, NULL);
    }
}


static void
ngx_mdvr_redis_tell(ngx_mdvr_redis_channel_t *channel, const ngx_str_t *msg)
{
    ngx_mdvr_redis_reg_t  *reg;

    channel->busy = 1;

    for (reg = channel->regs; reg; reg = reg->next) {

        if (reg->handler == NULL) {
            continue;
        }

        if (msg) {
            if (reg->told) {
                reg->handler(reg->data, &channel->name, msg);
            }

        } else if (!reg->told) {
            reg->told = 1;
            reg->handler(reg->data, &channel->name, NULL);
        }
    }

    channel->busy = 0;

    ngx_mdvr_redis_tidy(channel);
}
