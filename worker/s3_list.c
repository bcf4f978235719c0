/* Object storage: what there is in S3, and what nobody completed. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/s3_call.h"


/* "2026-11-22T16:31:57..." as unix seconds, -1: it is no time */

static int64_t
wk_s3_time(const char *text)
{
    struct tm  tm;

    memset(&tm, 0, sizeof(tm));

    return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t) timegm(&tm)
                                                    : -1;
}


/*
 * One page of a listing: `after` becomes the last key of it (with the
 * prefix of the settings).  Returns how many keys, -1 on failure; *stop when
 * the caller has enough.
 */

static int
wk_s3_page(wk_storage_t *s, const char *prefix, char *after, size_t size,
    wk_storage_each_pt each, void *data, bool *stop)
{
    int            n;
    char           name[600], at[40];
    size_t         skip;
    const char    *p, *q, *end;
    wk_s3_call_t   c;

    skip = strlen(s->conf->s3_prefix);
    wk_s3_begin(&c, "GET", "");
    wk_s3_arg(&c, "list-type", "2");
    wk_s3_arg(&c, "prefix", prefix);

    if (after[0]) {
        wk_s3_arg(&c, "start-after", after);
    }

    if (!wk_s3_call(s, &c)) {
        free(c.text);
        return -1;
    }

    n = 0;

    for (p = c.text ? strstr(c.text, "<Contents>") : NULL; p && !*stop;
         p = strstr(p + 10, "<Contents>"))
    {
        end = strstr(p, "</Contents>");
        q = p;

        if (!wk_s3_xml(&q, end, "Key", name, sizeof(name))) {
            continue;
        }

        n++;
        snprintf(after, size, "%s", name);
        q = p;

        if (strncmp(name, s->conf->s3_prefix, skip) == 0
            && wk_s3_xml(&q, end, "LastModified", at, sizeof(at)))
        {
            *stop = !each(data, name + skip, wk_s3_time(at));
        }
    }

    free(c.text);

    return n;
}


bool
wk_s3_list(wk_storage_t *s, const char *prefix, const char *after,
    wk_storage_each_pt each, void *data)
{
    int    n;
    bool   stop;
    char   from[600], full[600];

    snprintf(full, sizeof(full), "%s%s", s->conf->s3_prefix, prefix);
    from[0] = '\0';

    if (after[0]) {
        snprintf(from, sizeof(from), "%s%s", s->conf->s3_prefix, after);
    }

    stop = false;

    do {
        n = wk_s3_page(s, full, from, sizeof(from), each, data, &stop);
    } while (n > 0 && !stop);

    return n >= 0;
}


int
wk_s3_sweep(wk_storage_t *s, int64_t older_s)
{
    int            n;
    char           name[600], id[512], at[40];
    size_t         skip;
    int64_t        t;
    const char    *p, *q, *end;
    wk_s3_call_t   c;

    n = 0;
    skip = strlen(s->conf->s3_prefix);
    wk_s3_begin(&c, "GET", "");
    wk_s3_arg(&c, "uploads", "");

    if (skip) {
        wk_s3_arg(&c, "prefix", s->conf->s3_prefix);
    }

    if (!wk_s3_call(s, &c)) {
        free(c.text);
        return -1;
    }

    for (p = c.text ? strstr(c.text, "<Upload>") : NULL; p;
         p = strstr(p + 8, "<Upload>"))
    {
        end = strstr(p, "</Upload>");
        q = p;

        if (!wk_s3_xml(&q, end, "Key", name, sizeof(name))
            || strncmp(name, s->conf->s3_prefix, skip) != 0)
        {
            continue;
        }

        q = p;

        if (!wk_s3_xml(&q, end, "UploadId", id, sizeof(id))) {
            continue;
        }

        q = p;
        if (!wk_s3_xml(&q, end, "Initiated", at, sizeof(at))
            || (t = wk_s3_time(at)) < 0)
        {
            continue;
        }

        if (t + older_s <= time(NULL) && wk_s3_upload_abort(s, name + skip, id))
        {
            n++;
        }
    }

    free(c.text);

    return n;
}
