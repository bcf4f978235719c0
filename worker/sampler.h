/*
 * A few pictures of a movie, or the one of a JPEG, small enough to look at.
 *
 * The plan bounds the cost: at most `max` pictures, at least half a second
 * apart, at most WK_SAMPLE_WIDTH wide.  Movies of up to a minute are decoded
 * as a whole; of longer ones only the key frames at or before the wanted
 * times are.
 */

#ifndef MDVR_WORKER_SAMPLER_H
#define MDVR_WORKER_SAMPLER_H

#include "worker/worker.h"

#define WK_SAMPLE_WIDTH  640

typedef struct {
    double    at_s;             /* since the beginning */
    uint8_t  *bgr;              /* 3 bytes a pixel */
    uint8_t  *grey;
    bool      unfit;            /* black, covered, blurred: nothing to see */
} wk_sample_t;

typedef struct {
    int           w, h;         /* of all of them */
    unsigned      n;
    double        duration_s;   /* 0: one picture */
    wk_sample_t  *list;
} wk_samples_t;

/* False after telling why; frees nothing that the caller has to free. */
bool wk_samples_read(wk_samples_t *s, const char *file, unsigned max,
    char *error, size_t size);
void wk_samples_free(wk_samples_t *s);

/* A sample as a JPEG file. */
bool wk_sample_write(const wk_samples_t *s, unsigned i, const char *file);

#endif /* MDVR_WORKER_SAMPLER_H */
