
/*
 * The last messages of each device as they came over the wire, for diagnostics.
 * Kept by the id of the device: its serial may belong to another tenant tomorrow.
 *
 * Positions (V114) and alarms are stored anyway, so they are left out.  The rest is
 * gathered for some 100 ms and then added to a list per device in Redis, all of it
 * with one script.  What does not fit into the gathering, or comes while Redis is
 * away, is not kept: nobody's work depends on it.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/basics/json.h"
#include "mdvr/domain/keys.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"


#define NGX_MDVR_WIRE_EVERY    200      /* ms */
#define NGX_MDVR_WIRE_TIMEOUT  2000     /* ms */
#define NGX_MDVR_WIRE_BATCH    128      /* messages gathered */
#define NGX_MDVR_WIRE_ROOM     131072   /* bytes gathered */
#define NGX_MDVR_WIRE_TEXT     500      /* bytes of a body */
#define NGX_MDVR_WIRE_FIELDS   40
#define NGX_MDVR_WIRE_DOC      4096
#define NGX_MDVR_WIRE_TTL      "604800" /* s */


typedef struct {
    size_t           key;               /* length of the name */
    size_t           doc;               /* length of the document behind it */
} ngx_mdvr_wire_t;


static void ngx_mdvr_wire_flush(ngx_event_t *ev);


static ngx_mdvr_wire_t  ngx_mdvr_wires[NGX_MDVR_WIRE_BATCH];
static ngx_uint_t       ngx_mdvr_nwires;
static ngx_uint_t       ngx_mdvr_wire_keep;
static size_t           ngx_mdvr_wire_used;
static u_char           ngx_mdvr_wire_room[NGX_MDVR_WIRE_ROOM];
static ngx_event_t      ngx_mdvr_wire_event;


/* text of a device as JSON takes it: printable ASCII, or "?" */

static void
ngx_mdvr_wire_field(mdvr_buf_t *b, mdvr_str_t field)
{
    size_t      i;
    u_char      clean[NGX_MDVR_WIRE_TEXT];
    mdvr_str_t  s;

    s.len = ngx_min(field.len, sizeof(clean));
    s.p = clean;

    for (i = 0; i < s.len; i++) {
        clean[i] = field.p[i] < ' ' || field.p[i] > '~' ? '?' : field.p[i];
    }

    mdvr_buf_chr(b, '"');
    mdvr_json_escape(b, s);
    mdvr_buf_chr(b, '"');
}


/* {"at":...,"direction":...,"keyword":...,"data":{"fields":[...]}} */

static void
ngx_mdvr_wire_doc(mdvr_buf_t *b, ngx_uint_t out, mdvr_str_t keyword,
    mdvr_str_t body)
{
    u_char            at[64];
    ngx_uint_t        n;
    mdvr_str_t        field;
    const uint8_t    *p, *end, *last;

    *ngx_mdvr_rfc3339(at, ngx_mdvr_now_ms()) = '\0';

    mdvr_buf_cstr(b, "{\"at\":\"");
    mdvr_buf_cstr(b, (char *) at);
    mdvr_buf_cstr(b, out ? "\",\"direction\":\"out\",\"keyword\":"
                         : "\",\"direction\":\"in\",\"keyword\":");
    ngx_mdvr_wire_field(b, keyword);
    mdvr_buf_cstr(b, ",\"data\":{\"fields\":[");

    p = body.p;
    last = body.p + ngx_min(body.len, NGX_MDVR_WIRE_TEXT);

    for (n = 0; p < last && n < NGX_MDVR_WIRE_FIELDS; n++, p = end + 1) {
        end = memchr(p, ',', last - p);

        if (end == NULL) {
            end = last;
        }

        field.p = p;
        field.len = end - p;

        if (n) {
            mdvr_buf_chr(b, ',');
        }

        ngx_mdvr_wire_field(b, field);
    }

    mdvr_buf_cstr(b, p < body.p + body.len ? "],\"cut\":true}}" : "]}}");
}


void
ngx_mdvr_sig_wire(ngx_mdvr_link_t *link, ngx_uint_t out, mdvr_str_t keyword,
    mdvr_str_t body)
{
    u_char            device[NGX_MDVR_UUID_LEN];
    mdvr_buf_t        key, doc;
    ngx_event_t      *ev;
    ngx_mdvr_wire_t  *wire;

    static ngx_connection_t  dummy;     /* nginx logs its descriptor */

    if (link->conf->wire == 0 || link->serial_len == 0
        || ngx_mdvr_nwires == NGX_MDVR_WIRE_BATCH
        || ngx_mdvr_wire_used + MDVR_KEY_MAX + NGX_MDVR_WIRE_DOC
           > NGX_MDVR_WIRE_ROOM)
    {
        return;
    }

    (void) ngx_mdvr_uuid_print(device, &link->device_id);

    key = mdvr_buf(ngx_mdvr_wire_room + ngx_mdvr_wire_used, MDVR_KEY_MAX);
    mdvr_key_wire(&key, mdvr_str(device, NGX_MDVR_UUID_LEN));

    doc = mdvr_buf(key.p + key.len, NGX_MDVR_WIRE_DOC);
    ngx_mdvr_wire_doc(&doc, out, keyword, body);

    if (key.full || doc.full) {
        return;
    }

    wire = &ngx_mdvr_wires[ngx_mdvr_nwires++];
    wire->key = key.len;
    wire->doc = doc.len;

    ngx_mdvr_wire_used += key.len + doc.len;
    ngx_mdvr_wire_keep = link->conf->wire;

    ev = &ngx_mdvr_wire_event;

    if (ev->handler == NULL) {
        dummy.fd = (ngx_socket_t) -1;
        ev->handler = ngx_mdvr_wire_flush;
        ev->data = &dummy;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;
    }

    if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_MDVR_WIRE_EVERY);
    }
}


static void
ngx_mdvr_wire_flush(ngx_event_t *ev)
{
    u_char       keep[NGX_INT32_LEN], count[NGX_INT32_LEN], *p;
    size_t       lens[2 * NGX_MDVR_WIRE_BATCH + 5];
    ngx_int_t    argc;
    ngx_uint_t   i;
    const char  *argv[2 * NGX_MDVR_WIRE_BATCH + 5];

    static const char  script[] =
        "for i,key in ipairs(KEYS) do "
        "redis.call('RPUSH',key,ARGV[i+2]) "
        "redis.call('LTRIM',key,-ARGV[1],-1) "
        "redis.call('EXPIRE',key,ARGV[2]) end";

    if (ngx_mdvr_nwires == 0 || !ngx_mdvr_redis_up()) {
        goto done;
    }

    argv[0] = "EVAL";
    lens[0] = 4;
    argv[1] = script;
    lens[1] = sizeof(script) - 1;
    argv[2] = (char *) count;
    lens[2] = ngx_sprintf(count, "%ui", ngx_mdvr_nwires) - count;

    argc = 3 + ngx_mdvr_nwires;
    argv[argc] = (char *) keep;
    lens[argc++] = ngx_sprintf(keep, "%ui", ngx_mdvr_wire_keep) - keep;
    argv[argc] = NGX_MDVR_WIRE_TTL;
    lens[argc++] = sizeof(NGX_MDVR_WIRE_TTL) - 1;

    p = ngx_mdvr_wire_room;

    for (i = 0; i < ngx_mdvr_nwires; i++) {
        argv[3 + i] = (char *) p;
        lens[3 + i] = ngx_mdvr_wires[i].key;
        p += ngx_mdvr_wires[i].key;

        argv[argc] = (char *) p;
        lens[argc++] = ngx_mdvr_wires[i].doc;
        p += ngx_mdvr_wires[i].doc;
    }

    (void) ngx_mdvr_redis_command(NULL, NGX_MDVR_WIRE_TIMEOUT, argc, argv,
                                  lens, NULL, NULL);

done:

    ngx_mdvr_nwires = 0;
    ngx_mdvr_wire_used = 0;
}
