/*
 * The core module: its directives (set by ngx_mdvr_conf.c), the zone, the slots
 * of the workers and their mailboxes.
 *
 * Wake-ups between workers of a node are eventfds, one per slot, made once by
 * the master before the first fork and inherited by every worker since, over
 * reloads too.  nginx' own channel cannot carry messages of modules.
 *
 * A draining worker is noticed through nginx itself: it calls the handlers of
 * connections marked idle with c->close set, and the eventfd is one of them.
 */

#include "ngx_mdvr_core/ngx_mdvr_zone.h"
#include "ngx_mdvr_core/ngx_mdvr_conf.h"
#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"

#include <sys/eventfd.h>


#define NGX_MDVR_TICK       500         /* ms */
#define NGX_MDVR_HANDLERS   8


static ngx_int_t ngx_mdvr_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_mdvr_init_process(ngx_cycle_t *cycle);
static void ngx_mdvr_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_mdvr_take_slot(ngx_cycle_t *cycle);
static void ngx_mdvr_wake_handler(ngx_event_t *rev);
static void ngx_mdvr_wake_write(ngx_event_t *wev);
static void ngx_mdvr_tick_handler(ngx_event_t *ev);


static ngx_conf_post_t  ngx_mdvr_port_post = { ngx_mdvr_conf_port };


static ngx_command_t  ngx_mdvr_commands[] = {

    { ngx_string("mdvr_node"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE12,
      ngx_mdvr_conf_node,
      0,
      0,
      NULL },

    { ngx_string("mdvr_zone"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mdvr_conf_zone,
      0,
      0,
      NULL },

    { ngx_string("mdvr_state_dir"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mdvr_conf_state_dir,
      0,
      0,
      NULL },

    { ngx_string("mdvr_postgres"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE2|NGX_CONF_TAKE3|NGX_CONF_TAKE4,
      ngx_mdvr_conf_postgres,
      0,
      0,
      NULL },

    { ngx_string("mdvr_redis"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE12,
      ngx_mdvr_conf_redis,
      0,
      0,
      NULL },

    { ngx_string("mdvr_secret_key"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_mdvr_seal_conf,
      0,
      0,
      NULL },

    { ngx_string("mdvr_bus"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1234,
      ngx_mdvr_conf_bus,
      0,
      0,
      NULL },

    { ngx_string("mdvr_trace"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE12,
      ngx_mdvr_conf_trace,
      0,
      0,
      NULL },

    { ngx_string("mdvr_public_host"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_mdvr_core_conf_t, public_host),
      NULL },

    { ngx_string("mdvr_media_port"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_mdvr_core_conf_t, media_port),
      &ngx_mdvr_port_post },

      ngx_null_command
};


static ngx_core_module_t  ngx_mdvr_module_ctx = {
    ngx_string("mdvr"),
    ngx_mdvr_create_conf,
    ngx_mdvr_init_conf
};


ngx_module_t  ngx_mdvr_module = {
    NGX_MODULE_V1,
    &ngx_mdvr_module_ctx,               /* module context */
    ngx_mdvr_commands,                  /* module directives */
    NGX_CORE_MODULE,                    /* module type */
    NULL,                               /* init master */
    ngx_mdvr_init_module,               /* init module */
    ngx_mdvr_init_process,              /* init process */
    NULL,                               /* init thread */
    NULL,                               /* exit thread */
    ngx_mdvr_exit_process,              /* exit process */
    NULL,                               /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_uint_t        ngx_mdvr_slot = NGX_MDVR_NO_SLOT;
ngx_mdvr_zone_t  *ngx_mdvr_zone;

static int                ngx_mdvr_wake_fd[NGX_MDVR_SLOTS];
static ngx_uint_t         ngx_mdvr_wake_made;
static ngx_connection_t  *ngx_mdvr_wake;
static ngx_event_t        ngx_mdvr_tick;

static ngx_mdvr_mail_pt   ngx_mdvr_mail_handlers[NGX_MDVR_MAIL_KINDS]
                                                [NGX_MDVR_HANDLERS];
static ngx_mdvr_drain_pt  ngx_mdvr_drain_handlers[NGX_MDVR_HANDLERS];


ngx_mdvr_core_conf_t *
ngx_mdvr_core_conf(ngx_cycle_t *cycle)
{
    ngx_mdvr_core_conf_t  *conf;

    conf = (ngx_mdvr_core_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                 ngx_mdvr_module);

    return conf->zone ? conf : NULL;
}


const ngx_mdvr_uuid_t *
ngx_mdvr_boot(void)
{
    return &ngx_mdvr_zone->sh->boot;
}


ngx_uint_t
ngx_mdvr_is_chief(void)
{
    ngx_uint_t        i, last;
    ngx_mdvr_slot_t  *slot;

    if (ngx_mdvr_slot == NGX_MDVR_NO_SLOT) {
        return 0;
    }

    last = NGX_MDVR_NO_SLOT;

    for (i = 0; i < NGX_MDVR_SLOTS; i++) {
        slot = &ngx_mdvr_zone->sh->slots[i];

        if (slot->pid == 0 || slot->sweeper) {
            continue;
        }

        if (!slot->draining) {
            return i == ngx_mdvr_slot;
        }

        if (last == NGX_MDVR_NO_SLOT) {
            last = i;
        }
    }

    return last == ngx_mdvr_slot;       /* all of them drain */
}


ngx_int_t
ngx_mdvr_mail_post(ngx_uint_t to, uint32_t kind, uint64_t a, uint64_t b)
{
    uint64_t          one;
    ngx_int_t         rc;
    ngx_mdvr_mail_t  *mail;
    ngx_mdvr_slot_t  *slot;

    if (ngx_mdvr_zone == NULL || to >= NGX_MDVR_SLOTS) {
        return NGX_DECLINED;
    }

    slot = &ngx_mdvr_zone->sh->slots[to];

    ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex);

    if (slot->pid == 0 || slot->box == NULL) {
        rc = NGX_DECLINED;

    } else if (slot->tail - slot->head == NGX_MDVR_MAILBOX) {
        rc = NGX_BUSY;

    } else {
        mail = &slot->box[slot->tail % NGX_MDVR_MAILBOX];
        mail->kind = kind;
        mail->from = (uint32_t) ngx_mdvr_slot;
        mail->a = a;
        mail->b = b;
        slot->tail++;
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex);

    if (rc != NGX_DECLINED) {
        one = 1;

        if (write(ngx_mdvr_wake_fd[to], &one, sizeof(uint64_t)) == -1
            && ngx_errno != NGX_EAGAIN)
        {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                          "write() to the eventfd of slot %ui failed", to);
        }
    }

    return rc;
}


void
ngx_mdvr_mail_broadcast(uint32_t kind, uint64_t a, uint64_t b)
{
    ngx_uint_t  i;

    if (ngx_mdvr_zone == NULL) {
        return;
    }

    for (i = 0; i < NGX_MDVR_SLOTS; i++) {
        if (i != ngx_mdvr_slot && ngx_mdvr_zone->sh->slots[i].pid) {
            (void) ngx_mdvr_mail_post(i, kind, a, b);
        }
    }
}


static void
ngx_mdvr_mail_dispatch(const ngx_mdvr_mail_t *mail)
{
    ngx_uint_t  i;

    if (mail->kind >= NGX_MDVR_MAIL_KINDS) {
        return;
    }

    for (i = 0; i < NGX_MDVR_HANDLERS; i++) {
        if (ngx_mdvr_mail_handlers[mail->kind][i]) {
            ngx_mdvr_mail_handlers[mail->kind][i](mail);
        }
    }
}


void
ngx_mdvr_mail_local(uint32_t kind, uint64_t a, uint64_t b)
{
    ngx_mdvr_mail_t  mail;

    mail.kind = kind;
    mail.from = (uint32_t) ngx_mdvr_slot;
    mail.a = a;
    mail.b = b;

    ngx_mdvr_mail_dispatch(&mail);
}


ngx_int_t
ngx_mdvr_mail_handler(uint32_t kind, ngx_mdvr_mail_pt handler)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MDVR_HANDLERS; i++) {
        if (ngx_mdvr_mail_handlers[kind][i] == NULL) {
            ngx_mdvr_mail_handlers[kind][i] = handler;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_mdvr_drain_handler(ngx_mdvr_drain_pt handler)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MDVR_HANDLERS; i++) {
        if (ngx_mdvr_drain_handlers[i] == NULL) {
            ngx_mdvr_drain_handlers[i] = handler;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_mdvr_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_mdvr_zone_t  *old = data;

    size_t            size;
    ngx_mdvr_zone_t  *zone;

    zone = shm_zone->data;

    if (old) {                              /* reload: everything survives */
        *zone = *old;
        return NGX_OK;
    }

    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {             /* already laid out */
        zone->sh = zone->shpool->data;
        return NGX_OK;
    }

    zone->shpool->log_nomem = 0;            /* a full zone is an answer */

    zone->sh = ngx_slab_calloc(zone->shpool, sizeof(ngx_mdvr_sh_t));
    if (zone->sh == NULL) {
        return NGX_ERROR;
    }

    size = ngx_mdvr_metrics_size();

    zone->sh->metrics = ngx_slab_calloc(zone->shpool, size);
    if (zone->sh->metrics == NULL) {
        return NGX_ERROR;
    }

    ngx_mdvr_uuid_make(&zone->sh->boot);

    zone->shpool->data = zone->sh;

    return ngx_mdvr_registry_layout(zone);
}


static ngx_int_t
ngx_mdvr_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    if (ngx_mdvr_core_conf(cycle) == NULL || ngx_mdvr_wake_made) {
        return NGX_OK;
    }

    for (i = 0; i < NGX_MDVR_SLOTS; i++) {
        ngx_mdvr_wake_fd[i] = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (ngx_mdvr_wake_fd[i] == -1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "eventfd() failed");
            return NGX_ERROR;
        }
    }

    ngx_mdvr_wake_made = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_mdvr_init_process(ngx_cycle_t *cycle)
{
    ngx_mdvr_core_conf_t  *conf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    conf = ngx_mdvr_core_conf(cycle);
    if (conf == NULL) {
        return NGX_OK;
    }

    ngx_mdvr_zone = conf->zone->data;

    if (ngx_mdvr_take_slot(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mdvr_metrics_attach(ngx_mdvr_zone->sh->metrics, ngx_mdvr_slot);

    ngx_mdvr_wake = ngx_get_connection(ngx_mdvr_wake_fd[ngx_mdvr_slot],
                                       cycle->log);
    if (ngx_mdvr_wake == NULL) {
        return NGX_ERROR;
    }

    ngx_mdvr_wake->log = cycle->log;
    ngx_mdvr_wake->idle = 1;                /* tells us of draining */
    ngx_mdvr_wake->read->log = cycle->log;
    ngx_mdvr_wake->read->handler = ngx_mdvr_wake_handler;
    ngx_mdvr_wake->write->log = cycle->log;
    ngx_mdvr_wake->write->handler = ngx_mdvr_wake_write;

    if (ngx_add_event(ngx_mdvr_wake->read, NGX_READ_EVENT, NGX_LEVEL_EVENT)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_mdvr_tick.handler = ngx_mdvr_tick_handler;
    ngx_mdvr_tick.log = cycle->log;
    ngx_mdvr_tick.cancelable = 1;
    ngx_mdvr_tick.data = ngx_mdvr_wake;
    ngx_add_timer(&ngx_mdvr_tick, NGX_MDVR_TICK);

    if (ngx_mdvr_trace_init(cycle, conf) != NGX_OK
        || ngx_mdvr_pg_init(cycle, conf) != NGX_OK
        || ngx_mdvr_redis_init(cycle, conf) != NGX_OK
        || ngx_mdvr_registry_init(cycle, conf) != NGX_OK
        || ngx_mdvr_command_init(cycle, conf) != NGX_OK
        || ngx_mdvr_auth_init(cycle, conf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * The slot stays ours until somebody finds our pid gone and has swept it:
 * a worker that is told to terminate does not close its connections.
 */

static void
ngx_mdvr_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_mdvr_slot == NGX_MDVR_NO_SLOT) {
        return;
    }

    ngx_mdvr_pg_exit();
    ngx_mdvr_redis_exit();

    if (ngx_mdvr_wake) {
        ngx_del_event(ngx_mdvr_wake->read, NGX_READ_EVENT, 0);
        ngx_mdvr_wake->fd = (ngx_socket_t) -1;
        ngx_free_connection(ngx_mdvr_wake);
        ngx_mdvr_wake = NULL;
    }
}


/*
 * Workers that die one after the other leave nobody to sweep: who finds every
 * slot taken gives back those of the dead.  Their devices are not told of
 * to PostgreSQL here; they register again.
 */

static ngx_uint_t
ngx_mdvr_reclaim_slots(ngx_cycle_t *cycle)
{
    ngx_uint_t         i, n;
    ngx_mdvr_slot_t   *slot;
    ngx_atomic_uint_t  pid;

    n = 0;

    for (i = 0; i < NGX_MDVR_SLOTS; i++) {
        slot = &ngx_mdvr_zone->sh->slots[i];
        pid = slot->pid;

        if (pid == 0 || kill((pid_t) pid, 0) == 0 || ngx_errno != ESRCH
            || !ngx_atomic_cmp_set(&slot->sweeper, 0, ngx_pid))
        {
            continue;
        }

        while (ngx_mdvr_registry_sweep(i) == NGX_AGAIN) { /* void */ }

        ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex);
        slot->sweeper = 0;
        slot->pid = 0;
        ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex);

        n++;
    }

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "all slots were taken, %ui of workers that died are free "
                  "again", n);

    return n;
}


static ngx_int_t
ngx_mdvr_take_slot(ngx_cycle_t *cycle)
{
    ngx_uint_t        i, again;
    ngx_mdvr_slot_t  *slot;

    again = 1;

take:

    ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex);

    for (i = 0; i < NGX_MDVR_SLOTS; i++) {
        slot = &ngx_mdvr_zone->sh->slots[i];

        if (slot->pid) {
            continue;
        }

        if (slot->box == NULL) {
            slot->box = ngx_slab_alloc_locked(ngx_mdvr_zone->shpool,
                                  NGX_MDVR_MAILBOX * sizeof(ngx_mdvr_mail_t));
            if (slot->box == NULL) {
                i = NGX_MDVR_SLOTS;
                break;
            }
        }

        slot->head = slot->tail;
        slot->draining = 0;
        slot->sweeper = 0;
        slot->pid = ngx_pid;
        break;
    }

    ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex);

    if (i == NGX_MDVR_SLOTS && again && ngx_mdvr_reclaim_slots(cycle)) {
        again = 0;
        goto take;
    }

    if (i == NGX_MDVR_SLOTS) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "no slot for this worker: more than %d processes, or "
                      "\"mdvr_zone\" is too small", NGX_MDVR_SLOTS);
        return NGX_ERROR;
    }

    ngx_mdvr_slot = i;

    ngx_log_error(NGX_LOG_INFO, cycle->log, 0, "worker has slot %ui", i);

    return NGX_OK;
}


static void
ngx_mdvr_wake_handler(ngx_event_t *rev)
{
    uint64_t           n;
    ngx_uint_t         i, count;
    ngx_connection_t  *c;
    ngx_mdvr_mail_t    mail[32];
    ngx_mdvr_slot_t   *slot;

    c = rev->data;
    slot = &ngx_mdvr_zone->sh->slots[ngx_mdvr_slot];

    if (c->close) {
        c->close = 0;

        if (!slot->draining) {
            slot->draining = 1;

            for (i = 0; i < NGX_MDVR_HANDLERS; i++) {
                if (ngx_mdvr_drain_handlers[i]) {
                    ngx_mdvr_drain_handlers[i]();
                }
            }

            ngx_mdvr_pg_drain();
        }

        return;
    }

    if (read(c->fd, &n, sizeof(uint64_t)) == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, rev->log, ngx_errno,
                      "read() from the eventfd failed");
    }

    do {
        ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex);

        for (count = 0; count < 32 && slot->head != slot->tail; count++) {
            mail[count] = slot->box[slot->head++ % NGX_MDVR_MAILBOX];
        }

        ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex);

        for (i = 0; i < count; i++) {
            ngx_mdvr_mail_dispatch(&mail[i]);
        }

    } while (count == 32);
}


static void
ngx_mdvr_wake_write(ngx_event_t *wev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, wev->log, 0, "mdvr wake write");
}


/*
 * Looks for slots whose process is gone.  Every worker looks, one sweeps; a
 * sweeper that dies is replaced like any other.
 */

static void
ngx_mdvr_tick_handler(ngx_event_t *ev)
{
    ngx_uint_t           i;
    ngx_mdvr_slot_t     *slot;
    ngx_atomic_uint_t    pid, sweeper;

    for (i = 0; i < NGX_MDVR_SLOTS; i++) {
        slot = &ngx_mdvr_zone->sh->slots[i];
        pid = slot->pid;

        if (pid == 0 || i == ngx_mdvr_slot
            || kill((pid_t) pid, 0) == 0 || ngx_errno != ESRCH)
        {
            continue;
        }

        sweeper = slot->sweeper;

        if (sweeper != (ngx_atomic_uint_t) ngx_pid) {

            if (sweeper && (kill((pid_t) sweeper, 0) == 0
                            || ngx_errno != ESRCH))
            {
                continue;
            }

            if (!ngx_atomic_cmp_set(&slot->sweeper, sweeper, ngx_pid)) {
                continue;
            }

            if (slot->pid != pid) {         /* somebody was faster */
                slot->sweeper = 0;
                continue;
            }

            ngx_log_error(NGX_LOG_NOTICE, ev->log, 0,
                          "worker %P of slot %ui is gone, sweeping",
                          (ngx_pid_t) pid, i);
        }

        if (ngx_mdvr_registry_sweep(i) == NGX_AGAIN) {
            continue;
        }

        ngx_shmtx_lock(&ngx_mdvr_zone->shpool->mutex);
        slot->sweeper = 0;
        slot->pid = 0;
        ngx_shmtx_unlock(&ngx_mdvr_zone->shpool->mutex);
    }

    ngx_mdvr_registry_tick();

    ngx_add_timer(ev, NGX_MDVR_TICK);
}
