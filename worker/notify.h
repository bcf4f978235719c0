/*
 * Notifications: settings, and what it means to make one delivery.
 *
 * Events become rows of mdvr.delivery (worker/follow.c), rows become jobs of
 * kind notify, and a job makes its deliveries one by one (worker/notify.c)
 * through a push service (worker/push.c) or a webhook (worker/webhook.c).
 */

#ifndef MDVR_WORKER_NOTIFY_H
#define MDVR_WORKER_NOTIFY_H

#include "mdvr/domain/keys.h"
#include "worker/handler.h"
#include "worker/http.h"

#define WK_NOTIFY_LEASE   "30 minutes"      /* longer than any pause */
#define WK_NOTIFY_PUSH_S  3600              /* later nobody wants it */
#define WK_NOTIFY_HOOK_S  86400
#define WK_NOTIFY_TRIES   5                 /* failures that open a breaker */

typedef struct {
    char          *fcm_endpoint;            /* without '/' at the end */
    char          *fcm_project;
    char          *fcm_email;
    char          *fcm_key;                 /* PEM; NULL: no FCM */
    char          *fcm_key_id;              /* may be NULL */
    char          *fcm_token_url;
    char          *apns_endpoint;
    char          *apns_key;                /* PEM; NULL: no APNs */
    const char    *apns_key_id;
    const char    *apns_team_id;
    const char    *apns_topic;              /* of tokens without an app_id */
    const char    *ca_file;
    const char    *platforms;               /* "{fcm,apns}" */
    wk_network_t   allow[32];               /* MDVR_WEBHOOK_ALLOW */
    unsigned       allowed;
    unsigned       repeat_s;                /* MDVR_NOTIFY_REPEAT_S */
    unsigned       breaker_s;               /* MDVR_NOTIFY_BREAKER_S */
} wk_notify_conf_t;

/* Reads the environment once; false after saying what is wrong. */
bool wk_notify_conf_read(void);
const wk_notify_conf_t *wk_notify_conf(void);

typedef enum {
    WK_SENT = 0,
    WK_AGAIN,           /* may go better later */
    WK_AGAIN_MINE,      /* so, and the receiver's service is not to blame */
    WK_NEVER,
    WK_GONE             /* never, and the phone is to be forgotten */
} wk_sent_e;

/* One delivery; views into a result that outlives it. */
typedef struct {
    const char  *id;
    const char  *purpose;       /* alarm, video, event, test */
    const char  *message;       /* the event, NULL for a test */
    const char  *platform;      /* fcm, apns, NULL: a webhook */
    const char  *token;
    const char  *app_id;        /* may be NULL */
    const char  *vehicle;       /* what people call it */
    const char  *alarm_id;
    const char  *device_id;
    const char  *kind;
    const char  *severity;
    const char  *started_at;
    const char  *webhook_id;
    const char  *url;
    const char  *secret;        /* sealed, in hexadecimal */
    const mdvr_seal_ring_t  *seal;
    const char  *created_at;

    long         code;          /* HTTP status that came, 0: none */
    char         error[300];
} wk_delivery_t;

wk_sent_e wk_push(wk_task_t *t, CURL **curl, wk_delivery_t *d);
wk_sent_e wk_webhook(CURL **curl, wk_delivery_t *d);

/* mdvr:notify:{<service>}:<what>; `key` has MDVR_KEY_MAX bytes, returned. */
const char *wk_notify_key(char *key, const char *service, const char *what);

/* Base64 with or without the URL's alphabet; `out` has 4 * (n + 2) / 3 + 1. */
void wk_base64(char *out, const void *p, size_t n, bool url);

#endif /* MDVR_WORKER_NOTIFY_H */
