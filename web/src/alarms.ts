/*
 * Alarms: the newest ones, kept current by push messages, and the table that shows them.  Used by the strip under
 * the map and by the alarm page.
 */

import type { Api } from './api';
import { coalesce, h, icon_button, set_attr, set_text, toast } from './dom';
import type { Fleet, Vehicle } from './fleet';
import { clock, date_time, words } from './format';
import { Problem } from './problem';
import type { Alarm, AlarmMessage, Page } from './types';

const kept_max = 500;

export class AlarmBook {
    readonly alarms = new Map<string, Alarm>();
    loaded = false;
    error = '';

    private readonly listeners = new Set<() => void>();
    readonly on_new: Array<(a: Alarm) => void> = [];

    constructor(private readonly api: Api, private readonly fleet: Fleet) {
    }

    listen(fn: () => void): void {
        this.listeners.add(fn);
    }

    clear(): void {
        this.alarms.clear();
        this.loaded = false;
        this.tell();
    }

    async load(): Promise<void> {
        try {
            /* what needs somebody must not be lost among hundreds of ignitions */
            const [recent, serious] = await Promise.all([
                this.api.get<Page<Alarm>>('/alarms', { limit: 100 }),
                this.api.get<Page<Alarm>>('/alarms', { limit: 100, severity: 'warning,critical' }),
            ]);
            for (const a of [...recent.items, ...serious.items]) {
                this.alarms.set(a.id, a);
            }
            this.loaded = true;
            this.error = '';
        } catch (e) {
            this.error = e instanceof Problem ? e.message : 'The alarms could not be loaded.';
        }
        this.trim();
        this.tell();
    }

    message(m: AlarmMessage): void {
        const known = this.alarms.get(m.alarm_id);

        if (known) {
            if (m.status) {
                known.status = m.status;
                known.ended_at = m.ended_at ?? known.ended_at;
            } else if (m.phase === 'end') {
                known.ended_at = m.at;
                if (known.status === 'open') {
                    known.status = 'ended';
                }
            } else if (m.phase === 'acknowledged' || m.phase === 'closed') {
                known.status = m.phase;
            }

        } else {
            const a: Alarm = {
                id: m.alarm_id, device_id: m.device_id, code: m.code, kind: m.kind, severity: m.severity,
                at: m.started_at ?? m.at, serial: m.serial, ended_at: m.ended_at ?? null,
                status: m.status ?? (m.phase === 'start' ? 'open' : m.phase === 'end' ? 'ended' : 'acknowledged'),
                position: m.position ?? null, uid: m.uid,
            };
            this.alarms.set(a.id, a);
            if (m.phase === 'start') {
                this.on_new.forEach((fn) => fn(a));
            }
        }
        this.trim();
        this.tell();
    }

    async acknowledge(a: Alarm, note: string): Promise<void> {
        try {
            const answer = await this.api.post<Partial<Alarm> | null>(`/alarms/${a.id}/acknowledge`, note ? { note } : {},
                { idempotent: true });
            Object.assign(a, { status: 'acknowledged' }, answer ?? {});
        } catch (e) {
            if (!(e instanceof Problem) || e.status !== 409) {
                throw e;
            }
            a.status = 'acknowledged';       /* somebody was faster */
        }
        this.alarms.set(a.id, a);
        this.tell();
    }

    /* Newest first. */
    list(): Alarm[] {
        return [...this.alarms.values()].sort((a, b) => b.at.localeCompare(a.at) || b.id.localeCompare(a.id));
    }

    private trim(): void {
        if (this.alarms.size > kept_max) {
            const list = this.list();
            for (const a of [...list.filter(needs_attention), ...list.filter((x) => !needs_attention(x))].slice(kept_max)) {
                this.alarms.delete(a.id);
            }
        }
    }

    /* Open alarms that ask for attention, per vehicle. */
    private tell(): void {
        const open = new Map<string, number>();
        for (const a of this.alarms.values()) {
            if (needs_attention(a)) {
                open.set(a.device_id, (open.get(a.device_id) ?? 0) + 1);
            }
        }
        for (const v of this.fleet.vehicles.values()) {
            const n = open.get(v.id) ?? 0;
            if (v.alarms !== n) {
                v.alarms = n;
                this.fleet.changed(v.id);
            }
        }
        for (const fn of this.listeners) {
            fn();
        }
    }
}

export function needs_attention(a: Alarm): boolean {
    return a.severity !== 'info' && (a.status === 'open' || a.status === 'ended');
}

interface Row {
    el: HTMLElement;
    vehicle: HTMLElement;
    state: HTMLElement;
    ack: HTMLButtonElement;
}

/* A table of alarms; `pick` is called when one is chosen. */
export class AlarmTable {
    readonly el: HTMLElement;
    filter: (a: Alarm) => boolean = () => true;

    private readonly body = h('div', { role: 'rowgroup', class: 'alarm-body' });
    private readonly note = h('p', { class: 'empty' });
    private readonly rows = new Map<string, Row>();
    private shown = '';
    private held = false;           /* somebody reads: nothing moves under the pointer */
    private readonly more = h('button', { type: 'button', class: 'more-alarms', hidden: true, 'data-testid': 'alarms-new', onclick: () => {
        this.refresh();
        this.el.scrollTop = 0;
    } });

    constructor(private readonly api: Api, private readonly book: AlarmBook, private readonly fleet: Fleet,
        private readonly max: number, private readonly pick: (a: Alarm, v: Vehicle | null) => void)
    {
        this.el = h('div', { class: 'alarm-table', role: 'grid', 'aria-label': 'Alarms', 'data-testid': 'alarms' },
            this.more, this.body, this.note);

        const draw = coalesce(() => this.draw());
        const hold = (on: boolean) => {
            if (on !== this.held) {
                this.held = on;
                draw();
            }
        };
        this.el.addEventListener('pointermove', () => hold(true));
        this.el.addEventListener('pointerleave', () => hold(this.el.contains(document.activeElement)));
        this.el.addEventListener('focusin', () => hold(true));
        this.el.addEventListener('focusout', (e) => hold(this.el.contains(e.relatedTarget as Node | null) || this.el.matches(':hover')));
        book.listen(draw);
        fleet.listen((changed) => {
            if (changed === null) {
                draw();
            }
        });

        this.body.addEventListener('keydown', (e) => {
            const row = (e.target as Element).closest<HTMLElement>('.alarm');
            const next = e.key === 'ArrowDown' ? row?.nextElementSibling : e.key === 'ArrowUp' ? row?.previousElementSibling : null;
            if (next instanceof HTMLElement) {
                e.preventDefault();
                next.focus();
            } else if (e.key === 'Enter' && e.target === row) {
                row?.click();
            } else if (e.key === 'a' && e.target === row) {
                e.stopPropagation();
                row?.querySelector<HTMLButtonElement>('.ack:not([hidden])')?.click();
            }
        });
    }

    private row(a: Alarm): Row {
        const old = this.rows.get(a.id);
        if (old) {
            return old;
        }

        const ack = icon_button('check', 'Acknowledge (A)', { class: 'icon-button ack', 'data-testid': 'alarm-ack' }, (e) => {
            e.stopPropagation();
            ack.disabled = true;
            this.book.acknowledge(this.book.alarms.get(a.id) ?? a, '').catch((err: unknown) => {
                ack.disabled = false;
                toast(err instanceof Error ? err.message : 'The alarm could not be acknowledged.', 'error');
            });
        });

        const r: Row = { el: h('div', {}), vehicle: h('div', { role: 'gridcell', class: 'a-vehicle' }),
            state: h('div', { role: 'gridcell', class: 'a-state' }), ack };

        r.el = h('div', { class: 'alarm', role: 'row', tabindex: '-1', 'data-testid': 'alarm', 'data-id': a.id, 'data-kind': a.kind,
            'data-severity': a.severity, title: `${a.code} ${date_time(a.at)}`,
            onclick: () => this.pick(this.book.alarms.get(a.id) ?? a, this.fleet.vehicles.get(a.device_id) ?? null) },
            h('div', { role: 'gridcell', class: 'a-time' }, is_today(a.at) ? clock(a.at) : date_time(a.at)),
            h('div', { role: 'gridcell', class: `a-sev ${a.severity}` }, a.severity),
            r.vehicle,
            h('div', { role: 'gridcell', class: 'a-kind' }, words(a.kind)),
            r.state,
            h('div', { role: 'gridcell', class: 'a-ack' }, ack));
        this.rows.set(a.id, r);
        return r;
    }

    /* What is on the screen, in the order in which it stands there. */
    private reading(): Alarm[] {
        return this.shown.split(',').flatMap((id) => this.book.alarms.get(id) ?? []);
    }

    /* Anew from the newest on, even if somebody reads: the filter is another one. */
    refresh(): void {
        this.held = false;
        this.draw();
    }

    draw(): void {
        const now = this.book.list().filter(this.filter).slice(0, this.max);
        const list = this.held && this.rows.size > 0 ? this.reading() : now;
        const waiting = this.held ? now.filter((a) => !this.rows.has(a.id)).length : 0;
        set_text(this.more, waiting > 0 ? `${waiting} new` : '');
        this.more.hidden = waiting === 0;
        const can = this.api.can('alarm:acknowledge');
        const keep = new Set(list.map((a) => a.id));

        for (const [id, r] of this.rows) {
            if (!keep.has(id)) {
                r.el.remove();
                this.rows.delete(id);
            }
        }

        for (const a of list) {
            const r = this.row(a);
            set_text(r.vehicle, this.fleet.vehicles.get(a.device_id)?.label ?? a.serial ?? '…');
            set_text(r.state, a.status ?? '');
            set_attr(r.el, 'data-status', a.status ?? null);
            r.ack.hidden = !can || !needs_attention(a);
        }

        const order = list.map((a) => a.id).join();
        if (order !== this.shown) {
            this.shown = order;
            const focused = document.activeElement;
            this.body.replaceChildren(...list.map((a) => this.row(a).el));
            if (focused instanceof HTMLElement && this.body.contains(focused)) {
                focused.focus({ preventScroll: true });
            }
        }
        if (this.body.firstElementChild instanceof HTMLElement && !this.body.querySelector('[tabindex="0"]')) {
            this.body.firstElementChild.tabIndex = 0;
        }

        set_text(this.note, list.length > 0 ? '' : this.book.error || (this.book.loaded ? 'No alarms.' : 'Loading alarms…'));
        this.note.hidden = list.length > 0;
    }
}

function is_today(at: string): boolean {
    return new Date(at).toDateString() === new Date().toDateString();
}
