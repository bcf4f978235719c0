/*
 * One client, by WebSocket or as an event stream: its beginning, its end, and
 * what it is sent.
 *
 * Close codes of ours: 4401 not (or no longer) authenticated, 4403 another
 * user's token, 4408 too slow, 4429 too many sockets or messages; 1001 this
 * server goes, 1013 a service is away.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"


const ngx_str_t  ngx_mdvr_topic_names[NGX_MDVR_TOPICS] = {
    ngx_string("telemetry"),
    ngx_string("alarm"),
    ngx_string("device"),
    ngx_string("media"),
    ngx_string("command")
};

const uint32_t  ngx_mdvr_topic_scopes[NGX_MDVR_TOPICS] = {
    MDVR_SCOPE_DEVICE_READ,
    MDVR_SCOPE_ALARM_READ,
    MDVR_SCOPE_DEVICE_READ,
    MDVR_SCOPE_VIDEO_WATCH,
    MDVR_SCOPE_DEVICE_CONTROL
};

static const ngx_mdvr_ws_handler_t  ngx_mdvr_client_handler = {
    ngx_mdvr_client_message,
    ngx_mdvr_client_closed,
    ngx_mdvr_client_drained
};

ngx_queue_t              ngx_mdvr_clients;
static ngx_uint_t        ngx_mdvr_nclients;


ngx_int_t
ngx_mdvr_client_init(void)
{
    ngx_queue_init(&ngx_mdvr_clients);

    return ngx_mdvr_client_time_init();
}


/* -- the beginning ------------------------------------------------------- */

ngx_int_t
ngx_mdvr_client_identify(ngx_mdvr_client_t *client,
    const ngx_mdvr_principal_t *principal, const ngx_mdvr_uuid_t *tenant)
{
    ngx_uint_t  i;

    if (!client->counted_user) {
        if (ngx_mdvr_user_add(&principal->user, client->conf->per_user)
            == NGX_BUSY)
        {
            ngx_mdvr_refusal("ws_per_user");
            ngx_mdvr_client_close(client, 4429, "too many sockets");
            return NGX_ERROR;
        }

        client->counted_user = 1;
    }

    client->principal = *principal;

    if (tenant && principal->role == MDVR_ROLE_SUPER_ADMIN) {
        client->tenant = *tenant;
        client->principal.has_tenant = 1;

    } else {
        client->tenant = principal->tenant;
    }

    (void) ngx_mdvr_uuid_print(client->tenant_text, &client->tenant);
    (void) ngx_mdvr_uuid_print(client->user_text, &principal->user);

    client->rekey_at = ngx_current_msec;

    for (i = 0; i < NGX_MDVR_TOPICS; i++) {
        if (!(principal->scopes & ngx_mdvr_topic_scopes[i])) {
            client->topics &= ~(1 << i);
        }
    }

    return NGX_OK;
}


ngx_mdvr_client_t *
ngx_mdvr_client_new(ngx_connection_t *c, const ngx_mdvr_push_conf_t *conf,
    const ngx_str_t *key)
{
    ngx_pool_t         *pool;
    ngx_mdvr_client_t  *client;

    pool = ngx_create_pool(sizeof(ngx_pool_t) + sizeof(ngx_mdvr_client_t)
                           + 128, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    client = ngx_pcalloc(pool, sizeof(ngx_mdvr_client_t));
    if (client == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    client->c = c;
    client->pool = pool;
    client->conf = conf;
    client->tokens = NGX_MDVR_CLIENT_TOKENS;
    client->tokens_at = ngx_current_msec;
    ngx_queue_init(&client->inbox);

    client->timer.handler = ngx_mdvr_client_timer;
    client->timer.data = client;
    client->timer.log = c->log;

    if (key && key->len) {
        client->key.data = ngx_pnalloc(client->pool, 128);
        if (client->key.data == NULL) {
            ngx_destroy_pool(pool);
            return NULL;
        }

        client->key.len = ngx_min(key->len, 128);
        ngx_memcpy(client->key.data, key->data, client->key.len);
    }

    return client;
}


void
ngx_mdvr_client_enter(ngx_mdvr_client_t *client)
{
    ngx_queue_insert_tail(&ngx_mdvr_clients, &client->all);
    ngx_mdvr_nclients++;
    ngx_mdvr_gauge(ws_sockets, ngx_mdvr_nclients);

    ngx_mdvr_client_watch(client);
}


ngx_int_t
ngx_mdvr_client_open(ngx_http_request_t *r, const ngx_mdvr_push_conf_t *conf,
    const ngx_mdvr_principal_t *principal, const ngx_mdvr_uuid_t *tenant,
    const ngx_str_t *key)
{
    ngx_int_t           rc;
    ngx_mdvr_client_t  *client;

    client = ngx_mdvr_client_new(r->connection, conf, key);
    if (client == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_mdvr_ws_accept(r, &conf->ws, &ngx_mdvr_client_handler, client,
                            &client->ws);
    if (rc != NGX_DONE) {
        ngx_destroy_pool(client->pool);
        return rc;
    }

    ngx_mdvr_client_enter(client);

    if (principal
        && ngx_mdvr_client_identify(client, principal, tenant) == NGX_OK)
    {
        client->state = NGX_MDVR_CLIENT_IDLE;
        (void) ngx_mdvr_client_visit(client);
    }

    ngx_mdvr_client_arm(client);

    return NGX_DONE;
}


void
ngx_mdvr_client_closed(void *data, ngx_uint_t code)
{
    ngx_mdvr_client_t *client = data;

    ngx_log_error(NGX_LOG_INFO, client->c->log, 0,
                  "push socket closed with %ui", code);

    client->state = NGX_MDVR_CLIENT_CLOSING;

    ngx_mdvr_client_unsubscribe(client);

    if (client->timer.timer_set) {
        ngx_del_timer(&client->timer);
    }

    ngx_mdvr_client_inbox_free(client);
    ngx_mdvr_client_filter(client, NULL);

    if (client->counted_user) {
        ngx_mdvr_user_sub(&client->principal.user);
    }

    ngx_mdvr_address_sub(client->c->sockaddr, NGX_MDVR_ADDR_PUSH);

    ngx_queue_remove(&client->all);
    ngx_mdvr_nclients--;
    ngx_mdvr_gauge(ws_sockets, ngx_mdvr_nclients);

    if (code == 4408) {
        ngx_mdvr_count(ws_closed_slow_total);
    }

    ngx_destroy_pool(client->pool);     /* and the client with it */
}


void
ngx_mdvr_client_close(ngx_mdvr_client_t *client, ngx_uint_t code,
    const char *reason)
{
    if (client->state == NGX_MDVR_CLIENT_CLOSING) {
        return;
    }

    client->state = NGX_MDVR_CLIENT_CLOSING;

    if (client->timer.timer_set) {
        ngx_del_timer(&client->timer);
    }

    if (client->sse) {
        ngx_mdvr_sse_close(client->sse, code, reason, code == 4408);

    } else {
        ngx_mdvr_ws_close(client->ws, code, reason, code == 4408);
    }
}


void
ngx_mdvr_client_scope(ngx_mdvr_client_t *client, ngx_mdvr_pg_call_t *call)
{
    call->role = NGX_MDVR_PG_API;
    call->tenant.data = client->tenant_text;
    call->tenant.len = NGX_MDVR_UUID_LEN;
    call->user_id.data = client->user_text;
    call->user_id.len = NGX_MDVR_UUID_LEN;
    call->app_role.data = (u_char *) mdvr_role_name(client->principal.role);
    call->app_role.len = ngx_strlen(call->app_role.data);
}


/* -- sending ------------------------------------------------------------- */

ngx_int_t
ngx_mdvr_client_payload(ngx_mdvr_client_t *client,
    ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags)
{
    ngx_int_t  rc;

    if (client->sse) {
        rc = ngx_mdvr_sse_send(client->sse, payload, flags);
        client->dropped += ngx_mdvr_sse_dropped(client->sse);

    } else {
        rc = ngx_mdvr_ws_send(client->ws, payload, flags);
        client->dropped += ngx_mdvr_ws_dropped(client->ws);
    }

    /* what may not be dropped and is not queued ends it: no gap */

    if (rc == NGX_BUSY
        || (rc == NGX_ERROR && !(flags & NGX_MDVR_WS_DROPPABLE)))
    {
        ngx_mdvr_client_close(client, 4408, "too slow");
    }

    return rc;
}


size_t
ngx_mdvr_client_queued(const ngx_mdvr_client_t *client)
{
    return client->sse ? ngx_mdvr_sse_queued(client->sse)
                       : ngx_mdvr_ws_queued(client->ws);
}


/* The message in the form that this client takes; NULL: no memory. */

ngx_mdvr_ws_payload_t *
ngx_mdvr_client_form(const ngx_mdvr_client_t *client, ngx_mdvr_push_t *push)
{
    if (client->sse) {
        if (push->event == NULL) {
            push->event = ngx_mdvr_sse_payload(&push->text);
        }

        return push->event;
    }

    if (push->payload == NULL) {
        push->payload = ngx_mdvr_ws_payload(0, &push->text, 1);
    }

    return push->payload;
}


ngx_int_t
ngx_mdvr_client_send(ngx_mdvr_client_t *client, const ngx_str_t *text,
    ngx_uint_t flags)
{
    ngx_int_t               rc;
    ngx_mdvr_ws_payload_t  *payload;

    if (client->state == NGX_MDVR_CLIENT_CLOSING) {
        return NGX_ERROR;
    }

    payload = client->sse ? ngx_mdvr_sse_payload(text)
                          : ngx_mdvr_ws_payload(0, text, 1);
    if (payload == NULL) {
        ngx_mdvr_client_close(client, 1011, "no memory");
        return NGX_ERROR;
    }

    rc = ngx_mdvr_client_payload(client, payload, flags);

    ngx_mdvr_ws_payload_drop(payload);

    return rc;
}


ngx_int_t
ngx_mdvr_client_say(ngx_mdvr_client_t *client, const char *fmt, ...)
{
    u_char     text[512];
    va_list    args;
    ngx_str_t  s;

    va_start(args, fmt);
    s.data = text;
    s.len = ngx_vslprintf(text, text + sizeof(text), fmt, args) - text;
    va_end(args);

    return ngx_mdvr_client_send(client, &s, 0);
}


static void
ngx_mdvr_client_tell_dropped(ngx_mdvr_client_t *client)
{
    ngx_uint_t  n;

    n = client->dropped;
    client->dropped = 0;

    if (n) {
        (void) ngx_mdvr_client_say(client, "{\"type\":\"dropped\","
                                   "\"count\":%ui}", n);
    }
}


void
ngx_mdvr_client_drained(void *data)
{
    ngx_mdvr_client_t *client = data;

    ngx_mdvr_client_tell_dropped(client);
    ngx_mdvr_replay_drained(client);
}


ngx_uint_t
ngx_mdvr_client_deliver(ngx_mdvr_client_t *client, ngx_mdvr_push_t *push)
{
    ngx_mdvr_ws_payload_t  *payload;

    if (!(client->topics & (1 << push->topic))
        || (client->filtered
            && !ngx_mdvr_set_has(&client->devices, &push->device))
        || (client->visible
            && !ngx_mdvr_visible_has(client->visible, push)))
    {
        return 0;
    }

    switch (client->state) {

    case NGX_MDVR_CLIENT_LIVE:
        break;

    case NGX_MDVR_CLIENT_REPLAYING:
        if (push->seq == 0) {
            break;
        }

        ngx_mdvr_replay_hold(client, push);
        return 1;

    default:
        return 0;
    }

    if (push->seq && push->seq <= client->seq) {
        return 0;
    }

    payload = ngx_mdvr_client_form(client, push);

    if (payload == NULL) {
        if (push->seq) {
            ngx_mdvr_client_close(client, 4408, "no memory");
        }

        return 0;
    }

    if (client->dropped && ngx_mdvr_client_queued(client)
                           < client->conf->ws.max_queue / 2)
    {
        ngx_mdvr_client_tell_dropped(client);
    }

    if (ngx_mdvr_client_payload(client, payload,
                                push->seq ? NGX_MDVR_WS_GATHER
                                          : NGX_MDVR_WS_GATHER
                                            | NGX_MDVR_WS_DROPPABLE)
        != NGX_OK)
    {
        return 0;
    }

    if (push->seq) {
        client->seq = push->seq;
    }

    return 1;
}

