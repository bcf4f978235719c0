
/*
 * The node's counters behind the rate limits.
 *
 * A zone is an array of sets of eight cells of 16 bytes.  A name is hashed to a set
 * and looked for among its eight cells; the stalest cell makes room for a new
 * name.  So a flood of names costs nobody memory, and the worst that it can do is to
 * make the node forget a counter that was idle longest.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_mdvr_api/ngx_http_mdvr_api_limit.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


#define NGX_HTTP_MDVR_API_WAYS  8


typedef struct {
    uint32_t                        name;       /* second half of the hash */
    uint32_t                        value;      /* tokens used * 1000, or count */
    uint64_t                        stamp;      /* ms: of value, or window end */
} ngx_http_mdvr_api_cell_t;


typedef struct {
    ngx_uint_t                      sets;
    ngx_http_mdvr_api_cell_t        cells[1];
} ngx_http_mdvr_api_limits_t;


static ngx_http_mdvr_api_cell_t *ngx_http_mdvr_api_limit_cell(ngx_str_t *who);
static ngx_int_t ngx_http_mdvr_api_limit_init_zone(ngx_shm_zone_t *zone,
    void *data);


static ngx_shm_zone_t  *ngx_http_mdvr_api_limit_zone;


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

    ngx_http_mdvr_api_limit_zone = zone;

    return NGX_OK;
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

        if (cell[i].name == name) {
            return &cell[i];
        }

        if (cell[i].stamp < stalest->stamp) {
            stalest = &cell[i];
        }
    }

    stalest->name = name;
    stalest->value = 0;
    stalest->stamp = 0;

    return stalest;
}


ngx_uint_t
ngx_http_mdvr_api_limit_bucket(ngx_str_t *who, ngx_uint_t rate,
    ngx_uint_t burst)
{
    uint64_t                   now, used, back;
    ngx_uint_t                 wait;
    ngx_slab_pool_t           *pool;
    ngx_http_mdvr_api_cell_t  *cell;

    if (rate == 0) {
        return 0;
    }

    now = ngx_mdvr_now_ms();
    pool = (ngx_slab_pool_t *) ngx_http_mdvr_api_limit_zone->shm.addr;
    wait = 0;

    ngx_shmtx_lock(&pool->mutex);

    cell = ngx_http_mdvr_api_limit_cell(who);

    back = now > cell->stamp ? (now - cell->stamp) * rate : 0;
    used = cell->value > back ? cell->value - back : 0;

    if (used + 1000 > (burst + 1) * 1000) {
        wait = (used - burst * 1000) / (rate * 1000) + 1;

    } else {
        cell->value = used + 1000;
        cell->stamp = now;
    }

    ngx_shmtx_unlock(&pool->mutex);

    return wait;
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
