/* See files.h. */

#include <stdio.h>

#include "mdvr/basics/bytes.h"
#include "mdvr/dc/time.h"
#include "sim/files.h"


void
sim_file_name(char *out, size_t size, bool picture, unsigned channel,
    int64_t start_s, unsigned duration_s)
{
    int  a[6], b[6];

    mdvr_time_civil(start_s, a);
    mdvr_time_civil(start_s + duration_s, b);

    if (picture) {
        snprintf(out, size, "/mnt/sd0/%04d-%02d-%02d/pic/ch%02u-"
                 "%02d%02d%02d.jpg", a[0], a[1], a[2], channel, a[3], a[4],
                 a[5]);
        return;
    }

    snprintf(out, size, "/mnt/sd0/%04d-%02d-%02d/ch%02u-%02d%02d%02d-"
             "%02d%02d%02d.h264", a[0], a[1], a[2], channel, a[3], a[4],
             a[5], b[3], b[4], b[5]);
}


bool
sim_file_open(sim_recording_t *f, const char *clip_dir, const char *codec,
    mdvr_str_t serial, mdvr_str_t path, unsigned channels, int64_t now_s)
{
    int       n, y, mo, d, h1, m1, s1, h2, m2, s2;
    char      text[256];
    int64_t   end;
    unsigned  whole, rest;

    memset(f, 0, sizeof(sim_recording_t));
    mdvr_str_copy(text, sizeof(text), path);
    n = 0;

    if (sscanf(text, "/mnt/sd0/%4d-%2d-%2d/pic/ch%2u-%2d%2d%2d.jpg%n", &y,
               &mo, &d, &f->channel, &h1, &m1, &s1, &n) == 7
        && n && text[n] == '\0')
    {
        f->picture = true;
        f->start_s = mdvr_time_unix(y, mo, d, h1, m1, s1);
        f->bytes = sim_clip_picture(clip_dir, serial, f->channel);
        f->size = f->bytes.len;

        return f->size > 0 && f->start_s <= now_s && f->channel >= 1
               && f->channel <= channels;
    }

    n = 0;

    if (sscanf(text, "/mnt/sd0/%4d-%2d-%2d/ch%2u-%2d%2d%2d-%2d%2d%2d.h264%n",
               &y, &mo, &d, &f->channel, &h1, &m1, &s1, &h2, &m2, &s2, &n)
        != 10 || n == 0 || text[n] != '\0')
    {
        return false;
    }

    f->start_s = mdvr_time_unix(y, mo, d, h1, m1, s1);
    end = mdvr_time_unix(y, mo, d, h2, m2, s2);
    end += end < f->start_s ? 86400 : 0;
    f->duration_s = (unsigned) (end - f->start_s);

    if (f->channel < 1 || f->channel > channels || end > now_s + 2
        || f->duration_s > 3600 || f->start_s < now_s - 8 * 86400)
    {
        return false;
    }

    f->clip = sim_clip_find(clip_dir, serial, f->channel, "sub", codec);

    if (f->clip == NULL) {
        return false;
    }

    whole = f->duration_s * SIM_FPS / f->clip->frames;
    rest = f->duration_s * SIM_FPS % f->clip->frames;
    f->film = (uint64_t) whole * f->clip->size
              + (rest ? f->clip->frame[rest].offset : 0);
    f->size = (SIM_FILE_HEADER + f->film + 4095) / 4096 * 4096;

    return true;
}


/* the proprietary header: times, rate, maker's name, index, leftovers */
static void
sim_file_header(const sim_recording_t *f, uint8_t p[SIM_FILE_HEADER])
{
    int       t[6];
    size_t    i, at;
    uint64_t  n;

    memset(p, 0, SIM_FILE_HEADER);
    mdvr_time_civil(f->start_s, t);

    for (i = 0; i < 6; i++) {
        p[32 + i] = p[40 + i] = (uint8_t) (i ? t[i] : t[0] - 2000);
    }

    mdvr_put_le32(p + 64, 8000);
    memcpy(p + 80, "SSY_DVR_10XX", 12);

    for (at = 608, n = SIM_FILE_HEADER; at + 8 <= 1440 && n < f->size;
         at += 8, n += 65536)
    {
        memcpy(p + at, "\xfd\xfc\xfb\xfa", 4);
        mdvr_put_le32(p + at + 4, (uint32_t) n);
    }

    /* what was in the device's memory; start codes among it, too */

    for (i = 1444; i < SIM_FILE_HEADER; i++) {
        p[i] = (uint8_t) (i * 37 >> 3);
    }

    memcpy(p + 2000, "\0\0\0\1\x09\xf0", 6);
}


size_t
sim_file_read(const sim_recording_t *f, uint64_t offset, uint8_t *out,
    size_t len)
{
    size_t    n, done;
    uint64_t  at;
    uint8_t   header[SIM_FILE_HEADER];

    if (offset >= f->size) {
        return 0;
    }

    if (len > f->size - offset) {
        len = (size_t) (f->size - offset);
    }

    if (f->picture) {
        memcpy(out, f->bytes.p + offset, len);
        return len;
    }

    for (done = 0; done < len; done += n) {
        at = offset + done;
        n = len - done;

        if (at < SIM_FILE_HEADER) {
            n = n < SIM_FILE_HEADER - at ? n : (size_t) (SIM_FILE_HEADER
                                                         - at);
            sim_file_header(f, header);
            memcpy(out + done, header + at, n);
            continue;
        }

        at -= SIM_FILE_HEADER;

        if (at >= f->film) {
            memset(out + done, 0, n);
            continue;
        }

        n = n < f->film - at ? n : (size_t) (f->film - at);
        at %= f->clip->size;
        n = n < f->clip->size - at ? n : (size_t) (f->clip->size - at);
        memcpy(out + done, f->clip->bytes + at, n);
    }

    return len;
}
