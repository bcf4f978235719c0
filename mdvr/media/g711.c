#include "mdvr/media/g711.h"


int16_t
mdvr_alaw_decode(uint8_t v)
{
    int       mag;
    unsigned  seg;

    v ^= 0x55;
    seg = v >> 4 & 7;
    mag = (v & 0x0f) << 4;
    mag += seg ? 0x108 : 8;

    if (seg > 1) {
        mag <<= seg - 1;
    }

    return (int16_t) (v & 0x80 ? mag : -mag);
}


uint8_t
mdvr_alaw_encode(int16_t sample)
{
    int       mag;
    uint8_t   mask;
    unsigned  seg;

    if (sample >= 0) {
        mask = 0xd5;
        mag = sample >> 3;

    } else {
        mask = 0x55;
        mag = -(sample + 1) >> 3;
    }

    for (seg = 0; seg < 7 && mag >= 0x20 << seg; seg++) { /* void */ }

    return (uint8_t) ((seg << 4 | (unsigned) (mag >> (seg < 2 ? 1 : seg) & 0x0f))
                      ^ mask);
}


int16_t
mdvr_ulaw_decode(uint8_t v)
{
    int  mag;

    v = (uint8_t) ~v;
    mag = (((v & 0x0f) << 3) + 0x84) << (v >> 4 & 7);

    return (int16_t) (v & 0x80 ? 0x84 - mag : mag - 0x84);
}


uint8_t
mdvr_ulaw_encode(int16_t sample)
{
    int       mag;
    uint8_t   mask;
    unsigned  seg;

    mag = sample;
    mask = 0xff;

    if (mag < 0) {
        mag = -mag;
        mask = 0x7f;
    }

    mag = (mag > 32635 ? 32635 : mag) + 0x84;

    for (seg = 0; seg < 7 && mag >= 0x100 << seg; seg++) { /* void */ }

    return (uint8_t) ((seg << 4 | (unsigned) (mag >> (seg + 3) & 0x0f))
                      ^ mask);
}
