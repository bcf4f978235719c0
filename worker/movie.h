/*
 * A playable MP4 from what a device recorded.
 *
 * H.264 is remuxed, everything else is encoded again (browsers play no H.265
 * in MP4).  Sound of a device codec becomes AAC.  Time comes, in this order,
 * from the file, from the announced duration, from 25 pictures a second;
 * pictures that are stored in another order than they are shown (B-frames)
 * get their times from the picture order count.
 */

#ifndef MDVR_WORKER_MOVIE_H
#define MDVR_WORKER_MOVIE_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

typedef struct {
    /* what is known before */
    unsigned     announced_s;       /* duration; 0: not known */
    unsigned     audio_type;        /* of the device; 0: no sound */

    /* what came out */
    double       duration_s;
    unsigned     width, height;
    unsigned     frames;
    bool         encoded;           /* not remuxed */
    bool         sound;
    const char  *form;              /* wk_form_name() */
    char         codec[40];         /* of the original: "avc1.64001F" */
    char         error[200];        /* why it failed */
} wk_movie_t;

/*
 * `in` is the file's path, `bytes` its content, `out` is made (faststart).
 * MDVR_OK; MDVR_E_CODEC: nothing in it can be decoded; MDVR_E_UNAVAILABLE:
 * `out` could not be written; MDVR_E_NO_MEMORY.
 */
mdvr_rc_t wk_movie_make(const char *in, mdvr_str_t bytes, const char *out,
    wk_movie_t *m);

/*
 * A JPEG of the first key frame of an MP4 or of a JPEG, at most `width`
 * pixels wide.  *w and *h are the size of the original.  Results as above.
 */
mdvr_rc_t wk_thumbnail(const char *in, const char *out, unsigned width,
    unsigned *w, unsigned *h, char *error, size_t size);

#endif /* MDVR_WORKER_MOVIE_H */
