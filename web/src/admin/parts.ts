/* What the administration pages share: inputs, lists of check boxes, buttons that delete, secrets shown once. */

import type { Context } from '../app';
import { dialog, field, h } from '../dom';
import { act } from '../ui';
import type { Table } from '../ui';

/* `testid` is the prefix of the element's data-testid. */
export function input(name: string, type = 'text', value = '', testid = 'user'): HTMLInputElement {
    return h('input', { type, name, value, autocomplete: type === 'password' ? 'new-password' : 'off', spellcheck: 'false',
        'data-testid': `${testid}-${name}` });
}

/* [value, text, checked, fixed]: what is fixed is shown and not among the chosen. */
export type Check = [string, string, boolean, boolean];

const find_from = 12;       /* entries; a longer list gets a search field */

export function checks(legend: string, list: Check[]): { el: HTMLElement; chosen: () => string[] } {
    const boxes = list.map(([value, text, on, fixed]) => {
        const box = h('input', { type: 'checkbox', value, disabled: fixed });
        box.checked = on;
        return { box, text: text.toLowerCase(), el: h('label', { class: 'check' }, box, text) };
    });
    const find = h('input', { type: 'search', class: 'check-find', placeholder: 'Find', 'aria-label': `Find in ${legend}`, oninput: () => {
        const wanted = find.value.trim().toLowerCase();
        for (const b of boxes) {
            b.el.hidden = !b.box.checked && !b.text.includes(wanted);
        }
    } });
    find.hidden = list.length < find_from;

    return {
        el: h('fieldset', { class: 'checks' }, h('legend', {}, legend), find, ...boxes.map((b) => b.el)),
        chosen: () => boxes.filter((b) => b.box.checked && !b.box.disabled).map((b) => b.box.value),
    };
}

/* A small button of a table's row; the row itself is not picked by it. */
export function row_button(text: string, testid: string | null, fn: () => Promise<unknown>): HTMLButtonElement {
    const b = h('button', { type: 'button', class: 'chip', 'data-testid': testid, onclick: (e: Event) => {
        e.stopPropagation();
        act(b, fn);
    } }, text);
    return b;
}

/* Asks, deletes `path`, and loads the table anew. */
export function remover(c: Context, path: string, text: string, of: () => Table, what = '', warning = 'This cannot be undone.'): HTMLElement {
    return row_button(text, null, async () => {
        const done = await dialog(what ? `${text} ${what}?` : `${text}?`, [h('p', {}, warning)], text, async () => {
            await c.api.request('DELETE', path);
        }, { danger: true });
        if (done) {
            await of().reload();
        }
    });
}

export async function show_once(title: string, value: string): Promise<void> {
    const shown = h('input', { type: 'text', readonly: true, value, class: 'code', 'data-testid': 'key-value' });
    shown.addEventListener('focus', () => shown.select());
    await dialog(title, [field('Copy it now. It is not shown again.', shown)], 'Done', async () => { /* nothing to do */ }, { inform: true });
}

/* A number field; empty is null. */
export function number_or_null(el: HTMLInputElement, name: string): number | null {
    const text = el.value.trim();
    if (text === '') {
        return null;
    }
    const n = Number(text);
    if (!Number.isFinite(n) || n < 0) {
        throw new Error(`${name}: enter a number, or nothing for no limit.`);
    }
    return n;
}
