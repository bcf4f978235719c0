/*
 * mdvr-worker watch: analysers on live streams.  See watch.c.
 */

#ifndef MDVR_WORKER_WATCH_H
#define MDVR_WORKER_WATCH_H

#include "worker/worker.h"

/*
 * Runs until SIGTERM.  MDVR_BUS is the name of the instance, MDVR_BUS_DIR where
 * its segment is (/dev/shm); MDVR_AI_LIVE_S seconds between two pictures of a
 * stream, MDVR_AI_LIVE_STREAMS at a time, MDVR_AI_LIVE_REPEAT_S until a kind is
 * told again.  Returns the exit status.
 */
int wk_watch_main(const wk_conf_t *conf);

#endif /* MDVR_WORKER_WATCH_H */
