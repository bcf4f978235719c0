/*
 * Keeps one daemon running: starts it, restarts it within a second when it
 * dies, stops it when asked.
 *
 * mdvr-keeper -n NAME -r RUNDIR -l LOG [-u USER] [-s SECONDS] -- program args
 *
 *   RUNDIR/NAME.keeper  the keeper's process id; held locked, so that a second
 *                       keeper of the same name leaves at once with status 0
 *   RUNDIR/NAME.pid     the daemon's process id
 *   LOG                 the daemon's standard output and error, appended
 *
 * TERM or INT: the daemon's process group gets TERM, after SECONDS (10) KILL.
 * HUP: the log is opened again at the next start, the daemon gets HUP.
 * When the keeper itself is killed, the kernel sends the daemon TERM.
 *
 * A daemon that lived less than 2 s is restarted after 500 ms, another one
 * after 100 ms.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mdvr/basics/json.h"


typedef struct {
    const char     *name;
    const char     *log;
    const char     *user;       /* NULL: stay who we are */
    char            keeper[512];
    char            pidfile[512];
    int             stop_s;
    char          **argv;
    pid_t           pid;        /* 0: not running */
    struct timespec started;
} keeper_t;


static int64_t
ms_between(const struct timespec *a, const struct timespec *b)
{
    return (b->tv_sec - a->tv_sec) * 1000
           + (b->tv_nsec - a->tv_nsec) / 1000000;
}


/* One JSON line in the daemon's own log. */
static void
say(const keeper_t *k, const char *level, const char *msg, int number)
{
    int              fd;
    char             stamp[40];
    uint8_t          line[512];
    ssize_t          n;
    mdvr_buf_t       b;
    mdvr_json_t      j;
    struct tm        tm;
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = (ssize_t) strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + n, sizeof(stamp) - (size_t) n, ".%03dZ",
             (int) (now.tv_nsec / 1000000));

    b = mdvr_buf(line, sizeof(line));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_cstr(&j, "time", stamp);
    mdvr_json_cstr(&j, "level", level);
    mdvr_json_cstr(&j, "msg", msg);
    mdvr_json_cstr(&j, "component", "keeper");
    mdvr_json_cstr(&j, "daemon", k->name);
    mdvr_json_i64(&j, "number", number);
    mdvr_json_object_end(&j);
    mdvr_buf_chr(&b, '\n');

    fd = open(k->log, O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC, 0640);

    if (fd != -1) {
        n = write(fd, b.p, b.len);
        (void) n;               /* a full disk must not stop the keeping */
        close(fd);
    }
}


static void
write_pid(const char *path, int fd, pid_t pid)
{
    char     text[32];
    int      len;
    ssize_t  n;

    len = snprintf(text, sizeof(text), "%d\n", (int) pid);

    if (ftruncate(fd, 0) == -1 || (n = pwrite(fd, text, (size_t) len, 0)) != len)
    {
        fprintf(stderr, "mdvr-keeper: %s: %s\n", path, strerror(errno));
    }
}


/* In the child: becomes the user and then the program. */
static void
become(const keeper_t *k, pid_t keeper)
{
    int             fd;
    sigset_t        none;
    struct passwd  *pw;

    setpgid(0, 0);

    fd = open("/dev/null", O_RDONLY);
    dup2(fd, 0);

    fd = open(k->log, O_WRONLY|O_APPEND|O_CREAT, 0640);

    if (fd != -1) {
        dup2(fd, 1);
        dup2(fd, 2);
    }

    if (k->user != NULL && geteuid() == 0) {
        pw = getpwnam(k->user);

        if (pw == NULL || initgroups(k->user, pw->pw_gid) == -1
            || setgid(pw->pw_gid) == -1 || setuid(pw->pw_uid) == -1)
        {
            fprintf(stderr, "mdvr-keeper: cannot become %s: %s\n", k->user,
                    strerror(errno));
            _exit(111);
        }
    }

    /* after setuid(), which forgets it */
    prctl(PR_SET_PDEATHSIG, SIGTERM);

    if (getppid() != keeper) {
        _exit(0);
    }

    for (fd = 3; fd < 64; fd++) {
        close(fd);
    }

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);

    execvp(k->argv[0], k->argv);
    fprintf(stderr, "mdvr-keeper: %s: %s\n", k->argv[0], strerror(errno));
    _exit(127);
}


static void
start(keeper_t *k)
{
    int    fd;
    pid_t  self = getpid();

    clock_gettime(CLOCK_MONOTONIC, &k->started);
    k->pid = fork();

    if (k->pid == 0) {
        become(k, self);
    }

    if (k->pid == -1) {
        say(k, "ERROR", "fork failed, errno in number", errno);
        k->pid = 0;
        return;
    }

    fd = open(k->pidfile, O_WRONLY|O_CREAT|O_CLOEXEC, 0644);

    if (fd != -1) {
        write_pid(k->pidfile, fd, k->pid);
        close(fd);
    }
}


/* Waits for a signal of `set`, at most `ms`; 0 when time is up. */
static int
wait_signal(const sigset_t *set, int64_t ms)
{
    struct timespec  ts = { ms / 1000, (ms % 1000) * 1000000 };
    int              sig;

    do {
        sig = sigtimedwait(set, NULL, &ts);
    } while (sig == -1 && errno == EINTR);

    return sig == -1 ? 0 : sig;
}


/* True when the daemon has gone; its status is in *status. */
static int
reap(keeper_t *k, int *status)
{
    pid_t  pid;
    int    st, gone = 0;

    while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
        if (pid == k->pid) {
            *status = st;
            k->pid = 0;
            gone = 1;
        }
    }

    return gone;
}


static void
stop(keeper_t *k, const sigset_t *set)
{
    int              status;
    pid_t            group = k->pid;
    struct timespec  t0, now;

    if (group != 0) {
        kill(-group, SIGTERM);
        clock_gettime(CLOCK_MONOTONIC, &t0);

        while (k->pid != 0) {
            wait_signal(set, 100);
            reap(k, &status);
            clock_gettime(CLOCK_MONOTONIC, &now);

            if (ms_between(&t0, &now) > k->stop_s * 1000) {
                say(k, "WARN", "did not stop in time, killed", k->stop_s);
                kill(-group, SIGKILL);
                t0 = now;
            }
        }

        kill(-group, SIGKILL);          /* what the daemon left behind */
    }

    unlink(k->pidfile);
    unlink(k->keeper);
}


static void
keep(keeper_t *k)
{
    int              sig, status;
    int64_t          lived, pause;
    sigset_t         set;
    struct timespec  now;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);

    pause = 0;
    start(k);

    for ( ;; ) {
        sig = wait_signal(&set, k->pid ? 60000 : pause);

        if (sig == SIGTERM || sig == SIGINT) {
            stop(k, &set);
            return;
        }

        if (sig == SIGHUP && k->pid) {
            kill(k->pid, SIGHUP);
        }

        if (reap(k, &status)) {
            clock_gettime(CLOCK_MONOTONIC, &now);
            lived = ms_between(&k->started, &now);
            pause = lived < 2000 ? 500 : 100;

            if (WIFSIGNALED(status)) {
                say(k, "ERROR", "died of a signal, starting it again",
                    WTERMSIG(status));
            } else {
                say(k, "ERROR", "exited with a status, starting it again",
                    WEXITSTATUS(status));
            }

        } else if (k->pid == 0 && sig == 0) {
            start(k);
        }
    }
}


int
main(int argc, char **argv)
{
    int          c, fd;
    pid_t        pid;
    keeper_t     k;
    const char  *run;

    memset(&k, 0, sizeof(k));
    k.stop_s = 10;
    run = NULL;

    while ((c = getopt(argc, argv, "+n:r:l:u:s:")) != -1) {
        switch (c) {
        case 'n':  k.name = optarg;  break;
        case 'r':  run = optarg;  break;
        case 'l':  k.log = optarg;  break;
        case 'u':  k.user = optarg;  break;
        case 's':  k.stop_s = atoi(optarg);  break;
        default:   return 2;
        }
    }

    if (k.name == NULL || run == NULL || k.log == NULL || optind == argc) {
        fprintf(stderr, "usage: mdvr-keeper -n name -r rundir -l log "
                "[-u user] [-s seconds] -- program [argument]...\n");
        return 2;
    }

    k.argv = argv + optind;
    snprintf(k.keeper, sizeof(k.keeper), "%s/%s.keeper", run, k.name);
    snprintf(k.pidfile, sizeof(k.pidfile), "%s/%s.pid", run, k.name);

    fd = open(k.keeper, O_RDWR|O_CREAT|O_CLOEXEC, 0644);

    if (fd == -1) {
        fprintf(stderr, "mdvr-keeper: %s: %s\n", k.keeper, strerror(errno));
        return 1;
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == -1) {
        return 0;
    }

    pid = fork();

    if (pid == -1) {
        perror("mdvr-keeper: fork");
        return 1;
    }

    if (pid != 0) {
        /* the lock lives on in the child, written before we leave */
        write_pid(k.keeper, fd, pid);
        return 0;
    }

    setsid();
    c = open("/dev/null", O_RDWR);
    dup2(c, 0);
    dup2(c, 1);
    dup2(c, 2);

    if (c > 2) {
        close(c);
    }

    keep(&k);

    return 0;
}
