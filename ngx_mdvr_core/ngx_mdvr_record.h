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


typedef struct {
    mdvr_bus_ref_t    ref;                  /* a LIVE session that is live */
    ngx_mdvr_uuid_t   media_id;
    ngx_uint_t        duration_s;           /* from now on */
    ngx_uint_t        preroll_s;            /* before now, as far as it is there */
    ngx_str_t         request_id;
} ngx_mdvr_record_t;

/*
 * Begins; the recording ends by itself after its time or with the stream, and
 * goes to the worker as job "ingest", source "recording".  NGX_DECLINED: the stream
 * is not live.  NGX_BUSY: too many recordings.  NGX_ERROR: the file cannot be made.
 */
ngx_int_t ngx_mdvr_record_start(const ngx_mdvr_record_t *record);


#endif
