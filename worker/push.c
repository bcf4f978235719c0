/*
 * Push services.
 *
 * FCM HTTP v1: an assertion signed with the service account's key (RS256)
 * buys an access token for an hour; messages:send takes one message for one
 * phone.  404 with UNREGISTERED: the phone is gone.
 *
 * APNs: HTTP/2, a provider token signed with ES256, which must be neither
 * older than an hour nor renewed more often than every 20 minutes; 410 (or
 * BadDeviceToken): the phone is gone.
 *
 * Both tokens are kept in Redis, so that all children use the same.  A
 * message carries the delivery's purpose and alarm as tag (FCM) or collapse
 * id (APNs): should one come twice, the phone shows it once.
 */

#include <ctype.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/notify.h"

#define WK_PUSH_APNS_S    "2700"
#define WK_PUSH_SCOPE                                                     \
    "https://www.googleapis.com/auth/firebase.messaging"


void
wk_base64(char *out, const void *p, size_t n, bool url)
{
    char  *s;

    EVP_EncodeBlock((uint8_t *) out, p, (int) n);

    for (s = out; url && *s; s++) {
        if (*s == '+') {
            *s = '-';

        } else if (*s == '/') {
            *s = '_';

        } else if (*s == '=') {
            *s = '\0';
            break;
        }
    }
}


/* The signature of ES256 is r and s, 32 bytes each, not DER. */

static size_t
wk_push_raw(uint8_t *sig, size_t n)
{
    bool            ok;
    const uint8_t  *p = sig;
    ECDSA_SIG      *es;

    es = d2i_ECDSA_SIG(NULL, &p, (long) n);

    if (es == NULL) {
        return 0;
    }

    ok = BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, 32) == 32
         && BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + 32, 32) == 32;
    ECDSA_SIG_free(es);

    return ok ? 64 : 0;
}


/* header.claims.signature; NULL: the key is of no use.  The caller's. */

static char *
wk_push_jwt(const char *pem, const char *alg, const char *kid, json_t *claims)
{
    BIO         *bio;
    char        *head, *body, *jwt;
    bool         ok;
    json_t      *doc;
    size_t       n, size, len;
    uint8_t      sig[1024];
    EVP_PKEY    *key;
    EVP_MD_CTX  *ctx;

    doc = json_pack("{s:s,s:s,s:s*}", "alg", alg, "typ", "JWT", "kid", kid);
    head = json_dumps(doc, JSON_COMPACT);
    body = json_dumps(claims, JSON_COMPACT);
    json_decref(doc);

    bio = BIO_new_mem_buf(pem, -1);
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);

    ctx = EVP_MD_CTX_new();
    jwt = NULL;
    ok = head && body && key && ctx;

    if (ok) {
        size = 4 * (strlen(head) + strlen(body) + sizeof(sig)) / 3 + 32;
        jwt = malloc(size);
        ok = jwt != NULL;
    }

    if (ok) {
        wk_base64(jwt, head, strlen(head), true);
        strcat(jwt, ".");
        n = strlen(jwt);
        wk_base64(jwt + n, body, strlen(body), true);
        n += strlen(jwt + n);
        len = sizeof(sig);

        ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1
             && EVP_DigestSign(ctx, sig, &len, (uint8_t *) jwt, n) == 1;

        if (ok && strcmp(alg, "ES256") == 0) {
            len = wk_push_raw(sig, len);
            ok = len > 0;
        }

        if (ok) {
            jwt[n++] = '.';
            wk_base64(jwt + n, sig, len, true);
        }
    }

    if (!ok) {
        free(jwt);
        jwt = NULL;
    }

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    free(head);
    free(body);

    return jwt;
}


static char *
wk_push_kept(wk_task_t *t, const char *service)
{
    char        *token, key[MDVR_KEY_MAX];
    redisReply  *reply;

    reply = wk_redis(&t->redis, "GET %s",
                     wk_notify_key(key, service, "token"));

    if (reply == NULL) {
        return NULL;
    }

    token = reply->type == REDIS_REPLY_STRING ? strdup(reply->str) : NULL;
    freeReplyObject(reply);

    return token;
}


static void
wk_push_forget(wk_task_t *t, const char *service)
{
    char         key[MDVR_KEY_MAX];
    redisReply  *reply;

    reply = wk_redis(&t->redis, "DEL %s",
                     wk_notify_key(key, service, "token"));

    if (reply) {
        freeReplyObject(reply);
    }
}


static void
wk_push_keep(wk_task_t *t, const char *service, const char *token,
    const char *seconds)
{
    char         key[MDVR_KEY_MAX];
    redisReply  *reply;

    reply = wk_redis(&t->redis, "SET %s %s EX %s",
                     wk_notify_key(key, service, "token"), token, seconds);

    if (reply) {
        freeReplyObject(reply);
    }
}


/* An access token; NULL with d->error.  The caller's. */

static char *
wk_push_access(wk_task_t *t, CURL **curl, wk_delivery_t *d)
{
    char                     *jwt, *form, *token, seconds[24];
    json_t                   *claims, *doc;
    int64_t                   now;
    long long                 lasts;
    const char               *text;
    static wk_http_t          h;
    const wk_notify_conf_t   *conf = wk_notify_conf();

    token = wk_push_kept(t, "fcm");

    if (token) {
        return token;
    }

    now = wk_now_ms() / 1000;
    claims = json_pack("{s:s,s:s,s:s,s:I,s:I}", "iss", conf->fcm_email,
                       "scope", WK_PUSH_SCOPE, "aud", conf->fcm_token_url,
                       "iat", (json_int_t) now, "exp",
                       (json_int_t) (now + 3600));
    jwt = wk_push_jwt(conf->fcm_key, "RS256", conf->fcm_key_id, claims);
    json_decref(claims);

    if (jwt == NULL) {
        snprintf(d->error, sizeof(d->error), "the service account's key is no "
                 "RSA key");
        return NULL;
    }

    form = malloc(strlen(jwt) + 128);

    if (form == NULL) {
        free(jwt);
        snprintf(d->error, sizeof(d->error), "no memory");
        return NULL;
    }

    sprintf(form, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type"
            "%%3Ajwt-bearer&assertion=%s", jwt);
    free(jwt);

    memset(&h, 0, sizeof(h));
    h.url = conf->fcm_token_url;
    h.body = form;
    h.length = strlen(form);
    h.ca_file = conf->ca_file;
    h.headers = curl_slist_append(NULL, "Expect:");
    wk_http_post(curl, &h);
    curl_slist_free_all(h.headers);
    free(form);

    doc = json_loads(h.answer, 0, NULL);
    text = json_string_value(json_object_get(doc, "access_token"));
    lasts = json_integer_value(json_object_get(doc, "expires_in"));

    if (h.status == 200 && text) {
        token = strdup(text);

        if (lasts > 120) {
            snprintf(seconds, sizeof(seconds), "%lld", lasts - 60);
            wk_push_keep(t, "fcm", text, seconds);
        }

    } else if (h.status) {
        snprintf(d->error, sizeof(d->error), "the token service answered %ld",
                 h.status);

    } else {
        snprintf(d->error, sizeof(d->error), "the token service: %s", h.error);
    }

    json_decref(doc);

    return token;
}


/* What people read: the vehicle, and "Sudden braking" for sudden_braking. */

static void
wk_push_words(const wk_delivery_t *d, char *out, size_t size)
{
    char        *p;
    size_t       n;

    n = (size_t) snprintf(out, size, "%s", strcmp(d->purpose, "video") == 0
                          ? "Video: " : "");
    snprintf(out + n, size - n, "%s", d->kind);

    for (p = out + n; *p; p++) {
        if (*p == '_') {
            *p = ' ';
        }
    }

    if (n == 0) {
        out[0] = (char) toupper((unsigned char) out[0]);
    }
}


static json_t *
wk_push_data(const wk_delivery_t *d)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}",
                     "type", d->purpose, "alarm_id", d->alarm_id, "device_id",
                     d->device_id, "kind", d->kind, "severity", d->severity,
                     "started_at", d->started_at);
}


static wk_sent_e
wk_push_fcm(wk_task_t *t, CURL **curl, wk_delivery_t *d)
{
    bool                      loud;
    char                     *token, *body, url[512], line[4096], words[128];
    char                      tag[64];
    json_t                   *doc;
    static wk_http_t          h;
    const wk_notify_conf_t   *conf = wk_notify_conf();

    token = wk_push_access(t, curl, d);

    if (token == NULL) {
        return WK_AGAIN;
    }

    wk_push_words(d, words, sizeof(words));
    snprintf(tag, sizeof(tag), "%s:%s", d->purpose, d->alarm_id);
    loud = strcmp(d->severity, "info") != 0;

    doc = json_pack("{s:{s:s,s:{s:s,s:s},s:o,s:{s:s,s:s,s:s,s:{s:s}}}}",
                    "message", "token", d->token, "notification", "title",
                    d->vehicle, "body", words, "data", wk_push_data(d),
                    "android", "priority", loud ? "HIGH" : "NORMAL", "ttl",
                    "3600s", "collapse_key", tag, "notification", "tag", tag);
    body = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);

    snprintf(url, sizeof(url), "%s/v1/projects/%s/messages:send",
             conf->fcm_endpoint, conf->fcm_project);
    snprintf(line, sizeof(line), "Authorization: Bearer %s", token);
    free(token);

    memset(&h, 0, sizeof(h));
    h.url = url;
    h.body = body ? body : "";
    h.length = strlen(h.body);
    h.ca_file = conf->ca_file;
    h.headers = curl_slist_append(NULL, "Content-Type: application/json");
    h.headers = curl_slist_append(h.headers, "Expect:");
    h.headers = curl_slist_append(h.headers, line);
    wk_http_post(curl, &h);
    curl_slist_free_all(h.headers);
    free(body);
    d->code = h.status;

    if (h.status == 200) {
        return WK_SENT;
    }

    if (h.status == 0) {
        snprintf(d->error, sizeof(d->error), "%s", h.error);
        return WK_AGAIN;
    }

    snprintf(d->error, sizeof(d->error), "FCM answered %ld", h.status);

    if (h.status == 404 && strstr(h.answer, "UNREGISTERED")) {
        snprintf(d->error, sizeof(d->error), "the phone is not registered any "
                 "more");
        return WK_GONE;
    }

    if (h.status == 401) {
        wk_push_forget(t, "fcm");
        return WK_AGAIN_MINE;
    }

    return h.status == 429 || h.status >= 500 ? WK_AGAIN
           : h.status == 404 ? WK_AGAIN_MINE : WK_NEVER;
}


static wk_sent_e
wk_push_apns(wk_task_t *t, CURL **curl, wk_delivery_t *d)
{
    char                     *jwt, *body, url[512], line[4096], words[128];
    json_t                   *doc, *claims;
    const char               *p, *reason;
    static wk_http_t          h;
    const wk_notify_conf_t   *conf = wk_notify_conf();

    for (p = d->token; *p; p++) {
        if (!isalnum((unsigned char) *p)) {
            snprintf(d->error, sizeof(d->error), "this is no device token");
            return WK_GONE;
        }
    }

    for (p = d->app_id ? d->app_id : ""; *p; p++) {
        if (!isalnum((unsigned char) *p) && *p != '.' && *p != '-') {
            snprintf(d->error, sizeof(d->error), "this is no bundle id");
            return WK_NEVER;
        }
    }

    jwt = wk_push_kept(t, "apns");

    if (jwt == NULL) {
        claims = json_pack("{s:s,s:I}", "iss", conf->apns_team_id, "iat",
                           (json_int_t) (wk_now_ms() / 1000));
        jwt = wk_push_jwt(conf->apns_key, "ES256", conf->apns_key_id, claims);
        json_decref(claims);

        if (jwt == NULL) {
            snprintf(d->error, sizeof(d->error), "the key of APNs is no "
                     "P-256 key");
            return WK_AGAIN_MINE;
        }

        wk_push_keep(t, "apns", jwt, WK_PUSH_APNS_S);
    }

    wk_push_words(d, words, sizeof(words));
    doc = wk_push_data(d);
    json_object_set_new(doc, "aps", json_pack("{s:{s:s,s:s},s:s,s:s}",
                        "alert", "title", d->vehicle, "body", words, "sound",
                        "default", "thread-id", d->device_id));
    body = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);

    snprintf(url, sizeof(url), "%s/3/device/%.300s", conf->apns_endpoint,
             d->token);

    memset(&h, 0, sizeof(h));
    h.url = url;
    h.h2 = true;
    h.body = body ? body : "";
    h.length = strlen(h.body);
    h.ca_file = conf->ca_file;
    snprintf(line, sizeof(line), "authorization: bearer %s", jwt);
    free(jwt);
    h.headers = curl_slist_append(NULL, line);
    snprintf(line, sizeof(line), "apns-topic: %s", d->app_id ? d->app_id
             : conf->apns_topic);
    h.headers = curl_slist_append(h.headers, line);
    snprintf(line, sizeof(line), "apns-id: %s", d->id);
    h.headers = curl_slist_append(h.headers, line);
    snprintf(line, sizeof(line), "apns-collapse-id: %s:%s", d->purpose,
             d->alarm_id);
    h.headers = curl_slist_append(h.headers, line);
    snprintf(line, sizeof(line), "apns-expiration: %lld",
             (long long) (wk_now_ms() / 1000 + WK_NOTIFY_PUSH_S));
    h.headers = curl_slist_append(h.headers, line);
    h.headers = curl_slist_append(h.headers, "apns-push-type: alert");
    h.headers = curl_slist_append(h.headers, "apns-priority: 10");
    h.headers = curl_slist_append(h.headers, "content-type: application/json");
    wk_http_post(curl, &h);
    curl_slist_free_all(h.headers);
    free(body);
    d->code = h.status;

    if (h.status == 200) {
        return WK_SENT;
    }

    if (h.status == 0) {
        snprintf(d->error, sizeof(d->error), "%s", h.error);
        return WK_AGAIN;
    }

    doc = json_loads(h.answer, 0, NULL);
    reason = json_string_value(json_object_get(doc, "reason"));
    snprintf(d->error, sizeof(d->error), "APNs answered %ld: %.100s", h.status,
             reason ? reason : "no reason");

    if (h.status == 410
        || (reason && strcmp(reason, "BadDeviceToken") == 0))
    {
        json_decref(doc);
        return WK_GONE;
    }

    if (h.status == 403 && reason && strstr(reason, "ProviderToken")) {
        wk_push_forget(t, "apns");
        json_decref(doc);
        return WK_AGAIN_MINE;
    }

    json_decref(doc);

    return h.status == 429 || h.status >= 500 ? WK_AGAIN : WK_NEVER;
}


wk_sent_e
wk_push(wk_task_t *t, CURL **curl, wk_delivery_t *d)
{
    const wk_notify_conf_t  *conf = wk_notify_conf();

    if (strcmp(d->platform, "fcm") == 0 && conf->fcm_key) {
        return wk_push_fcm(t, curl, d);
    }

    if (strcmp(d->platform, "apns") == 0 && conf->apns_key) {
        return wk_push_apns(t, curl, d);
    }

    snprintf(d->error, sizeof(d->error), "%s is not configured here",
             d->platform);

    return WK_AGAIN_MINE;
}
