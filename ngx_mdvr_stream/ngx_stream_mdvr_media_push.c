/*
 * Files to the device: firmware (V106), configuration (V109, direction 0) and
 * others (V111).
 *
 * The session's note names the file and its size.  The device says how many
 * bytes it has; from there on the file goes out in blocks of 4096, the last one
 * empty.  What is on the wire follows from the count of bytes that the socket has
 * taken, so that nothing is kept between two writes: a block is made again when
 * only its beginning went out.
 *
 * The device checks the file and says so: 0x6501 after firmware and others, V100
 * alone after a configuration file.  A broken connection leaves the session to
 * the device for `comeback`: it registers again with its offset.
 *
 * Source: protocol reference, media.md section 8, flows.md sections 11 and 12.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"

#include <jansson.h>


#define NGX_STREAM_MDVR_PUSH_BLOCK     4096
#define NGX_STREAM_MDVR_PUSH_HEAD      16       /* header, offset, length */
#define NGX_STREAM_MDVR_PUSH_UNIT      (NGX_STREAM_MDVR_PUSH_HEAD            \
                                        + NGX_STREAM_MDVR_PUSH_BLOCK)
#define NGX_STREAM_MDVR_PUSH_BATCH     16       /* blocks made at once */
#define NGX_STREAM_MDVR_PUSH_TURN      (1024 * 1024)    /* bytes per event */
#define NGX_STREAM_MDVR_PUSH_PROGRESS  2000     /* ms between two reports */
#define NGX_STREAM_MDVR_PUSH_CHECK     120000   /* ms to check the file */


typedef struct {
    ngx_fd_t        fd;
    u_char         *path;                       /* zero-terminated */
    ngx_str_t       command;
    unsigned        type;                       /* of the blocks */
    uint64_t        size;
    uint64_t        from;                       /* what the device has */
    uint64_t        sent;                       /* on the wire, from there */
    uint64_t        wire;                       /* of that, all in all */
    ngx_msec_t      moved;                      /* last time it got further */
    ngx_msec_t      reported;
    unsigned        remove:1;                   /* the file, at the end */
    unsigned        done:1;                     /* the session has ended */
} ngx_stream_mdvr_push_t;


static ngx_int_t ngx_stream_mdvr_push_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);
static ngx_int_t ngx_stream_mdvr_push_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_push_wake(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_push_tick(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_push_write(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_push_close(ngx_stream_mdvr_media_t *m);


#define NGX_STREAM_MDVR_PUSH_KIND(session, kind)                              \
    {                                                                         \
        session, kind, sizeof(ngx_stream_mdvr_push_t),                        \
        ngx_stream_mdvr_push_open, ngx_stream_mdvr_push_message,              \
        ngx_stream_mdvr_push_wake, ngx_stream_mdvr_push_tick,                 \
        ngx_stream_mdvr_push_close, ngx_stream_mdvr_push_write                \
    }

const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_upgrade =
    NGX_STREAM_MDVR_PUSH_KIND(MDVR_SESSION_UPGRADE, MDVR_BUS_KIND_UPGRADE);

const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_push =
    NGX_STREAM_MDVR_PUSH_KIND(MDVR_SESSION_PUSH, MDVR_BUS_KIND_PUSH);

const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_config =
    NGX_STREAM_MDVR_PUSH_KIND(MDVR_SESSION_CONFIG, MDVR_BUS_KIND_CONFIG);


static u_char  ngx_stream_mdvr_push_batch[NGX_STREAM_MDVR_PUSH_UNIT
                                          * NGX_STREAM_MDVR_PUSH_BATCH];


/* --- opening ---------------------------------------------------------------- */

static u_char *
ngx_stream_mdvr_push_word(ngx_stream_mdvr_media_t *m, json_t *note,
    const char *name)
{
    u_char      *copy;
    size_t       n;
    const char  *word;

    word = json_string_value(json_object_get(note, name));
    if (word == NULL) {
        return NULL;
    }

    n = ngx_strlen(word) + 1;
    copy = ngx_pnalloc(m->connection->pool, n);

    if (copy) {
        ngx_memcpy(copy, word, n);
    }

    return copy;
}


/* The session cannot be carried out, now or later. */

static ngx_int_t
ngx_stream_mdvr_push_impossible(ngx_stream_mdvr_media_t *m, const char *count,
    const char *words)
{
    ngx_stream_mdvr_push_t  *push = m->data;

    if (push->command.len) {
        ngx_mdvr_transfer_failed(&push->command, m->info->tenant_id, 0, words);
    }

    (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_FAILED, m->connection->log);

    return ngx_stream_mdvr_media_reject(m, count, MDVR_MEDIA_NO_FILE);
}


static ngx_int_t
ngx_stream_mdvr_push_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    char                     text[MDVR_BUS_NOTE_MAX];
    json_t                  *note;
    u_char                  *direction;
    struct stat              st;
    ngx_stream_mdvr_push_t  *push = m->data;

    if (m->info->state == MDVR_BUS_ENDING || reg->direction == 1
        || mdvr_bus_note(ngx_mdvr_bus(), m->ref, text, sizeof(text))
           != MDVR_OK)
    {
        return NGX_DECLINED;
    }

    note = json_loads(text, 0, NULL);

    direction = ngx_stream_mdvr_push_word(m, note, "direction");
    push->path = ngx_stream_mdvr_push_word(m, note, "file");
    push->command.data = ngx_stream_mdvr_push_word(m, note, "command_id");
    push->command.len = push->command.data ? ngx_strlen(push->command.data)
                                           : 0;
    push->size = (uint64_t) json_integer_value(json_object_get(note, "size"));
    push->remove = json_is_true(json_object_get(note, "remove"));

    json_decref(note);

    if (push->path == NULL || direction == NULL
        || ngx_strcmp(direction, "push") != 0)
    {
        return NGX_DECLINED;
    }

    push->type = m->info->kind == MDVR_BUS_KIND_CONFIG
                 ? MDVR_MEDIA_CONFIG_DOWN : MDVR_MEDIA_BLOCK;
    push->from = reg->offset > 0 ? (uint64_t) reg->offset : 0;
    push->fd = open((char *) push->path, O_RDONLY|O_CLOEXEC);

    if (push->fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, m->connection->log, ngx_errno,
                      ngx_open_file_n " \"%s\" failed", push->path);
        return ngx_stream_mdvr_push_impossible(m, "file_missing",
                                  "the file is not on this server any more");
    }

    if (fstat(push->fd, &st) == -1 || (uint64_t) st.st_size != push->size
        || push->from > push->size)
    {
        (void) ngx_close_file(push->fd);

        if (push->from > push->size) {
            return ngx_stream_mdvr_media_reject(m, "file_offset",
                                                MDVR_MEDIA_NO_FILE);
        }

        return ngx_stream_mdvr_push_impossible(m, "file_size",
                                  "the file has another size than announced");
    }

    (void) posix_fadvise(push->fd, (off_t) push->from, 0, POSIX_FADV_WILLNEED);

    push->wire = push->size - push->from;
    push->wire += ((push->wire + NGX_STREAM_MDVR_PUSH_BLOCK - 1)
                   / NGX_STREAM_MDVR_PUSH_BLOCK + 1)
                  * NGX_STREAM_MDVR_PUSH_HEAD;
    push->moved = ngx_current_msec;
    push->reported = ngx_current_msec;

    return NGX_OK;
}


/* --- blocks ---------------------------------------------------------------------- */

/* Bytes of the file that the socket has taken. */

static uint64_t
ngx_stream_mdvr_push_bytes(const ngx_stream_mdvr_push_t *push)
{
    uint64_t  whole, rest;

    whole = push->sent / NGX_STREAM_MDVR_PUSH_UNIT;
    rest = push->sent % NGX_STREAM_MDVR_PUSH_UNIT;
    rest = rest > NGX_STREAM_MDVR_PUSH_HEAD ? rest - NGX_STREAM_MDVR_PUSH_HEAD
                                            : 0;

    return ngx_min(push->size, push->from
                               + whole * NGX_STREAM_MDVR_PUSH_BLOCK + rest);
}


/* Some blocks, from the one that `sent` lies in.  Zero: cannot be read. */

static size_t
ngx_stream_mdvr_push_make(ngx_stream_mdvr_push_t *push)
{
    ssize_t      n;
    u_char      *data;
    uint64_t     at;
    ngx_uint_t   i;
    mdvr_buf_t   b;

    at = push->from + push->sent / NGX_STREAM_MDVR_PUSH_UNIT
                      * NGX_STREAM_MDVR_PUSH_BLOCK;
    at = ngx_min(at, push->size);

    b = mdvr_buf(ngx_stream_mdvr_push_batch,
                 sizeof(ngx_stream_mdvr_push_batch));

    for (i = 0; i < NGX_STREAM_MDVR_PUSH_BATCH; i++) {

        /* the data is read to its place first; the writer finds it there */

        data = b.p + b.len + NGX_STREAM_MDVR_PUSH_HEAD;
        n = 0;

        if (at < push->size) {
            n = (ssize_t) ngx_min(push->size - at,
                                  NGX_STREAM_MDVR_PUSH_BLOCK);

            if (pread(push->fd, data, (size_t) n, (off_t) at) != n) {
                return 0;
            }
        }

        mdvr_media_write_header(&b, push->type, (uint32_t) n + 8);
        mdvr_put_le32(b.p + b.len, (uint32_t) at);
        mdvr_put_le32(b.p + b.len + 4, (uint32_t) n);
        b.len += 8 + (size_t) n;

        if (n == 0) {
            break;
        }

        at += (uint64_t) n;
    }

    return b.len;
}


static ngx_int_t
ngx_stream_mdvr_push_write(ngx_stream_mdvr_media_t *m)
{
    size_t                   len, skip, turn;
    ssize_t                  n;
    mdvr_buf_t               b;
    ngx_connection_t        *c = m->connection;
    ngx_stream_mdvr_push_t  *push = m->data;
    u_char                   text[16];

    turn = 0;

    while (push->sent < push->wire && c->write->ready) {

        if (turn >= NGX_STREAM_MDVR_PUSH_TURN) {
            ngx_post_event(c->write, &ngx_posted_next_events);
            return NGX_OK;
        }

        len = ngx_stream_mdvr_push_make(push);
        skip = push->sent % NGX_STREAM_MDVR_PUSH_UNIT;

        if (len <= skip) {
            ngx_log_error(NGX_LOG_ERR, c->log, ngx_errno,
                          "pread() \"%s\" failed", push->path);
            return ngx_stream_mdvr_media_refuse(m, "file_read");
        }

        n = c->send(c, ngx_stream_mdvr_push_batch + skip, len - skip);

        if (n == NGX_ERROR) {
            c->error = 1;
            return NGX_ERROR;
        }

        if (n <= 0) {
            break;                              /* NGX_AGAIN */
        }

        push->sent += (uint64_t) n;
        push->moved = ngx_current_msec;
        turn += (size_t) n;

        ngx_mdvr_count_by(media_bytes_total, &(ngx_str_t) ngx_string("out"),
                          n);

        if (push->sent == push->wire
            && m->info->kind == MDVR_BUS_KIND_CONFIG)
        {
            /* no 0x6501 follows: V100 tells */

            b = mdvr_buf(text, sizeof(text));
            mdvr_media_write_empty(&b, MDVR_MEDIA_END);
            (void) ngx_stream_mdvr_media_send(m, &b);
        }
    }

    return ngx_handle_write_event(c->write, 0) == NGX_OK ? NGX_OK : NGX_ERROR;
}


/* --- the end ---------------------------------------------------------------------- */

static ngx_int_t
ngx_stream_mdvr_push_end(ngx_stream_mdvr_media_t *m, mdvr_bus_end_e why)
{
    ngx_stream_mdvr_push_t  *push = m->data;

    push->done = 1;

    (void) mdvr_bus_progress(ngx_mdvr_bus(), m->ref, m->ticket,
                             ngx_stream_mdvr_push_bytes(push));
    (void) ngx_mdvr_bus_end(m->ref, why, m->connection->log);

    ngx_mdvr_transfer_progress(&push->command,
                               ngx_stream_mdvr_push_bytes(push), push->size);

    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_STOPPING,
                               m->conf->close_wait);

    return NGX_DONE;
}


/* What the device says of the file: checked and put to use, or damaged. */

static ngx_int_t
ngx_stream_mdvr_push_checked(ngx_stream_mdvr_media_t *m, mdvr_str_t payload)
{
    u_char                   text[16];
    uint16_t                 result, error;
    mdvr_buf_t               b;
    ngx_stream_mdvr_push_t  *push = m->data;

    if (mdvr_media_read_checksum(payload, &result, &error) != MDVR_OK) {
        return ngx_stream_mdvr_media_refuse(m, "media_payload");
    }

    if (push->done) {
        return NGX_OK;
    }

    if (result == 1 && push->sent < push->wire) {
        return ngx_stream_mdvr_media_refuse(m, "file_short");
    }

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_empty(&b, MDVR_MEDIA_END);

    if (push->sent == push->wire) {
        (void) ngx_stream_mdvr_media_send(m, &b);
    }

    if (result == 1) {
        return ngx_stream_mdvr_push_end(m, MDVR_BUS_END_COMPLETE);
    }

    ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                  "file refused by the device, error: %d, device: %s",
                  (int) error, m->info->serial);
    ngx_mdvr_refusal("file_checksum");

    ngx_mdvr_transfer_failed(&push->command, m->info->tenant_id, error,
                             "the device found the file damaged");

    return ngx_stream_mdvr_push_end(m, MDVR_BUS_END_FAILED);
}


static ngx_int_t
ngx_stream_mdvr_push_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    ngx_stream_mdvr_push_t  *push = m->data;

    switch (msg->type) {

    case MDVR_MEDIA_CHECKSUM:
        return ngx_stream_mdvr_push_checked(m, msg->payload);

    case MDVR_MEDIA_END:

        if (!push->done && push->sent == push->wire) {
            return ngx_stream_mdvr_push_end(m, MDVR_BUS_END_COMPLETE);
        }

        m->deadline = ngx_current_msec;
        return NGX_OK;

    case MDVR_MEDIA_FILE_REPORT:
    case MDVR_MEDIA_HEARTBEAT:
    case MDVR_MEDIA_REPORT:
    case MDVR_MEDIA_REPORT_VIDEO:
        return NGX_OK;

    default:
        return ngx_stream_mdvr_media_refuse(m, "media_type");
    }
}


static ngx_int_t
ngx_stream_mdvr_push_wake(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_push_t  *push = m->data;

    if (push->done || mdvr_bus_owns(ngx_mdvr_bus(), m->ref, m->ticket)) {
        return NGX_OK;
    }

    if (mdvr_bus_info(ngx_mdvr_bus(), m->ref, &info) == MDVR_OK
        && info.state == MDVR_BUS_ENDING)
    {
        return NGX_ERROR;                       /* somebody ended it */
    }

    return ngx_stream_mdvr_media_refuse(m, "session_replaced");
}


static ngx_int_t
ngx_stream_mdvr_push_tick(ngx_stream_mdvr_media_t *m)
{
    uint64_t                 bytes;
    ngx_int_t                rc;
    ngx_msec_t               since, limit;
    ngx_stream_mdvr_push_t  *push = m->data;

    if (push->done) {
        return NGX_OK;
    }

    rc = ngx_stream_mdvr_push_wake(m);
    if (rc != NGX_OK) {
        return rc;
    }

    bytes = ngx_stream_mdvr_push_bytes(push);

    if (push->sent) {
        (void) mdvr_bus_progress(ngx_mdvr_bus(), m->ref, m->ticket, bytes);
    }

    if (ngx_current_msec - push->reported >= NGX_STREAM_MDVR_PUSH_PROGRESS) {
        push->reported = ngx_current_msec;
        ngx_mdvr_transfer_progress(&push->command, bytes, push->size);
    }

    since = ngx_min(ngx_current_msec - push->moved,
                    ngx_current_msec - m->heard);
    limit = m->conf->file_timeout;

    if (push->sent == push->wire) {

        if (m->info->kind == MDVR_BUS_KIND_CONFIG) {

            /* V100 says the rest; the device should close */

            if (since >= m->conf->close_wait) {
                return ngx_stream_mdvr_push_end(m, MDVR_BUS_END_COMPLETE);
            }

            return NGX_OK;
        }

        limit = ngx_max(limit, NGX_STREAM_MDVR_PUSH_CHECK);
    }

    if (since >= limit) {
        return ngx_stream_mdvr_media_refuse(m, "media_silence");
    }

    return NGX_OK;
}


static void
ngx_stream_mdvr_push_close(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_push_t  *push = m->data;

    (void) ngx_close_file(push->fd);

    if (!push->done && m->info->kind == MDVR_BUS_KIND_CONFIG
        && push->sent == push->wire)
    {
        (void) ngx_stream_mdvr_push_end(m, MDVR_BUS_END_COMPLETE);
    }

    if (!push->done && bus) {

        if (mdvr_bus_owns(bus, m->ref, m->ticket)) {
            mdvr_bus_disown(bus, m->ref, m->ticket,
                            mdvr_bus_clock_ms() + m->conf->comeback,
                            MDVR_BUS_END_DISCONNECTED, 0);
            return;
        }

        if (mdvr_bus_info(bus, m->ref, &info) == MDVR_OK
            && info.state != MDVR_BUS_ENDING)
        {
            return;                             /* another connection has it */
        }
    }

    if (push->remove) {
        (void) ngx_delete_file(push->path);
    }
}
