/* Tenants and their plans, for the platform's own people; what a tenant used, against its plan, for its administrator. */

import type { Context } from '../app';
import { dialog, field, h, toast } from '../dom';
import { has } from '../features';
import { bytes, date_time } from '../format';
import type { Tenant } from '../types';
import { select, table } from '../ui';
import type { Table } from '../ui';
import { input, number_or_null, row_button } from './parts';

export function tenants(c: Context): Table {
    const t: Table = table<Tenant>({
        label: 'Tenants', testid: 'tenants', empty: 'No tenants.',
        columns: [
            { head: 'Name', cell: (x) => x.name },
            { head: 'State', cell: (x) => h('span', { class: `state ${x.status ?? ''}` }, x.status ?? '') },
            { head: 'Keeps, days', cell: (x) => x.retention_days ?? '' },
            { head: 'Time zone', cell: (x) => x.time_zone ?? '' },
            { head: 'Since', cell: (x) => date_time(x.created_at) },
            { head: '', cell: (x) => h('span', { class: 'chips' },
                x.id === c.api.tenant_id ? h('span', { class: 'dim' }, 'acting for it')
                    : x.status === 'active' ? row_button('Act for', `act-for-${x.name}`, async () => c.act_for(x.id)) : null,
                has('PUT', '/tenants/{}/plan') ? row_button('Plan', `plan-${x.name}`, () => edit_plan(c, x)) : null) },
        ],
        load: (cursor) => c.api.get('/tenants', { limit: 100, cursor }),
        pick: (x) => void edit_tenant(c, x).then((done) => done ? t.reload() : undefined),
    });
    return t;
}

async function edit_tenant(c: Context, x: Tenant): Promise<boolean> {
    const name = input('tenant-name', 'text', x.name);
    const days = h('input', { type: 'number', min: '1', max: '3650', value: String(x.retention_days ?? 90) });
    const zone = input('tenant-zone', 'text', x.time_zone ?? 'UTC');
    const state = select('tenant-state', [['active', 'Active'], ['suspended', 'Suspended']], x.status ?? 'active');

    const done = await dialog(x.name, [field('Name', name), field('Positions are kept, days', days), field('Time zone', zone),
        field('State', state, 'Suspended: its users are signed out, its recorders are refused, its data stay.')],
        'Save', async () => {
        const body: Record<string, unknown> = { name: name.value.trim(), retention_days: Number(days.value), time_zone: zone.value.trim() };
        if (state.value !== x.status) {
            body.status = state.value;
        }
        await c.api.request('PATCH', `/tenants/${x.id}`, { body });
    }, { testid: 'tenant-dialog' });
    if (done) {
        await c.tenants_changed();
    }
    return done;
}

export async function add_tenant(c: Context): Promise<boolean> {
    const name = input('tenant-name');
    const made = await dialog('Add tenant', [field('Name', name)], 'Add', async () => {
        await c.api.post('/tenants', { name: name.value.trim() }, { idempotent: true });
    });
    if (made) {
        await c.tenants_changed();
        toast('Added. It can be chosen in the top bar.');
    }
    return made;
}

/* ------------------------------------------------------------------- plans */

type Plan = Record<string, number | string | null>;

const gib = 1024 ** 3;

const limits: Array<[string, string, number]> = [        /* name, label, unit that is typed */
    ['max_devices', 'Vehicles', 1], ['max_users', 'Users', 1], ['max_storage_bytes', 'Storage, GiB', gib],
    ['max_live_minutes', 'Live video a month, minutes', 1], ['max_ai_minutes', 'Analysis a month, minutes', 1],
];

async function edit_plan(c: Context, x: Tenant): Promise<void> {
    const headers = { 'X-Tenant-Id': x.id };         /* not the one that is acted for now */
    const plan = await c.api.request<Plan>('GET', `/tenants/${x.id}/plan`, { headers });
    const name = input('plan-name', 'text', String(plan.name ?? 'standard'));
    const fields = limits.map(([key, label, unit]) => {
        const value = plan[key];
        const el = h('input', { type: 'number', min: '0', step: unit === 1 ? '1' : 'any', placeholder: 'no limit', 'data-testid': key,
            value: typeof value === 'number' ? String(unit === 1 ? value : Number((value / unit).toFixed(3))) : '' });
        return { key, label, unit, el };
    });

    const done = await dialog(`Plan of ${x.name}`, [field('Name', name), ...fields.map((f) => field(f.label, f.el)),
        h('p', { class: 'hint' }, 'An empty field is no limit.')], 'Save', async () => {
        const body: Plan = { name: name.value.trim() || 'standard' };
        for (const f of fields) {
            const n = number_or_null(f.el, f.label);
            body[f.key] = n === null ? null : Math.round(n * f.unit);
        }
        await c.api.request('PUT', `/tenants/${x.id}/plan`, { body, headers });
    }, { testid: 'plan-dialog' });
    if (done) {
        toast('The plan was saved. It holds at once.');
    }
}

/* ------------------------------------------------------------------- usage */

interface Usage { plan?: Plan | null; from?: string; to?: string; [name: string]: unknown }
interface UsageRow { text: string; used: string; share: number | null; limit: string }

const counted: Array<[string, string, string]> = [
    ['devices', 'Vehicles', 'max_devices'], ['users', 'Users', 'max_users'], ['storage_bytes', 'Stored', 'max_storage_bytes'],
    ['live_minutes', 'Live video, minutes', 'max_live_minutes'], ['ai_minutes', 'Analysis, minutes', 'max_ai_minutes'],
    ['transcode_minutes', 'Conversion, minutes', ''], ['bytes_in', 'Received', ''], ['bytes_out', 'Sent', ''],
    ['alarms', 'Alarms', ''], ['commands', 'Commands', ''],
];

/* Months, newest first, as "2026-11". */
function months(count: number, now = new Date()): string[] {
    return Array.from({ length: count }, (_, i) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - i, 1)).toISOString().slice(0, 7));
}

/* The last day of a month, at most today: "2026-02-28". */
function end_of_month(month: string, now = new Date()): string {
    const [y, m] = month.split('-').map(Number);
    const last = new Date(Date.UTC(y, m, 0));
    return (last > now ? now : last).toISOString().slice(0, 10);
}

export function usage(c: Context): { table: Table; tools: HTMLElement } {
    const month = select('usage-month', months(12).map((m, i) => [i === 0 ? '' : m, i === 0 ? 'This month' : m]), '');
    const plan_name = h('span', { class: 'dim', 'data-testid': 'plan-name' });
    month.setAttribute('aria-label', 'Month');

    const t = table<UsageRow>({
        label: 'Usage against the plan', testid: 'usage', empty: 'Nothing yet.',
        columns: [
            { head: 'What', cell: (r) => r.text },
            { head: 'Used', cell: (r) => r.used },
            { head: 'Plan', cell: (r) => r.limit },
            { head: '', cell: (r) => r.share === null ? '' : h('span', { class: 'used', 'data-full': r.share >= 0.9 ? '' : null },
                h('meter', { class: 'bar', min: 0, max: 1, high: 0.9, value: Math.min(1, r.share), 'aria-label': `${r.text} used` }),
                ` ${Math.round(r.share * 100)} %`) },
        ],
        load: async () => {
            const u = await c.api.get<Usage>('/usage', month.value ? { from: `${month.value}-01`, to: end_of_month(month.value) } : {});
            plan_name.textContent = u.plan ? `Plan: ${String(u.plan.name ?? '')}` : 'No plan: nothing is limited.';
            return { next_cursor: null, items: counted.filter(([name]) => typeof u[name] === 'number').map(([name, label, limit]) => {
                const used = u[name] as number;
                const max = limit ? u.plan?.[limit] : null;
                const show = (n: number) => name.includes('bytes') ? bytes(n) : String(n);
                return { text: label, used: show(used), limit: typeof max === 'number' ? show(max) : limit ? 'no limit' : '',
                    share: typeof max === 'number' && max > 0 ? used / max : null };
            }) };
        },
    });
    month.addEventListener('change', () => void t.reload());
    return { table: t, tools: h('div', { class: 'filters' }, month, plan_name) };
}
