/*
 * The frame bus on nginx' event loop.
 *
 * The master makes the segment and the directories before it forks, so that
 * they belong to the workers' user.  Each worker attaches in init_process and
 * adds its FIFO as a connection without a peer.  Once a second each worker
 * sweeps (the bus lets one through); the chief counts streams and keeps
 * `mdvr:live:{...}` in Redis, which tells other nodes where a stream's media
 * arrives.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_download.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_peer.h"
#include "ngx_mdvr_core/ngx_mdvr_playback.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_talk.h"
#include "mdvr/dc/write.h"
#include "mdvr/domain/keys.h"


#define NGX_MDVR_BUS_SWEEP      1000        /* ms */
#define NGX_MDVR_BUS_REFRESH    10          /* sweeps between two refreshes */
#define NGX_MDVR_BUS_COMMAND    15000       /* ms for the device's answer */
#define NGX_MDVR_BUS_AGAIN      1000        /* ms, the device was offline */


static ngx_int_t ngx_mdvr_bus_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_mdvr_bus_init_process(ngx_cycle_t *cycle);
static void ngx_mdvr_bus_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_mdvr_bus_attach(ngx_cycle_t *cycle);
static void ngx_mdvr_bus_read(ngx_event_t *ev);
static void ngx_mdvr_bus_sweep(ngx_event_t *ev);
static void ngx_mdvr_bus_census(ngx_mdvr_core_conf_t *conf);
static void ngx_mdvr_bus_due(void *data, const mdvr_bus_info_t *info);


static mdvr_bus_t            *ngx_mdvr_bus_self;
static ngx_queue_t           *ngx_mdvr_bus_watches;     /* per slot */
static ngx_connection_t      *ngx_mdvr_bus_connection;
static ngx_event_t            ngx_mdvr_bus_timer;
static ngx_cycle_t           *ngx_mdvr_bus_cycle;
static ngx_uint_t             ngx_mdvr_bus_sweeps;
static uint32_t               ngx_mdvr_bus_told[MDVR_BUS_STREAMS_MAX];


static ngx_core_module_t  ngx_mdvr_bus_module_ctx = {
    ngx_string("mdvr_bus"),
    NULL,
    NULL
};


ngx_module_t  ngx_mdvr_bus_module = {
    NGX_MODULE_V1,
    &ngx_mdvr_bus_module_ctx,              /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_mdvr_bus_init_module,              /* init module */
    ngx_mdvr_bus_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_mdvr_bus_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


mdvr_bus_t *
ngx_mdvr_bus(void)
{
    return ngx_mdvr_bus_self;
}


/* --- births and deaths ---------------------------------------------------- */

static void
ngx_mdvr_bus_text(char *dst, size_t size, ngx_str_t *src)
{
    (void) ngx_snprintf((u_char *) dst, size, "%V%Z", src);
    dst[size - 1] = '\0';
}


static ngx_int_t
ngx_mdvr_bus_init_module(ngx_cycle_t *cycle)
{
    char                   dir[256], name[64], state[256], wake[272], err[256];
    mdvr_bus_conf_t        bus;
    ngx_core_conf_t       *ccf;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf(cycle);

    if (conf == NULL || conf->bus_name.len == 0 || ngx_test_config) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_mdvr_bus_text(dir, sizeof(dir), &conf->bus_dir);
    ngx_mdvr_bus_text(name, sizeof(name), &conf->bus_name);
    ngx_mdvr_bus_text(state, sizeof(state), &conf->state_dir);
    (void) ngx_snprintf((u_char *) wake, sizeof(wake), "%s/wake%Z", state);

    if (ngx_create_dir((u_char *) state, 0770) == NGX_FILE_ERROR
        && ngx_errno != NGX_EEXIST)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      ngx_create_dir_n " \"%s\" failed", state);
        return NGX_ERROR;
    }

    ngx_memzero(&bus, sizeof(mdvr_bus_conf_t));
    bus.dir = dir;
    bus.name = name;
    bus.wake_dir = wake;
    bus.streams = (uint32_t) conf->bus_streams;
    bus.ring_size = conf->bus_ring;
    bus.uid = ccf->user;
    bus.gid = ccf->group;

    if (mdvr_bus_create(&bus, err, sizeof(err)) != MDVR_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "%s", err);
        return NGX_ERROR;
    }

    if (err[0]) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0, "%s", err);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mdvr_bus_init_process(ngx_cycle_t *cycle)
{
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf(cycle);

    if (conf == NULL || conf->bus_name.len == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    ngx_mdvr_bus_cycle = cycle;

    /* without the bus there is no video, everything else goes on */

    (void) ngx_mdvr_bus_attach(cycle);

    ngx_memzero(&ngx_mdvr_bus_timer, sizeof(ngx_event_t));
    ngx_mdvr_bus_timer.handler = ngx_mdvr_bus_sweep;
    ngx_mdvr_bus_timer.data = conf;
    ngx_mdvr_bus_timer.log = cycle->log;
    ngx_mdvr_bus_timer.cancelable = 1;

    ngx_add_timer(&ngx_mdvr_bus_timer, NGX_MDVR_BUS_SWEEP);

    return NGX_OK;
}


static ngx_int_t
ngx_mdvr_bus_attach(ngx_cycle_t *cycle)
{
    char                   dir[256], name[64], err[256];
    uint32_t               i, n;
    mdvr_bus_t            *bus;
    ngx_connection_t      *c;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf(cycle);

    ngx_mdvr_bus_text(dir, sizeof(dir), &conf->bus_dir);
    ngx_mdvr_bus_text(name, sizeof(name), &conf->bus_name);

    if (mdvr_bus_attach(&bus, dir, name, "nginx", err, sizeof(err))
        != MDVR_OK)
    {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "%s", err);
        return NGX_ERROR;
    }

    n = mdvr_bus_streams(bus);

    if (ngx_mdvr_bus_watches == NULL) {
        ngx_mdvr_bus_watches = ngx_palloc(cycle->pool,
                                          n * sizeof(ngx_queue_t));
        if (ngx_mdvr_bus_watches == NULL) {
            goto failed;
        }

        for (i = 0; i < n; i++) {
            ngx_queue_init(&ngx_mdvr_bus_watches[i]);
        }
    }

    c = ngx_get_connection(mdvr_bus_fd(bus), cycle->log);
    if (c == NULL) {
        goto failed;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = ngx_mdvr_bus_read;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        c->fd = (ngx_socket_t) -1;
        ngx_free_connection(c);
        goto failed;
    }

    ngx_mdvr_bus_connection = c;
    ngx_mdvr_bus_self = bus;

    return NGX_OK;

failed:

    mdvr_bus_detach(bus);

    return NGX_ERROR;
}


static void
ngx_mdvr_bus_exit_process(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c = ngx_mdvr_bus_connection;

    if (c != NULL) {
        ngx_del_event(c->read, NGX_READ_EVENT, 0);
        c->fd = (ngx_socket_t) -1;
        ngx_free_connection(c);
        ngx_mdvr_bus_connection = NULL;
    }

    if (ngx_mdvr_bus_self != NULL) {
        mdvr_bus_detach(ngx_mdvr_bus_self);
        ngx_mdvr_bus_self = NULL;
    }
}


/* --- watches ---------------------------------------------------------------- */

mdvr_rc_t
ngx_mdvr_bus_watch(ngx_mdvr_bus_watch_t *watch, mdvr_bus_ref_t ref,
    ngx_mdvr_bus_mode_e mode, ngx_mdvr_bus_pt handler, void *data)
{
    mdvr_rc_t  rc;

    if (ngx_mdvr_bus_self == NULL) {
        return MDVR_E_UNAVAILABLE;
    }

    rc = MDVR_OK;

    if (mode == NGX_MDVR_BUS_WATCH) {
        rc = mdvr_bus_watch(ngx_mdvr_bus_self, ref);

    } else if (mode == NGX_MDVR_BUS_VIEWER) {
        rc = mdvr_bus_viewer_add(ngx_mdvr_bus_self, ref);
    }

    if (rc != MDVR_OK) {
        return rc;
    }

    watch->ref = ref;
    watch->mode = mode;
    watch->handler = handler;
    watch->data = data;
    watch->active = 1;

    ngx_queue_insert_tail(&ngx_mdvr_bus_watches[ref.index], &watch->queue);

    return MDVR_OK;
}


void
ngx_mdvr_bus_unwatch(ngx_mdvr_bus_watch_t *watch)
{
    if (!watch->active) {
        return;
    }

    watch->active = 0;
    ngx_queue_remove(&watch->queue);

    if (ngx_mdvr_bus_self == NULL) {
        return;                                 /* the worker is exiting */
    }

    if (watch->mode == NGX_MDVR_BUS_WATCH) {
        mdvr_bus_unwatch(ngx_mdvr_bus_self, watch->ref);

    } else if (watch->mode == NGX_MDVR_BUS_VIEWER) {
        mdvr_bus_viewer_del(ngx_mdvr_bus_self, watch->ref,
                            mdvr_bus_clock_ms());
    }
}


/*
 * Watches of one slot wait in a list of their own while they are called, so
 * that whoever is added or removed meanwhile is added or removed safely.
 */

static void
ngx_mdvr_bus_call(uint32_t index)
{
    ngx_queue_t            waiting, *list, *q;
    ngx_mdvr_bus_watch_t  *watch;

    list = &ngx_mdvr_bus_watches[index];

    if (ngx_queue_empty(list)) {
        return;
    }

    ngx_queue_init(&waiting);
    ngx_queue_add(&waiting, list);
    ngx_queue_init(list);

    while (!ngx_queue_empty(&waiting)) {
        q = ngx_queue_head(&waiting);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(list, q);

        watch = ngx_queue_data(q, ngx_mdvr_bus_watch_t, queue);
        watch->handler(watch->data);
    }
}


static void
ngx_mdvr_bus_read(ngx_event_t *ev)
{
    uint32_t  i;
    uint64_t  dirty[MDVR_BUS_DIRTY_WORDS], bits;

    if (mdvr_bus_woken(ngx_mdvr_bus_self, dirty) == 0) {
        return;
    }

    for (i = 0; i < MDVR_BUS_DIRTY_WORDS; i++) {
        for (bits = dirty[i]; bits; bits &= bits - 1) {
            ngx_mdvr_bus_call(i * 64 + (uint32_t) __builtin_ctzll(bits));
        }
    }
}


/* --- once a second ------------------------------------------------------------ */

static void
ngx_mdvr_bus_sweep(ngx_event_t *ev)
{
    ngx_mdvr_core_conf_t  *conf = ev->data;

    if (ngx_exiting) {
        if (ngx_mdvr_bus_self == NULL) {
            return;
        }

    } else if (ngx_mdvr_bus_self == NULL) {
        (void) ngx_mdvr_bus_attach(ngx_mdvr_bus_cycle);
    }

    ngx_add_timer(ev, NGX_MDVR_BUS_SWEEP);

    if (ngx_mdvr_bus_self == NULL) {
        return;
    }

    mdvr_bus_sweep(ngx_mdvr_bus_self, mdvr_bus_clock_ms(), ngx_mdvr_bus_due,
                   ev->log);

    if (ngx_mdvr_is_chief()) {
        ngx_mdvr_bus_census(conf);
        ngx_mdvr_download_poll(conf, ev->log);

    } else {
        ngx_mdvr_gauge(live_streams, 0);
        ngx_mdvr_gauge(live_viewers, 0);
        ngx_mdvr_gauge(talks, 0);
    }
}


static void
ngx_mdvr_bus_live_key(mdvr_buf_t *key, const mdvr_bus_info_t *info)
{
    u_char           text[NGX_MDVR_UUID_LEN];
    ngx_mdvr_uuid_t  id;

    ngx_memcpy(&id, info->device_id, 16);
    ngx_mdvr_uuid_print(text, &id);

    mdvr_key_live(key, mdvr_str(text, NGX_MDVR_UUID_LEN), info->channel,
                  info->stream ? MDVR_STR("sub") : MDVR_STR("main"));
}


static void
ngx_mdvr_bus_census(ngx_mdvr_core_conf_t *conf)
{
    char                text[MDVR_KEY_MAX];
    size_t              lens[6];
    uint32_t            i, n, streams, viewers, talks;
    mdvr_buf_t          key;
    const char         *argv[6];
    ngx_uint_t          refresh;
    mdvr_bus_ref_t      ref;
    mdvr_bus_info_t     info;

    static const char   forget[] =
        "if redis.call('get',KEYS[1])==ARGV[1] then "
        "return redis.call('del',KEYS[1]) end return 0";

    streams = 0;
    viewers = 0;
    talks = 0;
    refresh = (ngx_mdvr_bus_sweeps++ % NGX_MDVR_BUS_REFRESH) == 0;
    n = mdvr_bus_streams(ngx_mdvr_bus_self);

    if (refresh) {
        ngx_mdvr_peer_announce(conf);
    }

    for (i = 0; i < n; i++) {

        if (mdvr_bus_at(ngx_mdvr_bus_self, i, &ref) != MDVR_OK
            || mdvr_bus_info(ngx_mdvr_bus_self, ref, &info) != MDVR_OK)
        {
            continue;
        }

        talks += info.kind == MDVR_BUS_KIND_TALK
                 && info.state == MDVR_BUS_LIVE;

        if (info.kind != MDVR_BUS_KIND_LIVE) {
            continue;
        }

        key = mdvr_buf(text, sizeof(text));

        if (info.state == MDVR_BUS_ENDING) {

            if (ngx_mdvr_bus_told[i] == ref.generation) {
                continue;
            }

            ngx_mdvr_bus_told[i] = ref.generation;

            if (mdvr_bus_find_key(ngx_mdvr_bus_self, MDVR_BUS_KIND_LIVE,
                                  info.device_id, info.channel, info.stream,
                                  &ref)
                == MDVR_OK)
            {
                continue;                       /* it runs again already */
            }

            ngx_mdvr_bus_live_key(&key, &info);

            argv[0] = "EVAL";
            lens[0] = 4;
            argv[1] = forget;
            lens[1] = sizeof(forget) - 1;
            argv[2] = "1";
            lens[2] = 1;
            argv[3] = text;
            lens[3] = key.len;
            argv[4] = (char *) conf->node.data;
            lens[4] = conf->node.len;

            (void) ngx_mdvr_redis_command(NULL, 5000, 5, argv, lens, NULL,
                                          NULL);
            continue;
        }

        streams += info.state == MDVR_BUS_LIVE;
        viewers += info.viewers;

        if (!refresh) {
            continue;
        }

        ngx_mdvr_bus_live_key(&key, &info);

        argv[0] = "SET";
        lens[0] = 3;
        argv[1] = text;
        lens[1] = key.len;
        argv[2] = (char *) conf->node.data;
        lens[2] = conf->node.len;
        argv[3] = "EX";
        lens[3] = 2;
        argv[4] = "30";
        lens[4] = 2;

        (void) ngx_mdvr_redis_command(NULL, 5000, 5, argv, lens, NULL, NULL);
    }

    ngx_mdvr_gauge(live_streams, streams);
    ngx_mdvr_gauge(live_viewers, viewers);
    ngx_mdvr_gauge(talks, talks);
}


/* --- ends ------------------------------------------------------------------------ */

static void
ngx_mdvr_bus_report(const mdvr_bus_info_t *info, mdvr_bus_end_e why,
    ngx_log_t *log)
{
    ngx_str_t  reason;

    reason.data = (u_char *) mdvr_bus_end_name(why);
    reason.len = ngx_strlen(reason.data);

    if (info->kind == MDVR_BUS_KIND_LIVE
        || info->kind == MDVR_BUS_KIND_PLAYBACK)
    {
        ngx_mdvr_count_by(stream_ends_total, &reason, 1);
    }

    if (info->kind == MDVR_BUS_KIND_TALK) {
        ngx_mdvr_count_by(talk_ends_total, &reason, 1);
        ngx_mdvr_talk_over(info, why);
    }

    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "media session %s ended: %s, device: %s, channel: %d, "
                  "stream: %s, frames: %uL, bytes: %uL, dropped: %uL",
                  info->session, mdvr_bus_end_text(why), info->serial,
                  (int) info->channel, info->stream ? "sub" : "main",
                  info->frames, info->bytes, info->dropped);
}


static void
ngx_mdvr_bus_due(void *data, const mdvr_bus_info_t *info)
{
    char        note[MDVR_BUS_NOTE_MAX];
    ngx_log_t  *log = data;

    if (info->state == MDVR_BUS_STARTING) {
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "media session %s lost its connection, starting it "
                      "again, device: %s", info->session, info->serial);
        ngx_mdvr_bus_start_device(info);
        return;
    }

    ngx_mdvr_bus_report(info, info->end, data);
    ngx_mdvr_bus_stop_device(info);

    if (info->kind == MDVR_BUS_KIND_PLAYBACK
        && mdvr_bus_note(ngx_mdvr_bus_self, info->ref, note, sizeof(note))
           == MDVR_OK)
    {
        ngx_mdvr_playback_over(note, mdvr_bus_end_name(info->end));
    }

    ngx_mdvr_download_interrupted(info->ref, -1, mdvr_bus_end_text(info->end));
}


const char *
ngx_mdvr_bus_live_note(char *buf, ngx_uint_t audio)
{
    *ngx_snprintf((u_char *) buf, NGX_MDVR_BUS_LIVE_NOTE - 1, "audio %ui",
                  audio)
        = '\0';

    return buf;
}


ngx_uint_t
ngx_mdvr_bus_live_audio(mdvr_bus_ref_t ref)
{
    char       note[MDVR_BUS_NOTE_MAX];
    ngx_int_t  audio;

    if (ngx_mdvr_bus_self == NULL
        || mdvr_bus_note(ngx_mdvr_bus_self, ref, note, sizeof(note)) != MDVR_OK
        || ngx_strncmp(note, "audio ", 6) != 0)
    {
        return 0;
    }

    audio = ngx_atoi((u_char *) note + 6, ngx_strlen(note + 6));

    return audio > 0 && audio < 100 ? audio : 0;
}


mdvr_rc_t
ngx_mdvr_bus_end(mdvr_bus_ref_t ref, mdvr_bus_end_e why, ngx_log_t *log)
{
    mdvr_rc_t        rc;
    mdvr_bus_info_t  info;

    if (ngx_mdvr_bus_self == NULL) {
        return MDVR_E_UNAVAILABLE;
    }

    rc = mdvr_bus_info(ngx_mdvr_bus_self, ref, &info);
    if (rc != MDVR_OK) {
        return rc;
    }

    rc = mdvr_bus_end(ngx_mdvr_bus_self, ref, why);
    if (rc == MDVR_OK) {
        ngx_mdvr_bus_report(&info, why, log);
    }

    return rc;
}


/*
 * A device that was offline when it should begin again, as one is that just
 * moves to another worker, is asked once more until the session's deadline.
 */

static void
ngx_mdvr_bus_started(void *data, const ngx_mdvr_answer_t *answer, mdvr_rc_t rc)
{
    mdvr_bus_ref_t  *ref = data;

    if (answer && answer->status == NGX_MDVR_ANSWER_SENT) {
        return;
    }

    if (ngx_mdvr_bus_self
        && (answer == NULL || answer->status == NGX_MDVR_ANSWER_OFFLINE))
    {
        mdvr_bus_restart_at(ngx_mdvr_bus_self, *ref,
                            mdvr_bus_clock_ms() + NGX_MDVR_BUS_AGAIN);
    }

    ngx_free(ref);
}


static void
ngx_mdvr_bus_c508(const mdvr_bus_info_t *info, ngx_uint_t start)
{
    u_char                 text[512];
    mdvr_buf_t             body;
    mdvr_bus_ref_t        *ref;
    mdvr_endpoint_t        media;
    ngx_mdvr_command_t     command;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (conf == NULL || info->kind != MDVR_BUS_KIND_LIVE
        || info->channel == 0)
    {
        return;
    }

    body = mdvr_buf(text, sizeof(text));

    if (start) {
        media.address = mdvr_str(conf->public_host.data,
                                 conf->public_host.len);
        media.port = (unsigned) conf->media_port;
        mdvr_body_c508_start(&body, mdvr_cstr(info->session),
                             info->channel - 1, info->stream, media);
    } else {
        mdvr_body_c508_stop(&body, mdvr_cstr(info->session),
                            info->channel - 1, info->stream);
    }

    if (body.full) {
        return;
    }

    ngx_memzero(&command, sizeof(ngx_mdvr_command_t));
    command.serial.data = (u_char *) info->serial;
    command.serial.len = ngx_strlen(info->serial);
    ngx_str_set(&command.keyword, "C508");
    command.body.data = text;
    command.body.len = body.len;
    command.timeout = NGX_MDVR_BUS_COMMAND;

    if (body.len && text[0] == ',') {
        command.body.data++;
        command.body.len--;
    }

    if (!start) {
        (void) ngx_mdvr_command_send(NULL, &command, NULL, NULL);
        return;
    }

    ref = ngx_alloc(sizeof(mdvr_bus_ref_t), ngx_cycle->log);
    if (ref == NULL) {
        return;
    }

    *ref = info->ref;

    if (ngx_mdvr_command_send(NULL, &command, ngx_mdvr_bus_started, ref)
        != NGX_OK)
    {
        ngx_free(ref);
    }
}


void
ngx_mdvr_bus_start_device(const mdvr_bus_info_t *info)
{
    if (info->kind == MDVR_BUS_KIND_TALK) {
        ngx_mdvr_talk_send(info, 1);
        return;
    }

    ngx_mdvr_bus_c508(info, 1);
}


void
ngx_mdvr_bus_stop_device(const mdvr_bus_info_t *info)
{
    if (info->kind == MDVR_BUS_KIND_TALK) {
        ngx_mdvr_talk_send(info, 0);
        return;
    }

    ngx_mdvr_bus_c508(info, 0);
}
