/* Addresses that are told of events. */

import type { Context } from '../app';
import { dialog, field, h, toast } from '../dom';
import { has } from '../features';
import { date_time } from '../format';
import type { Page } from '../types';
import { select, table } from '../ui';
import type { Table } from '../ui';
import { checks, input, remover, row_button, show_once } from './parts';
import type { Check } from './parts';

interface Hook {
    id: string;
    url: string;
    topics: string[];
    active: boolean;
    failures: number;
    disabled_until: string | null;
    last_delivery?: { status?: string; last_code?: number | null; at?: string } | null;
}

const topics: Array<[string, string]> = [['alarm', 'Alarms'], ['device', 'Online, offline'], ['media', 'Recordings'], ['command', 'Commands']];

function topic_checks(chosen: string[]): ReturnType<typeof checks> {
    return checks('Events', topics.map(([v, text]) => [v, text, chosen.includes(v), false] as Check));
}

export function webhooks(c: Context): Table {
    const t: Table = table<Hook>({
        label: 'Webhooks', testid: 'webhooks', empty: 'No webhooks. An address here is told of events as they happen, signed.',
        columns: [
            { head: 'Address', class: 'long', cell: (k) => k.url },
            { head: 'Events', cell: (k) => topics.filter(([v]) => k.topics.includes(v)).map(([, text]) => text).join(', ') },
            { head: 'State', cell: (k) => !k.active ? 'off' : k.disabled_until ? `paused until ${date_time(k.disabled_until)}` : 'on' },
            { head: 'Failures', cell: (k) => k.failures },
            { head: 'Last delivery', cell: (k) => k.last_delivery
                ? [k.last_delivery.status, k.last_delivery.last_code, k.last_delivery.at ? date_time(k.last_delivery.at) : ''].filter(Boolean).join(' ') : '' },
            { head: '', cell: (k) => h('span', { class: 'chips' },
                has('PATCH', '/webhooks/{}') ? row_button('Change', 'webhook-change', async () => {
                    if (await edit(c, k)) {
                        await t.reload();
                    }
                }) : null,
                has('POST', '/webhooks/{}/test') ? row_button('Test', 'webhook-test', async () => {
                    await c.api.post(`/webhooks/${k.id}/test`, {});
                    toast('A test event is on its way.');
                }) : null,
                remover(c, `/webhooks/${k.id}`, 'Delete', () => t)) },
        ],
        load: (cursor) => c.api.get<Page<Hook>>('/webhooks', { limit: 100, cursor }),
    });
    return t;
}

export async function add_webhook(c: Context): Promise<boolean> {
    const url = input('webhook-url', 'url');
    const events = topic_checks(['alarm', 'device']);
    let secret = '';

    const made = await dialog('Add webhook', [field('Address', url, 'https://…; private addresses are refused.'), events.el], 'Add', async () => {
        const a = await c.api.post<{ secret: string }>('/webhooks', { url: url.value.trim(), topics: events.chosen() }, { idempotent: true });
        secret = a.secret;
    });
    if (made) {
        await show_once('The webhook\'s secret', secret);
    }
    return made;
}

/* Only what was changed is sent; a secret is changed by typing a new one. */
async function edit(c: Context, k: Hook): Promise<boolean> {
    const url = input('webhook-url', 'url', k.url);
    const events = topic_checks(k.topics);
    const active = select('webhook-active', [['true', 'On'], ['false', 'Off']], String(k.active));
    const secret = input('webhook-secret', 'password');

    return dialog('Change webhook', [field('Address', url), events.el, field('State', active),
        field('New secret', secret, 'Empty: it stays as it is. 24 to 64 characters.')], 'Save', async () => {
        const body: Record<string, unknown> = {};
        if (url.value.trim() !== k.url) {
            body.url = url.value.trim();
        }
        if (events.chosen().sort().join() !== [...k.topics].sort().join()) {
            body.topics = events.chosen();
        }
        if ((active.value === 'true') !== k.active) {
            body.active = active.value === 'true';
        }
        if (secret.value) {
            body.secret = secret.value;
        }
        if (Object.keys(body).length > 0) {
            await c.api.request('PATCH', `/webhooks/${k.id}`, { body });
        }
    }, { testid: 'webhook-dialog' });
}
