/*
 * The player of recordings that devices are sending.  See playback.c.
 */

#ifndef MDVR_WORKER_PLAYBACK_H
#define MDVR_WORKER_PLAYBACK_H

/*
 * Runs until SIGTERM, in a process of its own that has not attached to the bus.
 * MDVR_BUS and MDVR_BUS_DIR as for wk_sound_main().
 */
int wk_playback_main(void);

#endif /* MDVR_WORKER_PLAYBACK_H */
