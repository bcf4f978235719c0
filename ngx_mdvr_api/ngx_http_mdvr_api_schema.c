
/*
 * The checker behind the tables of ngx_http_mdvr_api_schema.h.
 *
 * A request is refused as a whole, and every wrong field is named at once (at
 * most 20), so that a person filling in a form is not sent round in circles.
 * Names in messages are the client's own bytes only when they are plain words;
 * anything else is shown as "?".
 */


#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <math.h>

#include "ngx_mdvr_api/ngx_http_mdvr_api_schema.h"


static unsigned ngx_http_mdvr_api_check_field(
    const ngx_http_mdvr_api_field_t *f, json_t *value, const char *path,
    ngx_http_mdvr_api_errors_t *errors);
static const char *ngx_http_mdvr_api_check_string(
    const ngx_http_mdvr_api_field_t *f, const char *p, size_t len,
    const char **code);


static int
ngx_http_mdvr_api_depth(const char *p, size_t len)
{
    int     depth, max, string;
    size_t  i;

    depth = 0;
    max = 0;
    string = 0;

    for (i = 0; i < len; i++) {

        if (string) {
            if (p[i] == '\\') {
                i++;

            } else if (p[i] == '"') {
                string = 0;
            }

            continue;
        }

        switch (p[i]) {

        case '"':
            string = 1;
            break;

        case '{':
        case '[':
            if (++depth > max) {
                max = depth;
            }
            break;

        case '}':
        case ']':
            depth--;
            break;
        }
    }

    return max;
}


json_t *
ngx_http_mdvr_api_parse(const char *text, size_t len, const char **code,
    const char **detail)
{
    json_t        *value;
    json_error_t   error;

    if (ngx_http_mdvr_api_depth(text, len) > MDVR_API_MAX_DEPTH) {
        *code = "nested_too_deep";
        *detail = "the body is nested too deeply";
        return NULL;
    }

    value = json_loadb(text, len, JSON_REJECT_DUPLICATES|JSON_DECODE_ANY,
                       &error);
    if (value != NULL) {
        return value;
    }

    if (json_error_code(&error) == json_error_duplicate_key) {
        *code = "duplicate_field";
        *detail = "a name occurs twice in one object";

    } else {
        *code = "malformed_json";
        *detail = "the body is not valid JSON";
    }

    return NULL;
}


void
ngx_http_mdvr_api_error(ngx_http_mdvr_api_errors_t *errors, const char *code,
    const char *path, const char *name, const char *message)
{
    char         field[160];
    const char  *p;

    for (p = name; *p; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (*p >= '0' && *p <= '9') || *p == '_' || *p == '-'
              || *p == '[' || *p == ']' || *p == '.'))
        {
            name = "?";
            break;
        }
    }

    snprintf(field, sizeof(field), "%s%s%.100s", path,
             *path && *name ? "." : "", name);

    if (errors->list == NULL) {
        errors->code = code;
        errors->list = json_array();
    }

    if (json_array_size(errors->list) < MDVR_API_MAX_ERRORS) {
        json_array_append_new(errors->list,
                              json_pack("{s:s, s:s}", "field", field,
                                        "message", message));
    }
}


unsigned
ngx_http_mdvr_api_check(const ngx_http_mdvr_api_schema_t *schema,
    json_t *value, const char *path, ngx_http_mdvr_api_errors_t *errors)
{
    json_t                           *member;
    unsigned                          n;
    const char                       *name;
    const ngx_http_mdvr_api_field_t  *f;

    if (!json_is_object(value)) {
        ngx_http_mdvr_api_error(errors, "invalid_type", path, "",
                                "must be an object");
        return 1;
    }

    n = 0;

    json_object_foreach(value, name, member) {

        for (f = schema->fields; f->name; f++) {
            if (strcmp(f->name, name) == 0) {
                break;
            }
        }

        if (f->name == NULL) {
            ngx_http_mdvr_api_error(errors, "unknown_field", path, name,
                                    "is not a known field");
            n++;
        }
    }

    for (f = schema->fields; f->name; f++) {

        member = json_object_get(value, f->name);

        if (member == NULL) {
            if (f->flags & MDVR_API_REQ) {
                ngx_http_mdvr_api_error(errors, "required", path, f->name,
                                        "is required");
                n++;
            }

            continue;
        }

        n += ngx_http_mdvr_api_check_field(f, member, path, errors);
    }

    return n;
}


static unsigned
ngx_http_mdvr_api_check_field(const ngx_http_mdvr_api_field_t *f,
    json_t *value, const char *path, ngx_http_mdvr_api_errors_t *errors)
{
    char                        inner[160];
    double                      number;
    json_t                     *item;
    size_t                      i;
    unsigned                    n;
    const char                 *code, *message, *key;
    ngx_http_mdvr_api_field_t   one;

    if (json_is_null(value)) {
        if (f->flags & MDVR_API_NULL) {
            return 0;
        }

        ngx_http_mdvr_api_error(errors, "invalid_type", path, f->name,
                                "must not be null");
        return 1;
    }

    if (f->flags & (MDVR_API_LIST|MDVR_API_MAP)) {

        if ((f->flags & MDVR_API_LIST) ? !json_is_array(value)
                                       : !json_is_object(value))
        {
            ngx_http_mdvr_api_error(errors, "invalid_type", path, f->name,
                                    (f->flags & MDVR_API_LIST)
                                    ? "must be an array"
                                    : "must be an object");
            return 1;
        }

        if (json_array_size(value) > MDVR_API_MAX_ITEMS
            || json_object_size(value) > MDVR_API_MAX_ITEMS)
        {
            ngx_http_mdvr_api_error(errors, "out_of_range", path, f->name,
                                    "has too many items");
            return 1;
        }

        n = 0;
        one = *f;
        one.flags = 0;

        if (f->flags & MDVR_API_LIST) {
            json_array_foreach(value, i, item) {
                snprintf(inner, sizeof(inner), "%.100s[%u]", f->name,
                         (unsigned) i);
                one.name = inner;
                n += ngx_http_mdvr_api_check_field(&one, item, path, errors);
            }

        } else {
            json_object_foreach(value, key, item) {
                snprintf(inner, sizeof(inner), "%.50s.%.60s", f->name, key);
                one.name = inner;
                n += ngx_http_mdvr_api_check_field(&one, item, path, errors);
            }
        }

        return n;
    }

    code = "invalid_type";
    message = NULL;

    switch (f->type) {

    case MDVR_API_ANY:
        break;

    case MDVR_API_BOOL:
        if (!json_is_boolean(value)) {
            message = "must be true or false";
        }
        break;

    case MDVR_API_INT:
        if (!json_is_integer(value)) {
            message = "must be an integer";
            break;
        }

        /* fall through */

    case MDVR_API_NUMBER:
        if (!json_is_number(value)) {
            message = "must be a number";
            break;
        }

        number = json_number_value(value);

        if ((f->min != 0 || f->max != 0)
            && (number < f->min || number > f->max))
        {
            code = "out_of_range";
            message = "is out of range";
        }
        break;

    case MDVR_API_OBJECT:
        if (!json_is_object(value)) {
            message = "must be an object";
            break;
        }

        if (f->object != NULL) {
            snprintf(inner, sizeof(inner), "%s%s%.100s", path,
                     *path ? "." : "", f->name);
            return ngx_http_mdvr_api_check(f->object, value, inner, errors);
        }
        break;

    default:
        if (!json_is_string(value)) {
            message = "must be a string";
            break;
        }

        message = ngx_http_mdvr_api_check_string(f, json_string_value(value),
                                                 json_string_length(value),
                                                 &code);
    }

    if (message == NULL) {
        return 0;
    }

    ngx_http_mdvr_api_error(errors, code, path, f->name, message);

    return 1;
}


static int
ngx_http_mdvr_api_digits(const char *p, int n)
{
    int  v;

    for (v = 0; n; n--, p++) {
        if (*p < '0' || *p > '9') {
            return -1;
        }

        v = v * 10 + (*p - '0');
    }

    return v;
}


int
ngx_http_mdvr_api_is_time(const char *p, size_t len)
{
    int     year, month, day, hour, minute, second;
    size_t  i;

    static const int  days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30,
                                 31 };

    if (len < 20 || len > 35) {
        return 0;
    }

    year = ngx_http_mdvr_api_digits(p, 4);
    month = ngx_http_mdvr_api_digits(p + 5, 2);
    day = ngx_http_mdvr_api_digits(p + 8, 2);
    hour = ngx_http_mdvr_api_digits(p + 11, 2);
    minute = ngx_http_mdvr_api_digits(p + 14, 2);
    second = ngx_http_mdvr_api_digits(p + 17, 2);

    if (p[4] != '-' || p[7] != '-' || (p[10] != 'T' && p[10] != 't')
        || p[13] != ':' || p[16] != ':'
        || year < 1970 || month < 1 || month > 12
        || day < 1 || day > days[month - 1]
        || (month == 2 && day == 29
            && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
        || hour < 0 || hour > 23 || minute < 0 || minute > 59
        || second < 0 || second > 59)
    {
        return 0;
    }

    i = 19;

    if (p[i] == '.') {
        for (i++; i < len && p[i] >= '0' && p[i] <= '9'; i++) { /* void */ }

        if (i == 20 || i > 29) {
            return 0;
        }
    }

    if (i + 1 == len) {
        return p[i] == 'Z' || p[i] == 'z';
    }

    return i + 6 == len
           && (p[i] == '+' || p[i] == '-')
           && p[i + 3] == ':'
           && ngx_http_mdvr_api_digits(p + i + 1, 2) >= 0
           && ngx_http_mdvr_api_digits(p + i + 1, 2) <= 14
           && ngx_http_mdvr_api_digits(p + i + 4, 2) >= 0
           && ngx_http_mdvr_api_digits(p + i + 4, 2) <= 59;
}


static int
ngx_http_mdvr_api_is_hex(const char *p, size_t len)
{
    for ( /* void */ ; len; len--, p++) {
        if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')
              || (*p >= 'A' && *p <= 'F')))
        {
            return 0;
        }
    }

    return 1;
}


int
ngx_http_mdvr_api_is_uuid(const char *p, size_t len)
{
    return len == 36
           && p[8] == '-' && p[13] == '-' && p[18] == '-' && p[23] == '-'
           && ngx_http_mdvr_api_is_hex(p, 8)
           && ngx_http_mdvr_api_is_hex(p + 9, 4)
           && ngx_http_mdvr_api_is_hex(p + 14, 4)
           && ngx_http_mdvr_api_is_hex(p + 19, 4)
           && ngx_http_mdvr_api_is_hex(p + 24, 12);
}


static int
ngx_http_mdvr_api_is_email(const char *p, size_t len)
{
    size_t       i;
    const char  *at;

    at = memchr(p, '@', len);

    if (at == NULL || at == p || len > 254
        || memchr(at + 1, '@', len - (at + 1 - p)) != NULL
        || at + 1 == p + len)
    {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (p[i] <= ' ' || p[i] == 0x7f || strchr("\"\\<>(),;:[]", p[i])) {
            return 0;
        }
    }

    return 1;
}


static int
ngx_http_mdvr_api_is_host(const char *p, size_t len)
{
    size_t  i;

    if (len == 0 || len > 253) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'z')
              || (p[i] >= 'A' && p[i] <= 'Z') || p[i] == '.' || p[i] == '-'
              || p[i] == ':'))
        {
            return 0;
        }
    }

    return 1;
}


static int
ngx_http_mdvr_api_is_bbox(const char *p, size_t len)
{
    char    buf[128], *end, *c;
    int     i;
    double  v[4];

    if (len >= sizeof(buf)) {
        return 0;
    }

    for (i = 0; (size_t) i < len; i++) {
        if ((p[i] < '0' || p[i] > '9') && p[i] != '.' && p[i] != '-'
            && p[i] != ',')
        {
            return 0;
        }
    }

    memcpy(buf, p, len);
    buf[len] = '\0';
    c = buf;

    for (i = 0; i < 4; i++) {
        v[i] = strtod(c, &end);

        if (end == c || *end != (i < 3 ? ',' : '\0')) {
            return 0;
        }

        c = end + 1;
    }

    return v[0] >= -180 && v[2] <= 180 && v[1] >= -90 && v[3] <= 90
           && v[0] <= v[2] && v[1] <= v[3];
}


static const char *
ngx_http_mdvr_api_check_string(const ngx_http_mdvr_api_field_t *f,
    const char *p, size_t len, const char **code)
{
    size_t       i, n;
    const char  *word, *end;

    *code = "invalid_value";

    if (memchr(p, '\0', len) != NULL) {
        return "contains a NUL";
    }

    switch (f->type) {

    case MDVR_API_ENUM:
        for (word = f->words; *word; word = *end ? end + 1 : end) {
            end = strchr(word, '|');
            if (end == NULL) {
                end = word + strlen(word);
            }

            n = end - word;

            if (n == len && memcmp(word, p, n) == 0) {
                return NULL;
            }
        }

        return "is not one of the allowed values";

    case MDVR_API_UUID:
        return ngx_http_mdvr_api_is_uuid(p, len) ? NULL : "is not a UUID";

    case MDVR_API_TIME:
        return ngx_http_mdvr_api_is_time(p, len) ? NULL
                                 : "is not a time like 2026-01-31T08:15:30Z";

    case MDVR_API_EMAIL:
        return ngx_http_mdvr_api_is_email(p, len) ? NULL
                                                  : "is not an email address";

    case MDVR_API_HOST:
        return ngx_http_mdvr_api_is_host(p, len) ? NULL
                                                 : "is not a host or address";

    case MDVR_API_URL:
        for (i = 0; i < len; i++) {
            if (p[i] <= ' ' || p[i] == 0x7f) {
                return "is not a URL";
            }
        }

        if (strncmp(p, "https://", 8) != 0 && strncmp(p, "http://", 7) != 0) {
            return "must begin with https:// or http://";
        }
        break;

    case MDVR_API_HEX:
        if (!ngx_http_mdvr_api_is_hex(p, len)) {
            return "must consist of hexadecimal digits";
        }
        break;

    case MDVR_API_BASE64:
        n = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                      "0123456789+/");
        if (len % 4 != 0 || len - n > 2 || strspn(p + n, "=") != len - n) {
            return "is not base64";
        }
        break;

    case MDVR_API_BBOX:
        return ngx_http_mdvr_api_is_bbox(p, len) ? NULL
                                  : "is not min_lon,min_lat,max_lon,max_lat";

    case MDVR_API_WORDS:
        for (i = 0; i < len; i++) {
            if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'z')
                  || (p[i] >= 'A' && p[i] <= 'Z') || p[i] == '_'
                  || p[i] == ','))
            {
                return "may contain letters, digits, _ and commas only";
            }
        }
        break;

    case MDVR_API_WORD:
        for (i = 0; i < len; i++) {
            if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'z')
                  || (p[i] >= 'A' && p[i] <= 'Z') || strchr("_.:-", p[i])))
            {
                return "may contain letters, digits and _ . : - only";
            }
        }
        break;

    case MDVR_API_STRING:
    case MDVR_API_TEXT:
        for (i = 0; i < len; i++) {
            if ((unsigned char) p[i] < ' ' || p[i] == 0x7f) {
                if (f->type == MDVR_API_TEXT
                    && (p[i] == '\n' || p[i] == '\t' || p[i] == '\r'))
                {
                    continue;
                }

                return "contains control characters";
            }
        }
        break;
    }

    if ((f->min != 0 || f->max != 0)
        && ((double) len < f->min || (double) len > f->max))
    {
        *code = "out_of_range";
        return len == 0 ? "must not be empty"
                        : (double) len < f->min ? "is too short"
                                                : "is too long";
    }

    return NULL;
}


const char *
ngx_http_mdvr_api_check_text(const ngx_http_mdvr_api_field_t *f,
    const char *text, size_t len, const char **code)
{
    char    *end, buf[64];
    double   number;
    size_t   i;

    switch (f->type) {

    case MDVR_API_BOOL:
        *code = "invalid_value";
        return (len == 4 && memcmp(text, "true", 4) == 0)
               || (len == 5 && memcmp(text, "false", 5) == 0)
               ? NULL : "must be true or false";

    case MDVR_API_INT:
    case MDVR_API_NUMBER:
        *code = "invalid_type";

        if (len == 0 || len > 20) {
            return "must be a number";
        }

        for (i = 0; i < len; i++) {
            if ((text[i] < '0' || text[i] > '9')
                && !(i == 0 && text[i] == '-' && len > 1)
                && !(f->type == MDVR_API_NUMBER && text[i] == '.'))
            {
                return f->type == MDVR_API_INT ? "must be an integer"
                                               : "must be a number";
            }
        }

        memcpy(buf, text, len);
        buf[len] = '\0';
        number = strtod(buf, &end);

        if (*end != '\0') {
            return "must be a number";
        }

        if ((f->min != 0 || f->max != 0)
            && (number < f->min || number > f->max))
        {
            *code = "out_of_range";
            return "is out of range";
        }

        return NULL;
    }

    return ngx_http_mdvr_api_check_string(f, text, len, code);
}


json_t *
ngx_http_mdvr_api_field_json(const ngx_http_mdvr_api_field_t *f, int closed)
{
    json_t      *s, *words, *type;
    const char  *word, *end, *name;

    static const struct {
        const char  *type;
        const char  *format;
    } kinds[] = {
        /* STRING */ { "string", NULL },
        /* TEXT   */ { "string", NULL },
        /* SECRET */ { "string", "password" },
        /* UUID   */ { "string", "uuid" },
        /* TIME   */ { "string", "date-time" },
        /* EMAIL  */ { "string", "email" },
        /* WORD   */ { "string", NULL },
        /* HEX    */ { "string", NULL },
        /* BASE64 */ { "string", "byte" },
        /* URL    */ { "string", "uri" },
        /* HOST   */ { "string", "hostname" },
        /* WORDS  */ { "string", NULL },
        /* BBOX   */ { "string", NULL },
        /* ENUM   */ { "string", NULL },
        /* INT    */ { "integer", NULL },
        /* NUMBER */ { "number", NULL },
        /* BOOL   */ { "boolean", NULL },
        /* OBJECT */ { "object", NULL },
        /* ANY    */ { NULL, NULL }
    };

    name = kinds[f->type].type;

    if (f->type == MDVR_API_OBJECT && f->object != NULL) {
        if (f->object->name != NULL) {
            char  ref[128];

            snprintf(ref, sizeof(ref), "#/components/schemas/%s",
                     f->object->name);
            s = json_pack("{s:s}", "$ref", ref);

        } else {
            s = ngx_http_mdvr_api_schema_json(f->object, closed);
        }

    } else {
        s = name ? json_pack("{s:s}", "type", name) : json_object();
    }

    if (kinds[f->type].format) {
        json_object_set_new(s, "format", json_string(kinds[f->type].format));
    }

    if (f->type == MDVR_API_HEX) {
        json_object_set_new(s, "pattern", json_string("^[0-9A-Fa-f]*$"));

    } else if (f->type == MDVR_API_WORD) {
        json_object_set_new(s, "pattern", json_string("^[A-Za-z0-9_.:-]*$"));
    }

    if (f->type == MDVR_API_ENUM) {
        words = json_array();

        for (word = f->words; *word; word = *end ? end + 1 : end) {
            end = strchr(word, '|');
            if (end == NULL) {
                end = word + strlen(word);
            }

            json_array_append_new(words, json_stringn(word, end - word));
        }

        if ((f->flags & MDVR_API_NULL)
            && !(f->flags & (MDVR_API_LIST|MDVR_API_MAP)))
        {
            json_array_append_new(words, json_null());
        }

        json_object_set_new(s, "enum", words);

    } else if (f->min != 0 || f->max != 0) {

        if (f->type == MDVR_API_INT) {
            json_object_set_new(s, "minimum", json_integer(f->min));
            json_object_set_new(s, "maximum", json_integer(f->max));

        } else if (f->type == MDVR_API_NUMBER) {
            json_object_set_new(s, "minimum", json_real(f->min));
            json_object_set_new(s, "maximum", json_real(f->max));

        } else if (name && strcmp(name, "string") == 0) {
            json_object_set_new(s, "minLength", json_integer(f->min ? 1 : 0));
            json_object_set_new(s, "maxLength", json_integer(f->max));
        }
    }

    if (f->flags & MDVR_API_LIST) {
        s = json_pack("{s:s, s:o}", "type", "array", "items", s);

    } else if (f->flags & MDVR_API_MAP) {
        s = json_pack("{s:s, s:o}", "type", "object",
                      "additionalProperties", s);
    }

    if (f->flags & MDVR_API_NULL) {
        type = json_object_get(s, "type");

        if (type != NULL) {
            json_object_set_new(s, "type",
                                json_pack("[s, s]", json_string_value(type),
                                          "null"));

        } else if (json_object_size(s) > 0) {
            s = json_pack("{s:[o, {s:s}]}", "anyOf", s, "type", "null");
        }
    }

    if (f->doc) {
        json_object_set_new(s, "description", json_string(f->doc));
    }

    return s;
}


json_t *
ngx_http_mdvr_api_schema_json(const ngx_http_mdvr_api_schema_t *schema,
    int closed)
{
    json_t                           *s, *properties, *required, *example;
    const ngx_http_mdvr_api_field_t  *f;

    s = json_pack("{s:s}", "type", "object");
    properties = json_object();
    required = json_array();

    for (f = schema->fields; f->name; f++) {
        json_object_set_new(properties, f->name,
                            ngx_http_mdvr_api_field_json(f, closed));

        if (f->flags & MDVR_API_REQ) {
            json_array_append_new(required, json_string(f->name));
        }
    }

    json_object_set_new(s, "properties", properties);

    if (json_array_size(required)) {
        json_object_set_new(s, "required", required);

    } else {
        json_decref(required);
    }

    if (closed) {
        json_object_set_new(s, "additionalProperties", json_false());
    }

    if (schema->example) {
        example = json_loads(schema->example, JSON_DECODE_ANY, NULL);

        if (example) {
            json_object_set_new(s, "examples", json_pack("[o]", example));
        }
    }

    return s;
}
