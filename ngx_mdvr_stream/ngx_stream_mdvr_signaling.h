
/*
 * The signaling front: what its files share.
 *
 *   _module.c    directives, worker life, accepting a connection
 *   _link.c      moves the bytes of a connection, its timers
 *   _life.c      how a connection begins and ends, where it is found
 *   _message.c   what each message means and is answered with
 *   _register.c  V101: who is this device, may it come in
 *   _position.c  position reports: batches, live messages
 *   _alarm.c     alarms, decoded
 *   _note.c      offers of video, transparent data: kept like alarms
 *   _command.c   commands to the device and its V100
 *   _store.c     what becomes true in PostgreSQL before it is answered
 *   _batch.c     begins and ends of connections, many in one call
 *   _replay.c    what the journal held becomes true
 *   _node.c      the node's own record: started, alive
 *   _journal.c   the files that hold what PostgreSQL could not take
 *   _journal_replay.c  reads them back
 *   _keep.c      the files that hold what a worker has not stored yet
 *
 * A link is one TCP connection of a device.
 */


#ifndef _NGX_STREAM_MDVR_SIGNALING_H_INCLUDED_
#define _NGX_STREAM_MDVR_SIGNALING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_stream.h>

#include "mdvr/dc/alarm.h"
#include "mdvr/dc/frame.h"
#include "mdvr/dc/location.h"
#include "mdvr/dc/message.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/text.h"
#include "mdvr/dc/write.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"
#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_journal.h"
#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling_keep.h"


#define NGX_MDVR_SIG_READ        65536      /* bytes of one recv() */
#define NGX_MDVR_SIG_READS       4          /* of those per read event */
#define NGX_MDVR_SIG_ROUTE       120000     /* ms between route refreshes */
#define NGX_MDVR_SIG_LINGER      2000       /* ms for a clean close */


/* main level: one of each per worker */

typedef struct {
    ngx_uint_t                    enabled;      /* some server has it on */

    ngx_uint_t                    batch;        /* rows */
    ngx_msec_t                    batch_delay;
    ngx_uint_t                    batches;      /* in flight */
    ngx_msec_t                    batch_timeout;
    off_t                         spool_size;

    ngx_msec_t                    alarm_timeout;
    off_t                         journal_size;

    ngx_msec_t                    drain_delay;
    ngx_msec_t                    drain_spread;
} ngx_mdvr_sig_main_conf_t;


typedef struct {
    ngx_flag_t                    enable;
    ngx_msec_t                    register_timeout;
    ngx_msec_t                    idle_timeout;
    ngx_uint_t                    wire;      /* messages kept per device */
    ngx_msec_t                    send_timeout;
    ngx_msec_t                    heartbeat;
    size_t                        output_limit;
    ngx_uint_t                    per_address;
    ngx_uint_t                    unregistered;
    ngx_uint_t                    alarm_queue;
    ngx_uint_t                    command_queue;
    ngx_msec_t                    call_wait;        /* for an operator */
    ngx_flag_t                    alarm_video;
    ngx_str_t                     alarm_server; /* empty: C7212 is not sent */
    ngx_uint_t                    alarm_port;
} ngx_mdvr_sig_conf_t;


typedef enum {
    NGX_MDVR_LINK_NEW = 0,      /* connected, no V101 accepted yet */
    NGX_MDVR_LINK_ONLINE,       /* registered, in the worker's tables */
    NGX_MDVR_LINK_LEAVING,      /* was ONLINE; our side is shut down, reports
                                   that were on their way are still taken */
    NGX_MDVR_LINK_CLOSING       /* last bytes on their way, input ignored */
} ngx_mdvr_link_state_e;


typedef struct ngx_mdvr_link_s   ngx_mdvr_link_t;
typedef struct ngx_mdvr_store_s  ngx_mdvr_store_t;
typedef struct ngx_mdvr_task_s   ngx_mdvr_task_t;


struct ngx_mdvr_link_s {
    ngx_connection_t             *connection;
    ngx_stream_session_t         *session;
    ngx_mdvr_sig_conf_t          *conf;

    ngx_queue_t                   queue;        /* all links of the worker */
    ngx_mdvr_link_t              *by_serial;    /* next in bucket, ONLINE */
    ngx_mdvr_link_t              *by_number;

    mdvr_frame_t                  frame;

    u_char                       *tail;         /* bytes not consumed yet */
    u_char                       *out;          /* bytes not sent yet */
    uint32_t                      tail_len;
    uint32_t                      tail_size;
    uint32_t                      out_pos;
    uint32_t                      out_len;
    uint32_t                      out_size;
    uint32_t                      serial_hash;
    uint32_t                      firmware;     /* CRC-32 of its name */

    int64_t                       connected_at; /* unix ms */
    ngx_msec_t                    last_recv;
    ngx_msec_t                    last_sent;
    ngx_msec_t                    stale_since;  /* tail incomplete since */
    ngx_msec_t                    close_at;     /* NEW, CLOSING: deadline */
    ngx_msec_t                    drain_at;
    ngx_msec_t                    route_at;

    ngx_mdvr_claim_t              claim;
    ngx_mdvr_uuid_t               device_id;
    ngx_mdvr_uuid_t               tenant_id;

    ngx_mdvr_store_t             *stores;       /* waiting to be stored */
    ngx_mdvr_store_t            **stores_last;
    ngx_mdvr_task_t              *tasks;        /* commands */
    const char                   *reason;       /* why it is closing */

    uint16_t                      nstores;
    uint16_t                      ntasks;
    uint16_t                      number;       /* last one we gave out */
    int16_t                       utc_offset;   /* minutes */
    int16_t                       zone_next;    /* what a heartbeat showed */
    uint8_t                       record;       /* ngx_mdvr_sig.records when
                                                   it was last recorded */
    uint8_t                       encoding;     /* mdvr_text_e */
    uint8_t                       lates;        /* answers nobody expected */
    uint8_t                       serial_len;
    u_char                        serial[MDVR_SERIAL_MAX];

    unsigned                      state:2;
    unsigned                      in_tables:1;
    unsigned                      busy:1;       /* parser is running */
    unsigned                      dead:1;       /* to be finalized */
    unsigned                      lookup:1;     /* waits for a device */
    unsigned                      paused:1;     /* alarm queue is full */
    unsigned                      bus_layout:1;
    unsigned                      draining:1;
    unsigned                      counted:1;    /* addresses */
    unsigned                      counted_new:1;
    unsigned                      shut:1;       /* our side is shut down */
    unsigned                      zone_set:1;   /* utc_offset is a setting */
    unsigned                      zone_known:1; /* or was seen */
    unsigned                      zone_moves:1; /* zone_next is valid */
    unsigned                      recheck:1;    /* its row changed */
    unsigned                      rechecking:1;
};


/* this worker */

typedef struct {
    ngx_mdvr_sig_main_conf_t     *conf;
    ngx_mdvr_core_conf_t         *core;
    ngx_log_t                    *log;

    ngx_queue_t                   links;
    ngx_uint_t                    nlinks;
    ngx_uint_t                    nonline;
    ngx_uint_t                    nlookups;     /* links with `lookup` */
    ngx_mdvr_link_t             **serials;      /* hash tables of ONLINE */
    ngx_mdvr_link_t             **numbers;

    ngx_mdvr_journal_t            journal;      /* alarms, records */
    ngx_mdvr_journal_t            spool;        /* positions */

    u_char                       *scratch;      /* what one recv() brought */
    mdvr_message_t                message;      /* the one being handled */

    ngx_mdvr_link_t              *resolved_for; /* its lookup has ended: */
    ngx_int_t                     resolved_rc;
    ngx_mdvr_device_t             resolved;

    ngx_uint_t                    rechecks;     /* links with `recheck` */

    ngx_uint_t                    event;        /* counter in message ids */
    uint8_t                       records;      /* how often all devices had
                                                   to be recorded again */
} ngx_mdvr_sig_t;

extern ngx_mdvr_sig_t  ngx_mdvr_sig;

/* for timers that belong to no connection: debug logs look for one */
extern ngx_connection_t  ngx_mdvr_sig_dummy;

extern ngx_module_t  ngx_stream_mdvr_signaling_module;


#define ngx_mdvr_sig_offset(device)                                           \
    ((device)->utc_offset_minutes == NGX_MDVR_OFFSET_UNKNOWN                  \
     ? 0 : (device)->utc_offset_minutes)
#define ngx_mdvr_sig_view(s)       mdvr_str((s)->data, (s)->len)
#define ngx_mdvr_sig_str(name, v)                                             \
    (name)->data = (u_char *) (v).p;                                          \
    (name)->len = (v).len


/* -- _link.c -------------------------------------------------------------- */

/*
 * Sends a message of ours: `number`, `keyword`, `body` as for
 * mdvr_write_message(), stamped in the zone `offset` (minutes).  What the
 * peer does not take at once is kept, bounded.  NGX_ERROR: the link is
 * closing now.  NGX_DECLINED: the message is too long.
 */
ngx_int_t ngx_mdvr_link_write(ngx_mdvr_link_t *link, mdvr_str_t number,
    mdvr_str_t keyword, mdvr_str_t serial, mdvr_str_t workstation,
    int16_t offset, mdvr_str_t body);

/* The link's next own number as text into `number` (at least 6 bytes); its
 * length is returned. */
size_t ngx_mdvr_link_number(ngx_mdvr_link_t *link, u_char *number);

/* Looks at the kept bytes again: a lookup or a full queue held them up. */
void ngx_mdvr_link_resume(ngx_mdvr_link_t *link);

/* for _life.c */

#define ngx_mdvr_link_due(at)                                                 \
    ((ngx_msec_int_t) (ngx_current_msec - (at)) >= 0)

void ngx_mdvr_link_read_handler(ngx_event_t *rev);
void ngx_mdvr_link_write_handler(ngx_event_t *wev);
void ngx_mdvr_link_read(ngx_mdvr_link_t *link);
void ngx_mdvr_link_arm(ngx_mdvr_link_t *link);


/* -- _life.c -------------------------------------------------------------- */

ngx_int_t ngx_mdvr_link_tables(ngx_cycle_t *cycle);
void ngx_mdvr_link_accept(ngx_stream_session_t *s);

/* NEW -> ONLINE; the caller holds the claim. */
void ngx_mdvr_link_online(ngx_mdvr_link_t *link);

/*
 * Ends the link: `reason` is a literal that also becomes the offline reason.
 * `clean`: what was written is flushed, then our side is shut down and the
 * peer has NGX_MDVR_SIG_LINGER to close its own.
 */
void ngx_mdvr_link_close(ngx_mdvr_link_t *link, const char *reason,
    ngx_uint_t clean);

/* ONLINE -> LEAVING, for a reload. */
void ngx_mdvr_link_see_off(ngx_mdvr_link_t *link);

void ngx_mdvr_link_shutdown(ngx_mdvr_link_t *link);

ngx_mdvr_link_t *ngx_mdvr_link_find(mdvr_str_t serial);
ngx_mdvr_link_t *ngx_mdvr_link_find_number(uint64_t connection);

void ngx_mdvr_link_drain(void);
void ngx_mdvr_link_exit(void);


/* -- _message.c ----------------------------------------------------------- */

/*
 * Handles one message.  NGX_OK: go on.  NGX_AGAIN: it has to be presented
 * again after ngx_mdvr_link_resume().
 */
ngx_int_t ngx_mdvr_sig_message(ngx_mdvr_link_t *link, mdvr_str_t content);

/* C100 with `content` for the message at hand */
void ngx_mdvr_sig_c100(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    int16_t offset, mdvr_str_t content);

/*
 * The device of a serial.  NGX_OK: *device filled.  NGX_DECLINED: nobody
 * knows it.  NGX_AGAIN: asked for, ngx_mdvr_link_resume() follows.
 * NGX_ERROR: cannot be said now (PostgreSQL is away).
 */
ngx_int_t ngx_mdvr_sig_device(ngx_mdvr_link_t *link, mdvr_str_t serial,
    ngx_mdvr_device_t *device);


/* -- _register.c ---------------------------------------------------------- */

ngx_int_t ngx_mdvr_sig_v101(ngx_mdvr_link_t *link, const mdvr_message_t *m);

/* A heartbeat's time stamp: does the zone that we assume still fit? */
void ngx_mdvr_sig_clock(ngx_mdvr_link_t *link, const mdvr_message_t *m);

/* The device's record in PostgreSQL; `v` NULL: V101 said nothing new. */
void ngx_mdvr_sig_record(ngx_mdvr_link_t *link, const mdvr_v101_t *v,
    ngx_uint_t detected, int suggestion);

/* The link was ONLINE and ends. */
void ngx_mdvr_sig_offline(ngx_mdvr_link_t *link, const char *reason);

/* Whether a registered device still may be here: asks the cache, or
 * PostgreSQL, and closes the link if not. */
void ngx_mdvr_sig_recheck(ngx_mdvr_link_t *link);
void ngx_mdvr_sig_control(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg);

/* once a second: a few of the links that have to be looked at again */
void ngx_mdvr_sig_rechecks(void);

/*
 * A newer registration has the device: closes this one, and reports it as
 * contested when it was sending and the newer came from another address.
 * `address` NULL: of the holder that the registry of this node names.
 */
void ngx_mdvr_sig_replaced(ngx_mdvr_link_t *link, const ngx_str_t *address);

/* the same, asked for by another node: "<connection>,<address>" */
void ngx_mdvr_sig_close_order(const ngx_str_t *body);

/* NGX_MDVR_MAIL_CLOSE and the devices of a worker that died */
void ngx_mdvr_sig_mail(const ngx_mdvr_mail_t *mail);
void ngx_mdvr_sig_lost(const ngx_mdvr_device_t *device);


/* -- _position.c ---------------------------------------------------------- */

ngx_int_t ngx_mdvr_position_init(ngx_cycle_t *cycle);

/* Opens the file that outlives the worker; after the spool. */
ngx_int_t ngx_mdvr_position_open(ngx_str_t *path);

void ngx_mdvr_position_exit(void);

/* V114: one row, one live message.  `m` and `loc` are borrowed. */
void ngx_mdvr_position_report(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc);

/* A location inside another message: moves the last position only. */
void ngx_mdvr_position_seen(const ngx_mdvr_uuid_t *device_id, int16_t offset,
    const mdvr_message_t *m, const mdvr_location_t *loc);

void ngx_mdvr_position_replay(ngx_mdvr_journal_t *j, ngx_uint_t kind,
    ngx_str_t *params, ngx_uint_t n);


/* -- _alarm.c ------------------------------------------------------------- */

/* V2xx, V304, V305 and their kin; `device` is who sent it. */
ngx_int_t ngx_mdvr_sig_alarm(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device);
ngx_int_t ngx_mdvr_sig_v299(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device);


/* To the link's line; a link that has too many is not read for a while. */
void ngx_mdvr_alarm_store(ngx_mdvr_link_t *link, ngx_mdvr_store_t *store);


/* -- _note.c -------------------------------------------------------------- */

void ngx_mdvr_sig_v600(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc);
ngx_int_t ngx_mdvr_sig_v298(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device);


/* -- _store.c ------------------------------------------------------------- */

typedef enum {
    NGX_MDVR_STORE_ALARM = 1,
    NGX_MDVR_STORE_FILE,        /* V232 */
    NGX_MDVR_STORE_RELEASE,     /* V299 */
    NGX_MDVR_STORE_REGISTER,
    NGX_MDVR_STORE_OFFLINE,
    NGX_MDVR_STORE_COMMAND,     /* what became of a command */
    NGX_MDVR_STORE_HEALTH,      /* V142 */
    NGX_MDVR_STORE_HELD,        /* asks for commands that waited */
    NGX_MDVR_STORE_KNOCK,
    NGX_MDVR_STORE_REFUSED,     /* a known device may not come in */
    NGX_MDVR_STORE_CONTESTED,   /* two that say they are this device */
    NGX_MDVR_STORE_LATE,        /* an answer whose command is forgotten */
    NGX_MDVR_STORE_CLOCK,       /* the zone that a device's clock shows */
    NGX_MDVR_STORE_CALL,        /* V130 */
    NGX_MDVR_STORE_KINDS
} ngx_mdvr_store_kind_e;

#define NGX_MDVR_STORE_PARAMS  16

/*
 * One statement on its way to PostgreSQL or into the journal, one allocation.
 * Those with an answer to give hang on their link, which sends them one after
 * the other, so that the order of the device's messages is kept.
 */
struct ngx_mdvr_store_s {
    ngx_mdvr_store_t             *next;         /* on the link or in line */
    ngx_mdvr_link_t              *link;         /* NULL: gone, or none */
    ngx_mdvr_uuid_t               device_id;
    ngx_mdvr_uuid_t               tenant_id;
    uint8_t                       kind;
    uint8_t                       nparams;
    unsigned                      answer:1;     /* C100 when stored */
    int64_t                       sent_us;      /* to PostgreSQL, unix time */
    ngx_str_t                     params[NGX_MDVR_STORE_PARAMS];

    /* for the C100 */
    int16_t                       offset;
    mdvr_str_t                    number;
    mdvr_str_t                    keyword;
    mdvr_str_t                    serial;
    mdvr_str_t                    workstation;
    mdvr_str_t                    time;
    mdvr_str_t                    content;
};

/*
 * A new one with copies of the parameters (data == NULL is SQL null) and,
 * when `m` is given, of what its C100 with `content` needs.
 */
ngx_mdvr_store_t *ngx_mdvr_store_new(ngx_mdvr_store_kind_e kind,
    const ngx_mdvr_uuid_t *device_id, const ngx_mdvr_uuid_t *tenant_id,
    const ngx_str_t *params, ngx_uint_t n, const mdvr_message_t *m,
    int16_t offset, mdvr_str_t content);

/* With an answer: in the link's order, `link` set.  Owned from here on. */
void ngx_mdvr_store_queue(ngx_mdvr_store_t *store, ngx_mdvr_link_t *link);

/* Whether a failed call can never succeed: valid inside its `done` only. */
ngx_uint_t ngx_mdvr_store_refused(mdvr_rc_t rc);

/* The link ends: its stores go on without it. */
void ngx_mdvr_store_detach(ngx_mdvr_link_t *link);

/* The journal's `replay`, `joins` and `group`. */
void ngx_mdvr_store_replay(ngx_mdvr_journal_t *j, ngx_uint_t kind,
    ngx_str_t *params, ngx_uint_t n);
ngx_uint_t ngx_mdvr_store_joins(const ngx_mdvr_journal_record_t *record);
void ngx_mdvr_store_replay_group(ngx_mdvr_journal_t *j,
    const ngx_mdvr_journal_record_t *first);


/* -- _stored.c: what follows --------------------------------------------- */

typedef struct {
    ngx_uint_t                    kind;         /* ngx_mdvr_store_kind_e */
    const char                   *sql;          /* of the call */
    ngx_uint_t                    rows;         /* column 0 is a message */
    const ngx_mdvr_uuid_t        *tenant_id;
    const ngx_mdvr_uuid_t        *device_id;
    mdvr_str_t                    serial;       /* empty: not known */
    ngx_log_t                    *log;
    int64_t                       sent_us;      /* 0: not known */
} ngx_mdvr_stored_t;

/* Logs it, ends its spans and tells the tenant's viewers. */
void ngx_mdvr_stored(const ngx_mdvr_stored_t *s,
    const ngx_mdvr_pg_rows_t *rows);

/* Publishes an event message of a tenant. */
void ngx_mdvr_sig_publish(const ngx_mdvr_uuid_t *tenant_id, ngx_str_t *msg,
    ngx_uint_t flags);


/* -- _call.c -------------------------------------------------------------- */

/* V130, start and stop */
void ngx_mdvr_call_start(ngx_mdvr_link_t *link, const mdvr_message_t *m);
void ngx_mdvr_call_stop(ngx_mdvr_link_t *link, const mdvr_message_t *m);

/* An operator decided; 0: no call waits. */
ngx_uint_t ngx_mdvr_call_decide(ngx_mdvr_link_t *link, ngx_uint_t allow);

/* The link ends, and what waits with it. */
void ngx_mdvr_call_forget(ngx_mdvr_link_t *link);


/* -- _node.c -------------------------------------------------------------- */

/* once a second in each worker */
void ngx_mdvr_node_tick(void);


/* -- _command.c ----------------------------------------------------------- */

void ngx_mdvr_sig_order(const ngx_mdvr_order_t *order);

void ngx_mdvr_sig_v100(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc);

/* C7212, for a device that has just registered: nobody waits for its answer */
void ngx_mdvr_task_alarm_server(ngx_mdvr_link_t *link);

/* Asks PostgreSQL for commands that waited for this device. */
void ngx_mdvr_task_held(ngx_mdvr_link_t *link);
void ngx_mdvr_task_held_device(const ngx_mdvr_uuid_t *device_id);
void ngx_mdvr_task_held_rows(const ngx_mdvr_uuid_t *device_id,
    const ngx_mdvr_pg_rows_t *rows);

/* The link ends: whoever waits hears that the device is offline. */
void ngx_mdvr_task_detach(ngx_mdvr_link_t *link);


/*
 * Keeps a message of a registered device, or one to it (`out`), for diagnostics
 * (wire.c).  `body` are the tokens behind the header.
 */
void ngx_mdvr_sig_wire(ngx_mdvr_link_t *link, ngx_uint_t out,
    mdvr_str_t keyword, mdvr_str_t body);


#endif /* _NGX_STREAM_MDVR_SIGNALING_H_INCLUDED_ */
