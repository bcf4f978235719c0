/*
 * The map: vehicles as markers that turn with their heading, the trail of the selected one, follow mode.  Without
 * map tiles a plain grid with coordinates is drawn underneath, so that distances and directions still read.
 */

import * as L from 'leaflet';
import type { Config } from './config';
import { coalesce, h, icon_button, set_attr, set_text, svg } from './dom';
import { is_moving } from './fleet';
import type { Fleet, Vehicle } from './fleet';
import { decimals, grid_step, ticks } from './grid';
import type { Geofence } from './types';

const batch_ms = 200;       /* reports of a large fleet are drawn together */

/* A map with tiles, or with the plain grid when the installation has none. */
export function base_map(canvas: HTMLElement, config: Config): L.Map {
    const map = L.map(canvas, { zoomControl: false, attributionControl: false, preferCanvas: true, zoomSnap: 0.5,
        worldCopyJump: true, minZoom: 2, maxZoom: config.tile_url ? config.tile_max_zoom : 20 });

    map.setView([30, 10], 3);
    L.control.zoom({ position: 'bottomright' }).addTo(map);
    L.control.scale({ position: 'bottomleft', imperial: false }).addTo(map);

    if (config.tile_url) {
        L.control.attribution({ prefix: false }).addTo(map);
        const text = h('span', {}, config.tile_attribution).innerHTML;      /* as text, never as markup */
        L.tileLayer(config.tile_url, { attribution: text, maxZoom: config.tile_max_zoom, className: 'tiles' }).addTo(map);
    } else {
        new Graticule(map, canvas);
    }
    return map;
}

/* The sign of a vehicle: an arrow while it moves, else a dot. */
export function vehicle_sign(): { box: SVGElement; arrow: SVGElement } {
    const arrow = svg('g', {}, svg('path', { class: 'arrow', d: 'M0 -10L7 9L0 5L-7 9Z' }),
        svg('circle', { class: 'still', r: 6 }));
    const box = svg('svg', { viewBox: '-16 -16 32 32', width: 32, height: 32, 'aria-hidden': 'true' },
        svg('circle', { class: 'halo', r: 14 }), arrow);
    return { box, arrow };
}

interface Mark {
    marker: L.Marker;
    el: HTMLElement;
    arrow: SVGElement;
    label: HTMLElement;
    lat: number;
    lon: number;
}

export class FleetMap {
    readonly el: HTMLElement;
    on_select: (v: Vehicle) => void = () => {};

    readonly map: L.Map;
    private readonly marks = new Map<string, Mark>();
    private readonly trail: L.Polyline;
    private readonly fences: L.LayerGroup;
    private readonly follow_button: HTMLButtonElement;
    private readonly labels_from_zoom = 14.5;
    private readonly unlisten: () => void;
    private readonly observer: ResizeObserver;
    private closed = false;
    private dirty = new Set<string>();
    private all_dirty = true;
    private selected = '';
    private following = false;
    private fitted = false;
    private history: Array<[number, number]> = [];

    constructor(private readonly fleet: Fleet, config: Config) {
        const canvas = h('div', { class: 'map-canvas', 'data-testid': 'map' });
        this.el = h('div', { class: 'map', role: 'region', 'aria-label': 'Map' }, canvas);

        this.map = base_map(canvas, config);

        this.fences = L.layerGroup().addTo(this.map);
        this.trail = L.polyline([], { color: '#5aa9e6', weight: 3, opacity: 0.75, interactive: false }).addTo(this.map);

        this.follow_button = icon_button('follow', 'Follow the selected vehicle (F)',
            { 'data-testid': 'follow', 'aria-pressed': 'false' }, () => this.follow(!this.following));
        this.el.append(h('div', { class: 'map-tools' },
            this.follow_button,
            icon_button('fit', 'Show all vehicles (0)', { 'data-testid': 'fit' }, () => this.fit())));

        this.map.on('dragstart', () => this.follow(false));
        this.map.on('zoomstart', () => this.el.classList.add('zooming'));
        this.map.on('zoomend moveend', () => {
            this.el.classList.remove('zooming');
            this.all_dirty = true;
            draw();
        });

        const draw = coalesce(() => this.draw(), batch_ms);
        this.unlisten = fleet.listen((changed) => {
            if (changed === null) {
                this.all_dirty = true;
            } else {
                changed.forEach((id) => this.dirty.add(id));
            }
            draw();
        });

        this.observer = new ResizeObserver(() => {
            this.map.invalidateSize({ animate: false, debounceMoveend: true });
            draw();
        });
        this.observer.observe(canvas);
    }

    close(): void {
        this.closed = true;
        this.unlisten();
        this.observer.disconnect();
        this.map.remove();
    }

    select(id: string, show: boolean): void {
        const old = this.selected;
        if (id !== old) {
            this.history = [];
        }
        this.selected = id;
        this.dirty.add(old).add(id);
        this.draw();

        const v = this.fleet.vehicles.get(id);
        if (show && v && v.lat !== null && v.lon !== null) {
            const at = L.latLng(v.lat, v.lon);
            if (this.map.getZoom() < 13) {
                this.map.setView(at, 15);
            } else if (!this.map.getBounds().pad(-0.15).contains(at)) {
                this.map.panTo(at);
            }
        }
    }

    /* What the selected vehicle drove before the page was opened, oldest first. */
    set_history(id: string, points: Array<[number, number]>): void {
        if (id === this.selected) {
            this.history = points;
            this.draw_trail();
        }
    }

    follow(on: boolean): void {
        this.following = on && this.selected !== '';
        set_attr(this.follow_button, 'aria-pressed', String(this.following));
        if (this.following) {
            const v = this.fleet.vehicles.get(this.selected);
            if (v && v.lat !== null && v.lon !== null) {
                this.map.setView([v.lat, v.lon], Math.max(15, this.map.getZoom()));
            }
        }
    }

    get is_following(): boolean {
        return this.following;
    }

    fit(): void {
        const points: L.LatLngTuple[] = [];
        for (const v of this.fleet.vehicles.values()) {
            if (v.lat !== null && v.lon !== null) {
                points.push([v.lat, v.lon]);
            }
        }
        if (points.length > 0) {
            this.fitted = true;
            this.follow(false);
            this.map.fitBounds(L.latLngBounds(points), { padding: [60, 60], maxZoom: 15, animate: false });
        }
    }

    forget(): void {
        this.fitted = false;
        this.follow(false);
        this.select('', false);
    }

    /* Outlines of the areas that matter, under the vehicles. */
    set_fences(list: Geofence[]): void {
        this.fences.clearLayers();
        const style = { color: '#8593a1', weight: 1, opacity: 0.8, fillOpacity: 0.05, dashArray: '4 4', interactive: false };

        for (const f of list) {
            if (!f.active) {
                continue;
            }
            if (f.geometry.type === 'Point' && f.radius_m) {
                const [lon, lat] = f.geometry.coordinates as [number, number];
                this.fences.addLayer(L.circle([lat, lon], { ...style, radius: f.radius_m }));
            } else if (f.geometry.type === 'Polygon') {
                const rings = f.geometry.coordinates as Array<Array<[number, number]>>;
                this.fences.addLayer(L.polygon(rings.map((r) => r.map(([lon, lat]) => [lat, lon] as [number, number])), style));
            }
        }
    }

    private draw(): void {
        if (this.closed) {
            return;
        }

        if (this.all_dirty) {
            this.all_dirty = false;
            for (const [id, m] of this.marks) {
                if (!this.fleet.vehicles.has(id)) {
                    m.marker.remove();
                    this.marks.delete(id);
                }
            }
            for (const id of this.fleet.vehicles.keys()) {
                this.dirty.add(id);
            }
            this.el.classList.toggle('labels', this.map.getZoom() >= this.labels_from_zoom || this.fleet.vehicles.size <= 25);
        }

        if (!this.fitted && this.fleet.loaded && this.map.getSize().x > 0) {
            this.fit();
        }

        const bounds = this.map.getBounds().pad(0.3);
        for (const id of this.dirty) {
            const v = this.fleet.vehicles.get(id);
            if (v) {
                this.draw_vehicle(v, bounds);
            }
        }

        if (this.dirty.has(this.selected)) {
            this.draw_trail();
            const v = this.fleet.vehicles.get(this.selected);
            if (this.following && v && v.lat !== null && v.lon !== null) {
                this.map.panTo([v.lat, v.lon], { animate: true, duration: 0.8, easeLinearity: 1, noMoveStart: true });
            }
        }
        this.dirty.clear();
    }

    private draw_vehicle(v: Vehicle, bounds: L.LatLngBounds): void {
        if (v.lat === null || v.lon === null) {
            return;
        }

        const inside = v.id === this.selected || bounds.contains([v.lat, v.lon]);
        let m = this.marks.get(v.id);

        if (!inside) {
            m?.marker.remove();
            this.marks.delete(v.id);
            return;
        }

        if (!m) {
            m = this.make_mark(v, v.lat, v.lon);
            this.marks.set(v.id, m);

        } else if (m.lat !== v.lat || m.lon !== v.lon) {
            const from = this.map.latLngToLayerPoint([m.lat, m.lon]);
            const to = this.map.latLngToLayerPoint([v.lat, v.lon]);
            m.el.classList.toggle('glide', v.id === this.selected && from.distanceTo(to) < 150);      /* every other one would keep the screen busy */
            m.marker.setLatLng([v.lat, v.lon]);
            m.lat = v.lat;
            m.lon = v.lon;
        }

        const moving = is_moving(v);
        const state = !v.online ? 'offline' : moving ? 'moving' : 'online';

        set_attr(m.el, 'data-state', state);
        set_attr(m.el, 'data-lat', String(v.lat));
        set_attr(m.el, 'data-lon', String(v.lon));
        set_attr(m.el, 'data-selected', v.id === this.selected ? 'true' : null);
        set_attr(m.el, 'data-alarm', v.alarms > 0 ? 'true' : null);
        set_attr(m.el, 'aria-label', `${v.label}, ${state}`);
        set_attr(m.arrow, 'transform', `rotate(${Math.round(v.position?.course_deg ?? 0)})`);
        set_text(m.label, v.label);
        m.marker.setZIndexOffset(v.id === this.selected ? 2000 : v.alarms > 0 ? 1500 : v.online ? 1000 : 0);
    }

    private make_mark(v: Vehicle, lat: number, lon: number): Mark {
        const { box, arrow } = vehicle_sign();
        const label = h('span', { class: 'veh-label' });
        const html = h('div', { class: 'veh-body' }, box as unknown as Node, label);

        const marker = L.marker([lat, lon], {
            icon: L.divIcon({ className: 'veh', html, iconSize: [32, 32], iconAnchor: [16, 16] }),
            keyboard: false,
        });
        marker.on('click', () => this.on_select(v));
        marker.addTo(this.map);

        const el = marker.getElement() as HTMLElement;
        el.setAttribute('data-testid', `marker-${v.serial}`);
        el.setAttribute('role', 'button');
        return { marker, el, arrow, label, lat, lon };
    }

    private draw_trail(): void {
        const v = this.fleet.vehicles.get(this.selected);
        this.trail.setLatLngs(v ? [...this.history, ...v.trail] : []);
    }
}

/* Lines of latitude and longitude with their values at the edges, redrawn as the map moves. */
class Graticule {
    private readonly canvas = h('canvas', { class: 'graticule', 'aria-hidden': 'true' });

    constructor(private readonly map: L.Map, parent: HTMLElement) {
        parent.prepend(this.canvas);
        const draw = coalesce(() => {
            if (this.canvas.isConnected) {
                this.draw();
            }
        });
        map.on('move zoom resize viewreset zoomend moveend', draw);
        map.on('zoomanim', () => this.canvas.classList.add('stale'));
        map.on('unload', () => this.canvas.remove());
        draw();
    }

    private draw(): void {
        const size = this.map.getSize();
        const scale = window.devicePixelRatio || 1;
        const c = this.canvas;
        const g = c.getContext('2d');

        if (!g || size.x === 0 || size.y === 0) {
            return;
        }

        c.classList.remove('stale');
        c.width = Math.round(size.x * scale);
        c.height = Math.round(size.y * scale);
        g.scale(scale, scale);

        const style = getComputedStyle(c);
        const b = this.map.getBounds();
        const step = grid_step((b.getEast() - b.getWest()) / size.x, 120);
        const digits = decimals(step);

        g.font = '11px system-ui, sans-serif';
        g.lineWidth = 1;
        g.strokeStyle = style.getPropertyValue('--grid') || '#1c232d';
        g.fillStyle = style.getPropertyValue('--grid-text') || '#5d6875';

        g.beginPath();
        for (const lon of ticks(b.getWest(), b.getEast(), step)) {
            const x = Math.round(this.map.latLngToContainerPoint([b.getCenter().lat, lon]).x) + 0.5;
            g.moveTo(x, 0);
            g.lineTo(x, size.y);
            g.fillText(`${Math.abs(lon).toFixed(digits)}° ${lon < 0 ? 'W' : 'E'}`, x + 4, 14);
        }
        for (const lat of ticks(Math.max(-85, b.getSouth()), Math.min(85, b.getNorth()), step)) {
            const y = Math.round(this.map.latLngToContainerPoint([lat, b.getCenter().lng]).y) + 0.5;
            g.moveTo(0, y);
            g.lineTo(size.x, y);
            if (y > 30 && y < size.y - 40) {
                g.fillText(`${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? 'S' : 'N'}`, 4, y - 4);
            }
        }
        g.stroke();
    }
}
