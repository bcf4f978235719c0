
/*
 * Position reports are stored in batches, so for up to 0.2 s, or for as long
 * as PostgreSQL thinks about a batch, they are in the memory of one worker
 * only, and a device does not repeat them.  Therefore each message is copied
 * to a mapped file of the worker before it goes into the batch: the pages
 * belong to the kernel, and what was written before kill -9 is in them,
 * whoever is killed.  A crash of the machine is another matter, as it is for
 * the spool: nothing is synced.
 *
 *   <path>.<n>   held by a flock(), which the kernel lets go with the process
 *
 *       0  head, one page: magic, segments, bytes of a segment
 *    4096  segments: uint64 bytes used, then records
 *
 *   record       uint32 length of all, int16 offset from UTC in minutes,
 *                uint16 flags, int64 received (unix ms), 16 bytes device id,
 *                the message; all in host order
 *
 * A segment is one batch; "used" moves when a record is complete and is zero
 * again when PostgreSQL has committed the batch or the spool has it.  A file
 * that can be locked and is not empty belongs to a worker that is gone: who
 * finds it (a new worker when it starts, else the chief within a second)
 * takes its messages into batches of its own and then empties it.  Dying
 * halfway leaves them in both files; they are stored once, like every report
 * that comes twice.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <sys/file.h>
#include <sys/mman.h>
#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_keep.h"


#define NGX_MDVR_KEEP_MAGIC    "mdvrkp01"
#define NGX_MDVR_KEEP_FILES    128
#define NGX_MDVR_KEEP_HEAD     4096
#define NGX_MDVR_KEEP_RECORD   32
#define NGX_MDVR_KEEP_MAX      (1024 * 1024 * 1024)

#define NGX_MDVR_KEEP_BUS      1            /* flags */


typedef struct {
    u_char                        magic[8];
    uint64_t                      segments;
    uint64_t                      size;
} ngx_mdvr_keep_head_t;


typedef struct {
    uint32_t                      len;
    int16_t                       utc_offset;
    uint16_t                      flags;
    int64_t                       received;
    ngx_mdvr_uuid_t               device_id;
} ngx_mdvr_keep_record_t;


struct ngx_mdvr_keep_s {
    ngx_mdvr_keep_t              *next;         /* free ones */
    volatile uint64_t            *used;
    u_char                       *data;
    size_t                        size;
};


static ngx_fd_t ngx_mdvr_keep_lock(ngx_uint_t n, ngx_uint_t create);
static ngx_int_t ngx_mdvr_keep_head(ngx_fd_t fd, ngx_mdvr_keep_head_t *head);
static ngx_uint_t ngx_mdvr_keep_empty(ngx_fd_t fd);
static ngx_int_t ngx_mdvr_keep_map(ngx_fd_t fd, ngx_uint_t segments,
    size_t size);
static ngx_int_t ngx_mdvr_keep_read(ngx_fd_t fd);
static ngx_uint_t ngx_mdvr_keep_records(const u_char *p, size_t len);


static ngx_str_t          ngx_mdvr_keep_path;
static ngx_log_t         *ngx_mdvr_keep_log;
static ngx_mdvr_keep_pt   ngx_mdvr_keep_handler;
static ngx_fd_t           ngx_mdvr_keep_fd = NGX_INVALID_FILE;
static ngx_uint_t         ngx_mdvr_keep_own;
static u_char            *ngx_mdvr_keep_mem;
static size_t             ngx_mdvr_keep_len;
static ngx_mdvr_keep_t   *ngx_mdvr_keep_segments;
static ngx_mdvr_keep_t   *ngx_mdvr_keep_free;


ngx_int_t
ngx_mdvr_keep_open(ngx_str_t *path, ngx_uint_t segments, size_t size,
    ngx_mdvr_keep_pt adopt, ngx_log_t *log)
{
    ngx_fd_t    fd;
    ngx_uint_t  n;

    ngx_mdvr_keep_path = *path;
    ngx_mdvr_keep_log = log;
    ngx_mdvr_keep_handler = adopt;

    size = ngx_align(size + sizeof(uint64_t), NGX_MDVR_KEEP_HEAD);

    /* an empty one: what others left is taken out of their files, not lost
     * by making them ours */

    for (n = 0; n < NGX_MDVR_KEEP_FILES; n++) {

        fd = ngx_mdvr_keep_lock(n, 1);

        if (fd == NGX_INVALID_FILE) {
            continue;
        }

        if (!ngx_mdvr_keep_empty(fd)) {
            (void) ngx_close_file(fd);
            continue;
        }

        if (ngx_mdvr_keep_map(fd, segments, size) != NGX_OK) {
            (void) ngx_close_file(fd);
            break;
        }

        ngx_mdvr_keep_fd = fd;
        ngx_mdvr_keep_own = n;
        break;
    }

    ngx_mdvr_keep_adopt();

    if (ngx_mdvr_keep_fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "mdvr: no file \"%V.<n>\", positions of this worker "
                      "would not survive its end", path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_mdvr_keep_close(void)
{
    if (ngx_mdvr_keep_fd == NGX_INVALID_FILE) {
        return;
    }

    (void) munmap(ngx_mdvr_keep_mem, ngx_mdvr_keep_len);
    (void) ngx_close_file(ngx_mdvr_keep_fd);

    ngx_free(ngx_mdvr_keep_segments);

    ngx_mdvr_keep_fd = NGX_INVALID_FILE;
    ngx_mdvr_keep_segments = NULL;
    ngx_mdvr_keep_free = NULL;
}


/* -- the worker's own file ------------------------------------------------ */

ngx_mdvr_keep_t *
ngx_mdvr_keep_take(void)
{
    ngx_mdvr_keep_t  *keep;

    keep = ngx_mdvr_keep_free;

    if (keep) {
        ngx_mdvr_keep_free = keep->next;
    }

    return keep;
}


ngx_int_t
ngx_mdvr_keep_add(ngx_mdvr_keep_t *keep, const ngx_mdvr_kept_t *kept)
{
    u_char                  *p;
    size_t                   used, len;
    ngx_mdvr_keep_record_t   record;

    used = *keep->used;
    len = NGX_MDVR_KEEP_RECORD + kept->content.len;

    if (len > keep->size - used) {
        return NGX_DECLINED;
    }

    record.len = (uint32_t) len;
    record.utc_offset = kept->utc_offset;
    record.flags = kept->bus_layout ? NGX_MDVR_KEEP_BUS : 0;
    record.received = kept->received;
    record.device_id = kept->device_id;

    p = ngx_cpymem(keep->data + used, &record, NGX_MDVR_KEEP_RECORD);
    ngx_memcpy(p, kept->content.p, kept->content.len);

    ngx_memory_barrier();

    *keep->used = used + len;

    return NGX_OK;
}


void
ngx_mdvr_keep_release(ngx_mdvr_keep_t *keep)
{
    if (keep == NULL) {
        return;
    }

    *keep->used = 0;

    keep->next = ngx_mdvr_keep_free;
    ngx_mdvr_keep_free = keep;
}


static ngx_int_t
ngx_mdvr_keep_map(ngx_fd_t fd, ngx_uint_t segments, size_t size)
{
    int                    rc;
    size_t                 len;
    u_char                *p;
    ngx_uint_t             i;
    ngx_mdvr_keep_t       *keep;
    ngx_mdvr_keep_head_t   head;

    len = NGX_MDVR_KEEP_HEAD + segments * size;

    if (len > NGX_MDVR_KEEP_MAX) {
        ngx_log_error(NGX_LOG_ERR, ngx_mdvr_keep_log, 0,
                      "mdvr: %uz bytes are too many for batches", len);
        return NGX_ERROR;
    }

    /* reserved now: a page that finds the disk full is a signal */

    rc = ftruncate(fd, 0) == -1 ? ngx_errno : posix_fallocate(fd, 0, len);

    if (rc) {
        ngx_log_error(NGX_LOG_ERR, ngx_mdvr_keep_log, rc,
                      "mdvr: cannot reserve %uz bytes for \"%V\"", len,
                      &ngx_mdvr_keep_path);
        return NGX_ERROR;
    }

    keep = ngx_calloc(segments * sizeof(ngx_mdvr_keep_t), ngx_mdvr_keep_log);
    if (keep == NULL) {
        return NGX_ERROR;
    }

    p = mmap(NULL, len, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        ngx_log_error(NGX_LOG_ERR, ngx_mdvr_keep_log, ngx_errno,
                      "mdvr: cannot map \"%V\"", &ngx_mdvr_keep_path);
        ngx_free(keep);
        return NGX_ERROR;
    }

    ngx_memcpy(head.magic, NGX_MDVR_KEEP_MAGIC, 8);
    head.segments = segments;
    head.size = size;
    ngx_memcpy(p, &head, sizeof(ngx_mdvr_keep_head_t));

    ngx_mdvr_keep_mem = p;
    ngx_mdvr_keep_len = len;
    ngx_mdvr_keep_segments = keep;

    p += NGX_MDVR_KEEP_HEAD;

    for (i = 0; i < segments; i++) {
        keep[i].used = (volatile uint64_t *) p;
        keep[i].data = p + sizeof(uint64_t);
        keep[i].size = size - sizeof(uint64_t);
        keep[i].next = i + 1 < segments ? &keep[i + 1] : NULL;
        p += size;
    }

    ngx_mdvr_keep_free = keep;

    return NGX_OK;
}


/* -- files of workers that are gone --------------------------------------- */

void
ngx_mdvr_keep_adopt(void)
{
    ngx_fd_t    fd;
    ngx_int_t   found;
    ngx_uint_t  n;

    for (n = 0; n < NGX_MDVR_KEEP_FILES; n++) {

        if (ngx_mdvr_keep_fd != NGX_INVALID_FILE && n == ngx_mdvr_keep_own) {
            continue;
        }

        fd = ngx_mdvr_keep_lock(n, 0);

        if (fd == NGX_INVALID_FILE) {

            if (ngx_errno == NGX_ENOENT) {
                return;                     /* they are made in order */
            }

            continue;
        }

        found = ngx_mdvr_keep_empty(fd) ? 0 : ngx_mdvr_keep_read(fd);

        if (found > 0) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_mdvr_keep_log, 0,
                          "mdvr: %i positions of a worker that is gone "
                          "taken over", found);

            if (ftruncate(fd, 0) == -1) {
                ngx_log_error(NGX_LOG_ALERT, ngx_mdvr_keep_log, ngx_errno,
                              "mdvr: cannot empty \"%V.%ui\"",
                              &ngx_mdvr_keep_path, n);
            }
        }

        (void) ngx_close_file(fd);
    }
}


static ngx_fd_t
ngx_mdvr_keep_lock(ngx_uint_t n, ngx_uint_t create)
{
    u_char    path[NGX_MAX_PATH];
    ngx_fd_t  fd;

    ngx_snprintf(path, NGX_MAX_PATH, "%V.%ui%Z", &ngx_mdvr_keep_path, n);

    fd = open((char *) path, O_RDWR|O_CLOEXEC|(create ? O_CREAT : 0), 0600);

    if (fd == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == -1) {
        (void) ngx_close_file(fd);
        ngx_set_errno(NGX_EAGAIN);
        return NGX_INVALID_FILE;
    }

    return fd;
}


static ngx_int_t
ngx_mdvr_keep_head(ngx_fd_t fd, ngx_mdvr_keep_head_t *head)
{
    ngx_file_info_t  fi;

    if (pread(fd, head, sizeof(ngx_mdvr_keep_head_t), 0)
        != sizeof(ngx_mdvr_keep_head_t)
        || ngx_memcmp(head->magic, NGX_MDVR_KEEP_MAGIC, 8) != 0
        || head->size <= sizeof(uint64_t) || head->size > NGX_MDVR_KEEP_MAX
        || head->segments > 1024
        || ngx_fd_info(fd, &fi) == NGX_FILE_ERROR
        || (uint64_t) ngx_file_size(&fi)
           < NGX_MDVR_KEEP_HEAD + head->segments * head->size)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_mdvr_keep_empty(ngx_fd_t fd)
{
    uint64_t              i, used;
    ngx_mdvr_keep_head_t  head;

    if (ngx_mdvr_keep_head(fd, &head) != NGX_OK) {
        return 1;
    }

    for (i = 0; i < head.segments; i++) {
        if (pread(fd, &used, sizeof(uint64_t),
                  NGX_MDVR_KEEP_HEAD + i * head.size)
            == sizeof(uint64_t) && used)
        {
            return 0;
        }
    }

    return 1;
}


/* how many; NGX_ERROR: they have to wait */

static ngx_int_t
ngx_mdvr_keep_read(ngx_fd_t fd)
{
    u_char               *buf;
    uint64_t              i, used;
    ngx_int_t             found;
    ngx_mdvr_keep_head_t  head;

    if (ngx_mdvr_keep_head(fd, &head) != NGX_OK) {
        return 0;
    }

    buf = ngx_alloc(head.size, ngx_mdvr_keep_log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    found = 0;

    for (i = 0; i < head.segments; i++) {

        if (pread(fd, buf, head.size, NGX_MDVR_KEEP_HEAD + i * head.size)
            != (ssize_t) head.size)
        {
            found = NGX_ERROR;
            break;
        }

        ngx_memcpy(&used, buf, sizeof(uint64_t));

        found += ngx_mdvr_keep_records(buf + sizeof(uint64_t),
                                       ngx_min(used, head.size
                                                     - sizeof(uint64_t)));
    }

    ngx_free(buf);

    return found;
}


static ngx_uint_t
ngx_mdvr_keep_records(const u_char *p, size_t len)
{
    ngx_uint_t              n;
    ngx_mdvr_kept_t         kept;
    ngx_mdvr_keep_record_t  record;

    for (n = 0; len >= NGX_MDVR_KEEP_RECORD; n++) {

        ngx_memcpy(&record, p, NGX_MDVR_KEEP_RECORD);

        if (record.len < NGX_MDVR_KEEP_RECORD || record.len > len) {
            break;
        }

        kept.device_id = record.device_id;
        kept.received = record.received;
        kept.utc_offset = record.utc_offset;
        kept.bus_layout = (record.flags & NGX_MDVR_KEEP_BUS) ? 1 : 0;
        kept.content = mdvr_str(p + NGX_MDVR_KEEP_RECORD,
                                record.len - NGX_MDVR_KEEP_RECORD);

        ngx_mdvr_keep_handler(&kept);

        p += record.len;
        len -= record.len;
    }

    return n;
}
