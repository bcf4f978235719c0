
/*
 * The command types of the API: parameters, wire keyword, encoder.  Channels
 * count from 1 here and from 0 on the wire.
 *
 * Source: protocol reference, signaling.md; names: the client contract.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_command.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_firmware.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_schemas.h"

#include <openssl/md5.h>


#define REQ   MDVR_API_REQ
#define LIST  MDVR_API_LIST

#define P_STR(n, fl, lo, hi)   { n, MDVR_API_STRING, fl, lo, hi, NULL, NULL, NULL }
#define P_WORD(n, fl, lo, hi)  { n, MDVR_API_WORD, fl, lo, hi, NULL, NULL, NULL }
#define P_ENUM(n, fl, w)       { n, MDVR_API_ENUM, fl, 0, 0, w, NULL, NULL }
#define P_INT(n, fl, lo, hi)   { n, MDVR_API_INT, fl, lo, hi, NULL, NULL, NULL }
#define P_BOOL(n, fl)          { n, MDVR_API_BOOL, fl, 0, 0, NULL, NULL, NULL }
#define P_HEX(n, fl, hi)       { n, MDVR_API_HEX, fl, 0, hi, NULL, NULL, NULL }
#define P_TIME(n, fl)          { n, MDVR_API_TIME, fl, 0, 0, NULL, NULL, NULL }
#define P_UUID(n, fl)          { n, MDVR_API_UUID, fl, 0, 0, NULL, NULL, NULL }

#define PARAMS(id, example, ...)                                              \
    static const ngx_http_mdvr_api_field_t  api_p_##id##_fields[] = {         \
        __VA_ARGS__, { NULL, 0, 0, 0, 0, NULL, NULL, NULL }                   \
    };                                                                        \
    static const ngx_http_mdvr_api_schema_t  api_p_##id = {                   \
        NULL, api_p_##id##_fields, example                                    \
    };

static const ngx_http_mdvr_api_schema_t  api_p_none = {
    NULL,
    (const ngx_http_mdvr_api_field_t[]) {
        { NULL, 0, 0, 0, 0, NULL, NULL, NULL }
    },
    "{}"
};


#define CHANNEL  P_INT("channel", REQ, 1, 16)


/* position of a word in "a|b|c", `none` when the member is absent */

static int
ngx_http_mdvr_api_word(json_t *params, const char *name, const char *words,
    int none)
{
    int          n;
    size_t       len;
    const char  *value, *p;

    value = json_string_value(json_object_get(params, name));

    if (value == NULL) {
        return none;
    }

    len = strlen(value);

    for (n = 0, p = words; p; n++) {
        if (strncmp(p, value, len) == 0 && (p[len] == '|' || !p[len])) {
            return n;
        }

        p = strchr(p, '|');
        if (p) {
            p++;
        }
    }

    return none;
}


static int64_t
ngx_http_mdvr_api_param(json_t *params, const char *name, int64_t none)
{
    json_t  *v;

    v = json_object_get(params, name);

    return json_is_integer(v) ? json_integer_value(v) : none;
}


static mdvr_str_t
ngx_http_mdvr_api_text_param(json_t *params, const char *name)
{
    json_t  *v;

    v = json_object_get(params, name);

    return mdvr_str(json_string_value(v), json_string_length(v));
}


static int64_t
ngx_http_mdvr_api_time_param(json_t *params, const char *name)
{
    int64_t     ms;
    json_t     *v;
    ngx_str_t   s;

    v = json_object_get(params, name);
    s.data = (u_char *) json_string_value(v);
    s.len = json_string_length(v);

    return s.data && ngx_mdvr_rfc3339_parse(&s, &ms) == NGX_OK ? ms / 1000
                                                               : -1;
}


static mdvr_str_t
ngx_http_mdvr_api_hex_param(ngx_http_mdvr_api_job_t *job, json_t *params,
    const char *name)
{
    u_char      *p;
    size_t       i;
    mdvr_str_t   hex;

    hex = ngx_http_mdvr_api_text_param(params, name);

    p = ngx_pnalloc(job->pool, hex.len / 2 + 1);
    if (p == NULL) {
        return mdvr_str(NULL, 0);
    }

    for (i = 0; i < hex.len / 2; i++) {
        p[i] = ngx_hextoi((u_char *) hex.p + 2 * i, 2);
    }

    return mdvr_str(p, hex.len / 2);
}


static int
ngx_http_mdvr_api_wire_channel(json_t *params)
{
    return (int) ngx_http_mdvr_api_param(params, "channel", 1) - 1;
}


#define SESSION_FAILED(why)                                                   \
    (*(why) = "no media session can be opened at the moment", "!")


/* --- C150 --------------------------------------------------------------------- */

#define CONTROL_WORDS                                                         \
    "fuel_cut|fuel_restore|power_cut|power_restore|reboot|factory_reset"

PARAMS(control, "{\"action\":\"reboot\"}",
    P_ENUM("action", REQ, CONTROL_WORDS),
    { "device_user", MDVR_API_STRING, 0, 1, 64, NULL, NULL,
      "of the recorder itself; else settings.device_user of the device" },
    { "device_password", MDVR_API_SECRET, 0, 1, 64, NULL, NULL, NULL })

static void
ngx_http_mdvr_api_md5(char hex[33], mdvr_str_t s)
{
    u_char  digest[MD5_DIGEST_LENGTH];

    MD5(s.p, s.len, digest);
    *ngx_hex_dump((u_char *) hex, digest, sizeof(digest)) = '\0';
}

static const char *
ngx_http_mdvr_api_c150(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    char        user[33], password[33];
    mdvr_str_t  s;

    s = ngx_http_mdvr_api_text_param(params, "device_user");
    if (s.len == 0) {
        s = job->device_user.len ? mdvr_str(job->device_user.data,
                                            job->device_user.len)
                                 : MDVR_STR("admin");
    }
    ngx_http_mdvr_api_md5(user, s);

    s = ngx_http_mdvr_api_text_param(params, "device_password");
    if (s.len == 0) {
        s = mdvr_str(job->device_password.data, job->device_password.len);
    }
    ngx_http_mdvr_api_md5(password, s);

    mdvr_body_c150(body, 1 + ngx_http_mdvr_api_word(params, "action",
                                                    CONTROL_WORDS, 0),
                   mdvr_cstr(user), mdvr_cstr(password));
    return NULL;
}


/* --- C151 --------------------------------------------------------------------- */

PARAMS(text, "{\"text\":\"Call #5, gate open\"}",
    { "text", MDVR_API_TEXT, REQ, 1, 1000, NULL, NULL, NULL })

static const char *
ngx_http_mdvr_api_c151(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_body_c151(body, ngx_http_mdvr_api_text_param(params, "text"),
                   job->encoding);
    return NULL;
}


/* --- C505 --------------------------------------------------------------------- */

#define MODE_WORDS  "disable|enable|stored"

PARAMS(interval, "{\"interval_s\":10,\"distance_m\":500}",
    P_ENUM("mode", 0, MODE_WORDS),
    P_INT("interval_s", 0, 5, 65535),
    P_INT("distance_m", 0, 50, 655350))

static const char *
ngx_http_mdvr_api_c505(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    if (mdvr_body_c505(body, ngx_http_mdvr_api_word(params, "mode", MODE_WORDS,
                                                    1),
                       ngx_http_mdvr_api_param(params, "distance_m", 0),
                       ngx_http_mdvr_api_param(params, "interval_s", 0))
        != MDVR_OK)
    {
        *why = "or distance_m is needed";
        return "interval_s";
    }

    return NULL;
}


/* --- C510, C511, C512 ----------------------------------------------------------- */

PARAMS(channel, "{\"channel\":1}", CHANNEL)

static const char *
ngx_http_mdvr_api_c510(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    if (ngx_http_mdvr_api_job_session(job, MDVR_BUS_KIND_SNAPSHOT,
                         ngx_http_mdvr_api_param(params, "channel", 1), NULL)
        != MDVR_OK)
    {
        return SESSION_FAILED(why);
    }

    mdvr_body_c510(body, mdvr_cstr(job->session),
                   ngx_http_mdvr_api_wire_channel(params),
                   ngx_http_mdvr_api_job_endpoint());
    return NULL;
}

#define SENSITIVITY_WORDS  "low|medium|high"

PARAMS(motion,
    "{\"channel\":1,\"rows\":[2047,2047,2047,0,0,0,0,0,0],\"enabled\":true,"
    "\"sensitivity\":\"high\"}",
    P_INT("channel", REQ, 1, 8),
    { "rows", MDVR_API_INT, REQ|LIST, 0, 2047, NULL, NULL,
      "nine rows from the top; bit n is block n of eleven" },
    P_BOOL("enabled", REQ),
    P_ENUM("sensitivity", 0, SENSITIVITY_WORDS))

static const char *
ngx_http_mdvr_api_c511(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    size_t     i;
    json_t    *list;
    uint16_t   rows[9];

    list = json_object_get(params, "rows");

    if (json_array_size(list) != 9) {
        *why = "must have nine rows";
        return "rows";
    }

    for (i = 0; i < 9; i++) {
        rows[i] = json_integer_value(json_array_get(list, i));
    }

    mdvr_body_c511(body, ngx_http_mdvr_api_wire_channel(params), rows,
                   json_is_true(json_object_get(params, "enabled")),
                   ngx_http_mdvr_api_word(params, "sensitivity",
                                          SENSITIVITY_WORDS, 1));
    return NULL;
}

PARAMS(motion_get, "{\"channel\":1}", P_INT("channel", REQ, 1, 8))

static const char *
ngx_http_mdvr_api_c512(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_body_c512(body, ngx_http_mdvr_api_wire_channel(params));
    return NULL;
}


/* --- C517, C600 -------------------------------------------------------------------- */

PARAMS(params, "{\"type\":3,\"data_hex\":\"0a1b\"}",
    P_INT("type", REQ, 0, 2147483647.0),
    P_HEX("data_hex", 0, 2048))

static const char *
ngx_http_mdvr_api_c517(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_body_c517(body, ngx_http_mdvr_api_param(params, "type", 0),
                   ngx_http_mdvr_api_hex_param(job, params, "data_hex"));
    return NULL;
}

PARAMS(transparent, "{\"data_hex\":\"0a1b2c3d\"}",
    P_HEX("data_hex", REQ, 4096),
    { "number", MDVR_API_INT, 0, 1, 65535, NULL, NULL, "random when absent" })

static const char *
ngx_http_mdvr_api_c600(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_body_c600(body, ngx_http_mdvr_api_param(params, "number",
                                                 1 + ngx_random() % 65535),
                   ngx_http_mdvr_api_hex_param(job, params, "data_hex"));
    return NULL;
}


/* --- C521, C588, C589 ------------------------------------------------------------------ */

static const char *
ngx_http_mdvr_api_c521(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    if (ngx_http_mdvr_api_job_session(job, MDVR_BUS_KIND_CONFIG, 0,
                                      "\"direction\":\"pull\"")
        != MDVR_OK)
    {
        return SESSION_FAILED(why);
    }

    mdvr_body_c521(body, mdvr_cstr(job->session),
                   ngx_http_mdvr_api_job_endpoint());
    return NULL;
}

static const char *
ngx_http_mdvr_api_bare(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    return NULL;
}


/* --- C520, C706: files that go with the command ------------------------------------------ */

/*
 * The file is put under <state dir>/push/ for the media front, which sends it
 * when the device comes for it and removes it with the session.
 */

/* The bytes of the request itself; which field is wrong, or NULL. */

static const char *
ngx_http_mdvr_api_stage_bytes(ngx_http_mdvr_api_job_t *job, json_t *params,
    const u_char *path, mdvr_push_t *push, u_char *hex, const char **why)
{
    u_char      digest[MD5_DIGEST_LENGTH];
    ngx_fd_t    fd;
    ngx_str_t   src, dst;
    mdvr_str_t  text;

    text = ngx_http_mdvr_api_text_param(params, "content_base64");

    src.data = (u_char *) text.p;
    src.len = text.len;
    dst.data = ngx_pnalloc(job->pool, ngx_base64_decoded_length(text.len));

    if (dst.data == NULL || ngx_decode_base64(&dst, &src) != NGX_OK
        || dst.len == 0)
    {
        *why = "is not base64";
        return "content_base64";
    }

    MD5(dst.data, dst.len, digest);
    (void) ngx_hex_dump(hex, digest, sizeof(digest));
    push->size = dst.len;

    fd = ngx_open_file(path, NGX_FILE_WRONLY, NGX_FILE_CREATE_OR_OPEN, 0600);

    if (fd == NGX_INVALID_FILE
        || ngx_write_fd(fd, dst.data, dst.len) != (ssize_t) dst.len)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "mdvr: cannot stage \"%s\"", path);

        if (fd != NGX_INVALID_FILE) {
            (void) ngx_close_file(fd);
            (void) ngx_delete_file(path);
        }

        return SESSION_FAILED(why);
    }

    (void) ngx_close_file(fd);

    return NULL;
}


/* An upload that lies there already (ngx_http_mdvr_api_upload.c). */

static const char *
ngx_http_mdvr_api_stage_upload(json_t *params, const u_char *path,
    mdvr_push_t *push, u_char *hex, const char **why)
{
    const char  *from;

    from = json_string_value(json_object_get(params, "staged"));

    if (rename(from, (const char *) path) == -1) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "mdvr: cannot stage \"%s\"", path);
        return SESSION_FAILED(why);
    }

    push->size = ngx_http_mdvr_api_param(params, "size", 0);
    ngx_memcpy(hex, json_string_value(json_object_get(params, "md5")), 32);

    return NULL;
}


static const char *
ngx_http_mdvr_api_stage(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_bus_kind_e kind, mdvr_push_t *push, const char **why)
{
    u_char                *path;
    ngx_uint_t             i;
    const char            *wrong;
    u_char                 note[1024];
    static u_char          hex[33];
    ngx_mdvr_core_conf_t  *core;

    push->name = ngx_http_mdvr_api_text_param(params, "name");

    for (i = 0; i < push->name.len; i++) {
        if (push->name.p[i] == ',' || push->name.p[i] >= 0x7f) {
            *why = "must be ASCII without commas";
            return "name";
        }
    }

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    path = ngx_pnalloc(job->pool, core->state_dir.len + 128);
    if (path == NULL) {
        return SESSION_FAILED(why);
    }

    *ngx_sprintf(path, "%V/push", &core->state_dir) = '\0';
    (void) ngx_create_dir(path, 0700);

    *ngx_sprintf(path, "%V/push/%V", &core->state_dir, &job->id) = '\0';

    wrong = json_object_get(params, "staged")
            ? ngx_http_mdvr_api_stage_upload(params, path, push, hex, why)
            : ngx_http_mdvr_api_stage_bytes(job, params, path, push, hex, why);

    if (wrong) {
        return wrong;
    }

    *ngx_snprintf(note, sizeof(note) - 1,
                  "\"direction\":\"push\",\"file\":\"%s\",\"size\":%L,"
                  "\"md5\":\"%*s\",\"remove\":true", path,
                  (int64_t) push->size, (size_t) 32, hex)
        = '\0';

    if (ngx_http_mdvr_api_job_session(job, kind, 0, (char *) note) != MDVR_OK) {
        (void) ngx_delete_file(path);
        return SESSION_FAILED(why);
    }

    push->session_id = mdvr_cstr(job->session);
    push->md5 = mdvr_str(hex, 32);
    push->media = ngx_http_mdvr_api_job_endpoint();

    return NULL;
}

PARAMS(config_push, "{\"name\":\"fleet.cfg\",\"content_base64\":\"W25ldF0K\"}",
    P_WORD("name", REQ, 1, 100),
    { "content_base64", MDVR_API_BASE64, REQ, 4, 700000, NULL, NULL, NULL })

static const char *
ngx_http_mdvr_api_c520(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_push_t   push;
    const char   *wrong;

    wrong = ngx_http_mdvr_api_stage(job, params, MDVR_BUS_KIND_CONFIG, &push,
                                    why);
    if (wrong == NULL) {
        mdvr_body_c520(body, &push);
    }

    return wrong;
}

#define FILE_WORDS  "picture|stop_announcement|other"

PARAMS(file_push,
    "{\"name\":\"logo.jpg\",\"kind\":\"picture\","
    "\"content_base64\":\"/9j/4AAQ\"}",
    P_WORD("name", REQ, 1, 100),
    P_ENUM("kind", REQ, FILE_WORDS),
    P_STR("parameters", 0, 0, 200),
    { "content_base64", MDVR_API_BASE64, REQ, 4, 700000, NULL, NULL, NULL })

static const char *
ngx_http_mdvr_api_c706(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_push_t   push;
    const char   *wrong;

    wrong = ngx_http_mdvr_api_stage(job, params, MDVR_BUS_KIND_PUSH, &push,
                                    why);
    if (wrong == NULL) {
        mdvr_body_c706(body, &push,
                       1 + ngx_http_mdvr_api_word(params, "kind", FILE_WORDS,
                                                  2),
                       ngx_http_mdvr_api_text_param(params, "parameters"));
    }

    return wrong;
}


/* --- C551 --------------------------------------------------------------------------------- */

#define SWITCH_WORDS  "stop|start"
#define SOURCE_WORDS  "camera|intercom"

PARAMS(listen, "{\"action\":\"start\",\"source\":\"camera\",\"channel\":1}",
    P_ENUM("action", REQ, SWITCH_WORDS),
    P_ENUM("source", 0, SOURCE_WORDS),
    P_INT("channel", 0, 1, 16))

static const char *
ngx_http_mdvr_api_c551(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    int              start, camera;
    mdvr_bus_t      *bus;
    mdvr_bus_ref_t   ref;
    mdvr_bus_info_t  info;
    mdvr_endpoint_t  media;
    ngx_mdvr_uuid_t  device;

    start = ngx_http_mdvr_api_word(params, "action", SWITCH_WORDS, 0);
    camera = ngx_http_mdvr_api_word(params, "source", SOURCE_WORDS, 0) == 0;

    if (camera && json_object_get(params, "channel") == NULL) {
        *why = "is required for a camera's microphone";
        return "channel";
    }

    memset(&media, 0, sizeof(media));

    if (start) {
        if (ngx_http_mdvr_api_job_session(job, MDVR_BUS_KIND_TALK,
                         ngx_http_mdvr_api_param(params, "channel", 0),
                         "\"listen\":true")
            != MDVR_OK)
        {
            return SESSION_FAILED(why);
        }

        media = ngx_http_mdvr_api_job_endpoint();

    } else {
        bus = ngx_mdvr_bus();
        (void) ngx_mdvr_uuid_parse(&job->device, &device);

        if (bus && mdvr_bus_find_key(bus, MDVR_BUS_KIND_TALK, device.b,
                         ngx_http_mdvr_api_param(params, "channel", 0), 0, &ref)
                   == MDVR_OK
            && mdvr_bus_info(bus, ref, &info) == MDVR_OK)
        {
            ngx_memcpy(job->session, info.session, sizeof(job->session));
            (void) ngx_mdvr_bus_end(ref, MDVR_BUS_END_STOPPED, ngx_cycle->log);
        }
    }

    mdvr_body_c551(body, mdvr_cstr(job->session), start,
                   camera ? ngx_http_mdvr_api_wire_channel(params) : -1,
                   camera ? 1 : 2, media);
    return NULL;
}


/* --- C701, C702, C704 ------------------------------------------------------------------------ */

#define SEARCH_WORDS                                                          \
    "|normal_video|alarm_video|video|normal_picture|alarm_picture|picture|log"

PARAMS(search,
    "{\"from\":\"2021-03-05T00:00:00Z\",\"to\":\"2021-03-05T23:59:59Z\","
    "\"type\":\"video\",\"channel\":1}",
    P_TIME("from", REQ),
    P_TIME("to", REQ),
    P_ENUM("type", 0, "normal_video|alarm_video|video|normal_picture|"
           "alarm_picture|picture|log"),
    { "channel", MDVR_API_INT, 0, 1, 16, NULL, NULL, "all when absent" })

static const char *
ngx_http_mdvr_api_c701(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    int  channel;

    if (ngx_http_mdvr_api_job_session(job, MDVR_BUS_KIND_SEARCH, 0, NULL)
        != MDVR_OK)
    {
        return SESSION_FAILED(why);
    }

    channel = json_object_get(params, "channel")
              ? ngx_http_mdvr_api_wire_channel(params) : 98;

    if (mdvr_body_c701(body, mdvr_cstr(job->session),
                       ngx_http_mdvr_api_time_param(params, "from"),
                       ngx_http_mdvr_api_time_param(params, "to"),
                       job->offset_minutes,
                       ngx_http_mdvr_api_word(params, "type", SEARCH_WORDS, 3),
                       channel, ngx_http_mdvr_api_job_endpoint())
        != MDVR_OK)
    {
        *why = "must be on the same day as from, by the device's clock";
        return "to";
    }

    return NULL;
}

PARAMS(download,
    "{\"path\":\"/mnt/sd0/2021-03-05/ch02-081502-081530.h264\"}",
    P_STR("path", REQ, 1, 1024),
    P_INT("from_byte", 0, 0, 4294967295.0),
    P_INT("to_byte", 0, 0, 4294967295.0),
    P_INT("from_s", 0, 0, 4294967295.0),
    P_INT("to_s", 0, 0, 4294967295.0))

static const char *
ngx_http_mdvr_api_c702(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    int       flag;
    uint32_t  from, to;

    flag = json_object_get(params, "from_byte")
           || json_object_get(params, "to_byte") ? 1
           : json_object_get(params, "from_s")
             || json_object_get(params, "to_s") ? 2 : 0;

    from = ngx_http_mdvr_api_param(params, flag == 2 ? "from_s" : "from_byte",
                                   0);
    to = ngx_http_mdvr_api_param(params, flag == 2 ? "to_s" : "to_byte", 0);

    if (to && to <= from) {
        *why = "must lie behind the beginning";
        return flag == 2 ? "to_s" : "to_byte";
    }

    if (ngx_http_mdvr_api_job_session(job, MDVR_BUS_KIND_FILE, 0, NULL)
        != MDVR_OK)
    {
        return SESSION_FAILED(why);
    }

    mdvr_body_c702(body, mdvr_cstr(job->session), flag, from, to,
                   ngx_http_mdvr_api_job_endpoint(),
                   ngx_http_mdvr_api_text_param(params, "path"));
    return NULL;
}

#define LEVEL_WORDS  "system|operation|alarm|all"

PARAMS(log_query,
    "{\"from\":\"2021-03-05T00:00:00Z\",\"to\":\"2021-03-05T23:59:59Z\"}",
    P_TIME("from", REQ),
    P_TIME("to", REQ),
    P_ENUM("level", 0, LEVEL_WORDS))

static const char *
ngx_http_mdvr_api_c704(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    if (ngx_http_mdvr_api_job_session(job, MDVR_BUS_KIND_TRANSPARENT, 0, NULL)
        != MDVR_OK)
    {
        return SESSION_FAILED(why);
    }

    mdvr_body_c704(body, mdvr_cstr(job->session),
                   ngx_http_mdvr_api_job_endpoint(),
                   ngx_http_mdvr_api_time_param(params, "from"),
                   ngx_http_mdvr_api_time_param(params, "to"),
                   job->offset_minutes,
                   ngx_http_mdvr_api_word(params, "level", LEVEL_WORDS, 3));
    return NULL;
}


/* --- C722, C723, C1111, C7212 ------------------------------------------------------------------- */

PARAMS(picture,
    "{\"channel\":1,\"exposure\":128,\"brightness\":140,\"contrast\":0,"
    "\"hue\":-4,\"saturation\":130}",
    CHANNEL,
    P_INT("exposure", REQ, 0, 255),
    P_INT("brightness", REQ, 0, 255),
    P_INT("contrast", REQ, -127, 127),
    P_INT("hue", REQ, -127, 127),
    P_INT("saturation", REQ, 0, 255))

static const char *
ngx_http_mdvr_api_c722(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_body_c722(body, ngx_http_mdvr_api_wire_channel(params),
                   (int) ngx_http_mdvr_api_param(params, "exposure", 0),
                   (int) ngx_http_mdvr_api_param(params, "brightness", 0),
                   (int) ngx_http_mdvr_api_param(params, "contrast", 0),
                   (int) ngx_http_mdvr_api_param(params, "hue", 0),
                   (int) ngx_http_mdvr_api_param(params, "saturation", 0));
    return NULL;
}

static const char *
ngx_http_mdvr_api_c723(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_body_c723(body, ngx_http_mdvr_api_wire_channel(params));
    return NULL;
}

#define PTZ_WORDS                                                             \
    "left|right|up|down|left_up|right_up|left_down|right_down|zoom_out|"      \
    "zoom_in|iris_close|iris_open|focus_near|focus_far|light_on|light_off|"   \
    "wiper_on|wiper_off|goto_preset|set_preset|delete_preset"

PARAMS(ptz, "{\"channel\":1,\"action\":\"left\",\"speed\":60}",
    CHANNEL,
    P_ENUM("action", REQ, PTZ_WORDS),
    P_INT("speed", 0, 0, 255),
    P_INT("preset", 0, 0, 255))

static const char *
ngx_http_mdvr_api_c1111(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    int  action;

    action = 1 + ngx_http_mdvr_api_word(params, "action", PTZ_WORDS, 0);

    if (action > 18) {
        action += 3;                        /* presets are 22, 23, 24 */

        if (json_object_get(params, "preset") == NULL) {
            *why = "is required for this action";
            return "preset";
        }
    }

    mdvr_body_c1111(body, ngx_http_mdvr_api_wire_channel(params), action,
                    action <= 16
                    ? (int) ngx_http_mdvr_api_param(params, "speed", 64) : -1,
                    action >= 22
                    ? (int) ngx_http_mdvr_api_param(params, "preset", 0) : -1);
    return NULL;
}

#define TRANSPORT_WORDS  "tcp|udp"

PARAMS(alarm_server, "{\"host\":\"203.0.113.10\",\"port\":1087}",
    { "host", MDVR_API_HOST, REQ, 1, 253, NULL, NULL, NULL },
    P_INT("port", REQ, 1, 65535),
    P_ENUM("transport", 0, TRANSPORT_WORDS))

static const char *
ngx_http_mdvr_api_c7212(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    mdvr_body_c7212(body, ngx_http_mdvr_api_text_param(params, "host"),
                    ngx_http_mdvr_api_param(params, "port", 0),
                    ngx_http_mdvr_api_word(params, "transport",
                                           TRANSPORT_WORDS, 0));
    return NULL;
}


/* --- C152 ------------------------------------------------------------------------------------- */

PARAMS(upgrade, "{\"firmware_id\":\"0190b6c2-0000-7000-8000-00000000000a\"}",
    P_UUID("firmware_id", REQ))

/* looked up before: the members below were put in by the server */

static const char *
ngx_http_mdvr_api_c152(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    u_char                         note[1024], path[1024];
    ngx_str_t                      id;
    const char                    *file;
    mdvr_push_t                    push;
    ngx_http_mdvr_api_loc_conf_t  *conf = ngx_http_mdvr_api_conf(job->ctx);

    if (json_object_get(params, "name") == NULL) {
        *why = "does not exist";
        return "firmware_id";
    }

    id.data = (u_char *) json_string_value(json_object_get(params,
                                                           "firmware_id"));
    id.len = ngx_strlen(id.data);

    if (conf->s3) {
        file = ngx_http_mdvr_api_firmware_path(job->pool, &id, ".bin");

    } else {
        *ngx_snprintf(path, sizeof(path) - 1, "%V/%s", &conf->objects,
                      json_string_value(json_object_get(params,
                                                        "object_key")))
            = '\0';
        file = (char *) path;
    }

    if (file == NULL) {
        return SESSION_FAILED(why);
    }

    *ngx_snprintf(note, sizeof(note) - 1,
                  "\"direction\":\"push\",\"firmware_id\":\"%V\","
                  "\"file\":\"%s\",\"size\":%L,\"md5\":\"%s\"",
                  &id, file,
                  ngx_http_mdvr_api_param(params, "size_bytes", 0),
                  json_string_value(json_object_get(params, "md5")))
        = '\0';

    if (ngx_http_mdvr_api_job_session(job, MDVR_BUS_KIND_UPGRADE, 0,
                                      (char *) note)
        != MDVR_OK)
    {
        return SESSION_FAILED(why);
    }

    push.session_id = mdvr_cstr(job->session);
    push.size = ngx_http_mdvr_api_param(params, "size_bytes", 0);
    push.md5 = ngx_http_mdvr_api_text_param(params, "md5");
    push.media = ngx_http_mdvr_api_job_endpoint();
    push.name = ngx_http_mdvr_api_text_param(params, "name");

    mdvr_body_c152(body, &push,
                   ngx_http_mdvr_api_text_param(params, "device_type"),
                   ngx_http_mdvr_api_text_param(params, "version"));
    return NULL;
}


/* --- any keyword ---------------------------------------------------------------------------------- */

PARAMS(raw, "{\"keyword\":\"C588\",\"body\":\"\"}",
    P_WORD("keyword", REQ, 3, 6),
    { "body", MDVR_API_TEXT, 0, 0, 8000, NULL, NULL,
      "tokens after the header" },
    P_HEX("body_hex", 0, 16000))

static const char *
ngx_http_mdvr_api_raw(ngx_http_mdvr_api_job_t *job, json_t *params,
    mdvr_buf_t *body, const char **why)
{
    size_t      i;
    mdvr_str_t  keyword;

    keyword = ngx_http_mdvr_api_text_param(params, "keyword");

    for (i = 1; i < keyword.len; i++) {
        if (keyword.p[i] < '0' || keyword.p[i] > '9') {
            break;
        }
    }

    if (keyword.p[0] != 'C' || i < keyword.len) {
        *why = "must be C and digits";
        return "keyword";
    }

    mdvr_buf_str(body, json_object_get(params, "body_hex")
                       ? ngx_http_mdvr_api_hex_param(job, params, "body_hex")
                       : ngx_http_mdvr_api_text_param(params, "body"));
    return NULL;
}


const ngx_http_mdvr_api_kind_t  ngx_http_mdvr_api_kinds[] = {
    { "control",           "C150",  API_COMMAND_CONFIRM, &api_p_control,
      ngx_http_mdvr_api_c150,  "fuel, power, reboot, factory settings" },
    { "text_message",      "C151",  0, &api_p_text,
      ngx_http_mdvr_api_c151,  "a message for the driver" },
    { "upgrade",           "C152",
      API_COMMAND_FIRMWARE|API_COMMAND_MEDIA, &api_p_upgrade,
      ngx_http_mdvr_api_c152,  "firmware of the tenant" },
    { "position_interval", "C505",  0, &api_p_interval,
      ngx_http_mdvr_api_c505,  "how often positions are reported" },
    { "snapshot",          "C510",  API_COMMAND_MEDIA, &api_p_channel,
      ngx_http_mdvr_api_c510,  "a picture, as a media item" },
    { "motion_set",        "C511",  0, &api_p_motion,
      ngx_http_mdvr_api_c511,  "motion detection of a channel" },
    { "motion_get",        "C512",  0, &api_p_motion_get,
      ngx_http_mdvr_api_c512,  "motion detection of a channel" },
    { "params",            "C517",  0, &api_p_params,
      ngx_http_mdvr_api_c517,  "transparent parameters" },
    { "config_push",       "C520",  API_COMMAND_MEDIA, &api_p_config_push,
      ngx_http_mdvr_api_c520,  "a configuration file to the device" },
    { "config_pull",       "C521",  API_COMMAND_MEDIA, &api_p_none,
      ngx_http_mdvr_api_c521,  "the device's configuration file" },
    { "listen",            "C551",  API_COMMAND_MEDIA, &api_p_listen,
      ngx_http_mdvr_api_c551,  "sound from the vehicle" },
    { "device_info",       "C588",  0, &api_p_none,
      ngx_http_mdvr_api_bare,  "what the device says of itself" },
    { "factory_reset",     "C589",  0, &api_p_none,
      ngx_http_mdvr_api_bare,  "factory settings" },
    { "transparent",       "C600",  0, &api_p_transparent,
      ngx_http_mdvr_api_c600,  "bytes for a serial port" },
    { "search",            "C701",  API_COMMAND_MEDIA, &api_p_search,
      ngx_http_mdvr_api_c701,  "recordings of a day" },
    { "download",          "C702",  API_COMMAND_MEDIA, &api_p_download,
      ngx_http_mdvr_api_c702,  "a file of the device" },
    { "log_query",         "C704",  API_COMMAND_MEDIA, &api_p_log_query,
      ngx_http_mdvr_api_c704,  "the device's log" },
    { "file_push",         "C706",  API_COMMAND_MEDIA, &api_p_file_push,
      ngx_http_mdvr_api_c706,  "a file to the device" },
    { "picture_set",       "C722",  0, &api_p_picture,
      ngx_http_mdvr_api_c722,  "picture settings of a channel" },
    { "picture_get",       "C723",  0, &api_p_channel,
      ngx_http_mdvr_api_c723,  "picture settings of a channel" },
    { "ptz",               "C1111", 0, &api_p_ptz,
      ngx_http_mdvr_api_c1111, "pan, tilt, zoom; not answered" },
    { "alarm_server",      "C7212", 0, &api_p_alarm_server,
      ngx_http_mdvr_api_c7212, "where alarms are sent" },
    { "raw",               "C",     API_COMMAND_SUPER, &api_p_raw,
      ngx_http_mdvr_api_raw,   "any keyword; super_admin only" },
    { NULL, NULL, 0, NULL, NULL, NULL }
};


json_t *
ngx_http_mdvr_api_command_examples(void)
{
    json_t                          *all, *value;
    const ngx_http_mdvr_api_kind_t  *kind;

    all = json_object();

    for (kind = ngx_http_mdvr_api_kinds; kind->type; kind++) {
        value = json_pack("{s:s, s:o}", "type", kind->type, "params",
                          json_loads(kind->params->example, 0, NULL));

        if (kind->flags & API_COMMAND_CONFIRM) {
            json_object_set_new(value, "confirm", json_string("B-LB 7"));
        }

        json_object_set_new(all, kind->type,
            json_pack("{s:s, s:o}", "summary", kind->doc, "value", value));
    }

    return all;
}
