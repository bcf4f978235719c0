/* AWS Signature Version 4. */

#include <string.h>
#include <time.h>

#include "mdvr/web/sigv4.h"

#define MDVR_SIGV4_CANONICAL  6144

/* what belongs to a request for the length of a call */
typedef struct {
    char        stamp[MDVR_SIGV4_TIME];
    uint8_t     scope_buf[160];         /* date/region/service/aws4_request */
    uint8_t     names_buf[640];
    mdvr_str_t  scope;
    mdvr_str_t  names;                  /* of signed headers, with ';' */
} mdvr_sigv4_work_t;


void
mdvr_sigv4_encode(mdvr_buf_t *b, mdvr_str_t s, bool path)
{
    size_t   i;
    uint8_t  c;

    for (i = 0; i < s.len; i++) {
        c = s.p[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'
            || c == '~' || (path && c == '/'))
        {
            mdvr_buf_chr(b, c);

        } else {
            mdvr_buf_chr(b, '%');
            mdvr_buf_hex(b, c, 2, true);
        }
    }
}


void
mdvr_sigv4_time(mdvr_buf_t *b, int64_t time)
{
    time_t     t;
    struct tm  tm;

    t = (time_t) time;
    gmtime_r(&t, &tm);

    mdvr_buf_u64w(b, (uint64_t) tm.tm_year + 1900, 4);
    mdvr_buf_u64w(b, (uint64_t) tm.tm_mon + 1, 2);
    mdvr_buf_u64w(b, (uint64_t) tm.tm_mday, 2);
    mdvr_buf_chr(b, 'T');
    mdvr_buf_u64w(b, (uint64_t) tm.tm_hour, 2);
    mdvr_buf_u64w(b, (uint64_t) tm.tm_min, 2);
    mdvr_buf_u64w(b, (uint64_t) tm.tm_sec, 2);
    mdvr_buf_chr(b, 'Z');
}


static int
mdvr_sigv4_cmp(mdvr_str_t a, mdvr_str_t b)
{
    int     rc;
    size_t  n;

    n = a.len < b.len ? a.len : b.len;
    rc = n ? memcmp(a.p, b.p, n) : 0;

    return rc ? rc : (a.len > b.len) - (a.len < b.len);
}


/* Sorted by name, then by value.  No name or value of ours is encoded into
 * something that would sort differently: names are letters, digits, '-'. */

static void
mdvr_sigv4_sort(const mdvr_sigv4_pair_t **list, const mdvr_sigv4_pair_t *from,
    unsigned n)
{
    int                       rc;
    unsigned                  i, j;
    const mdvr_sigv4_pair_t  *p;

    for (i = 0; i < n; i++) {
        p = &from[i];

        for (j = i; j > 0; j--) {
            rc = mdvr_sigv4_cmp(list[j - 1]->name, p->name);

            if (rc < 0 || (rc == 0
                && mdvr_sigv4_cmp(list[j - 1]->value, p->value) <= 0))
            {
                break;
            }

            list[j] = list[j - 1];
        }

        list[j] = p;
    }
}


void
mdvr_sigv4_query(mdvr_buf_t *b, const mdvr_sigv4_pair_t *query, unsigned n)
{
    unsigned                  i;
    const mdvr_sigv4_pair_t  *list[MDVR_SIGV4_PAIRS + 6];

    if (n > MDVR_SIGV4_PAIRS + 6) {
        b->full = true;
        return;
    }

    mdvr_sigv4_sort(list, query, n);

    for (i = 0; i < n; i++) {
        if (i) {
            mdvr_buf_chr(b, '&');
        }

        mdvr_sigv4_encode(b, list[i]->name, false);
        mdvr_buf_chr(b, '=');
        mdvr_sigv4_encode(b, list[i]->value, false);
    }
}


/* Inner spaces become one, as the reference wants it. */

static void
mdvr_sigv4_value(mdvr_buf_t *b, mdvr_str_t v)
{
    size_t  i;

    v = mdvr_str_trim(v);

    for (i = 0; i < v.len; i++) {
        if (v.p[i] != ' ' || v.p[i - 1] != ' ') {
            mdvr_buf_chr(b, v.p[i]);
        }
    }
}


static mdvr_rc_t
mdvr_sigv4_begin(mdvr_sigv4_work_t *w, const mdvr_sigv4_t *s,
    const mdvr_sigv4_request_t *r)
{
    unsigned                  i;
    mdvr_buf_t                b;
    const mdvr_sigv4_pair_t  *list[MDVR_SIGV4_PAIRS];

    if (r->nheaders > MDVR_SIGV4_PAIRS || r->nquery > MDVR_SIGV4_PAIRS) {
        return MDVR_E_LIMIT;
    }

    b = mdvr_buf(w->stamp, sizeof(w->stamp));
    mdvr_sigv4_time(&b, r->time);

    b = mdvr_buf(w->scope_buf, sizeof(w->scope_buf));
    mdvr_buf_add(&b, w->stamp, 8);
    mdvr_buf_chr(&b, '/');
    mdvr_buf_str(&b, s->region);
    mdvr_buf_chr(&b, '/');
    mdvr_buf_str(&b, s->service);
    mdvr_buf_cstr(&b, "/aws4_request");
    w->scope = mdvr_buf_view(&b);

    if (b.full) {
        return MDVR_E_LIMIT;
    }

    mdvr_sigv4_sort(list, r->headers, r->nheaders);
    b = mdvr_buf(w->names_buf, sizeof(w->names_buf));

    for (i = 0; i < r->nheaders; i++) {
        if (i) {
            mdvr_buf_chr(&b, ';');
        }

        mdvr_buf_str(&b, list[i]->name);
    }

    w->names = mdvr_buf_view(&b);

    return b.full ? MDVR_E_LIMIT : MDVR_OK;
}


/* The signature over a request whose query is `query`, in hex to `out`. */

static mdvr_rc_t
mdvr_sigv4_sign(mdvr_sigv4_work_t *w, const mdvr_sigv4_t *s,
    const mdvr_sigv4_request_t *r, const mdvr_sigv4_pair_t *query,
    unsigned nquery, mdvr_buf_t *out)
{
    uint8_t                   text[MDVR_SIGV4_CANONICAL], md[32], key[32],
                              secret[4 + 128];
    unsigned                  i;
    mdvr_buf_t                b;
    const mdvr_sigv4_pair_t  *list[MDVR_SIGV4_PAIRS];

    b = mdvr_buf(text, sizeof(text));
    mdvr_buf_str(&b, r->method);
    mdvr_buf_chr(&b, '\n');
    mdvr_buf_str(&b, r->path);
    mdvr_buf_chr(&b, '\n');
    mdvr_sigv4_query(&b, query, nquery);
    mdvr_buf_chr(&b, '\n');

    mdvr_sigv4_sort(list, r->headers, r->nheaders);

    for (i = 0; i < r->nheaders; i++) {
        mdvr_buf_str(&b, list[i]->name);
        mdvr_buf_chr(&b, ':');
        mdvr_sigv4_value(&b, list[i]->value);
        mdvr_buf_chr(&b, '\n');
    }

    mdvr_buf_chr(&b, '\n');
    mdvr_buf_str(&b, w->names);
    mdvr_buf_chr(&b, '\n');
    mdvr_buf_str(&b, r->payload);

    if (b.full || s->secret_key.len > 128) {
        return MDVR_E_LIMIT;
    }

    if (!s->sha256(b.p, b.len, md)) {
        return MDVR_E_NO_MEMORY;
    }

    b = mdvr_buf(text, sizeof(text));
    mdvr_buf_cstr(&b, "AWS4-HMAC-SHA256\n");
    mdvr_buf_add(&b, w->stamp, sizeof(w->stamp));
    mdvr_buf_chr(&b, '\n');
    mdvr_buf_str(&b, w->scope);
    mdvr_buf_chr(&b, '\n');
    mdvr_buf_hexs(&b, mdvr_str(md, sizeof(md)));

    memcpy(secret, "AWS4", 4);
    memcpy(secret + 4, s->secret_key.p, s->secret_key.len);

    if (!s->hmac(secret, 4 + s->secret_key.len, w->stamp, 8, key)
        || !s->hmac(key, 32, s->region.p, s->region.len, md)
        || !s->hmac(md, 32, s->service.p, s->service.len, key)
        || !s->hmac(key, 32, "aws4_request", 12, md)
        || !s->hmac(md, 32, b.p, b.len, key))
    {
        return MDVR_E_NO_MEMORY;
    }

    mdvr_buf_hexs(out, mdvr_str(key, sizeof(key)));

    return out->full ? MDVR_E_LIMIT : MDVR_OK;
}


mdvr_rc_t
mdvr_sigv4_authorization(const mdvr_sigv4_t *s,
    const mdvr_sigv4_request_t *r, mdvr_buf_t *out)
{
    mdvr_rc_t          rc;
    mdvr_sigv4_work_t  w;

    rc = mdvr_sigv4_begin(&w, s, r);
    if (rc != MDVR_OK) {
        return rc;
    }

    mdvr_buf_cstr(out, "AWS4-HMAC-SHA256 Credential=");
    mdvr_buf_str(out, s->access_key);
    mdvr_buf_chr(out, '/');
    mdvr_buf_str(out, w.scope);
    mdvr_buf_cstr(out, ",SignedHeaders=");
    mdvr_buf_str(out, w.names);
    mdvr_buf_cstr(out, ",Signature=");

    return mdvr_sigv4_sign(&w, s, r, r->query, r->nquery, out);
}


mdvr_rc_t
mdvr_sigv4_presign(const mdvr_sigv4_t *s, const mdvr_sigv4_request_t *r,
    unsigned expires_s, mdvr_buf_t *out)
{
    uint8_t             credential[300], expires[12];
    unsigned            n;
    mdvr_rc_t           rc;
    mdvr_buf_t          b, e;
    mdvr_sigv4_work_t   w;
    mdvr_sigv4_pair_t   query[MDVR_SIGV4_PAIRS + 5];

    rc = mdvr_sigv4_begin(&w, s, r);
    if (rc != MDVR_OK) {
        return rc;
    }

    if (expires_s == 0 || expires_s > MDVR_SIGV4_EXPIRES) {
        return MDVR_E_LIMIT;
    }

    b = mdvr_buf(credential, sizeof(credential));
    mdvr_buf_str(&b, s->access_key);
    mdvr_buf_chr(&b, '/');
    mdvr_buf_str(&b, w.scope);

    e = mdvr_buf(expires, sizeof(expires));
    mdvr_buf_u64(&e, expires_s);

    if (b.full) {
        return MDVR_E_LIMIT;
    }

    n = r->nquery;
    if (n) {
        memcpy(query, r->query, n * sizeof(query[0]));
    }

    query[n++] = (mdvr_sigv4_pair_t) { MDVR_STR("X-Amz-Algorithm"),
                                       MDVR_STR("AWS4-HMAC-SHA256") };
    query[n++] = (mdvr_sigv4_pair_t) { MDVR_STR("X-Amz-Credential"),
                                       mdvr_buf_view(&b) };
    query[n++] = (mdvr_sigv4_pair_t) { MDVR_STR("X-Amz-Date"),
                                       mdvr_str(w.stamp, sizeof(w.stamp)) };
    query[n++] = (mdvr_sigv4_pair_t) { MDVR_STR("X-Amz-Expires"),
                                       mdvr_buf_view(&e) };
    query[n++] = (mdvr_sigv4_pair_t) { MDVR_STR("X-Amz-SignedHeaders"),
                                       w.names };

    mdvr_sigv4_query(out, query, n);
    mdvr_buf_cstr(out, "&X-Amz-Signature=");

    return mdvr_sigv4_sign(&w, s, r, query, n, out);
}
