/*
 * Accept as clients send it, against a list like that of the history.
 */

#include <stdio.h>

#include "mdvr/web/accept.h"

#define N(a)  (sizeof(a) / sizeof((a)[0]))


int
main(void)
{
    static const char *const  types[] = {
        "application/json", "application/geo+json", "text/csv"
    };
    static const struct { const char *header; size_t want; }  rows[] = {
        { "", 0 },
        { "*/*", 0 },
        { "text/csv", 2 },
        { "Text/CSV", 2 },
        { " text/csv ; charset=utf-8", 2 },
        { "text/*", 2 },
        { "application/*", 0 },
        { "application/geo+json", 1 },
        { "application/json, text/csv", 0 },
        { "text/csv, application/json", 0 },
        { "text/csv, */*", 2 },
        { "text/csv;q=0.5, application/json", 0 },
        { "text/csv;q=0.9, application/json;q=0.8", 2 },
        { "application/json;q=0, text/*;Q=0.1", 2 },
        { "text/csv;q=0, */*", 0 },
        { "text/html,application/xml;q=0.9,*/*;q=0.8", 0 },
        { "application/json, text/plain, */*", 0 },
        { "text/csvx, text/cs", 0 },
        { "text/csv;q=2", 0 },
        { "text/csv;q=", 2 },
        { ",;,q=1,/", 0 },
        { "image/png", 0 },
    };
    size_t  got, bad = 0;

    printf("1..%zu\n", N(rows));

    for (size_t i = 0; i < N(rows); i++) {
        got = mdvr_accept(mdvr_cstr(rows[i].header), types, N(types));
        printf("%sok %zu - \"%s\": %s\n", got == rows[i].want ? "" : "not ",
               i + 1, rows[i].header, types[got]);
        bad += got != rows[i].want;
    }

    return bad ? 1 : 0;
}
