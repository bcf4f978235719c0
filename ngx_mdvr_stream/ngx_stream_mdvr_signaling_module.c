
/*
 * "mdvr_signaling;" in a stream server: the port that devices register on.
 * Directives, the life of a worker, and the content handler.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/domain/keys.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"


static char *ngx_mdvr_sig_alarm_server(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_mdvr_sig_enable(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void *ngx_mdvr_sig_create_main_conf(ngx_conf_t *cf);
static char *ngx_mdvr_sig_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_mdvr_sig_create_srv_conf(ngx_conf_t *cf);
static char *ngx_mdvr_sig_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_mdvr_sig_init_process(ngx_cycle_t *cycle);
static void ngx_mdvr_sig_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_mdvr_sig_journals(ngx_cycle_t *cycle);
static void ngx_mdvr_sig_tick(ngx_event_t *ev);


static ngx_conf_num_bounds_t  ngx_mdvr_sig_batch_bounds = {
    ngx_conf_check_num_bounds, 1, 5000
};

static ngx_conf_num_bounds_t  ngx_mdvr_sig_few_bounds = {
    ngx_conf_check_num_bounds, 1, 64
};

static ngx_conf_num_bounds_t  ngx_mdvr_sig_count_bounds = {
    ngx_conf_check_num_bounds, 1, 1000000
};

static ngx_conf_num_bounds_t  ngx_mdvr_sig_queue_bounds = {
    ngx_conf_check_num_bounds, 1, 10000
};


static ngx_command_t  ngx_mdvr_sig_commands[] = {

    { ngx_string("mdvr_signaling"),
      NGX_STREAM_SRV_CONF|NGX_CONF_NOARGS,
      ngx_mdvr_sig_enable,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_signaling_register_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, register_timeout),
      NULL },

    { ngx_string("mdvr_signaling_idle_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, idle_timeout),
      NULL },

    { ngx_string("mdvr_signaling_wire"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, wire),
      NULL },

    { ngx_string("mdvr_signaling_send_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, send_timeout),
      NULL },

    { ngx_string("mdvr_signaling_heartbeat"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, heartbeat),
      NULL },

    { ngx_string("mdvr_signaling_output_limit"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, output_limit),
      NULL },

    { ngx_string("mdvr_signaling_connections_per_address"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, per_address),
      &ngx_mdvr_sig_count_bounds },

    { ngx_string("mdvr_signaling_unregistered_per_address"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, unregistered),
      &ngx_mdvr_sig_count_bounds },

    { ngx_string("mdvr_signaling_alarm_queue"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, alarm_queue),
      &ngx_mdvr_sig_queue_bounds },

    { ngx_string("mdvr_signaling_call_wait"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, call_wait),
      NULL },

    { ngx_string("mdvr_signaling_command_queue"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, command_queue),
      &ngx_mdvr_sig_queue_bounds },

    { ngx_string("mdvr_signaling_alarm_video"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_conf_t, alarm_video),
      NULL },

    { ngx_string("mdvr_signaling_alarm_server"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_mdvr_sig_alarm_server,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_signaling_drain_delay"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, drain_delay),
      NULL },

    { ngx_string("mdvr_signaling_drain_spread"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, drain_spread),
      NULL },

    { ngx_string("mdvr_telemetry_batch"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, batch),
      &ngx_mdvr_sig_batch_bounds },

    { ngx_string("mdvr_telemetry_flush"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, batch_delay),
      NULL },

    { ngx_string("mdvr_telemetry_batches"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, batches),
      &ngx_mdvr_sig_few_bounds },

    { ngx_string("mdvr_telemetry_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, batch_timeout),
      NULL },

    { ngx_string("mdvr_telemetry_spool"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, spool_size),
      NULL },

    { ngx_string("mdvr_alarm_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, alarm_timeout),
      NULL },

    { ngx_string("mdvr_alarm_journal"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_mdvr_sig_main_conf_t, journal_size),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_mdvr_sig_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_mdvr_sig_create_main_conf,         /* create main configuration */
    ngx_mdvr_sig_init_main_conf,           /* init main configuration */

    ngx_mdvr_sig_create_srv_conf,          /* create server configuration */
    ngx_mdvr_sig_merge_srv_conf            /* merge server configuration */
};


ngx_module_t  ngx_stream_mdvr_signaling_module = {
    NGX_MODULE_V1,
    &ngx_mdvr_sig_module_ctx,              /* module context */
    ngx_mdvr_sig_commands,                 /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_mdvr_sig_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_mdvr_sig_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_mdvr_sig_t  ngx_mdvr_sig;

static ngx_str_t    ngx_mdvr_sig_threads = ngx_string("default");
static ngx_str_t    ngx_mdvr_sig_control_channel =
                                            ngx_string(MDVR_CHANNEL_CTL);
static ngx_event_t  ngx_mdvr_sig_timer;
ngx_connection_t    ngx_mdvr_sig_dummy = { .fd = (ngx_socket_t) -1 };


static char *
ngx_mdvr_sig_enable(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mdvr_sig_conf_t        *sscf = conf;

    ngx_mdvr_sig_main_conf_t   *smcf;
    ngx_stream_core_srv_conf_t  *cscf;

    if (sscf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    sscf->enable = 1;

    smcf = ngx_stream_conf_get_module_main_conf(cf,
                                            ngx_stream_mdvr_signaling_module);
    smcf->enabled = 1;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);
    cscf->handler = ngx_mdvr_link_accept;

    return NGX_CONF_OK;
}


/* <host>:<port>, or "off" */

static char *
ngx_mdvr_sig_alarm_server(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mdvr_sig_conf_t  *sscf = conf;

    u_char     *p, *last;
    ngx_int_t   port;
    ngx_str_t  *value;

    if (sscf->alarm_port != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    last = value[1].data + value[1].len;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        sscf->alarm_port = 0;
        return NGX_CONF_OK;
    }

    p = ngx_strlchr(value[1].data, last, ':');
    port = p ? ngx_atoi(p + 1, last - p - 1) : NGX_ERROR;

    if (port < 1 || port > 65535 || p == value[1].data
        || p - value[1].data > 253
        || ngx_strlchr(value[1].data, last, ',')
        || ngx_strlchr(value[1].data, last, '#'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of "
                           "\"mdvr_signaling_alarm_server\": it must be "
                           "<host>:<port> or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    sscf->alarm_server.data = value[1].data;
    sscf->alarm_server.len = p - value[1].data;
    sscf->alarm_port = port;

    return NGX_CONF_OK;
}


static void *
ngx_mdvr_sig_create_main_conf(ngx_conf_t *cf)
{
    ngx_mdvr_sig_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_mdvr_sig_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->batch = NGX_CONF_UNSET_UINT;
    conf->batch_delay = NGX_CONF_UNSET_MSEC;
    conf->batches = NGX_CONF_UNSET_UINT;
    conf->batch_timeout = NGX_CONF_UNSET_MSEC;
    conf->spool_size = NGX_CONF_UNSET;
    conf->alarm_timeout = NGX_CONF_UNSET_MSEC;
    conf->journal_size = NGX_CONF_UNSET;
    conf->drain_delay = NGX_CONF_UNSET_MSEC;
    conf->drain_spread = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_mdvr_sig_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_mdvr_sig_main_conf_t  *smcf = conf;

    ngx_conf_init_uint_value(smcf->batch, 2000);
    ngx_conf_init_msec_value(smcf->batch_delay, 50);
    ngx_conf_init_uint_value(smcf->batches, 4);
    ngx_conf_init_msec_value(smcf->batch_timeout, 10000);
    ngx_conf_init_value(smcf->spool_size, (off_t) 4 * 1024 * 1024 * 1024);
    ngx_conf_init_msec_value(smcf->alarm_timeout, 3000);
    ngx_conf_init_value(smcf->journal_size, (off_t) 256 * 1024 * 1024);
    ngx_conf_init_msec_value(smcf->drain_delay, 120000);
    ngx_conf_init_msec_value(smcf->drain_spread, 120000);

    if (smcf->enabled && ngx_thread_pool_add(cf, NULL) == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_mdvr_sig_create_srv_conf(ngx_conf_t *cf)
{
    ngx_mdvr_sig_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_mdvr_sig_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->enable = NGX_CONF_UNSET;
    conf->register_timeout = NGX_CONF_UNSET_MSEC;
    conf->idle_timeout = NGX_CONF_UNSET_MSEC;
    conf->wire = NGX_CONF_UNSET_UINT;
    conf->send_timeout = NGX_CONF_UNSET_MSEC;
    conf->heartbeat = NGX_CONF_UNSET_MSEC;
    conf->output_limit = NGX_CONF_UNSET_SIZE;
    conf->per_address = NGX_CONF_UNSET_UINT;
    conf->unregistered = NGX_CONF_UNSET_UINT;
    conf->alarm_queue = NGX_CONF_UNSET_UINT;
    conf->command_queue = NGX_CONF_UNSET_UINT;
    conf->call_wait = NGX_CONF_UNSET_MSEC;
    conf->alarm_video = NGX_CONF_UNSET;
    conf->alarm_port = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_mdvr_sig_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_mdvr_sig_conf_t  *prev = parent;
    ngx_mdvr_sig_conf_t  *conf = child;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_msec_value(conf->register_timeout,
                              prev->register_timeout, 10000);
    ngx_conf_merge_msec_value(conf->idle_timeout, prev->idle_timeout, 180000);
    ngx_conf_merge_uint_value(conf->wire, prev->wire, 100);
    ngx_conf_merge_msec_value(conf->send_timeout, prev->send_timeout, 30000);
    ngx_conf_merge_msec_value(conf->heartbeat, prev->heartbeat, 60000);
    ngx_conf_merge_size_value(conf->output_limit, prev->output_limit, 65536);
    ngx_conf_merge_uint_value(conf->per_address, prev->per_address, 5000);
    ngx_conf_merge_uint_value(conf->unregistered, prev->unregistered, 1024);
    ngx_conf_merge_uint_value(conf->alarm_queue, prev->alarm_queue, 32);
    ngx_conf_merge_uint_value(conf->command_queue, prev->command_queue, 64);
    ngx_conf_merge_msec_value(conf->call_wait, prev->call_wait, 0);
    ngx_conf_merge_value(conf->alarm_video, prev->alarm_video, 0);

    if (conf->alarm_port == NGX_CONF_UNSET_UINT) {
        conf->alarm_server = prev->alarm_server;
        conf->alarm_port = prev->alarm_port;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mdvr_sig_init_process(ngx_cycle_t *cycle)
{
    ngx_mdvr_sig_main_conf_t  *smcf;

    if (ngx_mdvr_slot == NGX_MDVR_NO_SLOT) {
        return NGX_OK;
    }

    smcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                            ngx_stream_mdvr_signaling_module);

    if (smcf == NULL || !smcf->enabled) {
        return NGX_OK;
    }

    ngx_mdvr_sig.conf = smcf;
    ngx_mdvr_sig.core = ngx_mdvr_core_conf(cycle);
    ngx_mdvr_sig.log = cycle->log;

    if (ngx_mdvr_link_tables(cycle) != NGX_OK
        || ngx_mdvr_position_init(cycle) != NGX_OK
        || ngx_mdvr_sig_journals(cycle) != NGX_OK
        || ngx_mdvr_mail_handler(NGX_MDVR_MAIL_CLOSE, ngx_mdvr_sig_mail)
           != NGX_OK
        || ngx_mdvr_drain_handler(ngx_mdvr_link_drain) != NGX_OK
        || ngx_mdvr_redis_subscribe(&ngx_mdvr_sig_control_channel,
                                    ngx_mdvr_sig_control, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_mdvr_registry_lost_handler(ngx_mdvr_sig_lost);
    ngx_mdvr_command_handler(ngx_mdvr_sig_order);

    ngx_mdvr_sig_timer.handler = ngx_mdvr_sig_tick;
    ngx_mdvr_sig_timer.data = &ngx_mdvr_sig_dummy;
    ngx_mdvr_sig_timer.log = cycle->log;
    ngx_mdvr_sig_timer.cancelable = 1;

    ngx_add_timer(&ngx_mdvr_sig_timer, 1000);

    return NGX_OK;
}


static ngx_int_t
ngx_mdvr_sig_journals(ngx_cycle_t *cycle)
{
    size_t               len;
    ngx_str_t           *dir, path;
    ngx_mdvr_journal_t  *j;

    dir = &ngx_mdvr_sig.core->state_dir;
    len = dir->len + sizeof("/positions.spool");

    j = &ngx_mdvr_sig.journal;
    j->name = "alarm";
    j->limit = ngx_mdvr_sig.conf->journal_size;
    j->replay = ngx_mdvr_store_replay;
    j->joins = ngx_mdvr_store_joins;
    j->group = ngx_mdvr_store_replay_group;
    j->log = cycle->log;
    j->threads = ngx_thread_pool_get(cycle, &ngx_mdvr_sig_threads);

    j->path.data = ngx_pnalloc(cycle->pool, len);
    if (j->path.data == NULL) {
        return NGX_ERROR;
    }

    j->path.len = ngx_sprintf(j->path.data, "%V/alarms.journal%Z", dir)
                  - j->path.data - 1;

    if (j->threads == NULL || ngx_mdvr_journal_open(j) != NGX_OK) {
        return NGX_ERROR;
    }

    j = &ngx_mdvr_sig.spool;
    j->name = "position";
    j->limit = ngx_mdvr_sig.conf->spool_size;
    j->replay = ngx_mdvr_position_replay;
    j->log = cycle->log;

    j->path.data = ngx_pnalloc(cycle->pool, len);
    if (j->path.data == NULL) {
        return NGX_ERROR;
    }

    j->path.len = ngx_sprintf(j->path.data, "%V/positions.spool%Z", dir)
                  - j->path.data - 1;

    if (ngx_mdvr_journal_open(j) != NGX_OK) {
        return NGX_ERROR;
    }

    path.data = ngx_pnalloc(cycle->pool, len);
    if (path.data == NULL) {
        return NGX_ERROR;
    }

    path.len = ngx_sprintf(path.data, "%V/positions.kept", dir) - path.data;

    (void) ngx_mdvr_position_open(&path);

    return NGX_OK;
}


static void
ngx_mdvr_sig_tick(ngx_event_t *ev)
{
    ngx_mdvr_gauge(spool_depth, ngx_mdvr_sig.spool.depth);
    ngx_mdvr_gauge(alarm_journal_depth, ngx_mdvr_sig.journal.depth);

    ngx_mdvr_node_tick();
    ngx_mdvr_sig_rechecks();

    if (ngx_mdvr_is_chief()) {
        ngx_mdvr_keep_adopt();
    }

    ngx_add_timer(ev, 1000);
}


static void
ngx_mdvr_sig_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_mdvr_sig.conf == NULL) {
        return;
    }

    ngx_mdvr_link_exit();
    ngx_mdvr_position_exit();
    ngx_mdvr_keep_close();
    ngx_mdvr_journal_close(&ngx_mdvr_sig.spool);
    ngx_mdvr_journal_close(&ngx_mdvr_sig.journal);
}
