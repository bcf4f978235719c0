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

#include "ngx_mdvr_core/ngx_mdvr_redis_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_REDIS_OUT          (4 * 1024 * 1024)
#define NGX_MDVR_REDIS_OUT_DROP     (1024 * 1024)
#define NGX_MDVR_REDIS_GATHER       3       /* ms that a droppable message may */
#define NGX_MDVR_REDIS_GATHER_SIZE  16384   /* wait for others, and bytes */


static ngx_int_t ngx_mdvr_redis_format(ngx_mdvr_redis_link_t *link,
    ngx_int_t argc, const char **argv, const size_t *lens);
static void ngx_mdvr_redis_leave(ngx_mdvr_redis_link_t *link,
    ngx_uint_t gather);
static void ngx_mdvr_redis_gathered(ngx_event_t *ev);
static void ngx_mdvr_redis_refuse(ngx_event_t *ev);
static void ngx_mdvr_redis_deadline(ngx_event_t *ev);
static void ngx_mdvr_redis_gone(ngx_mdvr_tie_t *tie);


ngx_mdvr_redis_link_t       ngx_mdvr_redis_cmd;
ngx_mdvr_redis_link_t       ngx_mdvr_redis_sub;
ngx_mdvr_redis_place_t      ngx_mdvr_redis_place;

static ngx_event_t          ngx_mdvr_redis_gather;
static ngx_queue_t          ngx_mdvr_redis_refused;
static ngx_event_t          ngx_mdvr_redis_refuse_event;
static ngx_uint_t           ngx_mdvr_redis_configured;


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


ngx_int_t
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


void
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


/* Both: what one was told holds for the other. */

void
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
