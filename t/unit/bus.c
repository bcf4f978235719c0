/*
 * The frame bus: sessions, rings, wake-ups, and what is taken back from the
 * dead.  Several attachments in one process behave like several processes
 * (their kernel locks are separate); the parts that need real ones fork.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bus/mdvr_bus.h"


static int   tests, failed;
static char  dir[64];


static void
ok(bool good, const char *fmt, ...)
{
    va_list  args;

    printf("%sok %d - ", good ? "" : "not ", ++tests);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    failed += !good;
}


static mdvr_bus_t *
attach(const char *what)
{
    char         err[256];
    mdvr_bus_t  *bus;

    if (mdvr_bus_attach(&bus, dir, "t", what, err, sizeof(err)) != MDVR_OK) {
        printf("Bail out! %s\n", err);
        exit(1);
    }

    return bus;
}


static mdvr_rc_t
create(uint32_t streams, size_t ring, char *err, size_t len)
{
    char             wake[128];
    mdvr_bus_conf_t  conf;

    snprintf(wake, sizeof(wake), "%s/wake", dir);

    memset(&conf, 0, sizeof(conf));
    conf.dir = dir;
    conf.name = "t";
    conf.wake_dir = wake;
    conf.streams = streams;
    conf.ring_size = ring;
    conf.uid = (uid_t) -1;
    conf.gid = (gid_t) -1;

    return mdvr_bus_create(&conf, err, len);
}


static mdvr_bus_start_t
request(uint8_t device, uint8_t channel)
{
    mdvr_bus_start_t  req;

    memset(&req, 0, sizeof(req));
    req.device_id[15] = device;
    req.tenant_id[0] = 7;
    req.serial = "00007";
    req.channel = channel;
    req.stream = 1;
    req.deadline_ms = mdvr_bus_clock_ms() + 20000;
    req.note = "{\"request_id\":\"r1\"}";

    return req;
}


/* A frame whose bytes follow from its number. */

static void
fill(uint8_t *p, size_t len, uint64_t n)
{
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t) (n * 31 + i);
    }
}


static bool
check(const uint8_t *p, size_t len, uint64_t n)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != (uint8_t) (n * 31 + i)) {
            return false;
        }
    }

    return true;
}


static mdvr_rc_t
put(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket, uint64_t n,
    size_t len, bool key)
{
    static uint8_t  buf[1 << 20];
    mdvr_bus_rec_t  rec;

    memset(&rec, 0, sizeof(rec));
    rec.len = (uint32_t) len;
    rec.pts_us = n;
    rec.flags = key ? MDVR_BUS_F_KEY : 0;
    fill(buf, len, n);

    return mdvr_bus_put(bus, ref, ticket, MDVR_BUS_RING_MEDIA, &rec, buf);
}


static bool
readable(mdvr_bus_t *bus, int ms)
{
    struct pollfd  p = { mdvr_bus_fd(bus), POLLIN, 0 };

    return poll(&p, 1, ms) == 1;
}


static void
sessions(void)
{
    char               note[256];
    bool               created;
    uint32_t           ticket, ticket2;
    int64_t            now = mdvr_bus_clock_ms();
    mdvr_bus_t        *a, *b;
    mdvr_bus_ref_t     ref, same, other;
    mdvr_bus_info_t    info;
    mdvr_bus_start_t   req;
    uint64_t           dirty[MDVR_BUS_DIRTY_WORDS];

    a = attach("a");
    b = attach("b");

    ok(mdvr_bus_process(a) != mdvr_bus_process(b),
       "two attachments have two numbers");

    req = request(1, 1);
    ok(mdvr_bus_start(a, &req, now, &ref, &created) == MDVR_OK && created,
       "a session is made");
    ok(mdvr_bus_start(b, &req, now, &same, &created) == MDVR_OK && !created
       && same.index == ref.index && same.generation == ref.generation,
       "the second request shares it");

    req.channel = 2;
    ok(mdvr_bus_start(b, &req, now, &other, &created) == MDVR_OK && created
       && other.index != ref.index, "another channel is another session");

    req.kind = MDVR_BUS_KIND_FILE;
    ok(mdvr_bus_start(b, &req, now, &same, &created) == MDVR_OK && created,
       "file sessions are not shared with live ones");
    ok(mdvr_bus_start(b, &req, now, &same, &created) == MDVR_OK && created,
       "nor with each other");

    ok(mdvr_bus_start(b, &req, now, &same, &created) == MDVR_E_BUSY,
       "a full directory is a normal answer");

    ok(mdvr_bus_info(b, ref, &info) == MDVR_OK
       && info.state == MDVR_BUS_STARTING && strlen(info.session) == 8
       && strcmp(info.serial, "00007") == 0 && info.channel == 1
       && !info.connected && !info.viewed && info.idle_since_ms == now,
       "another process sees it, starting");
    ok(mdvr_bus_find_session(b, info.session, 8, &same) == MDVR_OK
       && same.index == ref.index, "it is found by its wire session id");
    ok(mdvr_bus_find_session(b, "00000000", 8, &same) == MDVR_E_NOT_FOUND,
       "an unknown wire session id is not");
    ok(mdvr_bus_note(b, ref, note, sizeof(note)) == MDVR_OK
       && strcmp(note, "{\"request_id\":\"r1\"}") == 0,
       "the creator's note is kept");

    ok(mdvr_bus_own(a, ref, &ticket) == MDVR_OK, "a connection binds to it");
    ok(put(a, ref, ticket, 0, 100, false) == MDVR_OK
       && mdvr_bus_info(b, ref, &info) == MDVR_OK
       && info.state == MDVR_BUS_STARTING,
       "a frame that is no key frame does not make it live");

    ok(!mdvr_bus_followed(a, ref, now), "nobody follows");
    ok(mdvr_bus_watch(b, ref) == MDVR_OK, "another process watches");
    ok(mdvr_bus_followed(a, ref, now), "somebody does");
    ok(readable(a, 1000) && mdvr_bus_woken(a, dirty) == 1,
       "of which the writer learns");
    ok(put(a, ref, ticket, 1, 100, true) == MDVR_OK
       && mdvr_bus_info(b, ref, &info) == MDVR_OK
       && info.state == MDVR_BUS_LIVE && info.connected && info.live_ms,
       "a key frame does");
    ok(readable(b, 1000) && mdvr_bus_woken(b, dirty) == 1
       && (dirty[ref.index / 64] >> (ref.index % 64) & 1),
       "and wakes the watcher, who learns which session it is");
    ok(!readable(b, 0), "once");
    ok(!readable(a, 0), "the writer is not woken by itself");

    ok(mdvr_bus_viewer_add(b, ref) == MDVR_OK
       && mdvr_bus_viewers(a, ref, now) == 1, "a viewer counts");
    ok(mdvr_bus_viewer_lease(b, ref, 99, now, now + 15000) == MDVR_OK
       && mdvr_bus_viewers(a, ref, now + 14999) == 2
       && mdvr_bus_viewers(a, ref, now + 15000) == 1,
       "a viewer without a connection counts until its lease ends");

    mdvr_bus_want(b, ref, MDVR_BUS_WANT_KEY);
    ok(readable(a, 1000) && mdvr_bus_woken(a, dirty) == 1
       && mdvr_bus_take_wants(a, ref) == MDVR_BUS_WANT_KEY
       && mdvr_bus_take_wants(a, ref) == 0,
       "a wish for a key frame reaches the owner once");

    ok(mdvr_bus_own(b, ref, &ticket2) == MDVR_OK
       && put(a, ref, ticket, 2, 100, true) == MDVR_E_NOT_FOUND
       && put(b, ref, ticket2, 2, 100, true) == MDVR_OK,
       "a second connection takes over from the first");
    mdvr_bus_disown(a, ref, ticket, now, MDVR_BUS_END_FAILED, 0);
    ok(mdvr_bus_owns(b, ref, ticket2), "whose end does not matter then");

    mdvr_bus_viewer_del(b, ref, now + 5);
    ok(mdvr_bus_viewers(a, ref, now + 15000) == 0, "viewers leave");

    ok(mdvr_bus_end(a, ref, MDVR_BUS_END_STALLED) == MDVR_OK
       && mdvr_bus_end(a, ref, MDVR_BUS_END_STOPPED) == MDVR_E_NOT_FOUND,
       "a session ends once");
    ok(mdvr_bus_info(b, ref, &info) == MDVR_OK
       && info.state == MDVR_BUS_ENDING && info.end == MDVR_BUS_END_STALLED
       && strcmp(mdvr_bus_end_name(info.end), "stalled") == 0,
       "and its readers learn why");
    ok(put(b, ref, ticket2, 3, 100, true) == MDVR_E_NOT_FOUND,
       "nothing is written to it any more");

    req = request(1, 1);
    ok(mdvr_bus_start(a, &req, now, &same, &created) == MDVR_OK && created,
       "the same channel starts anew while the old one lingers");
    mdvr_bus_end(a, same, MDVR_BUS_END_STOPPED);
    mdvr_bus_end(a, other, MDVR_BUS_END_STOPPED);

    now = mdvr_bus_clock_ms();
    mdvr_bus_sweep(a, now + MDVR_BUS_LINGER_MS + 1000, NULL, NULL);
    ok(mdvr_bus_info(b, ref, &info) == MDVR_E_NOT_FOUND,
       "an ended session is free after its time");

    mdvr_bus_detach(a);
    mdvr_bus_detach(b);
}


static unsigned  gone_calls;

static void
gone(void *data, const mdvr_bus_info_t *info)
{
    gone_calls++;
    *(mdvr_bus_info_t *) data = *info;
}


static void
deadlines(void)
{
    bool              created;
    int64_t           now;
    uint32_t          ticket;
    mdvr_bus_t       *a;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info, last;
    mdvr_bus_start_t  req = request(9, 1);

    a = attach("a");

    /* whatever the test before left is over by then */

    now = mdvr_bus_clock_ms() + 100000;
    mdvr_bus_sweep(a, now, NULL, NULL);
    mdvr_bus_sweep(a, now + 10000, NULL, NULL);
    now += 20000;

    req.deadline_ms = now + 20000;
    mdvr_bus_start(a, &req, now, &ref, &created);

    mdvr_bus_sweep(a, now + 19000, gone, &last);
    ok(gone_calls == 0, "a session waits for its media connection");
    mdvr_bus_sweep(a, now + 20000, gone, &last);
    ok(gone_calls == 1 && last.end == MDVR_BUS_END_NO_MEDIA,
       "it ends when none came in time");
    mdvr_bus_sweep(a, now + 21000, gone, &last);
    ok(gone_calls == 1, "once");

    mdvr_bus_start(a, &req, now + 22000, &ref, &created);
    mdvr_bus_own(a, ref, &ticket);
    put(a, ref, ticket, 1, 10, true);
    mdvr_bus_disown(a, ref, ticket, now + 52000, MDVR_BUS_END_DISCONNECTED,
                    now + 27000);
    ok(mdvr_bus_info(a, ref, &info) == MDVR_OK
       && info.state == MDVR_BUS_STARTING && !info.connected,
       "a broken connection may come back");
    mdvr_bus_sweep(a, now + 26000, gone, &last);
    ok(gone_calls == 1, "by itself at first");
    mdvr_bus_sweep(a, now + 27000, gone, &last);
    mdvr_bus_sweep(a, now + 28000, gone, &last);
    ok(gone_calls == 2 && last.state == MDVR_BUS_STARTING
       && last.restarts == 1, "then it is asked once");
    mdvr_bus_sweep(a, now + 51000, gone, &last);
    ok(mdvr_bus_own(a, ref, &ticket) == MDVR_OK, "and does");
    mdvr_bus_disown(a, ref, ticket, now + 60000, MDVR_BUS_END_DISCONNECTED, 0);
    mdvr_bus_sweep(a, now + 60000, gone, &last);
    ok(gone_calls == 3 && last.state == MDVR_BUS_ENDING && last.end == MDVR_BUS_END_DISCONNECTED,
       "or does not");

    mdvr_bus_detach(a);
}


static void
ring(void)
{
    bool               created, good = true, order = true;
    uint8_t            buf[65536];
    uint32_t           ticket, n;
    uint64_t           last = 0;
    mdvr_rc_t          rc;
    mdvr_bus_t        *a, *b;
    mdvr_bus_rec_t     rec;
    mdvr_bus_ref_t     ref;
    mdvr_bus_reader_t  fast, slow, late;
    mdvr_bus_start_t   req = request(3, 1);
    const uint8_t     *p;
    mdvr_bus_init_t    init;
    uint8_t            got[MDVR_BUS_INIT_MAX];
    size_t             len;
    uint32_t           version, v2;

    a = attach("a");
    b = attach("b");

    ok(mdvr_bus_start(a, &req, mdvr_bus_clock_ms(), &ref, &created) == MDVR_OK
       && mdvr_bus_own(a, ref, &ticket) == MDVR_OK, "a stream");

    ok(mdvr_bus_get_init(b, ref, got, sizeof(got), &len, &version)
       == MDVR_AGAIN, "has no init segment at first");
    memset(&init, 0, sizeof(init));
    init.data = (const uint8_t *) "init";
    init.len = 4;
    init.codecs = "avc1.42c014";
    init.width = 352;
    ok(mdvr_bus_set_init(a, ref, ticket, &init, &version) == MDVR_OK
       && mdvr_bus_get_init(b, ref, got, sizeof(got), &len, &v2) == MDVR_OK
       && len == 4 && memcmp(got, "init", 4) == 0 && v2 == version,
       "then one with a version");

    mdvr_bus_reader_init(b, ref, MDVR_BUS_RING_MEDIA, false, &fast);
    mdvr_bus_reader_init(b, ref, MDVR_BUS_RING_MEDIA, false, &slow);

    ok(mdvr_bus_read(b, &fast, &rec, buf, sizeof(buf)) == MDVR_AGAIN,
       "nothing to read yet");
    put(a, ref, ticket, 1, 500, false);
    ok(mdvr_bus_read(b, &fast, &rec, buf, sizeof(buf)) == MDVR_AGAIN,
       "a reader begins with a key frame");
    put(a, ref, ticket, 2, 500, true);
    ok(mdvr_bus_read(b, &fast, &rec, buf, 10) == MDVR_E_NO_SPACE
       && rec.len == 500, "a buffer too small is said so");
    ok(mdvr_bus_read(b, &fast, &rec, buf, sizeof(buf)) == MDVR_OK
       && rec.pts_us == 2 && check(buf, 500, 2), "a frame arrives whole");

    for (n = 3; n < 20000; n++) {
        if (put(a, ref, ticket, n, (n * 7919) % 9000, n % 25 == 0) != MDVR_OK) {
            good = false;
        }

        rc = mdvr_bus_read(b, &fast, &rec, buf, sizeof(buf));

        if (rc != MDVR_OK || rec.pts_us != n || rec.len != (n * 7919) % 9000
            || !check(buf, rec.len, n))
        {
            good = false;
        }
    }

    ok(good && fast.overruns == 0 && fast.skipped == 0,
       "20000 frames of all sizes go round the ring unharmed");

    ok(mdvr_bus_read(b, &slow, &rec, buf, sizeof(buf)) == MDVR_OK
       && (rec.flags & MDVR_BUS_F_KEY) && slow.overruns == 1
       && rec.pts_us == 19975 && check(buf, rec.len, rec.pts_us),
       "a reader that slept goes on at the newest key frame");

    mdvr_bus_reader_init(b, ref, MDVR_BUS_RING_MEDIA, false, &late);
    n = 0;
    while (mdvr_bus_read(b, &late, &rec, buf, sizeof(buf)) == MDVR_OK) {
        order = order && (last == 0 || rec.pts_us == last + 1);
        last = rec.pts_us;
        n++;
    }
    ok(n == 25 && order && last == 19999,
       "a late reader gets the group of pictures so far");

    for (n = 20000; n < 20100; n++) {
        put(a, ref, ticket, n, 200, n % 25 == 0);
    }

    mdvr_bus_reader_init(b, ref, MDVR_BUS_RING_MEDIA, false, &late);
    ok(mdvr_bus_reader_back(b, &late, 60)
       && mdvr_bus_read(b, &late, &rec, buf, sizeof(buf)) == MDVR_OK
       && rec.pts_us == 20050 && (rec.flags & MDVR_BUS_F_KEY),
       "a reader may go back to an older key frame");
    ok(!mdvr_bus_reader_back(b, &late, 10), "but not beyond what it asked for");

    mdvr_bus_reader_init(b, ref, MDVR_BUS_RING_MEDIA, true, &late);

    ok(put(a, ref, ticket, 1, 131072 / 4 * 3 + 1, true) == MDVR_E_NO_SPACE,
       "a frame larger than three quarters of the ring is refused");

    put(a, ref, ticket, 5, 40000, true);
    ok(mdvr_bus_peek(b, &late, &rec, &p) == MDVR_OK && rec.pts_us == 5,
       "peek shows a frame in place");
    put(a, ref, ticket, 6, 90000, true);
    put(a, ref, ticket, 7, 40000, true);
    ok(mdvr_bus_take(b, &late, &rec) == MDVR_E_CONFLICT,
       "take tells that it was overwritten meanwhile");
    ok(mdvr_bus_read(b, &late, &rec, buf, sizeof(buf)) == MDVR_OK
       && rec.pts_us == 7 && check(buf, 40000, 7), "and goes on");

    mdvr_bus_end(a, ref, MDVR_BUS_END_STOPPED);
    mdvr_bus_detach(a);
    mdvr_bus_detach(b);
}


/* A writer process that goes as fast as it can, readers that verify. */

static void
two_processes(void)
{
    int                status;
    bool               created, good = true;
    pid_t              pid;
    uint8_t           *buf = malloc(1 << 17);
    uint32_t           ticket;
    uint64_t           frames = 0, last = 0, dirty[MDVR_BUS_DIRTY_WORDS];
    mdvr_rc_t          rc;
    mdvr_bus_t        *a, *b;
    mdvr_bus_rec_t     rec;
    mdvr_bus_ref_t     ref;
    mdvr_bus_info_t    info;
    mdvr_bus_reader_t  reader;
    mdvr_bus_start_t   req = request(4, 1);

    a = attach("reader");
    mdvr_bus_start(a, &req, mdvr_bus_clock_ms(), &ref, &created);
    mdvr_bus_viewer_add(a, ref);
    mdvr_bus_reader_init(a, ref, MDVR_BUS_RING_MEDIA, false, &reader);

    pid = fork();

    if (pid == 0) {
        b = attach("writer");
        mdvr_bus_own(b, ref, &ticket);

        for (uint64_t n = 1; n <= 200000; n++) {
            if (put(b, ref, ticket, n, 200 + (n * 7919) % 3000, n % 25 == 1)
                != MDVR_OK)
            {
                _exit(2);
            }
        }

        mdvr_bus_end(b, ref, MDVR_BUS_END_COMPLETE);
        _exit(0);                       /* without detaching, like a crash */
    }

    for ( ;; ) {

        rc = mdvr_bus_read(a, &reader, &rec, buf, 1 << 17);

        if (rc == MDVR_OK) {
            good = good && check(buf, rec.len, rec.pts_us)
                   && rec.pts_us > last
                   && rec.len == 200 + (rec.pts_us * 7919) % 3000;
            last = rec.pts_us;
            frames++;
            continue;
        }

        if (mdvr_bus_info(a, ref, &info) == MDVR_OK
            && info.state == MDVR_BUS_ENDING && last == 200000)
        {
            break;
        }

        if (!readable(a, 5000)) {
            good = false;
            break;
        }

        (void) mdvr_bus_woken(a, dirty);
    }

    waitpid(pid, &status, 0);

    ok(good && status == 0 && last == 200000,
       "a reader of another process sees only whole frames, in order, to the "
       "last");
    printf("# %llu of 200000 frames, %llu overruns\n",
           (unsigned long long) frames, (unsigned long long) reader.overruns);

    mdvr_bus_detach(a);
    free(buf);
}


static void
the_dead(void)
{
    int               status;
    bool              created;
    pid_t             pid;
    int64_t           now;
    uint32_t          ticket;
    mdvr_bus_t       *a, *b;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;
    mdvr_bus_start_t  req = request(5, 1);

    a = attach("a");
    mdvr_bus_start(a, &req, mdvr_bus_clock_ms(), &ref, &created);

    pid = fork();

    if (pid == 0) {
        b = attach("b");
        mdvr_bus_own(b, ref, &ticket);
        mdvr_bus_viewer_add(b, ref);
        put(b, ref, ticket, 1, 100, true);
        kill(getpid(), SIGKILL);
    }

    waitpid(pid, &status, 0);

    ok(mdvr_bus_info(a, ref, &info) == MDVR_OK && info.connected
       && info.state == MDVR_BUS_LIVE && info.viewers == 1,
       "a process is killed with a stream and a viewer");

    now = mdvr_bus_clock_ms() + 1000000;
    mdvr_bus_sweep(a, now, NULL, NULL);
    ok(mdvr_bus_info(a, ref, &info) == MDVR_OK && !info.connected
       && info.state == MDVR_BUS_STARTING && info.viewers == 0
       && info.idle_since_ms == now,
       "both are taken back, the device may return");
    ok(info.deadline_ms == now + 30000, "for 30 seconds");

    b = attach("b");
    ok(mdvr_bus_process(b) == mdvr_bus_process(a) + 1,
       "its number is given to another");
    mdvr_bus_watch(b, ref);
    mdvr_bus_end(a, ref, MDVR_BUS_END_STOPPED);
    ok(readable(b, 1000), "which is woken through a FIFO of its own");

    mdvr_bus_detach(b);
    mdvr_bus_detach(a);
}


static void
births(void)
{
    char         err[256], path[128];
    ino_t        before;
    struct stat  st;
    mdvr_bus_t  *a;

    ok(create(5000, 131072, err, sizeof(err)) == MDVR_E_UNAVAILABLE && err[0],
       "a number of streams out of range is refused in a sentence");
    ok(create(4, 131072, err, sizeof(err)) == MDVR_OK && !err[0],
       "the segment is made");

    snprintf(path, sizeof(path), "%s/mdvr-t", dir);
    stat(path, &st);
    before = st.st_ino;
    ok((st.st_mode & 0777) == 0660, "for its group, not for the world");
    ok(st.st_blocks < 1024, "sparse");

    ok(create(4, 131072, err, sizeof(err)) == MDVR_OK && stat(path, &st) == 0
       && st.st_ino == before, "and found again");

    a = attach("a");
    ok(create(8, 131072, err, sizeof(err)) == MDVR_OK && err[0],
       "another size waits until nobody uses it");
    ok(mdvr_bus_streams(a) == 4, "the old one stays");
    mdvr_bus_detach(a);

    ok(create(8, 131072, err, sizeof(err)) == MDVR_OK && !err[0],
       "then it is laid out anew");
    a = attach("a");
    ok(mdvr_bus_streams(a) == 8, "with the new size");
    mdvr_bus_detach(a);

    create(4, 131072, err, sizeof(err));
}


int
main(void)
{
    char  cmd[128];

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(dir, sizeof(dir), "/tmp/mdvr-bus.XXXXXX");

    if (mkdtemp(dir) == NULL) {
        printf("Bail out! mkdtemp()\n");
        return 1;
    }

    births();
    sessions();
    deadlines();
    ring();
    two_processes();
    the_dead();

    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    if (system(cmd) != 0) {
        failed++;
    }

    printf("1..%d\n", tests);

    return failed != 0;
}
