/*
 * The HTTP side of the core: "mdvr_health" (/healthz, /readyz),
 * "mdvr_metrics" and the variables $mdvr_request_id, $mdvr_trace_id and
 * $mdvr_tenant_id.
 *
 * /healthz says that the process answers; /readyz asks PostgreSQL (each role
 * that is configured), Redis and the storage, and whether tokens can be signed.
 */

#include "ngx_mdvr_core/ngx_mdvr_http.h"
#include "ngx_mdvr_core/ngx_mdvr_jobs.h"
#include "ngx_mdvr_core/ngx_mdvr_keys.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"


#define NGX_MDVR_READY_TIMEOUT  2000    /* ms */


enum {
    check_stream = 0,
    check_api,
    check_redis,
    check_storage,
    check_keys,
    check_count
};

static const char *ngx_mdvr_checks[] = {
    "postgres_stream", "postgres_api", "redis", "storage", "signing_keys"
};


typedef struct {
    ngx_http_request_t       *r;
    ngx_uint_t                left;
    ngx_int_t                 good[check_count];   /* -1: not configured */
} ngx_mdvr_ready_t;


typedef struct {
    ngx_mdvr_ready_t         *ready;
    ngx_uint_t                check;
} ngx_mdvr_probe_t;


static char *ngx_http_mdvr_set_handler(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_mdvr_health_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_mdvr_metrics_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_mdvr_ready(ngx_http_request_t *r);
static ngx_int_t ngx_http_mdvr_core_add_variables(ngx_conf_t *cf);


static ngx_mdvr_storage_pt  ngx_http_mdvr_storage;


static ngx_command_t  ngx_http_mdvr_core_commands[] = {

    { ngx_string("mdvr_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_mdvr_set_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      (void *) ngx_http_mdvr_health_handler },

    { ngx_string("mdvr_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_mdvr_set_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      (void *) ngx_http_mdvr_metrics_handler },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_mdvr_core_module_ctx = {
    ngx_http_mdvr_core_add_variables,   /* preconfiguration */
    NULL,                               /* postconfiguration */

    NULL,                               /* create main configuration */
    NULL,                               /* init main configuration */

    NULL,                               /* create server configuration */
    NULL,                               /* merge server configuration */

    NULL,                               /* create location configuration */
    NULL                                /* merge location configuration */
};


ngx_module_t  ngx_http_mdvr_core_module = {
    NGX_MODULE_V1,
    &ngx_http_mdvr_core_module_ctx,     /* module context */
    ngx_http_mdvr_core_commands,        /* module directives */
    NGX_HTTP_MODULE,                    /* module type */
    NULL,                               /* init master */
    NULL,                               /* init module */
    NULL,                               /* init process */
    NULL,                               /* init thread */
    NULL,                               /* exit thread */
    NULL,                               /* exit process */
    NULL,                               /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_mdvr_set_handler(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (ngx_mdvr_core_conf(cf->cycle) == NULL) {
        return "needs \"mdvr_zone\" before it in the main context";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = (ngx_http_handler_pt) cmd->post;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_mdvr_request_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  *id;

    id = ngx_mdvr_http_request_id(r);

    v->len = id->len;
    v->data = id->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* $mdvr_trace_id (1), $mdvr_tenant_id (2): "" when there is none. */

static ngx_int_t
ngx_http_mdvr_log_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char     *p;
    ngx_str_t   text;

    p = ngx_pnalloc(r->pool, ngx_max(NGX_MDVR_TRACE_KEY_LEN,
                                     NGX_MDVR_UUID_LEN));
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (data == 1) {
        text = ngx_mdvr_http_trace_key(r, p);

    } else {
        text = ngx_mdvr_http_tenant(r, p);
    }

    v->len = text.len;
    v->data = text.data;
    v->valid = 1;
    v->no_cacheable = 1;                /* known later, maybe */
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_mdvr_core_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var;

    ngx_uint_t            i;

    static struct {
        ngx_str_t                    name;
        ngx_http_get_variable_pt     handler;
    } vars[] = {
        { ngx_string("mdvr_request_id"), ngx_http_mdvr_request_id_variable },
        { ngx_string("mdvr_trace_id"), ngx_http_mdvr_log_variable },
        { ngx_string("mdvr_tenant_id"), ngx_http_mdvr_log_variable }
    };

    for (i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        var = ngx_http_add_variable(cf, &vars[i].name, 0);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = vars[i].handler;
        var->data = i;
    }

    return NGX_OK;
}


static void
ngx_http_mdvr_metrics_page(void *data, const ngx_str_t *jobs)
{
    ngx_http_request_t *r = data;

    u_char            *p;
    ngx_int_t          rc;
    ngx_str_t          text, page;
    ngx_connection_t  *c;

    c = r->connection;
    rc = NGX_HTTP_INTERNAL_SERVER_ERROR;

    if (ngx_mdvr_metrics_text(r->pool, &text) == NGX_OK) {
        page.len = text.len + jobs->len;
        page.data = ngx_pnalloc(r->pool, page.len);

        if (page.data) {
            p = ngx_cpymem(page.data, text.data, text.len);
            ngx_memcpy(p, jobs->data, jobs->len);

            rc = ngx_mdvr_http_send(r, NGX_HTTP_OK, "text/plain; "
                                    "version=0.0.4; charset=utf-8", &page, 0);
        }
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_mdvr_metrics_handler(ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_ALLOWED,
                                     "method_not_allowed", NULL);
    }

    r->main->count++;

    if (ngx_mdvr_jobs_text(r->pool, ngx_http_mdvr_metrics_page, r) != NGX_OK) {
        r->main->count--;
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_mdvr_health_handler(ngx_http_request_t *r)
{
    static ngx_str_t  ok = ngx_string("{\"status\":\"ok\"}");

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_ALLOWED,
                                     "method_not_allowed", NULL);
    }

    if (r->uri.len >= 6
        && ngx_strncmp(r->uri.data + r->uri.len - 6, "readyz", 6) == 0)
    {
        return ngx_http_mdvr_ready(r);
    }

    return ngx_mdvr_http_json(r, NGX_HTTP_OK, &ok, 0);
}


static void
ngx_http_mdvr_ready_answer(ngx_mdvr_ready_t *ready)
{
    u_char              *p, *last, text[256];
    ngx_int_t            rc;
    ngx_str_t            body;
    ngx_uint_t           i, good;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    static ngx_str_t     one = ngx_string("1");

    r = ready->r;
    c = r->connection;

    good = 1;

    for (i = 0; i < check_count; i++) {
        good &= (ready->good[i] != 0);
    }

    last = text + sizeof(text);
    p = ngx_slprintf(text, last, "{\"status\":\"%s\",\"checks\":{",
                     good ? "ready" : "not_ready");

    for (i = 0; i < check_count; i++) {
        if (ready->good[i] >= 0) {
            p = ngx_slprintf(p, last, "\"%s\":\"%s\",", ngx_mdvr_checks[i],
                             ready->good[i] ? "ok" : "away");
        }
    }

    p = ngx_slprintf(p - 1, last, "}}");

    body.data = text;
    body.len = p - text;

    rc = NGX_OK;

    if (!good) {
        rc = ngx_mdvr_http_header(r, "Retry-After", &one);
    }

    if (rc == NGX_OK) {
        rc = ngx_mdvr_http_json(r, good ? NGX_HTTP_OK
                                        : NGX_HTTP_SERVICE_UNAVAILABLE,
                                &body, 1);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_ready_pg(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_probe_t *probe = data;

    probe->ready->good[probe->check] = (rc == MDVR_OK);

    if (--probe->ready->left == 0) {
        ngx_http_mdvr_ready_answer(probe->ready);
    }
}


static void
ngx_http_mdvr_ready_redis(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_probe_t *probe = data;

    probe->ready->good[probe->check] = (rc == MDVR_OK)
                                       && ngx_mdvr_redis_up();

    if (--probe->ready->left == 0) {
        ngx_http_mdvr_ready_answer(probe->ready);
    }
}


static void
ngx_http_mdvr_ready_storage(void *data, ngx_int_t good)
{
    ngx_mdvr_probe_t *probe = data;

    probe->ready->good[probe->check] = good;

    if (--probe->ready->left == 0) {
        ngx_http_mdvr_ready_answer(probe->ready);
    }
}


void
ngx_mdvr_http_storage(ngx_mdvr_storage_pt check)
{
    ngx_http_mdvr_storage = check;
}


static ngx_int_t
ngx_http_mdvr_ready(ngx_http_request_t *r)
{
    ngx_uint_t             i;
    const char            *ping;
    ngx_mdvr_ready_t      *ready;
    ngx_mdvr_probe_t      *probe;
    ngx_mdvr_pg_call_t     call;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    ready = ngx_pcalloc(r->pool, sizeof(ngx_mdvr_ready_t));
    probe = ngx_pcalloc(r->pool, check_count * sizeof(ngx_mdvr_probe_t));

    if (ready == NULL || probe == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ready->r = r;
    ready->left = 1;                    /* ourselves, until all are asked */

    for (i = 0; i < check_count; i++) {
        probe[i].ready = ready;
        probe[i].check = i;
    }

    for (i = 0; i < NGX_MDVR_PG_ROLES; i++) {

        if (conf->pg[i].conninfo.len == 0) {
            ready->good[check_stream + i] = -1;
            continue;
        }

        ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
        call.role = i;
        call.sql = "select 1";
        call.retry = 1;

        if (ngx_mdvr_pg_query(r->pool, &call, NGX_MDVR_READY_TIMEOUT,
                              ngx_http_mdvr_ready_pg, &probe[check_stream + i])
            == NGX_OK)
        {
            ready->left++;
        }
    }

    if (conf->redis_url.len == 0) {
        ready->good[check_redis] = -1;

    } else {
        ping = "PING";

        if (ngx_mdvr_redis_command(r->pool, NGX_MDVR_READY_TIMEOUT, 1, &ping,
                                   NULL, ngx_http_mdvr_ready_redis,
                                   &probe[check_redis])
            == NGX_OK)
        {
            ready->left++;
        }
    }

    ready->good[check_keys] = conf->pg[NGX_MDVR_PG_API].conninfo.len == 0
        ? -1
        : ngx_mdvr_key_current(NGX_MDVR_KEY_ACCESS) != NULL
          && ngx_mdvr_key_current(NGX_MDVR_KEY_STREAM) != NULL;

    ready->good[check_storage] = -1;

    if (ngx_http_mdvr_storage) {
        ready->good[check_storage] = 0;

        if (ngx_http_mdvr_storage(r, ngx_http_mdvr_ready_storage,
                                  &probe[check_storage])
            == NGX_OK)
        {
            ready->left++;
        }
    }

    r->main->count++;

    if (--ready->left == 0) {
        ngx_http_mdvr_ready_answer(ready);
    }

    return NGX_DONE;
}
