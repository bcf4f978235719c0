/*
 * RFC 3339 in UTC with milliseconds ("2026-01-31T08:15:30.250Z") from and to
 * unix milliseconds, and the wall clock in milliseconds.
 */

#ifndef NGX_MDVR_TIME_H
#define NGX_MDVR_TIME_H


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_MDVR_RFC3339_LEN  (sizeof("2026-01-31T08:15:30.250Z") - 1)


/* The wall clock of the event loop (cached by nginx), unix milliseconds. */
int64_t ngx_mdvr_now_ms(void);

/* Writes NGX_MDVR_RFC3339_LEN characters, no zero; `ms` must lie in the years
 * 1970 to 9999.  Returns the position after them. */
u_char *ngx_mdvr_rfc3339(u_char *p, int64_t ms);

/*
 * Reads RFC 3339 with any fraction and either "Z" or an offset.  NGX_ERROR
 * when it is anything else or no such day exists; a leap second is taken as
 * the next second.
 */
ngx_int_t ngx_mdvr_rfc3339_parse(const ngx_str_t *text, int64_t *ms);


#endif
