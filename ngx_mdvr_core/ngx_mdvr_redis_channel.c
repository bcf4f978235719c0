/*
 * Subscriptions: a channel is asked for once per worker, however many listen.
 */

#include "ngx_mdvr_core/ngx_mdvr_redis_parts.h"


static void ngx_mdvr_redis_tidy(ngx_mdvr_redis_channel_t *channel);
static void ngx_mdvr_redis_tell(ngx_mdvr_redis_channel_t *channel,
    const ngx_str_t *msg);


ngx_mdvr_redis_channel_t  *ngx_mdvr_redis_channels[NGX_MDVR_REDIS_BUCKETS];


void
ngx_mdvr_redis_subscription(const char *verb, const ngx_str_t *name)
{
    size_t       lens[2];
    const char  *argv[2];

    if (ngx_mdvr_redis_sub.state != redis_ready) {
        return;                         /* ready() does all of them */
    }

    argv[0] = verb;
    lens[0] = ngx_strlen(verb);
    argv[1] = (char *) name->data;
    lens[1] = name->len;

    if (ngx_mdvr_redis_append(&ngx_mdvr_redis_sub, 2, argv, lens) != NGX_OK) {
        ngx_mdvr_redis_close(&ngx_mdvr_redis_sub, "no memory");
    }
}


static ngx_mdvr_redis_channel_t **
ngx_mdvr_redis_channel(const ngx_str_t *name)
{
    uint32_t                    hash;
    ngx_mdvr_redis_channel_t  **pp;

    hash = ngx_murmur_hash2(name->data, name->len);

    for (pp = &ngx_mdvr_redis_channels[hash % NGX_MDVR_REDIS_BUCKETS];
         *pp;
         pp = &(*pp)->next)
    {
        if ((*pp)->hash == hash && (*pp)->name.len == name->len
            && ngx_memcmp((*pp)->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    return pp;
}


ngx_int_t
ngx_mdvr_redis_subscribe(const ngx_str_t *name,
    ngx_mdvr_redis_message_pt handler, void *data)
{
    ngx_mdvr_redis_reg_t       *reg, **last;
    ngx_mdvr_redis_channel_t   *channel, **pp;

    pp = ngx_mdvr_redis_channel(name);
    channel = *pp;

    reg = ngx_calloc(sizeof(ngx_mdvr_redis_reg_t), ngx_cycle->log);
    if (reg == NULL) {
        return NGX_ERROR;
    }

    reg->handler = handler;
    reg->data = data;

    if (channel == NULL) {
        channel = ngx_calloc(sizeof(ngx_mdvr_redis_channel_t) + name->len,
                             ngx_cycle->log);
        if (channel == NULL) {
            ngx_free(reg);
            return NGX_ERROR;
        }

        channel->hash = ngx_murmur_hash2(name->data, name->len);
        channel->name.len = name->len;
        channel->name.data = (u_char *) (channel + 1);
        ngx_memcpy(channel->name.data, name->data, name->len);
        *pp = channel;

        ngx_mdvr_redis_subscription("SUBSCRIBE", &channel->name);

    } else if (channel->live) {

        /* Redis confirms again, which tells the newcomer where it begins */

        ngx_mdvr_redis_subscription("SUBSCRIBE", &channel->name);
    }

    for (last = &channel->regs; *last; last = &(*last)->next) { /* void */ }

    *last = reg;

    return NGX_OK;
}


void
ngx_mdvr_redis_unsubscribe(const ngx_str_t *name,
    ngx_mdvr_redis_message_pt handler, void *data)
{
    ngx_mdvr_redis_reg_t      *reg;
    ngx_mdvr_redis_channel_t  *channel;

    channel = *ngx_mdvr_redis_channel(name);

    if (channel == NULL) {
        return;
    }

    for (reg = channel->regs; reg; reg = reg->next) {
        if (reg->handler == handler && reg->data == data) {
            reg->handler = NULL;
            break;
        }
    }

    if (!channel->busy) {
        ngx_mdvr_redis_tidy(channel);
    }
}


/* Frees what was removed; a channel without handlers is unsubscribed. */

static void
ngx_mdvr_redis_tidy(ngx_mdvr_redis_channel_t *channel)
{
    ngx_mdvr_redis_reg_t      *reg, **pp;
    ngx_mdvr_redis_channel_t  **cp;

    pp = &channel->regs;

    while (*pp) {
        reg = *pp;

        if (reg->handler) {
            pp = &reg->next;
            continue;
        }

        *pp = reg->next;
        ngx_free(reg);
    }

    if (channel->regs) {
        return;
    }

    ngx_mdvr_redis_subscription("UNSUBSCRIBE", &channel->name);

    cp = ngx_mdvr_redis_channel(&channel->name);
    *cp = channel->next;
    ngx_free(channel);
}


void
ngx_mdvr_redis_pushed(const redisReply *reply)
{
    ngx_str_t                  kind, name, msg;
    ngx_mdvr_redis_channel_t  *channel;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        return;                         /* "pong" */
    }

    kind.data = (u_char *) reply->element[0]->str;
    kind.len = reply->element[0]->len;
    name.data = (u_char *) reply->element[1]->str;
    name.len = reply->element[1]->len;

    channel = *ngx_mdvr_redis_channel(&name);

    if (channel == NULL) {
        return;                         /* unsubscribed meanwhile */
    }

    if (kind.len == 7 && ngx_memcmp(kind.data, "message", 7) == 0) {
        msg.data = (u_char *) reply->element[2]->str;
        msg.len = reply->element[2]->len;

        ngx_mdvr_redis_tell(channel, &msg);

    } else if (kind.len == 9 && ngx_memcmp(kind.data, "subscribe", 9) == 0) {

        if (!channel->live) {
            ngx_mdvr_redis_reg_t  *reg;

            for (reg = channel->regs; reg; reg = reg->next) {
                reg->told = 0;
            }
        }

        channel->live = 1;
        ngx_mdvr_redis_tell(channel, NULL);
    }
}


static void
ngx_mdvr_redis_tell(ngx_mdvr_redis_channel_t *channel, const ngx_str_t *msg)
{
    ngx_mdvr_redis_reg_t  *reg;

    channel->busy = 1;

    for (reg = channel->regs; reg; reg = reg->next) {

        if (reg->handler == NULL) {
            continue;
        }

        if (msg) {
            if (reg->told) {
                reg->handler(reg->data, &channel->name, msg);
            }

        } else if (!reg->told) {
            reg->told = 1;
            reg->handler(reg->data, &channel->name, NULL);
        }
    }

    channel->busy = 0;

    ngx_mdvr_redis_tidy(channel);
}
