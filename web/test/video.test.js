/* fMP4 as the player reads it, and the rule that keeps it at the live edge. */

import assert from 'node:assert/strict';
import test from 'node:test';

import { Edge } from '../src/edge.ts';
import { end_of } from '../src/transport.ts';
import { avc_string, boxes, fragment_time, hevc_string, is_hevc, is_init, parse_init } from '../src/mp4.ts';

function u32(n) {
    return [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
}

function box(type, ...parts) {
    const body = parts.flat(Infinity);
    return [...u32(body.length + 8), ...type.split('').map((c) => c.charCodeAt(0)), ...body];
}

function zeros(n) {
    return new Array(n).fill(0);
}

const avcc = [1, 0x64, 0x00, 0x1f, 0xff];
const hvcc = [1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];

function trak(id, timescale, entry) {
    return box('trak',
        box('tkhd', u32(0), u32(0), u32(0), u32(id), zeros(68)),
        box('mdia', box('mdhd', u32(0), u32(0), u32(0), u32(timescale), u32(0), zeros(4)),
            box('minf', box('stbl', box('stsd', u32(0), u32(1), entry)))));
}

function visual(type, width, height, config) {
    return box(type, zeros(6), [0, 1], zeros(16), [width >> 8, width & 255, height >> 8, height & 255], zeros(50), config);
}

function init(...traks) {
    return Uint8Array.from([...box('ftyp', zeros(8)), ...box('moov', box('mvhd', zeros(100)), ...traks)]);
}

const h264 = init(trak(1, 90000, visual('avc1', 1920, 1080, box('avcC', avcc))),
    trak(2, 16000, box('mp4a', zeros(28))));

test('codec strings', () => {
    assert.equal(avc_string('avc1', Uint8Array.from(avcc), 0), 'avc1.64001f');
    assert.equal(hevc_string('hvc1', Uint8Array.from(hvcc), 0), 'hvc1.1.6.L93.B0');
});

test('an init segment names its tracks', () => {
    const i = parse_init(h264);
    assert.equal(is_init(h264), true);
    assert.equal(i.mime, 'video/mp4; codecs="avc1.64001f,mp4a.40.2"');
    assert.deepEqual(i.tracks[0], { id: 1, timescale: 90000, codec: 'avc1.64001f', video: true, width: 1920, height: 1080 });
    assert.equal(i.tracks[1].video, false);
    assert.equal(is_hevc(i), false);

    const hevc = parse_init(init(trak(1, 1000, visual('hvc1', 640, 360, box('hvcC', hvcc)))));
    assert.equal(is_hevc(hevc), true);
    assert.equal(hevc.mime, 'video/mp4; codecs="hvc1.1.6.L93.B0"');
});

test('an init segment cut anywhere is refused, never misread', () => {
    for (let n = 0; n < h264.length; n++) {
        assert.equal(parse_init(h264.slice(0, n)), null);
    }
    for (let n = 0; n < h264.length; n++) {
        const bad = h264.slice();
        bad[n] ^= 0xff;
        parse_init(bad);
    }
    assert.deepEqual(boxes(Uint8Array.from([0, 0, 0, 4, 1, 2, 3, 4])), [], 'a size below eight');
});

test('the time of a fragment', () => {
    const i = parse_init(h264);
    const traf = (id, version, time) => box('traf', box('tfhd', u32(0), u32(id)), box('tfdt', [version, 0, 0, 0], time));
    const moof = (...t) => Uint8Array.from([...box('moof', box('mfhd', zeros(8)), ...t), ...box('mdat', zeros(4))]);

    assert.equal(fragment_time(moof(traf(1, 0, u32(180000))), i), 2);
    assert.equal(fragment_time(moof(traf(1, 1, [...u32(1), ...u32(0)])), i), 2 ** 32 / 90000);
    assert.equal(fragment_time(moof(traf(2, 0, u32(16000)), traf(1, 0, u32(90000 * 3))), i), 3, 'video before audio');
    assert.equal(fragment_time(moof(traf(2, 0, u32(16000))), i), 1, 'audio alone');
    assert.equal(fragment_time(moof(traf(9, 0, u32(1))), i), null, 'an unknown track');
    assert.equal(fragment_time(Uint8Array.from(box('mdat', zeros(4))), i), null);
});

test('a lagging player hurries, and stops hurrying', () => {
    const e = new Edge();
    assert.deepEqual(e.step(10, 0, 10.2, 0), { rate: 1, seek: null });
    assert.deepEqual(e.step(10, 0, 10.3, 0), { rate: 1.1, seek: null });
    assert.equal(e.step(10, 0, 10.2, 0).rate, 1.1, 'still, until well inside');
    assert.equal(e.step(10, 0, 10.1, 0).rate, 1);
});

test('a player far behind jumps to the edge', () => {
    const e = new Edge();
    const s = e.step(10, 0, 12, 0);
    assert.equal(s.rate, 1);
    assert.ok(s.seek > 11.8 && s.seek < 12);
    assert.ok(e.step(3, 5, 5.3, 0).seek >= 5, 'out of the buffer');
    assert.ok(e.step(9, 0, 8, 0).seek < 8, 'ahead of the data: the clock went back');
    assert.equal(e.step(1, 1, 1.01, 0).seek, null);
});

test('a starving player grows more patient, and tightens again', () => {
    const e = new Edge();
    for (const t of [1000, 2000, 3000]) {
        e.starved(t);
    }
    assert.ok(e.target_s > 0.25);
    const grown = e.target_s;
    assert.equal(e.step(10, 0, 10.3, 4000).rate, 1);
    for (let t = 5000; t < 60_000; t += 1000) {
        e.starved(t);
    }
    assert.ok(e.target_s <= 1.5 && e.target_s > grown);
    assert.ok(e.jump_s <= 3.5);

    for (let t = 60_000; t < 1_000_000; t += 30_000) {
        e.step(10, 0, 10.1, t);
    }
    assert.equal(e.target_s, 0.25);

    const calm = new Edge();
    for (const t of [0, 20_000, 40_000, 60_000]) {
        calm.starved(t);
    }
    assert.equal(calm.target_s, 0.25, 'now and then is normal');
});

test('why a stream ended, in words and for the player', () => {
    assert.equal(end_of(4401, 'token_expired').kind, 'refused');
    assert.equal(end_of(4410, 'device_offline').kind, 'offline');
    assert.equal(end_of(4410, 'stalled').kind, 'ended');
    assert.equal(end_of(1000, 'no_viewers').kind, 'ended');
    assert.equal(end_of(4410, 'unsupported').kind, 'unsupported');
    assert.equal(end_of(1006, '').kind, 'network');
    assert.equal(end_of(1001, 'shutdown').kind, 'network');
    assert.equal(end_of(4410, 'toString').text, 'toString', 'a name it does not know is shown');
});
