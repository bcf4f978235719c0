/* Who may do what in the chosen tenant: users with their vehicles, API keys, and groups of vehicles. */

import { role_scopes } from '../api';
import type { Context } from '../app';
import { dialog, field, h, toast } from '../dom';
import { has } from '../features';
import { choose } from '../fleet';
import { ago, date_time, words } from '../format';
import type { Group, Page, User } from '../types';
import { select, table } from '../ui';
import type { Table } from '../ui';
import { checks, input, remover, show_once } from './parts';
import type { Check } from './parts';

const roles: Array<[string, string]> = [
    ['client_user', 'Client user'], ['technician', 'Technician'], ['tenant_admin', 'Administrator'],
];

const all_scopes = role_scopes('tenant_admin');

/* The tenant's vehicles as check boxes. */
function vehicle_checks(c: Context, legend: string, chosen: string[]): ReturnType<typeof checks> {
    return checks(legend, choose(c.fleet.vehicles.values(), '', 'all', 'label', false)
        .map((v) => [v.id, v.label, chosen.includes(v.id), false] as Check));
}

async function groups_of(c: Context): Promise<Group[]> {
    return has('GET', '/groups') ? (await c.api.get<Page<Group>>('/groups', { limit: 500 })).items : [];
}

export function users(c: Context): Table {
    const t: Table = table<User>({
        label: 'Users', testid: 'users', empty: 'No users.',
        columns: [
            { head: 'E-mail', cell: (u) => u.email },
            { head: 'Name', cell: (u) => u.name ?? '' },
            { head: 'Role', cell: (u) => words(u.role) },
            { head: 'Vehicles', cell: (u) => vehicles_text(u) },
            { head: 'Extra rights', cell: (u) => (u.extra_scopes ?? []).join(', ') },
            { head: 'Second factor', cell: (u) => u.totp_enabled ? 'on' : 'off' },
            { head: 'State', cell: (u) => u.active === false ? 'disabled' : 'active' },
            { head: 'Last sign-in', cell: (u) => date_time(u.last_login_at) },
            { head: '', cell: (u) => u.id === c.api.user?.id ? h('span', { class: 'dim' }, 'you')
                : remover(c, `/users/${u.id}`, 'Delete', () => t, u.email, 'The user is signed out everywhere. What they did stays in the audit trail.') },
        ],
        load: (cursor) => c.api.get<Page<User>>('/users', { limit: 100, cursor }),
        pick: (u) => void edit_user(c, u).then((done) => done ? t.reload() : undefined, (e: unknown) => toast(String(e), 'error')),
    });
    return t;
}

function vehicles_text(u: User): string {
    if (u.role !== 'client_user') {
        return 'all';
    }
    const n = (u.device_ids ?? []).length;
    const g = (u.group_ids ?? []).length;
    return n + g === 0 ? 'none' : [n > 0 ? `${n}` : '', g > 0 ? `${g} group${g > 1 ? 's' : ''}` : ''].filter(Boolean).join(' + ');
}

export async function edit_user(c: Context, u: User | null): Promise<boolean> {
    const email = input('email', 'email', u?.email ?? '');
    const name = input('name', 'text', u?.name ?? '');
    const password = input('password', 'password');
    const role = select('role', u && u.role === 'super_admin' ? [['super_admin', 'Super admin']] : roles, u?.role ?? 'client_user');
    const active = select('active', [['true', 'Active'], ['false', 'Disabled']], String(u?.active !== false));
    const own = role_scopes(u?.role ?? '');
    const extra = checks('Extra rights', all_scopes.filter((s) => c.api.can(s))
        .map((s) => [s, s, own.includes(s) || (u?.extra_scopes ?? []).includes(s), own.includes(s)] as Check));

    const list = await groups_of(c);
    const devices = vehicle_checks(c, 'Vehicles that a client user may see', u?.device_ids ?? []);
    const groups = checks('Groups that a client user may see', list.map((g) => [g.id, g.name, (u?.group_ids ?? []).includes(g.id), false] as Check));
    const assignable = () => role.value === 'client_user' && has('PUT', '/users/{}/devices');
    const check = () => {
        devices.el.hidden = !assignable() || c.fleet.vehicles.size === 0;
        groups.el.hidden = !assignable() || list.length === 0;
    };
    role.addEventListener('change', check);
    check();

    email.disabled = u !== null;
    return dialog(u ? u.email : 'Add user', [
        field('E-mail', email), field('Name', name),
        field(u ? 'New password' : 'Password', password, u ? 'Empty: it stays as it is.' : '8 characters or more.'), field('Role', role),
        u ? field('State', active, 'A disabled user is signed out within seconds.') : null, u ? extra.el : null, devices.el, groups.el,
    ], u ? 'Save' : 'Add', async () => {
        let id = u?.id ?? '';

        if (u) {
            const body: Record<string, unknown> = {};
            if (name.value.trim() !== (u.name ?? '')) {
                body.name = name.value.trim();
            }
            if (role.value !== u.role) {
                body.role = role.value;
            }
            if (password.value) {
                body.password = password.value;
            }
            if ((active.value === 'true') !== (u.active !== false)) {
                body.active = active.value === 'true';
            }
            if (extra.chosen().sort().join() !== [...(u.extra_scopes ?? [])].sort().join()) {
                body.extra_scopes = extra.chosen();
            }
            if (Object.keys(body).length > 0) {
                await c.api.request('PATCH', `/users/${u.id}`, { body });
            }
        } else {
            const body: Record<string, unknown> = { email: email.value.trim(), password: password.value, role: role.value };
            if (name.value.trim()) {
                body.name = name.value.trim();
            }
            const made = await c.api.post<User>('/users', body, { idempotent: true });
            id = made.id;
        }

        if (assignable() && id) {
            await c.api.request('PUT', `/users/${id}/devices`, { body: { device_ids: devices.chosen(), group_ids: groups.chosen() } });
        }
    }, { testid: 'user-dialog' });
}

interface Key {
    id: string;
    name: string;
    scopes?: string[];
    device_ids?: string[] | null;
    created_at?: string;
    expires_at?: string | null;
    last_used_at?: string | null;
}

export function keys(c: Context): Table {
    const t: Table = table<Key>({
        label: 'API keys', testid: 'keys', empty: 'No keys. A program uses one instead of an e-mail address and a password.',
        columns: [
            { head: 'Name', cell: (k) => k.name },
            { head: 'Rights', cell: (k) => (k.scopes ?? []).join(', ') },
            { head: 'Vehicles', cell: (k) => k.device_ids && k.device_ids.length > 0 ? String(k.device_ids.length) : 'all' },
            { head: 'Made', cell: (k) => date_time(k.created_at) },
            { head: 'Expires', cell: (k) => k.expires_at ? date_time(k.expires_at) : 'never' },
            { head: 'Last used', cell: (k) => k.last_used_at ? ago(k.last_used_at, Date.now()) : 'never' },
            { head: '', cell: (k) => remover(c, `/api-keys/${k.id}`, 'Revoke', () => t, k.name, 'Programs that use it are refused from now on.') },
        ],
        load: (cursor) => c.api.get<Page<Key>>('/api-keys', { limit: 100, cursor }),
    });
    return t;
}

export async function make_key(c: Context): Promise<boolean> {
    const name = input('key-name');
    const days = h('input', { type: 'number', min: '1', max: '3650', value: '365' });
    const scopes = checks('Rights', all_scopes.filter((s) => c.api.can(s)).map((s) => [s, s, s === 'device:read', false] as Check));
    const devices = vehicle_checks(c, 'Only these vehicles (none chosen: all)', []);
    devices.el.hidden = c.fleet.vehicles.size === 0;
    let key = '';

    const made = await dialog('Make an API key', [field('Name', name), field('Valid for, days', days), scopes.el, devices.el], 'Make', async () => {
        const body: Record<string, unknown> = { name: name.value.trim(), scopes: scopes.chosen(),
            expires_at: new Date(Date.now() + Number(days.value) * 86400_000).toISOString() };
        if (devices.chosen().length > 0) {
            body.device_ids = devices.chosen();
        }
        key = (await c.api.post<{ key: string }>('/api-keys', body, { idempotent: true })).key;
    });

    if (made) {
        await show_once('The key', key);
    }
    return made;
}

export function groups(c: Context): Table {
    const t: Table = table<Group>({
        label: 'Groups', testid: 'groups', empty: 'No groups.',
        columns: [
            { head: 'Name', cell: (g) => g.name },
            { head: 'Vehicles', cell: (g) => g.device_ids.length },
            { head: '', cell: (g) => remover(c, `/groups/${g.id}`, 'Delete', () => t, g.name, 'Its vehicles stay. Users who saw them through this group no longer do.') },
        ],
        load: (cursor) => c.api.get<Page<Group>>('/groups', { limit: 100, cursor }),
        pick: (g) => void edit_group(c, g).then((done) => done ? t.reload() : undefined),
    });
    return t;
}

export async function edit_group(c: Context, g: Group | null): Promise<boolean> {
    const name = input('group-name', 'text', g?.name ?? '');
    const devices = vehicle_checks(c, 'Vehicles', g?.device_ids ?? []);

    const done = await dialog(g ? g.name : 'Add group', [field('Name', name), devices.el], g ? 'Save' : 'Add', async () => {
        const body = { name: name.value.trim(), device_ids: devices.chosen() };
        if (g) {
            await c.api.request('PATCH', `/groups/${g.id}`, { body });
        } else {
            await c.api.post('/groups', body, { idempotent: true });
        }
        await c.fleet.load();
    }, { testid: 'group-dialog' });
    if (done) {
        c.extras_changed();
    }
    return done;
}
