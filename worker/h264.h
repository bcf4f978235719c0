/*
 * mdvr-worker h264: H.265 cameras for who cannot show H.265.  See h264.c.
 */

#ifndef MDVR_WORKER_H264_H
#define MDVR_WORKER_H264_H

/*
 * Runs until SIGTERM.  MDVR_BUS, MDVR_BUS_DIR as for wk_sound_main();
 * MDVR_H264_STREAMS is how many at a time (2).  Returns the exit status.
 */
int wk_h264_main(void);

#endif /* MDVR_WORKER_H264_H */
