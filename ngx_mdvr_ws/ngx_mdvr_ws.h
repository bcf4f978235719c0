/*
 * The push module: who is connected, to which tenant's messages, and what each
 * may receive.
 *
 *   hub      one per tenant and worker: subscribed to mdvr:event:<tenant>;
 *            puts events into the order of their numbers and fetches from
 *            PostgreSQL what did not arrive, so that clients see each once
 *   visible  one per restricted user and worker: the devices it may see,
 *            read again every few seconds
 *   client   one per socket or event stream: authenticated, subscribed,
 *            replaying or live
 *   sse      what an event stream is instead of a WebSocket
 */

#ifndef NGX_MDVR_WS_H
#define NGX_MDVR_WS_H


#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_http.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_push.h"
#include "ngx_mdvr_core/ngx_mdvr_websocket.h"
#include "ngx_mdvr_core/ngx_mdvr_websocket_queue.h"


typedef enum {
    NGX_MDVR_TOPIC_TELEMETRY = 0,
    NGX_MDVR_TOPIC_ALARM,
    NGX_MDVR_TOPIC_DEVICE,
    NGX_MDVR_TOPIC_MEDIA,
    NGX_MDVR_TOPIC_COMMAND,
    NGX_MDVR_TOPICS
} ngx_mdvr_topic_e;

extern const ngx_str_t  ngx_mdvr_topic_names[NGX_MDVR_TOPICS];
extern const uint32_t   ngx_mdvr_topic_scopes[NGX_MDVR_TOPICS];


/* numbers of events that nobody has missed, but a restore left out */

#define NGX_MDVR_EVENTS_LEAP     500000000

#define NGX_MDVR_CLIENT_TOKENS   100     /* messages at once */
#define NGX_MDVR_CLIENT_DEVICES  10000   /* of a filter */


typedef struct {
    ngx_mdvr_ws_conf_t        ws;
    ngx_msec_t                auth_timeout;
    ngx_msec_t                drain;
    ngx_uint_t                per_address;
    ngx_uint_t                per_user;
} ngx_mdvr_push_conf_t;


typedef struct ngx_mdvr_hub_s      ngx_mdvr_hub_t;
typedef struct ngx_mdvr_visible_s  ngx_mdvr_visible_t;
typedef struct ngx_mdvr_client_s   ngx_mdvr_client_t;
typedef struct ngx_mdvr_sse_s      ngx_mdvr_sse_t;


/* one message on its way to the clients of a hub */

typedef struct {
    ngx_mdvr_topic_e          topic;
    int64_t                   seq;           /* of an event; 0: telemetry */
    ngx_mdvr_uuid_t           device;
    ngx_str_t                 text;
    ngx_mdvr_ws_payload_t    *payload;       /* made for the first taker */
    ngx_mdvr_ws_payload_t    *event;         /* the same for event streams */
    uint64_t                  number;        /* of this worker's messages */
} ngx_mdvr_push_t;


/* a sorted set of ids */

typedef struct {
    ngx_mdvr_uuid_t          *ids;           /* from ngx_alloc() */
    ngx_uint_t                n;
} ngx_mdvr_set_t;

void ngx_mdvr_set_sort(ngx_mdvr_set_t *set);
ngx_uint_t ngx_mdvr_set_has(const ngx_mdvr_set_t *set,
    const ngx_mdvr_uuid_t *id);


typedef enum {
    NGX_MDVR_CLIENT_NEW = 0,        /* has not said who it is */
    NGX_MDVR_CLIENT_ASKING,         /* its token is being looked up */
    NGX_MDVR_CLIENT_IDLE,           /* known, nothing subscribed */
    NGX_MDVR_CLIENT_SUBSCRIBING,    /* waits for hub and visible devices */
    NGX_MDVR_CLIENT_REPLAYING,      /* gets what it missed */
    NGX_MDVR_CLIENT_LIVE,
    NGX_MDVR_CLIENT_EXPIRED,        /* told so; a new token or the end */
    NGX_MDVR_CLIENT_CLOSING
} ngx_mdvr_client_state_e;


struct ngx_mdvr_client_s {

    /* what a delivery looks at, in one cache line */

    ngx_queue_t               queue;         /* of the hub */
    ngx_mdvr_ws_t            *ws;            /* this */
    ngx_mdvr_sse_t           *sse;           /* or that */
    ngx_mdvr_visible_t       *visible;       /* NULL: sees the whole tenant */
    int64_t                   seq;           /* newest event it has */
    uint32_t                  topics;        /* bits of ngx_mdvr_topic_e */
    uint32_t                  dropped;
    ngx_mdvr_client_state_e   state;
    unsigned                  filtered:1;    /* there are `devices` */

    ngx_mdvr_hub_t           *hub;
    ngx_queue_t               all;           /* clients of this worker */
    ngx_queue_t               seers;         /* of `visible` */

    ngx_connection_t         *c;
    ngx_pool_t               *pool;          /* its own, holds it and ties its
                                                queries */
    const ngx_mdvr_push_conf_t  *conf;

    ngx_mdvr_principal_t      principal;
    ngx_mdvr_uuid_t           tenant;
    u_char                    tenant_text[NGX_MDVR_UUID_LEN];
    u_char                    user_text[NGX_MDVR_UUID_LEN];
    ngx_str_t                 key;           /* an API key, to ask again */

    ngx_mdvr_set_t            devices;       /* the filter */

    /* replaying */
    u_char                    after[64];
    size_t                    after_len;
    ngx_mdvr_ws_payload_t   **held;          /* live events meanwhile */
    int64_t                  *held_seq;
    ngx_uint_t                nheld;
    unsigned                  held_lost:1;
    unsigned                  paging:1;      /* a page is being fetched */
    unsigned                  page_ready:1;  /* next page when drained */

    /* last positions */
    unsigned                  positions:1;   /* under way */
    unsigned                  positions_busy:1;
    ngx_mdvr_uuid_t           positions_at;
    ngx_uint_t                npositions;

    ngx_queue_t               inbox;         /* messages that wait */
    ngx_uint_t                ninbox;
    ngx_uint_t                tokens;        /* messages it may send */
    ngx_msec_t                tokens_at;
    ngx_msec_t                rekey_at;
    ngx_event_t               timer;
    ngx_msec_t                drain_at;
    ngx_mdvr_uuid_t           named;         /* tenant of an auth message */
    ngx_mdvr_uuid_t           visited;       /* tenant whose audit tells */
    unsigned                  has_named:1;
    unsigned                  counted_user:1;
    unsigned                  has_drain:1;
};


extern ngx_queue_t  ngx_mdvr_clients;        /* of this worker */


/* -- client -------------------------------------------------------------- */

ngx_int_t ngx_mdvr_client_init(void);

/* Takes the socket over; `principal` NULL: it has to say who it is. */
ngx_int_t ngx_mdvr_client_open(ngx_http_request_t *r,
    const ngx_mdvr_push_conf_t *conf, const ngx_mdvr_principal_t *principal,
    const ngx_mdvr_uuid_t *tenant, const ngx_str_t *key);

/* The same in steps: one that has no transport yet, and is among the others. */
ngx_mdvr_client_t *ngx_mdvr_client_new(ngx_connection_t *c,
    const ngx_mdvr_push_conf_t *conf, const ngx_str_t *key);
void ngx_mdvr_client_enter(ngx_mdvr_client_t *client);

/* NGX_ERROR: it is being closed, the user has too many. */
ngx_int_t ngx_mdvr_client_identify(ngx_mdvr_client_t *client,
    const ngx_mdvr_principal_t *principal, const ngx_mdvr_uuid_t *tenant);

/* A message of its tenant.  1: it is on its way; 0: not for this one. */
ngx_uint_t ngx_mdvr_client_deliver(ngx_mdvr_client_t *client,
    ngx_mdvr_push_t *push);

/*
 * Sends a text that only this client gets; the same results as
 * ngx_mdvr_ws_send(), NGX_BUSY has closed the socket.
 */
ngx_int_t ngx_mdvr_client_say(ngx_mdvr_client_t *client, const char *fmt, ...);
ngx_int_t ngx_mdvr_client_send(ngx_mdvr_client_t *client,
    const ngx_str_t *text, ngx_uint_t flags);
ngx_int_t ngx_mdvr_client_payload(ngx_mdvr_client_t *client,
    ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags);
size_t ngx_mdvr_client_queued(const ngx_mdvr_client_t *client);

/* The message in the form that this client takes; NULL: no memory. */
ngx_mdvr_ws_payload_t *ngx_mdvr_client_form(const ngx_mdvr_client_t *client,
    ngx_mdvr_push_t *push);

void ngx_mdvr_client_close(ngx_mdvr_client_t *client, ngx_uint_t code,
    const char *reason);

/* Its transport is over, has written all: as in ngx_mdvr_ws_handler_t. */
void ngx_mdvr_client_closed(void *data, ngx_uint_t code);
void ngx_mdvr_client_drained(void *data);

/* Tenant, user and role of a query that this client makes. */
void ngx_mdvr_client_scope(ngx_mdvr_client_t *client,
    ngx_mdvr_pg_call_t *call);

/* -- talk ---------------------------------------------------------------- */

void ngx_mdvr_client_message(void *data, ngx_uint_t binary, ngx_str_t *msg);
void ngx_mdvr_client_inbox(ngx_mdvr_client_t *client);
void ngx_mdvr_client_inbox_free(ngx_mdvr_client_t *client);

/*
 * A super admin steps into a tenant: it must exist, and the step is seen in
 * its audit.  Meanwhile the client waits.  NGX_ERROR: it is being closed.
 */
ngx_int_t ngx_mdvr_client_visit(ngx_mdvr_client_t *client);

/* -- subscription -------------------------------------------------------- */

/* Only these devices, the set is the client's now; NULL: all. */
void ngx_mdvr_client_filter(ngx_mdvr_client_t *client, ngx_mdvr_set_t *set);

/* Topics, filter and `after` are there: it begins. */
void ngx_mdvr_client_begin(ngx_mdvr_client_t *client);

/* Its hub or its visible devices became ready. */
void ngx_mdvr_client_ready(ngx_mdvr_client_t *client);

void ngx_mdvr_client_unsubscribe(ngx_mdvr_client_t *client);

/* -- time ---------------------------------------------------------------- */

ngx_int_t ngx_mdvr_client_time_init(void);

/* Somebody is there whose session may be revoked. */
void ngx_mdvr_client_watch(ngx_mdvr_client_t *client);

/* One timer: the earliest of what this state waits for. */
void ngx_mdvr_client_arm(ngx_mdvr_client_t *client);
void ngx_mdvr_client_timer(ngx_event_t *ev);

/* -- event streams ------------------------------------------------------- */

/* What the location of a request says. */
const ngx_mdvr_push_conf_t *ngx_mdvr_push_conf(ngx_http_request_t *r);

/* Serves ngx_mdvr_push_stream(), see there. */
ngx_int_t ngx_mdvr_stream_open(ngx_http_request_t *r,
    const ngx_mdvr_push_stream_t *stream);

/* Takes the request over, whose header was sent; NULL: no memory. */
ngx_mdvr_sse_t *ngx_mdvr_sse_open(ngx_http_request_t *r,
    const ngx_mdvr_ws_conf_t *conf, ngx_mdvr_client_t *client);

/* It is live; `seq` > 0 is the id to resume behind. */
ngx_int_t ngx_mdvr_sse_begin(ngx_mdvr_sse_t *sse, int64_t seq);

/*
 * A message as an event: id (not that of a position), event, data.  One
 * reference is the caller's; NULL: no memory.
 */
ngx_mdvr_ws_payload_t *ngx_mdvr_sse_payload(const ngx_str_t *text);

/* As their namesakes of ngx_mdvr_websocket.h. */
ngx_int_t ngx_mdvr_sse_send(ngx_mdvr_sse_t *sse,
    ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags);
ngx_uint_t ngx_mdvr_sse_dropped(ngx_mdvr_sse_t *sse);
size_t ngx_mdvr_sse_queued(const ngx_mdvr_sse_t *sse);
void ngx_mdvr_sse_close(ngx_mdvr_sse_t *sse, ngx_uint_t code,
    const char *reason, ngx_uint_t drop);

/* -- replay -------------------------------------------------------------- */

void ngx_mdvr_replay_start(ngx_mdvr_client_t *client);
void ngx_mdvr_replay_hold(ngx_mdvr_client_t *client, ngx_mdvr_push_t *push);

/* What it had up to and beyond `at` may be void: it is told, and goes on there. */
void ngx_mdvr_replay_gap(ngx_mdvr_client_t *client, int64_t at);

void ngx_mdvr_replay_drained(ngx_mdvr_client_t *client);
void ngx_mdvr_replay_stop(ngx_mdvr_client_t *client);
void ngx_mdvr_positions_start(ngx_mdvr_client_t *client);

/* -- hub ----------------------------------------------------------------- */

ngx_int_t ngx_mdvr_hub_init(void);
ngx_int_t ngx_mdvr_hub_join(ngx_mdvr_client_t *client);
void ngx_mdvr_hub_leave(ngx_mdvr_client_t *client);
ngx_uint_t ngx_mdvr_hub_is_ready(const ngx_mdvr_hub_t *hub);
int64_t ngx_mdvr_hub_seq(const ngx_mdvr_hub_t *hub);

/* -- visible ------------------------------------------------------------- */

ngx_int_t ngx_mdvr_visible_init(void);
ngx_int_t ngx_mdvr_visible_join(ngx_mdvr_client_t *client);
void ngx_mdvr_visible_leave(ngx_mdvr_client_t *client);
ngx_uint_t ngx_mdvr_visible_is_ready(const ngx_mdvr_visible_t *visible);

/* Looked up once for all sockets of a user. */
ngx_uint_t ngx_mdvr_visible_has(ngx_mdvr_visible_t *visible,
    const ngx_mdvr_push_t *push);


#endif
