/*
 * What the programs share that run beside nginx, one of each a node (sound,
 * h264, watch): they end by a signal and look at the frame bus.
 */

#ifndef MDVR_WORKER_NODE_H
#define MDVR_WORKER_NODE_H

#include <signal.h>
#include <stdbool.h>

#include "bus/mdvr_bus.h"

/* Set by SIGTERM and SIGINT after wk_node_begin(). */
extern volatile sig_atomic_t  wk_node_stop;

/* False after telling that MDVR_BUS is not set. */
bool wk_node_begin(const char *program);

/* Attaches as `program` to the bus of the environment, unless *bus is one
 * already; false: not yet, and a second has passed. */
bool wk_node_attach(mdvr_bus_t **bus, const char *program);

/* Waits for news of the bus for at most `ms`. */
void wk_node_wait(mdvr_bus_t *bus, int ms);

#endif /* MDVR_WORKER_NODE_H */
