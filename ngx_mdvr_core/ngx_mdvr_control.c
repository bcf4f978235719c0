/*
 * What all nodes must hear at once: mdvr:ctl, and the same facts read from
 * PostgreSQL every 2 s for revocations, so that they hold without Redis.  In
 * between it is asked for access that is void though no session ended: a viewer
 * of a device that is not the user's any more, keys of who is suspended.
 *
 *   {"op":"revoke_session","id":uuid,"until":unix s}
 *   {"op":"revoke_user","id":uuid,"issued_before":unix s,"until":unix s}
 *   {"op":"device_changed","id":uuid,"serial":text}
 *   {"op":"video_renewed","id":uuid,"until":unix s}
 *   {"op":"record","id":device,"alarm":uuid}
 *   {"op":"keys_changed"}, {"op":"tenant_changed","id":uuid}
 */

#include "ngx_mdvr_core/ngx_mdvr_playback.h"
#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_keys.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_record.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"

#include "mdvr/domain/keys.h"

#include <jansson.h>


#define NGX_MDVR_POLL          2000     /* ms */
#define NGX_MDVR_POLL_OVERLAP  10       /* s asked for again */
#define NGX_MDVR_POLL_START    7200     /* s an access token may be old */
#define NGX_MDVR_VOID          512      /* remembered */
#define NGX_MDVR_VOID_S        90000    /* s: longer than any such access */


static void ngx_mdvr_control_message(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg);
static void ngx_mdvr_control_poll(ngx_event_t *ev);
static void ngx_mdvr_control_rows(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_control_void(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);


static ngx_str_t           ngx_mdvr_ctl = ngx_string(MDVR_CHANNEL_CTL);
static ngx_event_t         ngx_mdvr_poll;
static ngx_uint_t          ngx_mdvr_poll_busy;
static time_t              ngx_mdvr_poll_since;
static ngx_mdvr_pg_role_e  ngx_mdvr_poll_role;
static ngx_uint_t          ngx_mdvr_void_busy;
static ngx_uint_t          ngx_mdvr_nvoid;
static ngx_mdvr_uuid_t     ngx_mdvr_void[NGX_MDVR_VOID];


ngx_int_t
ngx_mdvr_control_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    static ngx_connection_t  dummy;     /* nginx logs its descriptor */

    dummy.fd = (ngx_socket_t) -1;

    ngx_mdvr_poll.handler = ngx_mdvr_control_poll;
    ngx_mdvr_poll.data = &dummy;
    ngx_mdvr_poll.log = cycle->log;
    ngx_mdvr_poll.cancelable = 1;

    ngx_mdvr_poll_role = conf->pg[NGX_MDVR_PG_API].conninfo.len
                         ? NGX_MDVR_PG_API : NGX_MDVR_PG_STREAM;

    if (conf->pg[ngx_mdvr_poll_role].conninfo.len) {
        ngx_add_timer(&ngx_mdvr_poll, 1);
    }

    return ngx_mdvr_redis_subscribe(&ngx_mdvr_ctl, ngx_mdvr_control_message,
                                    NULL);
}


static ngx_int_t
ngx_mdvr_control_id(const json_t *doc, const char *name, ngx_mdvr_uuid_t *id)
{
    ngx_str_t  s;

    s.data = (u_char *) json_string_value(json_object_get(doc, name));

    if (s.data == NULL) {
        return NGX_ERROR;
    }

    s.len = ngx_strlen(s.data);

    return ngx_mdvr_uuid_parse(&s, id);
}


static void
ngx_mdvr_control_message(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg)
{
    json_t           *doc;
    ngx_str_t         serial, session;
    ngx_uint_t        has_id;
    const char       *op;
    json_int_t        until, before;
    ngx_mdvr_uuid_t   id, alarm;

    if (msg == NULL) {
        ngx_mdvr_keys_load();           /* a change may have been missed */
        return;
    }

    doc = json_loadb((char *) msg->data, msg->len, 0, NULL);
    op = json_string_value(json_object_get(doc, "op"));

    if (op == NULL) {
        json_decref(doc);
        return;
    }

    has_id = (ngx_mdvr_control_id(doc, "id", &id) == NGX_OK);
    until = json_integer_value(json_object_get(doc, "until"));
    before = json_integer_value(json_object_get(doc, "issued_before"));

    if (before == 0) {
        before = ngx_time();
    }

    if (ngx_strcmp(op, "revoke_session") == 0 && has_id) {
        ngx_mdvr_revoke(NGX_MDVR_REVOKED_SESSION, &id, before, until);

    } else if (ngx_strcmp(op, "revoke_user") == 0 && has_id) {
        ngx_mdvr_revoke(NGX_MDVR_REVOKED_USER, &id, before, until);

    } else if (ngx_strcmp(op, "video_renewed") == 0 && has_id) {
        ngx_mdvr_vsession_set(&id, until);

    } else if (ngx_strcmp(op, "keys_changed") == 0) {
        ngx_mdvr_keys_load();

    } else if (ngx_strcmp(op, "device_changed") == 0) {
        serial.data = (u_char *) json_string_value(json_object_get(doc,
                                                                  "serial"));
        if (serial.data) {
            serial.len = ngx_strlen(serial.data);
            ngx_mdvr_registry_forget(&serial);
        }

    } else if (ngx_strcmp(op, "playback") == 0 && has_id) {
        session.data = (u_char *) json_string_value(json_object_get(doc,
                                                                    "id"));
        session.len = ngx_strlen(session.data);

        if (ngx_mdvr_is_chief()) {
            (void) ngx_mdvr_playback_apply(&session,
                                           json_object_get(doc, "set"));
        }

    } else if (ngx_strcmp(op, "record") == 0 && has_id) {

        if (ngx_mdvr_is_chief()
            && ngx_mdvr_control_id(doc, "alarm", &alarm) == NGX_OK)
        {
            ngx_mdvr_record_alarm_here(&id, &alarm);
        }

    } else if (ngx_strcmp(op, "tenant_changed") == 0 && has_id) {
        ngx_mdvr_registry_forget_tenant(&id);
    }

    json_decref(doc);
}


static void
ngx_mdvr_control_poll(ngx_event_t *ev)
{
    u_char               text[NGX_INT64_LEN];
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  param;

    ngx_add_timer(ev, NGX_MDVR_POLL);

    if (!ngx_mdvr_is_chief()) {
        ngx_mdvr_poll_since = 0;
        ngx_mdvr_nvoid = 0;
        return;
    }

    if (!ngx_mdvr_void_busy) {
        ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

        call.role = ngx_mdvr_poll_role;
        call.sql = "select x from mdvr.void_access() x";

        if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_POLL,
                              ngx_mdvr_control_void, NULL)
            == NGX_OK)
        {
            ngx_mdvr_void_busy = 1;
        }
    }

    if (ngx_mdvr_poll_busy) {
        return;
    }

    if (ngx_mdvr_poll_since == 0) {
        ngx_mdvr_poll_since = ngx_time() - NGX_MDVR_POLL_START;
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

    param.data = text;
    param.len = ngx_sprintf(text, "%T", ngx_mdvr_poll_since) - text;
    param.binary = 0;

    call.role = ngx_mdvr_poll_role;
    call.sql = "select session_id, extract(epoch from revoked_at)::bigint + 1"
               " from mdvr.revoked_since(to_timestamp($1::bigint))";
    call.params = &param;
    call.nparams = 1;

    if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_POLL, ngx_mdvr_control_rows,
                          NULL)
        == NGX_OK)
    {
        ngx_mdvr_poll_busy = 1;
    }
}


static void
ngx_mdvr_control_rows(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    int64_t           before;
    ngx_uint_t        i;
    ngx_mdvr_uuid_t   id;

    ngx_mdvr_poll_busy = 0;

    if (rc != MDVR_OK) {
        return;
    }

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {
        if (ngx_mdvr_pg_uuid(rows, i, 0, &id) == NGX_OK
            && ngx_mdvr_pg_int(rows, i, 1, &before) == NGX_OK)
        {
            /* a session does not come back, so everything it issued is void */

            ngx_mdvr_revoke(NGX_MDVR_REVOKED_SESSION, &id, before,
                            before + NGX_MDVR_POLL_START);

            ngx_mdvr_poll_since = ngx_max(ngx_mdvr_poll_since,
                                          before - NGX_MDVR_POLL_OVERLAP);
        }
    }
}


/*
 * What was void the last time has been revoked already.  Each node asks for
 * itself, so nothing has to be published.
 */

static void
ngx_mdvr_control_void(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_uint_t        i, k, n;
    ngx_mdvr_uuid_t   id, now[NGX_MDVR_VOID];

    ngx_mdvr_void_busy = 0;

    if (rc != MDVR_OK) {
        return;
    }

    n = 0;

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {

        if (ngx_mdvr_pg_uuid(rows, i, 0, &id) != NGX_OK) {
            continue;
        }

        for (k = 0; k < ngx_mdvr_nvoid; k++) {
            if (ngx_mdvr_uuid_equal(&ngx_mdvr_void[k], &id)) {
                break;
            }
        }

        if (k == ngx_mdvr_nvoid) {
            ngx_mdvr_revoke(NGX_MDVR_REVOKED_SESSION, &id, ngx_time(),
                            ngx_time() + NGX_MDVR_VOID_S);
        }

        if (n < NGX_MDVR_VOID) {
            now[n++] = id;
        }
    }

    ngx_memcpy(ngx_mdvr_void, now, n * sizeof(ngx_mdvr_uuid_t));
    ngx_mdvr_nvoid = n;
}


/* -- telling the others -------------------------------------------------- */

static void
ngx_mdvr_control_publish(const char *op, const ngx_mdvr_uuid_t *id,
    const char *extra, time_t when, time_t until)
{
    u_char     text[256], uuid[NGX_MDVR_UUID_LEN + 1];
    ngx_str_t  msg;

    *ngx_mdvr_uuid_print(uuid, id) = '\0';

    msg.data = text;

    if (extra) {
        msg.len = ngx_snprintf(text, sizeof(text), "{\"op\":\"%s\",\"id\":"
                               "\"%s\",\"%s\":%T,\"until\":%T}", op, uuid,
                               extra, when, until)
                  - text;

    } else {
        msg.len = ngx_snprintf(text, sizeof(text), "{\"op\":\"%s\",\"id\":"
                               "\"%s\",\"until\":%T}", op, uuid, until)
                  - text;
    }

    (void) ngx_mdvr_redis_publish(&ngx_mdvr_ctl, &msg, 0);
}


void
ngx_mdvr_auth_revoke_session(const ngx_mdvr_uuid_t *session, time_t until)
{
    ngx_mdvr_revoke(NGX_MDVR_REVOKED_SESSION, session, ngx_time(), until);
    ngx_mdvr_control_publish("revoke_session", session, "issued_before",
                             ngx_time(), until);
}


void
ngx_mdvr_auth_revoke_user(const ngx_mdvr_uuid_t *user, time_t issued_before,
    time_t until)
{
    ngx_mdvr_revoke(NGX_MDVR_REVOKED_USER, user, issued_before, until);
    ngx_mdvr_control_publish("revoke_user", user, "issued_before",
                             issued_before, until);
}


void
ngx_mdvr_stream_token_renew(const ngx_mdvr_uuid_t *session, time_t expires_at)
{
    u_char       key[MDVR_KEY_MAX], id[NGX_MDVR_UUID_LEN];
    u_char       value[NGX_INT64_LEN], ttl[NGX_INT64_LEN];
    size_t       lens[5];
    mdvr_buf_t   b;
    const char  *argv[5];

    ngx_mdvr_vsession_set(session, expires_at);
    ngx_mdvr_control_publish("video_renewed", session, NULL, 0, expires_at);

    (void) ngx_mdvr_uuid_print(id, session);

    b = mdvr_buf(key, sizeof(key));
    mdvr_key_vsession(&b, mdvr_str(id, sizeof(id)));

    argv[0] = "SET";
    lens[0] = 3;
    argv[1] = (char *) key;
    lens[1] = b.len;
    argv[2] = (char *) value;
    lens[2] = ngx_sprintf(value, "%T", expires_at) - value;
    argv[3] = "EX";
    lens[3] = 2;
    argv[4] = (char *) ttl;
    lens[4] = ngx_sprintf(ttl, "%T", ngx_max(expires_at - ngx_time(), 1))
              - ttl;

    (void) ngx_mdvr_redis_command(NULL, 3000, 5, argv, lens, NULL, NULL);
}
