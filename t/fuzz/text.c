/* Device text, stamps and numbers. */

#include "mdvr/dc/text.h"
#include "mdvr/dc/time.h"
#include "t/fuzz/fuzz.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char         out[4096];
    double       d;
    size_t       max;
    int64_t      t;
    uint64_t     u;
    mdvr_buf_t   b;
    mdvr_str_t   in;
    mdvr_text_e  e;

    in = mdvr_str(data, size);
    max = size ? data[0] : 0;

    b = mdvr_buf(out, sizeof(out));
    mdvr_text_decode(&b, in, max);

    if (b.len > max || !mdvr_utf8_valid(mdvr_buf_view(&b))) {
        abort();
    }

    for (e = MDVR_TEXT_UTF8; e <= MDVR_TEXT_UTF16LE; e++) {
        b = mdvr_buf(out, sizeof(out));
        mdvr_text_encode(&b, in, e, false);

        if (e != MDVR_TEXT_UTF16LE
            && (mdvr_str_chr(mdvr_buf_view(&b), ',') >= 0
                || mdvr_str_chr(mdvr_buf_view(&b), '#') >= 0))
        {
            abort();
        }
    }

    b = mdvr_buf(out, sizeof(out));
    mdvr_json_escape(&b, in);

    if (!b.full && !mdvr_utf8_valid(mdvr_buf_view(&b))) {
        abort();
    }

    if (mdvr_time_parse_file(in, 480, &t)) {
        b = mdvr_buf(out, sizeof(out));
        mdvr_time_write_rfc3339(&b, t * 1000);
    }

    if (mdvr_str_dec(in, &d) && !(d > -1e16 && d < 1e16)) {
        abort();
    }

    (void) mdvr_str_u64(in, &u);
    (void) mdvr_str_i64(in, &t);
    (void) mdvr_str_hex(in, &u);

    return 0;
}
