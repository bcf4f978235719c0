/* What an administrator keeps for the whole fleet: geofences, firmware of recorders, and how much of the plan is used. */

import type { Context } from './app';
import { dialog, field, h, toast } from './dom';
import { has } from './features';
import { choose, has_place } from './fleet';
import { bytes, date_time } from './format';
import type { Geofence, Page } from './types';
import { act, select, table } from './ui';
import type { Table } from './ui';

function text(name: string, value = '', type = 'text'): HTMLInputElement {
    return h('input', { type, name, value, autocomplete: 'off', 'data-testid': `admin-${name}` });
}

function remover(c: Context, path: string, what: string, of: () => Table): HTMLElement {
    const b = h('button', { type: 'button', class: 'chip' }, 'Delete');
    b.addEventListener('click', () => act(b, async () => {
        if (await dialog(`Delete ${what}?`, [h('p', {}, 'This cannot be undone.')], 'Delete',
            async () => { await c.api.request('DELETE', path); }, { danger: true })) {
            await of().reload();
        }
    }));
    return b;
}

export function fences(c: Context): Table {
    const t: Table = table<Geofence>({
        label: 'Geofences', testid: 'fences', empty: 'No geofences. Vehicles that enter or leave one raise an alarm.',
        columns: [
            { head: 'Name', cell: (f) => f.name },
            { head: 'Shape', cell: (f) => f.shape === 'circle' ? `circle of ${Math.round(f.radius_m ?? 0)} m` : 'polygon' },
            { head: 'State', cell: (f) => f.active ? 'on' : 'off' },
            { head: '', cell: (f) => {
                const b = h('button', { type: 'button', class: 'chip' }, f.active ? 'Switch off' : 'Switch on');
                b.addEventListener('click', () => act(b, async () => {
                    await c.api.request('PATCH', `/geofences/${f.id}`, { body: { active: !f.active } });
                    await t.reload();
                }));
                return h('span', { class: 'chips' }, b, remover(c, `/geofences/${f.id}`, f.name, () => t));
            } },
        ],
        load: (cursor) => c.api.get<Page<Geofence>>('/geofences', { limit: 100, cursor }),
    });
    return t;
}

/* A circle around a place, or around where a vehicle is now; polygons come through the API. */
export function add_fence(c: Context): Promise<boolean> {
    const name = text('fence-name');
    const place = text('fence-place');
    const radius = h('input', { type: 'number', min: '10', max: '1000000', value: '200', 'data-testid': 'admin-fence-radius' });
    const list = choose(c.fleet.vehicles.values(), '', 'all', 'label', false).filter((v) => has_place(v.position));
    const vehicle = select('fence-vehicle', [['', 'a place of my own'], ...list.map((v) => [v.id, `where ${v.label} is now`] as [string, string])], '');

    vehicle.addEventListener('change', () => {
        const p = c.fleet.vehicles.get(vehicle.value)?.position;
        if (has_place(p)) {
            place.value = `${p.lat}, ${p.lon}`;
        }
    });

    return dialog('Add geofence', [
        field('Name', name), field('Middle', vehicle), field('Latitude, longitude', place, 'In degrees, for example 47.3702, 8.5377.'),
        field('Radius, metres', radius),
    ], 'Add', async () => {
        const at = place.value.split(/[,\s]+/).filter(Boolean).map(Number);
        if (!name.value.trim()) {
            throw new Error('Enter a name.');
        }
        if (at.length !== 2 || !at.every(Number.isFinite) || Math.abs(at[0]) > 90 || Math.abs(at[1]) > 180) {
            throw new Error('Enter the latitude and the longitude in degrees, with a comma between them.');
        }
        await c.api.post('/geofences', { name: name.value.trim(), geometry: { type: 'Point', coordinates: [at[1], at[0]] },
            radius_m: Number(radius.value) }, { idempotent: true });
        toast('Added. The map shows it after the next reload.');
    }, { testid: 'fence-dialog' });
}

interface Firmware { id: string; name: string; version: string; device_type: string | null; size_bytes: number; created_at: string }

export function firmware(c: Context): Table {
    return table<Firmware>({
        label: 'Firmware', testid: 'firmware', empty: 'No firmware. Upload a file first, then send it to a vehicle.',
        columns: [
            { head: 'Name', cell: (f) => f.name },
            { head: 'Version', cell: (f) => f.version },
            { head: 'For', cell: (f) => f.device_type ?? 'any recorder' },
            { head: 'Size', cell: (f) => bytes(f.size_bytes) },
            { head: 'Uploaded', cell: (f) => date_time(f.created_at) },
            { head: '', cell: (f) => {
                const b = h('button', { type: 'button', class: 'chip' }, 'Send to a vehicle');
                b.addEventListener('click', () => act(b, () => upgrade(c, f)));
                return has('POST', '/devices/{}/upgrade') ? b : '';
            } },
        ],
        load: (cursor) => c.api.get<Page<Firmware>>('/firmware', { limit: 100, cursor }),
    });
}

async function upgrade(c: Context, f: Firmware): Promise<void> {
    const list = choose(c.fleet.vehicles.values(), '', 'online', 'label', false);
    const vehicle = select('upgrade-vehicle', [['', 'Choose a vehicle'], ...list.map((v) => [v.id, v.label] as [string, string])], '');
    const done = await dialog(`Send ${f.name} ${f.version}`, [field('Vehicle', vehicle, 'Only vehicles that are online. The recorder restarts with the new firmware.')],
        'Send', async () => {
            if (!vehicle.value) {
                throw new Error('Choose a vehicle.');
            }
            await c.api.post(`/devices/${vehicle.value}/upgrade`, { firmware_id: f.id }, { idempotent: true });
        }, { danger: true });
    if (done) {
        location.hash = `#/device/${vehicle.value}/commands`;
    }
}

export function add_firmware(c: Context): Promise<boolean> {
    const file = h('input', { type: 'file', 'data-testid': 'admin-firmware-file' });
    const version = text('firmware-version');
    const type = text('firmware-type');

    return dialog('Upload firmware', [field('File', file), field('Version', version),
        field('Device type', type, 'Optional: which recorders it is for.')], 'Upload', async () => {
        const chosen = file.files?.[0];
        if (!chosen) {
            throw new Error('Choose a file.');
        }
        if (!version.value.trim()) {
            throw new Error('Enter the version.');
        }
        await c.api.request('POST', '/firmware', { file: chosen, query: { name: chosen.name.replace(/[^A-Za-z0-9_.:-]/g, '_'),
            version: version.value.trim(), device_type: type.value.trim() } });
    });
}

interface Usage { plan?: Record<string, number | string | null>; [name: string]: unknown }
interface UsageRow { text: string; used: string; share: number | null; limit: string }

const counted: Array<[string, string, string]> = [
    ['devices', 'Vehicles', 'max_devices'], ['users', 'Users', 'max_users'], ['storage_bytes', 'Stored', 'max_storage_bytes'],
    ['live_minutes', 'Live video, minutes', 'max_live_minutes'], ['ai_minutes', 'Analysis, minutes', 'max_ai_minutes'],
    ['transcode_minutes', 'Conversion, minutes', ''], ['bytes_in', 'Received', ''], ['bytes_out', 'Sent', ''],
];

/* This month against the plan. */
export function usage(c: Context): Table {
    return table<UsageRow>({
        label: 'Usage of this month', testid: 'usage', empty: 'Nothing yet.',
        columns: [
            { head: 'This month', cell: (r) => r.text },
            { head: 'Used', cell: (r) => r.used },
            { head: 'Plan', cell: (r) => r.limit },
            { head: '', cell: (r) => r.share === null ? '' : h('meter', { class: 'bar', min: 0, max: 1, high: 0.9, value: r.share,
                title: `${Math.round(r.share * 100)} %` }) },
        ],
        load: async () => {
            const u = await c.api.get<Usage>('/usage');
            return { next_cursor: null, items: counted.filter(([name]) => typeof u[name] === 'number').map(([name, label, limit]) => {
                const used = u[name] as number;
                const max = limit ? u.plan?.[limit] : null;
                const show = (n: number) => name.includes('bytes') ? bytes(n) : String(n);
                return { text: label, used: show(used), limit: typeof max === 'number' ? show(max) : limit ? 'no limit' : '',
                    share: typeof max === 'number' && max > 0 ? Math.min(1, used / max) : null };
            }) };
        },
    });
}
