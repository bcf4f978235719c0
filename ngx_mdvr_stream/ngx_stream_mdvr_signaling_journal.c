
/*
 * The journal file, shared by all workers of a node.
 *
 *   0  key       8 bytes   random, made once per file (<path>.key)
 *   8  length    uint32    bytes of the body, host order
 *  12  crc       uint32    CRC-32 of everything after it up to the body's end
 *  16  rows      uint16
 *  18  kind      uint8
 *  19  params    uint8
 *  20  body      per param: uint32 length (0xFFFFFFFF is null), bytes
 *
 * Every worker appends with O_APPEND under a shared flock(); one of them, who
 * holds the flock() on <path>.lock, replays from the start and, when it has
 * reached the end, empties the file under an exclusive flock().  Space that
 * was replayed is given back with holes.  After a crash the replay starts at
 * the first byte that is not in a hole and looks for the key: bytes of a
 * device cannot imitate a record because they cannot know the key.  A record
 * may then be replayed twice; what it calls is idempotent.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_journal_parts.h"


typedef struct {
    ngx_fd_t                      fd;
    ngx_err_t                     err;
} ngx_mdvr_journal_sync_t;


static ngx_int_t ngx_mdvr_journal_key(ngx_mdvr_journal_t *j);
static void ngx_mdvr_journal_sync(ngx_mdvr_journal_t *j);
static void ngx_mdvr_journal_sync_thread(void *data, ngx_log_t *log);
static void ngx_mdvr_journal_sync_done(ngx_event_t *ev);


ngx_int_t
ngx_mdvr_journal_open(ngx_mdvr_journal_t *j)
{
    u_char  path[NGX_MAX_PATH];

    j->fd = NGX_INVALID_FILE;
    j->lock_fd = NGX_INVALID_FILE;
    j->waiting_last = &j->waiting;

    if (ngx_mdvr_journal_key(j) != NGX_OK) {
        return NGX_ERROR;
    }

    j->fd = open((char *) j->path.data, O_RDWR|O_CREAT|O_APPEND|O_CLOEXEC,
                 0600);
    if (j->fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ALERT, j->log, ngx_errno,
                      "mdvr: cannot open %s journal \"%V\"",
                      j->name, &j->path);
        return NGX_ERROR;
    }

    ngx_snprintf(path, NGX_MAX_PATH, "%V.lock%Z", &j->path);

    j->lock_fd = open((char *) path, O_RDWR|O_CREAT|O_CLOEXEC, 0600);
    if (j->lock_fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ALERT, j->log, ngx_errno,
                      "mdvr: cannot open \"%s\"", path);
        return NGX_ERROR;
    }

    if (j->threads) {
        j->task = ngx_calloc(sizeof(ngx_thread_task_t)
                             + sizeof(ngx_mdvr_journal_sync_t), j->log);
        if (j->task == NULL) {
            return NGX_ERROR;
        }

        j->task->ctx = j->task + 1;
        j->task->handler = ngx_mdvr_journal_sync_thread;
        j->task->event.handler = ngx_mdvr_journal_sync_done;
        j->task->event.data = j;
        j->task->event.log = j->log;
    }

    j->tick.handler = ngx_mdvr_journal_tick;
    j->tick.data = j;
    j->tick.log = j->log;
    j->tick.cancelable = 1;

    ngx_add_timer(&j->tick, NGX_MDVR_JOURNAL_TICK);

    return NGX_OK;
}


void
ngx_mdvr_journal_close(ngx_mdvr_journal_t *j)
{
    if (j->tick.timer_set) {
        ngx_del_timer(&j->tick);
    }

    if (j->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(j->fd);
        j->fd = NGX_INVALID_FILE;
    }

    if (j->lock_fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(j->lock_fd);
        j->lock_fd = NGX_INVALID_FILE;
    }
}


/* the key appears whole or not at all: link() of a finished file */

static ngx_int_t
ngx_mdvr_journal_key(ngx_mdvr_journal_t *j)
{
    int         i;
    u_char      path[NGX_MAX_PATH], tmp[NGX_MAX_PATH];
    ssize_t     n;
    ngx_fd_t    fd;

    ngx_snprintf(path, NGX_MAX_PATH, "%V.key%Z", &j->path);
    ngx_snprintf(tmp, NGX_MAX_PATH, "%V.key.%P%Z", &j->path, ngx_pid);

    for (i = 0; i < 2; i++) {

        fd = open((char *) path, O_RDONLY|O_CLOEXEC);

        if (fd != NGX_INVALID_FILE) {
            n = read(fd, j->key, 8);
            (void) ngx_close_file(fd);

            if (n == 8) {
                return NGX_OK;
            }

            break;
        }

        if (ngx_errno != NGX_ENOENT) {
            break;
        }

        for (n = 0; n < 8; n++) {
            j->key[n] = (u_char) (0x80 | (ngx_random() >> 8));
        }

        fd = open((char *) tmp, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0600);
        if (fd == NGX_INVALID_FILE) {
            break;
        }

        n = write(fd, j->key, 8);
        (void) fsync(fd);
        (void) ngx_close_file(fd);

        if (n == 8) {
            (void) link((char *) tmp, (char *) path);
        }

        (void) ngx_delete_file(tmp);
    }

    ngx_log_error(NGX_LOG_ALERT, j->log, ngx_errno,
                  "mdvr: cannot read or make the key \"%s\" of the %s journal",
                  path, j->name);

    return NGX_ERROR;
}


off_t
ngx_mdvr_journal_size(ngx_mdvr_journal_t *j)
{
    ngx_file_info_t  fi;

    if (ngx_fd_info(j->fd, &fi) == NGX_FILE_ERROR) {
        return 0;
    }

    return ngx_file_size(&fi);
}


ngx_uint_t
ngx_mdvr_journal_empty(ngx_mdvr_journal_t *j)
{
    return j->fd == NGX_INVALID_FILE || ngx_mdvr_journal_size(j) == 0;
}


ngx_int_t
ngx_mdvr_journal_append(ngx_mdvr_journal_t *j, ngx_uint_t kind,
    ngx_str_t *params, ngx_uint_t n, ngx_uint_t rows,
    ngx_mdvr_journal_waiter_t *w)
{
    u_char                   *p, *buf;
    size_t                    len;
    ssize_t                   sent;
    uint32_t                  plen;
    ngx_err_t                 err;
    ngx_uint_t                i;
    ngx_file_info_t           fi;
    ngx_mdvr_journal_head_t   head;

    if (j->fd == NGX_INVALID_FILE || n > NGX_MDVR_JOURNAL_MAX_PARAMS) {
        return NGX_ERROR;
    }

    if (ngx_fd_info(j->fd, &fi) != NGX_FILE_ERROR
        && (off_t) fi.st_blocks * 512 > j->limit)
    {
        if (!j->full_logged) {
            j->full_logged = 1;
            ngx_log_error(NGX_LOG_ERR, j->log, 0,
                          "mdvr: %s journal is full at %O bytes",
                          j->name, j->limit);
        }

        return NGX_BUSY;
    }

    len = NGX_MDVR_JOURNAL_HEAD;

    for (i = 0; i < n; i++) {
        len += 4 + (params[i].data ? params[i].len : 0);
    }

    if (len > NGX_MDVR_JOURNAL_MAX_RECORD) {
        return NGX_ERROR;
    }

    buf = ngx_alloc(len, j->log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(head.key, j->key, 8);
    head.len = (uint32_t) (len - NGX_MDVR_JOURNAL_HEAD);
    head.rows = (uint16_t) rows;
    head.kind = (uint8_t) kind;
    head.params = (uint8_t) n;

    p = buf + NGX_MDVR_JOURNAL_HEAD;

    for (i = 0; i < n; i++) {
        plen = params[i].data ? (uint32_t) params[i].len : 0xFFFFFFFF;
        p = ngx_cpymem(p, &plen, 4);

        if (params[i].data) {
            p = ngx_cpymem(p, params[i].data, params[i].len);
        }
    }

    ngx_memcpy(buf, &head, NGX_MDVR_JOURNAL_HEAD);

    head.crc = ngx_crc32_long(buf + 16, len - 16);
    ngx_memcpy(buf + 12, &head.crc, 4);

    /* never waits for long: the other side truncates and lets go */

    while (flock(j->fd, LOCK_SH) == -1 && ngx_errno == NGX_EINTR) { /* void */ }

    sent = write(j->fd, buf, len);
    err = ngx_errno;

    (void) flock(j->fd, LOCK_UN);

    ngx_free(buf);

    if (sent != (ssize_t) len) {
        ngx_log_error(NGX_LOG_ALERT, j->log, sent == -1 ? err : 0,
                      "mdvr: cannot append to the %s journal", j->name);
        return NGX_ERROR;
    }

    j->appended += rows;
    j->full_logged = 0;

    if (w) {
        w->next = NULL;
        *j->waiting_last = w;
        j->waiting_last = &w->next;

        ngx_mdvr_journal_sync(j);
    }

    return NGX_OK;
}


/* one fdatasync() covers everybody who appended before it began */

static void
ngx_mdvr_journal_sync(ngx_mdvr_journal_t *j)
{
    ngx_mdvr_journal_sync_t    *ctx;
    ngx_mdvr_journal_waiter_t  *w, *next;

    if (j->sync_busy || j->waiting == NULL) {
        return;
    }

    j->syncing = j->waiting;
    j->waiting = NULL;
    j->waiting_last = &j->waiting;

    ctx = j->task->ctx;
    ctx->fd = j->fd;
    ctx->err = 0;

    if (ngx_thread_task_post(j->threads, j->task) == NGX_OK) {
        j->sync_busy = 1;
        return;
    }

    for (w = j->syncing; w; w = next) {
        next = w->next;

        if (w->handler) {
            w->handler(w->data, 0);
        }

        ngx_free(w);
    }

    j->syncing = NULL;
}


static void
ngx_mdvr_journal_sync_thread(void *data, ngx_log_t *log)
{
    ngx_mdvr_journal_sync_t  *ctx = data;

    ctx->err = fdatasync(ctx->fd) == -1 ? ngx_errno : 0;
}


static void
ngx_mdvr_journal_sync_done(ngx_event_t *ev)
{
    ngx_mdvr_journal_t         *j = ev->data;
    ngx_mdvr_journal_sync_t    *ctx;
    ngx_mdvr_journal_waiter_t  *w, *next;

    ctx = j->task->ctx;
    ev->complete = 0;
    j->sync_busy = 0;

    if (ctx->err) {
        ngx_log_error(NGX_LOG_ALERT, j->log, ctx->err,
                      "mdvr: cannot sync the %s journal", j->name);
    }

    w = j->syncing;
    j->syncing = NULL;

    for ( /* void */ ; w; w = next) {
        next = w->next;

        if (w->handler) {
            w->handler(w->data, ctx->err == 0);
        }

        ngx_free(w);
    }

    ngx_mdvr_journal_sync(j);
}
