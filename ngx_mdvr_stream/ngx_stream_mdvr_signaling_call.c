/*
 * Calls of people in vehicles (V130): the question waits for an operator.
 *
 *   V130 start   event "call"; waits `mdvr_signaling_call_wait`, 0: refused at
 *                once by policy (answer mode 0)
 *   allowed      by POST talk/start: C100 1 goes out right before C550
 *   refused      by POST talk/stop, or by nobody in time: C100 0
 *   V130 stop    confirmed with 2 at once; a talk that runs ends: hung_up
 *
 * How it ended is event "call_ended" with a reason: accepted, refused,
 * no_answer, hung_up.  At most one call of a device waits, the newest.
 *
 * Source: protocol reference, signaling.md, V130.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_talk.h"


#define NGX_MDVR_CALLS_MAX  256             /* of this worker */


typedef struct {
    ngx_queue_t       queue;
    ngx_mdvr_link_t  *link;
    ngx_event_t       timer;
    u_char            number[16];           /* of the question */
    u_char            time[24];
    uint8_t           number_len;
    uint8_t           time_len;
} ngx_mdvr_call_t;


static ngx_queue_t  ngx_mdvr_calls;
static ngx_uint_t   ngx_mdvr_ncalls;


static ngx_mdvr_call_t *
ngx_mdvr_call_find(ngx_mdvr_link_t *link)
{
    ngx_queue_t      *q;
    ngx_mdvr_call_t  *call;

    if (ngx_mdvr_ncalls == 0) {
        return NULL;
    }

    for (q = ngx_queue_head(&ngx_mdvr_calls);
         q != ngx_queue_sentinel(&ngx_mdvr_calls);
         q = ngx_queue_next(q))
    {
        call = ngx_queue_data(q, ngx_mdvr_call_t, queue);

        if (call->link == link) {
            return call;
        }
    }

    return NULL;
}


static void
ngx_mdvr_call_free(ngx_mdvr_call_t *call)
{
    if (call->timer.timer_set) {
        ngx_del_timer(&call->timer);
    }

    ngx_queue_remove(&call->queue);
    ngx_mdvr_ncalls--;
    ngx_free(call);
}


static void
ngx_mdvr_call_event(ngx_mdvr_link_t *link, const char *event,
    const char *reason)
{
    u_char             id[NGX_MDVR_UUID_LEN];
    ngx_str_t          params[3];
    ngx_mdvr_store_t  *store;

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, &link->device_id) - id;
    params[1].data = (u_char *) event;
    params[1].len = ngx_strlen(event);
    params[2].data = (u_char *) reason;
    params[2].len = reason ? ngx_strlen(reason) : 0;

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_CALL, &link->device_id,
                               &link->tenant_id, params, 3, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


/* `permission` 0 refused, 1 allowed, answered by a person. */

static void
ngx_mdvr_call_answer(ngx_mdvr_call_t *call, const char *permission,
    const char *reason)
{
    u_char            body[64], number[sizeof(call->number)];
    size_t            len = call->number_len;
    mdvr_buf_t        b;
    ngx_mdvr_link_t  *link = call->link;

    ngx_memcpy(number, call->number, len);

    b = mdvr_buf(body, sizeof(body));
    mdvr_buf_cstr(&b, ",V130,");
    mdvr_buf_add(&b, call->time, call->time_len);
    mdvr_buf_cstr(&b, ",1,");
    mdvr_buf_cstr(&b, permission);

    ngx_mdvr_call_free(call);                   /* writing may end the link */
    ngx_mdvr_call_event(link, "call_ended", reason);

    (void) ngx_mdvr_link_write(link, mdvr_str(number, len), MDVR_STR("C100"),
                               mdvr_str(link->serial, link->serial_len),
                               MDVR_STR(""), link->utc_offset,
                               mdvr_buf_view(&b));
}


static void
ngx_mdvr_call_timer(ngx_event_t *ev)
{
    ngx_mdvr_call_answer(ev->data, "0", "no_answer");
}


void
ngx_mdvr_call_start(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    ngx_mdvr_call_t  *call;

    if (ngx_mdvr_calls.next == NULL) {
        ngx_queue_init(&ngx_mdvr_calls);
    }

    call = ngx_mdvr_call_find(link);

    if (call == NULL && link->conf->call_wait
        && ngx_mdvr_ncalls < NGX_MDVR_CALLS_MAX
        && m->number.len <= sizeof(call->number)
        && m->time.len <= sizeof(call->time))
    {
        call = ngx_calloc(sizeof(ngx_mdvr_call_t), ngx_mdvr_sig.log);

        if (call) {
            call->link = link;
            call->timer.handler = ngx_mdvr_call_timer;
            call->timer.data = call;
            call->timer.log = ngx_mdvr_sig.log;
            call->timer.cancelable = 1;
            ngx_queue_insert_tail(&ngx_mdvr_calls, &call->queue);
            ngx_mdvr_ncalls++;

            ngx_add_timer(&call->timer, link->conf->call_wait);
            ngx_mdvr_call_event(link, "call", NULL);
        }
    }

    if (call == NULL || m->number.len > sizeof(call->number)
        || m->time.len > sizeof(call->time))
    {
        ngx_mdvr_refusal("call");
        ngx_mdvr_sig_c100(link, m, link->utc_offset, MDVR_STR("0"));
        return;
    }

    /* asked again: the newest question is the one to answer */

    call->number_len = (uint8_t) m->number.len;
    ngx_memcpy(call->number, m->number.p, m->number.len);
    call->time_len = (uint8_t) m->time.len;
    ngx_memcpy(call->time, m->time.p, m->time.len);
}


void
ngx_mdvr_call_stop(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    mdvr_bus_info_t   info;
    ngx_mdvr_call_t  *call;

    ngx_mdvr_sig_c100(link, m, link->utc_offset, MDVR_STR("2"));

    call = ngx_mdvr_call_find(link);

    if (call) {
        ngx_mdvr_call_event(link, "call_ended", "hung_up");
        ngx_mdvr_call_free(call);
    }

    if (ngx_mdvr_talk_find(link->device_id.b, &info) == MDVR_OK) {
        (void) ngx_mdvr_bus_end(info.ref, MDVR_BUS_END_HUNG_UP,
                                link->connection->log);
    }
}


ngx_uint_t
ngx_mdvr_call_decide(ngx_mdvr_link_t *link, ngx_uint_t allow)
{
    ngx_mdvr_call_t  *call = ngx_mdvr_call_find(link);

    if (call == NULL) {
        return 0;
    }

    ngx_mdvr_call_answer(call, allow ? "1" : "0",
                         allow ? "accepted" : "refused");
    return 1;
}


void
ngx_mdvr_call_forget(ngx_mdvr_link_t *link)
{
    ngx_mdvr_call_t  *call = ngx_mdvr_call_find(link);

    if (call) {
        ngx_mdvr_call_event(link, "call_ended", "hung_up");
        ngx_mdvr_call_free(call);
    }
}
