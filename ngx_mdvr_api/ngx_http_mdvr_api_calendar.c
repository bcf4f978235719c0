
/*
 * A list of recordings as a calendar: for each day of the device's own clock
 * and each channel the spans of time that there are, files that follow each
 * other or overlap in one, split at midnight.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_recordings.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"


#define NGX_HTTP_MDVR_API_JOIN  2       /* s between files that are one span */


typedef struct {
    int64_t      from;                  /* unix s */
    int64_t      to;
    int64_t      day;                   /* of the device's clock, since 1970 */
    json_int_t   channel;
    ngx_uint_t   alarm;
} ngx_http_mdvr_api_span_t;


static int ngx_libc_cdecl
ngx_http_mdvr_api_span_cmp(const void *one, const void *two)
{
    const ngx_http_mdvr_api_span_t  *a = one, *b = two;

    if (a->day != b->day) {
        return a->day < b->day ? -1 : 1;
    }

    if (a->channel != b->channel) {
        return a->channel < b->channel ? -1 : 1;
    }

    if (a->alarm != b->alarm) {
        return a->alarm < b->alarm ? -1 : 1;
    }

    return a->from < b->from ? -1 : a->from > b->from;
}


/* Spans of the items, cut at midnight; `n` gets how many there are. */

static ngx_http_mdvr_api_span_t *
ngx_http_mdvr_api_spans(ngx_pool_t *pool, const json_t *items, int64_t shift,
    size_t *n)
{
    size_t                     i, size;
    int64_t                    from, to, end;
    json_t                    *item;
    ngx_str_t                  s;
    const char                *type;
    ngx_http_mdvr_api_span_t  *spans, *span;

    /* a file is shorter than a day, so it meets two days at most */

    size = 2 * json_array_size(items) + 1;
    spans = ngx_palloc(pool, size * sizeof(ngx_http_mdvr_api_span_t));
    *n = 0;

    if (spans == NULL) {
        return NULL;
    }

    json_array_foreach(items, i, item) {

        s.data = (u_char *) json_string_value(json_object_get(item, "from"));
        s.len = s.data ? ngx_strlen(s.data) : 0;

        if (s.len == 0 || ngx_mdvr_rfc3339_parse(&s, &from) != NGX_OK) {
            continue;
        }

        from /= 1000;
        to = from + json_integer_value(json_object_get(item, "duration_s"));
        type = json_string_value(json_object_get(item, "type"));

        while (from < to && *n < size) {
            span = &spans[(*n)++];
            span->day = (from + shift) / NGX_HTTP_MDVR_API_DAY;
            span->channel = json_integer_value(json_object_get(item,
                                                               "channel"));
            span->alarm = type && ngx_strcmp(type, "alarm") == 0;

            end = (span->day + 1) * NGX_HTTP_MDVR_API_DAY - shift;
            span->from = from;
            span->to = ngx_min(to, end);
            from = span->to;
        }
    }

    return spans;
}


static size_t
ngx_http_mdvr_api_spans_join(ngx_http_mdvr_api_span_t *spans, size_t n)
{
    size_t                     i, kept;
    ngx_http_mdvr_api_span_t  *last, *span;

    ngx_qsort(spans, n, sizeof(ngx_http_mdvr_api_span_t),
              ngx_http_mdvr_api_span_cmp);

    for (i = 0, kept = 0; i < n; i++) {
        span = &spans[i];
        last = kept ? &spans[kept - 1] : NULL;

        if (last && last->day == span->day && last->channel == span->channel
            && last->alarm == span->alarm
            && span->from <= last->to + NGX_HTTP_MDVR_API_JOIN)
        {
            last->to = ngx_max(last->to, span->to);
            continue;
        }

        spans[kept++] = *span;
    }

    return kept;
}


static void
ngx_http_mdvr_api_channel_add(json_t *channel, const char *name, int64_t n)
{
    json_object_set_new(channel, name,
        json_integer(json_integer_value(json_object_get(channel, name)) + n));
}


json_t *
ngx_http_mdvr_api_calendar(ngx_pool_t *pool, const json_t *items,
    int offset_minutes)
{
    u_char                           from[40], to[40], date[40];
    size_t                           i, n;
    json_t                          *answer, *days, *day, *channel;
    const char                      *type;
    ngx_http_mdvr_api_span_t        *spans;
    const ngx_http_mdvr_api_span_t  *s;

    spans = ngx_http_mdvr_api_spans(pool, items, offset_minutes * 60, &n);

    if (spans == NULL) {
        return NULL;
    }

    n = ngx_http_mdvr_api_spans_join(spans, n);
    answer = json_pack("{s:i, s:[]}", "utc_offset_minutes", offset_minutes,
                       "days");
    days = json_object_get(answer, "days");
    day = NULL;
    channel = NULL;

    for (i = 0; i < n; i++) {
        s = &spans[i];

        if (i == 0 || s->day != s[-1].day) {
            *ngx_mdvr_rfc3339(date, s->day * NGX_HTTP_MDVR_API_DAY * 1000)
                = '\0';
            day = json_pack("{s:s#, s:[]}", "date", (char *) date, 10,
                            "channels");
            json_array_append_new(days, day);
            channel = NULL;
        }

        if (channel == NULL || s->channel != s[-1].channel) {
            channel = json_pack("{s:I, s:i, s:i, s:[]}", "channel",
                                s->channel, "normal_s", 0, "alarm_s", 0,
                                "spans");
            json_array_append_new(json_object_get(day, "channels"), channel);
        }

        *ngx_mdvr_rfc3339(from, s->from * 1000) = '\0';
        *ngx_mdvr_rfc3339(to, s->to * 1000) = '\0';
        type = s->alarm ? "alarm" : "normal";

        ngx_http_mdvr_api_channel_add(channel, s->alarm ? "alarm_s"
                                                        : "normal_s",
                                      s->to - s->from);
        json_array_append_new(json_object_get(channel, "spans"),
                              json_pack("{s:s, s:s, s:s}", "from",
                                        (char *) from, "to", (char *) to,
                                        "type", type));
    }

    return answer;
}
