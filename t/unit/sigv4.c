/*
 * Signatures against what AWS publishes: the examples of the S3 API reference
 * (header and query) and of the signature test suite.
 */

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "mdvr/web/sigv4.h"

#define EMPTY  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define P(n, v)  { MDVR_STR(n), MDVR_STR(v) }
#define N(a)  (sizeof(a) / sizeof((a)[0]))

static int  n, bad;


static void
ok(bool cond, const char *what)
{
    printf("%sok %d - %s\n", cond ? "" : "not ", ++n, what);
    bad += !cond;
}


static bool
sha256(const void *p, size_t len, uint8_t *out)
{
    return EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL) == 1;
}


static bool
hmac(const void *key, size_t key_len, const void *p, size_t len, uint8_t *out)
{
    return HMAC(EVP_sha256(), key, (int) key_len, p, len, out, NULL) != NULL;
}


static bool
broken(const void *p, size_t len, uint8_t *out)
{
    return false;
}


static const mdvr_sigv4_t  s3 = {
    sha256, hmac, MDVR_STR("AKIAIOSFODNN7EXAMPLE"),
    MDVR_STR("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    MDVR_STR("us-east-1"), MDVR_STR("s3")
};

static const mdvr_sigv4_t  suite = {
    sha256, hmac, MDVR_STR("AKIDEXAMPLE"),
    MDVR_STR("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    MDVR_STR("us-east-1"), MDVR_STR("service")
};


static void
is(const mdvr_sigv4_t *s, mdvr_sigv4_request_t r, const char *signature,
    const char *names, const char *what)
{
    char        text[1024], want[200];
    mdvr_rc_t   rc;
    mdvr_buf_t  b = mdvr_buf(text, sizeof(text) - 1);

    rc = mdvr_sigv4_authorization(s, &r, &b);
    text[b.len] = '\0';
    snprintf(want, sizeof(want), ",SignedHeaders=%s,Signature=%s", names,
             signature);
    ok(rc == MDVR_OK && strstr(text, want), what);

    if (strstr(text, want) == NULL) {
        printf("# %s\n", text);
    }
}


int
main(void)
{
    char                  text[1024];
    mdvr_buf_t            b;
    mdvr_sigv4_t          no;
    mdvr_sigv4_request_t  r;

    static const mdvr_sigv4_pair_t  get[] = {
        P("host", "examplebucket.s3.amazonaws.com"), P("range", "bytes=0-9"),
        P("x-amz-content-sha256", EMPTY), P("x-amz-date", "20130524T000000Z")
    };
    static const mdvr_sigv4_pair_t  put[] = {
        P("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        P("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        P("host", "examplebucket.s3.amazonaws.com"),
        P("date", "Fri, 24 May 2013 00:00:00 GMT"),
        P("x-amz-date", "20130524T000000Z")
    };
    static const mdvr_sigv4_pair_t  plain[] = {
        P("host", "examplebucket.s3.amazonaws.com"),
        P("x-amz-content-sha256", EMPTY), P("x-amz-date", "20130524T000000Z")
    };
    static const mdvr_sigv4_pair_t  vanilla[] = {
        P("host", "example.amazonaws.com"), P("x-amz-date", "20150830T123600Z")
    };
    static const mdvr_sigv4_pair_t  trim[] = {
        P("my-header1", " value1"), P("host", "example.amazonaws.com"),
        P("my-header2", " \"a   b   c\""), P("x-amz-date", "20150830T123600Z")
    };
    static const mdvr_sigv4_pair_t  lifecycle[] = { P("lifecycle", "") };
    static const mdvr_sigv4_pair_t  list[] = {
        P("prefix", "J"), P("max-keys", "2")
    };
    static const mdvr_sigv4_pair_t  order[] = {
        P("Param2", "value2"), P("Param1", "value1")
    };

    r = (mdvr_sigv4_request_t) { MDVR_STR("GET"), MDVR_STR("/test.txt"), NULL,
        0, get, N(get), MDVR_STR(EMPTY), 1369353600 };
    is(&s3, r, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
       "host;range;x-amz-content-sha256;x-amz-date", "GET object with a range");

    r.headers = plain;
    r.nheaders = N(plain);
    r.path = MDVR_STR("/");
    r.query = lifecycle;
    r.nquery = N(lifecycle);
    is(&s3, r, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
       "host;x-amz-content-sha256;x-amz-date", "GET bucket lifecycle");

    r.query = list;
    r.nquery = N(list);
    is(&s3, r, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
       "host;x-amz-content-sha256;x-amz-date", "list of objects");

    r = (mdvr_sigv4_request_t) { MDVR_STR("PUT"), MDVR_STR("/test%24file.text"),
        NULL, 0, put, N(put), put[1].value, 1369353600 };
    is(&s3, r, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
       "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
       "PUT object");

    r = (mdvr_sigv4_request_t) { MDVR_STR("GET"), MDVR_STR("/"), NULL, 0,
        vanilla, N(vanilla), MDVR_STR(EMPTY), 1440938160 };
    is(&suite, r, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
       "host;x-amz-date", "suite: get-vanilla");

    r.query = order;
    r.nquery = N(order);
    is(&suite, r, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
       "host;x-amz-date", "suite: get-vanilla-query-order-key-case");

    r.query = NULL;
    r.nquery = 0;
    r.headers = trim;
    r.nheaders = N(trim);
    is(&suite, r, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
       "host;my-header1;my-header2;x-amz-date", "suite: get-header-value-trim");

    r = (mdvr_sigv4_request_t) { MDVR_STR("GET"), MDVR_STR("/test.txt"), NULL,
        0, plain, 1, MDVR_SIGV4_UNSIGNED, 1369353600 };
    b = mdvr_buf(text, sizeof(text) - 1);
    ok(mdvr_sigv4_presign(&s3, &r, 86400, &b) == MDVR_OK, "presigned");
    text[b.len] = '\0';
    ok(strcmp(text, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
              "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
              "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
              "X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0"
              "109b86d86835f995330da4c265957d157751f604d404") == 0,
       "as the reference has it");

    b = mdvr_buf(text, sizeof(text));
    ok(mdvr_sigv4_presign(&s3, &r, 604801, &b) == MDVR_E_LIMIT,
       "not for longer than a week");
    b = mdvr_buf(text, 40);
    ok(mdvr_sigv4_presign(&s3, &r, 60, &b) == MDVR_E_LIMIT,
       "a short buffer is told");

    b = mdvr_buf(text, sizeof(text) - 1);
    mdvr_sigv4_encode(&b, MDVR_STR("/a b+c~\xc3\xa4/="), true);
    text[b.len] = '\0';
    ok(strcmp(text, "/a%20b%2Bc~%C3%A4/%3D") == 0, "encoding of a path");

    no = s3;
    no.sha256 = broken;
    b = mdvr_buf(text, sizeof(text));
    ok(mdvr_sigv4_authorization(&no, &r, &b) == MDVR_E_NO_MEMORY,
       "a failing hash is told");

    printf("1..%d\n", n);
    return bad != 0;
}
