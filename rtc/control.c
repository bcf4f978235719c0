/*
 * The control socket: nginx checks tokens and passes the WHEP exchange on.
 *
 *   nginx -> {"op":"offer","id":"...","slot":3,"generation":17,"mic":false,
 *             "sdp":"v=0..."}\n
 *   rtc   -> {"status":201,"sdp":"v=0..."}\n      or
 *            {"status":409,"code":"...","detail":"..."}\n (and closes)
 *
 * The connection stays open as long as the viewer may watch: nginx closes it
 * when the token ends, mdvr-rtc writes {"end":"reason"}\n and closes it when
 * the viewer or the stream is gone.  So no viewer outlives its permission,
 * whatever dies.
 *
 *   nginx -> {"op":"close","id":"..."}\n    rtc -> {"status":204} or 404
 *   nginx -> {"op":"stats"}\n    rtc -> one line of counters
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "rtc/app.h"


void
rtc_control_json(conn_t *c, json_t *doc)
{
    char  *text;

    text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

    if (text) {
        rtc_conn_write(c, text, strlen(text));
        rtc_conn_write(c, "\n", 1);
        rtc_conn_flush(c);
    }

    free(text);
    json_decref(doc);
}


static void
control_refuse(conn_t *c, int status, const char *code, const char *detail)
{
    rtc_app.refused++;
    rtc_say("DEBUG", "offer refused: %s, %s", code, detail);
    rtc_control_json(c, json_pack("{s:i,s:s,s:s}", "status", status, "code",
                                  code, "detail", detail));
    c->dead = true;
}


static void
control_offer(conn_t *c, json_t *doc, int64_t now)
{
    char             answer[16384];
    json_t          *sdp, *slot, *generation;
    mdvr_rc_t        rc;
    mdvr_buf_t       buf;
    const char      *id;
    rtc_offer_t      offer;
    mdvr_bus_ref_t   ref;

    rtc_app.offers++;
    sdp = json_object_get(doc, "sdp");
    slot = json_object_get(doc, "slot");
    generation = json_object_get(doc, "generation");

    id = json_string_value(json_object_get(doc, "id"));

    if (!json_is_string(sdp) || !json_is_integer(slot)
        || !json_is_integer(generation) || id == NULL
        || strlen(id) >= sizeof(c->id))
    {
        control_refuse(c, 400, "malformed", "id, sdp, slot and generation are "
                       "required");
        return;
    }

    if (rtc_app.n_peers == PEERS_MAX) {
        control_refuse(c, 503, "busy", "too many WebRTC viewers on this node");
        return;
    }

    rc = rtc_sdp_parse(mdvr_str(json_string_value(sdp),
                                json_string_length(sdp)), &offer);

    if (rc == MDVR_E_UNSUPPORTED) {
        control_refuse(c, 422, "codec_not_offered", "the offer has neither "
                       "H.264 with packetization-mode=1 nor G.711");
        return;
    }

    if (rc != MDVR_OK) {
        control_refuse(c, 422, "malformed", "the offer is not a usable SDP: "
                       "ICE credentials and a sha-256 fingerprint are "
                       "required");
        return;
    }

    offer.mic = json_is_true(json_object_get(doc, "mic"));
    ref.index = (uint32_t) json_integer_value(slot);
    ref.generation = (uint32_t) json_integer_value(generation);
    buf = mdvr_buf(answer, sizeof(answer));

    rc = rtc_peer_new(&rtc_app.world, ref, &offer, &buf, now, &c->peer);

    if (rc == MDVR_E_ABSENT) {
        control_refuse(c, 422, "codec_not_offered", "a camera needs H.264 with "
                       "packetization-mode=1, a talk G.711");
        return;
    }

    if (rc == MDVR_E_UNSUPPORTED) {
        control_refuse(c, 409, "codec_unsupported", "the camera does not send "
                       "H.264: WebRTC cannot show it");
        return;
    }

    if (rc == MDVR_E_BUSY) {
        control_refuse(c, 503, "transcoder_busy", "the camera sends H.265, and "
                       "as many of these as this node converts are watched");
        return;
    }

    if (rc == MDVR_E_NOT_FOUND) {
        control_refuse(c, 404, "not_found", "the stream has ended");
        return;
    }

    if (rc != MDVR_OK) {
        control_refuse(c, 503, "busy", mdvr_rc_words(rc));
        return;
    }

    rtc_app.peers[rtc_app.n_peers++] = c->peer;
    strcpy(c->id, id);
    rtc_say("DEBUG", "viewer %s of stream %u begins", id, ref.index);
    rtc_control_json(c, json_pack("{s:i,s:s%}", "status", 201, "sdp", answer,
                                  buf.len));
}


/* A viewer that leaves: its own connection is closed with it. */

static void
control_close(conn_t *c, json_t *doc)
{
    conn_t      *other;
    const char  *id;

    id = json_string_value(json_object_get(doc, "id"));

    for (unsigned i = 0; id && *id && i < rtc_app.n_conns; i++) {
        other = rtc_app.conns[i];

        if (other->kind == CONN_CONTROL && other->peer && !other->dead
            && strcmp(other->id, id) == 0)
        {
            other->dead = true;
            rtc_control_json(c, json_pack("{s:i}", "status", 204));
            return;
        }
    }

    control_refuse(c, 404, "not_found", "there is no such viewer");
}


static void
control_stats(conn_t *c)
{
    unsigned  up = 0;

    for (unsigned i = 0; i < rtc_app.n_peers; i++) {
        up += rtc_peer_state(rtc_app.peers[i]) == RTC_PEER_UP;
    }

    rtc_control_json(c, json_pack(
        "{s:i,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
        "viewers", (int) rtc_app.n_peers, "connected", (int) up,
        "offers", (json_int_t) rtc_app.offers,
        "refused", (json_int_t) rtc_app.refused,
        "packets", (json_int_t) rtc_app.world.sent_packets,
        "bytes", (json_int_t) rtc_app.world.sent_bytes,
        "retransmissions", (json_int_t) rtc_app.world.nacks,
        "key_frame_requests", (json_int_t) rtc_app.world.plis,
        "skips", (json_int_t) rtc_app.world.skips,
        "speech", (json_int_t) rtc_app.world.speech,
        "bad_datagrams", (json_int_t) rtc_app.world.bad_datagrams));
}


void
rtc_control_read(conn_t *c, int64_t now)
{
    json_t      *doc;
    uint8_t     *nl;
    ssize_t      n;
    const char  *op;

    n = recv(c->fd, c->in + c->in_len, OFFER_MAX - c->in_len, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        c->dead = true;
        return;
    }

    if (n < 0) {
        return;
    }

    c->in_len += (size_t) n;

    while (!c->dead && (nl = memchr(c->in, '\n', c->in_len)) != NULL) {

        doc = json_loadb((char *) c->in, (size_t) (nl - c->in),
                         JSON_REJECT_DUPLICATES, NULL);
        op = doc ? json_string_value(json_object_get(doc, "op")) : NULL;

        if (op && strcmp(op, "offer") == 0 && c->peer == NULL) {
            control_offer(c, doc, now);

        } else if (op && strcmp(op, "close") == 0) {
            control_close(c, doc);

        } else if (op && strcmp(op, "stats") == 0) {
            control_stats(c);

        } else {
            control_refuse(c, 400, "malformed", "unknown operation");
        }

        json_decref(doc);
        c->in_len -= (size_t) (nl + 1 - c->in);
        memmove(c->in, nl + 1, c->in_len);
    }

    if (c->in_len == OFFER_MAX) {
        control_refuse(c, 413, "too_large", "offers have at most 64 KiB");
    }
}
