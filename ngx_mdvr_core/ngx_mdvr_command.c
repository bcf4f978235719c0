/*
 * Commands: the documents of docs/internals.md over `mdvr:cmd:...` and
 * `mdvr:ans:...`, and the table of commands that wait for an answer.
 *
 * What this worker itself holds is executed without Redis, in the next turn
 * of the event loop.
 */

#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"
#include "ngx_mdvr_core/ngx_mdvr_route.h"
#include "ngx_mdvr_core/ngx_mdvr_tie.h"

#include "mdvr/basics/json.h"
#include "mdvr/domain/keys.h"

#include <jansson.h>


#define NGX_MDVR_COMMAND_MAX    16384   /* commands in flight per worker */
#define NGX_MDVR_COMMAND_PROGRESS  600000   /* ms between progress reports */
#define NGX_MDVR_COMMAND_GRACE  2000    /* ms: the executor speaks first */
#define NGX_MDVR_COMMAND_REDIS  3000    /* ms to find and reach the holder */
#define NGX_MDVR_COMMAND_BODY   65536


typedef struct {
    ngx_str_node_t            sn;            /* by id */
    ngx_mdvr_tie_t            tie;
    ngx_event_t               timer;
    ngx_queue_t               queue;         /* local, or finished */
    ngx_mdvr_answer_pt        done;
    void                     *data;
    ngx_str_t                 serial;
    ngx_str_t                 doc;           /* the command document */
    ngx_msec_t                start;
    ngx_msec_t                timeout;
    ngx_mdvr_answer_e         status;        /* finished: what to say */
    mdvr_rc_t                 rc;
    unsigned                  queued:1;
    unsigned                  busy:1;        /* Redis has a reply for it */
    unsigned                  dead:1;        /* to be freed by that reply */
} ngx_mdvr_pending_t;


/* an answer to ourselves, waiting for the next turn */

typedef struct {
    ngx_queue_t               queue;
    ngx_str_t                 doc;
} ngx_mdvr_letter_t;


static ngx_int_t ngx_mdvr_command_doc(ngx_mdvr_pending_t *pending,
    const ngx_mdvr_command_t *command, const ngx_str_t *id);
static void ngx_mdvr_command_deliver(ngx_mdvr_pending_t *pending,
    const mdvr_route_t *route);
static void ngx_mdvr_command_routed(void *data, const redisReply *reply,
    mdvr_rc_t rc);
static void ngx_mdvr_command_published(void *data, const redisReply *reply,
    mdvr_rc_t rc);
static void ngx_mdvr_command_end(ngx_mdvr_pending_t *pending,
    ngx_mdvr_answer_e status, mdvr_rc_t rc);
static void ngx_mdvr_command_free(ngx_mdvr_pending_t *pending);
static void ngx_mdvr_command_gone(ngx_mdvr_tie_t *tie);
static void ngx_mdvr_command_deadline(ngx_event_t *ev);
static void ngx_mdvr_command_turn(ngx_event_t *ev);
static void ngx_mdvr_command_execute(const ngx_str_t *doc);
static void ngx_mdvr_command_answered(const ngx_str_t *doc);
static void ngx_mdvr_command_order(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg);
static void ngx_mdvr_command_reply(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg);


static const char *ngx_mdvr_answer_names[] = {
    "sent", "acknowledged", "failed", "timeout", "offline"
};

static ngx_mdvr_core_conf_t  *ngx_mdvr_command_conf;
static ngx_mdvr_order_pt      ngx_mdvr_command_executor;
static ngx_rbtree_t           ngx_mdvr_command_tree;
static ngx_rbtree_node_t      ngx_mdvr_command_end_node;
static ngx_uint_t             ngx_mdvr_command_count;
static ngx_queue_t            ngx_mdvr_command_local;     /* to execute */
static ngx_queue_t            ngx_mdvr_command_finished;
static ngx_queue_t            ngx_mdvr_command_letters;
static ngx_event_t            ngx_mdvr_command_event;
static u_char                 ngx_mdvr_command_ans_text[MDVR_KEY_MAX];
static u_char                 ngx_mdvr_command_cmd_text[MDVR_KEY_MAX];
static ngx_str_t              ngx_mdvr_command_ans;
static ngx_str_t              ngx_mdvr_command_cmd;


ngx_int_t
ngx_mdvr_command_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    mdvr_buf_t  b;

    ngx_mdvr_command_conf = conf;
    ngx_mdvr_route_init(conf);

    ngx_rbtree_init(&ngx_mdvr_command_tree, &ngx_mdvr_command_end_node,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&ngx_mdvr_command_local);
    ngx_queue_init(&ngx_mdvr_command_finished);
    ngx_queue_init(&ngx_mdvr_command_letters);

    ngx_mdvr_command_event.handler = ngx_mdvr_command_turn;
    ngx_mdvr_command_event.log = cycle->log;

    b = mdvr_buf(ngx_mdvr_command_ans_text, MDVR_KEY_MAX);
    mdvr_channel_answer(&b, ngx_mdvr_view(&conf->node),
                        ngx_mdvr_route_slot(ngx_mdvr_slot));
    ngx_mdvr_command_ans.data = b.p;
    ngx_mdvr_command_ans.len = b.len;

    b = mdvr_buf(ngx_mdvr_command_cmd_text, MDVR_KEY_MAX);
    mdvr_channel_command(&b, ngx_mdvr_view(&conf->node),
                         ngx_mdvr_route_slot(ngx_mdvr_slot));
    ngx_mdvr_command_cmd.data = b.p;
    ngx_mdvr_command_cmd.len = b.len;

    return ngx_mdvr_redis_subscribe(&ngx_mdvr_command_ans,
                                    ngx_mdvr_command_reply, NULL);
}


void
ngx_mdvr_command_handler(ngx_mdvr_order_pt handler)
{
    ngx_mdvr_command_executor = handler;

    (void) ngx_mdvr_redis_subscribe(&ngx_mdvr_command_cmd,
                                    ngx_mdvr_command_order, NULL);
}


/* -- sending ------------------------------------------------------------- */

ngx_int_t
ngx_mdvr_command_send(ngx_pool_t *pool, const ngx_mdvr_command_t *command,
    ngx_mdvr_answer_pt done, void *data)
{
    u_char                key[MDVR_KEY_MAX], text[NGX_MDVR_UUID_LEN];
    size_t                lens[2];
    ngx_str_t             id;
    mdvr_buf_t            b;
    const char           *argv[2];
    mdvr_route_t          route;
    ngx_mdvr_uuid_t       uuid;
    ngx_mdvr_holder_t     holder;
    ngx_mdvr_pending_t   *pending;

    if (ngx_mdvr_command_count >= NGX_MDVR_COMMAND_MAX
        || command->body.len > NGX_MDVR_COMMAND_BODY)
    {
        return NGX_BUSY;
    }

    id = command->id;

    if (id.len == 0) {
        ngx_mdvr_uuid_make(&uuid);
        id.data = text;
        id.len = ngx_mdvr_uuid_print(text, &uuid) - text;
    }

    pending = ngx_calloc(sizeof(ngx_mdvr_pending_t), ngx_cycle->log);
    if (pending == NULL) {
        return NGX_ERROR;
    }

    if (ngx_mdvr_command_doc(pending, command, &id) != NGX_OK
        || ngx_mdvr_tie(pool, &pending->tie, ngx_mdvr_command_gone) != NGX_OK)
    {
        if (pending->doc.data) {
            ngx_free(pending->doc.data);
        }

        ngx_free(pending);
        return NGX_ERROR;
    }

    pending->done = done;
    pending->data = data;
    pending->start = ngx_current_msec;
    pending->timeout = command->timeout;
    pending->timer.handler = ngx_mdvr_command_deadline;
    pending->timer.data = pending;
    pending->timer.log = ngx_cycle->log;

    pending->sn.node.key = ngx_crc32_short(pending->sn.str.data,
                                           pending->sn.str.len);
    ngx_rbtree_insert(&ngx_mdvr_command_tree, &pending->sn.node);
    ngx_mdvr_command_count++;

    ngx_mdvr_count(commands_total);
    ngx_add_timer(&pending->timer,
                  command->timeout + NGX_MDVR_COMMAND_GRACE);

    if (ngx_mdvr_registry_holder(&command->serial, &holder) == NGX_OK) {

        if (holder.slot == ngx_mdvr_slot && ngx_mdvr_command_executor) {
            pending->queued = 1;
            ngx_queue_insert_tail(&ngx_mdvr_command_local, &pending->queue);
            ngx_post_event(&ngx_mdvr_command_event, &ngx_posted_events);
            return NGX_OK;
        }

        route.node = ngx_mdvr_view(&ngx_mdvr_command_conf->node);
        route.slot = ngx_mdvr_route_slot(holder.slot);
        route.connection = holder.connection;

        ngx_mdvr_command_deliver(pending, &route);
        return NGX_OK;
    }

    b = mdvr_buf(key, sizeof(key));
    mdvr_key_route(&b, ngx_mdvr_view(&command->serial));

    if (b.full) {
        ngx_mdvr_command_end(pending, NGX_MDVR_ANSWER_OFFLINE, MDVR_OK);
        return NGX_OK;
    }

    argv[0] = "GET";
    lens[0] = 3;
    argv[1] = (char *) key;
    lens[1] = b.len;

    pending->busy = 1;

    if (ngx_mdvr_redis_command(NULL, NGX_MDVR_COMMAND_REDIS, 2, argv, lens,
                               ngx_mdvr_command_routed, pending)
        != NGX_OK)
    {
        pending->busy = 0;
        ngx_mdvr_command_end(pending, 0, MDVR_E_UNAVAILABLE);
    }

    return NGX_OK;
}


/* Whether the bytes may stand in a JSON string as they are. */

static ngx_uint_t
ngx_mdvr_command_plain(const ngx_str_t *s)
{
    size_t     i;
    u_char    *p, *last;
    uint32_t   c;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] == '\0') {
            return 0;
        }
    }

    p = s->data;
    last = p + s->len;

    while (p < last) {
        if (*p < 0x80) {
            p++;
            continue;
        }

        c = ngx_utf8_decode(&p, last - p);

        if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return 0;
        }
    }

    return 1;
}


/* One block: the document, then id and serial. */

static ngx_int_t
ngx_mdvr_command_doc(ngx_mdvr_pending_t *pending,
    const ngx_mdvr_command_t *command, const ngx_str_t *id)
{
    size_t        size;
    u_char       *p, *hex;
    mdvr_buf_t    b;
    mdvr_json_t   j;

    size = 512 + 6 * (id->len + command->serial.len + command->keyword.len
                      + command->body.len + command->request_id.len
                      + command->traceparent.len
                      + ngx_mdvr_command_ans.len);

    p = ngx_alloc(size + id->len + command->serial.len, ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    pending->doc.data = p;

    b = mdvr_buf(p, size);
    mdvr_json_init(&j, &b);

    mdvr_json_object(&j, NULL);
    mdvr_json_str(&j, "id", ngx_mdvr_view(id));
    mdvr_json_str(&j, "reply", ngx_mdvr_view(&ngx_mdvr_command_ans));
    mdvr_json_str(&j, "serial", ngx_mdvr_view(&command->serial));
    mdvr_json_str(&j, "keyword", ngx_mdvr_view(&command->keyword));

    if (ngx_mdvr_command_plain(&command->body)) {
        mdvr_json_str(&j, "body", ngx_mdvr_view(&command->body));

    } else {
        hex = p + size - 2 * command->body.len;
        (void) ngx_hex_dump(hex, command->body.data, command->body.len);
        mdvr_json_str(&j, "body_hex", mdvr_str(hex, 2 * command->body.len));
    }

    mdvr_json_u64(&j, "timeout_ms", command->timeout);

    if (command->request_id.len) {
        mdvr_json_str(&j, "request_id", ngx_mdvr_view(&command->request_id));
    }

    if (command->traceparent.len) {
        mdvr_json_str(&j, "traceparent",
                      ngx_mdvr_view(&command->traceparent));
    }

    mdvr_json_object_end(&j);

    if (b.full) {
        return NGX_ERROR;
    }

    pending->doc.len = b.len;

    p += size;

    pending->sn.str.data = p;
    pending->sn.str.len = id->len;
    p = ngx_cpymem(p, id->data, id->len);

    pending->serial.data = p;
    pending->serial.len = command->serial.len;
    ngx_memcpy(p, command->serial.data, command->serial.len);

    return NGX_OK;
}


static void
ngx_mdvr_command_routed(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_pending_t *pending = data;

    mdvr_route_t  route;

    pending->busy = 0;

    if (pending->dead) {
        ngx_mdvr_command_free(pending);
        return;
    }

    if (rc != MDVR_OK) {
        ngx_mdvr_command_end(pending, 0, MDVR_E_UNAVAILABLE);
        return;
    }

    if (reply->type != REDIS_REPLY_STRING
        || !mdvr_route_parse(mdvr_str(reply->str, reply->len), &route))
    {
        ngx_mdvr_command_end(pending, NGX_MDVR_ANSWER_OFFLINE, MDVR_OK);
        return;
    }

    ngx_mdvr_command_deliver(pending, &route);
}


static void
ngx_mdvr_command_deliver(ngx_mdvr_pending_t *pending,
    const mdvr_route_t *route)
{
    u_char       channel[MDVR_KEY_MAX];
    size_t       lens[3];
    mdvr_buf_t   b;
    const char  *argv[3];

    b = mdvr_buf(channel, sizeof(channel));
    mdvr_channel_command(&b, route->node, route->slot);

    argv[0] = "PUBLISH";
    lens[0] = 7;
    argv[1] = (char *) channel;
    lens[1] = b.len;
    argv[2] = (char *) pending->doc.data;
    lens[2] = pending->doc.len;

    pending->busy = 1;

    if (b.full
        || ngx_mdvr_redis_command(NULL, NGX_MDVR_COMMAND_REDIS, 3, argv, lens,
                                  ngx_mdvr_command_published, pending)
           != NGX_OK)
    {
        pending->busy = 0;
        ngx_mdvr_command_end(pending, 0, MDVR_E_UNAVAILABLE);
    }
}


static void
ngx_mdvr_command_published(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_pending_t *pending = data;

    pending->busy = 0;

    if (pending->dead) {
        ngx_mdvr_command_free(pending);
        return;
    }

    if (rc != MDVR_OK) {
        ngx_mdvr_command_end(pending, 0, MDVR_E_UNAVAILABLE);
        return;
    }

    if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {

        /* nobody listens there: the holder died and its route is left over */

        ngx_mdvr_command_end(pending, NGX_MDVR_ANSWER_OFFLINE, MDVR_OK);
    }
}


/*
 * Ends a command with a verdict of our own, in the next turn: this may be
 * reached from within ngx_mdvr_command_send().
 */

static void
ngx_mdvr_command_end(ngx_mdvr_pending_t *pending, ngx_mdvr_answer_e status,
    mdvr_rc_t rc)
{
    if (pending->queued) {
        return;
    }

    pending->status = status;
    pending->rc = rc;
    pending->queued = 1;

    ngx_queue_insert_tail(&ngx_mdvr_command_finished, &pending->queue);
    ngx_post_event(&ngx_mdvr_command_event, &ngx_posted_events);
}


/* Out of the table; `last` answers go to the requester if there is one. */

static void
ngx_mdvr_command_say(ngx_mdvr_pending_t *pending,
    const ngx_mdvr_answer_t *answer, mdvr_rc_t rc)
{
    void                *data;
    ngx_mdvr_answer_pt   done;

    done = pending->done;
    data = pending->data;

    if (answer == NULL || answer->status != NGX_MDVR_ANSWER_SENT) {
        pending->done = NULL;

        if (answer) {
            ngx_mdvr_observe(command_seconds,
                             ngx_current_msec - pending->start);

            if (answer->status == NGX_MDVR_ANSWER_FAILED) {
                ngx_mdvr_count(commands_failed_total);

            } else if (answer->status == NGX_MDVR_ANSWER_TIMEOUT) {
                ngx_mdvr_count(commands_timeout_total);
            }
        }

        ngx_mdvr_command_free(pending);

    } else if (answer->success >= 0) {

        /* the device is at work and says so: an upgrade takes its time */

        ngx_add_timer(&pending->timer, NGX_MDVR_COMMAND_PROGRESS);
    }

    if (done) {
        done(data, answer, rc);
    }
}


static void
ngx_mdvr_command_free(ngx_mdvr_pending_t *pending)
{
    if (!pending->dead) {
        pending->dead = 1;
        pending->done = NULL;

        ngx_rbtree_delete(&ngx_mdvr_command_tree, &pending->sn.node);
        ngx_mdvr_command_count--;

        ngx_mdvr_untie(&pending->tie);

        if (pending->timer.timer_set) {
            ngx_del_timer(&pending->timer);
        }

        if (pending->queued) {
            ngx_queue_remove(&pending->queue);
            pending->queued = 0;
        }
    }

    if (pending->busy) {
        return;                         /* its reply comes here again */
    }

    ngx_free(pending->doc.data);
    ngx_free(pending);
}


static void
ngx_mdvr_command_gone(ngx_mdvr_tie_t *tie)
{
    ngx_mdvr_pending_t  *pending;

    pending = (ngx_mdvr_pending_t *)
                  ((u_char *) tie - offsetof(ngx_mdvr_pending_t, tie));

    pending->done = NULL;               /* it runs on, for nobody */
}


static void
ngx_mdvr_command_deadline(ngx_event_t *ev)
{
    ngx_mdvr_answer_t    answer;
    ngx_mdvr_pending_t  *pending;

    pending = ev->data;

    ngx_memzero(&answer, sizeof(ngx_mdvr_answer_t));
    answer.status = NGX_MDVR_ANSWER_TIMEOUT;
    answer.success = -1;

    ngx_mdvr_command_say(pending, &answer, MDVR_OK);
}


static void
ngx_mdvr_command_turn(ngx_event_t *ev)
{
    ngx_str_t            doc;
    ngx_queue_t          list, *q;
    ngx_mdvr_letter_t   *letter;
    ngx_mdvr_answer_t    answer;
    ngx_mdvr_pending_t  *pending;

    /* what is added meanwhile waits for the next turn */

    ngx_queue_init(&list);

    if (!ngx_queue_empty(&ngx_mdvr_command_letters)) {
        ngx_queue_add(&list, &ngx_mdvr_command_letters);
        ngx_queue_init(&ngx_mdvr_command_letters);
    }

    while (!ngx_queue_empty(&list)) {
        q = ngx_queue_head(&list);
        ngx_queue_remove(q);
        letter = ngx_queue_data(q, ngx_mdvr_letter_t, queue);

        ngx_mdvr_command_answered(&letter->doc);
        ngx_free(letter);
    }

    while (!ngx_queue_empty(&ngx_mdvr_command_local)) {
        q = ngx_queue_head(&ngx_mdvr_command_local);
        ngx_queue_remove(q);
        pending = ngx_queue_data(q, ngx_mdvr_pending_t, queue);
        pending->queued = 0;

        /* the executor's answers wait for the next turn, so it stays */

        doc = pending->doc;
        ngx_mdvr_command_execute(&doc);
    }

    while (!ngx_queue_empty(&ngx_mdvr_command_finished)) {
        q = ngx_queue_head(&ngx_mdvr_command_finished);
        ngx_queue_remove(q);
        pending = ngx_queue_data(q, ngx_mdvr_pending_t, queue);
        pending->queued = 0;

        if (pending->rc != MDVR_OK) {
            ngx_mdvr_command_say(pending, NULL, pending->rc);
            continue;
        }

        ngx_memzero(&answer, sizeof(ngx_mdvr_answer_t));
        answer.status = pending->status;
        answer.success = -1;

        ngx_mdvr_command_say(pending, &answer, MDVR_OK);
    }
}


/* -- executing ----------------------------------------------------------- */

static ngx_str_t
ngx_mdvr_member(const json_t *doc, const char *name)
{
    json_t     *value;
    ngx_str_t   s;

    ngx_str_set(&s, "");

    value = json_object_get(doc, name);

    if (json_is_string(value)) {
        s.data = (u_char *) json_string_value(value);
        s.len = json_string_length(value);
    }

    return s;
}


static void
ngx_mdvr_command_execute(const ngx_str_t *msg)
{
    json_t            *doc;
    size_t             i;
    ngx_int_t          n;
    ngx_str_t          hex;
    ngx_mdvr_order_t   order;

    doc = json_loadb((char *) msg->data, msg->len, JSON_REJECT_DUPLICATES,
                     NULL);

    if (!json_is_object(doc)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "command document is malformed");
        json_decref(doc);
        return;
    }

    ngx_memzero(&order, sizeof(ngx_mdvr_order_t));

    order.id = ngx_mdvr_member(doc, "id");
    order.reply = ngx_mdvr_member(doc, "reply");
    order.serial = ngx_mdvr_member(doc, "serial");
    order.keyword = ngx_mdvr_member(doc, "keyword");
    order.body = ngx_mdvr_member(doc, "body");
    order.request_id = ngx_mdvr_member(doc, "request_id");
    order.traceparent = ngx_mdvr_member(doc, "traceparent");
    order.timeout = json_integer_value(json_object_get(doc, "timeout_ms"));

    hex = ngx_mdvr_member(doc, "body_hex");

    if (hex.len) {
        order.body.data = hex.data;     /* in place, two for one */
        order.body.len = hex.len / 2;

        for (i = 0; i < order.body.len; i++) {
            n = ngx_hextoi(hex.data + 2 * i, 2);
            order.body.data[i] = (u_char) (n < 0 ? '?' : n);
        }
    }

    if (ngx_mdvr_command_executor) {
        ngx_mdvr_command_executor(&order);
    }

    json_decref(doc);
}


static void
ngx_mdvr_command_order(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg)
{
    if (msg) {
        ngx_mdvr_command_execute(msg);
    }
}


void
ngx_mdvr_command_answer(const ngx_str_t *reply, const ngx_str_t *id,
    const ngx_mdvr_answer_t *answer)
{
    size_t              size;
    ngx_str_t           msg;
    mdvr_buf_t          b;
    mdvr_json_t         j;
    ngx_mdvr_letter_t  *letter;

    if (reply->len == 0) {
        return;
    }

    size = 512 + 6 * (id->len + answer->content.len + answer->error_code.len
                      + answer->error.len + answer->reason.len
                      + answer->device_time.len);

    letter = ngx_alloc(sizeof(ngx_mdvr_letter_t) + size, ngx_cycle->log);
    if (letter == NULL) {
        return;
    }

    b = mdvr_buf(letter + 1, size);
    mdvr_json_init(&j, &b);

    mdvr_json_object(&j, NULL);
    mdvr_json_str(&j, "id", ngx_mdvr_view(id));
    mdvr_json_cstr(&j, "status", ngx_mdvr_answer_names[answer->status]);
    mdvr_json_str(&j, "content", ngx_mdvr_view(&answer->content));

    if (answer->success >= 0) {
        mdvr_json_i64(&j, "success", answer->success);
    }

    mdvr_json_str(&j, "error_code", ngx_mdvr_view(&answer->error_code));
    mdvr_json_str(&j, "error", ngx_mdvr_view(&answer->error));
    mdvr_json_str(&j, "reason", ngx_mdvr_view(&answer->reason));
    mdvr_json_str(&j, "device_time", ngx_mdvr_view(&answer->device_time));
    mdvr_json_object_end(&j);

    msg.data = b.p;
    msg.len = b.len;

    if (reply->len == ngx_mdvr_command_ans.len
        && ngx_memcmp(reply->data, ngx_mdvr_command_ans.data, reply->len) == 0)
    {
        letter->doc = msg;
        ngx_queue_insert_tail(&ngx_mdvr_command_letters, &letter->queue);
        ngx_post_event(&ngx_mdvr_command_event, &ngx_posted_next_events);
        return;
    }

    (void) ngx_mdvr_redis_publish(reply, &msg, 0);

    ngx_free(letter);
}


static void
ngx_mdvr_command_answered(const ngx_str_t *msg)
{
    json_t              *doc;
    ngx_str_t            id, status;
    ngx_uint_t           i;
    ngx_str_node_t      *sn;
    ngx_mdvr_answer_t    answer;

    doc = json_loadb((char *) msg->data, msg->len, JSON_REJECT_DUPLICATES,
                     NULL);

    if (!json_is_object(doc)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "answer document is malformed");
        json_decref(doc);
        return;
    }

    id = ngx_mdvr_member(doc, "id");
    status = ngx_mdvr_member(doc, "status");

    sn = ngx_str_rbtree_lookup(&ngx_mdvr_command_tree, &id,
                               ngx_crc32_short(id.data, id.len));

    ngx_memzero(&answer, sizeof(ngx_mdvr_answer_t));

    for (i = 0; i < sizeof(ngx_mdvr_answer_names) / sizeof(char *); i++) {
        if (ngx_strcmp(ngx_mdvr_answer_names[i], status.data) == 0) {
            answer.status = i;
            break;
        }
    }

    if (sn && i < sizeof(ngx_mdvr_answer_names) / sizeof(char *)) {
        answer.content = ngx_mdvr_member(doc, "content");
        answer.error_code = ngx_mdvr_member(doc, "error_code");
        answer.error = ngx_mdvr_member(doc, "error");
        answer.reason = ngx_mdvr_member(doc, "reason");
        answer.device_time = ngx_mdvr_member(doc, "device_time");
        answer.success = -1;

        if (json_is_integer(json_object_get(doc, "success"))) {
            answer.success = json_integer_value(json_object_get(doc,
                                                                "success"));
        }

        ngx_mdvr_command_say((ngx_mdvr_pending_t *) sn, &answer, MDVR_OK);
    }

    json_decref(doc);
}


static void
ngx_mdvr_command_reply(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg)
{
    if (msg) {
        ngx_mdvr_command_answered(msg);
    }
}
