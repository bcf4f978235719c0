/*
 * Addresses of the other nodes, see ngx_mdvr_peer.h.  The cache has a fixed
 * number of entries: who has more nodes asks Redis more often.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "mdvr/domain/keys.h"
#include "ngx_mdvr_core/ngx_mdvr_peer.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"


#define NGX_MDVR_PEER_ENTRIES  64
#define NGX_MDVR_PEER_NAME     32
#define NGX_MDVR_PEER_URL      255
#define NGX_MDVR_PEER_FRESH    30000            /* ms */


typedef struct {
    u_char             name[NGX_MDVR_PEER_NAME];
    size_t             name_len;
    u_char             url[NGX_MDVR_PEER_URL];
    size_t             url_len;
    ngx_msec_t         known;
} ngx_mdvr_peer_t;


typedef struct {
    ngx_mdvr_peer_pt   done;
    void              *data;
    size_t             name_len;
    u_char             name[NGX_MDVR_PEER_NAME];
} ngx_mdvr_peer_call_t;


static void ngx_mdvr_peer_found(void *data, const redisReply *reply,
    mdvr_rc_t rc);


static ngx_mdvr_peer_t  ngx_mdvr_peers[NGX_MDVR_PEER_ENTRIES];


/* The entry of that name, else the one to be overwritten. */

static ngx_mdvr_peer_t *
ngx_mdvr_peer_entry(const u_char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_mdvr_peer_t  *peer, *oldest;

    oldest = &ngx_mdvr_peers[0];

    for (i = 0; i < NGX_MDVR_PEER_ENTRIES; i++) {
        peer = &ngx_mdvr_peers[i];

        if (peer->name_len == len
            && ngx_memcmp(peer->name, name, len) == 0)
        {
            return peer;
        }

        if (peer->name_len == 0
            || (oldest->name_len
                && (ngx_msec_int_t) (peer->known - oldest->known) < 0))
        {
            oldest = peer;
        }
    }

    return oldest;
}


ngx_int_t
ngx_mdvr_peer_find(ngx_pool_t *pool, const ngx_str_t *node, ngx_str_t *url,
    ngx_mdvr_peer_pt done, void *data)
{
    size_t                 lens[2];
    u_char                 key[64];
    mdvr_buf_t             b;
    const char            *argv[2];
    ngx_mdvr_peer_t       *peer;
    ngx_mdvr_peer_call_t  *call;

    if (node->len == 0 || node->len > NGX_MDVR_PEER_NAME) {
        return NGX_ERROR;
    }

    peer = ngx_mdvr_peer_entry(node->data, node->len);

    if (peer->name_len == node->len
        && ngx_memcmp(peer->name, node->data, node->len) == 0
        && ngx_current_msec - peer->known < NGX_MDVR_PEER_FRESH)
    {
        url->data = peer->url;
        url->len = peer->url_len;
        return NGX_OK;
    }

    call = ngx_palloc(pool, sizeof(ngx_mdvr_peer_call_t));
    if (call == NULL) {
        return NGX_ERROR;
    }

    call->done = done;
    call->data = data;
    call->name_len = node->len;
    ngx_memcpy(call->name, node->data, node->len);

    b = mdvr_buf(key, sizeof(key));
    mdvr_key_node(&b, mdvr_str(node->data, node->len));

    argv[0] = "GET";
    lens[0] = 3;
    argv[1] = (char *) key;
    lens[1] = b.len;

    if (ngx_mdvr_redis_command(pool, 3000, 2, argv, lens, ngx_mdvr_peer_found,
                               call)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


static void
ngx_mdvr_peer_found(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_str_t              url;
    ngx_mdvr_peer_t       *peer;
    ngx_mdvr_peer_call_t  *call = data;

    if (rc != MDVR_OK || reply->type != REDIS_REPLY_STRING || reply->len == 0
        || reply->len > NGX_MDVR_PEER_URL)
    {
        call->done(call->data, NULL);
        return;
    }

    peer = ngx_mdvr_peer_entry(call->name, call->name_len);

    ngx_memcpy(peer->name, call->name, call->name_len);
    peer->name_len = call->name_len;
    ngx_memcpy(peer->url, reply->str, reply->len);
    peer->url_len = reply->len;
    peer->known = ngx_current_msec;

    url.data = peer->url;
    url.len = peer->url_len;

    call->done(call->data, &url);
}


void
ngx_mdvr_peer_announce(ngx_mdvr_core_conf_t *conf)
{
    size_t       lens[5];
    u_char       key[64];
    mdvr_buf_t   b;
    const char  *argv[5];

    if (conf->node.len == 0 || conf->node_url.len == 0) {
        return;
    }

    b = mdvr_buf(key, sizeof(key));
    mdvr_key_node(&b, mdvr_str(conf->node.data, conf->node.len));

    argv[0] = "SET";
    lens[0] = 3;
    argv[1] = (char *) key;
    lens[1] = b.len;
    argv[2] = (char *) conf->node_url.data;
    lens[2] = conf->node_url.len;
    argv[3] = "EX";
    lens[3] = 2;
    argv[4] = "60";
    lens[4] = 2;

    (void) ngx_mdvr_redis_command(NULL, 5000, 5, argv, lens, NULL, NULL);
}
