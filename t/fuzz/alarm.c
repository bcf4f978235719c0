/* Alarm bodies and the other messages of that kind. */

#include "mdvr/domain/alarm_kind.h"
#include "t/fuzz/fuzz.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mdvr_v130_t               call;
    mdvr_v232_t               f;
    mdvr_v234_t               g;
    mdvr_v600_t               h;
    mdvr_alarm_t              a;
    mdvr_phase_e              phase;
    mdvr_location_t           loc;
    mdvr_alarm_permit_t       p;
    static mdvr_message_t     m;
    const mdvr_alarm_kind_t  *kind;

    if (mdvr_message_parse(mdvr_str(data, size), &m) != MDVR_OK
        || mdvr_location_parse(&m, false, &loc) != MDVR_OK)
    {
        return 0;
    }

    (void) mdvr_alarm_permit_parse(&m, &loc, &p);
    (void) mdvr_v130_parse(&m, &loc, &call);

    if (mdvr_v600_parse(&m, &loc, &h) == MDVR_OK) {
        fuzz_touch(h.hex);
    }

    if (mdvr_alarm_parse(&m, &loc, &a) != MDVR_OK) {
        return 0;
    }

    if (a.uid.len == 0 || a.uid.len > MDVR_UID_MAX) {
        abort();
    }

    fuzz_touch(a.raw);
    kind = mdvr_alarm_kind(a.code, &phase);

    if (kind) {
        fuzz_touch(mdvr_alarm_sub_key(kind, &a));
    }

    if (mdvr_v232_parse(&a, &f) == MDVR_OK) {
        fuzz_touch(f.path);
    }

    (void) mdvr_v234_parse(&a, &g);

    mdvr_alarm_json(fuzz_json_begin(), &a);
    fuzz_json_end();

    return 0;
}
