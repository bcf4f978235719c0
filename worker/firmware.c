/*
 * Job "firmware", with objects in S3: a node's copy of a firmware file, which its
 * media front sends to devices, and the object, which all nodes share.
 *
 *   <state dir>/firmware/<id>.new   an upload; stored, it becomes
 *   <state dir>/firmware/<id>.bin   the copy; where there is none it is fetched
 *
 * Who asked watches for the .bin and, tired of waiting, removes the .new: then
 * there is nothing to be stored any more.  The API touches a copy whenever it is
 * used.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker/handler.h"

#define WK_FIRMWARE_KEPT_S  (7 * 86400)     /* a copy that nobody uses */
#define WK_FIRMWARE_BEGUN_S 3600            /* a file that is none yet */


static wk_verdict_e
wk_firmware_store(wk_task_t *t, const char *key, const char *new,
    const char *bin)
{
    struct stat  st;
    uint64_t     stored;

    if (stat(new, &st) < 0) {
        return wk_result(t->res, WK_DONE, "", "%s", "");
    }

    if (!wk_storage_put(&t->storage, key, new, &stored)) {
        return wk_result(t->res, WK_RETRY, "storage", "%s", t->storage.error);
    }

    if (stored != (uint64_t) st.st_size) {
        return wk_result(t->res, WK_RETRY, "staging",
                         "the file changed while it was stored");
    }

    if (rename(new, bin) == 0) {
        return wk_result(t->res, WK_DONE, "", "%s", "");
    }

    if (errno != ENOENT) {
        return wk_result(t->res, WK_RETRY, "staging", "cannot rename %s", new);
    }

    /* nobody waits for it any more */

    if (!wk_storage_delete(&t->storage, key)) {
        return wk_result(t->res, WK_RETRY, "storage", "%s", t->storage.error);
    }

    return wk_result(t->res, WK_DONE, "", "%s", "");
}


static wk_verdict_e
wk_firmware_fetch(wk_task_t *t, const char *key, const char *folder,
    const char *bin)
{
    bool          copied;
    char          path[PATH_MAX];
    wk_conf_t     here;
    wk_storage_t  storage;

    if (access(bin, F_OK) == 0) {
        return wk_result(t->res, WK_DONE, "", "%s", "");
    }

    /* on the volume of the copy, so that it can be renamed */

    here = *t->conf;
    here.tmp = folder;
    wk_storage_init(&storage, &here);

    if (!wk_storage_get(&storage, key, path, sizeof(path), &copied)) {
        return wk_result(t->res, WK_RETRY, "storage", "%s", storage.error);
    }

    if (!copied) {
        return wk_result(t->res, WK_GIVE_UP, "storage",
                         "the objects are files: there is nothing to fetch");
    }

    if (rename(path, bin) < 0) {
        unlink(path);
        return wk_result(t->res, WK_RETRY, "staging", "cannot make %s", bin);
    }

    return wk_result(t->res, WK_DONE, "", "%s", "");
}


wk_verdict_e
wk_firmware(wk_task_t *t)
{
    char         folder[PATH_MAX / 2], bin[PATH_MAX], new[PATH_MAX],
                 prefix[128];
    const char  *id, *key, *tenant;

    id = wk_job_str(t->job, "id");
    key = wk_job_str(t->job, "key");
    tenant = wk_job_str(t->job, "tenant_id");

    snprintf(prefix, sizeof(prefix), "%s/firmware/%s/", tenant, id);

    if (t->conf->state_dir == NULL || !wk_is_uuid(id) || !wk_is_uuid(tenant)
        || strncmp(key, prefix, strlen(prefix)) != 0 || strstr(key, ".."))
    {
        return wk_result(t->res, WK_GIVE_UP, "document",
                         "this is no firmware of the tenant");
    }

    snprintf(folder, sizeof(folder), "%s/firmware", t->conf->state_dir);
    snprintf(bin, sizeof(bin), "%s/%s.bin", folder, id);
    snprintf(new, sizeof(new), "%s/%s.new", folder, id);

    if (mkdir(folder, 0770) < 0 && errno != EEXIST) {
        return wk_result(t->res, WK_RETRY, "staging", "cannot make %s",
                         folder);
    }

    return strcmp(wk_job_str(t->job, "source"), "upload") == 0
           ? wk_firmware_store(t, key, new, bin)
           : wk_firmware_fetch(t, key, folder, bin);
}


/* Who waits for an upload learns it by the file. */

void
wk_firmware_give_up(wk_task_t *t, const char *reason)
{
    char         path[PATH_MAX];
    const char  *id;

    id = wk_job_str(t->job, "id");

    if (t->conf->state_dir && wk_is_uuid(id)) {
        snprintf(path, sizeof(path), "%s/firmware/%s.new", t->conf->state_dir,
                 id);
        unlink(path);
    }
}


void
wk_firmware_sweep(const wk_conf_t *conf)
{
    DIR            *dir;
    char            path[PATH_MAX];
    size_t          len;
    time_t          kept;
    struct stat     st;
    struct dirent  *e;

    if (conf->state_dir == NULL) {
        return;
    }

    snprintf(path, sizeof(path), "%s/firmware", conf->state_dir);
    dir = opendir(path);

    if (dir == NULL) {
        return;                         /* there never was any */
    }

    while ((e = readdir(dir)) != NULL) {
        len = strlen(e->d_name);
        kept = len > 4 && strcmp(e->d_name + len - 4, ".bin") == 0
               ? WK_FIRMWARE_KEPT_S : WK_FIRMWARE_BEGUN_S;

        snprintf(path, sizeof(path), "%s/firmware/%s", conf->state_dir,
                 e->d_name);

        if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)
            && st.st_mtime + kept < time(NULL))
        {
            unlink(path);
            wk_log(WK_INFO, "copy of firmware removed", "file", e->d_name,
                   NULL);
        }
    }

    closedir(dir);
}
