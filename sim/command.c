/*
 * What the center orders, one function per command; the answers are those of
 * the protocol reference, signaling.md.  Each function gives the content of
 * the V100, or NULL when it has answered (or must not answer) itself.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/time.h"
#include "sim/session.h"

typedef const char *(*sim_command_pt)(sim_device_t *d,
    const mdvr_message_t *m);

static char  sim_content[2048];


static int
sim_int(const mdvr_message_t *m, unsigned i, int other)
{
    int64_t  v;

    return mdvr_str_i64(mdvr_message_token(m, i), &v)
           && v > -100000000 && v < 1000000000 ? (int) v : other;
}


void
sim_answer(sim_device_t *d, mdvr_str_t number, mdvr_str_t keyword,
    mdvr_str_t time, const char *content)
{
    char            h1[12];
    uint8_t         mem[4096];
    mdvr_buf_t      body;
    mdvr_loc_out_t  l;

    if (d->state != SIM_ONLINE) {
        return;
    }

    sim_device_location(d, &l);
    body = mdvr_buf(mem, sizeof(mem));
    mdvr_body_v100(&body, &l, keyword, time, 0, mdvr_cstr(content));
    sim_device_send(d, mdvr_str_copy(h1, sizeof(h1), number), "V100", &body);
    sim_stats.answers++;
}


static void
sim_request(sim_request_t *r, const mdvr_message_t *m, unsigned host)
{
    memset(r, 0, sizeof(sim_request_t));
    r->channel = r->stream = -1;
    r->session_id = mdvr_message_token(m, 0);
    r->host = mdvr_message_token(m, host);
    r->port = mdvr_message_token(m, host + 1);
    r->command = m->keyword;
    r->number = m->number;
    r->time = m->time;
}


/*
 * Opens a session.  The answer leaves at once, before the connection is
 * made, or (--answer-order late, as captured) when data flows already.
 */
static const char *
sim_open(sim_device_t *d, mdvr_session_e kind, const sim_request_t *r,
    const char *good, const char *bad)
{
    sim_request_t  late;

    late = *r;

    if (sim_options.answer_late) {
        late.answer = good;
    }

    if (!sim_session_open(d, kind, &late)) {
        return bad;
    }

    return sim_options.answer_late ? NULL : good;
}


static bool
sim_channel(int channel)
{
    return channel >= 0 && channel < (int) sim_options.channels;
}


/* ---- video, picture, voice --------------------------------------------------------- */

static const char *
sim_c508(sim_device_t *d, const mdvr_message_t *m)
{
    int            i, channel, stream;
    sim_request_t  r;

    channel = sim_int(m, 2, -2);
    stream = sim_int(m, 3, 1);

    if (sim_int(m, 1, 0) == 0) {

        /* by channel and stream, whatever the session ID */

        if (channel == -1 || channel == 98) {
            sim_session_end(d, MDVR_SESSION_LIVE, -1, -1);

        } else {
            sim_session_end(d, MDVR_SESSION_LIVE, channel, stream);
        }

        return "1,0,,0";
    }

    sim_request(&r, m, 5);
    r.stream = stream == 0 ? 0 : 1;

    if (channel == 98) {

        for (i = 0; i < (int) sim_options.channels; i++) {
            r.channel = i;
            (void) sim_session_open(d, MDVR_SESSION_LIVE, &r);
        }

        return "1,1,,0";
    }

    if (channel == 99) {
        r.channel = 99;

    } else if (!sim_channel(channel)) {
        snprintf(sim_content, sizeof(sim_content), "0,1,8,no channel %d",
                 channel + 1);
        return sim_content;

    } else {
        r.channel = channel;
    }

    /* the same channel again: the newer one replaces the older */

    sim_session_end(d, MDVR_SESSION_LIVE, r.channel, r.stream);

    return sim_open(d, MDVR_SESSION_LIVE, &r, "1,1,,0",
                    "0,1,4,no picture from this camera");
}


static const char *
sim_c510(sim_device_t *d, const mdvr_message_t *m)
{
    sim_request_t  r;

    sim_request(&r, m, 2);
    r.channel = sim_int(m, 1, -1);

    if (!sim_channel(r.channel)) {
        return "0,8,channel does not exist";
    }

    return sim_open(d, MDVR_SESSION_SNAPSHOT, &r, "1,,",
                    "0,9,capture failed");
}


static const char *
sim_voice(sim_device_t *d, const mdvr_message_t *m)
{
    sim_request_t  r;

    if (sim_int(m, 1, 0) == 0) {
        sim_session_end(d, MDVR_SESSION_AUDIO, -1, -1);
        return "2,,";
    }

    sim_request(&r, m, 5);
    r.channel = sim_int(m, 2, -1);
    r.source = sim_int(m, 3, 2);
    sim_session_end(d, MDVR_SESSION_AUDIO, -1, -1);

    return sim_open(d, MDVR_SESSION_AUDIO, &r, "1,,", "0,4,no voice");
}


static const char *
sim_c1111(sim_device_t *d, const mdvr_message_t *m)
{
    sim_log(true, "%s: camera %d moves, action %d", d->serial,
            sim_int(m, 0, 0) + 1, sim_int(m, 1, 0));
    return NULL;
}


/* ---- files ---------------------------------------------------------------------------- */

static const char *
sim_c701(sim_device_t *d, const mdvr_message_t *m)
{
    int            end;
    sim_request_t  r;

    sim_request(&r, m, 5);
    r.type = sim_int(m, 3, 3);
    r.channel = sim_int(m, 4, 98);
    end = sim_int(m, 2, 235959);

    /* recordings are named by the device's wall clock, taken as UTC here */

    if (!mdvr_time_parse(mdvr_message_token(m, 1), 0, &r.begin_s)) {
        return "0,2,bad begin";
    }

    r.end_s = r.begin_s / 86400 * 86400 + end / 10000 * 3600
              + end / 100 % 100 * 60 + end % 100;

    return sim_open(d, MDVR_SESSION_SEARCH, &r, "1,,", "0,4,");
}


static const char *
sim_c702(sim_device_t *d, const mdvr_message_t *m)
{
    int              flag;
    uint64_t         a, b;
    sim_request_t    r;
    sim_recording_t  f;

    sim_request(&r, m, 4);
    r.path = mdvr_message_rest(m, 6);
    flag = sim_int(m, 1, 0);

    if (!mdvr_str_u64(mdvr_message_token(m, 2), &a)) {
        a = 0;
    }

    if (!mdvr_str_u64(mdvr_message_token(m, 3), &b)) {
        b = 0;
    }

    if (!sim_file_open(&f, sim_options.clip_dir, sim_options.codec,
                       mdvr_cstr(d->serial), r.path, sim_options.channels,
                       sim_device_time(d)
                       + sim_options.clock_minutes * 60))
    {
        return "0,12,no such file";
    }

    if (flag == 2 && f.duration_s) {
        a = f.size * a / f.duration_s / 4096 * 4096;
        b = b ? f.size * b / f.duration_s / 4096 * 4096 : 0;
    }

    if (flag != 0) {
        r.start = a;
        r.end = b;
    }

    if (r.start > f.size) {
        return "0,2,offset behind the end";
    }

    return sim_open(d, MDVR_SESSION_FILE, &r, "1,0,", "0,12,no such file");
}


static const char *
sim_c704(sim_device_t *d, const mdvr_message_t *m)
{
    sim_request_t  r;

    sim_request(&r, m, 1);

    return sim_open(d, MDVR_SESSION_QUERY, &r, "1,,", "0,4,");
}


static void
sim_push(sim_request_t *r, const mdvr_message_t *m)
{
    sim_request(r, m, 3);
    r->size = (uint64_t) sim_int(m, 1, 0);
    r->md5 = mdvr_message_token(m, 2);
    r->path = mdvr_message_token(m, 5);
    r->to_device = true;
}


static const char *
sim_c706(sim_device_t *d, const mdvr_message_t *m)
{
    sim_request_t  r;

    sim_push(&r, m);

    return sim_open(d, MDVR_SESSION_PUSH, &r, "1,,", "0,4,");
}


static const char *
sim_c152(sim_device_t *d, const mdvr_message_t *m)
{
    char           type[16];
    sim_request_t  r;

    sim_push(&r, m);
    r.version = mdvr_message_token(m, 7);
    snprintf(type, sizeof(type), "%u", 0x1000 + (sim_options.channels > 8
             ? 12 : sim_options.channels > 4 ? 8 : 4));

    if (sim_session_count(d, MDVR_SESSION_UPGRADE)) {
        return "7,7,upgrade already running";
    }

    if (!mdvr_str_eqc(mdvr_message_token(m, 6), type)) {
        return "5,5,wrong file type";
    }

    if (mdvr_str_eqc(r.version, d->version)) {
        return "0,11,this version is installed";
    }

    /* an upgrade excludes everything else */

    sim_session_end_all(d);

    return sim_open(d, MDVR_SESSION_UPGRADE, &r, "1,,", "0,4,");
}


static const char *
sim_c520(sim_device_t *d, const mdvr_message_t *m)
{
    sim_request_t  r;

    sim_push(&r, m);

    return sim_open(d, MDVR_SESSION_CONFIG, &r, "1,,", "0,4,");
}


static const char *
sim_c521(sim_device_t *d, const mdvr_message_t *m)
{
    sim_request_t  r;

    sim_request(&r, m, 1);

    return sim_open(d, MDVR_SESSION_CONFIG, &r, "1,,", "0,4,");
}


/* ---- settings --------------------------------------------------------------------------- */

static const char *
sim_c505(sim_device_t *d, const mdvr_message_t *m)
{
    int       mode, distance, interval;
    uint64_t  how;

    mode = sim_int(m, 0, -1);
    distance = sim_int(m, 1, 0);
    interval = sim_int(m, 2, 0);

    if (!mdvr_str_hex(mdvr_message_token(m, 3), &how)) {
        how = 0;
    }

    switch (mode) {

    case 0:
        d->by_time = d->by_distance = false;
        break;

    case 1:
        if (((how & 0x0100) && (distance < 5 || distance > 65535))
            || ((how & 0x0200) && (interval < 5 || interval > 65535)))
        {
            return "0,1,2,out of range";
        }

        d->by_distance = (how & 0x0100) != 0;
        d->by_time = (how & 0x0200) != 0;

        if (d->by_distance) {
            d->distance_m = distance * 10;
        }

        if (d->by_time) {
            d->interval_s = interval;
        }

        break;

    case 2:
        d->by_time = d->interval_s > 0;
        break;

    default:
        return "0,0,2,bad mode";
    }

    sim_device_rearm(d);
    snprintf(sim_content, sizeof(sim_content), "1,%d,,", mode);

    return sim_content;
}


static const char *
sim_c511(sim_device_t *d, const mdvr_message_t *m)
{
    int  channel, i;

    channel = sim_int(m, 0, -1);

    if (!sim_channel(channel) || channel > 7) {
        return "0,8,channel does not exist";
    }

    for (i = 0; i < 9; i++) {
        d->motion[channel][i] = (uint16_t) sim_int(m, (unsigned) i + 1, 0);
    }

    d->motion_on[channel] = (uint8_t) sim_int(m, 10, 0);
    d->motion_level[channel] = (uint8_t) sim_int(m, 11, 0);

    return "1,,";
}


static const char *
sim_c512(sim_device_t *d, const mdvr_message_t *m)
{
    int         channel, i;
    mdvr_buf_t  b;

    channel = sim_int(m, 0, -1);

    if (!sim_channel(channel) || channel > 7) {
        return "0,8,channel does not exist";
    }

    b = mdvr_buf(sim_content, sizeof(sim_content) - 1);
    mdvr_buf_chr(&b, '1');

    for (i = 0; i < 9; i++) {
        mdvr_tok_i64(&b, d->motion[channel][i]);
    }

    mdvr_tok_i64(&b, d->motion_on[channel]);
    mdvr_tok_i64(&b, d->motion_level[channel]);
    mdvr_buf_cstr(&b, ",,");
    sim_content[b.len] = '\0';

    return sim_content;
}


/* raw bytes: answered here, because a content is a C string elsewhere */
static const char *
sim_c517(sim_device_t *d, const mdvr_message_t *m)
{
    char            h1[12];
    uint8_t         mem[4096];
    mdvr_buf_t      body;
    mdvr_str_t      raw;
    mdvr_loc_out_t  l;

    raw = mdvr_message_rest(m, 2);

    if (sim_int(m, 1, -1) < 0 || (size_t) sim_int(m, 1, -1) != raw.len
        || raw.len > sizeof(d->params))
    {
        return "0,2,bad length";
    }

    if (raw.len) {
        memcpy(d->params, raw.p, raw.len);
        d->params_len = raw.len;
    }

    sim_device_location(d, &l);
    body = mdvr_buf(mem, sizeof(mem));
    mdvr_body_v100(&body, &l, m->keyword, m->time, 0, MDVR_STR("1"));
    mdvr_tok_i64(&body, (int64_t) d->params_len);
    mdvr_buf_chr(&body, ',');
    mdvr_buf_add(&body, d->params, d->params_len);
    sim_device_send(d, mdvr_str_copy(h1, sizeof(h1), m->number), "V100",
                    &body);
    sim_stats.answers++;

    return NULL;
}


static const char *
sim_c588(sim_device_t *d, const mdvr_message_t *m)
{
    (void) m;

    snprintf(sim_content, sizeof(sim_content),
             "1,SN%s,4108,%s,%s,%u,0,%u,1,12745_8023,1,5,27,198.51.100.%u,"
             "0,,,,1,4,%u,,", d->serial, d->serial, d->version,
             sim_options.channels, (1U << sim_options.channels) - 1,
             d->index % 250 + 1, sim_options.channels);

    return sim_content;
}


static const char *
sim_c600(sim_device_t *d, const mdvr_message_t *m)
{
    mdvr_str_t  data;

    (void) d;
    data = m->nbody ? mdvr_message_token(m, m->nbody - 1) : mdvr_str("", 0);

    snprintf(sim_content, sizeof(sim_content), "1,0,%d,%zu,%zu,%.*s,,",
             sim_int(m, 0, 0), data.len / 2, data.len,
             (int) (data.len < 1500 ? data.len : 1500),
             (const char *) data.p);

    return sim_content;
}


static const char *
sim_c722(sim_device_t *d, const mdvr_message_t *m)
{
    unsigned  i;

    if (!sim_channel(sim_int(m, 0, -1))) {
        return "0,8,channel does not exist";
    }

    for (i = 0; i < 5; i++) {
        d->picture[i] = sim_int(m, i + 1, d->picture[i]);
    }

    return "1,,";
}


static const char *
sim_c723(sim_device_t *d, const mdvr_message_t *m)
{
    if (!sim_channel(sim_int(m, 0, -1))) {
        return "0,8,channel does not exist";
    }

    snprintf(sim_content, sizeof(sim_content), "1,%d,%d,%d,%d,%d",
             d->picture[0], d->picture[1], d->picture[2], d->picture[3],
             d->picture[4]);

    return sim_content;
}


/* ---- the device itself -------------------------------------------------------------------- */

static void
sim_reboot(void *data)
{
    sim_device_t  *d = data;

    sim_session_end_all(d);
    d->power_ons++;
    d->number = 0;
    d->boot_us = sim_wall_us();
    sim_device_lose(d, false, 2);
}


static const char *
sim_c150(sim_device_t *d, const mdvr_message_t *m)
{
    int  action;

    action = sim_int(m, 0, 0);

    if (action < 1 || action > 6) {
        return "0,2,unknown action";
    }

    sim_log(true, "%s: control action %d", d->serial, action);

    if (action >= 5) {
        d->upgrade_timer.fire = sim_reboot;
        d->upgrade_timer.data = d;
        sim_timer_set(&d->upgrade_timer, 200000);
    }

    return "1,,";
}


static const char *
sim_c151(sim_device_t *d, const mdvr_message_t *m)
{
    char         out[512];
    mdvr_buf_t   b;

    b = mdvr_buf(out, sizeof(out));
    mdvr_text_decode(&b, mdvr_message_rest(m, 1), sizeof(out));
    sim_log(true, "%s: text \"%.*s\"", d->serial, (int) b.len, out);

    return "1,,";
}


static const char *
sim_accept(sim_device_t *d, const mdvr_message_t *m)
{
    (void) d;
    (void) m;

    return "1,,";
}


static const struct {
    mdvr_keyword_e  kw;
    sim_command_pt  run;
} sim_commands[] = {
    { MDVR_KW_C150, sim_c150 },  { MDVR_KW_C151, sim_c151 },
    { MDVR_KW_C152, sim_c152 },  { MDVR_KW_C505, sim_c505 },
    { MDVR_KW_C508, sim_c508 },  { MDVR_KW_C510, sim_c510 },
    { MDVR_KW_C511, sim_c511 },  { MDVR_KW_C512, sim_c512 },
    { MDVR_KW_C517, sim_c517 },  { MDVR_KW_C520, sim_c520 },
    { MDVR_KW_C521, sim_c521 },  { MDVR_KW_C550, sim_voice },
    { MDVR_KW_C551, sim_voice }, { MDVR_KW_C588, sim_c588 },
    { MDVR_KW_C589, sim_accept }, { MDVR_KW_C600, sim_c600 },
    { MDVR_KW_C701, sim_c701 },  { MDVR_KW_C702, sim_c702 },
    { MDVR_KW_C704, sim_c704 },  { MDVR_KW_C706, sim_c706 },
    { MDVR_KW_C722, sim_c722 },  { MDVR_KW_C723, sim_c723 },
    { MDVR_KW_C1111, sim_c1111 }, { MDVR_KW_C7212, sim_accept },
};


void
sim_command(sim_device_t *d, const mdvr_message_t *m)
{
    size_t       i;
    const char  *content;

    sim_stats.commands++;
    sim_log(true, "%s: %.*s", d->serial, (int) m->keyword.len,
            (const char *) m->keyword.p);

    if (m->kw != MDVR_KW_C1111 && sim_options.answer == SIM_ANSWER_NONE) {
        return;
    }

    if (m->kw != MDVR_KW_C1111 && sim_options.answer == SIM_ANSWER_FAIL) {
        snprintf(sim_content, sizeof(sim_content),
                 m->kw == MDVR_KW_C508 || m->kw == MDVR_KW_C505
                 ? "0,1,%s,%s" : "0,%s,%s", sim_options.answer_code,
                 sim_options.answer_reason);
        sim_answer(d, m->number, m->keyword, m->time, sim_content);
        return;
    }

    for (i = 0; i < sizeof(sim_commands) / sizeof(sim_commands[0]); i++) {

        if (sim_commands[i].kw == m->kw) {
            content = sim_commands[i].run(d, m);

            if (content) {
                sim_answer(d, m->number, m->keyword, m->time, content);
            }

            return;
        }
    }

    sim_answer(d, m->number, m->keyword, m->time, "0,2,unknown command");
}
