/*
 * Which devices a restricted user sees: mdvr.visible_now(), asked once and
 * again when it has changed.  Whether it has is one question every 3 s for all
 * users of this worker, mdvr.visible_digests(), so that a change holds within
 * 5 s.  While PostgreSQL is away nobody can change anything either.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"


#define NGX_MDVR_VISIBLE_EVERY    3000  /* ms */
#define NGX_MDVR_VISIBLE_RETRY    500
#define NGX_MDVR_VISIBLE_TIMEOUT  5000
#define NGX_MDVR_VISIBLE_BATCH    2000  /* users of one question */
#define NGX_MDVR_VISIBLE_DIGEST   48


struct ngx_mdvr_visible_s {
    ngx_str_node_t            sn;            /* by tenant and user, 32 bytes */
    ngx_pool_t               *pool;
    u_char                    key[32];
    ngx_queue_t               seers;
    ngx_mdvr_set_t            set;
    uint64_t                  number;        /* the push looked up last */
    ngx_uint_t                has;           /* and what was found */
    ngx_event_t               timer;         /* to ask, now or again */
    u_char                    digest[NGX_MDVR_VISIBLE_DIGEST];
    size_t                    digest_len;    /* of `set` */
    ngx_uint_t                round;         /* that it was asked about in */
    ngx_uint_t                ready;
    ngx_uint_t                busy;          /* its list is being walked */
};


static void ngx_mdvr_visible_free(ngx_mdvr_visible_t *v);
static void ngx_mdvr_visible_ask(ngx_event_t *ev);
static void ngx_mdvr_visible_rows(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);


static void ngx_mdvr_visible_tick(ngx_event_t *ev);
static void ngx_mdvr_visible_look(void);
static void ngx_mdvr_visible_digests(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);


static ngx_rbtree_t       ngx_mdvr_visibles;
static ngx_rbtree_node_t  ngx_mdvr_visibles_end;

/* the question for all: whom the one under way is about */

static u_char             ngx_mdvr_visible_keys[NGX_MDVR_VISIBLE_BATCH][32];
static ngx_uint_t         ngx_mdvr_visible_asked;   /* 0: none is under way */
static ngx_uint_t         ngx_mdvr_visible_round;
static ngx_event_t        ngx_mdvr_visible_timer;
static ngx_connection_t   ngx_mdvr_visible_dummy;


ngx_int_t
ngx_mdvr_visible_init(void)
{
    ngx_mdvr_visible_dummy.fd = (ngx_socket_t) -1;
    ngx_mdvr_visible_timer.handler = ngx_mdvr_visible_tick;
    ngx_mdvr_visible_timer.data = &ngx_mdvr_visible_dummy;
    ngx_mdvr_visible_timer.log = ngx_cycle->log;
    ngx_mdvr_visible_timer.cancelable = 1;

    ngx_rbtree_init(&ngx_mdvr_visibles, &ngx_mdvr_visibles_end,
                    ngx_str_rbtree_insert_value);

    return NGX_OK;
}


static int
ngx_mdvr_set_cmp(const void *a, const void *b)
{
    return ngx_memcmp(a, b, 16);
}


void
ngx_mdvr_set_sort(ngx_mdvr_set_t *set)
{
    if (set->n > 1) {
        ngx_qsort(set->ids, set->n, sizeof(ngx_mdvr_uuid_t),
                  ngx_mdvr_set_cmp);
    }
}


ngx_uint_t
ngx_mdvr_set_has(const ngx_mdvr_set_t *set, const ngx_mdvr_uuid_t *id)
{
    int         rc;
    ngx_uint_t  lo, hi, mid;

    for (lo = 0, hi = set->n; lo < hi; /* void */ ) {
        mid = (lo + hi) / 2;
        rc = ngx_memcmp(id->b, set->ids[mid].b, 16);

        if (rc == 0) {
            return 1;
        }

        if (rc < 0) {
            hi = mid;

        } else {
            lo = mid + 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_mdvr_visible_is_ready(const ngx_mdvr_visible_t *visible)
{
    return visible->ready;
}


ngx_uint_t
ngx_mdvr_visible_has(ngx_mdvr_visible_t *visible, const ngx_mdvr_push_t *push)
{
    if (visible->number != push->number) {
        visible->number = push->number;
        visible->has = ngx_mdvr_set_has(&visible->set, &push->device);
    }

    return visible->has;
}


ngx_int_t
ngx_mdvr_visible_join(ngx_mdvr_client_t *client)
{
    u_char               key[32];
    uint32_t             hash;
    ngx_str_t            name;
    ngx_pool_t          *pool;
    ngx_mdvr_visible_t  *v;

    ngx_memcpy(key, client->tenant.b, 16);
    ngx_memcpy(key + 16, client->principal.user.b, 16);

    name.data = key;
    name.len = 32;
    hash = ngx_crc32_short(key, 32);

    v = (ngx_mdvr_visible_t *) ngx_str_rbtree_lookup(&ngx_mdvr_visibles,
                                                     &name, hash);
    if (v == NULL) {

        pool = ngx_create_pool(512, ngx_cycle->log);
        if (pool == NULL) {
            return NGX_ERROR;
        }

        v = ngx_pcalloc(pool, sizeof(ngx_mdvr_visible_t));
        if (v == NULL) {
            ngx_destroy_pool(pool);
            return NGX_ERROR;
        }

        v->pool = pool;
        ngx_memcpy(v->key, key, 32);
        ngx_queue_init(&v->seers);

        v->timer.handler = ngx_mdvr_visible_ask;
        v->timer.data = v;
        v->timer.log = ngx_cycle->log;
        v->timer.cancelable = 1;

        v->sn.str.data = v->key;
        v->sn.str.len = 32;
        v->sn.node.key = hash;
        ngx_rbtree_insert(&ngx_mdvr_visibles, &v->sn.node);

        ngx_add_timer(&v->timer, 1);

        if (!ngx_mdvr_visible_timer.timer_set) {
            ngx_add_timer(&ngx_mdvr_visible_timer, NGX_MDVR_VISIBLE_EVERY);
        }
    }

    client->visible = v;
    ngx_queue_insert_tail(&v->seers, &client->seers);

    return NGX_OK;
}


void
ngx_mdvr_visible_leave(ngx_mdvr_client_t *client)
{
    ngx_mdvr_visible_t  *v;

    v = client->visible;

    if (v == NULL) {
        return;
    }

    client->visible = NULL;
    ngx_queue_remove(&client->seers);

    if (ngx_queue_empty(&v->seers) && !v->busy) {
        ngx_mdvr_visible_free(v);
    }
}


static void
ngx_mdvr_visible_free(ngx_mdvr_visible_t *v)
{
    if (v->timer.timer_set) {
        ngx_del_timer(&v->timer);
    }

    if (v->set.ids) {
        ngx_free(v->set.ids);
    }

    ngx_rbtree_delete(&ngx_mdvr_visibles, &v->sn.node);
    ngx_destroy_pool(v->pool);
}


static void
ngx_mdvr_visible_ask(ngx_event_t *ev)
{
    ngx_queue_t         *q;
    ngx_mdvr_client_t   *client;
    ngx_mdvr_visible_t  *v;
    ngx_mdvr_pg_call_t   call;

    v = ev->data;

    q = ngx_queue_head(&v->seers);
    client = ngx_queue_data(q, ngx_mdvr_client_t, seers);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

    ngx_mdvr_client_scope(client, &call);
    call.sql = "select device_id, digest from mdvr.visible_now()";
    call.retry = 1;

    if (ngx_mdvr_pg_query(v->pool, &call, NGX_MDVR_VISIBLE_TIMEOUT,
                          ngx_mdvr_visible_rows, v)
        != NGX_OK)
    {
        ngx_add_timer(ev, NGX_MDVR_VISIBLE_RETRY);
    }
}


static void
ngx_mdvr_visible_rows(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_mdvr_visible_t *v = data;

    ngx_uint_t           i, n, was;
    ngx_str_t            digest;
    ngx_queue_t         *q, *next;
    ngx_mdvr_set_t       set;

    static ngx_str_t     none = ngx_string("0:0");

    if (rc != MDVR_OK) {
        ngx_add_timer(&v->timer, NGX_MDVR_VISIBLE_RETRY);
        return;
    }

    n = ngx_mdvr_pg_nrows(rows);

    set.n = 0;
    set.ids = NULL;

    if (n) {
        set.ids = ngx_alloc(n * sizeof(ngx_mdvr_uuid_t), ngx_cycle->log);
        if (set.ids == NULL) {
            ngx_add_timer(&v->timer, NGX_MDVR_VISIBLE_RETRY);
            return;
        }
    }

    for (i = 0; i < n; i++) {
        if (ngx_mdvr_pg_uuid(rows, i, 0, &set.ids[set.n]) == NGX_OK) {
            set.n++;
        }
    }

    if (v->set.ids) {
        ngx_free(v->set.ids);
    }

    v->set = set;
    v->number = 0;

    digest = n ? ngx_mdvr_pg_value(rows, 0, 1) : none;
    v->digest_len = ngx_min(digest.len, NGX_MDVR_VISIBLE_DIGEST);
    ngx_memcpy(v->digest, digest.data, v->digest_len);

    was = v->ready;
    v->ready = 1;

    if (was) {
        return;
    }

    v->busy = 1;

    for (q = ngx_queue_head(&v->seers);
         q != ngx_queue_sentinel(&v->seers);
         q = next)
    {
        next = ngx_queue_next(q);
        ngx_mdvr_client_ready(ngx_queue_data(q, ngx_mdvr_client_t, seers));
    }

    v->busy = 0;

    if (ngx_queue_empty(&v->seers)) {
        ngx_mdvr_visible_free(v);
    }
}


/* -- has anything changed? ----------------------------------------------- */

static void
ngx_mdvr_visible_tick(ngx_event_t *ev)
{
    if (ngx_mdvr_visibles.root == ngx_mdvr_visibles.sentinel) {
        return;
    }

    ngx_add_timer(ev, NGX_MDVR_VISIBLE_EVERY);

    if (ngx_mdvr_visible_asked == 0) {
        ngx_mdvr_visible_round++;
        ngx_mdvr_visible_look();
    }
}


/* Appends an element to the text of an array. */

static u_char *
ngx_mdvr_visible_element(u_char *p, const u_char *array, const u_char *id)
{
    ngx_mdvr_uuid_t  uuid;

    *p = (p == array) ? '{' : ',';

    ngx_memcpy(uuid.b, id, 16);

    return ngx_mdvr_uuid_print(p + 1, &uuid);
}


/* Asks about those whom this round has not been about, a batch of them. */

static void
ngx_mdvr_visible_look(void)
{
    u_char               *tenants, *users, *t, *u;
    ngx_str_t             text[2];
    ngx_uint_t            n;
    ngx_rbtree_node_t    *node;
    ngx_mdvr_visible_t   *v;
    ngx_mdvr_pg_call_t    call;
    ngx_mdvr_pg_param_t   params[2];

    if (ngx_mdvr_visibles.root == ngx_mdvr_visibles.sentinel) {
        return;
    }

    tenants = ngx_alloc(2 * NGX_MDVR_VISIBLE_BATCH * (NGX_MDVR_UUID_LEN + 1)
                        + 2, ngx_cycle->log);
    if (tenants == NULL) {
        return;
    }

    users = tenants + NGX_MDVR_VISIBLE_BATCH * (NGX_MDVR_UUID_LEN + 1) + 1;
    t = tenants;
    u = users;
    n = 0;

    for (node = ngx_rbtree_min(ngx_mdvr_visibles.root,
                               ngx_mdvr_visibles.sentinel);
         node && n < NGX_MDVR_VISIBLE_BATCH;
         node = ngx_rbtree_next(&ngx_mdvr_visibles, node))
    {
        v = (ngx_mdvr_visible_t *) node;

        if (v->round == ngx_mdvr_visible_round || !v->ready) {
            continue;
        }

        v->round = ngx_mdvr_visible_round;
        ngx_memcpy(ngx_mdvr_visible_keys[n++], v->key, 32);
        t = ngx_mdvr_visible_element(t, tenants, v->key);
        u = ngx_mdvr_visible_element(u, users, v->key + 16);
    }

    if (n) {
        *t++ = '}';
        *u++ = '}';

        text[0].data = tenants;
        text[0].len = t - tenants;
        text[1].data = users;
        text[1].len = u - users;

        params[0] = ngx_mdvr_pg_text(&text[0]);
        params[1] = ngx_mdvr_pg_text(&text[1]);

        ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

        call.role = NGX_MDVR_PG_API;
        call.sql = "select n, digest"
                   " from mdvr.visible_digests($1::uuid[], $2::uuid[])";
        call.params = params;
        call.nparams = 2;
        call.retry = 1;

        if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_VISIBLE_EVERY,
                              ngx_mdvr_visible_digests, NULL)
            == NGX_OK)
        {
            ngx_mdvr_visible_asked = n;
        }
    }

    ngx_free(tenants);
}


static void
ngx_mdvr_visible_digests(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    int64_t              at;
    ngx_str_t            key, digest;
    ngx_uint_t           i, asked;
    ngx_mdvr_visible_t  *v;

    asked = ngx_mdvr_visible_asked;
    ngx_mdvr_visible_asked = 0;

    if (rc != MDVR_OK) {
        return;                         /* the next tick asks again */
    }

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {

        if (ngx_mdvr_pg_int(rows, i, 0, &at) != NGX_OK
            || at < 1 || at > (int64_t) asked)
        {
            continue;
        }

        key.data = ngx_mdvr_visible_keys[at - 1];
        key.len = 32;

        v = (ngx_mdvr_visible_t *) ngx_str_rbtree_lookup(&ngx_mdvr_visibles,
                                                         &key,
                                       ngx_crc32_short(key.data, key.len));

        digest = ngx_mdvr_pg_value(rows, i, 1);

        if (v && !v->timer.timer_set
            && (digest.len != v->digest_len
                || ngx_memcmp(digest.data, v->digest, digest.len) != 0))
        {
            ngx_add_timer(&v->timer, 1);
        }
    }

    if (asked == NGX_MDVR_VISIBLE_BATCH) {
        ngx_mdvr_visible_look();        /* there may be more of them */
    }
}
