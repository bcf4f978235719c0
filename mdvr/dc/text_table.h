/* GB18030 <-> Unicode, as data; used by text.c only. */

#ifndef MDVR_DC_TEXT_TABLE_H
#define MDVR_DC_TEXT_TABLE_H

#include <stdint.h>

#define MDVR_GB_TWO   23940
#define MDVR_GB_FOUR  206

typedef struct {
    uint16_t  linear;
    uint16_t  code;
    uint16_t  length;
} mdvr_gb_run_t;

extern const uint16_t       mdvr_gb_two[MDVR_GB_TWO];
extern const mdvr_gb_run_t  mdvr_gb_four[MDVR_GB_FOUR];

#endif /* MDVR_DC_TEXT_TABLE_H */
