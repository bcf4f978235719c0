/* Verdicts in words: both tables come from the one list in rc.h. */

#include <stddef.h>

#include "mdvr/basics/rc.h"

static const char *const mdvr_rc_names[MDVR_RC_COUNT] = {
    [MDVR_OK] = "ok",
    [MDVR_AGAIN] = "again",
    [MDVR_E_SYNTAX] = "syntax",
    [MDVR_E_RANGE] = "range",
    [MDVR_E_LIMIT] = "limit",
    [MDVR_E_NO_SPACE] = "no_space",
    [MDVR_E_SERIAL] = "serial",
    [MDVR_E_ABSENT] = "absent",
    [MDVR_E_UNSUPPORTED] = "unsupported",
    [MDVR_E_CODEC] = "codec",
    [MDVR_E_LEGACY] = "legacy",
    [MDVR_E_UNKNOWN_DEVICE] = "unknown_device",
    [MDVR_E_UNKNOWN_SESSION] = "unknown_session",
    [MDVR_E_OFFLINE] = "offline",
    [MDVR_E_REFUSED] = "refused",
    [MDVR_E_TIMEOUT] = "timeout",
    [MDVR_E_CLOSED] = "closed",
    [MDVR_E_UNAVAILABLE] = "unavailable",
    [MDVR_E_BUSY] = "busy",
    [MDVR_E_CONFLICT] = "conflict",
    [MDVR_E_NOT_FOUND] = "not_found",
    [MDVR_E_UNAUTHENTICATED] = "unauthenticated",
    [MDVR_E_FORBIDDEN] = "forbidden",
    [MDVR_E_EXPIRED] = "expired",
    [MDVR_E_INVALID] = "invalid",
    [MDVR_E_NO_MEMORY] = "no_memory",
    [MDVR_E_INTERNAL] = "internal",
};

static const char *const mdvr_rc_sentences[MDVR_RC_COUNT] = {
    [MDVR_OK] = "done",
    [MDVR_AGAIN] = "more is needed",
#define MDVR_RC_WORDS(name, words)  [MDVR_E_##name] = words,
    MDVR_RC_LIST(MDVR_RC_WORDS)
#undef MDVR_RC_WORDS
};


const char *
mdvr_rc_name(mdvr_rc_t rc)
{
    if ((unsigned) rc >= MDVR_RC_COUNT || mdvr_rc_names[rc] == NULL) {
        return "unknown";
    }

    return mdvr_rc_names[rc];
}


const char *
mdvr_rc_words(mdvr_rc_t rc)
{
    if ((unsigned) rc >= MDVR_RC_COUNT) {
        return "unknown verdict";
    }

    return mdvr_rc_sentences[rc];
}
