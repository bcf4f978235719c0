/*
 * What a client of the push socket says, and what is answered.
 *
 * Messages are taken strictly in turn: while a token is looked up or a
 * subscription takes effect, later ones wait in the inbox.  So the answer to a
 * ping says that everything before it holds.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"

#include <jansson.h>


#define NGX_MDVR_CLIENT_INBOX     32
#define NGX_MDVR_CLIENT_RATE      20     /* messages a second */
#define NGX_MDVR_CLIENT_BURST     NGX_MDVR_CLIENT_TOKENS


typedef struct {
    ngx_queue_t               queue;
    size_t                    len;
    u_char                    text[1];
} ngx_mdvr_letter_t;


static void ngx_mdvr_client_take(ngx_mdvr_client_t *client, ngx_str_t *msg);
static void ngx_mdvr_client_auth(ngx_mdvr_client_t *client, json_t *doc);
static void ngx_mdvr_client_known(void *data,
    const ngx_mdvr_principal_t *principal, mdvr_rc_t rc);
static void ngx_mdvr_client_visited(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static ngx_int_t ngx_mdvr_client_devices(ngx_mdvr_client_t *client,
    json_t *list);
static void ngx_mdvr_client_subscribe(ngx_mdvr_client_t *client, json_t *doc);


static ngx_uint_t
ngx_mdvr_client_busy(ngx_mdvr_client_t *client)
{
    return client->state == NGX_MDVR_CLIENT_ASKING
           || client->state == NGX_MDVR_CLIENT_SUBSCRIBING;
}


void
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


void
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


void
ngx_mdvr_client_inbox_free(ngx_mdvr_client_t *client)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&client->inbox)) {
        q = ngx_queue_head(&client->inbox);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_mdvr_letter_t, queue));
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

ngx_int_t
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
ngx_mdvr_client_devices(ngx_mdvr_client_t *client, json_t *list)
{
    size_t           i, n;
    json_t          *item;
    ngx_str_t        s;
    ngx_mdvr_set_t   set;

    ngx_mdvr_client_filter(client, NULL);

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

    ngx_mdvr_client_filter(client, &set);

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

    if (ngx_mdvr_client_devices(client, json_object_get(doc, "device_ids"))
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

    } else if (item && !json_is_string(item) && !json_is_null(item)) {
        ngx_mdvr_client_error(client, "unknown_id",
                              "after is no id of a message");
    }

    client->topics = topics;

    if (topics == 0) {
        (void) ngx_mdvr_client_say(client, "{\"type\":\"subscribed\","
                                   "\"topics\":[]}");
        return;
    }

    ngx_mdvr_client_begin(client);
}
