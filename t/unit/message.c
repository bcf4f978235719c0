/*
 * Header and body tokens of every signaling vector, and the rules of the
 * header.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/location.h"
#include "t/unit/lib/tap.h"

static tap_arena_t      arena;
static mdvr_message_t   m;
static mdvr_location_t  loc;


static bool
same(json_t *want, mdvr_str_t got)
{
    return json_is_string(want) && json_string_length(want) == got.len
           && (got.len == 0
               || memcmp(json_string_value(want), got.p, got.len) == 0);
}


static void
vector(const char *tag, json_t *want, mdvr_str_t text)
{
    bool            good;
    size_t          prefix, n;
    json_t         *body, *people;
    unsigned        i;
    mdvr_str_t      got;
    const uint8_t  *p;

    prefix = strlen(json_string_value(json_object_get(want, "prefix")));
    n = (size_t) json_integer_value(json_object_get(want, "length"));
    p = tap_place(&arena, text.p + prefix + 8, n);

    tap_ok(text.len == prefix + n + 9
           && mdvr_message_parse(mdvr_str(p, n), &m) == MDVR_OK,
           "%s is a message", tag);

    tap_ok(same(json_object_get(want, "number"), m.number)
           && same(json_object_get(want, "keyword"), m.keyword)
           && same(json_object_get(want, "serial"), m.serial)
           && same(json_object_get(want, "workstation"), m.workstation)
           && same(json_object_get(want, "time"), m.time),
           "%s: header", tag);

    tap_ok(m.kw != MDVR_KW_UNKNOWN
           && mdvr_str_eqc(m.keyword, mdvr_keyword_name(m.kw)),
           "%s: keyword is known", tag);

    n = (size_t) json_integer_value(json_object_get(want, "loc_tokens"));

    if (m.keyword.p[0] == 'V') {
        good = mdvr_location_parse(&m, false, &loc) == MDVR_OK
               && loc.ntokens == n;
        tap_ok(good, "%s: %zu location tokens", tag, n);

    } else {
        memset(&loc, 0, sizeof(loc));
    }

    people = json_object_get(want, "people");

    if (people && json_is_string(people) && json_string_length(people)) {
        tap_int(loc.people, atoi(json_string_value(people)), "people");

    } else {
        tap_ok(loc.people <= 0, "%s: nobody counted", tag);
    }

    body = json_object_get(want, "body");

    if (m.kw == MDVR_KW_C151) {
        got = mdvr_message_rest(&m, 1);
        tap_ok(same(json_array_get(body, 1), got), "%s: text as it is", tag);
        return;
    }

    good = json_array_size(body) == m.nbody - loc.next;

    for (i = 0; good && i < json_array_size(body); i++) {
        good = same(json_array_get(body, i),
                    mdvr_message_token(&m, loc.next + i));
    }

    tap_ok(good, "%s: %zu body tokens", tag, json_array_size(body));
}


static void
header(const char *text, mdvr_rc_t rc, const char *what)
{
    size_t  n;

    n = strlen(text);
    tap_rc(mdvr_message_parse(mdvr_str(tap_place(&arena, text, n), n), &m),
           rc, what);
}


static void
rules(void)
{
    char      big[4000];
    unsigned  i;

    header(",13,V109,00007,,180903 110250", MDVR_OK, "a header");
    header("13,V109,00007,,180903 110250", MDVR_OK, "without its comma");
    header("", MDVR_E_SYNTAX, "nothing");
    header(",", MDVR_E_SYNTAX, "a comma");
    header(",1,V109,00007,", MDVR_E_SYNTAX, "four tokens");
    header(",1,X109,00007,,180903 110250", MDVR_E_SYNTAX, "no keyword");
    header(",1,V1,00007,,180903 110250", MDVR_E_SYNTAX, "one digit");
    header(",1,V12345,00007,,180903 110250", MDVR_E_SYNTAX, "five digits");
    header(",1,V109,,,180903 110250", MDVR_E_SERIAL, "no serial");
    header(",1,V109,   ,,180903 110250", MDVR_E_SERIAL, "spaces only");
    header(",1,V109,../etc,,180903 110250", MDVR_E_SERIAL, "a path");
    header(",1,V109,' or 1=1--,,180903 110250", MDVR_E_SERIAL, "SQL");
    header(",1,V109,123456789012345678901,,180903 110250", MDVR_E_SERIAL,
           "21 bytes");
    header(",1,V109,12345678901234567890,,180903 110250", MDVR_OK,
           "20 bytes");
    header(",1,V109,BUS 9_a,,180903 110250", MDVR_OK, "a space inside");
    header(",12345678901234,V109,7,,180903 110250", MDVR_OK, "long number");
    tap_is(m.number, "1234567890", "is cut to ten bytes");

    header("00007,,V109,180903 110250,x", MDVR_OK, "the old order");
    tap_ok(m.old_order && m.nbody == 1, "is told");
    tap_is(m.serial, "00007", "serial first");

    header(",1,V999,00007,,180903 110250", MDVR_OK, "a newer keyword");
    tap_int(m.kw, MDVR_KW_UNKNOWN, "is unknown");

    memset(big, ',', sizeof(big));
    memcpy(big, ",1,V109,00007,,t", 16);

    for (i = 16; i < 16 + 507; i++) { /* 507 commas: 512 tokens */ }

    tap_rc(mdvr_message_parse(mdvr_str(big, i), &m), MDVR_OK,
           "512 tokens are taken");
    tap_int(m.ntokens, 512, "all of them");
    tap_rc(mdvr_message_parse(mdvr_str(big, i + 1), &m), MDVR_E_LIMIT,
           "513 are not");

    header(",1,V100,7,,t,a,b,,c", MDVR_OK, "a body");
    tap_is(mdvr_message_rest(&m, 1), "b,,c", "its rest with the commas");
    tap_is(mdvr_message_token(&m, 9), "", "what is missing is empty");

    for (i = MDVR_KW_UNKNOWN + 1; i < MDVR_KW_COUNT; i++) {
        if (mdvr_keyword_find(mdvr_cstr(mdvr_keyword_name(i))) != i) {
            break;
        }
    }

    tap_int(i, MDVR_KW_COUNT, "every keyword is found by its name");
    tap_int(mdvr_keyword_find(MDVR_STR("V1011")), 0, "V1011 is not V101");

    tap_ok(mdvr_keyword_is_alarm(MDVR_STR("V201"))
           && mdvr_keyword_is_alarm(MDVR_STR("V245"))
           && mdvr_keyword_is_alarm(MDVR_STR("V304"))
           && !mdvr_keyword_is_alarm(MDVR_STR("V298"))
           && !mdvr_keyword_is_alarm(MDVR_STR("V114"))
           && !mdvr_keyword_is_alarm(MDVR_STR("C201"))
           && !mdvr_keyword_is_alarm(MDVR_STR("V2011")),
           "what has an alarm body");
}


int
main(void)
{
    char        tag[64];
    json_t     *all;
    mdvr_str_t  text, line;

    arena = tap_arena(20000);
    all = tap_json("t/vectors/signaling.expected.json");
    text = tap_file("t/vectors/signaling.txt");

    while (tap_line(&text, &line)) {
        mdvr_str_copy(tag, sizeof(tag), tap_field(line, 0));
        vector(tag, json_object_get(all, tag), tap_field(line, 1));
    }

    rules();
    json_decref(all);

    return tap_end();
}
