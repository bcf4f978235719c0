/*
 * IMA ADPCM against libavcodec: the beginning of a 440 Hz tone as
 * adpcm_ima_wav writes it, and what its decoder makes of that.
 */

#include <stdio.h>

#include "mdvr/media/adpcm.h"

static const uint8_t  coded[] = {
    0x00, 0x00, 0x00, 0x00, 0x77, 0x77, 0x77, 0xa7, 0xac, 0xab, 0x0a, 0x31,
    0x45, 0x33, 0x22, 0x90, 0xbc, 0xbe, 0xba, 0x89, 0x30, 0x45, 0x33, 0x13,
    0x91, 0xdb, 0xbc, 0xac, 0x8a, 0x20, 0x44, 0x24, 0x13, 0x81, 0xca, 0xcc,
    0xba, 0x99, 0x20, 0x63, 0x33, 0x14, 0x81, 0xba
};

static const int16_t  want[] = {
    13, 43, 106, 242, 536, 1167, 2524, 1554, -33, -1099, -2457, -3338, -4139,
    -3994, -3597, -2755, -1551, -109, 1249, 2483, 3284, 4012, 4144, 3783,
    2798, 1871, 307, -1186, -2156, -3390, -3870, -4015, -3883, -3041, -1837,
    -395, 963, 2197, 3318, 3755, 4152, 3791, 3025, 1931, 620, -614, -2056,
    -3026, -3907, -4067, -3922, -3260, -2177, -866, 721, 1787, 3145, 3674,
    4154, 4009, 3347, 2264, 953, -634, -1700, -3058, -3587, -4067, -3922,
    -3260, -2418, -995, 363, 1597, 3039, 3621, 4150, 3990, 3262, 2335
};


int
main(void)
{
    int      failed = 0, worst = 0;
    size_t   n;
    int16_t  out[512];

    n = mdvr_ima_decode(mdvr_str(coded, sizeof(coded)), out, 512);

    /* libavcodec rounds a step's eighths together, the recommendation apart */

    for (size_t i = 0; i < n && i < 80; i++) {
        int  off = out[i] - want[i];

        worst = off > worst ? off : -off > worst ? -off : worst;
    }

    if (n != 80 || worst > 100) {
        printf("not ");
        failed++;
    }
    printf("ok 1 - a frame with its state decodes as libavcodec's, within %d "
           "of 4154\n", worst);

    if (mdvr_ima_decode(mdvr_str(coded, sizeof(coded)), out, 7) != 6) {
        printf("not ");
        failed++;
    }
    printf("ok 2 - never more samples than there is room for\n");

    if (mdvr_ima_decode(mdvr_str("\x11\x22\xff\x33\x44", 5), out, 512) != 10) {
        printf("not ");
        failed++;
    }
    printf("ok 3 - a frame whose state is not plausible has none\n");

    if (mdvr_ima_decode(mdvr_str("", 0), out, 512) != 0) {
        printf("not ");
        failed++;
    }
    printf("ok 4 - an empty frame is silent\n");

    printf("1..4\n");

    return failed != 0;
}
