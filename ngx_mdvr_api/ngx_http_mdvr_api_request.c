
/*
 * Answers, problems and statements: what every handler of the API is made of.
 *
 * PostgreSQL writes the JSON; a statement that fails becomes a problem by one
 * table of constraint names and the verdict table of the core.  Functions of ours
 * that refuse raise an MDxxx error whose message is the public sentence and whose
 * detail is the public code.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_files.h"

#include "mdvr/domain/keys.h"

#include <openssl/sha.h>


/* what a violated constraint means to the person who asked */

static const struct {
    const char  *constraint;
    const char  *code;
    const char  *field;
    const char  *message;
} ngx_http_mdvr_api_constraints[] = {
    { "device_serial", "serial_taken", "serial",
      "belongs to another device" },
    { "user_email", "email_taken", "email", "is already in use" },
    { "device_group_tenant_id_name_key", "name_taken", "name",
      "is already in use" },
    { "group_device_tenant_id_group_id_fkey", "unknown_group", "group_ids",
      "names a group that does not exist" },
    { "group_device_tenant_id_device_id_fkey", "unknown_device", "device_ids",
      "names a device that does not exist" },
    { "assignment_tenant_id_device_id_fkey", "unknown_device", "device_ids",
      "names a device that does not exist" },
    { "assignment_tenant_id_group_id_fkey", "unknown_group", "group_ids",
      "names a group that does not exist" },
    { "firmware_tenant_id_name_version_key", "version_taken", "version",
      "of this name is there already" },
    { "push_token_tenant_id_platform_token_key", "token_taken", "token",
      "is already registered" },
    { NULL, NULL, NULL, NULL }
};


static void ngx_http_mdvr_api_done(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);


/* --- text ------------------------------------------------------------------- */

ngx_str_t
ngx_http_mdvr_api_dup(ngx_pool_t *pool, const char *text, size_t len)
{
    ngx_str_t  s;

    s.data = ngx_pnalloc(pool, len + 1);
    if (s.data == NULL) {
        ngx_str_null(&s);
        return s;
    }

    ngx_memcpy(s.data, text, len);
    s.data[len] = '\0';
    s.len = len;

    return s;
}


ngx_str_t
ngx_http_mdvr_api_uuid_text(ngx_pool_t *pool, const ngx_mdvr_uuid_t *uuid)
{
    ngx_str_t  s;

    s.data = ngx_pnalloc(pool, NGX_MDVR_UUID_LEN + 1);
    if (s.data == NULL) {
        ngx_str_null(&s);
        return s;
    }

    s.len = ngx_mdvr_uuid_print(s.data, uuid) - s.data;
    s.data[s.len] = '\0';

    return s;
}


ngx_str_t
ngx_http_mdvr_api_hex(ngx_pool_t *pool, const u_char *p, size_t len)
{
    ngx_str_t  s;

    s.data = ngx_pnalloc(pool, len * 2 + 1);
    if (s.data == NULL) {
        ngx_str_null(&s);
        return s;
    }

    s.len = ngx_hex_dump(s.data, (u_char *) p, len) - s.data;
    s.data[s.len] = '\0';

    return s;
}


ngx_str_t
ngx_http_mdvr_api_sha256(ngx_pool_t *pool, const ngx_str_t *text)
{
    u_char  digest[SHA256_DIGEST_LENGTH];

    SHA256(text->data, text->len, digest);

    return ngx_http_mdvr_api_hex(pool, digest, sizeof(digest));
}


/* the client's address as text, after realip */

ngx_str_t
ngx_http_mdvr_api_address(ngx_http_mdvr_api_ctx_t *ctx)
{
    static const ngx_str_t  local = ngx_string("127.0.0.1");

    ngx_connection_t  *c;

    c = ctx->request->connection;

    if (c->addr_text.len == 0 || c->addr_text.data[0] == 'u') {
        return local;                       /* "unix:" is no address */
    }

    return c->addr_text;
}


ngx_str_t
ngx_http_mdvr_api_str(ngx_http_mdvr_api_ctx_t *ctx, const char *name)
{
    json_t     *member;
    ngx_str_t   s;

    ngx_str_null(&s);

    member = json_object_get(ctx->body, name);

    if (json_is_string(member)) {
        s.data = (u_char *) json_string_value(member);
        s.len = json_string_length(member);
    }

    return s;
}


int64_t
ngx_http_mdvr_api_int(ngx_http_mdvr_api_ctx_t *ctx, const char *name,
    int64_t none)
{
    json_t  *member;

    member = json_object_get(ctx->body, name);

    return json_is_integer(member) ? json_integer_value(member) : none;
}


/* --- answers ---------------------------------------------------------------- */

static void
ngx_http_mdvr_api_finish(ngx_http_mdvr_api_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_finalize_request(ctx->request, rc);
}


void
ngx_http_mdvr_api_answer(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t status,
    const char *type, const ngx_str_t *text, ngx_uint_t copy)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->idem_key.len && status < 300) {
        ngx_http_mdvr_api_idem_end(ctx, status, text);
    }

    if (r->request_body == NULL && ngx_http_discard_request_body(r) != NGX_OK) {
        ngx_http_mdvr_api_finish(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (type == NULL) {
        ngx_http_mdvr_api_finish(ctx,
                                 ngx_mdvr_http_json(r, status, text, copy));
        return;
    }

    ngx_http_mdvr_api_finish(ctx, ngx_mdvr_http_send(r, status, type, text,
                                                     copy));
}


void
ngx_http_mdvr_api_json(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t status,
    json_t *value)
{
    char       *dump;
    ngx_str_t   text;

    dump = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);

    if (dump == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    text = ngx_http_mdvr_api_dup(ctx->request->pool, dump, ngx_strlen(dump));
    free(dump);

    ngx_http_mdvr_api_answer(ctx, status, NULL, &text, 0);
}


void
ngx_http_mdvr_api_empty(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t            none = ngx_null_string;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->idem_key.len) {
        ngx_http_mdvr_api_idem_end(ctx, NGX_HTTP_NO_CONTENT, &none);
    }

    if (r->request_body == NULL && ngx_http_discard_request_body(r) != NGX_OK) {
        ngx_http_mdvr_api_finish(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_mdvr_api_finish(ctx, ngx_mdvr_http_send(r, NGX_HTTP_NO_CONTENT,
                                                     NULL, &none, 0));
}


static void
ngx_http_mdvr_api_before_problem(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t retry)
{
    u_char              *p;
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->idem_key.len) {
        ngx_http_mdvr_api_idem_end(ctx, 0, NULL);
    }

    if (r->request_body == NULL) {
        (void) ngx_http_discard_request_body(r);
    }

    if (retry) {
        p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (p) {
            value.data = p;
            value.len = ngx_sprintf(p, "%ui", retry) - p;
            (void) ngx_mdvr_http_header(r, "Retry-After", &value);
        }
    }
}


void
ngx_http_mdvr_api_problem(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t status,
    const char *code, const char *detail, ngx_uint_t retry)
{
    ngx_http_mdvr_api_before_problem(ctx, retry);
    ngx_http_mdvr_api_finish(ctx, ngx_mdvr_http_problem(ctx->request, status,
                                                        code, detail));
}


void
ngx_http_mdvr_api_invalid(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_http_mdvr_api_errors_t *errors)
{
    json_t                 *field, *message;
    size_t                  i, n;
    ngx_int_t               rc;
    ngx_mdvr_http_error_t   list[MDVR_API_MAX_ERRORS];

    ngx_http_mdvr_api_before_problem(ctx, 0);

    n = json_array_size(errors->list);

    for (i = 0; i < n; i++) {
        field = json_object_get(json_array_get(errors->list, i), "field");
        message = json_object_get(json_array_get(errors->list, i), "message");

        list[i].field.data = (u_char *) json_string_value(field);
        list[i].field.len = json_string_length(field);
        list[i].message.data = (u_char *) json_string_value(message);
        list[i].message.len = json_string_length(message);
    }

    rc = ngx_mdvr_http_problem_fields(ctx->request, 422, errors->code,
                                      "the request is not acceptable as it is",
                                      list, n);
    json_decref(errors->list);

    ngx_http_mdvr_api_finish(ctx, rc);
}


void
ngx_http_mdvr_api_invalid_field(ngx_http_mdvr_api_ctx_t *ctx,
    const char *code, const char *field, const char *message)
{
    ngx_http_mdvr_api_errors_t  errors;

    ngx_memzero(&errors, sizeof(errors));
    ngx_http_mdvr_api_error(&errors, code, "", field, message);
    ngx_http_mdvr_api_invalid(ctx, &errors);
}


/* --- statements ------------------------------------------------------------- */

static ngx_uint_t
ngx_http_mdvr_api_same(const char *p, size_t len, const char *name)
{
    return ngx_strlen(name) == len && ngx_memcmp(p, name, len) == 0;
}


/*
 * One name of a parameter list:
 *
 *   id, ...   a part of the path, by the name between its braces
 *   ?name     a query parameter, null when absent
 *   $tenant $user $role $session   the principal, as it acts
 *   $home     the principal's own tenant
 *   $body     the request body as JSON text
 *   $scopes   the principal's scopes, names one space apart
 *   $address $agent $request       where the request came from
 *   @0 ... @9 the caller's own values
 */

static ngx_mdvr_pg_param_t
ngx_http_mdvr_api_bind(ngx_http_mdvr_api_ctx_t *ctx, const char *p, size_t len,
    const ngx_str_t *bind)
{
    ngx_str_t             s, *v;
    ngx_uint_t            i, n;
    mdvr_buf_t            b;
    const char           *path, *end;
    ngx_http_request_t   *r;

    r = ctx->request;
    ngx_str_null(&s);

    switch (*p) {

    case '@':
        s = bind[p[1] - '0'];
        break;

    case '?':
        p++;
        len--;

        for (i = 0; ngx_http_mdvr_api_query_fields[i].name; i++) {
            if (ngx_http_mdvr_api_same(p, len,
                                       ngx_http_mdvr_api_query_fields[i].name))
            {
                s = ctx->args[i];
                break;
            }
        }
        break;

    case '$':
        if (ngx_http_mdvr_api_same(p, len, "$tenant")) {
            s = ctx->tenant;

        } else if (ngx_http_mdvr_api_same(p, len, "$user")) {
            s = ctx->user;

        } else if (ngx_http_mdvr_api_same(p, len, "$role")) {
            s = ctx->role;

        } else if (ngx_http_mdvr_api_same(p, len, "$body")) {
            s = ctx->text;

        } else if (ngx_http_mdvr_api_same(p, len, "$session")) {
            s = ngx_http_mdvr_api_uuid_text(r->pool, &ctx->principal.session);

        } else if (ngx_http_mdvr_api_same(p, len, "$home")) {
            s = ngx_http_mdvr_api_uuid_text(r->pool, &ctx->principal.tenant);

        } else if (ngx_http_mdvr_api_same(p, len, "$person")) {
            s = ngx_http_mdvr_api_uuid_text(r->pool, &ctx->principal.user);

        } else if (ngx_http_mdvr_api_same(p, len, "$address")) {
            s = ngx_http_mdvr_api_address(ctx);

        } else if (ngx_http_mdvr_api_same(p, len, "$request")) {
            s = *ngx_mdvr_http_request_id(r);

        } else if (ngx_http_mdvr_api_same(p, len, "$trace")) {
            s = ngx_mdvr_http_traceparent(r);

        } else if (ngx_http_mdvr_api_same(p, len, "$agent")) {
            if (r->headers_in.user_agent) {
                s = r->headers_in.user_agent->value;
                s.len = ngx_min(s.len, 200);
            }

        } else if (ngx_http_mdvr_api_same(p, len, "$scopes")) {
            s.data = ngx_pnalloc(r->pool, 512);

            if (s.data) {
                b = mdvr_buf(s.data, 512);
                mdvr_scopes_write(&b, ctx->principal.scopes);
                s.len = b.len;
            }
        }

        if (s.len == 0) {
            s.data = NULL;
        }
        break;

    default:
        n = 0;

        for (path = ctx->route->path; (path = strchr(path, '{')); path = end) {
            path++;
            end = strchr(path, '}');

            if ((size_t) (end - path) == len
                && ngx_memcmp(path, p, len) == 0)
            {
                s = ctx->ids[n];
                break;
            }

            n++;
        }
    }

    v = &s;

    return v->data ? ngx_mdvr_pg_text(v) : ngx_mdvr_pg_null();
}


void
ngx_http_mdvr_api_query(ngx_http_mdvr_api_ctx_t *ctx, const char *sql,
    const char *params, const ngx_str_t *bind, ngx_http_mdvr_api_rows_pt rows)
{
    ngx_int_t             rc;
    const char           *p, *end;
    ngx_mdvr_pg_call_t    call;
    ngx_mdvr_pg_param_t   list[NGX_HTTP_MDVR_API_PARAMS];

    ngx_memzero(&call, sizeof(call));

    for (p = params; p && *p; p = *end ? end + 1 : end) {
        end = strchr(p, ',');
        if (end == NULL) {
            end = p + ngx_strlen(p);
        }

        list[call.nparams++] = ngx_http_mdvr_api_bind(ctx, p, end - p, bind);
    }

    call.role = NGX_MDVR_PG_API;
    call.sql = sql;
    call.params = list;
    call.tenant = ctx->tenant;
    call.user_id = ctx->user;
    call.app_role = ctx->role;
    call.retry = (ctx->request->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) != 0;
    call.traceparent = ngx_mdvr_http_traceparent(ctx->request);

    ctx->rows = rows;

    rc = ngx_mdvr_pg_query(ctx->request->pool, &call,
                           ngx_http_mdvr_api_conf(ctx)->db_timeout,
                           ngx_http_mdvr_api_done, ctx);

    if (rc != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable",
                                  "the database is busy or away", 2);
    }
}


static void
ngx_http_mdvr_api_done(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_connection_t         *c;
    ngx_http_mdvr_api_ctx_t  *ctx = data;

    c = ctx->request->connection;

    if (rc == MDVR_OK) {
        ctx->rows(ctx, rows);

    } else {
        ngx_http_mdvr_api_failed(ctx, rc);
    }

    ngx_http_run_posted_requests(c);
}


void
ngx_http_mdvr_api_failed(ngx_http_mdvr_api_ctx_t *ctx, mdvr_rc_t rc)
{
    u_char                      text[128];
    ngx_str_t                   code, detail;
    ngx_uint_t                  i, status;
    const ngx_mdvr_rc_map_t    *map;
    const ngx_mdvr_pg_error_t  *error;
    ngx_http_mdvr_api_errors_t  errors;

    map = ngx_mdvr_rc(rc);
    status = map->status;

    if (rc == MDVR_E_UNAVAILABLE || rc == MDVR_E_TIMEOUT) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "the database is away", 2);
        return;
    }

    error = ngx_mdvr_pg_error();

    if (error && error->constraint.len) {

        for (i = 0; ngx_http_mdvr_api_constraints[i].constraint; i++) {

            if (!ngx_http_mdvr_api_same((char *) error->constraint.data,
                        error->constraint.len,
                        ngx_http_mdvr_api_constraints[i].constraint))
            {
                continue;
            }

            if (status == NGX_HTTP_CONFLICT) {
                *ngx_snprintf(text, sizeof(text) - 1, "%s %s",
                              ngx_http_mdvr_api_constraints[i].field,
                              ngx_http_mdvr_api_constraints[i].message) = '\0';
                ngx_http_mdvr_api_problem(ctx, status,
                             ngx_http_mdvr_api_constraints[i].code,
                             (char *) text, 0);
                return;
            }

            ngx_memzero(&errors, sizeof(errors));
            ngx_http_mdvr_api_error(&errors,
                             ngx_http_mdvr_api_constraints[i].code, "",
                             ngx_http_mdvr_api_constraints[i].field,
                             ngx_http_mdvr_api_constraints[i].message);
            ngx_http_mdvr_api_invalid(ctx, &errors);
            return;
        }
    }

    if (error && error->sqlstate.len == 5
        && error->sqlstate.data[0] == 'M' && error->sqlstate.data[1] == 'D')
    {
        detail = ngx_http_mdvr_api_dup(ctx->request->pool,
                                       (char *) error->message.data,
                                       error->message.len);
        code = ngx_http_mdvr_api_dup(ctx->request->pool,
                             error->detail.len ? (char *) error->detail.data
                                               : (char *) map->code.data,
                             error->detail.len ? error->detail.len
                                               : map->code.len);

        status = ngx_atoi(error->sqlstate.data + 2, 3);

        ngx_http_mdvr_api_problem(ctx, status, (char *) code.data,
                                  (char *) detail.data, 0);
        return;
    }

    ngx_http_mdvr_api_problem(ctx, status, (char *) map->code.data, NULL, 0);
}


void
ngx_http_mdvr_api_select(ngx_http_mdvr_api_ctx_t *ctx, const char *sql,
    const char *params, const ngx_str_t *bind)
{
    ngx_http_mdvr_api_query(ctx, sql, params, bind, ngx_http_mdvr_api_row);
}


/*
 * A document for all nodes, or an event of the tenant; both repeat what
 * PostgreSQL knows already, so that a loss only costs time.
 */

void
ngx_http_mdvr_api_publish(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row, ngx_uint_t ctl,
    ngx_uint_t event)
{
    u_char      name[MDVR_KEY_MAX];
    ngx_str_t   channel, text;
    mdvr_buf_t  b;

    if (ctl && ngx_mdvr_pg_ncols(rows) > ctl
        && !ngx_mdvr_pg_isnull(rows, row, ctl))
    {
        ngx_str_set(&channel, MDVR_CHANNEL_CTL);
        text = ngx_mdvr_pg_value(rows, row, ctl);
        (void) ngx_mdvr_redis_publish(&channel, &text, 0);
    }

    if (event && ngx_mdvr_pg_ncols(rows) > event
        && !ngx_mdvr_pg_isnull(rows, row, event))
    {
        b = mdvr_buf(name, sizeof(name));
        mdvr_channel_event(&b, mdvr_str(ctx->tenant.data, ctx->tenant.len));

        channel.data = name;
        channel.len = b.len;
        text = ngx_mdvr_pg_value(rows, row, event);
        (void) ngx_mdvr_redis_publish(&channel, &text, 0);
    }
}


/* see ngx_http_mdvr_api_sql.h for the columns */

void
ngx_http_mdvr_api_row(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char              *p;
    ngx_str_t            text, next, link;
    ngx_uint_t           status, flags;
    ngx_http_request_t  *r;

    r = ctx->request;
    flags = ctx->route->flags;

    if (ngx_mdvr_pg_nrows(rows) == 0 || ngx_mdvr_pg_isnull(rows, 0, 0)) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    ngx_http_mdvr_api_publish(ctx, rows, 0, 2, 3);

    text = ngx_mdvr_pg_value(rows, 0, 0);

    if (ctx->route->then && !ctx->second) {
        ctx->second = 1;
        text = ngx_http_mdvr_api_dup(r->pool, (char *) text.data, text.len);
        ngx_http_mdvr_api_select(ctx, ctx->route->then, "@0", &text);
        return;
    }

    if (ctx->route->answer == NULL) {
        ngx_http_mdvr_api_empty(ctx);
        return;
    }

    if (ngx_mdvr_pg_ncols(rows) > 1 && !ngx_mdvr_pg_isnull(rows, 0, 1)) {
        next = ngx_mdvr_pg_value(rows, 0, 1);

        p = ngx_pnalloc(r->pool, next.len + sizeof("<?cursor=>; rel=\"next\""));
        if (p) {
            link.data = p;
            link.len = ngx_sprintf(p, "<?cursor=%V>; rel=\"next\"", &next) - p;
            (void) ngx_mdvr_http_header(r, "Link", &link);
        }
    }

    status = (flags & API_CREATED) ? NGX_HTTP_CREATED
             : (flags & API_ACCEPTED) ? NGX_HTTP_ACCEPTED : NGX_HTTP_OK;

    if ((flags & API_SIGN_URLS)
        && ngx_http_mdvr_api_sign_urls(ctx, &text) != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_answer(ctx, status, NULL, &text, 1);
}
