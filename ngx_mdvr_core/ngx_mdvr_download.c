/*
 * Downloads from devices, see ngx_mdvr_download.h.
 *
 * One download at a time per device (the database sees to it), and at most
 * NGX_MDVR_DOWNLOAD_MOST on this node.  Evidence of alarms waits while
 * somebody watches the device live: devices end one for the other.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_mdvr_core/ngx_mdvr_download.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"
#include "mdvr/dc/write.h"

#include <jansson.h>
#include <sys/stat.h>


#define NGX_MDVR_DOWNLOAD_MOST   32
#define NGX_MDVR_DOWNLOAD_EVERY  2          /* polls, of a second each */
#define NGX_MDVR_DOWNLOAD_WAIT   60000      /* ms for the media connection */
#define NGX_MDVR_DOWNLOAD_ANSWER 20000


typedef struct {
    mdvr_bus_ref_t    ref;
    u_char            device[NGX_MDVR_UUID_LEN];
    u_char            serial[24];
    size_t            serial_len;
} ngx_mdvr_download_t;


static void ngx_mdvr_download_due(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_download_start(const ngx_str_t *device,
    const ngx_str_t *tenant, const ngx_str_t *serial);
static void ngx_mdvr_download_claimed(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static ngx_int_t ngx_mdvr_download_command(ngx_mdvr_download_t *d,
    json_t *note);
static void ngx_mdvr_download_answered(void *data,
    const ngx_mdvr_answer_t *answer, mdvr_rc_t rc);
static void ngx_mdvr_download_put_back(mdvr_bus_ref_t ref, const char *status,
    int64_t safe, const char *reason);
static void ngx_mdvr_download_update(const ngx_str_t *id, const char *status,
    int64_t received, int64_t size, const ngx_str_t *path,
    const char *reason);


static ngx_uint_t  ngx_mdvr_download_polls;
static ngx_uint_t  ngx_mdvr_download_asking;


void
ngx_mdvr_download_hurry(void)
{
    ngx_mdvr_download_polls = 0;
}


/* --- what is due --------------------------------------------------------- */

/* Sessions of a kind on this node, of one device or of all. */

static ngx_uint_t
ngx_mdvr_download_running(mdvr_bus_kind_e kind, const u_char *device)
{
    uint32_t          i;
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    ngx_uint_t        n;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;

    n = 0;

    for (i = 0; i < mdvr_bus_streams(bus); i++) {
        if (mdvr_bus_at(bus, i, &ref) == MDVR_OK
            && mdvr_bus_info(bus, ref, &info) == MDVR_OK
            && info.kind == kind && info.state != MDVR_BUS_ENDING
            && (device == NULL
                || (ngx_memcmp(info.device_id, device, 16) == 0
                    && (info.viewers || kind == MDVR_BUS_KIND_PLAYBACK))))
        {
            n++;
        }
    }

    return n;
}


void
ngx_mdvr_download_poll(ngx_mdvr_core_conf_t *conf, ngx_log_t *log)
{
    u_char               limit[NGX_INT_T_LEN];
    ngx_uint_t           n;
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[2];

    static const char    sql[] =
        "select device_id, tenant_id, serial, origin"
        " from mdvr.downloads_due($1, $2::int)";

    if (ngx_mdvr_download_polls++ % NGX_MDVR_DOWNLOAD_EVERY
        || ngx_mdvr_download_asking
        || conf->pg[NGX_MDVR_PG_STREAM].conninfo.len == 0
        || !ngx_mdvr_pg_up(NGX_MDVR_PG_STREAM))
    {
        return;
    }

    n = ngx_mdvr_download_running(MDVR_BUS_KIND_FILE, NULL);

    if (n >= NGX_MDVR_DOWNLOAD_MOST) {
        return;
    }

    params[0] = ngx_mdvr_pg_text(&conf->node);
    params[1].data = limit;
    params[1].len = ngx_sprintf(limit, "%ui", NGX_MDVR_DOWNLOAD_MOST - n)
                    - limit;
    params[1].binary = 0;

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = sql;
    call.params = params;
    call.nparams = 2;

    if (ngx_mdvr_pg_query(NULL, &call, 5000, ngx_mdvr_download_due, NULL)
        == NGX_OK)
    {
        ngx_mdvr_download_asking = 1;
    }
}


static void
ngx_mdvr_download_due(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_str_t        device, tenant, serial, origin;
    ngx_uint_t       i;
    ngx_mdvr_uuid_t  id;

    ngx_mdvr_download_asking = 0;

    if (rc != MDVR_OK || ngx_mdvr_bus() == NULL) {
        return;
    }

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {
        device = ngx_mdvr_pg_value(rows, i, 0);
        tenant = ngx_mdvr_pg_value(rows, i, 1);
        serial = ngx_mdvr_pg_value(rows, i, 2);
        origin = ngx_mdvr_pg_value(rows, i, 3);

        if (ngx_mdvr_uuid_parse(&device, &id) != NGX_OK) {
            continue;
        }

        if (ngx_mdvr_download_running(MDVR_BUS_KIND_PLAYBACK, id.b)) {
            continue;                           /* it would end that */
        }

        if (origin.len == 5 && ngx_strncmp(origin.data, "alarm", 5) == 0
            && ngx_mdvr_download_running(MDVR_BUS_KIND_LIVE, id.b))
        {
            continue;                           /* somebody watches */
        }

        ngx_mdvr_download_start(&device, &tenant, &serial);
    }
}


/* --- one download ------------------------------------------------------------ */

/*
 * The session first, because its wire id goes into the row that is claimed;
 * when there is nothing to claim after all it is given back.
 */

static void
ngx_mdvr_download_start(const ngx_str_t *device, const ngx_str_t *tenant,
    const ngx_str_t *serial)
{
    bool                   created;
    char                   name[24];
    ngx_str_t              session;
    mdvr_bus_t            *bus = ngx_mdvr_bus();
    ngx_mdvr_uuid_t        id;
    mdvr_bus_info_t        info;
    mdvr_bus_start_t       req;
    ngx_mdvr_pg_call_t     call;
    ngx_mdvr_pg_param_t    params[3];
    ngx_mdvr_download_t   *d;
    ngx_mdvr_core_conf_t  *conf;

    static const char      sql[] =
        "select mdvr.download_claim($1::uuid, $2, $3)";

    if (serial->len == 0 || serial->len >= sizeof(name)) {
        return;
    }

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    d = ngx_calloc(sizeof(ngx_mdvr_download_t), ngx_cycle->log);
    if (d == NULL) {
        return;
    }

    ngx_memcpy(d->device, device->data, NGX_MDVR_UUID_LEN);
    ngx_memcpy(d->serial, serial->data, serial->len);
    d->serial_len = serial->len;

    ngx_memzero(&req, sizeof(mdvr_bus_start_t));
    *ngx_cpymem(name, serial->data, serial->len) = '\0';
    req.kind = MDVR_BUS_KIND_FILE;
    req.serial = name;
    req.deadline_ms = mdvr_bus_clock_ms() + NGX_MDVR_DOWNLOAD_WAIT;

    (void) ngx_mdvr_uuid_parse(device, &id);
    ngx_memcpy(req.device_id, id.b, 16);

    if (ngx_mdvr_uuid_parse(tenant, &id) == NGX_OK) {
        ngx_memcpy(req.tenant_id, id.b, 16);
    }

    if (mdvr_bus_start(bus, &req, mdvr_bus_clock_ms(), &d->ref, &created)
        != MDVR_OK
        || mdvr_bus_info(bus, d->ref, &info) != MDVR_OK)
    {
        ngx_free(d);
        return;
    }

    session.data = (u_char *) info.session;
    session.len = ngx_strlen(info.session);

    params[0] = ngx_mdvr_pg_text(device);
    params[1] = ngx_mdvr_pg_text(&conf->node);
    params[2] = ngx_mdvr_pg_text(&session);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = sql;
    call.params = params;
    call.nparams = 3;

    if (ngx_mdvr_pg_query(NULL, &call, 5000, ngx_mdvr_download_claimed, d)
        != NGX_OK)
    {
        (void) mdvr_bus_end(bus, d->ref, MDVR_BUS_END_FAILED);
        ngx_free(d);
    }
}


/* Bytes staged here by an earlier attempt. */

static int64_t
ngx_mdvr_download_staged(const char *id)
{
    u_char                 path[NGX_MAX_PATH];
    struct stat            st;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    (void) ngx_snprintf(path, sizeof(path), "%V/staged/%s.part%Z",
                        &conf->state_dir, id);

    return stat((char *) path, &st) == 0 ? (int64_t) st.st_size : 0;
}


/* What belongs to an alarm continues its trace. */

static void
ngx_mdvr_download_trace(json_t *note)
{
    u_char       buf[MDVR_TRACEPARENT_LEN];
    ngx_str_t    id, s;
    const char  *alarm;

    alarm = json_string_value(json_object_get(note, "alarm_id"));

    if (alarm == NULL
        || json_string_value(json_object_get(note, "traceparent")))
    {
        return;
    }

    id.data = (u_char *) alarm;
    id.len = ngx_strlen(alarm);
    s = ngx_mdvr_trace_of_alarm(&id, buf);

    if (s.len) {
        json_object_set_new(note, "traceparent",
                            json_stringn((char *) s.data, s.len));
    }
}


static void
ngx_mdvr_download_claimed(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    char                 *text;
    json_t               *note;
    ngx_str_t             doc;
    mdvr_bus_t           *bus = ngx_mdvr_bus();
    ngx_mdvr_download_t  *d = data;

    note = NULL;

    if (rc == MDVR_OK && ngx_mdvr_pg_nrows(rows)) {
        doc = ngx_mdvr_pg_value(rows, 0, 0);
        note = json_loadb((char *) doc.data, doc.len, 0, NULL);
    }

    if (note == NULL || bus == NULL) {
        if (bus) {
            (void) mdvr_bus_end(bus, d->ref, MDVR_BUS_END_FAILED);
        }

        json_decref(note);
        ngx_free(d);
        return;
    }

    ngx_mdvr_download_trace(note);

    if (ngx_mdvr_download_command(d, note) != NGX_OK) {
        text = json_dumps(note, JSON_COMPACT);

        if (text) {
            (void) mdvr_bus_set_note(bus, d->ref, text);
            free(text);
        }

        ngx_mdvr_download_interrupted(d->ref, -1, "could not be sent");
        ngx_free(d);
    }

    json_decref(note);
}


static uint32_t
ngx_mdvr_download_number(json_t *note, const char *name)
{
    json_int_t  n;

    n = json_integer_value(json_object_get(note, name));

    return n > 0 && n <= 0xffffffff ? (uint32_t) n : 0;
}


/*
 * C702: flag 2 for a range of seconds, which cannot be resumed; 1 when it
 * begins or ends within the file; 3 for the whole file of an alarm, else 0.
 * "from" and "base" in the note: where this transfer begins, and which byte
 * of the device's file is the first of ours.
 */

static ngx_int_t
ngx_mdvr_download_command(ngx_mdvr_download_t *d, json_t *note)
{
    int                    flag;
    char                  *text;
    u_char                 buf[2048];
    int64_t                staged;
    uint32_t               from, to, base;
    mdvr_rc_t              rc;
    mdvr_buf_t             body;
    const char            *id, *path, *origin, *trace;
    mdvr_bus_info_t        info;
    mdvr_endpoint_t        media;
    ngx_mdvr_command_t     command;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    id = json_string_value(json_object_get(note, "download_id"));
    path = json_string_value(json_object_get(note, "path"));
    origin = json_string_value(json_object_get(note, "origin"));

    if (id == NULL || path == NULL || origin == NULL
        || ngx_strlen(id) != NGX_MDVR_UUID_LEN
        || mdvr_bus_info(ngx_mdvr_bus(), d->ref, &info) != MDVR_OK)
    {
        return NGX_ERROR;
    }

    base = ngx_mdvr_download_number(note, "from_byte");
    to = ngx_mdvr_download_number(note, "to_byte");
    staged = ngx_mdvr_download_staged(id);
    from = base + (uint32_t) staged;

    if (json_object_get(note, "from_s") || json_object_get(note, "to_s")) {
        flag = 2;
        from = ngx_mdvr_download_number(note, "from_s");
        to = ngx_mdvr_download_number(note, "to_s");
        json_object_set_new(note, "from", json_integer(-1));

    } else {
        flag = from || to ? 1 : ngx_strcmp(origin, "alarm") == 0 ? 3 : 0;
        json_object_set_new(note, "from", json_integer(from));
        json_object_set_new(note, "base", json_integer(base));
    }

    text = json_dumps(note, JSON_COMPACT);
    if (text == NULL) {
        return NGX_ERROR;
    }

    rc = mdvr_bus_set_note(ngx_mdvr_bus(), d->ref, text);
    free(text);

    if (rc != MDVR_OK) {
        return NGX_ERROR;
    }

    media.address = mdvr_str(conf->public_host.data, conf->public_host.len);
    media.port = (unsigned) conf->media_port;

    body = mdvr_buf(buf, sizeof(buf));
    mdvr_body_c702(&body, mdvr_cstr(info.session), flag, from, to, media,
                   mdvr_cstr(path));

    if (body.full) {
        return NGX_ERROR;
    }

    ngx_memzero(&command, sizeof(ngx_mdvr_command_t));
    command.serial.data = d->serial;
    command.serial.len = d->serial_len;
    ngx_str_set(&command.keyword, "C702");
    command.body.data = buf;
    command.body.len = body.len;
    command.timeout = NGX_MDVR_DOWNLOAD_ANSWER;

    trace = json_string_value(json_object_get(note, "traceparent"));

    if (trace) {
        command.traceparent.data = (u_char *) trace;
        command.traceparent.len = ngx_strlen(trace);
    }

    if (body.len && buf[0] == ',') {
        command.body.data++;
        command.body.len--;
    }

    return ngx_mdvr_command_send(NULL, &command, ngx_mdvr_download_answered, d);
}


static void
ngx_mdvr_download_answered(void *data, const ngx_mdvr_answer_t *answer,
    mdvr_rc_t rc)
{
    char                  why[256];
    mdvr_bus_t           *bus = ngx_mdvr_bus();
    mdvr_bus_info_t       info;
    ngx_mdvr_download_t  *d = data;

    if (answer && answer->status == NGX_MDVR_ANSWER_SENT) {
        return;
    }

    if (answer && answer->status == NGX_MDVR_ANSWER_ACKNOWLEDGED) {
        (void) mdvr_bus_deadline(bus, d->ref, mdvr_bus_clock_ms()
                                              + NGX_MDVR_DOWNLOAD_ANSWER);

    } else if (mdvr_bus_info(bus, d->ref, &info) == MDVR_OK
               && info.state == MDVR_BUS_STARTING && !info.connected)
    {
        if (answer == NULL) {
            ngx_mdvr_download_interrupted(d->ref, -1, "redis is away");

        } else if (answer->status == NGX_MDVR_ANSWER_OFFLINE) {
            ngx_mdvr_download_interrupted(d->ref, -1, "device offline");

        } else if (answer->status == NGX_MDVR_ANSWER_TIMEOUT) {
            ngx_mdvr_download_interrupted(d->ref, -1,
                                          "the device did not answer");
        } else {
            (void) ngx_snprintf((u_char *) why, sizeof(why),
                                "the device refused: %V%s%V%Z",
                                &answer->error,
                                answer->error.len && answer->reason.len
                                ? ", " : "", &answer->reason);
            why[sizeof(why) - 1] = '\0';
            ngx_mdvr_download_interrupted(d->ref, -1, why);
        }
    }

    ngx_free(d);
}


/* --- what became of it ---------------------------------------------------------- */

void
ngx_mdvr_download_interrupted(mdvr_bus_ref_t ref, int64_t safe,
    const char *reason)
{
    ngx_mdvr_download_put_back(ref, "queued", safe, reason);
}


void
ngx_mdvr_download_held(mdvr_bus_ref_t ref, int64_t safe, const char *reason)
{
    ngx_mdvr_download_put_back(ref, "held", safe, reason);
}


static void
ngx_mdvr_download_put_back(mdvr_bus_ref_t ref, const char *status,
    int64_t safe, const char *reason)
{
    char              text[MDVR_BUS_NOTE_MAX];
    json_t           *note;
    ngx_str_t         id;
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    mdvr_bus_info_t   info;

    if (bus == NULL || mdvr_bus_info(bus, ref, &info) != MDVR_OK
        || info.kind != MDVR_BUS_KIND_FILE
        || mdvr_bus_note(bus, ref, text, sizeof(text)) != MDVR_OK)
    {
        return;
    }

    (void) mdvr_bus_end(bus, ref, MDVR_BUS_END_FAILED);

    note = json_loads(text, 0, NULL);
    id.data = (u_char *) json_string_value(json_object_get(note,
                                                           "download_id"));

    if (id.data) {
        id.len = ngx_strlen(id.data);

        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "download %V was interrupted: %s, device: %s, staged: %L",
                      &id, reason, info.serial, safe);

        if (safe < 0) {
            safe = ngx_mdvr_download_staged((char *) id.data);
        }

        ngx_mdvr_download_update(&id, status, safe, -1, NULL, reason);
    }

    json_decref(note);
}


void
ngx_mdvr_download_progress(const ngx_str_t *id, uint64_t safe, uint64_t size)
{
    ngx_mdvr_download_update(id, "running", (int64_t) safe,
                             size ? (int64_t) size : -1, NULL, NULL);
}


void
ngx_mdvr_download_complete(const ngx_str_t *id, uint64_t safe,
    const ngx_str_t *path)
{
    ngx_mdvr_download_update(id, "complete", (int64_t) safe, (int64_t) safe,
                             path, NULL);
    ngx_mdvr_download_hurry();
}


static void
ngx_mdvr_download_update(const ngx_str_t *id, const char *status,
    int64_t received, int64_t size, const ngx_str_t *path,
    const char *reason)
{
    u_char               n1[NGX_INT64_LEN], n2[NGX_INT64_LEN];
    ngx_mdvr_pg_call_t   call;
    ngx_mdvr_pg_param_t  params[6];

    static const char    sql[] =
        "select mdvr.download_update($1::uuid, $2, $3::bigint, $4::bigint,"
        " $5, $6)";

    params[0] = ngx_mdvr_pg_text(id);
    params[1] = (ngx_mdvr_pg_param_t) { status, ngx_strlen(status), 0 };
    params[2] = (ngx_mdvr_pg_param_t) { n1, ngx_sprintf(n1, "%L", received)
                                            - n1, 0 };
    params[3] = ngx_mdvr_pg_null();
    params[4] = ngx_mdvr_pg_null();
    params[5] = ngx_mdvr_pg_null();

    if (size >= 0) {
        params[3] = (ngx_mdvr_pg_param_t) { n2, ngx_sprintf(n2, "%L", size)
                                                - n2, 0 };
    }

    if (path) {
        params[4] = ngx_mdvr_pg_text(path);
    }

    if (reason) {
        params[5] = (ngx_mdvr_pg_param_t) { reason, ngx_strlen(reason), 0 };
    }

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = sql;
    call.params = params;
    call.nparams = 6;
    call.retry = 1;

    /* lost while PostgreSQL is away: the row waits again after 2 minutes, and
       a complete file has its .job beside it */

    (void) ngx_mdvr_pg_query(NULL, &call, 30000, NULL, NULL);
}
