/*
 * People in front of a camera, and a driver in front of his: present, or not
 * any more, with open eyes, or not.
 *
 * A face that is looked at from the front counts as the driver's when it
 * stays in about one place, or when the settings name the channel.  What is
 * said about eyes is an observation, never a safety function.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/analyser.h"
#include "worker/vision.h"

#define WK_BOXES         16
#define WK_PEOPLE_EVERY  2              /* samples: HOG costs most */
#define WK_PEOPLE_MANY   20             /* of more samples, one more is left out */
#define WK_PEOPLE_SCORE  0.6
#define WK_FACE_PART     0.11           /* of the height of the picture */
#define WK_FACE_EYES     60             /* pixels; smaller ones hide eyes */
#define WK_ABSENT_S      3.0
#define WK_CLOSED_S      1.9
#define WK_STEADY        3              /* samples with a face */
#define WK_EMPTY         3              /* without one: then every third */


bool
wk_people(wk_look_t *look)
{
    int            k, n;
    bool           ok;
    float         *box;
    double        *score, c;
    unsigned       i, every;
    wk_box_t       found[WK_BOXES];
    wk_samples_t  *s;

    s = look->samples;
    every = WK_PEOPLE_EVERY + (s->n > WK_PEOPLE_MANY);
    score = calloc(s->n, sizeof(*score));
    box = calloc(s->n, 4 * sizeof(*box));
    ok = score && box;

    for (i = 0; ok && i < s->n; i += every) {
        if (s->list[i].unfit) {
            continue;
        }

        n = wk_vision_people(s->list[i].grey, s->w, s->h, found, WK_BOXES,
                             look->error, sizeof(look->error));
        ok = n >= 0;

        for (k = 0; k < n; k++) {
            c = 1 - exp(-found[k].score);

            if (found[k].score >= WK_PEOPLE_SCORE && c > score[i]) {
                score[i] = c;
                box[4 * i] = found[k].x;
                box[4 * i + 1] = found[k].y;
                box[4 * i + 2] = found[k].w;
                box[4 * i + 3] = found[k].h;
            }
        }
    }

    if (ok) {
        wk_episodes(look, "person", score, box, 1, 2 * every);
    }

    free(score);
    free(box);

    return ok;
}


/* Is this channel named as a driver's? */

static bool
wk_driver_channel(const wk_look_t *look)
{
    char        *end;
    long         n;
    const char  *p;

    for (p = look->conf->ai_driver; *p; p = *end ? end + 1 : end) {
        n = strtol(p, &end, 10);

        if (end == p) {
            return false;
        }

        if (n > 0 && (unsigned) n == look->channel) {
            return true;
        }
    }

    return false;
}


static bool
wk_driver_near(const wk_box_t *a, const wk_box_t *b)
{
    return fabsf(a->x + a->w / 2 - b->x - b->w / 2) < a->w
           && fabsf(a->y + a->h / 2 - b->y - b->h / 2) < a->h;
}


static void
wk_driver_absent(wk_look_t *look, const wk_box_t *face, bool named)
{
    unsigned       i, from, steady, last;
    wk_samples_t  *s;

    s = look->samples;
    steady = 0;
    last = s->n;

    for (i = 0; i < s->n && steady < WK_STEADY; i++) {
        if (face[i].w > 0) {
            steady = last < s->n && wk_driver_near(&face[last], &face[i])
                     ? steady + 1 : 1;
            last = i;
        }
    }

    if (!named && steady < WK_STEADY) {
        return;                         /* no driver's camera */
    }

    from = s->n;

    for (i = 0; i <= s->n; i++) {
        if (i < s->n && face[i].w == 0 && !s->list[i].unfit) {
            from = from == s->n ? i : from;
            continue;
        }

        if (from < s->n
            && s->list[i - 1].at_s - s->list[from].at_s >= WK_ABSENT_S)
        {
            wk_found(look, "driver_absent", steady >= WK_STEADY ? 0.8 : 0.6,
                     from, NULL);
        }

        from = s->n;
    }
}


static void
wk_driver_eyes(wk_look_t *look, const wk_box_t *face, const int *eyes)
{
    bool           open;
    float          box[4];
    unsigned       i, from;
    wk_samples_t  *s;

    s = look->samples;
    open = false;

    for (i = 0; i < s->n; i++) {
        open = open || eyes[i] > 0;
    }

    from = s->n;

    for (i = 0; i <= s->n; i++) {
        if (i < s->n && face[i].w >= WK_FACE_EYES && eyes[i] == 0) {
            from = from == s->n ? i : from;
            continue;
        }

        if (from < s->n
            && s->list[i - 1].at_s - s->list[from].at_s >= WK_CLOSED_S)
        {
            box[0] = face[from].x;
            box[1] = face[from].y;
            box[2] = face[from].w;
            box[3] = face[from].h;
            wk_found(look, "eyes_closed", open ? 0.8 : 0.5, from, box);
        }

        from = s->n;
    }
}


bool
wk_driver(wk_look_t *look)
{
    int            k, n, *eyes;
    bool           ok;
    unsigned       i, empty;
    wk_box_t      *face, found[WK_BOXES];
    const char    *folder;
    wk_samples_t  *s;

    s = look->samples;
    folder = look->conf->ai_cascades;
    face = calloc(s->n, sizeof(*face));
    eyes = calloc(s->n, sizeof(*eyes));
    ok = face && eyes;
    empty = 0;

    for (i = 0; ok && i < s->n; i++) {
        if (s->list[i].unfit || (empty >= WK_EMPTY && i % 3)) {
            continue;
        }

        n = wk_vision_faces(folder, s->list[i].grey, s->w, s->h, found,
                            WK_BOXES, look->error, sizeof(look->error));
        ok = n >= 0;

        for (k = 0; k < n; k++) {       /* the largest: the nearest */
            if (found[k].w > face[i].w
                && found[k].h >= WK_FACE_PART * (double) s->h)
            {
                face[i] = found[k];
            }
        }

        empty = face[i].w > 0 ? 0 : empty + 1;

        if (ok && face[i].w > 0) {
            eyes[i] = wk_vision_eyes(folder, s->list[i].grey, s->w, s->h,
                                     &face[i], look->error,
                                     sizeof(look->error));
            ok = eyes[i] >= 0;
        }
    }

    if (ok) {
        wk_driver_absent(look, face, wk_driver_channel(look));
        wk_driver_eyes(look, face, eyes);
    }

    free(face);
    free(eyes);

    return ok;
}
