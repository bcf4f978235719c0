/* Header, tokens and location group of a message's content. */

#include "mdvr/dc/location.h"
#include "t/fuzz/fuzz.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned                i;
    mdvr_rc_t               rc;
    static mdvr_message_t   m;
    mdvr_location_t         loc;

    rc = mdvr_message_parse(mdvr_str(data, size), &m);

    if (rc != MDVR_OK && rc != MDVR_E_SERIAL) {
        return 0;
    }

    for (i = 0; i < m.nbody; i++) {
        fuzz_touch(m.body[i]);
    }

    fuzz_touch(mdvr_message_body(&m));

    if (mdvr_location_parse(&m, size & 1, &loc) != MDVR_OK) {
        return 0;
    }

    if (loc.next > m.nbody || loc.lat_deg > 90 || loc.lat_deg < -90
        || loc.lon_deg > 180 || loc.lon_deg < -180 || loc.course_deg >= 360
        || loc.speed_kmh > 500)
    {
        abort();
    }

    (void) mdvr_location_trigger(&m, &loc);
    mdvr_location_json(fuzz_json_begin(), &loc);
    fuzz_json_end();

    return 0;
}
