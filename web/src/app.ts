/* The console: signs in, joins the parts, and owns the top bar, the pages and the keyboard. */

import { split_hash } from './address';
import { AdminPage } from './admin/page';
import { AlarmBar } from './alarm_bar';
import { AlarmPage } from './alarm_page';
import { AlarmBook } from './alarms';
import { Api } from './api';
import { Banner } from './banner';
import { load_config, read, socket_url } from './config';
import type { Config } from './config';
import { DevicePage } from './device_page';
import { clear, coalesce, h, set_attr, set_text, toast } from './dom';
import { has, load_features } from './features';
import { Fleet } from './fleet';
import { help_dialog } from './help';
import { LivePage } from './live';
import { login_page } from './login';
import { user_menu } from './menu';
import { Problem } from './problem';
import { Link } from './socket';
import type { LinkState } from './socket';
import type { Geofence, Group, Page, ServerMessage, Tenant } from './types';

export interface Context {
    api: Api;
    config: Config;
    fleet: Fleet;
    book: AlarmBook;
    link: Link;
    listen: (fn: (m: ServerMessage) => void) => () => void;      /* returns how to stop listening */
    act_for: (tenant_id: string) => void;                        /* a super admin goes to another tenant */
    tenants_changed: () => Promise<unknown>;
    extras_changed: () => void;                                  /* groups or geofences are not what they were */
}

export interface View {
    el: HTMLElement;
    show?(rest: string[]): void;
    hide?(): void;
    forget?(): void;        /* what is shown belongs to another tenant */
    key?(e: KeyboardEvent): boolean;
}

const root = document.getElementById('app') as HTMLElement;
const tenant_key = 'mdvr.tenant';
const poll_ms = 15_000;

async function main(): Promise<void> {
    document.documentElement.dataset.theme = read('theme') === 'light' ? 'light' : 'dark';

    const config = await load_config();
    const api = new Api();
    let shell: Shell | null = null;

    const sign_in = (why: string) => {
        shell?.close();
        shell = null;
        document.title = 'MDVR console';
        clear(root, login_page(api, why, () => void enter()));
    };

    const enter = async () => {
        try {
            await api.whoami();
            shell = new Shell(api, config);
            await shell.open();
        } catch (e) {
            sign_in(e instanceof Problem ? e.message : 'Signing in failed.');
        }
    };

    api.on_signed_out = sign_in;

    if (api.has_session) {
        clear(root, h('p', { class: 'empty center' }, 'Continuing your session…'));
        for (let wait = 1000; api.has_session; wait = Math.min(10_000, wait * 2)) {
            if (await api.resume()) {
                await enter();
                return;
            }
            if (api.has_session) {
                clear(root, h('p', { class: 'empty center', role: 'status' }, 'The server cannot be reached. Trying again…'));
                await new Promise((r) => setTimeout(r, wait));
            }
        }
        return;     /* refused: on_signed_out has shown the form */
    }

    sign_in('');
}

class Shell implements Context {
    readonly fleet: Fleet;
    readonly book: AlarmBook;
    readonly link: Link;

    private readonly handlers = new Set<(m: ServerMessage) => void>();
    private readonly pages = new Map<string, View>();
    private current: View | null = null;
    private readonly content = h('main', { class: 'content' });
    private readonly nav = h('nav', { class: 'nav', 'aria-label': 'Pages' });
    private readonly count = h('span', { class: 'count', 'data-testid': 'online-count' });
    private readonly pill = h('span', { class: 'pill', role: 'status', 'data-testid': 'link' });
    private readonly alarm_count = h('span', { class: 'nav-count', 'data-testid': 'alarm-count', hidden: true });
    private readonly tenant = h('select', { class: 'tenant', 'aria-label': 'Tenant', 'data-testid': 'tenant', hidden: true });
    private live: LivePage | null = null;
    private readonly banner = new Banner();
    private readonly alarm_bar: AlarmBar;
    private link_state: LinkState = 'idle';
    private was_live = false;
    private retry_at = 0;
    private clock = 0;
    private loaded_ms = 0;

    constructor(readonly api: Api, readonly config: Config) {
        this.fleet = new Fleet(api);
        this.book = new AlarmBook(api, this.fleet);
        this.alarm_bar = new AlarmBar(api, this.book, this.fleet);
        this.book.on_new.push((a) => this.alarm_bar.arrived(a));
        this.link = new Link(socket_url(config, location), () => api.access, () => api.tenant_id, () => api.refresh());

        api.on_token = () => this.link.renew();
        this.link.on_message = (m) => this.message(m);
        this.link.on_state = (s, at) => {
            this.link_state = s;
            this.retry_at = at;
            this.was_live ||= s === 'live';
            this.draw_pill();
        };
        this.link.on_open = () => {
            void this.load();
        };
        this.link.on_gap = () => location.reload();
        this.link.on_dropped = (n) => toast(`The connection is slow: ${n} positions were left out.`);

        this.banner.on_retry = () => {
            this.link.hurry();
            void this.load();
        };

        const count = coalesce(() => {
            const c = this.fleet.counts();
            set_text(this.count, `${c.online} of ${c.all} online`);
        });
        this.fleet.listen(count);
        this.book.listen(coalesce(() => this.draw_alarm_count()));
    }

    listen(fn: (m: ServerMessage) => void): () => void {
        this.handlers.add(fn);
        return () => this.handlers.delete(fn);
    }

    async open(): Promise<void> {
        await Promise.all([this.load_tenants(), load_features(this.api)]);

        this.live = new LivePage(this);
        this.pages.set('', this.live);
        this.pages.set('map', this.live);

        clear(this.nav,
            this.nav_link('', 'Live'),
            has('GET', '/alarms') && this.api.can('alarm:read') ? this.nav_link('alarms', 'Alarms', this.alarm_count) : null,
            has('GET', '/users') && this.api.can('user:manage') ? this.nav_link('admin', 'Administration') : null);

        clear(root, h('header', { class: 'top' },
            h('a', { class: 'brand', href: '#/', 'aria-label': 'MDVR console' }, 'MDVR'), this.nav,
            h('span', { class: 'spring' }), this.count, this.pill, this.tenant, user_menu(this)), this.banner.el, this.alarm_bar.el, this.content);

        addEventListener('hashchange', this.route);
        addEventListener('keydown', this.key);
        addEventListener('online', this.draw_pill);
        addEventListener('offline', this.draw_pill);
        this.clock = window.setInterval(this.draw_pill, 1000);

        this.route();
        this.link.start();
        await this.load();
        this.live.restore();
    }

    close(): void {
        removeEventListener('hashchange', this.route);
        removeEventListener('keydown', this.key);
        removeEventListener('online', this.draw_pill);
        removeEventListener('offline', this.draw_pill);
        clearInterval(this.clock);
        this.link.stop();
        this.alarm_bar.close();
        this.live?.close();
        this.api.on_token = () => {};
    }

    private loading: Promise<void> | null = null;

    private load(): Promise<void> {
        if (this.loading) {
            return this.loading;
        }

        this.loaded_ms = Date.now();
        const work = (async () => {
            await this.fleet.load();
            void this.load_extras();
            if (has('GET', '/alarms') && this.api.can('alarm:read')) {
                await this.book.load();
                this.banner.alarms(this.book.alarms.values());
            } else {
                this.book.loaded = true;
            }
        })().finally(() => {
            if (this.loading === work) {
                this.loading = null;
            }
        });
        this.loading = work;
        return work;
    }

    private async load_extras(): Promise<void> {
        if (has('GET', '/groups')) {
            try {
                const page = await this.api.get<Page<Group>>('/groups', { limit: 500 });
                this.live?.list.set_groups(page.items);
            } catch {
                /* the list works without them */
            }
        }
        if (has('GET', '/geofences')) {
            try {
                const page = await this.api.get<Page<Geofence>>('/geofences', { limit: 500 });
                this.live?.map.set_fences(page.items);
            } catch {
                /* so does the map */
            }
        }
    }

    private async load_tenants(): Promise<void> {
        if (this.api.user?.role !== 'super_admin') {
            return;
        }

        const page = await this.tenants_changed();
        const remembered = sessionStorage.getItem(tenant_key);
        const own = this.api.user.tenant_id;
        const ids = page.map((t) => t.id);
        const chosen = [remembered, own].find((id) => id && ids.includes(id)) ?? ids[0] ?? null;

        this.tenant.value = chosen ?? '';
        this.api.tenant_id = chosen;
        this.mark_tenant();
        this.tenant.addEventListener('change', () => this.act_for(this.tenant.value));
    }

    /* The list in the top bar, as it is now. */
    async tenants_changed(): Promise<Tenant[]> {
        const { items } = await this.api.get<Page<Tenant>>('/tenants', { limit: 500 });
        clear(this.tenant, ...items.map((t) => h('option', { value: t.id }, t.name)));
        this.tenant.hidden = items.length === 0;
        this.tenant.value = this.api.tenant_id ?? '';
        return items;
    }

    act_for(id: string): void {
        this.tenant.value = id;
        this.api.tenant_id = id;
        try {
            sessionStorage.setItem(tenant_key, id);
        } catch {
            /* chosen again after a reload */
        }
        this.mark_tenant();
        this.fleet.clear();
        this.book.clear();
        location.hash = '#/';
        for (const page of new Set(this.pages.values())) {
            page.forget?.();
        }
        this.loading = null;
        this.was_live = false;
        this.link.restart();
        void this.load();
    }

    /* Somebody else's vehicles: never without a mark. */
    private mark_tenant(): void {
        const own = this.api.tenant_id === this.api.user?.tenant_id;
        set_attr(this.tenant, 'data-foreign', own ? null : '');
        this.tenant.title = own ? 'Your own tenant' : 'You act for this tenant; what you change is written to its audit trail.';
    }

    extras_changed(): void {
        void this.load_extras();
    }

    private message(m: ServerMessage): void {
        switch (m.type) {
        case 'telemetry':
            this.fleet.telemetry(m);
            break;
        case 'device':
            this.fleet.device(m);
            break;
        case 'alarm':
            this.book.message(m);
            if (m.phase === 'start') {
                this.banner.alarms([{ ...m, id: m.alarm_id }]);
            }
            break;
        default:
            break;
        }
        for (const fn of this.handlers) {
            fn(m);
        }
    }

    private nav_link(name: string, text: string, extra: HTMLElement | null = null): HTMLElement {
        return h('a', { href: `#/${name}`, 'data-page': name, 'data-testid': `nav-${name || 'live'}` }, text, extra);
    }

    /* Pages that are made when first shown.  `map` is the live page with a vehicle chosen. */
    private readonly makers = new Map<string, () => View>([
        ['alarms', () => new AlarmPage(this)],
        ['device', () => new DevicePage(this)],
        ['admin', () => new AdminPage(this)],
    ]);

    private readonly route = (): void => {
        const parts = split_hash(location.hash).path;
        const name = this.pages.has(parts[0]) || this.makers.has(parts[0]) ? parts[0] : '';
        let page = this.pages.get(name);

        if (!page) {
            page = (this.makers.get(name) as () => View)();
            this.pages.set(name, page);
        }

        if (page !== this.current) {
            this.current?.hide?.();
            if (this.current) {
                this.current.el.hidden = true;
            }
            this.current = page;
            if (!page.el.isConnected) {
                this.content.append(page.el);
            }
            page.el.hidden = false;
        }
        page.show?.(parts.slice(1));

        for (const a of this.nav.querySelectorAll('a')) {
            set_attr(a, 'aria-current', a.dataset.page === (name === 'map' ? '' : name) ? 'page' : null);
        }
    };

    private readonly key = (e: KeyboardEvent): void => {
        const t = e.target as HTMLElement;
        const typing = t.matches('input:not([type=checkbox]):not([type=range]), textarea, select');

        if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || document.querySelector('dialog[open]')) {
            return;
        }

        if (e.key === 'Escape' && typing) {
            t.blur();
            return;
        }
        if (typing) {
            return;
        }

        if (e.key === '?') {
            help_dialog();
        } else if (e.key === 'q') {
            this.alarm_bar.silence();
        } else if (!this.current?.key?.(e)) {
            return;
        }
        e.preventDefault();
    };

    private readonly draw_pill = (): void => {
        let text: string;
        let state: string;

        if (!navigator.onLine) {
            text = 'No network';
            state = 'bad';
        } else if (this.link_state === 'live') {
            text = 'Live';
            state = 'good';
        } else if (this.link_state === 'waiting') {
            const s = Math.max(0, Math.ceil((this.retry_at - Date.now()) / 1000));
            text = `Reconnecting${s > 0 ? ` in ${s} s` : '…'}`;
            state = 'bad';
        } else {
            text = 'Connecting…';
            state = 'wait';
        }

        set_text(this.pill, text);
        set_attr(this.pill, 'data-state', state);
        document.body.classList.toggle('stale', state === 'bad');

        this.banner.draw({ network: navigator.onLine, live: this.link_state === 'live', was_live: this.was_live, retry_at: this.retry_at,
            error: this.fleet.error });

        /* without push the list still follows, slowly; what failed is asked for again */
        if ((this.link_state !== 'live' || this.fleet.error) && navigator.onLine && !document.hidden && Date.now() - this.loaded_ms > poll_ms) {
            void this.load();
        }
    };

    private draw_alarm_count(): void {
        let n = 0;
        for (const a of this.book.alarms.values()) {
            if (a.severity !== 'info' && a.status === 'open') {
                n++;
            }
        }
        set_text(this.alarm_count, n > 99 ? '99+' : String(n));
        this.alarm_count.hidden = n === 0;
        document.title = n > 0 ? `(${n}) MDVR console` : 'MDVR console';
    }
}

void main();
