/*
 * Any bytes as Sec-WebSocket-Extensions: what is taken is within its bounds.
 */

#include <stdlib.h>

#include "mdvr/web/ws_offer.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool      taken;
    uint8_t  *copy;
    unsigned  bits = 99;

    copy = malloc(size ? size : 1);

    if (size) {
        memcpy(copy, data, size);
    }

    taken = mdvr_ws_offer_deflate(mdvr_str(copy, size), 12, &bits);

    if (bits > 15 || (bits && bits < 12) || (!taken && bits)) {
        abort();
    }

    free(copy);

    return 0;
}
