/*
 * Looking at top-level members of JSON: what is found, what is not, and that
 * every broken document is survived at every cut.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/web/peek.h"


static int  tests, failed;


static void
peek(const char *doc, const char *want, const char *title)
{
    bool         good;
    char         got[256], *p = got, *copy;
    size_t       i, len = strlen(doc);
    mdvr_str_t   v[3];

    static const char *const  names[] = { "type", "id", "device_id" };

    copy = malloc(len ? len : 1);           /* its end is guarded by ASAN */
    memcpy(copy, doc, len);

    good = mdvr_peek(mdvr_str(copy, len), names, 3, v);

    p += sprintf(p, "%s", good ? "ok" : "bad");

    for (i = 0; good && i < 3; i++) {
        p += v[i].p ? sprintf(p, " %.*s", (int) v[i].len, v[i].p)
                    : sprintf(p, " -");
    }

    for (i = 0; i < len; i++) {
        char  *cut = malloc(i ? i : 1);

        memcpy(cut, doc, i);
        (void) mdvr_peek(mdvr_str(cut, i), names, 3, v);
        free(cut);
    }

    good = strcmp(got, want) == 0;
    printf("%sok %d - %s\n", good ? "" : "not ", ++tests, title);
    failed += !good;

    if (!good) {
        printf("# want %s got %s\n", want, got);
    }

    free(copy);
}


int
main(void)
{
    peek("{\"type\":\"alarm\",\"id\":\"12\",\"device_id\":\"d\"}",
         "ok alarm 12 d", "three members");
    peek("{ \"device_id\" : \"d\" , \"x\" : [1, {\"type\":\"no\"}] ,\n"
         "\"id\":12,\"type\":\"t\"}",
         "ok t 12 d", "any order, spaces, nested names do not count");
    peek("{\"type\":\"t\"}", "ok t - -", "members that are missing");
    peek("{}", "ok - - -", "an empty object");
    peek("{\"x\":\"a\\\"b,\\\\\",\"type\":\"\\u0041\"}", "ok \\u0041 - -",
         "escapes are skipped and left alone");
    peek("{\"x\":\"}\",\"y\":{\"z\":\"]\"},\"id\":null}", "ok - null -",
         "brackets in strings do not count");
    peek("{\"type\":\"a\",\"type\":\"b\"}", "ok a - -", "the first one counts");
    peek("{\"type\":{\"a\":[1,2]},\"id\":[true]}", "ok {\"a\":[1,2]} [true] -",
         "a value may be anything");
    peek("", "bad", "nothing");
    peek("[]", "bad", "an array");
    peek("{", "bad", "an open object");
    peek("{\"type\"", "bad", "a name without a value");
    peek("{\"type\":", "bad", "a value that is missing");
    peek("{\"type\":}", "bad", "a value that is empty");
    peek("{\"type\":\"a\"", "bad", "an object that does not end");
    peek("{\"type\":\"a\\", "bad", "a string that ends in an escape");
    peek("{type:1}", "bad", "a name without quotes");

    printf("1..%d\n", tests);

    return failed != 0;
}
