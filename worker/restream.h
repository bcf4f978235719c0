/*
 * mdvr-worker restream: a live stream to an RTMP server.  See restream.c.
 */

#ifndef MDVR_WORKER_RESTREAM_H
#define MDVR_WORKER_RESTREAM_H

/*
 * `from` is the address of a stream.mp4, `to` an rtmp:// address; both are
 * overwritten, since they hold a token and everybody sees the arguments of a
 * process.  Returns the exit status: 0 when the stream ended.
 */
int wk_restream_main(char *from, char *to);

#endif /* MDVR_WORKER_RESTREAM_H */
