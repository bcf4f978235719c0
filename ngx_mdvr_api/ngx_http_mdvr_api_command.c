
/*
 * One command on its way.
 *
 *   device    its row under row security: serial, encoding, clock, plate
 *   encode    parameters to the tokens behind the header (mdvr/dc/write.h)
 *   store     mdvr.store_command: the row, its first event
 *   send      ngx_mdvr_command_send(): to whoever holds the device's connection
 *   answer    202 as soon as the message is on that connection
 *   update    each answer of the device, until the last one, whether or not the
 *             client is still there
 *
 * The job outlives the request, so everything is copied into a pool of its own.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_command.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_firmware.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_schemas.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "mdvr/domain/keys.h"


#define NGX_HTTP_MDVR_API_MEDIA_WAIT  20000     /* ms, for the media connection */
#define NGX_HTTP_MDVR_API_BODY_SIZE   16384
#define NGX_HTTP_MDVR_API_UPDATE      7         /* parameters */


struct ngx_http_mdvr_api_update_s {
    ngx_http_mdvr_api_update_t  *next;
    ngx_str_t                    value[NGX_HTTP_MDVR_API_UPDATE];
};


static void ngx_http_mdvr_api_job_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_job_stored(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_job_answer(void *data,
    const ngx_mdvr_answer_t *answer, mdvr_rc_t rc);
static void ngx_http_mdvr_api_job_flush(ngx_http_mdvr_api_job_t *job);
static void ngx_http_mdvr_api_job_update(ngx_http_mdvr_api_job_t *job,
    const char *status, const ngx_mdvr_answer_t *answer, const char *error);


static ngx_str_t
ngx_http_mdvr_api_job_dup(ngx_http_mdvr_api_job_t *job, const ngx_str_t *s)
{
    return ngx_http_mdvr_api_dup(job->pool, (char *) s->data, s->len);
}


static void
ngx_http_mdvr_api_job_free(ngx_http_mdvr_api_job_t *job)
{
    if (job->pending == 0 && job->over && job->ctx == NULL) {
        json_decref(job->params);
        ngx_destroy_pool(job->pool);
    }
}


/* the request is gone, answered or not */

static void
ngx_http_mdvr_api_job_leave(void *data)
{
    ngx_http_mdvr_api_job_t  *job = data;

    job->ctx = NULL;
    ngx_http_mdvr_api_job_free(job);
}


/* --- from the request --------------------------------------------------------- */

const ngx_http_mdvr_api_kind_t *
ngx_http_mdvr_api_kind(const ngx_str_t *type)
{
    const ngx_http_mdvr_api_kind_t  *kind;

    for (kind = ngx_http_mdvr_api_kinds; kind->type; kind++) {
        if (ngx_strlen(kind->type) == type->len
            && ngx_memcmp(kind->type, type->data, type->len) == 0)
        {
            return kind;
        }
    }

    return NULL;
}


void
ngx_http_mdvr_api_command_post(ngx_http_mdvr_api_ctx_t *ctx)
{
    json_t                          *params, *confirm;
    ngx_str_t                        type;
    ngx_http_mdvr_api_errors_t       errors;
    const ngx_http_mdvr_api_kind_t  *kind;

    type = ngx_http_mdvr_api_str(ctx, "type");
    kind = ngx_http_mdvr_api_kind(&type);

    if (kind == NULL) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "type",
                                        "is not a known command");
        return;
    }

    if ((kind->flags & API_COMMAND_SUPER)
        && (ctx->principal.role != MDVR_ROLE_SUPER_ADMIN
            || ctx->principal.api_key))
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_FORBIDDEN, "forbidden",
                                  "only a super_admin sends raw commands", 0);
        return;
    }

    params = json_object_get(ctx->body, "params");
    params = params ? json_incref(params) : json_object();

    ngx_memzero(&errors, sizeof(errors));
    (void) ngx_http_mdvr_api_check(kind->params, params, "params", &errors);

    if (errors.list) {
        json_decref(params);
        ngx_http_mdvr_api_invalid(ctx, &errors);
        return;
    }

    if (kind->flags & API_COMMAND_FIRMWARE) {
        json_decref(params);
        ngx_http_mdvr_api_upgrade(ctx);
        return;
    }

    confirm = json_object_get(ctx->body, "confirm");

    ngx_http_mdvr_api_command_run(ctx, kind, params,
        ngx_http_mdvr_api_int(ctx, "timeout_s",
                              ngx_http_mdvr_api_conf(ctx)->command_timeout
                              / 1000),
        ngx_http_mdvr_api_int(ctx, "hold_s", 0),
        confirm ? json_string_value(confirm) : NULL, NULL, NULL);

    json_decref(params);
}


/* --- snapshot, upgrade: the same with a route of their own ---------------------- */

void
ngx_http_mdvr_api_snapshot(ngx_http_mdvr_api_ctx_t *ctx)
{
    json_t           *params;
    const ngx_str_t   type = ngx_string("snapshot");

    params = json_pack("{s:I}", "channel", (json_int_t)
                       ngx_http_mdvr_api_int(ctx, "channel", 1));

    ngx_http_mdvr_api_command_run(ctx, ngx_http_mdvr_api_kind(&type), params,
        ngx_http_mdvr_api_conf(ctx)->command_timeout / 1000, 0, NULL, NULL,
        NULL);

    json_decref(params);
}


static void
ngx_http_mdvr_api_firmware_drop(void *data)
{
    json_decref(data);
}


static void
ngx_http_mdvr_api_firmware_run(ngx_http_mdvr_api_ctx_t *ctx, void *data)
{
    json_t           *params = data;
    const ngx_str_t   type = ngx_string("upgrade");

    ngx_http_mdvr_api_command_run(ctx, ngx_http_mdvr_api_kind(&type), params,
        ngx_http_mdvr_api_int(ctx, "timeout_s",
                              ngx_http_mdvr_api_conf(ctx)->command_timeout
                              / 1000),
        ngx_http_mdvr_api_int(ctx, "hold_s", 0), NULL, NULL, NULL);
}


static void
ngx_http_mdvr_api_firmware_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    json_t              *params;
    ngx_str_t            text, id, key;
    ngx_pool_cleanup_t  *cln;

    text = ngx_mdvr_pg_nrows(rows) ? ngx_mdvr_pg_value(rows, 0, 0)
                                   : (ngx_str_t) ngx_null_string;
    params = json_loadb((char *) text.data, text.len, 0, NULL);

    if (params == NULL) {
        ngx_http_mdvr_api_invalid_field(ctx, "unknown_firmware", "firmware_id",
                                        "does not exist");
        return;
    }

    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);

    if (cln == NULL) {
        json_decref(params);
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    cln->handler = ngx_http_mdvr_api_firmware_drop;
    cln->data = params;

    if (ngx_http_mdvr_api_conf(ctx)->s3 == NULL) {
        ngx_http_mdvr_api_firmware_run(ctx, params);
        return;
    }

    id.data = (u_char *) json_string_value(json_object_get(params,
                                                           "firmware_id"));
    id.len = ngx_strlen(id.data);
    key.data = (u_char *) json_string_value(json_object_get(params,
                                                            "object_key"));
    key.len = ngx_strlen(key.data);

    ngx_http_mdvr_api_firmware_here(ctx, &id, &key, 0,
                                    ngx_http_mdvr_api_firmware_run, params);
}


void
ngx_http_mdvr_api_upgrade(ngx_http_mdvr_api_ctx_t *ctx)
{
    json_t     *id;
    ngx_str_t   bind;

    id = json_object_get(ctx->body, "firmware_id");

    if (id == NULL) {
        id = json_object_get(json_object_get(ctx->body, "params"),
                             "firmware_id");
    }

    bind.data = (u_char *) json_string_value(id);
    bind.len = json_string_length(id);

    ngx_http_mdvr_api_query(ctx,
        "select json_build_object('firmware_id', f.id, 'name', f.name,"
        " 'version', f.version, 'size_bytes', f.size_bytes,"
        " 'md5', encode(f.md5, 'hex'), 'object_key', f.object_key,"
        " 'device_type', coalesce(f.device_type,"
        "   (select s.registration->>'device_type' from mdvr.device_state s"
        "     where s.device_id = $2::uuid), ''))::text"
        " from mdvr.firmware f where f.id = $1::uuid",
        "@0,id", &bind, ngx_http_mdvr_api_firmware_found);
}


void
ngx_http_mdvr_api_command_run(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_http_mdvr_api_kind_t *kind, json_t *params, ngx_int_t timeout_s,
    ngx_int_t hold_s, const char *confirm,
    void (*accepted)(ngx_http_mdvr_api_job_t *job), void *data)
{
    ngx_str_t                 bind;
    ngx_pool_t               *pool;
    ngx_pool_cleanup_t       *cln;
    ngx_http_mdvr_api_job_t  *job;

    pool = ngx_create_pool(2048, ngx_cycle->log);
    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);

    job = pool && cln ? ngx_pcalloc(pool, sizeof(ngx_http_mdvr_api_job_t))
                      : NULL;
    if (job == NULL) {
        if (pool) {
            ngx_destroy_pool(pool);
        }

        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    job->pool = pool;
    job->ctx = ctx;
    job->kind = kind;
    job->params = json_incref(params);
    job->timeout_s = timeout_s;
    job->hold_s = hold_s;
    job->accepted = accepted;
    job->data = data;
    job->over = 1;                          /* until it is sent */

    cln->handler = ngx_http_mdvr_api_job_leave;
    cln->data = job;

    job->tenant = ngx_http_mdvr_api_job_dup(job, &ctx->tenant);
    job->user = ngx_http_mdvr_api_job_dup(job, &ctx->user);
    job->role = ngx_http_mdvr_api_job_dup(job, &ctx->role);
    job->device = ngx_http_mdvr_api_job_dup(job, &ctx->ids[0]);

    ctx->data = job;

    bind.data = (u_char *) (confirm ? confirm : "");
    bind.len = ngx_strlen(bind.data);

    ngx_http_mdvr_api_query(ctx,
        "select d.serial, d.plate, d.text_encoding,"
        " coalesce(d.utc_offset_minutes, s.utc_offset_minutes, 0)::int,"
        " d.channels::int, d.settings->>'device_user',"
        " d.settings->>'device_password', d.enabled::int,"
        " ($2 <> '' and $2 in (d.serial, d.plate))::int, mdvr.uuid7(),"
        " mdvr.device_upgrading(d.id)::int"
        " from mdvr.device d"
        " left join mdvr.device_state s on s.device_id = d.id"
        " where d.id = $1::uuid and d.deleted_at is null",
        "id,@0", &bind, ngx_http_mdvr_api_job_device);
}


/* fuel or power off: the person has to type which vehicle is meant */

static ngx_uint_t
ngx_http_mdvr_api_job_dangerous(ngx_http_mdvr_api_job_t *job)
{
    const char  *action;

    if (!(job->kind->flags & API_COMMAND_CONFIRM)) {
        return 0;
    }

    action = json_string_value(json_object_get(job->params, "action"));

    return action && (ngx_strcmp(action, "fuel_cut") == 0
                      || ngx_strcmp(action, "power_cut") == 0);
}


static void
ngx_http_mdvr_api_job_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    char                     *text;
    u_char                   *p;
    int64_t                   n;
    json_t                   *shown;
    ngx_str_t                 s, bind[8];
    ngx_uint_t                i;
    mdvr_buf_t                b;
    const char               *wrong, *why;
    ngx_http_mdvr_api_job_t  *job = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 0);
    job->serial = ngx_http_mdvr_api_job_dup(job, &s);
    s = ngx_mdvr_pg_value(rows, 0, 1);
    job->plate = ngx_http_mdvr_api_job_dup(job, &s);

    s = ngx_mdvr_pg_value(rows, 0, 2);
    job->encoding = s.data[0] == 'g' ? MDVR_TEXT_GB18030
                    : s.len > 5 ? MDVR_TEXT_UTF16LE : MDVR_TEXT_UTF8;

    job->offset_minutes = ngx_mdvr_pg_int(rows, 0, 3, &n) == NGX_OK ? n : 0;
    job->channels = ngx_mdvr_pg_int(rows, 0, 4, &n) == NGX_OK ? n : 0;

    s = ngx_mdvr_pg_value(rows, 0, 5);
    job->device_user = ngx_http_mdvr_api_job_dup(job, &s);
    s = ngx_mdvr_pg_value(rows, 0, 6);
    job->device_password = ngx_http_mdvr_api_job_dup(job, &s);

    if (ngx_mdvr_pg_int(rows, 0, 7, &n) != NGX_OK || !n) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_disabled",
                                  "the device is disabled", 0);
        return;
    }

    if (ngx_http_mdvr_api_job_dangerous(job)
        && (ngx_mdvr_pg_int(rows, 0, 8, &n) != NGX_OK || !n))
    {
        ngx_http_mdvr_api_invalid_field(ctx, "confirmation_required",
                "confirm", "must be the plate or serial of the vehicle");
        return;
    }

    if ((job->kind->flags & API_COMMAND_MEDIA)
        && (ngx_mdvr_pg_int(rows, 0, 10, &n) != NGX_OK || n))
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "device_busy",
                                  API_UPGRADING, 0);
        return;
    }

    s = ngx_mdvr_pg_value(rows, 0, 9);
    job->id = ngx_http_mdvr_api_job_dup(job, &s);

    n = json_integer_value(json_object_get(job->params, "channel"));

    if (n > (int64_t) job->channels) {
        ngx_http_mdvr_api_invalid_field(ctx, "out_of_range", "params.channel",
                                "the device does not have this channel");
        return;
    }

    p = ngx_palloc(job->pool, NGX_HTTP_MDVR_API_BODY_SIZE);
    if (p == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    b = mdvr_buf(p, NGX_HTTP_MDVR_API_BODY_SIZE);
    why = "is not acceptable";

    wrong = job->kind->encode(job, job->params, &b, &why);

    if (wrong == NULL && b.full) {
        wrong = "";
        why = "the command is too long";
    }

    if (wrong) {
        if (job->has_session) {
            (void) ngx_mdvr_bus_end(job->ref, MDVR_BUS_END_FAILED,
                                    ngx_cycle->log);
        }

        if (*wrong == '!') {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                      "unavailable", why, 2);
            return;
        }

        u_char  field[64];

        *ngx_snprintf(field, sizeof(field) - 1, "params%s%s",
                      *wrong ? "." : "", wrong) = '\0';
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", (char *) field,
                                        why);
        return;
    }

    job->body.data = b.len && p[0] == ',' ? p + 1 : p;
    job->body.len = b.len && p[0] == ',' ? b.len - 1 : b.len;

    /* what is shown later has no password in it, and no whole file */

    shown = json_copy(job->params);
    json_object_del(shown, "device_password");
    json_object_del(shown, "content_base64");
    json_object_del(shown, "staged");
    json_object_del(shown, "object_key");
    text = json_dumps(shown, JSON_COMPACT);
    json_decref(shown);

    bind[0].data = (u_char *) job->kind->type;
    bind[1].data = (u_char *) job->kind->keyword;
    bind[2].data = (u_char *) (text ? text : "{}");

    for (i = 0; i < 3; i++) {
        bind[i].len = ngx_strlen(bind[i].data);
    }

    bind[2] = ngx_http_mdvr_api_dup(job->pool, (char *) bind[2].data,
                                    bind[2].len);
    free(text);

    if (job->kind->flags & API_COMMAND_SUPER) {
        s.data = (u_char *) json_string_value(json_object_get(job->params,
                                                              "keyword"));
        s.len = ngx_strlen(s.data);
        bind[1] = ngx_http_mdvr_api_job_dup(job, &s);
    }

    bind[3] = job->id;
    bind[4].data = ngx_pnalloc(job->pool, 2 * NGX_INT_T_LEN);
    bind[6].data = ngx_pnalloc(job->pool, job->body.len * 2 + 1);

    if (bind[4].data == NULL || bind[6].data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    bind[4].len = ngx_sprintf(bind[4].data, "%i", job->timeout_s)
                  - bind[4].data;
    bind[5].data = bind[4].data + bind[4].len;
    bind[5].len = ngx_sprintf(bind[5].data, "%i", job->hold_s) - bind[5].data;

    bind[6].len = ngx_hex_dump(bind[6].data, job->body.data, job->body.len)
                  - bind[6].data;

    ngx_http_mdvr_api_query(ctx,
        "with c as materialized (select * from mdvr.store_command($10::uuid,"
        "  $6::uuid, $7, $8, $9::jsonb, decode($13, 'hex'), $11::int,"
        "  $12::int, $5, $14))"
        " select c.command_id, null, null, c.message::text,"
        API_AUDIT("command", "device", "$6::text",
                  "jsonb_build_object('command_id', c.command_id,"
                  " 'type', $7, 'params', $9::jsonb)")
        " from c where c.command_id is not null",
        API_WHO ",id,@0,@1,@2,@3,@4,@5,@6,$trace", bind,
        ngx_http_mdvr_api_job_stored);
}


static void
ngx_http_mdvr_api_job_stored(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_int_t                 rc;
    ngx_mdvr_command_t        command;
    ngx_http_mdvr_api_job_t  *job = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    ngx_http_mdvr_api_publish(ctx, rows, 0, 0, 3);

    ngx_memzero(&command, sizeof(command));

    command.id = job->id;
    command.serial = job->serial;
    command.keyword.data = (u_char *) job->kind->keyword;

    if (job->kind->flags & API_COMMAND_SUPER) {
        command.keyword.data = (u_char *) json_string_value(
                                   json_object_get(job->params, "keyword"));
    }

    command.keyword.len = ngx_strlen(command.keyword.data);
    command.body = job->body;
    command.timeout = job->timeout_s * 1000;
    command.request_id = *ngx_mdvr_http_request_id(ctx->request);
    command.traceparent = ngx_mdvr_http_traceparent(ctx->request);

    job->over = 0;

    rc = ngx_mdvr_command_send(NULL, &command, ngx_http_mdvr_api_job_answer,
                               job);
    if (rc != NGX_OK) {
        job->over = 1;
        ngx_http_mdvr_api_job_update(job, "failed", NULL,
                                     "too many commands in flight");
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                  "too many commands in flight", 1);
    }
}


/* --- to the request -------------------------------------------------------------- */

static void
ngx_http_mdvr_api_job_accept(ngx_http_mdvr_api_job_t *job)
{
    ngx_connection_t         *c;
    ngx_http_mdvr_api_ctx_t  *ctx;

    ctx = job->ctx;

    if (ctx == NULL || job->answered) {
        return;
    }

    c = ctx->request->connection;
    job->answered = 1;                        /* answered: once is enough */

    if (job->accepted) {
        job->accepted(job);

    } else {
        ngx_http_mdvr_api_json(ctx, NGX_HTTP_ACCEPTED,
            json_pack("{s:s, s:s}", "id", job->id.data, "status", "queued"));
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_job_refuse(ngx_http_mdvr_api_job_t *job, ngx_uint_t status,
    const char *code, const char *detail, ngx_uint_t retry)
{
    ngx_connection_t         *c;
    ngx_http_mdvr_api_ctx_t  *ctx;

    ctx = job->ctx;

    if (ctx == NULL || job->answered) {
        return;
    }

    c = ctx->request->connection;
    job->answered = 1;

    ngx_http_mdvr_api_problem(ctx, status, code, detail, retry);
    ngx_http_run_posted_requests(c);
}


/* --- from the device ---------------------------------------------------------------- */

static void
ngx_http_mdvr_api_job_answer(void *data, const ngx_mdvr_answer_t *answer,
    mdvr_rc_t rc)
{
    mdvr_bus_end_e            end;
    const char               *status;
    ngx_http_mdvr_api_job_t  *job = data;

    if (answer == NULL) {
        job->over = 1;
        job->pending++;
        ngx_http_mdvr_api_job_update(job, "failed", NULL,
                                     "the way to the device is away");
        ngx_http_mdvr_api_job_refuse(job, NGX_HTTP_SERVICE_UNAVAILABLE,
                                     "unavailable",
                                     "the way to the device is away", 2);
        end = MDVR_BUS_END_FAILED;
        goto over;
    }

    if (answer->status == NGX_MDVR_ANSWER_SENT) {
        ngx_http_mdvr_api_job_update(job, "sent", answer, NULL);
        ngx_http_mdvr_api_job_accept(job);
        return;
    }

    job->over = 1;
    job->pending++;                         /* answering may end the request */
    end = MDVR_BUS_END_NONE;

    switch (answer->status) {

    case NGX_MDVR_ANSWER_ACKNOWLEDGED:
        status = "acknowledged";
        break;

    case NGX_MDVR_ANSWER_TIMEOUT:
        status = "timeout";
        end = MDVR_BUS_END_NO_MEDIA;
        break;

    case NGX_MDVR_ANSWER_OFFLINE:
        end = MDVR_BUS_END_OFFLINE;

        if (job->hold_s > 0) {
            ngx_http_mdvr_api_job_accept(job);      /* stays queued */
            goto over;
        }

        status = "failed";
        break;

    default:
        status = "failed";
        end = MDVR_BUS_END_REFUSED;
    }

    ngx_http_mdvr_api_job_update(job, status, answer,
                                 answer->status == NGX_MDVR_ANSWER_OFFLINE
                                 ? "device_offline" : NULL);

    if (answer->status == NGX_MDVR_ANSWER_OFFLINE) {
        ngx_http_mdvr_api_job_refuse(job, NGX_HTTP_CONFLICT, "device_offline",
                                     "the device is not connected", 0);
    } else {
        ngx_http_mdvr_api_job_accept(job);
    }

over:

    if (job->has_session && end != MDVR_BUS_END_NONE) {
        (void) ngx_mdvr_bus_end(job->ref, end, ngx_cycle->log);
    }

    job->pending--;
    ngx_http_mdvr_api_job_free(job);
}


/* one after the other: two connections to the database keep no order */

static void
ngx_http_mdvr_api_job_updated(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    u_char                    name[MDVR_KEY_MAX];
    ngx_str_t                 channel, text;
    mdvr_buf_t                b;
    ngx_http_mdvr_api_job_t  *job = data;

    if (rc == MDVR_OK && ngx_mdvr_pg_nrows(rows)
        && !ngx_mdvr_pg_isnull(rows, 0, 0))
    {
        b = mdvr_buf(name, sizeof(name));
        mdvr_channel_event(&b, mdvr_str(job->tenant.data, job->tenant.len));

        channel.data = name;
        channel.len = b.len;
        text = ngx_mdvr_pg_value(rows, 0, 0);

        (void) ngx_mdvr_redis_publish(&channel, &text, 0);
    }

    job->updates = job->updates->next;
    ngx_http_mdvr_api_job_flush(job);

    job->pending--;
    ngx_http_mdvr_api_job_free(job);
}


static void
ngx_http_mdvr_api_job_flush(ngx_http_mdvr_api_job_t *job)
{
    ngx_uint_t                    i;
    ngx_mdvr_pg_call_t            call;
    ngx_mdvr_pg_param_t           params[NGX_HTTP_MDVR_API_UPDATE];
    ngx_http_mdvr_api_update_t   *u;

    for (u = job->updates; u; u = job->updates) {

        ngx_memzero(&call, sizeof(call));

        for (i = 0; i < NGX_HTTP_MDVR_API_UPDATE; i++) {
            params[i] = u->value[i].len ? ngx_mdvr_pg_text(&u->value[i])
                                        : ngx_mdvr_pg_null();
        }

        call.role = NGX_MDVR_PG_API;
        call.sql = "select message::text from mdvr.command_update($1::uuid,"
                   " $2, $3, $4::int, $5, $6, $7)";
        call.params = params;
        call.nparams = NGX_HTTP_MDVR_API_UPDATE;
        call.tenant = job->tenant;
        call.user_id = job->user;
        call.app_role = job->role;

        if (ngx_mdvr_pg_query(NULL, &call, 10000,
                              ngx_http_mdvr_api_job_updated, job)
            == NGX_OK)
        {
            job->pending++;
            return;
        }

        job->updates = u->next;             /* the worker times it out later */
    }
}


static void
ngx_http_mdvr_api_job_update(ngx_http_mdvr_api_job_t *job, const char *status,
    const ngx_mdvr_answer_t *answer, const char *error)
{
    u_char                       success[NGX_INT_T_LEN];
    ngx_str_t                    value[NGX_HTTP_MDVR_API_UPDATE];
    ngx_uint_t                   i;
    ngx_http_mdvr_api_update_t  *u, **last;

    u = ngx_pcalloc(job->pool, sizeof(ngx_http_mdvr_api_update_t));
    if (u == NULL) {
        return;
    }

    ngx_memzero(value, sizeof(value));

    value[0] = job->id;
    value[1].data = (u_char *) status;
    value[1].len = ngx_strlen(status);

    if (answer) {
        value[2] = answer->content;

        if (answer->success >= 0) {
            value[3].data = success;
            value[3].len = ngx_sprintf(success, "%i", answer->success)
                           - success;
        }

        value[4] = answer->error_code;
        value[5] = answer->error;
        value[6] = answer->reason;
    }

    if (error) {
        value[5].data = (u_char *) error;
        value[5].len = ngx_strlen(error);
    }

    for (i = 0; i < NGX_HTTP_MDVR_API_UPDATE; i++) {
        u->value[i] = ngx_http_mdvr_api_job_dup(job, &value[i]);
    }

    for (last = &job->updates; *last; last = &(*last)->next) { /* void */ }

    *last = u;

    if (job->updates == u) {
        ngx_http_mdvr_api_job_flush(job);
    }
}


/* --- media sessions of commands ------------------------------------------------------- */

mdvr_endpoint_t
ngx_http_mdvr_api_job_endpoint(void)
{
    mdvr_endpoint_t        media;
    ngx_mdvr_core_conf_t  *core;

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    media.address = mdvr_str(core->public_host.data, core->public_host.len);
    media.port = core->media_port;

    return media;
}


mdvr_rc_t
ngx_http_mdvr_api_job_session(ngx_http_mdvr_api_job_t *job,
    mdvr_bus_kind_e kind, ngx_uint_t channel, const char *note)
{
    bool               created;
    u_char             text[MDVR_BUS_NOTE_MAX];
    mdvr_rc_t          rc;
    mdvr_bus_t        *bus;
    mdvr_bus_info_t    info;
    mdvr_bus_start_t   start;
    ngx_mdvr_uuid_t    tenant, device;

    bus = ngx_mdvr_bus();

    if (bus == NULL
        || ngx_mdvr_uuid_parse(&job->tenant, &tenant) != NGX_OK
        || ngx_mdvr_uuid_parse(&job->device, &device) != NGX_OK)
    {
        return MDVR_E_UNAVAILABLE;
    }

    *ngx_snprintf(text, sizeof(text) - 1,
                  "{\"command_id\":\"%V\",\"user_id\":\"%V\"%s%s}",
                  &job->id, &job->user, note ? "," : "", note ? note : "")
        = '\0';

    ngx_memzero(&start, sizeof(start));

    start.kind = kind;
    ngx_memcpy(start.tenant_id, tenant.b, 16);
    ngx_memcpy(start.device_id, device.b, 16);
    start.serial = (char *) job->serial.data;
    start.channel = channel;
    start.deadline_ms = mdvr_bus_clock_ms() + job->timeout_s * 1000
                        + NGX_HTTP_MDVR_API_MEDIA_WAIT;
    start.note = (char *) text;

    rc = mdvr_bus_start(bus, &start, mdvr_bus_clock_ms(), &job->ref, &created);

    if (rc == MDVR_OK) {
        rc = mdvr_bus_info(bus, job->ref, &info);
    }

    if (rc == MDVR_OK) {
        job->has_session = 1;
        ngx_memcpy(job->session, info.session, sizeof(job->session));
    }

    return rc;
}
