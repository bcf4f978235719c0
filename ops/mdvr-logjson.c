/*
 * Follows nginx's error log and appends each of its lines to another file as
 * one JSON object.
 *
 * mdvr-logjson [-f] FROM TO       -f: keep following, else until the end
 *
 * nginx writes a plain file and never waits for us; we may die and come back:
 * the position is kept in FROM.pos.  What has been converted is given back to
 * the file system by punching a hole, so FROM grows in name only; where holes
 * are not possible, FROM is emptied when all of it has been read.  Reload,
 * binary upgrade and several nginx writing to FROM are of no consequence.
 *
 *   2026/01/31 08:15:30 [error] 12#12: *5 text, client: 10.0.0.7, device: 00007
 *
 * becomes time (UTC; nginx runs with TZ=UTC; the milliseconds are those of the
 * moment of reading when that is the same second), level, msg, nginx_level,
 * pid, connection, and one member for each known name with a value, wherever it
 * stands: ", alarm_id: 0190..., client: 10.0.0.7".  The first of a name counts,
 * quoted text holds no names, and a line of HTTP has nginx's own names only: a
 * request's address or referrer cannot pass for one of ours.
 * Lines of another form (a sanitizer's report, say) become the msg of an ERROR.
 * Stream tokens (/live/<token>/) and bearer tokens are replaced.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mdvr/basics/json.h"


enum {
    line_max = 16384,           /* longer lines are cut */
    chunk = 65536,
    punch_at = 1 << 20
};

static const char *const  names[] = {

    /* nginx's */
    "client", "server", "request", "subrequest", "upstream", "host",
    "referrer", "bytes from/to client", "bytes from/to upstream",

    /* ours */
    "device", "device_id", "serial", "channel", "stream", "tenant_id",
    "user_id", "request_id", "trace_id", "alarm_id", "event_id", "media_id",
    "session", "job", "node", "reason", "viewers", NULL
};

enum { names_nginx = 9 };

typedef struct {
    const char  *last;
    unsigned     taken;         /* bits of `names` */
    int          http;
} names_t;

static const struct {
    const char  *nginx;
    const char  *ours;
} levels[] = {
    { "debug", "DEBUG" }, { "info", "INFO" }, { "notice", "INFO" },
    { "warn", "WARN" }, { "error", "ERROR" }, { "crit", "ERROR" },
    { "alert", "ERROR" }, { "emerg", "ERROR" }
};


/* Replaces tokens; works in place, what it writes is never longer. */
static size_t
redact(char *s, size_t len)
{
    static const char  mark[] = "[redacted]";
    static const struct { const char *lead; char stop; } secrets[] = {
        { "/live/", '/' }, { "Bearer ", ' ' }, { "token=", '&' }
    };

    char    *p, *end, *last;
    size_t   i, n;

    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        p = s;

        for ( ;; ) {
            n = strlen(secrets[i].lead);
            p = memmem(p, len - (size_t) (p - s), secrets[i].lead, n);

            if (p == NULL) {
                break;
            }

            p += n;
            last = s + len;

            for (end = p; end < last; end++) {
                if (*end == secrets[i].stop || *end == ' ' || *end == '"') {
                    break;
                }
            }

            if ((size_t) (end - p) >= sizeof(mark) - 1) {
                n = sizeof(mark) - 1;
                memcpy(p, mark, n);
                memmove(p + n, end, (size_t) (last - end));
                len -= (size_t) (end - p) - n;
                p += n;
            }
        }
    }

    return len;
}


/* The index of the known name that ", " at `p` introduces, or -1. */
static int
name_at(const names_t *t, const char *p)
{
    int     i;
    size_t  n;

    for (i = 0; names[i] && !(t->http && i == names_nginx); i++) {
        n = strlen(names[i]);

        if ((size_t) (t->last - p) >= n + 4 && p[0] == ',' && p[1] == ' '
            && memcmp(p + 2, names[i], n) == 0 && p[n + 2] == ':'
            && p[n + 3] == ' ')
        {
            return i;
        }
    }

    return -1;
}


/*
 * Where the next name is introduced, at or after `p`; *name is -1 and the end
 * is returned when there is none.  A quote that is never closed is a character.
 */
static const char *
next_name(const names_t *t, const char *p, int *name)
{
    const char  *end;

    for ( ; p < t->last; p++) {
        if (*p == '"') {
            end = memchr(p + 1, '"', (size_t) (t->last - p - 1));
            p = end ? end : p;

        } else if (*p == ',' && (*name = name_at(t, p)) >= 0) {
            return p;
        }
    }

    *name = -1;

    return t->last;
}


/*
 * nginx adds " while <what it does>" to what it is given, before ", client: ":
 * that is no part of the last value.
 */
static const char *
value_end(const char *value, const char *end)
{
    const char  *p;

    p = memmem(value, (size_t) (end - value), " while ", 7);

    return p && *value != '"' ? p
           : p && p > value + 1 && p[-1] == '"' ? p : end;
}


/* The members behind the message proper. */
static void
context(mdvr_json_t *j, names_t *t, const char *p, int name)
{
    int          next;
    char         key[32];
    size_t       i;
    unsigned     again;
    const char  *end, *value, *text;

    while (name >= 0) {
        text = names[name];
        again = t->taken & 1u << name;
        t->taken |= 1u << name;
        value = p + strlen(text) + 4;
        end = next_name(t, value, &next);

        for (i = 0; text[i] != '\0' && i < sizeof(key) - 1; i++) {
            key[i] = isalnum((unsigned char) text[i]) ? text[i] : '_';
        }

        key[i] = '\0';
        p = end;
        name = next;

        end = value_end(value, end);

        if (end - value >= 2 && value[0] == '"' && end[-1] == '"') {
            value++;
            end--;
        }

        if (end > value && !again) {
            mdvr_json_str(j, key, mdvr_str(value, (size_t) (end - value)));
        }
    }
}


static void
stamp(char *out, size_t size, const char *line)
{
    int              ms;
    char             now_s[32];
    struct tm        tm;
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(now_s, sizeof(now_s), "%Y/%m/%d %H:%M:%S", &tm);
    ms = (int) (now.tv_nsec / 1000000);

    if (line == NULL) {
        line = now_s;
    } else if (memcmp(line, now_s, 19) != 0) {
        ms = 0;
    }

    snprintf(out, size, "%.4s-%.2s-%.2sT%.8s.%03dZ", line, line + 5, line + 8,
             line + 11, ms);
}


/*
 * Takes "2026/01/31 08:15:30 [error] 12#12: " apart.  Returns what follows,
 * or NULL when the line does not begin like that.
 */
static const char *
head(const char *p, const char *last, size_t *level, long *pid)
{
    size_t       i, n;
    char        *end;
    const char  *form = "0000/00/00 00:00:00 [";

    for (i = 0; form[i] != '\0'; i++) {
        if (p + i >= last
            || (form[i] == '0' ? !isdigit((unsigned char) p[i])
                               : p[i] != form[i]))
        {
            return NULL;
        }
    }

    p += i;

    for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        n = strlen(levels[i].nginx);

        if ((size_t) (last - p) > n + 2
            && memcmp(p, levels[i].nginx, n) == 0 && p[n] == ']')
        {
            *level = i;
            *pid = strtol(p + n + 1, &end, 10);
            p = memchr(end, ':', (size_t) (last - end));

            return p == NULL ? NULL : (last - p > 2 ? p + 2 : last);
        }
    }

    return NULL;
}


/*
 * Appends a line as a whole or not at all: we are the only one who writes
 * there.  False: the disk is full, say.
 */
static bool
append(int out, const char *p, size_t len)
{
    size_t       done;
    ssize_t      n;
    struct stat  st;

    for (done = 0; done < len; ) {
        n = write(out, p + done, len - done);

        if (n > 0) {
            done += (size_t) n;

        } else if (n == 0 || errno != EINTR) {
            if (done && fstat(out, &st) == 0 && st.st_size >= (off_t) done) {
                (void) !ftruncate(out, st.st_size - (off_t) done);
            }

            return false;
        }
    }

    return true;
}


/* False: it could not be written, and is still to be. */
static bool
convert(int out, char *line, size_t len)
{
    static uint8_t  space[line_max * 7];

    long         pid;
    char         time[40], *end;
    size_t       level;
    mdvr_buf_t   b;
    mdvr_json_t  j;
    int          name;
    names_t      t;
    const char  *p, *last, *msg;
    long long    connection;

    len = redact(line, len);
    last = line + len;
    level = 0;
    pid = 0;
    connection = 0;
    p = head(line, last, &level, &pid);
    msg = p ? p : line;

    stamp(time, sizeof(time), p ? line : NULL);

    b = mdvr_buf(space, sizeof(space) - 1);
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_cstr(&j, "time", time);
    mdvr_json_cstr(&j, "level", p ? levels[level].ours : "ERROR");

    if (p == NULL) {
        mdvr_json_str(&j, "msg", mdvr_str(line, len));

    } else {
        if (*msg == '*' && isdigit((unsigned char) msg[1])) {
            connection = strtoll(msg + 1, &end, 10);
            msg = *end == ' ' ? end + 1 : end;
        }

        t = (names_t) { last, 0, 0 };
        t.http = memmem(msg, (size_t) (last - msg), ", request: \"", 12)
                 != NULL;
        p = next_name(&t, msg, &name);
        mdvr_json_str(&j, "msg", mdvr_str(msg, (size_t) (p - msg)));
        mdvr_json_cstr(&j, "nginx_level", levels[level].nginx);
        mdvr_json_i64(&j, "pid", pid);

        if (connection) {
            mdvr_json_i64(&j, "connection", connection);
        }

        context(&j, &t, p, name);
    }

    mdvr_json_object_end(&j);
    b.p[b.len++] = '\n';

    return append(out, (char *) b.p, b.len);
}


typedef struct {
    int     in;
    int     out;
    int     pos;
    off_t   at;                 /* converted so far */
    off_t   punched;
    size_t  have;
    int     skipping;           /* the rest of a line that was cut */
    char    buf[chunk];
} follow_t;


/*
 * Converts what is there; `all`: the last line even when it has no end.  Ends
 * early when nothing can be written: nginx's file still has the rest.
 */
static void
drain(follow_t *f, int all)
{
    char        *nl, *p;
    size_t       left, n;
    ssize_t      got;
    struct stat  st;

    if (fstat(f->in, &st) == 0 && st.st_size < f->at) {
        f->at = f->punched = 0;         /* somebody emptied it */
        f->have = 0;
    }

    for ( ;; ) {
        got = pread(f->in, f->buf + f->have, sizeof(f->buf) - f->have,
                    f->at + (off_t) f->have);

        if (got <= 0 && !(all && f->have)) {
            break;
        }

        f->have += got > 0 ? (size_t) got : 0;
        p = f->buf;
        left = f->have;

        while (left) {
            nl = memchr(p, '\n', left);

            if (nl == NULL && left < line_max && !(all && got <= 0)) {
                break;
            }

            n = nl ? (size_t) (nl - p) : (left < line_max ? left : line_max);

            if (!f->skipping && n > 0
                && !convert(f->out, p, n < line_max ? n : line_max))
            {
                f->have = 0;            /* it is read again, later */
                (void) !pwrite(f->pos, &f->at, sizeof(f->at), 0);
                return;
            }

            f->skipping = nl == NULL;
            n += nl != NULL;
            p += n;
            left -= n;
            f->at += (off_t) n;
        }

        memmove(f->buf, p, left);
        f->have = left;

        if (pwrite(f->pos, &f->at, sizeof(f->at), 0) != sizeof(f->at)) {
            return;
        }
    }

    if (f->at - f->punched < punch_at) {
        return;
    }

    if (fallocate(f->in, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0,
                  f->at & ~(off_t) 4095) == -1
        && fstat(f->in, &st) == 0 && st.st_size == f->at
        && ftruncate(f->in, 0) == 0)
    {
        f->at = 0;
    }

    f->punched = f->at;
}


int
main(int argc, char **argv)
{
    int              c, following, watch;
    char             name[512], events[4096];
    struct pollfd    pfd;
    static follow_t  f;

    following = 0;

    while ((c = getopt(argc, argv, "f")) != -1) {
        if (c != 'f') {
            return 2;
        }

        following = 1;
    }

    if (argc - optind != 2) {
        fprintf(stderr, "usage: mdvr-logjson [-f] from to\n");
        return 2;
    }

    snprintf(name, sizeof(name), "%s.pos", argv[optind]);
    f.in = open(argv[optind], O_RDWR|O_CREAT|O_CLOEXEC, 0640);
    f.out = open(argv[optind + 1], O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC, 0640);
    f.pos = open(name, O_RDWR|O_CREAT|O_CLOEXEC, 0640);

    if (f.in == -1 || f.out == -1 || f.pos == -1) {
        perror("mdvr-logjson");
        return 1;
    }

    if (pread(f.pos, &f.at, sizeof(f.at), 0) != sizeof(f.at) || f.at < 0) {
        f.at = 0;
    }

    watch = inotify_init1(IN_NONBLOCK|IN_CLOEXEC);
    inotify_add_watch(watch, argv[optind], IN_MODIFY);
    pfd = (struct pollfd) { .fd = watch, .events = POLLIN };

    drain(&f, !following);

    while (following) {
        poll(&pfd, watch == -1 ? 0 : 1, 1000);

        while (read(watch, events, sizeof(events)) > 0) { /* only a hint */ }

        drain(&f, 0);
    }

    return 0;
}
