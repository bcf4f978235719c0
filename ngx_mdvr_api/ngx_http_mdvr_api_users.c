
/*
 * Users and API keys: who may hand out what, passwords that are hashed on the way,
 * keys that are shown once.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_identity.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_password.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"


/* --- users --------------------------------------------------------------------------- */

/*
 * Nobody hands out more than it holds: neither by a role nor by extra scopes.
 * Returns 0 when the request has been answered.
 */

static ngx_uint_t
ngx_http_mdvr_api_may_grant(ngx_http_mdvr_api_ctx_t *ctx, const char *list)
{
    size_t       i;
    json_t      *scopes, *scope;
    uint32_t     granted;
    ngx_str_t    role;
    mdvr_role_e  r;

    granted = 0;
    role = ngx_http_mdvr_api_str(ctx, "role");

    if (role.len) {
        r = mdvr_role_find(mdvr_str(role.data, role.len));

        if (r == MDVR_ROLE_SUPER_ADMIN
            && ctx->principal.role != MDVR_ROLE_SUPER_ADMIN)
        {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_FORBIDDEN, "forbidden",
                                 "only a super_admin makes super_admins", 0);
            return 0;
        }

        granted |= mdvr_role_scopes(r);
    }

    scopes = json_object_get(ctx->body, list);

    json_array_foreach(scopes, i, scope) {
        granted |= mdvr_scope_find(mdvr_str(json_string_value(scope),
                                            json_string_length(scope)));
    }

    if (granted & ~ctx->principal.scopes) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_FORBIDDEN, "forbidden",
                              "you cannot grant more than you hold", 0);
        return 0;
    }

    return 1;
}


/* takes the password out of $body: the database need not see it */

static void
ngx_http_mdvr_api_user_hide(ngx_http_mdvr_api_ctx_t *ctx)
{
    char    *dump;
    json_t  *body;

    body = json_copy(ctx->body);
    json_object_del(body, "password");
    dump = json_dumps(body, JSON_COMPACT);
    json_decref(body);

    ngx_str_null(&ctx->text);

    if (dump) {
        ctx->text = ngx_http_mdvr_api_dup(ctx->request->pool, dump,
                                          ngx_strlen(dump));
        free(dump);
    }
}


static void
ngx_http_mdvr_api_user_hashed(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t ok,
    ngx_str_t *hash)
{
    if (!ok) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_select(ctx,
        "with made as (insert into mdvr.user (id, tenant_id, email, name,"
        "   role, extra_scopes, active, password_hash)"
        "  select mdvr.uuid7(), $1::uuid, b->>'email',"
        "   coalesce(b->>'name', ''), b->>'role',"
        "   array(select jsonb_array_elements_text("
        "    coalesce(b->'extra_scopes', '[]'))),"
        "   coalesce((b->>'active')::boolean, true), $7"
        "  from (select $6::jsonb as b, mdvr.quota_users()) x"
        "  returning id, role, extra_scopes)"
        " select u.id, null, null, null,"
        "  mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "   'user.create', 'user', u.id::text,"
        "   jsonb_build_object('role', u.role, 'extra_scopes',"
        "    u.extra_scopes), $5)"
        " from made u",
        API_WHO ",$body,@0", hash);
}


void
ngx_http_mdvr_api_user_post(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t    password, email;
    const char  *weak;

    if (!ngx_http_mdvr_api_may_grant(ctx, "extra_scopes")) {
        return;
    }

    password = ngx_http_mdvr_api_str(ctx, "password");
    email = ngx_http_mdvr_api_str(ctx, "email");

    weak = ngx_http_mdvr_api_password_weak(&password, &email);
    if (weak) {
        ngx_http_mdvr_api_invalid_field(ctx, "weak_password", "password", weak);
        return;
    }

    ngx_http_mdvr_api_user_hide(ctx);

    ngx_http_mdvr_api_password_make(ctx, &password,
                                    ngx_http_mdvr_api_user_hashed);
}


static void
ngx_http_mdvr_api_user_write(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_select(ctx,
        "with b as (select $6::jsonb as b),"
        " old as (select u.id from mdvr.user u"
        "   where u.id = $7::uuid and u.deleted_at is null"
        "   and (u.role <> 'super_admin' or $8 = 'super_admin'"
        "        or mdvr.refuse('MD403', 'forbidden',"
        "             'only a super_admin changes super_admins'))"
        "   and (u.role <> 'tenant_admin'"
        "        or $8 in ('super_admin', 'tenant_admin')"
        "        or mdvr.refuse('MD403', 'forbidden',"
        "             'only an administrator changes administrators'))),"
        " changed as (update mdvr.user u set"
        "   email = coalesce(b->>'email', u.email),"
        "   name = coalesce(b->>'name', u.name),"
        "   role = coalesce(b->>'role', u.role),"
        "   extra_scopes = case when b ? 'extra_scopes' then"
        "    array(select jsonb_array_elements_text(b->'extra_scopes'))"
        "    else u.extra_scopes end,"
        "   active = coalesce((b->>'active')::boolean, u.active)"
        "  from b, old where u.id = old.id returning u.id)"
        " select c.id, null, null, null,"
        "  mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "   'user.update', 'user', c.id::text, b.b, $5)"
        " from changed c, b",
        API_WHO ",$body,id,$role", NULL);
}


static void
ngx_http_mdvr_api_user_passworded(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    ngx_http_mdvr_api_user_write(ctx);
}


/* another's password: every session of that user ends */

static void
ngx_http_mdvr_api_user_rehashed(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t ok,
    ngx_str_t *hash)
{
    if (!ok) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_query(ctx,
        "with s as materialized (select mdvr.password_set(u.id, $7, null)"
        "   as done from mdvr.user u"
        "  where u.id = $6::uuid and u.deleted_at is null"
        "   and (u.role not in ('super_admin', 'tenant_admin')"
        "        or $8 = 'super_admin' or u.role = $8"
        "        or mdvr.refuse('MD403', 'forbidden',"
        "             'only an administrator changes administrators')))"
        " select mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "  'user.password', 'user', $6::text, '{}', $5) from s where done",
        API_WHO ",id,@0,$role", hash, ngx_http_mdvr_api_user_passworded);
}


void
ngx_http_mdvr_api_user_patch(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t    password, email;
    const char  *weak;

    if (!ngx_http_mdvr_api_may_grant(ctx, "extra_scopes")) {
        return;
    }

    password = ngx_http_mdvr_api_str(ctx, "password");
    email = ngx_http_mdvr_api_str(ctx, "email");

    if (password.data == NULL) {
        ngx_http_mdvr_api_user_write(ctx);
        return;
    }

    weak = ngx_http_mdvr_api_password_weak(&password, &email);
    if (weak) {
        ngx_http_mdvr_api_invalid_field(ctx, "weak_password", "password", weak);
        return;
    }

    ngx_http_mdvr_api_user_hide(ctx);

    ngx_http_mdvr_api_password_make(ctx, &password,
                                    ngx_http_mdvr_api_user_rehashed);
}


/* --- API keys ------------------------------------------------------------------------- */

static void
ngx_http_mdvr_api_key_made(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    json_t     *answer;
    ngx_str_t   text, *key = ctx->data;

    text = ngx_mdvr_pg_nrows(rows) ? ngx_mdvr_pg_value(rows, 0, 0)
                                   : (ngx_str_t) ngx_null_string;

    answer = json_loadb((char *) text.data, text.len, 0, NULL);

    if (answer == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    json_object_set_new(answer, "key", ngx_http_mdvr_api_text(key));
    ngx_http_mdvr_api_json(ctx, NGX_HTTP_CREATED, answer);
}


void
ngx_http_mdvr_api_key_post(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t  *key, digest;

    if (!ngx_http_mdvr_api_may_grant(ctx, "scopes")) {
        return;
    }

    key = ngx_palloc(ctx->request->pool, sizeof(ngx_str_t));
    if (key == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    *key = ngx_http_mdvr_api_secret(ctx->request->pool, "mdvr_");
    digest = ngx_http_mdvr_api_sha256(ctx->request->pool, key);
    ctx->data = key;

    if (key->len == 0 || digest.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_query(ctx,
        "with b as (select $6::jsonb as b),"
        " ids as (select array(select jsonb_array_elements_text("
        "    b->'device_ids')::uuid) as list from b where b ? 'device_ids'"
        "    and jsonb_typeof(b->'device_ids') = 'array'),"
        " known as (select count(*) = (select cardinality(list) from ids)"
        "    or mdvr.refuse('MD422', 'unknown_device',"
        "     'device_ids names a device that does not exist') as ok"
        "   from mdvr.device d where d.id = any (select unnest(list) from ids)"
        "    and d.deleted_at is null"
        "   having exists (select from ids)),"
        " made as (insert into mdvr.api_key (id, tenant_id, user_id, name,"
        "   hash, scopes, device_ids, expires_at)"
        "  select mdvr.uuid7(), $1::uuid, $2::uuid, b->>'name',"
        "   decode($7, 'hex'),"
        "   array(select distinct jsonb_array_elements_text(b->'scopes')),"
        "   (select list from ids where coalesce((select ok from known), true)),"
        "   (b->>'expires_at')::timestamptz"
        "  from b returning id, name, scopes, device_ids, user_id, expires_at,"
        "   created_at)"
        " select json_build_object('id', k.id, 'name', k.name, 'scopes',"
        "   k.scopes, 'device_ids', k.device_ids, 'user_id', k.user_id,"
        "   'expires_at', mdvr.rfc3339(k.expires_at),"
        "   'last_used_at', null,"
        "   'created_at', mdvr.rfc3339(k.created_at))::text,"
        "  mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "   'api_key.create', 'api_key', k.id::text,"
        "   jsonb_build_object('name', k.name, 'scopes', k.scopes), $5)"
        " from made k",
        API_WHO ",$body,@0", &digest,
        ngx_http_mdvr_api_key_made);
}
