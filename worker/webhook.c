/*
 * Webhooks: an event is posted as it is, signed so that the receiver knows
 * whose it is and that it is not an old one sent again.
 *
 *   webhook-id         id of the delivery, the same however often it comes
 *   webhook-timestamp  unix time of this attempt
 *   webhook-signature  v1,base64(HMAC-SHA256(secret, id.timestamp.body))
 *
 * Source: the Standard Webhooks specification; the key is the secret's text.
 */

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/notify.h"


/* The key's bytes; 0: no key of ours opens it. */

static size_t
wk_webhook_key(uint8_t *key, const wk_delivery_t *d)
{
    size_t       n;
    char         name[64];
    uint8_t      sealed[MDVR_SEAL_MAX];
    unsigned     byte;
    const char  *hex;

    hex = d->secret;

    for (n = 0; n < sizeof(sealed) && hex[2 * n] && hex[2 * n + 1]; n++) {
        if (sscanf(hex + 2 * n, "%2x", &byte) != 1) {
            return 0;
        }

        sealed[n] = (uint8_t) byte;
    }

    snprintf(name, sizeof(name), "webhook/%s", d->webhook_id);

    return mdvr_unseal(d->seal, name, sealed, n, key);
}


static bool
wk_webhook_sign(const wk_delivery_t *d, const char *stamp, const char *body,
    char *out)
{
    bool      ok;
    char     *text;
    size_t    n, size;
    uint8_t   key[MDVR_SEAL_MAX], md[32];

    size = strlen(d->id) + strlen(stamp) + strlen(body) + 3;
    text = malloc(size);

    if (text == NULL) {
        return false;
    }

    snprintf(text, size, "%s.%s.%s", d->id, stamp, body);
    n = wk_webhook_key(key, d);
    ok = n && HMAC(EVP_sha256(), key, (int) n, (uint8_t *) text, size - 1, md, NULL)
              != NULL;
    explicit_bzero(key, sizeof(key));
    free(text);
    wk_base64(out, md, sizeof(md), false);

    return ok;
}


wk_sent_e
wk_webhook(CURL **curl, wk_delivery_t *d)
{
    char                      line[256], stamp[32], sum[64], test[256];
    static wk_http_t          h;
    const wk_notify_conf_t   *conf = wk_notify_conf();

    memset(&h, 0, sizeof(h));
    h.url = d->url;
    h.body = d->message;
    h.ca_file = conf->ca_file;
    h.guard = true;
    h.allow = conf->allow;
    h.allowed = conf->allowed;

    if (h.body == NULL) {
        snprintf(test, sizeof(test), "{\"type\":\"test\",\"id\":\"%s\","
                 "\"webhook_id\":\"%s\",\"at\":\"%s\"}", d->id,
                 d->webhook_id, d->created_at);
        h.body = test;
    }

    h.length = strlen(h.body);
    snprintf(stamp, sizeof(stamp), "%lld", (long long) (wk_now_ms() / 1000));

    if (!wk_webhook_sign(d, stamp, h.body, sum)) {
        snprintf(d->error, sizeof(d->error), "cannot sign");
        return WK_AGAIN_MINE;
    }

    h.headers = curl_slist_append(NULL, "Content-Type: application/json");
    h.headers = curl_slist_append(h.headers, "Expect:");
    snprintf(line, sizeof(line), "webhook-id: %s", d->id);
    h.headers = curl_slist_append(h.headers, line);
    snprintf(line, sizeof(line), "webhook-timestamp: %s", stamp);
    h.headers = curl_slist_append(h.headers, line);
    snprintf(line, sizeof(line), "webhook-signature: v1,%s", sum);
    h.headers = curl_slist_append(h.headers, line);

    wk_http_post(curl, &h);
    curl_slist_free_all(h.headers);
    d->code = h.status;

    if (h.refused) {
        snprintf(d->error, sizeof(d->error), "%s", h.error);
        return WK_NEVER;
    }

    if (h.status >= 200 && h.status < 300) {
        return WK_SENT;
    }

    if (h.status >= 300 && h.status < 400) {
        snprintf(d->error, sizeof(d->error), "answered %ld: redirects are not "
                 "followed", h.status);

    } else if (h.status) {
        snprintf(d->error, sizeof(d->error), "answered %ld", h.status);

    } else {
        snprintf(d->error, sizeof(d->error), "%s", h.error);
    }

    return WK_AGAIN;
}
