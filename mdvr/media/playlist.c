/*
 * Playlists as text.  Durations are written with five decimals: players add
 * them up.
 */

#include "mdvr/dc/time.h"
#include "mdvr/media/playlist.h"


static void
mdvr_hls_seconds(mdvr_buf_t *b, uint64_t us)
{
    mdvr_buf_u64(b, us / 1000000);
    mdvr_buf_chr(b, '.');
    mdvr_buf_u64w(b, us % 1000000 / 10, 5);
}


static void
mdvr_hls_part_name(mdvr_buf_t *b, const mdvr_hls_media_t *pl, uint64_t msn,
    unsigned part)
{
    mdvr_buf_str(b, pl->prefix);
    mdvr_buf_cstr(b, "part-");
    mdvr_buf_u64(b, msn);
    mdvr_buf_chr(b, '.');
    mdvr_buf_u64(b, part);
    mdvr_buf_cstr(b, ".m4s");
}


static void
mdvr_hls_head(mdvr_buf_t *b, const mdvr_hls_media_t *pl)
{
    unsigned  i;
    uint32_t  target;

    target = pl->target_us;

    for (i = 0; i < pl->nsegments; i++) {
        if (!(pl->open && i + 1 == pl->nsegments)
            && pl->segments[i].duration_us > target)
        {
            target = pl->segments[i].duration_us;
        }
    }

    mdvr_buf_cstr(b, "#EXTM3U\n#EXT-X-VERSION:");
    mdvr_buf_cstr(b, pl->low_latency ? "9\n" : "7\n");
    mdvr_buf_cstr(b, "#EXT-X-TARGETDURATION:");
    mdvr_buf_u64(b, target ? (target + 999999U) / 1000000U : 1);
    mdvr_buf_chr(b, '\n');

    if (pl->low_latency) {
        mdvr_buf_cstr(b, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,"
                         "PART-HOLD-BACK=");
        mdvr_hls_seconds(b, 3ULL * pl->part_target_us);
        mdvr_buf_cstr(b, "\n#EXT-X-PART-INF:PART-TARGET=");
        mdvr_hls_seconds(b, pl->part_target_us);
        mdvr_buf_chr(b, '\n');
    }

    mdvr_buf_cstr(b, "#EXT-X-MEDIA-SEQUENCE:");
    mdvr_buf_u64(b, pl->nsegments ? pl->segments[0].msn : 0);
    mdvr_buf_chr(b, '\n');

    if (pl->discontinuity_sequence) {
        mdvr_buf_cstr(b, "#EXT-X-DISCONTINUITY-SEQUENCE:");
        mdvr_buf_u64(b, pl->discontinuity_sequence);
        mdvr_buf_chr(b, '\n');
    }
}


static void
mdvr_hls_parts(mdvr_buf_t *b, const mdvr_hls_media_t *pl,
    const mdvr_hls_segment_t *s)
{
    unsigned  i;

    for (i = 0; i < s->nparts && s->parts; i++) {
        mdvr_buf_cstr(b, "#EXT-X-PART:DURATION=");
        mdvr_hls_seconds(b, s->parts[i].duration_us);
        mdvr_buf_cstr(b, ",URI=\"");
        mdvr_hls_part_name(b, pl, s->msn, i);
        mdvr_buf_chr(b, '"');

        if (s->parts[i].independent) {
            mdvr_buf_cstr(b, ",INDEPENDENT=YES");
        }

        mdvr_buf_chr(b, '\n');
    }
}


mdvr_rc_t
mdvr_hls_media(mdvr_buf_t *b, const mdvr_hls_media_t *pl)
{
    bool                       growing;
    unsigned                   i, whole;
    uint32_t                   version;
    const mdvr_hls_segment_t  *s;

    mdvr_hls_head(b, pl);

    whole = pl->nsegments - (pl->open && pl->nsegments ? 1 : 0);
    version = 0;

    for (i = 0; i < pl->nsegments; i++) {
        s = &pl->segments[i];
        growing = i >= whole;

        if (growing && (!pl->low_latency || s->nparts == 0)) {
            break;
        }

        if (s->discontinuity) {
            mdvr_buf_cstr(b, "#EXT-X-DISCONTINUITY\n");
        }

        if (i == 0 || s->init_version != version) {
            version = s->init_version;
            mdvr_buf_cstr(b, "#EXT-X-MAP:URI=\"");
            mdvr_buf_str(b, pl->prefix);
            mdvr_buf_cstr(b, "init-");
            mdvr_buf_u64(b, version);
            mdvr_buf_cstr(b, ".mp4\"\n");
        }

        if (s->start_unix_ms) {
            mdvr_buf_cstr(b, "#EXT-X-PROGRAM-DATE-TIME:");
            mdvr_time_write_rfc3339(b, s->start_unix_ms);
            mdvr_buf_chr(b, '\n');
        }

        if (pl->low_latency && (growing || i + pl->parts_segments >= whole)) {
            mdvr_hls_parts(b, pl, s);
        }

        if (growing) {
            break;
        }

        mdvr_buf_cstr(b, "#EXTINF:");
        mdvr_hls_seconds(b, s->duration_us);
        mdvr_buf_cstr(b, ",\n");
        mdvr_buf_str(b, pl->prefix);
        mdvr_buf_cstr(b, "seg-");
        mdvr_buf_u64(b, s->msn);
        mdvr_buf_cstr(b, ".m4s\n");
    }

    if (pl->ended) {
        mdvr_buf_cstr(b, "#EXT-X-ENDLIST\n");

    } else if (pl->low_latency && pl->nsegments) {
        s = &pl->segments[pl->nsegments - 1];

        mdvr_buf_cstr(b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
        mdvr_hls_part_name(b, pl, pl->open ? s->msn : s->msn + 1,
                           pl->open ? s->nparts : 0);
        mdvr_buf_cstr(b, "\"\n");
    }

    return b->full ? MDVR_E_NO_SPACE : MDVR_OK;
}


mdvr_rc_t
mdvr_hls_multivariant(mdvr_buf_t *b, const mdvr_hls_variant_t *variants,
    unsigned n)
{
    unsigned                   i;
    const mdvr_hls_variant_t  *v;

    mdvr_buf_cstr(b, "#EXTM3U\n#EXT-X-VERSION:9\n"
                     "#EXT-X-INDEPENDENT-SEGMENTS\n");

    for (i = 0; i < n; i++) {
        v = &variants[i];

        mdvr_buf_cstr(b, "#EXT-X-STREAM-INF:BANDWIDTH=");
        mdvr_buf_u64(b, v->bandwidth ? v->bandwidth : 1);

        if (v->average_bandwidth) {
            mdvr_buf_cstr(b, ",AVERAGE-BANDWIDTH=");
            mdvr_buf_u64(b, v->average_bandwidth);
        }

        if (v->codecs.len) {
            mdvr_buf_cstr(b, ",CODECS=\"");
            mdvr_buf_str(b, v->codecs);
            mdvr_buf_chr(b, '"');
        }

        if (v->width && v->height) {
            mdvr_buf_cstr(b, ",RESOLUTION=");
            mdvr_buf_u64(b, v->width);
            mdvr_buf_chr(b, 'x');
            mdvr_buf_u64(b, v->height);
        }

        if (v->frame_rate_milli) {
            mdvr_buf_cstr(b, ",FRAME-RATE=");
            mdvr_buf_u64(b, v->frame_rate_milli / 1000);
            mdvr_buf_chr(b, '.');
            mdvr_buf_u64w(b, v->frame_rate_milli % 1000, 3);
        }

        mdvr_buf_chr(b, '\n');
        mdvr_buf_str(b, v->uri);
        mdvr_buf_chr(b, '\n');
    }

    return b->full ? MDVR_E_NO_SPACE : MDVR_OK;
}


/* strips `prefix` and `suffix`; false when they are not there */
static bool
mdvr_hls_strip(mdvr_str_t *s, const char *prefix, const char *suffix)
{
    size_t  a, z;

    a = strlen(prefix);
    z = strlen(suffix);

    if (s->len <= a + z || memcmp(s->p, prefix, a) != 0
        || memcmp(s->p + s->len - z, suffix, z) != 0)
    {
        return false;
    }

    s->p += a;
    s->len -= a + z;

    return s->p[0] != '+';
}


bool
mdvr_hls_name(mdvr_str_t name, mdvr_hls_name_e *kind, uint64_t *number,
    int *part)
{
    uint32_t    n;
    ptrdiff_t   dot;
    mdvr_str_t  s;

    *part = -1;
    s = name;

    if (mdvr_hls_strip(&s, "init-", ".mp4")) {
        *kind = MDVR_HLS_INIT;
        return mdvr_str_u64(s, number);
    }

    s = name;

    if (mdvr_hls_strip(&s, "seg-", ".m4s")) {
        *kind = MDVR_HLS_SEGMENT;
        return mdvr_str_u64(s, number);
    }

    s = name;

    if (!mdvr_hls_strip(&s, "part-", ".m4s")) {
        return false;
    }

    *kind = MDVR_HLS_PART;
    dot = mdvr_str_chr(s, '.');

    if (dot < 0
        || !mdvr_str_u64(mdvr_str(s.p, (size_t) dot), number)
        || !mdvr_str_u32(mdvr_str(s.p + dot + 1, s.len - (size_t) dot - 1),
                         &n)
        || n > INT32_MAX)
    {
        return false;
    }

    *part = (int) n;

    return true;
}
