
/*
 * What a JSON body may contain, as tables: the same tables refuse a bad request
 * (422 with one entry per wrong field), describe requests and answers in the
 * OpenAPI document, and check the query parameters.
 *
 * Needs libc and jansson only, so that it is tested without nginx.
 */


#ifndef _NGX_HTTP_MDVR_API_SCHEMA_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_SCHEMA_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <jansson.h>


typedef enum {
    MDVR_API_STRING = 0,    /* min, max: bytes; one line, no control characters */
    MDVR_API_TEXT,          /* the same, but tab and line feed are allowed */
    MDVR_API_SECRET,        /* a password: any characters, never echoed */
    MDVR_API_UUID,
    MDVR_API_TIME,          /* RFC 3339 */
    MDVR_API_EMAIL,
    MDVR_API_WORD,          /* [A-Za-z0-9_.:-], min, max: length */
    MDVR_API_HEX,
    MDVR_API_BASE64,
    MDVR_API_URL,           /* http or https */
    MDVR_API_HOST,          /* host name or address */
    MDVR_API_WORDS,         /* words with commas between */
    MDVR_API_BBOX,          /* min_lon,min_lat,max_lon,max_lat */
    MDVR_API_ENUM,          /* words: "a|b|c" */
    MDVR_API_INT,           /* min, max: value */
    MDVR_API_NUMBER,
    MDVR_API_BOOL,
    MDVR_API_OBJECT,        /* members in object; any members when it is NULL */
    MDVR_API_ANY
} ngx_http_mdvr_api_type_e;


#define MDVR_API_REQ    0x01    /* must be present */
#define MDVR_API_NULL   0x02    /* null is allowed */
#define MDVR_API_LIST   0x04    /* an array of this type, 1000 items at most */
#define MDVR_API_MAP    0x08    /* an object with free names, values of this type */


typedef struct ngx_http_mdvr_api_schema_s  ngx_http_mdvr_api_schema_t;

typedef struct {
    const char                        *name;
    uint8_t                            type;
    uint8_t                            flags;
    double                             min;
    double                             max;      /* min == max == 0: unbounded */
    const char                        *words;
    const ngx_http_mdvr_api_schema_t  *object;
    const char                        *doc;
} ngx_http_mdvr_api_field_t;

struct ngx_http_mdvr_api_schema_s {
    const char                        *name;     /* in the OpenAPI document */
    const ngx_http_mdvr_api_field_t   *fields;   /* ends with a NULL name */
    const char                        *example;  /* JSON text, or NULL */
};


#define MDVR_API_MAX_DEPTH      16
#define MDVR_API_MAX_ITEMS      1000
#define MDVR_API_MAX_ERRORS     20


/*
 * Problems found in one request.  `code` is the public code of the first one;
 * `list` is the "errors" member of the answer, an array that the caller frees
 * (NULL when nothing is wrong).
 */
typedef struct {
    const char  *code;
    json_t      *list;
} ngx_http_mdvr_api_errors_t;


/*
 * Parses a request body strictly: UTF-8, no duplicate names, no nesting deeper
 * than MDVR_API_MAX_DEPTH, nothing behind the value, no NUL inside strings.
 *
 * The caller frees the result.  NULL with *code set to "malformed_json",
 * "duplicate_field" or "nested_too_deep" and *detail to one sentence.
 */
json_t *ngx_http_mdvr_api_parse(const char *text, size_t len,
    const char **code, const char **detail);

/*
 * Checks `value` against `schema`: unknown members, missing ones, types, ranges
 * and forms.  Adds what is wrong to `errors`; returns the number of problems.
 * `path` is put before the names ("" at the top, "params" inside).
 */
unsigned ngx_http_mdvr_api_check(const ngx_http_mdvr_api_schema_t *schema,
    json_t *value, const char *path, ngx_http_mdvr_api_errors_t *errors);

/*
 * Checks the text of one query parameter.  Returns NULL or what is wrong, a
 * static string; *code is then the public code.
 */
const char *ngx_http_mdvr_api_check_text(const ngx_http_mdvr_api_field_t *f,
    const char *text, size_t len, const char **code);

void ngx_http_mdvr_api_error(ngx_http_mdvr_api_errors_t *errors,
    const char *code, const char *path, const char *name, const char *message);

/* The JSON Schema (2020-12) of one field or object; the caller frees it. */
json_t *ngx_http_mdvr_api_schema_json(const ngx_http_mdvr_api_schema_t *schema,
    int closed);
json_t *ngx_http_mdvr_api_field_json(const ngx_http_mdvr_api_field_t *f,
    int closed);

/*
 * An example of such an object: the schema's own, else one value for each field
 * (ngx_http_mdvr_api_example.c).  The caller frees it.
 */
json_t *ngx_http_mdvr_api_example(const ngx_http_mdvr_api_schema_t *schema);

/* RFC 3339 with any offset; -1 when malformed. */
int ngx_http_mdvr_api_is_time(const char *p, size_t len);
int ngx_http_mdvr_api_is_uuid(const char *p, size_t len);


#endif /* _NGX_HTTP_MDVR_API_SCHEMA_H_INCLUDED_ */
