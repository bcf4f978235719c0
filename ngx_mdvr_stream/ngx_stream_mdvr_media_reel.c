/*
 * Recordings for playback: ranges of them, asked for with C702 and brought by
 * V103, on their way to the player (mdvr/media/reel.h).
 *
 * No command plays a recording (protocol reference, flows.md section 9): the
 * player of this node reads the file while it comes and sends the pictures as a
 * device would, on a connection to this port.  On that connection it says with
 * 0x6103 from which byte on it needs the recording; `end` is the number of
 * the wish.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "mdvr/dc/write.h"
#include "mdvr/media/reel.h"

#include <jansson.h>


#define NGX_STREAM_MDVR_REEL_WAIT    30000      /* ms for the connection */
#define NGX_STREAM_MDVR_REEL_ANSWER  15000
#define NGX_STREAM_MDVR_REEL_SHOW    65536      /* bytes between two `safe` */
#define NGX_STREAM_MDVR_REEL_LOOK    (1024 * 1024)
#define NGX_STREAM_MDVR_REEL_NO_END  10000


typedef struct {
    ngx_fd_t           fd;
    mdvr_reel_head_t   head;
    uint64_t           shown;
    uint64_t           looked;
    ngx_msec_t         shown_at;
    ngx_msec_t         full;
    unsigned           begun:1;
    unsigned           done:1;
} ngx_stream_mdvr_reel_t;


typedef struct {
    ngx_stream_mdvr_media_t   *m;               /* the player's */
    mdvr_bus_ref_t             ref;             /* the file session */
    char                       path[NGX_MAX_PATH];
} ngx_stream_mdvr_reel_wish_t;


static ngx_int_t ngx_stream_mdvr_reel_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);
static ngx_int_t ngx_stream_mdvr_reel_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_reel_wake(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_reel_tick(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_reel_close(ngx_stream_mdvr_media_t *m);


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_reel = {
    MDVR_SESSION_FILE,
    MDVR_BUS_KIND_FILE,
    sizeof(ngx_stream_mdvr_reel_t),
    ngx_stream_mdvr_reel_open,
    ngx_stream_mdvr_reel_message,
    ngx_stream_mdvr_reel_wake,
    ngx_stream_mdvr_reel_tick,
    ngx_stream_mdvr_reel_close,
    NULL
};


/* --- what the player wishes -------------------------------------------------- */

static void
ngx_stream_mdvr_reel_mark(const char *path, mdvr_reel_state_e state)
{
    ngx_fd_t          fd;
    mdvr_reel_head_t  head;

    fd = open(path, O_RDWR|O_CLOEXEC);
    if (fd == NGX_INVALID_FILE) {
        return;                                 /* the player is gone */
    }

    if (pread(fd, &head, sizeof(head), 0) == (ssize_t) sizeof(head)
        && head.state == MDVR_REEL_WAITING)
    {
        head.state = state;
        (void) pwrite(fd, &head, sizeof(head), 0);
    }

    (void) ngx_close_file(fd);
}


/* Why nothing can be played; the API tells it to whoever asked. */

static void
ngx_stream_mdvr_reel_hopeless(ngx_stream_mdvr_media_t *m, mdvr_bus_end_e why,
    const char *detail)
{
    char             text[MDVR_BUS_NOTE_MAX], *p;
    json_t          *note;
    mdvr_bus_t      *bus = ngx_mdvr_bus();
    mdvr_bus_info_t  info;

    if (mdvr_bus_info(bus, m->ref, &info) != MDVR_OK || info.live_ms) {
        return;                                 /* it plays: tried again */
    }

    if (mdvr_bus_note(bus, m->ref, text, sizeof(text)) == MDVR_OK) {
        note = json_loads(text, 0, NULL);
        json_object_set_new(note, "detail", json_string(detail));
        p = json_dumps(note, JSON_COMPACT);
        json_decref(note);

        if (p) {
            (void) mdvr_bus_set_note(bus, m->ref, p);
            free(p);
        }
    }

    (void) ngx_mdvr_bus_end(m->ref, why, m->connection->log);
}


static void
ngx_stream_mdvr_reel_answered(void *data, const ngx_mdvr_answer_t *answer,
    mdvr_rc_t rc)
{
    char                          why[256];
    mdvr_bus_end_e                end;
    mdvr_bus_info_t               info;
    ngx_stream_mdvr_reel_wish_t  *wish = data;

    if (answer && (answer->status == NGX_MDVR_ANSWER_SENT
                   || answer->status == NGX_MDVR_ANSWER_ACKNOWLEDGED))
    {
        return;
    }

    if (mdvr_bus_info(ngx_mdvr_bus(), wish->ref, &info) == MDVR_OK
        && info.connected)
    {
        return;                                 /* it comes all the same */
    }

    end = MDVR_BUS_END_FAILED;
    (void) ngx_cpystrn((u_char *) why,
                       (u_char *) "the way to the device is away",
                       sizeof(why));

    if (answer && answer->status == NGX_MDVR_ANSWER_OFFLINE) {
        end = MDVR_BUS_END_OFFLINE;
        (void) ngx_cpystrn((u_char *) why,
                           (u_char *) "the device is not connected",
                           sizeof(why));

    } else if (answer && answer->status == NGX_MDVR_ANSWER_TIMEOUT) {
        end = MDVR_BUS_END_NO_MEDIA;
        (void) ngx_cpystrn((u_char *) why,
                           (u_char *) "the device did not answer in time",
                           sizeof(why));

    } else if (answer) {
        end = MDVR_BUS_END_REFUSED;
        *ngx_snprintf((u_char *) why, sizeof(why) - 1,
                      "the device refused%s%V%s%V",
                      answer->error.len ? ": " : "", &answer->error,
                      answer->reason.len ? ": " : "", &answer->reason) = '\0';
    }

    (void) mdvr_bus_end(ngx_mdvr_bus(), wish->ref, end);

    ngx_stream_mdvr_reel_mark(wish->path, MDVR_REEL_BROKEN);
    ngx_stream_mdvr_reel_hopeless(wish->m, end, why);
}


static ngx_int_t
ngx_stream_mdvr_reel_ask(ngx_stream_mdvr_media_t *m, const char *path,
    uint32_t start, ngx_stream_mdvr_reel_wish_t *wish)
{
    u_char                 buf[2048];
    mdvr_buf_t             body;
    mdvr_bus_info_t        info;
    mdvr_endpoint_t        media;
    ngx_mdvr_command_t     command;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (mdvr_bus_info(ngx_mdvr_bus(), wish->ref, &info) != MDVR_OK) {
        return NGX_ERROR;
    }

    media.address = mdvr_str(conf->public_host.data, conf->public_host.len);
    media.port = (unsigned) conf->media_port;

    body = mdvr_buf(buf, sizeof(buf));
    mdvr_body_c702(&body, mdvr_cstr(info.session), start ? 1 : 0, start, 0,
                   media, mdvr_cstr(path));

    if (body.full || body.len == 0) {
        return NGX_ERROR;
    }

    ngx_memzero(&command, sizeof(ngx_mdvr_command_t));
    command.serial.data = (u_char *) m->info->serial;
    command.serial.len = ngx_strlen(m->info->serial);
    ngx_str_set(&command.keyword, "C702");
    command.body.data = buf[0] == ',' ? buf + 1 : buf;
    command.body.len = body.len - (buf[0] == ',');
    command.timeout = NGX_STREAM_MDVR_REEL_ANSWER;

    return ngx_mdvr_command_send(m->connection->pool, &command,
                                 ngx_stream_mdvr_reel_answered, wish);
}


ngx_int_t
ngx_stream_mdvr_media_reel_wish(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    bool                          created;
    char                          text[MDVR_BUS_NOTE_MAX], *dump;
    u_char                        dir[NGX_MAX_PATH];
    json_t                       *note, *own;
    ngx_fd_t                      fd;
    mdvr_rc_t                     rc;
    mdvr_bus_t                   *bus = ngx_mdvr_bus();
    mdvr_reel_head_t              head;
    mdvr_bus_start_t              start;
    mdvr_media_reposition_t       r;
    ngx_mdvr_core_conf_t         *conf;
    ngx_stream_mdvr_reel_wish_t  *wish;

    if (mdvr_media_read_reposition(msg->payload, &r) != MDVR_OK) {
        return ngx_stream_mdvr_media_refuse(m, "media_payload");
    }

    /* what came before is not wanted any more */

    (void) mdvr_bus_end(bus, m->reel, MDVR_BUS_END_STOPPED);

    if (mdvr_bus_note(bus, m->ref, text, sizeof(text)) != MDVR_OK) {
        return NGX_OK;                          /* over: the tick sees to it */
    }

    wish = ngx_pcalloc(m->connection->pool,
                       sizeof(ngx_stream_mdvr_reel_wish_t));
    if (wish == NULL) {
        return NGX_ERROR;
    }

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);
    wish->m = m;

    *ngx_snprintf(dir, sizeof(dir) - 1, "%V/playback", &conf->state_dir)
        = '\0';
    (void) ngx_create_dir(dir, 0770);

    *ngx_snprintf((u_char *) wish->path, sizeof(wish->path) - 1, "%s/%s-%uD",
                  dir, m->info->session, r.end) = '\0';

    fd = open(wish->path, O_RDWR|O_CREAT|O_TRUNC|O_CLOEXEC, 0660);

    ngx_memzero(&head, sizeof(head));
    head.magic = MDVR_REEL_MAGIC;
    head.base = r.start;

    if (fd == NGX_INVALID_FILE
        || pwrite(fd, &head, sizeof(head), 0) != (ssize_t) sizeof(head))
    {
        ngx_log_error(NGX_LOG_ERR, m->connection->log, ngx_errno,
                      "cannot make \"%s\"", wish->path);

        if (fd != NGX_INVALID_FILE) {
            (void) ngx_close_file(fd);
        }

        return ngx_stream_mdvr_media_refuse(m, "file_write");
    }

    (void) ngx_close_file(fd);

    ngx_memzero(&start, sizeof(start));
    start.kind = MDVR_BUS_KIND_FILE;
    ngx_memcpy(start.tenant_id, m->info->tenant_id, 16);
    ngx_memcpy(start.device_id, m->info->device_id, 16);
    start.serial = m->info->serial;
    start.deadline_ms = mdvr_bus_clock_ms() + NGX_STREAM_MDVR_REEL_WAIT;

    own = json_pack("{s:s, s:I}", "reel", wish->path, "base",
                    (json_int_t) r.start);
    dump = own ? json_dumps(own, JSON_COMPACT) : NULL;
    json_decref(own);
    start.note = dump;

    rc = dump ? mdvr_bus_start(bus, &start, mdvr_bus_clock_ms(), &wish->ref,
                               &created)
              : MDVR_E_NO_MEMORY;
    free(dump);

    if (rc != MDVR_OK) {
        ngx_stream_mdvr_reel_mark(wish->path, MDVR_REEL_BROKEN);
        ngx_stream_mdvr_reel_hopeless(m, MDVR_BUS_END_FAILED,
                                      "too many sessions on this node");
        return NGX_OK;
    }

    m->reel = wish->ref;

    note = json_loads(text, 0, NULL);

    if (ngx_stream_mdvr_reel_ask(m, json_string_value(
                                        json_object_get(note, "path")),
                                 r.start, wish)
        != NGX_OK)
    {
        (void) mdvr_bus_end(bus, wish->ref, MDVR_BUS_END_FAILED);
        ngx_stream_mdvr_reel_mark(wish->path, MDVR_REEL_BROKEN);
    }

    json_decref(note);

    return NGX_OK;
}


/* --- what the device sends ----------------------------------------------------------- */

static ngx_int_t
ngx_stream_mdvr_reel_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    char                     text[MDVR_BUS_NOTE_MAX];
    json_t                  *note;
    const char              *path;
    ngx_stream_mdvr_reel_t  *reel = m->data;

    if (m->info->state == MDVR_BUS_ENDING
        || mdvr_bus_note(ngx_mdvr_bus(), m->ref, text, sizeof(text))
           != MDVR_OK)
    {
        return NGX_DECLINED;
    }

    note = json_loads(text, 0, NULL);
    path = json_string_value(json_object_get(note, "reel"));

    if (path == NULL) {
        json_decref(note);
        return NGX_DECLINED;
    }

    reel->fd = open(path, O_RDWR|O_CLOEXEC);
    json_decref(note);

    if (reel->fd == NGX_INVALID_FILE
        || pread(reel->fd, &reel->head, sizeof(reel->head), 0)
           != (ssize_t) sizeof(reel->head)
        || reel->head.magic != MDVR_REEL_MAGIC)
    {
        if (reel->fd != NGX_INVALID_FILE) {
            (void) ngx_close_file(reel->fd);
        }

        return NGX_DECLINED;                    /* nobody plays it any more */
    }

    if (reg->size > 0) {
        reel->head.end = reel->head.base + (uint64_t) reg->size;
    }

    return NGX_OK;
}


static void
ngx_stream_mdvr_reel_show(ngx_stream_mdvr_reel_t *reel)
{
    (void) pwrite(reel->fd, &reel->head, sizeof(reel->head), 0);
    reel->shown = reel->head.safe;
    reel->shown_at = ngx_current_msec;
}


/* Whether the player is so far behind that the device has to wait. */

static ngx_uint_t
ngx_stream_mdvr_reel_ahead(ngx_stream_mdvr_reel_t *reel, uint64_t limit)
{
    struct stat  st;

    return fstat(reel->fd, &st) == 0
           && (uint64_t) st.st_blocks * 512 > limit;
}


static ngx_int_t
ngx_stream_mdvr_reel_block(ngx_stream_mdvr_media_t *m,
    const mdvr_media_block_t *block)
{
    size_t                   skip;
    uint64_t                 at;
    ngx_stream_mdvr_reel_t  *reel = m->data;

    if (!reel->begun) {
        reel->begun = 1;
        reel->head.state = MDVR_REEL_OPEN;

        if (block->offset == 0 && reel->head.base) {

            /* it was asked for a part and sends everything */

            reel->head.end -= reel->head.end ? reel->head.base : 0;
            reel->head.base = 0;
        }

        ngx_stream_mdvr_reel_show(reel);
    }

    if (block->offset < reel->head.base) {
        return NGX_OK;
    }

    at = block->offset - reel->head.base;

    if (at + block->data.len > (uint64_t) m->conf->max_file
        || (reel->head.end
            && block->offset + (uint64_t) block->data.len
               > reel->head.end + 1024 * 1024))
    {
        return ngx_stream_mdvr_media_refuse(m, "file_offset");
    }

    if (at > reel->head.safe
        || at + block->data.len <= reel->head.safe)
    {
        return NGX_OK;                          /* a gap, or twice */
    }

    skip = (size_t) (reel->head.safe - at);

    if (pwrite(reel->fd, block->data.p + skip, block->data.len - skip,
               (off_t) (MDVR_REEL_DATA + reel->head.safe))
        != (ssize_t) (block->data.len - skip))
    {
        ngx_log_error(NGX_LOG_ERR, m->connection->log, ngx_errno,
                      "pwrite() of a recording failed");
        return ngx_stream_mdvr_media_refuse(m, "file_write");
    }

    reel->head.safe += block->data.len - skip;

    if (reel->head.safe - reel->shown >= NGX_STREAM_MDVR_REEL_SHOW
        || ngx_current_msec - reel->shown_at >= 50)
    {
        ngx_stream_mdvr_reel_show(reel);
    }

    if (reel->head.safe - reel->looked >= NGX_STREAM_MDVR_REEL_LOOK) {
        reel->looked = reel->head.safe;
        m->held = ngx_stream_mdvr_reel_ahead(reel, MDVR_REEL_WINDOW);
    }

    if (reel->head.end && reel->full == 0
        && reel->head.base + reel->head.safe >= reel->head.end)
    {
        reel->full = ngx_current_msec;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mdvr_reel_over(ngx_stream_mdvr_media_t *m)
{
    u_char                   text[16];
    mdvr_buf_t               b;
    ngx_stream_mdvr_reel_t  *reel = m->data;

    if (reel->head.end
        && reel->head.base + reel->head.safe < reel->head.end)
    {
        return ngx_stream_mdvr_media_refuse(m, "file_short");
    }

    reel->done = 1;
    reel->head.state = MDVR_REEL_COMPLETE;
    reel->head.end = reel->head.base + reel->head.safe;
    ngx_stream_mdvr_reel_show(reel);

    (void) mdvr_bus_progress(ngx_mdvr_bus(), m->ref, m->ticket,
                             reel->head.safe);
    (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_COMPLETE,
                            m->connection->log);

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_empty(&b, MDVR_MEDIA_END);
    (void) ngx_stream_mdvr_media_send(m, &b);

    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_STOPPING,
                               m->conf->close_wait);

    return NGX_DONE;
}


static ngx_int_t
ngx_stream_mdvr_reel_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    mdvr_media_block_t       block;
    ngx_stream_mdvr_reel_t  *reel = m->data;

    switch (msg->type) {

    case MDVR_MEDIA_BLOCK:

        if (reel->done) {
            return NGX_OK;
        }

        if (mdvr_media_read_block(msg->payload, &block) != MDVR_OK) {
            return ngx_stream_mdvr_media_refuse(m, "media_payload");
        }

        return block.data.len ? ngx_stream_mdvr_reel_block(m, &block)
                              : ngx_stream_mdvr_reel_over(m);

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


static ngx_int_t
ngx_stream_mdvr_reel_wake(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_reel_t  *reel = m->data;

    return reel->done || mdvr_bus_owns(ngx_mdvr_bus(), m->ref, m->ticket)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_stream_mdvr_reel_tick(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_reel_t  *reel = m->data;

    if (reel->done) {
        return NGX_OK;
    }

    if (ngx_stream_mdvr_reel_wake(m) != NGX_OK) {
        return NGX_ERROR;
    }

    if (reel->begun && reel->shown != reel->head.safe) {
        ngx_stream_mdvr_reel_show(reel);
    }

    if (m->held) {

        /* the device waits for the player, not we for the device */

        m->heard = ngx_current_msec;

        if (!ngx_stream_mdvr_reel_ahead(reel, MDVR_REEL_WINDOW / 2)) {
            m->held = 0;
            ngx_post_event(m->connection->read, &ngx_posted_events);
        }

        return NGX_OK;
    }

    if (reel->full
        && ngx_current_msec - reel->full >= NGX_STREAM_MDVR_REEL_NO_END)
    {
        return ngx_stream_mdvr_reel_over(m);
    }

    if (ngx_current_msec - m->heard >= m->conf->file_timeout) {
        return ngx_stream_mdvr_media_refuse(m, "media_silence");
    }

    return NGX_OK;
}


static void
ngx_stream_mdvr_reel_close(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_reel_t  *reel = m->data;

    if (!reel->done && bus && !mdvr_bus_owns(bus, m->ref, m->ticket)
        && mdvr_bus_info(bus, m->ref, &info) == MDVR_OK
        && info.state != MDVR_BUS_ENDING)
    {
        reel->done = 1;                         /* another connection has it */
    }

    if (!reel->done) {
        reel->head.state = MDVR_REEL_BROKEN;
        ngx_stream_mdvr_reel_show(reel);
        (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_DISCONNECTED,
                                m->connection->log);
    }

    (void) ngx_close_file(reel->fd);
}
