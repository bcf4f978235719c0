
/*
 * GET /devices/{id}/diagnostics: what is stored of a device, and the messages of the
 * wire that the signaling front keeps in Redis for a week.  Without Redis, or without
 * such a list, what was stored has to do.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_telemetry.h"
#include "mdvr/domain/keys.h"


#define NGX_HTTP_MDVR_API_WIRE_TIMEOUT  1000    /* ms */


static void
ngx_http_mdvr_api_diagnostics_of(ngx_http_mdvr_api_ctx_t *ctx, ngx_str_t *wire)
{
    ngx_http_mdvr_api_select(ctx, api_sql_diagnostics, "id,@0", wire);
}


/* one array of what are JSON documents already */

static void
ngx_http_mdvr_api_diagnostics_wire(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    u_char                   *p;
    size_t                    i, len;
    ngx_str_t                 wire = ngx_string("[]");
    ngx_connection_t         *c;
    ngx_http_mdvr_api_ctx_t  *ctx = data;

    c = ctx->request->connection;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_ARRAY && reply->elements) {

        for (i = 0, len = 2; i < reply->elements; i++) {
            len += reply->element[i]->len + 1;
        }

        p = ngx_pnalloc(ctx->request->pool, len);

        if (p) {
            wire.data = p;
            *p++ = '[';

            for (i = 0; i < reply->elements; i++) {
                if (i) {
                    *p++ = ',';
                }

                p = ngx_cpymem(p, reply->element[i]->str,
                               reply->element[i]->len);
            }

            *p++ = ']';
            wire.len = p - wire.data;
        }
    }

    ngx_http_mdvr_api_diagnostics_of(ctx, &wire);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_diagnostics_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char       key[MDVR_KEY_MAX];
    size_t       lens[4];
    ngx_str_t    device, none = ngx_string("[]");
    mdvr_buf_t   b;
    const char  *argv[4];

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    device = ngx_mdvr_pg_value(rows, 0, 0);

    b = mdvr_buf(key, sizeof(key));
    mdvr_key_wire(&b, mdvr_str(device.data, device.len));

    argv[0] = "LRANGE";
    argv[1] = (char *) key;
    argv[2] = "-100";
    argv[3] = "-1";
    lens[0] = 6;
    lens[1] = b.len;
    lens[2] = 4;
    lens[3] = 2;

    if (b.full
        || ngx_mdvr_redis_command(ctx->request->pool,
                                  NGX_HTTP_MDVR_API_WIRE_TIMEOUT, 4, argv, lens,
                                  ngx_http_mdvr_api_diagnostics_wire, ctx)
           != NGX_OK)
    {
        ngx_http_mdvr_api_diagnostics_of(ctx, &none);
    }
}


void
ngx_http_mdvr_api_diagnostics(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "select id from mdvr.device"
        " where id = $1::uuid and deleted_at is null",
        "id", NULL, ngx_http_mdvr_api_diagnostics_found);
}
