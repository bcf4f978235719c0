
/*
 * GET /events/stream: the messages of the push socket as Server-Sent Events,
 * served by the push module.
 *
 *   id: <event id>      Last-Event-ID (or ?after=) resumes behind it
 *   event: alarm        the topic
 *   data: {...}         the message exactly as on the WebSocket
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_stream.h"
#include "ngx_mdvr_core/ngx_mdvr_push.h"


/* <number>, <number>-<anything>, t<unix ms>-<anything> */

static ngx_uint_t
ngx_http_mdvr_api_stream_is_id(const ngx_str_t *s)
{
    size_t  i, first;

    first = (s->len && s->data[0] == 't') ? 1 : 0;

    for (i = first; i < s->len && s->data[i] != '-'; i++) {
        if (s->data[i] < '0' || s->data[i] > '9') {
            return 0;
        }
    }

    return i > first && i - first <= 15 && s->len < 64;
}


void
ngx_http_mdvr_api_events_stream(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t               *after;
    ngx_http_request_t      *r;
    ngx_mdvr_push_stream_t   stream;

    r = ctx->request;

    after = ngx_http_mdvr_api_arg(ctx, "after");

    if (after->data == NULL) {
        after = ngx_mdvr_http_find(r, "last-event-id");
    }

    ngx_memzero(&stream, sizeof(ngx_mdvr_push_stream_t));

    if (after && after->data) {

        if (!ngx_http_mdvr_api_stream_is_id(after)) {
            ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "after",
                                            "is not an event id");
            return;
        }

        stream.after = *after;
    }

    stream.principal = &ctx->principal;
    stream.topics = *ngx_http_mdvr_api_arg(ctx, "topics");
    stream.devices = *ngx_http_mdvr_api_arg(ctx, "device_id");

    if (ctx->principal.api_key) {
        (void) ngx_mdvr_http_bearer(r, &stream.key);
    }

    if (ngx_mdvr_uuid_parse(&ctx->tenant, &stream.tenant) != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    switch (ngx_mdvr_push_stream(r, &stream)) {

    case NGX_OK:
        return;

    case NGX_BUSY:
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                                  "too_many_streams",
                                  "this user or address has too many open "
                                  "streams and sockets", 10);
        return;

    case NGX_DECLINED:
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_FORBIDDEN, "forbidden",
                                  "a topic needs a scope that this token "
                                  "lacks", 0);
        return;

    case NGX_ABORT:
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "topics",
                                        "are telemetry, alarm, device, media,"
                                        " command");
        return;

    default:
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }
}
