/* Spans that wait for the collector: order, blocks, bounds. */

#include <string.h>

#include "t/unit/lib/tap.h"
#include "worker/held.c"


static wk_held_t  held;


int
main(void)
{
    unsigned      n, got, lost;
    static char   span[4096], large[WK_HELD_BLOCK + 1];

    memset(span, 's', sizeof(span));
    memset(large, 'l', sizeof(large));

    tap_ok(!wk_held_any(&held) && !wk_held_full(&held), "nothing waits");
    tap_ok(wk_held_drop(&held) == 0, "and nothing is dropped");
    tap_ok(wk_held_add(&held, "one", 3, "{a}", 3)
       && wk_held_add(&held, "one", 3, "{b}", 3)
       && wk_held_add(&held, "two", 3, "{c}", 3), "three spans");
    tap_ok(held.nservices == 2 && held.nblocks == 2, "a block for each service");
    tap_ok(held.services[0].first->len == 7
       && memcmp(held.services[0].first->text, "{a},{b}", 7) == 0,
       "a comma between two");

    wk_held_take(&held);
    tap_ok(wk_held_add(&held, "one", 3, "{d}", 3), "one that comes meanwhile");
    tap_ok(held.services[0].first->n == 2 && held.nblocks == 3,
       "does not change what was taken");
    tap_ok(wk_held_full(&held), "two blocks of one service do not wait for more");
    tap_ok(wk_held_drop(&held) == 3, "what was sent goes");
    tap_ok(wk_held_any(&held) && held.services[0].first->n == 1, "the other stays");
    tap_ok(wk_held_drop(&held) == 0, "until it is taken");
    wk_held_take(&held);
    tap_ok(wk_held_drop(&held) == 1 && !wk_held_any(&held), "and goes, too");

    tap_ok(!wk_held_add(&held, "", 0, "{a}", 3)
       && !wk_held_add(&held, large, 32, "{a}", 3), "names have a length");
    tap_ok(!wk_held_add(&held, "one", 3, large, sizeof(large))
       && !wk_held_add(&held, "one", 3, "", 0), "and spans");
    tap_ok(wk_held_add(&held, "three", 5, "{a}", 3)
       && wk_held_add(&held, "four", 4, "{a}", 3)
       && !wk_held_add(&held, "five", 4, "{a}", 3), "four services at most");

    for (n = 0, lost = 0; n < 8192; n++) {
        lost += !wk_held_add(&held, "one", 3, span, sizeof(span));
    }

    tap_ok(held.nblocks == WK_HELD_BLOCKS, "a collector that stays away");
    tap_ok(lost > 0 && lost > 8192 - WK_HELD_BLOCKS * 64, "costs spans, not memory");

    for (got = 0; wk_held_any(&held); got += wk_held_drop(&held)) {
        wk_held_take(&held);
    }

    tap_ok(got + lost == 8192 + 2, "all others leave in their turn");
    tap_ok(held.nblocks == 0, "and nothing is left");

    return tap_end();
}
