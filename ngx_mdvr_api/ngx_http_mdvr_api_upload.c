
/*
 * Uploads: the body is the file, what it is is said in parameters.
 *
 * nginx writes the body to a temporary file; a thread takes its hashes, brings it
 * to the disk and moves it under a key that the server makes.  Only then is there a
 * row: what is in the list of firmware is complete.
 *
 *   <tenant>/firmware/<id>/<name>
 *
 * With objects in S3 it goes to the state folder and the node's worker brings it to
 * S3 (ngx_http_mdvr_api_firmware.h).  A file without row is removed by the worker
 * (worker/lifecycle.c).
 *
 * A file for a device goes to the state folder and from there to the device, with
 * the command that is made of it (C706, C520); nothing of it stays.  What a worker
 * that was killed has left there is removed when one starts.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_upload.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_command.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_firmware.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"

#include <dirent.h>
#include <openssl/evp.h>


#define NGX_HTTP_MDVR_API_LEFT  3600    /* s; an upload takes seconds */


typedef struct {
    ngx_http_mdvr_api_ctx_t    *ctx;
    void                      (*stored)(ngx_http_mdvr_api_ctx_t *ctx,
                                    void *data);
    json_t                     *params;         /* of the command, or NULL */
    ngx_str_t                   id;
    ngx_str_t                   key;            /* below the storage's root */
    char                       *from;           /* nginx's temporary file */
    char                       *folder;
    char                       *to;
    u_char                      md5[16];
    u_char                      sha256[32];
    int64_t                     size;
    const char                 *failed;         /* which step, NULL: done */
    ngx_err_t                   err;
} ngx_http_mdvr_api_upload_t;


static void ngx_http_mdvr_api_upload_read(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_http_client_body_handler_pt handler);
static ngx_http_mdvr_api_upload_t *ngx_http_mdvr_api_upload_begin(
    ngx_http_request_t *r);
static void ngx_http_mdvr_api_upload_post(ngx_http_mdvr_api_upload_t *u);
static void ngx_http_mdvr_api_upload_thread(void *data, ngx_log_t *log);
static void ngx_http_mdvr_api_upload_moved(ngx_event_t *ev);
static void ngx_http_mdvr_api_firmware_body(ngx_http_request_t *r);
static void ngx_http_mdvr_api_firmware_moved(ngx_http_mdvr_api_ctx_t *ctx,
    void *data);
static void ngx_http_mdvr_api_firmware_stored(ngx_http_mdvr_api_ctx_t *ctx,
    void *data);
static void ngx_http_mdvr_api_file_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_file_body(ngx_http_request_t *r);
static void ngx_http_mdvr_api_file_moved(ngx_http_mdvr_api_ctx_t *ctx,
    void *data);


void
ngx_http_mdvr_api_firmware_post(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_mdvr_core_conf_t          *core;
    ngx_http_mdvr_api_loc_conf_t  *conf;

    conf = ngx_http_mdvr_api_conf(ctx);
    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (ngx_http_mdvr_api_arg(ctx, "name")->data == NULL
        || ngx_http_mdvr_api_arg(ctx, "version")->data == NULL)
    {
        ngx_http_mdvr_api_invalid_field(ctx, "required",
                            ngx_http_mdvr_api_arg(ctx, "name")->data
                            ? "version" : "name", "is required");
        return;
    }

    if (ngx_http_mdvr_api_arg(ctx, "name")->data[0] == '.') {
        /* "." and ".." are folders, and hidden files are nobody's firmware */
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "name",
                                        "must not begin with a dot");
        return;
    }

    if (conf->s3 ? core->state_dir.len == 0 : conf->objects.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable",
                                  "no storage is configured here", 60);
        return;
    }

    ngx_http_mdvr_api_upload_read(ctx, ngx_http_mdvr_api_firmware_body);
}


static char *
ngx_http_mdvr_api_upload_path(ngx_pool_t *pool, const ngx_str_t *root,
    const ngx_str_t *key)
{
    u_char  *p;

    p = ngx_pnalloc(pool, root->len + key->len + 2);
    if (p) {
        *ngx_sprintf(p, "%V/%V", root, key) = '\0';
    }

    return (char *) p;
}


static void
ngx_http_mdvr_api_firmware_body(ngx_http_request_t *r)
{
    u_char                         *p;
    ngx_str_t                       folder;
    ngx_http_mdvr_api_ctx_t        *ctx;
    ngx_http_mdvr_api_upload_t     *u;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    u = ngx_http_mdvr_api_upload_begin(r);
    if (u == NULL) {
        return;
    }

    ctx = u->ctx;
    conf = ngx_http_mdvr_api_conf(ctx);
    u->stored = ngx_http_mdvr_api_firmware_moved;

    p = ngx_pnalloc(r->pool, 256);
    if (p) {
        u->key.data = p;
        folder.data = p;
        p = ngx_sprintf(p, "%V/firmware/%V", &ctx->tenant, &u->id);
        folder.len = p - folder.data;
        p = ngx_sprintf(p, "/%V", ngx_http_mdvr_api_arg(ctx, "name"));
        u->key.len = p - u->key.data;

        if (conf->s3) {
            ngx_str_null(&folder);
            u->folder = ngx_http_mdvr_api_firmware_path(r->pool, &folder, "");
            u->to = ngx_http_mdvr_api_firmware_path(r->pool, &u->id, ".new");

        } else {
            u->folder = ngx_http_mdvr_api_upload_path(r->pool, &conf->objects,
                                                      &folder);
            u->to = ngx_http_mdvr_api_upload_path(r->pool, &conf->objects,
                                                  &u->key);
        }
    }

    ngx_http_mdvr_api_upload_post(u);
}


/* --- any upload ---------------------------------------------------------------- */

static void
ngx_http_mdvr_api_upload_read(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_http_client_body_handler_pt handler)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r = ctx->request;

    r->request_body_in_file_only = 1;
    r->request_body_in_persistent_file = 1;     /* it has a name */
    r->request_body_in_clean_file = 1;          /* until the request ends */
    r->request_body_file_log_level = 0;

    rc = ngx_http_read_client_request_body(r, handler);

    ngx_http_finalize_request(r, rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc
                                                                 : NGX_DONE);
}


/* NULL: the request has been answered. */

static ngx_http_mdvr_api_upload_t *
ngx_http_mdvr_api_upload_begin(ngx_http_request_t *r)
{
    ngx_mdvr_uuid_t              id;
    ngx_http_mdvr_api_ctx_t     *ctx;
    ngx_http_mdvr_api_upload_t  *u;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_api_module);

    if (r->request_body == NULL || r->request_body->temp_file == NULL) {
        ngx_http_mdvr_api_problem(ctx, 400, "empty_file",
                                  "the body must be the file", 0);
        return NULL;
    }

    u = ngx_pcalloc(r->pool, sizeof(ngx_http_mdvr_api_upload_t));
    if (u == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return NULL;
    }

    u->ctx = ctx;
    ctx->data = u;
    u->from = (char *) r->request_body->temp_file->file.name.data;

    ngx_mdvr_uuid_make(&id);
    u->id = ngx_http_mdvr_api_uuid_text(r->pool, &id);

    return u;
}


static void
ngx_http_mdvr_api_upload_post(ngx_http_mdvr_api_upload_t *u)
{
    ngx_thread_task_t        *task;
    ngx_http_request_t       *r = u->ctx->request;

    task = ngx_thread_task_alloc(r->pool, sizeof(void *));

    if (task == NULL || u->folder == NULL || u->to == NULL) {
        ngx_http_mdvr_api_problem(u->ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    *(ngx_http_mdvr_api_upload_t **) task->ctx = u;
    task->handler = ngx_http_mdvr_api_upload_thread;
    task->event.handler = ngx_http_mdvr_api_upload_moved;
    task->event.data = u;
    task->event.log = r->connection->log;

    if (ngx_thread_task_post(ngx_http_mdvr_api_conf(u->ctx)->password_pool,
                             task)
        != NGX_OK)
    {
        ngx_http_mdvr_api_problem(u->ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                  NULL, 1);
        return;
    }

    r->main->blocked++;
    r->aio = 1;
}


static void
ngx_http_mdvr_api_upload_thread(void *data, ngx_log_t *log)
{
    ngx_http_mdvr_api_upload_t  *u = *(ngx_http_mdvr_api_upload_t **) data;

    int            in, out;
    char          *p;
    ssize_t        n;
    u_char         buf[65536];
    EVP_MD_CTX    *md5, *sha;

    for (p = u->folder + 1; *p; p++) {      /* each folder on the way */
        if (*p == '/') {
            *p = '\0';
            (void) mkdir(u->folder, 0755);
            *p = '/';
        }
    }

    if (mkdir(u->folder, 0755) == -1 && errno != EEXIST) {
        u->err = ngx_errno;
        u->failed = "making its folder";
        return;
    }

    in = open(u->from, O_RDONLY|O_CLOEXEC);
    out = open(u->to, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644);
    md5 = EVP_MD_CTX_new();
    sha = EVP_MD_CTX_new();

    if (in == -1 || out == -1 || md5 == NULL || sha == NULL
        || !EVP_DigestInit_ex(md5, EVP_md5(), NULL)
        || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL))
    {
        u->err = ngx_errno;
        u->failed = "opening it";
        goto done;
    }

    while ((n = read(in, buf, sizeof(buf))) > 0) {

        if (write(out, buf, n) != n) {
            n = -1;
            break;
        }

        (void) EVP_DigestUpdate(md5, buf, n);
        (void) EVP_DigestUpdate(sha, buf, n);
        u->size += n;
    }

    if (n < 0 || fsync(out) == -1) {
        u->err = ngx_errno;
        u->failed = "storing it";
        goto done;
    }

    (void) EVP_DigestFinal_ex(md5, u->md5, NULL);
    (void) EVP_DigestFinal_ex(sha, u->sha256, NULL);

done:

    EVP_MD_CTX_free(md5);
    EVP_MD_CTX_free(sha);

    if (in != -1) {
        (void) close(in);
    }

    if (out != -1) {
        (void) close(out);

        if (u->failed) {
            (void) unlink(u->to);
        }
    }
}


static void
ngx_http_mdvr_api_upload_moved(ngx_event_t *ev)
{
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_mdvr_api_ctx_t     *ctx;
    ngx_http_mdvr_api_upload_t  *u;

    u = ev->data;
    ctx = u->ctx;
    r = ctx->request;
    c = r->connection;

    r->main->blocked--;
    r->aio = 0;

    if (r->done) {
        ngx_http_finalize_request(r, NGX_DONE);
        goto run;
    }

    if (u->failed) {
        ngx_log_error(NGX_LOG_ERR, c->log, u->err,
                      "%s failed: uploaded file \"%s\"", u->failed, u->to);
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "storage_away",
                                  "the file could not be stored", 10);
        goto run;
    }

    if (u->size == 0) {
        (void) unlink(u->to);
        ngx_http_mdvr_api_problem(ctx, 400, "empty_file",
                                  "the body must be the file", 0);
        goto run;
    }

    u->stored(ctx, u);

run:

    ngx_http_run_posted_requests(c);
}


/* --- firmware: its object, then its row ------------------------------------------- */

static void
ngx_http_mdvr_api_firmware_moved(ngx_http_mdvr_api_ctx_t *ctx, void *data)
{
    ngx_http_mdvr_api_upload_t  *u = data;

    if (ngx_http_mdvr_api_conf(ctx)->s3) {
        ngx_http_mdvr_api_firmware_here(ctx, &u->id, &u->key, 1,
                                        ngx_http_mdvr_api_firmware_stored, u);
    } else {
        ngx_http_mdvr_api_firmware_stored(ctx, u);
    }
}


static void
ngx_http_mdvr_api_firmware_stored(ngx_http_mdvr_api_ctx_t *ctx, void *data)
{
    u_char                      *p;
    ngx_str_t                    bind[5];
    ngx_pool_t                  *pool;
    ngx_http_mdvr_api_upload_t  *u = data;

    pool = ctx->request->pool;

    p = ngx_pnalloc(pool, NGX_INT64_LEN);
    if (p == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    bind[0] = u->id;
    bind[1].data = p;
    bind[1].len = ngx_sprintf(p, "%L", u->size) - p;
    bind[2] = ngx_http_mdvr_api_hex(pool, u->md5, sizeof(u->md5));
    bind[3] = ngx_http_mdvr_api_hex(pool, u->sha256, sizeof(u->sha256));
    bind[4] = u->key;

    ngx_http_mdvr_api_select(ctx,
        "with made as (insert into mdvr.firmware (id, tenant_id, name,"
        "   version, device_type, size_bytes, md5, sha256, object_key,"
        "   user_id)"
        "  values ($9::uuid, $1::uuid, $6, $7, $8, $10::bigint,"
        "   decode($11, 'hex'), decode($12, 'hex'), $13,"
        "   (select u.id from mdvr.user u where u.id = $2::uuid))"
        "  returning *)"
        " select json_build_object('id', f.id, 'name', f.name,"
        "  'version', f.version, 'device_type', f.device_type,"
        "  'size_bytes', f.size_bytes, 'md5', encode(f.md5, 'hex'),"
        "  'sha256', encode(f.sha256, 'hex'),"
        "  'created_at', mdvr.rfc3339(f.created_at))::text,"
        " null, null, null,"
        API_AUDIT("firmware.create", "firmware", "f.id::text",
                  "jsonb_build_object('name', f.name, 'version', f.version,"
                  " 'sha256', encode(f.sha256, 'hex'))")
        " from made f",
        API_WHO ",?name,?version,?device_type,@0,@1,@2,@3,@4", bind);
}


/* --- a file for a device ----------------------------------------------------------- */

void
ngx_http_mdvr_api_file_post(ngx_http_mdvr_api_ctx_t *ctx)
{
    /* nobody uploads for a device that is not there */

    ngx_http_mdvr_api_query(ctx,
        "select 1 from mdvr.device d where d.id = $1::uuid"
        "  and d.deleted_at is null",
        "id", NULL, ngx_http_mdvr_api_file_device);
}


static void
ngx_http_mdvr_api_file_device(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_str_t                   *name, *kind;
    const ngx_str_t              config = ngx_string("config");
    const ngx_str_t              push = ngx_string("file_push");
    ngx_mdvr_core_conf_t        *core;
    ngx_http_mdvr_api_errors_t   errors;
    json_t                      *params;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    name = ngx_http_mdvr_api_arg(ctx, "name");
    kind = ngx_http_mdvr_api_arg(ctx, "kind");

    if (name->data == NULL || kind->data == NULL) {
        ngx_http_mdvr_api_invalid_field(ctx, "required",
                                        name->data ? "kind" : "name",
                                        "is required");
        return;
    }

    if (kind->len != config.len
        || ngx_memcmp(kind->data, config.data, config.len) != 0)
    {
        /* by the table of file_push, beside the file itself */

        params = json_pack("{s:s%, s:s%, s:s}", "name", name->data, name->len,
                           "kind", kind->data, kind->len,
                           "content_base64", "AAAA");
        ngx_memzero(&errors, sizeof(errors));
        (void) ngx_http_mdvr_api_check(ngx_http_mdvr_api_kind(&push)->params,
                                       params, "", &errors);
        json_decref(params);

        if (errors.list) {
            ngx_http_mdvr_api_invalid(ctx, &errors);
            return;
        }
    }

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (core->state_dir.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable",
                                  "no state folder is configured here", 60);
        return;
    }

    ngx_http_mdvr_api_upload_read(ctx, ngx_http_mdvr_api_file_body);
}


static void
ngx_http_mdvr_api_file_cleanup(void *data)
{
    ngx_http_mdvr_api_upload_t  *u = data;

    json_decref(u->params);

    if (u->to) {
        (void) unlink(u->to);           /* unless the command has taken it */
    }
}


static void
ngx_http_mdvr_api_file_body(ngx_http_request_t *r)
{
    ngx_str_t                    push;
    ngx_pool_cleanup_t          *cln;
    ngx_mdvr_core_conf_t        *core;
    ngx_http_mdvr_api_upload_t  *u;

    u = ngx_http_mdvr_api_upload_begin(r);
    if (u == NULL) {
        return;
    }

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);
    u->stored = ngx_http_mdvr_api_file_moved;

    push.data = ngx_pnalloc(r->pool, sizeof("push/.up") + u->id.len);
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (push.data && cln) {
        push.len = ngx_sprintf(push.data, "push/") - push.data;
        u->folder = ngx_http_mdvr_api_upload_path(r->pool, &core->state_dir,
                                                  &push);
        push.len = ngx_sprintf(push.data, "push/%V.up", &u->id) - push.data;
        u->to = ngx_http_mdvr_api_upload_path(r->pool, &core->state_dir,
                                              &push);
        cln->handler = ngx_http_mdvr_api_file_cleanup;
        cln->data = u;
    }

    ngx_http_mdvr_api_upload_post(u);
}


static void
ngx_http_mdvr_api_file_moved(ngx_http_mdvr_api_ctx_t *ctx, void *data)
{
    ngx_str_t                   *name, *kind, type, md5;
    ngx_http_mdvr_api_upload_t  *u = data;

    name = ngx_http_mdvr_api_arg(ctx, "name");
    kind = ngx_http_mdvr_api_arg(ctx, "kind");
    md5 = ngx_http_mdvr_api_hex(ctx->request->pool, u->md5, sizeof(u->md5));

    u->params = json_pack("{s:s%, s:s, s:I, s:s%}",
                          "name", name->data, name->len,
                          "staged", u->to,
                          "size", (json_int_t) u->size,
                          "md5", md5.data, md5.len);

    if (u->params == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    if (ngx_strncmp(kind->data, "config", kind->len) == 0) {
        ngx_str_set(&type, "config_push");

    } else {
        ngx_str_set(&type, "file_push");
        json_object_set_new(u->params, "kind",
                            json_stringn((char *) kind->data, kind->len));
    }

    ngx_http_mdvr_api_command_run(ctx, ngx_http_mdvr_api_kind(&type),
        u->params, ngx_http_mdvr_api_conf(ctx)->command_timeout / 1000, 0,
        NULL, NULL, NULL);
}


/* "push/<id>.up" of the state folder that no request can have any more. */

ngx_int_t
ngx_http_mdvr_api_upload_sweep(ngx_cycle_t *cycle)
{
    DIR                   *dir;
    char                   path[NGX_MAX_PATH];
    size_t                 len;
    struct stat            st;
    struct dirent         *entry;
    ngx_mdvr_core_conf_t  *core;

    core = ngx_mdvr_core_conf(cycle);

    if (core == NULL || core->state_dir.len == 0
        || core->state_dir.len + sizeof("/push") > sizeof(path))
    {
        return NGX_OK;
    }

    *ngx_sprintf((u_char *) path, "%V/push", &core->state_dir) = '\0';

    dir = opendir(path);
    if (dir == NULL) {
        return NGX_OK;
    }

    while ((entry = readdir(dir)) != NULL) {
        len = ngx_strlen(entry->d_name);

        if (len > 3 && ngx_strcmp(entry->d_name + len - 3, ".up") == 0
            && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)
               == 0
            && S_ISREG(st.st_mode)
            && ngx_time() - st.st_mtime > NGX_HTTP_MDVR_API_LEFT
            && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
        {
            ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                          "an upload that was left is removed: \"%s/%s\"",
                          path, entry->d_name);
        }
    }

    (void) closedir(dir);

    return NGX_OK;
}


/* --- a file of a device --------------------------------------------------------------- */

static void
ngx_http_mdvr_api_file_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char     *p;
    size_t      i;
    ngx_str_t   name, hex, text, disposition;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    name = ngx_mdvr_pg_value(rows, 0, 0);
    hex = ngx_mdvr_pg_value(rows, 0, 1);

    text.len = hex.len / 2;
    text.data = ngx_pnalloc(ctx->request->pool, text.len + 1);
    disposition.data = ngx_pnalloc(ctx->request->pool, name.len + 32);

    if (text.data == NULL || disposition.data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    for (i = 0; i < text.len; i++) {
        text.data[i] = (u_char) ngx_hextoi(hex.data + 2 * i, 2);
    }

    /* the name is the device's */

    p = ngx_cpymem(disposition.data, "attachment; filename=\"", 22);

    for (i = 0; i < name.len; i++) {
        *p++ = name.data[i] > ' ' && name.data[i] < 0x7f
               && ngx_strchr("\"\\/;%", name.data[i]) == NULL
               ? name.data[i] : '_';
    }

    *p++ = '"';
    disposition.len = p - disposition.data;

    if (ngx_mdvr_http_header(ctx->request, "Content-Disposition",
                             &disposition)
        != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_OK, "application/octet-stream",
                             &text, 0);
}


void
ngx_http_mdvr_api_command_file(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "select f.name, encode(f.content, 'hex'),"
        API_AUDIT("command.file", "command", "c.id::text",
                  "jsonb_build_object('name', f.name,"
                  " 'sha256', encode(f.sha256, 'hex'))")
        " from mdvr.command c join mdvr.file f on f.command_id = c.id"
        "  and f.content is not null"
        " where c.id = $6::uuid order by f.id desc limit 1",
        API_WHO ",id", NULL, ngx_http_mdvr_api_file_found);
}
