/* The table of analysers, and what they share. */

#include <stdio.h>
#include <string.h>

#include "worker/analyser.h"
#include "worker/vision.h"

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


bool
wk_look(wk_look_t *look)
{
    bool                  ok;
    char                  first[300];
    const wk_analyser_t  *a;

    ok = true;
    first[0] = '\0';

    for (a = wk_analysers; a->name; a++) {
        if (!wk_analyser_wanted(look->conf, a->name)
            || (look->samples->n == 1 && !a->still))
        {
            continue;
        }

        snprintf(look->model, sizeof(look->model), "%s", a->name);
        snprintf(look->version, sizeof(look->version), "%s",
                 a->version ? a->version : wk_vision_version());
        look->error[0] = '\0';

        if (!a->run(look)) {
            ok = false;

            if (first[0] == '\0') {
                snprintf(first, sizeof(first), "%s: %.250s", a->name,
                         look->error);
            }
        }
    }

    snprintf(look->error, sizeof(look->error), "%s", first);

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
