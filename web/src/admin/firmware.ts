/* Firmware of recorders: uploaded here, then sent to a vehicle. */

import type { Context } from '../app';
import { dialog, field, h } from '../dom';
import { has } from '../features';
import { choose } from '../fleet';
import { bytes, date_time } from '../format';
import type { Page } from '../types';
import { select, table } from '../ui';
import type { Table } from '../ui';
import { input, row_button } from './parts';

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
            { head: '', cell: (f) => has('POST', '/devices/{}/upgrade') ? row_button('Send to a vehicle', null, () => upgrade(c, f)) : '' },
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
    const version = input('firmware-version', 'text', '', 'admin');
    const type = input('firmware-type', 'text', '', 'admin');

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
