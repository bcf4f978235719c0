/*
 * Messages of the server: header, length, answers and commands.  What the
 * length counts is written in one place, mdvr_write_message().
 */

#include "mdvr/dc/time.h"
#include "mdvr/dc/write.h"

#define MDVR_CONTENT_MAX  9999


static mdvr_rc_t
mdvr_write_framed(mdvr_buf_t *b, const mdvr_head_t *h, mdvr_str_t body,
    const char *mark)
{
    size_t      digits, length, i;
    uint8_t    *p;
    mdvr_buf_t  out;

    out = *b;

    mdvr_buf_cstr(&out, mark);
    digits = out.len;
    mdvr_buf_add(&out, "0000", 4);

    mdvr_tok_str(&out, h->number);
    mdvr_tok_str(&out, h->keyword);
    mdvr_tok_str(&out, h->serial);
    mdvr_tok_str(&out, h->workstation);
    mdvr_buf_chr(&out, ',');
    mdvr_time_write(&out, h->unix_s, h->offset_minutes);

    if (body.len && body.p[0] != ',') {
        mdvr_buf_chr(&out, ',');
    }

    mdvr_buf_str(&out, body);
    length = out.len - digits - 4;
    mdvr_buf_chr(&out, '#');

    if (length > MDVR_CONTENT_MAX) {
        return MDVR_E_LIMIT;
    }

    if (out.full) {
        b->full = true;
        return MDVR_E_NO_SPACE;
    }

    p = out.p + digits;

    for (i = 4; i > 0; i--) {
        p[i - 1] = (uint8_t) ('0' + length % 10);
        length /= 10;
    }

    *b = out;

    return MDVR_OK;
}


mdvr_rc_t
mdvr_write_message(mdvr_buf_t *b, const mdvr_head_t *h, mdvr_str_t body)
{
    return mdvr_write_framed(b, h, body, "$$dc");
}


mdvr_rc_t
mdvr_write_media_message(mdvr_buf_t *b, const mdvr_head_t *h,
    mdvr_str_t body)
{
    return mdvr_write_framed(b, h, body, "@@$$dc");
}


void
mdvr_tok_str(mdvr_buf_t *b, mdvr_str_t s)
{
    size_t    i;
    uint8_t  *p;

    if (s.len >= b->cap - b->len) {
        b->full = true;
        return;
    }

    p = b->p + b->len;
    *p++ = ',';

    for (i = 0; i < s.len; i++) {
        *p++ = (s.p[i] == ',' || s.p[i] == '#' || s.p[i] < 0x20) ? ' '
                                                                 : s.p[i];
    }

    b->len += s.len + 1;
}


void
mdvr_tok_cstr(mdvr_buf_t *b, const char *s)
{
    mdvr_tok_str(b, mdvr_cstr(s));
}


void
mdvr_tok_i64(mdvr_buf_t *b, int64_t v)
{
    mdvr_buf_chr(b, ',');
    mdvr_buf_i64(b, v);
}


void
mdvr_tok_dec(mdvr_buf_t *b, double v, unsigned places)
{
    mdvr_buf_chr(b, ',');
    mdvr_buf_dec(b, v, places);
}


void
mdvr_tok_text(mdvr_buf_t *b, mdvr_str_t utf8, mdvr_text_e encoding)
{
    mdvr_buf_chr(b, ',');
    mdvr_text_encode(b, utf8, encoding, false);
}


void
mdvr_tok_empty(mdvr_buf_t *b)
{
    mdvr_buf_chr(b, ',');
}


/* copied as it is: a length field or the end of the message protects it */
static void
mdvr_tok_raw(mdvr_buf_t *b, mdvr_str_t s)
{
    mdvr_buf_chr(b, ',');
    mdvr_buf_str(b, s);
}


static void
mdvr_tok_endpoint(mdvr_buf_t *b, mdvr_endpoint_t e)
{
    mdvr_tok_str(b, e.address);

    if (e.address.len == 0 && e.port == 0) {
        mdvr_tok_empty(b);

    } else {
        mdvr_tok_i64(b, e.port);
    }
}


/* ---- answers ------------------------------------------------------------ */

void
mdvr_body_c100(mdvr_buf_t *b, mdvr_str_t keyword, mdvr_str_t time,
    mdvr_str_t content)
{
    mdvr_tok_str(b, keyword);
    mdvr_tok_str(b, time);
    mdvr_buf_add(b, ",0", 2);
    mdvr_tok_raw(b, content);
}


void
mdvr_content_v101(mdvr_buf_t *b, int cause)
{
    if (cause == 0) {
        mdvr_buf_cstr(b, "1,1,");
        return;
    }

    mdvr_buf_cstr(b, "0");
    mdvr_tok_i64(b, cause);
    mdvr_tok_empty(b);
}


void
mdvr_content_v141_none(mdvr_buf_t *b)
{
    mdvr_buf_cstr(b, "0,0,0,,,0,,0,,");
}


void
mdvr_content_v141(mdvr_buf_t *b, const mdvr_fetch_t *f)
{
    mdvr_buf_chr(b, '1');
    mdvr_tok_i64(b, f->file_type);
    mdvr_tok_str(b, f->file_id);
    mdvr_tok_str(b, f->path);
    mdvr_tok_endpoint(b, (mdvr_endpoint_t) { f->address, f->port });
    mdvr_tok_str(b, f->md5);
    mdvr_tok_i64(b, (int64_t) f->parameters.len);
    mdvr_tok_raw(b, f->parameters);
    mdvr_tok_empty(b);
}


/* ---- commands ----------------------------------------------------------- */

void
mdvr_body_c150(mdvr_buf_t *b, int action, mdvr_str_t user_md5,
    mdvr_str_t password_md5)
{
    mdvr_tok_i64(b, action);
    mdvr_tok_str(b, user_md5);
    mdvr_tok_str(b, password_md5);
}


void
mdvr_body_c151(mdvr_buf_t *b, mdvr_str_t utf8, mdvr_text_e encoding)
{
    size_t      need;
    mdvr_buf_t  probe;

    /* the length is in front of the text and counts its encoded bytes */

    probe = mdvr_buf(b->p + b->len, b->cap - b->len);
    mdvr_text_encode(&probe, utf8, encoding, true);
    need = probe.len;

    if (probe.full) {
        b->full = true;
        return;
    }

    mdvr_tok_i64(b, (int64_t) need);
    mdvr_buf_chr(b, ',');
    mdvr_text_encode(b, utf8, encoding, true);
}


static void
mdvr_tok_push(mdvr_buf_t *b, const mdvr_push_t *p)
{
    mdvr_tok_str(b, p->session_id);
    mdvr_tok_i64(b, (int64_t) p->size);
    mdvr_tok_str(b, p->md5);
    mdvr_tok_endpoint(b, p->media);
    mdvr_tok_str(b, p->name);
}


void
mdvr_body_c152(mdvr_buf_t *b, const mdvr_push_t *p, mdvr_str_t device_type,
    mdvr_str_t version)
{
    mdvr_tok_push(b, p);
    mdvr_tok_str(b, device_type);
    mdvr_tok_str(b, version);
    mdvr_tok_empty(b);
}


mdvr_rc_t
mdvr_body_c505(mdvr_buf_t *b, int mode, uint32_t distance_m,
    uint32_t interval_s)
{
    if (mode == 0) {
        mdvr_buf_cstr(b, ",0,,,0300");
        return MDVR_OK;
    }

    if (mode == 2) {
        mdvr_buf_cstr(b, ",2,,,");
        return MDVR_OK;
    }

    if (mode != 1 || (distance_m == 0 && interval_s == 0)
        || (distance_m && (distance_m < 50 || distance_m > 655350))
        || (interval_s && (interval_s < 5 || interval_s > 65535)))
    {
        return MDVR_E_RANGE;
    }

    mdvr_buf_cstr(b, ",1,");

    if (distance_m) {
        mdvr_buf_u64(b, distance_m / 10);
    }

    mdvr_buf_chr(b, ',');

    if (interval_s) {
        mdvr_buf_u64(b, interval_s);
    }

    mdvr_buf_cstr(b, ",0");
    mdvr_buf_u64(b, (distance_m ? 1 : 0) | (interval_s ? 2 : 0));
    mdvr_buf_cstr(b, "00");

    return MDVR_OK;
}


void
mdvr_body_c508_start(mdvr_buf_t *b, mdvr_str_t session_id, int channel,
    int stream, mdvr_endpoint_t media)
{
    mdvr_tok_str(b, session_id);
    mdvr_tok_i64(b, 1);
    mdvr_tok_i64(b, channel);
    mdvr_tok_i64(b, stream);
    mdvr_tok_i64(b, 0);
    mdvr_tok_endpoint(b, media);
}


void
mdvr_body_c508_stop(mdvr_buf_t *b, mdvr_str_t session_id, int channel,
    int stream)
{
    mdvr_tok_str(b, session_id);
    mdvr_tok_i64(b, 0);
    mdvr_tok_i64(b, channel);
    mdvr_tok_i64(b, stream);
    mdvr_buf_cstr(b, ",0,,0");
}


void
mdvr_body_c510(mdvr_buf_t *b, mdvr_str_t session_id, int channel,
    mdvr_endpoint_t media)
{
    mdvr_tok_str(b, session_id);
    mdvr_tok_i64(b, channel);
    mdvr_tok_endpoint(b, media);
}


void
mdvr_body_c511(mdvr_buf_t *b, int channel, const uint16_t rows[9],
    bool enable, int sensitivity)
{
    unsigned  i;

    mdvr_tok_i64(b, channel);

    for (i = 0; i < 9; i++) {
        mdvr_tok_i64(b, rows[i] & 0x7ff);
    }

    mdvr_tok_i64(b, enable);
    mdvr_tok_i64(b, sensitivity);
}


void
mdvr_body_c512(mdvr_buf_t *b, int channel)
{
    mdvr_tok_i64(b, channel);
}


void
mdvr_body_c517(mdvr_buf_t *b, int64_t type, mdvr_str_t raw)
{
    mdvr_tok_i64(b, type);
    mdvr_tok_i64(b, (int64_t) raw.len);
    mdvr_tok_raw(b, raw);
}


void
mdvr_body_c520(mdvr_buf_t *b, const mdvr_push_t *p)
{
    mdvr_tok_push(b, p);
}


void
mdvr_body_c521(mdvr_buf_t *b, mdvr_str_t session_id, mdvr_endpoint_t media)
{
    mdvr_tok_str(b, session_id);
    mdvr_tok_endpoint(b, media);
}


void
mdvr_body_c550(mdvr_buf_t *b, mdvr_str_t session_id, bool start, int channel,
    int source, mdvr_endpoint_t media)
{
    mdvr_tok_str(b, session_id);
    mdvr_tok_i64(b, start);

    if (channel < 0) {
        mdvr_tok_empty(b);

    } else {
        mdvr_tok_i64(b, channel);
    }

    mdvr_tok_i64(b, source);
    mdvr_tok_i64(b, 0);

    if (start) {
        mdvr_tok_endpoint(b, media);

    } else {
        mdvr_buf_cstr(b, ",,0");
    }
}


void
mdvr_body_c551(mdvr_buf_t *b, mdvr_str_t session_id, bool start, int channel,
    int source, mdvr_endpoint_t media)
{
    mdvr_body_c550(b, session_id, start, channel, source, media);
}


void
mdvr_body_c600(mdvr_buf_t *b, unsigned number, mdvr_str_t raw)
{
    mdvr_tok_i64(b, number);
    mdvr_tok_i64(b, (int64_t) raw.len);
    mdvr_buf_chr(b, ',');
    mdvr_buf_hexs(b, raw);
}


mdvr_rc_t
mdvr_body_c701(mdvr_buf_t *b, mdvr_str_t session_id, int64_t begin_s,
    int64_t end_s, int offset_minutes, int type, int channel,
    mdvr_endpoint_t media)
{
    int      f[6];
    int64_t  offset_s;

    offset_s = offset_minutes * 60LL;

    if (end_s < begin_s
        || (begin_s + offset_s) / 86400 != (end_s + offset_s) / 86400)
    {
        return MDVR_E_RANGE;
    }

    mdvr_tok_str(b, session_id);
    mdvr_buf_chr(b, ',');
    mdvr_time_write(b, begin_s, offset_minutes);

    mdvr_time_civil(end_s + offset_s, f);
    mdvr_buf_chr(b, ',');
    mdvr_buf_u64w(b, (uint64_t) (f[3] * 10000 + f[4] * 100 + f[5]), 6);

    mdvr_tok_i64(b, type);
    mdvr_tok_i64(b, channel);
    mdvr_tok_endpoint(b, media);

    return MDVR_OK;
}


void
mdvr_body_c702(mdvr_buf_t *b, mdvr_str_t session_id, int flag,
    uint32_t start, uint32_t end, mdvr_endpoint_t media, mdvr_str_t path)
{
    mdvr_tok_str(b, session_id);
    mdvr_tok_i64(b, flag);
    mdvr_tok_i64(b, start);
    mdvr_tok_i64(b, end);
    mdvr_tok_endpoint(b, media);
    mdvr_tok_raw(b, path);
}


void
mdvr_body_c704(mdvr_buf_t *b, mdvr_str_t session_id, mdvr_endpoint_t media,
    int64_t begin_s, int64_t end_s, int offset_minutes, int level)
{
    mdvr_tok_str(b, session_id);
    mdvr_tok_endpoint(b, media);
    mdvr_tok_i64(b, 1);
    mdvr_tok_i64(b, 13 + 1 + 13 + 1 + 1);
    mdvr_buf_chr(b, ',');
    mdvr_time_write(b, begin_s, offset_minutes);
    mdvr_buf_chr(b, ',');
    mdvr_time_write(b, end_s, offset_minutes);
    mdvr_tok_i64(b, level < 0 || level > 3 ? 3 : level);
}


void
mdvr_body_c706(mdvr_buf_t *b, const mdvr_push_t *p, int file_type,
    mdvr_str_t parameters)
{
    mdvr_tok_push(b, p);
    mdvr_tok_i64(b, file_type);
    mdvr_tok_i64(b, (int64_t) parameters.len);
    mdvr_tok_raw(b, parameters);
}


void
mdvr_body_c722(mdvr_buf_t *b, int channel, int exposure, int brightness,
    int contrast, int hue, int saturation)
{
    mdvr_tok_i64(b, channel);
    mdvr_tok_i64(b, exposure);
    mdvr_tok_i64(b, brightness);
    mdvr_tok_i64(b, contrast);
    mdvr_tok_i64(b, hue);
    mdvr_tok_i64(b, saturation);
}


void
mdvr_body_c723(mdvr_buf_t *b, int channel)
{
    mdvr_tok_i64(b, channel);
}


void
mdvr_body_c1111(mdvr_buf_t *b, int channel, int action, int speed,
    int parameter)
{
    mdvr_tok_i64(b, channel);
    mdvr_tok_i64(b, action);

    if (speed < 0) {
        mdvr_tok_empty(b);

    } else {
        mdvr_tok_i64(b, speed);
    }

    if (parameter < 0) {
        mdvr_tok_empty(b);

    } else {
        mdvr_tok_i64(b, parameter);
    }
}


void
mdvr_body_c7212(mdvr_buf_t *b, mdvr_str_t address, unsigned port,
    int transport)
{
    mdvr_tok_str(b, address);
    mdvr_tok_i64(b, port);
    mdvr_tok_i64(b, transport);
}
