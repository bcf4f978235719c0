/* Object storage: a directory, or what worker/s3.c makes of it. */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
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
