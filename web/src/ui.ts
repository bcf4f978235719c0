/* Building blocks of the pages behind the live view: tables that load page by page, facts, tabs. */

import { h, set_attr, set_text, toast } from './dom';
import { bytes, date_time, duration, nothing, words } from './format';
import { Problem } from './problem';
import type { Page } from './types';

export interface Column<T> {
    head: string;
    cell: (item: T) => Node | string | number | null;
    class?: string;
}

export interface TableOptions<T> {
    label: string;
    columns: Array<Column<T>>;
    load: (cursor: string | null) => Promise<Page<T>>;
    empty: string;
    testid?: string;
    pick?: (item: T) => void;
}

export interface Table {
    el: HTMLElement;
    reload: () => Promise<void>;
    clear: () => void;          /* as before the first load */
}

/* A table that shows one page and fetches the next on request; failures are said in its place. */
export function table<T>(o: TableOptions<T>): Table {
    const body = h('tbody', {});
    const note = h('p', { class: 'empty' });
    const more = h('button', { type: 'button', class: 'more', hidden: true, onclick: () => void fetch_page() }, 'Show more');
    const el = h('div', { class: 'table-box', 'data-testid': o.testid },
        h('table', { class: 'table', 'aria-label': o.label },
            h('thead', {}, h('tr', {}, ...o.columns.map((c) => h('th', { scope: 'col', class: c.class }, c.head)))), body),
        note, more);
    let cursor: string | null = null;
    let generation = 0;

    const fetch_page = async () => {
        const mine = ++generation;
        more.disabled = true;
        set_text(note, body.childElementCount === 0 ? 'Loading…' : '');

        try {
            const page = await o.load(cursor);
            if (mine !== generation) {
                return;
            }
            for (const item of page.items) {
                const tr = h('tr', {}, ...o.columns.map((c) => h('td', { class: c.class }, c.cell(item) as Node | string | null)));
                if (o.pick) {
                    const pick = o.pick;
                    tr.tabIndex = 0;
                    tr.classList.add('pickable');
                    tr.addEventListener('click', () => pick(item));
                    tr.addEventListener('keydown', (e) => {
                        if (e.key === 'Enter' && e.target === tr) {
                            pick(item);
                        }
                    });
                }
                body.append(tr);
            }
            cursor = page.next_cursor ?? null;
            set_text(note, body.childElementCount === 0 ? o.empty : '');
        } catch (e) {
            if (mine === generation) {
                set_text(note, say(e));
            }
        }
        if (mine === generation) {
            more.hidden = cursor === null;
            more.disabled = false;
            note.hidden = note.textContent === '';
        }
    };

    return {
        el,
        clear: () => {
            generation++;
            cursor = null;
            body.replaceChildren();
            more.hidden = true;
        },
        reload: () => {
            cursor = null;
            body.replaceChildren();
            note.hidden = false;
            return fetch_page();
        },
    };
}

export function say(e: unknown): string {
    if (e instanceof Problem || e instanceof Error) {
        return e.message;
    }
    return String(e);
}

/* Runs an action of a button: no second click while it runs, failures as a toast. */
export function act(button: HTMLButtonElement, fn: () => Promise<unknown>): void {
    button.disabled = true;
    fn().catch((e: unknown) => toast(say(e), 'error')).finally(() => {
        button.disabled = false;
    });
}

const stamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;

function plain(value: unknown): string {
    if (value === null || value === undefined || value === '') {
        return nothing;
    }
    if (typeof value === 'boolean') {
        return value ? 'yes' : 'no';
    }
    if (typeof value === 'string') {
        return stamp.test(value) ? date_time(value) : value;
    }
    if (typeof value === 'number' && !Number.isInteger(value)) {
        return String(Number(value.toFixed(Math.abs(value) > 180 ? 1 : 5)));
    }
    return String(value);
}

const units: Array<[RegExp, string]> = [
    [/_kmh$/, 'km/h'], [/_deg$/, '°'], [/_m$/, 'm'], [/_l$/, 'l'], [/_c$/, '°C'], [/_s$/, 's'], [/_bytes$/, 'bytes'],
    [/_minutes$/, 'min'], [/_percent$/, '%'],
];

/* A name of the contract as a label: "speed_kmh" is "Speed", its unit goes to the value. */
export function label_of(name: string): { text: string; unit: string } {
    for (const [re, unit] of units) {
        if (re.test(name)) {
            return { text: words(name.replace(re, '')), unit };
        }
    }
    return { text: words(name.replace(/_at$/, '')), unit: '' };
}

/* Any document as a list of facts, nested ones indented, empty ones left out. */
export function facts(doc: Record<string, unknown>, skip: string[] = []): HTMLElement {
    const dl = h('dl', { class: 'facts wide' });

    for (const [name, value] of Object.entries(doc)) {
        if (skip.includes(name) || value === null || value === undefined || value === '') {
            continue;
        }

        const { text, unit } = label_of(name);
        const dd = h('dd', {});

        if (Array.isArray(value)) {
            if (value.length === 0) {
                continue;
            }
            if (value.every((item) => typeof item !== 'object')) {
                dd.append(value.map(plain).join(', '));
            }
            for (const item of value.filter((x) => typeof x === 'object')) {
                dd.append(typeof item === 'object' && item !== null ? facts(item as Record<string, unknown>)
                    : h('div', {}, plain(item)));
            }
        } else if (typeof value === 'object') {
            if (Object.keys(value).length === 0) {
                continue;
            }
            dd.append(facts(value as Record<string, unknown>));
        } else {
            dd.append(typeof value !== 'number' || !unit ? plain(value)
                : unit === 'bytes' ? bytes(value)
                : unit === 's' && value >= 60 ? duration(value)
                : unit === 'm' && value >= 10_000 ? `${(value / 1000).toFixed(1)} km` : `${Number(value.toFixed(1))} ${unit}`);
        }
        dl.append(h('dt', {}, text), dd);
    }
    return dl;
}

/* {"a":1,"b":["x"]} as "a 1, b x", for a cell of a table. */
export function brief(d: unknown): string {
    if (!d || typeof d !== 'object') {
        return plain(d) === nothing ? '' : plain(d);
    }
    return Object.entries(d).filter(([, v]) => v !== null && v !== '')
        .map(([k, v]) => `${k.replace(/_/g, ' ')} ${typeof v === 'object' ? JSON.stringify(v) : plain(v)}`).join(', ');
}

/* A document as cards: its plain members first, then one card for each member with members of its own. */
export function cards(doc: Record<string, unknown>, skip: string[] = []): HTMLElement {
    const simple: Record<string, unknown> = {};
    const rest: HTMLElement[] = [];

    for (const [name, value] of Object.entries(doc)) {
        if (skip.includes(name)) {
            continue;
        }

        if (typeof value !== 'object' || value === null) {
            simple[name] = value;
            continue;
        }

        const list = Array.isArray(value) ? value : [value];
        const inner = list.map((x) => typeof x === 'object' && x !== null ? facts(x as Record<string, unknown>) : h('div', {}, plain(x)))
            .filter((el) => el.childNodes.length > 0);
        if (inner.length > 0) {
            rest.push(h('section', { class: 'card' }, h('h3', {}, label_of(name).text), ...inner));
        }
    }

    return h('div', { class: 'cards' }, h('section', { class: 'card' }, h('h3', {}, 'Now'), facts(simple)), ...rest);
}

export interface Tab {
    name: string;
    text: string;
    make: () => HTMLElement;
    show?: () => void;
}

/* Tabs whose content is made when first shown. */
export function tabs(list: Tab[], chosen: (name: string) => void): { el: HTMLElement; show: (name: string) => void } {
    const bar = h('div', { class: 'tabs', role: 'tablist' });
    const content = h('div', { class: 'tab-content' });
    const made = new Map<string, HTMLElement>();
    const buttons = new Map<string, HTMLButtonElement>();

    for (const t of list) {
        const b = h('button', { type: 'button', role: 'tab', 'data-testid': `tab-${t.name}`, onclick: () => chosen(t.name) }, t.text);
        buttons.set(t.name, b);
        bar.append(b);
    }

    bar.addEventListener('keydown', (e) => {
        const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
        const all = [...buttons.values()];
        const at = all.indexOf(document.activeElement as HTMLButtonElement);
        if (step !== 0 && at >= 0) {
            const next = all[(at + step + all.length) % all.length];
            next.focus();
            next.click();
        }
    });

    return {
        el: h('div', { class: 'tabbed' }, bar, content),
        show: (name) => {
            const t = list.find((x) => x.name === name) ?? list[0];
            if (!made.has(t.name)) {
                const el = h('div', { role: 'tabpanel', 'aria-label': t.text }, t.make());
                made.set(t.name, el);
                content.append(el);
            }
            for (const [n, el] of made) {
                el.hidden = n !== t.name;
            }
            buttons.get(t.name)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
            for (const [n, b] of buttons) {
                set_attr(b, 'aria-selected', String(n === t.name));
                b.tabIndex = n === t.name ? 0 : -1;
            }
            t.show?.();
        },
    };
}

export function select(name: string, choices: Array<[string, string]>, value: string): HTMLSelectElement {
    const el = h('select', { name, 'data-testid': `select-${name}` }, ...choices.map(([v, t]) => h('option', { value: v }, t)));
    el.value = value;
    return el;
}

/* <input type=datetime-local> speaks local time without a zone. */
export function local_input(at: Date): string {
    const t = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
    return t.toISOString().slice(0, 16);
}

/* What such a field says, as the API wants it; empty when it is. */
export function iso(local: string): string {
    return local ? new Date(local).toISOString() : '';
}

export function page_head(title: string, back: string, ...tools: Array<Node | null>): { el: HTMLElement; title: HTMLElement; note: HTMLElement } {
    const t = h('h1', {}, title);
    const note = h('span', { class: 'dim' });
    return {
        el: h('div', { class: 'page-head' }, back ? h('a', { class: 'button', href: back, 'data-testid': 'back' }, '‹ Back') : null,
            t, note, h('span', { class: 'spring' }), ...tools),
        title: t,
        note,
    };
}
