
/*
 * A journal read back: one worker of the node at a time, from the beginning of
 * the file, until it is empty.
 *
 * Neighbours that the owner can store in one call are replayed as a group: it
 * is stored, or not, as a whole, and the place in the file moves behind all of
 * it at once.  A group that fails is replayed record by record.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_journal_parts.h"


#define NGX_MDVR_JOURNAL_SCAN        (64 * 1024)
#define NGX_MDVR_JOURNAL_PUNCH       (1024 * 1024)
#define NGX_MDVR_JOURNAL_TORN_TICKS  6
#define NGX_MDVR_JOURNAL_COUNT       4096       /* heads counted per tick */


static void ngx_mdvr_journal_next(ngx_mdvr_journal_t *j);
static void ngx_mdvr_journal_finish(ngx_mdvr_journal_t *j);
static off_t ngx_mdvr_journal_find(ngx_mdvr_journal_t *j, off_t from,
    off_t size);
static void ngx_mdvr_journal_count(ngx_mdvr_journal_t *j, off_t size);
static ngx_int_t ngx_mdvr_journal_read(ngx_mdvr_journal_t *j, off_t at,
    off_t size, ngx_mdvr_journal_record_t **found);
static ngx_int_t ngx_mdvr_journal_parse(ngx_mdvr_journal_record_t *record);
static void ngx_mdvr_journal_gather(ngx_mdvr_journal_t *j, off_t size);
static void ngx_mdvr_journal_forget(ngx_mdvr_journal_t *j);
static void ngx_mdvr_journal_set_aside(ngx_mdvr_journal_t *j,
    const ngx_mdvr_journal_record_t *record);


void
ngx_mdvr_journal_tick(ngx_event_t *ev)
{
    off_t                size;
    ngx_mdvr_journal_t  *j = ev->data;

    ngx_add_timer(ev, NGX_MDVR_JOURNAL_TICK);

    size = ngx_mdvr_journal_size(j);

    if (!j->replaying) {

        if (size == 0 || ngx_exiting
            || flock(j->lock_fd, LOCK_EX|LOCK_NB) == -1)
        {
            return;
        }

        j->replaying = 1;
        j->offset = 0;
        j->scanned = 0;
        j->punched = 0;
        j->depth = 0;
        j->singly = 0;
        j->torn_at = -1;

        ngx_log_error(NGX_LOG_NOTICE, j->log, 0,
                      "mdvr: replaying the %s journal, %O bytes",
                      j->name, size);
    }

    ngx_mdvr_journal_count(j, size);

    if (!j->busy) {
        ngx_mdvr_journal_next(j);
    }
}


/* counts rows by their heads, a bounded number per tick */

static void
ngx_mdvr_journal_count(ngx_mdvr_journal_t *j, off_t size)
{
    ngx_uint_t               n;
    ngx_mdvr_journal_head_t  head;

    if (j->scanned < j->offset) {
        j->scanned = j->offset;
        j->depth = 0;
    }

    for (n = 0; n < NGX_MDVR_JOURNAL_COUNT; n++) {

        if (j->scanned + NGX_MDVR_JOURNAL_HEAD > size
            || pread(j->fd, &head, NGX_MDVR_JOURNAL_HEAD, j->scanned)
               != NGX_MDVR_JOURNAL_HEAD
            || ngx_memcmp(head.key, j->key, 8) != 0
            || head.len > NGX_MDVR_JOURNAL_MAX_RECORD
            || j->scanned + NGX_MDVR_JOURNAL_HEAD + (off_t) head.len > size)
        {
            return;
        }

        j->scanned += NGX_MDVR_JOURNAL_HEAD + head.len;
        j->depth += head.rows;
    }
}


static void
ngx_mdvr_journal_next(ngx_mdvr_journal_t *j)
{
    off_t                       size, at;
    u_char                      first;
    ngx_int_t                   rc;
    ngx_mdvr_journal_record_t  *record;

    size = ngx_mdvr_journal_size(j);

    for ( ;; ) {

        if (j->offset >= size) {
            ngx_mdvr_journal_finish(j);
            return;
        }

        rc = ngx_mdvr_journal_read(j, j->offset, size, &record);

        if (rc == NGX_ERROR) {
            return;
        }

        if (rc == NGX_OK) {
            j->records = record;
            ngx_mdvr_journal_gather(j, size);

            j->busy = 1;
            j->inside = 1;

            if (record->next) {
                j->group(j, record);

            } else {
                j->replay(j, record->kind, record->params, record->nparams);
            }

            j->inside = 0;

            if (j->busy || j->retry) {
                return;
            }

            continue;
        }

        if (rc == NGX_AGAIN) {

            /* somebody is writing it, or it was torn by a crash */

            if (j->torn_at != size) {
                j->torn_at = size;
                j->torn_ticks = 0;
                return;
            }

            if (++j->torn_ticks < NGX_MDVR_JOURNAL_TORN_TICKS) {
                return;
            }
        }

        /* damaged; a hole at the beginning is none */

        at = ngx_mdvr_journal_find(j, j->offset + 1, size);

        if (j->offset != 0
            || (pread(j->fd, &first, 1, 0) == 1 && first != 0))
        {
            j->damaged++;
            ngx_log_error(NGX_LOG_ERR, j->log, 0,
                          "mdvr: %s journal: %O damaged bytes at %O skipped",
                          j->name, at - j->offset, j->offset);
        }

        j->offset = at;
    }
}


/*
 * The record at `at`, which the caller frees (ngx_free).  NGX_AGAIN: not all of
 * it is there.  NGX_DECLINED: there is none.  NGX_ERROR: no memory.
 */

static ngx_int_t
ngx_mdvr_journal_read(ngx_mdvr_journal_t *j, off_t at, off_t size,
    ngx_mdvr_journal_record_t **found)
{
    size_t                      len;
    ngx_mdvr_journal_head_t     head;
    ngx_mdvr_journal_record_t  *record;

    if (at + NGX_MDVR_JOURNAL_HEAD > size
        || pread(j->fd, &head, NGX_MDVR_JOURNAL_HEAD, at)
           != NGX_MDVR_JOURNAL_HEAD)
    {
        return NGX_AGAIN;
    }

    if (ngx_memcmp(head.key, j->key, 8) != 0
        || head.len > NGX_MDVR_JOURNAL_MAX_RECORD)
    {
        return NGX_DECLINED;
    }

    len = NGX_MDVR_JOURNAL_HEAD + head.len;

    if (at + (off_t) len > size) {
        return NGX_AGAIN;
    }

    record = ngx_alloc(sizeof(ngx_mdvr_journal_record_t) + len, j->log);
    if (record == NULL) {
        return NGX_ERROR;
    }

    record->next = NULL;
    record->data = (u_char *) (record + 1);
    record->size = len;
    record->kind = head.kind;
    record->rows = head.rows;
    record->nparams = head.params;

    if (pread(j->fd, record->data, len, at) != (ssize_t) len
        || ngx_crc32_long(record->data + 16, len - 16) != head.crc
        || ngx_mdvr_journal_parse(record) != NGX_OK)
    {
        ngx_free(record);
        return NGX_DECLINED;
    }

    *found = record;

    return NGX_OK;
}


/* The records behind the first one that can go with it. */

static void
ngx_mdvr_journal_gather(ngx_mdvr_journal_t *j, off_t size)
{
    off_t                       at;
    size_t                      bytes;
    ngx_uint_t                  n;
    ngx_mdvr_journal_record_t  *record, *last;

    last = j->records;

    if (j->joins == NULL || j->singly || !j->joins(last)) {
        return;
    }

    at = j->offset + last->size;
    bytes = last->size;

    for (n = 1; n < NGX_MDVR_JOURNAL_GROUP; n++) {

        if (at >= size
            || ngx_mdvr_journal_read(j, at, size, &record) != NGX_OK)
        {
            return;
        }

        if (bytes + record->size > NGX_MDVR_JOURNAL_GROUP_SIZE
            || !j->joins(record))
        {
            ngx_free(record);
            return;
        }

        at += record->size;
        bytes += record->size;

        last->next = record;
        last = record;
    }
}


static void
ngx_mdvr_journal_forget(ngx_mdvr_journal_t *j)
{
    ngx_mdvr_journal_record_t  *record;

    while (j->records) {
        record = j->records;
        j->records = record->next;
        ngx_free(record);
    }
}


/* first place at or after `from` where the key stands, else `size` */

static off_t
ngx_mdvr_journal_find(ngx_mdvr_journal_t *j, off_t from, off_t size)
{
    off_t     at;
    u_char   *p, *last;
    ssize_t   n;

    static u_char  buf[NGX_MDVR_JOURNAL_SCAN];

    at = lseek(j->fd, from, SEEK_DATA);

    if (at > from) {
        from = at;

    } else if (at == -1 && ngx_errno == ENXIO) {
        return size;
    }

    while (from + 8 <= size) {

        n = pread(j->fd, buf, NGX_MDVR_JOURNAL_SCAN, from);
        if (n < 8) {
            return size;
        }

        last = buf + n - 7;

        for (p = buf; p < last; p++) {
            if (*p == j->key[0] && ngx_memcmp(p, j->key, 8) == 0) {
                return from + (p - buf);
            }
        }

        from += n - 7;
    }

    return size;
}


static ngx_int_t
ngx_mdvr_journal_parse(ngx_mdvr_journal_record_t *record)
{
    u_char      *p, *last;
    uint32_t     len;
    ngx_uint_t   i;

    if (record->nparams > NGX_MDVR_JOURNAL_MAX_PARAMS) {
        return NGX_ERROR;
    }

    p = record->data + NGX_MDVR_JOURNAL_HEAD;
    last = record->data + record->size;

    for (i = 0; i < record->nparams; i++) {

        if (last - p < 4) {
            return NGX_ERROR;
        }

        ngx_memcpy(&len, p, 4);
        p += 4;

        if (len == 0xFFFFFFFF) {
            ngx_str_null(&record->params[i]);
            continue;
        }

        if ((size_t) (last - p) < len) {
            return NGX_ERROR;
        }

        record->params[i].data = p;
        record->params[i].len = len;
        p += len;
    }

    return NGX_OK;
}


void
ngx_mdvr_journal_replayed(ngx_mdvr_journal_t *j,
    ngx_mdvr_journal_verdict_e verdict)
{
    off_t                       upto;
    ngx_mdvr_journal_record_t  *record;

    j->busy = 0;
    j->retry = (verdict == NGX_MDVR_JOURNAL_RETRY);

    if (j->records == NULL) {
        return;
    }

    if (j->retry) {
        ngx_mdvr_journal_forget(j);
        return;                             /* the next tick tries again */
    }

    for (record = j->records; record; record = record->next) {

        if (verdict == NGX_MDVR_JOURNAL_SINGLY) {
            j->singly++;
            continue;
        }

        if (verdict == NGX_MDVR_JOURNAL_REFUSED) {
            ngx_mdvr_journal_set_aside(j, record);
            j->refused += record->rows;
        }

        if (j->singly) {
            j->singly--;
        }

        j->offset += record->size;
        j->replayed += record->rows;

        if (j->offset <= j->scanned) {
            j->depth -= ngx_min(j->depth, record->rows);
        }
    }

    ngx_mdvr_journal_forget(j);

    if (j->offset - j->punched >= NGX_MDVR_JOURNAL_PUNCH) {
        upto = j->offset & ~(off_t) 4095;

        (void) fallocate(j->fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE,
                         j->punched, upto - j->punched);
        j->punched = upto;
    }

    if (!j->inside) {
        ngx_mdvr_journal_next(j);
    }
}


static void
ngx_mdvr_journal_finish(ngx_mdvr_journal_t *j)
{
    off_t  size;

    if (flock(j->fd, LOCK_EX|LOCK_NB) == -1) {
        return;                             /* somebody is appending */
    }

    size = ngx_mdvr_journal_size(j);

    if (j->offset >= size) {

        if (ftruncate(j->fd, 0) == -1) {
            ngx_log_error(NGX_LOG_ALERT, j->log, ngx_errno,
                          "mdvr: cannot empty the %s journal", j->name);

        } else {
            (void) fdatasync(j->fd);

            ngx_log_error(NGX_LOG_NOTICE, j->log, 0,
                          "mdvr: %s journal replayed, %ui rows",
                          j->name, j->replayed);
        }

        j->replaying = 0;
        j->replayed = 0;
        j->depth = 0;
        (void) flock(j->lock_fd, LOCK_UN);
    }

    (void) flock(j->fd, LOCK_UN);
}


static void
ngx_mdvr_journal_set_aside(ngx_mdvr_journal_t *j,
    const ngx_mdvr_journal_record_t *record)
{
    u_char    path[NGX_MAX_PATH];
    ngx_fd_t  fd;

    ngx_snprintf(path, NGX_MAX_PATH, "%V.refused%Z", &j->path);

    fd = open((char *) path, O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, 0600);

    if (fd == NGX_INVALID_FILE
        || write(fd, record->data, record->size) != (ssize_t) record->size)
    {
        ngx_log_error(NGX_LOG_ALERT, j->log, ngx_errno,
                      "mdvr: cannot set aside a record of the %s journal",
                      j->name);
    } else {
        ngx_log_error(NGX_LOG_ERR, j->log, 0,
                      "mdvr: record of the %s journal refused, kept in \"%s\"",
                      j->name, path);
    }

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }
}
