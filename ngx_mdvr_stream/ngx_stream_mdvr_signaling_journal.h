
/*
 * A journal: calls that PostgreSQL could not take, kept in one file of the
 * node until it can.  Alarms and late record updates use one that is synced
 * before it is believed, positions use one that is not.
 */


#ifndef _NGX_STREAM_MDVR_SIGNALING_JOURNAL_H_INCLUDED_
#define _NGX_STREAM_MDVR_SIGNALING_JOURNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_thread_pool.h>


#define NGX_MDVR_JOURNAL_MAX_PARAMS  32
#define NGX_MDVR_JOURNAL_MAX_RECORD  (16 * 1024 * 1024)
#define NGX_MDVR_JOURNAL_GROUP       256            /* records */
#define NGX_MDVR_JOURNAL_GROUP_SIZE  (256 * 1024)   /* bytes */


typedef struct ngx_mdvr_journal_s  ngx_mdvr_journal_t;


typedef enum {
    NGX_MDVR_JOURNAL_STORED = 0,    /* done, go on with the next record */
    NGX_MDVR_JOURNAL_RETRY,         /* PostgreSQL is away, try again later */
    NGX_MDVR_JOURNAL_REFUSED,       /* never storable: set aside, go on */
    NGX_MDVR_JOURNAL_SINGLY         /* a group: its records one by one */
} ngx_mdvr_journal_verdict_e;


/*
 * Takes one record; ngx_mdvr_journal_replayed() must be called for it exactly
 * once, now or later.  `params` are valid until then.
 */
typedef void (*ngx_mdvr_journal_replay_pt)(ngx_mdvr_journal_t *j,
    ngx_uint_t kind, ngx_str_t *params, ngx_uint_t n);

/*
 * A record of the file in memory.  A param with data == NULL is SQL null; all
 * of it is the journal's and valid until ngx_mdvr_journal_replayed().
 */
typedef struct ngx_mdvr_journal_record_s  ngx_mdvr_journal_record_t;

struct ngx_mdvr_journal_record_s {
    ngx_mdvr_journal_record_t    *next;
    u_char                       *data;         /* as in the file */
    size_t                        size;
    ngx_uint_t                    kind;
    ngx_uint_t                    rows;
    ngx_uint_t                    nparams;
    ngx_str_t                     params[NGX_MDVR_JOURNAL_MAX_PARAMS];
};

/* 1: the record may be replayed together with its neighbours */
typedef ngx_uint_t (*ngx_mdvr_journal_joins_pt)(
    const ngx_mdvr_journal_record_t *record);

/*
 * Takes two to NGX_MDVR_JOURNAL_GROUP records that join, in their order, of
 * NGX_MDVR_JOURNAL_GROUP_SIZE bytes together; one verdict for all of them,
 * which is not NGX_MDVR_JOURNAL_REFUSED.
 */
typedef void (*ngx_mdvr_journal_group_pt)(ngx_mdvr_journal_t *j,
    const ngx_mdvr_journal_record_t *first);

/* `ok` is 1 when the record is on stable storage */
typedef void (*ngx_mdvr_journal_synced_pt)(void *data, ngx_uint_t ok);


/*
 * One per record that somebody waits for.  Owned by the caller until
 * `handler` was called; a caller who loses interest sets `handler` to NULL
 * and leaves the struct to the journal, which frees it (ngx_free).
 */
typedef struct ngx_mdvr_journal_waiter_s  ngx_mdvr_journal_waiter_t;

struct ngx_mdvr_journal_waiter_s {
    ngx_mdvr_journal_synced_pt    handler;
    void                         *data;
    ngx_mdvr_journal_waiter_t    *next;
};


struct ngx_mdvr_journal_s {
    /* set by the owner before open */
    const char                   *name;         /* for the log */
    ngx_str_t                     path;         /* NUL-terminated */
    off_t                         limit;        /* bytes on disk */
    ngx_mdvr_journal_replay_pt    replay;
    ngx_mdvr_journal_joins_pt     joins;        /* NULL: no groups */
    ngx_mdvr_journal_group_pt     group;
    ngx_log_t                    *log;
    ngx_thread_pool_t            *threads;      /* NULL: never synced */

    /* gauges and counters of this process */
    ngx_uint_t                    depth;        /* rows that wait, 0 unless
                                                   this process replays */
    ngx_uint_t                    appended;
    ngx_uint_t                    replayed;
    ngx_uint_t                    refused;
    ngx_uint_t                    damaged;

    /* private */
    u_char                        key[8];
    ngx_fd_t                      fd;
    ngx_fd_t                      lock_fd;
    ngx_event_t                   tick;

    off_t                         offset;       /* next record to replay */
    off_t                         scanned;      /* records counted up to */
    off_t                         punched;
    off_t                         torn_at;
    ngx_uint_t                    torn_ticks;
    ngx_mdvr_journal_record_t    *records;      /* being replayed */
    ngx_uint_t                    singly;       /* next ones: not in a group */

    ngx_thread_task_t            *task;
    ngx_mdvr_journal_waiter_t    *syncing;
    ngx_mdvr_journal_waiter_t    *waiting;
    ngx_mdvr_journal_waiter_t   **waiting_last;

    unsigned                      replaying:1;  /* this process replays */
    unsigned                      busy:1;       /* a record is being stored */
    unsigned                      inside:1;     /* `replay` is running */
    unsigned                      retry:1;
    unsigned                      sync_busy:1;
    unsigned                      full_logged:1;
};


/*
 * Opens (and creates) the journal of this process and starts looking for
 * records of an earlier one.  NGX_ERROR is logged.
 */
ngx_int_t ngx_mdvr_journal_open(ngx_mdvr_journal_t *j);

void ngx_mdvr_journal_close(ngx_mdvr_journal_t *j);

/*
 * Appends one call; `rows` is what it counts for in the depth.  A param with
 * data == NULL is SQL null.  With `w` the caller hears when the record is on
 * stable storage; w == NULL: it only has to survive this process.
 *
 * NGX_OK: accepted, `w` belongs to the journal until its handler ran.
 * NGX_BUSY: the file is at its limit.  NGX_ERROR: the disk refuses.
 */
ngx_int_t ngx_mdvr_journal_append(ngx_mdvr_journal_t *j, ngx_uint_t kind,
    ngx_str_t *params, ngx_uint_t n, ngx_uint_t rows,
    ngx_mdvr_journal_waiter_t *w);

void ngx_mdvr_journal_replayed(ngx_mdvr_journal_t *j,
    ngx_mdvr_journal_verdict_e verdict);

/* 1 when no process of the node has anything waiting */
ngx_uint_t ngx_mdvr_journal_empty(ngx_mdvr_journal_t *j);


#endif /* _NGX_STREAM_MDVR_SIGNALING_JOURNAL_H_INCLUDED_ */
