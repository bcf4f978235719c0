/*
 * The times of the pictures of a device's file: from the file, from the announced
 * duration, from 25 pictures a second; pictures that are stored in another order
 * than they are shown (B-frames) get theirs from the picture order count.
 */

#ifndef MDVR_WORKER_TIMELINE_H
#define MDVR_WORKER_TIMELINE_H

#include "mdvr/basics/rc.h"
#include "worker/source.h"

typedef struct {
    int64_t  dts_us;            /* never later than pts_us */
    int64_t  pts_us;
    int      poc;               /* picture order count */
    bool     key;
} wk_tick_t;

/*
 * Reads a source once, from its beginning: a tick for each picture, in the order
 * of the file.  `announced_s` is a duration or 0; *ticks, NULL before, is the
 * caller's to free, also after a failure.  MDVR_E_CODEC: there is no picture;
 * MDVR_E_NO_MEMORY; *why then says so.
 */
mdvr_rc_t wk_timeline(wk_source_t *s, unsigned announced_s, wk_tick_t **ticks,
    unsigned *count, double *duration_s, const char **why);

#endif /* MDVR_WORKER_TIMELINE_H */
