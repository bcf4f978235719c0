/*
 * Analysers: each looks at the samples of one media item and says what it
 * found.  One is a row of a table; what it needs is in the settings.
 *
 * A finding is an episode: it begins with a picture, and the picture in which
 * it is surest is the one that is kept.
 */

#ifndef MDVR_WORKER_ANALYSER_H
#define MDVR_WORKER_ANALYSER_H

#include "worker/sampler.h"

#define WK_FINDINGS_MAX  64             /* of one item */

typedef struct {
    char         kind[65];      /* a word of the API, or a model's label */
    double       confidence;    /* 0 to 1 */
    double       at_s;
    unsigned     sample;        /* its picture */
    bool         boxed;
    double       box[4];        /* x, y, width, height: parts of the picture */
    char         model[101];
    char         version[101];
} wk_finding_t;

typedef struct {
    const wk_conf_t  *conf;
    wk_samples_t     *samples;
    unsigned          channel;          /* from 1; 0 not known */
    wk_finding_t      found[WK_FINDINGS_MAX];
    unsigned          n;
    char              model[101];       /* of the analyser that runs */
    char              version[101];
    char              error[300];       /* why an analyser failed */
} wk_look_t;

typedef struct {
    const char  *name;                  /* the model of its findings */
    const char  *version;               /* NULL: OpenCV's */
    bool         still;                 /* can do with one picture */
    bool       (*run)(wk_look_t *look);
    const char  *kinds;                 /* what it finds, for people */
} wk_analyser_t;

extern const wk_analyser_t  wk_analysers[];     /* ends with name NULL */

/* Runs all of them; false when one failed, the others' findings are there. */
bool wk_look(wk_look_t *look);

/* Adds a finding; `box` in pixels (x, y, w, h) or NULL. */
void wk_found(wk_look_t *look, const char *kind, double confidence,
    unsigned sample, const float *box);

/*
 * Episodes of at least `min` samples in a row whose score is above 0: one
 * finding for each, with the score as confidence.  `box` holds four numbers a
 * sample, or is NULL.  Up to `gap` samples in between may miss.
 */
void wk_episodes(wk_look_t *look, const char *kind, const double *score,
    const float *box, unsigned min, unsigned gap);

bool wk_camera(wk_look_t *look);        /* worker/camera.c */
bool wk_people(wk_look_t *look);        /* worker/people.c */
bool wk_driver(wk_look_t *look);
bool wk_detector(wk_look_t *look);      /* worker/detector.c */

/* What the camera analyser measures, for tests: one line a sample. */
void wk_camera_print(const wk_samples_t *s);

#endif /* MDVR_WORKER_ANALYSER_H */
