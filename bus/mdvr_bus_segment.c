/*
 * The segment and who is attached to it: creation, attachment, process
 * numbers, wake-ups.  Layout in mdvr_bus_layout.h.
 *
 * OFD locks belong to the open file description: each attachment opens the
 * segment itself, so that two attachments of one process are two processes
 * here, and a fork does not inherit the number.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bus/mdvr_bus_layout.h"


#define MDVR_BUS_PAGE  4096


static mdvr_rc_t
fail(char *err, size_t len, const char *what, const char *path)
{
    int  e = errno;

    if (err != NULL) {
        snprintf(err, len, "%s \"%s\" failed (%d: %s)", what, path, e,
                 strerror(e));
    }

    errno = e;
    return MDVR_E_UNAVAILABLE;
}


static mdvr_rc_t
refuse(char *err, size_t len, const char *sentence)
{
    if (err != NULL) {
        snprintf(err, len, "%s", sentence);
    }

    return MDVR_E_UNAVAILABLE;
}


int64_t
mdvr_bus_clock_ms(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}


/* --- kernel locks --------------------------------------------------------- */

static int
byte_lock(int fd, int cmd, short type, int64_t at, int64_t n,
    struct flock *held)
{
    int           rc;
    struct flock  fl;

    memset(&fl, 0, sizeof(fl));
    fl.l_type = type;
    fl.l_whence = SEEK_SET;
    fl.l_start = at;
    fl.l_len = n;

    do {
        rc = fcntl(fd, cmd, &fl);
    } while (rc == -1 && errno == EINTR);

    if (held != NULL) {
        *held = fl;
    }

    return rc;
}


/* Whether any of n numbers is held by another open file than this one. */

static bool
any_alive(int fd, uint32_t first, uint32_t n)
{
    struct flock  held;

    if (byte_lock(fd, F_OFD_GETLK, F_WRLCK, MDVR_BUS_LOCK_PROCESS + first, n,
                  &held)
        == -1)
    {
        return true;                            /* when in doubt, alive */
    }

    return held.l_type != F_UNLCK;
}


bool
mdvr_bus_alive(const mdvr_bus_t *bus, uint32_t process)
{
    return process == bus->process || any_alive(bus->fd, process, 1);
}


/* --- creation --------------------------------------------------------------- */

static bool
valid_name(const char *name)
{
    size_t  n = name ? strlen(name) : 0;

    return n > 0 && n <= 48
           && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "0123456789_-") == n;
}


static uint64_t
round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}


static void
geometry(const mdvr_bus_conf_t *conf, mdvr_bus_header_t *h)
{
    h->magic = MDVR_BUS_MAGIC;
    h->layout = MDVR_BUS_LAYOUT;
    h->streams = conf->streams;
    h->ring_size = round_up(conf->ring_size, MDVR_BUS_PAGE);
    h->aux_size = round_up(conf->ring_size / 16, MDVR_BUS_PAGE);

    if (h->aux_size < 65536) {
        h->aux_size = 65536;
    }

    h->processes_offset = round_up(sizeof(*h), MDVR_BUS_PAGE);
    h->slots_offset = h->processes_offset
              + round_up(sizeof(mdvr_bus_process_t) * MDVR_BUS_PROCESSES,
                         MDVR_BUS_PAGE);
    h->rings_offset = h->slots_offset
              + round_up(sizeof(mdvr_bus_slot_t) * (uint64_t) h->streams,
                         MDVR_BUS_PAGE);
    h->total = h->rings_offset + (h->ring_size + h->aux_size) * h->streams;
}


static mdvr_rc_t
make_dir(const char *path, const mdvr_bus_conf_t *conf, char *err, size_t len)
{
    struct stat  st;

    if (mkdir(path, 0770) == -1 && errno != EEXIST) {
        return fail(err, len, "mkdir()", path);
    }

    if (stat(path, &st) == -1) {
        return fail(err, len, "stat()", path);
    }

    if (geteuid() == 0 && conf->uid != (uid_t) -1
        && (st.st_uid != conf->uid || st.st_gid != conf->gid)
        && chown(path, conf->uid, conf->gid) == -1)
    {
        return fail(err, len, "chown()", path);
    }

    if (st.st_uid == geteuid() || geteuid() == 0) {
        (void) chmod(path, 0770);
    }

    return MDVR_OK;
}


static mdvr_rc_t
lay_out(int fd, const mdvr_bus_header_t *plan, const mdvr_bus_conf_t *conf,
    const char *path, char *err, size_t len)
{
    mdvr_bus_header_t    *h;
    pthread_mutexattr_t   attr;

    if (ftruncate(fd, 0) == -1 || ftruncate(fd, (off_t) plan->total) == -1) {
        return fail(err, len, "ftruncate()", path);
    }

    if (fchmod(fd, 0660) == -1) {
        return fail(err, len, "fchmod()", path);
    }

    if (geteuid() == 0 && conf->uid != (uid_t) -1
        && fchown(fd, conf->uid, conf->gid) == -1)
    {
        return fail(err, len, "fchown()", path);
    }

    h = mmap(NULL, MDVR_BUS_PAGE * 2, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);
    if (h == MAP_FAILED) {
        return fail(err, len, "mmap()", path);
    }

    *h = *plan;
    h->magic = 0;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&h->mutex, &attr);
    pthread_mutexattr_destroy(&attr);

    atomic_thread_fence(memory_order_seq_cst);
    h->magic = plan->magic;                     /* from here on it is valid */

    munmap(h, MDVR_BUS_PAGE * 2);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_bus_create(const mdvr_bus_conf_t *conf, char *err, size_t len)
{
    int                fd;
    char               path[MDVR_BUS_PATH_MAX];
    bool               mine, used;
    mdvr_rc_t          rc;
    struct stat        st, now;
    mdvr_bus_header_t  plan, have;

    if (err != NULL && len > 0) {
        err[0] = '\0';
    }

    if (!valid_name(conf->name) || conf->streams == 0
        || conf->streams > MDVR_BUS_STREAMS_MAX || conf->ring_size < 65536
        || conf->ring_size > (1024u << 20) || conf->wake_dir == NULL
        || strlen(conf->wake_dir) >= MDVR_BUS_PATH_MAX - 16
        || strlen(conf->dir) >= MDVR_BUS_PATH_MAX - 128)
    {
        return refuse(err, len, "frame bus: parameter out of range");
    }

    memset(&plan, 0, sizeof(plan));
    geometry(conf, &plan);
    snprintf(plan.wake_dir, sizeof(plan.wake_dir), "%s", conf->wake_dir);
    snprintf(plan.hls_dir, sizeof(plan.hls_dir), "%s/mdvr-%s.hls", conf->dir,
             conf->name);
    snprintf(path, sizeof(path), "%s/mdvr-%s", conf->dir, conf->name);

    rc = make_dir(plan.wake_dir, conf, err, len);
    if (rc == MDVR_OK) {
        rc = make_dir(plan.hls_dir, conf, err, len);
    }

    if (rc != MDVR_OK) {
        return rc;
    }

    for ( ;; ) {

        fd = open(path, O_RDWR|O_CREAT|O_CLOEXEC, 0660);
        if (fd == -1) {
            return fail(err, len, "open()", path);
        }

        if (byte_lock(fd, F_OFD_SETLKW, F_WRLCK, MDVR_BUS_LOCK_CREATE, 1, NULL)
            == -1)
        {
            rc = fail(err, len, "fcntl()", path);
            break;
        }

        /* the one before us may have replaced the file while we waited */

        if (fstat(fd, &st) == -1 || stat(path, &now) == -1
            || st.st_ino != now.st_ino || st.st_dev != now.st_dev)
        {
            close(fd);
            continue;
        }

        memset(&have, 0, sizeof(have));

        mine = pread(fd, &have, sizeof(have), 0) == (ssize_t) sizeof(have)
               && have.magic == MDVR_BUS_MAGIC
               && have.layout == MDVR_BUS_LAYOUT
               && have.total == (uint64_t) st.st_size;

        if (mine && have.total == plan.total && have.streams == plan.streams
            && strcmp(have.wake_dir, plan.wake_dir) == 0)
        {
            break;
        }

        used = any_alive(fd, 0, MDVR_BUS_PROCESSES);

        if (mine && used) {
            (void) refuse(err, len, "the frame bus is in use with other sizes "
                          "and keeps them until a restart");
            break;
        }

        if (used) {
            /* another version's: leave it to who uses it, begin a new file */

            if (unlink(path) == -1) {
                rc = fail(err, len, "unlink()", path);
                break;
            }

            close(fd);
            continue;
        }

        rc = lay_out(fd, &plan, conf, path, err, len);
        break;
    }

    close(fd);

    return rc;
}


/* --- attachment -------------------------------------------------------------- */

static void
fifo_path(const mdvr_bus_t *bus, uint32_t process, char *path, size_t len)
{
    snprintf(path, len, "%s/%u", bus->header->wake_dir, process);
}


static mdvr_rc_t
claim(mdvr_bus_t *bus, const char *what, char *err, size_t len)
{
    char                 path[MDVR_BUS_PATH_MAX + 16];
    uint32_t             n;
    mdvr_bus_process_t  *p;

    for (n = 0; n < MDVR_BUS_PROCESSES; n++) {
        if (byte_lock(bus->fd, F_OFD_SETLK, F_WRLCK, MDVR_BUS_LOCK_PROCESS + n,
                      1, NULL)
            == 0)
        {
            break;
        }
    }

    if (n == MDVR_BUS_PROCESSES) {
        return refuse(err, len, "frame bus: too many processes");
    }

    bus->process = n;
    p = &bus->processes[n];

    fifo_path(bus, n, path, sizeof(path));

    if (unlink(path) == -1 && errno != ENOENT) {
        return fail(err, len, "unlink()", path);
    }

    if (mkfifo(path, 0660) == -1) {
        return fail(err, len, "mkfifo()", path);
    }

    (void) chmod(path, 0660);                   /* whatever the umask is */

    bus->fifo = open(path, O_RDWR|O_NONBLOCK|O_CLOEXEC);
    if (bus->fifo == -1) {
        return fail(err, len, "open()", path);
    }

    mdvr_bus_lock(bus);

    if (p->claimed) {
        mdvr_bus_forget_process(bus, n, mdvr_bus_clock_ms());
    }

    for (unsigned i = 0; i < MDVR_BUS_DIRTY_WORDS; i++) {
        p->dirty[i] = 0;
    }

    p->pid = (int32_t) getpid();
    snprintf(p->what, sizeof(p->what), "%s", what);
    p->pending = 0;
    p->generation++;
    p->claimed = 1;

    mdvr_bus_unlock(bus);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_bus_attach(mdvr_bus_t **out, const char *dir, const char *name,
    const char *what, char *err, size_t len)
{
    char               path[MDVR_BUS_PATH_MAX];
    void              *p;
    mdvr_rc_t          rc;
    mdvr_bus_t        *bus;
    struct stat        st;
    mdvr_bus_header_t  have;

    *out = NULL;

    if (!valid_name(name) || strlen(dir) >= MDVR_BUS_PATH_MAX - 128) {
        return refuse(err, len, "frame bus: bad name");
    }

    snprintf(path, sizeof(path), "%s/mdvr-%s", dir, name);

    bus = calloc(1, sizeof(mdvr_bus_t));
    if (bus == NULL) {
        return refuse(err, len, "frame bus: no memory");
    }

    bus->fifo = -1;
    bus->process = MDVR_BUS_PROCESSES;

    for (unsigned i = 0; i < MDVR_BUS_PROCESSES; i++) {
        bus->peer[i].fd = -1;
    }

    bus->fd = open(path, O_RDWR|O_CLOEXEC);
    if (bus->fd == -1) {
        rc = fail(err, len, "open()", path);
        free(bus);
        return rc;
    }

    if (fstat(bus->fd, &st) == -1
        || pread(bus->fd, &have, sizeof(have), 0) != (ssize_t) sizeof(have)
        || have.magic != MDVR_BUS_MAGIC || have.layout != MDVR_BUS_LAYOUT
        || have.total != (uint64_t) st.st_size)
    {
        rc = refuse(err, len, "frame bus: not a segment of this version");
        goto failed;
    }

    p = mmap(NULL, have.total, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_NORESERVE,
             bus->fd, 0);
    if (p == MAP_FAILED) {
        rc = fail(err, len, "mmap()", path);
        goto failed;
    }

    bus->header = p;
    bus->processes = (void *) ((uint8_t *) p + have.processes_offset);
    bus->slots = (void *) ((uint8_t *) p + have.slots_offset);
    bus->rings = (uint8_t *) p + have.rings_offset;

    rc = claim(bus, what, err, len);
    if (rc == MDVR_OK) {
        *out = bus;
        return MDVR_OK;
    }

failed:

    if (bus->header != NULL) {
        munmap(bus->header, bus->header->total);
    }

    if (bus->fifo != -1) {
        close(bus->fifo);
    }

    close(bus->fd);
    free(bus);

    return rc;
}


void
mdvr_bus_detach(mdvr_bus_t *bus)
{
    char                 path[MDVR_BUS_PATH_MAX + 16];
    mdvr_bus_process_t  *p = &bus->processes[bus->process];

    mdvr_bus_lock(bus);
    mdvr_bus_forget_process(bus, bus->process, mdvr_bus_clock_ms());
    p->claimed = 0;
    p->generation++;
    mdvr_bus_unlock(bus);

    fifo_path(bus, bus->process, path, sizeof(path));
    (void) unlink(path);
    close(bus->fifo);

    for (unsigned i = 0; i < MDVR_BUS_PROCESSES; i++) {
        if (bus->peer[i].fd != -1) {
            close(bus->peer[i].fd);
        }
    }

    munmap(bus->header, bus->header->total);
    close(bus->fd);                             /* the number is free now */
    free(bus);
}


int
mdvr_bus_fd(const mdvr_bus_t *bus)
{
    return bus->fifo;
}


uint32_t
mdvr_bus_streams(const mdvr_bus_t *bus)
{
    return bus->header->streams;
}


uint32_t
mdvr_bus_process(const mdvr_bus_t *bus)
{
    return bus->process;
}


const char *
mdvr_bus_hls_dir(const mdvr_bus_t *bus)
{
    return bus->header->hls_dir;
}


/* --- the mutex ------------------------------------------------------------------ */

/*
 * Held for arithmetic only.  A process that died inside left plain counters
 * at worst one step behind; the sweep sets them right.
 */

void
mdvr_bus_lock(mdvr_bus_t *bus)
{
    if (pthread_mutex_lock(&bus->header->mutex) == EOWNERDEAD) {
        pthread_mutex_consistent(&bus->header->mutex);
    }
}


void
mdvr_bus_unlock(mdvr_bus_t *bus)
{
    pthread_mutex_unlock(&bus->header->mutex);
}


/* --- wake-ups --------------------------------------------------------------------- */

static int
peer_fifo(mdvr_bus_t *bus, uint32_t n)
{
    char      path[MDVR_BUS_PATH_MAX + 16];
    uint32_t  generation = bus->processes[n].generation;

    if (n == bus->process) {
        return bus->fifo;
    }

    if (bus->peer[n].fd != -1 && bus->peer[n].generation == generation) {
        return bus->peer[n].fd;
    }

    if (bus->peer[n].fd != -1) {
        close(bus->peer[n].fd);
    }

    /* O_RDWR: no SIGPIPE when the process is gone */

    fifo_path(bus, n, path, sizeof(path));
    bus->peer[n].fd = open(path, O_RDWR|O_NONBLOCK|O_CLOEXEC);
    bus->peer[n].generation = generation;

    return bus->peer[n].fd;
}


void
mdvr_bus_wake_process(mdvr_bus_t *bus, uint32_t n, uint32_t slot)
{
    int                  fd;
    ssize_t              sent;
    mdvr_bus_process_t  *p = &bus->processes[n];

    atomic_fetch_or(&p->dirty[slot / 64], UINT64_C(1) << (slot % 64));

    if (atomic_exchange(&p->pending, 1) != 0) {
        return;
    }

    fd = peer_fifo(bus, n);

    if (fd != -1) {
        do {
            sent = write(fd, "", 1);
        } while (sent == -1 && errno == EINTR);

        if (sent == 1 || errno == EAGAIN) {     /* full: it will be woken */
            return;
        }
    }

    p->pending = 0;                             /* let the next one try */
}


void
mdvr_bus_wake(mdvr_bus_t *bus, uint32_t index)
{
    uint32_t          owner;
    uint64_t          bits;
    mdvr_bus_slot_t  *slot = &bus->slots[index];

    for (unsigned i = 0; i < mdvr_bus_words; i++) {
        for (bits = slot->watched[i]; bits; bits &= bits - 1) {
            mdvr_bus_wake_process(bus, i * 64 + (unsigned) __builtin_ctzll(bits),
                                  index);
        }
    }

    owner = slot->owner;

    if (owner != 0 && owner - 1 != bus->process) {
        mdvr_bus_wake_process(bus, owner - 1, index);
    }
}


unsigned
mdvr_bus_woken(mdvr_bus_t *bus, uint64_t dirty[MDVR_BUS_DIRTY_WORDS])
{
    char                 buf[64];
    unsigned             n = 0;
    mdvr_bus_process_t  *p = &bus->processes[bus->process];

    while (read(bus->fifo, buf, sizeof(buf)) == (ssize_t) sizeof(buf)) {
        /* empty it */
    }

    atomic_store(&p->pending, 0);

    for (unsigned i = 0; i < MDVR_BUS_DIRTY_WORDS; i++) {
        dirty[i] = p->dirty[i] ? atomic_exchange(&p->dirty[i], 0) : 0;
        n += (unsigned) __builtin_popcountll(dirty[i]);
    }

    return n;
}
