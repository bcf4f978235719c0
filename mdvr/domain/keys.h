/*
 * Redis key and channel names, in one place (docs/internals.md).
 *
 * Each function appends a name to the buffer; the caller looks at b->full.
 * 128 bytes are enough for every name but mdvr_key_idem() and
 * mdvr_key_rate(), which take what the client sent.
 */

#ifndef MDVR_DOMAIN_KEYS_H
#define MDVR_DOMAIN_KEYS_H

#include "mdvr/basics/str.h"

#define MDVR_KEY_MAX       128
#define MDVR_CHANNEL_CTL   "mdvr:ctl"

/* mdvr:route:{<serial>} and its value "<node> <slot> <connection>" */
void mdvr_key_route(mdvr_buf_t *b, mdvr_str_t serial);

/* mdvr:wire:{<device_id>}: list of the last messages, newest last */
void mdvr_key_wire(mdvr_buf_t *b, mdvr_str_t device);

typedef struct {
    mdvr_str_t  node;
    uint32_t    slot;
    uint64_t    connection;
} mdvr_route_t;

void mdvr_route_write(mdvr_buf_t *b, const mdvr_route_t *r);
bool mdvr_route_parse(mdvr_str_t value, mdvr_route_t *r);

/* mdvr:cmd:<node>:<slot>, mdvr:ans:<node>:<slot>, mdvr:event:<tenant> */
void mdvr_channel_command(mdvr_buf_t *b, mdvr_str_t node, uint32_t slot);
void mdvr_channel_answer(mdvr_buf_t *b, mdvr_str_t node, uint32_t slot);
void mdvr_channel_event(mdvr_buf_t *b, mdvr_str_t tenant);

/* mdvr:live:{<device>:<channel>:<stream>}, stream "main" or "sub", channel
 * 1-based as at the API */
void mdvr_key_live(mdvr_buf_t *b, mdvr_str_t device, unsigned channel,
    mdvr_str_t stream);

/*
 * string with EX: the recordings a device listed for whole minutes of unix
 * time, of one type (-1: all) and one channel as the command names it
 */
void mdvr_key_list(mdvr_buf_t *b, mdvr_str_t device, int64_t from_min,
    int64_t to_min, int type, int channel);

/* string: the URL at which other nodes reach this one */
void mdvr_key_node(mdvr_buf_t *b, mdvr_str_t node);

void mdvr_key_vsession(mdvr_buf_t *b, mdvr_str_t id);
void mdvr_key_idem(mdvr_buf_t *b, mdvr_str_t tenant, mdvr_str_t user,
    mdvr_str_t key);
void mdvr_key_rate(mdvr_buf_t *b, mdvr_str_t what, mdvr_str_t who);

/*
 * mdvr:job:{<queue>}<suffix>.  The queue is a job kind, or "<kind>@<node>"
 * for one that only that node can do (mdvr/domain/job.h).  Suffixes: "" the
 * stream, ":delayed" the sorted set, ":dead" the stream of what was given up;
 * ":parked", ":turn", ":turns:<rank>" and ":of:<rank>:<tenant>" are the worker's
 * (worker/fair.h).
 */
void mdvr_key_job(mdvr_buf_t *b, mdvr_str_t queue, const char *suffix);

/*
 * mdvr:notify:{<service>}:<what>, the worker's own: service "fcm" or "apns";
 * "token" (string), "failures" (counter), "open" (while it is left alone).
 */
void mdvr_key_notify(mdvr_buf_t *b, mdvr_str_t service, const char *what);

/* hash of counters of finished jobs, read by /metrics */
#define MDVR_KEY_JOB_STATS  "mdvr:jobstats"

/* where the last look for orphans in the storage ended (string) */
#define MDVR_KEY_ORPHANS  "mdvr:orphans:after"

/* set of every queue that ever held a job */
#define MDVR_KEY_JOB_QUEUES  "mdvr:jobqueues"

#endif /* MDVR_DOMAIN_KEYS_H */
