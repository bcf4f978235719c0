/* The table of analysers, and what they share. */

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/analyser.h"
#include "worker/vision.h"

#define WK_ANALYSERS_MAX  8

const wk_analyser_t  wk_analysers[] = {
    { "camera",   "1",   true,  wk_camera,   "camera_black camera_covered "
      "camera_blurred camera_frozen camera_moved motion" },
    { "people",   NULL,  true,  wk_people,   "person" },
    { "driver",   NULL,  false, wk_driver,   "driver_absent eyes_closed" },
    { "detector", "",    true,  wk_detector, "labels of the model" },
    { NULL,       NULL,  false, NULL,        NULL }
};


/* MDVR_AI: "all", "none", or names with spaces or commas between. */

static bool
wk_analyser_wanted(const wk_conf_t *conf, const char *name)
{
    size_t       n, len;
    const char  *p;

    if (strcmp(conf->ai, "all") == 0) {
        return true;
    }

    len = strlen(name);

    for (p = conf->ai; *p; p += n + (p[n] != '\0')) {
        n = strcspn(p, " ,");

        if (n == len && strncmp(p, name, n) == 0) {
            return true;
        }
    }

    return false;
}


/* One analyser, alone with its findings; in a thread or not. */

typedef struct {
    const wk_analyser_t  *a;
    wk_look_t             look;
    bool                  ok;
    bool                  threaded;
    pthread_t             thread;
} wk_looker_t;


static void *
wk_look_run(void *data)
{
    wk_looker_t  *l = data;

    l->ok = l->a->run(&l->look);

    return NULL;
}


static void
wk_look_collect(wk_look_t *look, const wk_looker_t *l)
{
    unsigned  i;

    for (i = 0; i < l->look.n && look->n < WK_FINDINGS_MAX; i++) {
        look->found[look->n++] = l->look.found[i];
    }
}


/*
 * The first one runs alone, because the others look at what it says of the
 * samples; they share nothing but the samples and run side by side when there
 * is more than one core.
 */

bool
wk_look(wk_look_t *look)
{
    bool                  ok, many;
    unsigned              i, n;
    wk_looker_t          *l;
    const wk_analyser_t  *a;
    static wk_looker_t    lookers[WK_ANALYSERS_MAX];

    n = 0;
    ok = true;
    many = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    look->error[0] = '\0';

    for (a = wk_analysers; a->name && n < WK_ANALYSERS_MAX; a++) {
        if (!wk_analyser_wanted(look->conf, a->name)
            || (look->samples->n == 1 && !a->still))
        {
            continue;
        }

        l = &lookers[n++];
        memset(l, 0, sizeof(*l));
        l->a = a;
        l->look.conf = look->conf;
        l->look.samples = look->samples;
        l->look.channel = look->channel;
        snprintf(l->look.model, sizeof(l->look.model), "%s", a->name);
        snprintf(l->look.version, sizeof(l->look.version), "%s",
                 a->version ? a->version : wk_vision_version());

        l->threaded = many && a != wk_analysers
                      && pthread_create(&l->thread, NULL, wk_look_run, l) == 0;

        if (!l->threaded) {
            wk_look_run(l);
        }
    }

    for (i = 0; i < n; i++) {
        l = &lookers[i];

        if (l->threaded) {
            pthread_join(l->thread, NULL);
        }

        wk_look_collect(look, l);

        if (!l->ok && ok) {
            ok = false;
            snprintf(look->error, sizeof(look->error), "%s: %.250s",
                     l->a->name, l->look.error);
        }
    }

    return ok;
}


void
wk_found(wk_look_t *look, const char *kind, double confidence,
    unsigned sample, const float *box)
{
    unsigned       i;
    wk_finding_t  *f;
    double         size[4];

    if (look->n == WK_FINDINGS_MAX) {
        return;
    }

    f = &look->found[look->n++];
    memset(f, 0, sizeof(*f));
    snprintf(f->kind, sizeof(f->kind), "%s", kind);
    snprintf(f->model, sizeof(f->model), "%s", look->model);
    snprintf(f->version, sizeof(f->version), "%s", look->version);
    f->confidence = confidence < 0 ? 0 : confidence > 1 ? 1 : confidence;
    f->sample = sample;
    f->at_s = look->samples->list[sample].at_s;

    if (box && box[2] > 0 && box[3] > 0) {
        f->boxed = true;
        size[0] = size[2] = look->samples->w;
        size[1] = size[3] = look->samples->h;

        for (i = 0; i < 4; i++) {
            f->box[i] = box[i] / size[i];
            f->box[i] = f->box[i] < 0 ? 0 : f->box[i] > 1 ? 1 : f->box[i];
        }
    }
}


void
wk_episodes(wk_look_t *look, const char *kind, const double *score,
    const float *box, unsigned min, unsigned gap)
{
    unsigned  i, best, count, missed;

    best = count = missed = 0;

    for (i = 0; i <= look->samples->n; i++) {
        if (i < look->samples->n && score[i] > 0) {
            best = count == 0 || score[i] > score[best] ? i : best;
            count++;
            missed = 0;
            continue;
        }

        if (count && (missed++ == gap || i == look->samples->n)) {
            if (count >= min) {
                wk_found(look, kind, score[best], best,
                         box ? &box[4 * best] : NULL);
            }

            count = 0;
        }
    }
}
