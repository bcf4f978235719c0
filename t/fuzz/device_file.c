/* What a device recorded: any bytes, the forms are told from them. */

#include "worker/source.c"
#include "t/fuzz/fuzz.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned     frames, again;
    wk_frame_t   f;
    wk_source_t  s;

    if (wk_source_open(&s, mdvr_str(data, size)) == MDVR_OK) {
        for (frames = 0; wk_source_next(&s, &f); frames++) {
            fuzz_touch(f.data);

            if (f.stamp_us < -1) {
                abort();
            }
        }

        wk_source_rewind(&s);

        for (again = 0; wk_source_next(&s, &f); again++) {
            /* the same frames again */
        }

        if (again != frames || (frames && s.headers_len == 0)) {
            abort();
        }
    }

    wk_source_close(&s);

    return 0;
}
