/*
 * The 64 status bits as named flags, sets and states.  Byte 1 of the wire is
 * the most significant byte of the number; a bit that the mask takes out is
 * unknown, not off; a field of several bits is known only as a whole.
 * Source: protocol reference, location.md sections 4 and 5.
 */

#include "mdvr/dc/location.h"
#include "mdvr/dc/write.h"

#define MDVR_STATUS_SHIFT(byte, bit)  ((8 - (byte)) * 8 + (bit))

static const uint8_t  mdvr_status_shifts[MDVR_STATUS_FLAG_COUNT] = {
#define MDVR_STATUS_ROW(name, byte, bit)                                  \
    [MDVR_STATUS_##name] = MDVR_STATUS_SHIFT(byte, bit),
    MDVR_STATUS_FLAG_LIST(MDVR_STATUS_ROW)
#undef MDVR_STATUS_ROW
};

static const char *const  mdvr_status_names[MDVR_STATUS_FLAG_COUNT] = {
#define MDVR_STATUS_ROW(name, byte, bit)  [MDVR_STATUS_##name] = #name,
    MDVR_STATUS_FLAG_LIST(MDVR_STATUS_ROW)
#undef MDVR_STATUS_ROW
};


static uint64_t
mdvr_status_field(uint64_t v, unsigned byte, unsigned bit, unsigned width)
{
    return v >> MDVR_STATUS_SHIFT(byte, bit) & ((1ULL << width) - 1);
}


int
mdvr_status_flag(const mdvr_status_t *st, mdvr_status_flag_e flag)
{
    uint64_t  bit;

    bit = mdvr_status_flag_bit(flag);

    if (!(st->known & bit)) {
        return -1;
    }

    return st->bits & bit ? 1 : 0;
}


uint64_t
mdvr_status_flag_bit(mdvr_status_flag_e flag)
{
    return 1ULL << mdvr_status_shifts[flag];
}


static uint32_t
mdvr_status_numbers(uint64_t v, mdvr_status_set_e set)
{
    switch (set) {
    case MDVR_STATUS_RECORDING:
        return (uint32_t) mdvr_status_field(v, 1, 0, 8);
    case MDVR_STATUS_VIDEO_LOSS:
        return (uint32_t) mdvr_status_field(v, 2, 0, 8);
    case MDVR_STATUS_INPUTS:
        return (uint32_t) (mdvr_status_field(v, 4, 0, 8)
                           | mdvr_status_field(v, 3, 0, 8) << 8);
    case MDVR_STATUS_OUTPUTS:
        return (uint32_t) mdvr_status_field(v, 6, 0, 4);
    default:
        return 0;
    }
}


uint32_t
mdvr_status_set(const mdvr_status_t *st, mdvr_status_set_e set,
    uint32_t *known)
{
    if (known) {
        *known = mdvr_status_numbers(st->known, set);
    }

    return mdvr_status_numbers(st->bits, set);
}


uint64_t
mdvr_status_set_bits(mdvr_status_set_e set, uint32_t numbers)
{
    uint64_t  n = numbers;

    switch (set) {
    case MDVR_STATUS_RECORDING:
        return (n & 0xff) << MDVR_STATUS_SHIFT(1, 0);
    case MDVR_STATUS_VIDEO_LOSS:
        return (n & 0xff) << MDVR_STATUS_SHIFT(2, 0);
    case MDVR_STATUS_INPUTS:
        return (n & 0xff) << MDVR_STATUS_SHIFT(4, 0)
               | (n >> 8 & 0xff) << MDVR_STATUS_SHIFT(3, 0);
    case MDVR_STATUS_OUTPUTS:
        return (n & 0x0f) << MDVR_STATUS_SHIFT(6, 0);
    default:
        return 0;
    }
}


int
mdvr_status_disk(const mdvr_status_t *st, unsigned disk)
{
    unsigned  byte, bit;

    byte = disk == 1 ? 7 : 6;
    bit = disk == 1 ? 1 : 4;

    /* the flag says that the two bits above it mean something */

    if (mdvr_status_field(st->known, byte, bit, 3) != 7
        || !mdvr_status_field(st->bits, byte, bit, 1))
    {
        return -1;
    }

    return (int) mdvr_status_field(st->bits, byte, bit + 1, 2);
}


uint64_t
mdvr_status_disk_bits(unsigned disk, unsigned state)
{
    return (uint64_t) (1 | (state & 3) << 1)
           << (disk == 1 ? MDVR_STATUS_SHIFT(7, 1) : MDVR_STATUS_SHIFT(6, 4));
}


const char *
mdvr_disk_name(int state)
{
    static const char *const  names[] = { "absent", "present", "off" };

    return state >= 0 && state <= 2 ? names[state] : NULL;
}


int
mdvr_status_network(const mdvr_status_t *st)
{
    if (mdvr_status_field(st->known, 7, 4, 4) != 15
        || !mdvr_status_field(st->bits, 7, 4, 1))
    {
        return -1;
    }

    return (int) mdvr_status_field(st->bits, 7, 5, 3);
}


uint64_t
mdvr_status_network_bits(unsigned state)
{
    return (uint64_t) (1 | (state & 7) << 1) << MDVR_STATUS_SHIFT(7, 4);
}


const char *
mdvr_network_name(int state)
{
    static const char *const  names[] = {
        "no_sim", "weak", "poor", "fair", "good", "excellent", "no_modem",
        "off"
    };

    return state >= 0 && state <= 7 ? names[state] : NULL;
}


void
mdvr_status_json(mdvr_json_t *j, const char *key, const mdvr_status_t *st)
{
    int       v;
    unsigned  i, n;
    uint32_t  set, known;

    static const char *const  sets[MDVR_STATUS_SET_COUNT] = {
        "recording", "video_loss", "inputs", "outputs"
    };

    mdvr_json_object(j, key);

    for (i = 0; i < MDVR_STATUS_SET_COUNT; i++) {
        set = mdvr_status_set(st, (mdvr_status_set_e) i, &known);

        if (known == 0) {
            mdvr_json_null(j, sets[i]);
            continue;
        }

        mdvr_json_array(j, sets[i]);

        for (n = 1; set; n++, set >>= 1) {
            if (set & 1) {
                mdvr_json_u64(j, NULL, n);
            }
        }

        mdvr_json_array_end(j);
    }

    for (i = 0; i < MDVR_STATUS_FLAG_COUNT; i++) {
        v = mdvr_status_flag(st, (mdvr_status_flag_e) i);

        if (v < 0) {
            mdvr_json_null(j, mdvr_status_names[i]);

        } else {
            mdvr_json_bool(j, mdvr_status_names[i], v == 1);
        }
    }

    mdvr_json_cstr(j, "disk1", mdvr_disk_name(mdvr_status_disk(st, 1)));
    mdvr_json_cstr(j, "disk2", mdvr_disk_name(mdvr_status_disk(st, 2)));
    mdvr_json_cstr(j, "network", mdvr_network_name(mdvr_status_network(st)));

    mdvr_json_object_end(j);
}


void
mdvr_location_json(mdvr_json_t *j, const mdvr_location_t *loc)
{
    int  acc;

    if (loc->has_position) {
        mdvr_json_dec(j, "lat", loc->lat_deg, 7);
        mdvr_json_dec(j, "lon", loc->lon_deg, 7);

    } else {
        mdvr_json_null(j, "lat");
        mdvr_json_null(j, "lon");
    }

    mdvr_json_bool(j, "gps_valid", loc->gps_valid && loc->has_position);

    if (loc->satellites >= 0) {
        mdvr_json_i64(j, "satellites", loc->satellites);

    } else {
        mdvr_json_null(j, "satellites");
    }

    mdvr_json_dec(j, "speed_kmh", loc->speed_kmh, 2);
    mdvr_json_dec(j, "course_deg", loc->course_deg, 2);

    acc = mdvr_status_flag(&loc->status, MDVR_STATUS_acc);

    if (acc < 0) {
        mdvr_json_null(j, "acc");

    } else {
        mdvr_json_bool(j, "acc", acc == 1);
    }

    if (loc->mileage_m >= 0) {
        mdvr_json_i64(j, "mileage_m", loc->mileage_m);

    } else {
        mdvr_json_null(j, "mileage_m");
    }

    mdvr_json_dec(j, "fuel_l", loc->fuel_l, 2);
    mdvr_status_json(j, "status", &loc->status);
}
