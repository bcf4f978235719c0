
/*
 * POST /devices/{id}/video/record: a live stream of this node becomes a stored
 * recording, with what the frame bus still has of the seconds before.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_video.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_record.h"


static void
ngx_http_mdvr_api_record_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_int_t           rc;
    ngx_str_t           stream;
    mdvr_bus_t         *bus = ngx_mdvr_bus();
    ngx_mdvr_uuid_t     device;
    ngx_mdvr_record_t  *record = ctx->data;
    u_char              id[NGX_MDVR_UUID_LEN + 1];

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    stream = ngx_http_mdvr_api_str(ctx, "stream");
    rc = NGX_DECLINED;

    if (bus && ngx_mdvr_uuid_parse(&ctx->ids[0], &device) == NGX_OK
        && mdvr_bus_find_key(bus, MDVR_BUS_KIND_LIVE, device.b,
                             ngx_http_mdvr_api_int(ctx, "channel", 1),
                             stream.len == 4 ? 0 : 1, &record->ref)
           == MDVR_OK)
    {
        rc = ngx_mdvr_record_start(record);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "not_live",
                  "the camera is not watched on this node; start it first", 0);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  rc == NGX_BUSY ? "busy" : "storage_away",
                                  NULL, 5);
        return;
    }

    *ngx_mdvr_uuid_print(id, &record->media_id) = '\0';

    ngx_http_mdvr_api_json(ctx, NGX_HTTP_ACCEPTED,
        json_pack("{s:s, s:s}", "media_id", id, "status", "receiving"));
}


void
ngx_http_mdvr_api_video_record(ngx_http_mdvr_api_ctx_t *ctx)
{
    u_char             *p;
    ngx_str_t           bind;
    ngx_mdvr_record_t  *record;

    record = ngx_pcalloc(ctx->request->pool, sizeof(ngx_mdvr_record_t));
    p = ngx_pnalloc(ctx->request->pool, NGX_MDVR_UUID_LEN + 1);

    if (record == NULL || p == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_mdvr_uuid_make(&record->media_id);
    record->duration_s = ngx_http_mdvr_api_int(ctx, "duration_s", 60);
    record->preroll_s = ngx_http_mdvr_api_int(ctx, "preroll_s", 0);
    record->request_id = *ngx_mdvr_http_request_id(ctx->request);
    ctx->data = record;

    bind.data = p;
    bind.len = ngx_mdvr_uuid_print(p, &record->media_id) - p;

    ngx_http_mdvr_api_query(ctx,
        "select d.id, mdvr.quota_stored(), " API_AUDIT("video.record", "device", "$6::text",
                  "jsonb_build_object('media_id', $7::text)")
        " from mdvr.device d where d.id = $6::uuid and d.deleted_at is null",
        API_WHO ",id,@0", &bind, ngx_http_mdvr_api_record_device);
}
