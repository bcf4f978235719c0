/* A ZIP file of stored entries, see zip.h (APPNOTE 6.3, sections 4.3-4.5). */

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker/zip.h"

#define WK_ZIP_BIG    0xffffffffu
#define WK_ZIP_UTF8   0x0800            /* names are UTF-8 */

typedef struct {
    uint8_t  b[512];
    size_t   n;
} wk_zip_head_t;


static void
wk_zip_le(wk_zip_head_t *h, unsigned bytes, uint64_t v)
{
    while (bytes--) {
        h->b[h->n++] = (uint8_t) v;
        v >>= 8;
    }
}


static uint32_t
wk_zip_crc(uint32_t crc, const uint8_t *p, size_t n)
{
    unsigned         i, k;
    uint32_t         c;
    static uint32_t  table[256];

    if (table[1] == 0) {
        for (i = 0; i < 256; i++) {
            for (c = i, k = 0; k < 8; k++) {
                c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
            }

            table[i] = c;
        }
    }

    crc = ~crc;

    while (n--) {
        crc = table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
    }

    return ~crc;
}


static void
wk_zip_write(wk_zip_t *z, const void *p, size_t n)
{
    if (n && fwrite(p, 1, n, z->file) != n) {
        z->failed = true;
    }

    z->at += n;
}


bool
wk_zip_open(wk_zip_t *z, const char *path, int64_t when)
{
    time_t     s;
    struct tm  tm;

    memset(z, 0, sizeof(*z));
    z->file = fopen(path, "wbe");

    s = (time_t) when;
    gmtime_r(&s, &tm);
    z->time = (uint16_t) (tm.tm_hour << 11 | tm.tm_min << 5 | tm.tm_sec / 2);
    z->date = (uint16_t) ((tm.tm_year - 80) << 9 | (tm.tm_mon + 1) << 5
                          | tm.tm_mday);

    return z->file != NULL;
}


/*
 * The header in front of an entry, with room for 64-bit sizes; it is written
 * again when CRC and size are known.
 */

static void
wk_zip_local(wk_zip_t *z, const wk_zip_entry_t *e)
{
    wk_zip_head_t  h = { .n = 0 };

    wk_zip_le(&h, 4, 0x04034b50);
    wk_zip_le(&h, 2, 45);
    wk_zip_le(&h, 2, WK_ZIP_UTF8);
    wk_zip_le(&h, 2, 0);                        /* stored */
    wk_zip_le(&h, 2, z->time);
    wk_zip_le(&h, 2, z->date);
    wk_zip_le(&h, 4, e->crc);
    wk_zip_le(&h, 4, WK_ZIP_BIG);
    wk_zip_le(&h, 4, WK_ZIP_BIG);
    wk_zip_le(&h, 2, strlen(e->name));
    wk_zip_le(&h, 2, 20);
    wk_zip_write(z, h.b, h.n);
    wk_zip_write(z, e->name, strlen(e->name));

    h.n = 0;
    wk_zip_le(&h, 2, 1);                        /* zip64 */
    wk_zip_le(&h, 2, 16);
    wk_zip_le(&h, 8, e->size);
    wk_zip_le(&h, 8, e->size);
    wk_zip_write(z, h.b, h.n);
}


static const wk_zip_entry_t *
wk_zip_entry(wk_zip_t *z, const char *name, FILE *in, const void *data,
    size_t len)
{
    size_t           n;
    unsigned         i, mdlen;
    uint8_t          md[EVP_MAX_MD_SIZE];
    uint64_t         end;
    EVP_MD_CTX      *ctx;
    const uint8_t   *p;
    wk_zip_entry_t  *e;
    static uint8_t   buf[1 << 16];

    if (z->failed || z->count == WK_ZIP_ENTRIES || strlen(name) >= WK_ZIP_NAME
        || (ctx = EVP_MD_CTX_new()) == NULL)
    {
        z->failed = true;
        return NULL;
    }

    e = &z->entries[z->count];
    memset(e, 0, sizeof(*e));
    snprintf(e->name, sizeof(e->name), "%s", name);
    e->at = z->at;

    wk_zip_local(z, e);

    if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        z->failed = true;
    }

    p = data;
    n = len;

    while (!z->failed) {
        if (in) {
            p = buf;
            n = fread(buf, 1, sizeof(buf), in);
        }

        if (n == 0) {
            break;
        }

        e->crc = wk_zip_crc(e->crc, p, n);
        e->size += n;
        wk_zip_write(z, p, n);

        if (EVP_DigestUpdate(ctx, p, n) != 1) {
            z->failed = true;
        }

        if (in == NULL) {
            break;
        }
    }

    if ((in && ferror(in)) || EVP_DigestFinal_ex(ctx, md, &mdlen) != 1) {
        z->failed = true;
    }

    EVP_MD_CTX_free(ctx);

    for (i = 0; !z->failed && i < 32; i++) {
        sprintf(e->sha256 + 2 * i, "%02x", md[i]);
    }

    end = z->at;

    if (z->failed || fseeko(z->file, (off_t) e->at, SEEK_SET) < 0) {
        z->failed = true;
        return NULL;
    }

    wk_zip_local(z, e);
    z->at = end;

    if (fseeko(z->file, (off_t) end, SEEK_SET) < 0) {
        z->failed = true;
    }

    z->count++;

    return z->failed ? NULL : e;
}


const wk_zip_entry_t *
wk_zip_add_file(wk_zip_t *z, const char *name, const char *path)
{
    FILE                  *in;
    const wk_zip_entry_t  *e;

    in = fopen(path, "rbe");

    if (in == NULL) {
        z->failed = true;
        return NULL;
    }

    e = wk_zip_entry(z, name, in, NULL, 0);
    fclose(in);

    return e;
}


const wk_zip_entry_t *
wk_zip_add(wk_zip_t *z, const char *name, const void *data, size_t len)
{
    return wk_zip_entry(z, name, NULL, data, len);
}


static void
wk_zip_directory(wk_zip_t *z, const wk_zip_entry_t *e)
{
    wk_zip_head_t  h = { .n = 0 };

    wk_zip_le(&h, 4, 0x02014b50);
    wk_zip_le(&h, 2, 3 << 8 | 45);              /* made on Unix */
    wk_zip_le(&h, 2, 45);
    wk_zip_le(&h, 2, WK_ZIP_UTF8);
    wk_zip_le(&h, 2, 0);
    wk_zip_le(&h, 2, z->time);
    wk_zip_le(&h, 2, z->date);
    wk_zip_le(&h, 4, e->crc);
    wk_zip_le(&h, 4, WK_ZIP_BIG);
    wk_zip_le(&h, 4, WK_ZIP_BIG);
    wk_zip_le(&h, 2, strlen(e->name));
    wk_zip_le(&h, 2, 28);
    wk_zip_le(&h, 2, 0);
    wk_zip_le(&h, 2, 0);
    wk_zip_le(&h, 2, 0);
    wk_zip_le(&h, 4, (uint64_t) (S_IFREG | 0444) << 16);
    wk_zip_le(&h, 4, WK_ZIP_BIG);
    wk_zip_write(z, h.b, h.n);
    wk_zip_write(z, e->name, strlen(e->name));

    h.n = 0;
    wk_zip_le(&h, 2, 1);
    wk_zip_le(&h, 2, 24);
    wk_zip_le(&h, 8, e->size);
    wk_zip_le(&h, 8, e->size);
    wk_zip_le(&h, 8, e->at);
    wk_zip_write(z, h.b, h.n);
}


bool
wk_zip_close(wk_zip_t *z)
{
    unsigned       i;
    uint64_t       from, size;
    wk_zip_head_t  h = { .n = 0 };

    if (z->file == NULL) {
        return false;
    }

    from = z->at;

    for (i = 0; i < z->count; i++) {
        wk_zip_directory(z, &z->entries[i]);
    }

    size = z->at - from;

    wk_zip_le(&h, 4, 0x06064b50);               /* zip64 end of directory */
    wk_zip_le(&h, 8, 44);
    wk_zip_le(&h, 2, 3 << 8 | 45);
    wk_zip_le(&h, 2, 45);
    wk_zip_le(&h, 4, 0);
    wk_zip_le(&h, 4, 0);
    wk_zip_le(&h, 8, z->count);
    wk_zip_le(&h, 8, z->count);
    wk_zip_le(&h, 8, size);
    wk_zip_le(&h, 8, from);

    wk_zip_le(&h, 4, 0x07064b50);               /* where that is */
    wk_zip_le(&h, 4, 0);
    wk_zip_le(&h, 8, z->at);
    wk_zip_le(&h, 4, 1);

    wk_zip_le(&h, 4, 0x06054b50);               /* end of directory */
    wk_zip_le(&h, 2, 0);
    wk_zip_le(&h, 2, 0);
    wk_zip_le(&h, 2, z->count);
    wk_zip_le(&h, 2, z->count);
    wk_zip_le(&h, 4, size);
    wk_zip_le(&h, 4, from < WK_ZIP_BIG ? from : WK_ZIP_BIG);
    wk_zip_le(&h, 2, 0);
    wk_zip_write(z, h.b, h.n);

    if (fflush(z->file) != 0 || fsync(fileno(z->file)) < 0) {
        z->failed = true;
    }

    if (fclose(z->file) != 0) {
        z->failed = true;
    }

    z->file = NULL;

    return !z->failed;
}
