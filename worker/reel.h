/*
 * A recording that is read while the device sends it: a window of bytes over a
 * reel (mdvr/media/reel.h), frames of it with their position in the recording,
 * and the way to another position.
 *
 * A position comes from the stamps in the recording where it has some, otherwise
 * from the ratio of bytes to its length in time, and steps of one frame.
 */

#ifndef MDVR_WORKER_REEL_H
#define MDVR_WORKER_REEL_H

#include <limits.h>

#include "mdvr/media/reel.h"
#include "worker/source.h"

typedef struct {
    char               dir[PATH_MAX - 96];
    char               session[72];     /* names the files */
    double             duration_s;      /* of the recording, 0 not known */

    unsigned           wish;            /* number of the newest range */
    uint64_t           wish_at;         /* where that begins */
    bool               asked;           /* the caller has sent the wish */
    int                fd;              /* -1: not there yet */
    mdvr_reel_head_t   head;

    uint64_t           at;              /* offset of win[0] in the recording */
    uint8_t           *win;
    size_t             len, cap;
    uint64_t           holes;           /* bytes of the reel given back */

    bool               known;           /* form and codec */
    wk_source_t        src;
    uint64_t           size;            /* of the recording, 0 not known */
    int64_t            first_raw_us;    /* stamp of position 0; -1 */
    int64_t            last_raw_us;
    int64_t            pos_us;          /* of the last picture; -1: jumped */
    int64_t            step_us;         /* of a frame without a stamp */

    double             later_s;         /* position wanted before it was known */

    bool               seeking;
    int64_t            target_us;
    int64_t            key_us;          /* newest key frame before it, -1 */
    size_t             key_at;          /* in the window */
    unsigned           tries;
} wk_reel_t;

typedef enum {
    WK_REEL_FRAME = 0,
    WK_REEL_WAIT,                       /* for bytes */
    WK_REEL_WISH,                       /* for a range: wish, wish_at */
    WK_REEL_BROKEN,                     /* the device broke off: resume() */
    WK_REEL_END,
    WK_REEL_UNKNOWN                     /* nothing that could be played */
} wk_reel_e;

/* False: no memory. */
bool wk_reel_open(wk_reel_t *r, const char *dir, const char *session,
    double duration_s);
void wk_reel_close(wk_reel_t *r);

/* The next frame and its position; the frame is valid until the next call. */
wk_reel_e wk_reel_next(wk_reel_t *r, wk_frame_t *frame, int64_t *pos_us);

/*
 * Another position: the newest key frame before it.  The range is refined when
 * the bytes show that it was guessed wrong.  False: neither length is known.
 */
bool wk_reel_seek(wk_reel_t *r, double position_s);

/* Asks for the rest after BROKEN. */
void wk_reel_resume(wk_reel_t *r);

#endif /* MDVR_WORKER_REEL_H */
