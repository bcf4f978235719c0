/*
 * mdvr-sim: one device or thousands in one process.  Connects them at a
 * chosen rate, lets each drive, film, raise alarms and obey, counts, and
 * leaves politely.  docs/simulator.md
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/files.h"
#include "sim/options.h"
#include "sim/session.h"

#define SIM_TICK_US  10000

sim_track_t         sim_track;
struct sockaddr_in  sim_server;
sim_device_t       *sim_devices;

static unsigned     sim_next;               /* device to be connected next */
static double       sim_connect_budget, sim_rate_budget;
static uint64_t     sim_tick_us;
static sim_timer_t  sim_tick, sim_end, sim_report;
static sim_io_t     sim_signals, sim_orders;


/* ---- orders ----------------------------------------------------------------------- */

/* "<serial|*> <verb> [word] [rest]"; what a test or a person asks for */
static void
sim_order(sim_device_t *d, const char *verb, const char *word,
    const char *rest)
{
    unsigned  channel;

    channel = (unsigned) atoi(word);
    channel = channel < 1 || channel > sim_options.channels ? 1 : channel;

    if (strcmp(verb, "alarm") == 0) {
        sim_alarm_raise(d, word, rest[0] ? rest : NULL, 3600, false);

    } else if (strcmp(verb, "clip") == 0) {

        /* an alarm of `rest` seconds that is followed by its film */

        sim_alarm_raise(d, word, NULL, rest[0] ? atof(rest) : 5, true);

    } else if (strcmp(verb, "end") == 0) {
        sim_alarm_end(d, word);

    } else if (strcmp(verb, "file") == 0) {
        sim_alarm_file(d, channel, sim_device_time(d) - 20, 20, false);

    } else if (strcmp(verb, "picture") == 0) {
        sim_alarm_file(d, channel, sim_device_time(d), 0, true);

    } else if (strcmp(verb, "position") == 0) {
        if (d->state == SIM_ONLINE) {
            sim_device_position(d, 1);
        }

    } else if (strcmp(verb, "call") == 0) {
        if (d->state == SIM_ONLINE) {
            sim_device_call(d, strcmp(word, "off") != 0);
        }

    } else if (strcmp(verb, "late") == 0) {
        d->late = strcmp(word, "off") != 0;

    } else if (strcmp(verb, "drop") == 0) {
        sim_device_lose(d, strcmp(word, "reset") == 0,
                        rest[0] ? atof(rest) : 1);

    } else if (strcmp(verb, "stop") == 0) {
        sim_session_end_all(d);
        sim_device_lose(d, false, -1);

    } else if (strcmp(verb, "start") == 0) {
        if (d->state == SIM_STOPPED || d->state == SIM_IDLE) {
            sim_timer_stop(&d->life);
            sim_device_connect(d);
        }

    } else if (strcmp(verb, "break-media") == 0) {
        sim_session_end_all(d);

    } else {
        sim_log(false, "unknown order \"%s\"", verb);
    }
}


static void
sim_order_line(char *line)
{
    char          serial[32], verb[32], word[32];
    int           n;
    unsigned      i;
    sim_device_t  *d;

    verb[0] = word[0] = '\0';
    n = 0;

    if (sscanf(line, "%31s %31s%n %31s%n", serial, verb, &n, word, &n) < 1) {
        return;
    }

    if (strcmp(serial, "quit") == 0) {
        sim_loop_stop();
        return;
    }

    while (line[n] == ' ') {
        n++;
    }

    if (strcmp(serial, "*") == 0) {
        for (i = 0; i < sim_options.devices; i++) {
            sim_order(&sim_devices[i], verb, word, line + n);
        }

        return;
    }

    d = sim_device_find(mdvr_cstr(serial));

    if (d == NULL) {
        sim_log(false, "no device \"%s\"", serial);
        return;
    }

    sim_order(d, verb, word, line + n);
}


static void
sim_orders_ready(sim_io_t *io, uint32_t events)
{
    char          *end, *p;
    ssize_t        n;
    static char    line[4096];
    static size_t  have;

    (void) events;
    n = read(io->fd, line + have, sizeof(line) - 1 - have);

    if (n <= 0) {
        return;
    }

    have += (size_t) n;
    line[have] = '\0';
    p = line;

    while ((end = strchr(p, '\n')) != NULL) {
        *end = '\0';
        sim_order_line(p);
        p = end + 1;
    }

    have = strlen(p);
    memmove(line, p, have + 1);

    if (have == sizeof(line) - 1) {
        have = 0;                           /* nobody writes such lines */
    }
}


static bool
sim_orders_open(void)
{
    if (sim_options.control[0] == '\0') {
        return true;
    }

    if (mkfifo(sim_options.control, 0600) != 0 && errno != EEXIST) {
        perror(sim_options.control);
        return false;
    }

    /* read and write: the FIFO stays open when a writer leaves */

    sim_orders.fd = open(sim_options.control, O_RDWR|O_NONBLOCK|O_CLOEXEC);
    sim_orders.ready = sim_orders_ready;

    return sim_orders.fd >= 0 && sim_io_add(&sim_orders, EPOLLIN);
}


/* ---- time ---------------------------------------------------------------------------- */

/* positions of --rate: whoever is registered takes its turn */
static void
sim_load(double seconds)
{
    unsigned         n, tried;
    static unsigned  turn;

    sim_rate_budget += sim_options.rate * seconds;

    /* behind by more than two seconds: what was not sent stays unsent */

    if (sim_rate_budget > sim_options.rate * 2) {
        sim_rate_budget = sim_options.rate * 2;
    }

    for (tried = 0;
         sim_rate_budget >= 1 && tried < sim_options.devices;
         turn = (turn + 1) % sim_options.devices)
    {
        n = sim_rate_budget < sim_options.batch ? (unsigned) sim_rate_budget
                                                : sim_options.batch;

        if (sim_options.rate * seconds < sim_options.batch
            && n < sim_options.batch)
        {
            break;                          /* let a whole batch gather */
        }

        if (sim_devices[turn].state != SIM_ONLINE
            || sim_conn_backlog(&sim_devices[turn].conn) > 65536)
        {
            tried++;
            continue;
        }

        sim_device_positions(&sim_devices[turn], n);
        sim_rate_budget -= n;
        tried = 0;
    }
}


static void
sim_on_tick(void *data)
{
    double    seconds;
    uint64_t  now;

    (void) data;
    now = sim_now_us();
    seconds = (double) (now - sim_tick_us) / 1e6;
    sim_tick_us = now;

    if (sim_next < sim_options.devices) {
        sim_connect_budget += sim_options.connect_rate * seconds;

        while (sim_connect_budget >= 1 && sim_next < sim_options.devices) {
            sim_device_connect(&sim_devices[sim_next++]);
            sim_connect_budget -= 1;
        }
    }

    if (sim_options.rate > 0) {
        sim_load(seconds);
    }

    if (sim_next < sim_options.devices || sim_options.rate > 0) {
        sim_timer_set(&sim_tick, SIM_TICK_US);
    }
}


static void
sim_on_report(void *data)
{
    (void) data;
    sim_stats_line();
    sim_timer_set(&sim_report, (uint64_t) (sim_options.report_s * 1e6));
}


static void
sim_on_end(void *data)
{
    (void) data;
    sim_loop_stop();
}


static void
sim_signals_ready(sim_io_t *io, uint32_t events)
{
    struct signalfd_siginfo  s;

    (void) events;

    while (read(io->fd, &s, sizeof(s)) == (ssize_t) sizeof(s)) {

        if (s.ssi_signo == SIGUSR1) {
            sim_stats_line();

            if (sim_options.stats_json[0]) {
                sim_stats_write(sim_options.stats_json);
            }

        } else {
            sim_loop_stop();
        }
    }
}


static bool
sim_signals_open(void)
{
    sigset_t  set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);

    sim_signals.fd = signalfd(-1, &set, SFD_NONBLOCK|SFD_CLOEXEC);
    sim_signals.ready = sim_signals_ready;

    return sim_signals.fd >= 0 && sim_io_add(&sim_signals, EPOLLIN);
}


/* ---- the program ----------------------------------------------------------------------- */

static int
sim_dump(void)
{
    FILE            *f;
    size_t           n;
    uint8_t          block[65536];
    uint64_t         at;
    sim_recording_t  r;

    if (!sim_file_open(&r, sim_options.clip_dir, sim_options.codec,
                       mdvr_cstr(sim_options.serial),
                       mdvr_cstr(sim_dump_path), sim_options.channels,
                       sim_wall_us() / 1000000
                       + sim_options.clock_minutes * 60))
    {
        fprintf(stderr, "mdvr-sim: no recording \"%s\"\n", sim_dump_path);
        return 1;
    }

    f = sim_dump_to[0] ? fopen(sim_dump_to, "wb") : stdout;

    if (f == NULL) {
        perror(sim_dump_to);
        return 1;
    }

    for (at = 0; (n = sim_file_read(&r, at, block, sizeof(block))) > 0;
         at += n)
    {
        if (fwrite(block, 1, n, f) != n) {
            perror("write");
            return 1;
        }
    }

    return fclose(f) == 0 ? 0 : 1;
}


static void
sim_leave(void)
{
    unsigned  i;

    if (sim_options.stats_json[0]) {
        sim_stats_write(sim_options.stats_json);
    }

    for (i = 0; i < sim_options.devices; i++) {
        sim_session_end_all(&sim_devices[i]);
        sim_device_lose(&sim_devices[i], false, -1);
    }

    if (sim_options.control[0]) {
        unlink(sim_options.control);
    }
}


int
main(int argc, char **argv)
{
    int            rc;
    unsigned       i;
    struct rlimit  files;

    rc = sim_options_read(argc, argv);

    if (rc >= 0) {
        return rc;
    }

    if (sim_dump_path[0]) {
        return sim_dump();
    }

    if (!sim_address(sim_options.host, sim_options.signal_port, &sim_server))
    {
        fprintf(stderr, "mdvr-sim: unknown host \"%s\"\n", sim_options.host);
        return 1;
    }

    if (!sim_track_load(&sim_track, sim_options.track[0] ? sim_options.track
                                                         : NULL))
    {
        return 1;
    }

    if (sim_options.origin_set) {
        sim_track_move(&sim_track, sim_options.origin_lat,
                       sim_options.origin_lon);
    }

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files);
    }

    if (!sim_loop_init() || !sim_signals_open() || !sim_orders_open()) {
        perror("mdvr-sim");
        return 1;
    }

    sim_devices = sim_alloc(sim_options.devices * sizeof(sim_device_t));

    for (i = 0; i < sim_options.devices; i++) {
        sim_device_init(&sim_devices[i], i);
    }

    sim_tick.fire = sim_on_tick;
    sim_end.fire = sim_on_end;
    sim_report.fire = sim_on_report;
    sim_connect_budget = 1;                 /* the first at once */
    sim_tick_us = sim_now_us();
    sim_timer_set(&sim_tick, 0);

    if (sim_options.duration_s > 0) {
        sim_timer_set(&sim_end, (uint64_t) (sim_options.duration_s * 1e6));
    }

    if (sim_options.report_s > 0) {
        sim_timer_set(&sim_report, (uint64_t) (sim_options.report_s * 1e6));
    }

    sim_loop_run();
    sim_leave();

    return 0;
}
