/* The administration of the chosen tenant, tab by tab; one's own account is open to everybody. */

import type { Context, View } from '../app';
import { clear, h } from '../dom';
import { has } from '../features';
import { act, page_head, tabs } from '../ui';
import type { Tab, Table } from '../ui';
import { account_tools, notifications, sessions } from './account';
import { audit } from './audit';
import { edit_fence, fences } from './fences';
import { add_firmware, firmware } from './firmware';
import { edit_group, edit_user, groups, keys, make_key, users } from './people';
import { add_tenant, tenants, usage } from './tenants';
import { add_webhook, webhooks } from './webhooks';

interface Room {
    name: string;
    text: string;
    path: string;           /* of the API: without it the tab stays away */
    scope: string;
    make: () => { table: Table; tools: HTMLElement | null };
}

export class AdminPage implements View {
    readonly el = h('div', { class: 'page' });
    private tabbed: ReturnType<typeof tabs>;

    constructor(private readonly c: Context) {
        this.tabbed = this.make();
    }

    forget(): void {
        this.tabbed = this.make();
    }

    private make(): ReturnType<typeof tabs> {
        const c = this.c;
        const list: Tab[] = this.rooms().filter((r) => has('GET', r.path) && (r.scope === '' || c.api.can(r.scope))).map((r) => {
            let t: Table | null = null;
            return { name: r.name, text: r.text, make: () => {
                const made = r.make();
                t = made.table;
                return h('div', {}, made.tools, t.el);
            }, show: () => void t?.reload() };
        });

        if (has('GET', '/notification-preferences')) {
            let n: ReturnType<typeof notifications> | null = null;
            list.push({ name: 'notifications', text: 'Notifications', make: () => {
                n = notifications(c);
                return n.el;
            }, show: () => n?.show() });
        }

        const tabbed = tabs(list, (name) => { location.hash = `#/admin/${name}`; });
        clear(this.el, page_head(c.api.can('user:manage') ? 'Administration' : 'Account and groups', '').el, tabbed.el);
        return tabbed;
    }

    private rooms(): Room[] {
        const c = this.c;
        const with_button = (t: Table, text: string, testid: string, fn: () => Promise<boolean>) => {
            const b = h('button', { type: 'button', class: 'primary', 'data-testid': testid, onclick: () => act(b, async () => {
                if (await fn()) {
                    await t.reload();
                }
            }) }, text);
            return { table: t, tools: h('div', { class: 'filters' }, b) };
        };

        const list: Room[] = [
            { name: 'users', text: 'Users', path: '/users', scope: 'user:manage', make: () => with_button(users(c), 'Add user', 'user-add', () => edit_user(c, null)) },
            { name: 'keys', text: 'API keys', path: '/api-keys', scope: 'user:manage', make: () => with_button(keys(c), 'Make a key', 'key-add', () => make_key(c)) },
            { name: 'webhooks', text: 'Webhooks', path: '/webhooks', scope: 'user:manage', make: () => with_button(webhooks(c), 'Add webhook', 'webhook-add', () => add_webhook(c)) },
            { name: 'groups', text: 'Groups', path: '/groups', scope: 'device:write', make: () => with_button(groups(c), 'Add group', 'group-add', () => edit_group(c, null)) },
            { name: 'fences', text: 'Geofences', path: '/geofences', scope: 'device:write', make: () => with_button(fences(c), 'Add geofence', 'fence-add', () => edit_fence(c, null)) },
            { name: 'firmware', text: 'Firmware', path: '/firmware', scope: 'device:control', make: () => has('POST', '/firmware')
                ? with_button(firmware(c), 'Upload firmware', 'firmware-add', () => add_firmware(c)) : { table: firmware(c), tools: null } },
            { name: 'usage', text: 'Usage', path: '/usage', scope: 'billing:manage', make: () => usage(c) },
            { name: 'audit', text: 'Audit', path: '/audit', scope: 'user:manage', make: () => audit(c) },
        ];
        if (c.api.user?.role === 'super_admin') {
            list.push({ name: 'tenants', text: 'Tenants', path: '/tenants', scope: '', make: () => with_button(tenants(c), 'Add tenant', 'tenant-add', () => add_tenant(c)) });
        }
        list.push({ name: 'account', text: 'My account', path: '/auth/sessions', scope: '', make: () => {
            const t = sessions(c);
            return { table: t, tools: account_tools(c, t) };
        } });
        return list;
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
}
