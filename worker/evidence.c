/*
 * Job "evidence": everything that is known of an alarm as one signed ZIP file
 * (docs/evidence.md).
 *
 * Each entry is listed with its SHA-256 in manifest.json; manifest.sig is an
 * Ed25519 signature of exactly those bytes.  An original whose hash is not the
 * one that was recorded when it arrived stops the package: it proves nothing.
 */

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/handler.h"
#include "worker/zip.h"

#define WK_EVIDENCE_KEEP  "1 day"

typedef struct {
    char        tenant[37];
    char        alarm[37];
    char        kid[65];
    uint8_t     public_key[32];
    EVP_PKEY   *key;
    char        zip_file[PATH_MAX];
    wk_zip_t    zip;
    json_t     *files;
} wk_package_t;


/* --- the key --------------------------------------------------------------- */

static bool
wk_evidence_key(wk_db_t *db, char *kid, EVP_PKEY **key, uint8_t *public_key)
{
    bool         ok;
    size_t       len;
    uint8_t     *sealed, seed[MDVR_SEAL_MAX];
    PGresult    *res;
    const char  *v[2];
    char         hex[65], name[sizeof("signing_key/") + 64];
    unsigned     i;

    static const char  sql[] =
        "select kid, secret from mdvr.signing_keys() "
        "where purpose = 'evidence' "
        "order by created_at desc limit 1";

    for (i = 0, res = NULL; i < 2; i++) {       /* the first call makes it */
        PQclear(res);
        res = wk_db(db, i ? sql : "select mdvr.ensure_signing_key('evidence')",
                    0, NULL);
        if (res == NULL) {
            return false;
        }
    }

    sealed = PQntuples(res) ? PQunescapeBytea(
                                  (uint8_t *) PQgetvalue(res, 0, 1), &len)
                            : NULL;
    snprintf(kid, 65, "%s", PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
    snprintf(name, sizeof(name), "signing_key/%s", kid);
    PQclear(res);

    ok = sealed && len <= sizeof(seed)
         && mdvr_unseal(&db->conf->seal, name, sealed, len, seed) == 32;
    PQfreemem(sealed);

    *key = ok ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32)
              : NULL;
    explicit_bzero(seed, sizeof(seed));

    len = 32;
    ok = *key && EVP_PKEY_get_raw_public_key(*key, public_key, &len) == 1;

    if (!ok) {
        snprintf(db->error, sizeof(db->error), "no key signs evidence");
        return false;
    }

    for (i = 0; i < 32; i++) {
        sprintf(hex + 2 * i, "%02x", public_key[i]);
    }

    v[0] = kid;
    v[1] = hex;
    res = wk_db(db, "select mdvr.evidence_key_put($1, decode($2, 'hex'))", 2,
                v);
    PQclear(res);

    return res != NULL;
}


static bool
wk_evidence_sign(EVP_PKEY *key, const char *text, uint8_t *sig)
{
    bool         ok;
    size_t       len;
    EVP_MD_CTX  *ctx;

    len = 64;
    ctx = EVP_MD_CTX_new();
    ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1
         && EVP_DigestSign(ctx, sig, &len, (const uint8_t *) text,
                           strlen(text)) == 1
         && len == 64;
    EVP_MD_CTX_free(ctx);

    return ok;
}


int
wk_evidence_keys(const wk_conf_t *conf)
{
    int        i, status;
    size_t     len;
    wk_db_t    db;
    uint8_t    public_key[32], *raw;
    EVP_PKEY  *key;
    PGresult  *res;
    char       kid[65];

    status = 1;
    key = NULL;
    res = NULL;
    wk_db_init(&db, conf);

    if (wk_db_begin(&db, NULL) && wk_evidence_key(&db, kid, &key, public_key)) {
        res = wk_db(&db, "select kid, public_key from mdvr.evidence_keys()",
                    0, NULL);
    }

    EVP_PKEY_free(key);

    if (res && wk_db_commit(&db)) {
        status = 0;

        for (i = 0; i < PQntuples(res); i++) {
            raw = PQunescapeBytea((uint8_t *) PQgetvalue(res, i, 1), &len);
            key = raw ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                    raw, len)
                      : NULL;
            PQfreemem(raw);

            if (key) {
                printf("# kid %s\n", PQgetvalue(res, i, 0));
                PEM_write_PUBKEY(stdout, key);
                EVP_PKEY_free(key);
            }
        }

    } else {
        fprintf(stderr, "mdvr-worker: %s\n", db.error);
    }

    PQclear(res);
    wk_db_close(&db);

    return status;
}


/* --- what goes into it ------------------------------------------------------- */

static json_t *
wk_package_list(wk_package_t *p, const wk_zip_entry_t *e, const char *role)
{
    json_t  *file;

    if (e == NULL) {
        return NULL;
    }

    file = json_pack("{s:s, s:s, s:I, s:s}", "name", e->name, "role", role,
                     "size", (json_int_t) e->size, "sha256", e->sha256);
    json_array_append_new(p->files, file);

    return file;
}


/* Documents that PostgreSQL writes: one statement, one moment. */

static wk_verdict_e
wk_package_texts(wk_task_t *t, wk_package_t *p)
{
    int          i;
    PGresult    *res;
    const char  *v[1], *text;

    static const char *const  names[][2] = {
        { "alarm.json", "alarm" },
        { "track.json", "track" },
        { "audit.json", "audit" },
    };

    static const char  sql[] =
        "with a as (select * from mdvr.alarm where id = $1::uuid), "
        "m as (select m.* from mdvr.media m, a where m.alarm_id = a.id "
        "and m.deleted_at is null and m.quarantined is null), "
        "w as (select least(a.started_at, (select min(m.at) from m)) "
        "- interval '5 minutes' as first, least(greatest(a.started_at, "
        "a.ended_at, (select max(m.at + make_interval(secs => "
        "coalesce(m.duration_s, 0))) from m)) + interval '5 minutes', "
        "a.started_at + interval '6 hours') as last from a) "
        "select jsonb_pretty(jsonb_build_object("
        "'alarm', (select to_jsonb(a) from a), "
        "'device', (select jsonb_build_object('id', d.id, 'serial', d.serial, "
        "'name', d.name, 'plate', d.plate, 'imei', d.imei) from mdvr.device d "
        "where d.id = (select device_id from a)), "
        "'messages', (select coalesce(jsonb_agg(to_jsonb(x) "
        "order by x.received_at), '[]') from mdvr.alarm_message x "
        "where x.alarm_id = $1::uuid), "
        "'media', (select coalesce(jsonb_agg(to_jsonb(m) - '{original_key,"
        "playback_key,thumbnail_key,sprite_key,hls_key}'::text[] "
        "order by m.at, m.id), '[]') from m), "
        "'findings', (select coalesce(jsonb_agg(to_jsonb(f) - 'picture_key' "
        "order by f.media_id, f.at_s), '[]') from mdvr.finding f "
        "where f.media_id in (select m.id from m)))), "
        "jsonb_pretty(jsonb_build_object('from', w.first, 'to', w.last, "
        "'points', (select coalesce(jsonb_agg(jsonb_build_object("
        "'recorded_at', y.recorded_at, 'received_at', y.received_at, "
        "'gps_valid', y.gps_valid, 'lat', y.lat_deg, 'lon', y.lon_deg, "
        "'speed_kmh', y.speed_kmh, 'course_deg', y.course_deg, "
        "'satellites', y.satellites, 'acc', y.acc, 'mileage_m', y.mileage_m, "
        "'status', y.status_hex, 'late', y.late) order by y.recorded_at), "
        "'[]') from (select y.* from mdvr.telemetry y, a "
        "where y.device_id = a.device_id and y.recorded_at between w.first "
        "and w.last order by y.recorded_at limit 50000) y))), "
        "jsonb_pretty(jsonb_build_object('entries', "
        "(select coalesce(jsonb_agg(jsonb_build_object('seq', u.seq, "
        "'at', u.at, 'user_id', u.user_id, 'action', u.action, "
        "'object_type', u.object_type, 'object_id', u.object_id, "
        "'detail', u.detail, 'text', mdvr.audit_text(u), "
        "'prev_hash', encode(u.prev_hash, 'hex'), "
        "'hash', encode(u.hash, 'hex')) order by u.seq), '[]') "
        "from mdvr.audit u where u.tenant_id = (select tenant_id from a) "
        "and u.object_id in (select $1::text union all select m.id::text from m)))) "
        "from w";

    v[0] = p->alarm;
    res = wk_db(&t->db, sql, 1, v);
    if (res == NULL) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    for (i = 0; i < 3 && PQntuples(res); i++) {
        text = PQgetvalue(res, 0, i);
        wk_package_list(p, wk_zip_add(&p->zip, names[i][0], text,
                                      strlen(text)), names[i][1]);
    }

    PQclear(res);

    return i == 3 ? WK_DONE
                  : wk_result(t->res, WK_GIVE_UP, "unknown_alarm",
                              "alarm %s does not exist", p->alarm);
}


static const wk_zip_entry_t *
wk_package_object(wk_task_t *t, wk_package_t *p, const char *key,
    const char *name)
{
    bool                   copied;
    char                   path[PATH_MAX];
    const wk_zip_entry_t  *e;

    if (!wk_storage_get(&t->storage, key, path, sizeof(path), &copied)) {
        wk_result(t->res, WK_RETRY, "storage", "%s", t->storage.error);
        return NULL;
    }

    e = wk_zip_add_file(&p->zip, name, path);

    if (e == NULL) {
        wk_result(t->res, WK_RETRY, "storage", "cannot copy %s", key);
    }

    if (copied) {
        unlink(path);
    }

    return e;
}


static wk_verdict_e
wk_package_media(wk_task_t *t, wk_package_t *p, PGresult *res, int row)
{
    char                   name[WK_ZIP_NAME];
    json_t                *file;
    const char            *id, *original, *playback, *thumb, *sha;
    const wk_zip_entry_t  *e;
    bool                   picture;

    id = PQgetvalue(res, row, 0);
    picture = strcmp(PQgetvalue(res, row, 1), "jpeg") == 0;
    original = PQgetvalue(res, row, 2);
    playback = wk_db_get(res, row, 3);
    thumb = wk_db_get(res, row, 4);
    sha = PQgetvalue(res, row, 5);

    snprintf(name, sizeof(name), "media/%s/%s", id,
             picture ? "picture.jpg" : "original.bin");
    e = wk_package_object(t, p, original, name);
    file = wk_package_list(p, e, "original");

    if (e == NULL) {
        return t->res->verdict;
    }

    if (strcmp(e->sha256, sha) != 0) {
        return wk_result(t->res, WK_GIVE_UP, "integrity",
                         "the original of %s is not what arrived", id);
    }

    json_object_set_new(file, "media_id", json_string(id));
    json_object_set_new(file, "recorded_sha256", json_string(sha));

    if (playback && strcmp(playback, original) != 0) {
        snprintf(name, sizeof(name), "media/%s/video.mp4", id);
        file = wk_package_list(p, wk_package_object(t, p, playback, name),
                               "video");
        if (file == NULL) {
            return t->res->verdict;
        }

        json_object_set_new(file, "media_id", json_string(id));
    }

    if (thumb) {
        snprintf(name, sizeof(name), "media/%s/thumb.jpg", id);
        file = wk_package_list(p, wk_package_object(t, p, thumb, name),
                               "picture");
        if (file == NULL) {
            return t->res->verdict;
        }

        json_object_set_new(file, "media_id", json_string(id));
    }

    return WK_DONE;
}


static wk_verdict_e
wk_package_manifest(wk_task_t *t, wk_package_t *p, const char *id)
{
    bool     ok;
    char    *text, key[48], at[32];
    json_t  *doc;
    time_t   now;
    uint8_t  sig[64];
    struct tm  tm;

    EVP_EncodeBlock((uint8_t *) key, p->public_key, 32);
    now = (time_t) (wk_now_ms() / 1000);
    gmtime_r(&now, &tm);
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);

    doc = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s,"
                    " s:s}, s:O}",
                    "format", "mdvr-evidence", "version", 1, "id", id,
                    "created_at", at, "tenant_id", p->tenant,
                    "alarm_id", p->alarm,
                    "device_id", wk_job_str(t->job, "device_id"),
                    "node", t->conf->node,
                    "key", "kid", p->kid, "alg", "Ed25519", "public_key", key,
                    "files", p->files);
    text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    json_decref(doc);

    ok = text && wk_evidence_sign(p->key, text, sig)
         && wk_zip_add(&p->zip, "manifest.json", text, strlen(text))
         && wk_zip_add(&p->zip, "manifest.sig", sig, sizeof(sig));
    free(text);

    return ok ? WK_DONE
              : wk_result(t->res, WK_RETRY, "signature",
                          "cannot sign the package");
}


/* --- the job ----------------------------------------------------------------- */

static wk_verdict_e
wk_package_fill(wk_task_t *t, wk_package_t *p, const char *id)
{
    int           i;
    PGresult     *res;
    const char   *v[1];
    wk_verdict_e  verdict;

    v[0] = p->alarm;

    if (!wk_db_begin(&t->db, p->tenant)
        || !wk_evidence_key(&t->db, p->kid, &p->key, p->public_key))
    {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    if (wk_package_texts(t, p) != WK_DONE) {
        return t->res->verdict;
    }

    res = wk_db(&t->db, "select id, kind, original_key, playback_key, "
                "thumbnail_key, encode(sha256, 'hex') from mdvr.media "
                "where alarm_id = $1::uuid and status = 'ready' "
                "and deleted_at is null and quarantined is null "
                "order by at, id limit 300", 1, v);
    if (res == NULL || !wk_db_commit(&t->db)) {
        PQclear(res);
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    verdict = WK_DONE;

    for (i = 0; i < PQntuples(res) && verdict == WK_DONE; i++) {
        verdict = wk_package_media(t, p, res, i);
    }

    PQclear(res);

    return verdict == WK_DONE ? wk_package_manifest(t, p, id) : verdict;
}


/* The row becomes ready, and the tenant's audit trail knows the hash. */

static bool
wk_package_ready(wk_task_t *t, wk_package_t *p, const char *id,
    const char *key, const char *sha, uint64_t size)
{
    char         bytes[24];
    PGresult    *res;
    const char  *v[6];

    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long) size);
    v[0] = id;
    v[1] = key;
    v[2] = sha;
    v[3] = bytes;
    v[4] = p->kid;
    v[5] = p->tenant;

    if (!wk_db_begin(&t->db, p->tenant)) {
        return false;
    }

    res = wk_db(&t->db,
                "with x as (update mdvr.evidence set status = 'ready', "
                "object_key = $2, sha256 = decode($3, 'hex'), "
                "size_bytes = $4::bigint, kid = $5, ready_at = now(), "
                "failed_reason = null "
                "where id = $1::uuid and status <> 'ready' "
                "returning alarm_id) "
                "select mdvr.audit_append($6::uuid, null, null, null, "
                "'alarm.evidence_made', 'alarm', x.alarm_id::text, "
                "jsonb_build_object('evidence_id', $1, 'sha256', $3, "
                "'kid', $5), null) from x", 6, v);
    if (res == NULL) {
        return false;
    }

    PQclear(res);

    return wk_db_commit(&t->db);
}


wk_verdict_e
wk_evidence(wk_task_t *t)
{
    bool                   done;
    char                   key[256];
    uint64_t               size;
    PGresult              *res;
    const char            *id;
    wk_verdict_e           v;
    wk_package_t          *p;
    char                   sha[65];

    id = wk_job_str(t->job, "id");

    if (!wk_is_uuid(id) || !wk_is_uuid(wk_job_str(t->job, "tenant_id"))) {
        return wk_result(t->res, WK_GIVE_UP, "document",
                         "the document names no package");
    }

    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return wk_result(t->res, WK_RETRY, "memory", "no memory");
    }

    snprintf(p->tenant, sizeof(p->tenant), "%s",
             wk_job_str(t->job, "tenant_id"));

    if (!wk_db_begin(&t->db, p->tenant)
        || (res = wk_db(&t->db, "update mdvr.evidence set status = "
                        "case status when 'ready' then status "
                        "else 'making' end, failed_reason = null "
                        "where id = $1::uuid "
                        "returning alarm_id, status = 'ready'", 1, &id))
           == NULL)
    {
        free(p);
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    wk_db_commit(&t->db);

    if (PQntuples(res) == 0) {
        PQclear(res);
        free(p);
        return wk_result(t->res, WK_GIVE_UP, "unknown_package",
                         "package %s does not exist", id);
    }

    snprintf(p->alarm, sizeof(p->alarm), "%s", PQgetvalue(res, 0, 0));
    done = strcmp(PQgetvalue(res, 0, 1), "t") == 0;
    PQclear(res);

    if (done) {
        free(p);
        return wk_result(t->res, WK_DONE, "", "%s", "");
    }

    snprintf(p->zip_file, sizeof(p->zip_file), "%s/mdvr-%s.zip", t->conf->tmp,
             id);
    wk_media_key(key, sizeof(key), p->tenant, id, "evidence.zip");
    p->files = json_array();

    if (!wk_zip_open(&p->zip, p->zip_file, wk_now_ms() / 1000)) {
        v = wk_result(t->res, WK_RETRY, "storage", "cannot write %s",
                      p->zip_file);

    } else {
        v = wk_package_fill(t, p, id);

        if (!wk_zip_close(&p->zip) && v == WK_DONE) {
            v = wk_result(t->res, WK_RETRY, "storage", "cannot write %s",
                          p->zip_file);
        }
    }

    if (v == WK_DONE && (!wk_sha256(p->zip_file, sha, &size)
        || !wk_storage_put(&t->storage, key, p->zip_file, &size)))
    {
        v = wk_result(t->res, WK_RETRY, "storage", "%s", t->storage.error);
    }

    if (v == WK_DONE && !wk_package_ready(t, p, id, key, sha, size)) {
        v = wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    unlink(p->zip_file);
    EVP_PKEY_free(p->key);
    json_decref(p->files);
    free(p);

    return v == WK_DONE ? wk_result(t->res, WK_DONE, "", "%s", "") : v;
}


void
wk_evidence_give_up(wk_task_t *t, const char *reason)
{
    PGresult    *res;
    const char  *v[2], *tenant;

    v[0] = wk_job_str(t->job, "id");
    v[1] = reason;
    tenant = wk_job_str(t->job, "tenant_id");

    if (!wk_is_uuid(v[0]) || !wk_is_uuid(tenant)
        || !wk_db_begin(&t->db, tenant))
    {
        return;
    }

    res = wk_db(&t->db, "update mdvr.evidence set status = 'failed', "
                "failed_reason = left($2, 500) "
                "where id = $1::uuid and status <> 'ready'", 2, v);
    if (res) {
        PQclear(res);
        wk_db_commit(&t->db);
    }
}


bool
wk_evidence_expire(wk_db_t *db, wk_storage_t *storage)
{
    int          i;
    bool         ok, due;
    char         kid[65];
    uint8_t      public_key[32];
    EVP_PKEY    *key;
    PGresult    *res;
    const char  *name;

    if (!wk_db_begin(db, NULL)) {
        return false;
    }

    res = wk_db(db, "select mdvr.schedule_claim('evidence', 60)", 0, NULL);
    if (res == NULL) {
        return false;
    }

    due = strcmp(PQgetvalue(res, 0, 0), "t") == 0;
    PQclear(res);

    if (!due) {
        return wk_db_commit(db);
    }

    /* the public key is known before the first package is */

    key = NULL;
    ok = wk_evidence_key(db, kid, &key, public_key);
    EVP_PKEY_free(key);

    if (!ok) {
        wk_db_rollback(db);
        return false;
    }

    res = wk_db(db, "select object_key "
                "from mdvr.evidence_expire('" WK_EVIDENCE_KEEP "', 1000)",
                0, NULL);
    if (res == NULL) {
        return false;
    }

    for (i = 0; ok && i < PQntuples(res); i++) {
        name = wk_db_get(res, i, 0);
        ok = name == NULL || wk_storage_delete(storage, name);

        if (!ok) {
            snprintf(db->error, sizeof(db->error), "%s", storage->error);
        }
    }

    PQclear(res);

    if (!ok) {
        wk_db_rollback(db);
        return false;
    }

    return wk_db_commit(db);
}
