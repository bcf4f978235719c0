/*
 * Job "transcode": from a stored original to something that plays.
 *
 * Everything it makes has a key that follows from the media id, so a second
 * run overwrites the same objects with the same content; the row becomes
 * ready, and its event is written, in one transaction that happens once.
 */

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/handler.h"
#include "worker/hls.h"
#include "worker/movie.h"
#include "worker/sprite.h"
#include "worker/trace.h"

#define WK_THUMB_WIDTH    640
#define WK_PLAYLIST_MAX   1000000       /* characters; about 20,000 segments */

typedef struct {
    char         tenant[37];
    char         original[512];
    bool         picture;               /* kind jpeg */
    bool         finished;              /* ready or deleted */

    char         movie_file[PATH_MAX], thumb_file[PATH_MAX];
    char         hls_dir[PATH_MAX];
    char         movie_key[256], thumb_key[256], hls_key[256];
    char        *playlist;              /* text of it, or NULL */
    bool         thumb;
    uint64_t     bytes;                 /* of what was made */
    wk_movie_t   m;
} wk_item_t;


static wk_verdict_e
wk_item_read(wk_task_t *t, wk_item_t *item)
{
    PGresult    *res;
    const char  *id, *status, *key;

    id = wk_media_id(t->job);
    snprintf(item->tenant, sizeof(item->tenant), "%s",
             wk_job_str(t->job, "tenant_id"));

    if (!wk_is_uuid(id) || !wk_is_uuid(item->tenant)) {
        return wk_result(t->res, WK_GIVE_UP, "document",
                         "the document names no media item");
    }

    if (!wk_db_begin(&t->db, item->tenant)) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    res = wk_db(&t->db, "select status, kind, original_key, "
                "deleted_at is not null from mdvr.media where id = $1", 1,
                &id);
    if (res == NULL) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    wk_db_commit(&t->db);

    if (PQntuples(res) == 0) {
        PQclear(res);
        return wk_result(t->res, WK_GIVE_UP, "unknown_media",
                         "media item %s does not exist", id);
    }

    status = PQgetvalue(res, 0, 0);
    key = wk_db_get(res, 0, 2);
    item->picture = strcmp(PQgetvalue(res, 0, 1), "jpeg") == 0;
    item->finished = strcmp(status, "ready") == 0
                     || strcmp(PQgetvalue(res, 0, 3), "t") == 0;
    snprintf(item->original, sizeof(item->original), "%s", key ? key : "");
    PQclear(res);

    if (!item->finished && item->original[0] == '\0') {
        return wk_result(t->res, WK_RETRY, "unknown_media",
                         "the original is not stored yet");
    }

    return WK_DONE;
}


static wk_verdict_e
wk_item_movie(wk_task_t *t, wk_item_t *item, const char *path)
{
    int          fd;
    void        *p;
    mdvr_rc_t    rc;
    struct stat  st;

    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        if (fd >= 0) {
            close(fd);
        }
        return wk_result(t->res, WK_RETRY, "storage", "cannot read %s",
                         item->original);
    }

    if (st.st_size == 0) {
        close(fd);
        return wk_result(t->res, WK_GIVE_UP, "empty", "the file is empty");
    }

    p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);

    if (p == MAP_FAILED) {
        return wk_result(t->res, WK_RETRY, "memory", "cannot map %s",
                         item->original);
    }

    item->m.announced_s = (unsigned) wk_job_int(t->job, "duration_s");
    item->m.audio_type = (unsigned) wk_job_int(t->job, "audio_type");

    rc = wk_movie_make(path, mdvr_str(p, (size_t) st.st_size),
                       item->movie_file, &item->m);
    munmap(p, (size_t) st.st_size);

    if (rc == MDVR_E_CODEC) {
        return wk_result(t->res, WK_GIVE_UP, "undecodable", "%s",
                         item->m.error);
    }

    if (rc != MDVR_OK) {
        return wk_result(t->res, WK_RETRY, "transcode", "%s",
                         item->m.error[0] ? item->m.error
                                          : mdvr_rc_words(rc));
    }

    return WK_DONE;
}


static wk_verdict_e
wk_item_make(wk_task_t *t, wk_item_t *item)
{
    char           path[PATH_MAX], error[200];
    bool           copied;
    mdvr_rc_t      rc;
    unsigned       w, h;
    wk_verdict_e   v;

    if (!wk_storage_get(&t->storage, item->original, path, sizeof(path),
                        &copied))
    {
        return wk_result(t->res, WK_RETRY, "storage", "%s",
                         t->storage.error);
    }

    v = item->picture ? WK_DONE : wk_item_movie(t, item, path);

    if (v == WK_DONE) {
        w = h = 0;
        rc = wk_thumbnail(item->picture ? path : item->movie_file,
                          item->thumb_file, WK_THUMB_WIDTH, &w, &h, error,
                          sizeof(error));
        item->thumb = rc == MDVR_OK;

        if (item->picture) {
            item->m.width = w;
            item->m.height = h;
            snprintf(item->m.codec, sizeof(item->m.codec), "mjpeg");
        }

        if (rc == MDVR_E_CODEC) {
            v = wk_result(t->res, WK_GIVE_UP, "undecodable", "%s", error);

        } else if (rc != MDVR_OK) {
            v = wk_result(t->res, WK_RETRY, "transcode", "%s", error);
        }
    }

    if (copied) {
        unlink(path);
    }

    return v;
}


/* A small text file; the caller frees it.  NULL: not to be had. */

static char *
wk_item_text(const char *path)
{
    int          fd;
    char        *text;
    ssize_t      n;
    struct stat  st;

    text = NULL;
    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size < WK_PLAYLIST_MAX
        && (text = malloc((size_t) st.st_size + 1)) != NULL)
    {
        n = read(fd, text, (size_t) st.st_size);
        text[n < 0 ? 0 : n] = '\0';
    }

    if (fd >= 0) {
        close(fd);
    }

    return text;
}


/*
 * The movie as HLS.  It plays without as well, so what goes wrong here is
 * logged and no reason to try again.
 */

static void
wk_item_hls(wk_task_t *t, wk_item_t *item)
{
    char         list[PATH_MAX + 16], media[PATH_MAX + 16], key[256],
                 error[200];
    uint64_t     n, bytes;
    const char  *id;

    id = wk_media_id(t->job);
    snprintf(list, sizeof(list), "%s/index.m3u8", item->hls_dir);
    snprintf(media, sizeof(media), "%s/media.mp4", item->hls_dir);
    wk_media_key(key, sizeof(key), item->tenant, id, "hls/media.mp4");

    if (mkdir(item->hls_dir, 0700) < 0) {
        snprintf(error, sizeof(error), "no temporary directory");

    } else if (wk_hls_make(item->movie_file, list, error, sizeof(error))
               == MDVR_OK)
    {
        if (wk_storage_put(&t->storage, key, media, &bytes)) {
            wk_media_key(key, sizeof(key), item->tenant, id,
                         "hls/index.m3u8");

            if (wk_storage_put(&t->storage, key, list, &n)) {
                snprintf(item->hls_key, sizeof(item->hls_key), "%s", key);
                item->playlist = wk_item_text(list);
                item->bytes += bytes + n;
            }
        }

        snprintf(error, sizeof(error), "%.199s", t->storage.error);
    }

    if (item->hls_key[0] == '\0') {
        wk_log(WK_WARN, "no HLS of a movie", "error", error, NULL);
    }

    unlink(list);
    unlink(media);
    rmdir(item->hls_dir);
}


static wk_verdict_e
wk_item_store(wk_task_t *t, wk_item_t *item)
{
    uint64_t     n;
    const char  *id;

    id = wk_media_id(t->job);
    wk_media_key(item->thumb_key, sizeof(item->thumb_key), item->tenant, id,
                 "thumb.jpg");

    if (!wk_storage_put(&t->storage, item->thumb_key, item->thumb_file, &n)) {
        return wk_result(t->res, WK_RETRY, "storage", "%s",
                         t->storage.error);
    }

    item->bytes += n;

    if (item->picture) {
        snprintf(item->movie_key, sizeof(item->movie_key), "%.255s",
                 item->original);
        return WK_DONE;
    }

    wk_media_key(item->movie_key, sizeof(item->movie_key), item->tenant, id,
                 "video.mp4");

    if (!wk_storage_put(&t->storage, item->movie_key, item->movie_file, &n)) {
        return wk_result(t->res, WK_RETRY, "storage", "%s",
                         t->storage.error);
    }

    item->bytes += n;
    wk_item_hls(t, item);

    return WK_DONE;
}


/* Publishes what a media row became; `res` has event_id and message. */

static bool
wk_item_publish(wk_task_t *t, const char *tenant, const char *sql, int n,
    const char *const *v)
{
    bool         ok;
    PGresult    *res;
    const char  *message;

    if (!wk_db_begin(&t->db, tenant)) {
        return false;
    }

    res = wk_db(&t->db, sql, n, v);
    if (res == NULL) {
        return false;
    }

    PQclear(res);

    res = wk_db(&t->db, "select message from mdvr.media_event($1) "
                "where (select status in ('ready', 'failed') and "
                "updated_at = now() from mdvr.media where id = $1)", 1, v);
    if (res == NULL) {
        return false;
    }

    ok = wk_db_commit(&t->db);
    message = PQntuples(res) ? wk_db_get(res, 0, 0) : NULL;

    if (ok && message) {
        wk_redis_publish(&t->redis, tenant, message);
    }

    PQclear(res);

    return ok;
}


static wk_verdict_e
wk_item_ready(wk_task_t *t, wk_item_t *item)
{
    char         duration[32], width[16], height[16], bytes[24], used[24];
    const char  *v[12];

    snprintf(duration, sizeof(duration), "%.3f", item->m.duration_s);
    snprintf(width, sizeof(width), "%u", item->m.width);
    snprintf(height, sizeof(height), "%u", item->m.height);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long) item->bytes);

    v[0] = wk_media_id(t->job);
    v[1] = item->movie_key;
    v[2] = item->thumb_key;
    v[3] = item->picture ? NULL : duration;
    v[4] = width;
    v[5] = height;
    v[6] = item->m.codec;
    v[7] = bytes;
    v[8] = item->hls_key[0] ? item->hls_key : NULL;
    v[9] = item->playlist;
    v[10] = strcmp(t->conf->ai, "none") == 0 ? "off" : "queued";
    v[11] = used;
    snprintf(used, sizeof(used), "%.0f", ceil(item->m.duration_s));

    if (!wk_item_publish(t, item->tenant,
                         "with done as ("
                         "update mdvr.media set status = case "
                         "when quarantined is null then 'ready' "
                         "else 'failed' end, "
                         "playback_key = $2, thumbnail_key = $3, "
                         "hls_key = $9, hls_playlist = $10, analysis = $11, "
                         "duration_s = $4, "
                         "width_px = nullif($5::integer, 0), "
                         "height_px = nullif($6::integer, 0), codec = $7, "
                         "stored_bytes = size_bytes + $8::bigint "
                         "+ finding_bytes, "
                         "failed_reason = left('quarantined: ' "
                         "|| quarantined, 500), ready_at = now(), "
                         "updated_at = now() where id = $1 "
                         "and status in ('processing', 'failed') "
                         "returning tenant_id) "
                         "select mdvr.usage_add(tenant_id, 'transcode_s', "
                         "$12::bigint) from done where $12::bigint > 0", 12,
                         v))
    {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    return wk_result(t->res, WK_DONE, "", "%s", "");
}


/*
 * The timeline, when the item is ready and everybody knows: it may fail, and
 * who comes here again after a crash makes what is missing.
 */

static void
wk_item_sprite(wk_task_t *t, wk_item_t *item)
{
    bool          copied, ok;
    char          movie[PATH_MAX], out[PATH_MAX], key[256], id[37], bytes[24],
                  sprite[200], error[200];
    uint64_t      n;
    PGresult     *res;
    mdvr_rc_t     rc;
    const char   *v[4];
    wk_sprite_t   s;

    v[0] = wk_media_id(t->job);

    if (item->picture || !wk_db_begin(&t->db, item->tenant)) {
        return;
    }

    res = wk_db(&t->db, "select playback_key from mdvr.media where id = $1 "
                "and status = 'ready' and sprite_key is null "
                "and deleted_at is null and playback_key is not null", 1, v);
    if (res == NULL) {
        return;
    }

    wk_db_commit(&t->db);
    ok = PQntuples(res) == 1;
    copied = false;
    snprintf(movie, sizeof(movie), "%s", item->movie_file);

    if (ok && access(movie, R_OK) < 0) {
        ok = wk_storage_get(&t->storage, PQgetvalue(res, 0, 0), movie,
                            sizeof(movie), &copied);
    }

    PQclear(res);

    if (!ok) {
        return;
    }

    wk_uuid(id);
    snprintf(out, sizeof(out), "%s/mdvr-%s.jpg", t->conf->tmp, id);
    wk_media_key(key, sizeof(key), item->tenant, v[0], "sprite.jpg");
    error[0] = '\0';
    rc = wk_sprite_make(movie, out, &s, error, sizeof(error));

    if (rc == MDVR_OK && wk_storage_put(&t->storage, key, out, &n)) {
        snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long) n);
        snprintf(sprite, sizeof(sprite), "{\"columns\": %u, \"rows\": %u, "
                 "\"width\": %u, \"height\": %u, \"every_s\": %g, "
                 "\"count\": %u}", s.columns, s.rows, s.width, s.height,
                 s.every_s, s.count);
        v[1] = key;
        v[2] = sprite;
        v[3] = bytes;

        if (wk_db_begin(&t->db, item->tenant)) {
            PQclear(wk_db(&t->db, "update mdvr.media set sprite_key = $2, "
                          "sprite = $3::jsonb, "
                          "stored_bytes = stored_bytes + $4::bigint "
                          "where id = $1 and sprite_key is null "
                          "and deleted_at is null", 4, v));
            wk_db_commit(&t->db);
        }

    } else {
        wk_log(WK_WARN, "no timeline of a movie", "error",
               rc == MDVR_OK ? t->storage.error : error, NULL);
    }

    unlink(out);

    if (copied) {
        unlink(movie);
    }
}


/* Whoever comes here again after a crash asks again: it does no harm. */

static wk_verdict_e
wk_item_analyse(wk_task_t *t)
{
    bool     ok;
    char    *text;
    json_t  *doc;

    if (strcmp(t->conf->ai, "none") == 0) {
        return WK_DONE;
    }

    doc = json_deep_copy(t->job->doc);
    json_object_set_new(doc, "kind", json_string("analyse"));
    wk_trace_stamp(doc);
    json_object_set_new(doc, "media_id", json_string(wk_media_id(t->job)));
    json_object_set_new(doc, "enqueued_ms", json_integer(wk_now_ms()));
    json_object_del(doc, "attempt");
    json_object_del(doc, "last_error");

    text = json_dumps(doc, JSON_COMPACT);
    ok = text && wk_queue_add(&t->redis, MDVR_JOB_ANALYSE, NULL, text);

    free(text);
    json_decref(doc);

    return ok ? WK_DONE
              : wk_result(t->res, WK_RETRY, "redis", "%s", t->redis.error);
}


wk_verdict_e
wk_transcode(wk_task_t *t)
{
    char         id[37], frames[16];
    wk_item_t    item;
    wk_verdict_e v;

    memset(&item, 0, sizeof(item));
    wk_uuid(id);
    snprintf(item.movie_file, sizeof(item.movie_file), "%s/mdvr-%s.mp4",
             t->conf->tmp, id);
    snprintf(item.thumb_file, sizeof(item.thumb_file), "%s/mdvr-%s.jpg",
             t->conf->tmp, id);
    snprintf(item.hls_dir, sizeof(item.hls_dir), "%s/mdvr-%s.hls",
             t->conf->tmp, id);

    v = wk_item_read(t, &item);

    if (v == WK_DONE && item.finished) {
        wk_item_sprite(t, &item);
        wk_result(t->res, WK_DONE, "", "%s", "");
        return wk_item_analyse(t);
    }

    if (v == WK_DONE) {
        v = wk_item_make(t, &item);
    }

    if (v == WK_DONE) {
        v = wk_item_store(t, &item);
    }

    if (v == WK_DONE) {
        v = wk_item_ready(t, &item);
    }

    if (v == WK_DONE && !item.picture) {
        wk_queue_media(&t->redis, t->job->kind,
                       (int64_t) (item.m.duration_s * 1000));

        snprintf(frames, sizeof(frames), "%u", item.m.frames);
        wk_log(WK_INFO, "movie made", "form", item.m.form, "codec",
               item.m.codec, "frames", frames, "encoded",
               item.m.encoded ? "yes" : "no", "sound",
               item.m.sound ? "yes" : "no", NULL);
    }

    if (v == WK_DONE) {
        v = wk_item_analyse(t);
        wk_item_sprite(t, &item);
    }

    unlink(item.movie_file);
    unlink(item.thumb_file);
    free(item.playlist);

    return v;
}


/* The last word: the item has failed, its original stays where it is. */

void
wk_media_give_up(wk_task_t *t, const char *reason)
{
    char         tenant[37];
    char         path[PATH_MAX], dead[PATH_MAX];
    PGresult    *res;
    const char  *v[2], *file, *name, *device;

    v[0] = wk_media_id(t->job);
    v[1] = reason;
    device = wk_job_str(t->job, "device_id");
    snprintf(tenant, sizeof(tenant), "%s", wk_job_str(t->job, "tenant_id"));

    if (t->job->kind == MDVR_JOB_INGEST && t->conf->state_dir) {
        /* the sweep must not find it again; an operator may */

        file = wk_job_str(t->job, "file");
        name = strrchr(file, '/');
        name = name ? name + 1 : file;

        if (strlen(name) > 4 && strlen(name) < 128 && strstr(name, "..") == NULL)
        {
            snprintf(path, sizeof(path), "%s/staged/%.*s.job",
                     t->conf->state_dir, (int) strlen(name) - 4, name);
            snprintf(dead, sizeof(dead), "%s/staged/%.*s.dead",
                     t->conf->state_dir, (int) strlen(name) - 4, name);

            if (access(path, F_OK) == 0 && rename(path, dead) < 0) {
                wk_log(WK_WARN, "cannot rename a job document", "file", path,
                       NULL);
            }
        }
    }

    if (!wk_is_uuid(v[0])) {
        return;
    }

    if (!wk_is_uuid(tenant) && wk_is_uuid(device)) {
        res = wk_db(&t->db, "select mdvr.device_owner($1)", 1, &device);

        if (res && PQntuples(res) && !PQgetisnull(res, 0, 0)) {
            snprintf(tenant, sizeof(tenant), "%s", PQgetvalue(res, 0, 0));
        }

        PQclear(res);
    }

    if (!wk_is_uuid(tenant)
        || !wk_item_publish(t, tenant,
                            "update mdvr.media set status = 'failed', "
                            "failed_reason = left($2, 500), "
                            "updated_at = now() where id = $1 "
                            "and status in ('receiving', 'processing')", 2,
                            v))
    {
        wk_log(WK_ERROR, "cannot mark a media item as failed", "error",
               t->db.error, NULL);
    }
}
