/*
 * As much of fragmented MP4 as a player needs: the codec strings and time scales of an init segment, and the
 * decode time of a fragment.  Pure, over borrowed bytes; returns null for what is not understood.
 *
 * Sources: ISO 14496-12 (boxes), ISO 14496-15 5.3.3 (avcC), 8.3.3 and annex E (hvcC and its codec string).
 */

export interface Track {
    id: number;
    timescale: number;
    codec: string;          /* "avc1.64001f", "hvc1.1.6.L93.B0", "mp4a.40.2" */
    video: boolean;
    width: number;
    height: number;
}

export interface Init {
    tracks: Track[];
    mime: string;           /* for MediaSource.isTypeSupported() and addSourceBuffer() */
}

interface Box {
    type: string;
    start: number;          /* of the content */
    end: number;
}

function view(b: Uint8Array): DataView {
    return new DataView(b.buffer, b.byteOffset, b.byteLength);
}

function fourcc(b: Uint8Array, at: number): string {
    return String.fromCharCode(b[at], b[at + 1], b[at + 2], b[at + 3]);
}

export function boxes(b: Uint8Array, start = 0, end = b.length): Box[] {
    const v = view(b);
    const list: Box[] = [];

    for (let at = start; at + 8 <= end; ) {
        let size = v.getUint32(at);
        let head = 8;

        if (size === 1) {
            if (at + 16 > end) {
                break;
            }
            size = v.getUint32(at + 8) * 2 ** 32 + v.getUint32(at + 12);
            head = 16;

        } else if (size === 0) {
            size = end - at;
        }

        if (size < head || at + size > end) {
            break;
        }

        list.push({ type: fourcc(b, at + 4), start: at + head, end: at + size });
        at += size;
    }

    return list;
}

function find(b: Uint8Array, in_box: Box | null, ...path: string[]): Box | null {
    let box = in_box;

    for (const type of path) {
        const list = box ? boxes(b, box.start, box.end) : boxes(b);
        box = list.find((x) => x.type === type) ?? null;
        if (!box) {
            return null;
        }
    }
    return box;
}

export function is_init(b: Uint8Array): boolean {
    return b.length >= 8 && (fourcc(b, 4) === 'ftyp' || fourcc(b, 4) === 'moov');
}

function hex2(n: number): string {
    return n.toString(16).padStart(2, '0');
}

export function avc_string(type: string, b: Uint8Array, at: number): string {
    return `${type}.${hex2(b[at + 1])}${hex2(b[at + 2])}${hex2(b[at + 3])}`;
}

export function hevc_string(type: string, b: Uint8Array, at: number): string {
    const space = ['', 'A', 'B', 'C'][b[at + 1] >> 6];
    const tier = b[at + 1] & 0x20 ? 'H' : 'L';
    const profile = b[at + 1] & 0x1f;

    /* the compatibility flags are written with their bits in reverse order */
    let compat = 0;
    for (let i = 0; i < 32; i++) {
        if (b[at + 2 + (i >> 3)] & (0x80 >> (i & 7))) {
            compat += 2 ** i;
        }
    }

    const constraints = Array.from(b.subarray(at + 6, at + 12));
    while (constraints.length > 0 && constraints[constraints.length - 1] === 0) {
        constraints.pop();
    }

    const parts = [`${type}`, `${space}${profile}`, compat.toString(16).toUpperCase(), `${tier}${b[at + 12]}`,
        ...constraints.map((c) => c.toString(16).toUpperCase())];
    return parts.join('.');
}

function track(b: Uint8Array, trak: Box): Track | null {
    const v = view(b);
    const tkhd = find(b, trak, 'tkhd');
    const mdhd = find(b, trak, 'mdia', 'mdhd');
    const stsd = find(b, trak, 'mdia', 'minf', 'stbl', 'stsd');

    if (!tkhd || !mdhd || !stsd) {
        return null;
    }

    const id = v.getUint32(tkhd.start + (b[tkhd.start] === 1 ? 20 : 12));
    const timescale = v.getUint32(mdhd.start + (b[mdhd.start] === 1 ? 20 : 12));
    const entry = boxes(b, stsd.start + 8, stsd.end)[0];

    if (!entry || timescale === 0) {
        return null;
    }

    if (entry.type === 'mp4a') {
        return { id, timescale, codec: 'mp4a.40.2', video: false, width: 0, height: 0 };
    }
    if (entry.type === 'Opus') {
        return { id, timescale, codec: 'opus', video: false, width: 0, height: 0 };
    }

    if (entry.end - entry.start < 78) {
        return null;
    }

    const inner = boxes(b, entry.start + 78, entry.end);
    const avcc = inner.find((x) => x.type === 'avcC');
    const hvcc = inner.find((x) => x.type === 'hvcC');
    const size = { width: v.getUint16(entry.start + 24), height: v.getUint16(entry.start + 26) };

    if (avcc && avcc.end - avcc.start >= 4) {
        return { id, timescale, codec: avc_string(entry.type, b, avcc.start), video: true, ...size };
    }
    if (hvcc && hvcc.end - hvcc.start >= 13) {
        return { id, timescale, codec: hevc_string(entry.type, b, hvcc.start), video: true, ...size };
    }
    return null;
}

export function parse_init(b: Uint8Array): Init | null {
    const moov = find(b, null, 'moov');
    if (!moov) {
        return null;
    }

    const tracks: Track[] = [];
    for (const box of boxes(b, moov.start, moov.end)) {
        if (box.type === 'trak') {
            const t = track(b, box);
            if (t) {
                tracks.push(t);
            }
        }
    }

    const video = tracks.some((t) => t.video);
    if (tracks.length === 0) {
        return null;
    }

    return { tracks, mime: `${video ? 'video' : 'audio'}/mp4; codecs="${tracks.map((t) => t.codec).join(',')}"` };
}

export function is_hevc(init: Init): boolean {
    return init.tracks.some((t) => t.codec.startsWith('hvc1') || t.codec.startsWith('hev1'));
}

/* Decode time of the first video (or else first) sample of a fragment, in seconds. */
export function fragment_time(b: Uint8Array, init: Init): number | null {
    const moof = find(b, null, 'moof');
    if (!moof) {
        return null;
    }

    const v = view(b);
    let other: number | null = null;

    for (const traf of boxes(b, moof.start, moof.end)) {
        if (traf.type !== 'traf') {
            continue;
        }

        const tfhd = find(b, traf, 'tfhd');
        const tfdt = find(b, traf, 'tfdt');
        if (!tfhd || !tfdt) {
            continue;
        }

        const id = v.getUint32(tfhd.start + 4);
        const t = init.tracks.find((x) => x.id === id);
        if (!t) {
            continue;
        }

        const at = tfdt.start + 4;
        const ticks = b[tfdt.start] === 1 ? v.getUint32(at) * 2 ** 32 + v.getUint32(at + 4) : v.getUint32(at);

        if (t.video) {
            return ticks / t.timescale;
        }
        other ??= ticks / t.timescale;
    }

    return other;
}
