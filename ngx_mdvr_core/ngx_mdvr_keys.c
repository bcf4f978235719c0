/*
 * Loading of signing keys: at worker start, on "keys_changed", for an unknown
 * kid, and every minute.  Where there is no key yet one is made.
 */

#include "ngx_mdvr_core/ngx_mdvr_keys.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"


#define NGX_MDVR_KEYS          64
#define NGX_MDVR_KEYS_EVERY    60000    /* ms */
#define NGX_MDVR_KEYS_RETRY    1000
#define NGX_MDVR_KEYS_TIMEOUT  5000


static void ngx_mdvr_keys_loaded(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_keys_made(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_keys_timer(ngx_event_t *ev);


static const char *ngx_mdvr_key_purposes[] = {
    "access", "stream", "url"
};

static ngx_mdvr_key_t     ngx_mdvr_keys[NGX_MDVR_KEYS];
static ngx_uint_t         ngx_mdvr_nkeys;
static ngx_uint_t         ngx_mdvr_keys_gen;
static ngx_uint_t         ngx_mdvr_keys_busy;
static ngx_uint_t         ngx_mdvr_keys_made_once;
static ngx_msec_t         ngx_mdvr_keys_last;
static ngx_event_t        ngx_mdvr_keys_event;
static ngx_mdvr_pg_role_e ngx_mdvr_keys_role;
static void             (*ngx_mdvr_keys_told)(ngx_uint_t loaded);


ngx_int_t
ngx_mdvr_keys_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    static ngx_connection_t  dummy;     /* nginx logs its descriptor */

    dummy.fd = (ngx_socket_t) -1;

    ngx_mdvr_keys_event.handler = ngx_mdvr_keys_timer;
    ngx_mdvr_keys_event.log = cycle->log;
    ngx_mdvr_keys_event.data = &dummy;
    ngx_mdvr_keys_event.cancelable = 1;

    if (conf->pg[NGX_MDVR_PG_API].conninfo.len) {
        ngx_mdvr_keys_role = NGX_MDVR_PG_API;

    } else if (conf->pg[NGX_MDVR_PG_STREAM].conninfo.len) {
        ngx_mdvr_keys_role = NGX_MDVR_PG_STREAM;

    } else {
        return NGX_OK;
    }

    ngx_mdvr_keys_last = ngx_current_msec - NGX_MDVR_KEYS_RETRY;
    ngx_mdvr_keys_load();

    return NGX_OK;
}


void
ngx_mdvr_keys_handler(void (*handler)(ngx_uint_t loaded))
{
    ngx_mdvr_keys_told = handler;
}


ngx_uint_t
ngx_mdvr_keys_generation(void)
{
    return ngx_mdvr_keys_gen;
}


const ngx_mdvr_key_t *
ngx_mdvr_key_current(ngx_mdvr_key_purpose_e purpose)
{
    ngx_uint_t  i;

    /* the newest of a purpose comes first */

    for (i = 0; i < ngx_mdvr_nkeys; i++) {
        if (ngx_mdvr_keys[i].purpose == purpose) {
            return &ngx_mdvr_keys[i];
        }
    }

    return NULL;
}


const ngx_mdvr_key_t *
ngx_mdvr_key_find(ngx_mdvr_key_purpose_e purpose, const u_char *kid, size_t n)
{
    ngx_uint_t             i;
    const ngx_mdvr_key_t  *key;

    for (i = 0; i < ngx_mdvr_nkeys; i++) {
        key = &ngx_mdvr_keys[i];

        if (key->purpose == purpose && ngx_memcmp(key->kid, kid, n) == 0
            && (key->expires_at == 0 || key->expires_at > ngx_time()))
        {
            return key;
        }
    }

    return NULL;
}


void
ngx_mdvr_keys_load(void)
{
    ngx_msec_t          since;
    ngx_mdvr_pg_call_t  call;

    if (ngx_mdvr_keys_busy || ngx_mdvr_keys_event.handler == NULL) {
        return;
    }

    since = ngx_current_msec - ngx_mdvr_keys_last;

    if (since < NGX_MDVR_KEYS_RETRY) {
        if (ngx_mdvr_keys_event.timer_set) {
            ngx_del_timer(&ngx_mdvr_keys_event);
        }

        ngx_add_timer(&ngx_mdvr_keys_event, NGX_MDVR_KEYS_RETRY - since);
        return;
    }

    ngx_mdvr_keys_last = ngx_current_msec;

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

    call.role = ngx_mdvr_keys_role;
    call.sql = "select kid, purpose, encode(secret, 'hex'),"
               " coalesce(extract(epoch from expires_at)::bigint, 0)"
               " from mdvr.signing_keys()";
    call.retry = 1;

    if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_KEYS_TIMEOUT,
                          ngx_mdvr_keys_loaded, NULL)
        == NGX_OK)
    {
        ngx_mdvr_keys_busy = 1;
        return;
    }

    ngx_add_timer(&ngx_mdvr_keys_event, NGX_MDVR_KEYS_RETRY);
}


static void
ngx_mdvr_keys_loaded(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    u_char               plain[MDVR_SEAL_MAX];
    int64_t              expires;
    char                 name[sizeof("signing_key/") + 16];
    ngx_str_t            kid, purpose, secret;
    ngx_uint_t           i, k, n, same;
    ngx_mdvr_key_t       keys[NGX_MDVR_KEYS];
    ngx_mdvr_pg_call_t   call;

    ngx_mdvr_keys_busy = 0;

    if (ngx_mdvr_keys_event.timer_set) {
        ngx_del_timer(&ngx_mdvr_keys_event);
    }

    if (rc != MDVR_OK) {
        ngx_add_timer(&ngx_mdvr_keys_event, NGX_MDVR_KEYS_RETRY);

        if (ngx_mdvr_keys_told) {
            ngx_mdvr_keys_told(0);
        }

        return;
    }

    n = 0;
    ngx_memzero(keys, sizeof(keys));

    for (i = 0; i < ngx_mdvr_pg_nrows(rows) && n < NGX_MDVR_KEYS; i++) {
        kid = ngx_mdvr_pg_value(rows, i, 0);
        purpose = ngx_mdvr_pg_value(rows, i, 1);
        secret = ngx_mdvr_pg_value(rows, i, 2);

        for (k = 0; k < NGX_MDVR_KEY_PURPOSES; k++) {
            if (ngx_strcmp(purpose.data, ngx_mdvr_key_purposes[k]) == 0) {
                break;
            }
        }

        if (k == NGX_MDVR_KEY_PURPOSES || kid.len != 16
            || ngx_mdvr_pg_int(rows, i, 3, &expires) != NGX_OK)
        {
            continue;
        }

        (void) ngx_sprintf((u_char *) name, "signing_key/%V%Z", &kid);

        if (ngx_mdvr_unseal_hex(name, &secret, plain) != 32) {
            continue;
        }

        keys[n].purpose = k;
        keys[n].expires_at = expires;
        ngx_memcpy(keys[n].kid, kid.data, 16);

        ngx_memcpy(keys[n].secret, plain, 32);

        n++;
    }

    same = (n == ngx_mdvr_nkeys
            && ngx_memcmp(keys, ngx_mdvr_keys, sizeof(keys)) == 0);

    ngx_memcpy(ngx_mdvr_keys, keys, sizeof(keys));
    ngx_mdvr_nkeys = n;

    ngx_explicit_memzero(keys, sizeof(keys));
    ngx_explicit_memzero(plain, sizeof(plain));

    if (!same) {
        ngx_mdvr_keys_gen++;
    }

    if ((ngx_mdvr_key_current(NGX_MDVR_KEY_ACCESS) == NULL
         || ngx_mdvr_key_current(NGX_MDVR_KEY_STREAM) == NULL)
        && ngx_mdvr_keys_role == NGX_MDVR_PG_API && !ngx_mdvr_keys_made_once)
    {
        ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

        call.role = NGX_MDVR_PG_API;
        call.sql = "select mdvr.ensure_signing_key('access'),"
                   " mdvr.ensure_signing_key('stream')";

        if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_KEYS_TIMEOUT,
                              ngx_mdvr_keys_made, NULL)
            == NGX_OK)
        {
            ngx_mdvr_keys_busy = 1;
            ngx_mdvr_keys_made_once = 1;
            return;
        }
    }

    ngx_add_timer(&ngx_mdvr_keys_event, n ? NGX_MDVR_KEYS_EVERY
                                          : NGX_MDVR_KEYS_RETRY);

    if (ngx_mdvr_keys_role == NGX_MDVR_PG_API) {
        ngx_mdvr_seal_all();
    }

    if (ngx_mdvr_keys_told) {
        ngx_mdvr_keys_told(1);
    }
}


static void
ngx_mdvr_keys_made(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_mdvr_keys_busy = 0;

    if (rc != MDVR_OK) {
        ngx_mdvr_keys_made_once = 0;

    } else {
        ngx_mdvr_keys_last = ngx_current_msec - NGX_MDVR_KEYS_RETRY;
    }

    ngx_mdvr_keys_load();
}


static void
ngx_mdvr_keys_timer(ngx_event_t *ev)
{
    ngx_mdvr_keys_load();
}
