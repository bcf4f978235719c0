/*
 * The page that stays open all night: the vehicles at the left, the map with the newest alarms under it, the
 * cameras at the right.
 */

import { AlarmTable, needs_attention } from './alarms';
import type { Context, View } from './app';
import { read, store } from './config';
import { add_device_dialog } from './devices';
import { coalesce, h, icon, set_attr, set_text, toast } from './dom';
import { has } from './features';
import { has_place, is_moving } from './fleet';
import type { Vehicle } from './fleet';
import { ago, compass, coordinate, nothing, seen, speed, words } from './format';
import { VehicleList } from './list';
import { FleetMap } from './map';
import { beep } from './sound';
import { TalkBar, can_talk } from './talk';
import type { Page, Position } from './types';
import { Wall } from './wall';

export class LivePage implements View {
    readonly el: HTMLElement;
    readonly list: VehicleList;
    readonly map: FleetMap;
    readonly wall: Wall;

    private readonly strip: HTMLElement;
    private readonly panel: VehiclePanel;
    private selected: Vehicle | null = null;

    constructor(private readonly c: Context) {
        this.list = new VehicleList(c.fleet);
        this.map = new FleetMap(c.fleet, c.config);
        this.wall = new Wall(c.api, c.fleet);
        this.panel = new VehiclePanel(c, this.wall);

        this.list.on_select = (v) => this.select(v, true);
        this.map.on_select = (v) => this.select(v, false);
        this.wall.on_pick = (v) => this.select(v, true);
        this.wall.on_talk = (v) => {
            this.select(v, false);
            this.panel.begin_talk();
        };

        c.listen((m) => {
            if (m.type === 'media') {
                this.wall.media(m);
            }
        });

        const alarms = new AlarmTable(c.api, c.book, c.fleet, 100, (a, v) => {
            if (v) {
                this.select(v, true);
            }
            const p = a.position;
            if (has_place(p)) {
                this.map.map.panTo([p.lat, p.lon]);
            }
        });

        const all = h('input', { type: 'checkbox', 'data-testid': 'strip-info', onchange: () => {
            store('strip-info', all.checked ? '1' : null);
            alarms.refresh();
        } });
        all.checked = read('strip-info') === '1';
        alarms.filter = (a) => all.checked || a.severity !== 'info';

        this.strip = h('section', { class: 'strip', 'aria-label': 'Newest alarms' },
            h('div', { class: 'strip-head' }, h('h2', {}, 'Alarms'), h('span', { class: 'spring' }),
                h('label', { class: 'check' }, all, 'Information too')), alarms.el);
        this.strip.hidden = !has('GET', '/alarms') && c.book.alarms.size === 0;

        const add = c.api.can('device:write') && has('POST', '/devices')
            ? h('button', { type: 'button', class: 'add-device', 'data-testid': 'add-device', onclick: () => {
                void add_device_dialog(c);
            } }, icon('plus') as unknown as Node, 'Add vehicle') : null;

        const split = this.splitter();
        this.el = h('div', { class: 'live' },
            h('aside', { class: 'side', 'aria-label': 'Vehicles' }, this.list.el, add, this.panel.el),
            h('div', { class: 'middle' }, this.map.el, this.strip),
            split, this.wall.el);

        this.wall.on_change = () => {
            this.el.classList.toggle('has-wall', this.wall.count > 0);
            this.panel.draw();
        };

        c.fleet.listen(coalesce(() => {
            if (this.selected && !c.fleet.vehicles.has(this.selected.id)) {
                this.selected = null;
                this.panel.show(null);
            }
            this.panel.draw();
        }));

        const calls = new Set<string>();
        c.fleet.listen((changed) => {
            for (const id of changed ?? c.fleet.vehicles.keys()) {
                const v = c.fleet.vehicles.get(id);
                if (!v?.calling) {
                    calls.delete(id);
                } else if (!calls.has(id)) {
                    calls.add(v.id);
                    toast(`${v.label}: the driver asks for a call.`);
                    if (c.api.can('device:control')) {
                        beep();
                    }
                }
            }
        });

        c.book.on_new.push(() => { this.strip.hidden = false; });
    }

    /* The wall's width follows the pointer, or the arrow keys; it is remembered. */
    private splitter(): HTMLElement {
        const bar = h('div', { class: 'splitter', role: 'separator', 'aria-orientation': 'vertical', 'aria-label': 'Width of the cameras',
            tabindex: '0', 'aria-valuemin': '20', 'aria-valuemax': '80' });
        let share = Number(read('wall-share') ?? '42');

        const apply = (value: number) => {
            share = Math.min(80, Math.max(20, Number.isFinite(value) ? value : 42));
            set_attr(bar, 'aria-valuenow', String(Math.round(share)));
            this.el?.style.setProperty('--wall', `${share}%`);
        };

        bar.addEventListener('pointerdown', (e) => {
            bar.setPointerCapture(e.pointerId);
            bar.onpointermove = (m) => {
                const box = this.el.getBoundingClientRect();
                apply((box.right - m.clientX) * 100 / box.width);
            };
        });
        bar.addEventListener('pointerup', () => {
            bar.onpointermove = null;
            store('wall-share', String(Math.round(share)));
        });
        bar.addEventListener('keydown', (e) => {
            if (e.key === 'ArrowLeft' || e.key === 'ArrowRight') {
                e.preventDefault();
                apply(share + (e.key === 'ArrowLeft' ? 2 : -2));
                store('wall-share', String(Math.round(share)));
            }
        });

        queueMicrotask(() => apply(share));
        return bar;
    }

    select(v: Vehicle, show: boolean): void {
        if (this.selected?.id !== v.id) {
            this.selected = v;
            this.map.follow(false);
        }
        this.list.select(v.id);
        this.map.select(v.id, show);
        this.panel.show(v);
        void this.load_trail(v);
    }

    private trail_of = '';

    private async load_trail(v: Vehicle): Promise<void> {
        if (this.trail_of === v.id || !has('GET', '/devices/{}/telemetry')) {
            return;
        }
        this.trail_of = v.id;

        try {
            const page = await this.c.api.get<Page<Position>>(`/devices/${v.id}/telemetry`,
                { limit: 500, from: new Date(Date.now() - 30 * 60_000).toISOString() });
            const points: Array<[number, number]> = [];
            const first = v.trail.length > 0 ? v.trail[0] : null;

            for (const p of page.items) {
                if (has_place(p)) {
                    points.push([p.lat, p.lon]);
                }
            }
            points.reverse();

            /* the live trail goes on from the point that both know */
            const at = first ? points.map((p) => p.join()).lastIndexOf(first.join()) : -1;
            this.map.set_history(v.id, at >= 0 ? points.slice(0, at) : points);
        } catch {
            this.trail_of = '';     /* the live trail is still there */
        }
    }

    restore(): void {
        this.wall.restore();
    }

    forget(): void {
        this.selected = null;
        this.trail_of = '';
        this.wall.close_all();
        this.panel.show(null);
        this.list.select('');
        this.map.forget();
    }

    close(): void {
        this.wall.close_all();
        this.map.close();
        this.list.close();
        this.panel.close();
    }

    show(rest: string[]): void {
        this.list.keep();
        this.map.map.invalidateSize();
        const v = rest[0] ? this.c.fleet.vehicles.get(rest[0]) : undefined;
        if (v) {
            this.select(v, true);
        }
    }

    key(e: KeyboardEvent): boolean {
        const v = this.selected;

        if (/^[1-9]$/.test(e.key)) {
            const channel = Number(e.key);
            if (v && channel <= v.channels.length && this.c.api.can('video:watch')) {
                this.wall.toggle(v, channel);
                return true;
            }
            return false;
        }

        switch (e.key) {
        case '/':
            this.list.search.focus();
            this.list.search.select();
            return true;
        case 'f':
            if (v) {
                this.map.follow(!this.map.is_following);
            } else {
                toast('Choose a vehicle first.');
            }
            return true;
        case '0':
            this.map.fit();
            return true;
        case 'd':
            if (v && this.panel.has_details) {
                location.hash = `#/device/${v.id}`;
            }
            return true;
        case 'n': {
            const a = this.c.book.list().find(needs_attention);
            const row = a ? this.strip.querySelector<HTMLElement>(`[data-id="${CSS.escape(a.id)}"]`) : null;
            row?.focus();
            row?.click();
            return true;
        }
        case 'w':
            this.wall.full_screen();
            return true;
        case 'X':
        case 'x':
            this.wall.close_all();
            return true;
        case 'Escape':
            return this.wall.shrink();
        default:
            return false;
        }
    }
}

/* The selected vehicle: what it does now, and its cameras. */
class VehiclePanel {
    readonly el = h('section', { class: 'panel', 'aria-label': 'Selected vehicle', 'data-testid': 'panel', hidden: true });
    readonly has_details: boolean;

    private vehicle: Vehicle | null = null;
    private readonly title = h('h2', {});
    private readonly sub = h('p', { class: 'dim' });
    private readonly facts = h('dl', { class: 'facts' });
    private readonly cameras = h('div', { class: 'cameras', role: 'group', 'aria-label': 'Cameras' });
    private readonly details = h('a', { class: 'button', 'data-testid': 'details' }, 'Details');
    private readonly values = new Map<string, HTMLElement>();
    private readonly talk: TalkBar | null;
    private readonly timer: number;

    constructor(private readonly c: Context, private readonly wall: Wall) {
        this.has_details = has('GET', '/devices/{}/status');
        this.talk = can_talk(c.api) ? new TalkBar(c.api) : null;
        this.el.append(h('div', { class: 'panel-head' }, h('div', {}, this.title, this.sub), this.details),
            this.cameras, this.talk?.el ?? '', this.facts);

        for (const name of ['Speed', 'Heading', 'Ignition', 'Satellites', 'Position', 'Report']) {
            const dd = h('dd', {});
            this.values.set(name, dd);
            this.facts.append(h('dt', {}, name), dd);
        }
        this.timer = window.setInterval(() => this.draw(), 1000);
    }

    close(): void {
        clearInterval(this.timer);
        this.talk?.close();
    }

    begin_talk(): void {
        this.talk?.begin();
    }

    show(v: Vehicle | null): void {
        this.vehicle = v;
        this.talk?.show(v);
        this.el.hidden = v === null;
        this.details.hidden = !this.has_details;

        if (v) {
            this.details.href = `#/device/${v.id}`;
            this.cameras.replaceChildren(...v.channels.map((name, i) => h('button', {
                type: 'button', class: 'camera', 'data-testid': `camera-${i + 1}`, 'data-channel': String(i + 1),
                'aria-label': `Camera ${i + 1}${name ? ` ${name}` : ''}`, title: i < 9 ? `Key ${i + 1}` : '',
                onclick: () => this.wall.toggle(v, i + 1),
            }, icon('camera') as unknown as Node, name || `CH ${i + 1}`)));
            this.cameras.hidden = !this.c.api.can('video:watch');
        }
        this.draw();
    }

    draw(): void {
        const v = this.vehicle;
        if (!v || document.hidden) {
            return;
        }

        const p = v.position;
        const state = !v.online ? `offline, ${seen(v.seen_at, Date.now())}`
            : is_moving(v) ? 'moving' : 'standing';

        set_text(this.title, v.label);
        set_text(this.sub, [v.name, v.serial !== v.label ? v.serial : '', state,
            !v.online && v.offline_reason ? words(v.offline_reason).toLowerCase() : ''].filter(Boolean).join(' · '));

        const put = (name: string, text: string) => set_text(this.values.get(name) as Element, text);
        put('Speed', p ? `${speed(p.speed_kmh)} km/h` : nothing);
        put('Heading', p && p.course_deg !== null && p.course_deg !== undefined
            ? `${compass(p.course_deg)} ${Math.round(p.course_deg)}°` : nothing);
        put('Ignition', p?.acc === true ? 'on' : p?.acc === false ? 'off' : nothing);
        put('Satellites', p ? `${p.satellites ?? nothing}${p.gps_valid === false ? ', no fix' : ''}` : nothing);
        put('Position', v.lat !== null && v.lon !== null ? coordinate(v.lat, v.lon) : nothing);
        put('Report', p ? `${ago(p.at, Date.now())}${ago(p.at, Date.now()) === 'now' ? '' : ' ago'}` : nothing);

        this.talk?.draw();
        for (const b of this.cameras.querySelectorAll('button')) {
            set_attr(b, 'aria-pressed', String(this.wall.is_open(v.id, Number(b.dataset.channel))));
            b.disabled = !v.online && !this.wall.is_open(v.id, Number(b.dataset.channel));
        }
    }
}
