/*
 * Secrets as they lie in the database: sealed with AES-256-GCM under a key
 * from a file that the database never sees.
 *
 *   0  "MDS1"       what begins otherwise is not sealed
 *   4  key          4, the beginning of the key's SHA-256
 *   8  nonce        12, random
 *  20  ciphertext   as long as the secret
 *   .  tag          16
 *
 * The name of the row it belongs to ("webhook/<id>") is authenticated too: a
 * sealed secret opens in its own row only.
 *
 * The file holds one key a line, 64 hexadecimal digits; lines that begin with
 * "#" are comments.  The first key seals, all of them open; so a key is
 * replaced by a new first line.
 */

#ifndef MDVR_SEAL_H
#define MDVR_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MDVR_SEAL_KEYS   8
#define MDVR_SEAL_HEAD   8          /* magic and key id */
#define MDVR_SEAL_ROOM   36         /* a sealed secret is so much longer */
#define MDVR_SEAL_MAX    256        /* bytes of a secret */

typedef struct {
    uint8_t   id[4];
    uint8_t   key[32];
} mdvr_seal_key_t;

/* n == 0: nothing is sealed, and nothing sealed can be opened */

typedef struct {
    unsigned         n;
    mdvr_seal_key_t  keys[MDVR_SEAL_KEYS];
} mdvr_seal_ring_t;

/*
 * Reads a key file.  NULL: done.  Otherwise what is wrong with it, a part of
 * a sentence: it cannot be read, others may read it, it is empty, a line is
 * not a key, a key is no random one.
 */
const char *mdvr_seal_read(mdvr_seal_ring_t *ring, const char *path);

/* The first MDVR_SEAL_HEAD bytes of what the ring's first key seals. */
void mdvr_seal_head(const mdvr_seal_ring_t *ring, uint8_t *head);

/*
 * Seals `n` bytes, 1 to MDVR_SEAL_MAX, for the row `name`.  `out` has room for
 * n + MDVR_SEAL_ROOM.  The length of what was written, 0: failed.  With an empty
 * ring the secret is copied as it is.
 */
size_t mdvr_seal(const mdvr_seal_ring_t *ring, const char *name,
    const uint8_t *secret, size_t n, uint8_t *out);

/*
 * Opens what mdvr_seal() made; what was never sealed is copied.  `out` has room
 * for n bytes.  The length of the secret, 0: no key opens it, or it was changed
 * or belongs to another row.
 */
size_t mdvr_unseal(const mdvr_seal_ring_t *ring, const char *name,
    const uint8_t *sealed, size_t n, uint8_t *out);

#endif
