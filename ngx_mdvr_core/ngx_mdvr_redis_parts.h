/*
 * What the files of Redis share and nobody else needs:
 *
 *   ngx_mdvr_redis.c           configuration, commands, publishing
 *   ngx_mdvr_redis_link.c      a link to the server: its beginning, bytes, end
 *   ngx_mdvr_redis_channel.c   who listens to which channel
 */

#ifndef NGX_MDVR_REDIS_PARTS_H
#define NGX_MDVR_REDIS_PARTS_H


#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_tie.h"

#include <ngx_event_connect.h>


#define NGX_MDVR_REDIS_BUCKETS  1024    /* channels, a power of two */


typedef enum {
    redis_idle = 0,         /* no socket; backing off */
    redis_connecting,
    redis_greeting,         /* AUTH and SELECT are under way */
    redis_ready
} ngx_mdvr_redis_state_e;


typedef struct {
    ngx_mdvr_redis_state_e    state;
    ngx_uint_t                sub;           /* the link of subscriptions */
    ngx_peer_connection_t     peer;
    ngx_connection_t         *c;
    redisReader              *reader;
    ngx_queue_t               fifo;          /* commands, oldest first */
    ngx_uint_t                greetings;     /* answers still to come */
    ngx_uint_t                no_role;       /* it may not be asked */
    ngx_event_t               timer;
    ngx_msec_t                backoff;
    ngx_msec_t                heard;         /* last time it said anything */
    ngx_uint_t                pinged;

    u_char                   *out;
    size_t                    size;
    size_t                    head;          /* out[head..tail) is to be sent */
    size_t                    tail;
} ngx_mdvr_redis_link_t;


typedef struct {
    ngx_mdvr_tie_t            tie;
    ngx_queue_t               queue;         /* fifo of the link, or refused */
    ngx_event_t               timer;
    ngx_mdvr_redis_done_pt    done;          /* NULL: nobody waits */
    void                     *data;
    ngx_uint_t                refused;
} ngx_mdvr_redis_req_t;


typedef struct ngx_mdvr_redis_reg_s  ngx_mdvr_redis_reg_t;

struct ngx_mdvr_redis_reg_s {
    ngx_mdvr_redis_reg_t       *next;
    ngx_mdvr_redis_message_pt   handler;     /* NULL: removed */
    void                       *data;
    ngx_uint_t                  told;        /* the gap notice was given */
};


typedef struct ngx_mdvr_redis_channel_s  ngx_mdvr_redis_channel_t;

struct ngx_mdvr_redis_channel_s {
    ngx_mdvr_redis_channel_t  *next;
    ngx_mdvr_redis_reg_t      *regs;
    uint32_t                   hash;
    ngx_uint_t                 busy;         /* its handlers are running */
    ngx_uint_t                 live;         /* Redis has confirmed */
    ngx_str_t                  name;
};


/*
 * From the configuration, in its memory: a worker takes that of its cycle,
 * since the master has parsed another one when a reload was refused.  The
 * strings are zero-terminated.
 */

typedef struct {
    ngx_sockaddr_t                addr;
    socklen_t                     addrlen;
    ngx_str_t                     name;
    ngx_str_t                     user;
    ngx_str_t                     password;
    ngx_int_t                     db;
} ngx_mdvr_redis_place_t;


extern ngx_mdvr_redis_link_t      ngx_mdvr_redis_cmd;
extern ngx_mdvr_redis_link_t      ngx_mdvr_redis_sub;
extern ngx_mdvr_redis_place_t     ngx_mdvr_redis_place;
extern ngx_mdvr_redis_channel_t  *ngx_mdvr_redis_channels
                                                  [NGX_MDVR_REDIS_BUCKETS];


void ngx_mdvr_redis_connect(ngx_mdvr_redis_link_t *link);
void ngx_mdvr_redis_close(ngx_mdvr_redis_link_t *link, const char *why);
void ngx_mdvr_redis_timer(ngx_event_t *ev);
void ngx_mdvr_redis_subscription(const char *verb, const ngx_str_t *name);
void ngx_mdvr_redis_pushed(const redisReply *reply);
ngx_int_t ngx_mdvr_redis_append(ngx_mdvr_redis_link_t *link, ngx_int_t argc,
    const char **argv, const size_t *lens);
void ngx_mdvr_redis_answer(ngx_mdvr_redis_req_t *req, const redisReply *reply,
    mdvr_rc_t rc);
void ngx_mdvr_redis_demoted(ngx_mdvr_redis_link_t *link);


#endif /* NGX_MDVR_REDIS_PARTS_H */
