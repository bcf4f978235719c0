/*
 * GET /events/stream: a request becomes a client of the hub, as a socket that
 * has said "auth" and "subscribe".
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"


/* Cuts the next word off a list with commas; zero: there is none. */

static ngx_uint_t
ngx_mdvr_stream_word(ngx_str_t *list, ngx_str_t *word)
{
    u_char  *p;

    if (list->len == 0) {
        return 0;
    }

    p = ngx_strlchr(list->data, list->data + list->len, ',');

    word->data = list->data;
    word->len = p ? (size_t) (p - list->data) : list->len;

    list->data += word->len + (p ? 1 : 0);
    list->len -= word->len + (p ? 1 : 0);

    return 1;
}


/*
 * Topics as bits.  None named: all events (a position is none) that the scopes
 * allow.
 */

static ngx_int_t
ngx_mdvr_stream_topics(const ngx_mdvr_push_stream_t *stream, uint32_t *topics)
{
    ngx_str_t   list, word;
    ngx_uint_t  i;

    list = stream->topics;
    *topics = 0;

    for (i = 1; list.len == 0 && i < NGX_MDVR_TOPICS; i++) {
        if (stream->principal->scopes & ngx_mdvr_topic_scopes[i]) {
            *topics |= 1 << i;
        }
    }

    while (ngx_mdvr_stream_word(&list, &word)) {

        for (i = 0; i < NGX_MDVR_TOPICS; i++) {
            if (word.len == ngx_mdvr_topic_names[i].len
                && ngx_strncmp(word.data, ngx_mdvr_topic_names[i].data,
                               word.len) == 0)
            {
                break;
            }
        }

        if (i == NGX_MDVR_TOPICS) {
            return NGX_ABORT;
        }

        if (!(stream->principal->scopes & ngx_mdvr_topic_scopes[i])) {
            return NGX_DECLINED;
        }

        *topics |= 1 << i;
    }

    return *topics ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_mdvr_stream_devices(ngx_mdvr_client_t *client, ngx_str_t list)
{
    ngx_str_t       word;
    ngx_mdvr_set_t  set;

    if (list.len == 0) {
        return NGX_OK;
    }

    set.n = 0;
    set.ids = ngx_alloc((list.len / NGX_MDVR_UUID_LEN + 1)
                        * sizeof(ngx_mdvr_uuid_t), ngx_cycle->log);
    if (set.ids == NULL) {
        return NGX_ERROR;
    }

    while (ngx_mdvr_stream_word(&list, &word)) {
        if (ngx_mdvr_uuid_parse(&word, &set.ids[set.n]) != NGX_OK) {
            ngx_free(set.ids);
            return NGX_ERROR;
        }

        set.n++;
    }

    ngx_mdvr_client_filter(client, &set);

    return NGX_OK;
}


static ngx_mdvr_client_t *
ngx_mdvr_stream_client(ngx_http_request_t *r,
    const ngx_mdvr_push_conf_t *conf, const ngx_mdvr_push_stream_t *stream,
    uint32_t topics)
{
    ngx_mdvr_client_t  *client;

    client = ngx_mdvr_client_new(r->connection, conf, &stream->key);
    if (client == NULL) {
        return NULL;
    }

    client->counted_user = 1;

    (void) ngx_mdvr_client_identify(client, stream->principal,
                                    &stream->tenant);

    client->visited = client->tenant;       /* the API has seen to it */
    client->topics = topics;
    client->state = NGX_MDVR_CLIENT_IDLE;

    client->after_len = ngx_min(stream->after.len, sizeof(client->after));
    ngx_memcpy(client->after, stream->after.data, client->after_len);

    if (ngx_mdvr_stream_devices(client, stream->devices) != NGX_OK) {
        goto failed;
    }

    client->sse = ngx_mdvr_sse_open(r, &conf->ws, client);

    if (client->sse == NULL) {
        ngx_mdvr_client_filter(client, NULL);
        goto failed;
    }

    ngx_mdvr_client_enter(client);

    return client;

failed:

    ngx_destroy_pool(client->pool);

    return NULL;
}


static ngx_int_t
ngx_mdvr_stream_header(ngx_http_request_t *r)
{
    static ngx_str_t  no_cache = ngx_string("no-store");
    static ngx_str_t  no_buffer = ngx_string("no");

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_length_n = -1;

    (void) ngx_mdvr_http_header(r, "X-Request-Id",
                                ngx_mdvr_http_request_id(r));
    (void) ngx_mdvr_http_header(r, "Cache-Control", &no_cache);
    (void) ngx_mdvr_http_header(r, "X-Accel-Buffering", &no_buffer);

    return ngx_http_send_header(r);
}


ngx_int_t
ngx_mdvr_stream_open(ngx_http_request_t *r,
    const ngx_mdvr_push_stream_t *stream)
{
    uint32_t                     topics;
    ngx_int_t                    rc;
    ngx_mdvr_client_t           *client;
    const ngx_mdvr_push_conf_t  *conf;

    rc = ngx_mdvr_stream_topics(stream, &topics);
    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_mdvr_push_conf(r);

    if (ngx_mdvr_address_add(r->connection->sockaddr, NGX_MDVR_ADDR_PUSH,
                             conf->per_address)
        == NGX_BUSY)
    {
        ngx_mdvr_refusal("ws_per_address");
        return NGX_BUSY;
    }

    if (ngx_mdvr_user_add(&stream->principal->user, conf->per_user)
        == NGX_BUSY)
    {
        ngx_mdvr_address_sub(r->connection->sockaddr, NGX_MDVR_ADDR_PUSH);
        ngx_mdvr_refusal("ws_per_user");
        return NGX_BUSY;
    }

    client = ngx_mdvr_stream_client(r, conf, stream, topics);

    if (client == NULL) {
        ngx_mdvr_address_sub(r->connection->sockaddr, NGX_MDVR_ADDR_PUSH);
        ngx_mdvr_user_sub(&stream->principal->user);
        return NGX_ERROR;
    }

    rc = ngx_mdvr_stream_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);       /* and the client with it */
        return NGX_OK;
    }

    ngx_mdvr_client_begin(client);

    return NGX_OK;
}
