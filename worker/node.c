/* How a program beside nginx begins, waits for the frame bus, and ends. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/node.h"
#include "worker/worker.h"

volatile sig_atomic_t  wk_node_stop;


static void
wk_node_on_signal(int signo)
{
    wk_node_stop = 1;
}


bool
wk_node_begin(const char *program)
{
    struct sigaction  sa;

    if (getenv("MDVR_BUS") == NULL) {
        fprintf(stderr, "mdvr-worker %s: MDVR_BUS is not set\n", program);
        return false;
    }

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = wk_node_on_signal;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);

    return true;
}


bool
wk_node_attach(mdvr_bus_t **bus, const char *program)
{
    char         err[256];
    const char  *name = getenv("MDVR_BUS"), *dir = getenv("MDVR_BUS_DIR");

    if (*bus
        || mdvr_bus_attach(bus, dir ? dir : "/dev/shm", name, program, err,
                           sizeof(err))
           == MDVR_OK)
    {
        return true;
    }

    wk_log(WK_WARN, "waiting for the frame bus", "reason", err, NULL);
    (void) poll(NULL, 0, 1000);

    return false;
}


void
wk_node_wait(mdvr_bus_t *bus, int ms)
{
    uint64_t       dirty[MDVR_BUS_DIRTY_WORDS];
    struct pollfd  wait;

    wait.fd = mdvr_bus_fd(bus);
    wait.events = POLLIN;

    if (poll(&wait, 1, ms) == 1) {
        (void) mdvr_bus_woken(bus, dirty);
    }
}
