/*
 * The alarm page: every alarm, filtered, with what belongs to one at the right: facts, place, clips, findings, and
 * its acknowledgement with a note.
 */

import { address } from './address';
import type { Context, View } from './app';
import { clear, dialog, field, h, set_attr, set_text, toast } from './dom';
import { has } from './features';
import { bytes, coordinate, date_time, duration, words } from './format';
import type { Alarm, AlarmMessage, Finding, MediaItem, Page } from './types';
import { act, facts, iso, page_head, say, select, table } from './ui';
import type { Table } from './ui';

export class AlarmPage implements View {
    readonly el: HTMLElement;

    private readonly table: Table;
    private readonly detail = h('aside', { class: 'detail', 'aria-label': 'Alarm', 'data-testid': 'alarm-detail', hidden: true });
    private readonly severity = select('severity', [['warning,critical', 'Warning and critical'], ['', 'Any severity'], ['critical', 'Critical'], ['warning', 'Warning'], ['info', 'Information']], 'warning,critical');
    private readonly status = select('status', [['', 'Any state'], ['open', 'Open'], ['ended', 'Ended'], ['acknowledged', 'Acknowledged'],
        ['closed', 'Closed']], '');
    private readonly vehicle = select('vehicle', [['', 'All vehicles']], '');
    private readonly from = h('input', { type: 'datetime-local', 'aria-label': 'From' });
    private readonly to = h('input', { type: 'datetime-local', 'aria-label': 'To' });
    private readonly fresh = h('button', { type: 'button', class: 'primary', hidden: true, onclick: () => this.reload() });
    private arrived = 0;
    private asked = '';
    private shown: Alarm | null = null;
    private visible = false;

    constructor(private readonly c: Context) {
        this.table = table<Alarm>({
            label: 'Alarms', testid: 'alarm-table', empty: 'No alarm matches.',
            columns: [
                { head: 'Time', cell: (a) => date_time(a.at) },
                { head: 'Severity', cell: (a) => h('span', { class: `a-sev ${a.severity}` }, a.severity) },
                { head: 'Vehicle', cell: (a) => this.name(a) },
                { head: 'Kind', cell: (a) => words(a.kind) },
                { head: 'Code', cell: (a) => a.code, class: 'dim wide-only' },
                { head: 'State', cell: (a) => h('span', { 'data-alarm': a.id, 'data-picked': this.shown?.id === a.id ? '' : null }, this.c.book.alarms.get(a.id)?.status ?? a.status ?? '') },
            ],
            load: (cursor) => this.c.api.get<Page<Alarm>>('/alarms', {
                limit: 100, cursor, severity: this.severity.value, status: this.status.value, device_id: this.vehicle.value,
                from: iso(this.from.value), to: iso(this.to.value),
            }),
            pick: (a) => { location.hash = `#/alarms/${a.id}`; },
        });

        for (const [, el] of this.filters) {
            el.addEventListener('change', () => {
                this.keep();
                this.reload();
            });
        }
        this.severity.setAttribute('aria-label', 'Severity');
        this.status.setAttribute('aria-label', 'State');
        this.vehicle.setAttribute('aria-label', 'Vehicle');

        this.el = h('div', { class: 'page' }, page_head('Alarms', '', this.fresh).el,
            h('div', { class: 'filters', role: 'group', 'aria-label': 'Filter' }, this.severity, this.status, this.vehicle, this.from, this.to),
            h('div', { class: 'page-split' }, this.table.el, this.detail));

        c.listen((m) => {
            if (m.type === 'alarm') {
                this.message(m);
            } else if (m.type === 'media' && this.shown && m.alarm_id === this.shown.id) {
                void this.load_one(this.shown.id);
            }
        });
        c.fleet.listen((changed) => {
            if (changed === null && this.visible) {
                this.fill_vehicles(this.vehicle.value);
            }
        });
        c.book.listen(() => {
            for (const s of this.table.el.querySelectorAll<HTMLElement>('[data-alarm]')) {
                const a = c.book.alarms.get(s.dataset.alarm ?? '');
                if (a?.status) {
                    set_text(s, a.status);
                }
            }
        });
    }

    /* By their names in the address; the first value of a choice is what goes without saying. */
    private get filters(): Array<[string, HTMLInputElement | HTMLSelectElement]> {
        return [['severity', this.severity], ['status', this.status], ['vehicle', this.vehicle], ['from', this.from], ['to', this.to]];
    }

    private get wanted(): string {
        return this.filters.map(([, el]) => el.value).join('|');
    }

    private keep(): void {
        address.write(Object.fromEntries(this.filters.map(([name, el]) =>
            [name, el === this.severity ? (el.value === 'warning,critical' ? '' : el.value || 'any') : el.value])));
    }

    /* The filters that the address asks for; what it does not name stays as it is. */
    private take(): void {
        const query = address.read();
        this.fill_vehicles(query.get('vehicle') ?? this.vehicle.value);
        for (const [name, el] of this.filters) {
            const raw = query.get(name);
            if (raw !== null) {
                el.value = name === 'severity' && raw === 'any' ? '' : raw;
            }
        }
        this.keep();
    }

    /* One that is not known (yet) can be chosen all the same: the address named it. */
    private fill_vehicles(chosen: string): void {
        const list = [...this.c.fleet.vehicles.values()].sort((a, b) => a.label.localeCompare(b.label));
        clear(this.vehicle, h('option', { value: '' }, 'All vehicles'), ...list.map((v) => h('option', { value: v.id }, v.label)),
            chosen && !this.c.fleet.vehicles.has(chosen) ? h('option', { value: chosen }, 'One vehicle') : null);
        this.vehicle.value = chosen;
    }

    forget(): void {
        this.hide();
        this.shown = null;
        this.detail.hidden = true;
        for (const [, el] of this.filters) {
            el.value = el === this.severity ? 'warning,critical' : '';
        }
        this.table.clear();
    }

    show(rest: string[]): void {
        this.visible = true;
        this.take();

        if (rest[0]) {
            void this.load_one(rest[0]);
        } else {
            this.detail.hidden = true;
            this.shown = null;
        }
        if (this.table.el.querySelectorAll('tbody tr').length === 0 || this.arrived > 0 || this.asked !== this.wanted) {
            this.reload();
        }
    }

    hide(): void {
        this.visible = false;
        this.stop_clip();
    }

    key(e: KeyboardEvent): boolean {
        if (e.key === 'Escape') {
            location.hash = this.shown ? '#/alarms' : '#/';
            return true;
        }
        if (e.key === 'a' && this.shown) {
            this.detail.querySelector<HTMLButtonElement>('[data-testid="detail-ack"]')?.click();
            return true;
        }
        return false;
    }

    private name(a: Alarm): string {
        return this.c.fleet.vehicles.get(a.device_id)?.label ?? a.serial ?? '';
    }

    private reload(): void {
        this.arrived = 0;
        this.asked = this.wanted;
        this.fresh.hidden = true;
        void this.table.reload();
    }

    private message(m: AlarmMessage): void {
        const wanted = this.severity.value === '' || this.severity.value.split(',').includes(m.severity);
        if (m.phase === 'start' && wanted && (!this.vehicle.value || this.vehicle.value === m.device_id)) {
            this.arrived++;
            set_text(this.fresh, `Show ${this.arrived} new`);
            this.fresh.hidden = !this.visible;
        }
        if (this.shown?.id === m.alarm_id) {
            void this.load_one(m.alarm_id);
        }
    }

    private async load_one(id: string): Promise<void> {
        try {
            const a = await this.c.api.get<Alarm>(`/alarms/${id}`);
            this.shown = a;
            this.draw(a);
        } catch (e) {
            clear(this.detail, h('p', { class: 'empty' }, say(e)));
            this.detail.hidden = false;
        }
    }

    private draw(a: Alarm): void {
        const v = this.c.fleet.vehicles.get(a.device_id);
        const ack = h('button', { type: 'button', class: 'primary', 'data-testid': 'detail-ack' }, 'Acknowledge…');
        ack.hidden = !this.c.api.can('alarm:acknowledge') || a.status === 'acknowledged' || a.status === 'closed';
        ack.addEventListener('click', () => void this.acknowledge(a));

        const p = a.position;
        const media = a.media ?? [];

        clear(this.detail,
            h('div', { class: 'detail-head' }, h('h2', {}, words(a.kind)), h('a', { class: 'button', href: '#/alarms', 'aria-label': 'Close' }, 'Close')),
            h('p', {}, h('span', { class: `a-sev ${a.severity}` }, a.severity), ` · ${a.status ?? ''} · `,
                v ? h('a', { href: `#/device/${v.id}` }, v.label) : a.serial ?? ''),
            h('div', { class: 'actions' }, ack,
                v ? h('a', { class: 'button', href: `#/map/${v.id}` }, 'On the map') : null,
                has('GET', '/alarms/{}/evidence') && this.c.api.can('video:download') && media.length > 0
                    ? this.evidence_button(a) : null),
            facts({
                at: a.at, ended_at: a.ended_at, code: a.code,
                place: p && typeof p.lat === 'number' && typeof p.lon === 'number' ? coordinate(p.lat, p.lon) : null,
                speed_kmh: p?.speed_kmh, acknowledged_at: a.acknowledged_at, acknowledged_by: a.acknowledged_by, note: a.note,
                data: a.data,
            }),
            ...(media.some((m) => (m.findings ?? []).length > 0) ? [] : a.findings ?? []).map((f) => finding(f)),
            media.length > 0 ? h('h3', {}, 'Recordings') : null,
            ...media.map((m) => this.media(m)));
        this.detail.hidden = false;
        for (const s of this.table.el.querySelectorAll<HTMLElement>('[data-alarm]')) {
            set_attr(s, 'data-picked', s.dataset.alarm === a.id ? '' : null);
        }
        set_attr(this.detail, 'data-status', a.status ?? null);
    }

    private evidence_button(a: Alarm): HTMLElement {
        const b = h('button', { type: 'button' }, 'Evidence package');
        b.addEventListener('click', () => act(b, () => this.c.api.download(`/alarms/${a.id}/evidence`, `alarm-${a.id}.zip`)));
        return b;
    }

    private media(m: MediaItem): HTMLElement {
        const box = h('div', { class: 'media', 'data-testid': 'media', 'data-status': m.status });
        const text = [m.kind === 'mp4' ? 'Clip' : 'Picture', m.channel ? `CH ${m.channel}` : '', m.duration_s ? duration(m.duration_s) : '',
            m.size_bytes ? bytes(m.size_bytes) : '', m.status === 'ready' ? '' : m.status, m.failed_reason ?? ''].filter(Boolean).join(' · ');
        const open = h('button', { type: 'button', 'data-testid': 'media-open' }, m.kind === 'mp4' ? 'Play' : 'Show');

        const can = m.status === 'ready' && this.c.api.can('video:download');
        let at_s = 0;

        const from = (s: number) => {
            const v = box.querySelector<HTMLVideoElement>('video.clip');
            if (v) {
                v.currentTime = s;
            } else {
                at_s = s;
                open.click();
            }
        };

        open.hidden = !can;
        open.addEventListener('click', () => act(open, async () => {
            this.stop_clip();
            const a = await this.c.api.get<{ url: string }>(`/media/${m.id}/url`, { variant: m.kind === 'mp4' ? 'playback' : 'original' });
            const el = m.kind === 'mp4' ? h('video', { class: 'clip', controls: true, autoplay: true, playsinline: true, src: a.url })
                : h('img', { class: 'clip', src: a.url, alt: text });
            if (el instanceof HTMLVideoElement && at_s > 0) {
                el.addEventListener('loadedmetadata', () => { el.currentTime = at_s; at_s = 0; }, { once: true });
            }
            box.querySelector('.media-head')?.after(el);
            open.hidden = true;
        }));

        const jump = can && m.kind === 'mp4' ? from : undefined;
        box.append(h('div', { class: 'media-head' }, h('span', {}, text), open), sprite(m, jump) ?? '',
            ...(m.findings ?? []).map((f) => finding(f, jump)));
        return box;
    }

    private stop_clip(): void {
        for (const v of this.detail.querySelectorAll('.clip')) {
            if (v instanceof HTMLVideoElement) {
                v.pause();
            }
            v.remove();
        }
        for (const b of this.detail.querySelectorAll<HTMLElement>('[data-status="ready"] [data-testid="media-open"]')) {
            b.hidden = false;
        }
    }

    private async acknowledge(a: Alarm): Promise<void> {
        const note = h('textarea', { rows: '3', maxlength: '1000', 'data-testid': 'ack-note' });
        const done = await dialog('Acknowledge the alarm', [field('Note', note, 'Optional. It stays with the alarm.')], 'Acknowledge', async () => {
            const known = this.c.book.alarms.get(a.id) ?? a;
            await this.c.book.acknowledge(known, note.value.trim());
        }, { testid: 'ack-dialog' });

        if (done) {
            toast('Acknowledged.');
            await this.load_one(a.id);
        }
    }
}

/* The clip at a glance: a picture every few seconds; a click plays from there. */
function sprite(m: MediaItem, jump?: (s: number) => void): HTMLElement | null {
    const s = m.sprite;
    if (!s || !m.sprite_url || m.status !== 'ready') {
        return null;
    }

    const strip = h('div', { class: 'sprite', 'data-testid': 'sprite', role: 'group', 'aria-label': 'The clip at a glance' });
    for (let i = 0; i < s.count; i++) {
        const view = h('img', { src: m.sprite_url, alt: '', draggable: 'false' });
        view.style.left = `-${(i % s.columns) * s.width / 2}px`;
        view.style.top = `-${Math.floor(i / s.columns) * s.height / 2}px`;
        view.style.width = `${s.columns * s.width / 2}px`;
        const b = h('button', { type: 'button', title: `At ${i * s.every_s} s`, 'aria-label': `Play from ${i * s.every_s} s`,
            disabled: !jump, onclick: () => jump?.(i * s.every_s) }, view);
        b.style.width = `${s.width / 2}px`;
        b.style.height = `${s.height / 2}px`;
        strip.append(b);
    }
    return strip;
}

function finding(f: Finding, jump?: (s: number) => void): HTMLElement {
    const parts = [words(f.kind)];
    if (f.confidence !== undefined) {
        parts.push(`${Math.round(f.confidence * 100)} %`);
    }
    if (f.at_s !== undefined && f.at_s !== null) {
        parts.push(`at ${f.at_s.toFixed(1)} s`);
    }
    const at = f.at_s;
    if (jump && typeof at === 'number') {
        return h('button', { type: 'button', class: 'finding', title: 'Play from a second before', 'data-testid': 'finding',
            onclick: () => jump(Math.max(0, at - 1)) }, f.picture_url ? h('img', { src: f.picture_url, alt: '' }) : null, parts.join(' · '));
    }
    return h('p', { class: 'finding' }, parts.join(' · '));
}
