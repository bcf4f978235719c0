/* See reel.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/reel.h"

#define REEL_WINDOW     (512U << 10)
#define REEL_WINDOW_MAX (16U << 20)
#define REEL_READ       (256U << 10)
#define REEL_KNOW       (256U << 10)    /* enough to know what it is */
#define REEL_KNOW_MAX   (4U << 20)      /* it is nothing */
#define REEL_PAGE       4096
#define REEL_LEAD_US    2000000         /* begin that much before a target */
#define REEL_FAR_US     15000000        /* further before it: guessed wrong */
#define REEL_JUMP_US    5000000
#define REEL_TRIES      4


static void
reel_path(const wk_reel_t *r, unsigned wish, char *path, size_t size)
{
    snprintf(path, size, "%s/%s-%u", r->dir, r->session, wish);
}


static void
reel_drop(wk_reel_t *r)
{
    char  path[PATH_MAX];

    if (r->fd >= 0) {
        close(r->fd);
        r->fd = -1;
    }

    reel_path(r, r->wish, path, sizeof(path));
    unlink(path);
}


/* A new range; what is left of the old one is forgotten. */

static void
reel_wish(wk_reel_t *r, uint64_t at)
{
    reel_drop(r);

    r->wish++;
    r->wish_at = at;
    r->asked = false;
    r->at = at;
    r->len = 0;
    r->holes = 0;
    memset(&r->head, 0, sizeof(r->head));
}


bool
wk_reel_open(wk_reel_t *r, const char *dir, const char *session,
    double duration_s)
{
    memset(r, 0, sizeof(*r));

    snprintf(r->dir, sizeof(r->dir), "%s", dir);
    snprintf(r->session, sizeof(r->session), "%s", session);
    r->duration_s = duration_s;
    r->fd = -1;
    r->first_raw_us = -1;
    r->last_raw_us = -1;
    r->pos_us = -1;
    r->step_us = 40000;
    r->cap = REEL_WINDOW;
    r->win = malloc(r->cap);

    reel_wish(r, 0);

    return r->win != NULL;
}


void
wk_reel_close(wk_reel_t *r)
{
    reel_drop(r);

    if (r->known) {
        wk_source_close(&r->src);
    }

    free(r->win);
    r->win = NULL;
}


/* ---- bytes ---------------------------------------------------------------- */

/* Gives back what was read: the window moves on, the file gets a hole. */

static void
reel_forget(wk_reel_t *r)
{
    size_t    gone;
    uint64_t  read;

    gone = r->known ? r->src.pos : 0;

    if (r->seeking && r->key_us >= 0 && gone > r->key_at) {
        gone = r->key_at;
    }

    if (gone == 0 || gone > r->len) {
        return;
    }

    memmove(r->win, r->win + gone, r->len - gone);
    r->len -= gone;
    r->at += gone;
    r->key_at -= r->seeking && r->key_us >= 0 ? gone : 0;

    wk_source_feed(&r->src, mdvr_str(r->win, r->len), gone);

    read = (r->at > r->head.base ? r->at - r->head.base : 0)
           / REEL_PAGE * REEL_PAGE;

    if (r->fd >= 0 && read > r->holes) {
        (void) fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         MDVR_REEL_DATA + (off_t) r->holes,
                         (off_t) (read - r->holes));
        r->holes = read;
    }
}


static bool
reel_head(wk_reel_t *r)
{
    char              path[PATH_MAX];
    mdvr_reel_head_t  head;

    if (r->fd < 0) {
        reel_path(r, r->wish, path, sizeof(path));
        r->fd = open(path, O_RDWR | O_CLOEXEC);
    }

    if (r->fd < 0
        || pread(r->fd, &head, sizeof(head), 0) != (ssize_t) sizeof(head)
        || head.magic != MDVR_REEL_MAGIC)
    {
        return false;
    }

    r->head = head;

    if (head.end) {
        r->size = head.end;
    }

    return true;
}


/* More bytes into the window.  WK_REEL_FRAME: some came. */

static wk_reel_e
reel_fill(wk_reel_t *r)
{
    size_t     room;
    ssize_t    n;
    uint8_t   *win;
    uint64_t   next, have;

    if (!r->asked) {
        return WK_REEL_WISH;
    }

    reel_forget(r);

    if (!reel_head(r)) {
        return WK_REEL_WAIT;
    }

    next = r->at + r->len;
    have = r->head.base + r->head.safe;

    if (r->head.state == MDVR_REEL_WAITING || have <= next) {

        if (r->head.state == MDVR_REEL_COMPLETE) {
            return WK_REEL_END;
        }

        if (r->head.state != MDVR_REEL_BROKEN) {
            return WK_REEL_WAIT;
        }

        return r->size && next >= r->size ? WK_REEL_END : WK_REEL_BROKEN;
    }

    if (next < r->head.base) {
        return WK_REEL_BROKEN;          /* a gap: cannot be */
    }

    if (r->cap - r->len < REEL_READ && r->cap < REEL_WINDOW_MAX) {
        win = realloc(r->win, r->cap * 2);

        if (win == NULL) {
            return WK_REEL_BROKEN;
        }

        r->win = win;
        r->cap *= 2;
    }

    room = r->cap - r->len;
    room = room > REEL_READ ? REEL_READ : room;

    if (room == 0) {
        return WK_REEL_END;             /* a frame beyond all measure */
    }

    if (room > have - next) {
        room = (size_t) (have - next);
    }

    n = pread(r->fd, r->win + r->len, room,
              MDVR_REEL_DATA + (off_t) (next - r->head.base));

    if (n <= 0) {
        return WK_REEL_WAIT;
    }

    r->len += (size_t) n;

    if (r->known) {
        wk_source_feed(&r->src, mdvr_str(r->win, r->len), 0);
    }

    return WK_REEL_FRAME;
}


/* ---- what it is ------------------------------------------------------------ */

/*
 * Without stamps: how long a frame lasts, from the bytes of whole groups of
 * pictures, the size and the length in time; rates that cameras have.
 */

static int64_t
reel_step(wk_reel_t *r)
{
    double      fps, best, off;
    size_t      first = 0, last = 0, before;
    unsigned    i, frames, whole;
    wk_frame_t  f;

    static const double  rates[] = { 1, 2, 3, 4, 5, 6, 8, 10, 12, 12.5, 15,
                                     18, 20, 24, 25, 30, 50, 60 };

    if (r->size == 0 || r->duration_s <= 0) {
        return 40000;
    }

    for (frames = 0, whole = 0; ; frames++) {
        before = r->src.pos;

        if (!wk_source_next(&r->src, &f)) {
            break;
        }

        if (f.key && frames == 0) {
            first = before;

        } else if (f.key) {
            last = before;
            whole = frames;
        }
    }

    wk_source_rewind(&r->src);

    if (whole == 0 || r->size <= first) {
        return 40000;
    }

    fps = (double) whole * (double) (r->size - first)
          / (double) (last - first) / r->duration_s;

    for (i = 0, best = 25; i < sizeof(rates) / sizeof(rates[0]); i++) {
        off = rates[i] > fps ? rates[i] / fps : fps / rates[i];

        if (off < (best > fps ? best / fps : fps / best)) {
            best = rates[i];
        }
    }

    return (int64_t) (1000000 / best);
}


static wk_reel_e
reel_know(wk_reel_t *r)
{
    wk_reel_e  got;

    for ( ;; ) {
        got = reel_fill(r);

        if (got == WK_REEL_FRAME && r->len < REEL_KNOW) {
            continue;
        }

        if (got != WK_REEL_FRAME && got != WK_REEL_END) {
            return got;
        }

        if (wk_source_open(&r->src, mdvr_str(r->win, r->len)) == MDVR_OK
            && r->src.form != WK_FORM_MP4)
        {
            break;
        }

        wk_source_close(&r->src);

        if (got == WK_REEL_END || r->len >= REEL_KNOW_MAX) {
            return WK_REEL_UNKNOWN;
        }
    }

    r->known = true;

    if (r->src.form != WK_FORM_PRIVATE) {
        r->step_us = reel_step(r);
    }

    r->src.more = true;

    return WK_REEL_FRAME;
}


/* ---- positions -------------------------------------------------------------- */

static int64_t
reel_guess(const wk_reel_t *r, uint64_t offset)
{
    return r->size && r->duration_s > 0
           ? (int64_t) (r->duration_s * 1e6 * (double) offset
                        / (double) r->size)
           : 0;
}


static void
reel_position(wk_reel_t *r, const wk_frame_t *f, size_t before)
{
    int64_t  step, pos;

    if (f->raw_us < 0) {
        r->pos_us = r->pos_us < 0
                    ? (r->at + before > r->src.start + REEL_PAGE
                       ? reel_guess(r, r->at + before) : 0)
                    : r->pos_us + r->step_us;
        return;
    }

    if (r->first_raw_us < 0) {
        r->first_raw_us = f->raw_us;
    }

    step = f->raw_us - r->last_raw_us;
    pos = f->raw_us - r->first_raw_us;

    if (r->pos_us >= 0 && r->last_raw_us >= 0) {
        r->pos_us += step > 0 && step <= REEL_JUMP_US ? step : r->step_us;

    } else if (pos >= 0
               && (r->duration_s <= 0 || pos < (r->duration_s + 60) * 1e6))
    {
        r->pos_us = pos;

    } else {
        r->pos_us = reel_guess(r, r->at + before);
    }

    r->last_raw_us = f->raw_us;
}


static void
reel_jump(wk_reel_t *r, uint64_t at)
{
    reel_wish(r, at / REEL_PAGE * REEL_PAGE);

    if (r->known) {
        wk_source_seek(&r->src, mdvr_str(r->win, 0));
        r->src.more = true;
    }

    r->pos_us = -1;
    r->last_raw_us = -1;
    r->key_us = -1;
}


bool
wk_reel_seek(wk_reel_t *r, double position_s)
{
    int64_t  begin;

    if (!r->known) {
        r->later_s = position_s;        /* what it is has to be seen first */
        return true;
    }

    if (position_s > r->duration_s - 1) {
        position_s = r->duration_s - 1;
    }

    r->target_us = (int64_t) (position_s * 1e6);
    r->target_us = r->target_us < 0 ? 0 : r->target_us;

    begin = r->target_us - REEL_LEAD_US;

    if (begin > 0 && (r->size == 0 || r->duration_s <= 0)) {
        return false;
    }

    r->seeking = true;
    r->tries = 0;

    reel_jump(r, begin > 0 ? (uint64_t) ((double) r->size * (double) begin
                                         / (r->duration_s * 1e6))
                           : 0);
    return true;
}


void
wk_reel_resume(wk_reel_t *r)
{
    uint64_t  at;

    at = r->at + (r->known ? r->src.pos : r->len);

    if (!r->known) {
        at = 0;
    }

    reel_wish(r, at);

    if (r->known) {
        r->src.pos = 0;
        r->src.file = mdvr_str(r->win, 0);
    }

    r->key_us = -1;
}


/* On the way to a position.  WK_REEL_FRAME: this one is to be played. */

static wk_reel_e
reel_seek_step(wk_reel_t *r, bool key, size_t before, bool end)
{
    double   rate = (double) r->size / (r->duration_s * 1e6);
    int64_t  miss;

    if (!end && r->pos_us <= r->target_us && r->len < REEL_WINDOW_MAX / 2) {

        if (key) {
            miss = r->target_us - r->pos_us;

            if (miss > REEL_FAR_US && r->tries < REEL_TRIES) {
                r->tries++;
                reel_jump(r, r->at + before
                             + (uint64_t) ((double) (miss - REEL_LEAD_US)
                                           * rate));
                return WK_REEL_WISH;
            }

            r->key_us = r->pos_us;
            r->key_at = before;
        }

        return WK_REEL_WAIT;
    }

    if (r->key_us < 0 && r->wish_at > 0 && r->tries < REEL_TRIES
        && (end || key))
    {
        /* behind it already: begin earlier */

        miss = REEL_LEAD_US * (int64_t) (r->tries + 2);
        miss += !end && r->pos_us > r->target_us ? r->pos_us - r->target_us
                                                 : 0;
        r->tries++;
        reel_jump(r, (double) miss * rate < (double) r->wish_at
                     ? r->wish_at - (uint64_t) ((double) miss * rate) : 0);
        return WK_REEL_WISH;
    }

    if (r->key_us < 0) {

        if (!key && !end) {
            return WK_REEL_WAIT;
        }

        r->seeking = false;             /* as near as it gets */
        return end ? WK_REEL_END : WK_REEL_FRAME;
    }

    r->src.pos = r->key_at;
    r->src.started = false;
    r->pos_us = r->key_us - r->step_us; /* the key frame comes again */
    r->last_raw_us = -1;

    if (r->src.form == WK_FORM_PRIVATE) {
        r->pos_us = -1;
    }

    r->seeking = false;

    return WK_REEL_WAIT;
}


wk_reel_e
wk_reel_next(wk_reel_t *r, wk_frame_t *frame, int64_t *pos_us)
{
    bool       end;
    size_t     before;
    wk_reel_e  got;

    if (!r->known) {
        got = reel_know(r);

        if (got != WK_REEL_FRAME) {
            return got;
        }

        if (r->later_s > 0) {

            if (r->src.form == WK_FORM_PRIVATE
                && wk_source_next(&r->src, frame))
            {
                r->first_raw_us = frame->raw_us;
            }

            (void) wk_reel_seek(r, r->later_s);
        }
    }

    for ( ;; ) {

        if (!r->asked) {
            return WK_REEL_WISH;
        }

        before = r->src.pos;
        end = false;

        if (!wk_source_next(&r->src, frame)) {

            if (r->src.starved) {
                got = reel_fill(r);

                if (got == WK_REEL_FRAME) {
                    continue;
                }

                if (got != WK_REEL_END) {
                    return got;
                }

                r->src.more = false;    /* what is here is all there is */
                continue;
            }

            end = true;
        }

        if (!end && !frame->audio) {
            reel_position(r, frame, before);
        }

        if (r->seeking) {

            if (!end && frame->audio) {
                continue;
            }

            got = reel_seek_step(r, !end && frame->key, before, end);

            if (got == WK_REEL_WAIT) {
                continue;
            }

            if (got != WK_REEL_FRAME) {
                return got;
            }

        } else if (end) {
            return WK_REEL_END;
        }

        *pos_us = r->pos_us < 0 ? 0 : r->pos_us;

        return WK_REEL_FRAME;
    }
}
