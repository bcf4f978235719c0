
/*
 * Commands to devices over REST: what each type takes (a table), how it becomes
 * the body of a C message, and the way of one command from the request to the
 * device's answer.
 */


#ifndef _NGX_HTTP_MDVR_API_COMMAND_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_COMMAND_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "mdvr/dc/write.h"


typedef struct ngx_http_mdvr_api_job_s   ngx_http_mdvr_api_job_t;
typedef struct ngx_http_mdvr_api_kind_s  ngx_http_mdvr_api_kind_t;
typedef struct ngx_http_mdvr_api_update_s  ngx_http_mdvr_api_update_t;

/*
 * Appends the body of the command.  NULL: done.  Otherwise the parameter that is
 * not acceptable; *why is a sentence then.
 */
typedef const char *(*ngx_http_mdvr_api_encode_pt)(
    ngx_http_mdvr_api_job_t *job, json_t *params, mdvr_buf_t *body,
    const char **why);


#define API_COMMAND_SUPER    0x01       /* super_admin only */
#define API_COMMAND_CONFIRM  0x02       /* some actions want "confirm" */
#define API_COMMAND_FIRMWARE 0x04       /* firmware_id is looked up */
#define API_COMMAND_MEDIA    0x08       /* opens a media session */


struct ngx_http_mdvr_api_kind_s {
    const char                        *type;     /* "text_message" */
    const char                        *keyword;  /* "C151" */
    uint32_t                           flags;
    const ngx_http_mdvr_api_schema_t  *params;
    ngx_http_mdvr_api_encode_pt        encode;
    const char                        *doc;
};


/* one command under way; lives in a pool of its own until the last answer */

struct ngx_http_mdvr_api_job_s {
    ngx_pool_t                        *pool;
    ngx_http_mdvr_api_ctx_t           *ctx;      /* NULL: nobody waits here */
    const ngx_http_mdvr_api_kind_t    *kind;
    json_t                            *params;

    ngx_str_t                          id;
    ngx_str_t                          tenant;
    ngx_str_t                          user;
    ngx_str_t                          role;
    ngx_str_t                          device;
    ngx_str_t                          serial;
    ngx_str_t                          plate;
    ngx_str_t                          device_user;
    ngx_str_t                          device_password;
    ngx_str_t                          body;
    mdvr_text_e                        encoding;
    int                                offset_minutes;
    ngx_uint_t                         channels;
    ngx_int_t                          timeout_s;
    ngx_int_t                          hold_s;

    mdvr_bus_ref_t                     ref;      /* media session, if any */
    char                               session[MDVR_BUS_SESSION_MAX + 1];

    ngx_uint_t                         pending;  /* statements under way */
    ngx_http_mdvr_api_update_t        *updates;  /* first: under way */
    unsigned                           has_session:1;
    unsigned                           over:1;   /* the last answer came */
    unsigned                           answered:1;  /* the request was */

    /* called once, when the command is stored and under way, or instead of
     * it NULL for the plain 202 */
    void                             (*accepted)(ngx_http_mdvr_api_job_t *job);
    void                              *data;
};


extern const ngx_http_mdvr_api_kind_t   ngx_http_mdvr_api_kinds[];

const ngx_http_mdvr_api_kind_t *ngx_http_mdvr_api_kind(const ngx_str_t *type);

/*
 * Makes a command of the request: looks up the device ("id" of the path), encodes,
 * stores, sends, and answers 202 (or calls `accepted`) when the device's
 * connection has it.  409 device_offline when nobody holds the device and
 * hold_s is 0.  Takes a reference of `params`.
 */
void ngx_http_mdvr_api_command_run(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_http_mdvr_api_kind_t *kind, json_t *params,
    ngx_int_t timeout_s, ngx_int_t hold_s, const char *confirm,
    void (*accepted)(ngx_http_mdvr_api_job_t *job), void *data);

/*
 * A media session for the command: its wire id is in job->session then.  `note`
 * are members of a JSON object, without braces, that the media front keeps, or
 * NULL; "command_id" and "user_id" are added.
 */
mdvr_rc_t ngx_http_mdvr_api_job_session(ngx_http_mdvr_api_job_t *job,
    mdvr_bus_kind_e kind, ngx_uint_t channel, const char *note);
mdvr_endpoint_t ngx_http_mdvr_api_job_endpoint(void);

/* handlers */
void ngx_http_mdvr_api_command_post(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_snapshot(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_upgrade(ngx_http_mdvr_api_ctx_t *ctx);

/* for the document */
json_t *ngx_http_mdvr_api_command_examples(void);


#endif /* _NGX_HTTP_MDVR_API_COMMAND_H_INCLUDED_ */
