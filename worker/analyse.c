/*
 * Job "analyse": what there is to see in a media item that is ready.
 *
 * It runs after everything else and changes nothing of the item but its
 * findings, which it replaces as a whole: it may be repeated, it may fail.
 */

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "worker/analyser.h"
#include "worker/handler.h"

typedef struct {
    char  tenant[37];
    char  device[37];
    char  key[512];                     /* what is looked at */
    bool  quota;                        /* the plan allows no more */
} wk_analyse_t;


static wk_verdict_e
wk_analyse_item(wk_task_t *t, wk_analyse_t *a, wk_look_t *look, bool *there)
{
    PGresult    *res;
    const char  *id, *key;

    id = wk_media_id(t->job);
    snprintf(a->tenant, sizeof(a->tenant), "%s",
             wk_job_str(t->job, "tenant_id"));
    *there = false;

    if (!wk_is_uuid(id) || !wk_is_uuid(a->tenant)) {
        return wk_result(t->res, WK_GIVE_UP, "document",
                         "the document names no media item");
    }

    if (!wk_db_begin(&t->db, a->tenant)) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    res = wk_db(&t->db, "select device_id, playback_key, channel, "
                "coalesce(mdvr.ai_left_s(tenant_id) "
                "< ceil(coalesce(duration_s, 0)), false) "
                "and analysis is distinct from 'done' from mdvr.media where id = $1 and status = 'ready' "
                "and deleted_at is null", 1, &id);
    if (res == NULL) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    wk_db_commit(&t->db);

    if (PQntuples(res) == 1 && (key = wk_db_get(res, 0, 1)) != NULL) {
        *there = true;
        snprintf(a->device, sizeof(a->device), "%s", PQgetvalue(res, 0, 0));
        snprintf(a->key, sizeof(a->key), "%s", key);
        look->channel = wk_db_get(res, 0, 2)
                        ? (unsigned) atoi(PQgetvalue(res, 0, 2)) : 0;
        a->quota = strcmp(PQgetvalue(res, 0, 3), "t") == 0;
    }

    PQclear(res);

    return WK_DONE;
}


/* The picture of a finding to storage; one that cannot be made is left out. */

static bool
wk_analyse_picture(wk_task_t *t, const wk_analyse_t *a,
    const wk_look_t *look, unsigned sample, char *key, size_t size,
    uint64_t *bytes)
{
    bool      ok;
    char      name[40], file[PATH_MAX], id[37];
    uint64_t  n;

    wk_uuid(id);
    snprintf(name, sizeof(name), "finding-%u.jpg", sample);
    snprintf(file, sizeof(file), "%s/mdvr-%s.jpg", t->conf->tmp, id);
    wk_media_key(key, size, a->tenant, wk_media_id(t->job), name);

    ok = wk_sample_write(look->samples, sample, file)
         && wk_storage_put(&t->storage, key, file, &n);
    unlink(file);

    if (ok) {
        *bytes += n;
    }

    return ok;
}


static wk_verdict_e
wk_analyse_store(wk_task_t *t, const wk_analyse_t *a, wk_look_t *look)
{
    bool                 pictures;
    char                 confidence[24], at[24], box[120], usage[24], n[16],
                         size[24];
    uint64_t             bytes;
    char               (*key)[256];
    unsigned             i, k;
    PGresult            *res;
    const char          *v[10];
    const wk_finding_t  *f;

    key = calloc(look->n ? look->n : 1, sizeof(*key));

    if (key == NULL) {
        return wk_result(t->res, WK_RETRY, "memory", "out of memory");
    }

    pictures = true;
    bytes = 0;

    for (i = 0; i < look->n && pictures; i++) {
        for (k = 0; k < i && look->found[k].sample != look->found[i].sample;
             k++)
        {
            /* void */
        }

        if (k < i) {
            memcpy(key[i], key[k], sizeof(key[i]));
            continue;
        }

        pictures = wk_analyse_picture(t, a, look, look->found[i].sample,
                                      key[i], sizeof(key[i]), &bytes);
    }

    if (!pictures) {
        free(key);
        return wk_result(t->res, WK_RETRY, "storage", "%s",
                         t->storage.error);
    }

    v[0] = wk_media_id(t->job);

    if (!wk_db_begin(&t->db, a->tenant)
        || (res = wk_db(&t->db, "select from mdvr.media where id = $1 "
                        "for no key update", 1, v)) == NULL)
    {
        free(key);
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    PQclear(res);
    res = wk_db(&t->db, "delete from mdvr.finding where media_id = $1", 1, v);

    if (res == NULL) {
        free(key);
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    PQclear(res);

    for (i = 0; i < look->n; i++) {
        f = &look->found[i];
        snprintf(confidence, sizeof(confidence), "%.3f", f->confidence);
        snprintf(at, sizeof(at), "%.2f", f->at_s);
        snprintf(box, sizeof(box), "[%.4f, %.4f, %.4f, %.4f]", f->box[0],
                 f->box[1], f->box[2], f->box[3]);

        v[1] = a->tenant;
        v[2] = a->device;
        v[3] = f->kind;
        v[4] = confidence;
        v[5] = at;
        v[6] = f->boxed ? box : NULL;
        v[7] = key[i];
        v[8] = f->model;
        v[9] = f->version;

        res = wk_db(&t->db, "insert into mdvr.finding (media_id, tenant_id, "
                    "device_id, kind, confidence, at_s, box, picture_key, "
                    "model, model_version) values ($1, $2, $3, $4, $5, $6, "
                    "$7::jsonb, $8, $9, $10) on conflict do nothing", 10, v);
        if (res == NULL) {
            free(key);
            return wk_result(t->res, WK_RETRY, "database", "%s",
                             t->db.error);
        }

        PQclear(res);
    }

    free(key);
    snprintf(usage, sizeof(usage), "%.0f", ceil(look->samples->duration_s));
    snprintf(size, sizeof(size), "%llu", (unsigned long long) bytes);
    v[1] = usage;
    v[2] = size;

    /* a repetition is not metered again */

    res = wk_db(&t->db, "with u as (select mdvr.usage_add(tenant_id, 'ai_s', "
                "$2::bigint) from mdvr.media where id = $1 "
                "and analysis is distinct from 'done') "
                "update mdvr.media set analysis = 'done', "
                "stored_bytes = stored_bytes - finding_bytes + $3::bigint, "
                "finding_bytes = $3::bigint "
                "where id = $1 and (select count(*) from u) >= 0", 3, v);
    PQclear(res);

    if (res == NULL || !wk_db_commit(&t->db)) {
        return wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    snprintf(n, sizeof(n), "%u", look->n);
    wk_log(WK_INFO, "item analysed", "findings", n, NULL);

    return WK_DONE;
}


/* Says on the item what became of its analysis. */

static bool
wk_analyse_state(wk_task_t *t, const char *tenant, const char *state)
{
    PGresult    *res;
    const char  *v[2] = { wk_media_id(t->job), state };

    if (!wk_db_begin(&t->db, tenant)) {
        return false;
    }

    res = wk_db(&t->db, "update mdvr.media set analysis = $2 where id = $1",
                2, v);
    PQclear(res);

    return res && wk_db_commit(&t->db);
}


wk_verdict_e
wk_analyse(wk_task_t *t)
{
    bool                ok, there, copied;
    char                path[PATH_MAX], error[200];
    wk_analyse_t        a;
    wk_samples_t        samples;
    static wk_look_t    look;

    if (nice(5) == -1) {
        errno = 0;                      /* evidence goes first */
    }

    memset(&a, 0, sizeof(a));
    memset(&look, 0, sizeof(look));
    look.conf = t->conf;
    look.samples = &samples;

    if (strcmp(t->conf->ai, "none") == 0) {
        return wk_result(t->res, WK_DONE, "", "%s", "");
    }

    if (wk_analyse_item(t, &a, &look, &there) != WK_DONE) {
        return t->res->verdict;
    }

    if (!there) {                       /* deleted meanwhile */
        return wk_result(t->res, WK_DONE, "", "%s", "");
    }

    if (a.quota) {
        wk_log(WK_WARN, "item not analysed: the minutes of the plan are used "
               "up", "media", wk_media_id(t->job), NULL);

        return wk_analyse_state(t, a.tenant, "quota")
               ? wk_result(t->res, WK_DONE, "", "%s", "")
               : wk_result(t->res, WK_RETRY, "database", "%s", t->db.error);
    }

    if (!wk_storage_get(&t->storage, a.key, path, sizeof(path), &copied)) {
        return wk_result(t->res, WK_RETRY, "storage", "%s",
                         t->storage.error);
    }

    ok = wk_samples_read(&samples, path, t->conf->ai_frames, error,
                         sizeof(error));
    if (copied) {
        unlink(path);
    }

    if (!ok) {
        return wk_result(t->res, WK_GIVE_UP, "undecodable", "%s", error);
    }

    ok = wk_look(&look);

    if (wk_analyse_store(t, &a, &look) == WK_DONE) {
        if (ok) {
            wk_result(t->res, WK_DONE, "", "%s", "");

        } else {                        /* the others' findings are stored */
            wk_result(t->res, WK_GIVE_UP, "analyser", "%s", look.error);
        }
    }

    wk_samples_free(&samples);

    return t->res->verdict;
}


/* What was not analysed is whole all the same. */

void
wk_analyse_give_up(wk_task_t *t, const char *reason)
{
    const char  *tenant;

    tenant = wk_job_str(t->job, "tenant_id");
    wk_log(WK_WARN, "item not analysed", "media", wk_media_id(t->job),
           "reason", reason, NULL);

    if (wk_is_uuid(tenant) && wk_is_uuid(wk_media_id(t->job))
        && !wk_analyse_state(t, tenant, "failed"))
    {
        wk_log(WK_WARN, "cannot say so", "error", t->db.error, NULL);
    }
}


/*
 * mdvr-worker analyse FILE...: one JSON object a file on stdout, without
 * database or queue; -v: what the camera analyser measured, too.
 */

int
wk_analyse_files(const wk_conf_t *conf, int argc, char **argv)
{
    int                 i, status;
    char                error[200], *text;
    bool                verbose;
    json_t             *doc, *list, *o;
    int64_t             ms;
    unsigned            k;
    wk_samples_t        samples;
    static wk_look_t    look;

    status = 0;
    verbose = argc > 0 && strcmp(argv[0], "-v") == 0;

    for (i = verbose; i < argc; i++) {
        ms = wk_clock_ms();
        doc = json_object();
        json_object_set_new(doc, "file", json_string(argv[i]));

        if (!wk_samples_read(&samples, argv[i], conf->ai_frames, error,
                             sizeof(error)))
        {
            json_object_set_new(doc, "error", json_string(error));
            status = 1;

        } else {
            memset(&look, 0, sizeof(look));
            look.conf = conf;
            look.samples = &samples;

            if (verbose) {
                wk_camera_print(&samples);
            }

            if (!wk_look(&look)) {
                json_object_set_new(doc, "error", json_string(look.error));
                status = 1;
            }

            list = json_array();

            for (k = 0; k < look.n; k++) {
                o = json_pack("{s:s, s:f, s:f, s:s, s:s}", "kind",
                              look.found[k].kind, "confidence",
                              look.found[k].confidence, "at_s",
                              look.found[k].at_s, "model",
                              look.found[k].model, "model_version",
                              look.found[k].version);

                if (look.found[k].boxed) {
                    json_object_set_new(o, "box", json_pack("[f, f, f, f]",
                        look.found[k].box[0], look.found[k].box[1],
                        look.found[k].box[2], look.found[k].box[3]));
                }

                json_array_append_new(list, o);
            }

            json_object_set_new(doc, "frames", json_integer(samples.n));
            json_object_set_new(doc, "findings", list);
            wk_samples_free(&samples);
        }

        json_object_set_new(doc, "ms", json_integer(wk_clock_ms() - ms));
        text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(6));
        puts(text ? text : "{}");
        free(text);
        json_decref(doc);
    }

    return status;
}
