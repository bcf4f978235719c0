/*
 * Commands to devices: whoever wants a device to do something (API, media)
 * sends a keyword and a body; whoever holds the device's connection (the
 * signaling module of some worker of some node) executes it.  The way between
 * them is Redis pub/sub, see docs/internals.md for the documents and names;
 * ngx_mdvr_route.h knows which node that is.
 */

#ifndef NGX_MDVR_COMMAND_H
#define NGX_MDVR_COMMAND_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


typedef enum {
    NGX_MDVR_ANSWER_SENT = 0,       /* written to the device; more follows */
    NGX_MDVR_ANSWER_ACKNOWLEDGED,   /* the device answered, success */
    NGX_MDVR_ANSWER_FAILED,         /* the device answered, no success */
    NGX_MDVR_ANSWER_TIMEOUT,        /* no answer in time */
    NGX_MDVR_ANSWER_OFFLINE         /* nobody holds the device */
} ngx_mdvr_answer_e;


typedef struct {
    ngx_str_t                 id;            /* "": one is made */
    ngx_str_t                 serial;
    ngx_str_t                 keyword;       /* "C508" */
    ngx_str_t                 body;          /* tokens after the header, any bytes */
    ngx_msec_t                timeout;       /* ms until the device's answer */
    ngx_str_t                 request_id;
    ngx_str_t                 traceparent;
} ngx_mdvr_command_t;


/* "" where the device or the executor said nothing */

typedef struct {
    ngx_mdvr_answer_e         status;
    ngx_str_t                 content;       /* V100's tokens, UTF-8 */
    ngx_int_t                 success;       /* V100's flag, -1: none */
    ngx_str_t                 error_code;
    ngx_str_t                 error;         /* that code in words */
    ngx_str_t                 reason;        /* the device's own words */
    ngx_str_t                 device_time;
} ngx_mdvr_answer_t;


/* a command at its executor; borrowed, copy what outlives the call */

typedef struct {
    ngx_str_t                 id;
    ngx_str_t                 reply;         /* channel for the answers */
    ngx_str_t                 serial;
    ngx_str_t                 keyword;       /* also "close", see below */
    ngx_str_t                 body;
    ngx_msec_t                timeout;
    ngx_str_t                 request_id;
    ngx_str_t                 traceparent;
} ngx_mdvr_order_t;


/*
 * Answers of a command, from the event loop, never from within
 * ngx_mdvr_command_send(): NGX_MDVR_ANSWER_SENT first, if at all, and again
 * with success >= 0 for each progress report of the device, then exactly one
 * other.  With rc other than MDVR_OK, `answer` is NULL and nothing
 * more comes: MDVR_E_UNAVAILABLE when Redis is away.
 */
typedef void (*ngx_mdvr_answer_pt)(void *data, const ngx_mdvr_answer_t *answer,
    mdvr_rc_t rc);

/*
 * Finds the holder (registry of this node, else the route in Redis) and sends
 * the command; everything is copied.  When `pool` is destroyed first the
 * answers go nowhere; `pool` may be NULL.  `done` may be NULL.
 *
 * NGX_OK: `done` will be called.  NGX_BUSY: too many commands in flight.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_mdvr_command_send(ngx_pool_t *pool,
    const ngx_mdvr_command_t *command, ngx_mdvr_answer_pt done, void *data);

/*
 * The signaling module registers its executor from init_process.  It is
 * called for each command to a device that this worker should hold, and
 * answers now or later with ngx_mdvr_command_answer(): offline when it does
 * not hold the device (after all).
 *
 * The keyword "close" (body: connection number in decimal) has no answer:
 * the device registered at another node, that connection is to be closed.
 */
typedef void (*ngx_mdvr_order_pt)(const ngx_mdvr_order_t *order);

void ngx_mdvr_command_handler(ngx_mdvr_order_pt handler);

/* Sends one answer; `reply` and `id` are those of the order. */
void ngx_mdvr_command_answer(const ngx_str_t *reply, const ngx_str_t *id,
    const ngx_mdvr_answer_t *answer);


/* for the core module only */

ngx_int_t ngx_mdvr_command_init(ngx_cycle_t *cycle,
    ngx_mdvr_core_conf_t *conf);


#endif
