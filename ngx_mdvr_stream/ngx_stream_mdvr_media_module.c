/*
 * The media front: directives, limits, and a connection from accept to close.
 * What the states mean is in ngx_stream_mdvr_media.h; all time-outs of a
 * connection run on one timer, `tick`.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"

#include <ngx_thread_pool.h>


#define NGX_STREAM_MDVR_MEDIA_TICK    500       /* ms */
#define NGX_STREAM_MDVR_MEDIA_RESYNC  3000      /* ms to find a message again */
#define NGX_STREAM_MDVR_MEDIA_LINGER  2000


static void *ngx_stream_mdvr_media_create_conf(ngx_conf_t *cf);
static char *ngx_stream_mdvr_media_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_stream_mdvr_media(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void ngx_stream_mdvr_media_handler(ngx_stream_session_t *s);
static void ngx_stream_mdvr_media_write(ngx_event_t *wev);
static void ngx_stream_mdvr_media_tick(ngx_event_t *ev);
static void ngx_stream_mdvr_media_cleanup(void *data);


static ngx_command_t  ngx_stream_mdvr_media_commands[] = {

    { ngx_string("mdvr_media"),
      NGX_STREAM_SRV_CONF|NGX_CONF_NOARGS,
      ngx_stream_mdvr_media,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_media_register_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, register_timeout),
      NULL },

    { ngx_string("mdvr_media_live_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, live_timeout),
      NULL },

    { ngx_string("mdvr_media_file_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, file_timeout),
      NULL },

    { ngx_string("mdvr_media_stall"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, stall),
      NULL },

    { ngx_string("mdvr_media_idle_stop"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, idle_stop),
      NULL },

    { ngx_string("mdvr_media_unseen_stop"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, unseen_stop),
      NULL },

    { ngx_string("mdvr_media_close_wait"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, close_wait),
      NULL },

    { ngx_string("mdvr_media_comeback"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, comeback),
      NULL },

    { ngx_string("mdvr_media_report"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, report),
      NULL },

    { ngx_string("mdvr_media_talk_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, talk_timeout),
      NULL },

    { ngx_string("mdvr_media_talk_idle"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, talk_idle),
      NULL },

    { ngx_string("mdvr_media_hls_part"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, hls_part),
      NULL },

    { ngx_string("mdvr_media_hls_segment"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, hls_segment),
      NULL },

    { ngx_string("mdvr_media_drain"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, drain),
      NULL },

    { ngx_string("mdvr_media_max_frame"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, max_frame),
      NULL },

    { ngx_string("mdvr_media_max_file"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, max_file),
      NULL },

    { ngx_string("mdvr_media_per_address"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, per_address),
      NULL },

    { ngx_string("mdvr_media_unregistered"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_mdvr_media_conf_t, unregistered),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_mdvr_media_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_mdvr_media_create_conf,     /* create server configuration */
    ngx_stream_mdvr_media_merge_conf       /* merge server configuration */
};


ngx_module_t  ngx_stream_mdvr_media_module = {
    NGX_MODULE_V1,
    &ngx_stream_mdvr_media_module_ctx,     /* module context */
    ngx_stream_mdvr_media_commands,        /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_stream_mdvr_media_create_conf(ngx_conf_t *cf)
{
    ngx_stream_mdvr_media_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_mdvr_media_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->register_timeout = NGX_CONF_UNSET_MSEC;
    conf->live_timeout = NGX_CONF_UNSET_MSEC;
    conf->file_timeout = NGX_CONF_UNSET_MSEC;
    conf->stall = NGX_CONF_UNSET_MSEC;
    conf->idle_stop = NGX_CONF_UNSET_MSEC;
    conf->unseen_stop = NGX_CONF_UNSET_MSEC;
    conf->close_wait = NGX_CONF_UNSET_MSEC;
    conf->comeback = NGX_CONF_UNSET_MSEC;
    conf->report = NGX_CONF_UNSET_MSEC;
    conf->talk_timeout = NGX_CONF_UNSET_MSEC;
    conf->talk_idle = NGX_CONF_UNSET_MSEC;
    conf->hls_part = NGX_CONF_UNSET_MSEC;
    conf->hls_segment = NGX_CONF_UNSET_MSEC;
    conf->drain = NGX_CONF_UNSET_MSEC;
    conf->max_frame = NGX_CONF_UNSET_SIZE;
    conf->max_file = NGX_CONF_UNSET;
    conf->per_address = NGX_CONF_UNSET_UINT;
    conf->unregistered = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_stream_mdvr_media_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_stream_mdvr_media_conf_t  *prev = parent;
    ngx_stream_mdvr_media_conf_t  *conf = child;

    ngx_conf_merge_msec_value(conf->register_timeout, prev->register_timeout,
                              10000);
    ngx_conf_merge_msec_value(conf->live_timeout, prev->live_timeout, 15000);
    ngx_conf_merge_msec_value(conf->file_timeout, prev->file_timeout, 30000);
    ngx_conf_merge_msec_value(conf->stall, prev->stall, 10000);
    ngx_conf_merge_msec_value(conf->idle_stop, prev->idle_stop, 15000);
    ngx_conf_merge_msec_value(conf->unseen_stop, prev->unseen_stop, 20000);
    ngx_conf_merge_msec_value(conf->close_wait, prev->close_wait, 5000);
    ngx_conf_merge_msec_value(conf->comeback, prev->comeback, 30000);
    ngx_conf_merge_msec_value(conf->report, prev->report, 2000);
    ngx_conf_merge_msec_value(conf->talk_timeout, prev->talk_timeout, 30000);
    ngx_conf_merge_msec_value(conf->talk_idle, prev->talk_idle, 2000);
    ngx_conf_merge_msec_value(conf->hls_part, prev->hls_part, 200);
    ngx_conf_merge_msec_value(conf->hls_segment, prev->hls_segment, 1000);
    ngx_conf_merge_msec_value(conf->drain, prev->drain, 120000);
    ngx_conf_merge_size_value(conf->max_frame, prev->max_frame,
                              MDVR_MEDIA_VIDEO_MAX);
    ngx_conf_merge_off_value(conf->max_file, prev->max_file,
                             (off_t) 4 * 1024 * 1024 * 1024);
    ngx_conf_merge_uint_value(conf->per_address, prev->per_address, 5000);
    ngx_conf_merge_uint_value(conf->unregistered, prev->unregistered, 1024);

    if (conf->hls_part < 50 || conf->hls_part > 2000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"mdvr_media_hls_part\" %Mms: it must be "
                           "between 50ms and 2s", conf->hls_part);
        return NGX_CONF_ERROR;
    }

    if (conf->max_frame < 4096 || conf->max_frame > 64 * 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"mdvr_media_max_frame\" %uz: it must be "
                           "between 4k and 64m", conf->max_frame);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_stream_mdvr_media(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_core_srv_conf_t  *cscf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    if (cscf->handler) {
        return "is duplicate";
    }

    /* files are brought to the disk by threads */

    if (ngx_thread_pool_add(cf, NULL) == NULL) {
        return NGX_CONF_ERROR;
    }

    cscf->handler = ngx_stream_mdvr_media_handler;

    return NGX_CONF_OK;
}


static void
ngx_stream_mdvr_media_handler(ngx_stream_session_t *s)
{
    ngx_int_t                      rc;
    ngx_connection_t              *c = s->connection;
    ngx_pool_cleanup_t            *cln;
    ngx_stream_mdvr_media_t       *m;
    ngx_stream_mdvr_media_conf_t  *conf;

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_mdvr_media_module);

    c->log->action = "waiting for a media registration";

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_stream_mdvr_media_t));
    if (cln == NULL) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    m = cln->data;
    ngx_memzero(m, sizeof(ngx_stream_mdvr_media_t));
    cln->handler = ngx_stream_mdvr_media_cleanup;

    m->session = s;
    m->connection = c;
    m->conf = conf;
    m->parser.limits.video = (uint32_t) conf->max_frame;
    m->heard = ngx_current_msec;
    m->mark = 1;

    ngx_stream_set_ctx(s, m, ngx_stream_mdvr_media_module);

    ngx_mdvr_count(media_connections);

    /* an address over its limit is refused this connection, never banned */

    rc = ngx_mdvr_address_add(c->sockaddr, NGX_MDVR_ADDR_SOCKET,
                              conf->per_address);
    if (rc == NGX_OK) {
        m->counted = 1;
        rc = ngx_mdvr_address_add(c->sockaddr, NGX_MDVR_ADDR_UNREGISTERED,
                                  conf->unregistered);
        m->counted_new = rc == NGX_OK;
    }

    if (rc == NGX_BUSY) {
        (void) ngx_stream_mdvr_media_refuse(m, "address_limit");
        ngx_stream_finalize_session(s, NGX_STREAM_FORBIDDEN);
        return;
    }

    c->read->handler = ngx_stream_mdvr_media_read;
    c->write->handler = ngx_stream_mdvr_media_write;

    m->tick.handler = ngx_stream_mdvr_media_tick;
    m->tick.data = m;
    m->tick.log = c->log;

    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_NEW,
                               conf->register_timeout);

    ngx_add_timer(&m->tick, NGX_STREAM_MDVR_MEDIA_TICK);

    if (c->buffer && c->buffer->pos < c->buffer->last) {

        /* what a preread phase has taken from the socket */

        m->len = c->buffer->last - c->buffer->pos;
        m->cap = m->len;
        m->buf = ngx_alloc(m->cap, c->log);

        if (m->buf == NULL) {
            ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
            return;
        }

        ngx_memcpy(m->buf, c->buffer->pos, m->len);
        c->buffer->pos = c->buffer->last;
        c->read->ready = 1;
    }

    ngx_stream_mdvr_media_read(c->read);
}


void
ngx_stream_mdvr_media_move(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_state_e state, ngx_msec_t wait)
{
    static const char  *action[] = {
        "waiting for a media registration",
        "receiving media",
        "waiting for the device to close",
        "closing a media connection"
    };

    ngx_log_debug3(NGX_LOG_DEBUG_STREAM, m->connection->log, 0,
                   "mdvr media: state %d -> %d, %M ms", m->state, state, wait);

    if (m->state != NGX_STREAM_MDVR_MEDIA_NEW || state == m->state) {
        /* counted as unregistered until the first move away from it */

    } else if (m->counted_new) {
        ngx_mdvr_address_sub(m->connection->sockaddr,
                             NGX_MDVR_ADDR_UNREGISTERED);
        m->counted_new = 0;
    }

    m->state = state;
    m->deadline = wait ? ngx_current_msec + wait : 0;
    m->connection->log->action = (char *) action[state];

    if (state == NGX_STREAM_MDVR_MEDIA_LINGERING && m->out_len == 0) {
        ngx_shutdown_socket(m->connection->fd, NGX_WRITE_SHUTDOWN);
    }
}


ngx_int_t
ngx_stream_mdvr_media_refuse(ngx_stream_mdvr_media_t *m, const char *reason)
{
    ngx_str_t  label;

    label.data = (u_char *) reason;
    label.len = ngx_strlen(reason);

    ngx_mdvr_keyed_add(NGX_MDVR_K_refusals_total, &label, 1);

    ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                  "media connection refused: %s, device: %s, session: %s",
                  reason, m->info ? m->info->serial : "-",
                  m->info ? m->info->session : "-");

    return NGX_ERROR;
}


/* --- sending ---------------------------------------------------------------- */

ngx_int_t
ngx_stream_mdvr_media_send(ngx_stream_mdvr_media_t *m, const mdvr_buf_t *b)
{
    ssize_t            n;
    ngx_connection_t  *c = m->connection;

    if (b->full || m->out_len + b->len > NGX_STREAM_MDVR_MEDIA_OUT) {
        return NGX_BUSY;
    }

    n = 0;

    if (m->out_len == 0 && !c->error) {
        n = c->send(c, b->p, b->len);

        if (n == NGX_ERROR) {
            c->error = 1;
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN) {
            n = 0;
        }
    }

    ngx_memcpy(m->out + m->out_len, b->p + n, b->len - n);
    m->out_len += b->len - n;

    ngx_mdvr_count_by(media_bytes_total, &(ngx_str_t) ngx_string("out"),
                      b->len);

    if (m->out_len && ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_stream_mdvr_media_write(ngx_event_t *wev)
{
    ssize_t                   n;
    ngx_connection_t         *c = wev->data;
    ngx_stream_session_t     *s = c->data;
    ngx_stream_mdvr_media_t  *m;

    m = ngx_stream_get_module_ctx(s, ngx_stream_mdvr_media_module);

    while (m->out_len && wev->ready) {
        n = c->send(c, m->out, m->out_len);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            c->error = 1;
            (void) ngx_stream_mdvr_media_close(m);
            return;
        }

        m->out_len -= n;
        ngx_memmove(m->out, m->out + n, m->out_len);
    }

    if (m->out_len == 0 && m->state == NGX_STREAM_MDVR_MEDIA_LINGERING) {
        ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN);
    }

    if (m->out_len == 0 && m->state == NGX_STREAM_MDVR_MEDIA_BOUND
        && m->kind->write && m->kind->write(m) == NGX_ERROR)
    {
        (void) ngx_stream_mdvr_media_close(m);
        return;
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        (void) ngx_stream_mdvr_media_close(m);
    }
}


/* --- time -------------------------------------------------------------------- */

/* Now and then, not with each segment. */

static void
ngx_stream_mdvr_media_count(ngx_stream_mdvr_media_t *m)
{
    static ngx_str_t  in = ngx_string("in");

    m->gulp = (size_t) (m->bytes - m->counted_bytes) / 4;

    if (m->bytes != m->counted_bytes) {
        ngx_mdvr_keyed_add(NGX_MDVR_K_media_bytes_total, &in,
                           (int64_t) (m->bytes - m->counted_bytes));
        m->counted_bytes = m->bytes;
    }
}


static void
ngx_stream_mdvr_media_tick(ngx_event_t *ev)
{
    ngx_int_t                 rc;
    ngx_stream_mdvr_media_t  *m = ev->data;

    ngx_stream_mdvr_media_count(m);

    rc = NGX_OK;

    if (m->state == NGX_STREAM_MDVR_MEDIA_BOUND) {
        rc = m->kind->tick(m);
    }

    /* rubbish is forgiven when a message follows it, but soon */

    if (!m->parser.scanning) {
        m->lost_since = 0;

    } else if (m->lost_since == 0) {
        m->lost_since = ngx_current_msec | 1;

    } else if (rc == NGX_OK
               && ngx_current_msec - m->lost_since
                  >= NGX_STREAM_MDVR_MEDIA_RESYNC)
    {
        rc = ngx_stream_mdvr_media_refuse(m, "media_syntax");
    }

    if (rc == NGX_OK && m->deadline
        && (ngx_msec_int_t) (ngx_current_msec - m->deadline) >= 0)
    {
        if (m->state == NGX_STREAM_MDVR_MEDIA_NEW) {
            (void) ngx_stream_mdvr_media_refuse(m, "register_timeout");
        }

        rc = NGX_ERROR;
    }

    if (rc == NGX_ERROR) {
        (void) ngx_stream_mdvr_media_close(m);
        return;
    }

    ngx_stream_mdvr_media_look(m);
    ngx_add_timer(ev, NGX_STREAM_MDVR_MEDIA_TICK);
}


/* --- the end ------------------------------------------------------------------ */

static void
ngx_stream_mdvr_media_unmeter(ngx_stream_mdvr_media_t *m)
{
    ngx_mdvr_meter_end(m->meter, m->ref, m->bytes);
    m->meter = NULL;
}



/*
 * The receive buffer may hold bytes that nobody will read: closing now would
 * send a reset that may overtake our last message, so wait for the peer a
 * little when it was refused.
 */

ngx_int_t
ngx_stream_mdvr_media_close(ngx_stream_mdvr_media_t *m)
{
    if (!m->eof && !m->connection->error
        && m->state != NGX_STREAM_MDVR_MEDIA_LINGERING)
    {
        if (m->kind) {
            m->kind->close(m);
            m->kind = NULL;
        }

        ngx_stream_mdvr_media_unmeter(m);
        ngx_mdvr_bus_unwatch(&m->watch);
        ngx_stream_mdvr_media_free(m);
        ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_LINGERING,
                                   NGX_STREAM_MDVR_MEDIA_LINGER);

        if (!m->tick.timer_set) {
            ngx_add_timer(&m->tick, NGX_STREAM_MDVR_MEDIA_TICK);
        }

        if (m->connection->read->ready) {
            ngx_post_event(m->connection->read, &ngx_posted_events);
        }

        return NGX_AGAIN;
    }

    /* here and not in the cleanup: a statement that is made on the way may
       open a connection to the database, which takes the place of ours when
       that has been given back */

    if (m->kind) {
        m->kind->close(m);
        m->kind = NULL;
    }

    ngx_stream_mdvr_media_unmeter(m);
    ngx_stream_finalize_session(m->session, NGX_STREAM_OK);

    return NGX_DONE;
}


static void
ngx_stream_mdvr_media_cleanup(void *data)
{
    ngx_stream_mdvr_media_t  *m = data;

    if (m->counted_new) {
        ngx_mdvr_address_sub(m->connection->sockaddr,
                             NGX_MDVR_ADDR_UNREGISTERED);
    }

    if (m->counted) {
        ngx_mdvr_address_sub(m->connection->sockaddr, NGX_MDVR_ADDR_SOCKET);
    }

    if (m->tick.timer_set) {
        ngx_del_timer(&m->tick);
    }

    ngx_mdvr_count_n(media_connections, -1);
    ngx_stream_mdvr_media_count(m);

    if (m->kind) {
        m->kind->close(m);
        m->kind = NULL;
    }

    ngx_mdvr_bus_unwatch(&m->watch);
    ngx_stream_mdvr_media_free(m);
    ngx_stream_mdvr_media_unmeter(m);
}
