/*
 * Reads a password (one line) from standard input and prints its argon2id
 * hash in PHC form, with the cost that the API uses for new passwords:
 * 19 MiB, 3 passes, 1 lane.
 *
 * The password never appears among the arguments, so not in ps either.
 */

#include <argon2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>


enum {
    cost_passes = 3,
    cost_kib = 19 * 1024,
    cost_lanes = 1,
    salt_len = 16,
    hash_len = 32
};


int
main(void)
{
    int      rc;
    char     password[1024], encoded[256];
    size_t   len;
    uint8_t  salt[salt_len];

    if (fgets(password, sizeof(password), stdin) == NULL) {
        fprintf(stderr, "mdvr-passwd: no password on standard input\n");
        return 2;
    }

    len = strcspn(password, "\r\n");

    if (len == 0 || password[len] == '\0') {
        fprintf(stderr, "mdvr-passwd: the password is %s\n",
                len ? "too long, or its line has no end" : "empty");
        return 2;
    }

    if (getrandom(salt, sizeof(salt), 0) != (ssize_t) sizeof(salt)) {
        perror("mdvr-passwd: getrandom");
        return 1;
    }

    rc = argon2id_hash_encoded(cost_passes, cost_kib, cost_lanes, password,
                               len, salt, sizeof(salt), hash_len, encoded,
                               sizeof(encoded));

    explicit_bzero(password, sizeof(password));

    if (rc != ARGON2_OK) {
        fprintf(stderr, "mdvr-passwd: %s\n", argon2_error_message(rc));
        return 1;
    }

    puts(encoded);

    return 0;
}
