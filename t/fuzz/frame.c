/*
 * Text framing.  The first byte chooses strictness and the size of pieces;
 * whatever the pieces, the messages that are found lie in the input, the
 * kept tail stays small and the parser always moves on.
 */

#include "mdvr/dc/frame.h"
#include "t/fuzz/fuzz.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             piece, have;
    uint8_t           *copy;
    mdvr_rc_t          rc;
    mdvr_frame_t       f;
    const uint8_t     *pos, *before;
    mdvr_frame_msg_t   msg;

    if (size < 2) {
        return 0;
    }

    memset(&f, 0, sizeof(f));
    f.relaxed = data[0] & 1;
    piece = 1 + (data[0] >> 1) * 5;
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
            rc = mdvr_frame_next(&f, &pos, copy + have, &msg);

            if (pos < before || pos > copy + have) {
                abort();
            }

            if (rc != MDVR_OK) {
                break;
            }

            if (pos == before || msg.wire.p < copy
                || msg.wire.p + msg.wire.len > copy + have)
            {
                abort();
            }

            fuzz_touch(msg.content);
        }

        if (rc == MDVR_AGAIN && copy + have - pos > MDVR_FRAME_MAX + 2) {
            abort();
        }
    }

    if (rc == MDVR_AGAIN && pos < copy + size) {

        if (mdvr_frame_idle(&f, &pos, copy + size, &msg) == MDVR_OK) {
            fuzz_touch(msg.content);
        }

        if (mdvr_frame_stale(&f, &pos, copy + size) == MDVR_OK) {
            (void) mdvr_frame_next(&f, &pos, copy + size, &msg);
        }
    }

    free(copy);

    return 0;
}
