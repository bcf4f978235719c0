#include "mdvr/media/g726.h"

#include <stdlib.h>


/*
 * One rate.  The tables have an entry per magnitude; the code words of
 * negative values run backwards.
 */

typedef struct {
    uint8_t        bits;
    uint8_t        levels;          /* decision levels */
    const int16_t  *decision;
    const int16_t  *dqln;           /* reconstruction, log domain */
    const int32_t  *w;              /* scale factor multipliers, times 32 */
    const int16_t  *f;              /* speed control */
} g726_rate_t;

static const int16_t  d40[] = { -122, -16, 68, 139, 198, 250, 298, 339, 378,
                                413, 445, 475, 502, 528, 553 };
static const int16_t  q40[] = { -2048, -66, 28, 104, 169, 224, 274, 318, 358,
                                395, 429, 459, 488, 514, 539, 566 };
static const int32_t  w40[] = { 448, 448, 768, 1248, 1280, 1312, 1856, 3200,
                                4512, 5728, 7008, 8960, 11456, 14080, 16928,
                                22272 };
static const int16_t  f40[] = { 0, 0, 0, 0, 0, 512, 512, 512, 512, 512, 1024,
                                1536, 2048, 2560, 3072, 3072 };

static const int16_t  d32[] = { -124, 80, 178, 246, 300, 349, 400 };
static const int16_t  q32[] = { -2048, 4, 135, 213, 273, 323, 373, 425 };
static const int32_t  w32[] = { -384, 576, 1312, 2048, 3584, 6336, 11360,
                                35904 };
static const int16_t  f32[] = { 0, 0, 0, 512, 512, 512, 1536, 3584 };

static const int16_t  d24[] = { 8, 218, 331 };
static const int16_t  q24[] = { -2048, 135, 273, 373 };
static const int32_t  w24[] = { -128, 960, 4384, 18624 };
static const int16_t  f24[] = { 0, 512, 1024, 3584 };

static const int16_t  d16[] = { 261 };
static const int16_t  q16[] = { 116, 365 };
static const int32_t  w16[] = { -704, 14048 };
static const int16_t  f16[] = { 0, 3584 };

static const g726_rate_t  g726_rates[] = {
    { 2, 1, d16, q16, w16, f16 },
    { 3, 3, d24, q24, w24, f24 },
    { 4, 7, d32, q32, w32, f32 },
    { 5, 15, d40, q40, w40, f40 },
};

static const struct {
    uint8_t  bits;
    bool     msb_first;
} g726_types[] = {
    [1] = { 5, false },
    [3] = { 5, true },
    [4] = { 4, true },
    [5] = { 3, true },
    [6] = { 2, true },
    [7] = { 4, false },
    [8] = { 3, false },
    [9] = { 2, false },
};


mdvr_rc_t
mdvr_g726_init(mdvr_g726_t *g, unsigned audio_type)
{
    if (audio_type >= sizeof(g726_types) / sizeof(g726_types[0])
        || g726_types[audio_type].bits == 0)
    {
        return MDVR_E_UNSUPPORTED;
    }

    memset(g, 0, sizeof(*g));
    g->bits = g726_types[audio_type].bits;
    g->msb_first = g726_types[audio_type].msb_first;
    g->yl = 34816;
    g->yu = 544;

    for (int i = 0; i < 6; i++) {
        g->dq[i] = 32;
    }

    g->sr[0] = g->sr[1] = 32;

    return MDVR_OK;
}


/* number of significant bits, at most 15 */

static int
magnitude_bits(int32_t v)
{
    int  n;

    for (n = 0; n < 15 && v >> n; n++) { /* void */ }

    return n;
}


/* 11-bit float: sign, 4 bits of exponent, 6 bits of mantissa */

static int32_t
to_float(int32_t mag, bool negative)
{
    int      exp;
    int32_t  v;

    if (mag == 0) {
        v = 32;

    } else {
        exp = magnitude_bits(mag);
        v = (exp << 6) + ((mag << 6) >> exp);
    }

    return negative ? v - 1024 : v;
}


/* FMULT: coefficient times float */

static int32_t
multiply(int32_t an, int32_t srn)
{
    int      exp;
    int32_t  mag, mant, v;

    mag = an > 0 ? an : -an & 0x1fff;
    exp = magnitude_bits(mag) - 6;
    mant = mag == 0 ? 32 : exp >= 0 ? mag >> exp : mag << -exp;

    exp += (srn >> 6 & 15) - 13;
    mant = (mant * (srn & 63) + 48) >> 4;
    v = exp >= 0 ? (mant << exp) & 0x7fff : mant >> -exp;

    return (an ^ srn) < 0 ? -v : v;
}


static int32_t
step_size(const mdvr_g726_t *g)
{
    int32_t  y, dif;

    if (g->ap >= 256) {
        return g->yu;
    }

    y = g->yl >> 6;
    dif = g->yu - y;

    if (dif > 0) {
        y += dif * (g->ap >> 2) >> 6;

    } else if (dif < 0) {
        y += (dif * (g->ap >> 2) + 63) >> 6;
    }

    return y;
}


static void
adapt_predictor(mdvr_g726_t *g, int32_t dq, int32_t dqsez, bool reset)
{
    int32_t  pk0, fa1, a2, limit;

    pk0 = dqsez < 0;

    if (reset) {
        memset(g->a, 0, sizeof(g->a));
        memset(g->b, 0, sizeof(g->b));
        return;
    }

    a2 = g->a[1] - (g->a[1] >> 7);

    if (dqsez != 0) {
        fa1 = pk0 ^ g->pk[0] ? g->a[0] : -g->a[0];
        a2 += fa1 < -8191 ? -256 : fa1 > 8191 ? 255 : fa1 >> 5;

        /* +-128 and the limit of stability, in the order of the standard */

        if (pk0 ^ g->pk[1]) {
            a2 = a2 <= -12160 ? -12288 : a2 >= 12416 ? 12288 : a2 - 128;

        } else {
            a2 = a2 <= -12416 ? -12288 : a2 >= 12160 ? 12288 : a2 + 128;
        }
    }

    g->a[1] = a2;
    g->a[0] -= g->a[0] >> 8;

    if (dqsez != 0) {
        g->a[0] += pk0 ^ g->pk[0] ? -192 : 192;
    }

    limit = 15360 - a2;
    g->a[0] = g->a[0] < -limit ? -limit : g->a[0] > limit ? limit : g->a[0];

    for (int i = 0; i < 6; i++) {
        g->b[i] -= g->b[i] >> (g->bits == 5 ? 9 : 8);

        if (dq & 0x7fff) {
            g->b[i] += (dq ^ g->dq[i]) >= 0 ? 128 : -128;
        }
    }
}


static void
adapt_speed(mdvr_g726_t *g, int32_t y, int32_t f, bool reset)
{
    int32_t  dif;

    g->dms += (f - g->dms) >> 5;
    g->dml += (f * 4 - g->dml) >> 7;
    dif = abs(g->dms * 4 - g->dml);

    if (reset) {
        g->ap = 256;

    } else if (y < 1536 || g->td || dif >= g->dml >> 3) {
        g->ap += (512 - g->ap) >> 4;

    } else {
        g->ap += -g->ap >> 4;
    }
}


/* `dq` is sign and magnitude: bit 15 and 15 bits, as a negative number */

static void
update(mdvr_g726_t *g, int32_t y, int32_t w, int32_t f, int32_t dq,
    int32_t sr, int32_t dqsez)
{
    bool     reset;
    int32_t  mag, yint, thr;

    mag = dq & 0x7fff;

    yint = g->yl >> 15;
    thr = yint > 9 ? 31 << 10 : (32 + (g->yl >> 10 & 31)) << yint;
    reset = g->td && mag > (thr + (thr >> 1)) >> 1;

    g->yu = y + ((w - y) >> 5);
    g->yu = g->yu < 544 ? 544 : g->yu > 5120 ? 5120 : g->yu;
    g->yl += g->yu + (-g->yl >> 6);

    adapt_predictor(g, dq, dqsez, reset);

    memmove(g->dq + 1, g->dq, 5 * sizeof(g->dq[0]));
    g->dq[0] = to_float(mag, dq < 0);
    g->sr[1] = g->sr[0];
    g->sr[0] = sr == -32768 ? -992 : to_float(abs(sr), sr < 0);

    g->pk[1] = g->pk[0];
    g->pk[0] = dqsez < 0;

    g->td = !reset && g->a[1] < -11776;
    adapt_speed(g, y, f, reset);
}


static const g726_rate_t *
rate(const mdvr_g726_t *g)
{
    return &g726_rates[g->bits - 2];
}


/*
 * The part that coder and decoder share: given the code word, moves the
 * state on and returns the reconstructed 14-bit sample.
 */
static int32_t
reconstruct(mdvr_g726_t *g, unsigned code, int32_t sez, int32_t se, int32_t y)
{
    bool                negative;
    int32_t             dql, dq, sr, w;
    unsigned            mag, top;
    const g726_rate_t  *r = rate(g);

    top = (1u << g->bits) - 1;
    negative = code >> (g->bits - 1);
    mag = negative ? top - code : code;

    dql = r->dqln[mag] + (y >> 2);

    if (dql < 0) {
        dq = negative ? -0x8000 : 0;

    } else {
        dq = (128 + (dql & 127)) << 7 >> (14 - (dql >> 7 & 15));
        dq = negative ? dq - 0x8000 : dq;
    }

    sr = dq < 0 ? se - (dq & 0x3fff) : se + dq;

    w = r->w[mag];
    update(g, y, w, r->f[mag], dq, (int16_t) sr, sr - se + sez);

    return sr;
}


static void
predict(const mdvr_g726_t *g, int32_t *sez, int32_t *se)
{
    int32_t  zero, pole;

    zero = 0;
    for (int i = 0; i < 6; i++) {
        zero += multiply(g->b[i] >> 2, g->dq[i]);
    }

    pole = multiply(g->a[1] >> 2, g->sr[1]) + multiply(g->a[0] >> 2, g->sr[0]);

    *sez = (int16_t) zero >> 1;
    *se = (int16_t) (zero + pole) >> 1;
}


static int16_t
decode_one(mdvr_g726_t *g, unsigned code)
{
    int32_t  sez, se, v;

    predict(g, &sez, &se);
    v = reconstruct(g, code, sez, se, step_size(g)) * 4;

    return (int16_t) (v > 32767 ? 32767 : v < -32768 ? -32768 : v);
}


static unsigned
encode_one(mdvr_g726_t *g, int16_t sample)
{
    int                 exp;
    int32_t             sez, se, y, d, mag, dln;
    unsigned            i, code, top;
    const g726_rate_t  *r = rate(g);

    predict(g, &sez, &se);
    y = step_size(g);
    d = (sample >> 2) - se;

    mag = abs(d);
    exp = magnitude_bits(mag >> 1);
    dln = (exp << 7) + (mag << 7 >> exp & 127) - (y >> 2);

    for (i = 0; i < r->levels && dln >= r->decision[i]; i++) { /* void */ }

    /* the code word 0 means "nothing received" except at 16 kbit/s */

    top = (1u << g->bits) - 1;
    code = d < 0 ? top - i : i == 0 && g->bits != 2 ? top : i;

    (void) reconstruct(g, code, sez, se, y);
    return code;
}


size_t
mdvr_g726_decode(mdvr_g726_t *g, mdvr_str_t in, int16_t *out, size_t max)
{
    size_t    n;
    unsigned  have, mask, acc;

    n = 0;
    acc = have = 0;
    mask = (1u << g->bits) - 1;

    for (size_t i = 0; i < in.len; i++) {

        acc = g->msb_first ? acc << 8 | in.p[i]
                           : acc | (unsigned) in.p[i] << have;

        for (have += 8; have >= g->bits; have -= g->bits) {
            if (n == max) {
                return n;
            }

            if (g->msb_first) {
                out[n++] = decode_one(g, acc >> (have - g->bits) & mask);

            } else {
                out[n++] = decode_one(g, acc & mask);
                acc >>= g->bits;
            }
        }
    }

    return n;
}


size_t
mdvr_g726_encode(mdvr_g726_t *g, const int16_t *in, size_t n, uint8_t *out)
{
    size_t    len;
    unsigned  code, have, acc;

    len = 0;
    acc = have = 0;

    for (size_t i = 0; i < n; i++) {
        code = encode_one(g, in[i]);

        acc = g->msb_first ? acc << g->bits | code : acc | code << have;
        have += g->bits;

        if (have >= 8) {
            have -= 8;
            out[len++] = (uint8_t) (g->msb_first ? acc >> have : acc);
            acc = g->msb_first ? acc & ((1u << have) - 1) : acc >> 8;
        }
    }

    if (have) {
        out[len++] = (uint8_t) (g->msb_first ? acc << (8 - have) : acc);
    }

    return len;
}
