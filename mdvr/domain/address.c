/* Which addresses are the public internet: two tables. */

#include <stddef.h>
#include <string.h>

#include "mdvr/domain/address.h"

typedef struct {
    uint32_t  net;
    unsigned  bits;
} mdvr_net4_t;

static const mdvr_net4_t  mdvr_closed4[] = {
    { 0x00000000,  8 },     /* this network */
    { 0x0a000000,  8 },     /* private */
    { 0x64400000, 10 },     /* carrier NAT */
    { 0x7f000000,  8 },     /* loopback */
    { 0xa9fe0000, 16 },     /* link local, cloud metadata */
    { 0xac100000, 12 },     /* private */
    { 0xc0000000, 24 },     /* protocol assignments */
    { 0xc0000200, 24 },     /* documentation */
    { 0xc0586300, 24 },     /* 6to4 relays */
    { 0xc0a80000, 16 },     /* private */
    { 0xc6120000, 15 },     /* benchmarking */
    { 0xc6336400, 24 },     /* documentation */
    { 0xcb007100, 24 },     /* documentation */
    { 0xe0000000,  3 }      /* multicast, reserved, broadcast */
};


bool
mdvr_address_public4(uint32_t address)
{
    size_t  i;

    for (i = 0; i < sizeof(mdvr_closed4) / sizeof(mdvr_closed4[0]); i++) {
        if ((address ^ mdvr_closed4[i].net) >> (32 - mdvr_closed4[i].bits)
            == 0)
        {
            return false;
        }
    }

    return true;
}


static uint32_t
mdvr_address_v4(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}


bool
mdvr_address_public6(const uint8_t *p)
{
    static const uint8_t  compatible[12];
    static const uint8_t  mapped[12] = { [10] = 0xff, [11] = 0xff };
    static const uint8_t  nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

    if (memcmp(p, compatible, 12) == 0 || memcmp(p, mapped, 12) == 0
        || memcmp(p, nat64, 12) == 0)
    {
        return mdvr_address_public4(mdvr_address_v4(p + 12));
    }

    if (p[0] == 0x20 && p[1] == 0x02) {                     /* 6to4 */
        return mdvr_address_public4(mdvr_address_v4(p + 2));
    }

    if (p[0] == 0x20 && p[1] == 0x01 && p[2] < 0x02) {      /* 2001::/23 */
        return false;
    }

    if (p[0] == 0x20 && p[1] == 0x01 && p[2] == 0x0d && p[3] == 0xb8) {
        return false;                                       /* documentation */
    }

    return (p[0] & 0xe0) == 0x20;                           /* 2000::/3 */
}
