/*
 * The media envelope in pieces, and every payload reader over what it
 * delivers.  The first byte chooses the size of the pieces.
 */

#include "mdvr/dc/media.h"
#include "mdvr/media/voice.h"
#include "t/fuzz/fuzz.h"


static void
payload(const mdvr_media_msg_t *msg)
{
    uint16_t                 a, b;
    uint32_t                 on;
    unsigned                 i;
    mdvr_str_t               p;
    mdvr_media_talk_t        talk;
    mdvr_media_audio_t       au;
    mdvr_voice_t             voice;
    int16_t                  pcm[24];
    mdvr_media_block_t       block;
    mdvr_media_video_t       v;
    mdvr_media_params_t      params;
    mdvr_media_record_t      record;
    mdvr_media_report_t      report;
    mdvr_media_result_t      res;
    mdvr_media_switch_t      sw;
    mdvr_media_reposition_t  repo;

    p = msg->payload;
    fuzz_touch(p);

    if (mdvr_media_read_video(msg->type, p, &v) == MDVR_OK) {
        fuzz_touch(v.data);
    }

    if (mdvr_media_read_audio(msg->type, p, &au) == MDVR_OK) {
        fuzz_touch(au.data);

        /* a little of it as some type, known or not */

        memset(&voice, 0, sizeof(voice));
        (void) mdvr_voice_decode(&voice, au.data.len % 13, au.data, pcm, 24);
    }

    if (mdvr_media_read_block(p, &block) == MDVR_OK) {
        fuzz_touch(block.data);
    }

    for (i = 0; mdvr_media_read_record(p, i, &record) == MDVR_OK; i++) {
        fuzz_touch(record.name);
    }

    (void) mdvr_media_read_result(p, &res);
    (void) mdvr_media_read_switch(p, &on);
    (void) mdvr_media_read_params(p, &params);
    (void) mdvr_media_read_report(p, &report);
    (void) mdvr_media_read_reposition(p, &repo);
    (void) mdvr_media_read_talk(p, &talk);
    (void) mdvr_media_read_checksum(p, &a, &b);
    (void) mdvr_media_read_video_switch(p, &sw);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                piece, have;
    uint8_t              *copy;
    mdvr_rc_t             rc;
    const uint8_t        *pos, *before;
    mdvr_media_msg_t      msg;
    mdvr_media_parser_t   parser;

    if (size < 2) {
        return 0;
    }

    memset(&parser, 0, sizeof(parser));
    parser.started = data[0] & 1;
    parser.legacy = (data[0] & 3) == 3;
    piece = 1 + (data[0] >> 2) * 9;
    data++;
    size--;

    copy = malloc(size);
    memcpy(copy, data, size);
    pos = copy;
    rc = MDVR_AGAIN;

    for (have = 0; have < size && rc == MDVR_AGAIN; /* void */) {
        have = size - have < piece ? size : have + piece;

        for ( ;; ) {
            before = pos;
            rc = mdvr_media_next(&parser, &pos, copy + have, &msg);

            if (pos < before || pos > copy + have) {
                abort();
            }

            if (rc != MDVR_OK) {
                break;
            }

            if (pos == before) {
                abort();
            }

            if (msg.text) {
                fuzz_touch(msg.frame.content);

            } else {
                payload(&msg);
            }
        }

        if (rc == MDVR_AGAIN && parser.need > (4U << 20) + 32) {
            abort();
        }
    }

    if (rc == MDVR_AGAIN && pos < copy + size
        && mdvr_media_idle(&parser, &pos, copy + size, &msg) == MDVR_OK)
    {
        fuzz_touch(msg.frame.content);
    }

    free(copy);

    return 0;
}
