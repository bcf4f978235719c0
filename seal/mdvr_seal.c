/*
 * Sealing of secrets and reading of the key file.
 */

#include "seal/mdvr_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    nonce_len = 12,
    tag_len = 16,
    text_at = MDVR_SEAL_HEAD + nonce_len,
    file_max = 4096
};

static const uint8_t  magic[4] = "MDS1";


/* --- the file ---------------------------------------------------------------- */

static int
seal_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}


/*
 * Whether 32 bytes may be random ones: examples and counted-up bytes are not.
 * Random bytes practically never have fewer than 16 different values.
 */

static bool
seal_is_random(const uint8_t *key)
{
    bool      seen[256];
    unsigned  i, different, steady;

    memset(seen, 0, sizeof(seen));
    different = 0;
    steady = 0;

    for (i = 0; i < 32; i++) {
        different += !seen[key[i]];
        seen[key[i]] = true;
        steady += i > 1
                  && (uint8_t) (key[i] - key[i - 1])
                     == (uint8_t) (key[i - 1] - key[i - 2]);
    }

    return different >= 16 && steady < 8;
}


static const char *
seal_line(mdvr_seal_ring_t *ring, const char *line, size_t n)
{
    int               hi, lo;
    size_t            i;
    uint8_t           digest[SHA256_DIGEST_LENGTH];
    mdvr_seal_key_t  *key;

    if (n != 64) {
        return "has a line that is not 64 hexadecimal digits";
    }

    if (ring->n == MDVR_SEAL_KEYS) {
        return "has more than 8 keys";
    }

    key = &ring->keys[ring->n];

    for (i = 0; i < 32; i++) {
        hi = seal_digit(line[2 * i]);
        lo = seal_digit(line[2 * i + 1]);

        if (hi < 0 || lo < 0) {
            return "has a line that is not 64 hexadecimal digits";
        }

        key->key[i] = (uint8_t) (hi << 4 | lo);
    }

    if (!seal_is_random(key->key)) {
        return "holds an example, not a random key";
    }

    SHA256(key->key, sizeof(key->key), digest);
    memcpy(key->id, digest, sizeof(key->id));
    ring->n++;

    return NULL;
}


const char *
mdvr_seal_read(mdvr_seal_ring_t *ring, const char *path)
{
    int          fd;
    char         text[file_max + 1];
    size_t       n;
    ssize_t      got;
    const char  *p, *end, *wrong;
    struct stat  st;

    memset(ring, 0, sizeof(*ring));

    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        return errno == ENOENT ? "does not exist" : "cannot be opened";
    }

    wrong = NULL;
    got = read(fd, text, file_max);

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || got < 0) {
        wrong = "cannot be read";

    } else if (st.st_mode & S_IRWXO) {
        wrong = "can be read by everybody";
    }

    close(fd);
    n = wrong ? 0 : (size_t) got;
    text[n] = '\0';

    for (p = text; wrong == NULL && *p; p = *end ? end + 1 : end) {
        end = p + strcspn(p, "\r\n");

        if (end != p && *p != '#') {
            wrong = seal_line(ring, p, (size_t) (end - p));
        }
    }

    if (wrong == NULL && ring->n == 0) {
        wrong = "is empty";
    }

    OPENSSL_cleanse(text, sizeof(text));

    return wrong;
}


/* --- the secrets -------------------------------------------------------------- */

void
mdvr_seal_head(const mdvr_seal_ring_t *ring, uint8_t *head)
{
    memcpy(head, magic, sizeof(magic));
    memcpy(head + sizeof(magic), ring->keys[0].id, sizeof(ring->keys[0].id));
}


/* the context, with nonce and name in it; NULL: failed */

static EVP_CIPHER_CTX *
seal_begin(const mdvr_seal_key_t *key, const uint8_t *nonce, const char *name,
    int encrypt)
{
    int              n;
    EVP_CIPHER_CTX  *ctx;

    ctx = EVP_CIPHER_CTX_new();

    if (ctx
        && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->key, nonce,
                             encrypt) == 1
        && EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *) name,
                            (int) strlen(name)) == 1)
    {
        return ctx;
    }

    EVP_CIPHER_CTX_free(ctx);

    return NULL;
}


size_t
mdvr_seal(const mdvr_seal_ring_t *ring, const char *name,
    const uint8_t *secret, size_t n, uint8_t *out)
{
    int              len;
    bool             ok;
    EVP_CIPHER_CTX  *ctx;

    if (n == 0 || n > MDVR_SEAL_MAX) {
        return 0;
    }

    if (ring->n == 0) {
        memcpy(out, secret, n);
        return n;
    }

    mdvr_seal_head(ring, out);

    if (RAND_bytes(out + MDVR_SEAL_HEAD, nonce_len) != 1) {
        return 0;
    }

    ctx = seal_begin(&ring->keys[0], out + MDVR_SEAL_HEAD, name, 1);

    ok = ctx
         && EVP_CipherUpdate(ctx, out + text_at, &len, secret, (int) n) == 1
         && EVP_CipherFinal_ex(ctx, out + text_at + len, &len) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, tag_len,
                                out + text_at + n) == 1;

    EVP_CIPHER_CTX_free(ctx);

    return ok ? n + MDVR_SEAL_ROOM : 0;
}


size_t
mdvr_unseal(const mdvr_seal_ring_t *ring, const char *name,
    const uint8_t *sealed, size_t n, uint8_t *out)
{
    int              len;
    bool             ok;
    size_t           size;
    uint8_t          tag[tag_len];
    unsigned         i;
    EVP_CIPHER_CTX  *ctx;

    if (n <= MDVR_SEAL_ROOM || memcmp(sealed, magic, sizeof(magic)) != 0) {
        memcpy(out, sealed, n);
        return n;
    }

    for (i = 0; i < ring->n; i++) {
        if (memcmp(sealed + sizeof(magic), ring->keys[i].id, 4) == 0) {
            break;
        }
    }

    if (i == ring->n) {
        return 0;
    }

    size = n - MDVR_SEAL_ROOM;
    memcpy(tag, sealed + n - tag_len, tag_len);

    ctx = seal_begin(&ring->keys[i], sealed + MDVR_SEAL_HEAD, name, 0);

    ok = ctx
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, tag_len, tag) == 1
         && EVP_CipherUpdate(ctx, out, &len, sealed + text_at, (int) size) == 1
         && EVP_CipherFinal_ex(ctx, out + len, &len) == 1;

    EVP_CIPHER_CTX_free(ctx);

    if (!ok) {
        OPENSSL_cleanse(out, size);
    }

    return ok ? size : 0;
}
