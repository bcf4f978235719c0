/*
 * A job of kind notify: the deliveries of one tenant to one endpoint.
 *
 * Each delivery is a transaction of its own that holds an advisory lock while
 * it talks to the receiver, so that two jobs never make the same one at the
 * same time, and ends with what became of it.  A delivery that was made is
 * skipped by a repeated job.  A child outlives its worker until the delivery
 * it is at is settled, so that a killed worker repeats nothing; only a machine
 * that dies between the receiver's answer and the commit does, under the same
 * webhook-id, tag or collapse id.
 *
 * A receiver that failed five times in a row is left alone for a while: each
 * webhook has its own breaker (columns failures and disabled_until), each push
 * service one in Redis.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "worker/notify.h"
#include "worker/trace.h"

enum {
    col_status = 0, col_age, col_purpose, col_message, col_created, col_hook,
    col_url, col_secret, col_active, col_open, col_token_id, col_platform,
    col_token, col_app, col_vehicle, col_alarm, col_device, col_kind,
    col_severity, col_started, col_event
};

static const char  wk_notify_sql[] =
    "select d.status, extract(epoch from now() - d.created_at)::bigint,"
    " d.purpose, e.message::text, mdvr.rfc3339(d.created_at), d.webhook_id,"
    " w.url, encode(w.secret, 'hex'), w.active, w.disabled_until > now(),"
    " p.id, p.platform, p.token, p.app_id,"
    " coalesce(nullif(v.plate, ''), nullif(v.name, ''), v.serial), a.id,"
    " a.device_id, a.kind, a.severity, mdvr.rfc3339(a.started_at), d.event_seq"
    " from mdvr.delivery d"
    " left join mdvr.webhook w on w.id = d.webhook_id"
    " left join mdvr.push_token p on p.id = d.push_token_id"
    " left join mdvr.event e on e.tenant_id = d.tenant_id"
    "  and e.seq = d.event_seq"
    " left join mdvr.device v on v.id = e.device_id"
    " left join mdvr.alarm a on a.id = (e.message ->> 'alarm_id')::uuid"
    " where d.id = $1";


const char *
wk_notify_key(char *key, const char *service, const char *what)
{
    mdvr_buf_t  b;

    b = mdvr_buf(key, MDVR_KEY_MAX - 1);
    mdvr_key_notify(&b, mdvr_cstr(service), what);
    key[b.len] = '\0';

    return key;
}


/* The breaker of a push service; true: leave it alone. */

static bool
wk_breaker_open(wk_task_t *t, const char *name)
{
    bool         open;
    char         key[MDVR_KEY_MAX];
    redisReply  *reply;

    reply = wk_redis(&t->redis, "EXISTS %s",
                     wk_notify_key(key, name, "open"));

    if (reply == NULL) {
        return false;
    }

    open = reply->type == REDIS_REPLY_INTEGER && reply->integer;
    freeReplyObject(reply);

    return open;
}


static void
wk_breaker_note(wk_task_t *t, const char *name, bool ok)
{
    char         key[MDVR_KEY_MAX];
    long long    n;
    redisReply  *reply;

    wk_notify_key(key, name, "failures");
    reply = wk_redis(&t->redis, ok ? "DEL %s" : "INCR %s", key);

    if (reply == NULL) {
        return;
    }

    n = reply->integer;
    freeReplyObject(reply);

    if (ok) {
        return;
    }

    reply = wk_redis(&t->redis, "EXPIRE %s 3600", key);

    if (reply) {
        freeReplyObject(reply);
    }

    if (n >= WK_NOTIFY_TRIES && wk_notify_conf()->breaker_s) {
        reply = wk_redis(&t->redis, "SET %s 1 EX %u",
                         wk_notify_key(key, name, "open"),
                         wk_notify_conf()->breaker_s);

        if (reply) {
            freeReplyObject(reply);
        }
    }
}


static bool
wk_notify_exec(wk_task_t *t, const char *sql, int n, const char *const *v)
{
    PGresult  *res;

    res = wk_db(&t->db, sql, n, v);
    PQclear(res);

    return res != NULL;
}


/* The breaker of a webhook: 30 s after five failures, doubling up to 1 h. */

static bool
wk_notify_hook(wk_task_t *t, const char *id, bool ok)
{
    char         breaker[16];
    const char  *v[3] = { id, breaker, "5" };

    if (ok) {
        return wk_notify_exec(t, "update mdvr.webhook set failures = 0, "
                              "disabled_until = null where id = $1 "
                              "and failures > 0", 1, v);
    }

    snprintf(breaker, sizeof(breaker), "%u", wk_notify_conf()->breaker_s);

    return wk_notify_exec(t, "update mdvr.webhook set "
                          "failures = failures + 1, disabled_until = case "
                          "when failures + 1 >= $3::integer then now() + "
                          "least($2::integer * (2 ^ least(failures + 1 - "
                          "$3::integer, 7)) * interval '1 second', "
                          "interval '1 hour') end where id = $1", 3, v);
}


static bool
wk_notify_write(wk_task_t *t, const wk_delivery_t *d, wk_sent_e sent,
    bool tried)
{
    char         code[16];
    const char  *v[5];

    snprintf(code, sizeof(code), "%ld", d->code);

    v[0] = d->id;
    v[1] = sent == WK_SENT ? "delivered"
           : sent == WK_AGAIN || sent == WK_AGAIN_MINE ? "queued" : "failed";
    v[2] = tried ? "1" : "0";
    v[3] = code;
    v[4] = sent == WK_SENT ? "" : d->error;

    return wk_notify_exec(t, "update mdvr.delivery set status = $2, "
                          "attempts = attempts + $3::integer, "
                          "last_code = nullif($4::integer, 0), "
                          "last_error = nullif(left($5, 500), ''), "
                          "delivered_at = case when $2 = 'delivered' "
                          "then clock_timestamp() end, "
                          "next_at = now() + interval '" WK_NOTIFY_LEASE "' "
                          "where id = $1 and status = 'queued'", 5, v);
}


/* What there is no sense in trying; false: try. */

static bool
wk_notify_skip(wk_task_t *t, const PGresult *res, wk_delivery_t *d,
    wk_sent_e *sent)
{
    long         age;
    const char  *p;

    p = wk_db_get(res, 0, col_age);
    age = p ? atol(p) : 0;
    *sent = WK_NEVER;

    if (d->webhook_id == NULL && d->platform == NULL) {
        snprintf(d->error, sizeof(d->error), "the receiver is gone");
        return true;
    }

    if (age > (d->webhook_id ? WK_NOTIFY_HOOK_S : WK_NOTIFY_PUSH_S)) {
        snprintf(d->error, sizeof(d->error), "too late");
        return true;
    }

    if (d->webhook_id && strcmp(wk_db_get(res, 0, col_active), "t") != 0) {
        snprintf(d->error, sizeof(d->error), "the webhook is not active");
        return true;
    }

    if (d->webhook_id ? d->message == NULL && strcmp(d->purpose, "test") != 0
                      : d->alarm_id == NULL || d->vehicle == NULL)
    {
        snprintf(d->error, sizeof(d->error), "the event is gone");
        return true;
    }

    p = wk_db_get(res, 0, col_open);

    if (d->webhook_id ? p && *p == 't' : wk_breaker_open(t, d->platform)) {
        snprintf(d->error, sizeof(d->error), "waiting: the receiver failed "
                 "too often");
        *sent = WK_AGAIN_MINE;
        return true;
    }

    return false;
}


static bool
wk_notify_settle(wk_task_t *t, const PGresult *res, const wk_delivery_t *d,
    wk_sent_e sent, bool tried)
{
    const char  *token = wk_db_get(res, 0, col_token_id);

    /* the receiver before what is sent to it: who deletes one does so, too */

    if (sent == WK_GONE && token
        && !wk_notify_exec(t, "delete from mdvr.push_token where id = $1", 1,
                           &token))
    {
        return false;
    }

    if (tried && d->webhook_id
        && !wk_notify_hook(t, d->webhook_id, sent == WK_SENT))
    {
        return false;
    }

    if (!wk_notify_write(t, d, sent, tried)) {
        return false;
    }

    if (tried && d->platform && sent != WK_AGAIN_MINE) {
        wk_breaker_note(t, d->platform, sent != WK_AGAIN);
    }

    return wk_db_commit(&t->db);
}


/* False: try again later, t->db.error or *why says why. */

static bool
wk_notify_one(wk_task_t *t, CURL **curl, const char *id, char *why,
    size_t size)
{
    bool           ok, tried;
    char           code[16];
    PGresult      *res;
    wk_sent_e      sent;
    wk_span_t      span;
    mdvr_trace_t   saved;
    wk_delivery_t  d;

    if (!wk_db_begin(&t->db, wk_job_str(t->job, "tenant_id"))) {
        snprintf(why, size, "%s", t->db.error);
        return false;
    }

    res = wk_db(&t->db, "select pg_try_advisory_xact_lock(5572, hashtext($1))",
                1, &id);

    if (res == NULL || strcmp(PQgetvalue(res, 0, 0), "t") != 0) {
        snprintf(why, size, "%s", res ? "another job is at it" : t->db.error);
        PQclear(res);
        wk_db_rollback(&t->db);
        return false;
    }

    PQclear(res);
    res = wk_db(&t->db, wk_notify_sql, 1, &id);

    if (res == NULL) {
        snprintf(why, size, "%s", t->db.error);
        return false;
    }

    if (PQntuples(res) == 0
        || strcmp(PQgetvalue(res, 0, col_status), "queued") != 0)
    {
        PQclear(res);
        wk_db_rollback(&t->db);
        return true;                    /* made before, or not wanted now */
    }

    memset(&d, 0, sizeof(d));
    d.id = id;
    d.purpose = wk_db_get(res, 0, col_purpose);
    d.message = wk_db_get(res, 0, col_message);
    d.created_at = wk_db_get(res, 0, col_created);
    d.webhook_id = wk_db_get(res, 0, col_hook);
    d.url = wk_db_get(res, 0, col_url);
    d.secret = wk_db_get(res, 0, col_secret);
    d.seal = &t->db.conf->seal;
    d.platform = wk_db_get(res, 0, col_platform);
    d.token = wk_db_get(res, 0, col_token);
    d.app_id = wk_db_get(res, 0, col_app);
    d.vehicle = wk_db_get(res, 0, col_vehicle);
    d.alarm_id = wk_db_get(res, 0, col_alarm);
    d.device_id = wk_db_get(res, 0, col_device);
    d.kind = wk_db_get(res, 0, col_kind);
    d.severity = wk_db_get(res, 0, col_severity);
    d.started_at = wk_db_get(res, 0, col_started);

    tried = !wk_notify_skip(t, res, &d, &sent);

    (void) wk_trace_alarm(d.alarm_id, &saved);
    wk_trace_begin(&span, MDVR_SPAN_PRODUCER, "notify");
    wk_trace_text(&span, "mdvr.delivery", id);
    wk_trace_text(&span, "mdvr.purpose", d.purpose);
    wk_trace_text(&span, "mdvr.to", d.platform ? d.platform : "webhook");

    if (tried) {
        sent = d.webhook_id ? wk_webhook(curl, &d) : wk_push(t, curl, &d);
    }

    ok = wk_notify_settle(t, res, &d, sent, tried);
    snprintf(code, sizeof(code), "%ld", d.code);
    wk_trace_end(&span, sent == WK_SENT ? NULL : d.error);
    wk_trace_back(&saved);

    wk_trace_log(NULL, d.alarm_id);
    wk_log(sent == WK_SENT ? WK_INFO : WK_WARN,
           sent == WK_SENT ? "notification delivered"
                           : "notification not delivered",
           "delivery", id, "purpose", d.purpose, "to",
           d.platform ? d.platform : d.webhook_id, "status", code, "reason",
           d.error[0] ? d.error : NULL, "alarm_id", d.alarm_id, "device_id",
           d.device_id, "event_id", wk_db_get(res, 0, col_event), NULL);
    wk_trace_log(wk_job_str(t->job, "traceparent"),
                 wk_job_str(t->job, "alarm_id"));

    if (!ok) {
        snprintf(why, size, "%s", t->db.error);

    } else if (sent == WK_AGAIN || sent == WK_AGAIN_MINE) {
        snprintf(why, size, "%s", d.error);
        ok = false;
    }

    PQclear(res);

    return ok;
}


wk_verdict_e
wk_notify(wk_task_t *t)
{
    char         why[300];
    CURL        *curl;
    pid_t        parent;
    size_t       i, waiting;
    json_t      *ids, *id;

    parent = getppid();
    ids = json_object_get(t->job->doc, "deliveries");

    if (!json_is_array(ids) || !wk_is_uuid(wk_job_str(t->job, "tenant_id"))) {
        return wk_result(t->res, WK_GIVE_UP, "document",
                         "deliveries or tenant_id is missing");
    }

    curl = NULL;
    waiting = 0;
    why[0] = '\0';

    json_array_foreach(ids, i, id) {
        if (!json_is_string(id) || !wk_is_uuid(json_string_value(id))) {
            continue;
        }

        prctl(PR_SET_PDEATHSIG, 0);

        if (getppid() != parent) {
            _exit(1);                   /* the job is another worker's now */
        }

        if (!wk_notify_one(t, &curl, json_string_value(id), why, sizeof(why)))
        {
            waiting++;
        }

        prctl(PR_SET_PDEATHSIG, SIGKILL);

        if (getppid() != parent) {
            _exit(1);
        }
    }

    if (curl) {
        curl_easy_cleanup(curl);
    }

    if (waiting) {
        return wk_result(t->res, WK_RETRY, "receiver", "%zu of %zu deliveries "
                         "wait: %s", waiting, json_array_size(ids), why);
    }

    return wk_result(t->res, WK_DONE, "", "%s", "");
}


/* What is still waiting has failed. */

void
wk_notify_give_up(wk_task_t *t, const char *reason)
{
    size_t       i;
    json_t      *id;
    const char  *v[2];

    v[1] = reason;

    json_array_foreach(json_object_get(t->job->doc, "deliveries"), i, id) {
        v[0] = json_string_value(id);

        if (v[0] == NULL || !wk_is_uuid(v[0])
            || !wk_db_begin(&t->db, wk_job_str(t->job, "tenant_id")))
        {
            continue;
        }

        if (wk_notify_exec(t, "update mdvr.delivery set status = 'failed', "
                           "last_error = left($2, 500) where id = $1 "
                           "and status = 'queued'", 2, v))
        {
            wk_db_commit(&t->db);
        }
    }
}
