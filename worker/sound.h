/*
 * mdvr-worker sound: the encoder of the frame bus.  See sound.c.
 */

#ifndef MDVR_WORKER_SOUND_H
#define MDVR_WORKER_SOUND_H

/*
 * Runs until SIGTERM.  MDVR_BUS is the name of the instance, MDVR_BUS_DIR where
 * its segment is (/dev/shm).  Returns the exit status.
 */
int wk_sound_main(void);

#endif /* MDVR_WORKER_SOUND_H */
