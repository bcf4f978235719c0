/*
 * Geofences: circles and polygons.  A polygon is drawn on a map, corner by corner, or typed as a list of places; the
 * two are one, so that it can be made without a mouse as well.
 */

import * as L from 'leaflet';
import type { Context } from '../app';
import { dialog, field, h, set_text, toast } from '../dom';
import { choose, has_place } from '../fleet';
import { duration } from '../format';
import { base_map } from '../map';
import type { Geofence, Page } from '../types';
import { select, table } from '../ui';
import type { Table } from '../ui';
import { corners_of, corners_text, ring_of } from './corners';
import type { Corner } from './corners';
import { checks, input, remover, row_button } from './parts';
import type { Check } from './parts';

export function fences(c: Context): Table {
    const t: Table = table<Geofence>({
        label: 'Geofences', testid: 'fences', empty: 'No geofences. Vehicles that enter or leave one raise an alarm.',
        columns: [
            { head: 'Name', cell: (f) => f.name },
            { head: 'Shape', cell: (f) => f.shape === 'circle' ? `circle of ${Math.round(f.radius_m ?? 0)} m`
                : `polygon of ${Math.max(0, corners_of(f.geometry).length)} corners` },
            { head: 'Stays', cell: (f) => f.dwell_s ? `alarm after ${duration(f.dwell_s)}` : '' },
            { head: 'State', cell: (f) => f.active ? 'on' : 'off' },
            { head: '', cell: (f) => h('span', { class: 'chips' },
                row_button(f.active ? 'Switch off' : 'Switch on', null, async () => {
                    await c.api.request('PATCH', `/geofences/${f.id}`, { body: { active: !f.active } });
                    c.extras_changed();
                    await t.reload();
                }), remover(c, `/geofences/${f.id}`, 'Delete', () => t, f.name)) },
        ],
        load: (cursor) => c.api.get<Page<Geofence>>('/geofences', { limit: 100, cursor }),
        pick: (f) => void edit_fence(c, f).then((done) => done ? t.reload() : undefined),
    });
    return t;
}

/* The map of the dialog: a click sets a corner, or the middle of the circle; corners can be dragged. */
class Drawing {
    readonly el = h('div', { class: 'fence-map', 'data-testid': 'fence-map', role: 'application', 'aria-label': 'Map for drawing; the corners can be typed below as well' });
    on_change: (corners: Corner[]) => void = () => {};

    private readonly map: L.Map;
    private readonly shape = L.layerGroup();
    private readonly dots = L.layerGroup();
    private readonly observer: ResizeObserver;
    private corners: Corner[] = [];
    private radius_m: number | null = null;         /* null: a polygon */
    private placed = false;

    constructor(c: Context) {
        const around = [...c.fleet.vehicles.values()].filter((v) => v.lat !== null && v.lon !== null)
            .map((v) => [v.lat, v.lon] as [number, number]);

        this.map = base_map(this.el, c.config);
        this.shape.addTo(this.map);
        this.dots.addTo(this.map);
        this.map.on('click', (e) => {
            const at: Corner = [round(e.latlng.lat), round(e.latlng.lng)];
            this.corners = this.radius_m === null ? [...this.corners, at] : [at];
            this.changed();
        });

        this.observer = new ResizeObserver(() => {
            this.map.invalidateSize({ animate: false });
            if (!this.placed && this.map.getSize().x > 0) {
                this.placed = true;
                const points = this.corners.length > 0 ? this.corners : around;
                if (points.length > 0) {
                    this.map.fitBounds(L.latLngBounds(points).pad(0.2), { maxZoom: 15, animate: false });
                }
            }
        });
        this.observer.observe(this.el);
    }

    close(): void {
        this.observer.disconnect();
        this.map.remove();
    }

    /* radius null: a polygon */
    set(corners: Corner[], radius_m: number | null): void {
        this.corners = corners;
        this.radius_m = radius_m;
        this.draw();
    }

    private changed(): void {
        this.draw();
        this.on_change(this.corners);
    }

    private draw(): void {
        const style = { color: '#5aa9e6', weight: 2, fillOpacity: 0.15, interactive: false };

        this.shape.clearLayers();
        this.dots.clearLayers();
        if (this.radius_m !== null) {
            if (this.corners[0]) {
                this.shape.addLayer(L.circle(this.corners[0], { ...style, radius: this.radius_m }));
            }
        } else if (this.corners.length > 1) {
            this.shape.addLayer(this.corners.length > 2 ? L.polygon(this.corners, style) : L.polyline(this.corners, style));
        }

        this.corners.forEach((at, i) => {
            const dot = L.marker(at, { draggable: true, keyboard: false, icon: L.divIcon({ className: 'corner', iconSize: [14, 14] }) });
            dot.on('dragend', () => {
                const to = dot.getLatLng();
                this.corners[i] = [round(to.lat), round(to.lng)];
                this.changed();
            });
            this.dots.addLayer(dot);
            dot.getElement()?.setAttribute('data-testid', 'fence-corner');
        });
    }
}

function round(x: number): number {
    return Math.round(x * 1e6) / 1e6;
}

/* Adds a geofence, or changes one. */
export async function edit_fence(c: Context, f: Geofence | null): Promise<boolean> {
    const name = input('fence-name', 'text', f?.name ?? '', 'admin');
    const shape = select('fence-shape', [['circle', 'Circle'], ['polygon', 'Polygon']], f?.shape ?? 'circle');
    const place = input('fence-place', 'text', '', 'admin');
    const radius = h('input', { type: 'number', min: '1', max: '1000000', value: String(Math.round(f?.radius_m ?? 200)), 'data-testid': 'admin-fence-radius' });
    const corners = h('textarea', { rows: '5', class: 'code', spellcheck: 'false', 'data-testid': 'admin-fence-corners' });
    const dwell = h('input', { type: 'number', min: '0', max: '10080', value: f?.dwell_s ? String(Math.round(f.dwell_s / 60)) : '' });
    const hint = h('p', { class: 'hint', role: 'status', 'data-testid': 'fence-hint' });
    const back = h('button', { type: 'button', class: 'chip' }, 'Take the last corner back');

    const list = choose(c.fleet.vehicles.values(), '', 'all', 'label', false).filter((v) => has_place(v.position));
    const vehicle = select('fence-vehicle', [['', 'a place of my own'], ...list.map((v) => [v.id, `where ${v.label} is now`] as [string, string])], '');

    const groups = await c.api.get<Page<{ id: string; name: string }>>('/groups', { limit: 500 }).then((p) => p.items, () => []);
    const only = checks('Only for these groups (none chosen: all vehicles)',
        groups.map((g) => [g.id, g.name, (f?.group_ids ?? []).includes(g.id), false] as Check));
    only.el.hidden = groups.length === 0;

    const known = f ? corners_of(f.geometry) : [];
    if (f?.shape === 'circle' && known[0]) {
        place.value = known[0].join(', ');
    } else if (f) {
        corners.value = corners_text(known);
    }

    const drawing = new Drawing(c);
    const circle_fields = [field('Middle', vehicle), field('Latitude, longitude', place, 'Click on the map, or type degrees, for example 47.3702, 8.5377.'),
        field('Radius, metres', radius)];
    const polygon_fields = [field('Corners', corners, 'One a line: latitude, longitude. Click on the map to add one, drag to move one.'), h('p', {}, back)];

    const polygon = () => shape.value === 'polygon';
    const typed = (): Corner[] => ring_of(polygon() ? corners.value : place.value);

    /* from the fields to the map */
    const draw = () => {
        circle_fields.forEach((x) => { x.hidden = polygon(); });
        polygon_fields.forEach((x) => { x.hidden = !polygon(); });
        try {
            const at = typed();
            drawing.set(at, polygon() ? null : Math.max(1, Number(radius.value) || 1));
            set_text(hint, polygon() && at.length < 3 ? `${at.length} of at least 3 corners.` : '');
        } catch (e) {
            set_text(hint, e instanceof Error ? e.message : '');
        }
    };
    drawing.on_change = (at) => {
        if (polygon()) {
            corners.value = corners_text(at);
        } else {
            place.value = (at[0] ?? []).join(', ');
        }
        draw();
    };
    for (const el of [shape, place, radius, corners]) {
        el.addEventListener('input', draw);
    }
    vehicle.addEventListener('change', () => {
        const p = c.fleet.vehicles.get(vehicle.value)?.position;
        if (has_place(p)) {
            place.value = `${p.lat}, ${p.lon}`;
            draw();
        }
    });
    back.addEventListener('click', () => {
        corners.value = corners.value.trim().split('\n').slice(0, -1).join('\n');
        draw();
    });
    draw();

    const done = await dialog(f ? `Change ${f.name}` : 'Add geofence', [
        h('div', { class: 'fence-form' }, drawing.el, h('div', { class: 'form' }, field('Name', name), field('Shape', shape), ...circle_fields, ...polygon_fields, hint,
            field('Alarm when a vehicle stays inside for, minutes', dwell, 'Empty: only entering and leaving.'), only.el)),
    ], f ? 'Save' : 'Add', async () => {
        const at = typed();
        if (!name.value.trim()) {
            throw new Error('Enter a name.');
        }
        if (polygon() && at.length < 3) {
            throw new Error('A polygon has at least three corners.');
        }
        if (!polygon() && at.length !== 1) {
            throw new Error('Enter the latitude and the longitude in degrees, with a comma between them.');
        }

        const body: Record<string, unknown> = { name: name.value.trim(), group_ids: only.chosen(),
            dwell_s: Number(dwell.value) > 0 ? Number(dwell.value) * 60 : null,
            ...(polygon() ? { radius_m: null, geometry: { type: 'Polygon', coordinates: [[...at, at[0]].map(([lat, lon]) => [lon, lat])] } }
                : { radius_m: Number(radius.value), geometry: { type: 'Point', coordinates: [at[0][1], at[0][0]] } }) };
        if (f) {
            await c.api.request('PATCH', `/geofences/${f.id}`, { body });
        } else {
            await c.api.post('/geofences', body, { idempotent: true });
        }
    }, { testid: 'fence-dialog', wide: true });

    drawing.close();
    if (done) {
        c.extras_changed();
        toast(f ? 'Saved.' : 'Added. The map shows it.');
    }
    return done;
}
