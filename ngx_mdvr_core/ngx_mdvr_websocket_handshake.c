/*
 * The opening handshake of RFC 6455, section 4, and what is agreed on in it.
 */

#include "ngx_mdvr_core/ngx_mdvr_websocket_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_http.h"

#include "mdvr/web/ws_offer.h"

#include <ngx_sha1.h>


/* Whether a comma separated header holds the word, in any case. */

static ngx_uint_t
ngx_mdvr_ws_has(const ngx_str_t *value, const char *word)
{
    size_t   len;
    u_char  *p, *last, *end;

    len = ngx_strlen(word);
    p = value->data;
    last = p + value->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == ',' || *p == '\t')) {
            p++;
        }

        for (end = p; end < last && *end != ','; end++) { /* void */ }

        while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }

        if ((size_t) (end - p) == len
            && ngx_strncasecmp(p, (u_char *) word, len) == 0)
        {
            return 1;
        }

        while (p < last && *p != ',') {
            p++;
        }
    }

    return 0;
}


ngx_int_t
ngx_mdvr_ws_handshake(ngx_http_request_t *r, const ngx_mdvr_ws_conf_t *conf,
    ngx_mdvr_ws_payload_t **answer, ngx_uint_t *deflate)
{
    u_char                  digest[20], accept[32], nonce[24], *p;
    ngx_str_t              *key, *value, src, dst, *id;
    ngx_sha1_t              sha1;
    unsigned                bits;
    ngx_uint_t              protocol;
    ngx_mdvr_ws_payload_t  *payload;

    static ngx_str_t        version = ngx_string("13");
    static const char       guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    if (r->method != NGX_HTTP_GET) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return NGX_HTTP_BAD_REQUEST;
    }

    value = ngx_mdvr_http_find(r, "upgrade");

    if (value == NULL || !ngx_mdvr_ws_has(value, "websocket")
        || r->http_version != NGX_HTTP_VERSION_11)
    {
        return 426;
    }

    /* headers_in.connection is not set by nginx before 1.23 */

    value = ngx_mdvr_http_find(r, "connection");

    if (value == NULL || !ngx_mdvr_ws_has(value, "upgrade")) {
        return 426;
    }

    value = ngx_mdvr_http_find(r, "sec-websocket-version");

    if (value == NULL || value->len != 2
        || ngx_strncmp(value->data, "13", 2) != 0)
    {
        if (ngx_mdvr_http_header(r, "Sec-WebSocket-Version", &version)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return 426;
    }

    key = ngx_mdvr_http_find(r, "sec-websocket-key");

    if (key == NULL || key->len != 24) {
        return NGX_HTTP_BAD_REQUEST;
    }

    dst.data = nonce;

    if (ngx_decode_base64(&dst, key) != NGX_OK || dst.len != 16) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->data, key->len);
    ngx_sha1_update(&sha1, guid, sizeof(guid) - 1);
    ngx_sha1_final(digest, &sha1);

    src.data = digest;
    src.len = sizeof(digest);
    dst.data = accept;
    ngx_encode_base64(&dst, &src);

    protocol = 0;

    if (conf->protocol.len) {
        value = ngx_mdvr_http_find(r, "sec-websocket-protocol");
        protocol = value && ngx_mdvr_ws_has(value,
                                            (char *) conf->protocol.data);
    }

    *deflate = 0;
    value = ngx_mdvr_http_find(r, "sec-websocket-extensions");

    if (conf->deflate && value) {
        *deflate = mdvr_ws_offer_deflate(mdvr_str(value->data, value->len),
                                         NGX_MDVR_WS_WINDOW, &bits);
    }

    id = ngx_mdvr_http_request_id(r);

    payload = ngx_alloc(sizeof(ngx_mdvr_ws_payload_t) + 512
                        + conf->protocol.len, ngx_cycle->log);
    if (payload == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    payload->refs = 1;
    payload->head = 0;
    payload->release = NULL;
    payload->packed = NULL;
    payload->text = 0;
    payload->bytes = (u_char *) (payload + 1);

    p = ngx_sprintf(payload->bytes,
                    "HTTP/1.1 101 Switching Protocols" CRLF
                    "Connection: Upgrade" CRLF
                    "Upgrade: websocket" CRLF
                    "Sec-WebSocket-Accept: %V" CRLF
                    "X-Request-Id: %V" CRLF, &dst, id);

    if (protocol) {
        p = ngx_sprintf(p, "Sec-WebSocket-Protocol: %V" CRLF,
                        &conf->protocol);
    }

    if (*deflate) {

        /* nobody keeps a window: an idle socket costs nothing */

        p = ngx_sprintf(p, "Sec-WebSocket-Extensions: permessage-deflate; "
                        "server_no_context_takeover; "
                        "client_no_context_takeover");

        if (bits) {
            p = ngx_sprintf(p, "; server_max_window_bits=%d",
                            NGX_MDVR_WS_WINDOW);
        }

        *p++ = CR;
        *p++ = LF;
    }

    *p++ = CR;
    *p++ = LF;

    payload->len = p - payload->bytes;

    *answer = payload;

    return NGX_OK;
}


ngx_int_t
ngx_mdvr_ws_refuse(ngx_http_request_t *r, ngx_int_t status)
{
    switch (status) {

    case NGX_HTTP_NOT_ALLOWED:
        return ngx_mdvr_http_problem(r, status, "method_not_allowed", NULL);

    case 426:
        return ngx_mdvr_http_problem(r, status, "upgrade_required",
                                     "this address speaks WebSocket, "
                                     "version 13, over HTTP/1.1");

    case NGX_HTTP_BAD_REQUEST:
        return ngx_mdvr_http_problem(r, status, "malformed",
                                     "the handshake is not one of RFC 6455");

    default:
        return status;
    }
}
