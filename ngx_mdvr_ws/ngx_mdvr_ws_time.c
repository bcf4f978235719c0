/*
 * What time does to clients: who says nothing, whose token ends, who was
 * revoked, who goes to a new worker.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"


#define NGX_MDVR_CLIENT_READY     5000   /* ms until a subscription holds */
#define NGX_MDVR_CLIENT_GRACE     3000   /* ms for a new token */
#define NGX_MDVR_CLIENT_REKEY     3000   /* ms between looks at an API key */


static void ngx_mdvr_client_sweep(ngx_event_t *ev);
static void ngx_mdvr_client_revoked(const ngx_mdvr_mail_t *mail);
static void ngx_mdvr_client_drain(void);
static void ngx_mdvr_client_rekeyed(void *data,
    const ngx_mdvr_principal_t *principal, mdvr_rc_t rc);


static ngx_event_t       ngx_mdvr_sweep;
static ngx_connection_t  ngx_mdvr_sweep_dummy;
static ngx_uint_t        ngx_mdvr_draining;


ngx_int_t
ngx_mdvr_client_time_init(void)
{
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


void
ngx_mdvr_client_watch(ngx_mdvr_client_t *client)
{
    if (!ngx_mdvr_sweep.timer_set) {
        ngx_add_timer(&ngx_mdvr_sweep, 1000);
    }

    if (ngx_mdvr_draining) {            /* on a connection that was kept */
        client->has_drain = 1;
        client->drain_at = ngx_current_msec
                           + ngx_random() % (client->conf->drain + 1);
    }
}


/* One timer: the earliest of what this state waits for. */

void
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


void
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

    if (client->state == NGX_MDVR_CLIENT_REPLAYING || client->sse) {
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
