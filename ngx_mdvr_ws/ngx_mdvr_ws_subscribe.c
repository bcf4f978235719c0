/*
 * A subscription: from what a client wants to the messages it gets.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"


void
ngx_mdvr_client_filter(ngx_mdvr_client_t *client, ngx_mdvr_set_t *set)
{
    if (client->devices.ids) {
        ngx_free(client->devices.ids);
        client->devices.ids = NULL;
        client->devices.n = 0;
    }

    client->filtered = 0;

    if (set) {
        ngx_mdvr_set_sort(set);
        client->devices = *set;
        client->filtered = 1;
    }
}


void
ngx_mdvr_client_begin(ngx_mdvr_client_t *client)
{
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


void
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

    client->seq = ngx_mdvr_hub_seq(client->hub);

    if ((client->sse ? ngx_mdvr_sse_begin(client->sse,
                                          client->after_len ? 0 : client->seq)
                     : ngx_mdvr_client_say(client, "{\"type\":\"subscribed\","
                                           "\"topics\":[%s]}", topics))
        != NGX_OK)
    {
        return;
    }

    if (client->after_len) {
        client->state = NGX_MDVR_CLIENT_REPLAYING;
        ngx_mdvr_replay_start(client);

    } else {
        client->state = NGX_MDVR_CLIENT_LIVE;
    }

    ngx_mdvr_client_arm(client);
    ngx_mdvr_client_inbox(client);
}
