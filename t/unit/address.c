/* Which addresses are public: the edges of every closed network. */

#include "mdvr/domain/address.h"
#include "t/unit/lib/tap.h"

#include <arpa/inet.h>


static bool
public_address(const char *text)
{
    uint8_t  a[16];

    if (inet_pton(AF_INET, text, a) == 1) {
        return mdvr_address_public4((uint32_t) a[0] << 24
                                    | (uint32_t) a[1] << 16
                                    | (uint32_t) a[2] << 8 | a[3]);
    }

    return inet_pton(AF_INET6, text, a) == 1 && mdvr_address_public6(a);
}


int
main(void)
{
    size_t                    i;
    static const char *const  open[] = {
        "1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255",
        "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
        "223.255.255.255", "2606:4700::1111", "2a00::1", "::ffff:8.8.8.8",
        "2001:200::1", "2001:4860:4860::8888", "64:ff9b::808:808"
    };
    static const char *const  closed[] = {
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255",
        "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
        "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255",
        "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0",
        "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
        "2002:a9fe:a9fe::", "2001::1", "2001:1ff::1", "2001:db8::1", "fc00::1",
        "fd00::1", "fe80::1", "fec0::1", "ff02::1", "100::1", "4000::1"
    };

    for (i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        tap_ok(public_address(open[i]), "%s is public", open[i]);
    }

    for (i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        tap_ok(!public_address(closed[i]), "%s is not", closed[i]);
    }

    return tap_end();
}
