/*
 * The model analyser: an object detector that the operator supplies as ONNX.
 *
 * What can be loaded (OpenCV 4.6): opset 12 or lower, static input, no
 * non-maximum suppression in the graph, one output of three dimensions:
 *
 *   yolov5   (1, N, 5 + C): cx, cy, w, h in pixels of the input, objectness,
 *            classes
 *   yolox    (1, N, 5 + C): the same before the grid is added and w, h are
 *            raised; strides 8, 16, 32
 *   yolov8   (1, 4 + C, N): cx, cy, w, h, classes
 *
 * A model is tried on a grey picture first, and refused when what comes out
 * has another shape or is no number.  Labels: one a line, "name" or
 * "name threshold" (0 to 1); an empty name or "-" is not reported.
 */

#include <fcntl.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/analyser.h"
#include "worker/vision.h"

#define WK_CLASSES     128
#define WK_CANDIDATES  512
#define WK_OVERLAP     0.45
#define WK_PAD         114              /* grey around the picture */

typedef enum { WK_YOLOV5, WK_YOLOX, WK_YOLOV8 } wk_layout_e;

typedef struct {
    wk_layout_e   layout;
    int           w, h;                 /* of the input */
    unsigned      classes;
    char          label[WK_CLASSES][65];
    double        threshold[WK_CLASSES];
    wk_net_t     *net;
    uint8_t      *in;                   /* w * h * 3 */
} wk_model_t;

typedef struct {
    double    score;
    unsigned  label;
    double    x, y, w, h;               /* corner and size, input pixels */
} wk_object_t;


static bool
wk_model_labels(wk_model_t *m, const wk_conf_t *conf, char *error, size_t size)
{
    char     line[200], *end, *p;
    FILE    *f;
    double   t;

    f = fopen(conf->ai_labels ? conf->ai_labels : "", "r");

    if (f == NULL) {
        snprintf(error, size, "cannot open MDVR_AI_LABELS \"%s\"",
                 conf->ai_labels ? conf->ai_labels : "");
        return false;
    }

    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\r\n")] = '\0';

        if (m->classes == WK_CLASSES) {
            snprintf(error, size, "more than %d labels", WK_CLASSES);
            fclose(f);
            return false;
        }

        m->threshold[m->classes] = conf->ai_threshold / 100.0;
        p = strrchr(line, ' ');

        if (p) {
            t = strtod(p + 1, &end);

            if (end > p + 1 && *end == '\0' && t > 0 && t <= 1) {
                m->threshold[m->classes] = t;
                *p = '\0';
            }
        }

        if (strcmp(line, "-") == 0) {
            line[0] = '\0';
        }

        for (p = line; *p; p++) {       /* as the database wants kinds */
            if (*p >= 'A' && *p <= 'Z') {
                *p = (char) (*p - 'A' + 'a');

            } else if (!((*p >= 'a' && *p <= 'z')
                         || (p > line && ((*p >= '0' && *p <= '9')
                                          || strchr("_ .-", *p)))))
            {
                snprintf(error, size, "label \"%.64s\": letters first, then "
                         "letters, digits, space, '_', '.', '-'", line);
                fclose(f);
                return false;
            }
        }

        snprintf(m->label[m->classes++], 65, "%.64s", line);
    }

    fclose(f);

    if (m->classes == 0) {
        snprintf(error, size, "no labels in %s", conf->ai_labels);
    }

    return m->classes > 0;
}


static bool
wk_model_shape(const wk_model_t *m, const int dims[3], char *error,
    size_t size)
{
    int  want, got;

    want = (int) m->classes + (m->layout == WK_YOLOV8 ? 4 : 5);
    got = m->layout == WK_YOLOV8 ? dims[1] : dims[2];

    if (dims[0] != 1 || got != want) {
        snprintf(error, size, "the output has the shape (%d, %d, %d), which "
                 "is not that of %u labels", dims[0], dims[1], dims[2],
                 m->classes);
        return false;
    }

    if (m->layout == WK_YOLOX
        && dims[1] != (m->w / 8) * (m->h / 8) + (m->w / 16) * (m->h / 16)
                      + (m->w / 32) * (m->h / 32))
    {
        snprintf(error, size, "%d rows are not those of a %dx%d input",
                 dims[1], m->w, m->h);
        return false;
    }

    return true;
}


static bool
wk_model_run(wk_model_t *m, const float **out, int dims[3], char *error,
    size_t size)
{
    return wk_net_run(m->net, m->in, m->w, m->h, m->layout != WK_YOLOX,
                      m->layout == WK_YOLOX ? 1 : 1 / 255.0, out, dims, error,
                      size)
           && wk_model_shape(m, dims, error, size);
}


static bool
wk_model_open(wk_model_t *m, const wk_conf_t *conf, char *error, size_t size)
{
    int           i, n, dims[3];
    char          end;
    const float  *out;

    memset(m, 0, sizeof(*m));

    if (strcmp(conf->ai_layout, "yolov5") == 0) {
        m->layout = WK_YOLOV5;

    } else if (strcmp(conf->ai_layout, "yolox") == 0) {
        m->layout = WK_YOLOX;

    } else if (strcmp(conf->ai_layout, "yolov8") == 0) {
        m->layout = WK_YOLOV8;

    } else {
        snprintf(error, size, "unknown MDVR_AI_LAYOUT \"%s\"",
                 conf->ai_layout);
        return false;
    }

    if (sscanf(conf->ai_size, "%dx%d%c", &m->w, &m->h, &end) != 2
        || m->w < 32 || m->h < 32 || m->w > 2048 || m->h > 2048)
    {
        snprintf(error, size, "MDVR_AI_SIZE must be like 640x384");
        return false;
    }

    if (!wk_model_labels(m, conf, error, size)) {
        return false;
    }

    m->in = malloc((size_t) m->w * (size_t) m->h * 3);
    m->net = m->in ? wk_net_open(conf->ai_model, error, size) : NULL;

    if (m->net == NULL) {
        return false;
    }

    memset(m->in, WK_PAD, (size_t) m->w * (size_t) m->h * 3);

    if (!wk_model_run(m, &out, dims, error, size)) {
        return false;
    }

    n = dims[1] * dims[2];

    for (i = 0; i < n; i++) {
        if (!isfinite(out[i])) {
            snprintf(error, size, "the output is not a number");
            return false;
        }
    }

    return true;
}


/* Name and version of the model: the file's, and its hash. */

static void
wk_model_name(wk_look_t *look)
{
    int           fd;
    ssize_t       n;
    uint8_t       md[EVP_MAX_MD_SIZE], buf[1 << 14];
    unsigned      i, len;
    const char   *p, *file;
    EVP_MD_CTX   *ctx;

    file = look->conf->ai_model;
    p = strrchr(file, '/');
    p = p ? p + 1 : file;
    snprintf(look->model, sizeof(look->model), "%.*s",
             (int) strcspn(p, "."), p);

    fd = open(file, O_RDONLY | O_CLOEXEC);
    ctx = EVP_MD_CTX_new();
    len = 0;

    if (fd >= 0 && ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        while ((n = read(fd, buf, sizeof(buf))) > 0) {
            EVP_DigestUpdate(ctx, buf, (size_t) n);
        }

        EVP_DigestFinal_ex(ctx, md, &len);
    }

    EVP_MD_CTX_free(ctx);

    if (fd >= 0) {
        close(fd);
    }

    snprintf(look->version, sizeof(look->version), "unknown");

    for (i = 0; i < 6 && i < len; i++) {
        snprintf(look->version + 2 * i, 3, "%02x", md[i]);
    }
}


/* The picture in the middle of the input, as large as it fits. */

static double
wk_model_input(wk_model_t *m, const wk_samples_t *s, unsigned i, int *left,
    int *top)
{
    int             x, y, w, h, sx, sy;
    double          scale;
    const uint8_t  *from;

    scale = fmin((double) m->w / s->w, (double) m->h / s->h);
    w = (int) (s->w * scale);
    h = (int) (s->h * scale);
    *left = (m->w - w) / 2;
    *top = (m->h - h) / 2;
    memset(m->in, WK_PAD, (size_t) m->w * (size_t) m->h * 3);

    for (y = 0; y < h; y++) {
        sy = (int) ((y + 0.5) / scale);
        sy = sy < s->h ? sy : s->h - 1;

        for (x = 0; x < w; x++) {
            sx = (int) ((x + 0.5) / scale);
            sx = sx < s->w ? sx : s->w - 1;
            from = s->list[i].bgr + (sy * s->w + sx) * 3;
            memcpy(m->in + ((y + *top) * m->w + x + *left) * 3, from, 3);
        }
    }

    return scale;
}


/* Position of row `r` in the grids of YOLOX. */

static void
wk_model_grid(const wk_model_t *m, int r, int *gx, int *gy, int *stride)
{
    int  n;

    for (*stride = 8; *stride < 32; *stride *= 2) {
        n = (m->w / *stride) * (m->h / *stride);

        if (r < n) {
            break;
        }

        r -= n;
    }

    *gx = r % (m->w / *stride);
    *gy = r / (m->w / *stride);
}


static unsigned
wk_model_objects(const wk_model_t *m, const float *out, const int dims[3],
    wk_object_t *list)
{
    int          r, rows, gx, gy, stride;
    double       box[4], score, base;
    unsigned     c, i, n, first;
    wk_object_t  o;

#define WK_AT(field)  (m->layout == WK_YOLOV8                             \
                       ? out[(int) (field) * rows + r]                    \
                       : out[r * dims[2] + (int) (field)])

    rows = m->layout == WK_YOLOV8 ? dims[2] : dims[1];
    first = m->layout == WK_YOLOV8 ? 4 : 5;
    n = 0;

    for (r = 0; r < rows; r++) {
        base = first == 5 ? WK_AT(4) : 1;
        memset(&o, 0, sizeof(o));

        for (c = 0; c < m->classes; c++) {
            score = base * WK_AT(first + c);

            if (m->label[c][0] && score >= m->threshold[c]
                && score > o.score)
            {
                o.score = score;
                o.label = c;
            }
        }

        if (!(o.score > 0)) {
            continue;
        }

        for (i = 0; i < 4; i++) {
            box[i] = WK_AT(i);
        }

        if (m->layout == WK_YOLOX) {
            wk_model_grid(m, r, &gx, &gy, &stride);
            box[0] = (box[0] + gx) * stride;
            box[1] = (box[1] + gy) * stride;
            box[2] = exp(fmin(box[2], 20)) * stride;
            box[3] = exp(fmin(box[3], 20)) * stride;
        }

        o.w = box[2];
        o.h = box[3];
        o.x = box[0] - box[2] / 2;
        o.y = box[1] - box[3] / 2;

        /* sorted by score; the weakest fall out of a full list */

        for (i = n; i > 0 && list[i - 1].score < o.score; i--) {
            if (i < WK_CANDIDATES) {
                list[i] = list[i - 1];
            }
        }

        if (i < WK_CANDIDATES) {
            list[i] = o;
            n += n < WK_CANDIDATES;
        }
    }

    return n;
}


/* Non-maximum suppression within a class; returns how many are left. */

static unsigned
wk_model_distinct(wk_object_t *list, unsigned n)
{
    double    w, h, both;
    unsigned  i, k, kept;

    kept = 0;

    for (i = 0; i < n; i++) {
        for (k = 0; k < kept; k++) {
            w = fmin(list[i].x + list[i].w, list[k].x + list[k].w)
                - fmax(list[i].x, list[k].x);
            h = fmin(list[i].y + list[i].h, list[k].y + list[k].h)
                - fmax(list[i].y, list[k].y);
            both = w > 0 && h > 0 ? w * h : 0;

            if (list[k].label == list[i].label
                && both > WK_OVERLAP * (list[i].w * list[i].h
                                        + list[k].w * list[k].h - both))
            {
                break;
            }
        }

        if (k == kept) {
            list[kept++] = list[i];
        }
    }

    return kept;
}


static bool
wk_detector_all(wk_look_t *look, wk_model_t *m, double *score, float *box)
{
    int           left, top, dims[3];
    double        scale;
    unsigned      c, i, k, n;
    const float  *out;
    float        *b;
    wk_samples_t *s;

    static wk_object_t  list[WK_CANDIDATES];

    s = look->samples;

    for (i = 0; i < s->n; i++) {
        if (s->list[i].unfit) {
            continue;
        }

        scale = wk_model_input(m, s, i, &left, &top);

        if (!wk_model_run(m, &out, dims, look->error, sizeof(look->error))) {
            return false;
        }

        n = wk_model_distinct(list, wk_model_objects(m, out, dims, list));

        for (k = 0; k < n; k++) {
            c = list[k].label;

            if (list[k].score > score[c * s->n + i]) {
                score[c * s->n + i] = fmin(1, list[k].score);
                b = &box[4 * (c * s->n + i)];
                b[0] = (float) ((list[k].x - left) / scale);
                b[1] = (float) ((list[k].y - top) / scale);
                b[2] = (float) (list[k].w / scale);
                b[3] = (float) (list[k].h / scale);
            }
        }
    }

    for (c = 0; c < m->classes; c++) {
        if (m->label[c][0]) {
            wk_episodes(look, m->label[c], &score[c * s->n],
                        &box[4 * c * s->n], 1, 2);
        }
    }

    return true;
}


bool
wk_detector(wk_look_t *look)
{
    bool        ok;
    float      *box;
    double     *score;
    size_t      n;
    char        why[200];
    static wk_model_t  m;

    if (look->conf->ai_model == NULL) {
        return true;                    /* nobody supplied one */
    }

    wk_model_name(look);
    score = NULL;
    box = NULL;
    ok = wk_model_open(&m, look->conf, why, sizeof(why));

    if (!ok) {
        snprintf(look->error, sizeof(look->error), "model %.60s refused: "
                 "%.200s", look->model, why);

    } else {
        n = (size_t) m.classes * look->samples->n;
        score = calloc(n, sizeof(*score));
        box = calloc(n, 4 * sizeof(*box));
        ok = score && box && wk_detector_all(look, &m, score, box);
    }

    free(score);
    free(box);
    free(m.in);

    if (m.net) {
        wk_net_close(m.net);
    }

    return ok;
}
