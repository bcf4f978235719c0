/*
 * The wire of mdvr-rtc: STUN checks (with the sample of RFC 5769), SDP
 * offers and answers, RTP packets of access units, RTCP feedback.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "rtc/rtp.h"
#include "rtc/sdp.h"
#include "rtc/stun.h"

static unsigned  done, failed;

static void
ok(bool good, const char *name)
{
    done++;
    failed += !good;
    printf("%sok %u - %s\n", good ? "" : "not ", done, name);
}


/* RFC 5769 section 2.1, password "VOkJxbRl1RmTxUk/WvJxBt" */

static const uint8_t  rfc5769[] = {
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01,
    0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10,
    0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6c,
    0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
    0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
    0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76,
    0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c,
    0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
    0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf
};

#define RFC5769_PASSWORD  "VOkJxbRl1RmTxUk/WvJxBt"


static void
test_stun(void)
{
    size_t               n, refused;
    uint8_t              out[128], *exact;
    rtc_stun_t           stun;
    struct sockaddr_in   sin = { .sin_family = AF_INET };

    ok(rtc_stun_parse(rfc5769, sizeof(rfc5769), &stun) == MDVR_OK
       && mdvr_str_eqc(stun.local_ufrag, "evtj"),
       "the sample request of RFC 5769 is read");
    ok(rtc_stun_verify(rfc5769, &stun, RFC5769_PASSWORD),
       "its MESSAGE-INTEGRITY is right");
    ok(!rtc_stun_verify(rfc5769, &stun, "VOkJxbRl1RmTxUk/WvJxBu"),
       "another password does not fit");

    inet_pton(AF_INET, "192.0.2.1", &sin.sin_addr);
    sin.sin_port = htons(32853);
    n = rtc_stun_answer(&stun, (struct sockaddr *) &sin, RFC5769_PASSWORD,
                        out);

    /* XOR-MAPPED-ADDRESS of RFC 5769 section 2.2: 192.0.2.1 port 32853 */

    ok(n == 64 && memcmp(out + 20, "\x00\x20\x00\x08\x00\x01\xa1\x47"
                         "\xe1\x12\xa6\x43", 12) == 0,
       "the answer carries the mapped address");
    stun.integrity_at = 32;
    ok(rtc_stun_verify(out, &stun, RFC5769_PASSWORD)
       && memcmp(out + 8, rfc5769 + 8, 12) == 0,
       "the answer is signed and repeats the transaction");

    refused = 0;

    for (size_t i = 0; i < sizeof(rfc5769); i++) {
        exact = malloc(i ? i : 1);
        memcpy(exact, rfc5769, i);
        refused += rtc_stun_parse(exact, i, &stun) != MDVR_OK;
        free(exact);
    }

    ok(refused == sizeof(rfc5769), "every shorter datagram is refused");
}


static const char  offer_text[] =
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "a=group:BUNDLE 0 1 2\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 104\r\nc=IN IP4 0.0.0.0\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    "a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:"
    "10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n"
    "a=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n"
    "a=rtpmap:96 VP8/90000\r\n"
    "a=rtpmap:97 H264/90000\r\n"
    "a=fmtp:97 packetization-mode=0;profile-level-id=42e01f\r\n"
    "a=rtpmap:102 H264/90000\r\n"
    "a=fmtp:102 packetization-mode=1;profile-level-id=4d001f\r\n"
    "a=rtpmap:104 H264/90000\r\n"
    "a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;"
    "profile-level-id=42e01f\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\na=mid:1\r\na=recvonly\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:8 PCMA/8000\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";


static void
test_sdp(void)
{
    char          text[4096];
    mdvr_buf_t    out;
    rtc_offer_t   offer;
    rtc_answer_t  answer = {
        .ufrag = "uuuuuuuu", .pwd = "pppppppppppppppppppppppp",
        .fingerprint = "AA:BB", .ssrc_video = 7, .ssrc_audio = 9,
        .candidates = "a=candidate:1 1 udp 1 127.0.0.1 5000 typ host\r\n",
        .session = 42
    };

    ok(rtc_sdp_parse(mdvr_cstr(offer_text), &offer) == MDVR_OK
       && offer.n_media == 3 && offer.video == 0 && offer.audio == 1,
       "a browser's offer is read");
    ok(offer.media[0].pt == 104, "constrained baseline in mode 1 is chosen");
    ok(offer.media[1].pt == 8 && !offer.media[1].pcmu, "A-law is preferred");
    ok(offer.fingerprint[31] == 0x1f, "the fingerprint is read");

    out = mdvr_buf(text, sizeof(text) - 1);
    ok(rtc_sdp_answer(&offer, &answer, &out) == MDVR_OK,
       "an answer is written");
    text[out.len] = '\0';

    ok(strstr(text, "a=group:BUNDLE 0 1\r\n") != NULL
       && strstr(text, "m=application 0 UDP/DTLS/SCTP 0\r\n") != NULL,
       "a line that is not for us is refused in its place");
    ok(strstr(text, "a=ice-lite\r\n") && strstr(text, "a=setup:passive\r\n")
       && strstr(text, "a=rtpmap:104 H264/90000\r\n")
       && strstr(text, "a=rtpmap:8 PCMA/8000\r\n"),
       "it says what we are and send");

    /* a talk: the browser's line of sound sends, too */

    ok(strstr(text, "a=sendonly\r\na=rtcp-mux") && !strstr(text, "sendrecv"),
       "nobody's microphone is asked for without need");

    offer.media[1].sends = true;
    answer.mic = true;
    out = mdvr_buf(text, sizeof(text) - 1);
    (void) rtc_sdp_answer(&offer, &answer, &out);
    text[out.len] = '\0';
    ok(strstr(text, "a=sendrecv") && strstr(text, "a=sendonly"),
       "a talk takes its sound and no picture");

    out = mdvr_buf(text, 200);
    ok(rtc_sdp_answer(&offer, &answer, &out) == MDVR_E_NO_SPACE,
       "a small buffer is not overrun");
    ok(rtc_sdp_parse(MDVR_STR("v=0\r\nm=video 9 x 96\r\n"), &offer)
       == MDVR_E_SYNTAX, "an offer without a transport is refused");
}


/* puts packets back together as RFC 6184 asks of a receiver */

typedef struct {
    uint8_t   au[65536];
    size_t    len;
    size_t    nal_at;
    unsigned  packets;
    unsigned  markers;
    bool      marker_last;
    size_t    longest;
} collector_t;


static void
collect_nal(collector_t *c, const uint8_t *p, size_t n)
{
    c->au[c->len] = (uint8_t) (n >> 24);
    c->au[c->len + 1] = (uint8_t) (n >> 16);
    c->au[c->len + 2] = (uint8_t) (n >> 8);
    c->au[c->len + 3] = (uint8_t) n;
    memcpy(c->au + c->len + 4, p, n);
    c->len += 4 + n;
}


static mdvr_rc_t
collect(void *data, uint8_t *rtp, size_t len, uint16_t seq)
{
    size_t        n;
    uint8_t      *p = rtp + 12;
    collector_t  *c = data;

    (void) seq;
    c->packets++;
    c->marker_last = rtp[1] >> 7;
    c->markers += c->marker_last;
    c->longest = len > c->longest ? len : c->longest;
    len -= 12;

    switch (p[0] & 0x1f) {

    case 24:
        for (size_t at = 1; at + 2 <= len; at += 2 + n) {
            n = (size_t) p[at] << 8 | p[at + 1];
            collect_nal(c, p + at + 2, n);
        }
        break;

    case 28:
        if (p[1] & 0x80) {
            uint8_t  head = (uint8_t) ((p[0] & 0xe0) | (p[1] & 0x1f));
            c->nal_at = c->len;
            collect_nal(c, &head, 1);
        }

        memcpy(c->au + c->len, p + 2, len - 2);
        c->len += len - 2;

        if (p[1] & 0x40) {
            n = c->len - c->nal_at - 4;
            c->len = c->nal_at;
            memmove(c->au + 60000, c->au + c->nal_at + 4, 0);
            c->au[c->len] = 0;
            c->au[c->len + 1] = 0;
            c->au[c->len + 2] = (uint8_t) (n >> 8);
            c->au[c->len + 3] = (uint8_t) n;
            c->len += 4 + n;
        }
        break;

    default:
        collect_nal(c, p, len);
    }

    return MDVR_OK;
}


static size_t
add_nal(uint8_t *au, size_t at, uint8_t head, size_t n)
{
    au[at] = 0;
    au[at + 1] = 0;
    au[at + 2] = (uint8_t) (n >> 8);
    au[at + 3] = (uint8_t) n;
    au[at + 4] = head;

    for (size_t i = 1; i < n; i++) {
        au[at + 4 + i] = (uint8_t) (i * 7 + n);
    }

    return at + 4 + n;
}


static void
test_rtp(void)
{
    bool                same;
    size_t              n, m;
    uint8_t             au[32768];
    rtc_rtp_t           rtp;
    static collector_t  c;

    same = true;

    /* around every boundary of packet sizes */

    for (size_t size = 1100; size < 2500 && same; size++) {
        memset(&rtp, 0, sizeof(rtp));
        memset(&c, 0, sizeof(c));
        n = add_nal(au, 0, 0x67, 9);
        n = add_nal(au, n, 0x68, 4);
        n = add_nal(au, n, 0x65, size);

        same = rtc_rtp_h264(&rtp, mdvr_str(au, n), collect, &c) == MDVR_OK
               && c.len == n && memcmp(c.au, au, n) == 0
               && c.markers == 1 && c.marker_last && c.longest <= RTC_MTU;
    }

    ok(same, "access units arrive whole, with one marker, within the MTU");

    memset(&c, 0, sizeof(c));
    n = add_nal(au, 0, 0x09, 2);
    m = add_nal(au, n, 0x41, 300);
    m = add_nal(au, m, 0x0c, 500);
    ok(rtc_rtp_h264(&rtp, mdvr_str(au, m), collect, &c) == MDVR_OK
       && c.packets == 1 && c.marker_last,
       "delimiter and filler are left out, the marker stays");

    ok(rtc_rtp_h264(&rtp, mdvr_str(au, m - 1), collect, &c)
       == MDVR_E_SYNTAX, "a length past the end is refused");
}


static unsigned  nacked, plis, byes;
static uint16_t  first_nack, last_nack;

static void
on_nack(void *data, uint32_t ssrc, uint16_t seq)
{
    (void) data;
    first_nack = nacked++ == 0 && ssrc == 0x01020304 ? seq : first_nack;
    last_nack = seq;
}

static void on_pli(void *data, uint32_t ssrc)
{
    (void) data;
    plis += ssrc == 0x01020304;
}

static void on_bye(void *data)
{
    (void) data;
    byes++;
}


static void
test_rtcp(void)
{
    size_t             n;
    uint8_t            out[64], *exact;
    rtc_rtp_t          rtp = { .ssrc = 5, .packets = 3, .octets = 300 };
    rtc_rtcp_events_t  events = { on_nack, on_pli, on_bye, NULL };

    static const uint8_t  feedback[] = {
        0x81, 205, 0, 3, 0, 0, 0, 1, 1, 2, 3, 4, 0xff, 0xff, 0x00, 0x03,
        0x81, 206, 0, 2, 0, 0, 0, 1, 1, 2, 3, 4,
        0x81, 203, 0, 1, 0, 0, 0, 1
    };

    rtc_rtcp_parse(feedback, sizeof(feedback), &events);
    ok(nacked == 3 && first_nack == 0xffff && last_nack == 1,
       "a NACK names its packet and those of its mask, across the wrap");
    ok(plis == 1 && byes == 1, "PLI and BYE are seen");

    for (size_t i = 0; i < sizeof(feedback); i++) {
        exact = malloc(i ? i : 1);
        memcpy(exact, feedback, i);
        rtc_rtcp_parse(exact, i, &events);
        free(exact);
    }

    ok(true, "cut feedback is read within its bounds");

    n = rtc_rtcp_report(&rtp, 1000000000500000u, 77, out);
    ok(n == 44 && out[1] == 200 && out[29] == 202
       && out[12] == 0x80 && out[19] == 77,
       "a sender report carries both clocks and a name");
}


static void
test_speech(void)
{
    uint8_t       *exact;
    mdvr_rc_t      rc;
    rtc_rtp_in_t   in;

    /* one CSRC, an extension of one word, three bytes of padding */

    static const uint8_t  packet[] = {
        0xb1, 0x88, 0xff, 0xfe, 0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4,
        0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0, 'v', 'o', 'i', 'c', 'e', 0, 0, 3
    };

    ok(rtc_rtp_parse(packet, sizeof(packet), &in) == MDVR_OK && in.pt == 8
       && in.marker && in.seq == 0xfffe && in.timestamp == 256 && in.ssrc == 9
       && mdvr_str_eqc(in.payload, "voice"),
       "a packet of speech is read, whatever stands around it");

    rc = MDVR_OK;

    for (size_t i = 0; i < sizeof(packet); i++) {
        exact = malloc(i ? i : 1);
        memcpy(exact, packet, i);

        if (rtc_rtp_parse(exact, i, &in) == MDVR_OK
            && in.payload.p + in.payload.len > exact + i)
        {
            rc = MDVR_E_SYNTAX;
        }

        free(exact);
    }

    ok(rc == MDVR_OK, "a packet that was cut is read within its bounds");
}


int
main(void)
{
    test_speech();
    test_stun();
    test_sdp();
    test_rtp();
    test_rtcp();

    printf("1..%u\n", done);
    return failed != 0;
}
