/*
 * G.711: A-law and mu-law, one byte per sample of 16-bit linear sound.
 *
 * Source: ITU-T G.711.  A-law keeps 13 bits, mu-law 14; both are used with
 * 16-bit samples here, the unused low bits are zero.
 */

#ifndef MDVR_MEDIA_G711_H
#define MDVR_MEDIA_G711_H

#include <stdint.h>

int16_t mdvr_alaw_decode(uint8_t v);
int16_t mdvr_ulaw_decode(uint8_t v);
uint8_t mdvr_alaw_encode(int16_t sample);
uint8_t mdvr_ulaw_encode(int16_t sample);

#endif /* MDVR_MEDIA_G711_H */
