/*
 * Roles and scopes: who may do what, as bits.
 *
 * A token carries explicit scopes; a role is where they come from.  The
 * client_user role sees assigned devices only: that is the database's rule,
 * not a scope.  Source: client contract, "Roles and scopes".
 */

#ifndef MDVR_DOMAIN_SCOPE_H
#define MDVR_DOMAIN_SCOPE_H

#include "mdvr/basics/str.h"

#define MDVR_SCOPE_LIST(X)                                                \
    X(DEVICE_READ,       "device:read")                                   \
    X(DEVICE_WRITE,      "device:write")                                  \
    X(DEVICE_CONTROL,    "device:control")                                \
    X(VIDEO_WATCH,       "video:watch")                                   \
    X(VIDEO_DOWNLOAD,    "video:download")                                \
    X(ALARM_READ,        "alarm:read")                                    \
    X(ALARM_ACKNOWLEDGE, "alarm:acknowledge")                             \
    X(USER_MANAGE,       "user:manage")                                   \
    X(BILLING_MANAGE,    "billing:manage")

enum {
#define MDVR_SCOPE_NUMBER(name, text)  MDVR_SCOPE_N_##name,
    MDVR_SCOPE_LIST(MDVR_SCOPE_NUMBER)
#undef MDVR_SCOPE_NUMBER
    MDVR_SCOPE_COUNT
};

enum {
#define MDVR_SCOPE_BIT(name, text)                                        \
    MDVR_SCOPE_##name = 1U << MDVR_SCOPE_N_##name,
    MDVR_SCOPE_LIST(MDVR_SCOPE_BIT)
#undef MDVR_SCOPE_BIT
    MDVR_SCOPE_ALL = (1U << MDVR_SCOPE_COUNT) - 1
};

typedef enum {
    MDVR_ROLE_NONE = 0,
    MDVR_ROLE_SUPER_ADMIN,
    MDVR_ROLE_TENANT_ADMIN,
    MDVR_ROLE_TECHNICIAN,
    MDVR_ROLE_CLIENT_USER
} mdvr_role_e;

const char *mdvr_role_name(mdvr_role_e role);           /* "" for NONE */
mdvr_role_e mdvr_role_find(mdvr_str_t name);

/* The scopes a role has by itself. */
uint32_t mdvr_role_scopes(mdvr_role_e role);

/* Is `role` confined to assigned devices? */
bool mdvr_role_assigned_only(mdvr_role_e role);

/* 0 for a name that is no scope */
uint32_t mdvr_scope_find(mdvr_str_t name);
const char *mdvr_scope_name(uint32_t bit);              /* single bit */

/* "device:read video:watch": names separated by one space, and back.  False
 * when a name is unknown; *out then holds the known ones. */
void mdvr_scopes_write(mdvr_buf_t *b, uint32_t scopes);
bool mdvr_scopes_parse(mdvr_str_t s, uint32_t *out);

#endif /* MDVR_DOMAIN_SCOPE_H */
