#include "rtc/dtls.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/time.h>

#define RTC_LINK_MTU  1200


static BIO_METHOD  *dtls_bio;


static int
dtls_bio_write(BIO *bio, const char *p, int len)
{
    rtc_dtls_t  *dtls = BIO_get_data(bio);

    if (len > 0) {
        dtls->send(dtls->data, (const uint8_t *) p, (size_t) len);
    }

    return len;
}


/* One datagram per read: memory BIOs would glue them together. */

static int
dtls_bio_read(BIO *bio, char *p, int len)
{
    size_t       n;
    rtc_dtls_t  *dtls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);

    if (dtls->in == NULL) {
        BIO_set_retry_read(bio);
        return -1;
    }

    n = dtls->in_len < (size_t) len ? dtls->in_len : (size_t) len;
    memcpy(p, dtls->in, n);
    dtls->in = NULL;

    return (int) n;
}


static long
dtls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void) bio;
    (void) num;
    (void) ptr;

    return cmd == BIO_CTRL_FLUSH;
}


static int
dtls_verify(int ok, X509_STORE_CTX *store)
{
    (void) ok;
    (void) store;
    return 1;           /* self-signed: judged by its fingerprint */
}


static bool
dtls_certificate(rtc_dtls_ctx_t *ctx)
{
    bool           ok;
    X509          *x;
    uint8_t        serial[8], md[32];
    EVP_PKEY      *key;
    unsigned       len;
    X509_NAME     *name;
    ASN1_INTEGER  *number;

    key = EVP_EC_gen("P-256");
    x = X509_new();

    if (key == NULL || x == NULL || RAND_bytes(serial, 8) != 1) {
        EVP_PKEY_free(key);
        X509_free(x);
        return false;
    }

    serial[0] &= 0x7f;
    number = X509_get_serialNumber(x);
    ASN1_STRING_set(number, serial, sizeof(serial));

    X509_set_version(x, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), 365L * 86400);
    name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *) "mdvr", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, key);

    ok = X509_sign(x, key, EVP_sha256()) > 0
         && SSL_CTX_use_certificate(ctx->ssl, x) == 1
         && SSL_CTX_use_PrivateKey(ctx->ssl, key) == 1
         && X509_digest(x, EVP_sha256(), md, &len) == 1;

    for (unsigned i = 0; ok && i < 32; i++) {
        snprintf(ctx->fingerprint + i * 3, 4, i < 31 ? "%02X:" : "%02X",
                 md[i]);
    }

    X509_free(x);
    EVP_PKEY_free(key);
    return ok;
}


mdvr_rc_t
rtc_dtls_ctx_init(rtc_dtls_ctx_t *ctx)
{
    if (dtls_bio == NULL) {
        dtls_bio = BIO_meth_new(BIO_TYPE_DGRAM, "mdvr-rtc");

        if (dtls_bio == NULL) {
            return MDVR_E_NO_MEMORY;
        }

        BIO_meth_set_write(dtls_bio, dtls_bio_write);
        BIO_meth_set_read(dtls_bio, dtls_bio_read);
        BIO_meth_set_ctrl(dtls_bio, dtls_bio_ctrl);
    }

    ctx->ssl = SSL_CTX_new(DTLS_server_method());

    if (ctx->ssl == NULL
        || SSL_CTX_set_min_proto_version(ctx->ssl, DTLS1_2_VERSION) != 1
        || SSL_CTX_set_tlsext_use_srtp(ctx->ssl, "SRTP_AES128_CM_SHA1_80")
           != 0
        || !dtls_certificate(ctx))
    {
        return MDVR_E_INTERNAL;
    }

    SSL_CTX_set_verify(ctx->ssl,
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       dtls_verify);
    return MDVR_OK;
}


mdvr_rc_t
rtc_dtls_open(rtc_dtls_ctx_t *ctx, rtc_dtls_t *dtls)
{
    BIO  *bio;

    dtls->ssl = SSL_new(ctx->ssl);
    bio = BIO_new(dtls_bio);

    if (dtls->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        return MDVR_E_NO_MEMORY;
    }

    BIO_set_data(bio, dtls);
    BIO_set_init(bio, 1);
    SSL_set_bio(dtls->ssl, bio, bio);
    SSL_set_options(dtls->ssl, SSL_OP_NO_QUERY_MTU);
    DTLS_set_link_mtu(dtls->ssl, RTC_LINK_MTU);
    SSL_set_accept_state(dtls->ssl);

    return MDVR_OK;
}


void
rtc_dtls_close(rtc_dtls_t *dtls)
{
    if (dtls->ssl) {
        if (dtls->up) {
            SSL_shutdown(dtls->ssl);
        }

        SSL_free(dtls->ssl);
        dtls->ssl = NULL;
    }

    if (dtls->tx) {
        srtp_dealloc(dtls->tx);
        dtls->tx = NULL;
    }

    if (dtls->rx) {
        srtp_dealloc(dtls->rx);
        dtls->rx = NULL;
    }

    dtls->up = false;
    ERR_clear_error();
}


static srtp_t
dtls_srtp(const uint8_t *key, const uint8_t *salt, srtp_ssrc_type_t type)
{
    srtp_t         srtp;
    uint8_t        master[30];
    srtp_policy_t  policy;

    memcpy(master, key, 16);
    memcpy(master + 16, salt, 14);

    memset(&policy, 0, sizeof(policy));
    srtp_crypto_policy_set_rtp_default(&policy.rtp);
    srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
    policy.ssrc.type = type;
    policy.key = master;
    policy.window_size = 1024;
    policy.allow_repeat_tx = 1;

    srtp = NULL;
    if (srtp_create(&srtp, &policy) != srtp_err_status_ok) {
        srtp = NULL;
    }

    OPENSSL_cleanse(master, sizeof(master));
    return srtp;
}


/* Key material: client key, server key, client salt, server salt. */

static mdvr_rc_t
dtls_keys(rtc_dtls_t *dtls)
{
    X509      *peer;
    uint8_t    md[32], m[60];
    unsigned   len;

    peer = SSL_get1_peer_certificate(dtls->ssl);

    if (peer == NULL || X509_digest(peer, EVP_sha256(), md, &len) != 1
        || CRYPTO_memcmp(md, dtls->expected, 32) != 0)
    {
        X509_free(peer);
        return MDVR_E_FORBIDDEN;
    }

    X509_free(peer);

    if (SSL_get_selected_srtp_profile(dtls->ssl) == NULL
        || SSL_export_keying_material(dtls->ssl, m, sizeof(m),
                                      "EXTRACTOR-dtls_srtp", 19, NULL, 0, 0)
           != 1)
    {
        return MDVR_E_SYNTAX;
    }

    dtls->rx = dtls_srtp(m, m + 32, ssrc_any_inbound);
    dtls->tx = dtls_srtp(m + 16, m + 46, ssrc_any_outbound);
    OPENSSL_cleanse(m, sizeof(m));

    if (dtls->rx == NULL || dtls->tx == NULL) {
        return MDVR_E_NO_MEMORY;
    }

    dtls->up = true;
    return MDVR_OK;
}


mdvr_rc_t
rtc_dtls_feed(rtc_dtls_t *dtls, const uint8_t *p, size_t len)
{
    int      rc;
    uint8_t  scratch[RTC_LINK_MTU];

    ERR_clear_error();

    dtls->in = p;
    dtls->in_len = len;

    if (p == NULL) {
        if (DTLSv1_handle_timeout(dtls->ssl) < 0) {
            return MDVR_E_SYNTAX;
        }

        return dtls->up ? MDVR_OK : MDVR_AGAIN;
    }

    if (dtls->up) {
        rc = SSL_read(dtls->ssl, scratch, sizeof(scratch));
        dtls->in = NULL;

        if (rc <= 0 && SSL_get_error(dtls->ssl, rc) == SSL_ERROR_ZERO_RETURN)
        {
            return MDVR_E_CLOSED;
        }

        return MDVR_OK;
    }

    rc = SSL_do_handshake(dtls->ssl);
    dtls->in = NULL;

    if (rc == 1) {
        return dtls_keys(dtls);
    }

    return SSL_get_error(dtls->ssl, rc) == SSL_ERROR_WANT_READ
           ? MDVR_AGAIN : MDVR_E_SYNTAX;
}


int
rtc_dtls_timeout(rtc_dtls_t *dtls)
{
    struct timeval  tv;

    if (dtls->ssl == NULL || dtls->up
        || !DTLSv1_get_timeout(dtls->ssl, &tv))
    {
        return -1;
    }

    return (int) (tv.tv_sec * 1000 + tv.tv_usec / 1000);
}
