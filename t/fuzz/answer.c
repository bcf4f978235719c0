/* V100: answers to commands. */

#include "mdvr/dc/answer.h"
#include "t/fuzz/fuzz.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mdvr_answer_t          a;
    mdvr_location_t        loc;
    static mdvr_message_t  m;

    if (mdvr_message_parse(mdvr_str(data, size), &m) != MDVR_OK
        || mdvr_location_parse(&m, false, &loc) != MDVR_OK
        || mdvr_answer_parse(&m, &loc, &a) != MDVR_OK)
    {
        return 0;
    }

    fuzz_touch(a.content);
    fuzz_touch(a.reason);
    mdvr_answer_json(fuzz_json_begin(), &a);
    fuzz_json_end();

    return 0;
}
