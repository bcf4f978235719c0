/*
 * Recording of a live stream on the server: the fragments of the frame bus, from
 * some seconds back on, become a file that the node's worker ingests.
 */

#ifndef NGX_MDVR_RECORD_H
#define NGX_MDVR_RECORD_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_uuid.h"


#define NGX_MDVR_RECORD_PREROLL  10         /* s, at most */
#define NGX_MDVR_RECORD_MOST     64         /* at once, of one worker */
#define NGX_MDVR_RECORD_ALARMS   32         /* ... up to which alarms begin one */


typedef struct {
    mdvr_bus_ref_t    ref;                  /* a LIVE session that is live */
    ngx_mdvr_uuid_t   media_id;
    ngx_mdvr_uuid_t   alarm_id;             /* nil: of none */
    ngx_uint_t        duration_s;           /* from now on */
    ngx_uint_t        preroll_s;            /* before now, as far as it is there */
    ngx_str_t         request_id;
} ngx_mdvr_record_t;

/*
 * Begins; the recording ends by itself after its time or with the stream, and
 * goes to the worker as job "ingest", source "recording".  NGX_DECLINED: the stream
 * is not live.  NGX_BUSY: too many recordings.  NGX_ERROR: the file cannot be made,
 * or that media item is being recorded.
 */
ngx_int_t ngx_mdvr_record_start(const ngx_mdvr_record_t *record);

/*
 * Tells all nodes that a device has raised an alarm for which its live streams
 * are to be recorded; lost when Redis is away.
 */
void ngx_mdvr_record_alarm(const ngx_mdvr_uuid_t *device,
    const ngx_mdvr_uuid_t *alarm);

/*
 * Records what is live of the device on this node: up to 10 s before and 20 s
 * after, once for each alarm and channel.  To be called in one worker.
 */
void ngx_mdvr_record_alarm_here(const ngx_mdvr_uuid_t *device,
    const ngx_mdvr_uuid_t *alarm);


#endif
