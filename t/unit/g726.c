/* G.711 and G.726: what goes in comes out, as well as each rate can. */

#include <math.h>
#include <stdio.h>

#include "mdvr/media/g711.h"
#include "mdvr/media/g726.h"

enum { SAMPLES = 8000 };

static unsigned  done, failed;

static void
ok(bool good, const char *name)
{
    done++;
    failed += !good;
    printf("%sok %u - %s\n", good ? "" : "not ", done, name);
}


/* signal to noise ratio in dB, after the first 200 samples of adaptation */

static double
snr(const int16_t *a, const int16_t *b)
{
    double  signal = 0, noise = 1;

    for (int i = 200; i < SAMPLES; i++) {
        signal += (double) a[i] * a[i];
        noise += (double) (a[i] - b[i]) * (a[i] - b[i]);
    }

    return 10 * log10(signal / noise);
}


int
main(void)
{
    bool      same;
    char      name[80];
    size_t    n;
    int16_t   in[SAMPLES], out[SAMPLES];
    uint8_t   code[SAMPLES];

    /* at least what the recommendation's performance gives for a tone */
    static const struct { unsigned type, bits; double snr; }  rates[] = {
        { 1, 5, 28 }, { 3, 5, 28 }, { 4, 4, 22 }, { 5, 3, 16 },
        { 6, 2, 8 }, { 7, 4, 22 }, { 8, 3, 16 }, { 9, 2, 8 }
    };

    for (int i = 0; i < SAMPLES; i++) {
        in[i] = (int16_t) (8000 * sin(i * 2 * M_PI * 440 / 8000)
                           + 2000 * sin(i * 2 * M_PI * 1010 / 8000));
    }

    same = true;
    for (int i = 0; i < 256; i++) {
        same &= mdvr_alaw_encode(mdvr_alaw_decode((uint8_t) i)) == i;
        same &= mdvr_ulaw_encode(mdvr_ulaw_decode((uint8_t) i)) == i
                || i == 0x7f;           /* the second zero of mu-law */
    }

    ok(same, "every G.711 code word survives a round trip");

    for (int i = 0; i < SAMPLES; i++) {
        out[i] = mdvr_alaw_decode(mdvr_alaw_encode(in[i]));
    }

    ok(snr(in, out) > 30, "A-law keeps 30 dB");

    for (unsigned r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        mdvr_g726_t  enc, dec;

        mdvr_g726_init(&enc, rates[r].type);
        mdvr_g726_init(&dec, rates[r].type);
        n = mdvr_g726_encode(&enc, in, SAMPLES, code);
        snprintf(name, sizeof(name), "audio type %u has %u bits a sample",
                 rates[r].type, rates[r].bits);
        ok(n == SAMPLES * rates[r].bits / 8, name);
        n = mdvr_g726_decode(&dec, mdvr_str(code, n), out, SAMPLES);
        snprintf(name, sizeof(name), "audio type %u keeps %g dB (%.1f)",
                 rates[r].type, rates[r].snr, snr(in, out));
        ok(n == SAMPLES && snr(in, out) > rates[r].snr, name);
    }

    ok(mdvr_g726_init(&(mdvr_g726_t) { 0 }, 2) == MDVR_E_UNSUPPORTED
       && mdvr_g726_init(&(mdvr_g726_t) { 0 }, 10) == MDVR_E_UNSUPPORTED
       && mdvr_g726_init(&(mdvr_g726_t) { 0 }, 4000) == MDVR_E_UNSUPPORTED,
       "other audio types are refused");

    /* any bytes decode to something, within bounds */

    for (unsigned r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        mdvr_g726_t  dec;

        mdvr_g726_init(&dec, rates[r].type);
        for (int i = 0; i < SAMPLES; i++) {
            code[i] = (uint8_t) (i * 2654435761u >> 13);
        }

        n = mdvr_g726_decode(&dec, mdvr_str(code, sizeof(code)), out,
                             SAMPLES);
        same &= n == SAMPLES;
    }

    ok(same, "arbitrary bytes are decoded without harm");

    printf("1..%u\n", done);
    return failed != 0;
}
