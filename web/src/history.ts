/*
 * Where a vehicle was: its stored positions in a time range as a track, and a replay that moves the vehicle along
 * it at up to three hundred times its speed.
 */

import * as L from 'leaflet';
import type { Context } from './app';
import { clear, h, icon, set_attr, set_text } from './dom';
import { has } from './features';
import { has_place } from './fleet';
import { clock, compass, coordinate, date_time, duration, speed } from './format';
import { base_map, vehicle_sign } from './map';
import { at_time, trips_text } from './track';
import type { Fix } from './track';
import type { Page, Position } from './types';
import { act, local_input, say, select } from './ui';

const points_max = 20_000;

export class History {
    readonly el: HTMLElement;

    private readonly from = h('input', { type: 'datetime-local', 'aria-label': 'From', 'data-testid': 'history-from' });
    private readonly to = h('input', { type: 'datetime-local', 'aria-label': 'To', 'data-testid': 'history-to' });
    private readonly load_button = h('button', { type: 'button', class: 'primary', 'data-testid': 'history-load' }, 'Show');
    private readonly note = h('span', { class: 'dim', role: 'status', 'data-testid': 'history-note' });
    private readonly slider = h('input', { type: 'range', min: '0', max: '1000', step: '1', value: '0', 'aria-label': 'Time', 'data-testid': 'history-slider' });
    private readonly play_button = h('button', { type: 'button', class: 'icon-button', 'aria-label': 'Play', 'data-testid': 'history-play' });
    private readonly rate = select('rate', [['1', '1×'], ['10', '10×'], ['60', '60×'], ['300', '300×']], '60');
    private readonly readout = h('span', { class: 'readout', 'data-testid': 'history-readout' });
    private readonly trips = h('div', { class: 'trips' });
    private readonly map_box = h('div', { class: 'history-map' });
    private map: L.Map | null = null;
    private line: L.Polyline | null = null;
    private done: L.Polyline | null = null;
    private marker: L.Marker | null = null;
    private readonly sign = vehicle_sign();
    private fixes: Fix[] = [];
    private now_ms = 0;
    private playing = false;
    private frame = 0;

    constructor(private readonly c: Context, private readonly device_id: string) {
        const now = new Date();
        this.to.value = local_input(new Date(now.getTime() + 60_000));      /* this field knows no seconds */
        this.from.value = local_input(new Date(now.getTime() - 2 * 3600_000));

        this.rate.setAttribute('aria-label', 'Speed of the replay');
        this.load_button.addEventListener('click', () => act(this.load_button, () => this.load()));
        this.play_button.append(icon('play'));
        this.play_button.addEventListener('click', () => this.play(!this.playing));
        this.slider.addEventListener('input', () => {
            this.play(false);
            this.seek(this.start + (this.end - this.start) * Number(this.slider.value) / 1000);
        });

        const span = (text: string, hours: number) => h('button', { type: 'button', class: 'chip', onclick: () => {
            const end = new Date();
            this.to.value = local_input(new Date(end.getTime() + 60_000));
            this.from.value = local_input(new Date(end.getTime() - hours * 3600_000));
            this.load_button.click();
        } }, text);

        const exports = h('span', { class: 'chips' });
        for (const [name, type] of [['GPX', 'application/gpx+xml'], ['GeoJSON', 'application/geo+json'], ['CSV', 'text/csv']]) {
            const b = h('button', { type: 'button', class: 'chip' }, name);
            b.addEventListener('click', () => act(b, () => this.c.api.download(`/devices/${this.device_id}/telemetry`,
                `track.${name.toLowerCase()}`, { query: { ...this.range(), limit: 500 }, headers: { Accept: type } })));
            exports.append(b);
        }

        this.el = h('div', { class: 'history' },
            h('div', { class: 'filters' }, this.from, this.to, this.load_button, span('1 h', 1), span('8 h', 8), span('24 h', 24),
                h('span', { class: 'spring' }), this.note, exports),
            this.map_box,
            h('div', { class: 'replay' }, this.play_button, this.rate, this.slider, this.readout),
            this.trips);
    }

    show(): void {
        if (!this.map) {
            this.map = base_map(this.map_box, this.c.config);
            this.line = L.polyline([], { color: '#5aa9e6', weight: 3, opacity: 0.45, interactive: false }).addTo(this.map);
            this.done = L.polyline([], { color: '#5aa9e6', weight: 4, opacity: 0.95, interactive: false }).addTo(this.map);
            new ResizeObserver(() => this.map?.invalidateSize({ animate: false })).observe(this.map_box);
            this.load_button.click();
        }
        this.map.invalidateSize();
    }

    hide(): void {
        this.play(false);
    }

    private range(): { from: string; to: string } {
        return { from: new Date(this.from.value).toISOString(), to: new Date(this.to.value).toISOString() };
    }

    private get start(): number {
        return this.fixes[0]?.t ?? 0;
    }

    private get end(): number {
        return this.fixes[this.fixes.length - 1]?.t ?? 0;
    }

    private async load(): Promise<void> {
        this.play(false);
        const fixes: Fix[] = [];
        const range = this.range();
        const hours = (Date.parse(range.to) - Date.parse(range.from)) / 3600_000;
        const every_s = hours > 12 ? Math.ceil(hours / 4) : undefined;
        let cursor: string | null = null;

        set_text(this.note, 'Loading…');
        try {
            do {
                const page: Page<Position> = await this.c.api.get<Page<Position>>(`/devices/${this.device_id}/telemetry`,
                    { ...range, limit: 500, cursor, every_s });
                for (const p of page.items) {
                    if (has_place(p)) {
                        fixes.push({ t: Date.parse(p.at), lat: p.lat, lon: p.lon, speed: p.speed_kmh ?? null, course: p.course_deg ?? null });
                    }
                }
                cursor = page.next_cursor;
                set_text(this.note, `${fixes.length} positions…`);
            } while (cursor && fixes.length < points_max);
        } catch (e) {
            set_text(this.note, say(e));
            return;
        }

        this.fixes = fixes.sort((a, b) => a.t - b.t);
        set_text(this.note, fixes.length === 0 ? 'No positions in this time.'
            : `${fixes.length} positions, ${clock(this.start)} to ${clock(this.end)}`);
        this.line?.setLatLngs(this.fixes.map((f) => [f.lat, f.lon]));
        if (this.fixes.length > 0 && this.line) {
            this.map?.fitBounds(this.line.getBounds(), { padding: [40, 40], maxZoom: 16, animate: false });
        }
        this.seek(this.start);
        if (has('GET', '/devices/{}/trips')) {
            void this.load_trips(range);
        }
    }

    private async load_trips(range: { from: string; to: string }): Promise<void> {
        try {
            const page = await this.c.api.get<Page<Record<string, unknown>>>(`/devices/${this.device_id}/trips`, range);
            clear(this.trips, ...page.items.map((t) => {
                const from = String(t.started_at ?? t.from ?? t.at ?? '');
                return h('button', { type: 'button', class: 'chip', onclick: () => {
                    this.seek(Date.parse(from));
                } }, trips_text(t, date_time, duration));
            }));
        } catch {
            this.trips.replaceChildren();
        }
    }

    private play(on: boolean): void {
        this.playing = on && this.fixes.length > 1;
        this.play_button.replaceChildren(icon(this.playing ? 'pause' : 'play'));
        set_attr(this.play_button, 'aria-label', this.playing ? 'Pause' : 'Play');
        cancelAnimationFrame(this.frame);

        if (!this.playing) {
            return;
        }
        if (this.now_ms >= this.end) {
            this.now_ms = this.start;
        }

        let last = performance.now();
        const step = (t: number) => {
            this.seek(this.now_ms + (t - last) * Number(this.rate.value));
            last = t;
            if (this.now_ms >= this.end) {
                this.play(false);
                return;
            }
            this.frame = requestAnimationFrame(step);
        };
        this.frame = requestAnimationFrame(step);
    }

    private seek(t: number): void {
        this.now_ms = Math.min(this.end, Math.max(this.start, t));
        const place = at_time(this.fixes, this.now_ms);

        if (!place || !this.map) {
            set_text(this.readout, '');
            return;
        }

        if (!this.marker) {
            const html = h('div', { class: 'veh-body' }, this.sign.box as unknown as Node);
            this.marker = L.marker([place.lat, place.lon], { keyboard: false, interactive: false,
                icon: L.divIcon({ className: 'veh', html, iconSize: [32, 32], iconAnchor: [16, 16] }) }).addTo(this.map);
            this.marker.getElement()?.setAttribute('data-state', 'moving');
            this.marker.getElement()?.setAttribute('data-selected', 'true');
            this.marker.getElement()?.setAttribute('data-testid', 'history-marker');
        }

        this.marker.setLatLng([place.lat, place.lon]);
        set_attr(this.sign.arrow, 'transform', `rotate(${Math.round(place.course ?? 0)})`);
        this.done?.setLatLngs([...this.fixes.slice(0, place.index + 1).map((f) => [f.lat, f.lon] as [number, number]), [place.lat, place.lon]]);
        this.slider.value = String(Math.round((this.now_ms - this.start) * 1000 / Math.max(1, this.end - this.start)));
        set_text(this.readout, `${date_time(this.now_ms)} · ${speed(place.speed)} km/h ${compass(place.course)} · ${coordinate(place.lat, place.lon)}`);

        if (!this.map.getBounds().pad(-0.1).contains([place.lat, place.lon])) {
            this.map.panTo([place.lat, place.lon], { animate: false });
        }
    }
}
