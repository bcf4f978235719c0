/*
 * A text message cut into tokens: the header h1..h5 and the body.
 *
 *   $$dc LLLL , h1 , h2 , h3 , h4 , h5 [, body...] #
 *        h1 transmission number   opaque, at most 10 bytes are echoed
 *        h2 keyword               'V' or 'C' + 2..4 digits
 *        h3 device serial         1..20 of [A-Za-z0-9_ ], not only spaces
 *        h4 workstation           normally empty
 *        h5 send time             "YYMMDD hhmmss", the sender's clock
 *
 * Tokens are views into the bytes of the frame; cutting is done on the byte
 * 0x2C, which no multi-byte character of GB18030 or UTF-8 contains.
 * Source: protocol reference, framing.md sections 4 and 5.
 */

#ifndef MDVR_DC_MESSAGE_H
#define MDVR_DC_MESSAGE_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

#define MDVR_TOKENS_MAX       512       /* header and body */
#define MDVR_SERIAL_MAX       20
#define MDVR_NUMBER_MAX       10
#define MDVR_WORKSTATION_MAX  20
#define MDVR_UID_MAX          64
#define MDVR_SESSION_ID_MAX   64

/* every keyword of the reference; others are MDVR_KW_UNKNOWN */
#define MDVR_KEYWORD_LIST(X)                                              \
    X(V100) X(V101) X(V102) X(V103) X(V105) X(V106) X(V107) X(V108)       \
    X(V109) X(V110) X(V111) X(V112) X(V114) X(V130) X(V141) X(V142)       \
    X(V201) X(V202) X(V203) X(V204) X(V205) X(V206) X(V207) X(V208)       \
    X(V209) X(V210) X(V211) X(V212) X(V213) X(V214) X(V215) X(V216)       \
    X(V217) X(V218) X(V219) X(V220) X(V221) X(V222) X(V231) X(V232)       \
    X(V234) X(V251) X(V252) X(V253) X(V254) X(V255) X(V256) X(V257)       \
    X(V258) X(V259) X(V260) X(V261) X(V262) X(V263) X(V266) X(V267)       \
    X(V268) X(V269) X(V271) X(V298) X(V299) X(V304) X(V305) X(V600)       \
    X(V80) X(C100) X(C150) X(C151) X(C152) X(C500) X(C501) X(C505)        \
    X(C508) X(C510) X(C511) X(C512) X(C517) X(C520) X(C521) X(C550)       \
    X(C551) X(C588) X(C589) X(C600) X(C701) X(C702) X(C704) X(C706)       \
    X(C722) X(C723) X(C1111) X(C7212)

typedef enum {
    MDVR_KW_UNKNOWN = 0,
#define MDVR_KEYWORD_ENUM(name)  MDVR_KW_##name,
    MDVR_KEYWORD_LIST(MDVR_KEYWORD_ENUM)
#undef MDVR_KEYWORD_ENUM
    MDVR_KW_COUNT
} mdvr_keyword_e;

typedef struct {
    mdvr_str_t      number;             /* h1, cut to MDVR_NUMBER_MAX */
    mdvr_str_t      keyword;            /* h2 */
    mdvr_str_t      serial;             /* h3 */
    mdvr_str_t      workstation;        /* h4, cut to MDVR_WORKSTATION_MAX */
    mdvr_str_t      time;               /* h5 */
    mdvr_keyword_e  kw;
    bool            old_order;          /* serial,workstation,keyword,time */

    mdvr_str_t      content;            /* from h1 on, without the comma */
    unsigned        nbody;              /* body tokens */
    mdvr_str_t     *body;               /* = tokens + header tokens */
    unsigned        ntokens;
    mdvr_str_t      tokens[MDVR_TOKENS_MAX];
} mdvr_message_t;                       /* 8 KiB: one per worker, not per
                                           connection */

/*
 * Cuts `content` (of mdvr_frame_msg_t, with or without its leading comma).
 *
 * MDVR_OK
 * MDVR_E_SYNTAX  fewer than five header tokens or h2 is no keyword
 * MDVR_E_SERIAL  h3 breaks its rule (`keyword` and `number` are set)
 * MDVR_E_LIMIT   more than 512 tokens
 */
mdvr_rc_t mdvr_message_parse(mdvr_str_t content, mdvr_message_t *m);

/* Body token `i`, or an empty view when the message is shorter. */
mdvr_str_t mdvr_message_token(const mdvr_message_t *m, unsigned i);

/* Body tokens from `i` to the end with their commas, as they arrived. */
mdvr_str_t mdvr_message_rest(const mdvr_message_t *m, unsigned i);

/* the whole body: mdvr_message_rest(m, 0) */
mdvr_str_t mdvr_message_body(const mdvr_message_t *m);

mdvr_keyword_e mdvr_keyword_find(mdvr_str_t text);
const char *mdvr_keyword_name(mdvr_keyword_e kw);       /* "V114", "?" */

/* 'V' or 'C' followed by 2..4 digits */
bool mdvr_keyword_valid(mdvr_str_t text);
bool mdvr_serial_valid(mdvr_str_t serial);

/* V2xx, V304, V305: messages with the common alarm body, V298 and V299
 * excluded; also true for V2xx keywords the reference does not list. */
bool mdvr_keyword_is_alarm(mdvr_str_t keyword);

#endif /* MDVR_DC_MESSAGE_H */
