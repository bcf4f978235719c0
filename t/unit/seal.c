/*
 * Sealing of secrets: what opens, what does not, and which key files are good.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seal/mdvr_seal.h"
#include "t/unit/lib/tap.h"

#define ONE  "9f3c1ab27e5d604811c0d92f7b3ea6558842fc0d17e96ba35c20714fde88b39a"
#define TWO  "04d1f7733be8c95a62204ef918adb0c7d95e316788f20a4cb12f63e7509dca1b"

static char  file[64];


static const char *
read_text(mdvr_seal_ring_t *ring, const char *text, mode_t mode)
{
    FILE  *f;

    f = fopen(file, "w");

    if (f == NULL) {
        perror(file);
        exit(1);
    }

    fputs(text, f);
    fclose(f);
    chmod(file, mode);

    return mdvr_seal_read(ring, file);
}


static void
refused(const char *text, mode_t mode, const char *why)
{
    const char        *got;
    mdvr_seal_ring_t   ring;

    got = read_text(&ring, text, mode);
    tap_ok(got && strstr(got, why), "a key file that %s is refused%s%s", why,
           got ? "" : ", but was taken", got && !strstr(got, why) ? got : "");
}


static void
files(void)
{
    mdvr_seal_ring_t  ring;

    snprintf(file, sizeof(file), "/tmp/mdvr-seal-%d", (int) getpid());

    tap_ok(read_text(&ring, ONE "\n", 0600) == NULL && ring.n == 1,
           "a key file");
    tap_ok(read_text(&ring, "# new\n" ONE "\r\n\n" TWO, 0640) == NULL
           && ring.n == 2, "comments, two keys, no last line end");

    refused("", 0600, "is empty");
    refused("\n# nothing\n", 0600, "is empty");
    refused(ONE "\n", 0644, "everybody");
    refused("changeme\n", 0600, "not 64");
    refused("z" TWO "\n", 0600, "not 64");
    refused("zf3c1ab27e5d604811c0d92f7b3ea6558842fc0d17e96ba35c20714fde88b39a",
            0600, "not 64");
    refused("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            0600, "example");
    refused("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            0600, "example");
    refused("0000000000000000000000000000000000000000000000000000000000000000",
            0600, "example");

    unlink(file);
    tap_ok(strcmp(mdvr_seal_read(&ring, file), "does not exist") == 0,
           "a key file that does not exist is refused");
}


static void
secrets(void)
{
    size_t            i, n, m, open;
    uint8_t           out[MDVR_SEAL_MAX + MDVR_SEAL_ROOM];
    uint8_t           again[sizeof(out)], plain[sizeof(out)];
    mdvr_seal_ring_t  one, both, other, none;

    static const uint8_t  secret[] = "twenty-four secret bytes";

    (void) read_text(&one, ONE "\n", 0600);
    (void) read_text(&both, TWO "\n" ONE "\n", 0600);
    (void) read_text(&other, TWO "\n", 0600);
    memset(&none, 0, sizeof(none));
    unlink(file);

    n = mdvr_seal(&one, "webhook/1", secret, 24, out);
    tap_int((long long) n, 24 + MDVR_SEAL_ROOM, "a sealed secret is longer");
    tap_ok(memmem(out, n, "secret", 6) == NULL, "and shows nothing");

    m = mdvr_seal(&one, "webhook/1", secret, 24, again);
    tap_ok(m == n && memcmp(out, again, n) != 0, "twice is not the same");

    tap_ok(mdvr_unseal(&one, "webhook/1", out, n, plain) == 24
           && memcmp(plain, secret, 24) == 0, "it opens");
    tap_ok(mdvr_unseal(&both, "webhook/1", out, n, plain) == 24,
           "and when another key has come before its own");
    tap_ok(mdvr_unseal(&other, "webhook/1", out, n, plain) == 0,
           "not with another key");
    tap_ok(mdvr_unseal(&none, "webhook/1", out, n, plain) == 0,
           "not without one");
    tap_ok(mdvr_unseal(&one, "webhook/2", out, n, plain) == 0,
           "not in another row");

    for (i = 4, open = 0; i < n; i++) {
        out[i] ^= 1;
        open += mdvr_unseal(&one, "webhook/1", out, n, plain) != 0;
        out[i] ^= 1;
    }

    tap_int((long long) open, 0, "not with any bit changed");

    for (i = MDVR_SEAL_ROOM + 1, open = 0; i < n; i++) {
        open += mdvr_unseal(&one, "webhook/1", out, i, plain) != 0;
    }

    tap_int((long long) open, 0, "not when it was cut");

    tap_ok(mdvr_seal(&none, "x", secret, 24, out) == 24
           && memcmp(out, secret, 24) == 0, "without a key it stays as it is");
    tap_ok(mdvr_unseal(&one, "x", secret, 24, plain) == 24
           && memcmp(plain, secret, 24) == 0,
           "and what was never sealed is taken as it is");
    tap_ok(mdvr_seal(&one, "x", secret, 0, out) == 0, "nothing is no secret");
}


int
main(void)
{
    files();
    secrets();

    return tap_end();
}
