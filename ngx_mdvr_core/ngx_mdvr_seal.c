/*
 * Secrets of the database and the configuration: the key file, sealing and
 * opening, and what is sealed later.
 *
 * Keys that SQL made (at the first start, when one is rotated) and secrets of
 * before lie open for a moment; the chief asks for such rows each time the
 * signing keys are read, once a minute, and puts their sealed form in place.  The
 * same replaces an old key by a new first line of the file.  What no key opens is
 * passed over and counted.
 */

#include "ngx_mdvr_core/ngx_mdvr_seal.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"


#define NGX_MDVR_SEAL_TIMEOUT  5000     /* ms */
#define NGX_MDVR_SEAL_BATCH    100
#define NGX_MDVR_SEAL_NAME     80


/* one look at all secrets, a batch after the other */

typedef struct {
    ngx_uint_t                busy;          /* 1: it goes on */
    ngx_uint_t                waiting;       /* for so many answers */
    ngx_uint_t                more;          /* the batch was full */
    ngx_uint_t                sealed;
    ngx_uint_t                closed;        /* that no key opens */
    u_char                    after[NGX_MDVR_SEAL_NAME];
    u_char                    first[NGX_MDVR_SEAL_NAME];
} ngx_mdvr_seal_pass_t;


static void ngx_mdvr_seal_rows(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_seal_put(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);


static ngx_mdvr_seal_pass_t  ngx_mdvr_seal_pass;
static ngx_uint_t            ngx_mdvr_seal_closed;   /* as the log has it */


char *
ngx_mdvr_seal_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_mdvr_core_conf_t  *conf = data;

    ngx_str_t   *value;
    const char  *wrong;

    if (conf->secret_key.len) {
        return "is duplicate";
    }

    value = cf->args->elts;
    conf->secret_key = value[1];

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    if (value[1].len == 0
        || ngx_conf_full_name(cf->cycle, &conf->secret_key, 0) != NGX_OK)
    {
        return "needs the name of a file";
    }

    wrong = mdvr_seal_read(conf->seal, (char *) conf->secret_key.data);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "the file \"%V\" of \"%V\" %s",
                           &conf->secret_key, &cmd->name, wrong);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_mdvr_is_example(const ngx_str_t *word)
{
    ngx_uint_t  i;

    static const char  *examples[] = {
        "password", "passw0rd", "changeme", "change-me", "change_me",
        "changeit", "example", "secret", "foobared", "redis", "postgres",
        "mdvr", "admin", "test", "default", "12345678", "123456789",
        "replace-me", "your-password", "your_password", "supersecret"
    };

    if (word->len < 8) {
        return 1;
    }

    for (i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        if (ngx_strlen(examples[i]) == word->len
            && ngx_strncasecmp((u_char *) examples[i], word->data, word->len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_str_t
ngx_mdvr_seal_hex(ngx_pool_t *pool, const char *name, const ngx_str_t *secret)
{
    size_t                 n;
    u_char                 sealed[MDVR_SEAL_MAX + MDVR_SEAL_ROOM];
    ngx_str_t              hex;
    ngx_mdvr_core_conf_t  *conf;

    ngx_str_null(&hex);

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    n = mdvr_seal(conf->seal, name, secret->data, secret->len, sealed);

    if (n == 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "a secret cannot be sealed: %s", name);
        return hex;
    }

    hex.data = ngx_pnalloc(pool, 2 * n + 1);

    if (hex.data) {
        hex.len = 2 * n;
        *ngx_hex_dump(hex.data, sealed, n) = '\0';
    }

    return hex;
}


/* 0: no key opens it */

static size_t
ngx_mdvr_seal_open(const char *name, const ngx_str_t *hex, u_char *out)
{
    size_t                 i, n;
    u_char                 sealed[MDVR_SEAL_MAX];
    ngx_int_t              octet;
    ngx_mdvr_core_conf_t  *conf;

    n = hex->len / 2;

    if (n == 0 || n > sizeof(sealed)) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        octet = ngx_hextoi(hex->data + 2 * i, 2);

        if (octet == NGX_ERROR) {
            return 0;
        }

        sealed[i] = (u_char) octet;
    }

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    return mdvr_unseal(conf->seal, name, sealed, n, out);
}


size_t
ngx_mdvr_unseal_hex(const char *name, const ngx_str_t *hex, u_char *out)
{
    size_t  n;

    n = ngx_mdvr_seal_open(name, hex, out);

    if (n == 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "no key of \"mdvr_secret_key\" opens %s", name);
    }

    return n;
}


/* -- later --------------------------------------------------------------- */

static void
ngx_mdvr_seal_end(ngx_mdvr_seal_pass_t *pass)
{
    pass->busy = 0;

    if (pass->sealed) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "%ui secrets are sealed", pass->sealed);
    }

    if (pass->closed && pass->closed != ngx_mdvr_seal_closed) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "no key of \"mdvr_secret_key\" opens %ui secrets,"
                      " the first is %s", pass->closed, pass->first);
    }

    ngx_mdvr_seal_closed = pass->closed;
    ngx_mdvr_gauge(secrets_closed, pass->closed);
}


/* the next batch */

static ngx_int_t
ngx_mdvr_seal_ask(ngx_mdvr_seal_pass_t *pass)
{
    u_char                 head[MDVR_SEAL_HEAD];
    ngx_str_t              after;
    ngx_mdvr_pg_call_t     call;
    ngx_mdvr_pg_param_t    params[2];
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    mdvr_seal_head(conf->seal, head);
    after.data = pass->after;
    after.len = ngx_strlen(pass->after);

    params[0] = ngx_mdvr_pg_bytes(head, sizeof(head));
    params[1] = ngx_mdvr_pg_text(&after);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

    call.role = NGX_MDVR_PG_API;
    call.sql = "select name, encode(secret, 'hex')"
               " from mdvr.secrets_to_seal($1, $2, "
               ngx_value(NGX_MDVR_SEAL_BATCH) ")";
    call.params = params;
    call.nparams = 2;

    return ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_SEAL_TIMEOUT,
                             ngx_mdvr_seal_rows, pass);
}


void
ngx_mdvr_seal_all(void)
{
    ngx_mdvr_core_conf_t  *conf;
    ngx_mdvr_seal_pass_t  *pass = &ngx_mdvr_seal_pass;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (conf->seal->n == 0 || pass->busy) {
        return;
    }

    if (!ngx_mdvr_is_chief()) {
        ngx_mdvr_gauge(secrets_closed, 0);
        return;
    }

    ngx_memzero(pass, sizeof(ngx_mdvr_seal_pass_t));

    pass->busy = ngx_mdvr_seal_ask(pass) == NGX_OK;
}


/* after each answer: the last one of a batch leads to the next batch */

static void
ngx_mdvr_seal_step(ngx_mdvr_seal_pass_t *pass)
{
    if (--pass->waiting) {
        return;
    }

    if (!pass->more || ngx_mdvr_seal_ask(pass) != NGX_OK) {
        ngx_mdvr_seal_end(pass);
    }
}


static void
ngx_mdvr_seal_row(ngx_mdvr_seal_pass_t *pass, ngx_pool_t *pool,
    ngx_str_t *name, ngx_str_t *was)
{
    u_char                plain[MDVR_SEAL_MAX];
    ngx_str_t             secret, sealed;
    ngx_mdvr_pg_call_t    call;
    ngx_mdvr_pg_param_t   params[3];

    secret.data = plain;
    secret.len = ngx_mdvr_seal_open((char *) name->data, was, plain);

    if (secret.len == 0) {
        if (pass->closed++ == 0) {
            (void) ngx_cpystrn(pass->first, name->data, NGX_MDVR_SEAL_NAME);
        }

        return;
    }

    sealed = ngx_mdvr_seal_hex(pool, (char *) name->data, &secret);
    ngx_explicit_memzero(plain, sizeof(plain));

    if (sealed.len == 0) {
        return;
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));

    params[0] = ngx_mdvr_pg_text(name);
    params[1] = ngx_mdvr_pg_text(was);
    params[2] = ngx_mdvr_pg_text(&sealed);

    call.role = NGX_MDVR_PG_API;
    call.sql = "select mdvr.secret_sealed($1, decode($2, 'hex'),"
               " decode($3, 'hex'))";
    call.params = params;
    call.nparams = 3;

    /* what fails is found again in a minute */

    if (ngx_mdvr_pg_query(NULL, &call, NGX_MDVR_SEAL_TIMEOUT,
                          ngx_mdvr_seal_put, pass)
        == NGX_OK)
    {
        pass->waiting++;
    }
}


static void
ngx_mdvr_seal_put(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_str_t              done;
    ngx_mdvr_seal_pass_t  *pass = data;

    if (rc != MDVR_OK) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "a secret could not be sealed: %s", mdvr_rc_name(rc));

    } else if (ngx_mdvr_pg_nrows(rows)) {
        done = ngx_mdvr_pg_value(rows, 0, 0);
        pass->sealed += done.len == 1 && done.data[0] == 't';
    }

    ngx_mdvr_seal_step(pass);
}


static void
ngx_mdvr_seal_rows(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_str_t              name, was;
    ngx_uint_t             i, n;
    ngx_pool_t            *pool;
    ngx_mdvr_seal_pass_t  *pass = data;

    if (rc != MDVR_OK) {
        pass->busy = 0;
        return;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        pass->busy = 0;
        return;
    }

    n = ngx_mdvr_pg_nrows(rows);
    pass->more = n == NGX_MDVR_SEAL_BATCH;
    pass->waiting = 1;

    for (i = 0; i < n; i++) {
        name = ngx_mdvr_pg_value(rows, i, 0);
        was = ngx_mdvr_pg_value(rows, i, 1);

        ngx_mdvr_seal_row(pass, pool, &name, &was);
        (void) ngx_cpystrn(pass->after, name.data, NGX_MDVR_SEAL_NAME);
    }

    ngx_destroy_pool(pool);
    ngx_mdvr_seal_step(pass);
}
