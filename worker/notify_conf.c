/* Settings of notifications, from the environment and the files it names. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/notify.h"

static wk_notify_conf_t  wk_notify_set;


const wk_notify_conf_t *
wk_notify_conf(void)
{
    return &wk_notify_set;
}


static const char *
wk_notify_env(const char *name)
{
    const char  *text;

    text = getenv(name);

    return text && *text ? text : NULL;
}


static char *
wk_notify_url(const char *name, const char *value)
{
    char        *url;
    size_t       n;
    const char  *text;

    text = wk_notify_env(name);

    if (text == NULL) {
        text = value;
    }

    if (strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0)
    {
        fprintf(stderr, "mdvr-worker: %s must begin with https:// or http://"
                "\n", name);
        return NULL;
    }

    url = strdup(text);

    for (n = url ? strlen(url) : 0; n && url[n - 1] == '/'; n--) {
        url[n - 1] = '\0';
    }

    return url;
}


static char *
wk_notify_file(const char *name)
{
    char    *text;
    FILE    *f;
    size_t   n;

    f = fopen(name, "r");

    if (f == NULL) {
        fprintf(stderr, "mdvr-worker: cannot open %s: %s\n", name,
                strerror(errno));
        return NULL;
    }

    text = malloc(16384);
    n = text ? fread(text, 1, 16383, f) : 0;
    fclose(f);

    if (n == 0) {
        fprintf(stderr, "mdvr-worker: %s is empty\n", name);
        free(text);
        return NULL;
    }

    text[n] = '\0';

    return text;
}


static bool
wk_notify_number(const char *name, unsigned max, unsigned value, unsigned *out)
{
    char           *end;
    const char     *text;
    unsigned long   n;

    *out = value;
    text = wk_notify_env(name);

    if (text == NULL) {
        return true;
    }

    n = strtoul(text, &end, 10);

    if (!isdigit((unsigned char) *text) || *end || n > max) {
        fprintf(stderr, "mdvr-worker: invalid value \"%s\" of %s: it must be "
                "between 0 and %u\n", text, name, max);
        return false;
    }

    *out = (unsigned) n;

    return true;
}


static char *
wk_notify_member(const json_t *doc, const char *key)
{
    const char  *text;

    text = json_string_value(json_object_get(doc, key));

    return text && *text ? strdup(text) : NULL;
}


/* The service account as the provider hands it out. */

static bool
wk_notify_fcm(const char *file)
{
    char    *text, *url;
    json_t  *doc;

    text = wk_notify_file(file);

    if (text == NULL) {
        return false;
    }

    doc = json_loads(text, 0, NULL);
    free(text);

    wk_notify_set.fcm_project = wk_notify_member(doc, "project_id");
    wk_notify_set.fcm_email = wk_notify_member(doc, "client_email");
    wk_notify_set.fcm_key = wk_notify_member(doc, "private_key");
    wk_notify_set.fcm_key_id = wk_notify_member(doc, "private_key_id");
    url = wk_notify_member(doc, "token_uri");
    wk_notify_set.fcm_token_url = url ? url
                              : strdup("https://oauth2.googleapis.com/token");
    json_decref(doc);

    if (wk_notify_set.fcm_project == NULL || wk_notify_set.fcm_email == NULL
        || wk_notify_set.fcm_key == NULL)
    {
        fprintf(stderr, "mdvr-worker: %s is no service account: project_id, "
                "client_email and private_key are needed\n", file);
        return false;
    }

    wk_notify_set.fcm_endpoint = wk_notify_url("MDVR_FCM_ENDPOINT",
                                           "https://fcm.googleapis.com");

    return wk_notify_set.fcm_endpoint != NULL;
}


static bool
wk_notify_apns(const char *file)
{
    wk_notify_set.apns_key = wk_notify_file(file);
    wk_notify_set.apns_key_id = wk_notify_env("MDVR_APNS_KEY_ID");
    wk_notify_set.apns_team_id = wk_notify_env("MDVR_APNS_TEAM_ID");
    wk_notify_set.apns_topic = wk_notify_env("MDVR_APNS_TOPIC");

    if (wk_notify_set.apns_key == NULL) {
        return false;
    }

    if (wk_notify_set.apns_key_id == NULL || wk_notify_set.apns_team_id == NULL
        || wk_notify_set.apns_topic == NULL)
    {
        fprintf(stderr, "mdvr-worker: MDVR_APNS_KEY_FILE needs "
                "MDVR_APNS_KEY_ID, MDVR_APNS_TEAM_ID and MDVR_APNS_TOPIC\n");
        return false;
    }

    wk_notify_set.apns_endpoint = wk_notify_url("MDVR_APNS_ENDPOINT",
                                            "https://api.push.apple.com");

    return wk_notify_set.apns_endpoint != NULL;
}


static bool
wk_notify_allow(const char *text)
{
    char    net[64];
    size_t  n;

    while (*(text += strspn(text, " ,")) != '\0') {
        n = strcspn(text, " ,");

        if (n >= sizeof(net)
            || wk_notify_set.allowed == sizeof(wk_notify_set.allow)
                                    / sizeof(wk_notify_set.allow[0]))
        {
            fprintf(stderr, "mdvr-worker: MDVR_WEBHOOK_ALLOW is too long\n");
            return false;
        }

        memcpy(net, text, n);
        net[n] = '\0';
        text += n;

        if (!wk_network_read(&wk_notify_set.allow[wk_notify_set.allowed++], net)) {
            fprintf(stderr, "mdvr-worker: invalid network \"%s\" in "
                    "MDVR_WEBHOOK_ALLOW: it must look like 10.0.0.0/8\n", net);
            return false;
        }
    }

    return true;
}


bool
wk_notify_conf_read(void)
{
    const char  *fcm, *apns, *allow;

    fcm = wk_notify_env("MDVR_FCM_CREDENTIALS_FILE");
    apns = wk_notify_env("MDVR_APNS_KEY_FILE");
    allow = wk_notify_env("MDVR_WEBHOOK_ALLOW");

    wk_notify_set.ca_file = wk_notify_env("MDVR_NOTIFY_CA_FILE");
    wk_notify_set.platforms = fcm && apns ? "{fcm,apns}" : fcm ? "{fcm}"
                          : apns ? "{apns}" : "{}";

    return (fcm == NULL || wk_notify_fcm(fcm))
           && (apns == NULL || wk_notify_apns(apns))
           && (allow == NULL || wk_notify_allow(allow))
           && wk_notify_number("MDVR_NOTIFY_REPEAT_S", 86400, 300,
                               &wk_notify_set.repeat_s)
           && wk_notify_number("MDVR_NOTIFY_BREAKER_S", 3600, 30,
                               &wk_notify_set.breaker_s);
}
