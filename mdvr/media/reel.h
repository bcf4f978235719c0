/*
 * A reel: the part of a recording that a device is sending for playback, in a
 * file between the process that receives it (the media front) and the one that
 * plays it (worker/playback.c) on the same machine.
 *
 *   0     mdvr_reel_head_t, in the machine's byte order
 *   4096  the bytes of the recording from `base` on
 *
 * The receiver writes the data first and `safe` after it.  The player makes
 * holes where it has read (fallocate), so that what the file occupies is what
 * is ahead of it; the receiver stops reading from the device above
 * MDVR_REEL_WINDOW.
 */

#ifndef MDVR_MEDIA_REEL_H
#define MDVR_MEDIA_REEL_H

#include <stdint.h>

#define MDVR_REEL_MAGIC   UINT64_C(0x314c45455244564d)     /* "MVDREEL1" */
#define MDVR_REEL_DATA    4096
#define MDVR_REEL_WINDOW  (8u << 20)

typedef enum {
    MDVR_REEL_WAITING = 0,      /* the device was asked */
    MDVR_REEL_OPEN,             /* its first block has come */
    MDVR_REEL_COMPLETE,         /* and its last */
    MDVR_REEL_BROKEN            /* nothing more comes, but not all is here */
} mdvr_reel_state_e;

typedef struct {
    uint64_t    magic;
    uint32_t    state;          /* mdvr_reel_state_e */
    uint32_t    reserved;
    uint64_t    base;           /* offset in the recording of the first byte */
    uint64_t    end;            /* of the recording, 0: not known */
    uint64_t    safe;           /* bytes here, without a gap */
} mdvr_reel_head_t;

#endif /* MDVR_MEDIA_REEL_H */
