/*
 * What the media front tells the database about media connections: that they
 * came and went (mdvr.media_session), how far the file of a command is, and
 * what became of it.  Nothing here waits or is told about failure: a lost
 * report is a row that says less.
 */

#ifndef NGX_MDVR_TRANSFER_H
#define NGX_MDVR_TRANSFER_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"


/* A connection in mdvr.media_session; zeros: none. */

typedef struct ngx_mdvr_meter_s  ngx_mdvr_meter_t;

/*
 * A device's connection was bound to a session.  NULL: this kind of session is
 * not metered, or there is no memory.
 */
ngx_mdvr_meter_t *ngx_mdvr_meter_start(const mdvr_bus_info_t *info);

/* It is gone; frees the meter. */
void ngx_mdvr_meter_end(ngx_mdvr_meter_t *meter, mdvr_bus_ref_t ref,
    uint64_t bytes_in);


/* `command` is the id as text; bytes of a file of `size` bytes. */
void ngx_mdvr_transfer_progress(const ngx_str_t *command, uint64_t bytes,
    uint64_t size);

/*
 * The command has failed, whatever the device says later: `code` of
 * signaling.md section 9 (0: none), `reason` in words.
 */
void ngx_mdvr_transfer_failed(const ngx_str_t *command,
    const uint8_t tenant_id[16], ngx_uint_t code, const char *reason);

/*
 * Keeps a device's configuration file (C521), at most
 * NGX_MDVR_TRANSFER_CONFIG bytes; everything is copied.
 */
#define NGX_MDVR_TRANSFER_CONFIG  (1024 * 1024)

void ngx_mdvr_transfer_keep(const ngx_str_t *command, const ngx_str_t *name,
    const u_char *p, size_t len, const u_char md5[16]);


#endif
