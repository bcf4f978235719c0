/* MD5 (RFC 1321): devices check files with it and nothing better. */

#include "mdvr/basics/bytes.h"
#include "sim/files.h"


static uint32_t
sim_md5_rotate(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}


static void
sim_md5_block(uint32_t state[4], const uint8_t *p)
{
    unsigned  i, g;
    uint32_t  a, b, c, d, f, t, w[16];

    static const uint8_t  shift[4][4] = {
        { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 },
        { 6, 10, 15, 21 }
    };
    static const uint32_t  k[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf,
        0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af,
        0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e,
        0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa,
        0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6,
        0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
        0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122,
        0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
        0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039,
        0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97,
        0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d,
        0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
        0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391
    };

    for (i = 0; i < 16; i++) {
        w[i] = mdvr_le32(p + 4 * i);
    }

    a = state[0];
    b = state[1];
    c = state[2];
    d = state[3];

    for (i = 0; i < 64; i++) {

        if (i < 16) {
            f = (b & c) | (~b & d);
            g = i;

        } else if (i < 32) {
            f = (d & b) | (~d & c);
            g = (5 * i + 1) % 16;

        } else if (i < 48) {
            f = b ^ c ^ d;
            g = (3 * i + 5) % 16;

        } else {
            f = c ^ (b | ~d);
            g = 7 * i % 16;
        }

        t = d;
        d = c;
        c = b;
        b += sim_md5_rotate(a + f + k[i] + w[g], shift[i / 16][i % 4]);
        a = t;
    }

    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}


void
sim_md5(mdvr_str_t data, char out[33])
{
    size_t      i, n;
    uint8_t     last[128], sum[16];
    uint32_t    state[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };
    mdvr_buf_t  b;

    for (i = 0; i + 64 <= data.len; i += 64) {
        sim_md5_block(state, data.p + i);
    }

    n = data.len - i;
    memset(last, 0, sizeof(last));

    if (n) {
        memcpy(last, data.p + i, n);
    }

    last[n] = 0x80;
    n = n < 56 ? 64 : 128;
    mdvr_put_le64(last + n - 8, (uint64_t) data.len * 8);

    for (i = 0; i < n; i += 64) {
        sim_md5_block(state, last + i);
    }

    for (i = 0; i < 4; i++) {
        mdvr_put_le32(sum + 4 * i, state[i]);
    }

    b = mdvr_buf(out, 32);
    mdvr_buf_hexs(&b, mdvr_str(sum, 16));
    out[32] = '\0';
}
