/*
 * What is taken from OpenCV: the people detector (HOG), cascades for faces
 * and eyes, and ONNX networks.  The only C++ of the worker is behind these
 * functions; no exception leaves it.  Not thread-safe; state is kept for the
 * process, which is a child that runs one job.
 */

#ifndef MDVR_WORKER_VISION_H
#define MDVR_WORKER_VISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    float  score;               /* larger is surer; people: 0 to about 3 */
    float  x, y, w, h;          /* pixels */
} wk_box_t;

/* The version of OpenCV, "4.6.0". */
const char *wk_vision_version(void);

/*
 * Standing people in a grey picture of w * h bytes.  How many were written to
 * `box`; -1 after telling why.
 */
int wk_vision_people(const uint8_t *grey, int w, int h, wk_box_t *box,
    int max, char *error, size_t size);

/* Faces that look this way; `folder` has the cascades. */
int wk_vision_faces(const char *folder, const uint8_t *grey, int w, int h,
    wk_box_t *box, int max, char *error, size_t size);

/* How many open eyes there are in a face. */
int wk_vision_eyes(const char *folder, const uint8_t *grey, int w, int h,
    const wk_box_t *face, char *error, size_t size);

typedef struct wk_net_s  wk_net_t;

/* NULL after telling why. */
wk_net_t *wk_net_open(const char *file, char *error, size_t size);
void wk_net_close(wk_net_t *net);

/*
 * Runs it on a picture of w * h pixels of blue, green and red bytes;
 * `rgb`: it wants red first; `scale`: factor of the values.  *out is the
 * output of dims[0..2], the net's until the next call.
 */
bool wk_net_run(wk_net_t *net, const uint8_t *bgr, int w, int h, bool rgb,
    double scale, const float **out, int dims[3], char *error, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* MDVR_WORKER_VISION_H */
