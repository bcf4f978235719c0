/* Roles and scopes: the table of the client contract, row by row. */

#include "mdvr/domain/scope.h"

#define MDVR_SCOPES_TECHNICIAN                                            \
    (MDVR_SCOPE_DEVICE_READ | MDVR_SCOPE_DEVICE_WRITE                     \
     | MDVR_SCOPE_DEVICE_CONTROL | MDVR_SCOPE_VIDEO_WATCH                 \
     | MDVR_SCOPE_ALARM_READ)

static const struct {
    const char  *name;
    uint32_t     scopes;
} mdvr_roles[] = {
    [MDVR_ROLE_NONE] = { "", 0 },
    [MDVR_ROLE_SUPER_ADMIN] = { "super_admin", MDVR_SCOPE_ALL },
    [MDVR_ROLE_TENANT_ADMIN] = { "tenant_admin", MDVR_SCOPE_ALL },
    [MDVR_ROLE_TECHNICIAN] = { "technician", MDVR_SCOPES_TECHNICIAN },
    [MDVR_ROLE_CLIENT_USER] = {
        "client_user",
        MDVR_SCOPE_DEVICE_READ | MDVR_SCOPE_VIDEO_WATCH
        | MDVR_SCOPE_ALARM_READ
    },
};

static const char *const  mdvr_scope_names[MDVR_SCOPE_COUNT] = {
#define MDVR_SCOPE_NAME(name, text)  text,
    MDVR_SCOPE_LIST(MDVR_SCOPE_NAME)
#undef MDVR_SCOPE_NAME
};


const char *
mdvr_role_name(mdvr_role_e role)
{
    return mdvr_roles[(unsigned) role <= MDVR_ROLE_CLIENT_USER ? role
                                                  : MDVR_ROLE_NONE].name;
}


mdvr_role_e
mdvr_role_find(mdvr_str_t name)
{
    unsigned  i;

    for (i = MDVR_ROLE_SUPER_ADMIN; i <= MDVR_ROLE_CLIENT_USER; i++) {
        if (mdvr_str_eqc(name, mdvr_roles[i].name)) {
            return (mdvr_role_e) i;
        }
    }

    return MDVR_ROLE_NONE;
}


uint32_t
mdvr_role_scopes(mdvr_role_e role)
{
    return mdvr_roles[(unsigned) role <= MDVR_ROLE_CLIENT_USER ? role
                                                  : MDVR_ROLE_NONE].scopes;
}


bool
mdvr_role_assigned_only(mdvr_role_e role)
{
    return role != MDVR_ROLE_SUPER_ADMIN && role != MDVR_ROLE_TENANT_ADMIN
           && role != MDVR_ROLE_TECHNICIAN;
}


uint32_t
mdvr_scope_find(mdvr_str_t name)
{
    unsigned  i;

    for (i = 0; i < MDVR_SCOPE_COUNT; i++) {
        if (mdvr_str_eqc(name, mdvr_scope_names[i])) {
            return 1U << i;
        }
    }

    return 0;
}


const char *
mdvr_scope_name(uint32_t bit)
{
    unsigned  i;

    for (i = 0; i < MDVR_SCOPE_COUNT; i++) {
        if (bit == 1U << i) {
            return mdvr_scope_names[i];
        }
    }

    return "";
}


void
mdvr_scopes_write(mdvr_buf_t *b, uint32_t scopes)
{
    bool      first;
    unsigned  i;

    for (i = 0, first = true; i < MDVR_SCOPE_COUNT; i++) {

        if (!(scopes & 1U << i)) {
            continue;
        }

        if (!first) {
            mdvr_buf_chr(b, ' ');
        }

        mdvr_buf_cstr(b, mdvr_scope_names[i]);
        first = false;
    }
}


bool
mdvr_scopes_parse(mdvr_str_t s, uint32_t *out)
{
    bool        good;
    uint32_t    bit;
    ptrdiff_t   cut;
    mdvr_str_t  name;

    *out = 0;
    good = true;

    while (s.len) {
        cut = mdvr_str_chr(s, ' ');
        name = mdvr_str(s.p, cut < 0 ? s.len : (size_t) cut);

        if (name.len) {
            bit = mdvr_scope_find(name);
            *out |= bit;
            good = good && bit != 0;
        }

        if (cut < 0) {
            break;
        }

        s.p += cut + 1;
        s.len -= (size_t) cut + 1;
    }

    return good;
}
