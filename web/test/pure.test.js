/* The parts of the console that need no browser: formats, order of the list, waiting times, grid, problems. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { role_scopes } from '../src/api.ts';
import { Backoff } from '../src/backoff.ts';
import { socket_url } from '../src/config.ts';
import { token_of, unpack } from '../src/feed.ts';
import { command_examples, routes } from '../src/features.ts';
import { channel_names, choose, has_place, is_moving } from '../src/fleet.ts';
import { corners_of, corners_text, ring_of } from '../src/admin/corners.ts';
import { browser_of } from '../src/admin/agent.ts';
import { split_hash, with_query } from '../src/address.ts';
import { ago, bitrate, bytes, compass, coordinate, duration, speed, words, offset_text, seen } from '../src/format.ts';
import { day_of, day_start, file_at, moment_at, place_of } from '../src/recordings/spans.ts';
import { best_wall, decimals, grid_step, ticks } from '../src/grid.ts';
import { Problem, retry_after } from '../src/problem.ts';
import { Seen } from '../src/socket.ts';
import { at_time } from '../src/track.ts';
import { label_of } from '../src/ui.ts';

const now = Date.parse('2026-01-31T08:15:30.250Z');

test('ages are short', () => {
    assert.equal(ago(null, now), 'never');
    assert.equal(ago('2026-01-31T08:15:30.000Z', now), 'now');
    assert.equal(ago('2026-01-31T08:15:10.000Z', now), '20 s');
    assert.equal(ago('2026-01-31T08:10:30.000Z', now), '5 min');
    assert.equal(ago('2026-01-31T05:15:30.000Z', now), '3 h');
    assert.equal(ago('2026-01-28T08:15:30.000Z', now), '3 d');
    assert.equal(ago('2026-01-31T08:20:00.000Z', now), 'now', 'a clock that runs ahead');
    assert.equal(ago('rubbish', now), '–');
});

test('values read well', () => {
    assert.equal(speed(0), '0');
    assert.equal(speed(49.6), '50');
    assert.equal(speed(null), '–');
    assert.equal(coordinate(-33.8688, 151.2093), '33.86880° S, 151.20930° E');
    assert.equal(bitrate(845_123), '845 kbit/s');
    assert.equal(bitrate(2_040_000), '2.0 Mbit/s');
    assert.equal(bytes(1536), '2 KiB');
    assert.equal(bytes(3 * 2 ** 30), '3.0 GiB');
    assert.equal(duration(3725), '1 h 2 min');
    assert.equal(words('camera_covered'), 'Camera covered');
    assert.equal(compass(0), 'N');
    assert.equal(compass(359), 'N');
    assert.equal(compass(-90), 'W');
    assert.equal(compass(152.1), 'SE');
});

function vehicle(label, extra = {}) {
    return { id: label, serial: `s${label}`, label, name: '', imei: '', channels: [], online: true, offline_reason: '', seen_at: null,
        position: null, lat: null, lon: null, trail: [], groups: [], alarms: 0, ...extra };
}

test('the list is searched, filtered and sorted', () => {
    const all = [
        vehicle('34 AB 10', { position: { speed_kmh: 60 }, seen_at: '2026-01-31T08:00:00.000Z' }),
        vehicle('34 AB 9', { name: 'Night bus', position: { speed_kmh: 0 }, seen_at: '2026-01-31T09:00:00.000Z' }),
        vehicle('06 XY 1', { online: false, position: { speed_kmh: 80 } }),
        vehicle('35 ZZ 5', { alarms: 1 }),
    ];
    const labels = (...a) => choose(all, ...a).map((v) => v.label);

    assert.deepEqual(labels('', 'all', 'label', false), ['06 XY 1', '34 AB 9', '34 AB 10', '35 ZZ 5'], 'numbers as numbers');
    assert.deepEqual(labels('', 'all', 'label', true), ['35 ZZ 5', '34 AB 10', '34 AB 9', '06 XY 1']);
    assert.deepEqual(labels('ab 34', 'all', 'label', false), ['34 AB 9', '34 AB 10'], 'words in any order');
    assert.deepEqual(labels('NIGHT', 'all', 'label', false), ['34 AB 9']);
    assert.deepEqual(labels('', 'offline', 'label', false), ['06 XY 1']);
    assert.deepEqual(labels('', 'moving', 'label', false), ['34 AB 10'], 'who is offline does not move');
    assert.equal(labels('', 'online', 'speed', false)[0], '34 AB 10');
    assert.equal(labels('', 'all', 'seen', false)[0], '34 AB 9');
    assert.deepEqual(labels('', 'all', 'state', false), ['35 ZZ 5', '34 AB 10', '34 AB 9', '06 XY 1']);
    assert.equal(is_moving(all[0]), true);
    all[2].groups = ['g'];
    assert.deepEqual(labels('', 'all', 'label', false, 'g'), ['06 XY 1'], 'of one group');
});

test('channels come as a number or as a list', () => {
    assert.equal(channel_names(4).length, 4);
    assert.equal(channel_names(undefined).length, 4);
    assert.deepEqual(channel_names([{ channel: 2, name: 'Driver' }, { channel: 1 }]), ['', 'Driver']);
    assert.equal(channel_names(-1).length, 0);
});

test('a place needs a fix', () => {
    assert.equal(has_place({ at: '', lat: 41, lon: 29, gps_valid: true }), true);
    assert.equal(has_place({ at: '', lat: 41, lon: 29, gps_valid: false }), false);
    assert.equal(has_place({ at: '', lat: 0, lon: 0 }), false);
    assert.equal(has_place({ at: '', lat: null, lon: null }), false);
    assert.equal(has_place(null), false);
});

test('waiting doubles up to a limit, and never vanishes', () => {
    const low = new Backoff(500, 8000, () => 0);
    const high = new Backoff(500, 8000, () => 1);

    assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => low.next()), [250, 500, 1000, 2000, 4000, 4000]);
    assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => high.next()), [500, 1000, 2000, 4000, 8000, 8000]);
    assert.equal(high.tries, 6);
    high.reset();
    assert.equal(high.next(), 500);
});

test('grid steps are 1, 2 or 5', () => {
    assert.equal(grid_step(0.001, 120).toFixed(6), '0.200000');
    assert.equal(grid_step(0.00001, 120).toFixed(6), '0.002000');
    assert.equal(grid_step(0.00005, 100).toFixed(6), '0.005000');
    assert.ok(grid_step(0, 100) > 0);
    assert.equal(decimals(0.002), 3);
    assert.equal(decimals(0.1), 1);
    assert.equal(decimals(5), 0);
    assert.deepEqual(ticks(28.95, 29.25, 0.1).map((x) => x.toFixed(1)), ['29.0', '29.1', '29.2']);
    assert.ok(ticks(0, 1e9, 0.001).length <= 201, 'bounded');
});

test('the wall makes pictures as large as possible', () => {
    assert.deepEqual(best_wall(1, 800, 600), { columns: 1, rows: 1 });
    assert.deepEqual(best_wall(2, 1600, 450), { columns: 2, rows: 1 });
    assert.deepEqual(best_wall(2, 600, 800), { columns: 1, rows: 2 });
    assert.deepEqual(best_wall(4, 1600, 900), { columns: 2, rows: 2 });
    assert.deepEqual(best_wall(9, 1600, 900), { columns: 3, rows: 3 });
    assert.deepEqual(best_wall(0, 100, 100), { columns: 1, rows: 1 });
});

test('problems become sentences', () => {
    assert.equal(new Problem(0, {}, 0).message, 'The server cannot be reached.');
    assert.equal(new Problem(429, {}, 12).message, 'Too many attempts. Try again in 12 s.');
    assert.equal(new Problem(429, {}, 600).message, 'Too many attempts. Try again in 10 min.');
    assert.equal(new Problem(409, { code: 'device_offline', title: 'x' }, 0).message, 'The vehicle is offline. Try again when it is back.');
    assert.equal(new Problem(422, { title: 'Invalid', errors: [{ field: 'serial', message: 'too long' }] }, 0).message,
        'Invalid serial: too long');
    assert.equal(new Problem(500, {}, 0).message, 'The server answered 500.');

    assert.equal(retry_after('7', now), 7);
    assert.equal(retry_after(null, now), 0);
    assert.equal(Math.round(retry_after('Sat, 31 Jan 2026 08:16:30 GMT', now)), 60);
    assert.equal(retry_after('soon', now), 0);
});

test('the socket address follows the page', () => {
    const c = { ws_url: null, ws_port: 4001 };
    assert.equal(socket_url(c, { protocol: 'http:', hostname: 'h', host: 'h:3000' }), 'ws://h:4001/ws');
    assert.equal(socket_url(c, { protocol: 'https:', hostname: 'h', host: 'h:3443' }), 'wss://h:3443/ws');
    assert.equal(socket_url({ ...c, ws_url: '/ws' }, { protocol: 'http:', hostname: 'h', host: 'h:3000' }), 'ws://h:3000/ws');
    assert.equal(socket_url({ ...c, ws_url: 'wss://x/ws' }, { protocol: 'http:', hostname: 'h', host: 'h' }), 'wss://x/ws');
});

test('routes are read from the OpenAPI document', () => {
    const r = routes({ '/devices/{id}/trips': { get: {} }, '/api/v1/alarms': { get: {}, post: {} } });
    assert.ok(r.has('GET /devices/{}/trips'));
    assert.ok(r.has('POST /alarms'));
    assert.ok(!r.has('GET /tenants'));
});

test('scopes of the roles', () => {
    assert.ok(role_scopes('tenant_admin').includes('alarm:acknowledge'));
    assert.ok(!role_scopes('technician').includes('alarm:acknowledge'));
    assert.ok(role_scopes('technician').includes('device:write'));
    assert.deepEqual(role_scopes('client_user'), ['device:read', 'video:watch', 'alarm:read']);
    assert.deepEqual(role_scopes('nobody'), []);
});

test('seen ids are remembered, but not for ever', () => {
    const s = new Seen(3);
    assert.equal(s.add('a'), true);
    assert.equal(s.add('a'), false);
    s.add('b');
    s.add('c');
    s.add('d');
    assert.equal(s.add('a'), true, 'the oldest was forgotten');
    assert.equal(s.add('d'), false);
});

test('replay stands between two reports, but does not fly over a gap', () => {
    const fixes = [
        { t: 0, lat: 41, lon: 29, speed: 10, course: 90 },
        { t: 10_000, lat: 41.001, lon: 29.002, speed: 20, course: 80 },
        { t: 900_000, lat: 42, lon: 30, speed: 5, course: 70 },
    ];
    assert.equal(at_time([], 5), null);
    assert.equal(at_time(fixes, -5).lat, 41);
    const half = at_time(fixes, 5000);
    assert.equal(half.lat.toFixed(4), '41.0005');
    assert.equal(half.lon.toFixed(3), '29.001');
    assert.equal(half.speed, 10);
    assert.equal(at_time(fixes, 500_000).lat, 41.001);
    assert.equal(at_time(fixes, 900_000).index, 2);
    assert.equal(at_time(fixes, 1e9).lat, 42);
});

test('labels carry their unit apart', () => {
    assert.deepEqual(label_of('speed_kmh'), { text: 'Speed', unit: 'km/h' });
    assert.deepEqual(label_of('size_bytes'), { text: 'Size', unit: 'bytes' });
    assert.deepEqual(label_of('last_seen_at'), { text: 'Last seen', unit: '' });
});

test('examples of commands come from the OpenAPI document', () => {
    const paths = { '/devices/{id}/commands': { post: { requestBody: { content: { 'application/json': { examples: {
        a: { value: { type: 'snapshot', params: { channel: 1 } } }, b: { value: 7 }, c: {} } } } } } } };
    assert.deepEqual(command_examples(paths), { snapshot: { type: 'snapshot', params: { channel: 1 } } });
    assert.deepEqual(command_examples({ '/devices': { post: {} } }), {});
});

test('the address keeps filters, and leaves out what is empty', () => {
    assert.deepEqual(split_hash('#/alarms/1?severity=any&from=a%20b').path, ['alarms', '1']);
    assert.equal(split_hash('#/alarms?severity=any').query.get('severity'), 'any');
    assert.deepEqual(split_hash('#/%E0%A4').path, ['%E0%A4'], 'a broken escape is text');
    assert.equal(with_query('#/alarms?a=1&b=2', { a: '', c: '3' }), '#/alarms?b=2&c=3');
    assert.equal(with_query('', { q: 'x' }), '#/?q=x');
});

test('corners of a polygon, typed and kept', () => {
    assert.deepEqual(ring_of('47.1, 8.5\n\n 47.2 8.6 \n47.3;8.7'), [[47.1, 8.5], [47.2, 8.6], [47.3, 8.7]]);
    assert.throws(() => ring_of('47, 8\n91, 0'), /Line 2/);
    assert.throws(() => ring_of('47'), /Line 1/);
    const ring = { type: 'Polygon', coordinates: [[[8, 47], [9, 47], [9, 48], [8, 47]]] };
    assert.deepEqual(corners_of(ring), [[47, 8], [47, 9], [48, 9]]);
    assert.deepEqual(corners_of({ type: 'Point', coordinates: [8, 47] }), [[47, 8]]);
    assert.equal(corners_text([[47, 8], [48, 9]]), '47, 8\n48, 9');
});

test('days of the recorder\'s clock, and what a click in one means', () => {
    const start = day_start('2026-03-01', 120);
    assert.equal(new Date(start).toISOString(), '2026-02-28T22:00:00.000Z');
    assert.equal(day_of(start, 120), '2026-03-01');
    assert.equal(day_of(start - 1, 120), '2026-02-28');
    const spans = [{ from: '2026-03-01T00:00:00Z', to: '2026-03-01T01:00:00Z', type: 'normal' }];
    assert.deepEqual(place_of(spans[0], start), { from: 2 / 24, to: 3 / 24 });
    assert.equal(moment_at(spans, start, 2.5 / 24), Date.parse('2026-03-01T00:30:00Z'));
    assert.equal(moment_at(spans, start, 0), Date.parse('2026-03-01T00:00:00Z'), 'before it: its beginning');
    assert.equal(moment_at(spans, start, 0.9), null);
    const files = [{ channel: 1, ...spans[0] }, { channel: 2, ...spans[0] }];
    assert.equal(file_at(files, 2, Date.parse('2026-03-01T00:59:59Z')), files[1]);
    assert.equal(file_at(files, 2, Date.parse('2026-03-01T01:00:00Z')), null);
    assert.equal(offset_text(-210), '−03:30');
});

test('when a vehicle was seen, in a sentence', () => {
    assert.equal(seen(null, 0), 'never connected');
    assert.equal(seen('1970-01-01T00:00:00Z', 1000), 'seen now');
    assert.equal(seen('1970-01-01T00:00:00Z', 300_000), 'seen 5 min ago');
});

test('a session\'s browser has a name', () => {
    assert.equal(browser_of('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36'), 'Chrome 131, Linux');
    assert.equal(browser_of('curl/8.1'), 'curl/8.1');
});

/* Contrast of two colours as WCAG 2 counts it: 4.5 is what text needs. */
function contrast(one, two) {
    const light = (hex) => {
        const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [a, b] = [light(one), light(two)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
}

test('colours of text can be read, in the dark and in the light', () => {
    const css = readFileSync('src/app.css', 'utf8');
    const weak = [];
    for (const block of [/:root \{([^}]*)\}/, /\[data-theme="light"\] \{([^}]*)\}/]) {
        const v = Object.fromEntries([...block.exec(css)[1].matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map((m) => [m[1], m[2]]));
        for (const text of ['text', 'dim', 'accent', 'good', 'warn', 'bad']) {
            for (const ground of ['bg', 'panel', 'raised']) {
                const c = contrast(v[text], v[ground]);
                if (c < 4.5) {
                    weak.push(`${text} ${v[text]} on ${ground} ${v[ground]}: ${c.toFixed(2)}`);
                }
            }
        }
    }
    assert.deepEqual(weak, []);
});

test('messages of a shared socket say whose they are', () => {
    const m = unpack(Uint8Array.from([1, 2, 9, 8]).buffer);
    assert.equal(m.stream, 258);
    assert.deepEqual([...m.bytes], [9, 8]);
    assert.equal(unpack(new ArrayBuffer(1)), null);
    assert.deepEqual(token_of('wss://h.example:1/live/a.b-c/ws'), { server: 'wss://h.example:1', token: 'a.b-c' });
    assert.equal(token_of('ws://h/live/a/ws?codec=h264'), null);
});
