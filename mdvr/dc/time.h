/*
 * The stamps of the wire <-> Unix time.
 *
 * The documents say UTC, the captured devices send local time: every reader
 * takes the device's offset in minutes (device setting utc_offset_minutes;
 * local = UTC + offset).  Years are 20YY.
 * Source: protocol reference, framing.md section 4.2.
 */

#ifndef MDVR_DC_TIME_H
#define MDVR_DC_TIME_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

#define MDVR_TIME_FUTURE_MAX_MS  (24 * 3600 * 1000LL)

/* "YYMMDD hhmmss" to Unix seconds. */
bool mdvr_time_parse(mdvr_str_t s, int offset_minutes, int64_t *unix_s);

/* "YYYY-MM-DD hhmmss", "YYYYMMDD hhmmss" or "YYMMDD hhmmss" (V232). */
bool mdvr_time_parse_file(mdvr_str_t s, int offset_minutes, int64_t *unix_s);

/* Six bytes: year - 2000, month, day, hour, minute, second (0x6101). */
bool mdvr_time_parse_bcd6(const uint8_t p[6], int offset_minutes,
    int64_t *unix_s);

/*
 * The time a message is stored under, in Unix milliseconds.  A stamp that
 * does not parse, or lies more than 24 h after `received_ms`, is replaced by
 * `received_ms`; then the result is false.
 */
bool mdvr_time_clamp(mdvr_str_t stamp, int offset_minutes,
    int64_t received_ms, int64_t *unix_ms);

/*
 * The offset a device seems to use: stamp minus receive time, rounded to 15
 * minutes.  False when the stamp does not parse or the difference is beyond
 * 15 hours (then the clock is wrong, not the zone).
 */
bool mdvr_time_suggest_offset(mdvr_str_t stamp, int64_t received_ms,
    int *offset_minutes);

/* "YYMMDD hhmmss", 13 bytes, of unix_s in the zone of the device. */
void mdvr_time_write(mdvr_buf_t *b, int64_t unix_s, int offset_minutes);

/* "2026-01-31T08:15:30.250Z" */
void mdvr_time_write_rfc3339(mdvr_buf_t *b, int64_t unix_ms);

/* year, month 1..12, day, hour, minute, second of a Unix time, and back */
void mdvr_time_civil(int64_t unix_s, int out[6]);
int64_t mdvr_time_unix(int year, int month, int day, int hour, int minute,
    int second);

#endif /* MDVR_DC_TIME_H */
