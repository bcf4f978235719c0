
/*
 * Webhooks: a server that calls addresses its users type in must not become a
 * way into its own network.  An address is refused when its host is, or resolves
 * to, anything but public addresses; the worker checks again at each delivery,
 * with the address that it really connects to.
 *
 * Names are resolved in the thread pool, numbers in any spelling that a resolver
 * would take (127.1, 0x7f000001, 2130706433, ::ffff:127.0.0.1) as well.
 */


#include "mdvr/domain/address.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_hooks.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_identity.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"

#include <netdb.h>


typedef void (*ngx_http_mdvr_api_url_pt)(ngx_http_mdvr_api_ctx_t *ctx);

typedef struct {
    ngx_http_mdvr_api_ctx_t    *ctx;
    ngx_http_mdvr_api_url_pt    done;
    ngx_array_t                *allow;
    ngx_uint_t                  refused;
    char                        host[256];
} ngx_http_mdvr_api_resolve_t;


ngx_uint_t
ngx_http_mdvr_api_public_address(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        return mdvr_address_public4(
                    ntohl(((struct sockaddr_in *) sa)->sin_addr.s_addr));
    }

    if (sa->sa_family == AF_INET6) {
        return mdvr_address_public6(
                    ((struct sockaddr_in6 *) sa)->sin6_addr.s6_addr);
    }

    return 0;
}


static void
ngx_http_mdvr_api_resolve(void *data, ngx_log_t *log)
{
    ngx_http_mdvr_api_resolve_t  *res = data;

    struct addrinfo  hints, *list, *ai;

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;

    if (getaddrinfo(res->host, NULL, &hints, &list) != 0) {
        return;                     /* nobody there now: the worker will see */
    }

    for (ai = list; ai; ai = ai->ai_next) {

        if (!ngx_http_mdvr_api_public_address(ai->ai_addr)
            && (res->allow == NULL
                || ngx_cidr_match(ai->ai_addr, res->allow) != NGX_OK))
        {
            res->refused = 1;
        }
    }

    freeaddrinfo(list);
}


static void
ngx_http_mdvr_api_resolved(ngx_event_t *ev)
{
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_mdvr_api_resolve_t   *res;

    res = ev->data;
    r = res->ctx->request;
    c = r->connection;

    r->main->blocked--;
    r->aio = 0;

    if (r->done) {
        ngx_http_finalize_request(r, NGX_DONE);

    } else if (res->refused) {
        ngx_http_mdvr_api_invalid_field(res->ctx, "private_address", "url",
                        "leads to an address that is not public");
    } else {
        res->done(res->ctx);
    }

    ngx_http_run_posted_requests(c);
}


/* answers the request when the address is refused, else goes on with `done` */

static void
ngx_http_mdvr_api_check_url(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_http_mdvr_api_url_pt done)
{
    size_t                          len;
    ngx_str_t                       url;
    const char                     *p, *last, *end, *host;
    ngx_http_request_t             *r;
    ngx_thread_task_t              *task;
    ngx_http_mdvr_api_loc_conf_t   *conf;
    ngx_http_mdvr_api_resolve_t    *res;

    r = ctx->request;
    conf = ngx_http_mdvr_api_conf(ctx);

    url = ngx_http_mdvr_api_str(ctx, "url");

    if (url.data == NULL) {
        done(ctx);
        return;
    }

    p = strstr((char *) url.data, "//") + 2;
    last = (char *) url.data + url.len;

    end = p + strcspn(p, "/?#");
    host = p;

    if (memchr(p, '@', end - p) || memchr(p, '\\', last - p)) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "url",
                                        "must not contain credentials");
        return;
    }

    if (*host == '[') {
        host++;
        p = memchr(host, ']', end - host);
        len = p ? (size_t) (p - host) : 0;

    } else {
        p = memchr(host, ':', end - host);
        len = (p ? p : end) - host;
    }

    task = ngx_thread_task_alloc(r->pool, sizeof(ngx_http_mdvr_api_resolve_t));

    if (len == 0 || len >= sizeof(res->host)) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "url",
                                        "has no valid host");
        return;
    }

    if (task == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    res = task->ctx;
    res->ctx = ctx;
    res->done = done;
    res->allow = conf->webhook_allow;
    ngx_memcpy(res->host, host, len);
    res->host[len] = '\0';

    task->handler = ngx_http_mdvr_api_resolve;
    task->event.handler = ngx_http_mdvr_api_resolved;
    task->event.data = res;
    task->event.log = r->connection->log;

    if (ngx_thread_task_post(conf->password_pool, task) != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                  NULL, 1);
        return;
    }

    r->main->blocked++;
    r->aio = 1;
}


/* --- new ---------------------------------------------------------------------------- */

static void
ngx_http_mdvr_api_webhook_made(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    json_t     *answer;
    ngx_str_t   text, *secret = ctx->data;

    text = ngx_mdvr_pg_nrows(rows) ? ngx_mdvr_pg_value(rows, 0, 0)
                                   : (ngx_str_t) ngx_null_string;
    answer = json_loadb((char *) text.data, text.len, 0, NULL);

    if (answer == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    json_object_set_new(answer, "secret", json_stringn((char *) secret->data,
                                                       secret->len));
    ngx_http_mdvr_api_json(ctx, NGX_HTTP_CREATED, answer);
}


/* in hexadecimal, as the row `id` keeps it; len == 0: failed */

static ngx_str_t
ngx_http_mdvr_api_webhook_sealed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *id, const ngx_str_t *secret)
{
    u_char  name[sizeof("webhook/") + NGX_MDVR_UUID_LEN], *p;

    p = ngx_slprintf(name, name + sizeof(name) - 1, "webhook/%V", id);
    *p = '\0';
    ngx_strlow(name, name, p - name);

    return ngx_mdvr_seal_hex(ctx->request->pool, (char *) name, secret);
}


static void
ngx_http_mdvr_api_webhook_make(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t        *secret, bind[2];
    ngx_mdvr_uuid_t   id;

    secret = ngx_palloc(ctx->request->pool, sizeof(ngx_str_t));
    if (secret == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    *secret = ngx_http_mdvr_api_str(ctx, "secret");

    if (secret->len == 0) {
        *secret = ngx_http_mdvr_api_secret(ctx->request->pool, "");
    }

    ctx->data = secret;

    ngx_mdvr_uuid_make(&id);
    bind[1] = ngx_http_mdvr_api_uuid_text(ctx->request->pool, &id);
    bind[0] = ngx_http_mdvr_api_webhook_sealed(ctx, &bind[1], secret);

    if (bind[0].len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_query(ctx,
        "with made as (insert into mdvr.webhook (id, tenant_id, url, secret,"
        "   topics, active)"
        "  select $8::uuid, $1::uuid, b->>'url', decode($7, 'hex'),"
        "   case when b ? 'topics' then array(select distinct"
        "     jsonb_array_elements_text(b->'topics')) else array['alarm'] end,"
        "   coalesce((b->>'active')::boolean, true)"
        "  from (select $6::jsonb as b) x"
        "  returning id, url, topics, active, created_at)"
        " select json_build_object('id', w.id, 'url', w.url,"
        "  'topics', w.topics, 'active', w.active,"
        "  'created_at', mdvr.rfc3339(w.created_at))::text,"
        API_AUDIT("webhook.create", "webhook", "w.id::text",
                  "jsonb_build_object('url', w.url)")
        " from made w",
        API_WHO ",$body,@0,@1", bind, ngx_http_mdvr_api_webhook_made);
}


void
ngx_http_mdvr_api_webhook_post(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_check_url(ctx, ngx_http_mdvr_api_webhook_make);
}


/* --- changed ---------------------------------------------------------------------------- */

static void
ngx_http_mdvr_api_webhook_change(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_select(ctx,
        "with b as (select $6::jsonb as b),"
        " changed as (update mdvr.webhook w set"
        "   url = case when b ? 'url' then b->>'url' else w.url end,"
        "   topics = case when b ? 'topics' then array(select distinct"
        "     jsonb_array_elements_text(b->'topics')) else w.topics end,"
        "   active = case when b ? 'active' then (b->>'active')::boolean"
        "     else w.active end"
        "  from b where w.id = $7::uuid returning w.id)"
        " select c.id, null, null, null,"
        API_AUDIT("webhook.update", "webhook", "c.id::text", "b.b - 'secret'")
        " from changed c, b",
        API_WHO ",$body,id", NULL);
}


static void
ngx_http_mdvr_api_webhook_keyed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    if (ngx_mdvr_pg_affected(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    ngx_http_mdvr_api_webhook_change(ctx);
}


static void
ngx_http_mdvr_api_webhook_secret(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  secret, sealed;

    secret = ngx_http_mdvr_api_str(ctx, "secret");

    if (secret.data == NULL) {
        ngx_http_mdvr_api_webhook_change(ctx);
        return;
    }

    sealed = ngx_http_mdvr_api_webhook_sealed(ctx, &ctx->ids[0], &secret);

    if (sealed.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_query(ctx,
        "update mdvr.webhook set secret = decode($2, 'hex')"
        " where id = $1::uuid",
        "id,@0", &sealed, ngx_http_mdvr_api_webhook_keyed);
}


void
ngx_http_mdvr_api_webhook_patch(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_check_url(ctx, ngx_http_mdvr_api_webhook_secret);
}


/* mdvr_webhook_allow <network> ... */

char *
ngx_http_mdvr_api_webhook_allow(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_mdvr_api_loc_conf_t  *lcf = conf;

    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_cidr_t  *cidr;
    ngx_uint_t   i;

    if (lcf->webhook_allow == NGX_CONF_UNSET_PTR) {
        lcf->webhook_allow = ngx_array_create(cf->pool, 4, sizeof(ngx_cidr_t));
        if (lcf->webhook_allow == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        cidr = ngx_array_push(lcf->webhook_allow);
        if (cidr == NULL) {
            return NGX_CONF_ERROR;
        }

        rc = ngx_ptocidr(&value[i], cidr);

        if (rc == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid network \"%V\" in \"%V\": it must look "
                               "like 10.0.0.0/8", &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
