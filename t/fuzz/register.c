/* V101 and the media registrations; the keyword is taken from the input. */

#include "mdvr/dc/register.h"
#include "t/fuzz/fuzz.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mdvr_v101_t            v;
    mdvr_location_t        loc;
    mdvr_media_reg_t       r;
    static mdvr_message_t  m;

    if (mdvr_message_parse(mdvr_str(data, size), &m) != MDVR_OK
        || mdvr_location_parse(&m, false, &loc) != MDVR_OK)
    {
        return 0;
    }

    if (mdvr_v101_parse(&m, &loc, &v) == MDVR_OK) {
        mdvr_v101_json(fuzz_json_begin(), &v);
        fuzz_json_end();
    }

    if (mdvr_media_reg_parse(&m, &loc, &r) == MDVR_OK) {
        fuzz_touch(r.session_id);
        fuzz_touch(r.file_name);
        fuzz_touch(r.plate);
        fuzz_touch(r.md5);

        if (r.kind == MDVR_SESSION_LIVE && (r.stream < 0 || r.stream > 1)) {
            abort();
        }
    }

    return 0;
}
