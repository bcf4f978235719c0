/*
 * Job "ingest": a staged file of a device becomes a stored original and a
 * media row, and is handed on to "transcode".
 *
 * The staged file is <state dir>/staged/<name>.bin with its job document in
 * <name>.job; both go last, when everything else is safe.  Whatever happens
 * in between, the same job can run again.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mdvr/domain/keys.h"
#include "worker/handler.h"
#include "worker/trace.h"

#define WK_SWEEP_AGAIN_S  "900"


const char *
wk_media_id(const wk_job_t *job)
{
    const char  *id;

    id = wk_job_str(job, "media_id");

    return *id ? id : wk_job_str(job, "id");
}


void
wk_media_key(char *key, size_t size, const char *tenant_id,
    const char *media_id, const char *name)
{
    time_t     s;
    struct tm  tm;

    s = (time_t) (wk_uuid_ms(media_id) / 1000);
    gmtime_r(&s, &tm);

    snprintf(key, size, "%s/%04d/%02d/%02d/%s/%s", tenant_id,
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, media_id, name);
}


/* The staged file, which must be one: nothing else is ever read or removed. */

static bool
wk_staged(const wk_task_t *t, char *path, size_t size)
{
    int          n;
    size_t       len;
    const char  *file, *name, *p;

    file = wk_job_str(t->job, "file");
    name = strrchr(file, '/');
    name = name ? name + 1 : file;
    len = strlen(name);

    if (t->conf->state_dir == NULL || len < 5 || len > 128
        || strcmp(name + len - 4, ".bin") != 0)
    {
        return false;
    }

    for (p = name; *p; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')
              || *p == '-' || (*p == '.' && p == name + len - 4)))
        {
            return false;
        }
    }

    n = snprintf(path, size, "%s/staged/%s", t->conf->state_dir, name);

    return n > 0 && (size_t) n < size;
}


bool
wk_sha256(const char *path, char *hex, uint64_t *size_bytes)
{
    int              fd;
    bool             ok;
    ssize_t          n;
    unsigned         i, len;
    uint8_t          md[EVP_MAX_MD_SIZE];
    EVP_MD_CTX      *ctx;
    static uint8_t   buf[1 << 16];

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }

    *size_bytes = 0;
    ctx = EVP_MD_CTX_new();
    ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;

    while (ok && (n = read(fd, buf, sizeof(buf))) != 0) {
        ok = n > 0 && EVP_DigestUpdate(ctx, buf, (size_t) n) == 1;
        *size_bytes += n > 0 ? (uint64_t) n : 0;
    }

    ok = ok && EVP_DigestFinal_ex(ctx, md, &len) == 1 && len == 32;
    EVP_MD_CTX_free(ctx);
    close(fd);

    for (i = 0; ok && i < 32; i++) {
        sprintf(hex + 2 * i, "%02x", md[i]);
    }

    return ok;
}


/* The device's tenant as PostgreSQL knows it: the document does not decide. */

static wk_verdict_e
wk_ingest_owner(wk_task_t *t, char *tenant)
{
    PGresult    *res;
    const char  *device, *said;

    device = wk_job_str(t->job, "device_id");
    said = wk_job_str(t->job, "tenant_id");

    if (!wk_is_uuid(device) || !wk_is_uuid(wk_media_id(t->job))
        || (*said && !wk_is_uuid(said)))
    {
        return wk_result(t->res, WK_GIVE_UP, "document",
                         "the document names no device or media item");
    }

    res = wk_db(&t->db, "select mdvr.device_owner($1)", 1, &device);
    if (res == NULL) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    if (PQntuples(res) == 0 || PQgetisnull(res, 0, 0)) {
        PQclear(res);
        return wk_result(t->res, WK_GIVE_UP, "unknown_device",
                         "device %s does not exist", device);
    }

    snprintf(tenant, 37, "%s", PQgetvalue(res, 0, 0));
    PQclear(res);

    if (*said && strcmp(said, tenant) != 0) {
        return wk_result(t->res, WK_GIVE_UP, "wrong_tenant",
                         "device %s is not of tenant %s", device, said);
    }

    return WK_DONE;
}


/* Has an earlier run stored this item already? */

static wk_verdict_e
wk_ingest_known(wk_task_t *t, const char *tenant, bool *known)
{
    PGresult    *res;
    const char  *id;

    id = wk_media_id(t->job);
    *known = false;

    if (!wk_db_begin(&t->db, tenant)) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    res = wk_db(&t->db, "select from mdvr.media "
                "where id = $1 and original_key is not null", 1, &id);
    if (res == NULL) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    *known = PQntuples(res) == 1;
    PQclear(res);
    wk_db_commit(&t->db);

    return WK_DONE;
}


/*
 * An id that the document claims.  What is no UUID becomes one that nobody has:
 * the claim is wrong, not absent.
 */

static const char *
wk_ingest_claim(const wk_task_t *t, const char *name)
{
    const char  *id;

    id = wk_job_str(t->job, name);

    return *id == '\0' || wk_is_uuid(id)
           ? id : "00000000-0000-0000-0000-000000000000";
}


static wk_verdict_e
wk_ingest_row(wk_task_t *t, const char *tenant, const char *key,
    const char *sha, uint64_t size)
{
    char         bytes[24], at[24], channel[8], seconds[24];
    PGresult    *res;
    const char  *v[14], *kind, *source, *why;

    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long) size);
    snprintf(at, sizeof(at), "%lld", (long long) (wk_job_int(t->job, "at_ms")
             ? wk_job_int(t->job, "at_ms") : wk_now_ms()));
    snprintf(channel, sizeof(channel), "%lld",
             (long long) (wk_job_int(t->job, "channel") & 0xff));

    kind = wk_job_str(t->job, "media_kind");
    source = wk_job_str(t->job, "source");

    v[0] = wk_media_id(t->job);
    v[1] = tenant;
    v[2] = wk_job_str(t->job, "device_id");
    v[3] = wk_ingest_claim(t, "alarm_id");
    v[4] = channel;
    v[5] = *kind ? kind : "mp4";
    v[6] = *source ? source : "upload";
    v[7] = wk_job_str(t->job, "source_path");
    v[8] = at;
    v[9] = bytes;
    v[10] = sha;
    v[11] = key;
    v[12] = wk_ingest_claim(t, "download_id");
    v[13] = seconds;

    snprintf(seconds, sizeof(seconds), "%lld",
             (long long) (wk_job_int(t->job, "duration_s") & 0xffffff));

    if (!wk_db_begin(&t->db, tenant)) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    res = wk_db(&t->db,
                "insert into mdvr.media as m (id, tenant_id, device_id, "
                "alarm_id, quarantined, channel, kind, source, source_path, "
                "at, status, size_bytes, sha256, original_key, stored_bytes) "
                "select $1, $2, $3::uuid, x.alarm_id, x.quarantined, "
                "nullif($5::smallint, 0), $6, $7::text, nullif($8, ''), "
                "to_timestamp($9::float8 / 1000), 'processing', $10::bigint, "
                "decode($11, 'hex'), $12, $10::bigint "
                "from mdvr.evidence_match($3::uuid, nullif($4, '')::uuid, "
                "nullif($13, '')::uuid, $7::text, coalesce($8, ''), "
                "to_timestamp($9::float8 / 1000), $14::real) x "
                "on conflict (id) do update set status = 'processing', "
                "size_bytes = excluded.size_bytes, sha256 = excluded.sha256, "
                "original_key = excluded.original_key, "
                "stored_bytes = excluded.stored_bytes, "
                "failed_reason = null, updated_at = now() "
                "where m.device_id = excluded.device_id "
                "and m.status <> 'ready' returning quarantined", 14, v);
    if (res == NULL) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    why = PQntuples(res) ? wk_db_get(res, 0, 0) : NULL;

    if (why) {
        wk_log(WK_WARN, "file quarantined", "reason", why, "file",
               wk_job_str(t->job, "source_path"), NULL);
    }

    PQclear(res);

    v[1] = wk_job_str(t->job, "download_id");

    if (wk_is_uuid(v[1])) {
        v[2] = bytes;

        res = wk_db(&t->db,
                    "update mdvr.download set media_id = $1, "
                    "status = 'complete', received_bytes = $3, "
                    "size_bytes = $3::bigint, "
                    "failed_reason = null, updated_at = now() where id = $2",
                    3, v);
        if (res == NULL) {
            return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
        }

        PQclear(res);
    }

    if (!wk_db_commit(&t->db)) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    return WK_DONE;
}


/* A JPEG is named as one, so that whoever serves the object by its name calls it
 * image/jpeg; everything else of a device is for players only when it was made
 * into a movie. */

static bool
wk_ingest_picture(const char *path)
{
    bool           jpeg;
    FILE          *f;
    unsigned char  head[3];

    f = fopen(path, "rb");
    if (f == NULL) {
        return false;
    }

    jpeg = fread(head, 1, 3, f) == 3
           && head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff;
    fclose(f);

    return jpeg;
}


static wk_verdict_e
wk_ingest_next(wk_task_t *t, const char *tenant)
{
    bool     ok;
    char    *text;
    json_t  *doc;

    doc = json_deep_copy(t->job->doc);
    json_object_set_new(doc, "kind", json_string("transcode"));
    json_object_set_new(doc, "media_id", json_string(wk_media_id(t->job)));
    json_object_set_new(doc, "tenant_id", json_string(tenant));
    json_object_set_new(doc, "enqueued_ms", json_integer(wk_now_ms()));
    json_object_del(doc, "file");
    wk_trace_stamp(doc);
    json_object_del(doc, "attempt");
    json_object_del(doc, "last_error");

    text = json_dumps(doc, JSON_COMPACT);
    ok = text && wk_queue_add(&t->redis, MDVR_JOB_TRANSCODE, NULL, text);

    free(text);
    json_decref(doc);

    return ok ? WK_DONE
              : wk_result(t->res, WK_RETRY, "redis", "%s", t->redis.error);
}


wk_verdict_e
wk_ingest(wk_task_t *t)
{
    bool           known;
    char           path[PATH_MAX], side[PATH_MAX], tenant[37], key[256],
                   sha[65];
    uint64_t       size, stored;
    struct stat    st;

    if (!wk_staged(t, path, sizeof(path))) {
        return wk_result(t->res, WK_GIVE_UP, "document",
                         "the document names no staged file");
    }

    snprintf(side, sizeof(side), "%.*s.job", (int) strlen(path) - 4, path);

    if (wk_ingest_owner(t, tenant) != WK_DONE) {
        return t->res->verdict;
    }

    wk_log_with("tenant_id", tenant);

    if (stat(path, &st) < 0) {
        if (errno != ENOENT) {
            return wk_result(t->res, WK_RETRY, "staging", "%s: %s", path,
                             strerror(errno));
        }

        if (wk_ingest_known(t, tenant, &known) != WK_DONE) {
            return t->res->verdict;
        }

        if (!known) {
            unlink(side);
            return wk_result(t->res, WK_GIVE_UP, "staging",
                             "the staged file is missing");
        }

        unlink(side);                   /* an earlier run got this far */
        return wk_result(t->res, WK_DONE, "", "%s", "");
    }

    if (!wk_sha256(path, sha, &size)) {
        return wk_result(t->res, WK_RETRY, "staging", "cannot read %s", path);
    }

    wk_media_key(key, sizeof(key), tenant, wk_media_id(t->job),
                 wk_ingest_picture(path) ? "original.jpg" : "original.bin");

    if (!wk_storage_put(&t->storage, key, path, &stored)) {
        return wk_result(t->res, WK_RETRY, "storage", "%s",
                         t->storage.error);
    }

    if (stored != size) {
        return wk_result(t->res, WK_RETRY, "staging",
                         "the file changed while it was stored");
    }

    if (wk_ingest_row(t, tenant, key, sha, size) != WK_DONE
        || wk_ingest_next(t, tenant) != WK_DONE)
    {
        return t->res->verdict;
    }

    unlink(path);
    unlink(side);
    snprintf(side, sizeof(side), "%.*s.dead", (int) strlen(path) - 4, path);
    unlink(side);

    return wk_result(t->res, WK_DONE, "", "%s", "");
}


/* Documents that lie about since before `older_s`: Redis was away, or lost
 * them.  A mark in Redis keeps one from being added again and again. */

void
wk_ingest_sweep(const wk_conf_t *conf, wk_redis_t *redis, unsigned older_s)
{
    int             fd;
    DIR            *dir;
    char            path[PATH_MAX], doc[MDVR_JOB_MAX + 1], key[MDVR_KEY_MAX],
                    queue[96];
    size_t          len;
    ssize_t         n;
    mdvr_buf_t      b;
    redisReply     *reply;
    struct stat     st;
    struct dirent  *e;

    if (conf->state_dir == NULL) {
        return;
    }

    snprintf(path, sizeof(path), "%s/staged", conf->state_dir);
    dir = opendir(path);

    if (dir == NULL) {
        return;                         /* nothing was ever staged */
    }

    wk_queue_name(queue, sizeof(queue), MDVR_JOB_INGEST, conf->node);

    while ((e = readdir(dir)) != NULL) {
        len = strlen(e->d_name);

        if (len < 5 || len > 100 || strcmp(e->d_name + len - 4, ".job") != 0) {
            continue;
        }

        snprintf(path, sizeof(path), "%s/staged/%s", conf->state_dir,
                 e->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0) {
            continue;
        }

        n = -1;

        if (fstat(fd, &st) == 0
            && st.st_mtime + (time_t) older_s <= time(NULL))
        {
            n = read(fd, doc, sizeof(doc) - 1);
        }

        close(fd);

        if (n <= 0) {
            continue;
        }

        doc[n] = '\0';

        b = mdvr_buf(key, sizeof(key) - 1);
        mdvr_key_job(&b, mdvr_cstr(queue), ":swept:");
        mdvr_buf_str(&b, mdvr_str(e->d_name, len - 4));
        key[b.len] = '\0';

        reply = b.full ? NULL
                : wk_redis(redis, "SET %s 1 NX EX " WK_SWEEP_AGAIN_S, key);

        if (reply == NULL) {
            break;
        }

        if (reply->type == REDIS_REPLY_STATUS
            && wk_queue_add(redis, MDVR_JOB_INGEST, conf->node, doc))
        {
            wk_log(WK_WARN, "staged file put back into the queue", "file",
                   e->d_name, NULL);
        }

        freeReplyObject(reply);
    }

    closedir(dir);
}
