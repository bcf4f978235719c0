#include "rtc/sdp.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>


/* Takes one line without its end; false when nothing is left. */

static bool
sdp_line(mdvr_str_t *rest, mdvr_str_t *line)
{
    ptrdiff_t  nl;

    if (rest->len == 0) {
        return false;
    }

    nl = mdvr_str_chr(*rest, '\n');
    *line = mdvr_str(rest->p, nl < 0 ? rest->len : (size_t) nl);

    rest->p += line->len + (nl >= 0);
    rest->len -= line->len + (nl >= 0);

    if (line->len && line->p[line->len - 1] == '\r') {
        line->len--;
    }

    return true;
}


/* "a=name:value" -> value */

static bool
sdp_attr(mdvr_str_t line, const char *name, mdvr_str_t *value)
{
    size_t  n = strlen(name);

    if (line.len < n || memcmp(line.p, name, n) != 0) {
        return false;
    }

    *value = mdvr_str(line.p + n, line.len - n);
    return true;
}


static mdvr_str_t
sdp_word(mdvr_str_t *rest)
{
    ptrdiff_t   sp;
    mdvr_str_t  w;

    sp = mdvr_str_chr(*rest, ' ');
    w = mdvr_str(rest->p, sp < 0 ? rest->len : (size_t) sp);
    rest->p += w.len + (sp >= 0);
    rest->len -= w.len + (sp >= 0);
    return w;
}


static bool
sdp_fingerprint(mdvr_str_t v, uint8_t out[32])
{
    uint64_t    x;
    mdvr_str_t  alg;

    alg = sdp_word(&v);

    if (alg.len != 7 || strncasecmp((const char *) alg.p, "sha-256", 7) != 0
        || v.len != 32 * 3 - 1)
    {
        return false;
    }

    for (unsigned i = 0; i < 32; i++) {
        if (!mdvr_str_hex(mdvr_str(v.p + i * 3, 2), &x)
            || (i < 31 && v.p[i * 3 + 2] != ':'))
        {
            return false;
        }

        out[i] = (uint8_t) x;
    }

    return true;
}


static bool
sdp_contains(mdvr_str_t s, const char *needle)
{
    size_t  n = strlen(needle);

    for (size_t i = 0; i + n <= s.len; i++) {
        if (strncasecmp((const char *) s.p + i, needle, n) == 0) {
            return true;
        }
    }

    return false;
}


/*
 * How well a payload type's parameters suit us: mode 1 is required (we send
 * FU-A), constrained baseline is what every browser decodes.
 */
static int
sdp_h264_rank(mdvr_str_t fmtp)
{
    if (!sdp_contains(fmtp, "packetization-mode=1")) {
        return 0;
    }

    if (sdp_contains(fmtp, "profile-level-id=42e0")) {
        return 3;
    }

    return sdp_contains(fmtp, "profile-level-id=42") ? 2 : 1;
}


/* second pass over one media section: the payload type and its parameters */

static void
sdp_choose(mdvr_str_t section, rtc_sdp_media_t *m)
{
    int         rank, best;
    uint32_t    pt, pt2;
    mdvr_str_t  line, v, rest, again, fmtp;

    best = 0;
    rest = section;

    while (sdp_line(&rest, &line)) {

        if (!sdp_attr(line, "a=rtpmap:", &v)
            || !mdvr_str_u32(sdp_word(&v), &pt) || pt > 127)
        {
            continue;
        }

        if (m->kind == RTC_MEDIA_AUDIO) {
            if (sdp_contains(v, "PCMA/8000")) {
                m->pt = (int) pt;
                m->pcmu = false;
                return;
            }

            if (sdp_contains(v, "PCMU/8000")) {
                m->pt = (int) pt;
                m->pcmu = true;
            }

            continue;
        }

        if (!sdp_contains(v, "H264/90000")) {
            continue;
        }

        again = section;

        while (sdp_line(&again, &fmtp)) {
            if (!sdp_attr(fmtp, "a=fmtp:", &v)
                || !mdvr_str_u32(sdp_word(&v), &pt2) || pt2 != pt)
            {
                continue;
            }

            rank = sdp_h264_rank(v);

            if (rank > best) {
                best = rank;
                m->pt = (int) pt;
                m->fmtp = v;
            }
        }
    }
}


mdvr_rc_t
rtc_sdp_parse(mdvr_str_t sdp, rtc_offer_t *offer)
{
    bool              have_print;
    mdvr_str_t        rest, line, v, start[RTC_SDP_MEDIA_MAX];
    rtc_sdp_media_t  *m;

    memset(offer, 0, sizeof(*offer));
    offer->video = offer->audio = -1;

    if (sdp.len < 4 || memcmp(sdp.p, "v=0", 3) != 0) {
        return MDVR_E_SYNTAX;
    }

    m = NULL;
    have_print = false;
    rest = sdp;

    while (sdp_line(&rest, &line)) {

        if (sdp_attr(line, "m=", &v)) {
            if (offer->n_media == RTC_SDP_MEDIA_MAX) {
                return MDVR_E_SYNTAX;
            }

            if (m) {
                start[offer->n_media - 1].len =
                    (size_t) (line.p - start[offer->n_media - 1].p);
            }

            m = &offer->media[offer->n_media];
            start[offer->n_media++] = rest;

            m->pt = -1;
            m->name = sdp_word(&v);
            (void) sdp_word(&v);
            m->proto = sdp_word(&v);
            m->kind = mdvr_str_eqc(m->name, "video") ? RTC_MEDIA_VIDEO
                      : mdvr_str_eqc(m->name, "audio") ? RTC_MEDIA_AUDIO
                      : RTC_MEDIA_OTHER;
            m->sends = m->receives = true;
            continue;
        }

        /* with BUNDLE all sections repeat one transport: the first counts */

        if (sdp_attr(line, "a=ice-ufrag:", &v) && offer->ufrag.len == 0) {
            offer->ufrag = v;

        } else if (sdp_attr(line, "a=ice-pwd:", &v) && offer->pwd.len == 0) {
            offer->pwd = v;

        } else if (sdp_attr(line, "a=fingerprint:", &v) && !have_print) {
            have_print = sdp_fingerprint(v, offer->fingerprint);

        } else if (m && sdp_attr(line, "a=mid:", &v)) {
            m->mid = v;

        } else if (m && (sdp_attr(line, "a=recvonly", &v)
                         || sdp_attr(line, "a=inactive", &v)))
        {
            m->sends = false;
            m->receives = mdvr_str_eqc(line, "a=recvonly");

        } else if (m && sdp_attr(line, "a=sendonly", &v)) {
            m->receives = false;
        }
    }

    if (offer->ufrag.len == 0 || offer->ufrag.len > 256
        || offer->pwd.len == 0 || !have_print)
    {
        return MDVR_E_SYNTAX;
    }

    for (unsigned i = 0; i < offer->n_media; i++) {
        m = &offer->media[i];

        if (m->kind == RTC_MEDIA_OTHER || m->mid.len > 32) {
            continue;
        }

        sdp_choose(start[i], m);

        if (m->pt < 0) {
            continue;
        }

        if (m->kind == RTC_MEDIA_VIDEO && offer->video < 0) {
            offer->video = (int) i;
            m->accepted = true;

        } else if (m->kind == RTC_MEDIA_AUDIO && offer->audio < 0) {
            offer->audio = (int) i;
            m->accepted = true;
        }
    }

    return offer->video < 0 && offer->audio < 0 ? MDVR_E_UNSUPPORTED
                                                : MDVR_OK;
}


__attribute__((format(printf, 2, 3)))
static void
sdp_out(mdvr_buf_t *b, const char *fmt, ...)
{
    int      n;
    char     line[1024];
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);

    if (n < 0 || (size_t) n >= sizeof(line)) {
        b->full = true;
        return;
    }

    mdvr_buf_add(b, line, (size_t) n);
}


static const char *
sdp_direction(const rtc_sdp_media_t *m, bool send, bool receive)
{
    send = send && m->receives;
    receive = receive && m->sends;

    return send ? receive ? "sendrecv" : "sendonly"
                : receive ? "recvonly" : "inactive";
}


static void
sdp_answer_media(const rtc_answer_t *a, const rtc_sdp_media_t *m,
    mdvr_buf_t *out)
{
    bool      audio = m->kind == RTC_MEDIA_AUDIO;
    uint32_t  ssrc = audio ? a->ssrc_audio : a->ssrc_video;

    sdp_out(out, "m=%.*s 9 %.*s %d\r\nc=IN IP4 0.0.0.0\r\n"
            "a=rtcp:9 IN IP4 0.0.0.0\r\n",
            (int) m->name.len, m->name.p, (int) m->proto.len, m->proto.p,
            m->pt);
    sdp_out(out, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n"
            "a=fingerprint:sha-256 %s\r\na=setup:passive\r\n",
            a->ufrag, a->pwd, a->fingerprint);
    sdp_out(out, "a=mid:%.*s\r\na=%s\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            (int) m->mid.len, m->mid.p,
            sdp_direction(m, ssrc != 0, audio && a->mic));

    if (audio) {
        sdp_out(out, "a=rtpmap:%d %s/8000\r\na=ptime:20\r\n",
                m->pt, m->pcmu ? "PCMU" : "PCMA");

    } else {
        sdp_out(out, "a=rtpmap:%d H264/90000\r\na=fmtp:%d %.*s\r\n"
                "a=rtcp-fb:%d nack\r\na=rtcp-fb:%d nack pli\r\n",
                m->pt, m->pt, (int) m->fmtp.len, m->fmtp.p, m->pt, m->pt);
    }

    if (ssrc) {
        sdp_out(out, "a=msid:mdvr %s\r\na=ssrc:%" PRIu32 " cname:mdvr\r\n",
                audio ? "audio" : "video", ssrc);
    }

    mdvr_buf_add(out, a->candidates, strlen(a->candidates));
    sdp_out(out, "a=end-of-candidates\r\n");
}


mdvr_rc_t
rtc_sdp_answer(const rtc_offer_t *offer, const rtc_answer_t *answer,
    mdvr_buf_t *out)
{
    const rtc_sdp_media_t  *m;

    sdp_out(out, "v=0\r\no=- %" PRIu64 " 1 IN IP4 127.0.0.1\r\ns=-\r\n"
            "t=0 0\r\na=group:BUNDLE", answer->session);

    for (unsigned i = 0; i < offer->n_media; i++) {
        m = &offer->media[i];
        if (m->accepted) {
            sdp_out(out, " %.*s", (int) m->mid.len, m->mid.p);
        }
    }

    sdp_out(out, "\r\na=ice-lite\r\na=msid-semantic: WMS mdvr\r\n");

    for (unsigned i = 0; i < offer->n_media; i++) {
        m = &offer->media[i];

        if (m->accepted) {
            sdp_answer_media(answer, m, out);
            continue;
        }

        sdp_out(out, "m=%.*s 0 %.*s 0\r\nc=IN IP4 0.0.0.0\r\n"
                "a=mid:%.*s\r\na=inactive\r\n",
                (int) m->name.len, m->name.p, (int) m->proto.len, m->proto.p,
                (int) m->mid.len, m->mid.p);
    }

    return out->full ? MDVR_E_NO_SPACE : MDVR_OK;
}
