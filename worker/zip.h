/*
 * Writes a ZIP file whose entries are stored, not compressed: what lies in it
 * can be read and hashed in place.  Entries and the file itself may be larger
 * than 4 GiB (zip64).
 */

#ifndef MDVR_WORKER_ZIP_H
#define MDVR_WORKER_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define WK_ZIP_ENTRIES  1024
#define WK_ZIP_NAME     160

typedef struct {
    char      name[WK_ZIP_NAME];
    char      sha256[65];               /* of the content, hexadecimal */
    uint64_t  size;
    uint64_t  at;                       /* of the local header */
    uint32_t  crc;
} wk_zip_entry_t;

typedef struct {
    FILE            *file;
    uint64_t         at;
    uint16_t         time, date;        /* of all entries, UTC */
    bool             failed;
    unsigned         count;
    wk_zip_entry_t   entries[WK_ZIP_ENTRIES];
} wk_zip_t;

/* Creates `path`; `when` is unix time. */
bool wk_zip_open(wk_zip_t *z, const char *path, int64_t when);

/* The entry that was added, NULL on failure. */
const wk_zip_entry_t *wk_zip_add_file(wk_zip_t *z, const char *name,
    const char *path);
const wk_zip_entry_t *wk_zip_add(wk_zip_t *z, const char *name,
    const void *data, size_t len);

/* Writes the directory and syncs; false when anything failed since open. */
bool wk_zip_close(wk_zip_t *z);

#endif /* MDVR_WORKER_ZIP_H */
