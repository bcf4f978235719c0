/*
 * The timeline of a movie in one JPEG: small pictures in rows, so that a
 * player can show what is where before it has loaded anything of it.
 *
 * Picture n (from 0, left to right, then down) is the last key frame at or
 * before n * every_s seconds.
 */

#ifndef MDVR_WORKER_SPRITE_H
#define MDVR_WORKER_SPRITE_H

#include <stddef.h>

#include "mdvr/basics/rc.h"

typedef struct {
    unsigned  columns, rows;
    unsigned  width, height;            /* of one picture, pixels */
    double    every_s;
    unsigned  count;                    /* of pictures */
} wk_sprite_t;

/* Makes `out` from an MP4.  Results as wk_picture_write(). */
mdvr_rc_t wk_sprite_make(const char *movie, const char *out,
    wk_sprite_t *sprite, char *error, size_t size);

#endif /* MDVR_WORKER_SPRITE_H */
