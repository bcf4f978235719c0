/*
 * A stored movie as HLS: one playlist and one fragmented MP4 file whose
 * segments it names by their byte ranges.  Nothing is encoded again.
 */

#ifndef MDVR_WORKER_HLS_H
#define MDVR_WORKER_HLS_H

#include <stddef.h>

#include "mdvr/basics/rc.h"

/*
 * Makes `playlist` and, beside it, `media.mp4` from a movie that plays.  Their
 * directory must exist.  MDVR_E_* with `error` saying why.
 */
mdvr_rc_t wk_hls_make(const char *movie, const char *playlist, char *error,
    size_t size);

#endif /* MDVR_WORKER_HLS_H */
