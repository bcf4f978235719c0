/*
 * The state of a camera, from brightness alone: black, covered, blurred,
 * frozen, moved; and motion in front of it.
 *
 * Thresholds come from measurements on H.264 clips of 600 kbit/s, re-encoded
 * after each defect.  A clip is judged by itself.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/analyser.h"

#define WK_BLOCK        16
#define WK_THUMB_W      64
#define WK_THUMB_H      36

/* black */
#define WK_BLACK_MEAN   32
#define WK_BLACK_SD     6

/* covered */
#define WK_COVER_FLAT   0.6
#define WK_COVER_EDGE   0.02
#define WK_COVER_MOST   0.84            /* flat: covered, whatever the rest */

/* blurred */
#define WK_BLUR_EDGE    0.02
#define WK_BLUR_SHARP   24.0            /* see wk_measure_t.sharp */

/* frozen */
#define WK_FROZEN_DIFF  0.9             /* change of a pixel, mean of all */
#define WK_FROZEN_STEP  1.6             /* the encoder's own, at most */
#define WK_FROZEN_MOST  5.0             /* of the block that changed most */
#define WK_FROZEN_S     2.9

/* moved */
#define WK_SAME         0.50            /* correlation of one view */
#define WK_OTHER        0.35            /* of two */

/* motion */
#define WK_MOTION_DIFF  10.0
#define WK_MOTION_MIN   0.01            /* share of blocks */

typedef struct {
    double   mean, sd;
    double   edge;              /* share of pixels with a steep gradient */
    double   flat;              /* share of blocks without any contrast */
    double   sharp;             /* steepest steps against contrast, 0..100 */
    double   diff;              /* mean change of a pixel */
    double   most;              /* of the block that changed most */
    double   moving;            /* share of blocks that changed */
    float    box[4];            /* around them */
    float    thumb[WK_THUMB_W * WK_THUMB_H];
    bool     black, covered, blurred;
} wk_measure_t;


static void
wk_measure_picture(wk_measure_t *m, const uint8_t *p, int w, int h)
{
    int              x, y, gx, gy, bx, by, lo, hi, step, v, nb, ns;
    double           sum, sq, steep;
    long             edges, n;
    const uint8_t   *q;

    sum = sq = 0;
    edges = 0;
    n = (long) w * h;

    for (y = 0; y < h; y++) {
        for (x = 0; x < w; x++) {
            v = p[y * w + x];
            sum += v;
            sq += v * v;

            if (x > 0 && y > 0 && x < w - 1 && y < h - 1) {
                q = p + y * w + x;
                gx = abs(q[1] - q[-1]);
                gy = abs(q[w] - q[-w]);
                edges += gx + gy > 40;
            }
        }
    }

    m->mean = sum / (double) n;
    m->sd = sqrt(fmax(0, sq / (double) n - m->mean * m->mean));
    m->edge = (double) edges / (double) n;

    /* Blocks: flat ones, and how steep the steps of the others are.  A defect
     * of focus spreads every step over many pixels, whatever is shown. */

    nb = ns = 0;
    steep = 0;

    for (by = 0; by + WK_BLOCK <= h; by += WK_BLOCK) {
        for (bx = 0; bx + WK_BLOCK <= w; bx += WK_BLOCK) {
            lo = 255;
            hi = step = 0;

            for (y = by; y < by + WK_BLOCK; y++) {
                q = p + y * w + bx;

                for (x = 0; x < WK_BLOCK; x++) {
                    v = q[x];
                    lo = v < lo ? v : lo;
                    hi = v > hi ? v : hi;

                    if (x + 1 < WK_BLOCK) {
                        v = abs(q[x + 1] - q[x]);
                        step = v > step ? v : step;
                    }

                    if (y + 1 < by + WK_BLOCK) {
                        v = abs(q[x + w] - q[x]);
                        step = v > step ? v : step;
                    }
                }
            }

            nb++;

            if (hi - lo < WK_BLOCK) {
                m->flat++;

            } else {
                steep += (double) step / (hi - lo);
                ns++;
            }
        }
    }

    m->flat /= nb ? nb : 1;
    m->sharp = ns ? 100 * steep / ns : 0;
}


/* Gradients of a small copy, to compare views whatever the light. */

static void
wk_measure_thumb(wk_measure_t *m, const uint8_t *p, int w, int h)
{
    int     x, y, i, j, x0, x1, y0, y1;
    float   small[WK_THUMB_H][WK_THUMB_W], gx, gy;
    double  sum, mean, sq;

    for (y = 0; y < WK_THUMB_H; y++) {
        for (x = 0; x < WK_THUMB_W; x++) {
            x0 = x * w / WK_THUMB_W;
            x1 = (x + 1) * w / WK_THUMB_W;
            y0 = y * h / WK_THUMB_H;
            y1 = (y + 1) * h / WK_THUMB_H;
            sum = 0;

            for (j = y0; j < y1 || j == y0; j++) {
                for (i = x0; i < x1 || i == x0; i++) {
                    sum += p[j * w + i];
                }
            }

            small[y][x] = (float) (sum / ((y1 > y0 ? y1 - y0 : 1)
                                          * (x1 > x0 ? x1 - x0 : 1)));
        }
    }

    mean = 0;

    for (y = 0; y < WK_THUMB_H; y++) {
        for (x = 0; x < WK_THUMB_W; x++) {
            gx = small[y][x < WK_THUMB_W - 1 ? x + 1 : x] - small[y][x];
            gy = small[y < WK_THUMB_H - 1 ? y + 1 : y][x] - small[y][x];
            m->thumb[y * WK_THUMB_W + x] = sqrtf(gx * gx + gy * gy);
            mean += m->thumb[y * WK_THUMB_W + x];
        }
    }

    mean /= WK_THUMB_W * WK_THUMB_H;
    sq = 0;

    for (i = 0; i < WK_THUMB_W * WK_THUMB_H; i++) {
        m->thumb[i] -= (float) mean;
        sq += m->thumb[i] * m->thumb[i];
    }

    sq = sqrt(sq);

    for (i = 0; i < WK_THUMB_W * WK_THUMB_H; i++) {
        m->thumb[i] = sq > 1 ? (float) (m->thumb[i] / sq) : 0;
    }
}


static double
wk_measure_alike(const wk_measure_t *a, const wk_measure_t *b)
{
    int     i;
    double  sum;

    sum = 0;

    for (i = 0; i < WK_THUMB_W * WK_THUMB_H; i++) {
        sum += a->thumb[i] * b->thumb[i];
    }

    return sum;
}


static void
wk_measure_change(wk_measure_t *m, const uint8_t *p, const uint8_t *prev,
    int w, int h)
{
    int     x, y, bx, by, sum, nb, x0, y0, x1, y1;
    double  diff;

    nb = 0;
    x0 = w;
    y0 = h;
    x1 = y1 = 0;

    for (by = 0; by + WK_BLOCK <= h; by += WK_BLOCK) {
        for (bx = 0; bx + WK_BLOCK <= w; bx += WK_BLOCK) {
            sum = 0;

            for (y = by; y < by + WK_BLOCK; y++) {
                for (x = bx; x < bx + WK_BLOCK; x++) {
                    sum += abs(p[y * w + x] - prev[y * w + x]);
                }
            }

            diff = (double) sum / (WK_BLOCK * WK_BLOCK);
            m->diff += diff;
            m->most = diff > m->most ? diff : m->most;
            nb++;

            if (diff > WK_MOTION_DIFF) {
                m->moving++;
                x0 = bx < x0 ? bx : x0;
                y0 = by < y0 ? by : y0;
                x1 = bx + WK_BLOCK > x1 ? bx + WK_BLOCK : x1;
                y1 = by + WK_BLOCK > y1 ? by + WK_BLOCK : y1;
            }
        }
    }

    if (m->moving > 0) {
        m->box[0] = (float) x0;
        m->box[1] = (float) y0;
        m->box[2] = (float) (x1 - x0);
        m->box[3] = (float) (y1 - y0);
    }

    m->moving /= nb ? nb : 1;
    m->diff /= nb ? nb : 1;
}


static wk_measure_t *
wk_measure(const wk_samples_t *s)
{
    unsigned       i;
    wk_measure_t  *list, *m;

    list = calloc(s->n, sizeof(*list));

    for (i = 0; list && i < s->n; i++) {
        m = &list[i];
        wk_measure_picture(m, s->list[i].grey, s->w, s->h);
        wk_measure_thumb(m, s->list[i].grey, s->w, s->h);

        if (i) {
            wk_measure_change(m, s->list[i].grey, s->list[i - 1].grey, s->w,
                              s->h);
        }

        m->black = m->mean < WK_BLACK_MEAN && m->sd < WK_BLACK_SD;
        m->blurred = !m->black && m->edge < WK_BLUR_EDGE
                     && m->flat < 1 && m->sharp < WK_BLUR_SHARP;
        m->covered = !m->black && !m->blurred
                     && (m->flat > WK_COVER_MOST
                         || (m->flat > WK_COVER_FLAT
                             && m->edge < WK_COVER_EDGE));
    }

    return list;
}


void
wk_camera_print(const wk_samples_t *s)
{
    unsigned       i;
    wk_measure_t  *m;

    m = wk_measure(s);

    for (i = 0; m && i < s->n; i++) {
        printf("# at=%.2f mean=%.0f sd=%.1f edge=%.4f flat=%.2f sharp=%.1f "
               "diff=%.2f most=%.2f moving=%.3f alike=%.2f\n", s->list[i].at_s,
               m[i].mean, m[i].sd, m[i].edge, m[i].flat, m[i].sharp,
               m[i].diff, m[i].most, m[i].moving, wk_measure_alike(&m[0], &m[i]));
    }

    free(m);
}


/* Samples `from` to `to` - 1 show one view. */

static bool
wk_camera_steady(const wk_measure_t *m, unsigned from, unsigned to)
{
    unsigned  i;

    for (i = from + 1; i < to; i++) {
        if (wk_measure_alike(&m[from], &m[i]) < WK_SAME) {
            return false;
        }
    }

    return true;
}


/* One view before, another after, both steady and both fit to be judged. */

static void
wk_camera_moved(wk_look_t *look, const wk_measure_t *m, unsigned n)
{
    unsigned  i, k;

    for (i = 0; i < n; i++) {
        if (m[i].black || m[i].covered || m[i].blurred) {
            return;
        }
    }

    for (k = 2; k + 2 <= n; k++) {
        if (wk_measure_alike(&m[k - 1], &m[k]) < WK_OTHER) {
            if (wk_camera_steady(m, 0, k) && wk_camera_steady(m, k, n)
                && wk_measure_alike(&m[0], &m[n - 1]) < WK_OTHER)
            {
                wk_found(look, "camera_moved",
                         0.95 - wk_measure_alike(&m[0], &m[n - 1]), k, NULL);
            }

            return;
        }
    }
}


static void
wk_camera_frozen(wk_look_t *look, const wk_measure_t *m, unsigned n)
{
    double               sum;
    unsigned             i, from;
    const wk_samples_t  *s;

    s = look->samples;
    from = 0;
    sum = 0;

    for (i = 1; i <= n; i++) {
        if (i < n && m[i].diff < WK_FROZEN_STEP
            && m[i].most < WK_FROZEN_MOST && !m[i].black && !m[i].covered)
        {
            sum += m[i].diff;
            continue;
        }

        if (sum < WK_FROZEN_DIFF * (i - 1 - from)
            && s->list[i - 1].at_s - s->list[from].at_s >= WK_FROZEN_S)
        {
            wk_found(look, "camera_frozen",
                     from == 0 && i == n ? 0.7 : 0.9, from, NULL);
        }

        from = i;
        sum = 0;
    }
}


bool
wk_camera(wk_look_t *look)
{
    float         *box;
    double        *score;
    unsigned       i, n, min;
    wk_measure_t  *m;

    n = look->samples->n;
    m = wk_measure(look->samples);
    score = calloc(n, sizeof(*score));
    box = calloc(n, 4 * sizeof(*box));

    if (m == NULL || score == NULL || box == NULL) {
        free(m);
        free(score);
        free(box);
        snprintf(look->error, sizeof(look->error), "out of memory");
        return false;
    }

    min = n < 3 ? n : 3;

    for (i = 0; i < n; i++) {
        look->samples->list[i].unfit = m[i].black || m[i].covered
                                       || m[i].blurred;
        score[i] = m[i].black ? 1 - m[i].mean / 100 : 0;
    }

    wk_episodes(look, "camera_black", score, NULL, min, 1);

    for (i = 0; i < n; i++) {
        score[i] = m[i].covered ? fmin(1, 0.5 + m[i].flat / 2) : 0;
    }

    wk_episodes(look, "camera_covered", score, NULL, min, 1);

    for (i = 0; i < n; i++) {
        score[i] = m[i].blurred ? 1 - m[i].edge * 10 : 0;
    }

    wk_episodes(look, "camera_blurred", score, NULL, min, 1);

    if (n > 1) {
        wk_camera_frozen(look, m, n);
        wk_camera_moved(look, m, n);

        for (i = 0; i < n; i++) {
            score[i] = m[i].moving > WK_MOTION_MIN && !m[i].black
                       ? fmin(1, 0.5 + m[i].moving * 2) : 0;
            memcpy(&box[4 * i], m[i].box, sizeof(m[i].box));
        }

        wk_episodes(look, "motion", score, box, 1, 2);
    }

    free(m);
    free(score);
    free(box);

    return true;
}
