/*
 * Cutting a message: one pass over the commas, then the header is judged.
 * The keyword is found by its number, not by comparing names: V and C
 * numbers are small and dense.
 */

#include "mdvr/dc/message.h"

#define MDVR_HEADER_TOKENS  5


static const char *const mdvr_keyword_names[MDVR_KW_COUNT] = {
    [MDVR_KW_UNKNOWN] = "?",
#define MDVR_KEYWORD_NAME(name)  [MDVR_KW_##name] = #name,
    MDVR_KEYWORD_LIST(MDVR_KEYWORD_NAME)
#undef MDVR_KEYWORD_NAME
};


bool
mdvr_keyword_valid(mdvr_str_t s)
{
    size_t  i;

    if (s.len < 3 || s.len > 5 || (s.p[0] != 'V' && s.p[0] != 'C')) {
        return false;
    }

    for (i = 1; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }

    return true;
}


mdvr_keyword_e
mdvr_keyword_find(mdvr_str_t s)
{
    int          lo, hi, mid, cmp;
    size_t       len;
    const char  *name;

    /* sorted by bytes: "C100" "C1111" "C150" ... "V100" ... "V80" */

    static const uint8_t  order[] = {
        MDVR_KW_C100, MDVR_KW_C1111, MDVR_KW_C150, MDVR_KW_C151,
        MDVR_KW_C152, MDVR_KW_C500, MDVR_KW_C501, MDVR_KW_C505,
        MDVR_KW_C508, MDVR_KW_C510, MDVR_KW_C511, MDVR_KW_C512,
        MDVR_KW_C517, MDVR_KW_C520, MDVR_KW_C521, MDVR_KW_C550,
        MDVR_KW_C551, MDVR_KW_C588, MDVR_KW_C589, MDVR_KW_C600,
        MDVR_KW_C701, MDVR_KW_C702, MDVR_KW_C704, MDVR_KW_C706,
        MDVR_KW_C7212, MDVR_KW_C722, MDVR_KW_C723,
        MDVR_KW_V100, MDVR_KW_V101, MDVR_KW_V102, MDVR_KW_V103,
        MDVR_KW_V105, MDVR_KW_V106, MDVR_KW_V107, MDVR_KW_V108,
        MDVR_KW_V109, MDVR_KW_V110, MDVR_KW_V111, MDVR_KW_V112,
        MDVR_KW_V114, MDVR_KW_V130, MDVR_KW_V141, MDVR_KW_V142,
        MDVR_KW_V201, MDVR_KW_V202, MDVR_KW_V203, MDVR_KW_V204,
        MDVR_KW_V205, MDVR_KW_V206, MDVR_KW_V207, MDVR_KW_V208,
        MDVR_KW_V209, MDVR_KW_V210, MDVR_KW_V211, MDVR_KW_V212,
        MDVR_KW_V213, MDVR_KW_V214, MDVR_KW_V215, MDVR_KW_V216,
        MDVR_KW_V217, MDVR_KW_V218, MDVR_KW_V219, MDVR_KW_V220,
        MDVR_KW_V221, MDVR_KW_V222, MDVR_KW_V231, MDVR_KW_V232,
        MDVR_KW_V234, MDVR_KW_V251, MDVR_KW_V252, MDVR_KW_V253,
        MDVR_KW_V254, MDVR_KW_V255, MDVR_KW_V256, MDVR_KW_V257,
        MDVR_KW_V258, MDVR_KW_V259, MDVR_KW_V260, MDVR_KW_V261,
        MDVR_KW_V262, MDVR_KW_V263, MDVR_KW_V266, MDVR_KW_V267,
        MDVR_KW_V268, MDVR_KW_V269, MDVR_KW_V271, MDVR_KW_V298,
        MDVR_KW_V299, MDVR_KW_V304, MDVR_KW_V305, MDVR_KW_V600,
        MDVR_KW_V80
    };

    _Static_assert(sizeof(order) == MDVR_KW_COUNT - 1,
                   "every keyword is in the order");

    if (s.len == 4 && memcmp(s.p, "V114", 4) == 0) {
        return MDVR_KW_V114;            /* nine of ten messages */
    }

    if (!mdvr_keyword_valid(s)) {
        return MDVR_KW_UNKNOWN;
    }

    lo = 0;
    hi = (int) sizeof(order) - 1;

    while (lo <= hi) {
        mid = (lo + hi) / 2;
        name = mdvr_keyword_names[order[mid]];
        len = strlen(name);
        cmp = memcmp(s.p, name, s.len < len ? s.len : len);

        if (cmp == 0) {
            cmp = (s.len > len) - (s.len < len);
        }

        if (cmp == 0) {
            return (mdvr_keyword_e) order[mid];
        }

        if (cmp < 0) {
            hi = mid - 1;

        } else {
            lo = mid + 1;
        }
    }

    return MDVR_KW_UNKNOWN;
}


const char *
mdvr_keyword_name(mdvr_keyword_e kw)
{
    return (unsigned) kw < MDVR_KW_COUNT ? mdvr_keyword_names[kw] : "?";
}


bool
mdvr_serial_valid(mdvr_str_t s)
{
    bool      solid;
    size_t    i;
    unsigned  c;

    if (s.len == 0 || s.len > MDVR_SERIAL_MAX) {
        return false;
    }

    for (i = 0, solid = false; i < s.len; i++) {
        c = s.p[i];

        if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
            || c == '_')
        {
            solid = true;

        } else if (c != ' ') {
            return false;
        }
    }

    return solid;
}


bool
mdvr_keyword_is_alarm(mdvr_str_t s)
{
    if (s.len != 4 || s.p[0] != 'V' || !mdvr_keyword_valid(s)) {
        return false;
    }

    if (s.p[1] == '2') {
        return !mdvr_str_eqc(s, "V298") && !mdvr_str_eqc(s, "V299");
    }

    return mdvr_str_eqc(s, "V304") || mdvr_str_eqc(s, "V305");
}


mdvr_rc_t
mdvr_message_parse(mdvr_str_t content, mdvr_message_t *m)
{
    mdvr_str_t      *tok;
    unsigned         n;
    const uint8_t   *p, *last, *comma;

    p = content.p;
    last = content.p + content.len;

    if (p < last && *p == ',') {
        p++;
    }

    m->content = mdvr_str(p, (size_t) (last - p));
    m->ntokens = 0;
    m->nbody = 0;
    m->body = m->tokens;
    m->kw = MDVR_KW_UNKNOWN;
    m->old_order = false;
    m->keyword = m->number = m->serial = m->workstation = m->time
        = mdvr_str(p, 0);

    for (n = 0; /* void */; n++) {

        if (n == MDVR_TOKENS_MAX) {
            return MDVR_E_LIMIT;
        }

        comma = p < last ? memchr(p, ',', (size_t) (last - p)) : NULL;

        if (comma == NULL) {
            m->tokens[n++] = mdvr_str(p, (size_t) (last - p));
            break;
        }

        m->tokens[n] = mdvr_str(p, (size_t) (comma - p));
        p = comma + 1;
    }

    m->ntokens = n;
    tok = m->tokens;

    if (n >= MDVR_HEADER_TOKENS && mdvr_keyword_valid(tok[1])) {
        m->number = tok[0];
        m->keyword = tok[1];
        m->serial = tok[2];
        m->workstation = tok[3];
        m->time = tok[4];
        m->body = tok + MDVR_HEADER_TOKENS;
        m->nbody = n - MDVR_HEADER_TOKENS;

    } else if (n >= MDVR_HEADER_TOKENS - 1 && mdvr_keyword_valid(tok[2])) {

        /* the ancestor dialect: no number, keyword third */

        m->old_order = true;
        m->serial = tok[0];
        m->workstation = tok[1];
        m->keyword = tok[2];
        m->time = tok[3];
        m->body = tok + MDVR_HEADER_TOKENS - 1;
        m->nbody = n - (MDVR_HEADER_TOKENS - 1);

    } else {
        return MDVR_E_SYNTAX;
    }

    if (m->number.len > MDVR_NUMBER_MAX) {
        m->number.len = MDVR_NUMBER_MAX;
    }

    if (m->workstation.len > MDVR_WORKSTATION_MAX) {
        m->workstation.len = MDVR_WORKSTATION_MAX;
    }

    m->kw = mdvr_keyword_find(m->keyword);

    return mdvr_serial_valid(m->serial) ? MDVR_OK : MDVR_E_SERIAL;
}


mdvr_str_t
mdvr_message_token(const mdvr_message_t *m, unsigned i)
{
    return i < m->nbody ? m->body[i] : mdvr_str(NULL, 0);
}


mdvr_str_t
mdvr_message_rest(const mdvr_message_t *m, unsigned i)
{
    const uint8_t  *p;

    if (i >= m->nbody) {
        return mdvr_str(NULL, 0);
    }

    p = m->body[i].p;

    return mdvr_str(p, (size_t) (m->content.p + m->content.len - p));
}


mdvr_str_t
mdvr_message_body(const mdvr_message_t *m)
{
    return mdvr_message_rest(m, 0);
}
