/*
 * Text framing: every stream of the vectors whole, cut at every byte and
 * byte by byte; each input ends where memory ends.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/frame.h"
#include "mdvr/dc/message.h"
#include "t/unit/lib/tap.h"

static tap_arena_t     arena;
static mdvr_message_t  message;


/* a receiver: keeps only what the parser has not consumed */
typedef struct {
    mdvr_frame_t  frame;
    uint8_t       tail[MDVR_FRAME_MAX + 3];
    size_t        len;
    char          out[4096];        /* keywords of what was delivered */
    mdvr_rc_t     rc;
    unsigned      repairs;
} receiver_t;


static void
deliver(receiver_t *r, const mdvr_frame_msg_t *msg)
{
    size_t  n;

    n = strlen(r->out);

    if (n) {
        r->out[n++] = ' ';
    }

    if (mdvr_message_parse(msg->content, &message) == MDVR_OK) {
        mdvr_str_copy(r->out + n, sizeof(r->out) - n, message.keyword);

    } else {
        snprintf(r->out + n, sizeof(r->out) - n, "?");
    }

    r->repairs += msg->repair != MDVR_REPAIR_NONE;
}


static void
receive(receiver_t *r, const uint8_t *p, size_t len)
{
    uint8_t           joined[80000];
    const uint8_t    *pos, *last;
    mdvr_frame_msg_t  msg;

    memcpy(joined, r->tail, r->len);
    memcpy(joined + r->len, p, len);

    pos = tap_place(&arena, joined, r->len + len);
    last = pos + r->len + len;

    while ((r->rc = mdvr_frame_next(&r->frame, &pos, last, &msg)) == MDVR_OK) {
        deliver(r, &msg);
    }

    if (r->rc == MDVR_AGAIN) {
        r->len = (size_t) (last - pos);

        if (r->len > MDVR_FRAME_MAX + 2) {
            r->rc = MDVR_E_INTERNAL;
            r->len = 0;
        }

        memmove(r->tail, pos, r->len);
    }
}


/* whole, cut at every byte, byte by byte: always the same outcome */
static void
check(const char *what, bool relaxed, mdvr_str_t in, mdvr_rc_t rc,
    const char *keywords)
{
    bool               good;
    size_t             cut, i;
    static receiver_t  r;

    good = true;

    for (cut = 0; cut <= in.len + 1 && good; cut++) {

        memset(&r, 0, sizeof(r));
        r.frame.relaxed = relaxed;

        if (cut == in.len + 1) {
            for (i = 0; i < in.len; i++) {
                receive(&r, in.p + i, 1);

                if (r.rc != MDVR_AGAIN) {
                    break;
                }
            }

        } else {
            receive(&r, in.p, cut);

            if (r.rc == MDVR_AGAIN) {
                receive(&r, in.p + cut, in.len - cut);
            }
        }

        good = r.rc == rc && strcmp(r.out, keywords) == 0;
    }

    tap_ok(good, "%s", what);

    if (!good) {
        printf("# cut at %zu of %zu: %s, \"%s\", expected %s, \"%s\"\n",
               cut - 1, in.len, mdvr_rc_name(r.rc), r.out, mdvr_rc_name(rc),
               keywords);
    }
}


#define BOTH(what, in, rc, keywords)                                      \
    check(what, false, MDVR_STR(in), rc, keywords),                       \
    check(what " (relaxed)", true, MDVR_STR(in), rc, keywords)
#define STRICT(what, in, rc, keywords)                                    \
    check(what, false, MDVR_STR(in), rc, keywords)
#define RELAXED(what, in, rc, keywords)                                   \
    check(what, true, MDVR_STR(in), rc, keywords)

#define BEAT  "$$dc0029,13,V109,00007,,180903 110250#"


static void
vectors(void)
{
    char        name[64], words[64];
    mdvr_str_t  text, line, f;

    text = tap_file("t/vectors/stream.hex");

    while (tap_line(&text, &line)) {
        f = tap_field(line, 2);
        mdvr_str_copy(words, sizeof(words),
                      mdvr_str_eqc(f, "-") ? mdvr_str("", 0) : f);
        check(mdvr_str_copy(name, sizeof(name), tap_field(line, 0)), true,
              tap_unhex(tap_field(line, 1)), MDVR_AGAIN, words);
    }

    text = tap_file("t/vectors/signaling.txt");

    while (tap_line(&text, &line)) {
        f = tap_field(line, 1);

        if (f.p[0] == '@') {
            f.p += 2;
            f.len -= 2;
        }

        /* ",<number>,<keyword>," behind 8 bytes */
        line = tap_field(line, 0);
        mdvr_str_copy(name, sizeof(name), line);
        (void) mdvr_message_parse(mdvr_str(f.p + 8, f.len - 9), &message);
        mdvr_str_copy(words, sizeof(words), message.keyword);
        check(name, false, f, MDVR_AGAIN, words);
    }
}


static void
grammar(void)
{
    BOTH("a heartbeat", BEAT, MDVR_AGAIN, "V109");
    BOTH("two in a row", BEAT BEAT, MDVR_AGAIN, "V109 V109");
    BOTH("the last byte is missing", "$$dc0029,13,V109,00007,,180903 11025",
         MDVR_AGAIN, "");
    BOTH("CR, LF and NUL between messages", "\r\n\0" BEAT "\n" BEAT "\0",
         MDVR_AGAIN, "V109 V109");
    BOTH("'#' inside the declared length",
         "$$dc0045,13,C151,00007,,180903 110250,12,a#,b##c#d#e##",
         MDVR_AGAIN, "C151");
    BOTH("no leading comma", "$$dc002813,V109,00007,,180903 110250#",
         MDVR_AGAIN, "V109");
    BOTH("comma not counted", "$$dc0028,13,V109,00007,,180903 110250#" BEAT,
         MDVR_AGAIN, "V109 V109");
    BOTH("'#' counted", "$$dc0030,13,V109,00007,,180903 110250#" BEAT,
         MDVR_AGAIN, "V109 V109");
    BOTH("'#' counted, nothing behind it yet",
         "$$dc0030,13,V109,00007,,180903 110250#", MDVR_AGAIN, "");

    STRICT("wrong mark closes", "$$dd0029", MDVR_E_SYNTAX, "");
    STRICT("a web browser is closed", "GET / HTTP/1.1\r\n", MDVR_E_SYNTAX,
           "");
    STRICT("wrong digits close", "$$dc00x9,13,V109", MDVR_E_SYNTAX, "");
    STRICT("a wrong length is not searched for",
           "$$dc0010,13,V109,00007,,180903 110250#" BEAT, MDVR_E_SYNTAX, "");

    RELAXED("wrong mark is skipped", "$$dd0029" BEAT, MDVR_AGAIN, "V109");
    RELAXED("garbage between messages", BEAT "xxxx$$x$$$d" BEAT, MDVR_AGAIN,
            "V109 V109");
    RELAXED("a length that is too small is found by the next mark",
            "$$dc0010,13,V109,00007,,180903 110250#" BEAT, MDVR_AGAIN,
            "V109 V109");
    RELAXED("a length that is too large is found by the next mark",
            "$$dc0050,13,V109,00007,,180903 110250#" BEAT BEAT, MDVR_AGAIN,
            "V109 V109 V109");
    RELAXED("a message cut short is dropped for the next one",
            "$$dc0029,13,V109,00007,,18" BEAT "$$dc0029,1", MDVR_AGAIN,
            "V109");
}


static void
limits(void)
{
    size_t             i;
    uint8_t           *p;
    static receiver_t  r;

    p = malloc(70000);
    memset(p, 'x', 70000);

    memset(&r, 0, sizeof(r));
    r.frame.relaxed = true;

    for (i = 0; i < 65536 / 64; i++) {
        receive(&r, p, 64);
    }

    tap_rc(r.rc, MDVR_AGAIN, "64 KiB of garbage are suffered");
    receive(&r, p, 64);
    tap_rc(r.rc, MDVR_E_LIMIT, "one piece more is not");

    memset(&r, 0, sizeof(r));
    r.frame.relaxed = true;

    for (i = 0; i < 1100; i++) {
        receive(&r, p, 64);

        if (i % 500 == 499) {
            receive(&r, (const uint8_t *) BEAT, sizeof(BEAT) - 1);
        }
    }


    tap_rc(r.rc, MDVR_AGAIN, "a valid message starts the count again");
    tap_int((long long) r.frame.garbage_total, 1100 * 64,
            "discarded bytes are counted");

    memset(p, 0, 70000);
    memset(&r, 0, sizeof(r));
    receive(&r, p, 64);
    tap_rc(r.rc, MDVR_AGAIN, "64 blanks before registration are suffered");
    receive(&r, p, 1);
    tap_rc(r.rc, MDVR_E_SYNTAX, "65 are not");

    memset(&r, 0, sizeof(r));
    r.frame.relaxed = true;
    receive(&r, p, 60000);
    receive(&r, p, 10000);
    tap_rc(r.rc, MDVR_E_LIMIT, "endless NULs are garbage, too");

    memset(&r, 0, sizeof(r));
    r.frame.relaxed = true;
    memset(p, 'x', 20000);
    memcpy(p, "$$dc9999,", 9);
    receive(&r, p, 10000);
    receive(&r, p + 10000, 10000);
    tap_rc(r.rc, MDVR_AGAIN, "the longest length without its '#'");
    tap_ok(r.len <= 3, "is given up when it cannot become a message");

    memcpy(p, "$$dc9999,1,V109,7,,180903 110250,", 33);
    p[8 + 9999] = '#';
    memset(&r, 0, sizeof(r));
    receive(&r, p, 10008);
    tap_ok(strcmp(r.out, "V109") == 0, "the longest message is taken");

    free(p);
}


static mdvr_rc_t
idle(receiver_t *r)
{
    mdvr_rc_t         rc;
    const uint8_t    *pos, *last;
    mdvr_frame_msg_t  msg;

    pos = tap_place(&arena, r->tail, r->len);
    last = pos + r->len;
    rc = mdvr_frame_idle(&r->frame, &pos, last, &msg);

    if (rc == MDVR_OK) {
        deliver(r, &msg);
        r->len = (size_t) (last - pos);
        memmove(r->tail, pos, r->len);
    }

    return rc;
}


static mdvr_rc_t
stale(receiver_t *r)
{
    mdvr_rc_t       rc;
    const uint8_t  *pos, *last;

    pos = tap_place(&arena, r->tail, r->len);
    last = pos + r->len;
    rc = mdvr_frame_stale(&r->frame, &pos, last);
    r->len = (size_t) (last - pos);
    memmove(r->tail, pos, r->len);
    receive(r, pos, 0);

    return rc;
}


#define FEED(r, s)  receive(r, (const uint8_t *) (s), sizeof(s) - 1)

static void
timers(void)
{
    static receiver_t  r;

    memset(&r, 0, sizeof(r));
    FEED(&r, "$$dc0030,13,V109,00007,,180903 110250#");
    tap_ok(r.out[0] == 0, "a length that counts the '#' waits");
    tap_rc(idle(&r), MDVR_OK, "after 5 s of silence it is taken");
    tap_ok(strcmp(r.out, "V109") == 0 && r.repairs == 1, "as it is");

    memset(&r, 0, sizeof(r));
    FEED(&r, "$$dc0090,13,V109,00007,,180903 110250#");
    tap_rc(idle(&r), MDVR_AGAIN, "before registration no other is");
    r.frame.relaxed = true;
    tap_rc(idle(&r), MDVR_OK, "afterwards any that ends with '#' is");
    tap_int((long long) r.len, 0, "nothing is left");

    memset(&r, 0, sizeof(r));
    r.frame.relaxed = true;
    FEED(&r, "$$dc0090,13,V109,00007,,180903 1102");
    tap_rc(idle(&r), MDVR_AGAIN, "one that does not end is not");
    FEED(&r, "$");
    tap_rc(stale(&r), MDVR_OK, "after 30 s its start is given up");
    FEED(&r, "$dc0029,13,V109,00007,,180903 110250#");
    tap_ok(strcmp(r.out, "V109") == 0, "and the next one is found");

    memset(&r, 0, sizeof(r));
    FEED(&r, "$$dc0090,13,V109");
    tap_rc(stale(&r), MDVR_E_SYNTAX, "before registration: close");
}


static void
once(void)
{
    unsigned           first, i;
    const uint8_t     *pos;
    mdvr_frame_t       f;
    mdvr_frame_msg_t   msg;

    static const char  in[] =
        "$$dc0028,13,V109,00007,,180903 110250#"
        "$$dc0028,13,V109,00007,,180903 110250#"
        "$$dc0030,13,V109,00007,,180903 110250#" BEAT;

    memset(&f, 0, sizeof(f));
    pos = (const uint8_t *) in;
    first = 0;

    for (i = 0; mdvr_frame_next(&f, &pos, (const uint8_t *) in
                                + sizeof(in) - 1, &msg) == MDVR_OK; i++)
    {
        first += msg.first_repair;
    }

    tap_int(i, 4, "four messages, three repaired");
    tap_int(first, 2, "each kind of repair is told once");
    tap_int(msg.declared, 29, "the declared length is told");
}


int
main(void)
{
    arena = tap_arena(200000);

    vectors();
    grammar();
    limits();
    timers();
    once();

    return tap_end();
}
