/*
 * The recordings of a device: they exist without being stored.  A name tells
 * channel and time,
 *
 *   /mnt/sd0/2021-03-05/ch02-081500-082000.h264
 *   /mnt/sd0/2021-03-05/pic/ch01-101812.jpg
 *
 * and the content follows from it: a header like the captured one (protocol
 * reference, media.md section 6), then the film of that channel over and
 * over, padded to a multiple of 4096.
 */

#ifndef SIM_FILES_H
#define SIM_FILES_H

#include "mdvr/basics/str.h"
#include "sim/clip.h"

#define SIM_FILE_HEADER  4096

typedef struct {
    bool               picture;
    unsigned           channel;     /* 1-based */
    int64_t            start_s;     /* device clock, as if it were UTC */
    unsigned           duration_s;
    uint64_t           size;
    const sim_clip_t  *clip;        /* of a recording */
    uint64_t           film;        /* bytes of film behind the header */
    mdvr_str_t         bytes;       /* of a picture */
} sim_recording_t;

/* The name of a recording (or picture) into `out`. */
void sim_file_name(char *out, size_t size, bool picture, unsigned channel,
    int64_t start_s, unsigned duration_s);

/* False: no such file, or not yet at `now_s`. */
bool sim_file_open(sim_recording_t *f, const char *clip_dir,
    const char *codec, mdvr_str_t serial, mdvr_str_t path, unsigned channels,
    int64_t now_s);

/* Copies up to `len` bytes from `offset`; the number copied. */
size_t sim_file_read(const sim_recording_t *f, uint64_t offset, uint8_t *out,
    size_t len);

/* MD5 as 32 hexadecimal digits, of a file as the server will see it. */
void sim_md5(mdvr_str_t data, char out[33]);

#endif /* SIM_FILES_H */
