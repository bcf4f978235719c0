/*
 * Who may see a live stream, for those who hand it on: a CDN's edge and
 * nginx-rtmp ask
 *
 *   GET /live/<token>/permit    -> 204, 401 when the token is not good, 403 when
 *                                  there is nothing to see: what auth_request
 *                                  passes on
 *
 *   ?hls=1      whoever holds the token is watching by HLS, from a cache: the
 *               stream goes on, and parts of it are made
 *   ?start=1    the device is told to send again, if it does not: within the
 *               plan's live minutes, and not during an upgrade
 *
 * "Mdvr-Stream" of the answer names the stream from its start to its end, and
 * never another one: a key for caches.  With "mdvr_live_cdn" it is part of
 * what playlists name, too.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"

#include <openssl/sha.h>

#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"


#define NGX_HTTP_MDVR_PERMIT_MEDIA  20000       /* ms until media comes */
#define NGX_HTTP_MDVR_PERMIT_ASK    5000        /* ms, for the database */


static ngx_int_t ngx_http_mdvr_permit_answer(ngx_http_mdvr_live_ctx_t *ctx,
    mdvr_rc_t rc);


mdvr_rc_t
ngx_http_mdvr_live_id(mdvr_bus_ref_t ref, u_char *text)
{
    u_char           *p;
    mdvr_bus_info_t   info;
    u_char            all[MDVR_BUS_SESSION_MAX + 64];
    u_char            digest[SHA256_DIGEST_LENGTH];

    if (mdvr_bus_info(ngx_mdvr_bus(), ref, &info) != MDVR_OK) {
        return MDVR_E_NOT_FOUND;
    }

    /* the wire session id is a secret of the device: it is not shown */

    p = ngx_cpymem(all, info.device_id, sizeof(info.device_id));
    p = ngx_cpymem(p, &info.created_ms, sizeof(info.created_ms));
    p = ngx_cpymem(p, &ref, sizeof(ref));
    p = ngx_cpymem(p, info.session, ngx_strlen(info.session));
    (void) SHA256(all, p - all, digest);

    (void) ngx_hex_dump(text, digest, NGX_HTTP_MDVR_LIVE_ID / 2);

    return MDVR_OK;
}


/*
 * A session for the token's stream, and C508 to its device.  `audio`: the type
 * that the device announced, 0 not known.
 */

static mdvr_rc_t
ngx_http_mdvr_permit_start(ngx_http_mdvr_live_ctx_t *ctx, ngx_uint_t audio)
{
    char               note[NGX_MDVR_BUS_LIVE_NOTE];
    bool               created;
    mdvr_rc_t          rc;
    ngx_int_t          known;
    mdvr_bus_t        *bus = ngx_mdvr_bus();
    mdvr_bus_info_t    info;
    mdvr_bus_start_t   start;
    ngx_mdvr_device_t  device;

    known = ngx_mdvr_registry_find_id(&ctx->token.device, &device);

    /* a talk's token has channel 0, a player's one beyond all cameras */

    if (known != NGX_OK || device.suspended || ctx->token.channel == 0
        || ctx->token.channel > device.channels)
    {
        return MDVR_E_NOT_FOUND;
    }

    ngx_memzero(&start, sizeof(mdvr_bus_start_t));

    start.kind = MDVR_BUS_KIND_LIVE;
    ngx_memcpy(start.tenant_id, ctx->token.tenant.b, 16);
    ngx_memcpy(start.device_id, ctx->token.device.b, 16);
    start.serial = (char *) device.serial;
    start.channel = ctx->token.channel;
    start.stream = ctx->token.stream;
    start.deadline_ms = mdvr_bus_clock_ms() + NGX_HTTP_MDVR_PERMIT_MEDIA;
    start.note = ngx_mdvr_bus_live_note(note, audio);

    rc = mdvr_bus_start(bus, &start, mdvr_bus_clock_ms(), &ctx->ref, &created);

    if (rc == MDVR_OK && created
        && mdvr_bus_info(bus, ctx->ref, &info) == MDVR_OK)
    {
        ngx_mdvr_bus_start_device(&info);
    }

    return rc;
}


static ngx_uint_t
ngx_http_mdvr_permit_asks(ngx_http_request_t *r, char *name)
{
    ngx_str_t  value;

    return ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &value) == NGX_OK
           && value.len == 1 && value.data[0] == '1';
}


static void
ngx_http_mdvr_permit_asked(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    int64_t                    upgrading, audio;
    ngx_int_t                  n;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_mdvr_live_ctx_t  *ctx = data;

    r = ctx->request;
    c = r->connection;

    /* whoever asks for permission understands 401 and 403 */

    if (rc == MDVR_E_CONFLICT) {
        n = ngx_mdvr_http_problem(r, NGX_HTTP_FORBIDDEN, "quota_exceeded",
                                  "the plan's live minutes are used up");

    } else if (rc != MDVR_OK) {
        n = ngx_mdvr_http_verdict(r, rc, NULL);

    } else if (ngx_mdvr_pg_int(rows, 0, 0, &upgrading) == NGX_OK && upgrading)
    {
        n = ngx_mdvr_http_problem(r, NGX_HTTP_FORBIDDEN, "device_busy",
                                  "a firmware upgrade runs");

    } else {
        if (ngx_mdvr_pg_int(rows, 0, 2, &audio) != NGX_OK) {
            audio = 0;
        }

        rc = ngx_http_mdvr_permit_start(ctx, audio);
        n = ngx_http_mdvr_permit_answer(ctx, rc);
    }

    ngx_http_finalize_request(r, n);
    ngx_http_run_posted_requests(c);
}


/* As for POST /devices/{id}/video/start; the token says who it is. */

static ngx_int_t
ngx_http_mdvr_permit_ask(ngx_http_mdvr_live_ctx_t *ctx)
{
    u_char                device[NGX_MDVR_UUID_LEN];
    u_char                tenant[NGX_MDVR_UUID_LEN];
    ngx_str_t             id;
    ngx_mdvr_pg_call_t    call;
    ngx_mdvr_pg_param_t   param;
    ngx_http_request_t   *r = ctx->request;

    id.data = device;
    id.len = ngx_mdvr_uuid_print(device, &ctx->token.device) - device;
    param = ngx_mdvr_pg_text(&id);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_API;
    call.sql = "select mdvr.device_upgrading($1::uuid)::int,"
               " mdvr.quota_live(),"
               " (select (s.registration->>'audio_type')::int"
               "  from mdvr.device_state s where s.device_id = $1::uuid"
               "  and s.registration->>'audio_type' ~ '^[0-9]{1,2}$')";
    call.params = &param;
    call.nparams = 1;
    call.tenant.data = tenant;
    call.tenant.len = ngx_mdvr_uuid_print(tenant, &ctx->token.tenant) - tenant;
    ngx_str_set(&call.app_role, "tenant_admin");

    if (ngx_mdvr_pg_query(r->pool, &call, NGX_HTTP_MDVR_PERMIT_ASK,
                          ngx_http_mdvr_permit_asked, ctx)
        != NGX_OK)
    {
        return ngx_mdvr_http_verdict(r, MDVR_E_UNAVAILABLE, NULL);
    }

    r->main->count++;

    return NGX_DONE;
}


ngx_int_t
ngx_http_mdvr_live_permit(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t  rc;

    rc = ngx_http_mdvr_live_find(ctx);

    return rc == MDVR_E_NOT_FOUND
           && ngx_http_mdvr_permit_asks(ctx->request, "start")
           ? ngx_http_mdvr_permit_ask(ctx)
           : ngx_http_mdvr_permit_answer(ctx, rc);
}


static ngx_int_t
ngx_http_mdvr_permit_answer(ngx_http_mdvr_live_ctx_t *ctx, mdvr_rc_t rc)
{
    ngx_str_t            id;
    ngx_http_request_t  *r = ctx->request;

    static ngx_str_t     empty = ngx_null_string;
    static ngx_str_t     cache = ngx_string("private, max-age=2");

    if (rc == MDVR_E_NOT_FOUND
        || (rc == MDVR_OK && ngx_http_mdvr_permit_asks(r, "hls")
            && ngx_http_mdvr_hls_attach(ctx) != NGX_OK))
    {
        return ngx_mdvr_http_problem(r, NGX_HTTP_FORBIDDEN,
                                     "stream_not_running",
                                     "the stream does not run");
    }

    if (rc != MDVR_OK) {
        return ngx_mdvr_http_verdict(r, rc, NULL);
    }

    id.len = NGX_HTTP_MDVR_LIVE_ID;
    id.data = ngx_pnalloc(r->pool, NGX_HTTP_MDVR_LIVE_ID);

    if (id.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_mdvr_live_id(ctx->ref, id.data) != MDVR_OK) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_FORBIDDEN,
                                     "stream_not_running",
                                     "the stream does not run");
    }

    if (ngx_mdvr_http_header(r, "Mdvr-Stream", &id) != NGX_OK
        || ngx_mdvr_http_header(r, "Cache-Control", &cache) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mdvr_http_send(r, NGX_HTTP_NO_CONTENT, NULL, &empty, 0);
}
