/*
 * Which addresses are the public internet.
 *
 * A server that calls addresses its users type in must not become a way into
 * its own network: loopback, private, link-local (cloud metadata), carrier
 * NAT, multicast, reserved and documentation networks are not public, nor is
 * an IPv6 address that stands for such an IPv4 one.
 *
 * Source: IANA special-purpose address registries (RFC 6890 and successors).
 */

#ifndef MDVR_DOMAIN_ADDRESS_H
#define MDVR_DOMAIN_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

/* `address` in host order. */
bool mdvr_address_public4(uint32_t address);

/* `address`: 16 bytes in network order. */
bool mdvr_address_public6(const uint8_t *address);

#endif /* MDVR_DOMAIN_ADDRESS_H */
