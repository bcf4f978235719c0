/* Spans that wait for the collector: see held.h. */

#include <stdlib.h>
#include <string.h>

#include "worker/held.h"


static wk_held_service_t *
wk_held_service(wk_held_t *h, const char *name, size_t len)
{
    unsigned            i;
    wk_held_service_t  *s;

    for (i = 0; i < h->nservices; i++) {
        s = &h->services[i];

        if (strlen(s->name) == len && memcmp(s->name, name, len) == 0) {
            return s;
        }
    }

    if (h->nservices == WK_HELD_SERVICES || len == 0 || len >= sizeof(s->name))
    {
        return NULL;
    }

    s = &h->services[h->nservices++];
    memcpy(s->name, name, len);

    return s;
}


static wk_block_t *
wk_held_block(wk_held_t *h, wk_held_service_t *s, size_t len)
{
    wk_block_t  *b = s->last;

    if (b && !b->taken && b->n < WK_HELD_SPANS
        && b->len + len + 1 <= WK_HELD_BLOCK)
    {
        return b;
    }

    if (h->nblocks == WK_HELD_BLOCKS) {
        return NULL;
    }

    b = malloc(sizeof(*b));

    if (b == NULL) {
        return NULL;
    }

    b->next = NULL;
    b->n = 0;
    b->taken = false;
    b->len = 0;
    h->nblocks++;

    if (s->last) {
        s->last->next = b;

    } else {
        s->first = b;
    }

    s->last = b;

    return b;
}


bool
wk_held_add(wk_held_t *h, const char *service, size_t service_len,
    const char *span, size_t len)
{
    wk_block_t         *b;
    wk_held_service_t  *s;

    if (len == 0 || len >= WK_HELD_BLOCK) {
        return false;
    }

    s = wk_held_service(h, service, service_len);
    b = s ? wk_held_block(h, s, len) : NULL;

    if (b == NULL) {
        return false;
    }

    if (b->n) {
        b->text[b->len++] = ',';
    }

    memcpy(b->text + b->len, span, len);
    b->len += len;
    b->n++;

    return true;
}


bool
wk_held_any(const wk_held_t *h)
{
    return h->nblocks > 0;
}


bool
wk_held_full(const wk_held_t *h)
{
    unsigned           i;
    const wk_block_t  *b;

    for (i = 0; i < h->nservices; i++) {
        b = h->services[i].first;

        if (b && (b->next || b->n == WK_HELD_SPANS)) {
            return true;
        }
    }

    return false;
}


void
wk_held_take(wk_held_t *h)
{
    unsigned  i;

    for (i = 0; i < h->nservices; i++) {
        if (h->services[i].first) {
            h->services[i].first->taken = true;
        }
    }
}


unsigned
wk_held_drop(wk_held_t *h)
{
    unsigned            i, n;
    wk_block_t         *b;
    wk_held_service_t  *s;

    for (i = 0, n = 0; i < h->nservices; i++) {
        s = &h->services[i];
        b = s->first;

        if (b == NULL || !b->taken) {
            continue;
        }

        n += b->n;
        s->first = b->next;

        if (s->first == NULL) {
            s->last = NULL;
        }

        free(b);
        h->nblocks--;
    }

    return n;
}
