/* Adding and changing vehicles. */

import type { Context } from './app';
import { dialog, field, h, set_text, toast } from './dom';
import { has } from './features';
import { Problem } from './problem';
import type { Device } from './types';

function text(name: string, value: string, extra: Record<string, unknown> = {}): HTMLInputElement {
    return h('input', { type: 'text', name, value, autocomplete: 'off', spellcheck: 'false', 'data-testid': `device-${name}`, ...extra });
}

export async function add_device_dialog(c: Context): Promise<void> {
    const serial = text('serial', '', { required: true, maxlength: 31 });
    const name = text('name', '');
    const plate = text('plate', '');
    const imei = text('imei', '', { inputmode: 'numeric', maxlength: 15 });
    const channels = h('input', { type: 'number', name: 'channels', min: 1, max: 64, value: '4', 'data-testid': 'device-channels' });
    const knocked = h('p', { class: 'hint', role: 'status' });

    /* a recorder that already tried to register is easier to recognise than a number to type */
    if (has('GET', '/devices/pending')) {
        serial.addEventListener('change', () => {
            if (!serial.value.trim()) {
                return;
            }
            c.api.get<{ items?: Array<{ serial: string; address?: string }> }>('/devices/pending', { serial: serial.value.trim() })
                .then((a) => {
                    const p = a.items?.[0];
                    set_text(knocked, p ? `This recorder is calling${p.address ? ` from ${p.address}` : ''}.`
                        : 'This recorder has not called yet.');
                }, () => set_text(knocked, ''));
        });
    }

    const made = await dialog('Add vehicle', [
        field('Serial number of the recorder', serial, 'As printed on the recorder, leading zeros included.'), knocked,
        field('Plate', plate), field('Name', name),
        field('IMEI', imei, 'Optional. When set, only this IMEI may register.'),
        field('Cameras', channels),
    ], 'Add', async () => {
        if (!serial.value.trim()) {
            serial.focus();
            throw new Error('Enter the serial number.');
        }

        const body: Record<string, unknown> = { serial: serial.value.trim(), name: name.value.trim() || serial.value.trim(),
            channels: Number(channels.value) || 4 };
        if (plate.value.trim()) {
            body.plate = plate.value.trim();
        }
        if (imei.value.trim()) {
            body.imei = imei.value.trim();
        }

        try {
            const d = await c.api.post<Device>('/devices', body, { idempotent: true });
            if (d?.id) {
                c.fleet.merge(d);
            }
        } catch (e) {
            if (e instanceof Problem && e.status === 409) {
                throw new Error('A recorder with this serial number already exists.');
            }
            throw e;
        }
    }, { testid: 'add-device-dialog' });

    if (made) {
        toast('The vehicle was added.');
        await c.fleet.load();
    }
}

export async function edit_device_dialog(c: Context, d: Device): Promise<boolean> {
    const name = text('name', d.name ?? '');
    const plate = text('plate', d.plate ?? '');
    const imei = text('imei', d.imei ?? '', { inputmode: 'numeric', maxlength: 15 });
    const count = Array.isArray(d.channels) ? d.channels.length : d.channels ?? 4;
    const channels = h('input', { type: 'number', name: 'channels', min: 1, max: 64, value: String(count) });

    return dialog(`Change ${d.plate || d.name || d.serial}`, [
        field('Plate', plate), field('Name', name), field('IMEI', imei), field('Cameras', channels),
    ], 'Save', async () => {
        const body: Record<string, unknown> = { name: name.value.trim(), plate: plate.value.trim(),
            imei: imei.value.trim() || null };
        if (Number(channels.value) !== count) {
            body.channels = Number(channels.value);
        }
        await c.api.request('PATCH', `/devices/${d.id}`, { body });
        await c.fleet.load();
    });
}
