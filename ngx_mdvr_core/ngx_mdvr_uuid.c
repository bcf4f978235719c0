/*
 * UUID version 7, RFC 9562, 5.7:
 *
 *   0   48 bits  unix milliseconds, big-endian
 *   6    4 bits  version 7, 12 bits counter (rand_a, method 1 of 6.2)
 *   8    2 bits  variant 10, 62 bits random
 */

#include "ngx_mdvr_core/ngx_mdvr_uuid.h"

#include <sys/random.h>
#include <time.h>


static u_char      ngx_mdvr_uuid_random[4096];
static size_t      ngx_mdvr_uuid_left;
static ngx_pid_t   ngx_mdvr_uuid_pid;


static void
ngx_mdvr_uuid_bytes(u_char *p, size_t n)
{
    size_t   done;
    ssize_t  rc;

    /* a forked process must not hand out its parent's bytes */

    if (ngx_mdvr_uuid_left < n || ngx_mdvr_uuid_pid != ngx_getpid()) {
        for (done = 0; done < sizeof(ngx_mdvr_uuid_random); done += rc) {
            rc = getrandom(ngx_mdvr_uuid_random + done,
                           sizeof(ngx_mdvr_uuid_random) - done, 0);
            if (rc < 0) {
                rc = 0;
            }
        }

        ngx_mdvr_uuid_left = sizeof(ngx_mdvr_uuid_random);
        ngx_mdvr_uuid_pid = ngx_getpid();
    }

    ngx_mdvr_uuid_left -= n;
    ngx_memcpy(p, ngx_mdvr_uuid_random + ngx_mdvr_uuid_left, n);
}


void
ngx_mdvr_uuid_make(ngx_mdvr_uuid_t *uuid)
{
    static uint64_t  last;
    static uint16_t  counter;

    uint64_t         ms;
    ngx_uint_t       i;
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ms = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    ngx_mdvr_uuid_bytes(&uuid->b[6], 10);

    if (ms > last) {
        last = ms;
        counter = ((uuid->b[6] << 8) | uuid->b[7]) & 0x3ff;

    } else if (counter < 0xfff) {
        counter++;                  /* the same millisecond, or set back */

    } else {
        last++;
        counter = 0;
    }

    for (i = 0; i < 6; i++) {
        uuid->b[i] = (u_char) (last >> (40 - 8 * i));
    }

    uuid->b[6] = 0x70 | (counter >> 8);
    uuid->b[7] = (u_char) counter;
    uuid->b[8] = 0x80 | (uuid->b[8] & 0x3f);
}


ngx_int_t
ngx_mdvr_uuid_parse(const ngx_str_t *text, ngx_mdvr_uuid_t *uuid)
{
    u_char           c, h;
    ngx_uint_t       i, n;
    ngx_mdvr_uuid_t  u;

    if (text->len != NGX_MDVR_UUID_LEN) {
        return NGX_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_mdvr_uuid_t));

    for (i = 0, n = 0; i < NGX_MDVR_UUID_LEN; i++) {
        c = text->data[i];

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-') {
                return NGX_ERROR;
            }

            continue;
        }

        if (c >= '0' && c <= '9') {
            h = c - '0';

        } else {
            c |= 0x20;

            if (c < 'a' || c > 'f') {
                return NGX_ERROR;
            }

            h = c - 'a' + 10;
        }

        u.b[n / 2] = (u_char) (u.b[n / 2] << 4 | h);
        n++;
    }

    *uuid = u;

    return NGX_OK;
}


u_char *
ngx_mdvr_uuid_print(u_char *p, const ngx_mdvr_uuid_t *uuid)
{
    static const u_char  hex[] = "0123456789abcdef";

    ngx_uint_t  i;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        *p++ = hex[uuid->b[i] >> 4];
        *p++ = hex[uuid->b[i] & 0xf];
    }

    return p;
}


ngx_uint_t
ngx_mdvr_uuid_is_nil(const ngx_mdvr_uuid_t *uuid)
{
    static const ngx_mdvr_uuid_t  nil;

    return ngx_mdvr_uuid_equal(uuid, &nil);
}
