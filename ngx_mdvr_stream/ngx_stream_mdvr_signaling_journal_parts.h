
/*
 * What the files of the journal share and nobody else needs:
 *
 *   _journal.c         the file: opened, appended to, synced
 *   _journal_replay.c  the file read back, from its beginning
 */


#ifndef _NGX_STREAM_MDVR_SIGNALING_JOURNAL_PARTS_H_INCLUDED_
#define _NGX_STREAM_MDVR_SIGNALING_JOURNAL_PARTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <sys/file.h>
#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_journal.h"


#define NGX_MDVR_JOURNAL_HEAD        20
#define NGX_MDVR_JOURNAL_TICK        500        /* ms */


typedef struct {
    u_char                        key[8];
    uint32_t                      len;
    uint32_t                      crc;
    uint16_t                      rows;
    uint8_t                       kind;
    uint8_t                       params;
} ngx_mdvr_journal_head_t;


off_t ngx_mdvr_journal_size(ngx_mdvr_journal_t *j);
void ngx_mdvr_journal_tick(ngx_event_t *ev);


#endif /* _NGX_STREAM_MDVR_SIGNALING_JOURNAL_PARTS_H_INCLUDED_ */
