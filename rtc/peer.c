#include "rtc/peer.h"
#include "rtc/mic.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <time.h>

#include "mdvr/media/g711.h"
#include "mdvr/media/nal.h"
#include "mdvr/media/voice.h"

enum {
    SETUP_MS = 15000,
    CONSENT_MS = 30000,
    REPORT_MS = 1000,
    PLI_MS = 500,               /* I-frame requests of one viewer */

    /* The pacer: a burst of packets, then this many bytes a millisecond
       (16 Mbit/s), enough to send a GOP at a few times its own rate. */
    PACE_BURST = 48 * 1024,
    PACE_BYTES_MS = 2000,

    SAMPLES_MAX = 4096,
    PAUSE_US = 300000           /* without sound of the device */
};

typedef struct {
    uint16_t  len;
    uint16_t  seq;
    uint8_t   data[RTC_PACKET_MAX + SRTP_MAX_TRAILER_LEN];
} rtc_packet_t;

struct rtc_peer_s {
    rtc_world_t              *world;
    rtc_peer_state_e          state;
    const char               *reason;

    char                      ufrag[RTC_UFRAG + 1];
    char                      pwd[RTC_PWD + 1];

    rtc_path_t               *path;
    struct sockaddr_storage   addr;
    socklen_t                 addr_len;

    rtc_dtls_t                dtls;
    rtc_rtp_t                 video;
    rtc_rtp_t                 audio;
    rtc_mic_t                 mic;
    uint64_t                  audio_us;     /* when the last sound came */
    bool                      pcmu;
    bool                      audio_started;
    mdvr_voice_t              voice;
    uint32_t                  video_base;
    uint64_t                  last_pts_us;
    uint64_t                  last_unix_us;

    mdvr_bus_ref_t            ref;
    mdvr_bus_reader_t         reader;

    int64_t                   created_ms;
    int64_t                   heard_ms;
    int64_t                   report_ms;
    int64_t                   pli_ms;
    int64_t                   dtls_ms;
    int64_t                   pace_ms;
    int                       pace_left;

    uint16_t                  sent;         /* next packet to send */
    rtc_packet_t              history[RTC_HISTORY];
};


static void
peer_over(rtc_peer_t *peer, const char *reason)
{
    if (peer->state != RTC_PEER_OVER) {
        peer->state = RTC_PEER_OVER;
        peer->reason = reason;
    }
}


static void
peer_send(rtc_peer_t *peer, const uint8_t *p, size_t len)
{
    if (peer->path) {
        peer->path->send(peer->path, (struct sockaddr *) &peer->addr,
                         peer->addr_len, p, len);
        peer->world->sent_packets++;
        peer->world->sent_bytes += len;
    }
}


static void
peer_dtls_send(void *data, const uint8_t *p, size_t len)
{
    peer_send(data, p, len);
}


static void
random_text(char *out, size_t n)
{
    static const char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    uint8_t  r[64];

    if (RAND_bytes(r, (int) n) != 1) {
        abort();                /* no randomness, no secrets */
    }

    for (size_t i = 0; i < n; i++) {
        out[i] = alphabet[r[i] & 63];
    }

    out[n] = '\0';
}


static uint32_t
random_u32(void)
{
    uint32_t  v;

    if (RAND_bytes((uint8_t *) &v, sizeof(v)) != 1) {
        abort();
    }

    return v;
}


mdvr_rc_t
rtc_peer_new(rtc_world_t *world, mdvr_bus_ref_t ref,
    rtc_offer_t *offer, mdvr_buf_t *answer, int64_t now_ms,
    rtc_peer_t **out)
{
    mdvr_rc_t        rc;
    rtc_peer_t      *peer;
    rtc_answer_t     a;
    mdvr_bus_info_t  info;

    rc = mdvr_bus_info(world->bus, ref, &info);

    if (rc != MDVR_OK || info.state == MDVR_BUS_ENDING) {
        return MDVR_E_NOT_FOUND;
    }

    if (info.kind == MDVR_BUS_KIND_TALK ? offer->audio < 0
                                        : offer->video < 0)
    {
        return MDVR_E_ABSENT;
    }

    if (info.kind == MDVR_BUS_KIND_TALK && offer->video >= 0) {
        offer->media[offer->video].accepted = false;
        offer->video = -1;
    }

    /*
     * Browsers show no H.265: what the worker makes of it is watched instead.
     * A session without a picture yet may turn out to be either.
     */

    if (info.codec != MDVR_CODEC_NONE && info.codec != MDVR_CODEC_H264) {
        rc = mdvr_bus_h264(world->bus, ref, now_ms, &ref);

        if (rc != MDVR_OK) {
            return rc == MDVR_E_UNAVAILABLE ? MDVR_E_UNSUPPORTED : rc;
        }
    }

    peer = calloc(1, sizeof(*peer));

    if (peer == NULL) {
        return MDVR_E_NO_MEMORY;
    }

    peer->world = world;
    peer->ref = ref;
    peer->created_ms = peer->heard_ms = now_ms;
    random_text(peer->ufrag, RTC_UFRAG);
    random_text(peer->pwd, RTC_PWD);
    memcpy(peer->dtls.expected, offer->fingerprint, 32);
    peer->dtls.send = peer_dtls_send;
    peer->dtls.data = peer;

    peer->video.ssrc = random_u32() | 1;
    peer->video.seq = (uint16_t) random_u32();
    peer->video.pt = offer->video < 0
                     ? 0 : (uint8_t) offer->media[offer->video].pt;
    peer->video_base = random_u32();
    peer->sent = peer->video.seq;

    if (offer->audio >= 0) {
        peer->audio.ssrc = peer->video.ssrc ^ 0x5a5a5a5a;
        peer->audio.seq = (uint16_t) random_u32();
        peer->audio.timestamp = random_u32();
        peer->audio.pt = (uint8_t) offer->media[offer->audio].pt;
        peer->pcmu = offer->media[offer->audio].pcmu;

        peer->mic.wanted = offer->mic && info.kind == MDVR_BUS_KIND_TALK
                           && offer->media[offer->audio].sends;
        peer->mic.pt = peer->audio.pt;
        peer->mic.pcmu = peer->pcmu;
    }

    a = (rtc_answer_t) {
        .ufrag = peer->ufrag,
        .pwd = peer->pwd,
        .fingerprint = world->dtls.fingerprint,
        .candidates = world->candidates,
        .ssrc_video = peer->video.ssrc,
        .ssrc_audio = peer->audio.ssrc,
        .mic = peer->mic.wanted,
        .session = (uint64_t) random_u32() << 16 | 1
    };

    rc = rtc_sdp_answer(offer, &a, answer);

    if (rc == MDVR_OK) {
        rc = rtc_dtls_open(&world->dtls, &peer->dtls);
    }

    if (rc == MDVR_OK) {
        rc = mdvr_bus_viewer_add(world->bus, ref);
    }

    if (rc != MDVR_OK) {
        rtc_dtls_close(&peer->dtls);
        free(peer);
        return rc;
    }

    *out = peer;
    return MDVR_OK;
}


void
rtc_peer_free(rtc_peer_t *peer, int64_t now_ms)
{
    rtc_dtls_close(&peer->dtls);
    mdvr_bus_viewer_del(peer->world->bus, peer->ref, now_ms);
    free(peer);
}


const char *
rtc_peer_ufrag(const rtc_peer_t *peer)
{
    return peer->ufrag;
}


rtc_peer_state_e
rtc_peer_state(const rtc_peer_t *peer)
{
    return peer->state;
}


uint32_t
rtc_peer_slot(const rtc_peer_t *peer)
{
    return peer->ref.index;
}


const char *
rtc_peer_reason(const rtc_peer_t *peer)
{
    return peer->reason ? peer->reason : "none";
}


bool
rtc_peer_is_from(const rtc_peer_t *peer, const rtc_path_t *path,
    const struct sockaddr *from, socklen_t len)
{
    return peer->path == path && peer->addr_len == len
           && memcmp(&peer->addr, from, len) == 0;
}


void
rtc_peer_check(rtc_peer_t *peer, rtc_path_t *path,
    const struct sockaddr *from, socklen_t from_len, const uint8_t *p,
    const rtc_stun_t *stun, int64_t now_ms)
{
    size_t   n;
    uint8_t  out[128];

    if (peer->state == RTC_PEER_OVER
        || !rtc_stun_verify(p, stun, peer->pwd))
    {
        peer->world->bad_datagrams++;
        return;
    }

    peer->heard_ms = now_ms;

    n = rtc_stun_answer(stun, from, peer->pwd, out);
    path->send(path, from, from_len, out, n);

    /* the first good check opens the way, later only a nomination moves it */

    if (stun->use_candidate || peer->path == NULL) {
        peer->path = path;
        memcpy(&peer->addr, from, from_len);
        peer->addr_len = from_len;

        if (peer->state == RTC_PEER_NEW) {
            peer->state = RTC_PEER_CHECKED;
        }
    }
}


void
rtc_peer_lost(rtc_peer_t *peer, const rtc_path_t *path)
{
    if (peer->path == path) {
        peer->path = NULL;      /* another candidate may still take over */
    }
}


static void
peer_up(rtc_peer_t *peer, int64_t now_ms)
{
    peer->state = RTC_PEER_UP;
    peer->report_ms = now_ms;
    peer->pace_ms = now_ms;
    peer->pace_left = PACE_BURST;

    if (mdvr_bus_reader_init(peer->world->bus, peer->ref,
                             MDVR_BUS_RING_MEDIA, false, &peer->reader)
        != MDVR_OK)
    {
        peer_over(peer, "not_found");
        return;
    }

    mdvr_bus_want_audio(peer->world->bus, peer->ref, now_ms + 15000);
    (void) rtc_mic_open(&peer->mic, peer->world->bus, peer->ref);
}


/* A packet of the viewer's microphone; of others nobody asked for any. */

static void
peer_speech(rtc_peer_t *peer, uint8_t *p, size_t len, int64_t now_ms)
{
    int           n = (int) len;
    rtc_rtp_in_t  in;

    if (!peer->mic.claimed) {
        return;
    }

    if (srtp_unprotect(peer->dtls.rx, p, &n) != srtp_err_status_ok
        || rtc_rtp_parse(p, (size_t) n, &in) != MDVR_OK)
    {
        peer->world->bad_datagrams++;
        return;
    }

    peer->heard_ms = now_ms;
    peer->world->speech++;

    (void) rtc_mic_packet(&peer->mic, peer->world->bus, peer->ref, &in);
}


static void
peer_nack(void *data, uint32_t ssrc, uint16_t seq)
{
    rtc_peer_t    *peer = data;
    rtc_packet_t  *packet = &peer->history[seq % RTC_HISTORY];

    /* only what was sent: the rest is still on its way */

    if (ssrc != peer->video.ssrc || packet->len == 0 || packet->seq != seq
        || (int16_t) (seq - peer->sent) >= 0)
    {
        return;
    }

    peer->world->nacks++;
    peer_send(peer, packet->data, packet->len);
}


static void
peer_pli(void *data, uint32_t ssrc)
{
    int64_t      now;
    rtc_peer_t  *peer = data;

    now = mdvr_bus_clock_ms();

    if (ssrc == peer->video.ssrc && now - peer->pli_ms >= PLI_MS) {
        peer->pli_ms = now;
        peer->world->plis++;
        mdvr_bus_want(peer->world->bus, peer->ref, MDVR_BUS_WANT_KEY);
    }
}


static void
peer_bye(void *data)
{
    (void) data;                /* a stream less is not a viewer less */
}


void
rtc_peer_datagram(rtc_peer_t *peer, uint8_t *p, size_t len, int64_t now_ms)
{
    int                n;
    mdvr_rc_t          rc;
    rtc_rtcp_events_t  events;

    if (peer->state == RTC_PEER_OVER || len < 2) {
        return;
    }

    if (p[0] >= 20 && p[0] <= 63) {                     /* RFC 7983: DTLS */
        rc = rtc_dtls_feed(&peer->dtls, p, len);

        if (rc == MDVR_E_CLOSED) {
            peer_over(peer, "viewer_left");

        } else if (rc == MDVR_OK && peer->state == RTC_PEER_CHECKED) {
            peer_up(peer, now_ms);

        } else if (rc != MDVR_OK && rc != MDVR_AGAIN) {
            peer_over(peer, "handshake_failed");
        }

        return;
    }

    if (p[0] < 128 || p[0] > 191 || !peer->dtls.up) {
        peer->world->bad_datagrams++;
        return;
    }

    n = (int) len;

    if (p[1] < 192 || p[1] > 223) {                     /* RFC 5761: SRTP */
        peer_speech(peer, p, len, now_ms);
        return;
    }

    if (srtp_unprotect_rtcp(peer->dtls.rx, p, &n) != srtp_err_status_ok) {
        peer->world->bad_datagrams++;
        return;
    }

    peer->heard_ms = now_ms;
    events = (rtc_rtcp_events_t) { peer_nack, peer_pli, peer_bye, peer };
    rtc_rtcp_parse(p, (size_t) n, &events);
}


static mdvr_rc_t
peer_queue(void *data, uint8_t *rtp, size_t len, uint16_t seq)
{
    int            n;
    rtc_peer_t    *peer = data;
    rtc_packet_t  *packet = &peer->history[seq % RTC_HISTORY];

    memcpy(packet->data, rtp, len);
    n = (int) len;

    if (srtp_protect(peer->dtls.tx, packet->data, &n) != srtp_err_status_ok) {
        packet->len = 0;
        return MDVR_E_INTERNAL;
    }

    packet->seq = seq;
    packet->len = (uint16_t) n;
    return MDVR_OK;
}


static mdvr_rc_t
peer_send_audio(void *data, uint8_t *rtp, size_t len, uint16_t seq)
{
    int          n;
    uint8_t      packet[RTC_PACKET_MAX + SRTP_MAX_TRAILER_LEN];
    rtc_peer_t  *peer = data;

    (void) seq;

    memcpy(packet, rtp, len);
    n = (int) len;

    if (srtp_protect(peer->dtls.tx, packet, &n) != srtp_err_status_ok) {
        return MDVR_E_INTERNAL;
    }

    peer_send(peer, packet, (size_t) n);
    return MDVR_OK;
}


/* The device's sound as G.711 of the viewer's law. */

static void
peer_audio(rtc_peer_t *peer, const mdvr_bus_rec_t *rec, const uint8_t *p)
{
    size_t   n, at, step;
    int16_t  pcm[SAMPLES_MAX];
    uint8_t  out[SAMPLES_MAX];

    if (peer->audio.ssrc == 0) {
        return;
    }

    /* after a pause the clock has gone on */

    if (peer->audio_us && rec->received_us > peer->audio_us + PAUSE_US) {
        peer->audio.timestamp += (uint32_t) ((rec->received_us
                                              - peer->audio_us) / 125);
        peer->audio_started = false;
    }

    peer->audio_us = rec->received_us;

    n = mdvr_voice_decode(&peer->voice, rec->codec, mdvr_str(p, rec->len), pcm,
                          SAMPLES_MAX);

    for (size_t i = 0; i < n; i++) {
        out[i] = peer->pcmu ? mdvr_ulaw_encode(pcm[i])
                            : mdvr_alaw_encode(pcm[i]);
    }

    for (at = 0; at < n; at += step) {
        step = n - at < 160 ? n - at : 160;             /* 20 ms */
        (void) rtc_rtp_audio(&peer->audio, mdvr_str(out + at, step),
                             !peer->audio_started, peer_send_audio, peer);
        peer->audio.timestamp += (uint32_t) step;
        peer->audio_started = true;
    }
}


/* Sends what waits as far as the pacer allows; false: it said stop. */

static bool
peer_flush(rtc_peer_t *peer, int64_t now_ms)
{
    rtc_packet_t  *packet;

    if (now_ms > peer->pace_ms) {
        peer->pace_left += (int) (now_ms - peer->pace_ms > 100
                                  ? 100 : now_ms - peer->pace_ms)
                           * PACE_BYTES_MS;
        peer->pace_ms = now_ms;

        if (peer->pace_left > PACE_BURST) {
            peer->pace_left = PACE_BURST;
        }
    }

    while (peer->sent != peer->video.seq) {

        if (peer->pace_left <= 0) {
            return false;
        }

        packet = &peer->history[peer->sent % RTC_HISTORY];

        if (packet->len && packet->seq == peer->sent) {
            peer_send(peer, packet->data, packet->len);
            peer->pace_left -= packet->len;
        }

        peer->sent++;
    }

    return true;
}


/* The session has turned out to be H.265; false: nobody makes H.264 of it. */

static bool
peer_switch(rtc_peer_t *peer)
{
    mdvr_rc_t        rc;
    mdvr_bus_t      *bus = peer->world->bus;
    mdvr_bus_ref_t   ref, old = peer->ref;

    rc = mdvr_bus_h264(bus, old, mdvr_bus_clock_ms(), &ref);

    if (rc == MDVR_OK) {
        rc = mdvr_bus_viewer_add(bus, ref);
    }

    if (rc != MDVR_OK
        || mdvr_bus_reader_init(bus, ref, MDVR_BUS_RING_MEDIA, false,
                                &peer->reader)
           != MDVR_OK)
    {
        if (rc == MDVR_OK) {
            mdvr_bus_viewer_del(bus, ref, mdvr_bus_clock_ms());
        }

        peer_over(peer, rc == MDVR_E_BUSY ? "busy" : "unsupported");
        return false;
    }

    peer->ref = ref;
    mdvr_bus_viewer_del(bus, old, mdvr_bus_clock_ms());
    mdvr_bus_want_audio(bus, ref, mdvr_bus_clock_ms() + 15000);

    return true;
}


/* Takes one record; false: nothing there. */

static bool
peer_take(rtc_peer_t *peer, uint8_t *copy, size_t cap)
{
    uint64_t        overruns;
    mdvr_rc_t       rc;
    mdvr_bus_rec_t  rec;

    overruns = peer->reader.overruns;
    rc = mdvr_bus_read(peer->world->bus, &peer->reader, &rec, copy, cap);
    peer->world->skips += peer->reader.overruns - overruns;

    if (rc == MDVR_AGAIN) {
        return false;
    }

    if (rc == MDVR_E_NOT_FOUND) {
        peer_over(peer, "ended");
        return false;
    }

    if (rc != MDVR_OK) {
        return true;                    /* overwritten: look again */
    }

    if (rec.flags & MDVR_BUS_F_AUDIO) {
        peer_audio(peer, &rec, copy + rec.hdr_len);
        return true;
    }

    if (rec.codec != MDVR_CODEC_H264) {
        return peer_switch(peer);
    }

    peer->video.timestamp = peer->video_base
                            + (uint32_t) (rec.pts_us * 9 / 100);
    peer->last_pts_us = rec.pts_us;
    peer->last_unix_us = rec.received_us;

    (void) rtc_rtp_h264(&peer->video,
                        mdvr_str(copy + rec.hdr_len, rec.len - rec.hdr_len),
                        peer_queue, peer);
    return true;
}


bool
rtc_peer_pump(rtc_peer_t *peer, int64_t now_ms)
{
    static uint8_t  copy[4 * 1024 * 1024 + 4096];   /* largest access unit */

    if (peer->state != RTC_PEER_UP || peer->path == NULL) {
        return false;
    }

    do {
        if (!peer_flush(peer, now_ms)) {

            /* more than a second behind: what waits is of no use any more */

            if (mdvr_bus_lag(peer->world->bus, &peer->reader) > 512 * 1024
                && mdvr_bus_skip(peer->world->bus, &peer->reader))
            {
                peer->world->skips++;
            }

            return true;
        }

    } while (peer_take(peer, copy, sizeof(copy)));

    return false;
}


static uint64_t
unix_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


static void
peer_report(rtc_peer_t *peer, const rtc_rtp_t *rtp, uint64_t now_us,
    uint32_t timestamp)
{
    int      n;
    uint8_t  out[64 + SRTP_MAX_TRAILER_LEN + 4];

    n = (int) rtc_rtcp_report(rtp, now_us, timestamp, out);

    if (srtp_protect_rtcp(peer->dtls.tx, out, &n) == srtp_err_status_ok) {
        peer_send(peer, out, (size_t) n);
    }
}


static void
peer_reports(rtc_peer_t *peer)
{
    uint64_t  now, ahead;

    now = unix_us();

    /* both clocks extrapolated from the newest frame to this instant */

    if (peer->video.packets && now >= peer->last_unix_us) {
        ahead = now - peer->last_unix_us;
        peer_report(peer, &peer->video, now,
                    peer->video_base
                    + (uint32_t) ((peer->last_pts_us + ahead) * 9 / 100));
    }

    if (peer->audio.packets) {
        peer_report(peer, &peer->audio, now, peer->audio.timestamp);
    }
}


void
rtc_peer_tick(rtc_peer_t *peer, int64_t now_ms)
{
    mdvr_bus_info_t  info;

    if (peer->state == RTC_PEER_OVER) {
        return;
    }

    if (mdvr_bus_info(peer->world->bus, peer->ref, &info) != MDVR_OK) {
        peer_over(peer, "ended");
        return;
    }

    if (info.state == MDVR_BUS_ENDING) {
        peer_over(peer, mdvr_bus_end_name(info.end));
        return;
    }

    if (peer->state != RTC_PEER_UP) {

        if (now_ms - peer->created_ms > SETUP_MS) {
            peer_over(peer, "no_connection");

        } else if (peer->state == RTC_PEER_CHECKED
                   && rtc_dtls_timeout(&peer->dtls) == 0)
        {
            (void) rtc_dtls_feed(&peer->dtls, NULL, 0);
        }

        return;
    }

    if (now_ms - peer->heard_ms > CONSENT_MS) {
        peer_over(peer, "no_connection");
        return;
    }

    if (now_ms - peer->report_ms >= REPORT_MS) {
        peer->report_ms = now_ms;
        peer_reports(peer);

        if (peer->audio.ssrc) {
            mdvr_bus_want_audio(peer->world->bus, peer->ref, now_ms + 15000);
        }
    }
}
