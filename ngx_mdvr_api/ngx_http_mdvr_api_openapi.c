
/*
 * GET /openapi.json and GET /docs: the route table and the schemas, told to
 * others.  Nothing in the document is written by hand, so it cannot say
 * anything that the routes do not do.  It is made when it is first asked for and
 * kept per worker.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_docs.h"

#include <openssl/sha.h>


static ngx_str_t  ngx_http_mdvr_api_document;


static const char *
ngx_http_mdvr_api_method(ngx_uint_t method)
{
    switch (method) {
    case NGX_HTTP_GET:     return "get";
    case NGX_HTTP_POST:    return "post";
    case NGX_HTTP_PUT:     return "put";
    case NGX_HTTP_PATCH:   return "patch";
    default:               return "delete";
    }
}


/* adds a named schema and those it refers to; returns what stands for it */

static json_t *
ngx_http_mdvr_api_schema_ref(json_t *all, const ngx_http_mdvr_api_schema_t *s,
    int closed)
{
    char                              ref[128];
    json_t                           *schema;
    const ngx_http_mdvr_api_field_t  *f;

    for (f = s->fields; f->name; f++) {
        if (f->object) {
            json_decref(ngx_http_mdvr_api_schema_ref(all, f->object, closed));
        }
    }

    if (s->name == NULL) {
        return ngx_http_mdvr_api_schema_json(s, closed);
    }

    if (json_object_get(all, s->name) == NULL) {
        schema = ngx_http_mdvr_api_schema_json(s, closed);

        if (!closed && s->example == NULL) {
            json_object_set_new(schema, "examples",
                                json_pack("[o]",
                                          ngx_http_mdvr_api_example(s)));
        }

        json_object_set_new(all, s->name, schema);
    }

    snprintf(ref, sizeof(ref), "#/components/schemas/%s", s->name);

    return json_pack("{s:s}", "$ref", ref);
}


/* content of an answer that is not JSON */

static json_t *
ngx_http_mdvr_api_media(const char *type)
{
    ngx_uint_t  i;

    static const struct {
        const char  *type;
        const char  *example;
    } texts[] = {
        { "text/csv", "at,lat,lon,speed_kmh\r\n"
          "2026-01-31T08:15:30.250Z,22.672803,114.059394,63.4\r\n" },
        { "application/gpx+xml", "<?xml version=\"1.0\"?><gpx version=\"1.1\">"
          "<trk><trkseg><trkpt lat=\"22.672803\" lon=\"114.059394\"/>"
          "</trkseg></trk></gpx>" },
        { "application/geo+json", "{\"type\":\"FeatureCollection\","
          "\"features\":[]}" },
        { "application/vnd.apple.mpegurl", "#EXTM3U\n#EXT-X-VERSION:7\n"
          "#EXT-X-TARGETDURATION:6\n" },
        { "text/event-stream", "id: 1738\nevent: alarm\n"
          "data: {\"type\":\"alarm\",\"id\":\"1738\"}\n\n" },
        { "text/html", "<!doctype html>" }
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (ngx_strcmp(texts[i].type, type) == 0) {
            return json_pack("{s:{s:s}, s:s}", "schema", "type", "string",
                             "example", texts[i].example);
        }
    }

    if (ngx_strcmp(type, "application/json") == 0) {
        return json_pack("{s:{s:s}, s:{s:s}}", "schema", "type", "object",
                         "example", "openapi", "3.1.0");
    }

    return json_pack("{s:{s:s, s:s}}", "schema", "type", "string",
                     "format", "binary");
}


/*
 * The errors that a route can answer, beside those of every one ("default"): by
 * what the table says about it.
 */

static void
ngx_http_mdvr_api_errors(json_t *answers, const ngx_http_mdvr_api_route_t *route)
{
    char        status[8];
    ngx_uint_t  i;

    struct {
        ngx_uint_t   status;
        ngx_uint_t   can;
    } errors[] = {
        { 400, route->body != NULL },
        { 401, !(route->scope & API_PUBLIC) || route->body != NULL },
        { 403, !(route->scope & (API_PUBLIC|API_ANY))
               || (route->flags & API_NO_KEY) },
        { 404, strchr(route->path, '{') != NULL },
        { 409, route->method == NGX_HTTP_POST
               || route->method == NGX_HTTP_PATCH },
        { 422, route->body != NULL || route->query != NULL },
        { 429, !(route->scope & API_PUBLIC) || route->body != NULL },
        { 503, !(route->scope & API_PUBLIC) || route->body != NULL }
    };

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].can) {
            snprintf(status, sizeof(status), "%d", (int) errors[i].status);
            json_object_set_new(answers, status,
                                json_pack("{s:s}", "$ref",
                                          "#/components/responses/Problem"));
        }
    }
}


static void
ngx_http_mdvr_api_parameters(json_t *list,
    const ngx_http_mdvr_api_route_t *route)
{
    char                              name[64];
    size_t                            len;
    json_t                           *p;
    const char                       *c, *end;
    const ngx_http_mdvr_api_field_t  *f;

    for (c = route->path; (c = strchr(c, '{')); c = end) {
        end = strchr(c, '}');
        len = ngx_min((size_t) (end - c - 1), sizeof(name) - 1);
        ngx_memcpy(name, c + 1, len);
        name[len] = '\0';

        json_array_append_new(list,
            json_pack("{s:s, s:s, s:b, s:{s:s, s:s}}", "name", name,
                      "in", "path", "required", 1,
                      "schema", "type", "string", "format", "uuid"));
    }

    for (c = route->query; c && *c; c = *end ? end + 1 : end) {
        end = strchr(c, ',');
        if (end == NULL) {
            end = c + ngx_strlen(c);
        }

        for (f = ngx_http_mdvr_api_query_fields; f->name; f++) {
            if (ngx_strlen(f->name) == (size_t) (end - c)
                && ngx_strncmp(f->name, c, end - c) == 0)
            {
                p = json_pack("{s:s, s:s, s:b, s:o}", "name", f->name,
                              "in", "query", "required", 0, "schema",
                              ngx_http_mdvr_api_field_json(f, 0));
                json_array_append_new(list, p);
            }
        }
    }

    if (route->flags & API_IDEMPOTENT) {
        json_array_append_new(list,
            json_pack("{s:s, s:s, s:s, s:b, s:{s:s, s:i}}",
                      "name", "Idempotency-Key", "in", "header",
                      "description",
                      "the same key within 24 h returns the first answer",
                      "required", 0, "schema", "type", "string",
                      "maxLength", 128));
    }

    if (!(route->scope & (API_PUBLIC|API_PLATFORM))
        && !(route->flags & API_ACCOUNT))
    {
        json_array_append_new(list,
            json_pack("{s:s, s:s, s:s, s:b, s:{s:s, s:s}}",
                      "name", "X-Tenant-Id", "in", "header",
                      "description", "the tenant that a super_admin acts in",
                      "required", 0, "schema", "type", "string",
                      "format", "uuid"));
    }
}


static json_t *
ngx_http_mdvr_api_operation(json_t *schemas,
    const ngx_http_mdvr_api_route_t *route)
{
    char                              status[8];
    json_t                           *op, *list, *answers, *schema, *content;
    json_t                           *example;
    uint32_t                          bit;
    const char *const                *export;

    op = json_pack("{s:s}", "summary", route->summary);

    if (route->scope & API_PUBLIC) {
        json_object_set_new(op, "security", json_array());

    } else {
        list = json_array();

        for (bit = 1; bit & MDVR_SCOPE_ALL; bit <<= 1) {
            if (route->scope & bit) {
                json_array_append_new(list, json_string(mdvr_scope_name(bit)));
            }
        }

        if (route->scope & API_PLATFORM) {
            json_array_append_new(list, json_string("role:super_admin"));
        }

        json_object_set_new(op, "security",
                            json_pack("[{s:o}]", "bearer", list));
    }

    list = json_array();
    ngx_http_mdvr_api_parameters(list, route);

    if (json_array_size(list)) {
        json_object_set_new(op, "parameters", list);

    } else {
        json_decref(list);
    }

    if (route->body) {
        content = json_pack("{s:o}", "schema",
                            ngx_http_mdvr_api_schema_ref(schemas, route->body,
                                                         1));

        if (route->examples) {
            json_object_set_new(content, "examples", route->examples());
        }

        json_object_set_new(op, "requestBody",
            json_pack("{s:b, s:{s:o}}", "required",
                      !(route->flags & API_BODY_OPT),
                      "content", "application/json", content));

    } else if (route->flags & API_RAW_BODY) {
        json_object_set_new(op, "requestBody",
            json_pack("{s:b, s:{s:o}}", "required", 1, "content",
                      "application/octet-stream",
                      ngx_http_mdvr_api_media("application/octet-stream")));
    }

    answers = json_object();

    snprintf(status, sizeof(status), "%d",
             route->answer == NULL && !route->media ? 204
             : (route->flags & API_CREATED) ? 201
             : (route->flags & API_ACCEPTED) ? 202 : 200);

    if (route->answer) {
        example = NULL;
        schema = ngx_http_mdvr_api_schema_ref(schemas, route->answer, 0);

        if (route->flags & API_LIST) {
            example = json_pack("{s:[o], s:n}", "items",
                                ngx_http_mdvr_api_example(route->answer),
                                "next_cursor");
            schema = json_pack("{s:s, s:{s:{s:s, s:o}, s:{s:[s, s]}}, s:[s, s]}",
                               "type", "object", "properties",
                               "items", "type", "array", "items", schema,
                               "next_cursor", "type", "string", "null",
                               "required", "items", "next_cursor");

            if (route->flags & API_CUT) {
                json_object_set_new(example, "truncated", json_false());
                json_object_set_new(json_object_get(schema, "properties"),
                                    "truncated",
                                    json_pack("{s:s}", "type", "boolean"));
            }
        }

        content = json_pack("{s:{s:o, s:o*}}", "application/json", "schema",
                            schema, "example", example);

        for (export = route->exports; export && *export; export++) {
            json_object_set_new(content, *export,
                                ngx_http_mdvr_api_media(*export));
        }

        json_object_set_new(answers, status,
            json_pack("{s:s, s:o}", "description", "success", "content",
                      content));

    } else if (route->media) {
        json_object_set_new(answers, status,
            json_pack("{s:s, s:{s:o}}", "description", "success", "content",
                      route->media, ngx_http_mdvr_api_media(route->media)));

    } else {
        json_object_set_new(answers, status,
                            json_pack("{s:s}", "description", "success"));
    }

    ngx_http_mdvr_api_errors(answers, route);

    json_object_set_new(answers, "default",
                        json_pack("{s:s}", "$ref",
                                  "#/components/responses/Problem"));
    json_object_set_new(op, "responses", answers);

    return op;
}


static json_t *
ngx_http_mdvr_api_build(void)
{
    json_t                           *doc, *paths, *item, *schemas, *scopes;
    uint32_t                          bit;
    const ngx_http_mdvr_api_route_t  *route;

    paths = json_object();
    schemas = json_object();
    scopes = json_object();

    for (route = ngx_http_mdvr_api_routes; route->method; route++) {

        item = json_object_get(paths, route->path);

        if (item == NULL) {
            item = json_object();
            json_object_set_new(paths, route->path, item);
        }

        json_object_set_new(item, ngx_http_mdvr_api_method(route->method),
                            ngx_http_mdvr_api_operation(schemas, route));
    }

    for (bit = 1; bit & MDVR_SCOPE_ALL; bit <<= 1) {
        json_object_set_new(scopes, mdvr_scope_name(bit), json_true());
    }

    json_object_set_new(schemas, "Problem",
        json_pack("{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s},"
                  " s:{s:s}, s:{s:s, s:{s:s, s:{s:{s:s}, s:{s:s}}}}},"
                  " s:[s, s, s, s, s]}",
                  "type", "object", "properties",
                  "type", "type", "string",
                  "title", "type", "string",
                  "status", "type", "integer",
                  "code", "type", "string",
                  "detail", "type", "string",
                  "request_id", "type", "string",
                  "errors", "type", "array", "items",
                      "type", "object", "properties",
                      "field", "type", "string",
                      "message", "type", "string",
                  "required", "type", "title", "status", "code",
                  "request_id"));

    doc = json_pack("{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:o, s:{s:o,"
                    " s:{s:{s:s, s:{s:{s:{s:s}, s:{s:s, s:s, s:i, s:s, s:s, s:s,"
                    " s:[{s:s, s:s}]}}}}}, s:{s:{s:s, s:s, s:s}}}}",
                    "openapi", "3.1.0",
                    "info", "title", "MDVR platform", "version", "1",
                    "description",
                    "Fleet video: devices, live pictures, positions, alarms "
                    "and evidence. Errors are problem+json of RFC 9457.",
                    "servers", "url", "/api/v1",
                    "paths", paths,
                    "components",
                    "schemas", schemas,
                    "responses", "Problem", "description", "an error",
                    "content", "application/problem+json", "schema",
                    "$ref", "#/components/schemas/Problem", "example",
                    "type", "about:blank", "title", "Unprocessable Entity",
                    "status", 422, "code", "out_of_range", "detail",
                    "channel must be between 1 and 64", "request_id",
                    "0190b6c2-7c1a-7d3e-9f42-5b6a7c8d9e0f", "errors",
                    "field", "channel", "message",
                    "must be between 1 and 64",
                    "securitySchemes", "bearer", "type", "http",
                    "scheme", "bearer", "description",
                    "an access token of POST /auth/login, or an API key");

    json_decref(scopes);

    return doc;
}


void
ngx_http_mdvr_api_openapi(ngx_http_mdvr_api_ctx_t *ctx)
{
    char    *dump;
    json_t  *doc;

    if (ngx_http_mdvr_api_document.data == NULL) {

        doc = ngx_http_mdvr_api_build();
        dump = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
        json_decref(doc);

        if (dump == NULL) {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                      "internal", NULL, 0);
            return;
        }

        ngx_http_mdvr_api_document.data = (u_char *) dump;
        ngx_http_mdvr_api_document.len = ngx_strlen(dump);
    }

    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_OK, NULL,
                             &ngx_http_mdvr_api_document, 0);
}


/* "'sha256-...'" of a piece of the page */

static u_char *
ngx_http_mdvr_api_source_hash(u_char *p, const char *text)
{
    u_char     digest[SHA256_DIGEST_LENGTH];
    ngx_str_t  src, dst;

    SHA256((u_char *) text, ngx_strlen(text), digest);

    src.data = digest;
    src.len = sizeof(digest);

    p = ngx_cpymem(p, "'sha256-", 8);
    dst.data = p;
    ngx_encode_base64(&dst, &src);
    p += dst.len;
    *p++ = '\'';

    return p;
}


void
ngx_http_mdvr_api_docs(ngx_http_mdvr_api_ctx_t *ctx)
{
    u_char     *p;
    ngx_str_t   policy;

    static ngx_str_t  page = ngx_string(
        NGX_HTTP_MDVR_API_DOCS_PAGE(NGX_HTTP_MDVR_API_DOCS_STYLE,
                                    NGX_HTTP_MDVR_API_DOCS_SCRIPT));

    policy.data = ngx_pnalloc(ctx->request->pool, 512);
    if (policy.data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    p = ngx_sprintf(policy.data, "default-src 'none'; connect-src 'self'; "
                    "base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'; script-src ");
    p = ngx_http_mdvr_api_source_hash(p, NGX_HTTP_MDVR_API_DOCS_SCRIPT);
    p = ngx_sprintf(p, "; style-src ");
    p = ngx_http_mdvr_api_source_hash(p, NGX_HTTP_MDVR_API_DOCS_STYLE);

    policy.len = p - policy.data;

    if (ngx_mdvr_http_header(ctx->request, "Content-Security-Policy", &policy)
        != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_answer(ctx, NGX_HTTP_OK, "text/html; charset=utf-8",
                             &page, 0);
}
