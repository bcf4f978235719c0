/* One vehicle: its status, where it was, why it is offline, commands to its recorder. */

import type { Context, View } from './app';
import { commands_panel } from './commands';
import { edit_device_dialog } from './devices';
import { clear, dialog, field, h, set_text, toast } from './dom';
import { has } from './features';
import { date_time, offset_text, seen, zone_text } from './format';
import { History } from './history';
import { Recordings } from './recordings/page';
import { StoredMedia } from './recordings/stored';
import { Problem } from './problem';
import { TalkBar, can_talk } from './talk';
import type { Device } from './types';
import { brief, cards, label_of, page_head, say, tabs } from './ui';
import type { Tab } from './ui';

type Doc = Record<string, unknown>;

class OneDevice {
    readonly el: HTMLElement;
    private readonly head;
    private readonly tabbed;
    private readonly status = h('div', { class: 'status', 'data-testid': 'device-status' });
    private readonly diagnostics = h('div', { class: 'status', 'data-testid': 'device-diagnostics' });
    private history: History | null = null;
    private timer = 0;
    private zone = '';
    private readonly talk: TalkBar | null;
    private readonly undo: Array<() => void> = [];

    constructor(private readonly c: Context, private readonly id: string) {
        const label = c.fleet.vehicles.get(id)?.label ?? 'Vehicle';
        const can_write = c.api.can('device:write');
        const edit = h('button', { type: 'button', hidden: !can_write, 'data-testid': 'device-edit', onclick: () => void this.edit() }, 'Change');
        const remove = h('button', { type: 'button', hidden: !can_write, onclick: () => void this.remove() }, 'Delete');

        this.head = page_head(label, `#/map/${id}`, edit, remove);
        this.head.title.setAttribute('data-testid', 'device-title');

        const list: Tab[] = [{ name: 'status', text: 'Status', make: () => this.status, show: () => void this.load_status() }];

        if (has('GET', '/devices/{}/telemetry')) {
            list.push({ name: 'history', text: 'History', make: () => {
                this.history = new History(c, id);
                return this.history.el;
            }, show: () => this.history?.show() });
        }
        if (has('GET', '/devices/{}/diagnostics') && c.api.can('device:control')) {
            list.push({ name: 'diagnostics', text: 'Diagnostics', make: () => this.diagnostics, show: () => void this.load_diagnostics() });
        }
        if (has('POST', '/devices/{}/commands') && c.api.can('device:control')) {
            let panel: ReturnType<typeof commands_panel> | null = null;
            list.push({ name: 'commands', text: 'Commands', make: () => {
                panel = commands_panel(c, id, label);
                this.undo.push(panel.close);
                return panel.el;
            }, show: () => panel?.reload() });
        }

        if (has('GET', '/devices/{}/recordings') && c.api.can('video:watch')) {
            let r: Recordings | null = null;
            list.push({ name: 'recordings', text: 'Recordings', make: () => {
                r = new Recordings(c, id, c.fleet.vehicles.get(id)?.channels.length ?? 4);
                this.undo.push(() => r?.close());
                return r.el;
            }, show: () => r?.show() });
        }
        if (has('GET', '/media') && c.api.can('video:watch')) {
            let s: StoredMedia | null = null;
            list.push({ name: 'stored', text: 'Stored', make: () => {
                s = new StoredMedia(c, id);
                this.undo.push(() => s?.close());
                return s.el;
            }, show: () => s?.show() });
        }

        this.tabbed = tabs(list, (name) => { location.hash = `#/device/${id}/${name}`; });
        this.talk = can_talk(c.api) ? new TalkBar(c.api) : null;
        this.undo.push(() => this.talk?.close());
        this.el = h('div', { class: 'page' }, this.head.el, this.talk?.el ?? '', this.tabbed.el);
        this.undo.push(c.fleet.listen((changed) => {
            if (!changed || changed.has(id)) {
                this.draw_head();
            }
            if (!changed) {
                this.look();
            }
        }));
    }

    close(): void {
        this.hide();
        this.undo.forEach((fn) => fn());
    }

    /* On the other tabs nothing else would say that there is no such vehicle. */
    private look(): void {
        if (this.c.fleet.loaded && !this.c.fleet.vehicles.has(this.id)) {
            void this.load_status();
        }
    }

    show(tab: string): void {
        this.draw_head();
        this.look();
        this.tabbed.show(tab);
        clearInterval(this.timer);
        if (tab === '' || tab === 'status') {
            this.timer = window.setInterval(() => {
                if (!document.hidden) {
                    void this.load_status();
                }
            }, 5000);
        }
        if (tab !== 'history') {
            this.history?.hide();
        }
    }

    hide(): void {
        clearInterval(this.timer);
        this.history?.hide();
    }

    private draw_head(): void {
        const v = this.c.fleet.vehicles.get(this.id);
        this.talk?.show(v ?? null);
        if (v) {
            set_text(this.head.title, v.label);
            set_text(this.head.note, [v.name, v.serial, v.online ? 'online' : `offline, ${seen(v.seen_at, Date.now())}`, this.zone].filter(Boolean).join(' · '));
        }
    }

    private async load_status(): Promise<void> {
        try {
            const s = await this.c.api.get<Doc>(`/devices/${this.id}/status`);
            this.clock_note(s);
            clear(this.status, cards(s, ['device_id', 'id', 'tenant_id', 'serial']));
        } catch (e) {
            if (e instanceof Problem && e.status === 404) {
                this.hide();
                this.gone();
                return;
            }
            clear(this.status, h('p', { class: 'empty' }, say(e)));
        }
    }

    /* Recordings and the recorder's own log go by its clock, everything else here by the viewer's. */
    private clock_note(s: Doc): void {
        const minutes = [s.utc_offset_minutes, s.utc_offset_detected].find((x): x is number => typeof x === 'number');
        this.zone = minutes === undefined || minutes === -new Date().getTimezoneOffset() ? '' : `its clock: UTC${offset_text(minutes)}, yours: ${zone_text()}`;
        this.draw_head();
    }

    /* Deleted, of another tenant, or a mistyped address: one sentence instead of tabs that all fail. */
    private gone(): void {
        set_text(this.head.title, 'Unknown vehicle');
        clear(this.el, this.head.el, h('div', { class: 'empty center', 'data-testid': 'device-unknown' },
            h('p', {}, 'This vehicle does not exist any more, or it is not yours to see.'),
            h('p', {}, h('a', { class: 'button primary', href: '#/' }, 'All vehicles'))));
        for (const b of this.head.el.querySelectorAll<HTMLElement>('button')) {
            b.hidden = true;
        }
    }

    private async load_diagnostics(): Promise<void> {
        try {
            const d = await this.c.api.get<Doc>(`/devices/${this.id}/diagnostics`);
            const messages = rows(d.messages);
            const connections = rows(d.connections ?? d.connection_history);
            const cause = typeof d.offline_cause === 'string' ? d.offline_cause : '';

            clear(this.diagnostics,
                cause ? h('p', { class: 'cause', 'data-testid': 'offline-cause' }, `Offline: ${cause}`) : null,
                cards(d, ['messages', 'connections', 'connection_history', 'offline_cause', 'device_id', 'id', 'registration']),
                connections.length > 0 ? h('h3', {}, 'Connections') : null,
                connections.length > 0 ? simple_table(connections) : null,
                messages.length > 0 ? h('h3', {}, 'Last messages') : null,
                messages.length > 0 ? simple_table(messages) : null);
        } catch (e) {
            clear(this.diagnostics, h('p', { class: 'empty' }, say(e)));
        }
    }

    private async edit(): Promise<void> {
        try {
            const d = await this.c.api.get<Device>(`/devices/${this.id}`);
            if (await edit_device_dialog(this.c, d)) {
                toast('Saved.');
                this.draw_head();
            }
        } catch (e) {
            toast(say(e), 'error');
        }
    }

    private async remove(): Promise<void> {
        const v = this.c.fleet.vehicles.get(this.id);
        const name = v?.label ?? '';
        const typed = h('input', { type: 'text', autocomplete: 'off' });
        const done = await dialog('Delete the vehicle', [
            h('p', {}, 'Its recorder will be refused from now on. Its history goes with it.'), field(`Type ${name} to confirm`, typed),
        ], 'Delete', async () => {
            if (typed.value.trim() !== name) {
                throw new Error('The name does not match.');
            }
            await this.c.api.request('DELETE', `/devices/${this.id}`);
        }, { danger: true });

        if (done) {
            location.hash = '#/';
            await this.c.fleet.load();
        }
    }
}

function rows(value: unknown): Doc[] {
    return Array.isArray(value) ? value.filter((x): x is Doc => typeof x === 'object' && x !== null) : [];
}

/* Rows of one kind: their members are the columns. */
function simple_table(list: Doc[]): HTMLElement {
    const names = [...new Set(list.flatMap((d) => Object.keys(d)))].filter((n) => !/(^id|_id)$/.test(n)).slice(0, 8);
    const cell = (value: unknown) => {
        if (value === null || value === undefined) {
            return '';
        }
        if (typeof value === 'string') {
            return /^\d{4}-\d\d-\d\dT/.test(value) ? date_time(value) : value;
        }
        return typeof value === 'object' ? brief(value) : String(value);
    };

    return h('table', { class: 'table' },
        h('thead', {}, h('tr', {}, ...names.map((n) => h('th', { scope: 'col' }, label_of(n).text)))),
        h('tbody', {}, ...list.map((d) => h('tr', {}, ...names.map((n) => h('td', { class: typeof d[n] === 'object' ? 'long' : null }, cell(d[n])))))));
}

export class DevicePage implements View {
    readonly el = h('div', { class: 'device-page' });
    private current: OneDevice | null = null;
    private id = '';

    constructor(private readonly c: Context) {
    }

    show(rest: string[]): void {
        const id = rest[0] ?? '';
        if (!id) {
            location.replace('#/');
            return;
        }
        if (id !== this.id) {
            this.current?.close();
            this.id = id;
            this.current = new OneDevice(this.c, id);
            clear(this.el, this.current.el);
        }
        this.current?.show(rest[1] ?? '');
    }

    hide(): void {
        this.current?.hide();
    }

    forget(): void {
        this.current?.close();
        this.current = null;
        this.id = '';
        this.el.replaceChildren();
    }

    key(e: KeyboardEvent): boolean {
        if (e.key === 'Escape') {
            location.hash = `#/map/${this.id}`;
            return true;
        }
        return false;
    }
}
