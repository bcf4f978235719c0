/*
 * The list of vehicles: search, filter, sort, keyboard.  Rows are kept and only rewritten where something changed;
 * the order is looked at once a second, and not at all while the pointer is over the list, so that nothing slips
 * away from under a click.
 */

import { address, split_hash } from './address';
import { clear, coalesce, h, set_attr, set_text } from './dom';
import { choose, is_moving } from './fleet';
import type { Filter, Fleet, SortKey, Vehicle } from './fleet';
import { ago, speed } from './format';
import type { Group } from './types';

const batch_ms = 200;       /* as on the map */

function on_live_page(): boolean {
    return ['', 'map'].includes(split_hash(location.hash).path[0]);
}

interface Row {
    el: HTMLElement;
    dot: HTMLElement;
    label: HTMLElement;
    name: HTMLElement;
    speed: HTMLElement;
    seen: HTMLElement;
}

export class VehicleList {
    readonly el: HTMLElement;
    readonly search: HTMLInputElement;
    on_select: (v: Vehicle) => void = () => {};

    private readonly group = h('select', { class: 'group', 'aria-label': 'Group', 'data-testid': 'group', hidden: true });
    private readonly rows = new Map<string, Row>();
    private readonly body: HTMLElement;
    private readonly note: HTMLElement;
    private readonly heads: Array<[SortKey, HTMLButtonElement]> = [];
    private readonly filters: Array<[Filter, HTMLButtonElement]> = [];
    private order: string[] = [];
    private dirty = new Set<string>();
    private key: SortKey = 'label';
    private down = false;
    private filter: Filter = 'all';
    private selected = '';
    private hovered = false;
    private readonly timer: number;

    constructor(private readonly fleet: Fleet) {
        this.search = h('input', {
            type: 'search', placeholder: 'Search plate, name, serial   /', 'aria-label': 'Search vehicles',
            'data-testid': 'search', spellcheck: 'false', autocomplete: 'off',
            oninput: () => {
                this.keep();
                this.reorder();
            },
        });
        this.search.addEventListener('keydown', (e) => {
            if (e.key === 'ArrowDown' || e.key === 'Enter') {
                e.preventDefault();
                const first = this.order[0];
                if (first) {
                    this.focus(e.key === 'Enter' ? first : this.selected || first);
                    if (e.key === 'Enter') {
                        this.pick(first);
                    }
                }
            } else if (e.key === 'Escape' && this.search.value) {
                e.stopPropagation();
                this.search.value = '';
                this.keep();
                this.reorder();
            }
        });

        const head = (key: SortKey, text: string, cls: string) => {
            const b = h('button', { type: 'button', class: `sort ${cls}`, 'data-testid': `sort-${key}`,
                onclick: () => this.sort(key) }, text);
            this.heads.push([key, b]);
            return h('div', { role: 'columnheader', class: cls }, b);
        };

        const filter = (f: Filter, text: string) => {
            const b = h('button', { type: 'button', class: 'chip', 'data-testid': `filter-${f}`, onclick: () => {
                this.filter = f;
                this.keep();
                this.reorder();
            } }, text);
            this.filters.push([f, b]);
            return b;
        };

        this.body = h('div', { class: 'list-body', role: 'rowgroup', 'data-testid': 'device-list' });
        this.note = h('p', { class: 'empty', 'data-testid': 'list-note' });

        this.body.addEventListener('click', (e) => {
            const row = (e.target as Element).closest<HTMLElement>('[data-id]');
            if (row) {
                this.pick(row.dataset.id ?? '');
            }
        });
        this.body.addEventListener('keydown', (e) => this.key_down(e));
        this.body.addEventListener('pointerenter', () => { this.hovered = true; });
        this.body.addEventListener('pointerleave', () => { this.hovered = false; });

        this.el = h('div', { class: 'list' },
            h('div', { class: 'list-tools' }, this.search,
                h('div', { class: 'chips', role: 'group', 'aria-label': 'Show' },
                    filter('all', 'All'), filter('online', 'Online'), filter('moving', 'Moving'), filter('offline', 'Offline')), this.group),
            h('div', { class: 'list-table', role: 'grid', 'aria-label': 'Vehicles' },
                h('div', { class: 'row head', role: 'row' },
                    head('state', '●', 'c-dot'), head('label', 'Vehicle', 'c-label'), head('speed', 'km/h', 'c-speed'),
                    head('seen', 'Seen', 'c-seen')),
                this.body),
            this.note);
        this.heads[0][1].setAttribute('aria-label', 'Sort by state');

        this.take();
        this.group.addEventListener('change', () => {
            this.wanted_group = this.group.value;
            this.keep();
            this.reorder();
        });

        const draw = coalesce(() => this.draw(), batch_ms);
        fleet.listen((changed) => {
            if (changed === null) {
                this.reorder();
            } else {
                changed.forEach((id) => this.dirty.add(id));
                draw();
            }
        });

        this.timer = window.setInterval(() => {
            if (!document.hidden) {
                this.ages();
                if (!this.hovered && (this.key !== 'label' || this.filter !== 'all')) {
                    this.reorder();
                }
            }
        }, 1000);

        this.reorder();
    }

    private wanted_group = '';

    /* What is looked for is kept in the address, on the live page. */
    keep(): void {
        if (on_live_page()) {
            address.write({ q: this.search.value, show: this.filter === 'all' ? '' : this.filter, group: this.wanted_group,
                sort: this.key === 'label' && !this.down ? '' : (this.down ? '-' : '') + this.key });
        }
    }

    private take(): void {
        if (!on_live_page()) {
            return;
        }
        const query = address.read();
        const show = query.get('show') ?? '';
        const sort = query.get('sort') ?? '';
        this.search.value = query.get('q') ?? '';
        this.wanted_group = query.get('group') ?? '';
        this.filter = (['online', 'moving', 'offline'] as Filter[]).find((f) => f === show) ?? 'all';
        this.down = sort.startsWith('-');
        this.key = (['speed', 'seen', 'state'] as SortKey[]).find((k) => k === sort.replace('-', '')) ?? 'label';
    }

    set_groups(groups: Group[]): void {
        const chosen = this.wanted_group;
        clear(this.group, h('option', { value: '' }, 'All groups'), ...groups.map((g) => h('option', { value: g.id }, g.name)));
        this.group.value = groups.some((g) => g.id === chosen) ? chosen : '';
        this.group.hidden = groups.length === 0;
        this.reorder();
    }

    close(): void {
        clearInterval(this.timer);
    }

    select(id: string): void {
        const old = this.rows.get(this.selected);
        if (old) {
            set_attr(old.el, 'aria-selected', 'false');
            old.el.tabIndex = -1;
        }

        this.selected = id;

        const row = this.rows.get(id);
        if (row) {
            set_attr(row.el, 'aria-selected', 'true');
            row.el.tabIndex = 0;
            row.el.scrollIntoView({ block: 'nearest' });
        }
    }

    private sort(key: SortKey): void {
        this.down = this.key === key ? !this.down : false;
        this.key = key;
        this.keep();
        this.reorder();
    }

    private pick(id: string): void {
        const v = this.fleet.vehicles.get(id);
        if (v) {
            this.on_select(v);
        }
    }

    private focus(id: string): void {
        this.rows.get(id)?.el.focus();
    }

    private key_down(e: KeyboardEvent): void {
        const row = (e.target as Element).closest<HTMLElement>('[data-id]');
        const at = row ? this.order.indexOf(row.dataset.id ?? '') : -1;
        let to = -1;

        switch (e.key) {
        case 'ArrowDown': to = Math.min(this.order.length - 1, at + 1); break;
        case 'ArrowUp': to = at - 1; break;
        case 'PageDown': to = Math.min(this.order.length - 1, at + 12); break;
        case 'PageUp': to = Math.max(0, at - 12); break;
        case 'Home': to = 0; break;
        case 'End': to = this.order.length - 1; break;
        case 'Enter':
        case ' ':
            if (row) {
                e.preventDefault();
                this.pick(row.dataset.id ?? '');
            }
            return;
        default:
            return;
        }

        e.preventDefault();
        if (to < 0) {
            this.search.focus();
            return;
        }
        this.focus(this.order[to]);
        this.pick(this.order[to]);
    }

    private row(v: Vehicle): Row {
        const old = this.rows.get(v.id);
        if (old) {
            return old;
        }

        const r: Row = {
            el: h('div', { class: 'row', role: 'row', 'data-id': v.id, 'data-testid': `device-${v.serial}`, tabindex: '-1',
                'aria-selected': 'false' }),
            dot: h('span', { class: 'dot' }),
            label: h('span', { class: 'label' }),
            name: h('span', { class: 'name' }),
            speed: h('div', { role: 'gridcell', class: 'c-speed' }),
            seen: h('div', { role: 'gridcell', class: 'c-seen' }),
        };
        r.el.append(h('div', { role: 'gridcell', class: 'c-dot' }, r.dot),
            h('div', { role: 'gridcell', class: 'c-label' }, r.label, r.name), r.speed, r.seen);
        this.rows.set(v.id, r);
        return r;
    }

    private write(v: Vehicle, now: number): void {
        const r = this.row(v);
        const state = !v.online ? 'offline' : is_moving(v) ? 'moving' : 'online';

        set_attr(r.el, 'data-state', state);
        set_attr(r.el, 'data-online', String(v.online));
        set_attr(r.el, 'data-alarm', v.alarms > 0 ? 'true' : null);
        set_attr(r.dot, 'class', `dot ${state}`);
        set_attr(r.dot, 'title', state === 'offline' && v.offline_reason ? `offline: ${v.offline_reason}` : state);
        set_attr(r.dot, 'aria-label', state);
        set_attr(r.dot, 'role', 'img');
        set_text(r.label, v.label);
        set_text(r.name, v.name);
        set_text(r.speed, v.online ? speed(v.position?.speed_kmh) : '');
        set_text(r.seen, v.seen_at ? ago(v.seen_at, now) : '–');
    }

    private draw(): void {
        const now = Date.now();
        for (const id of this.dirty) {
            const v = this.fleet.vehicles.get(id);
            if (v && this.rows.has(id)) {
                this.write(v, now);
            }
        }
        this.dirty.clear();
    }

    private ages(): void {
        const now = Date.now();
        for (const id of this.order) {
            const v = this.fleet.vehicles.get(id);
            const r = this.rows.get(id);
            if (v && r) {
                set_text(r.seen, v.seen_at ? ago(v.seen_at, now) : '–');
            }
        }
    }

    reorder(): void {
        const list = choose(this.fleet.vehicles.values(), this.search.value, this.filter, this.key, this.down, this.group.value);
        const now = Date.now();

        for (const [id, r] of this.rows) {
            if (!this.fleet.vehicles.has(id)) {
                r.el.remove();
                this.rows.delete(id);
            }
        }

        const order = list.map((v) => v.id);
        list.forEach((v) => this.write(v, now));

        if (order.length !== this.body.childElementCount || order.some((id, i) => id !== this.order[i])) {
            const focused = document.activeElement;
            this.body.replaceChildren(...list.map((v) => this.row(v).el));
            if (focused instanceof HTMLElement && this.body.contains(focused) && focused !== document.activeElement) {
                focused.focus({ preventScroll: true });
            }
        }
        this.order = order;
        this.dirty.clear();

        if (!this.rows.get(this.selected)?.el.isConnected) {
            const first = this.rows.get(order[0] ?? '');
            if (first) {
                first.el.tabIndex = 0;
            }
        }

        for (const [key, b] of this.heads) {
            set_attr(b.parentElement as Element, 'aria-sort', key !== this.key ? 'none' : this.down ? 'descending' : 'ascending');
        }
        for (const [f, b] of this.filters) {
            set_attr(b, 'aria-pressed', String(f === this.filter));
        }

        let note = '';
        if (this.fleet.error && this.fleet.vehicles.size === 0) {
            note = this.fleet.error;
        } else if (!this.fleet.loaded && this.fleet.vehicles.size === 0) {
            note = 'Loading vehicles…';
        } else if (this.fleet.vehicles.size === 0) {
            note = 'No vehicles yet. Add the first recorder with its serial number.';
        } else if (list.length === 0) {
            note = this.search.value ? `Nothing matches “${this.search.value}”.` : 'No vehicle is in this state.';
        }
        set_text(this.note, note);
        this.note.hidden = note === '';
    }
}
