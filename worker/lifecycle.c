/*
 * How stored objects end, in a child of its own: removing them may take long,
 * and scheduled work must not wait for a storage.
 *
 *   purge      every minute: what is beyond its tenant's retention is marked
 *              as deleted, objects of deleted items go, then their row says so
 *   evidence   every minute: packages of yesterday
 *   storage    every hour: what was being stored when somebody died
 *   orphans    every six hours: folders of items that nobody knows
 *
 * Each may be repeated at any point.  A legal hold is PostgreSQL's business
 * (sql/migrations/0062_objects.sql).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mdvr/domain/keys.h"
#include "worker/handler.h"

#define WK_LIFE_MS       240000         /* of one child */
#define WK_LIFE_BATCH    100
#define WK_LIFE_KNOWN    256            /* ids asked for at a time */
#define WK_LIFE_LOOK     1000000        /* objects looked at in one go */

typedef struct {
    wk_db_t        db;
    wk_redis_t     redis;
    wk_storage_t   storage;
    int64_t        end_ms;
    const char    *failed;              /* which part */
    char           error[300];
} wk_life_t;

/* Folders of one tenant, as the listing comes to them. */

typedef struct {
    wk_life_t     *life;
    int64_t        before_ms;           /* only what is older */
    char           tenant[37];
    char           ids[WK_LIFE_KNOWN][37];
    char           folders[WK_LIFE_KNOWN][128];
    unsigned       n;
    unsigned       looked;
    unsigned       removed;             /* folders */
    char           after[600];
    bool           ok;
} wk_orphans_t;


static bool
wk_life_failed(wk_life_t *l, const char *part, const char *error)
{
    l->failed = part;
    snprintf(l->error, sizeof(l->error), "%s", error);

    return false;
}


/* True for one worker every `every_s`; *ok is false without PostgreSQL. */

static bool
wk_life_due(wk_life_t *l, const char *name, const char *every_s, bool *ok)
{
    bool         due;
    PGresult    *res;
    const char  *v[2] = { name, every_s };

    *ok = false;

    if (!wk_db_begin(&l->db, NULL)) {
        return wk_life_failed(l, name, l->db.error);
    }

    res = wk_db(&l->db, "select mdvr.schedule_claim($1, $2::integer)", 2, v);
    if (res == NULL) {
        return wk_life_failed(l, name, l->db.error);
    }

    due = strcmp(PQgetvalue(res, 0, 0), "t") == 0;
    PQclear(res);
    *ok = wk_db_commit(&l->db);

    return due && *ok;
}


/* One statement of its own; its number, or -1. */

static int
wk_life_number(wk_life_t *l, const char *sql, int n, const char *const *v)
{
    int        number;
    PGresult  *res;

    if (!wk_db_begin(&l->db, NULL)
        || (res = wk_db(&l->db, sql, n, v)) == NULL)
    {
        return -1;
    }

    number = PQntuples(res) ? atoi(PQgetvalue(res, 0, 0)) : 0;
    PQclear(res);

    return wk_db_commit(&l->db) ? number : -1;
}


/* --- deleted items ---------------------------------------------------------- */

static bool
wk_life_purge_item(wk_life_t *l, const char *tenant, const char *media)
{
    int          n;
    char         folder[256], objects[16];
    const char  *v[2] = { media, objects };

    wk_media_key(folder, sizeof(folder), tenant, media, "");
    n = wk_storage_remove(&l->storage, folder);

    if (n < 0) {
        return wk_life_failed(l, "purge", l->storage.error);
    }

    snprintf(objects, sizeof(objects), "%d", n);

    if (wk_life_number(l, "select mdvr.media_purged($1, $2::integer)", 2, v)
        < 0)
    {
        return wk_life_failed(l, "purge", l->db.error);
    }

    wk_log(WK_INFO, "objects removed", "tenant_id", tenant, "media", media,
           "objects", objects, NULL);

    return true;
}


/* One item at a time: a legal hold that comes meanwhile stops the next. */

static bool
wk_life_purge_next(wk_life_t *l, bool *more)
{
    bool       ok;
    PGresult  *res;

    if (!wk_db_begin(&l->db, NULL)
        || (res = wk_db(&l->db, "select tenant_id, media_id "
                        "from mdvr.media_purge_claim()", 0, NULL)) == NULL)
    {
        return wk_life_failed(l, "purge", l->db.error);
    }

    *more = PQntuples(res) && !PQgetisnull(res, 0, 1);
    ok = wk_db_commit(&l->db) || wk_life_failed(l, "purge", l->db.error);

    if (ok && *more) {
        ok = wk_life_purge_item(l, PQgetvalue(res, 0, 0),
                                PQgetvalue(res, 0, 1));
    }

    PQclear(res);

    return ok;
}


static bool
wk_life_purge(wk_life_t *l)
{
    int          n;
    bool         ok, more;
    char         limit[16];
    const char  *v[1] = { limit };

    snprintf(limit, sizeof(limit), "%d", WK_LIFE_BATCH);

    do {
        n = wk_life_number(l, "select mdvr.media_expire($1::integer)", 1, v);
    } while (n == WK_LIFE_BATCH && wk_clock_ms() < l->end_ms);

    if (n < 0
        || wk_life_number(l, "select mdvr.media_forget($1::integer)", 1, v)
           < 0)
    {
        return wk_life_failed(l, "purge", l->db.error);
    }

    do {
        ok = wk_life_purge_next(l, &more);
    } while (ok && more && wk_clock_ms() < l->end_ms);

    return ok;
}


/* --- folders that nobody knows ---------------------------------------------- */

static bool
wk_life_orphan(wk_orphans_t *o, const char *id)
{
    int          n;
    char         objects[16];
    unsigned     i;
    wk_life_t   *l = o->life;
    const char  *v[3] = { o->tenant, id, objects };

    for (i = 0; i < o->n && strcmp(o->ids[i], id) != 0; i++) {
        /* void */
    }

    if (i == o->n) {
        return true;
    }

    n = wk_storage_remove(&l->storage, o->folders[i]);

    if (n < 0) {
        return wk_life_failed(l, "orphans", l->storage.error);
    }

    snprintf(objects, sizeof(objects), "%d", n);
    o->removed++;
    wk_log(WK_WARN, "objects of no item removed", "tenant_id", o->tenant,
           "folder", o->folders[i], "objects", objects, NULL);

    if (wk_life_number(l, "select mdvr.audit_append($1::uuid, null, null, "
                       "null, 'storage.orphan', 'object', $2, "
                       "jsonb_build_object('objects', $3::integer), null)",
                       3, v) < 0)
    {
        return wk_life_failed(l, "orphans", l->db.error);
    }

    return true;
}


/* Asks about the folders that have been collected and removes what is not
 * known. */

static bool
wk_life_unknown(wk_orphans_t *o)
{
    int          i;
    char         list[WK_LIFE_KNOWN * 37 + 3];
    size_t       len;
    unsigned     k;
    PGresult    *res;
    wk_life_t   *l = o->life;
    const char  *v[2] = { o->tenant, list };

    if (o->n == 0) {
        return true;
    }

    for (k = 0, len = 0; k < o->n; k++) {
        len += (size_t) snprintf(list + len, sizeof(list) - len, "%c%s",
                                 k ? ',' : '{', o->ids[k]);
    }

    snprintf(list + len, sizeof(list) - len, "}");

    if (!wk_db_begin(&l->db, NULL)
        || (res = wk_db(&l->db, "select * from "
                        "mdvr.objects_unknown($1, $2::uuid[])", 2, v)) == NULL)
    {
        return wk_life_failed(l, "orphans", l->db.error);
    }

    o->ok = wk_db_commit(&l->db)
            || wk_life_failed(l, "orphans", l->db.error);

    for (i = 0; o->ok && i < PQntuples(res); i++) {
        o->ok = wk_life_orphan(o, PQgetvalue(res, i, 0));
    }

    PQclear(res);
    o->n = 0;

    return o->ok;
}


/*
 * The folder that a key lies in, and whose it is; false: of nothing that could be
 * an orphan.
 */

static bool
wk_life_folder(const char *key, char tenant[37], char id[37], char *folder,
    size_t size)
{
    unsigned  y, m, d;

    if (sscanf(key, "%36[0-9a-f-]/firmware/%36[0-9a-f-]/", tenant, id) == 2) {
        snprintf(folder, size, "%s/firmware/%s/", tenant, id);

    } else if (sscanf(key, "%36[0-9a-f-]/%4u/%2u/%2u/%36[0-9a-f-]/", tenant,
                      &y, &m, &d, id) == 5)
    {
        wk_media_key(folder, size, tenant, id, "");

    } else {
        return false;
    }

    return wk_is_uuid(tenant) && wk_is_uuid(id)
           && strncmp(key, folder, strlen(folder)) == 0;
}


/*
 * "<tenant>/<yyyy>/<mm>/<dd>/<id>/<name>" and "<tenant>/firmware/<id>/<name>",
 * older than the limit; nothing else is ever taken for an orphan.
 */

static bool
wk_life_look(void *data, const char *key, int64_t at)
{
    char           tenant[37], id[37], folder[128];
    wk_orphans_t  *o = data;

    snprintf(o->after, sizeof(o->after), "%s", key);

    if (++o->looked > WK_LIFE_LOOK || wk_clock_ms() > o->life->end_ms) {
        return false;
    }

    if (at * 1000 + 999 > o->before_ms  /* `at` is rounded down */
        || !wk_life_folder(key, tenant, id, folder, sizeof(folder))
        || wk_uuid_ms(id) > o->before_ms)
    {
        return true;
    }

    if (o->n == WK_LIFE_KNOWN
        || (o->n && strcmp(o->tenant, tenant) != 0))
    {
        if (!wk_life_unknown(o)) {
            return false;
        }
    }

    if (o->n && strcmp(o->ids[o->n - 1], id) == 0) {
        return true;                    /* another object of the same */
    }

    memcpy(o->tenant, tenant, sizeof(o->tenant));
    memcpy(o->ids[o->n], id, sizeof(id));
    memcpy(o->folders[o->n], folder, sizeof(folder));
    o->n++;

    return true;
}


/* A storage of many millions is looked through in several goes: Redis knows
 * where the last one ended, and forgetting it costs nothing. */

static bool
wk_life_orphans(wk_life_t *l)
{
    bool                  listed, all;
    char                  count[16];
    redisReply           *reply;
    static wk_orphans_t   o;

    memset(&o, 0, sizeof(o));
    o.life = l;
    o.ok = true;
    o.before_ms = wk_now_ms() - (int64_t) l->storage.conf->orphan_s * 1000;

    reply = wk_redis(&l->redis, "GET " MDVR_KEY_ORPHANS);

    if (reply && reply->type == REDIS_REPLY_STRING) {
        snprintf(o.after, sizeof(o.after), "%s", reply->str);
    }

    if (reply) {
        freeReplyObject(reply);
    }

    {
        char  from[sizeof(o.after)];

        memcpy(from, o.after, sizeof(from));
        listed = wk_storage_list(&l->storage, "", from, wk_life_look, &o);
    }

    all = o.looked <= WK_LIFE_LOOK && wk_clock_ms() <= l->end_ms;

    if (o.ok && listed) {
        (void) wk_life_unknown(&o);
    }

    reply = o.ok && listed && all
            ? wk_redis(&l->redis, "DEL " MDVR_KEY_ORPHANS)
            : wk_redis(&l->redis, "SET " MDVR_KEY_ORPHANS " %s EX 604800",
                       o.after);
    if (reply) {
        freeReplyObject(reply);
    }

    if (o.removed) {
        snprintf(count, sizeof(count), "%u", o.removed);
        wk_log(WK_WARN, "folders of no item removed", "count", count, NULL);
    }

    return o.ok && (listed || wk_life_failed(l, "orphans", l->storage.error));
}


static bool
wk_life_unfinished(wk_life_t *l)
{
    int   n;
    char  count[16];

    n = wk_storage_sweep(&l->storage, l->storage.conf->orphan_s);

    if (n < 0) {
        return wk_life_failed(l, "storage", l->storage.error);
    }

    if (n) {
        snprintf(count, sizeof(count), "%d", n);
        wk_log(WK_INFO, "unfinished objects removed", "count", count, NULL);
    }

    return true;
}


void
wk_lifecycle(void *data, wk_result_t *res)
{
    bool               ok;
    size_t             i;
    wk_life_t          l;
    static const struct {
        const char    *name;
        const char    *every_s;
        bool         (*run)(wk_life_t *l);
    } parts[] = {
        { "purge",    "60",     wk_life_purge },
        { "storage",  "3600",   wk_life_unfinished },
        { "orphans",  "21600",  wk_life_orphans },
    };

    memset(&l, 0, sizeof(l));
    wk_db_init(&l.db, data);
    wk_redis_init(&l.redis, data);
    wk_storage_init(&l.storage, data);
    l.end_ms = wk_clock_ms() + WK_LIFE_MS;
    wk_result(res, WK_DONE, "", "%s", "");

    for (i = 0, ok = true; ok && i < sizeof(parts) / sizeof(parts[0]); i++) {
        l.failed = NULL;

        if (wk_life_due(&l, parts[i].name, parts[i].every_s, &ok)) {
            parts[i].run(&l);
        }

        if (l.failed) {
            wk_result(res, WK_RETRY, "storage", "%s: %s", l.failed, l.error);
        }
    }

    if (ok && !wk_evidence_expire(&l.db, &l.storage)) {
        wk_result(res, WK_RETRY, "storage", "evidence: %s", l.db.error);
    }

    wk_db_close(&l.db);
    wk_redis_close(&l.redis);
}
