/* See ngx_mdvr_transfer.h. */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_mdvr_core/ngx_mdvr_transfer.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_uuid.h"
#include "mdvr/dc/answer.h"
#include "mdvr/domain/keys.h"

#include <openssl/sha.h>


#define NGX_MDVR_TRANSFER_WAIT  20000       /* ms, for the database */


struct ngx_mdvr_meter_s {
    u_char      id[NGX_MDVR_UUID_LEN];
    uint64_t    bytes;
    uint64_t    frames;
    uint64_t    gaps;
    char        reason[24];
    unsigned    known:1;                    /* the row has an id */
    unsigned    over:1;                     /* before it had one */
};


static ngx_mdvr_pg_param_t
ngx_mdvr_transfer_number(u_char *buf, uint64_t n)
{
    ngx_mdvr_pg_param_t  param;

    param.data = buf;
    param.len = ngx_sprintf(buf, "%uL", n) - buf;
    param.binary = 0;

    return param;
}


static ngx_mdvr_pg_param_t
ngx_mdvr_transfer_word(const char *s)
{
    ngx_mdvr_pg_param_t  param;

    param.data = s;
    param.len = ngx_strlen(s);
    param.binary = 0;

    return param;
}


/* --- connections ------------------------------------------------------------ */

static void
ngx_mdvr_meter_close(ngx_mdvr_meter_t *meter)
{
    u_char               n[3][NGX_INT64_LEN];
    ngx_str_t            id;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[5];

    id.data = meter->id;
    id.len = NGX_MDVR_UUID_LEN;

    params[0] = ngx_mdvr_pg_text(&id);
    params[1] = ngx_mdvr_transfer_word(meter->reason);
    params[2] = ngx_mdvr_transfer_number(n[0], meter->bytes);
    params[3] = ngx_mdvr_transfer_number(n[1], meter->frames);
    params[4] = ngx_mdvr_transfer_number(n[2], meter->gaps);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = "select mdvr.media_session_end($1::uuid, $2, null,"
               " $3::bigint, $4::bigint, $5::bigint)";
    call.params = params;
    call.nparams = 5;

    (void) ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_TRANSFER_WAIT, NULL, NULL);

    ngx_free(meter);
}


static void
ngx_mdvr_meter_started(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_str_t          id;
    ngx_mdvr_meter_t  *meter = data;

    if (rc == MDVR_OK && ngx_mdvr_pg_nrows(rows)) {
        id = ngx_mdvr_pg_value(rows, 0, 0);

        if (id.len == NGX_MDVR_UUID_LEN) {
            ngx_memcpy(meter->id, id.data, id.len);
            meter->known = 1;
        }
    }

    if (!meter->over) {
        return;
    }

    if (meter->known) {
        ngx_mdvr_meter_close(meter);

    } else {
        ngx_free(meter);
    }
}


ngx_mdvr_meter_t *
ngx_mdvr_meter_start(const mdvr_bus_info_t *info)
{
    u_char                 device[NGX_MDVR_UUID_LEN], channel[NGX_INT_T_LEN];
    const char            *kind;
    ngx_str_t              id;
    ngx_mdvr_uuid_t        uuid;
    ngx_mdvr_meter_t      *meter;
    ngx_mdvr_pg_call_t     call;
    ngx_mdvr_pg_param_t    params[6];
    ngx_mdvr_core_conf_t  *conf;

    switch (info->kind) {
    case MDVR_BUS_KIND_LIVE:      kind = "live";      break;
    case MDVR_BUS_KIND_FILE:      kind = "file";      break;
    case MDVR_BUS_KIND_SNAPSHOT:  kind = "snapshot";  break;
    case MDVR_BUS_KIND_TALK:      kind = "talk";      break;
    case MDVR_BUS_KIND_UPGRADE:   kind = "upgrade";   break;
    case MDVR_BUS_KIND_CONFIG:    kind = "config";    break;
    case MDVR_BUS_KIND_PUSH:      kind = "push";      break;
    default:
        return NULL;
    }

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (conf->pg[NGX_MDVR_PG_STREAM].conninfo.len == 0) {
        return NULL;
    }

    meter = ngx_calloc(sizeof(ngx_mdvr_meter_t), ngx_cycle->log);
    if (meter == NULL) {
        return NULL;
    }

    ngx_memcpy(uuid.b, info->device_id, 16);
    id.data = device;
    id.len = ngx_mdvr_uuid_print(device, &uuid) - device;

    params[0] = ngx_mdvr_pg_text(&id);
    params[1] = ngx_mdvr_transfer_word(kind);
    params[2] = ngx_mdvr_transfer_number(channel, info->channel);
    params[3] = ngx_mdvr_transfer_word(info->stream ? "sub" : "main");
    params[4] = ngx_mdvr_pg_text(&conf->node);
    params[5] = ngx_mdvr_transfer_word(info->session);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = "select mdvr.media_session_start($1::uuid, $2, $3::int, $4,"
               " $5, $6)";
    call.params = params;
    call.nparams = 6;

    if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_TRANSFER_WAIT,
                          ngx_mdvr_meter_started, meter)
        != NGX_OK)
    {
        ngx_free(meter);
        return NULL;
    }

    return meter;
}


void
ngx_mdvr_meter_end(ngx_mdvr_meter_t *meter, mdvr_bus_ref_t ref,
    uint64_t bytes_in)
{
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    mdvr_bus_info_t   info;

    if (meter == NULL) {
        return;
    }

    meter->bytes = bytes_in;
    (void) ngx_cpystrn((u_char *) meter->reason, (u_char *) "disconnected",
                       sizeof(meter->reason));

    if (bus && mdvr_bus_info(bus, ref, &info) == MDVR_OK) {
        meter->frames = info.frames;
        meter->gaps = info.discontinuities;

        if (info.end != MDVR_BUS_END_NONE) {
            (void) ngx_cpystrn((u_char *) meter->reason,
                               (u_char *) mdvr_bus_end_name(info.end),
                               sizeof(meter->reason));
        }
    }

    if (meter->known) {
        ngx_mdvr_meter_close(meter);

    } else {
        meter->over = 1;                    /* when its row has an id */
    }
}


/* --- files of commands ---------------------------------------------------------- */

void
ngx_mdvr_transfer_progress(const ngx_str_t *command, uint64_t bytes,
    uint64_t size)
{
    u_char               n[2][NGX_INT64_LEN];
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[3];

    params[0] = ngx_mdvr_pg_text(command);
    params[1] = ngx_mdvr_transfer_number(n[0], bytes);
    params[2] = ngx_mdvr_transfer_number(n[1], size);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = "select mdvr.command_transfer($1::uuid, $2::bigint,"
               " $3::bigint)";
    call.params = params;
    call.nparams = 3;

    (void) ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_TRANSFER_WAIT, NULL, NULL);
}


static void
ngx_mdvr_transfer_told(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    u_char            name[MDVR_KEY_MAX], text[NGX_MDVR_UUID_LEN];
    ngx_str_t         channel, message;
    mdvr_buf_t        b;
    ngx_mdvr_uuid_t  *tenant = data;

    if (rc == MDVR_OK && ngx_mdvr_pg_nrows(rows)
        && !ngx_mdvr_pg_isnull(rows, 0, 0))
    {
        (void) ngx_mdvr_uuid_print(text, tenant);

        b = mdvr_buf(name, sizeof(name));
        mdvr_channel_event(&b, mdvr_str(text, sizeof(text)));

        channel.data = name;
        channel.len = b.len;
        message = ngx_mdvr_pg_value(rows, 0, 0);

        (void) ngx_mdvr_redis_publish(&channel, &message, 0);
    }

    ngx_free(tenant);
}


void
ngx_mdvr_transfer_failed(const ngx_str_t *command,
    const uint8_t tenant_id[16], ngx_uint_t code, const char *reason)
{
    u_char               digits[NGX_INT_T_LEN];
    const char          *words;
    ngx_mdvr_uuid_t     *tenant;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[4];

    tenant = ngx_alloc(sizeof(ngx_mdvr_uuid_t), ngx_cycle->log);
    if (tenant == NULL) {
        return;
    }

    ngx_memcpy(tenant->b, tenant_id, 16);

    params[0] = ngx_mdvr_pg_text(command);
    params[1] = ngx_mdvr_pg_null();
    params[2] = ngx_mdvr_transfer_word(reason);
    params[3] = ngx_mdvr_transfer_word(reason);

    if (code) {
        params[1] = ngx_mdvr_transfer_number(digits, code);
        words = mdvr_error_words((int) code);

        if (words) {
            params[2] = ngx_mdvr_transfer_word(words);
        }
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = "select message::text from mdvr.command_transfer_failed("
               "$1::uuid, $2, $3, $4)";
    call.params = params;
    call.nparams = 4;

    if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_TRANSFER_WAIT,
                          ngx_mdvr_transfer_told, tenant)
        != NGX_OK)
    {
        ngx_free(tenant);
    }
}


static void
ngx_mdvr_transfer_kept(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    if (rc != MDVR_OK || ngx_mdvr_pg_nrows(rows) == 0
        || ngx_mdvr_pg_isnull(rows, 0, 0))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "a device's configuration file was not stored: %s",
                      mdvr_rc_words(rc));
    }
}


void
ngx_mdvr_transfer_keep(const ngx_str_t *command, const ngx_str_t *name,
    const u_char *p, size_t len, const u_char md5[16])
{
    u_char               sha256[SHA256_DIGEST_LENGTH];
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[5];

    (void) SHA256(p, len, sha256);

    params[0] = ngx_mdvr_pg_text(command);
    params[1] = ngx_mdvr_pg_text(name);
    params[2] = (ngx_mdvr_pg_param_t) { p, len, 1 };
    params[3] = (ngx_mdvr_pg_param_t) { md5, 16, 1 };
    params[4] = (ngx_mdvr_pg_param_t) { sha256, sizeof(sha256), 1 };

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = "select mdvr.store_device_file($1::uuid, $2, $3::bytea,"
               " $4::bytea, $5::bytea)";
    call.params = params;
    call.nparams = 5;

    (void) ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_TRANSFER_WAIT,
                             ngx_mdvr_transfer_kept, NULL);
}
