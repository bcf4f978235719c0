/* Object storage: a directory, or what worker/s3.c makes of it. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker/s3.h"

#define WK_STORAGE_FILES  16


void
wk_storage_init(wk_storage_t *s, const wk_conf_t *conf)
{
    memset(s, 0, sizeof(*s));
    s->conf = conf;
}


static bool
wk_storage_s3(const wk_storage_t *s)
{
    return strncmp(s->conf->storage, "s3:", 3) == 0;
}


static bool
wk_storage_failed(wk_storage_t *s, const char *what, const char *key)
{
    snprintf(s->error, sizeof(s->error), "cannot %s %s: %s", what, key,
             strerror(errno));
    return false;
}


/* The path of a key, "" when the key could leave the directory. */

static bool
wk_storage_path(wk_storage_t *s, const char *key, char *path, size_t size)
{
    int          n;
    const char  *p;

    for (p = key; *p; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')
              || *p == '-' || *p == '_' || *p == '.' || *p == '/'))
        {
            errno = EINVAL;
            return wk_storage_failed(s, "use key", key);
        }
    }

    if (key[0] == '/' || key[0] == '\0' || strstr(key, "..")
        || strncmp(s->conf->storage, "file:", 5) != 0)
    {
        errno = EINVAL;
        return wk_storage_failed(s, "use key", key);
    }

    n = snprintf(path, size, "%s/%s", s->conf->storage + 5, key);

    if (n < 0 || (size_t) n >= size) {
        errno = ENAMETOOLONG;
        return wk_storage_failed(s, "use key", key);
    }

    return true;
}


static bool
wk_storage_folders(const char *path)
{
    char   dir[PATH_MAX], *p;

    snprintf(dir, sizeof(dir), "%s", path);

    for (p = dir + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';

        if (mkdir(dir, 0750) < 0 && errno != EEXIST) {
            return false;
        }

        *p = '/';
    }

    return true;
}


static bool
wk_storage_sync_dir(const char *path)
{
    int    fd;
    char   dir[PATH_MAX], *p;
    bool   ok;

    snprintf(dir, sizeof(dir), "%s", path);
    p = strrchr(dir, '/');
    *p = '\0';

    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }

    ok = fsync(fd) == 0;
    close(fd);

    return ok;
}


bool
wk_storage_put(wk_storage_t *s, const char *key, const char *file,
    uint64_t *size_bytes)
{
    int           in, out;
    char          path[PATH_MAX - 64], part[PATH_MAX], id[37];
    bool          ok;
    off_t         left;
    ssize_t       n;
    struct stat   st;

    if (wk_storage_s3(s)) {
        return wk_s3_put(s, key, file, size_bytes);
    }

    if (!wk_storage_path(s, key, path, sizeof(path))) {
        return false;
    }

    in = open(file, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0) {
        wk_storage_failed(s, "read the file for", key);
        if (in >= 0) {
            close(in);
        }
        return false;
    }

    wk_uuid(id);
    snprintf(part, sizeof(part), "%s.%s.part", path, id);

    out = wk_storage_folders(path)
          ? open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640) : -1;

    if (out < 0) {
        wk_storage_failed(s, "make", key);
        close(in);
        return false;
    }

    for (left = st.st_size; left > 0; left -= n) {
        n = sendfile(out, in, NULL, left > (1 << 24) ? 1 << 24
                                                     : (size_t) left);
        if (n <= 0) {
            if (n == 0) {
                errno = EIO;            /* the file became shorter */
            }
            break;
        }
    }

    ok = left == 0 && fsync(out) == 0;

    if (close(out) < 0) {
        ok = false;
    }

    close(in);

    if (!ok || rename(part, path) < 0 || !wk_storage_sync_dir(path)) {
        wk_storage_failed(s, "store", key);
        unlink(part);
        return false;
    }

    if (size_bytes) {
        *size_bytes = (uint64_t) st.st_size;
    }

    return true;
}


bool
wk_storage_get(wk_storage_t *s, const char *key, char *path, size_t size,
    bool *copied)
{
    if (wk_storage_s3(s)) {
        *copied = wk_s3_get(s, key, path, size);
        return *copied;
    }

    *copied = false;

    if (!wk_storage_path(s, key, path, size)) {
        return false;
    }

    if (access(path, R_OK) < 0) {
        return wk_storage_failed(s, "read", key);
    }

    return true;
}


bool
wk_storage_delete(wk_storage_t *s, const char *key)
{
    char  path[PATH_MAX];

    if (wk_storage_s3(s)) {
        return wk_s3_delete(s, key);
    }

    if (!wk_storage_path(s, key, path, sizeof(path))) {
        return false;
    }

    if (unlink(path) < 0 && errno != ENOENT) {
        return wk_storage_failed(s, "delete", key);
    }

    return true;
}


/* nftw() hands nothing through: what the walk needs, and what it found */
static struct {
    time_t  before;
    int     removed;
} wk_storage_walk;


static int
wk_storage_part(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
    size_t  len;

    len = strlen(path);

    if (type == FTW_F && len > 5 && strcmp(path + len - 5, ".part") == 0
        && st->st_mtime <= wk_storage_walk.before && unlink(path) == 0)
    {
        wk_storage_walk.removed++;
    }

    return 0;
}


int
wk_storage_sweep(wk_storage_t *s, int64_t older_s)
{
    if (wk_storage_s3(s)) {
        return wk_s3_sweep(s, older_s);
    }

    wk_storage_walk.before = time(NULL) - (time_t) older_s;
    wk_storage_walk.removed = 0;

    if (nftw(s->conf->storage + 5, wk_storage_part, WK_STORAGE_FILES,
             FTW_PHYS) < 0 && errno != ENOENT)
    {
        wk_storage_failed(s, "walk through", "the storage");
        return -1;
    }

    return wk_storage_walk.removed;
}


/* --- what there is ---------------------------------------------------------- */

static int
wk_storage_order(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}


/*
 * Names in a directory, those of directories with a '/' at their end, so
 * that their order is that of the keys.  The list and the names are the
 * caller's; -1 on failure.
 */

static int
wk_storage_names(const char *dir, char ***list)
{
    int             n, cap;
    DIR            *d;
    char          **more;
    struct dirent  *e;

    *list = NULL;
    d = opendir(dir);

    if (d == NULL) {
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    }

    n = 0;
    cap = 0;

    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.') {
            continue;
        }

        if (n == cap) {
            cap = cap ? cap * 2 : 64;
            more = realloc(*list, (size_t) cap * sizeof(*more));

            if (more == NULL) {
                break;
            }

            *list = more;
        }

        if (asprintf(&(*list)[n], "%s%s", e->d_name,
                     e->d_type == DT_DIR ? "/" : "") < 0)
        {
            break;
        }

        n++;
    }

    closedir(d);

    if (e) {
        while (n) {
            free((*list)[--n]);
        }

        free(*list);
        *list = NULL;
        errno = ENOMEM;
        return -1;
    }

    qsort(*list, (size_t) n, sizeof(**list), wk_storage_order);

    return n;
}


/* 1: go on, 0: enough, -1: failed */

static int
wk_storage_files(wk_storage_t *s, const char *root, const char *dir,
    const char *prefix, const char *after, wk_storage_each_pt each,
    void *data)
{
    int           i, n, rc;
    char          path[PATH_MAX], key[PATH_MAX], **list;
    size_t        len, plen;
    struct stat   st;

    if (snprintf(path, sizeof(path), "%s/%s", root, dir) >= PATH_MAX) {
        return 1;
    }

    n = wk_storage_names(path, &list);

    if (n < 0) {
        wk_storage_failed(s, "list", dir);
        return -1;
    }

    plen = strlen(prefix);

    for (i = 0, rc = 1; i < n; i++) {
        len = (size_t) snprintf(key, sizeof(key), "%s%s", dir, list[i]);

        if (rc == 1 && len > 0 && len < sizeof(key)
            && strncmp(key, prefix, len < plen ? len : plen) == 0)
        {
            if (key[len - 1] == '/') {
                if (strncmp(key, after, len) >= 0) {
                    rc = wk_storage_files(s, root, key, prefix, after, each,
                                          data);
                }

            } else if (len >= plen && strcmp(key, after) > 0
                       && snprintf(path, sizeof(path), "%s/%s", root, key)
                          < PATH_MAX
                       && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            {
                rc = each(data, key, (int64_t) st.st_mtime) ? 1 : 0;
            }
        }

        free(list[i]);
    }

    free(list);

    return rc;
}


bool
wk_storage_list(wk_storage_t *s, const char *prefix, const char *after,
    wk_storage_each_pt each, void *data)
{
    if (wk_storage_s3(s)) {
        return wk_s3_list(s, prefix, after, each, data);
    }

    return wk_storage_files(s, s->conf->storage + 5, "", prefix, after, each,
                            data) >= 0;
}


/* --- removing a folder ------------------------------------------------------ */

static int
wk_storage_unlink(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
    if (type == FTW_F && unlink(path) == 0) {
        wk_storage_walk.removed++;
        return 0;
    }

    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}


/* Directories above that became empty go, too; whoever writes there anew
 * makes them again or is tried again. */

static int
wk_storage_unlink_folder(wk_storage_t *s, const char *folder)
{
    char   path[PATH_MAX], *p;
    size_t root;

    if (!wk_storage_path(s, folder, path, sizeof(path))) {
        return -1;
    }

    root = strlen(s->conf->storage + 5);
    path[strlen(path) - 1] = '\0';
    wk_storage_walk.removed = 0;

    if (nftw(path, wk_storage_unlink, WK_STORAGE_FILES, FTW_PHYS | FTW_DEPTH)
        != 0 && errno != ENOENT)
    {
        wk_storage_failed(s, "remove", folder);
        return -1;
    }

    while ((p = strrchr(path, '/')) != NULL && p > path + root) {
        *p = '\0';

        if (rmdir(path) < 0) {
            break;
        }
    }

    return wk_storage_walk.removed;
}


typedef struct {
    char    **keys;
    unsigned  n, cap;
    bool      failed;
} wk_storage_keys_t;


static bool
wk_storage_keep(void *data, const char *key, int64_t at)
{
    char               **more;
    wk_storage_keys_t   *k = data;

    if (k->n == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 64;
        more = realloc(k->keys, k->cap * sizeof(*more));

        if (more == NULL) {
            k->failed = true;
            return false;
        }

        k->keys = more;
    }

    k->keys[k->n] = strdup(key);
    k->failed = k->keys[k->n] == NULL;
    k->n += !k->failed;

    return !k->failed;
}


int
wk_storage_remove(wk_storage_t *s, const char *folder)
{
    int                n;
    bool               ok;
    size_t             len;
    unsigned           i;
    wk_storage_keys_t  k = { NULL, 0, 0, false };

    len = strlen(folder);

    if (len < 2 || folder[len - 1] != '/') {
        errno = EINVAL;
        wk_storage_failed(s, "remove", folder);
        return -1;
    }

    if (!wk_storage_s3(s)) {
        return wk_storage_unlink_folder(s, folder);
    }

    ok = wk_s3_list(s, folder, "", wk_storage_keep, &k) && !k.failed;
    n = 0;

    for (i = 0; i < k.n; i++) {
        if (ok && (ok = wk_s3_delete(s, k.keys[i]))) {
            n++;
        }

        free(k.keys[i]);
    }

    free(k.keys);

    return ok ? n : -1;
}
