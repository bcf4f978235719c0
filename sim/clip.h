/*
 * Films: Annex B streams of clips.sh, indexed by access unit and paced by
 * the wall clock: at Unix time t the camera shows frame floor(t * 25) modulo
 * the number of frames, so that the clock in the picture tells the time.
 */

#ifndef SIM_CLIP_H
#define SIM_CLIP_H

#include "mdvr/media/nal.h"

#define SIM_FPS       25
#define SIM_FRAME_US  (1000000 / SIM_FPS)

typedef struct {
    uint32_t  offset;
    uint32_t  size : 31;
    uint32_t  key : 1;
} sim_frame_t;

typedef struct sim_clip_s {
    char               *path;
    mdvr_codec_e        codec;
    const uint8_t      *bytes;      /* mapped */
    size_t              size;
    sim_frame_t        *frame;
    unsigned            frames;
    struct sim_clip_s  *next;
} sim_clip_t;

/*
 * The film of a camera: <dir>/<serial>-ch<n>-<stream>.<codec>, else
 * <dir>/SIM-<stream>.<codec>; channel counts from 1, stream is "main" or
 * "sub".  Loaded once and kept.  NULL: no such file, told once.
 */
const sim_clip_t *sim_clip_find(const char *dir, mdvr_str_t serial,
    unsigned channel, const char *stream, const char *codec);

/* A picture: <serial>-ch<n>.jpg, else SIM.jpg; empty when there is none. */
mdvr_str_t sim_clip_picture(const char *dir, mdvr_str_t serial,
    unsigned channel);

/* Number of the frame that belongs to a Unix time. */
static inline unsigned
sim_clip_at(const sim_clip_t *c, int64_t wall_us)
{
    return (unsigned) ((uint64_t) wall_us / SIM_FRAME_US % c->frames);
}

#endif /* SIM_CLIP_H */
