/* Users, API keys, tenants and the audit trail of the chosen tenant; one's own password and sessions. */

import { role_scopes } from './api';
import type { Context, View } from './app';
import { dialog, field, h, set_text, toast } from './dom';
import { has } from './features';
import { choose } from './fleet';
import { ago, date_time, short_id, words } from './format';
import type { Group, Page, Tenant, User } from './types';
import { add_fence, add_firmware, fences, firmware, usage } from './admin_fleet';
import { act, page_head, select, table, tabs } from './ui';
import type { Tab, Table } from './ui';

const roles: Array<[string, string]> = [
    ['client_user', 'Client user'], ['technician', 'Technician'], ['tenant_admin', 'Administrator'],
];

const all_scopes = role_scopes('tenant_admin');

function input(name: string, type = 'text', value = ''): HTMLInputElement {
    return h('input', { type, name, value, autocomplete: type === 'password' ? 'new-password' : 'off', 'data-testid': `user-${name}` });
}

function checks(legend: string, list: Array<[string, string, boolean, boolean]>): { el: HTMLElement; chosen: () => string[] } {
    const boxes = list.map(([value, text, on, fixed]) => {
        const box = h('input', { type: 'checkbox', value, disabled: fixed });
        box.checked = on;
        return { box, el: h('label', { class: 'check' }, box, text) };
    });
    return {
        el: h('fieldset', { class: 'checks' }, h('legend', {}, legend), ...boxes.map((b) => b.el)),
        chosen: () => boxes.filter((b) => b.box.checked && !b.box.disabled).map((b) => b.box.value),
    };
}

export class AdminPage implements View {
    readonly el: HTMLElement;
    private readonly tabbed;

    constructor(private readonly c: Context) {
        const list: Tab[] = [];
        const add = (name: string, text: string, path: string, scope: string, make: () => Table, tools: (t: Table) => HTMLElement | null) => {
            if (!has('GET', path) || (scope !== '' && !c.api.can(scope))) {
                return;
            }
            let t: Table | null = null;
            list.push({ name, text, make: () => {
                t = make();
                return h('div', {}, tools(t), t.el);
            }, show: () => void t?.reload() });
        };

        const button = (text: string, testid: string, fn: () => Promise<boolean>, t: Table) => {
            const b = h('button', { type: 'button', class: 'primary', 'data-testid': testid, onclick: () => act(b, async () => {
                if (await fn()) {
                    await t.reload();
                }
            }) }, text);
            return h('div', { class: 'filters' }, b);
        };

        add('users', 'Users', '/users', 'user:manage', () => this.users(), (t) => button('Add user', 'user-add', () => this.edit_user(null), t));
        add('keys', 'API keys', '/api-keys', 'user:manage', () => this.keys(), (t) => button('Make a key', 'key-add', () => this.make_key(), t));
        add('webhooks', 'Webhooks', '/webhooks', 'user:manage', () => this.webhooks(), (t) => button('Add webhook', 'webhook-add', () => this.add_webhook(), t));
        add('groups', 'Groups', '/groups', 'device:write', () => this.groups(), (t) => button('Add group', 'group-add', () => this.edit_group(null), t));
        add('fences', 'Geofences', '/geofences', 'device:write', () => fences(c), (t) => button('Add geofence', 'fence-add', () => add_fence(c), t));
        add('firmware', 'Firmware', '/firmware', 'device:control', () => firmware(c), (t) =>
            has('POST', '/firmware') ? button('Upload firmware', 'firmware-add', () => add_firmware(c), t) : null);
        add('usage', 'Usage', '/usage', 'user:manage', () => usage(c), () => null);
        add('audit', 'Audit', '/audit', 'user:manage', () => this.audit(), () => null);
        if (c.api.user?.role === 'super_admin') {
            add('tenants', 'Tenants', '/tenants', '', () => this.tenants(), (t) => button('Add tenant', 'tenant-add', () => this.add_tenant(), t));
        }
        add('account', 'My account', '/auth/sessions', '', () => this.sessions(), (t) => {
            const tools = h('div', { class: 'filters' });
            if (has('PUT', '/auth/password')) {
                tools.append(button('Change my password', 'password-change', () => this.password(), t));
            }
            if (has('POST', '/auth/totp')) {
                tools.append(button(c.api.user?.totp_enabled ? 'Renew the second factor' : 'Set up a second factor', 'totp', () => this.totp(), t));
            }
            return tools;
        });

        this.tabbed = tabs(list, (name) => { location.hash = `#/admin/${name}`; });
        this.el = h('div', { class: 'page' }, page_head(c.api.can('user:manage') ? 'Administration' : 'Account and groups', '').el, this.tabbed.el);
    }

    show(rest: string[]): void {
        this.tabbed.show(rest[0] ?? '');
    }

    key(e: KeyboardEvent): boolean {
        if (e.key === 'Escape') {
            location.hash = '#/';
            return true;
        }
        return false;
    }

    private users(): Table {
        const t = table<User>({
            label: 'Users', testid: 'users', empty: 'No users.',
            columns: [
                { head: 'E-mail', cell: (u) => u.email },
                { head: 'Name', cell: (u) => u.name ?? '' },
                { head: 'Role', cell: (u) => words(u.role) },
                { head: 'Extra rights', cell: (u) => (u.extra_scopes ?? []).join(', ') },
                { head: 'State', cell: (u) => u.active === false ? 'disabled' : 'active' },
                { head: 'Last sign-in', cell: (u) => date_time(u.last_login_at) },
            ],
            load: (cursor) => this.c.api.get<Page<User>>('/users', { limit: 100, cursor }),
            pick: (u) => void this.edit_user(u).then((done) => done ? t.reload() : undefined),
        });
        return t;
    }

    private async edit_user(u: User | null): Promise<boolean> {
        const email = input('email', 'email', u?.email ?? '');
        const name = input('name', 'text', u?.name ?? '');
        const password = input('password', 'password');
        const role = select('role', u && u.role === 'super_admin' ? [['super_admin', 'Super admin']] : roles, u?.role ?? 'client_user');
        const active = select('active', [['true', 'Active'], ['false', 'Disabled']], String(u?.active !== false));
        const own = role_scopes(u?.role ?? '');
        const extra = checks('Extra rights', all_scopes.filter((s) => this.c.api.can(s))
            .map((s) => [s, s, own.includes(s) || (u?.extra_scopes ?? []).includes(s), own.includes(s)]));

        const vehicles = choose(this.c.fleet.vehicles.values(), '', 'all', 'label', false);
        const devices = checks('Vehicles that a client user may see',
            vehicles.map((v) => [v.id, v.label, (u?.device_ids ?? []).includes(v.id), false]));
        const assignable = () => role.value === 'client_user' && vehicles.length > 0 && has('PUT', '/users/{}/devices');
        const check = () => { devices.el.hidden = !assignable(); };
        role.addEventListener('change', check);
        check();

        email.disabled = u !== null;
        return dialog(u ? u.email : 'Add user', [
            field('E-mail', email), field('Name', name), u ? null : field('Password', password, 'At least 12 characters.'), field('Role', role),
            u ? field('State', active) : null, u ? extra.el : null, devices.el,
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
                if ((active.value === 'true') !== (u.active !== false)) {
                    body.active = active.value === 'true';
                }
                if (extra.chosen().sort().join() !== [...(u.extra_scopes ?? [])].sort().join()) {
                    body.extra_scopes = extra.chosen();
                }
                if (Object.keys(body).length > 0) {
                    await this.c.api.request('PATCH', `/users/${u.id}`, { body });
                }
            } else {
                const body: Record<string, unknown> = { email: email.value.trim(), password: password.value, role: role.value };
                if (name.value.trim()) {
                    body.name = name.value.trim();
                }
                const made = await this.c.api.post<User>('/users', body, { idempotent: true });
                id = made.id;
            }

            if (assignable() && id) {
                await this.c.api.request('PUT', `/users/${id}/devices`, { body: { device_ids: devices.chosen(), group_ids: u?.group_ids ?? [] } });
            }
        }, { testid: 'user-dialog' });
    }

    private keys(): Table {
        interface Key { id: string; name: string; scopes?: string[]; created_at?: string; expires_at?: string | null; last_used_at?: string | null }
        const t: Table = table<Key>({
            label: 'API keys', testid: 'keys', empty: 'No keys.',
            columns: [
                { head: 'Name', cell: (k) => k.name },
                { head: 'Rights', cell: (k) => (k.scopes ?? []).join(', ') },
                { head: 'Made', cell: (k) => date_time(k.created_at) },
                { head: 'Expires', cell: (k) => date_time(k.expires_at) },
                { head: 'Last used', cell: (k) => k.last_used_at ? ago(k.last_used_at, Date.now()) : 'never' },
                { head: '', cell: (k) => this.remover(`/api-keys/${k.id}`, 'Revoke', () => t) },
            ],
            load: (cursor) => this.c.api.get<Page<Key>>('/api-keys', { limit: 100, cursor }),
        });
        return t;
    }

    private remover(path: string, text: string, of: () => Table): HTMLElement {
        const b = h('button', { type: 'button', class: 'chip', onclick: (e: Event) => {
            e.stopPropagation();
            act(b, async () => {
                if (await dialog(`${text}?`, [h('p', {}, 'This cannot be undone.')], text, async () => {
                    await this.c.api.request('DELETE', path);
                }, { danger: true })) {
                    await of().reload();
                }
            });
        } }, text);
        return b;
    }

    private async make_key(): Promise<boolean> {
        const name = input('key-name');
        const days = h('input', { type: 'number', min: '1', max: '3650', value: '365' });
        const scopes = checks('Rights', all_scopes.filter((s) => this.c.api.can(s)).map((s) => [s, s, s === 'device:read', false]));
        let key = '';

        const made = await dialog('Make an API key', [field('Name', name), field('Valid for, days', days), scopes.el], 'Make', async () => {
            const a = await this.c.api.post<{ key: string }>('/api-keys', {
                name: name.value.trim(), scopes: scopes.chosen(), expires_at: new Date(Date.now() + Number(days.value) * 86400_000).toISOString(),
            }, { idempotent: true });
            key = a.key;
        });

        if (made) {
            await this.show_once('The key', key);
        }
        return made;
    }

    private webhooks(): Table {
        interface Hook { id: string; url: string; topics: string[]; active: boolean; failures: number; disabled_until: string | null;
            last_delivery?: { status?: string; last_code?: number | null; at?: string } | null }
        const t: Table = table<Hook>({
            label: 'Webhooks', testid: 'webhooks', empty: 'No webhooks.',
            columns: [
                { head: 'Address', cell: (k) => k.url },
                { head: 'Events', cell: (k) => k.topics.join(', ') },
                { head: 'State', cell: (k) => !k.active ? 'off' : k.disabled_until ? `paused until ${date_time(k.disabled_until)}` : 'on' },
                { head: 'Failures', cell: (k) => k.failures },
                { head: 'Last delivery', cell: (k) => k.last_delivery
                    ? `${k.last_delivery.status ?? ''} ${k.last_delivery.last_code ?? ''} ${date_time(k.last_delivery.at)}` : '' },
                { head: '', cell: (k) => {
                    const test = h('button', { type: 'button', class: 'chip' }, 'Test');
                    test.addEventListener('click', () => act(test, async () => {
                        await this.c.api.post(`/webhooks/${k.id}/test`, {});
                        toast('A test event is on its way.');
                    }));
                    return h('span', { class: 'chips' }, has('POST', '/webhooks/{}/test') ? test : null, this.remover(`/webhooks/${k.id}`, 'Delete', () => t));
                } },
            ],
            load: (cursor) => this.c.api.get<Page<Hook>>('/webhooks', { limit: 100, cursor }),
        });
        return t;
    }

    private async add_webhook(): Promise<boolean> {
        const url = input('webhook-url', 'url');
        const topics = checks('Events', [['alarm', 'Alarms', true, false], ['device', 'Online, offline', true, false],
            ['media', 'Recordings', false, false], ['command', 'Commands', false, false]]);
        let secret = '';

        const made = await dialog('Add webhook', [field('Address', url), topics.el], 'Add', async () => {
            const a = await this.c.api.post<{ secret: string }>('/webhooks', { url: url.value.trim(), topics: topics.chosen() }, { idempotent: true });
            secret = a.secret;
        });
        if (made) {
            await this.show_once('The webhook\'s secret', secret);
        }
        return made;
    }

    private async show_once(title: string, value: string): Promise<void> {
        const shown = h('input', { type: 'text', readonly: true, value, class: 'code', 'data-testid': 'key-value' });
        shown.addEventListener('focus', () => shown.select());
        await dialog(title, [field('Copy it now. It is not shown again.', shown)], 'Done', async () => { /* nothing to do */ });
    }

    private groups(): Table {
        const t: Table = table<Group>({
            label: 'Groups', testid: 'groups', empty: 'No groups.',
            columns: [
                { head: 'Name', cell: (g) => g.name },
                { head: 'Vehicles', cell: (g) => g.device_ids.length },
                { head: '', cell: (g) => this.remover(`/groups/${g.id}`, 'Delete', () => t) },
            ],
            load: (cursor) => this.c.api.get<Page<Group>>('/groups', { limit: 100, cursor }),
            pick: (g) => void this.edit_group(g).then((done) => done ? t.reload() : undefined),
        });
        return t;
    }

    private edit_group(g: Group | null): Promise<boolean> {
        const name = input('group-name', 'text', g?.name ?? '');
        const vehicles = choose(this.c.fleet.vehicles.values(), '', 'all', 'label', false);
        const devices = checks('Vehicles', vehicles.map((v) => [v.id, v.label, (g?.device_ids ?? []).includes(v.id), false]));

        return dialog(g ? g.name : 'Add group', [field('Name', name), devices.el], g ? 'Save' : 'Add', async () => {
            const body = { name: name.value.trim(), device_ids: devices.chosen() };
            if (g) {
                await this.c.api.request('PATCH', `/groups/${g.id}`, { body });
            } else {
                await this.c.api.post('/groups', body, { idempotent: true });
            }
            await this.c.fleet.load();
        }, { testid: 'group-dialog' });
    }

    private audit(): Table {
        interface Entry { at: string; action: string; email?: string | null; object_type?: string | null; object_id?: string | null; detail?: unknown; address?: string | null }
        return table<Entry>({
            label: 'Audit', testid: 'audit', empty: 'Nothing yet.',
            columns: [
                { head: 'Time', cell: (e) => date_time(e.at) },
                { head: 'Who', cell: (e) => e.email ?? '' },
                { head: 'What', cell: (e) => e.action },
                { head: 'On', cell: (e) => `${e.object_type ?? ''} ${this.c.fleet.vehicles.get(e.object_id ?? '')?.label ?? short_id(e.object_id ?? '')}`.trim() },
                { head: 'From', cell: (e) => e.address ?? '' },
                { head: 'Details', class: 'dim long', cell: (e) => {
                    const d = e.detail;
                    return d && typeof d === 'object' && Object.keys(d).length > 0 ? JSON.stringify(d) : '';
                } },
            ],
            load: (cursor) => this.c.api.get<Page<Entry>>('/audit', { limit: 100, cursor }),
        });
    }

    private tenants(): Table {
        const t: Table = table<Tenant>({
            label: 'Tenants', testid: 'tenants', empty: 'No tenants.',
            columns: [
                { head: 'Name', cell: (x) => x.name },
                { head: 'State', cell: (x) => x.status ?? '' },
                { head: 'Keeps, days', cell: (x) => x.retention_days ?? '' },
                { head: 'Time zone', cell: (x) => x.time_zone ?? '' },
                { head: 'Since', cell: (x) => date_time(x.created_at) },
            ],
            load: (cursor) => this.c.api.get('/tenants', { limit: 100, cursor }),
            pick: (x) => void this.edit_tenant(x).then((done) => done ? t.reload() : undefined),
        });
        return t;
    }

    private edit_tenant(x: Tenant): Promise<boolean> {
        const name = input('tenant-name', 'text', x.name);
        const days = h('input', { type: 'number', min: '1', max: '3650', value: String(x.retention_days ?? 90) });
        const zone = input('tenant-zone', 'text', x.time_zone ?? 'UTC');
        const state = select('tenant-state', [['active', 'Active'], ['suspended', 'Suspended']], x.status ?? 'active');

        return dialog(x.name, [field('Name', name), field('Positions are kept, days', days), field('Time zone', zone), field('State', state)],
            'Save', async () => {
            const body: Record<string, unknown> = { name: name.value.trim(), retention_days: Number(days.value), time_zone: zone.value.trim() };
            if (state.value !== x.status) {
                body.status = state.value;
            }
            await this.c.api.request('PATCH', `/tenants/${x.id}`, { body });
        });
    }

    private async add_tenant(): Promise<boolean> {
        const name = input('tenant-name');
        const made = await dialog('Add tenant', [field('Name', name)], 'Add', async () => {
            await this.c.api.post('/tenants', { name: name.value.trim() }, { idempotent: true });
        });
        if (made) {
            toast('Added. It is in the list at the top after the next sign-in or reload.');
        }
        return made;
    }

    private sessions(): Table {
        interface Session { id: string; created_at?: string; last_used_at?: string; address?: string; user_agent?: string; current?: boolean }
        const t: Table = table<Session>({
            label: 'Where I am signed in', testid: 'sessions', empty: 'No sessions.',
            columns: [
                { head: 'Since', cell: (s) => date_time(s.created_at) },
                { head: 'Last used', cell: (s) => s.last_used_at ? ago(s.last_used_at, Date.now()) : '' },
                { head: 'From', cell: (s) => s.address ?? '' },
                { head: 'With', class: 'dim', cell: (s) => (s.user_agent ?? '').slice(0, 80) },
                { head: '', cell: (s) => s.current ? 'this one' : this.remover(`/auth/sessions/${s.id}`, 'Sign out', () => t) },
            ],
            load: async (cursor) => {
                const a = await this.c.api.get<Page<Session>>('/auth/sessions', { cursor });
                return { items: a.items, next_cursor: a.next_cursor ?? null };
            },
        });
        return t;
    }

    /* The secret is typed into an authenticator app; a first code from it turns the second factor on. */
    private async totp(): Promise<boolean> {
        const a = await this.c.api.post<{ secret: string; otpauth_url: string }>('/auth/totp', {});
        const otp = input('otp');
        const shown = h('input', { type: 'text', readonly: true, class: 'code', value: a.secret.replace(/(.{4})/g, '$1 ').trim() });

        const done = await dialog('Second factor', [
            field('Key for the authenticator app', shown), h('p', {}, h('a', { href: a.otpauth_url }, 'Open in an app on this device')),
            field('Code that the app shows', otp),
        ], 'Turn on', async () => {
            await this.c.api.request('PUT', '/auth/totp', { body: { otp: otp.value.trim() } });
        });
        if (done) {
            toast('From now on signing in asks for a code.');
        }
        return done;
    }

    private async password(): Promise<boolean> {
        const old = h('input', { type: 'password', autocomplete: 'current-password' });
        const fresh = h('input', { type: 'password', autocomplete: 'new-password' });
        const again = h('input', { type: 'password', autocomplete: 'new-password' });
        const note = h('p', { class: 'hint' });
        again.addEventListener('input', () => set_text(note, again.value === '' || again.value === fresh.value ? '' : 'They differ.'));

        const done = await dialog('Change my password', [field('Present password', old), field('New password', fresh),
            field('New password again', again), note], 'Change', async () => {
            if (fresh.value !== again.value) {
                throw new Error('The two new passwords differ.');
            }
            await this.c.api.request('PUT', '/auth/password', { body: { current_password: old.value, new_password: fresh.value } });
        });
        if (done) {
            toast('The password was changed.');
        }
        return done;
    }
}
