/*
 * What the workers of one node share about devices, addresses and sessions,
 * in the zone "mdvr_zone".
 *
 * A device entry is a cached row of mdvr.device_by_serial() and, while a
 * registered connection holds the device, the claim of that connection: slot
 * of the worker, nginx' connection number (unique in the node's life), time
 * and address.  Entries that nobody holds are a cache: they expire and are the
 * first to go when the zone is full.  A full zone is a normal answer.
 */

#ifndef NGX_MDVR_REGISTRY_H
#define NGX_MDVR_REGISTRY_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


#define NGX_MDVR_SERIAL_MAX     31
#define NGX_MDVR_IMEI_MAX       15
#define NGX_MDVR_ENCODING_MAX   15
#define NGX_MDVR_ADDRESS_MAX    45       /* text of an address, no port */

/* utc_offset_minutes of a device that has neither a setting nor a detected
 * zone yet (null in PostgreSQL) */
#define NGX_MDVR_OFFSET_UNKNOWN  (-32768)


typedef struct {
    uint16_t                  slot;
    uint8_t                   held;          /* 0: nobody, the rest is void */
    uint64_t                  connection;    /* c->number */
    int64_t                   connected_at;  /* unix ms */
    u_char                    address[NGX_MDVR_ADDRESS_MAX + 1];
} ngx_mdvr_holder_t;


/* a copy of an entry; nothing in it points into the zone */

typedef struct {
    ngx_mdvr_uuid_t           device_id;
    ngx_mdvr_uuid_t           tenant_id;
    int16_t                   utc_offset_minutes;  /* or ..._UNKNOWN */
    uint8_t                   channels;
    uint8_t                   bus_layout;    /* 1: location group of buses */
    uint8_t                   suspended;     /* device or its tenant */
    uint8_t                   offset_set;    /* 0: detected, or unknown */
    uint8_t                   serial_len;
    u_char                    serial[NGX_MDVR_SERIAL_MAX + 1];
    u_char                    imei[NGX_MDVR_IMEI_MAX + 1];       /* "" any */
    u_char                    text_encoding[NGX_MDVR_ENCODING_MAX + 1];
    ngx_mdvr_holder_t         holder;
} ngx_mdvr_device_t;


/* what a connection keeps while it holds a device; zeros: nothing held */

typedef struct {
    ngx_mdvr_uuid_t           device_id;
    uint64_t                  connection;
} ngx_mdvr_claim_t;


/* -- devices: the cache -------------------------------------------------- */

/*
 * NGX_OK: known, *device filled.  NGX_DECLINED: known not to exist (asked
 * within the last 10 s).  NGX_AGAIN: not in the cache or too old (5 min).
 */
ngx_int_t ngx_mdvr_registry_find(const ngx_str_t *serial,
    ngx_mdvr_device_t *device);

/*
 * By device id, only entries that are in the cache: NGX_OK or NGX_AGAIN.
 * Whoever is online on this node is always found.
 */
ngx_int_t ngx_mdvr_registry_find_id(const ngx_mdvr_uuid_t *device_id,
    ngx_mdvr_device_t *device);

/*
 * Who holds the device on this node, however old its row: NGX_OK or
 * NGX_DECLINED.
 */
ngx_int_t ngx_mdvr_registry_holder(const ngx_str_t *serial,
    ngx_mdvr_holder_t *holder);

/*
 * Finds a device by serial in the cache, else in PostgreSQL (role stream).
 *
 * NGX_OK, NGX_DECLINED: as ngx_mdvr_registry_find(), `done` is not called.
 * NGX_AGAIN: `done` will be called once, unless `pool` is destroyed first, with
 * rc MDVR_OK and the device, MDVR_E_NOT_FOUND, or what ngx_mdvr_pg.h lists.
 * While PostgreSQL cannot be asked a row of any age is good enough.
 * NGX_BUSY, NGX_ERROR: as ngx_mdvr_pg_query().  `timeout` is in ms.
 *
 * `device` is borrowed in `done`.
 */
typedef void (*ngx_mdvr_device_pt)(void *data, const ngx_mdvr_device_t *device,
    mdvr_rc_t rc);

ngx_int_t ngx_mdvr_registry_lookup(ngx_pool_t *pool, const ngx_str_t *serial,
    ngx_mdvr_device_t *device, ngx_msec_t timeout, ngx_mdvr_device_pt done,
    void *data);

/* Forgets the cached row; the next lookup asks PostgreSQL.  A claim stays. */
void ngx_mdvr_registry_forget(const ngx_str_t *serial);
void ngx_mdvr_registry_forget_tenant(const ngx_mdvr_uuid_t *tenant);

/* -- devices: who holds them --------------------------------------------- */

/*
 * Makes this connection the holder: the newest wins.  *previous tells who held
 * it before on this node (held == 0: nobody); that worker is told by
 * NGX_MDVR_MAIL_CLOSE (or directly through the same handler when it is this
 * worker: then no mail is sent and the caller closes it).  `address` is text.
 *
 * NGX_OK: held; release it.  NGX_BUSY: the zone is full.
 */
ngx_int_t ngx_mdvr_registry_claim(ngx_mdvr_claim_t *claim,
    const ngx_mdvr_device_t *device, uint64_t connection,
    const ngx_str_t *address, int64_t connected_at,
    ngx_mdvr_holder_t *previous);

/* Whether this connection still is the holder: NGX_OK, or NGX_DECLINED when
 * a newer one took the device.  For the case that the mail was lost. */
ngx_int_t ngx_mdvr_registry_check(ngx_mdvr_claim_t *claim);

/* The zone that its clock shows; nothing when one is set for the device. */
void ngx_mdvr_registry_offset(ngx_mdvr_claim_t *claim, int16_t minutes);

/*
 * Whether `what` (not 0) is said of this device for the first time: 1, or 0 when
 * it is one of the last four things that were, by any connection or worker
 * since this nginx knows the device.
 */
ngx_uint_t ngx_mdvr_registry_first(ngx_mdvr_claim_t *claim, uint32_t what);

/*
 * Lets the device go and clears *claim.  NGX_OK: nobody holds it now, the
 * caller reports it offline.  NGX_DECLINED: a newer connection holds it, or
 * nothing was held.
 */
ngx_int_t ngx_mdvr_registry_release(ngx_mdvr_claim_t *claim);

/* Devices held on this node. */
ngx_uint_t ngx_mdvr_registry_online(void);

/*
 * What a dead worker held: called in one surviving worker, once per device,
 * after the claim was removed.  To be set from init_process.
 */
typedef void (*ngx_mdvr_lost_pt)(const ngx_mdvr_device_t *device);

void ngx_mdvr_registry_lost_handler(ngx_mdvr_lost_pt handler);

/* -- addresses ----------------------------------------------------------- */

typedef enum {
    NGX_MDVR_ADDR_SOCKET = 0,       /* any connection on a device port */
    NGX_MDVR_ADDR_UNREGISTERED,     /* signaling before V101 */
    NGX_MDVR_ADDR_PUSH,             /* WebSocket and event streams */
    NGX_MDVR_ADDR_KINDS
} ngx_mdvr_addr_kind_e;

/*
 * Counts one more connection of that kind from the address (port ignored, an
 * IPv6 address by its first 64 bits) on this node.
 * NGX_OK: counted; subtract it later.  NGX_BUSY: `limit` reached.
 * NGX_ERROR: the zone is full, nothing was counted.
 */
ngx_int_t ngx_mdvr_address_add(const struct sockaddr *sockaddr,
    ngx_mdvr_addr_kind_e kind, ngx_uint_t limit);
void ngx_mdvr_address_sub(const struct sockaddr *sockaddr,
    ngx_mdvr_addr_kind_e kind);

/* The same per user (sockets, 500), counted by its id. */
ngx_int_t ngx_mdvr_user_add(const ngx_mdvr_uuid_t *user, ngx_uint_t limit);
void ngx_mdvr_user_sub(const ngx_mdvr_uuid_t *user);

/* -- revocations --------------------------------------------------------- */

typedef enum {
    NGX_MDVR_REVOKED_SESSION = 0,
    NGX_MDVR_REVOKED_USER,
    NGX_MDVR_REVOKED_TENANT
} ngx_mdvr_revoked_e;

/*
 * From now until `until` (unix s) tokens of that session, user or tenant that
 * were issued at or before `issued_before` (unix s) are void.
 */
void ngx_mdvr_revoke(ngx_mdvr_revoked_e kind, const ngx_mdvr_uuid_t *id,
    time_t issued_before, time_t until);

/* Whether a token issued at `issued_at` is void for one of the three. */
ngx_uint_t ngx_mdvr_is_revoked(const ngx_mdvr_uuid_t *session,
    const ngx_mdvr_uuid_t *user, const ngx_mdvr_uuid_t *tenant,
    time_t issued_at);

/* Grows with each revocation: who holds long connections checks them again
 * when it changed (or on NGX_MDVR_MAIL_REVOKED). */
ngx_uint_t ngx_mdvr_revocations(void);

/* -- viewer sessions ----------------------------------------------------- */

/* Remembers / finds the renewed expiry (unix s) of a viewer session; 0 when
 * none is known here. */
void ngx_mdvr_vsession_set(const ngx_mdvr_uuid_t *session, time_t expires_at);
time_t ngx_mdvr_vsession_get(const ngx_mdvr_uuid_t *session);


/* for the core module only */

/* The row of that serial into the cache; device == NULL: there is none. */
void ngx_mdvr_registry_store(const ngx_str_t *serial,
    const ngx_mdvr_device_t *device);

/* A row too old to be believed, for as long as PostgreSQL cannot be asked:
 * NGX_OK or NGX_DECLINED. */
ngx_int_t ngx_mdvr_registry_stale(const ngx_str_t *serial,
    ngx_mdvr_device_t *device);

ngx_int_t ngx_mdvr_registry_init(ngx_cycle_t *cycle,
    ngx_mdvr_core_conf_t *conf);


#endif
