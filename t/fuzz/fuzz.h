/*
 * What the fuzz targets share.  A target reads the fuzzer's bytes through
 * the library and touches every byte of every view it gets back, so that a
 * view that leaves its input is seen.
 */

#ifndef MDVR_T_FUZZ_FUZZ_H
#define MDVR_T_FUZZ_FUZZ_H

#include <stdlib.h>

#include "mdvr/basics/json.h"
#include "mdvr/dc/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t  fuzz_sum;

static inline void
fuzz_touch(mdvr_str_t s)
{
    size_t   i;
    uint8_t  x;

    for (i = 0, x = 0; i < s.len; i++) {
        x ^= s.p[i];
    }

    fuzz_sum = x;
}

/* a JSON writer over a static buffer; fuzz_json_end() checks the text */
static char         fuzz_mem[65536];
static mdvr_buf_t   fuzz_buf;
static mdvr_json_t  fuzz_json;

static inline mdvr_json_t *
fuzz_json_begin(void)
{
    fuzz_buf = mdvr_buf(fuzz_mem, sizeof(fuzz_mem));
    mdvr_json_init(&fuzz_json, &fuzz_buf);
    mdvr_json_object(&fuzz_json, NULL);

    return &fuzz_json;
}

static inline void
fuzz_json_end(void)
{
    mdvr_json_object_end(&fuzz_json);

    if (!fuzz_buf.full
        && (fuzz_json.level != 0
            || !mdvr_utf8_valid(mdvr_buf_view(&fuzz_buf))))
    {
        abort();
    }
}

#endif /* MDVR_T_FUZZ_FUZZ_H */
