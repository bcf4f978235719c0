
/*
 * The API's HTTP module: directives, and the way of a request through the checks
 * that all routes share (the order is in ngx_http_mdvr_api.h).
 *
 * One context per request lives in its pool.  The content handler counts the
 * request up once; whoever answers (ngx_http_mdvr_api_answer.c) finalizes it.
 * Nothing here waits: a step that has to goes on in its callback.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_files.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_s3.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_hooks.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_limit.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_path.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_storage.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_upload.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


static ngx_int_t ngx_http_mdvr_api_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_mdvr_api_log_handler(ngx_http_request_t *r);
static void ngx_http_mdvr_api_authenticate(ngx_http_request_t *r);
static void ngx_http_mdvr_api_enter(ngx_http_mdvr_api_ctx_t *ctx);
static void ngx_http_mdvr_api_tenant(ngx_http_mdvr_api_ctx_t *ctx);
static void ngx_http_mdvr_api_permit(ngx_http_mdvr_api_ctx_t *ctx);

static ngx_int_t ngx_http_mdvr_api_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_mdvr_api_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_mdvr_api_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_mdvr_api_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_mdvr_api_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_mdvr_api_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_mdvr_api_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_mdvr_api_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_mdvr_api_commands[] = {

    { ngx_string("mdvr_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_mdvr_api_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_login_rate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, login_rate),
      NULL },

    { ngx_string("mdvr_login_failures"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, login_failures),
      NULL },

    { ngx_string("mdvr_api_rate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_mdvr_api_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_access_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, access_ttl),
      NULL },

    { ngx_string("mdvr_refresh_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, refresh_ttl),
      NULL },

    { ngx_string("mdvr_stream_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, stream_ttl),
      NULL },

    { ngx_string("mdvr_url_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, url_ttl),
      NULL },

    { ngx_string("mdvr_objects"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, objects),
      NULL },

    { ngx_string("mdvr_files"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_mdvr_api_files,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_s3"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      ngx_http_mdvr_api_s3,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, s3),
      NULL },

    { ngx_string("mdvr_api_db_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, db_timeout),
      NULL },

    { ngx_string("mdvr_command_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, command_timeout),
      NULL },

    { ngx_string("mdvr_password_queue"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, password_queue),
      NULL },

    { ngx_string("mdvr_password_pool"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, password_pool_name),
      NULL },

    { ngx_string("mdvr_webhook_allow"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_mdvr_api_webhook_allow,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mdvr_cors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_conf_set_str_array_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_mdvr_api_loc_conf_t, cors),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_mdvr_api_module_ctx = {
    ngx_http_mdvr_api_preconfiguration,    /* preconfiguration */
    ngx_http_mdvr_api_postconfiguration,   /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_mdvr_api_create_loc_conf,     /* create location configuration */
    ngx_http_mdvr_api_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_mdvr_api_module = {
    NGX_MODULE_V1,
    &ngx_http_mdvr_api_module_ctx,         /* module context */
    ngx_http_mdvr_api_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_mdvr_api_init_module,         /* init module */
    ngx_http_mdvr_api_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_mdvr_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                       n;
    ngx_uint_t                      allowed, i, id;
    ngx_http_mdvr_api_ctx_t        *ctx;
    ngx_http_mdvr_api_path_t        path;
    const ngx_http_mdvr_api_route_t  *route;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_mdvr_api_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ngx_http_set_ctx(r, ctx, ngx_http_mdvr_api_module);

    ngx_mdvr_http_span_begin(r);

    if (ngx_http_mdvr_api_cors(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    n = ngx_http_mdvr_api_find(r, &path, &allowed);

    if (n == NGX_DECLINED) {

        if (allowed && r->method == NGX_HTTP_OPTIONS) {
            return ngx_http_mdvr_api_options(r, allowed);
        }

        if (ngx_http_discard_request_body(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (allowed == 0) {
            return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_FOUND, "not_found",
                                         "there is nothing at this address");
        }

        if (ngx_http_mdvr_api_allow(r, allowed) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_ALLOWED,
                                     "method_not_allowed", NULL);
    }

    route = &ngx_http_mdvr_api_routes[n];
    ctx->route = route;

    for (i = 0, id = 0; i < path.n; i++) {
        if (ngx_http_mdvr_api_table.paths[n].part[i].data[0] == '{') {
            ctx->ids[id++] = path.part[i];
        }
    }

    r->main->count++;

    if (route->scope & API_PUBLIC) {
        ngx_http_mdvr_api_permit(ctx);

    } else {
        ngx_http_mdvr_api_authenticate(r);
    }

    return NGX_DONE;
}


/* again after a look-up: a second call of ngx_mdvr_auth_request() answers at once */

static void
ngx_http_mdvr_api_authenticate(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_mdvr_api_ctx_t      *ctx;
    const ngx_mdvr_principal_t   *principal;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_api_module);

    rc = ngx_mdvr_auth_request(r, 0, &principal,
                               ngx_http_mdvr_api_authenticate);

    if (rc == NGX_AGAIN) {
        /* counted up there; this way in ends with that count */
        r->main->count--;
        return;
    }

    if (principal == NULL) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    ctx->principal = *principal;
    ngx_http_mdvr_api_enter(ctx);
}


static void
ngx_http_mdvr_api_enter(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t                       who, *header;
    ngx_uint_t                      wait;
    ngx_mdvr_uuid_t                 tenant;
    ngx_http_request_t             *r;
    ngx_mdvr_principal_t           *p;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    r = ctx->request;
    p = &ctx->principal;
    conf = ngx_http_mdvr_api_conf(ctx);

    ctx->user = ngx_http_mdvr_api_uuid_text(r->pool,
                                            p->api_key ? &p->session
                                                       : &p->user);
    ctx->role.data = (u_char *) mdvr_role_name(p->role);
    ctx->role.len = ngx_strlen(ctx->role.data);

    who = ctx->user;
    wait = ngx_http_mdvr_api_limit_bucket(&who, conf->user_rate,
                                          conf->user_burst, conf->user_share);
    if (wait) {
        ngx_mdvr_refusal("user_rate");
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                                  "rate_limited", "too many requests", wait);
        return;
    }

    if (p->has_tenant) {
        ctx->tenant = ngx_http_mdvr_api_uuid_text(r->pool, &p->tenant);
    }

    header = ngx_mdvr_http_find(r, "x-tenant-id");

    if (header == NULL
        || (ctx->route->flags & API_ACCOUNT)
        || (ctx->route->scope & API_PLATFORM))
    {
        ngx_http_mdvr_api_permit(ctx);
        return;
    }

    if (ngx_mdvr_uuid_parse(header, &tenant) != NGX_OK) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "X-Tenant-Id",
                                        "is not a UUID");
        return;
    }

    if (p->has_tenant && ngx_mdvr_uuid_equal(&tenant, &p->tenant)) {
        ngx_http_mdvr_api_permit(ctx);
        return;
    }

    if (p->role != MDVR_ROLE_SUPER_ADMIN || p->api_key) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found",
                                  "there is no such tenant", 0);
        return;
    }

    ctx->tenant = ngx_http_mdvr_api_uuid_text(r->pool, &tenant);
    ngx_http_mdvr_api_tenant(ctx);
}


static void
ngx_http_mdvr_api_tenant_done(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found",
                                  "there is no such tenant", 0);
        return;
    }

    ngx_http_mdvr_api_permit(ctx);
}


/* a super admin steps into another tenant: it must exist, and the step is seen */

static void
ngx_http_mdvr_api_tenant(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  bind[2];

    if (ctx->request->method == NGX_HTTP_GET
        || ctx->request->method == NGX_HTTP_HEAD)
    {
        ngx_http_mdvr_api_query(ctx,
            "select 1 from mdvr.tenant"
            " where id = $1::uuid and status <> 'deleted'",
            "$tenant", NULL, ngx_http_mdvr_api_tenant_done);
        return;
    }

    bind[0] = ctx->request->method_name;
    bind[1] = ctx->request->uri;

    ngx_http_mdvr_api_query(ctx,
        "select 1 from mdvr.tenant,"
        " lateral (select mdvr.audit_append(id, $2::uuid, $3::uuid, $4,"
        "          'tenant.act', 'tenant', id::text,"
        "          jsonb_build_object('method', $6::text, 'path', $7::text),"
        "          $5)) a"
        " where id = $1::uuid and status <> 'deleted'",
        API_WHO ",@0,@1", bind, ngx_http_mdvr_api_tenant_done);
}


/* 403, ids, query, then the body if there is one to read */

static void
ngx_http_mdvr_api_permit(ngx_http_mdvr_api_ctx_t *ctx)
{
    uint32_t                          scope;
    ngx_int_t                         rc;
    ngx_uint_t                        i;
    ngx_http_request_t               *r;
    ngx_mdvr_principal_t             *p;
    const ngx_http_mdvr_api_route_t  *route;

    r = ctx->request;
    p = &ctx->principal;
    route = ctx->route;
    scope = route->scope;

    if (!(scope & (API_PUBLIC|API_ANY))) {

        if (((scope & API_PLATFORM)
             && (p->role != MDVR_ROLE_SUPER_ADMIN || p->api_key))
            || (scope & ~API_PLATFORM & ~p->scopes))
        {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_FORBIDDEN, "forbidden",
                                      "your role does not permit this", 0);
            return;
        }
    }

    if ((route->flags & API_NO_KEY) && p->api_key) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_FORBIDDEN, "forbidden",
                                  "an API key cannot do this", 0);
        return;
    }

    for (i = 0; i < NGX_HTTP_MDVR_API_IDS && ctx->ids[i].len; i++) {
        if (!ngx_http_mdvr_api_is_uuid((char *) ctx->ids[i].data,
                                       ctx->ids[i].len))
        {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found",
                                      NULL, 0);
            return;
        }
    }

    if ((route->flags & API_AS_TENANT)
        || ((route->flags & API_OWN_TENANT)
            && p->role == MDVR_ROLE_SUPER_ADMIN && !p->api_key))
    {
        ctx->tenant = ctx->ids[0];

    } else if ((route->flags & API_OWN_TENANT)
               && ngx_strncasecmp(ctx->tenant.data, ctx->ids[0].data,
                                  ctx->ids[0].len) != 0)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    if (ngx_http_mdvr_api_args(ctx) != NGX_OK) {
        return;
    }

    if (r->headers_in.content_length_n > NGX_HTTP_MDVR_API_BODY_MAX
        && !(route->flags & API_RAW_BODY))
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                  "too_large", "the body exceeds 1 MiB", 0);
        return;
    }

    if (route->flags & API_RAW_BODY) {
        ngx_http_mdvr_api_idem_begin(ctx);
        return;
    }

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_mdvr_api_body);

    /* it has counted the request up once more; our own count goes */

    ngx_http_finalize_request(r, rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc
                                                                 : NGX_DONE);
}


void
ngx_http_mdvr_api_run(ngx_http_mdvr_api_ctx_t *ctx)
{
    const ngx_http_mdvr_api_route_t  *route;

    route = ctx->route;

    if (route->handler) {
        route->handler(ctx);
        return;
    }

    ngx_http_mdvr_api_select(ctx, route->sql, route->params, NULL);
}


/* --- numbers ------------------------------------------------------------------ */

static ngx_int_t
ngx_http_mdvr_api_log_handler(ngx_http_request_t *r)
{
    ngx_str_t                      *label;
    ngx_uint_t                      status;
    ngx_time_t                     *tp;
    ngx_msec_int_t                  ms;
    ngx_http_mdvr_api_ctx_t        *ctx;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    static ngx_str_t  other = ngx_string("other");

    conf = ngx_http_get_module_loc_conf(r, ngx_http_mdvr_api_module);

    if (!conf->enable) {
        return NGX_OK;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_api_module);

    label = ctx && ctx->route
            ? &ngx_http_mdvr_api_table.labels[ctx->route
                                              - ngx_http_mdvr_api_routes]
            : &other;

    status = r->err_status ? r->err_status : r->headers_out.status;

    tp = ngx_timeofday();
    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + (tp->msec - r->start_msec));

    ngx_mdvr_metric_http(label, status, ngx_max(ms, 0));
    ngx_mdvr_http_span_end(r, label, status);

    return NGX_OK;
}


/* --- configuration --------------------------------------------------------------- */

static ngx_int_t
ngx_http_mdvr_api_init_module(ngx_cycle_t *cycle)
{
    ngx_http_mdvr_api_limit_use();

    return ngx_http_mdvr_api_storage_init(cycle);
}


static ngx_int_t
ngx_http_mdvr_api_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_HELPER || ngx_worker != 0) {
        return NGX_OK;
    }

    return ngx_http_mdvr_api_upload_sweep(cycle);
}


/* What a configuration that was refused has left is not of this one. */

static ngx_int_t
ngx_http_mdvr_api_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_mdvr_api_limit_anew();
    ngx_http_mdvr_api_storage_set(NULL);

    return NGX_OK;
}


static ngx_int_t
ngx_http_mdvr_api_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    if (ngx_http_mdvr_api_routes_init(cf->log) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_mdvr_api_log_handler;

    return NGX_OK;
}


static void *
ngx_http_mdvr_api_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_mdvr_api_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_mdvr_api_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->login_rate = NGX_CONF_UNSET_UINT;
    conf->login_failures = NGX_CONF_UNSET_UINT;
    conf->user_rate = NGX_CONF_UNSET_UINT;
    conf->user_burst = NGX_CONF_UNSET_UINT;
    conf->user_share = NGX_CONF_UNSET_MSEC;
    conf->access_ttl = NGX_CONF_UNSET;
    conf->refresh_ttl = NGX_CONF_UNSET;
    conf->stream_ttl = NGX_CONF_UNSET;
    conf->url_ttl = NGX_CONF_UNSET;
    conf->s3 = NGX_CONF_UNSET_PTR;
    conf->db_timeout = NGX_CONF_UNSET_MSEC;
    conf->command_timeout = NGX_CONF_UNSET_MSEC;
    conf->password_queue = NGX_CONF_UNSET_UINT;
    conf->cors = NGX_CONF_UNSET_PTR;
    conf->webhook_allow = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_mdvr_api_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_mdvr_api_loc_conf_t  *prev = parent;
    ngx_http_mdvr_api_loc_conf_t  *conf = child;

    ngx_conf_merge_uint_value(conf->login_rate, prev->login_rate, 10);
    ngx_conf_merge_uint_value(conf->login_failures, prev->login_failures, 5);
    ngx_conf_merge_uint_value(conf->user_rate, prev->user_rate, 50);
    ngx_conf_merge_uint_value(conf->user_burst, prev->user_burst, 100);
    ngx_conf_merge_msec_value(conf->user_share, prev->user_share, 200);
    ngx_conf_merge_value(conf->access_ttl, prev->access_ttl, 900);
    ngx_conf_merge_value(conf->refresh_ttl, prev->refresh_ttl, 2592000);
    ngx_conf_merge_value(conf->stream_ttl, prev->stream_ttl, 600);
    ngx_conf_merge_value(conf->url_ttl, prev->url_ttl, 900);
    ngx_conf_merge_ptr_value(conf->s3, prev->s3, NULL);
    ngx_conf_merge_msec_value(conf->db_timeout, prev->db_timeout, 5000);
    ngx_conf_merge_msec_value(conf->command_timeout, prev->command_timeout,
                              15000);
    ngx_conf_merge_uint_value(conf->password_queue, prev->password_queue, 8);
    ngx_conf_merge_str_value(conf->password_pool_name,
                             prev->password_pool_name, "default");
    ngx_conf_merge_str_value(conf->objects, prev->objects, "");
    ngx_conf_merge_ptr_value(conf->cors, prev->cors, NULL);
    ngx_conf_merge_ptr_value(conf->webhook_allow, prev->webhook_allow, NULL);

    if (conf->enable) {

        if (conf->s3 || conf->objects.len) {
            ngx_http_mdvr_api_storage_set(conf);
        }

        conf->password_pool = ngx_thread_pool_add(cf,
                                                  &conf->password_pool_name);
        if (conf->password_pool == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_mdvr_api_limit_init(cf, 1024 * 1024) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_mdvr_api_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_mdvr_api_loc_conf_t  *lcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (lcf->enable) {
        return "is duplicate";
    }

    lcf->enable = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_mdvr_api_handler;

    return NGX_CONF_OK;
}


/* mdvr_api_rate 50 [burst=100] [share=200ms] | 0 */

static char *
ngx_http_mdvr_api_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_mdvr_api_loc_conf_t  *lcf = conf;

    ngx_int_t    n;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    if (lcf->user_rate != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);
    if (n == NGX_ERROR || n > 100000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rate \"%V\" in \"%V\": it must be between "
                           "0 and 100000 requests per second",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    lcf->user_rate = n;

    /*
     * What nodes tell each other arrives in one piece: a burst below what a user
     * may send meanwhile would refuse one who keeps to the rate.
     */

    lcf->user_burst = 2 * n;

    for (i = 2; i < cf->args->nelts; i++) {
        s.data = value[i].data + 6;
        s.len = value[i].len - 6;

        if (value[i].len > 6 && ngx_strncmp(value[i].data, "burst=", 6) == 0
            && (n = ngx_atoi(s.data, s.len)) != NGX_ERROR && n <= 1000000)
        {
            lcf->user_burst = n;
            continue;
        }

        if (value[i].len > 6 && ngx_strncmp(value[i].data, "share=", 6) == 0
            && (n = ngx_parse_time(&s, 0)) != NGX_ERROR && n <= 10000)
        {
            lcf->user_share = n;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"%V\": it must be "
                           "burst= and a number up to 1000000, or share= and a "
                           "time up to 10s", &value[i], &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
