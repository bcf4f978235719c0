/* The audit trail, searched by who, what and when.  The search is kept in the address. */

import { address } from '../address';
import type { Context } from '../app';
import { clear, h } from '../dom';
import { date_time, short_id } from '../format';
import type { Page, User } from '../types';
import { brief, iso, select, table } from '../ui';
import type { Table } from '../ui';

interface Entry {
    at: string;
    action: string;
    email?: string | null;
    object_type?: string | null;
    object_id?: string | null;
    detail?: unknown;
    address?: string | null;
}

/* An action's first word finds all that begin with it. */
const areas: Array<[string, string]> = [
    ['', 'Everything'], ['auth', 'Signing in and out'], ['user', 'Users'], ['api_key', 'API keys'], ['device', 'Vehicles'],
    ['command', 'Commands'], ['video', 'Live video'], ['playback', 'Playback'], ['talk', 'Talk'], ['media', 'Stored recordings'],
    ['download', 'Downloads'], ['alarm', 'Alarms'], ['geofence', 'Geofences'], ['webhook', 'Webhooks'], ['tenant', 'Tenants'], ['plan', 'Plans'],
];

export function audit(c: Context): { table: Table; tools: HTMLElement } {
    const start = address.read();
    const area = select('audit-area', areas, start.get('what') ?? '');
    const action = h('input', { type: 'search', placeholder: 'or exactly, e.g. user.create', 'aria-label': 'Action', 'data-testid': 'audit-action',
        value: start.get('action') ?? '' });
    const who = select('audit-who', [['', 'Anybody']], '');
    const from = h('input', { type: 'datetime-local', 'aria-label': 'From', value: start.get('from') ?? '' });
    const to = h('input', { type: 'datetime-local', 'aria-label': 'To', value: start.get('to') ?? '' });
    area.setAttribute('aria-label', 'What');
    who.setAttribute('aria-label', 'Who');

    const t = table<Entry>({
        label: 'Audit', testid: 'audit', empty: 'Nothing matches.',
        columns: [
            { head: 'Time', cell: (e) => date_time(e.at) },
            { head: 'Who', cell: (e) => e.email ?? '' },
            { head: 'What', cell: (e) => e.action },
            { head: 'On', cell: (e) => `${e.object_type ?? ''} ${c.fleet.vehicles.get(e.object_id ?? '')?.label ?? short_id(e.object_id ?? '')}`.trim() },
            { head: 'From', cell: (e) => e.address ?? '' },
            { head: 'Details', class: 'dim long', cell: (e) => brief(e.detail) },
        ],
        load: (cursor) => c.api.get<Page<Entry>>('/audit', { limit: 100, cursor, action: action.value.trim() || area.value,
            user_id: who.value, from: iso(from.value), to: iso(to.value) }),
    });

    const search = () => {
        address.write({ what: area.value, action: action.value.trim(), who: who.value, from: from.value, to: to.value });
        void t.reload();
    };
    for (const el of [area, action, who, from, to]) {
        el.addEventListener('change', search);
    }

    const reset = h('button', { type: 'button', class: 'chip', onclick: () => {
        for (const el of [area, action, who, from, to]) {
            el.value = '';
        }
        search();
    } }, 'Clear');

    c.api.get<Page<User>>('/users', { limit: 500 }).then((p) => {
        clear(who, h('option', { value: '' }, 'Anybody'), ...p.items.map((u) => h('option', { value: u.id }, u.email)));
        const wanted = start.get('who') ?? '';
        if (p.items.some((u) => u.id === wanted)) {
            who.value = wanted;
            void t.reload();
        }
    }, () => { /* the other filters still work */ });

    return { table: t, tools: h('div', { class: 'filters', role: 'search', 'aria-label': 'Search the audit trail' }, area, action, who, from, to, reset) };
}
