/*
 * The device's configuration file (V109, direction 1), asked for with C521: small,
 * kept in memory, compared with the MD5 that the device announced, and stored
 * with the command.
 *
 * Source: protocol reference, media.md section 6, flows.md section 12.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"

#include <jansson.h>
#include <openssl/md5.h>


#define NGX_STREAM_MDVR_CONFIG_NO_END  10000        /* ms */


typedef struct {
    ngx_str_t       command;
    ngx_str_t       name;
    u_char         *p;
    size_t          len;                        /* without a gap */
    size_t          cap;
    size_t          total;                      /* 0: not announced */
    u_char          md5[16];
    ngx_msec_t      full;
    unsigned        checked:1;                  /* an MD5 was announced */
    unsigned        done:1;
} ngx_stream_mdvr_config_t;


static ngx_int_t ngx_stream_mdvr_config_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);
static ngx_int_t ngx_stream_mdvr_config_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_config_wake(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_config_tick(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_config_close(ngx_stream_mdvr_media_t *m);


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_config_up = {
    MDVR_SESSION_CONFIG,
    MDVR_BUS_KIND_CONFIG,
    sizeof(ngx_stream_mdvr_config_t),
    ngx_stream_mdvr_config_open,
    ngx_stream_mdvr_config_message,
    ngx_stream_mdvr_config_wake,
    ngx_stream_mdvr_config_tick,
    ngx_stream_mdvr_config_close,
    NULL
};


static ngx_uint_t
ngx_stream_mdvr_config_md5(const mdvr_str_t *text, u_char md5[16])
{
    ngx_int_t   n;
    ngx_uint_t  i;

    if (text->len != 32) {
        return 0;
    }

    for (i = 0; i < 16; i++) {
        n = ngx_hextoi((u_char *) text->p + 2 * i, 2);

        if (n == NGX_ERROR) {
            return 0;
        }

        md5[i] = (u_char) n;
    }

    return 1;
}


static ngx_int_t
ngx_stream_mdvr_config_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    char                       text[MDVR_BUS_NOTE_MAX];
    json_t                    *note;
    ngx_str_t                  said;
    const char                *word;
    ngx_stream_mdvr_config_t  *config = m->data;

    if (m->info->state == MDVR_BUS_ENDING || reg->direction != 1
        || mdvr_bus_note(ngx_mdvr_bus(), m->ref, text, sizeof(text))
           != MDVR_OK)
    {
        return NGX_DECLINED;
    }

    note = json_loads(text, 0, NULL);
    word = json_string_value(json_object_get(note, "direction"));

    if (word == NULL || ngx_strcmp(word, "pull") != 0) {
        json_decref(note);
        return NGX_DECLINED;
    }

    word = json_string_value(json_object_get(note, "command_id"));

    if (word) {
        said.data = (u_char *) word;
        said.len = ngx_strlen(word);
        config->command.data = ngx_pstrdup(m->connection->pool, &said);
        config->command.len = config->command.data ? said.len : 0;
    }

    json_decref(note);

    if (reg->size > NGX_MDVR_TRANSFER_CONFIG) {
        ngx_mdvr_transfer_failed(&config->command, m->info->tenant_id, 0,
                                 "the configuration file is too big");
        (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_FAILED,
                                m->connection->log);
        return ngx_stream_mdvr_media_reject(m, "file_size",
                                            MDVR_MEDIA_NO_CENTER);
    }

    config->total = reg->size > 0 ? (size_t) reg->size : 0;
    config->checked = ngx_stream_mdvr_config_md5(&reg->md5, config->md5);

    said.data = (u_char *) reg->file_name.p;
    said.len = ngx_min(reg->file_name.len, 255);

    if (said.len && ngx_utf8_length(said.data, said.len) <= said.len) {
        config->name.data = ngx_pstrdup(m->connection->pool, &said);
        config->name.len = config->name.data ? said.len : 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mdvr_config_over(ngx_stream_mdvr_media_t *m)
{
    u_char                     text[16], md5[MD5_DIGEST_LENGTH];
    mdvr_buf_t                 b;
    mdvr_bus_end_e             why;
    ngx_stream_mdvr_config_t  *config = m->data;

    (void) MD5(config->p, config->len, md5);

    if (config->checked && ngx_memcmp(md5, config->md5, sizeof(md5)) != 0) {
        why = MDVR_BUS_END_FAILED;
        ngx_mdvr_refusal("file_checksum");
        ngx_mdvr_transfer_failed(&config->command, m->info->tenant_id, 0,
                      "the file does not have the checksum that the device"
                      " announced");
    } else {
        why = MDVR_BUS_END_COMPLETE;
        ngx_mdvr_transfer_progress(&config->command, config->len,
                                   config->len);
        ngx_mdvr_transfer_keep(&config->command, &config->name, config->p,
                               config->len, md5);
    }

    config->done = 1;

    (void) mdvr_bus_progress(ngx_mdvr_bus(), m->ref, m->ticket, config->len);
    (void) ngx_mdvr_bus_end(m->ref, why, m->connection->log);

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_empty(&b, MDVR_MEDIA_END);
    (void) ngx_stream_mdvr_media_send(m, &b);

    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_STOPPING,
                               m->conf->close_wait);

    return NGX_DONE;
}


static ngx_int_t
ngx_stream_mdvr_config_block(ngx_stream_mdvr_media_t *m,
    const mdvr_media_block_t *block)
{
    size_t                     end, cap;
    u_char                    *p;
    ngx_stream_mdvr_config_t  *config = m->data;

    end = (size_t) block->offset + block->data.len;

    if (end > NGX_MDVR_TRANSFER_CONFIG
        || (config->total && end > config->total))
    {
        return ngx_stream_mdvr_media_refuse(m, "file_offset");
    }

    if (block->offset > config->len || end <= config->len) {
        return NGX_OK;                          /* a gap, or twice */
    }

    if (end > config->cap) {
        cap = ngx_max(end, ngx_max(config->cap * 2, 4096));
        p = ngx_alloc(cap, m->connection->log);

        if (p == NULL) {
            return NGX_ERROR;
        }

        if (config->p) {
            ngx_memcpy(p, config->p, config->len);
            ngx_free(config->p);
        }

        config->p = p;
        config->cap = cap;
    }

    ngx_memcpy(config->p + block->offset, block->data.p, block->data.len);
    config->len = end;

    if (config->total && config->len == config->total && config->full == 0) {
        config->full = ngx_current_msec;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mdvr_config_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    mdvr_media_block_t         block;
    ngx_stream_mdvr_config_t  *config = m->data;

    switch (msg->type) {

    case MDVR_MEDIA_BLOCK:
    case MDVR_MEDIA_CONFIG_UP:

        if (config->done) {
            return NGX_OK;
        }

        if (mdvr_media_read_block(msg->payload, &block) != MDVR_OK) {
            return ngx_stream_mdvr_media_refuse(m, "media_payload");
        }

        if (block.data.len) {
            return ngx_stream_mdvr_config_block(m, &block);
        }

        if (config->len == 0
            || (config->total && config->len < config->total))
        {
            return ngx_stream_mdvr_media_refuse(m, "file_short");
        }

        return ngx_stream_mdvr_config_over(m);

    case MDVR_MEDIA_END:
        m->deadline = ngx_current_msec;
        return NGX_OK;

    case MDVR_MEDIA_HEARTBEAT:
    case MDVR_MEDIA_FILE_REPORT:
        return NGX_OK;

    default:
        return ngx_stream_mdvr_media_refuse(m, "media_type");
    }
}


static ngx_int_t
ngx_stream_mdvr_config_wake(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_config_t  *config = m->data;

    return config->done || mdvr_bus_owns(ngx_mdvr_bus(), m->ref, m->ticket)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_stream_mdvr_config_tick(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_config_t  *config = m->data;

    if (config->done) {
        return NGX_OK;
    }

    if (ngx_stream_mdvr_config_wake(m) != NGX_OK) {
        return NGX_ERROR;
    }

    if (config->full
        && ngx_current_msec - config->full >= NGX_STREAM_MDVR_CONFIG_NO_END)
    {
        return ngx_stream_mdvr_config_over(m);
    }

    if (ngx_current_msec - m->heard >= m->conf->file_timeout) {
        return ngx_stream_mdvr_media_refuse(m, "media_silence");
    }

    return NGX_OK;
}


/* Cut off: the device may come again with the same session, from the start. */

static void
ngx_stream_mdvr_config_close(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t                *bus = ngx_mdvr_bus();
    ngx_stream_mdvr_config_t  *config = m->data;

    if (config->p) {
        ngx_free(config->p);
        config->p = NULL;
    }

    if (!config->done && bus) {
        mdvr_bus_disown(bus, m->ref, m->ticket,
                        mdvr_bus_clock_ms() + m->conf->comeback,
                        MDVR_BUS_END_DISCONNECTED, 0);
    }
}
