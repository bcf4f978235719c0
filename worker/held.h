/*
 * Spans that wait for the collector, by service, in blocks: a request to the
 * collector takes the oldest block of each service, so it is never large,
 * however much has gathered while the collector was away.
 */

#ifndef MDVR_WORKER_HELD_H
#define MDVR_WORKER_HELD_H

#include <stdbool.h>
#include <stddef.h>

#define WK_HELD_SERVICES  4
#define WK_HELD_BLOCK     (256 << 10)   /* bytes of spans in a block */
#define WK_HELD_SPANS     512           /* and spans */
#define WK_HELD_BLOCKS    64            /* of all services: 16 MiB */

typedef struct wk_block_s  wk_block_t;

struct wk_block_s {
    wk_block_t  *next;
    unsigned     n;
    bool         taken;                 /* nothing is added any more */
    size_t       len;
    char         text[WK_HELD_BLOCK];   /* spans, a comma between two */
};

typedef struct {
    char         name[32];
    wk_block_t  *first;                 /* oldest; NULL: nothing waits */
    wk_block_t  *last;
} wk_held_service_t;

typedef struct {
    wk_held_service_t  services[WK_HELD_SERVICES];
    unsigned           nservices;
    unsigned           nblocks;
} wk_held_t;

/* Copies a span; false: no room for it, or one service too many. */
bool wk_held_add(wk_held_t *h, const char *service, size_t service_len,
    const char *span, size_t len);

/* Whether anything waits; whether a block is full. */
bool wk_held_any(const wk_held_t *h);
bool wk_held_full(const wk_held_t *h);

/*
 * Marks the oldest block of each service, which stay where they are until
 * wk_held_drop(): that is how many spans they had.
 */
void wk_held_take(wk_held_t *h);
unsigned wk_held_drop(wk_held_t *h);

#endif /* MDVR_WORKER_HELD_H */
