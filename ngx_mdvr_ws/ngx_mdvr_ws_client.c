/*
 * The conversation with one client.
 *
 * Messages are taken strictly in turn: while a token is looked up or a
 * subscription takes effect, later ones wait in the inbox.  So the answer to a
 * ping says that everything before it holds.
 *
 * Close codes of ours: 4401 not (or no longer) authenticated, 4403 another
 * user's token, 4408 too slow, 4429 too many sockets or messages; 1001 this
 * server goes, 1013 a service is away.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"

#include <jansson.h>


#define NGX_MDVR_CLIENT_INBOX     32
#define NGX_MDVR_CLIENT_RATE      20     /* messages a second */
#define NGX_MDVR_CLIENT_BURST     100
#define NGX_MDVR_CLIENT_READY     5000   /* ms until a subscription holds */
#define NGX_MDVR_CLIENT_GRACE     3000   /* ms for a new token */
#define NGX_MDVR_CLIENT_REKEY     3000   /* ms between looks at an API key */
#define NGX_MDVR_CLIENT_DEVICES   10000


typedef struct {
    ngx_queue_t               queue;
    size_t                    len;
    u_char                    text[1];
} ngx_mdvr_letter_t;


static void ngx_mdvr_client_message(void *data, ngx_uint_t binary,
    ngx_str_t *msg);
static void ngx_mdvr_client_closed(void *data, ngx_uint_t code);
static void ngx_mdvr_client_drained(void *data);
static void ngx_mdvr_client_take(ngx_mdvr_client_t *client, ngx_str_t *msg);
static void ngx_mdvr_client_inbox(ngx_mdvr_client_t *client);
static void ngx_mdvr_client_auth(ngx_mdvr_client_t *client, json_t *doc);
static void ngx_mdvr_client_known(void *data,
    const ngx_mdvr_principal_t *principal, mdvr_rc_t rc);
static ngx_int_t ngx_mdvr_client_visit(ngx_mdvr_client_t *client);
static void ngx_mdvr_client_visited(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static void ngx_mdvr_client_subscribe(ngx_mdvr_client_t *client, json_t *doc);
static void ngx_mdvr_client_unsubscribe(ngx_mdvr_client_t *client);
static void ngx_mdvr_client_rekeyed(void *data,
    const ngx_mdvr_principal_t *principal, mdvr_rc_t rc);
static void ngx_mdvr_client_arm(ngx_mdvr_client_t *client);
static void ngx_mdvr_client_timer(ngx_event_t *ev);
static void ngx_mdvr_client_revoked(const ngx_mdvr_mail_t *mail);
static void ngx_mdvr_client_sweep(ngx_event_t *ev);
static void ngx_mdvr_client_drain(void);


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

static ngx_queue_t       ngx_mdvr_clients;
static ngx_uint_t        ngx_mdvr_nclients;
static ngx_event_t       ngx_mdvr_sweep;
static ngx_connection_t  ngx_mdvr_sweep_dummy;
static ngx_uint_t        ngx_mdvr_draining;


ngx_int_t
ngx_mdvr_client_init(void)
{
    ngx_queue_init(&ngx_mdvr_clients);

    ngx_mdvr_sweep_dummy.fd = (ngx_socket_t) -1;
    ngx_mdvr_sweep.handler = ngx_mdvr_client_sweep;
    ngx_mdvr_sweep.data = &ngx_mdvr_sweep_dummy;
    ngx_mdvr_sweep.log = ngx_cycle->log;
    ngx_mdvr_sweep.cancelable = 1;

    if (ngx_mdvr_mail_handler(NGX_MDVR_MAIL_REVOKED, ngx_mdvr_client_revoked)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mdvr_drain_handler(ngx_mdvr_client_drain);
}


/* -- the beginning ------------------------------------------------------- */

static ngx_int_t
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


ngx_int_t
ngx_mdvr_client_open(ngx_http_request_t *r, const ngx_mdvr_push_conf_t *conf,
    const ngx_mdvr_principal_t *principal, const ngx_mdvr_uuid_t *tenant,
    const ngx_str_t *key)
{
    ngx_int_t           rc;
    ngx_pool_t         *pool;
    ngx_mdvr_client_t  *client;

    pool = ngx_create_pool(sizeof(ngx_pool_t) + sizeof(ngx_mdvr_client_t)
                           + 128, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    client = ngx_pcalloc(pool, sizeof(ngx_mdvr_client_t));
    if (client == NULL) {
        ngx_destroy_pool(pool);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    client->c = r->connection;
    client->pool = pool;
    client->conf = conf;
    client->tokens = NGX_MDVR_CLIENT_BURST;
    client->tokens_at = ngx_current_msec;
    ngx_queue_init(&client->inbox);

    client->timer.handler = ngx_mdvr_client_timer;
    client->timer.data = client;
    client->timer.log = r->connection->log;

    if (key && key->len) {
        client->key.data = ngx_pnalloc(client->pool, 128);
        if (client->key.data == NULL) {
            ngx_destroy_pool(pool);
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        client->key.len = ngx_min(key->len, 128);
        ngx_memcpy(client->key.data, key->data, client->key.len);
    }

    rc = ngx_mdvr_ws_accept(r, &conf->ws, &ngx_mdvr_client_handler, client,
                            &client->ws);
    if (rc != NGX_DONE) {
        ngx_destroy_pool(pool);
        return rc;
    }

    ngx_queue_insert_tail(&ngx_mdvr_clients, &client->all);
    ngx_mdvr_nclients++;
    ngx_mdvr_gauge(ws_sockets, ngx_mdvr_nclients);

    if (!ngx_mdvr_sweep.timer_set) {
        ngx_add_timer(&ngx_mdvr_sweep, 1000);
    }

    if (principal
        && ngx_mdvr_client_identify(client, principal, tenant) == NGX_OK)
    {
        client->state = NGX_MDVR_CLIENT_IDLE;
        (void) ngx_mdvr_client_visit(client);
    }

    if (ngx_mdvr_draining) {            /* on a connection that was kept */
        client->has_drain = 1;
        client->drain_at = ngx_current_msec + ngx_random() % (conf->drain + 1);
    }

    ngx_mdvr_client_arm(client);

    return NGX_DONE;
}


static void
ngx_mdvr_client_closed(void *data, ngx_uint_t code)
{
    ngx_mdvr_client_t *client = data;

    ngx_queue_t  *q;

    ngx_log_error(NGX_LOG_INFO, client->c->log, 0,
                  "push socket closed with %ui", code);

    client->state = NGX_MDVR_CLIENT_CLOSING;

    ngx_mdvr_client_unsubscribe(client);

    if (client->timer.timer_set) {
        ngx_del_timer(&client->timer);
    }

    while (!ngx_queue_empty(&client->inbox)) {
        q = ngx_queue_head(&client->inbox);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_mdvr_letter_t, queue));
    }

    if (client->devices.ids) {
        ngx_free(client->devices.ids);
        client->devices.ids = NULL;
    }

    if (client->counted_user) {
        ngx_mdvr_user_sub(&client->principal.user);
    }

    ngx_mdvr_address_sub(client->c->sockaddr,
                         NGX_MDVR_ADDR_PUSH);

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

    ngx_mdvr_ws_close(client->ws, code, reason, code == 4408);
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

static ngx_int_t
ngx_mdvr_client_payload(ngx_mdvr_client_t *client,
    ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags)
{
    ngx_int_t  rc;

    rc = ngx_mdvr_ws_send(client->ws, payload, flags);

    client->dropped += ngx_mdvr_ws_dropped(client->ws);

    if (rc == NGX_BUSY) {
        ngx_mdvr_client_close(client, 4408, "too slow");
    }

    return rc;
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

    payload = ngx_mdvr_ws_payload(0, text, 1);
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


static void
ngx_mdvr_client_drained(void *data)
{
    ngx_mdvr_client_t *client = data;

    ngx_mdvr_client_tell_dropped(client);
    ngx_mdvr_replay_drained(client);
}


void
ngx_mdvr_client_deliver(ngx_mdvr_client_t *client, ngx_mdvr_push_t *push)
{
    if (!(client->topics & (1 << push->topic))
        || (client->filtered
            && !ngx_mdvr_set_has(&client->devices, &push->device))
        || (client->visible
            && !ngx_mdvr_visible_has(client->visible, push)))
    {
        return;
    }

    switch (client->state) {

    case NGX_MDVR_CLIENT_LIVE:
        break;

    case NGX_MDVR_CLIENT_REPLAYING:
        if (push->seq == 0) {
            break;
        }

        ngx_mdvr_replay_hold(client, push);
        return;

    default:
        return;
    }

    if (push->seq && push->seq <= client->seq) {
        return;
    }

    if (push->payload == NULL) {
        push->payload = ngx_mdvr_ws_payload(0, &push->text, 1);

        if (push->payload == NULL) {
            if (push->seq) {
                ngx_mdvr_client_close(client, 4408, "no memory");
            }

            return;
        }
    }

    if (client->dropped && ngx_mdvr_ws_queued(client->ws)
                           < client->conf->ws.max_queue / 2)
    {
        ngx_mdvr_client_tell_dropped(client);
    }

    if (ngx_mdvr_client_payload(client, push->payload,
                                push->seq ? NGX_MDVR_WS_GATHER
                                          : NGX_MDVR_WS_GATHER
                                            | NGX_MDVR_WS_DROPPABLE)
        == NGX_OK
        && push->seq)
    {
        client->seq = push->seq;
    }
}


/* -- receiving ----------------------------------------------------------- */

static ngx_uint_t
ngx_mdvr_client_busy(ngx_mdvr_client_t *client)
{
    return client->state == NGX_MDVR_CLIENT_ASKING
           || client->state == NGX_MDVR_CLIENT_SUBSCRIBING;
}


static void
ngx_mdvr_client_message(void *data, ngx_uint_t binary, ngx_str_t *msg)
{
    ngx_mdvr_client_t *client = data;

    ngx_msec_t          since;
    ngx_mdvr_letter_t  *letter;

    if (client->state == NGX_MDVR_CLIENT_CLOSING) {
        return;
    }

    since = ngx_current_msec - client->tokens_at;

    if (since >= 1000 / NGX_MDVR_CLIENT_RATE) {
        client->tokens += since * NGX_MDVR_CLIENT_RATE / 1000;
        client->tokens = ngx_min(client->tokens, NGX_MDVR_CLIENT_BURST);
        client->tokens_at = ngx_current_msec;
    }

    if (client->tokens == 0) {
        ngx_mdvr_refusal("ws_rate");
        ngx_mdvr_client_close(client, 4429, "too many messages");
        return;
    }

    client->tokens--;

    if (binary) {
        ngx_mdvr_client_close(client, 1003, "text only");
        return;
    }

    if (!ngx_mdvr_client_busy(client)) {
        ngx_mdvr_client_take(client, msg);
        return;
    }

    if (client->ninbox == NGX_MDVR_CLIENT_INBOX) {
        ngx_mdvr_client_close(client, 4429, "too many messages");
        return;
    }

    letter = ngx_alloc(sizeof(ngx_mdvr_letter_t) + msg->len, ngx_cycle->log);
    if (letter == NULL) {
        ngx_mdvr_client_close(client, 1011, "no memory");
        return;
    }

    letter->len = msg->len;
    ngx_memcpy(letter->text, msg->data, msg->len);
    ngx_queue_insert_tail(&client->inbox, &letter->queue);
    client->ninbox++;
}


static void
ngx_mdvr_client_inbox(ngx_mdvr_client_t *client)
{
    ngx_str_t           msg;
    ngx_queue_t        *q;
    ngx_mdvr_letter_t  *letter;

    while (!ngx_queue_empty(&client->inbox)
           && !ngx_mdvr_client_busy(client)
           && client->state != NGX_MDVR_CLIENT_CLOSING)
    {
        q = ngx_queue_head(&client->inbox);
        letter = ngx_queue_data(q, ngx_mdvr_letter_t, queue);

        ngx_queue_remove(q);
        client->ninbox--;

        msg.data = letter->text;
        msg.len = letter->len;

        ngx_mdvr_client_take(client, &msg);

        ngx_free(letter);
    }
}


static void
ngx_mdvr_client_error(ngx_mdvr_client_t *client, const char *code,
    const char *detail)
{
    (void) ngx_mdvr_client_say(client, "{\"type\":\"error\",\"code\":\"%s\","
                               "\"detail\":\"%s\"}", code, detail);
}


static void
ngx_mdvr_client_take(ngx_mdvr_client_t *client, ngx_str_t *msg)
{
    json_t      *doc;
    const char  *type;

    doc = json_loadb((char *) msg->data, msg->len, JSON_REJECT_DUPLICATES,
                     NULL);

    type = json_string_value(json_object_get(doc, "type"));

    if (type == NULL) {
        if (client->state == NGX_MDVR_CLIENT_NEW) {
            ngx_mdvr_client_close(client, 4401, "authentication required");

        } else {
            ngx_mdvr_client_error(client, "malformed",
                                  "a message is a JSON object with a type");
        }

    } else if (ngx_strcmp(type, "auth") == 0) {
        ngx_mdvr_client_auth(client, doc);

    } else if (client->state == NGX_MDVR_CLIENT_NEW) {
        ngx_mdvr_client_close(client, 4401, "authentication required");

    } else if (ngx_strcmp(type, "ping") == 0) {
        (void) ngx_mdvr_client_say(client, "{\"type\":\"pong\"}");

    } else if (client->state == NGX_MDVR_CLIENT_EXPIRED) {

        /* only a new token helps now */

    } else if (ngx_strcmp(type, "subscribe") == 0) {
        ngx_mdvr_client_subscribe(client, doc);

    } else {
        ngx_mdvr_client_error(client, "unknown_type",
                              "auth, subscribe and ping are understood");
    }

    json_decref(doc);
}


/* -- auth ---------------------------------------------------------------- */

static void
ngx_mdvr_client_auth(ngx_mdvr_client_t *client, json_t *doc)
{
    json_t                *member;
    mdvr_rc_t              rc;
    ngx_int_t              answer;
    ngx_str_t              token, tenant;
    ngx_mdvr_principal_t   principal;

    member = json_object_get(doc, "token");

    if (!json_is_string(member)) {
        ngx_mdvr_client_close(client, 4401, "no token");
        return;
    }

    token.data = (u_char *) json_string_value(member);
    token.len = json_string_length(member);

    client->has_named = 0;

    member = json_object_get(doc, "tenant_id");

    if (json_is_string(member)) {
        tenant.data = (u_char *) json_string_value(member);
        tenant.len = json_string_length(member);

        if (ngx_mdvr_uuid_parse(&tenant, &client->named) != NGX_OK) {
            ngx_mdvr_client_error(client, "out_of_range",
                                  "tenant_id is not a UUID");
            return;
        }

        client->has_named = 1;
    }

    if (token.len > 5 && ngx_strncmp(token.data, "mdvr_", 5) == 0
        && token.len <= 128)
    {
        if (client->key.data == NULL) {
            client->key.data = ngx_pnalloc(client->pool, 128);
            if (client->key.data == NULL) {
                ngx_mdvr_client_close(client, 1011, "no memory");
                return;
            }
        }

        ngx_memcpy(client->key.data, token.data, token.len);
        client->key.len = token.len;
    }

    answer = ngx_mdvr_auth_bearer(client->pool, &token, &principal, &rc,
                                  ngx_mdvr_client_known, client);

    switch (answer) {

    case NGX_OK:
        ngx_mdvr_client_known(client, &principal, MDVR_OK);
        return;

    case NGX_AGAIN:
        if (client->state == NGX_MDVR_CLIENT_NEW
            || client->state == NGX_MDVR_CLIENT_IDLE)
        {
            client->state = NGX_MDVR_CLIENT_ASKING;
        }

        return;

    case NGX_DECLINED:
        ngx_mdvr_client_known(client, NULL, rc);
        return;

    default:
        ngx_mdvr_client_known(client, NULL, MDVR_E_UNAVAILABLE);
        return;
    }
}


static void
ngx_mdvr_client_known(void *data, const ngx_mdvr_principal_t *principal,
    mdvr_rc_t rc)
{
    ngx_mdvr_client_t *client = data;

    ngx_mdvr_uuid_t  *tenant;

    if (client->state == NGX_MDVR_CLIENT_CLOSING) {
        return;
    }

    if (rc == MDVR_E_EXPIRED) {
        (void) ngx_mdvr_client_say(client, "{\"type\":\"token_expired\"}");
        ngx_mdvr_client_close(client, 4401, "token expired");
        return;
    }

    if (rc == MDVR_E_UNAVAILABLE || rc == MDVR_E_TIMEOUT
        || rc == MDVR_E_BUSY)
    {
        ngx_mdvr_client_close(client, 1013, "try again later");
        return;
    }

    if (rc != MDVR_OK) {
        ngx_mdvr_refusal("ws_token");
        ngx_mdvr_client_close(client, 4401, "token not valid");
        return;
    }

    tenant = client->has_named ? &client->named : NULL;

    if (client->counted_user) {

        if (!ngx_mdvr_uuid_equal(&principal->user, &client->principal.user)
            || (principal->role != MDVR_ROLE_SUPER_ADMIN
                && !ngx_mdvr_uuid_equal(&principal->tenant, &client->tenant)))
        {
            ngx_mdvr_client_close(client, 4403, "another user's token");
            return;
        }

        if (tenant == NULL && client->principal.has_tenant) {
            client->named = client->tenant;     /* it stays where it is */
            tenant = &client->named;
        }
    }

    if (tenant && principal->role == MDVR_ROLE_SUPER_ADMIN && client->hub
        && !ngx_mdvr_uuid_equal(tenant, &client->tenant))
    {
        ngx_mdvr_client_unsubscribe(client);
        client->state = NGX_MDVR_CLIENT_IDLE;
    }

    if (ngx_mdvr_client_identify(client, principal, tenant) != NGX_OK) {
        return;
    }

    switch (client->state) {

    case NGX_MDVR_CLIENT_NEW:
    case NGX_MDVR_CLIENT_ASKING:
        client->state = NGX_MDVR_CLIENT_IDLE;
        break;

    case NGX_MDVR_CLIENT_EXPIRED:

        /* it goes on where it stopped */

        if (client->hub) {
            client->after_len = ngx_sprintf(client->after, "%L", client->seq)
                                - client->after;
            client->state = NGX_MDVR_CLIENT_REPLAYING;
            ngx_mdvr_replay_start(client);

        } else {
            client->state = NGX_MDVR_CLIENT_IDLE;
        }

        break;

    default:
        break;
    }

    if (ngx_mdvr_client_visit(client) == NGX_OK) {
        ngx_mdvr_client_arm(client);
        ngx_mdvr_client_inbox(client);
    }
}


/*
 * A super admin steps into a tenant: it must exist, and the step is seen in
 * its audit.  Meanwhile the client waits.  NGX_ERROR: it is being closed.
 */

static ngx_int_t
ngx_mdvr_client_visit(ngx_mdvr_client_t *client)
{
    u_char               session[NGX_MDVR_UUID_LEN];
    ngx_str_t            id, user, sid;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[4];

    if (client->principal.role != MDVR_ROLE_SUPER_ADMIN
        || !client->principal.has_tenant
        || client->state != NGX_MDVR_CLIENT_IDLE
        || ngx_mdvr_uuid_equal(&client->tenant, &client->visited))
    {
        return NGX_OK;
    }

    (void) ngx_mdvr_uuid_print(session, &client->principal.session);

    id.data = client->tenant_text;
    id.len = NGX_MDVR_UUID_LEN;
    user.data = client->user_text;
    user.len = NGX_MDVR_UUID_LEN;
    sid.data = session;
    sid.len = NGX_MDVR_UUID_LEN;

    params[0] = ngx_mdvr_pg_text(&id);
    params[1] = ngx_mdvr_pg_text(&user);
    params[2] = ngx_mdvr_pg_text(&sid);
    params[3] = ngx_mdvr_pg_text(&client->c->addr_text);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    ngx_mdvr_client_scope(client, &call);

    call.sql =
        "select 1 from mdvr.tenant,"
        " lateral (select mdvr.audit_append(id, $2::uuid, $3::uuid, $4,"
        "          'tenant.act', 'tenant', id::text,"
        "          jsonb_build_object('method', 'GET', 'path', '/ws'),"
        "          null)) a"
        " where id = $1::uuid and status <> 'deleted'";
    call.params = params;
    call.nparams = 4;

    if (ngx_mdvr_pg_query(client->pool, &call, client->conf->auth_timeout,
                          ngx_mdvr_client_visited, client)
        != NGX_OK)
    {
        ngx_mdvr_client_close(client, 1013, "try again later");
        return NGX_ERROR;
    }

    client->state = NGX_MDVR_CLIENT_ASKING;

    return NGX_OK;
}


static void
ngx_mdvr_client_visited(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_client_t *client = data;

    if (client->state != NGX_MDVR_CLIENT_ASKING) {
        return;
    }

    if (rc != MDVR_OK) {
        ngx_mdvr_client_close(client, 1013, "try again later");
        return;
    }

    client->state = NGX_MDVR_CLIENT_IDLE;

    if (ngx_mdvr_pg_nrows(rows)) {
        client->visited = client->tenant;

    } else {
        client->principal.has_tenant = 0;
        ngx_mdvr_client_error(client, "unknown_tenant", "no such tenant");
    }

    ngx_mdvr_client_arm(client);
    ngx_mdvr_client_inbox(client);
}


/* -- subscriptions ------------------------------------------------------- */

static ngx_int_t
ngx_mdvr_client_read_devices(ngx_mdvr_client_t *client, json_t *list)
{
    size_t           i, n;
    json_t          *item;
    ngx_str_t        s;
    ngx_mdvr_set_t   set;

    if (client->devices.ids) {
        ngx_free(client->devices.ids);
        client->devices.ids = NULL;
        client->devices.n = 0;
    }

    client->filtered = 0;

    if (list == NULL || json_is_null(list)) {
        return NGX_OK;
    }

    n = json_array_size(list);

    if (!json_is_array(list) || n > NGX_MDVR_CLIENT_DEVICES) {
        return NGX_ERROR;
    }

    set.n = 0;
    set.ids = ngx_alloc((n + 1) * sizeof(ngx_mdvr_uuid_t), ngx_cycle->log);
    if (set.ids == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        item = json_array_get(list, i);

        s.data = (u_char *) json_string_value(item);
        s.len = json_string_length(item);

        if (s.data == NULL
            || ngx_mdvr_uuid_parse(&s, &set.ids[set.n++]) != NGX_OK)
        {
            ngx_free(set.ids);
            return NGX_ERROR;
        }
    }

    ngx_mdvr_set_sort(&set);

    client->devices = set;
    client->filtered = 1;

    return NGX_OK;
}


static void
ngx_mdvr_client_subscribe(ngx_mdvr_client_t *client, json_t *doc)
{
    size_t       i;
    json_t      *list, *item;
    uint32_t     topics, asked;
    ngx_uint_t   k;
    const char  *name;

    if (!client->principal.has_tenant) {
        ngx_mdvr_client_error(client, "tenant_required",
                              "name a tenant_id in the auth message");
        return;
    }

    list = json_object_get(doc, "topics");
    asked = 0;

    if (list == NULL || json_is_null(list)) {
        asked = (1 << NGX_MDVR_TOPICS) - 1;

    } else if (!json_is_array(list)) {
        ngx_mdvr_client_error(client, "malformed", "topics is a list");
        return;
    }

    for (i = 0; i < json_array_size(list); i++) {
        item = json_array_get(list, i);
        name = json_string_value(item);

        for (k = 0; name && k < NGX_MDVR_TOPICS; k++) {
            if (ngx_strcmp(name, ngx_mdvr_topic_names[k].data) == 0) {
                asked |= 1 << k;
                break;
            }
        }

        if (name == NULL || k == NGX_MDVR_TOPICS) {
            ngx_mdvr_client_error(client, "unknown_topic", "topics are "
                                  "telemetry, alarm, device, media, command");
            return;
        }
    }

    ngx_mdvr_client_unsubscribe(client);
    client->state = NGX_MDVR_CLIENT_IDLE;

    if (ngx_mdvr_client_read_devices(client, json_object_get(doc,
                                                             "device_ids"))
        != NGX_OK)
    {
        ngx_mdvr_client_error(client, "out_of_range", "device_ids is a list "
                              "of at most 10000 UUIDs");
        return;
    }

    topics = 0;

    for (k = 0; k < NGX_MDVR_TOPICS; k++) {
        if ((asked & (1 << k))
            && (client->principal.scopes & ngx_mdvr_topic_scopes[k]))
        {
            topics |= 1 << k;
        }
    }

    if (topics != asked && list) {
        ngx_mdvr_client_error(client, "forbidden",
                              "a topic needs a scope that this token lacks");
    }

    client->after_len = 0;

    item = json_object_get(doc, "after");

    if (json_is_string(item) && json_string_length(item)) {
        if (json_string_length(item) >= sizeof(client->after)) {
            ngx_mdvr_client_error(client, "unknown_id",
                                  "after is no id of a message");

        } else {
            client->after_len = json_string_length(item);
            ngx_memcpy(client->after, json_string_value(item),
                       client->after_len);
        }
    }

    client->topics = topics;

    if (topics == 0) {
        (void) ngx_mdvr_client_say(client, "{\"type\":\"subscribed\","
                                   "\"topics\":[]}");
        return;
    }

    if (ngx_mdvr_hub_join(client) != NGX_OK
        || (mdvr_role_assigned_only(client->principal.role)
            && ngx_mdvr_visible_join(client) != NGX_OK))
    {
        ngx_mdvr_client_close(client, 1011, "no memory");
        return;
    }

    client->state = NGX_MDVR_CLIENT_SUBSCRIBING;
    ngx_mdvr_client_arm(client);
    ngx_mdvr_client_ready(client);
}


static void
ngx_mdvr_client_unsubscribe(ngx_mdvr_client_t *client)
{
    client->topics = 0;

    ngx_mdvr_replay_stop(client);
    ngx_mdvr_visible_leave(client);
    ngx_mdvr_hub_leave(client);
}


void
ngx_mdvr_client_ready(ngx_mdvr_client_t *client)
{
    u_char      *p, topics[96];
    ngx_uint_t   i;

    if (client->state != NGX_MDVR_CLIENT_SUBSCRIBING
        || !ngx_mdvr_hub_is_ready(client->hub)
        || (client->visible && !ngx_mdvr_visible_is_ready(client->visible)))
    {
        return;
    }

    p = topics;

    for (i = 0; i < NGX_MDVR_TOPICS; i++) {
        if (client->topics & (1 << i)) {
            p = ngx_sprintf(p, "%s\"%V\"", p == topics ? "" : ",",
                            &ngx_mdvr_topic_names[i]);
        }
    }

    *p = '\0';

    if (ngx_mdvr_client_say(client, "{\"type\":\"subscribed\",\"topics\":"
                            "[%s]}", topics)
        != NGX_OK)
    {
        return;
    }

    client->seq = ngx_mdvr_hub_seq(client->hub);

    if (client->after_len) {
        client->state = NGX_MDVR_CLIENT_REPLAYING;
        ngx_mdvr_replay_start(client);

    } else {
        client->state = NGX_MDVR_CLIENT_LIVE;
    }

    ngx_mdvr_client_arm(client);
    ngx_mdvr_client_inbox(client);
}


/* -- time ---------------------------------------------------------------- */

/* One timer: the earliest of what this state waits for. */

static void
ngx_mdvr_client_arm(ngx_mdvr_client_t *client)
{
    time_t      left;
    ngx_msec_t  wait;

    switch (client->state) {

    case NGX_MDVR_CLIENT_CLOSING:
        return;

    case NGX_MDVR_CLIENT_NEW:
        wait = client->conf->auth_timeout;
        break;

    case NGX_MDVR_CLIENT_ASKING:
        wait = 2 * client->conf->auth_timeout;
        break;

    case NGX_MDVR_CLIENT_SUBSCRIBING:
        wait = NGX_MDVR_CLIENT_READY;
        break;

    case NGX_MDVR_CLIENT_EXPIRED:
        wait = NGX_MDVR_CLIENT_GRACE;
        break;

    default:
        left = client->principal.expires_at - ngx_time();
        left = ngx_max(left, 0);
        wait = ngx_min(left, 86400) * 1000 + 1;
        break;
    }

    if (client->has_drain) {
        wait = ngx_min(wait, (ngx_msec_t)
                       ngx_max((ngx_msec_int_t) (client->drain_at
                                                 - ngx_current_msec), 1));
    }

    if (client->timer.timer_set) {
        ngx_del_timer(&client->timer);
    }

    ngx_add_timer(&client->timer, wait);
}


static void
ngx_mdvr_client_timer(ngx_event_t *ev)
{
    ngx_mdvr_client_t  *client;

    client = ev->data;

    if (client->has_drain
        && (ngx_msec_int_t) (ngx_current_msec - client->drain_at) >= 0)
    {
        ngx_mdvr_client_close(client, 1001, "server is being replaced");
        return;
    }

    switch (client->state) {

    case NGX_MDVR_CLIENT_NEW:
        ngx_mdvr_refusal("ws_auth_timeout");
        ngx_mdvr_client_close(client, 4401, "authentication required");
        return;

    case NGX_MDVR_CLIENT_ASKING:
    case NGX_MDVR_CLIENT_SUBSCRIBING:
        ngx_mdvr_client_close(client, 1013, "try again later");
        return;

    case NGX_MDVR_CLIENT_EXPIRED:
        ngx_mdvr_client_close(client, 4401, "token expired");
        return;

    case NGX_MDVR_CLIENT_CLOSING:
        return;

    default:
        break;
    }

    if (client->principal.expires_at > ngx_time()) {
        ngx_mdvr_client_arm(client);
        return;
    }

    /* nothing more is sent; what happens now is replayed if it comes back */

    if (client->state == NGX_MDVR_CLIENT_REPLAYING) {
        (void) ngx_mdvr_client_say(client, "{\"type\":\"token_expired\"}");
        ngx_mdvr_client_close(client, 4401, "token expired");
        return;
    }

    ngx_mdvr_replay_stop(client);

    client->state = NGX_MDVR_CLIENT_EXPIRED;

    (void) ngx_mdvr_client_say(client, "{\"type\":\"token_expired\"}");

    ngx_mdvr_client_arm(client);
}


/* Closes what was revoked; API keys are looked up again now and then. */

static void
ngx_mdvr_client_check(void)
{
    mdvr_rc_t              rc;
    ngx_int_t              answer;
    ngx_queue_t           *q;
    ngx_mdvr_client_t     *client;
    ngx_mdvr_principal_t   principal;

    for (q = ngx_queue_head(&ngx_mdvr_clients);
         q != ngx_queue_sentinel(&ngx_mdvr_clients);
         q = ngx_queue_next(q))
    {
        client = ngx_queue_data(q, ngx_mdvr_client_t, all);

        if (!client->counted_user
            || client->state == NGX_MDVR_CLIENT_CLOSING)
        {
            continue;
        }

        if (ngx_mdvr_is_revoked(&client->principal.session,
                                &client->principal.user, &client->tenant,
                                client->principal.issued_at))
        {
            ngx_mdvr_client_close(client, 4401, "session revoked");
            continue;
        }

        if (!client->principal.api_key
            || ngx_current_msec - client->rekey_at < NGX_MDVR_CLIENT_REKEY)
        {
            continue;
        }

        client->rekey_at = ngx_current_msec;

        answer = ngx_mdvr_auth_bearer(client->pool, &client->key,
                                      &principal, &rc,
                                      ngx_mdvr_client_rekeyed, client);

        if (answer == NGX_DECLINED) {
            ngx_mdvr_client_close(client, 4401, "key revoked");
        }
    }
}


static void
ngx_mdvr_client_rekeyed(void *data, const ngx_mdvr_principal_t *principal,
    mdvr_rc_t rc)
{
    ngx_mdvr_client_t *client = data;

    if (rc == MDVR_E_UNAUTHENTICATED) {
        ngx_mdvr_client_close(client, 4401, "key revoked");
        return;
    }

    if (principal) {
        client->principal.expires_at = principal->expires_at;
        ngx_mdvr_client_arm(client);
    }
}


static void
ngx_mdvr_client_sweep(ngx_event_t *ev)
{
    ngx_mdvr_client_check();

    if (!ngx_queue_empty(&ngx_mdvr_clients)) {
        ngx_add_timer(ev, 1000);
    }
}


static void
ngx_mdvr_client_revoked(const ngx_mdvr_mail_t *mail)
{
    if (ngx_queue_empty(&ngx_mdvr_clients)) {
        return;
    }

    /* many may come at once: one look for all of them */

    if (ngx_mdvr_sweep.timer_set) {
        ngx_del_timer(&ngx_mdvr_sweep);
    }

    ngx_add_timer(&ngx_mdvr_sweep, 50);
}


/* Clients are sent to the new workers a few at a time. */

static void
ngx_mdvr_client_drain(void)
{
    ngx_queue_t        *q;
    ngx_mdvr_client_t  *client;

    ngx_mdvr_draining = 1;

    for (q = ngx_queue_head(&ngx_mdvr_clients);
         q != ngx_queue_sentinel(&ngx_mdvr_clients);
         q = ngx_queue_next(q))
    {
        client = ngx_queue_data(q, ngx_mdvr_client_t, all);

        client->has_drain = 1;
        client->drain_at = ngx_current_msec
                           + ngx_random() % (client->conf->drain + 1);
        ngx_mdvr_client_arm(client);
    }
}
