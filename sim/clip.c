/* See clip.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/clip.h"
#include "sim/loop.h"

typedef struct sim_file_s {
    char               *path;
    mdvr_str_t          bytes;
    struct sim_file_s  *next;
} sim_file_t;

static sim_clip_t  *sim_clips;
static sim_file_t  *sim_files;


/* a whole file, mapped once; an empty view when it cannot be read */
static mdvr_str_t
sim_file(const char *path)
{
    int           fd;
    void         *p;
    sim_file_t   *f;
    struct stat   st;

    for (f = sim_files; f; f = f->next) {
        if (strcmp(f->path, path) == 0) {
            return f->bytes;
        }
    }

    f = sim_alloc(sizeof(sim_file_t));
    f->path = strdup(path);
    f->next = sim_files;
    sim_files = f;

    fd = open(path, O_RDONLY|O_CLOEXEC);

    if (fd < 0) {
        return f->bytes;
    }

    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (p != MAP_FAILED) {
            f->bytes = mdvr_str(p, (size_t) st.st_size);
        }
    }

    close(fd);

    return f->bytes;
}


static void
sim_clip_index(sim_clip_t *c)
{
    unsigned        cap;
    mdvr_au_t       scan;
    mdvr_str_t      au;
    const uint8_t  *pos;

    cap = 0;
    pos = c->bytes;

    while (mdvr_au_next(c->codec, &pos, c->bytes + c->size, &au)) {

        if (c->frames == cap) {
            cap = cap ? 2 * cap : 512;
            c->frame = sim_realloc(c->frame, cap * sizeof(sim_frame_t));
        }

        mdvr_au_scan(c->codec, au, &scan);
        c->frame[c->frames].offset = (uint32_t) (au.p - c->bytes);
        c->frame[c->frames].size = (uint32_t) au.len & 0x7fffffff;
        c->frame[c->frames].key = scan.key;
        c->frames++;
    }
}


static const sim_clip_t *
sim_clip_load(const char *path)
{
    mdvr_str_t   bytes;
    sim_clip_t  *c;

    for (c = sim_clips; c; c = c->next) {
        if (strcmp(c->path, path) == 0) {
            return c->frames ? c : NULL;
        }
    }

    c = sim_alloc(sizeof(sim_clip_t));
    c->path = strdup(path);
    c->next = sim_clips;
    sim_clips = c;

    bytes = sim_file(path);
    c->bytes = bytes.p;
    c->size = bytes.len;

    if (bytes.len) {
        c->codec = mdvr_codec_detect(bytes);
        sim_clip_index(c);
    }

    return c->frames && c->codec != MDVR_CODEC_NONE ? c : NULL;
}


const sim_clip_t *
sim_clip_find(const char *dir, mdvr_str_t serial, unsigned channel,
    const char *stream, const char *codec)
{
    char               path[512];
    static bool        told;
    const sim_clip_t  *c;

    snprintf(path, sizeof(path), "%s/%.*s-ch%u-%s.%s", dir, (int) serial.len,
             (const char *) serial.p, channel, stream, codec);

    c = access(path, R_OK) == 0 ? sim_clip_load(path) : NULL;

    if (c == NULL) {
        snprintf(path, sizeof(path), "%s/SIM-%s.%s", dir, stream, codec);
        c = sim_clip_load(path);
    }

    if (c == NULL && !told) {
        told = true;
        sim_log(false, "no film %s: make it with sim/clips.sh", path);
    }

    return c;
}


mdvr_str_t
sim_clip_picture(const char *dir, mdvr_str_t serial, unsigned channel)
{
    char        path[512];
    mdvr_str_t  s;

    snprintf(path, sizeof(path), "%s/%.*s-ch%u.jpg", dir, (int) serial.len,
             (const char *) serial.p, channel);

    s = access(path, R_OK) == 0 ? sim_file(path) : mdvr_str("", 0);

    if (s.len == 0) {
        snprintf(path, sizeof(path), "%s/SIM.jpg", dir);
        s = sim_file(path);
    }

    return s;
}
