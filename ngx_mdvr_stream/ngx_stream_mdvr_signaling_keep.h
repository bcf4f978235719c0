
/*
 * What a worker has taken and not stored yet, in a file that outlives it.
 */


#ifndef _NGX_STREAM_MDVR_SIGNALING_KEEP_H_INCLUDED_
#define _NGX_STREAM_MDVR_SIGNALING_KEEP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "mdvr/basics/str.h"
#include "ngx_mdvr_core/ngx_mdvr_uuid.h"


/* one segment: the messages of one batch */

typedef struct ngx_mdvr_keep_s  ngx_mdvr_keep_t;


/* a message that a worker which is gone had taken; valid during the call */

typedef struct {
    ngx_mdvr_uuid_t               device_id;
    int64_t                       received;     /* unix ms */
    int16_t                       utc_offset;   /* minutes */
    unsigned                      bus_layout:1;
    mdvr_str_t                    content;      /* from its number on */
} ngx_mdvr_kept_t;

typedef void (*ngx_mdvr_keep_pt)(const ngx_mdvr_kept_t *kept);


/*
 * Claims a file "<path>.<n>" with room for `segments` batches of `size` bytes
 * each and hands over what workers that are gone left behind.  NGX_ERROR is
 * logged; everything works without it, as long as no worker dies.
 */
ngx_int_t ngx_mdvr_keep_open(ngx_str_t *path, ngx_uint_t segments,
    size_t size, ngx_mdvr_keep_pt adopt, ngx_log_t *log);

void ngx_mdvr_keep_close(void);

/* A free segment, or NULL: none, or no file. */
ngx_mdvr_keep_t *ngx_mdvr_keep_take(void);

/* NGX_OK: what happens to this process does not matter to it any more.
 * NGX_DECLINED: no room in this segment. */
ngx_int_t ngx_mdvr_keep_add(ngx_mdvr_keep_t *keep,
    const ngx_mdvr_kept_t *kept);

/* Its messages are stored; the segment is free.  NULL does nothing. */
void ngx_mdvr_keep_release(ngx_mdvr_keep_t *keep);

/* Looks for files that nobody holds any more; once a second by the chief. */
void ngx_mdvr_keep_adopt(void);


#endif /* _NGX_STREAM_MDVR_SIGNALING_KEEP_H_INCLUDED_ */
