
/*
 * Whether the storage of media is there, for /readyz: a folder must be open to us
 * on a volume with some room, an S3 endpoint must accept a connection.
 *
 * Either can take its time, a dead network file system for ever, so a thread
 * looks.  An answer is kept for two seconds: however often /readyz is asked, one
 * thread is busy with it.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_s3.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_storage.h"
#include "ngx_mdvr_core/ngx_mdvr_http.h"

#include <netdb.h>
#include <poll.h>
#include <sys/statvfs.h>


#define NGX_HTTP_MDVR_API_STORAGE_KEPT     2000         /* ms */
#define NGX_HTTP_MDVR_API_STORAGE_CONNECT  1500         /* ms */
#define NGX_HTTP_MDVR_API_STORAGE_ROOM     (16 << 20)   /* bytes */


typedef struct {
    ngx_http_request_t                  *r;
    ngx_mdvr_storage_done_pt             done;
    void                                *data;
    const ngx_http_mdvr_api_loc_conf_t  *conf;
    ngx_int_t                            good;
    ngx_event_t                          soon;
} ngx_http_mdvr_api_storage_t;


static ngx_int_t ngx_http_mdvr_api_storage_check(ngx_http_request_t *r,
    ngx_mdvr_storage_done_pt done, void *data);
static void ngx_http_mdvr_api_storage_known(ngx_event_t *ev);


/* of the configuration that is being read, and of the one in use */

static const ngx_http_mdvr_api_loc_conf_t  *ngx_http_mdvr_api_storage_next;
static const ngx_http_mdvr_api_loc_conf_t  *ngx_http_mdvr_api_storage_conf;

static ngx_int_t   ngx_http_mdvr_api_storage_last;
static ngx_msec_t  ngx_http_mdvr_api_storage_at;
static ngx_msec_t  ngx_http_mdvr_api_storage_began;
static ngx_uint_t  ngx_http_mdvr_api_storage_asked;
static ngx_uint_t  ngx_http_mdvr_api_storage_busy;


void
ngx_http_mdvr_api_storage_set(const ngx_http_mdvr_api_loc_conf_t *conf)
{
    ngx_http_mdvr_api_storage_next = conf;
}


ngx_int_t
ngx_http_mdvr_api_storage_init(ngx_cycle_t *cycle)
{
    ngx_http_mdvr_api_storage_conf = ngx_http_mdvr_api_storage_next;
    ngx_http_mdvr_api_storage_next = NULL;

    ngx_mdvr_http_storage(ngx_http_mdvr_api_storage_conf
                          ? ngx_http_mdvr_api_storage_check : NULL);

    return NGX_OK;
}


static ngx_int_t
ngx_http_mdvr_api_storage_folder(const char *path)
{
    struct statvfs  fs;

    return access(path, R_OK|X_OK) == 0 && statvfs(path, &fs) == 0
           && (uint64_t) fs.f_bavail * fs.f_frsize
              >= NGX_HTTP_MDVR_API_STORAGE_ROOM;
}


static ngx_int_t
ngx_http_mdvr_api_storage_connect(const struct addrinfo *ai)
{
    int            fd, error, n;
    socklen_t      len;
    struct pollfd  pfd;

    fd = socket(ai->ai_family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return 0;
    }

    error = 0;

    if (connect(fd, ai->ai_addr, ai->ai_addrlen) == -1) {
        error = errno;

        if (error == EINPROGRESS) {
            pfd.fd = fd;
            pfd.events = POLLOUT;

            n = poll(&pfd, 1, NGX_HTTP_MDVR_API_STORAGE_CONNECT);
            len = sizeof(error);

            if (n != 1
                || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
            {
                error = ETIMEDOUT;
            }
        }
    }

    (void) close(fd);

    return error == 0;
}


/* "host:port" of the endpoint into `host`, zero-terminated; its port */

static char *
ngx_http_mdvr_api_storage_host(const ngx_http_mdvr_api_s3_t *s3, char *host,
    size_t size)
{
    char  *port;

    ngx_cpystrn((u_char *) host, s3->host.data, ngx_min(s3->host.len + 1, size));

    port = strrchr(host, ':');

    if (port && strchr(port, ']') == NULL) {
        *port++ = '\0';
        return port;
    }

    return s3->endpoint.len > 5 && s3->endpoint.data[4] == 's' ? "443" : "80";
}


/* in a thread */

static void
ngx_http_mdvr_api_storage_look(void *data, ngx_log_t *log)
{
    ngx_http_mdvr_api_storage_t *s = data;

    char              host[256], *port;
    struct addrinfo   hints, *list, *ai;

    s->good = 0;

    if (s->conf->s3 == NULL) {
        s->good = ngx_http_mdvr_api_storage_folder((char *)
                                                   s->conf->objects.data);
        return;
    }

    port = ngx_http_mdvr_api_storage_host(s->conf->s3, host, sizeof(host));

    ngx_memzero(&hints, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;

    if (getaddrinfo(host, port, &hints, &list) != 0) {
        return;
    }

    for (ai = list; ai && !s->good; ai = ai->ai_next) {
        s->good = ngx_http_mdvr_api_storage_connect(ai);
    }

    freeaddrinfo(list);
}


static void
ngx_http_mdvr_api_storage_looked(ngx_event_t *ev)
{
    ngx_http_request_t           *r;
    ngx_http_mdvr_api_storage_t  *s = ev->data;

    r = s->r;
    r->main->blocked--;
    r->aio = 0;

    ngx_http_mdvr_api_storage_busy = 0;
    ngx_http_mdvr_api_storage_asked = 1;
    ngx_http_mdvr_api_storage_at = ngx_current_msec;
    ngx_http_mdvr_api_storage_last = s->good;

    s->done(s->data, s->good);
}


static void
ngx_http_mdvr_api_storage_known(ngx_event_t *ev)
{
    ngx_http_mdvr_api_storage_t *s = ev->data;

    s->done(s->data, ngx_http_mdvr_api_storage_last);
}


static void
ngx_http_mdvr_api_storage_forget(void *data)
{
    ngx_http_mdvr_api_storage_t *s = data;

    if (s->soon.posted) {
        ngx_delete_posted_event(&s->soon);
    }
}


/* the last answer, from the event loop; a look that hangs is no good sign */

static ngx_int_t
ngx_http_mdvr_api_storage_later(ngx_http_request_t *r,
    ngx_http_mdvr_api_storage_t *s)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_mdvr_api_storage_forget;
    cln->data = s;

    s->soon.handler = ngx_http_mdvr_api_storage_known;
    s->soon.data = s;
    s->soon.log = r->connection->log;

    ngx_post_event(&s->soon, &ngx_posted_events);

    return NGX_OK;
}


static ngx_int_t
ngx_http_mdvr_api_storage_check(ngx_http_request_t *r,
    ngx_mdvr_storage_done_pt done, void *data)
{
    ngx_thread_task_t            *task;
    ngx_http_mdvr_api_storage_t  *s;

    task = ngx_thread_task_alloc(r->pool, sizeof(ngx_http_mdvr_api_storage_t));
    if (task == NULL) {
        return NGX_ERROR;
    }

    s = task->ctx;
    s->r = r;
    s->done = done;
    s->data = data;
    s->conf = ngx_http_mdvr_api_storage_conf;

    if (ngx_http_mdvr_api_storage_busy) {

        if (ngx_current_msec - ngx_http_mdvr_api_storage_began
            > 2 * NGX_HTTP_MDVR_API_STORAGE_KEPT)
        {
            ngx_http_mdvr_api_storage_last = 0;
        }

        return ngx_http_mdvr_api_storage_later(r, s);
    }

    if (ngx_http_mdvr_api_storage_asked
        && ngx_current_msec - ngx_http_mdvr_api_storage_at
           < NGX_HTTP_MDVR_API_STORAGE_KEPT)
    {
        return ngx_http_mdvr_api_storage_later(r, s);
    }

    task->handler = ngx_http_mdvr_api_storage_look;
    task->event.handler = ngx_http_mdvr_api_storage_looked;
    task->event.data = s;
    task->event.log = r->connection->log;

    if (ngx_thread_task_post(s->conf->password_pool, task) != NGX_OK) {
        return ngx_http_mdvr_api_storage_later(r, s);
    }

    ngx_http_mdvr_api_storage_busy = 1;
    ngx_http_mdvr_api_storage_began = ngx_current_msec;
    r->main->blocked++;
    r->aio = 1;

    return NGX_OK;
}
