/*
 * What the console knows of the vehicles: loaded once over REST, then moved forward by push messages.  Views are
 * told which vehicles changed and read them when they draw.
 */

import type { Api } from './api';
import { Problem } from './problem';
import type { Device, DeviceMessage, Page, Position, TelemetryMessage } from './types';

export interface Vehicle {
    id: string;
    serial: string;
    label: string;              /* what an operator calls it: plate, else name, else serial */
    name: string;
    imei: string;
    channels: string[];         /* names, index 0 is channel 1 */
    online: boolean;
    offline_reason: string;
    seen_at: string | null;
    position: Position | null;  /* the newest report, whether or not it had a fix */
    lat: number | null;         /* the newest place */
    lon: number | null;
    trail: Array<[number, number]>;
    groups: string[];
    alarms: number;             /* open ones, critical or warning */
    calling: boolean;           /* somebody in it asks for a call */
}

export type Listener = (changed: Set<string> | null) => void;      /* null: anything may have changed */

const trail_max = 400;

export function channel_names(c: Device['channels']): string[] {
    if (Array.isArray(c)) {
        const names: string[] = [];
        for (const x of c) {
            names[x.channel - 1] = x.name ?? '';
        }
        return Array.from(names, (n) => n ?? '');
    }
    return new Array<string>(Math.max(0, Math.min(64, c ?? 4))).fill('');
}

export function has_place(p: Position | null | undefined): p is Position & { lat: number; lon: number } {
    return p !== null && p !== undefined && typeof p.lat === 'number' && typeof p.lon === 'number'
        && p.gps_valid !== false && (p.lat !== 0 || p.lon !== 0);
}

export class Fleet {
    readonly vehicles = new Map<string, Vehicle>();
    loaded = false;
    error = '';

    private readonly listeners = new Set<Listener>();
    private readonly unknown = new Set<string>();
    private generation = 0;

    constructor(private readonly api: Api) {
    }

    /* Returns how to stop listening. */
    listen(fn: Listener): () => void {
        this.listeners.add(fn);
        return () => this.listeners.delete(fn);
    }

    private tell(changed: Set<string> | null): void {
        for (const fn of this.listeners) {
            fn(changed);
        }
    }

    clear(): void {
        this.generation++;
        this.vehicles.clear();
        this.unknown.clear();
        this.loaded = false;
        this.error = '';
        this.tell(null);
    }

    async load(): Promise<void> {
        const generation = ++this.generation;
        const present = new Set<string>();
        let cursor: string | null = null;

        try {
            do {
                const page: Page<Device> = await this.api.get<Page<Device>>('/devices', { limit: 500, cursor });
                if (generation !== this.generation) {
                    return;
                }
                for (const d of page.items) {
                    present.add(d.id);
                    this.merge(d);
                }
                cursor = page.next_cursor;
            } while (cursor);

            for (const id of [...this.vehicles.keys()]) {
                if (!present.has(id)) {
                    this.vehicles.delete(id);
                }
            }

            this.loaded = true;
            this.error = '';

        } catch (e) {
            if (generation !== this.generation) {
                return;
            }
            this.error = e instanceof Problem ? e.message : 'The vehicles could not be loaded.';
        }

        this.tell(null);
    }

    merge(d: Device): Vehicle {
        const known = this.vehicles.get(d.id);
        const position = d.last_position ?? d.position ?? null;

        const v: Vehicle = known ?? {
            id: d.id, serial: d.serial, label: '', name: '', imei: '', channels: [], online: false, offline_reason: '',
            seen_at: null, position: null, lat: null, lon: null, trail: [], groups: [], alarms: 0, calling: false,
        };

        v.serial = d.serial;
        v.label = d.plate || d.name || d.serial;
        v.name = d.plate && d.name ? d.name : '';
        v.imei = d.imei ?? '';
        v.groups = d.group_ids ?? v.groups;
        v.channels = channel_names(d.channels);
        v.online = d.online ?? v.online;
        v.offline_reason = v.online ? '' : d.offline_reason ?? v.offline_reason;
        v.seen_at = later(v.seen_at, d.last_seen_at ?? null);
        this.vehicles.set(d.id, v);

        if (position) {
            this.move(v, position);
        }
        return v;
    }

    private move(v: Vehicle, p: Position): void {
        if (v.position && Date.parse(p.at) < Date.parse(v.position.at)) {
            return;         /* a late report: history, not news */
        }

        v.position = p;
        v.seen_at = later(v.seen_at, p.received_at ?? p.at);

        if (has_place(p)) {
            if (v.lat !== p.lat || v.lon !== p.lon) {
                v.trail.push([p.lat, p.lon]);
                if (v.trail.length > trail_max) {
                    v.trail.splice(0, v.trail.length - trail_max);
                }
            }
            v.lat = p.lat;
            v.lon = p.lon;
        }
    }

    telemetry(m: TelemetryMessage): void {
        const v = this.vehicles.get(m.device_id);
        if (!v) {
            this.discover(m.device_id);
            return;
        }
        this.move(v, m);
        this.tell(new Set([v.id]));
    }

    device(m: DeviceMessage): void {
        const v = this.vehicles.get(m.device_id);
        if (!v) {
            this.discover(m.device_id);
            return;
        }

        if (m.event === 'online') {
            v.online = true;
            v.offline_reason = '';
            v.seen_at = later(v.seen_at, m.at ?? new Date().toISOString());

        } else if (m.event === 'offline') {
            v.online = false;
            v.offline_reason = m.reason ?? '';
            v.calling = false;

        } else if (m.event === 'call' || m.event === 'call_ended') {
            v.calling = m.event === 'call';

        } else {
            this.discover(m.device_id);
            return;
        }
        this.tell(new Set([v.id]));
    }

    changed(id: string): void {
        this.tell(new Set([id]));
    }

    /* A vehicle that was added, or changed, since the list was loaded. */
    private discover(id: string): void {
        if (!this.loaded || this.unknown.has(id)) {
            return;
        }
        this.unknown.add(id);

        this.api.get<Device>(`/devices/${id}`).then((d) => {
            this.merge(d);
            this.tell(null);
        }, () => { /* gone again, or not ours to see */ }).finally(() => {
            setTimeout(() => this.unknown.delete(id), 10_000);
        });
    }

    counts(): { online: number; all: number } {
        let online = 0;
        for (const v of this.vehicles.values()) {
            if (v.online) {
                online++;
            }
        }
        return { online, all: this.vehicles.size };
    }
}

function later(a: string | null, b: string | null): string | null {
    if (!a || !b) {
        return a ?? b;
    }
    return Date.parse(b) > Date.parse(a) ? b : a;
}

export type SortKey = 'label' | 'speed' | 'seen' | 'state';
export type Filter = 'all' | 'online' | 'moving' | 'offline';

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

export function is_moving(v: Vehicle): boolean {
    return v.online && (v.position?.speed_kmh ?? 0) >= 3;
}

/* What the list shows, in order.  Every word of the query must occur in one of the vehicle's names. */
export function choose(all: Iterable<Vehicle>, query: string, filter: Filter, key: SortKey, down: boolean,
    group = ''): Vehicle[]
{
    const terms = query.toLowerCase().split(/\s+/).filter((s) => s !== '');
    const list: Vehicle[] = [];

    for (const v of all) {
        if ((filter === 'online' && !v.online) || (filter === 'offline' && v.online)
            || (filter === 'moving' && !is_moving(v)) || (group !== '' && !v.groups.includes(group)))
        {
            continue;
        }

        const text = `${v.label} ${v.name} ${v.serial} ${v.imei}`.toLowerCase();
        if (terms.every((t) => text.includes(t))) {
            list.push(v);
        }
    }

    const by: Record<SortKey, (a: Vehicle, b: Vehicle) => number> = {
        label: () => 0,
        speed: (a, b) => (b.position?.speed_kmh ?? -1) - (a.position?.speed_kmh ?? -1),
        seen: (a, b) => (b.seen_at ?? '').localeCompare(a.seen_at ?? ''),
        state: (a, b) => b.alarms - a.alarms || Number(b.online) - Number(a.online) || Number(is_moving(b)) - Number(is_moving(a)),
    };

    list.sort((a, b) => by[key](a, b) || collator.compare(a.label, b.label) || collator.compare(a.serial, b.serial));
    return down ? list.reverse() : list;
}
