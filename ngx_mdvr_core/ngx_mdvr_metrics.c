/*
 * Numbers of a node: arrays per slot in the zone, made when a slot is first
 * taken and kept, so that counters never go back; label texts in tables that
 * all workers share.  Only a new label takes the zone's mutex.
 */

#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_zone.h"

#include <stdarg.h>


#define NGX_MDVR_LABEL_MAX    31
#define NGX_MDVR_ROWS         128       /* per keyed counter; the last: other */
#define NGX_MDVR_ROUTE_TEXT   63
#define NGX_MDVR_ROUTES       160       /* the last: other */
#define NGX_MDVR_CACHE        1024      /* per process, a power of two */


static const ngx_uint_t  ngx_mdvr_statuses[] = {
    101, 200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405,
    406, 409, 410, 411, 412, 413, 414, 415, 416, 422, 426, 428, 429, 431,
    494, 499, 500, 501, 502, 503, 504, 0
};

#define NGX_MDVR_STATUSES                                                     \
    (sizeof(ngx_mdvr_statuses) / sizeof(ngx_mdvr_statuses[0]))


/* upper ends in milliseconds; one more bucket has none */

static const ngx_msec_t  ngx_mdvr_buckets[] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000
};

#define NGX_MDVR_BUCKETS                                                      \
    (sizeof(ngx_mdvr_buckets) / sizeof(ngx_mdvr_buckets[0]) + 1)


typedef struct {
    int64_t                   bucket[NGX_MDVR_BUCKETS];
    int64_t                   sum_ms;
} ngx_mdvr_hist_t;


typedef struct {
    int64_t                   value[NGX_MDVR_M_COUNT];
    int64_t                   keyed[NGX_MDVR_K_COUNT][NGX_MDVR_ROWS];
    ngx_mdvr_hist_t           hist[NGX_MDVR_H_COUNT];
    int64_t                   http[NGX_MDVR_ROUTES][NGX_MDVR_STATUSES];
    ngx_mdvr_hist_t           route_hist[NGX_MDVR_ROUTES];
} ngx_mdvr_numbers_t;


/* `n` grows after the text is in place: readers need no mutex */

typedef struct {
    ngx_atomic_t              n;
    u_char                    text[NGX_MDVR_ROWS][NGX_MDVR_LABEL_MAX + 1];
} ngx_mdvr_labels_t;


typedef struct {
    ngx_mdvr_labels_t         labels[NGX_MDVR_K_COUNT];
    ngx_atomic_t              nroutes;
    u_char                    routes[NGX_MDVR_ROUTES][NGX_MDVR_ROUTE_TEXT + 1];
    ngx_mdvr_numbers_t       *slots[NGX_MDVR_SLOTS];
} ngx_mdvr_metrics_sh_t;


enum { metric_COUNTER, metric_GAUGE };

static const struct {
    ngx_uint_t    kind;
    const char   *name;
    const char   *help;
} ngx_mdvr_metrics_list[] = {
#define M(kind, name, help)  { metric_##kind, "mdvr_" #name, help },
    NGX_MDVR_METRICS(M)
#undef M
};

static const struct {
    const char   *name;
    const char   *label;
    const char   *help;
    const char   *values;
} ngx_mdvr_keyed_list[] = {
#define K(name, label, help, values)  { "mdvr_" #name, label, help, values },
    NGX_MDVR_METRICS_KEYED(K)
#undef K
};

static const struct {
    const char   *name;
    const char   *help;
} ngx_mdvr_hist_list[] = {
#define H(name, help)  { "mdvr_" #name, help },
    NGX_MDVR_METRICS_HISTOGRAM(H)
#undef H
};


/* what this process knows of the tables */

typedef struct {
    uint32_t                  hash;
    uint16_t                  table;         /* 0: empty; keyed + 1; routes */
    uint16_t                  row;
} ngx_mdvr_cached_t;


static ngx_mdvr_metrics_sh_t  *ngx_mdvr_metrics;
static ngx_mdvr_numbers_t     *ngx_mdvr_numbers;
static ngx_mdvr_cached_t       ngx_mdvr_cache[NGX_MDVR_CACHE];


size_t
ngx_mdvr_metrics_size(void)
{
    return sizeof(ngx_mdvr_metrics_sh_t);
}


static ngx_uint_t
ngx_mdvr_metrics_row(ngx_uint_t table, const ngx_str_t *value)
{
    u_char             *text;
    size_t              width;
    uint32_t            hash;
    ngx_uint_t          i, k, row, max;
    ngx_atomic_t       *n;
    ngx_mdvr_cached_t  *cached;

    if (table == NGX_MDVR_K_COUNT) {
        n = &ngx_mdvr_metrics->nroutes;
        text = ngx_mdvr_metrics->routes[0];
        width = NGX_MDVR_ROUTE_TEXT + 1;
        max = NGX_MDVR_ROUTES - 1;

    } else {
        n = &ngx_mdvr_metrics->labels[table].n;
        text = ngx_mdvr_metrics->labels[table].text[0];
        width = NGX_MDVR_LABEL_MAX + 1;
        max = NGX_MDVR_ROWS - 1;
    }

    if (value->len == 0 || value->len >= width) {
        return max;
    }

    hash = ngx_murmur_hash2(value->data, value->len) + table * 0x9e3779b9;

    for (i = 0; i < 8; i++) {
        cached = &ngx_mdvr_cache[(hash + i) % NGX_MDVR_CACHE];

        if (cached->table == 0) {
            break;
        }

        if (cached->hash == hash && cached->table == table + 1
            && ngx_strncmp(text + cached->row * width, value->data,
                           value->len) == 0
            && text[cached->row * width + value->len] == '\0')
        {
            return cached->row;
        }
    }

    for (k = 0; k < value->len; k++) {
        if (value->data[k] < 0x20 || value->data[k] >= 0x7f
            || value->data[k] == '"' || value->data[k] == '\\')
        {
            return max;
        }
    }

    ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex);

    for (row = 0; row < *n; row++) {
        if (ngx_strncmp(text + row * width, value->data, value->len) == 0
            && text[row * width + value->len] == '\0')
        {
            break;
        }
    }

    if (row == *n && row < max) {
        ngx_memcpy(text + row * width, value->data, value->len);
        text[row * width + value->len] = '\0';
        ngx_memory_barrier();
        (*n)++;
    }

    ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex);

    if (row >= max) {
        return max;
    }

    if (i < 8) {
        cached->hash = hash;
        cached->row = (uint16_t) row;
        cached->table = (uint16_t) (table + 1);
    }

    return row;
}


void
ngx_mdvr_metrics_attach(void *area, ngx_uint_t slot)
{
    ngx_str_t    value;
    ngx_uint_t   i;
    const char  *p, *end;

    ngx_mdvr_metrics = area;

    if (ngx_mdvr_metrics->slots[slot] == NULL) {
        ngx_mdvr_metrics->slots[slot] = ngx_slab_calloc(ngx_mdvr_zone->shpool,
                                                  sizeof(ngx_mdvr_numbers_t));
    }

    ngx_mdvr_numbers = ngx_mdvr_metrics->slots[slot];

    if (ngx_mdvr_numbers == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "\"mdvr_zone\" has no room for this worker's metrics");
        return;
    }

    for (i = 0; i < NGX_MDVR_M_COUNT; i++) {
        if (ngx_mdvr_metrics_list[i].kind == metric_GAUGE) {
            ngx_mdvr_numbers->value[i] = 0;
        }
    }

    for (i = 0; i < NGX_MDVR_K_COUNT; i++) {
        for (p = ngx_mdvr_keyed_list[i].values; *p; p = end) {

            for (end = p; *end && *end != ' '; end++) { /* void */ }

            value.data = (u_char *) p;
            value.len = end - p;

            (void) ngx_mdvr_metrics_row(i, &value);

            while (*end == ' ') {
                end++;
            }
        }
    }
}


void
ngx_mdvr_metric_add(ngx_mdvr_metric_e metric, int64_t n)
{
    if (ngx_mdvr_numbers) {
        ngx_mdvr_numbers->value[metric] += n;
    }
}


void
ngx_mdvr_metric_set(ngx_mdvr_metric_e metric, int64_t value)
{
    if (ngx_mdvr_numbers) {
        ngx_mdvr_numbers->value[metric] = value;
    }
}


void
ngx_mdvr_keyed_add(ngx_mdvr_keyed_e keyed, const ngx_str_t *value, int64_t n)
{
    if (ngx_mdvr_numbers) {
        ngx_mdvr_numbers->keyed[keyed][ngx_mdvr_metrics_row(keyed, value)]
            += n;
    }
}


static void
ngx_mdvr_hist_add(ngx_mdvr_hist_t *hist, ngx_msec_t ms)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MDVR_BUCKETS - 1; i++) {
        if (ms <= ngx_mdvr_buckets[i]) {
            break;
        }
    }

    hist->bucket[i]++;
    hist->sum_ms += ms;
}


void
ngx_mdvr_histogram_add(ngx_mdvr_histogram_e histogram, ngx_msec_t ms)
{
    if (ngx_mdvr_numbers) {
        ngx_mdvr_hist_add(&ngx_mdvr_numbers->hist[histogram], ms);
    }
}


void
ngx_mdvr_metric_http(const ngx_str_t *route, ngx_uint_t status, ngx_msec_t ms)
{
    ngx_uint_t  row, i;

    if (ngx_mdvr_numbers == NULL) {
        return;
    }

    row = ngx_mdvr_metrics_row(NGX_MDVR_K_COUNT, route);

    for (i = 0; i < NGX_MDVR_STATUSES - 1; i++) {
        if (ngx_mdvr_statuses[i] == status) {
            break;
        }
    }

    ngx_mdvr_numbers->http[row][i]++;
    ngx_mdvr_hist_add(&ngx_mdvr_numbers->route_hist[row], ms);
}


void
ngx_mdvr_metric_route(const ngx_str_t *route)
{
    if (ngx_mdvr_numbers) {
        (void) ngx_mdvr_metrics_row(NGX_MDVR_K_COUNT, route);
    }
}


/* -- output -------------------------------------------------------------- */

typedef struct {
    ngx_pool_t               *pool;
    ngx_str_t                 text;
    size_t                    size;
    ngx_uint_t                failed;
} ngx_mdvr_page_t;


static void
ngx_mdvr_page(ngx_mdvr_page_t *page, const char *fmt, ...)
{
    u_char   *p, line[512];
    size_t    len;
    va_list   args;

    va_start(args, fmt);
    len = ngx_vslprintf(line, line + sizeof(line), fmt, args) - line;
    va_end(args);

    if (page->failed) {
        return;
    }

    if (page->size - page->text.len < len) {
        p = ngx_palloc(page->pool, page->size * 2);
        if (p == NULL) {
            page->failed = 1;
            return;
        }

        ngx_memcpy(p, page->text.data, page->text.len);

        (void) ngx_pfree(page->pool, page->text.data);

        page->text.data = p;
        page->size *= 2;
    }

    ngx_memcpy(page->text.data + page->text.len, line, len);
    page->text.len += len;
}


#define ngx_mdvr_sum(total, member)                                           \
    do {                                                                      \
        ngx_uint_t  s_;                                                       \
                                                                              \
        total = 0;                                                            \
                                                                              \
        for (s_ = 0; s_ < NGX_MDVR_SLOTS; s_++) {                             \
            if (ngx_mdvr_metrics->slots[s_]) {                                \
                total += ngx_mdvr_metrics->slots[s_]->member;                 \
            }                                                                 \
        }                                                                     \
    } while (0)


static void
ngx_mdvr_page_head(ngx_mdvr_page_t *page, const char *name, const char *help,
    const char *type)
{
    ngx_mdvr_page(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                  type);
}


/* `labels` is empty or ends with a comma */

static void
ngx_mdvr_page_hist(ngx_mdvr_page_t *page, const char *name,
    const char *labels, const ngx_mdvr_hist_t *hist)
{
    size_t      len;
    int64_t     count;
    ngx_uint_t  i;

    count = 0;

    for (i = 0; i < NGX_MDVR_BUCKETS - 1; i++) {
        count += hist->bucket[i];

        ngx_mdvr_page(page, "%s_bucket{%sle=\"%M.%03M\"} %L\n", name, labels,
                      ngx_mdvr_buckets[i] / 1000, ngx_mdvr_buckets[i] % 1000,
                      count);
    }

    count += hist->bucket[i];

    ngx_mdvr_page(page, "%s_bucket{%sle=\"+Inf\"} %L\n", name, labels, count);

    len = ngx_strlen(labels);

    if (len) {
        ngx_mdvr_page(page, "%s_sum{%*s} %L.%03L\n%s_count{%*s} %L\n",
                      name, len - 1, labels, hist->sum_ms / 1000,
                      hist->sum_ms % 1000, name, len - 1, labels, count);
        return;
    }

    ngx_mdvr_page(page, "%s_sum %L.%03L\n%s_count %L\n", name,
                  hist->sum_ms / 1000, hist->sum_ms % 1000, name, count);
}


static void
ngx_mdvr_hist_sum(ngx_mdvr_hist_t *sum, size_t offset)
{
    ngx_uint_t        i, s;
    ngx_mdvr_hist_t  *hist;

    ngx_memzero(sum, sizeof(ngx_mdvr_hist_t));

    for (s = 0; s < NGX_MDVR_SLOTS; s++) {
        if (ngx_mdvr_metrics->slots[s] == NULL) {
            continue;
        }

        hist = (ngx_mdvr_hist_t *)
                   ((u_char *) ngx_mdvr_metrics->slots[s] + offset);

        for (i = 0; i < NGX_MDVR_BUCKETS; i++) {
            sum->bucket[i] += hist->bucket[i];
        }

        sum->sum_ms += hist->sum_ms;
    }
}


ngx_int_t
ngx_mdvr_metrics_text(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char             labels[NGX_MDVR_ROUTE_TEXT + 16];
    int64_t            total;
    ngx_uint_t         i, k, s, rows;
    const char        *word;
    ngx_mdvr_hist_t    hist;
    ngx_mdvr_page_t    page;

    if (ngx_mdvr_metrics == NULL) {
        return NGX_ERROR;
    }

    page.pool = pool;
    page.size = 65536;
    page.text.len = 0;
    page.failed = 0;
    page.text.data = ngx_palloc(pool, page.size);
    if (page.text.data == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_MDVR_M_COUNT; i++) {

        if (ngx_mdvr_metrics_list[i].kind == metric_COUNTER) {
            ngx_mdvr_sum(total, value[i]);

        } else {

            /* gauges of the living only */

            total = 0;

            for (s = 0; s < NGX_MDVR_SLOTS; s++) {
                if (ngx_mdvr_zone->sh->slots[s].pid
                    && ngx_mdvr_metrics->slots[s])
                {
                    total += ngx_mdvr_metrics->slots[s]->value[i];
                }
            }
        }

        word = ngx_mdvr_metrics_list[i].name;
        ngx_mdvr_page_head(&page, word, ngx_mdvr_metrics_list[i].help,
                           ngx_mdvr_metrics_list[i].kind == metric_COUNTER
                           ? "counter" : "gauge");
        ngx_mdvr_page(&page, "%s %L\n", word, total);
    }

    ngx_mdvr_page_head(&page, "mdvr_redis_up",
                       "Whether this worker's connections to Redis work",
                       "gauge");
    ngx_mdvr_page(&page, "mdvr_redis_up %ui\n", ngx_mdvr_redis_up());

    for (k = 0; k < NGX_MDVR_K_COUNT; k++) {
        ngx_mdvr_page_head(&page, ngx_mdvr_keyed_list[k].name,
                           ngx_mdvr_keyed_list[k].help, "counter");

        rows = ngx_mdvr_metrics->labels[k].n;

        for (i = 0; i <= rows; i++) {
            word = i < rows
                   ? (const char *) ngx_mdvr_metrics->labels[k].text[i]
                   : "other";

            s = i < rows ? i : NGX_MDVR_ROWS - 1;
            ngx_mdvr_sum(total, keyed[k][s]);

            ngx_mdvr_page(&page, "%s{%s=\"%s\"} %L\n",
                          ngx_mdvr_keyed_list[k].name,
                          ngx_mdvr_keyed_list[k].label, word, total);
        }
    }

    ngx_mdvr_page_head(&page, "mdvr_http_requests_total",
                       "HTTP requests by route and status", "counter");

    rows = ngx_mdvr_metrics->nroutes;

    for (i = 0; i <= rows; i++) {
        word = i < rows ? (const char *) ngx_mdvr_metrics->routes[i] : "other";
        s = i < rows ? i : NGX_MDVR_ROUTES - 1;

        for (k = 0; k < NGX_MDVR_STATUSES; k++) {
            ngx_mdvr_sum(total, http[s][k]);

            if (total || ngx_mdvr_statuses[k] == 200) {
                ngx_mdvr_page(&page, "mdvr_http_requests_total{route=\"%s\","
                              "status=\"%ui\"} %L\n", word,
                              ngx_mdvr_statuses[k], total);
            }
        }
    }

    ngx_mdvr_page_head(&page, "mdvr_http_request_seconds",
                       "Time to answer a request by route", "histogram");

    for (i = 0; i <= rows; i++) {
        word = i < rows ? (const char *) ngx_mdvr_metrics->routes[i] : "other";
        s = i < rows ? i : NGX_MDVR_ROUTES - 1;

        *ngx_snprintf(labels, sizeof(labels) - 1, "route=\"%s\",", word)
            = '\0';

        ngx_mdvr_hist_sum(&hist, offsetof(ngx_mdvr_numbers_t, route_hist)
                                 + s * sizeof(ngx_mdvr_hist_t));
        ngx_mdvr_page_hist(&page, "mdvr_http_request_seconds",
                           (char *) labels, &hist);
    }

    for (i = 0; i < NGX_MDVR_H_COUNT; i++) {
        ngx_mdvr_page_head(&page, ngx_mdvr_hist_list[i].name,
                           ngx_mdvr_hist_list[i].help, "histogram");

        ngx_mdvr_hist_sum(&hist, offsetof(ngx_mdvr_numbers_t, hist)
                                 + i * sizeof(ngx_mdvr_hist_t));
        ngx_mdvr_page_hist(&page, ngx_mdvr_hist_list[i].name, "", &hist);
    }

    *text = page.text;

    return page.failed ? NGX_ERROR : NGX_OK;
}
