/*
 * Integers in byte arrays: little-endian on the wire (captured), big-endian
 * in MP4 boxes.
 */

#ifndef MDVR_BASICS_BYTES_H
#define MDVR_BASICS_BYTES_H

#include <stdint.h>

static inline uint16_t
mdvr_le16(const uint8_t *p)
{
    return (uint16_t) (p[0] | p[1] << 8);
}

static inline uint32_t
mdvr_le32(const uint8_t *p)
{
    return p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16
           | (uint32_t) p[3] << 24;
}

static inline uint64_t
mdvr_le64(const uint8_t *p)
{
    return mdvr_le32(p) | (uint64_t) mdvr_le32(p + 4) << 32;
}

static inline void
mdvr_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t) v;
    p[1] = (uint8_t) (v >> 8);
}

static inline void
mdvr_put_le32(uint8_t *p, uint32_t v)
{
    mdvr_put_le16(p, (uint16_t) v);
    mdvr_put_le16(p + 2, (uint16_t) (v >> 16));
}

static inline void
mdvr_put_le64(uint8_t *p, uint64_t v)
{
    mdvr_put_le32(p, (uint32_t) v);
    mdvr_put_le32(p + 4, (uint32_t) (v >> 32));
}

static inline uint32_t
mdvr_be32(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}

static inline uint64_t
mdvr_be64(const uint8_t *p)
{
    return (uint64_t) mdvr_be32(p) << 32 | mdvr_be32(p + 4);
}

static inline void
mdvr_put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t) (v >> 8);
    p[1] = (uint8_t) v;
}

static inline void
mdvr_put_be32(uint8_t *p, uint32_t v)
{
    mdvr_put_be16(p, (uint16_t) (v >> 16));
    mdvr_put_be16(p + 2, (uint16_t) v);
}

static inline void
mdvr_put_be64(uint8_t *p, uint64_t v)
{
    mdvr_put_be32(p, (uint32_t) (v >> 32));
    mdvr_put_be32(p + 4, (uint32_t) v);
}

#endif /* MDVR_BASICS_BYTES_H */
