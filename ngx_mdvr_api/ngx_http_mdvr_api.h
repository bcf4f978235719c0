
/*
 * The REST API: one request from arrival to answer.
 *
 * A route is a row of a table (ngx_http_mdvr_api_routes.c).  Most rows are a
 * piece of SQL with named parameters whose answer PostgreSQL builds as JSON; the
 * others name a handler.  Everything that all of them share - request ids,
 * methods, tokens, scopes, tenants, limits, bodies, parameters, idempotency,
 * errors - happens once, in ngx_http_mdvr_api_module.c, in this order:
 *
 *     path (404), method (405), token (401), user limit (429), tenant (404, 422),
 *     scope (403), ids in the path (404), query (422), body (413, 415, 400, 422),
 *     idempotency (409, 422, first answer), the row's own work, answer
 */


#ifndef _NGX_HTTP_MDVR_API_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <jansson.h>

#include "mdvr/domain/scope.h"
#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_http.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_rc.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_schema.h"


#define NGX_HTTP_MDVR_API_IDS       3       /* variable parts of a path, at most */
#define NGX_HTTP_MDVR_API_PARAMS    20      /* parameters of one statement */
#define NGX_HTTP_MDVR_API_QUERY     32      /* names in the query dictionary */
#define NGX_HTTP_MDVR_API_BODY_MAX  (1024 * 1024)


typedef struct ngx_http_mdvr_api_ctx_s    ngx_http_mdvr_api_ctx_t;
typedef struct ngx_http_mdvr_api_route_s  ngx_http_mdvr_api_route_t;

typedef void (*ngx_http_mdvr_api_rows_pt)(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);

/*
 * Does the route's own work: sees to it that the request is answered, now or
 * later, exactly once, by one of the functions below.
 */
typedef void (*ngx_http_mdvr_api_handler_pt)(ngx_http_mdvr_api_ctx_t *ctx);


/* who may call a route, beside the scopes of mdvr/domain/scope.h */

#define API_PUBLIC      0x80000000u     /* no token */
#define API_ANY         0x40000000u     /* any valid token */
#define API_PLATFORM    0x20000000u     /* super_admin, across tenants */

/* how it behaves */

#define API_IDEMPOTENT  0x0001          /* honours Idempotency-Key */
#define API_ACCOUNT     0x0002          /* one's own account: no tenant needed */
#define API_BODY_OPT    0x0004          /* the body may be missing */
#define API_RAW_BODY    0x0008          /* the body is not JSON; the handler
                                           reads it */
#define API_LIST        0x0010          /* answers {"items":[...]} */
#define API_ACCEPTED    0x0020          /* answers 202 */
#define API_CREATED     0x0040          /* answers 201 */
#define API_NO_KEY      0x0080          /* not for API keys */
#define API_SIGN_URLS   0x0800          /* object keys become addresses */
#define API_OWN_TENANT  0x0400          /* {id} is one's tenant, or 404 */
#define API_AS_TENANT   0x0200          /* {id} is the tenant to act in */
#define API_RENEWED     0x0100          /* a repeated answer gets new tokens */
#define API_CUT         0x1000          /* a list that says "truncated" */


struct ngx_http_mdvr_api_route_s {
    ngx_uint_t                         method;
    const char                        *path;     /* below /api/v1 */
    uint32_t                           scope;
    uint32_t                           flags;
    const char                        *summary;
    const char                        *query;    /* "limit,cursor,q" */
    const ngx_http_mdvr_api_schema_t  *body;
    const ngx_http_mdvr_api_schema_t  *answer;   /* NULL: 204, no content */

    ngx_http_mdvr_api_handler_pt       handler;  /* or, when NULL: */

    /*
     * One statement of one row.  Its first column is the answer, JSON text; no
     * row means 404.  `params` says what $1, $2 ... are: "id" a part of the path,
     * "?limit" a query parameter, "$user" and so on, see
     * ngx_http_mdvr_api_bind().
     */
    const char                        *sql;
    const char                        *params;

    /* reads what the first one wrote, whose answer is then only an id: $1 */
    const char                        *then;

    const char *const                 *exports;  /* other media types */

    /* for the document only */
    const char                        *media;    /* type of an answer that is
                                                    not JSON */
    json_t                          *(*examples)(void);
};


struct ngx_http_mdvr_api_ctx_s {
    ngx_http_request_t                *request;
    const ngx_http_mdvr_api_route_t   *route;

    ngx_mdvr_principal_t               principal;
    ngx_str_t                          tenant;   /* acting in; empty: none */
    ngx_str_t                          user;
    ngx_str_t                          role;

    ngx_str_t                          ids[NGX_HTTP_MDVR_API_IDS];
    ngx_str_t                          args[NGX_HTTP_MDVR_API_QUERY];

    json_t                            *body;     /* freed with the pool */
    ngx_str_t                          text;     /* the same as compact text */

    ngx_str_t                          idem_key; /* Redis name; empty: none */
    ngx_str_t                          idem_digest;
    json_t                            *replay;   /* first answer, to be renewed */

    ngx_http_mdvr_api_rows_pt          rows;     /* of the running statement */
    void                              *data;     /* the handler's own */

    unsigned                           second:1; /* route->then is under way */
};


typedef struct {
    ngx_flag_t                         enable;
    ngx_uint_t                         login_rate;       /* per minute, address */
    ngx_uint_t                         login_failures;   /* per 15 min, account */
    ngx_uint_t                         user_rate;        /* per second, user */
    ngx_uint_t                         user_burst;
    ngx_msec_t                         user_share;       /* 0: not shared */

    time_t                             access_ttl;
    time_t                             refresh_ttl;
    time_t                             stream_ttl;
    time_t                             url_ttl;
    ngx_str_t                          files;            /* internal location */
    ngx_str_t                          objects;          /* storage folder */
    struct ngx_http_mdvr_api_s3_s     *s3;               /* instead, or NULL */
    ngx_msec_t                         db_timeout;
    ngx_msec_t                         command_timeout;

    ngx_uint_t                         password_queue;
    ngx_str_t                          password_pool_name;
    ngx_thread_pool_t                 *password_pool;

    ngx_array_t                       *cors;             /* of ngx_str_t */
    ngx_array_t                       *webhook_allow;    /* of ngx_cidr_t */
} ngx_http_mdvr_api_loc_conf_t;


extern ngx_module_t                      ngx_http_mdvr_api_module;

/* ends with method 0 */
extern const ngx_http_mdvr_api_route_t   ngx_http_mdvr_api_routes[];

/* every query parameter there is; ends with a NULL name */
extern const ngx_http_mdvr_api_field_t   ngx_http_mdvr_api_query_fields[];


#define ngx_http_mdvr_api_conf(ctx)                                           \
    ((ngx_http_mdvr_api_loc_conf_t *)                                         \
     ngx_http_get_module_loc_conf((ctx)->request, ngx_http_mdvr_api_module))


/*
 * Answers.  Each finishes the request and is the last thing done with it.  The
 * text is copied when `copy` is set, otherwise it must lie in the request's pool
 * or be static.
 */
void ngx_http_mdvr_api_answer(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t status,
    const char *type, const ngx_str_t *text, ngx_uint_t copy);
void ngx_http_mdvr_api_json(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t status,
    json_t *value);                                 /* takes the reference */
void ngx_http_mdvr_api_empty(ngx_http_mdvr_api_ctx_t *ctx);     /* 204 */

/*
 * A problem of RFC 9457: `code` is the public word, `detail` a sentence or NULL,
 * `retry` > 0 the seconds of Retry-After.
 */
void ngx_http_mdvr_api_problem(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t status, const char *code, const char *detail, ngx_uint_t retry);
void ngx_http_mdvr_api_invalid(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_http_mdvr_api_errors_t *errors);            /* 422, frees the list */
void ngx_http_mdvr_api_invalid_field(ngx_http_mdvr_api_ctx_t *ctx,
    const char *code, const char *field, const char *message);

/* what a failed statement means to the client, with the constraint's own words */
void ngx_http_mdvr_api_failed(ngx_http_mdvr_api_ctx_t *ctx, mdvr_rc_t rc);

/*
 * Runs one statement of the API role in the acting tenant; `params` as in the
 * route.  `rows` gets the result; when the statement failed the problem has been
 * answered and it is not called.  `bind` in addition to `params`: values for
 * "@0" ... "@9".
 */
void ngx_http_mdvr_api_query(ngx_http_mdvr_api_ctx_t *ctx, const char *sql,
    const char *params, const ngx_str_t *bind, ngx_http_mdvr_api_rows_pt rows);

/* A statement whose only row is the answer, as in the route. */
void ngx_http_mdvr_api_select(ngx_http_mdvr_api_ctx_t *ctx, const char *sql,
    const char *params, const ngx_str_t *bind);
void ngx_http_mdvr_api_row(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);

/* publishes columns `ctl` and `event` of a row, 0: there is none */
void ngx_http_mdvr_api_publish(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row, ngx_uint_t ctl,
    ngx_uint_t event);

/* methods and other origins (ngx_http_mdvr_api_methods.c) */
const ngx_str_t *ngx_http_mdvr_api_method_name(ngx_uint_t method);
ngx_int_t ngx_http_mdvr_api_allow(ngx_http_request_t *r, ngx_uint_t allowed);
ngx_int_t ngx_http_mdvr_api_options(ngx_http_request_t *r,
    ngx_uint_t allowed);
ngx_int_t ngx_http_mdvr_api_cors(ngx_http_request_t *r);

/* reads the query string into ctx->args; NGX_ERROR: answered */
ngx_int_t ngx_http_mdvr_api_args(ngx_http_mdvr_api_ctx_t *ctx);

/* value of a query parameter, data == NULL when it was not given */
ngx_str_t *ngx_http_mdvr_api_arg(ngx_http_mdvr_api_ctx_t *ctx,
    const char *name);

/* members of the checked body: "" and `none` when absent */
ngx_str_t ngx_http_mdvr_api_str(ngx_http_mdvr_api_ctx_t *ctx,
    const char *name);
int64_t ngx_http_mdvr_api_int(ngx_http_mdvr_api_ctx_t *ctx, const char *name,
    int64_t none);

ngx_str_t ngx_http_mdvr_api_dup(ngx_pool_t *pool, const char *text, size_t len);
ngx_str_t ngx_http_mdvr_api_uuid_text(ngx_pool_t *pool,
    const ngx_mdvr_uuid_t *uuid);
ngx_str_t ngx_http_mdvr_api_hex(ngx_pool_t *pool, const u_char *p, size_t len);
ngx_str_t ngx_http_mdvr_api_sha256(ngx_pool_t *pool, const ngx_str_t *text);
ngx_str_t ngx_http_mdvr_api_address(ngx_http_mdvr_api_ctx_t *ctx);

/* idempotency (ngx_http_mdvr_api_idem.c): between checks and the row's work */
void ngx_http_mdvr_api_idem_begin(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_idem_end(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t status, const ngx_str_t *text);
void ngx_http_mdvr_api_run(ngx_http_mdvr_api_ctx_t *ctx);

/* the handler of a request body that has been read; goes on by itself */
void ngx_http_mdvr_api_body(ngx_http_request_t *r);

/* the document and its page (ngx_http_mdvr_api_openapi.c) */
void ngx_http_mdvr_api_openapi(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_docs(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_H_INCLUDED_ */
