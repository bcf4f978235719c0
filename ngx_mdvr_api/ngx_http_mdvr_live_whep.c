/*
 * WHEP: the exchange of SDPs between a browser and mdvr-rtc.
 *
 *   POST   /live/<token>/whep         application/sdp offer -> 201, answer
 *   DELETE /live/<token>/whep/<id>    the viewer leaves -> 204
 *
 * mdvr-rtc listens on <state dir>/rtc.sock and takes one line of JSON per
 * operation (rtc/main.c).  The connection that carried an offer stays open: it
 * is the viewer's permission.  Here the token is looked at once a second, and
 * when it is not good any more the connection is closed and with it the
 * viewer; the same happens when this process dies.
 *
 * Source: draft-ietf-wish-whep; RFC 9725 for what WHEP takes from WHIP.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"
#include "ngx_mdvr_core/ngx_mdvr_talk.h"

#include <jansson.h>

#include "ngx_mdvr_core/ngx_mdvr_uuid.h"


#define NGX_HTTP_MDVR_WHEP_OFFER    65536
#define NGX_HTTP_MDVR_WHEP_ANSWER   32768
#define NGX_HTTP_MDVR_WHEP_TIMEOUT  5000


typedef struct {
    ngx_pool_t               *pool;
    ngx_http_request_t       *request;      /* NULL once it is answered */
    ngx_pool_cleanup_t       *cleanup;      /* of the request */
    ngx_peer_connection_t     peer;
    ngx_str_t                 peer_name;
    struct sockaddr_un        sockaddr;
    ngx_event_t               timer;
    ngx_msec_t                recheck;
    ngx_mdvr_stream_token_t   token;
    u_char                    node[NGX_MDVR_NODE_MAX];
    ngx_buf_t                 out;
    ngx_buf_t                *in;
    u_char                    id[NGX_MDVR_UUID_LEN + 1];
    unsigned                  leaving:1;    /* this is a DELETE */
} ngx_http_mdvr_whep_t;


static void ngx_http_mdvr_whep_offer(ngx_http_request_t *r);
static ngx_int_t ngx_http_mdvr_whep_send(ngx_http_mdvr_live_ctx_t *ctx,
    json_t *doc, ngx_http_mdvr_whep_t **made);
static void ngx_http_mdvr_whep_write(ngx_event_t *wev);
static void ngx_http_mdvr_whep_read(ngx_event_t *rev);
static void ngx_http_mdvr_whep_line(ngx_http_mdvr_whep_t *whep, u_char *line,
    size_t len);
static void ngx_http_mdvr_whep_tick(ngx_event_t *ev);
static void ngx_http_mdvr_whep_fail(ngx_http_mdvr_whep_t *whep);
static ngx_http_request_t *ngx_http_mdvr_whep_detach(
    ngx_http_mdvr_whep_t *whep);
static void ngx_http_mdvr_whep_close(ngx_http_mdvr_whep_t *whep);
static void ngx_http_mdvr_whep_cleanup(void *data);


ngx_int_t
ngx_http_mdvr_live_whep(ngx_http_mdvr_live_ctx_t *ctx)
{
    json_t                *doc;
    ngx_int_t              rc;
    ngx_str_t              id;
    ngx_http_request_t    *r = ctx->request;
    ngx_http_mdvr_whep_t  *whep;

    if (ctx->name.len == sizeof("whep") - 1) {

        if (r->method != NGX_HTTP_POST) {
            return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_ALLOWED,
                                         "method_not_allowed",
                                         "an offer is sent with POST");
        }

        if (r->headers_in.content_type == NULL
            || r->headers_in.content_type->value.len
               < sizeof("application/sdp") - 1
            || ngx_strncasecmp(r->headers_in.content_type->value.data,
                               (u_char *) "application/sdp",
                               sizeof("application/sdp") - 1)
               != 0)
        {
            return ngx_mdvr_http_problem(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                         "unsupported_media_type",
                                         "the body is application/sdp");
        }

        if (r->headers_in.content_length_n > NGX_HTTP_MDVR_WHEP_OFFER) {
            return ngx_mdvr_http_problem(r,
                                         NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                         "too_large",
                                         "an offer has at most 64 KiB");
        }

        r->request_body_in_single_buf = 1;

        rc = ngx_http_read_client_request_body(r, ngx_http_mdvr_whep_offer);

        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    }

    if (r->method != NGX_HTTP_DELETE) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_ALLOWED,
                                     "method_not_allowed",
                                     "a viewer leaves with DELETE");
    }

    id.data = ctx->name.data + sizeof("whep/") - 1;
    id.len = ctx->name.len - (sizeof("whep/") - 1);

    doc = json_pack("{s:s,s:s%}", "op", "close", "id", id.data, id.len);

    r->main->count++;

    if (ngx_http_mdvr_whep_send(ctx, doc, &whep) != NGX_OK) {
        r->main->count--;
        return ngx_mdvr_http_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                     "unavailable", "WebRTC is not running");
    }

    whep->leaving = 1;

    return NGX_DONE;
}


/* The offer as one piece of memory; NULL: there is none, or it is a file. */

static u_char *
ngx_http_mdvr_whep_body(ngx_http_request_t *r, size_t *len)
{
    size_t        n;
    u_char       *p;
    ngx_chain_t  *cl;

    n = 0;

    for (cl = r->request_body ? r->request_body->bufs : NULL; cl;
         cl = cl->next)
    {
        if (cl->buf->in_file) {
            return NULL;
        }

        n += cl->buf->last - cl->buf->pos;
    }

    p = n && n <= NGX_HTTP_MDVR_WHEP_OFFER ? ngx_pnalloc(r->pool, n) : NULL;

    if (p == NULL) {
        return NULL;
    }

    n = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        ngx_memcpy(p + n, cl->buf->pos, cl->buf->last - cl->buf->pos);
        n += cl->buf->last - cl->buf->pos;
    }

    *len = n;

    return p;
}


static void
ngx_http_mdvr_whep_offer(ngx_http_request_t *r)
{
    size_t                     len;
    json_t                    *doc;
    u_char                    *sdp;
    ngx_int_t                  rc;
    ngx_uint_t                 mic;
    ngx_mdvr_uuid_t            id;
    ngx_mdvr_talk_note_t       note;
    ngx_http_mdvr_whep_t      *whep;
    ngx_http_mdvr_live_ctx_t  *ctx;
    u_char                     text[NGX_MDVR_UUID_LEN + 1];

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_live_module);

    sdp = ngx_http_mdvr_whep_body(r, &len);

    if (sdp == NULL) {
        rc = ngx_mdvr_http_problem(r, NGX_HTTP_BAD_REQUEST, "malformed",
                                   "the body is an SDP of at most 64 KiB");
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_mdvr_uuid_make(&id);
    (void) ngx_mdvr_uuid_print(text, &id);
    text[NGX_MDVR_UUID_LEN] = '\0';

    /* who only listens has no microphone */

    mic = ctx->token.channel == 0
          && ngx_mdvr_talk_note(ctx->ref, &note) == MDVR_OK && !note.listen;

    doc = json_pack("{s:s,s:s,s:i,s:I,s:b,s:s%}", "op", "offer", "id", text,
                    "slot", (int) ctx->ref.index,
                    "generation", (json_int_t) ctx->ref.generation,
                    "mic", (int) mic, "sdp", sdp, len);

    if (doc == NULL) {                      /* not UTF-8, or a NUL in it */
        rc = ngx_mdvr_http_problem(r, NGX_HTTP_BAD_REQUEST, "malformed",
                                   "the body is not text");
        ngx_http_finalize_request(r, rc);
        return;
    }

    if (ngx_http_mdvr_whep_send(ctx, doc, &whep) != NGX_OK) {
        rc = ngx_mdvr_http_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "unavailable", "WebRTC is not running");
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_memcpy(whep->id, text, sizeof(text));
}


/* Connects and sends `doc` (taken over) as a line. */

static ngx_int_t
ngx_http_mdvr_whep_send(ngx_http_mdvr_live_ctx_t *ctx, json_t *doc,
    ngx_http_mdvr_whep_t **made)
{
    char                  *text;
    size_t                 len;
    ngx_int_t              rc;
    ngx_pool_t            *pool;
    ngx_connection_t      *c;
    ngx_pool_cleanup_t    *cln;
    ngx_http_request_t    *r = ctx->request;
    ngx_mdvr_core_conf_t  *core;
    ngx_http_mdvr_whep_t  *whep;

    text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);
    pool = text ? ngx_create_pool(1024, ngx_cycle->log) : NULL;

    if (pool == NULL) {
        free(text);
        return NGX_ERROR;
    }

    len = ngx_strlen(text);
    whep = ngx_pcalloc(pool, sizeof(ngx_http_mdvr_whep_t));

    if (whep == NULL
        || (whep->in = ngx_create_temp_buf(pool, NGX_HTTP_MDVR_WHEP_ANSWER))
           == NULL
        || (whep->out.pos = ngx_pnalloc(pool, len + 1)) == NULL)
    {
        free(text);
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ngx_memcpy(whep->out.pos, text, len);
    whep->out.pos[len] = '\n';
    whep->out.last = whep->out.pos + len + 1;
    free(text);

    whep->pool = pool;
    whep->request = r;
    whep->recheck = ctx->conf->recheck;
    whep->token = ctx->token;
    ngx_memcpy(whep->node, ctx->node, sizeof(whep->node));
    whep->token.node.data = whep->node;

    whep->sockaddr.sun_family = AF_UNIX;
    ngx_snprintf((u_char *) whep->sockaddr.sun_path,
                 sizeof(whep->sockaddr.sun_path) - 1, "%V/rtc.sock%Z",
                 &core->state_dir);
    ngx_str_set(&whep->peer_name, "mdvr-rtc");

    whep->peer.sockaddr = (struct sockaddr *) &whep->sockaddr;
    whep->peer.socklen = sizeof(struct sockaddr_un);
    whep->peer.name = &whep->peer_name;
    whep->peer.get = ngx_event_get_peer;
    whep->peer.log = ngx_cycle->log;
    whep->peer.log_error = NGX_ERROR_ERR;

    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (cln == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    rc = ngx_event_connect_peer(&whep->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        if (whep->peer.connection) {
            ngx_close_connection(whep->peer.connection);
        }

        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_mdvr_whep_cleanup;
    cln->data = whep;
    whep->cleanup = cln;

    c = whep->peer.connection;
    c->data = whep;
    c->pool = pool;
    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_mdvr_whep_read;
    c->write->handler = ngx_http_mdvr_whep_write;

    whep->timer.handler = ngx_http_mdvr_whep_tick;
    whep->timer.data = whep;
    whep->timer.log = c->log;

    ngx_add_timer(&whep->timer, NGX_HTTP_MDVR_WHEP_TIMEOUT);

    ngx_post_event(c->write, &ngx_posted_events);

    *made = whep;

    return NGX_OK;
}


static void
ngx_http_mdvr_whep_write(ngx_event_t *wev)
{
    ssize_t                n;
    ngx_connection_t      *c = wev->data;
    ngx_http_mdvr_whep_t  *whep = c->data;

    while (whep->out.pos < whep->out.last) {
        n = c->send(c, whep->out.pos, whep->out.last - whep->out.pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_http_mdvr_whep_fail(whep);
            return;
        }

        whep->out.pos += n;
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK
        || ngx_handle_read_event(c->read, 0) != NGX_OK)
    {
        ngx_http_mdvr_whep_fail(whep);
    }
}


static void
ngx_http_mdvr_whep_read(ngx_event_t *rev)
{
    u_char                *nl;
    ssize_t                n;
    ngx_connection_t      *c = rev->data;
    ngx_http_mdvr_whep_t  *whep = c->data;

    for ( ;; ) {
        n = c->recv(c, whep->in->last, whep->in->end - whep->in->last);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {     /* the viewer is gone */
            ngx_http_mdvr_whep_fail(whep);
            return;
        }

        whep->in->last += n;

        nl = ngx_strlchr(whep->in->pos, whep->in->last, '\n');

        if (nl) {
            ngx_http_mdvr_whep_line(whep, whep->in->pos, nl - whep->in->pos);
            return;
        }

        if (whep->in->last == whep->in->end) {
            ngx_log_error(NGX_LOG_ERR, c->log, 0,
                          "mdvr-rtc sent an endless line");
            ngx_http_mdvr_whep_fail(whep);
            return;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_mdvr_whep_fail(whep);
    }
}


/* 201 with the answer's SDP; NGX_ERROR when there is no memory */

static ngx_int_t
ngx_http_mdvr_whep_created(ngx_http_mdvr_whep_t *whep, const char *sdp)
{
    u_char              *p;
    ngx_str_t            location, body;
    ngx_http_request_t  *r = whep->request;

    location.len = r->uri.len + 1 + NGX_MDVR_UUID_LEN;
    location.data = ngx_pnalloc(r->pool, location.len);

    if (location.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(location.data, r->uri.data, r->uri.len);
    *p++ = '/';
    ngx_memcpy(p, whep->id, NGX_MDVR_UUID_LEN);

    if (ngx_mdvr_http_header(r, "Location", &location) != NGX_OK) {
        return NGX_ERROR;
    }

    body.data = (u_char *) sdp;
    body.len = ngx_strlen(sdp);

    return ngx_mdvr_http_send(r, NGX_HTTP_CREATED, "application/sdp", &body,
                              1);
}


/* The answer to our operation, or the end of a viewer. */

static void
ngx_http_mdvr_whep_line(ngx_http_mdvr_whep_t *whep, u_char *line, size_t len)
{
    json_t              *doc;
    json_int_t           status;
    ngx_int_t            rc;
    const char          *sdp, *code, *detail;
    ngx_connection_t    *c;
    ngx_http_request_t  *r = whep->request;
    static ngx_str_t     empty = ngx_null_string;

    if (r == NULL) {                        /* {"end":"reason"} */
        ngx_http_mdvr_whep_close(whep);
        return;
    }

    doc = json_loadb((char *) line, len, JSON_REJECT_DUPLICATES, NULL);

    status = json_integer_value(json_object_get(doc, "status"));
    sdp = json_string_value(json_object_get(doc, "sdp"));
    code = json_string_value(json_object_get(doc, "code"));
    detail = json_string_value(json_object_get(doc, "detail"));

    c = r->connection;

    if (whep->leaving && status == 204) {
        rc = ngx_mdvr_http_send(r, NGX_HTTP_NO_CONTENT, NULL, &empty, 0);

    } else if (status == NGX_HTTP_CREATED && sdp) {
        rc = ngx_http_mdvr_whep_created(whep, sdp);

    } else if (status >= 400 && status < 600 && code) {
        rc = ngx_mdvr_http_problem(r, (ngx_uint_t) status, code, detail);

    } else {
        rc = ngx_mdvr_http_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "unavailable", "WebRTC is out of order");
    }

    json_decref(doc);
    (void) ngx_http_mdvr_whep_detach(whep);

    if (status == NGX_HTTP_CREATED && rc != NGX_ERROR) {

        /* from here on the connection is the viewer's permission */

        whep->in->last = whep->in->pos;
        ngx_add_timer(&whep->timer, whep->recheck);

        if (ngx_handle_read_event(whep->peer.connection->read, 0) != NGX_OK) {
            ngx_http_mdvr_whep_close(whep);
        }

    } else {
        ngx_http_mdvr_whep_close(whep);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_whep_tick(ngx_event_t *ev)
{
    ngx_http_mdvr_whep_t  *whep = ev->data;

    if (whep->request) {
        ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                      "mdvr-rtc did not answer within %d ms",
                      NGX_HTTP_MDVR_WHEP_TIMEOUT);
        ngx_http_mdvr_whep_fail(whep);
        return;
    }

    if (ngx_mdvr_stream_token_recheck(&whep->token) != MDVR_OK) {
        ngx_http_mdvr_whep_close(whep);
        return;
    }

    ngx_add_timer(ev, whep->recheck);
}


/* mdvr-rtc is gone or silent: says so to who waits */

static void
ngx_http_mdvr_whep_fail(ngx_http_mdvr_whep_t *whep)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ngx_http_mdvr_whep_detach(whep);
    ngx_http_mdvr_whep_close(whep);

    if (r == NULL) {
        return;
    }

    c = r->connection;
    rc = ngx_mdvr_http_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                               "unavailable", "WebRTC is not running");
    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


/* From now on neither knows of the other; returns the request, or NULL. */

static ngx_http_request_t *
ngx_http_mdvr_whep_detach(ngx_http_mdvr_whep_t *whep)
{
    ngx_http_request_t  *r = whep->request;

    if (r) {
        whep->request = NULL;
        whep->cleanup->handler = NULL;
    }

    return r;
}


static void
ngx_http_mdvr_whep_close(ngx_http_mdvr_whep_t *whep)
{
    if (whep->timer.timer_set) {
        ngx_del_timer(&whep->timer);
    }

    ngx_close_connection(whep->peer.connection);
    ngx_destroy_pool(whep->pool);
}


/*
 * The request ends.  Before its answer that means that its client is gone,
 * and so is the viewer to be.
 */

static void
ngx_http_mdvr_whep_cleanup(void *data)
{
    ngx_http_mdvr_whep_t  *whep = data;

    (void) ngx_http_mdvr_whep_detach(whep);
    ngx_http_mdvr_whep_close(whep);
}
