/*
 * HLS playlists: low-latency media playlists and the multivariant playlist.
 *
 * Names are relative and the same for every viewer:
 *
 *   init-<version>.mp4   seg-<msn>.m4s   part-<msn>.<n>.m4s   media.m3u8
 *
 * Source: RFC 8216bis (LL-HLS: EXT-X-PART, EXT-X-PRELOAD-HINT,
 * EXT-X-SERVER-CONTROL).
 */

#ifndef MDVR_MEDIA_PLAYLIST_H
#define MDVR_MEDIA_PLAYLIST_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

typedef struct {
    uint32_t  duration_us;
    bool      independent;          /* begins with a key frame */
} mdvr_hls_part_t;

typedef struct {
    uint64_t  msn;                  /* media sequence number */
    uint32_t  duration_us;          /* whole segment; ignored while open */
    int64_t   start_unix_ms;        /* 0: no EXT-X-PROGRAM-DATE-TIME */
    uint32_t  init_version;
    bool      discontinuity;        /* before this segment */
    unsigned  nparts;
    const mdvr_hls_part_t  *parts;  /* may be NULL when nparts is 0 */
} mdvr_hls_segment_t;

typedef struct {
    const mdvr_hls_segment_t  *segments;    /* oldest first */
    unsigned  nsegments;
    bool      open;                 /* the last one is still growing */
    bool      ended;                /* EXT-X-ENDLIST */
    bool      low_latency;          /* parts, hints, blocking reload */
    uint32_t  target_us;            /* longest segment, rounded up here */
    uint32_t  part_target_us;
    uint64_t  discontinuity_sequence;
    unsigned  parts_segments;       /* parts are listed for so many newest
                                       whole segments (and the open one) */
    mdvr_str_t  prefix;             /* put before every name; may be empty */
} mdvr_hls_media_t;

/* MDVR_E_NO_SPACE: the buffer was too small. */
mdvr_rc_t mdvr_hls_media(mdvr_buf_t *b, const mdvr_hls_media_t *pl);

typedef struct {
    mdvr_str_t  uri;
    mdvr_str_t  codecs;             /* "avc1.42C014,mp4a.40.2" */
    unsigned    width;
    unsigned    height;
    uint32_t    bandwidth;          /* bits per second, peak */
    uint32_t    average_bandwidth;  /* 0: not given */
    unsigned    frame_rate_milli;   /* 25000; 0: not given */
} mdvr_hls_variant_t;

mdvr_rc_t mdvr_hls_multivariant(mdvr_buf_t *b,
    const mdvr_hls_variant_t *variants, unsigned n);

/*
 * File names of requests, parsed: false when `name` is none of them.
 * part is -1 for whole segments.
 */
typedef enum {
    MDVR_HLS_INIT = 0,              /* number = version */
    MDVR_HLS_SEGMENT,               /* number = msn */
    MDVR_HLS_PART                   /* number = msn, part */
} mdvr_hls_name_e;

bool mdvr_hls_name(mdvr_str_t name, mdvr_hls_name_e *kind, uint64_t *number,
    int *part);

#endif /* MDVR_MEDIA_PLAYLIST_H */
