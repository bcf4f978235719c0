
/*
 * argon2id (m = 19 MiB, t = 3, p = 1) costs about 50 ms of a core, so it runs in
 * a thread pool and never more than "mdvr_password_queue" of them at a time in one
 * worker: the queue is the last line of the login rate limit.
 *
 * A task does not keep a draining worker alive, a timer does: one is armed while a
 * hash is being computed.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_password.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_argon.h"

#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/crypto.h>


#define NGX_HTTP_MDVR_API_PASSWORD_MIN  8
#define NGX_HTTP_MDVR_API_PASSWORD_MAX  128


/* of a random password that nobody knows */

static const char  ngx_http_mdvr_api_nobody[] =
    "$argon2id$v=19$m=19456,t=3,p=1$bWR2ci1ub2JvZHktc2FsdA"
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";


typedef struct {
    ngx_http_mdvr_api_ctx_t        *ctx;
    ngx_http_mdvr_api_password_pt   done;
    ngx_event_t                     timer;
    ngx_uint_t                      make;
    ngx_uint_t                      ok;
    size_t                          len;
    u_char                          salt[NGX_HTTP_MDVR_API_ARGON_SALT];
    char                            password[NGX_HTTP_MDVR_API_PASSWORD_MAX];
    char                            hash[NGX_HTTP_MDVR_API_ARGON_ENCODED];
} ngx_http_mdvr_api_password_t;


static void ngx_http_mdvr_api_password_thread(void *data, ngx_log_t *log);
static void ngx_http_mdvr_api_password_event(ngx_event_t *ev);


static ngx_uint_t  ngx_http_mdvr_api_password_running;


static void
ngx_http_mdvr_api_password_timer(ngx_event_t *ev)
{
    ngx_add_timer(ev, 1000);
}


static void
ngx_http_mdvr_api_password_start(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *password, const ngx_str_t *hash,
    ngx_http_mdvr_api_password_pt done)
{
    ngx_http_request_t             *r;
    ngx_thread_task_t              *task;
    ngx_http_mdvr_api_loc_conf_t   *conf;
    ngx_http_mdvr_api_password_t   *p;

    r = ctx->request;
    conf = ngx_http_mdvr_api_conf(ctx);

    if (ngx_http_mdvr_api_password_running >= conf->password_queue) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                  "too many sign-ins at once", 1);
        return;
    }

    task = ngx_thread_task_alloc(r->pool,
                                 sizeof(ngx_http_mdvr_api_password_t));
    if (task == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    p = task->ctx;
    p->ctx = ctx;
    p->done = done;
    p->make = hash == NULL;
    p->len = ngx_min(password->len, NGX_HTTP_MDVR_API_PASSWORD_MAX);
    ngx_memcpy(p->password, password->data, p->len);

    if (p->make) {
        if (RAND_bytes(p->salt, sizeof(p->salt)) != 1) {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                      "internal", NULL, 0);
            return;
        }

    } else if (hash->len == 0 || hash->len >= sizeof(p->hash)) {
        ngx_memcpy(p->hash, ngx_http_mdvr_api_nobody,
                   sizeof(ngx_http_mdvr_api_nobody));

    } else {
        ngx_memcpy(p->hash, hash->data, hash->len);
        p->hash[hash->len] = '\0';
    }

    task->handler = ngx_http_mdvr_api_password_thread;
    task->event.handler = ngx_http_mdvr_api_password_event;
    task->event.data = p;
    task->event.log = r->connection->log;

    if (ngx_thread_task_post(conf->password_pool, task) != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                  "too many sign-ins at once", 1);
        return;
    }

    p->timer.handler = ngx_http_mdvr_api_password_timer;
    p->timer.log = ngx_cycle->log;
    p->timer.data = p;
    ngx_add_timer(&p->timer, 1000);

    ngx_http_mdvr_api_password_running++;

    /* the request stays whatever the client does: the thread writes to its pool */

    r->main->blocked++;
    r->aio = 1;
}


static void
ngx_http_mdvr_api_password_thread(void *data, ngx_log_t *log)
{
    ngx_http_mdvr_api_password_t  *p = data;

    if (p->make) {
        p->ok = ngx_http_mdvr_api_argon_make(p->password, p->len, p->salt,
                                             p->hash);

    } else {
        p->ok = ngx_http_mdvr_api_argon_verify(p->hash, p->password, p->len);
    }

    OPENSSL_cleanse(p->password, sizeof(p->password));
}


static void
ngx_http_mdvr_api_password_event(ngx_event_t *ev)
{
    ngx_str_t                      hash;
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_mdvr_api_ctx_t       *ctx;
    ngx_http_mdvr_api_password_t  *p;

    p = ev->data;
    ctx = p->ctx;
    r = ctx->request;
    c = r->connection;

    ngx_http_mdvr_api_password_running--;

    if (p->timer.timer_set) {
        ngx_del_timer(&p->timer);
    }

    r->main->blocked--;
    r->aio = 0;

    if (r->done) {
        ngx_http_finalize_request(r, NGX_DONE);
        ngx_http_run_posted_requests(c);
        return;
    }

    hash.data = (u_char *) p->hash;
    hash.len = ngx_strlen(p->hash);

    p->done(ctx, p->ok, &hash);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_mdvr_api_password_check(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *password, const ngx_str_t *hash,
    ngx_http_mdvr_api_password_pt done)
{
    ngx_http_mdvr_api_password_start(ctx, password, hash, done);
}


void
ngx_http_mdvr_api_password_make(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *password, ngx_http_mdvr_api_password_pt done)
{
    ngx_http_mdvr_api_password_start(ctx, password, NULL, done);
}


const char *
ngx_http_mdvr_api_password_weak(const ngx_str_t *password,
    const ngx_str_t *email)
{
    size_t  i;

    if (password->len < NGX_HTTP_MDVR_API_PASSWORD_MIN) {
        return "must have 8 characters at least";
    }

    if (password->len > NGX_HTTP_MDVR_API_PASSWORD_MAX) {
        return "must have 128 bytes at most";
    }

    for (i = 1; i < password->len; i++) {
        if (password->data[i] != password->data[0]) {
            break;
        }
    }

    if (i == password->len) {
        return "must not repeat one character";
    }

    if (email->len == password->len
        && ngx_strncasecmp(email->data, password->data, email->len) == 0)
    {
        return "must not be the email address";
    }

    return NULL;
}


uint64_t
ngx_http_mdvr_api_otp(const u_char *secret, size_t len, const ngx_str_t *code,
    time_t now)
{
    int           d;
    u_char        msg[8], mac[20];
    uint32_t      n;
    uint64_t      step, value;
    ngx_uint_t    i, offset;
    unsigned int  mlen;
    char          text[8];

    if (code->len != 6) {
        return 0;
    }

    for (d = -1; d <= 1; d++) {
        step = now / 30 + d;
        value = step;

        for (i = 8; i > 0; i--) {
            msg[i - 1] = value & 0xff;
            value >>= 8;
        }

        mlen = sizeof(mac);

        if (HMAC(EVP_sha1(), secret, len, msg, sizeof(msg), mac, &mlen)
            == NULL)
        {
            return 0;
        }

        offset = mac[19] & 0xf;
        n = (((uint32_t) mac[offset] & 0x7f) << 24)
            | ((uint32_t) mac[offset + 1] << 16)
            | ((uint32_t) mac[offset + 2] << 8)
            | mac[offset + 3];

        ngx_snprintf((u_char *) text, sizeof(text), "%06uD", n % 1000000);

        if (CRYPTO_memcmp(text, code->data, 6) == 0) {
            return step;
        }
    }

    return 0;
}
