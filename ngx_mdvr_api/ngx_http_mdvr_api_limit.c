
/*
 * The node's counters behind the rate limits.
 *
 * A zone is an array of sets of eight cells of 32 bytes.  A name is hashed to a set
 * and looked for among its eight cells; the stalest cell makes room for a new
 * name.  So a flood of names costs nobody memory, and the worst that it can do is to
 * make the node forget a counter that was idle longest.
 *
 * Buckets are shared between nodes: what was taken here since the last exchange
 * is noted in the cell, and the cell in a short list.  ngx_http_mdvr_api_share.c
 * adds it to the bucket in Redis and brings back what all nodes took.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_mdvr_api/ngx_http_mdvr_api_limit.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


#define NGX_HTTP_MDVR_API_WAYS  8


typedef struct {
    uint32_t                        name;       /* second half of the hash */
    uint32_t                        hash;       /* first half */
    uint32_t                        value;      /* tokens used * 1000, or count */
    uint32_t                        taken;      /* * 1000, not yet in Redis */
    uint64_t                        stamp;      /* ms: of value, or window end */
    uint32_t                        rate;
    uint32_t                        listed;
} ngx_http_mdvr_api_cell_t;


typedef struct {
    ngx_uint_t                      sets;
    uint64_t                        due;        /* ms: somebody exchanges then */
    ngx_uint_t                      nlist;
    uint32_t                        list[NGX_HTTP_MDVR_API_SHARES];
    ngx_http_mdvr_api_cell_t        cells[1];
} ngx_http_mdvr_api_limits_t;


static ngx_http_mdvr_api_cell_t *ngx_http_mdvr_api_limit_cell(ngx_str_t *who);
static ngx_int_t ngx_http_mdvr_api_limit_init_zone(ngx_shm_zone_t *zone,
    void *data);


static ngx_shm_zone_t  *ngx_http_mdvr_api_limit_zone;
static ngx_shm_zone_t  *ngx_http_mdvr_api_limit_next;


ngx_int_t
ngx_http_mdvr_api_limit_init(ngx_conf_t *cf, size_t size)
{
    ngx_str_t        name = ngx_string("mdvr_api_limits");
    ngx_shm_zone_t  *zone;

    zone = ngx_shared_memory_add(cf, &name, size, &ngx_http_mdvr_api_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_mdvr_api_limit_init_zone;
    zone->data = (void *) 1;

    ngx_http_mdvr_api_limit_next = zone;

    return NGX_OK;
}


void
ngx_http_mdvr_api_limit_anew(void)
{
    ngx_http_mdvr_api_limit_next = NULL;
}


/* A configuration that fails is freed: its zone must not be left to a worker. */

void
ngx_http_mdvr_api_limit_use(void)
{
    ngx_http_mdvr_api_limit_zone = ngx_http_mdvr_api_limit_next;
    ngx_http_mdvr_api_limit_next = NULL;
}


static ngx_int_t
ngx_http_mdvr_api_limit_init_zone(ngx_shm_zone_t *zone, void *data)
{
    size_t                       room, set;
    ngx_slab_pool_t             *pool;
    ngx_http_mdvr_api_limits_t  *limits;

    pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {
        return NGX_OK;
    }

    set = NGX_HTTP_MDVR_API_WAYS * sizeof(ngx_http_mdvr_api_cell_t);
    room = pool->pfree * ngx_pagesize - sizeof(ngx_http_mdvr_api_limits_t);

    limits = ngx_slab_calloc(pool, room / set * set);
    if (limits == NULL) {
        return NGX_ERROR;
    }

    limits->sets = room / set - 1;
    pool->data = limits;

    return NGX_OK;
}


/* called with the zone's mutex held */

static ngx_http_mdvr_api_cell_t *
ngx_http_mdvr_api_limit_cell(ngx_str_t *who)
{
    uint32_t                     hash, name;
    ngx_uint_t                   i;
    ngx_slab_pool_t             *pool;
    ngx_http_mdvr_api_cell_t    *cell, *stalest;
    ngx_http_mdvr_api_limits_t  *limits;

    pool = (ngx_slab_pool_t *) ngx_http_mdvr_api_limit_zone->shm.addr;
    limits = pool->data;

    hash = ngx_murmur_hash2(who->data, who->len);
    name = ngx_crc32_long(who->data, who->len) | 1;

    cell = &limits->cells[hash % limits->sets * NGX_HTTP_MDVR_API_WAYS];
    stalest = cell;

    for (i = 0; i < NGX_HTTP_MDVR_API_WAYS; i++) {

        if (cell[i].name == name && cell[i].hash == hash) {
            return &cell[i];
        }

        if (cell[i].stamp < stalest->stamp) {
            stalest = &cell[i];
        }
    }

    i = stalest->listed;        /* its place in the list stays taken */

    ngx_memzero(stalest, sizeof(ngx_http_mdvr_api_cell_t));

    stalest->name = name;
    stalest->hash = hash;
    stalest->listed = i;

    return stalest;
}


ngx_uint_t
ngx_http_mdvr_api_limit_bucket(ngx_str_t *who, ngx_uint_t rate,
    ngx_uint_t burst, ngx_msec_t share)
{
    uint64_t                     now, used, back;
    ngx_uint_t                   wait, mine;
    ngx_slab_pool_t             *pool;
    ngx_http_mdvr_api_cell_t    *cell;
    ngx_http_mdvr_api_limits_t  *limits;

    if (rate == 0) {
        return 0;
    }

    now = ngx_mdvr_now_ms();
    pool = (ngx_slab_pool_t *) ngx_http_mdvr_api_limit_zone->shm.addr;
    limits = pool->data;
    wait = 0;
    mine = 0;

    ngx_shmtx_lock(&pool->mutex);

    cell = ngx_http_mdvr_api_limit_cell(who);

    back = now > cell->stamp ? (now - cell->stamp) * rate : 0;
    used = cell->value > back ? cell->value - back : 0;

    if (used + 1000 > (burst + 1) * 1000) {
        wait = (used - burst * 1000) / (rate * 1000) + 1;

    } else {
        cell->value = used + 1000;
        cell->stamp = now;

        if (share) {
            cell->rate = rate;
            cell->taken += 1000;

            if (!cell->listed && limits->nlist < NGX_HTTP_MDVR_API_SHARES) {
                cell->listed = 1;
                limits->list[limits->nlist++] = cell - limits->cells;
            }

            /* a worker that died in between does not stop the exchange */

            if (limits->due == 0 || now > limits->due + 10 * share) {
                limits->due = now + share;
                mine = 1;
            }
        }
    }

    ngx_shmtx_unlock(&pool->mutex);

    if (mine) {
        ngx_http_mdvr_api_share_in(share);
    }

    return wait;
}


ngx_uint_t
ngx_http_mdvr_api_limit_taken(ngx_http_mdvr_api_share_t *shares)
{
    ngx_uint_t                   i, n;
    ngx_slab_pool_t             *pool;
    ngx_http_mdvr_api_cell_t    *cell;
    ngx_http_mdvr_api_limits_t  *limits;

    pool = (ngx_slab_pool_t *) ngx_http_mdvr_api_limit_zone->shm.addr;
    limits = pool->data;
    n = 0;

    ngx_shmtx_lock(&pool->mutex);

    for (i = 0; i < limits->nlist; i++) {
        cell = &limits->cells[limits->list[i]];
        cell->listed = 0;

        if (cell->taken == 0) {
            continue;               /* that name was pushed out */
        }

        shares[n].cell = limits->list[i];
        shares[n].name = cell->name;
        shares[n].hash = cell->hash;
        shares[n].rate = cell->rate;
        shares[n].tokens = cell->taken;
        cell->taken = 0;
        n++;
    }

    limits->nlist = 0;
    limits->due = 0;

    ngx_shmtx_unlock(&pool->mutex);

    return n;
}


void
ngx_http_mdvr_api_limit_shared(const ngx_http_mdvr_api_share_t *shares,
    ngx_uint_t n)
{
    uint64_t                     now;
    ngx_uint_t                   i;
    ngx_slab_pool_t             *pool;
    ngx_http_mdvr_api_cell_t    *cell;
    ngx_http_mdvr_api_limits_t  *limits;

    now = ngx_mdvr_now_ms();
    pool = (ngx_slab_pool_t *) ngx_http_mdvr_api_limit_zone->shm.addr;
    limits = pool->data;

    ngx_shmtx_lock(&pool->mutex);

    for (i = 0; i < n; i++) {
        cell = &limits->cells[shares[i].cell];

        if (cell->name == shares[i].name && cell->hash == shares[i].hash) {
            cell->value = ngx_min(shares[i].tokens, 4000000000u - cell->taken)
                          + cell->taken;
            cell->stamp = now;
        }
    }

    ngx_shmtx_unlock(&pool->mutex);
}


ngx_uint_t
ngx_http_mdvr_api_limit_window(ngx_str_t *who, time_t window,
    ngx_uint_t add, time_t *left)
{
    uint64_t                   now;
    ngx_uint_t                 count;
    ngx_slab_pool_t           *pool;
    ngx_http_mdvr_api_cell_t  *cell;

    now = ngx_mdvr_now_ms();
    pool = (ngx_slab_pool_t *) ngx_http_mdvr_api_limit_zone->shm.addr;

    ngx_shmtx_lock(&pool->mutex);

    cell = ngx_http_mdvr_api_limit_cell(who);

    if (cell->stamp <= now) {
        cell->stamp = now + window * 1000;
        cell->value = 0;
    }

    cell->value += add;
    count = cell->value;
    *left = (cell->stamp - now + 999) / 1000;

    ngx_shmtx_unlock(&pool->mutex);

    return count;
}


void
ngx_http_mdvr_api_limit_forget(ngx_str_t *who)
{
    ngx_slab_pool_t           *pool;
    ngx_http_mdvr_api_cell_t  *cell;

    pool = (ngx_slab_pool_t *) ngx_http_mdvr_api_limit_zone->shm.addr;

    ngx_shmtx_lock(&pool->mutex);

    cell = ngx_http_mdvr_api_limit_cell(who);
    cell->value = 0;
    cell->stamp = 0;

    ngx_shmtx_unlock(&pool->mutex);
}
