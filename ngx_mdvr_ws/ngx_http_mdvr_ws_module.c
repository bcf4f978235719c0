/*
 * "mdvr_ws": the push socket of the client contract.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"


typedef struct {
    ngx_flag_t                enable;
    ngx_mdvr_push_conf_t      push;
} ngx_http_mdvr_ws_loc_conf_t;


static void *ngx_http_mdvr_ws_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_mdvr_ws_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_mdvr_ws(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_mdvr_ws_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_mdvr_ws_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_mdvr_ws_start(ngx_http_request_t *r);


static ngx_command_t  ngx_http_mdvr_ws_commands[] = {

    { ngx_string("mdvr_ws"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_mdvr_ws,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_ws_auth_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.auth_timeout),
      NULL },

    { ngx_string("mdvr_ws_ping"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.ws.ping),
      NULL },

    { ngx_string("mdvr_ws_deflate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.ws.deflate),
      NULL },

    { ngx_string("mdvr_ws_deflate_min"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.ws.deflate_min),
      NULL },

    { ngx_string("mdvr_ws_gather"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.ws.gather),
      NULL },

    { ngx_string("mdvr_ws_send_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.ws.send_timeout),
      NULL },

    { ngx_string("mdvr_ws_queue"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.ws.max_queue),
      NULL },

    { ngx_string("mdvr_ws_max_message"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.ws.max_message),
      NULL },

    { ngx_string("mdvr_ws_per_address"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.per_address),
      NULL },

    { ngx_string("mdvr_ws_per_user"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.per_user),
      NULL },

    { ngx_string("mdvr_ws_drain"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_ws_loc_conf_t, push.drain),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_mdvr_ws_module_ctx = {
    NULL,                               /* preconfiguration */
    NULL,                               /* postconfiguration */

    NULL,                               /* create main configuration */
    NULL,                               /* init main configuration */

    NULL,                               /* create server configuration */
    NULL,                               /* merge server configuration */

    ngx_http_mdvr_ws_create_loc_conf,   /* create location configuration */
    ngx_http_mdvr_ws_merge_loc_conf     /* merge location configuration */
};


ngx_module_t  ngx_http_mdvr_ws_module = {
    NGX_MODULE_V1,
    &ngx_http_mdvr_ws_module_ctx,       /* module context */
    ngx_http_mdvr_ws_commands,          /* module directives */
    NGX_HTTP_MODULE,                    /* module type */
    NULL,                               /* init master */
    NULL,                               /* init module */
    ngx_http_mdvr_ws_init_process,      /* init process */
    NULL,                               /* init thread */
    NULL,                               /* exit thread */
    NULL,                               /* exit process */
    NULL,                               /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_mdvr_ws_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_mdvr_ws_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_mdvr_ws_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->push.auth_timeout = NGX_CONF_UNSET_MSEC;
    conf->push.drain = NGX_CONF_UNSET_MSEC;
    conf->push.per_address = NGX_CONF_UNSET_UINT;
    conf->push.per_user = NGX_CONF_UNSET_UINT;
    conf->push.ws.ping = NGX_CONF_UNSET_MSEC;
    conf->push.ws.gather = NGX_CONF_UNSET_MSEC;
    conf->push.ws.deflate = NGX_CONF_UNSET;
    conf->push.ws.deflate_min = NGX_CONF_UNSET_SIZE;
    conf->push.ws.send_timeout = NGX_CONF_UNSET_MSEC;
    conf->push.ws.max_queue = NGX_CONF_UNSET_SIZE;
    conf->push.ws.max_message = NGX_CONF_UNSET_SIZE;

    return conf;
}


static char *
ngx_http_mdvr_ws_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_mdvr_ws_loc_conf_t *prev = parent;
    ngx_http_mdvr_ws_loc_conf_t *conf = child;

    ngx_conf_merge_msec_value(conf->push.auth_timeout,
                              prev->push.auth_timeout, 5000);
    ngx_conf_merge_msec_value(conf->push.drain, prev->push.drain, 60000);
    ngx_conf_merge_uint_value(conf->push.per_address,
                              prev->push.per_address, 5000);
    ngx_conf_merge_uint_value(conf->push.per_user, prev->push.per_user, 500);
    ngx_conf_merge_msec_value(conf->push.ws.ping, prev->push.ws.ping, 30000);
    ngx_conf_merge_value(conf->push.ws.deflate, prev->push.ws.deflate, 1);
    ngx_conf_merge_size_value(conf->push.ws.deflate_min,
                              prev->push.ws.deflate_min, 256);
    ngx_conf_merge_msec_value(conf->push.ws.gather, prev->push.ws.gather, 12);
    ngx_conf_merge_msec_value(conf->push.ws.send_timeout,
                              prev->push.ws.send_timeout, 30000);
    ngx_conf_merge_size_value(conf->push.ws.max_queue,
                              prev->push.ws.max_queue, 512 * 1024);
    ngx_conf_merge_size_value(conf->push.ws.max_message,
                              prev->push.ws.max_message, 512 * 1024);

    conf->push.ws.detach = 1;

    if (conf->push.ws.max_queue < 65536) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"mdvr_ws_queue\": it must be at least "
                           "64k");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_mdvr_ws(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_mdvr_ws_loc_conf_t *conf = data;

    ngx_http_core_loc_conf_t  *clcf;

    if (conf->enable) {
        return "is duplicate";
    }

    if (ngx_mdvr_core_conf(cf->cycle) == NULL) {
        return "needs \"mdvr_zone\" before it in the main context";
    }

    conf->enable = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_mdvr_ws_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_mdvr_ws_init_process(ngx_cycle_t *cycle)
{
    if (ngx_mdvr_slot == NGX_MDVR_NO_SLOT) {
        return NGX_OK;
    }

    if (ngx_mdvr_hub_init() != NGX_OK || ngx_mdvr_visible_init() != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mdvr_push_server(ngx_mdvr_stream_open);

    return ngx_mdvr_client_init();
}


const ngx_mdvr_push_conf_t *
ngx_mdvr_push_conf(ngx_http_request_t *r)
{
    ngx_http_mdvr_ws_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_mdvr_ws_module);

    return &conf->push;
}


static void
ngx_http_mdvr_ws_known(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_mdvr_ws_start(r));
}


static ngx_int_t
ngx_http_mdvr_ws_handler(ngx_http_request_t *r)
{
    return ngx_http_mdvr_ws_start(r);
}


/* Runs again, from the beginning, once a token was looked up. */

static ngx_int_t
ngx_http_mdvr_ws_start(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_str_t                      key, *name;
    ngx_mdvr_uuid_t                named, *tenant;
    const ngx_mdvr_principal_t    *principal;
    ngx_http_mdvr_ws_loc_conf_t   *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_mdvr_ws_module);

    principal = NULL;
    tenant = NULL;
    ngx_str_null(&key);

    if (r->headers_in.authorization) {

        rc = ngx_mdvr_auth_request(r, 0, &principal, ngx_http_mdvr_ws_known);

        if (rc == NGX_AGAIN && principal == NULL) {
            return NGX_DONE;
        }

        if (principal == NULL) {
            return rc;
        }

        if (principal->api_key) {
            (void) ngx_mdvr_http_bearer(r, &key);
        }

        name = ngx_mdvr_http_find(r, "x-tenant-id");

        if (name && ngx_mdvr_uuid_parse(name, &named) == NGX_OK) {
            tenant = &named;
        }
    }

    rc = ngx_mdvr_address_add(r->connection->sockaddr, NGX_MDVR_ADDR_PUSH,
                              conf->push.per_address);

    if (rc == NGX_BUSY) {
        ngx_mdvr_refusal("ws_per_address");
        return ngx_mdvr_http_problem(r, NGX_HTTP_TOO_MANY_REQUESTS,
                                     "too_many_sockets", NULL);
    }

    rc = ngx_mdvr_client_open(r, &conf->push, principal, tenant, &key);

    if (rc == NGX_DONE) {
        return NGX_DONE;
    }

    ngx_mdvr_address_sub(r->connection->sockaddr, NGX_MDVR_ADDR_PUSH);

    return ngx_mdvr_ws_refuse(r, rc);
}
