
/*
 * Commands to a device: orders that come from any worker of any node are
 * written to the connection that holds the device, and V100 is matched to
 * them.
 *
 *   WAITING  another command of its keyword has not been answered yet
 *   SENT     written; the first answer is due at its deadline
 *   LATE     the deadline passed, "timeout" was reported; an answer that
 *            comes all the same within two minutes is still passed on
 *
 * One command of a kind at a time per device, so that an answer that names
 * only keyword and time is not taken for another's.  Commands with several
 * answers (C152, C520, C550, C600, C706) stay SENT while the answers say that
 * more follow.  C1111 has no answer: written is done.
 *
 * Commands that were kept for a device that was offline come from PostgreSQL
 * when it registers; nobody waits for their answers, which are recorded from
 * here, as are answers that come when their sender has given up.  An answer to
 * a command that is not known here any more (the connection it went out on is
 * gone, or two minutes are over) is looked up in PostgreSQL by keyword and time.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/dc/answer.h"
#include "mdvr/dc/time.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"


#define NGX_MDVR_TASK_LATE      120000      /* ms */
#define NGX_MDVR_TASK_PROGRESS  600000      /* ms between progress answers */
#define NGX_MDVR_TASK_LATES     100         /* per connection */


typedef enum {
    NGX_MDVR_TASK_WAITING = 0,
    NGX_MDVR_TASK_SENT,
    NGX_MDVR_TASK_OVERDUE
} ngx_mdvr_task_state_e;


struct ngx_mdvr_task_s {
    ngx_mdvr_task_t              *next;         /* on the link, in order */
    ngx_mdvr_link_t              *link;
    ngx_event_t                   timer;
    ngx_msec_t                    sent_at;
    ngx_msec_t                    waited_until; /* by the sender */
    ngx_mdvr_task_state_e         state;
    ngx_str_t                     id;
    ngx_str_t                     reply;
    ngx_str_t                     keyword;
    ngx_str_t                     body;
    u_char                        number[8];
    size_t                        number_len;
    u_char                        time[16];     /* h5 as sent */
    size_t                        time_len;
    ngx_mdvr_span_t               span;         /* until its last answer */
};


static void ngx_mdvr_task_send(ngx_mdvr_task_t *task);
static void ngx_mdvr_task_next(ngx_mdvr_link_t *link, ngx_str_t *keyword);
static void ngx_mdvr_task_remove(ngx_mdvr_task_t *task);
static void ngx_mdvr_task_timer(ngx_event_t *ev);
static void ngx_mdvr_task_answer(ngx_mdvr_task_t *task,
    const ngx_mdvr_answer_t *answer);
static void ngx_mdvr_task_span(ngx_mdvr_task_t *task,
    const ngx_mdvr_answer_t *answer);
static void ngx_mdvr_task_report(ngx_mdvr_task_t *task,
    ngx_mdvr_answer_e status, const char *reason);
static void ngx_mdvr_task_status(const ngx_str_t *reply, const ngx_str_t *id,
    ngx_mdvr_answer_e status, const char *reason);
static void ngx_mdvr_task_late(ngx_mdvr_link_t *link, const mdvr_answer_t *a,
    const ngx_mdvr_answer_t *answer);
static void ngx_mdvr_task_update(ngx_mdvr_link_t *link, const ngx_str_t *id,
    const ngx_mdvr_answer_t *answer);


void
ngx_mdvr_sig_order(const ngx_mdvr_order_t *order)
{
    u_char            *p;
    ngx_msec_t         timeout;
    ngx_mdvr_link_t   *link;
    ngx_mdvr_task_t   *task, *t, **last;

    if (order->keyword.len == 5
        && ngx_strncmp(order->keyword.data, "close", 5) == 0)
    {
        ngx_mdvr_sig_close_order(&order->body);
        return;
    }

    link = ngx_mdvr_link_find(ngx_mdvr_sig_view(&order->serial));

    if (link == NULL) {
        ngx_mdvr_task_status(&order->reply, &order->id,
                             NGX_MDVR_ANSWER_OFFLINE, NULL);
        return;
    }

    if (order->keyword.len == 4
        && ngx_strncmp(order->keyword.data, "C100", 4) == 0)
    {
        /* no command, but the answer to a call that waits */

        if (ngx_mdvr_call_decide(link, 0)) {
            ngx_mdvr_task_status(&order->reply, &order->id,
                                 NGX_MDVR_ANSWER_ACKNOWLEDGED, NULL);
        } else {
            ngx_mdvr_task_status(&order->reply, &order->id,
                                 NGX_MDVR_ANSWER_FAILED, "no call waits");
        }

        return;
    }

    if (link->ntasks >= link->conf->command_queue) {
        ngx_mdvr_refusal("command_queue");
        ngx_mdvr_task_status(&order->reply, &order->id,
                             NGX_MDVR_ANSWER_FAILED,
                             "too many commands wait for this device");
        return;
    }

    if (order->keyword.len < 3 || order->keyword.len > 6
        || order->keyword.data[0] != 'C'
        || !mdvr_keyword_valid(ngx_mdvr_sig_view(&order->keyword)))
    {
        ngx_mdvr_task_status(&order->reply, &order->id,
                             NGX_MDVR_ANSWER_FAILED, "not a command");
        return;
    }

    task = ngx_alloc(sizeof(ngx_mdvr_task_t) + order->id.len
                     + order->reply.len + order->keyword.len
                     + order->body.len, ngx_mdvr_sig.log);
    if (task == NULL) {
        ngx_mdvr_task_status(&order->reply, &order->id,
                             NGX_MDVR_ANSWER_FAILED, "out of memory");
        return;
    }

    ngx_memzero(task, sizeof(ngx_mdvr_task_t));

    p = (u_char *) (task + 1);

#define ngx_mdvr_task_copy(field)                                             \
    task->field.data = p;                                                     \
    task->field.len = order->field.len;                                       \
    p = ngx_cpymem(p, order->field.data, order->field.len)

    ngx_mdvr_task_copy(id);
    ngx_mdvr_task_copy(reply);
    ngx_mdvr_task_copy(keyword);
    ngx_mdvr_task_copy(body);

#undef ngx_mdvr_task_copy

    task->link = link;
    ngx_mdvr_span_child(&task->span, &order->traceparent);
    task->timer.handler = ngx_mdvr_task_timer;
    task->timer.data = task;
    task->timer.log = ngx_mdvr_sig.log;

    for (last = &link->tasks; *last; last = &(*last)->next) { /* void */ }

    *last = task;
    link->ntasks++;

    timeout = order->timeout ? order->timeout : 15000;
    task->waited_until = ngx_current_msec + timeout;
    ngx_add_timer(&task->timer, timeout);

    for (t = link->tasks; t != task; t = t->next) {
        if (t->state != NGX_MDVR_TASK_OVERDUE
            && t->keyword.len == task->keyword.len
            && ngx_memcmp(t->keyword.data, task->keyword.data,
                          task->keyword.len) == 0)
        {
            return;                         /* its turn comes */
        }
    }

    ngx_mdvr_task_send(task);
}


/* C550 <session>,1,...: a start */

static ngx_uint_t
ngx_mdvr_task_starts(ngx_mdvr_task_t *task)
{
    u_char  *p, *last;

    last = task->body.data + task->body.len;
    p = ngx_strlchr(task->body.data, last, ',');

    return p && p + 1 < last && p[1] == '1';
}


static void
ngx_mdvr_task_send(ngx_mdvr_task_t *task)
{
    ngx_int_t         rc;
    mdvr_buf_t        b;
    ngx_mdvr_link_t  *link;

    link = task->link;
    task->state = NGX_MDVR_TASK_SENT;
    task->sent_at = ngx_current_msec;
    task->number_len = ngx_mdvr_link_number(link, task->number);

    /* who calls a vehicle that asked for it allows its call */

    if (task->keyword.len == 4
        && ngx_strncmp(task->keyword.data, "C550", 4) == 0
        && ngx_mdvr_task_starts(task))
    {
        (void) ngx_mdvr_call_decide(link, 1);

        if (link->dead || link->state != NGX_MDVR_LINK_ONLINE) {
            return;                         /* its end has freed the task */
        }
    }

    b = mdvr_buf(task->time, sizeof(task->time));
    mdvr_time_write(&b, ngx_time(), link->utc_offset);
    task->time_len = b.len;

    rc = ngx_mdvr_link_write(link, mdvr_str(task->number, task->number_len),
                             ngx_mdvr_sig_view(&task->keyword),
                             mdvr_str(link->serial, link->serial_len),
                             MDVR_STR(""), link->utc_offset,
                             ngx_mdvr_sig_view(&task->body));

    if (rc == NGX_ERROR) {
        return;                             /* the link's end reports it */
    }

    if (rc == NGX_DECLINED) {
        ngx_mdvr_task_report(task, NGX_MDVR_ANSWER_FAILED,
                             "message too long");
        ngx_mdvr_task_remove(task);
        return;
    }

    ngx_mdvr_count(commands_total);

    ngx_log_debug2(NGX_LOG_DEBUG_STREAM, link->connection->log, 0,
                   "mdvr command %V, number %ui", &task->keyword,
                   (ngx_uint_t) link->number);

    ngx_mdvr_task_report(task, NGX_MDVR_ANSWER_SENT, NULL);

    if (task->keyword.len == 5
        && ngx_strncmp(task->keyword.data, "C1111", 5) == 0)
    {
        ngx_mdvr_task_report(task, NGX_MDVR_ANSWER_ACKNOWLEDGED, NULL);
        ngx_mdvr_task_remove(task);
    }
}


/* the first command of that keyword that waits, when none is under way */

static void
ngx_mdvr_task_next(ngx_mdvr_link_t *link, ngx_str_t *keyword)
{
    ngx_mdvr_task_t  *task;

    for (task = link->tasks; task; task = task->next) {

        if (task->keyword.len != keyword->len
            || ngx_memcmp(task->keyword.data, keyword->data, keyword->len)
               != 0
            || task->state == NGX_MDVR_TASK_OVERDUE)
        {
            continue;
        }

        if (task->state == NGX_MDVR_TASK_WAITING) {
            ngx_mdvr_task_send(task);
        }

        return;
    }
}


static void
ngx_mdvr_task_remove(ngx_mdvr_task_t *task)
{
    u_char             name[8];
    ngx_str_t          keyword;
    ngx_mdvr_link_t   *link;
    ngx_mdvr_task_t  **p;

    link = task->link;

    for (p = &link->tasks; *p; p = &(*p)->next) {
        if (*p == task) {
            *p = task->next;
            link->ntasks--;
            break;
        }
    }

    if (task->timer.timer_set) {
        ngx_del_timer(&task->timer);
    }

    keyword.len = ngx_min(task->keyword.len, sizeof(name));
    keyword.data = name;
    ngx_memcpy(name, task->keyword.data, keyword.len);

    ngx_free(task);

    ngx_mdvr_task_next(link, &keyword);
}


static void
ngx_mdvr_task_timer(ngx_event_t *ev)
{
    ngx_mdvr_task_t  *task = ev->data;

    if (task->state == NGX_MDVR_TASK_OVERDUE) {
        ngx_mdvr_task_remove(task);
        return;
    }

    ngx_mdvr_count(commands_timeout_total);

    ngx_log_error(NGX_LOG_INFO, task->link->connection->log, 0,
                  "mdvr: command %V of \"%V\" not answered",
                  &task->keyword, &task->id);

    ngx_mdvr_task_report(task, NGX_MDVR_ANSWER_TIMEOUT,
                         task->state == NGX_MDVR_TASK_WAITING
                         ? "another command was in the way" : NULL);

    if (task->state == NGX_MDVR_TASK_WAITING || ngx_exiting) {
        ngx_mdvr_task_remove(task);
        return;
    }

    task->state = NGX_MDVR_TASK_OVERDUE;
    ngx_add_timer(&task->timer, NGX_MDVR_TASK_LATE);

    ngx_mdvr_task_next(task->link, &task->keyword);
}


static void
ngx_mdvr_task_report(ngx_mdvr_task_t *task, ngx_mdvr_answer_e status,
    const char *reason)
{
    ngx_mdvr_answer_t  answer;

    ngx_memzero(&answer, sizeof(ngx_mdvr_answer_t));
    answer.status = status;
    answer.success = -1;

    if (reason) {
        answer.reason.data = (u_char *) reason;
        answer.reason.len = ngx_strlen(reason);
    }

    ngx_mdvr_task_answer(task, &answer);
}


static void
ngx_mdvr_task_span(ngx_mdvr_task_t *task, const ngx_mdvr_answer_t *answer)
{
    const char  *error;

    error = answer->status == NGX_MDVR_ANSWER_ACKNOWLEDGED ? NULL
            : answer->status == NGX_MDVR_ANSWER_TIMEOUT ? "no answer in time"
            : answer->status == NGX_MDVR_ANSWER_OFFLINE ? "device offline"
            : "refused by the device";

    mdvr_span_attr_t  attrs[] = {
        { "mdvr.keyword", ngx_mdvr_sig_view(&task->keyword), 0 },
        { "mdvr.serial", mdvr_str(task->link->serial,
                                  task->link->serial_len), 0 },
        { "mdvr.command_id", ngx_mdvr_sig_view(&task->id), 0 },
        { "mdvr.error_code", ngx_mdvr_sig_view(&answer->error_code), 0 }
    };

    ngx_mdvr_span_end(&task->span, MDVR_SPAN_CLIENT,
                      ngx_mdvr_sig_view(&task->keyword), error, attrs, 4);
}


static void
ngx_mdvr_task_answer(ngx_mdvr_task_t *task, const ngx_mdvr_answer_t *answer)
{
    if (task->span.open && answer->status != NGX_MDVR_ANSWER_SENT) {
        ngx_mdvr_task_span(task, answer);
    }

    if (task->reply.len) {
        ngx_mdvr_command_answer(&task->reply, &task->id, answer);

        if ((ngx_msec_int_t) (ngx_current_msec - task->waited_until) < 0) {
            return;
        }
    }

    /* a held command that was never sent waits for the next registration */

    if (answer->status == NGX_MDVR_ANSWER_OFFLINE
        && task->state == NGX_MDVR_TASK_WAITING)
    {
        return;
    }

    ngx_mdvr_task_update(task->link, &task->id, answer);
}


/* -- commands that waited ------------------------------------------------- */

void
ngx_mdvr_task_held(ngx_mdvr_link_t *link)
{
    u_char             id[NGX_MDVR_UUID_LEN];
    ngx_str_t          param;
    ngx_mdvr_store_t  *store;

    param.data = id;
    param.len = ngx_mdvr_uuid_print(id, &link->device_id) - id;

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_HELD, &link->device_id,
                               &link->tenant_id, &param, 1, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


void
ngx_mdvr_task_held_device(const ngx_mdvr_uuid_t *device_id)
{
    ngx_mdvr_link_t    *link;
    ngx_mdvr_device_t   device;

    if (ngx_mdvr_registry_find_id(device_id, &device) != NGX_OK) {
        return;
    }

    link = ngx_mdvr_link_find(mdvr_str(device.serial, device.serial_len));

    if (link) {
        ngx_mdvr_task_held(link);
    }
}


void
ngx_mdvr_task_held_rows(const ngx_mdvr_uuid_t *device_id,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char             *p;
    size_t              n;
    int64_t             seconds;
    ngx_int_t           digit;
    ngx_str_t           hex;
    ngx_uint_t          i;
    ngx_mdvr_link_t    *link;
    ngx_mdvr_task_t    *task;
    ngx_mdvr_order_t    order;
    ngx_mdvr_device_t   device;

    static u_char       body[MDVR_FRAME_MAX];

    if (ngx_mdvr_pg_nrows(rows) == 0
        || ngx_mdvr_registry_find_id(device_id, &device) != NGX_OK)
    {
        return;
    }

    link = ngx_mdvr_link_find(mdvr_str(device.serial, device.serial_len));

    if (link == NULL) {
        return;
    }

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {

        ngx_memzero(&order, sizeof(ngx_mdvr_order_t));

        order.id = ngx_mdvr_pg_value(rows, i, 0);
        order.keyword = ngx_mdvr_pg_value(rows, i, 1);
        order.serial.data = link->serial;
        order.serial.len = link->serial_len;
        order.request_id = ngx_mdvr_pg_value(rows, i, 4);
        order.traceparent = ngx_mdvr_pg_value(rows, i, 5);
        order.timeout = 15000;

        if (ngx_mdvr_pg_int(rows, i, 3, &seconds) == NGX_OK) {
            order.timeout = seconds * 1000;
        }

        for (task = link->tasks; task; task = task->next) {
            if (task->id.len == order.id.len
                && ngx_memcmp(task->id.data, order.id.data, order.id.len)
                   == 0)
            {
                break;
            }
        }

        if (task) {
            continue;                       /* under way already */
        }

        hex = ngx_mdvr_pg_value(rows, i, 2);
        order.body.data = body;

        if (hex.len / 2 > sizeof(body)) {
            continue;
        }

        for (p = body, n = 0; n + 1 < hex.len; n += 2) {
            digit = ngx_hextoi(hex.data + n, 2);
            *p++ = (u_char) digit;
        }

        order.body.len = p - body;

        ngx_mdvr_sig_order(&order);
    }
}


static const ngx_str_t *
ngx_mdvr_task_status_name(ngx_mdvr_answer_e status)
{
    static const ngx_str_t  names[] = {
        ngx_string("sent"),
        ngx_string("acknowledged"),
        ngx_string("failed"),
        ngx_string("timeout"),
        ngx_string("failed")
    };

    return &names[status];
}


static void
ngx_mdvr_task_update(ngx_mdvr_link_t *link, const ngx_str_t *id,
    const ngx_mdvr_answer_t *answer)
{
    u_char             success[NGX_INT_T_LEN];
    ngx_str_t          params[7];
    ngx_mdvr_store_t  *store;
    const ngx_str_t   *from[4];
    ngx_uint_t         i;
    ngx_mdvr_uuid_t    uuid;

    if (ngx_mdvr_uuid_parse(id, &uuid) != NGX_OK) {
        return;
    }

    from[0] = &answer->content;
    from[1] = &answer->error_code;
    from[2] = &answer->error;
    from[3] = &answer->reason;

    params[0] = *id;
    params[1] = *ngx_mdvr_task_status_name(answer->status);

    for (i = 0; i < 4; i++) {
        params[i ? i + 3 : 2] = *from[i];

        if (from[i]->len == 0) {
            ngx_str_null(&params[i ? i + 3 : 2]);
        }
    }

    ngx_str_null(&params[3]);

    if (answer->success >= 0) {
        params[3].data = success;
        params[3].len = ngx_sprintf(success, "%i", answer->success) - success;
    }

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_COMMAND, &link->device_id,
                               &link->tenant_id, params, 7, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


/* -- answers -------------------------------------------------------------- */

static void
ngx_mdvr_task_status(const ngx_str_t *reply, const ngx_str_t *id,
    ngx_mdvr_answer_e status, const char *reason)
{
    ngx_mdvr_answer_t  answer;

    if (reply->len == 0) {
        return;                             /* held: it comes again */
    }

    ngx_memzero(&answer, sizeof(ngx_mdvr_answer_t));
    answer.status = status;
    answer.success = -1;

    if (reason) {
        answer.reason.data = (u_char *) reason;
        answer.reason.len = ngx_strlen(reason);
    }

    ngx_mdvr_command_answer(reply, id, &answer);
}


void
ngx_mdvr_sig_v100(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc)
{
    int                 rank, best;
    size_t              mark;
    mdvr_buf_t          b;
    const char         *words;
    mdvr_answer_t       a;
    ngx_mdvr_task_t    *task, *found;
    ngx_mdvr_answer_t   answer;

    static u_char       buf[32768];

    if (mdvr_answer_parse(m, loc, &a) != MDVR_OK) {
        ngx_mdvr_refusal("fields");
        return;
    }

    best = 0;
    found = NULL;

    for (task = link->tasks; task; task = task->next) {

        if (task->state == NGX_MDVR_TASK_WAITING) {
            continue;
        }

        rank = mdvr_answer_match(&a, ngx_mdvr_sig_view(&task->keyword),
                                 mdvr_str(task->number, task->number_len),
                                 mdvr_str(task->time, task->time_len));

        if (rank && rank >= best) {         /* the newest of the best */
            best = rank;
            found = task;
        }
    }

    ngx_memzero(&answer, sizeof(ngx_mdvr_answer_t));

    answer.status = a.progress ? NGX_MDVR_ANSWER_SENT
                    : a.success ? NGX_MDVR_ANSWER_ACKNOWLEDGED
                                : NGX_MDVR_ANSWER_FAILED;
    answer.success = a.status;

    b = mdvr_buf(buf, sizeof(buf));

    mdvr_text_decode(&b, a.content, 10000);
    answer.content.data = b.p;
    answer.content.len = b.len;

    mark = b.len;
    mdvr_text_decode(&b, a.error_text, MDVR_TEXT_MAX);
    answer.error_code.data = b.p + mark;
    answer.error_code.len = b.len - mark;

    mark = b.len;
    mdvr_text_decode(&b, a.reason, 1024);
    answer.reason.data = b.p + mark;
    answer.reason.len = b.len - mark;

    words = a.error > 0 ? mdvr_error_words(a.error) : NULL;

    if (words) {
        answer.error.data = (u_char *) words;
        answer.error.len = ngx_strlen(words);
    }

    ngx_mdvr_sig_str(&answer.device_time, m->time);

    if (found == NULL) {
        ngx_mdvr_task_late(link, &a, &answer);
        return;
    }

    ngx_mdvr_task_answer(found, &answer);

    if (a.progress) {

        if (found->state == NGX_MDVR_TASK_OVERDUE) {
            found->state = NGX_MDVR_TASK_SENT;

        } else {
            found->waited_until = ngx_current_msec + NGX_MDVR_TASK_PROGRESS;
        }

        ngx_add_timer(&found->timer, NGX_MDVR_TASK_PROGRESS);
        return;
    }

    if (!a.success) {
        ngx_mdvr_count(commands_failed_total);
    }

    ngx_mdvr_observe(command_seconds, ngx_current_msec - found->sent_at);

    ngx_mdvr_task_remove(found);
}


static void
ngx_mdvr_task_late(ngx_mdvr_link_t *link, const mdvr_answer_t *a,
    const ngx_mdvr_answer_t *answer)
{
    u_char             id[NGX_MDVR_UUID_LEN], at[NGX_MDVR_RFC3339_LEN],
                       success[NGX_INT_T_LEN];
    int64_t            sent;
    ngx_str_t          params[9];
    ngx_uint_t         i;
    ngx_mdvr_store_t  *store;

    ngx_mdvr_refusal("answer");

    ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                  "mdvr: answer to %*s that nobody waits for",
                  a->source_text.len, a->source_text.p);

    if (link->lates == NGX_MDVR_TASK_LATES
        || !mdvr_time_parse(a->source_time, link->utc_offset, &sent))
    {
        return;
    }

    link->lates++;

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, &link->device_id) - id;
    ngx_mdvr_sig_str(&params[1], a->source_text);
    params[2].data = at;
    params[2].len = ngx_mdvr_rfc3339(at, sent * 1000) - at;
    params[3] = *ngx_mdvr_task_status_name(answer->status);
    params[4] = answer->content;
    params[5].data = answer->success >= 0 ? success : NULL;
    params[5].len = ngx_sprintf(success, "%i", answer->success) - success;
    params[6] = answer->error_code;
    params[7] = answer->error;
    params[8] = answer->reason;

    for (i = 4; i < 9; i++) {
        if (params[i].len == 0) {
            ngx_str_null(&params[i]);
        }
    }

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_LATE, &link->device_id,
                               &link->tenant_id, params, 9, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


void
ngx_mdvr_task_alarm_server(ngx_mdvr_link_t *link)
{
    u_char            body[320];
    mdvr_buf_t        b;
    ngx_mdvr_order_t  order;

    b = mdvr_buf(body, sizeof(body));
    mdvr_body_c7212(&b, ngx_mdvr_sig_view(&link->conf->alarm_server),
                    link->conf->alarm_port, 0);

    ngx_memzero(&order, sizeof(ngx_mdvr_order_t));
    ngx_str_set(&order.keyword, "C7212");
    order.serial.data = link->serial;
    order.serial.len = link->serial_len;
    order.body.data = b.p;
    order.body.len = b.len;

    if (!b.full) {
        ngx_mdvr_sig_order(&order);
    }
}


void
ngx_mdvr_task_detach(ngx_mdvr_link_t *link)
{
    ngx_mdvr_task_t  *task, *next;

    ngx_mdvr_call_forget(link);

    task = link->tasks;
    link->tasks = NULL;
    link->ntasks = 0;

    for ( /* void */ ; task; task = next) {

        next = task->next;

        if (task->timer.timer_set) {
            ngx_del_timer(&task->timer);
        }

        if (task->state != NGX_MDVR_TASK_OVERDUE) {
            ngx_mdvr_task_report(task, NGX_MDVR_ANSWER_OFFLINE,
                                 "connection lost before the answer");
        }

        ngx_free(task);
    }
}
