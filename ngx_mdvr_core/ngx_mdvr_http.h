/*
 * What the HTTP modules of the suite share: problem+json, JSON answers, the
 * request id, the bearer token of a request.
 */

#ifndef NGX_MDVR_HTTP_H
#define NGX_MDVR_HTTP_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mdvr_core/ngx_mdvr_auth.h"


/* one entry of problem+json's "errors" */

typedef struct {
    ngx_str_t                 field;
    ngx_str_t                 message;
} ngx_mdvr_http_error_t;


/*
 * The request's id: X-Request-Id if the client sent an acceptable one (1 to
 * 64 characters of [A-Za-z0-9._-]), else a new UUIDv7.  The same each time.
 * Also the variable $mdvr_request_id.
 */
ngx_str_t *ngx_mdvr_http_request_id(ngx_http_request_t *r);

/*
 * What commands, jobs and database calls of this request go on with: its own
 * span, else the caller's "traceparent" when that is valid, else "".
 */
ngx_str_t ngx_mdvr_http_traceparent(ngx_http_request_t *r);

/* "trace_id" of its log line as by ngx_mdvr_trace_key(): begins no span. */
ngx_str_t ngx_mdvr_http_trace_key(ngx_http_request_t *r, u_char *buf);

/*
 * The tenant of whoever asks, printed into `buf` of NGX_MDVR_UUID_LEN bytes; ""
 * while that is not known.
 */
ngx_str_t ngx_mdvr_http_tenant(ngx_http_request_t *r, u_char *buf);

/* The span of a request; both do nothing when spans are not made. */
void ngx_mdvr_http_span_begin(ngx_http_request_t *r);
void ngx_mdvr_http_span_end(ngx_http_request_t *r, const ngx_str_t *route,
    ngx_uint_t status);

/*
 * Sends application/problem+json and returns what the handler (or
 * ngx_http_finalize_request()) takes.  `code` and `detail` are zero-terminated;
 * `detail` may be NULL: the problem then says what its status means.  429 and
 * 503 get a Retry-After of 1 unless the headers already have one, 401 a
 * WWW-Authenticate.
 */
ngx_int_t ngx_mdvr_http_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *detail);

ngx_int_t ngx_mdvr_http_problem_fields(ngx_http_request_t *r,
    ngx_uint_t status, const char *code, const char *detail,
    const ngx_mdvr_http_error_t *errors, ngx_uint_t nerrors);

/* The same from a verdict, by the table of ngx_mdvr_rc.h. */
ngx_int_t ngx_mdvr_http_verdict(ngx_http_request_t *r, mdvr_rc_t rc,
    const char *detail);

/*
 * Sends application/json with Cache-Control: no-store.  `body` is copied
 * unless it lies in r->pool (`copy` 0).  Returns as ngx_mdvr_http_problem().
 */
ngx_int_t ngx_mdvr_http_json(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *body, ngx_uint_t copy);

/* Any content type, NULL for none (204); the caller has set its other headers. */
ngx_int_t ngx_mdvr_http_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const ngx_str_t *body, ngx_uint_t copy);

/* Adds one header to the answer; `name` is static, `value` from r->pool. */
ngx_int_t ngx_mdvr_http_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value);

/* Finds a header of the request by its lower-case name; NULL if none. */
ngx_str_t *ngx_mdvr_http_find(ngx_http_request_t *r, const char *name);

/* The token of "Authorization: Bearer ..."; NGX_DECLINED when there is none. */
ngx_int_t ngx_mdvr_http_bearer(ngx_http_request_t *r, ngx_str_t *token);

/*
 * Who makes this request, and may it?  `scopes` are bits that all have to be
 * there (0: any valid principal).
 *
 * NGX_OK with *principal: the request's principal.
 * NGX_AGAIN: a look-up is under way; `done` is called with the request when
 *   it ended: call this function again, it then answers at once.  The request
 *   has been counted up (r->main->count++) and `done` finalizes it.
 * *principal is NULL and not NGX_AGAIN: refused and answered as problem+json;
 *   pass the value on as the handler's result, whatever it is (NGX_OK too).
 */
ngx_int_t ngx_mdvr_auth_request(ngx_http_request_t *r, uint32_t scopes,
    const ngx_mdvr_principal_t **principal,
    void (*done)(ngx_http_request_t *r));


extern ngx_module_t  ngx_http_mdvr_core_module;


/*
 * What /readyz asks of the storage.  `done` is called once, from the event loop,
 * with 1 (there), 0 (away or full) or -1 (none is configured); the request lives
 * until then.  NGX_OK: it will be called.  To be set from init_module.
 */
typedef void (*ngx_mdvr_storage_done_pt)(void *data, ngx_int_t good);
typedef ngx_int_t (*ngx_mdvr_storage_pt)(ngx_http_request_t *r,
    ngx_mdvr_storage_done_pt done, void *data);

void ngx_mdvr_http_storage(ngx_mdvr_storage_pt check);


#endif
