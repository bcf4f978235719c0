/*
 * Sound of a recorder: what its microphones hear, and what comes out of its
 * loudspeaker.
 *
 * The microphone of a camera hears 440 Hz and a beep of 1000 Hz each second; that
 * of the intercom hears --talk-tone.  Both are made here, in the configured
 * coding, in frames of 320 samples.  What the operator says is decoded and
 * written to --talk-record, 16 bits, 8 kHz, mono.
 *
 * Source: protocol reference, media.md sections 4, 5 and 7.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mdvr/media/voice.h"
#include "sim/session.h"

#define SIM_SOUND_FRAMES  250               /* 10 s, then over again */
#define SIM_PI            3.14159265358979

static uint8_t  sim_voice_out[1024];


/* frames of SIM_SOUND_FRAMES, or nothing when the coding is not known */
static mdvr_str_t
sim_sound_make(double hz, double level, double beep)
{
    size_t                    at;
    double                    t;
    int16_t                   pcm[MDVR_VOICE_FRAME];
    uint8_t                  *p;
    mdvr_voice_t              voice;
    const mdvr_audio_type_t  *type;

    type = mdvr_audio_type(sim_options.audio_type);

    if (type == NULL
        || mdvr_voice_init(&voice, (unsigned) type->type) != MDVR_OK)
    {
        return mdvr_str("", 0);
    }

    p = sim_alloc(SIM_SOUND_FRAMES * (size_t) type->frame_bytes + 8);
    at = 0;

    for (int f = 0; f < SIM_SOUND_FRAMES; f++) {
        for (int i = 0; i < MDVR_VOICE_FRAME; i++) {
            t = (f * MDVR_VOICE_FRAME + i) / (double) MDVR_VOICE_RATE;
            pcm[i] = (int16_t) (32767
                                * (level * sin(2 * SIM_PI * hz * t)
                                   + (fmod(t, 1) < 0.1
                                      ? beep * sin(2 * SIM_PI * 1000 * t)
                                      : 0)));
        }

        at += mdvr_voice_encode(&voice, pcm, MDVR_VOICE_FRAME, p + at);
    }

    return mdvr_str(p, at);
}


mdvr_str_t
sim_sound_camera(void)
{
    static mdvr_str_t  sound;

    if (sound.p == NULL) {
        sound = sim_sound_make(440, 0.15, 0.4);
    }

    return sound;
}


static mdvr_str_t
sim_sound_intercom(void)
{
    static mdvr_str_t  sound;

    if (sound.p == NULL) {
        sound = sim_sound_make(sim_options.talk_hz,
                               sim_options.talk_hz > 0 ? 0.4 : 0, 0);
    }

    return sound;
}


void
sim_sound_frame(sim_session_t *s, unsigned type, uint64_t stamp)
{
    unsigned                  n;
    mdvr_buf_t                b;
    const mdvr_audio_type_t  *t;

    t = mdvr_audio_type(sim_options.audio_type);

    if (t == NULL || s->sound.len == 0) {
        return;
    }

    n = t->frame_bytes;
    b = mdvr_buf(sim_voice_out, sizeof(sim_voice_out));
    mdvr_media_write_audio(&b, type, stamp,
                           mdvr_str(s->sound.p + s->sound_at % s->sound.len,
                                    n),
                           sim_options.audio_header,
                           sim_options.audio_padding);
    s->sound_at += n;
    sim_session_write(s, &b);
    sim_stats.audio_frames_sent++;
}


/* ---- talk ----------------------------------------------------------------------- */

static void
sim_voice_pace(void *data)
{
    int64_t         now;
    uint64_t        due;
    mdvr_buf_t      b;
    sim_session_t  *s = data;

    now = sim_wall_us();
    due = (uint64_t) now / SIM_FRAME_US;

    if (sim_options.hang_up_s > 0
        && now - s->started_us >= (int64_t) (sim_options.hang_up_s * 1e6))
    {
        b = mdvr_buf(sim_voice_out, sizeof(sim_voice_out));
        mdvr_media_write_empty(&b, MDVR_MEDIA_HANG_UP);
        sim_session_write(s, &b);
        s->started_us = INT64_MAX;          /* once; the server closes */
    }

    if (due > s->next_frame + SIM_FPS) {
        s->next_frame = due;
    }

    for (/* void */; s->next_frame <= due; s->next_frame++) {
        if (s->started_us != INT64_MAX) {
            sim_sound_frame(s, sim_options.talk_type,
                            sim_stamp(s, (int64_t) (s->next_frame
                                                    * SIM_FRAME_US)));
        }
    }

    sim_timer_set(&s->timer,
                  s->next_frame * SIM_FRAME_US - (uint64_t) now);
}


void
sim_voice_start(sim_session_t *s)
{
    mdvr_buf_t                b;
    const mdvr_audio_type_t  *t;

    t = mdvr_audio_type(sim_options.audio_type);
    b = mdvr_buf(sim_voice_out, sizeof(sim_voice_out));
    mdvr_media_write_talk(&b, (uint32_t) sim_options.audio_type,
                          (uint16_t) (t ? t->frame_bytes : 0));
    sim_session_write(s, &b);

    s->sound = s->source == 1 ? sim_sound_camera() : sim_sound_intercom();
    s->started_us = sim_wall_us();
    s->next_frame = (uint64_t) s->started_us / SIM_FRAME_US;
    s->timer.fire = sim_voice_pace;
    sim_voice_pace(s);
}


/* "%s" in the name is the serial */
static void
sim_voice_path(char *out, size_t size, const char *serial)
{
    const char  *name = sim_options.talk_record, *mark;

    mark = strstr(name, "%s");

    if (mark == NULL) {
        snprintf(out, size, "%s", name);

    } else {
        snprintf(out, size, "%.*s%s%s", (int) (mark - name), name, serial,
                 mark + 2);
    }
}


void
sim_voice_heard(sim_session_t *s, const mdvr_media_audio_t *a)
{
    size_t   n;
    FILE    *f;
    char     path[512];
    int16_t  pcm[2048];

    sim_stats.audio_frames_received++;

    if (sim_options.talk_record[0] == '\0') {
        return;
    }

    n = mdvr_voice_decode(&s->ear, (unsigned) sim_options.audio_type, a->data,
                          pcm, 2048);

    /* opened anew each time: one talks at a time */

    sim_voice_path(path, sizeof(path), s->device->serial);
    f = fopen(path, "ab");

    if (f == NULL || fwrite(pcm, sizeof(pcm[0]), n, f) != n) {
        sim_log(false, "cannot write %s", path);
    }

    if (f) {
        fclose(f);
    }
}
