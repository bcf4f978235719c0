
/*
 * What the files of storing share and nobody else needs:
 *
 *   _store.c   alarms and records: sent, answered, kept in the journal
 *   _batch.c   begins and ends of connections, many in one call
 *   _replay.c  what was in the journal
 */


#ifndef _NGX_STREAM_MDVR_SIGNALING_STORE_H_INCLUDED_
#define _NGX_STREAM_MDVR_SIGNALING_STORE_H_INCLUDED_


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/basics/json.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"


#define NGX_MDVR_STORE_RECORD   10000       /* ms for one call of records */


typedef struct {
    const char     *sql;
    ngx_uint_t      nparams;
    unsigned        journal:1;
    unsigned        rows:1;             /* column 0 is a message or null */
} ngx_mdvr_store_call_t;


/* A document of connections that is being written. */

typedef struct {
    mdvr_buf_t      buf;
    mdvr_json_t     json;
    u_char         *data;
} ngx_mdvr_batch_t;


extern const ngx_mdvr_store_call_t  ngx_mdvr_store_calls[];    /* by kind */
extern ngx_uint_t                   ngx_mdvr_store_waiting;    /* records */


/* Journaled, answered when it is on stable storage, freed. */
void ngx_mdvr_store_journal(ngx_mdvr_store_t *store);

/* Behind the records that wait, and: those are sent that can be. */
void ngx_mdvr_store_add(ngx_mdvr_store_t *store);
void ngx_mdvr_store_line(void);

/* ngx_mdvr_pg_query() of a kind's statement; `timeout` in ms */
ngx_int_t ngx_mdvr_store_send(ngx_uint_t kind, ngx_str_t *params,
    ngx_msec_t timeout, ngx_mdvr_pg_done_pt done, void *data);

/* The begin or the end of a connection: into the next batch. */
void ngx_mdvr_batch_add(ngx_mdvr_store_t *store);

/*
 * Connections in one call: room for all of them (the sum of
 * ngx_mdvr_batch_room()) is taken, each is put, and what was put is sent or
 * let go.  NGX_ERROR: no memory, or the room did not do; NGX_BUSY as
 * ngx_mdvr_pg_query().  `kind` is NGX_MDVR_STORE_REGISTER or _OFFLINE.
 */
size_t ngx_mdvr_batch_room(ngx_uint_t kind, const ngx_str_t *params);
ngx_int_t ngx_mdvr_batch_begin(ngx_mdvr_batch_t *batch, size_t room);
void ngx_mdvr_batch_put(ngx_mdvr_batch_t *batch, ngx_uint_t kind,
    const ngx_str_t *params);
ngx_int_t ngx_mdvr_batch_send(ngx_mdvr_batch_t *batch, ngx_msec_t timeout,
    ngx_mdvr_pg_done_pt done, void *data);
void ngx_mdvr_batch_drop(ngx_mdvr_batch_t *batch);

/* Tells viewers and asks for commands that wait, when such a call is done. */
void ngx_mdvr_batch_told(const ngx_mdvr_pg_rows_t *rows);


#endif /* _NGX_STREAM_MDVR_SIGNALING_STORE_H_INCLUDED_ */
