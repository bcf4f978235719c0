/*
 * What every module of the suite may know about this node: the configuration
 * read from the main context, the name of this boot, and the slot of this
 * worker process.
 *
 * A slot is a number below NGX_MDVR_SLOTS that a worker claims by its pid when
 * it starts.  It is not ngx_worker: after a reload draining and new workers
 * would share that number.  A slot whose pid is gone is swept and reused.
 */

#ifndef NGX_MDVR_CORE_H
#define NGX_MDVR_CORE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"
#include "seal/mdvr_seal.h"
#include "ngx_mdvr_core/ngx_mdvr_uuid.h"


#define NGX_MDVR_SLOTS      256      /* two workers, a reload each 3 s */
#define NGX_MDVR_SLOT_BITS  8
#define NGX_MDVR_NO_SLOT    ((ngx_uint_t) -1)

#define NGX_MDVR_NODE_MAX   32

/* an ngx_str_t as the pure library's view */
#define ngx_mdvr_view(s)    mdvr_str((s)->data, (s)->len)


/* in the order of the first parameter of "mdvr_postgres" */

typedef enum {
    NGX_MDVR_PG_STREAM = 0,
    NGX_MDVR_PG_API,
    NGX_MDVR_PG_ROLES
} ngx_mdvr_pg_role_e;


typedef struct {
    ngx_str_t                 conninfo;      /* zero-terminated; empty: not set */
    ngx_uint_t                pool;          /* connections per worker */
    ngx_flag_t                prepare;
} ngx_mdvr_pg_conf_t;


typedef struct {
    ngx_str_t                 node;          /* [a-z0-9-]{1,32} */
    ngx_str_t                 node_url;      /* how peers reach this node */
    ngx_str_t                 state_dir;     /* absolute, no trailing slash */
    ngx_str_t                 public_host;   /* told to devices for media */
    ngx_uint_t                media_port;

    size_t                    zone_size;
    ngx_shm_zone_t           *zone;

    ngx_mdvr_pg_conf_t        pg[NGX_MDVR_PG_ROLES];

    ngx_str_t                 redis_url;     /* unix:<path> or redis://ip:port */
    ngx_str_t                 redis_password_file;
    void                     *redis_place;   /* what ngx_mdvr_redis.c read */

    ngx_str_t                 secret_key;    /* file, or "off" */
    mdvr_seal_ring_t         *seal;          /* never NULL */

    ngx_str_t                 bus_name;      /* empty: no bus configured */
    ngx_str_t                 bus_dir;
    ngx_uint_t                bus_streams;
    size_t                    bus_ring;      /* bytes per stream */

    ngx_str_t                 trace;         /* socket; empty: no spans */
    ngx_uint_t                trace_ratio;   /* millionths of the traces */
} ngx_mdvr_core_conf_t;


/* a mail from one worker of this node to another, see ngx_mdvr_mail_post() */

typedef struct {
    uint32_t                  kind;
    uint32_t                  from;          /* slot of the sender */
    uint64_t                  a;
    uint64_t                  b;
} ngx_mdvr_mail_t;

enum {
    NGX_MDVR_MAIL_CLOSE = 0,    /* signaling: a newer V101; a = connection */
    NGX_MDVR_MAIL_REVOKED,      /* everyone: the revocations changed */
    NGX_MDVR_MAIL_KINDS
};

typedef void (*ngx_mdvr_mail_pt)(const ngx_mdvr_mail_t *mail);


/*
 * The configuration, or NULL when the configuration file has no "mdvr_zone".
 * Valid for the cycle's life.
 */
ngx_mdvr_core_conf_t *ngx_mdvr_core_conf(ngx_cycle_t *cycle);

/*
 * The slot of this worker, NGX_MDVR_NO_SLOT in the master, in helper
 * processes and when nothing is configured.  Set before the init_process of
 * the other modules of the suite runs.
 */
extern ngx_uint_t  ngx_mdvr_slot;

/* UUIDv7 made when the zone was first laid out: the same in all workers and
 * over reloads, another one after a start.  Valid in workers. */
const ngx_mdvr_uuid_t *ngx_mdvr_boot(void);

/*
 * Whether this worker does the chores that one worker of the node has to do
 * (heartbeat of the node, sweeping).  Moves to another worker within a second
 * after that one has gone; ask anew each time.
 */
ngx_uint_t ngx_mdvr_is_chief(void);

/*
 * Puts a mail into the box of another worker of this node and wakes it; the
 * handler of that kind runs there from the event loop.
 *
 * NGX_OK: posted.  NGX_DECLINED: nobody has that slot.  NGX_BUSY: box full,
 * the mail is lost; who sends it must have a slower way to the same end.
 */
ngx_int_t ngx_mdvr_mail_post(ngx_uint_t slot, uint32_t kind, uint64_t a,
    uint64_t b);

/* To every slot but this one. */
void ngx_mdvr_mail_broadcast(uint32_t kind, uint64_t a, uint64_t b);

/* The same handlers, here and now. */
void ngx_mdvr_mail_local(uint32_t kind, uint64_t a, uint64_t b);

/* Several handlers of a kind are called in the order they were added.  To be
 * called from init_process. */
ngx_int_t ngx_mdvr_mail_handler(uint32_t kind, ngx_mdvr_mail_pt handler);

/*
 * Called once in each worker when it begins to drain (reload, quit): the
 * cycle's connections go on, database connections are given back as soon as
 * they are idle.  To be called from init_process.
 */
typedef void (*ngx_mdvr_drain_pt)(void);

ngx_int_t ngx_mdvr_drain_handler(ngx_mdvr_drain_pt handler);


extern ngx_module_t  ngx_mdvr_module;


#endif
