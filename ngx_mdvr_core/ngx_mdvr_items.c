/*
 * Counters and marks of the zone.
 *
 * A counter belongs to (kind, id, slot), so that what a dead worker counted
 * can be removed; a limit looks at the sum over the slots in use.  The fields
 * of an item begin in the tree node's unused tail (as in nginx' limit_conn):
 * 64 bytes altogether.
 */

#include "ngx_mdvr_core/ngx_mdvr_items.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


enum {
    item_address = 0,       /* v: NGX_MDVR_ADDR_KINDS counters */
    item_user,              /* v[0]: sockets */
    item_session_revoked,   /* v[0]: issued before, v[1]: until */
    item_user_revoked,
    item_tenant_revoked,
    item_vsession           /* v[0]: expires, v[1]: the same */
};


typedef struct {
    u_char                    color;
    u_char                    kind;
    uint16_t                  slot;
    u_char                    id[16];
    uint32_t                  v[3];
} ngx_mdvr_item_t;


#define ngx_mdvr_item(n)  ((ngx_mdvr_item_t *) &(n)->color)
#define ngx_mdvr_item_node(i)                                                 \
    ((ngx_rbtree_node_t *) ((u_char *) (i) - offsetof(ngx_rbtree_node_t, color)))

#define NGX_MDVR_ITEM_SIZE                                                    \
    (offsetof(ngx_rbtree_node_t, color) + sizeof(ngx_mdvr_item_t))

#define ngx_mdvr_lock()    ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex)
#define ngx_mdvr_unlock()  ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex)


static ngx_mdvr_items_t  *ngx_mdvr_items;


static int
ngx_mdvr_item_cmp(const ngx_mdvr_item_t *a, const ngx_mdvr_item_t *b)
{
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }

    if (a->slot != b->slot) {
        return a->slot < b->slot ? -1 : 1;
    }

    return ngx_memcmp(a->id, b->id, 16);
}


static void
ngx_mdvr_item_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = node->key < temp->key ? &temp->left : &temp->right;

        } else {
            p = ngx_mdvr_item_cmp(ngx_mdvr_item(node), ngx_mdvr_item(temp)) < 0
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static ngx_mdvr_item_t *
ngx_mdvr_item_find(ngx_rbtree_t *tree, ngx_uint_t kind, ngx_uint_t slot,
    const u_char *id)
{
    int                 rc;
    ngx_mdvr_item_t     key;
    ngx_rbtree_key_t    hash;
    ngx_rbtree_node_t  *node;

    key.kind = (u_char) kind;
    key.slot = (uint16_t) slot;
    ngx_memcpy(key.id, id, 16);

    hash = ngx_crc32_short((u_char *) id, 16);

    for (node = tree->root; node != tree->sentinel; /* void */ ) {

        if (hash != node->key) {
            node = hash < node->key ? node->left : node->right;
            continue;
        }

        rc = ngx_mdvr_item_cmp(&key, ngx_mdvr_item(node));

        if (rc == 0) {
            return ngx_mdvr_item(node);
        }

        node = rc < 0 ? node->left : node->right;
    }

    return NULL;
}


static ngx_mdvr_item_t *
ngx_mdvr_item_add(ngx_rbtree_t *tree, ngx_uint_t kind, ngx_uint_t slot,
    const u_char *id)
{
    ngx_mdvr_item_t    *item;
    ngx_rbtree_node_t  *node;

    do {
        node = ngx_slab_calloc_locked(ngx_mdvr_zone->shpool,
                                      NGX_MDVR_ITEM_SIZE);

    } while (node == NULL && ngx_mdvr_registry_evict_locked(8));

    if (node == NULL) {
        return NULL;
    }

    item = ngx_mdvr_item(node);
    item->kind = (u_char) kind;
    item->slot = (uint16_t) slot;
    ngx_memcpy(item->id, id, 16);

    node->key = ngx_crc32_short(item->id, 16);
    ngx_rbtree_insert(tree, node);

    return item;
}


void
ngx_mdvr_items_layout(ngx_mdvr_items_t *items)
{
    ngx_rbtree_init(&items->counters, &items->counters_end,
                    ngx_mdvr_item_insert);
    ngx_rbtree_init(&items->marks, &items->marks_end, ngx_mdvr_item_insert);
}


void
ngx_mdvr_items_attach(ngx_mdvr_items_t *items)
{
    ngx_mdvr_items = items;
}


/* Removes what `stale` names; a few at a time, so that nobody waits long. */

static void
ngx_mdvr_items_remove(ngx_rbtree_t *tree,
    ngx_uint_t (*stale)(const ngx_mdvr_item_t *item, ngx_uint_t arg),
    ngx_uint_t arg)
{
    ngx_uint_t          i, n;
    ngx_rbtree_node_t  *node, *found[64];

    do {
        n = 0;

        ngx_mdvr_lock();

        if (tree->root != tree->sentinel) {
            for (node = ngx_rbtree_min(tree->root, tree->sentinel);
                 node && n < 64;
                 node = ngx_rbtree_next(tree, node))
            {
                if (stale(ngx_mdvr_item(node), arg)) {
                    found[n++] = node;
                }
            }
        }

        for (i = 0; i < n; i++) {
            if (ngx_mdvr_item(found[i])->kind >= item_session_revoked
                && ngx_mdvr_item(found[i])->kind <= item_tenant_revoked)
            {
                ngx_mdvr_items->nrevoked--;
            }

            ngx_rbtree_delete(tree, found[i]);
            ngx_slab_free_locked(ngx_mdvr_zone->shpool, found[i]);
        }

        ngx_mdvr_unlock();

    } while (n == 64);
}


static ngx_uint_t
ngx_mdvr_item_of_slot(const ngx_mdvr_item_t *item, ngx_uint_t slot)
{
    return item->slot == slot;
}


static ngx_uint_t
ngx_mdvr_item_passed(const ngx_mdvr_item_t *item, ngx_uint_t now)
{
    return item->v[1] < now;
}


void
ngx_mdvr_items_sweep(ngx_uint_t slot)
{
    ngx_mdvr_items_remove(&ngx_mdvr_items->counters, ngx_mdvr_item_of_slot,
                          slot);
}


void
ngx_mdvr_items_expire(void)
{
    ngx_mdvr_items_remove(&ngx_mdvr_items->marks, ngx_mdvr_item_passed,
                          ngx_time());
}


/* -- counters ------------------------------------------------------------ */

static ngx_int_t
ngx_mdvr_counter_add(ngx_uint_t kind, const u_char *id, ngx_uint_t which,
    ngx_uint_t limit)
{
    ngx_uint_t        i, sum;
    ngx_mdvr_item_t  *item, *own;

    if (ngx_mdvr_items == NULL) {
        return NGX_ERROR;
    }

    sum = 0;
    own = NULL;

    ngx_mdvr_lock();

    for (i = 0; i < NGX_MDVR_SLOTS; i++) {
        if (ngx_mdvr_zone->sh->slots[i].pid == 0) {
            continue;
        }

        item = ngx_mdvr_item_find(&ngx_mdvr_items->counters, kind, i, id);

        if (item) {
            sum += item->v[which];

            if (i == ngx_mdvr_slot) {
                own = item;
            }
        }
    }

    if (sum >= limit) {
        ngx_mdvr_unlock();
        return NGX_BUSY;
    }

    if (own == NULL) {
        own = ngx_mdvr_item_add(&ngx_mdvr_items->counters, kind,
                                ngx_mdvr_slot, id);
    }

    if (own) {
        own->v[which]++;
    }

    ngx_mdvr_unlock();

    if (own == NULL) {
        ngx_mdvr_count(zone_full_total);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mdvr_counter_sub(ngx_uint_t kind, const u_char *id, ngx_uint_t which)
{
    ngx_mdvr_item_t  *item;

    if (ngx_mdvr_items == NULL) {
        return;
    }

    ngx_mdvr_lock();

    item = ngx_mdvr_item_find(&ngx_mdvr_items->counters, kind, ngx_mdvr_slot,
                              id);

    if (item && item->v[which]) {
        item->v[which]--;

        if (item->v[0] == 0 && item->v[1] == 0 && item->v[2] == 0) {
            ngx_rbtree_delete(&ngx_mdvr_items->counters,
                              ngx_mdvr_item_node(item));
            ngx_slab_free_locked(ngx_mdvr_zone->shpool,
                                 ngx_mdvr_item_node(item));
        }
    }

    ngx_mdvr_unlock();
}


/* IPv4 as ::ffff:a.b.c.d, IPv6 by its network; a Unix socket is one address */

static void
ngx_mdvr_address_id(const struct sockaddr *sa, u_char *id)
{
    const struct sockaddr_in   *sin;
    const struct sockaddr_in6  *sin6;

    ngx_memzero(id, 16);

    switch (sa->sa_family) {

    case AF_INET:
        sin = (const struct sockaddr_in *) sa;
        id[10] = 0xff;
        id[11] = 0xff;
        ngx_memcpy(id + 12, &sin->sin_addr, 4);
        break;

    case AF_INET6:
        sin6 = (const struct sockaddr_in6 *) sa;
        ngx_memcpy(id, &sin6->sin6_addr,
                   IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr) ? 16 : 8);
        break;
    }
}


ngx_int_t
ngx_mdvr_address_add(const struct sockaddr *sockaddr,
    ngx_mdvr_addr_kind_e kind, ngx_uint_t limit)
{
    u_char  id[16];

    ngx_mdvr_address_id(sockaddr, id);

    return ngx_mdvr_counter_add(item_address, id, kind, limit);
}


void
ngx_mdvr_address_sub(const struct sockaddr *sockaddr,
    ngx_mdvr_addr_kind_e kind)
{
    u_char  id[16];

    ngx_mdvr_address_id(sockaddr, id);
    ngx_mdvr_counter_sub(item_address, id, kind);
}


ngx_int_t
ngx_mdvr_user_add(const ngx_mdvr_uuid_t *user, ngx_uint_t limit)
{
    return ngx_mdvr_counter_add(item_user, user->b, 0, limit);
}


void
ngx_mdvr_user_sub(const ngx_mdvr_uuid_t *user)
{
    ngx_mdvr_counter_sub(item_user, user->b, 0);
}


/* -- marks --------------------------------------------------------------- */

static ngx_int_t
ngx_mdvr_mark(ngx_uint_t kind, const u_char *id, uint32_t value,
    uint32_t until)
{
    ngx_int_t         rc;
    ngx_mdvr_item_t  *item;

    if (ngx_mdvr_items == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    ngx_mdvr_lock();

    item = ngx_mdvr_item_find(&ngx_mdvr_items->marks, kind, 0, id);

    if (item == NULL) {
        item = ngx_mdvr_item_add(&ngx_mdvr_items->marks, kind, 0, id);

        if (item && kind != item_vsession) {
            ngx_mdvr_items->nrevoked++;
        }
    }

    if (item && (value > item->v[0] || until > item->v[1])) {

        if (value > item->v[0]) {
            item->v[0] = value;
            rc = NGX_OK;
        }

        item->v[1] = ngx_max(item->v[1], until);
    }

    ngx_mdvr_unlock();

    if (item == NULL) {
        ngx_mdvr_count(zone_full_total);
    }

    return rc;
}


static ngx_uint_t
ngx_mdvr_marked(ngx_uint_t kind, const ngx_mdvr_uuid_t *id, time_t issued_at)
{
    ngx_mdvr_item_t  *item;

    item = ngx_mdvr_item_find(&ngx_mdvr_items->marks, kind, 0, id->b);

    return item && (uint32_t) issued_at <= item->v[0]
           && item->v[1] >= (uint32_t) ngx_time();
}


void
ngx_mdvr_revoke(ngx_mdvr_revoked_e kind, const ngx_mdvr_uuid_t *id,
    time_t issued_before, time_t until)
{
    if (ngx_mdvr_mark(item_session_revoked + kind, id->b, issued_before, until)
        == NGX_OK)
    {
        (void) ngx_atomic_fetch_add(&ngx_mdvr_items->revocations, 1);
        ngx_mdvr_mail_broadcast(NGX_MDVR_MAIL_REVOKED, 0, 0);
        ngx_mdvr_mail_local(NGX_MDVR_MAIL_REVOKED, 0, 0);
    }
}


ngx_uint_t
ngx_mdvr_is_revoked(const ngx_mdvr_uuid_t *session,
    const ngx_mdvr_uuid_t *user, const ngx_mdvr_uuid_t *tenant,
    time_t issued_at)
{
    ngx_uint_t  revoked;

    if (ngx_mdvr_items == NULL || ngx_mdvr_items->nrevoked == 0) {
        return 0;
    }

    ngx_mdvr_lock();

    revoked = ngx_mdvr_marked(item_session_revoked, session, issued_at)
              || ngx_mdvr_marked(item_user_revoked, user, issued_at)
              || ngx_mdvr_marked(item_tenant_revoked, tenant, issued_at);

    ngx_mdvr_unlock();

    return revoked;
}


ngx_uint_t
ngx_mdvr_revocations(void)
{
    return ngx_mdvr_items ? ngx_mdvr_items->revocations : 0;
}


void
ngx_mdvr_vsession_set(const ngx_mdvr_uuid_t *session, time_t expires_at)
{
    (void) ngx_mdvr_mark(item_vsession, session->b, expires_at, expires_at);
}


time_t
ngx_mdvr_vsession_get(const ngx_mdvr_uuid_t *session)
{
    time_t            expires_at;
    ngx_mdvr_item_t  *item;

    if (ngx_mdvr_items == NULL) {
        return 0;
    }

    ngx_mdvr_lock();

    item = ngx_mdvr_item_find(&ngx_mdvr_items->marks, item_vsession, 0,
                              session->b);
    expires_at = item ? (time_t) item->v[0] : 0;

    ngx_mdvr_unlock();

    return expires_at;
}
