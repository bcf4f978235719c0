/* Frames as JPEG files (worker/picture.c), for who has decoded them. */

#ifndef MDVR_WORKER_PICTURE_H
#define MDVR_WORKER_PICTURE_H

#include <libavutil/frame.h>

#include "mdvr/basics/rc.h"

/*
 * Writes a frame as a JPEG of at most `width` pixels, never larger than it
 * is.  MDVR_E_CODEC: it cannot be encoded; MDVR_E_UNAVAILABLE: `out` cannot
 * be written; `error` (of `size` bytes) says so.
 */
mdvr_rc_t wk_picture_write(AVFrame *frame, const char *out, unsigned width,
    char *error, size_t size);

#endif /* MDVR_WORKER_PICTURE_H */
