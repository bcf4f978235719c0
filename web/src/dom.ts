/*
 * The few helpers that stand between the console and the DOM.  Text always goes in as text nodes: nothing that a
 * server or a device sent is ever parsed as HTML.
 */

type Child = Node | string | number | null | undefined | false;

export type Props = Record<string, unknown>;

const svg_ns = 'http://www.w3.org/2000/svg';

function assign(el: Element, props: Props): void {
    for (const [name, value] of Object.entries(props)) {
        if (value === undefined || value === null || value === false) {
            continue;
        }

        if (name.startsWith('on')) {
            el.addEventListener(name.slice(2), value as EventListener);

        } else if (name === 'class') {
            el.setAttribute('class', String(value));

        } else if (name === 'value' && 'value' in el) {
            (el as HTMLInputElement).value = String(value);

        } else {
            el.setAttribute(name, value === true ? '' : String(value));
        }
    }
}

/* h('button', {class: 'x', onclick: fn, 'data-testid': 'y'}, 'text', child, ...) */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]):
    HTMLElementTagNameMap[K]
{
    const el = document.createElement(tag);
    add(el, ...children);          /* a select's value needs its options first */
    assign(el, props);
    return el;
}

export function svg(tag: string, props: Props = {}, ...children: SVGElement[]): SVGElement {
    const el = document.createElementNS(svg_ns, tag) as SVGElement;
    assign(el, props);
    el.append(...children);
    return el;
}

export function add(el: Element, ...children: Child[]): void {
    for (const c of children) {
        if (c === null || c === undefined || c === false) {
            continue;
        }
        el.append(typeof c === 'number' ? String(c) : c);
    }
}

export function clear(el: Element, ...children: Child[]): void {
    el.replaceChildren();
    add(el, ...children);
}

/* Writes only when something changed: two hundred rows are looked at several times a second. */
export function set_text(el: Element, text: string): void {
    if (el.textContent !== text) {
        el.textContent = text;
    }
}

export function set_attr(el: Element, name: string, value: string | null): void {
    if (value === null) {
        if (el.hasAttribute(name)) {
            el.removeAttribute(name);
        }

    } else if (el.getAttribute(name) !== value) {
        el.setAttribute(name, value);
    }
}

const icons: Record<string, string> = {
    close: 'M4 4l8 8M12 4l-8 8',
    full: 'M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3',
    sound: 'M3 6v4h2l3 3V3L5 6zM11 5.5a3.5 3.5 0 010 5',
    mute: 'M3 6v4h2l3 3V3L5 6zM11 6l3 4M14 6l-3 4',
    follow: 'M8 2v3M8 11v3M2 8h3M11 8h3M8 6.5a1.5 1.5 0 100 3 1.5 1.5 0 000-3z',
    fit: 'M2 5V2h3M11 2h3v3M14 11v3h-3M5 14H2v-3M8 6v4M6 8h4',
    plus: 'M8 3v10M3 8h10',
    check: 'M3 8.5l3 3 7-7',
    mic: 'M8 2a2 2 0 00-2 2v3a2 2 0 004 0V4a2 2 0 00-2-2M4 7a4 4 0 008 0M8 11v3',
    camera: 'M2 5h8v6H2zM10 7l4-2v6l-4-2',
    back: 'M10 3L5 8l5 5',
    play: 'M5 3l8 5-8 5z',
    pause: 'M5 3v10M11 3v10',
    again: 'M12.5 5A5 5 0 108 13M12.5 2v3h-3',
    info: 'M8 7v5M8 4v1',
    user: 'M8 2.5a2.75 2.75 0 100 5.5 2.75 2.75 0 000-5.5M2.5 14a5.5 5.5 0 0111 0',
    record: 'M8 4a4 4 0 100 8 4 4 0 000-8z',
};

export function icon(name: string): SVGElement {
    const el = svg('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false' });
    el.append(svg('path', { d: icons[name] ?? '' }));
    return el;
}

export function icon_button(name: string, label: string, props: Props, onclick: (e: Event) => void):
    HTMLButtonElement
{
    return h('button', { type: 'button', class: 'icon-button', title: label, 'aria-label': label, onclick, ...props },
        icon(name) as unknown as Node);
}

let toasts: HTMLElement | null = null;

/* Says something for a few seconds without taking the focus. */
export function toast(text: string, kind: 'info' | 'error' = 'info'): void {
    if (!toasts || !toasts.isConnected) {
        toasts = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
        document.body.append(toasts);
    }

    const el = h('div', { class: `toast ${kind}`, 'data-testid': 'toast' }, text);
    toasts.append(el);
    setTimeout(() => el.remove(), kind === 'error' ? 8000 : 4000);
}

/*
 * A modal form.  `submit` may throw: its message is shown in the dialog, which stays open.  Resolves to true
 * when submit succeeded, to false when the dialog was dismissed.
 */
export function dialog(title: string, fields: Child[], action: string, submit: (form: HTMLFormElement) => Promise<void>,
    options: { danger?: boolean; testid?: string; inform?: boolean; wide?: boolean } = {}): Promise<boolean>
{
    return new Promise((resolve) => {
        const error = h('p', { class: 'form-error', role: 'alert', 'data-testid': 'dialog-error' });
        const ok = h('button', { type: 'submit', class: options.danger ? 'danger' : 'primary', 'data-testid': 'dialog-ok' },
            action);
        const cancel = h('button', { type: 'button', onclick: () => box.close() }, 'Cancel');
        const form = h('form', { class: 'form', novalidate: true }, h('h2', {}, title), ...fields, error,
            h('div', { class: 'form-actions' }, options.inform ? null : cancel, ok));
        const box = h('dialog', { class: options.wide ? 'dialog wide' : 'dialog', 'aria-label': title, 'data-testid': options.testid ?? 'dialog' }, form);
        let done = false;

        form.addEventListener('submit', (e) => {
            e.preventDefault();
            ok.disabled = true;
            set_text(error, '');
            submit(form).then(() => {
                done = true;
                box.close();
            }, (err: unknown) => {
                ok.disabled = false;
                set_text(error, err instanceof Error ? err.message : String(err));
            });
        });

        box.addEventListener('close', () => {
            box.remove();
            resolve(done);
        });

        document.body.append(box);
        box.showModal();
    });
}

export function field(label: string, input: HTMLElement, hint?: string): HTMLElement {
    return h('label', { class: 'field' }, h('span', { class: 'field-label' }, label), input,
        hint ? h('span', { class: 'hint' }, hint) : null);
}

/*
 * Runs `fn` at most once per animation frame, however often it is asked for; while hidden, every 500 ms.  With
 * `least_ms` at most that often: the first call is drawn at once, a stream of them in batches, because painting a
 * map of two hundred vehicles costs more than changing one of them.
 */
export function coalesce(fn: () => void, least_ms = 0): () => void {
    let pending = false;
    let last = -least_ms;

    const run = () => {
        pending = false;
        last = performance.now();
        fn();
    };

    return () => {
        if (pending) {
            return;
        }
        pending = true;

        const wait = last + least_ms - performance.now();
        if (document.hidden) {
            setTimeout(run, 500);
        } else if (wait > 0) {
            setTimeout(() => requestAnimationFrame(run), wait);
        } else {
            requestAnimationFrame(run);
        }
    };
}
