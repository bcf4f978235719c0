/*
 * Files from the device: recordings (V103), snapshots (V107), configuration
 * (V109 from the device).
 *
 * Blocks are written to <state dir>/staged/<id>.part as they come.  When the
 * file is complete a thread brings it to the disk, renames it to .bin and puts
 * the job document beside it (.job); only then the device gets 0x6105 and the
 * node's worker its job.  An interrupted recording keeps its .part and is
 * resumed from there (ngx_mdvr_download.h).
 *
 * The file ends with a block of no data, whatever its offset says; or 10 s
 * after its last byte if that block does not come.
 *
 * Source: protocol reference, media.md section 6.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"
#include "ngx_mdvr_core/ngx_mdvr_download.h"
#include "ngx_mdvr_core/ngx_mdvr_jobs.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"
#include "mdvr/domain/job.h"

#include <ngx_thread_pool.h>

#include <jansson.h>


#define NGX_STREAM_MDVR_FILE_BEYOND    (1024 * 1024)
#define NGX_STREAM_MDVR_FILE_NO_END    10000        /* ms */
#define NGX_STREAM_MDVR_FILE_PROGRESS  5000         /* ms */


/* lives in a pool of its own: the connection may go while the thread works */

typedef struct {
    ngx_pool_t                 *pool;
    ngx_log_t                   log;
    ngx_stream_mdvr_media_t    *m;              /* NULL: has gone */
    ngx_fd_t                    fd;
    int64_t                     size;
    ngx_str_t                   id;
    ngx_str_t                   part;           /* paths, zero-terminated */
    ngx_str_t                   bin;
    ngx_str_t                   job;
    ngx_str_t                   document;
    ngx_str_t                   queue;
    ngx_str_t                   said;           /* another name than asked */
    unsigned                    snapshot:1;
    unsigned                    download:1;
    ngx_err_t                   err;
    const char                 *failed;         /* which step */
} ngx_stream_mdvr_stage_t;


typedef struct {
    ngx_stream_mdvr_stage_t    *stage;
    ngx_str_t                   id;
    json_t                     *note;
    int64_t                     base;           /* first byte of ours; -1: the
                                                   first block tells */
    int64_t                     total;          /* bytes of ours, 0 unknown */
    int64_t                     safe;           /* bytes written, no gap */
    ngx_msec_t                  full;           /* when the size was reached */
    ngx_msec_t                  reported;
    unsigned                    resumed:1;
    unsigned                    begun:1;
    unsigned                    done:1;
    unsigned                    unwritten:1;    /* by our own fault */
    ngx_mdvr_span_t             span;           /* until the file is complete,
                                                   or the connection ends */
    u_char                      trace[MDVR_TRACEPARENT_LEN];
} ngx_stream_mdvr_file_t;


static ngx_int_t ngx_stream_mdvr_file_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);
static ngx_int_t ngx_stream_mdvr_file_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_file_wake(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_file_tick(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_file_close(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_file_span(ngx_stream_mdvr_file_t *file);
static void ngx_stream_mdvr_file_span_end(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_file_log(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_file_stage(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_file_thread(void *data, ngx_log_t *log);
static void ngx_stream_mdvr_file_staged(ngx_event_t *ev);


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_file = {
    MDVR_SESSION_FILE,
    MDVR_BUS_KIND_FILE,
    sizeof(ngx_stream_mdvr_file_t),
    ngx_stream_mdvr_file_open,
    ngx_stream_mdvr_file_message,
    ngx_stream_mdvr_file_wake,
    ngx_stream_mdvr_file_tick,
    ngx_stream_mdvr_file_close,
    NULL
};


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_snapshot = {
    MDVR_SESSION_SNAPSHOT,
    MDVR_BUS_KIND_SNAPSHOT,
    sizeof(ngx_stream_mdvr_file_t),
    ngx_stream_mdvr_file_open,
    ngx_stream_mdvr_file_message,
    ngx_stream_mdvr_file_wake,
    ngx_stream_mdvr_file_tick,
    ngx_stream_mdvr_file_close,
    NULL
};


static ngx_str_t  ngx_stream_mdvr_file_threads = ngx_string("default");


/* --- opening ------------------------------------------------------------------ */

static const char *
ngx_stream_mdvr_file_word(ngx_stream_mdvr_file_t *file, const char *name)
{
    return json_string_value(json_object_get(file->note, name));
}


static int64_t
ngx_stream_mdvr_file_number(ngx_stream_mdvr_file_t *file, const char *name,
    int64_t none)
{
    json_t  *value = json_object_get(file->note, name);

    return json_is_integer(value) ? (int64_t) json_integer_value(value) : none;
}


static ngx_int_t
ngx_stream_mdvr_file_path(ngx_stream_mdvr_stage_t *stage, ngx_str_t *dir,
    ngx_str_t *id, const char *suffix, ngx_str_t *path)
{
    path->data = ngx_pnalloc(stage->pool, dir->len + id->len + 32);
    if (path->data == NULL) {
        return NGX_ERROR;
    }

    path->len = ngx_sprintf(path->data, "%V/staged/%V%s", dir, id, suffix)
                - path->data;
    path->data[path->len] = '\0';

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mdvr_file_create(ngx_stream_mdvr_media_t *m, ngx_str_t *id,
    ngx_uint_t resume)
{
    ngx_pool_t               *pool;
    ngx_mdvr_core_conf_t     *conf;
    ngx_stream_mdvr_file_t   *file = m->data;
    ngx_stream_mdvr_stage_t  *stage;
    u_char                    dir[NGX_MAX_PATH];

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    stage = ngx_pcalloc(pool, sizeof(ngx_stream_mdvr_stage_t));
    if (stage == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    stage->pool = pool;
    stage->m = m;
    stage->fd = NGX_INVALID_FILE;
    stage->log = *ngx_cycle->log;
    file->stage = stage;

    stage->id.len = id->len;
    stage->id.data = ngx_pstrdup(pool, id);

    if (stage->id.data == NULL
        || ngx_stream_mdvr_file_path(stage, &conf->state_dir, id, ".part",
                                     &stage->part) != NGX_OK
        || ngx_stream_mdvr_file_path(stage, &conf->state_dir, id, ".bin",
                                     &stage->bin) != NGX_OK
        || ngx_stream_mdvr_file_path(stage, &conf->state_dir, id, ".job",
                                     &stage->job) != NGX_OK)
    {
        return NGX_ERROR;
    }

    (void) ngx_snprintf(dir, sizeof(dir), "%V/staged%Z", &conf->state_dir);
    (void) ngx_create_dir(dir, 0770);

    stage->fd = open((char *) stage->part.data,
                     O_RDWR|O_CREAT|O_CLOEXEC|(resume ? 0 : O_TRUNC), 0660);

    if (stage->fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, m->connection->log, ngx_errno,
                      ngx_open_file_n " \"%s\" failed", stage->part.data);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_str_t
ngx_stream_mdvr_file_base(const u_char *path, size_t len)
{
    size_t     i;
    ngx_str_t  base;

    for (i = len; i > 0 && path[i - 1] != '/' && path[i - 1] != '\\'; i--) {
        /* void */
    }

    base.data = (u_char *) path + i;
    base.len = len - i;

    return base;
}


/*
 * A device that sends another file than it was asked for says so in V103; then
 * its name is kept, and the file is attached to no alarm.  Names that are not
 * ASCII may have been converted and are not compared.
 */

static void
ngx_stream_mdvr_file_said(ngx_stream_mdvr_file_t *file, const mdvr_str_t *name)
{
    size_t       i;
    ngx_str_t    said, asked;
    const char  *path;

    path = ngx_stream_mdvr_file_word(file, "path");

    if (path == NULL || name->len == 0) {
        return;
    }

    said = ngx_stream_mdvr_file_base(name->p, name->len);
    asked = ngx_stream_mdvr_file_base((u_char *) path, ngx_strlen(path));

    for (i = 0; i < said.len; i++) {
        if (said.data[i] < 0x20 || said.data[i] > 0x7e) {
            return;
        }
    }

    if (said.len == 0 || asked.len == 0
        || (said.len == asked.len
            && ngx_strncasecmp(said.data, asked.data, said.len) == 0))
    {
        return;
    }

    said.data = ngx_pnalloc(file->stage->pool, name->len);

    if (said.data) {
        ngx_memcpy(said.data, name->p, name->len);
        said.len = name->len;
        file->stage->said = said;
    }
}


/*
 * What was asked for stands in the session's note: "download_id" or
 * "command_id" names the file, "base" and "from" say which bytes come.
 */

static ngx_int_t
ngx_stream_mdvr_file_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    char                     text[MDVR_BUS_NOTE_MAX];
    int64_t                  from;
    struct stat              st;
    const char              *word;
    ngx_str_t                id;
    ngx_mdvr_uuid_t          uuid;
    ngx_stream_mdvr_file_t  *file = m->data;

    if (m->info->state == MDVR_BUS_ENDING) {
        return NGX_DECLINED;
    }

    /* the 0-based channel of V107 */

    if (reg->kind == MDVR_SESSION_SNAPSHOT && m->info->channel
        && reg->channel + 1 != m->info->channel && reg->channel != 99)
    {
        return NGX_DECLINED;
    }

    if (mdvr_bus_note(ngx_mdvr_bus(), m->ref, text, sizeof(text)) == MDVR_OK) {
        file->note = json_loads(text, 0, NULL);
        ngx_stream_mdvr_file_span(file);
    }

    word = ngx_stream_mdvr_file_word(file, "download_id");

    if (word == NULL) {
        word = ngx_stream_mdvr_file_word(file, "command_id");
    }

    id.data = (u_char *) word;
    id.len = word ? ngx_strlen(word) : 0;

    if (ngx_mdvr_uuid_parse(&id, &uuid) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, m->connection->log, 0,
                      "file session %s without an id", m->info->session);
        goto failed;
    }

    from = ngx_stream_mdvr_file_number(file, "from", 0);
    file->base = from < 0 ? -1 : ngx_stream_mdvr_file_number(file, "base", 0);
    file->resumed = from > file->base && file->base >= 0;

    if (ngx_stream_mdvr_file_create(m, &id, file->resumed) != NGX_OK) {
        goto failed;
    }

    file->id = file->stage->id;

    if (file->resumed) {
        file->safe = from - file->base;

        if (fstat(file->stage->fd, &st) == -1 || st.st_size < file->safe) {
            file->safe = 0;                     /* it is gone: a gap follows */
        }
    }

    ngx_stream_mdvr_file_said(file, &reg->file_name);

    if (reg->size > 0) {
        file->total = file->safe + reg->size;
    }

    if (file->total > m->conf->max_file) {
        (void) ngx_stream_mdvr_media_refuse(m, "file_size");
        goto failed;
    }

    file->reported = ngx_current_msec;

    if (m->info->kind == MDVR_BUS_KIND_FILE
        && json_object_get(file->note, "download_id"))
    {
        file->stage->download = 1;
    }

    file->stage->snapshot = m->info->kind == MDVR_BUS_KIND_SNAPSHOT;

    return NGX_OK;

failed:

    if (file->stage) {
        if (file->stage->fd != NGX_INVALID_FILE) {
            (void) ngx_close_file(file->stage->fd);
        }

        ngx_destroy_pool(file->stage->pool);
        file->stage = NULL;
    }

    json_decref(file->note);
    file->note = NULL;

    return NGX_DECLINED;
}


/* --- blocks -------------------------------------------------------------------- */

static ngx_int_t
ngx_stream_mdvr_file_block(ngx_stream_mdvr_media_t *m,
    const mdvr_media_block_t *block)
{
    int64_t                  at, skip;
    ssize_t                  n;
    ngx_stream_mdvr_file_t  *file = m->data;

    if (!file->begun) {
        file->begun = 1;

        if (file->base < 0) {
            file->base = block->offset;

        } else if (file->resumed && block->offset == 0 && file->base == 0) {

            /* it was asked to go on and begins anew */

            file->total -= file->safe;
            file->safe = 0;
        }
    }

    at = (int64_t) block->offset - file->base;

    if (at < 0) {
        return NGX_OK;                          /* before what was asked for */
    }

    if ((file->total
         && at + (int64_t) block->data.len
            > file->total + NGX_STREAM_MDVR_FILE_BEYOND)
        || at + (int64_t) block->data.len > m->conf->max_file)
    {
        return ngx_stream_mdvr_media_refuse(m, "file_offset");
    }

    if (at > file->safe) {
        return NGX_OK;                          /* a gap: resumed from there */
    }

    skip = file->safe - at;

    if ((int64_t) block->data.len <= skip) {
        return NGX_OK;                          /* twice */
    }

    n = pwrite(file->stage->fd, block->data.p + skip, block->data.len - skip,
               file->safe);

    if (n != (ssize_t) (block->data.len - skip)) {
        ngx_log_error(NGX_LOG_ERR, m->connection->log, ngx_errno,
                      "pwrite() \"%s\" failed", file->stage->part.data);
        file->unwritten = 1;
        return ngx_stream_mdvr_media_refuse(m, "file_write");
    }

    file->safe += n;

    if (file->total && file->safe >= file->total && file->full == 0) {
        file->full = ngx_current_msec;

        if (file->stage->snapshot) {
            return ngx_stream_mdvr_file_stage(m);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mdvr_file_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    mdvr_media_block_t       block;
    ngx_stream_mdvr_file_t  *file = m->data;

    switch (msg->type) {

    case MDVR_MEDIA_SNAPSHOT:

        if (!file->stage->snapshot) {
            return ngx_stream_mdvr_media_refuse(m, "media_type");
        }

        /* fall through */

    case MDVR_MEDIA_BLOCK:

        if (file->done) {
            return NGX_OK;
        }

        if (mdvr_media_read_block(msg->payload, &block) != MDVR_OK) {
            return ngx_stream_mdvr_media_refuse(m, "media_payload");
        }

        if (block.data.len) {
            return ngx_stream_mdvr_file_block(m, &block);
        }

        /* the end: only the length decides */

        if (file->total && file->safe < file->total) {
            return ngx_stream_mdvr_media_refuse(m, "file_short");
        }

        return ngx_stream_mdvr_file_stage(m);

    case MDVR_MEDIA_END:

        m->deadline = ngx_current_msec;
        return NGX_OK;

    case MDVR_MEDIA_HEARTBEAT:
    case MDVR_MEDIA_FILE_REPORT:
    case MDVR_MEDIA_REPORT:
    case MDVR_MEDIA_REPORT_VIDEO:
    case MDVR_MEDIA_PARAMETERS:
    case MDVR_MEDIA_INFO:
        return NGX_OK;

    default:
        return ngx_stream_mdvr_media_refuse(m, "media_type");
    }
}


/* --- time ------------------------------------------------------------------------ */

static ngx_int_t
ngx_stream_mdvr_file_wake(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_file_t  *file = m->data;

    if (file->done || mdvr_bus_owns(bus, m->ref, m->ticket)) {
        return NGX_OK;
    }

    if (mdvr_bus_info(bus, m->ref, &info) == MDVR_OK
        && info.state == MDVR_BUS_ENDING)
    {
        return NGX_ERROR;                       /* somebody ended it */
    }

    return ngx_stream_mdvr_media_refuse(m, "session_replaced");
}


static ngx_int_t
ngx_stream_mdvr_file_tick(ngx_stream_mdvr_media_t *m)
{
    ngx_int_t                rc;
    ngx_stream_mdvr_file_t  *file = m->data;

    if (file->done) {
        return NGX_OK;
    }

    rc = ngx_stream_mdvr_file_wake(m);
    if (rc != NGX_OK) {
        return rc;
    }

    if (file->safe) {
        (void) mdvr_bus_progress(ngx_mdvr_bus(), m->ref, m->ticket,
                                 (uint64_t) file->safe);
    }

    if (file->full
        && ngx_current_msec - file->full >= NGX_STREAM_MDVR_FILE_NO_END)
    {
        return ngx_stream_mdvr_file_stage(m);
    }

    if (ngx_current_msec - m->heard >= m->conf->file_timeout) {
        return ngx_stream_mdvr_media_refuse(m, "media_silence");
    }

    if (file->stage->download && file->safe
        && ngx_current_msec - file->reported >= NGX_STREAM_MDVR_FILE_PROGRESS)
    {
        file->reported = ngx_current_msec;
        ngx_mdvr_download_progress(&file->id, (uint64_t) file->safe,
                                   (uint64_t) file->total);
    }

    return NGX_OK;
}


/* The transfer as a span below the command, or the alarm, that it is for. */

static void
ngx_stream_mdvr_file_span(ngx_stream_mdvr_file_t *file)
{
    ngx_str_t  above;

    above.data = (u_char *) ngx_stream_mdvr_file_word(file, "traceparent");
    above.len = above.data ? ngx_strlen(above.data) : 0;

    if (above.len == 0) {
        above.data = (u_char *) ngx_stream_mdvr_file_word(file, "alarm_id");
        above.len = above.data ? ngx_strlen(above.data) : 0;
        above = ngx_mdvr_trace_of_alarm(&above, file->trace);
    }

    ngx_mdvr_span_child(&file->span, &above);
}


static void
ngx_stream_mdvr_file_span_end(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_file_t  *file = m->data;

    mdvr_span_attr_t  attrs[] = {
        { "mdvr.serial", mdvr_cstr(m->info ? m->info->serial : ""), 0 },
        { "mdvr.bytes", { NULL, 0 }, file->safe }
    };

    ngx_mdvr_span_end(&file->span, MDVR_SPAN_SERVER, MDVR_STR("transfer"),
                      file->done ? NULL : "closed before its end", attrs, 2);
}


/* How a transfer ended, with the keys by which an alarm is followed. */

static void
ngx_stream_mdvr_file_log(ngx_stream_mdvr_media_t *m)
{
    u_char                   tenant[NGX_MDVR_UUID_LEN],
                             trace[NGX_MDVR_TRACE_KEY_LEN];
    ngx_str_t                of, key;
    const char              *alarm, *request, *parent;
    ngx_mdvr_uuid_t          id;
    ngx_stream_mdvr_file_t  *file = m->data;

    if (m->info == NULL || file->note == NULL) {
        return;
    }

    alarm = ngx_stream_mdvr_file_word(file, "alarm_id");
    parent = ngx_stream_mdvr_file_word(file, "traceparent");
    request = ngx_stream_mdvr_file_word(file, "request_id");

    of.data = (u_char *) (parent && *parent ? parent : alarm ? alarm : "");
    of.len = ngx_strlen(of.data);
    key = ngx_mdvr_trace_key(&of, trace);

    ngx_memcpy(id.b, m->info->tenant_id, 16);
    (void) ngx_mdvr_uuid_print(tenant, &id);

    ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                  "file %s at %O, tenant_id: %*s, device: \"%s\", "
                  "session: %s, alarm_id: %s, request_id: %s, trace_id: %V",
                  file->done ? "received, complete" : "interrupted",
                  (off_t) file->safe, (size_t) NGX_MDVR_UUID_LEN, tenant,
                  m->info->serial, m->info->session, alarm ? alarm : "",
                  request ? request : "", &key);
}


static void
ngx_stream_mdvr_file_close(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_file_t   *file = m->data;
    ngx_stream_mdvr_stage_t  *stage = file->stage;

    ngx_stream_mdvr_file_span_end(m);
    ngx_stream_mdvr_file_log(m);

    json_decref(file->note);
    file->note = NULL;
    file->stage = NULL;

    if (file->done) {

        /* the thread, or what follows it, goes on without us */

        if (stage) {
            stage->m = NULL;
        }

        return;
    }

    if (stage == NULL) {
        return;
    }

    (void) ngx_close_file(stage->fd);

    if (stage->download && file->unwritten) {
        ngx_mdvr_download_held(m->ref, file->safe, "it could not be written");

    } else if (stage->download) {
        ngx_mdvr_download_interrupted(m->ref, file->safe,
                                      "the connection was closed early");

    } else {
        (void) ngx_delete_file(stage->part.data);
        (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_DISCONNECTED,
                                m->connection->log);
    }

    ngx_destroy_pool(stage->pool);
}


/* --- complete -------------------------------------------------------------------- */

/* FF D8 ... FF D9, padding behind it allowed. */

static ngx_uint_t
ngx_stream_mdvr_file_is_jpeg(ngx_fd_t fd, int64_t size)
{
    u_char   head[2], tail[64];
    ssize_t  n;
    int64_t  from;

    from = size > (int64_t) sizeof(tail) ? size - (int64_t) sizeof(tail) : 0;

    if (size < 4 || pread(fd, head, 2, 0) != 2) {
        return 0;
    }

    n = pread(fd, tail, sizeof(tail), from);

    while (n > 2 && tail[n - 1] == 0) {
        n--;
    }

    return head[0] == 0xff && head[1] == 0xd8 && n >= 2
           && tail[n - 2] == 0xff && tail[n - 1] == 0xd9;
}


static ngx_int_t
ngx_stream_mdvr_file_document(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_stage_t *stage)
{
    u_char                   tenant[NGX_MDVR_UUID_LEN];
    u_char                   device[NGX_MDVR_UUID_LEN];
    u_char                  *text;
    int64_t                  now_ms;
    mdvr_job_t               job;
    mdvr_buf_t               b;
    ngx_str_t                trace;
    const char              *word;
    ngx_mdvr_uuid_t          uuid;
    ngx_mdvr_core_conf_t    *conf;
    ngx_stream_mdvr_file_t  *file = m->data;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);
    now_ms = ngx_mdvr_now_ms();

    ngx_memcpy(uuid.b, m->info->tenant_id, 16);
    (void) ngx_mdvr_uuid_print(tenant, &uuid);
    ngx_memcpy(uuid.b, m->info->device_id, 16);
    (void) ngx_mdvr_uuid_print(device, &uuid);

    ngx_memzero(&job, sizeof(mdvr_job_t));
    job.id = mdvr_str(stage->id.data, stage->id.len);
    job.tenant_id = mdvr_str(tenant, sizeof(tenant));
    job.device_id = mdvr_str(device, sizeof(device));
    job.serial = mdvr_cstr(m->info->serial);
    job.file = mdvr_str(stage->bin.data, stage->bin.len);
    job.alarm_id = mdvr_cstr(ngx_stream_mdvr_file_word(file, "alarm_id"));
    job.download_id = mdvr_cstr(ngx_stream_mdvr_file_word(file,
                                                          "download_id"));
    job.source_path = stage->said.len
                      ? mdvr_str(stage->said.data, stage->said.len)
                      : mdvr_cstr(ngx_stream_mdvr_file_word(file, "path"));
    job.request_id = mdvr_cstr(ngx_stream_mdvr_file_word(file, "request_id"));
    trace = ngx_mdvr_span_parent(&file->span, file->trace);
    job.traceparent = trace.len
                      ? mdvr_str(trace.data, trace.len)
                      : mdvr_cstr(ngx_stream_mdvr_file_word(file,
                                                            "traceparent"));
    job.channel = (unsigned) ngx_stream_mdvr_file_number(file, "channel",
                                                         m->info->channel);
    job.at_ms = ngx_stream_mdvr_file_number(file, "at_ms", now_ms);
    job.duration_s = (uint32_t) ngx_stream_mdvr_file_number(file,
                                                            "duration_s", 0);
    job.audio_type = (unsigned) ngx_stream_mdvr_file_number(file,
                                                            "audio_type", 0);
    job.media_kind = "mp4";
    job.source = "download";

    if (stage->snapshot) {
        job.media_kind = "jpeg";
        job.source = "snapshot";

    } else {
        word = ngx_stream_mdvr_file_word(file, "media_kind");

        if (word && ngx_strcmp(word, "jpeg") == 0) {
            job.media_kind = "jpeg";
        }

        word = ngx_stream_mdvr_file_word(file, "origin");

        if (word && ngx_strcmp(word, "alarm") == 0) {
            job.source = "alarm_file";
        }
    }

    text = ngx_pnalloc(stage->pool, MDVR_JOB_MAX);
    if (text == NULL) {
        return NGX_ERROR;
    }

    b = mdvr_buf(text, MDVR_JOB_MAX);
    mdvr_job_write(&b, MDVR_JOB_INGEST, &job, now_ms);

    if (b.full) {
        return NGX_ERROR;
    }

    stage->document.data = text;
    stage->document.len = b.len;

    text = ngx_pnalloc(stage->pool, 128);
    if (text == NULL) {
        return NGX_ERROR;
    }

    b = mdvr_buf(text, 128);
    mdvr_job_queue(&b, MDVR_JOB_INGEST, mdvr_str(conf->node.data,
                                                 conf->node.len));
    stage->queue.data = text;
    stage->queue.len = b.len;

    return b.full ? NGX_ERROR : NGX_OK;
}


/* All bytes are there: the rest is for a thread, the disk may be slow. */

static ngx_int_t
ngx_stream_mdvr_file_stage(ngx_stream_mdvr_media_t *m)
{
    ngx_thread_task_t        *task;
    ngx_thread_pool_t        *threads;
    ngx_stream_mdvr_file_t   *file = m->data;
    ngx_stream_mdvr_stage_t  *stage = file->stage;

    stage->size = file->safe;

    if (stage->snapshot
        && !ngx_stream_mdvr_file_is_jpeg(stage->fd, stage->size))
    {
        return ngx_stream_mdvr_media_refuse(m, "snapshot_format");
    }

    threads = ngx_thread_pool_get((ngx_cycle_t *) ngx_cycle,
                                  &ngx_stream_mdvr_file_threads);
    task = ngx_thread_task_alloc(stage->pool, sizeof(void *));

    if (threads == NULL || task == NULL
        || ngx_stream_mdvr_file_document(m, stage) != NGX_OK)
    {
        return ngx_stream_mdvr_media_refuse(m, "file_write");
    }

    *(ngx_stream_mdvr_stage_t **) task->ctx = stage;
    task->handler = ngx_stream_mdvr_file_thread;
    task->event.data = stage;
    task->event.handler = ngx_stream_mdvr_file_staged;

    if (ngx_thread_task_post(threads, task) != NGX_OK) {
        return ngx_stream_mdvr_media_refuse(m, "file_write");
    }

    file->done = 1;
    ngx_stream_mdvr_file_span_end(m);

    return NGX_OK;
}


static void
ngx_stream_mdvr_file_thread(void *data, ngx_log_t *log)
{
    int                       dir;
    char                      path[NGX_MAX_PATH];
    ngx_fd_t                  fd;
    ngx_stream_mdvr_stage_t  *stage = *(ngx_stream_mdvr_stage_t **) data;

    stage->failed = NULL;

    if (ftruncate(stage->fd, (off_t) stage->size) == -1
        || fdatasync(stage->fd) == -1)
    {
        stage->failed = "fdatasync()";
        goto done;
    }

    if (rename((char *) stage->part.data, (char *) stage->bin.data) == -1) {
        stage->failed = "rename()";
        goto done;
    }

    (void) ngx_snprintf((u_char *) path, sizeof(path), "%V.part%Z",
                        &stage->job);

    fd = open(path, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0660);

    if (fd == -1) {
        stage->failed = "open()";
        goto done;
    }

    if (write(fd, stage->document.data, stage->document.len)
        != (ssize_t) stage->document.len
        || fdatasync(fd) == -1)
    {
        stage->failed = "write()";
    }

    (void) close(fd);

    if (stage->failed == NULL
        && rename(path, (char *) stage->job.data) == -1)
    {
        stage->failed = "rename()";
    }

    /* the names, too */

    if (stage->failed == NULL) {
        *strrchr(path, '/') = '\0';
        dir = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

        if (dir != -1) {
            (void) fsync(dir);
            (void) close(dir);
        }
    }

done:

    stage->err = stage->failed ? ngx_errno : 0;
}


static void
ngx_stream_mdvr_file_announce(ngx_stream_mdvr_stage_t *stage)
{
    mdvr_str_t  queue;

    queue = mdvr_str(stage->queue.data, stage->queue.len);

    /* lost when Redis is away: the worker looks at .job files, too */

    (void) ngx_mdvr_jobs_add(NULL, 5000, queue,
                             mdvr_str(stage->document.data,
                                      stage->document.len), NULL, NULL);
    ngx_mdvr_jobs_enter(5000, queue);
}


static void
ngx_stream_mdvr_file_staged(ngx_event_t *ev)
{
    u_char                    text[32];
    mdvr_buf_t                b;
    ngx_stream_mdvr_stage_t  *stage = ev->data;
    ngx_stream_mdvr_media_t  *m = stage->m;

    (void) ngx_close_file(stage->fd);

    if (stage->failed) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, stage->err,
                      "%s \"%V\" failed", stage->failed, &stage->part);
        ngx_mdvr_refusal("file_write");

    } else {
        ngx_stream_mdvr_file_announce(stage);

        if (stage->download) {
            ngx_mdvr_download_complete(&stage->id, (uint64_t) stage->size,
                                       &stage->bin);
        }
    }

    if (m) {
        ((ngx_stream_mdvr_file_t *) m->data)->stage = NULL;

        if (stage->failed) {
            if (stage->download) {
                ngx_mdvr_download_held(m->ref, -1, "it could not be written");
            } else {
                (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_FAILED,
                                        m->connection->log);
            }

            (void) ngx_stream_mdvr_media_close(m);

        } else {
            (void) mdvr_bus_progress(ngx_mdvr_bus(), m->ref, m->ticket,
                                     (uint64_t) stage->size);
            (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_COMPLETE,
                                    m->connection->log);

            b = mdvr_buf(text, sizeof(text));
            mdvr_media_write_empty(&b, MDVR_MEDIA_END);
            (void) ngx_stream_mdvr_media_send(m, &b);

            ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_STOPPING,
                                       m->conf->close_wait);
        }
    }

    ngx_destroy_pool(stage->pool);
}
