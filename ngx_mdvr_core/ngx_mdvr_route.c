/*
 * Routes: which instance holds a device, in `mdvr:route:{<serial>}`, for as
 * long as it says so again.
 *
 * The slot in names and routes is a wire slot: 24 bits of the boot id, then 8
 * bits of the slot.  During a binary upgrade two instances of a node live side
 * by side, each with slots from 0 and a registry of its own; to each other
 * they are like different nodes.
 */

#include "ngx_mdvr_core/ngx_mdvr_route.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"

#include "mdvr/basics/json.h"
#include "mdvr/domain/keys.h"


#define NGX_MDVR_ROUTE_TTL    "300"
#define NGX_MDVR_ROUTE_REDIS  3000      /* ms for one of its commands */


typedef struct {
    uint64_t                  connection;
    size_t                    len;
    u_char                    serial[NGX_MDVR_SERIAL_MAX + 1];
} ngx_mdvr_route_call_t;


static const char  ngx_mdvr_route_refresh_script[] =
    "local v = redis.call('get', KEYS[1])"
    " local n, s = string.match(v or '', '^(%S+) (%d+) ')"
    " if v == false or n == nil or (n == ARGV[2]"
    " and math.floor(tonumber(s) / 256) == tonumber(ARGV[3])) then"
    " redis.call('set', KEYS[1], ARGV[1], 'EX', " NGX_MDVR_ROUTE_TTL ")"
    " return '' end return v";

static const char  ngx_mdvr_route_release_script[] =
    "if redis.call('get', KEYS[1]) == ARGV[1] then"
    " return redis.call('del', KEYS[1]) end return 0";

static ngx_mdvr_core_conf_t  *ngx_mdvr_route_conf;
static uint32_t               ngx_mdvr_route_tag;


void
ngx_mdvr_route_init(ngx_mdvr_core_conf_t *conf)
{
    const u_char  *boot;

    boot = ngx_mdvr_boot()->b;

    ngx_mdvr_route_conf = conf;
    ngx_mdvr_route_tag = (uint32_t) boot[13] << 16 | boot[14] << 8 | boot[15];
}


uint32_t
ngx_mdvr_route_slot(ngx_uint_t slot)
{
    return ngx_mdvr_route_tag << NGX_MDVR_SLOT_BITS | (uint32_t) slot;
}


/* key into argv[at], value into argv[at + 1]; the texts stay in `text` */

static ngx_int_t
ngx_mdvr_route_args(u_char *text, const ngx_str_t *serial,
    uint64_t connection, const char **argv, size_t *lens, ngx_uint_t at,
    ngx_uint_t vat)
{
    mdvr_buf_t    b;
    mdvr_route_t  route;

    b = mdvr_buf(text, MDVR_KEY_MAX);
    mdvr_key_route(&b, ngx_mdvr_view(serial));

    if (b.full) {
        return NGX_ERROR;
    }

    argv[at] = (char *) text;
    lens[at] = b.len;

    route.node = ngx_mdvr_view(&ngx_mdvr_route_conf->node);
    route.slot = ngx_mdvr_route_slot(ngx_mdvr_slot);
    route.connection = connection;

    b = mdvr_buf(text + MDVR_KEY_MAX, MDVR_KEY_MAX);
    mdvr_route_write(&b, &route);

    argv[vat] = (char *) text + MDVR_KEY_MAX;
    lens[vat] = b.len;

    return b.full ? NGX_ERROR : NGX_OK;
}


/* Tells another instance that it does not hold the device any more. */

static void
ngx_mdvr_route_claimed(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_route_call_t *call = data;

    u_char         doc[256], channel[MDVR_KEY_MAX];
    ngx_str_t      to, msg;
    mdvr_buf_t     b;
    mdvr_json_t    j;
    mdvr_route_t   route;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_STRING
        && mdvr_route_parse(mdvr_str(reply->str, reply->len), &route)
        && (route.slot >> NGX_MDVR_SLOT_BITS != ngx_mdvr_route_tag
            || !mdvr_str_eq(route.node,
                            ngx_mdvr_view(&ngx_mdvr_route_conf->node))))
    {
        u_char             number[NGX_INT64_LEN + NGX_MDVR_ADDRESS_MAX + 2];
        mdvr_str_t         body;
        ngx_str_t          name = { call->len, call->serial };
        ngx_mdvr_holder_t  holder;

        /* which connection, and from where the device came to us */

        (void) ngx_mdvr_registry_holder(&name, &holder);

        body = mdvr_str(number,
                        ngx_sprintf(number, "%uL,%s", route.connection,
                                    holder.held ? holder.address
                                                : (u_char *) "") - number);

        b = mdvr_buf(doc, sizeof(doc));
        mdvr_json_init(&j, &b);

        mdvr_json_object(&j, NULL);
        mdvr_json_cstr(&j, "id", "");
        mdvr_json_cstr(&j, "reply", "");
        mdvr_json_str(&j, "serial", mdvr_str(call->serial, call->len));
        mdvr_json_cstr(&j, "keyword", "close");
        mdvr_json_str(&j, "body", body);
        mdvr_json_object_end(&j);

        msg.data = b.p;
        msg.len = b.len;

        b = mdvr_buf(channel, sizeof(channel));
        mdvr_channel_command(&b, route.node, route.slot);
        to.data = b.p;
        to.len = b.len;

        (void) ngx_mdvr_redis_publish(&to, &msg, 0);
    }

    ngx_free(call);
}


static void
ngx_mdvr_route_refreshed(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_route_call_t *call = data;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_STRING && reply->len) {
        ngx_mdvr_mail_local(NGX_MDVR_MAIL_CLOSE, call->connection, 0);
    }

    ngx_free(call);
}


static ngx_mdvr_route_call_t *
ngx_mdvr_route_call(const ngx_str_t *serial, uint64_t connection)
{
    ngx_mdvr_route_call_t  *call;

    if (serial->len > NGX_MDVR_SERIAL_MAX || !ngx_mdvr_redis_up()) {
        return NULL;
    }

    call = ngx_alloc(sizeof(ngx_mdvr_route_call_t), ngx_cycle->log);

    if (call) {
        call->connection = connection;
        call->len = serial->len;
        ngx_memcpy(call->serial, serial->data, serial->len);
    }

    return call;
}


void
ngx_mdvr_route_claim(const ngx_str_t *serial, uint64_t connection)
{
    u_char                  text[2 * MDVR_KEY_MAX];
    size_t                  lens[6];
    const char             *argv[6];
    ngx_mdvr_route_call_t  *call;

    argv[0] = "SET";
    lens[0] = 3;
    argv[3] = "EX";
    lens[3] = 2;
    argv[4] = NGX_MDVR_ROUTE_TTL;
    lens[4] = sizeof(NGX_MDVR_ROUTE_TTL) - 1;
    argv[5] = "GET";
    lens[5] = 3;

    if (ngx_mdvr_route_args(text, serial, connection, argv, lens, 1, 2)
        != NGX_OK)
    {
        return;
    }

    call = ngx_mdvr_route_call(serial, connection);

    if (call
        && ngx_mdvr_redis_command(NULL, NGX_MDVR_ROUTE_REDIS, 6, argv, lens,
                                  ngx_mdvr_route_claimed, call)
           != NGX_OK)
    {
        ngx_free(call);
    }
}


void
ngx_mdvr_route_refresh(const ngx_str_t *serial, uint64_t connection)
{
    u_char                  text[2 * MDVR_KEY_MAX];
    u_char                  tag[NGX_INT32_LEN];
    size_t                  lens[7];
    const char             *argv[7];
    ngx_mdvr_route_call_t  *call;

    argv[0] = "EVAL";
    lens[0] = 4;
    argv[1] = ngx_mdvr_route_refresh_script;
    lens[1] = sizeof(ngx_mdvr_route_refresh_script) - 1;
    argv[2] = "1";
    lens[2] = 1;

    if (ngx_mdvr_route_args(text, serial, connection, argv, lens, 3, 4)
        != NGX_OK)
    {
        return;
    }

    argv[5] = (char *) ngx_mdvr_route_conf->node.data;
    lens[5] = ngx_mdvr_route_conf->node.len;
    argv[6] = (char *) tag;
    lens[6] = ngx_sprintf(tag, "%uD", ngx_mdvr_route_tag) - tag;

    call = ngx_mdvr_route_call(serial, connection);

    if (call
        && ngx_mdvr_redis_command(NULL, NGX_MDVR_ROUTE_REDIS, 7, argv, lens,
                                  ngx_mdvr_route_refreshed, call)
           != NGX_OK)
    {
        ngx_free(call);
    }
}


void
ngx_mdvr_route_release(const ngx_str_t *serial, uint64_t connection)
{
    u_char       text[2 * MDVR_KEY_MAX];
    size_t       lens[5];
    const char  *argv[5];

    argv[0] = "EVAL";
    lens[0] = 4;
    argv[1] = ngx_mdvr_route_release_script;
    lens[1] = sizeof(ngx_mdvr_route_release_script) - 1;
    argv[2] = "1";
    lens[2] = 1;

    if (ngx_mdvr_redis_up()
        && ngx_mdvr_route_args(text, serial, connection, argv, lens, 3, 4)
           == NGX_OK)
    {
        (void) ngx_mdvr_redis_command(NULL, NGX_MDVR_ROUTE_REDIS, 5, argv,
                                      lens, NULL, NULL);
    }
}
