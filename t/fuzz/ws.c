/*
 * Any bytes as a client's frames, in pieces whose sizes come from the input.
 * What is handed out must lie in the piece, and the totals must agree.
 */

#include <stdlib.h>

#include "mdvr/web/ws.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t           n, used, u, step;
    uint8_t         *copy;
    uint64_t         message = 0;
    unsigned         code;
    mdvr_rc_t        rc = MDVR_AGAIN;
    mdvr_str_t       reason;
    mdvr_ws_t        ws;
    mdvr_ws_event_t  ev;

    if (size < 2) {
        return 0;
    }

    mdvr_ws_init(&ws, data[0] & 1, 4096);
    ws.deflate = data[0] >> 7;
    step = ((data[0] >> 1) & 63) + 1;
    data++;
    size--;

    while (size && rc == MDVR_AGAIN) {
        n = step < size ? step : size;
        copy = malloc(n);
        memcpy(copy, data, n);

        for (used = 0; ; used += u) {
            rc = mdvr_ws_parse(&ws, copy + used, n - used, &u, &ev);

            if (u > n - used) {
                abort();
            }

            if (rc != MDVR_OK) {
                break;
            }

            if (ev.opcode == MDVR_WS_CLOSE) {
                (void) mdvr_ws_close_read(ev.data, &code, &reason);
            }

            if (ev.packed && (!ws.deflate || ev.opcode >= MDVR_WS_CLOSE)) {
                abort();
            }

            if (ev.opcode >= MDVR_WS_CLOSE) {
                if (ev.data.len > MDVR_WS_CONTROL_MAX) {
                    abort();
                }

                continue;
            }

            if (ev.data.len
                && (ev.data.p < copy || ev.data.p + ev.data.len > copy + n))
            {
                abort();
            }

            message = ev.last ? 0 : message + ev.data.len;

            if (message > 4096) {
                abort();
            }
        }

        if (rc == MDVR_AGAIN && used + u != n) {
            abort();
        }

        free(copy);
        data += n;
        size -= n;
    }

    return 0;
}
