/*
 * Devices of the registry: cache entries in two trees (serial, device id) and
 * on one of three lists: held by a connection; known but not held, and known
 * not to exist, both oldest last.  When the zone is full the two latter give
 * way, oldest first.
 *
 * All functions that end in _locked expect the zone's mutex.
 */

#include "ngx_mdvr_core/ngx_mdvr_items.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_FRESH          300     /* s a row is believed */
#define NGX_MDVR_FRESH_UNKNOWN  10
#define NGX_MDVR_UNKNOWN_MAX    4096    /* serials known not to exist */
#define NGX_MDVR_SWEEP          64      /* devices per turn */
#define NGX_MDVR_TOLD           4       /* things said of a device */


typedef struct {
    ngx_rbtree_node_t         node;          /* by serial */
    ngx_rbtree_node_t         id_node;       /* by device id, when known */
    ngx_queue_t               queue;         /* held, idle or unknown */

    uint64_t                  connection;
    int64_t                   connected_at;
    uint32_t                  fetched;       /* unix s, 0: stale */
    uint16_t                  slot;
    int16_t                   offset;

    uint8_t                   known;
    uint8_t                   held;
    uint8_t                   channels;
    uint8_t                   bus_layout;
    uint8_t                   suspended;
    uint8_t                   offset_set;
    uint8_t                   encoding;
    uint8_t                   ipv6;
    uint8_t                   serial_len;

    uint32_t                  told[NGX_MDVR_TOLD];   /* see _first() */

    ngx_mdvr_uuid_t           device_id;
    ngx_mdvr_uuid_t           tenant_id;
    u_char                    address[16];
    u_char                    imei[NGX_MDVR_IMEI_MAX + 1];
    u_char                    serial[NGX_MDVR_SERIAL_MAX + 1];
} ngx_mdvr_entry_t;


typedef struct {
    ngx_rbtree_t              serials;
    ngx_rbtree_node_t         serials_end;
    ngx_rbtree_t              ids;
    ngx_rbtree_node_t         ids_end;
    ngx_queue_t               held;
    ngx_queue_t               idle;          /* newest first */
    ngx_queue_t               unknown;       /* newest first */
    ngx_uint_t                nheld;
    ngx_uint_t                nunknown;
    ngx_mdvr_items_t          items;
} ngx_mdvr_registry_sh_t;


static ngx_mdvr_registry_sh_t  *ngx_mdvr_registry;
static ngx_mdvr_lost_pt         ngx_mdvr_registry_lost;

static const char *ngx_mdvr_encodings[] = {
    "", "utf-8", "gb18030", "utf-16le"
};


#define ngx_mdvr_entry(n)                                                     \
    ((ngx_mdvr_entry_t *) ((u_char *) (n) - offsetof(ngx_mdvr_entry_t, node)))
#define ngx_mdvr_entry_of_id(n)                                               \
    ((ngx_mdvr_entry_t *)                                                     \
        ((u_char *) (n) - offsetof(ngx_mdvr_entry_t, id_node)))

#define ngx_mdvr_lock()    ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex)
#define ngx_mdvr_unlock()  ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex)


ngx_int_t
ngx_mdvr_registry_layout(ngx_mdvr_zone_t *zone)
{
    ngx_mdvr_registry_sh_t  *sh;

    sh = ngx_slab_calloc(zone->shpool, sizeof(ngx_mdvr_registry_sh_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    /* equal hashes lie side by side in the trees, find_locked() knows */

    ngx_rbtree_init(&sh->serials, &sh->serials_end, ngx_rbtree_insert_value);
    ngx_rbtree_init(&sh->ids, &sh->ids_end, ngx_rbtree_insert_value);

    ngx_queue_init(&sh->held);
    ngx_queue_init(&sh->idle);
    ngx_queue_init(&sh->unknown);

    ngx_mdvr_items_layout(&sh->items);

    zone->sh->registry = sh;

    return NGX_OK;
}


ngx_int_t
ngx_mdvr_registry_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    ngx_mdvr_registry = ngx_mdvr_zone->sh->registry;
    ngx_mdvr_items_attach(&ngx_mdvr_registry->items);

    return NGX_OK;
}


void
ngx_mdvr_registry_lost_handler(ngx_mdvr_lost_pt handler)
{
    ngx_mdvr_registry_lost = handler;
}


ngx_uint_t
ngx_mdvr_registry_online(void)
{
    return ngx_mdvr_registry ? ngx_mdvr_registry->nheld : 0;
}


/* -- trees --------------------------------------------------------------- */

/*
 * ngx_rbtree_insert_value() puts an equal key to the right, rotations may
 * move it to the left: among equal keys both sides are searched.
 */

static ngx_mdvr_entry_t *
ngx_mdvr_find_serial(ngx_rbtree_node_t *node, ngx_rbtree_node_t *end,
    ngx_rbtree_key_t key, const ngx_str_t *serial)
{
    ngx_mdvr_entry_t  *e;

    while (node != end) {

        if (key != node->key) {
            node = key < node->key ? node->left : node->right;
            continue;
        }

        e = ngx_mdvr_entry(node);

        if (e->serial_len == serial->len
            && ngx_memcmp(e->serial, serial->data, serial->len) == 0)
        {
            return e;
        }

        e = ngx_mdvr_find_serial(node->left, end, key, serial);
        if (e) {
            return e;
        }

        node = node->right;
    }

    return NULL;
}


static ngx_mdvr_entry_t *
ngx_mdvr_find_locked(const ngx_str_t *serial)
{
    if (serial->len == 0 || serial->len > NGX_MDVR_SERIAL_MAX) {
        return NULL;
    }

    return ngx_mdvr_find_serial(ngx_mdvr_registry->serials.root,
                                &ngx_mdvr_registry->serials_end,
                                ngx_crc32_short(serial->data, serial->len),
                                serial);
}


static ngx_mdvr_entry_t *
ngx_mdvr_find_id(ngx_rbtree_node_t *node, ngx_rbtree_node_t *end,
    ngx_rbtree_key_t key, const ngx_mdvr_uuid_t *id)
{
    ngx_mdvr_entry_t  *e;

    while (node != end) {

        if (key != node->key) {
            node = key < node->key ? node->left : node->right;
            continue;
        }

        e = ngx_mdvr_entry_of_id(node);

        if (ngx_mdvr_uuid_equal(&e->device_id, id)) {
            return e;
        }

        e = ngx_mdvr_find_id(node->left, end, key, id);
        if (e) {
            return e;
        }

        node = node->right;
    }

    return NULL;
}


static ngx_mdvr_entry_t *
ngx_mdvr_find_id_locked(const ngx_mdvr_uuid_t *id)
{
    return ngx_mdvr_find_id(ngx_mdvr_registry->ids.root,
                            &ngx_mdvr_registry->ids_end,
                            ngx_crc32_short((u_char *) id->b, 16), id);
}


static void
ngx_mdvr_drop_locked(ngx_mdvr_entry_t *e)
{
    ngx_rbtree_delete(&ngx_mdvr_registry->serials, &e->node);

    if (e->known) {
        ngx_rbtree_delete(&ngx_mdvr_registry->ids, &e->id_node);

    } else {
        ngx_mdvr_registry->nunknown--;
    }

    ngx_queue_remove(&e->queue);

    ngx_slab_free_locked(ngx_mdvr_zone->shpool, e);
}


/* Makes room by forgetting what nobody holds; at most `n` entries. */

ngx_uint_t
ngx_mdvr_registry_evict_locked(ngx_uint_t n)
{
    ngx_uint_t    done;
    ngx_queue_t  *list;

    for (done = 0; done < n; done++) {
        list = &ngx_mdvr_registry->unknown;

        if (ngx_queue_empty(list)) {
            list = &ngx_mdvr_registry->idle;

            if (ngx_queue_empty(list)) {
                break;
            }
        }

        ngx_mdvr_drop_locked(ngx_queue_data(ngx_queue_last(list),
                                            ngx_mdvr_entry_t, queue));
    }

    return done;
}


/* A new entry of that serial, on no list and of no device. */

static ngx_mdvr_entry_t *
ngx_mdvr_add_locked(const ngx_str_t *serial)
{
    ngx_mdvr_entry_t  *e;

    do {
        e = ngx_slab_calloc_locked(ngx_mdvr_zone->shpool,
                                   sizeof(ngx_mdvr_entry_t));

    } while (e == NULL && ngx_mdvr_registry_evict_locked(8));

    if (e == NULL) {
        return NULL;
    }

    e->serial_len = (uint8_t) serial->len;
    ngx_memcpy(e->serial, serial->data, serial->len);

    e->node.key = ngx_crc32_short(e->serial, e->serial_len);
    ngx_rbtree_insert(&ngx_mdvr_registry->serials, &e->node);

    return e;
}


/* -- copies -------------------------------------------------------------- */

static void
ngx_mdvr_holder_copy(const ngx_mdvr_entry_t *e, ngx_mdvr_holder_t *h)
{
    ngx_memzero(h, sizeof(ngx_mdvr_holder_t));

    if (!e->held) {
        return;
    }

    h->held = 1;
    h->slot = e->slot;
    h->connection = e->connection;
    h->connected_at = e->connected_at;

    (void) inet_ntop(e->ipv6 ? AF_INET6 : AF_INET, e->address,
                     (char *) h->address, sizeof(h->address));
}


static void
ngx_mdvr_device_copy(const ngx_mdvr_entry_t *e, ngx_mdvr_device_t *d)
{
    d->device_id = e->device_id;
    d->tenant_id = e->tenant_id;
    d->utc_offset_minutes = e->offset;
    d->channels = e->channels;
    d->bus_layout = e->bus_layout;
    d->suspended = e->suspended;
    d->offset_set = e->offset_set;
    d->serial_len = e->serial_len;
    ngx_memcpy(d->serial, e->serial, sizeof(d->serial));
    ngx_memcpy(d->imei, e->imei, sizeof(d->imei));
    ngx_cpystrn(d->text_encoding, (u_char *) ngx_mdvr_encodings[e->encoding],
                sizeof(d->text_encoding));

    ngx_mdvr_holder_copy(e, &d->holder);
}


/* The row into the entry, which becomes a known one on the list it is due. */

static void
ngx_mdvr_entry_fill_locked(ngx_mdvr_entry_t *e, const ngx_mdvr_device_t *d,
    uint32_t fetched)
{
    ngx_uint_t  i;

    if (e->known && !ngx_mdvr_uuid_equal(&e->device_id, &d->device_id)) {

        /* the serial has a new owner: the old device's claim ends with it */

        ngx_rbtree_delete(&ngx_mdvr_registry->ids, &e->id_node);
        e->known = 0;

        if (e->held) {
            e->held = 0;
            ngx_mdvr_registry->nheld--;
        }

    } else if (!e->known && e->queue.next) {
        ngx_mdvr_registry->nunknown--;
    }

    if (!e->known) {
        e->device_id = d->device_id;
        e->id_node.key = ngx_crc32_short(e->device_id.b, 16);
        ngx_rbtree_insert(&ngx_mdvr_registry->ids, &e->id_node);
        e->known = 1;
    }

    e->tenant_id = d->tenant_id;
    e->offset = d->utc_offset_minutes;
    e->channels = d->channels;
    e->bus_layout = d->bus_layout;
    e->suspended = d->suspended;
    e->offset_set = d->offset_set;
    e->encoding = 0;

    for (i = 1; i < sizeof(ngx_mdvr_encodings) / sizeof(char *); i++) {
        if (ngx_strcmp(ngx_mdvr_encodings[i], d->text_encoding) == 0) {
            e->encoding = (uint8_t) i;
        }
    }

    ngx_memcpy(e->imei, d->imei, sizeof(e->imei));

    e->fetched = fetched;

    if (e->queue.next) {
        ngx_queue_remove(&e->queue);
    }

    if (e->held) {
        ngx_queue_insert_tail(&ngx_mdvr_registry->held, &e->queue);

    } else {
        ngx_queue_insert_head(&ngx_mdvr_registry->idle, &e->queue);
    }
}


/* -- the cache ----------------------------------------------------------- */

ngx_int_t
ngx_mdvr_registry_find(const ngx_str_t *serial, ngx_mdvr_device_t *device)
{
    time_t             age;
    ngx_int_t          rc;
    ngx_mdvr_entry_t  *e;

    rc = NGX_AGAIN;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_locked(serial);

    if (e) {
        age = ngx_time() - (time_t) e->fetched;

        if (e->known) {
            if (age < NGX_MDVR_FRESH) {
                ngx_mdvr_device_copy(e, device);
                rc = NGX_OK;
            }

        } else if (age < NGX_MDVR_FRESH_UNKNOWN) {
            rc = NGX_DECLINED;
        }
    }

    ngx_mdvr_unlock();

    return rc;
}


ngx_int_t
ngx_mdvr_registry_find_id(const ngx_mdvr_uuid_t *device_id,
    ngx_mdvr_device_t *device)
{
    ngx_mdvr_entry_t  *e;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_id_locked(device_id);

    if (e) {
        ngx_mdvr_device_copy(e, device);
    }

    ngx_mdvr_unlock();

    return e ? NGX_OK : NGX_AGAIN;
}


ngx_int_t
ngx_mdvr_registry_holder(const ngx_str_t *serial, ngx_mdvr_holder_t *holder)
{
    ngx_mdvr_entry_t  *e;

    holder->held = 0;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_locked(serial);

    if (e) {
        ngx_mdvr_holder_copy(e, holder);
    }

    ngx_mdvr_unlock();

    return holder->held ? NGX_OK : NGX_DECLINED;
}


void
ngx_mdvr_registry_forget(const ngx_str_t *serial)
{
    ngx_mdvr_entry_t  *e;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_locked(serial);

    if (e) {
        e->fetched = 0;
    }

    ngx_mdvr_unlock();
}


void
ngx_mdvr_registry_forget_tenant(const ngx_mdvr_uuid_t *tenant)
{
    ngx_uint_t         i;
    ngx_queue_t       *q, *lists[2];
    ngx_mdvr_entry_t  *e;

    lists[0] = &ngx_mdvr_registry->held;
    lists[1] = &ngx_mdvr_registry->idle;

    ngx_mdvr_lock();

    for (i = 0; i < 2; i++) {
        for (q = ngx_queue_head(lists[i]);
             q != ngx_queue_sentinel(lists[i]);
             q = ngx_queue_next(q))
        {
            e = ngx_queue_data(q, ngx_mdvr_entry_t, queue);

            if (ngx_mdvr_uuid_equal(&e->tenant_id, tenant)) {
                e->fetched = 0;
            }
        }
    }

    ngx_mdvr_unlock();
}


void
ngx_mdvr_registry_store(const ngx_str_t *serial,
    const ngx_mdvr_device_t *device)
{
    ngx_mdvr_entry_t  *e;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_locked(serial);

    if (device) {

        if (e == NULL) {
            e = ngx_mdvr_add_locked(serial);
        }

        if (e) {
            ngx_mdvr_entry_fill_locked(e, device, ngx_time());
        }

    } else if (e && e->held) {
        e->fetched = 0;                 /* deleted; its connection will hear */

    } else {

        if (e && e->known) {
            ngx_mdvr_drop_locked(e);
            e = NULL;
        }

        if (e == NULL) {
            while (ngx_mdvr_registry->nunknown >= NGX_MDVR_UNKNOWN_MAX) {
                (void) ngx_mdvr_registry_evict_locked(1);
            }

            e = ngx_mdvr_add_locked(serial);

            if (e) {
                ngx_mdvr_registry->nunknown++;
                ngx_queue_insert_head(&ngx_mdvr_registry->unknown, &e->queue);
            }
        }

        if (e) {
            e->fetched = ngx_time();
        }
    }

    ngx_mdvr_unlock();

    if (e == NULL) {
        ngx_mdvr_count(zone_full_total);
    }
}


ngx_int_t
ngx_mdvr_registry_stale(const ngx_str_t *serial, ngx_mdvr_device_t *device)
{
    ngx_int_t          rc;
    ngx_mdvr_entry_t  *e;

    rc = NGX_DECLINED;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_locked(serial);

    if (e && e->known) {
        ngx_mdvr_device_copy(e, device);
        rc = NGX_OK;
    }

    ngx_mdvr_unlock();

    return rc;
}


/* -- claims -------------------------------------------------------------- */

ngx_int_t
ngx_mdvr_registry_claim(ngx_mdvr_claim_t *claim,
    const ngx_mdvr_device_t *device, uint64_t connection,
    const ngx_str_t *address, int64_t connected_at,
    ngx_mdvr_holder_t *previous)
{
    u_char             text[NGX_MDVR_ADDRESS_MAX + 1], bin[16];
    uint8_t            ipv6;
    ngx_str_t          serial;
    ngx_mdvr_entry_t  *e;

    ngx_memzero(previous, sizeof(ngx_mdvr_holder_t));
    ngx_memzero(bin, sizeof(bin));

    ngx_cpystrn(text, address->data, ngx_min(address->len + 1, sizeof(text)));
    ipv6 = (ngx_strlchr(address->data, address->data + address->len, ':')
            != NULL);
    (void) inet_pton(ipv6 ? AF_INET6 : AF_INET, (char *) text, bin);

    serial.data = (u_char *) device->serial;
    serial.len = device->serial_len;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_locked(&serial);

    if (e == NULL) {
        e = ngx_mdvr_add_locked(&serial);
    }

    if (e == NULL) {
        ngx_mdvr_unlock();
        ngx_mdvr_count(zone_full_total);
        return NGX_BUSY;
    }

    if (!e->known || !ngx_mdvr_uuid_equal(&e->device_id, &device->device_id)) {
        ngx_mdvr_entry_fill_locked(e, device, 0);
    }

    if (e->held) {
        if (e->connection != connection) {
            ngx_mdvr_holder_copy(e, previous);
        }

    } else {
        e->held = 1;
        ngx_mdvr_registry->nheld++;

        ngx_queue_remove(&e->queue);
        ngx_queue_insert_tail(&ngx_mdvr_registry->held, &e->queue);
    }

    e->connection = connection;
    e->connected_at = connected_at;
    e->slot = (uint16_t) ngx_mdvr_slot;
    e->ipv6 = ipv6;
    ngx_memcpy(e->address, bin, sizeof(bin));

    ngx_mdvr_unlock();

    claim->device_id = device->device_id;
    claim->connection = connection;

    if (previous->held && previous->slot != ngx_mdvr_slot) {
        (void) ngx_mdvr_mail_post(previous->slot, NGX_MDVR_MAIL_CLOSE,
                                  previous->connection, 0);
    }

    return NGX_OK;
}


ngx_int_t
ngx_mdvr_registry_check(ngx_mdvr_claim_t *claim)
{
    ngx_int_t          rc;
    ngx_mdvr_entry_t  *e;

    if (claim->connection == 0) {
        return NGX_DECLINED;
    }

    ngx_mdvr_lock();

    e = ngx_mdvr_find_id_locked(&claim->device_id);

    rc = e && e->held && e->connection == claim->connection ? NGX_OK
                                                            : NGX_DECLINED;
    ngx_mdvr_unlock();

    return rc;
}


void
ngx_mdvr_registry_offset(ngx_mdvr_claim_t *claim, int16_t minutes)
{
    ngx_mdvr_entry_t  *e;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_id_locked(&claim->device_id);

    if (e && !e->offset_set) {
        e->offset = minutes;
    }

    ngx_mdvr_unlock();
}


ngx_uint_t
ngx_mdvr_registry_first(ngx_mdvr_claim_t *claim, uint32_t what)
{
    ngx_uint_t         i;
    ngx_mdvr_entry_t  *e;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_id_locked(&claim->device_id);

    if (e == NULL) {
        ngx_mdvr_unlock();
        return 0;
    }

    for (i = 0; i < NGX_MDVR_TOLD; i++) {
        if (e->told[i] == what) {
            ngx_mdvr_unlock();
            return 0;
        }
    }

    /* the oldest makes room */

    for (i = NGX_MDVR_TOLD - 1; i > 0; i--) {
        e->told[i] = e->told[i - 1];
    }

    e->told[0] = what;

    ngx_mdvr_unlock();

    return 1;
}


static void
ngx_mdvr_unhold_locked(ngx_mdvr_entry_t *e)
{
    e->held = 0;
    ngx_mdvr_registry->nheld--;

    ngx_queue_remove(&e->queue);
    ngx_queue_insert_head(&ngx_mdvr_registry->idle, &e->queue);
}


ngx_int_t
ngx_mdvr_registry_release(ngx_mdvr_claim_t *claim)
{
    ngx_int_t          rc;
    ngx_mdvr_entry_t  *e;

    if (claim->connection == 0) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    ngx_mdvr_lock();

    e = ngx_mdvr_find_id_locked(&claim->device_id);

    if (e && e->held && e->connection == claim->connection) {
        ngx_mdvr_unhold_locked(e);
        rc = NGX_OK;
    }

    ngx_mdvr_unlock();

    ngx_memzero(claim, sizeof(ngx_mdvr_claim_t));

    return rc;
}


/* -- sweeping ------------------------------------------------------------ */

ngx_int_t
ngx_mdvr_registry_sweep(ngx_uint_t slot)
{
    ngx_uint_t                i, n;
    ngx_queue_t              *q, *next;
    ngx_mdvr_entry_t         *e;
    static ngx_mdvr_device_t  lost[NGX_MDVR_SWEEP];

    n = 0;

    ngx_mdvr_lock();

    for (q = ngx_queue_head(&ngx_mdvr_registry->held);
         q != ngx_queue_sentinel(&ngx_mdvr_registry->held)
         && n < NGX_MDVR_SWEEP;
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_mdvr_entry_t, queue);

        if (e->slot == slot) {
            ngx_mdvr_device_copy(e, &lost[n++]);
            ngx_mdvr_unhold_locked(e);
        }
    }

    ngx_mdvr_unlock();

    for (i = 0; i < n; i++) {
        if (ngx_mdvr_registry_lost) {
            ngx_mdvr_registry_lost(&lost[i]);
        }
    }

    if (n == NGX_MDVR_SWEEP) {
        return NGX_AGAIN;
    }

    ngx_mdvr_items_sweep(slot);

    return NGX_OK;
}


void
ngx_mdvr_registry_tick(void)
{
    static time_t  last;

    if (ngx_mdvr_is_chief()) {
        ngx_mdvr_gauge(devices_online, ngx_mdvr_registry->nheld);

        if (ngx_time() - last >= 10) {
            last = ngx_time();
            ngx_mdvr_items_expire();
        }

    } else {
        ngx_mdvr_gauge(devices_online, 0);
    }
}
