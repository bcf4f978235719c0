/*
 * Critical alarms that arrived while the console was open and that nobody has acknowledged: a bar on every page, the
 * oldest one first, and a sound (when this browser's user wants it) that repeats until somebody acknowledges or
 * silences it.
 */

import type { AlarmBook } from './alarms';
import { needs_attention } from './alarms';
import type { Api } from './api';
import { read } from './config';
import { clear, h, set_attr } from './dom';
import type { Fleet } from './fleet';
import { clock, words } from './format';
import { beep } from './sound';
import type { Alarm } from './types';
import { act } from './ui';

const repeat_ms = 4000;

export class AlarmBar {
    readonly el = h('div', { class: 'alarm-bar', role: 'alert', 'data-testid': 'alarm-bar', hidden: true });
    private readonly waiting = new Set<string>();
    private readonly silenced = new Set<string>();
    private readonly timer: number;
    private shown = '';

    constructor(private readonly api: Api, private readonly book: AlarmBook, private readonly fleet: Fleet) {
        book.listen(() => this.draw());
        this.timer = window.setInterval(() => this.sound(), repeat_ms);
    }

    close(): void {
        clearInterval(this.timer);
    }

    arrived(a: Alarm): void {
        if (a.severity === 'critical' && needs_attention(a)) {
            this.waiting.add(a.id);
            this.draw();
            this.sound();
        }
    }

    /* true when there was something to silence */
    silence(): boolean {
        const loud = this.loud;
        this.waiting.forEach((id) => this.silenced.add(id));
        this.draw();
        return loud;
    }

    private get loud(): boolean {
        return read('alarm-sound') === '1' && [...this.waiting].some((id) => !this.silenced.has(id));
    }

    private sound(): void {
        if (this.loud) {
            set_attr(this.el, 'data-muted', beep() ? null : '');
        }
    }

    private draw(): void {
        for (const id of this.waiting) {
            const a = this.book.alarms.get(id);
            if (!a || !needs_attention(a)) {
                this.waiting.delete(id);
                this.silenced.delete(id);
            }
        }

        const [first] = this.waiting;
        const a = first ? this.book.alarms.get(first) : undefined;
        const key = `${first ?? ''} ${this.waiting.size} ${String(this.loud)} ${this.fleet.vehicles.get(a?.device_id ?? '')?.label ?? ''}`;
        if (key === this.shown) {
            return;
        }
        this.shown = key;
        this.el.hidden = !a;
        set_attr(this.el, 'data-sounding', this.loud ? '' : null);
        if (!a) {
            this.el.replaceChildren();
            return;
        }

        const ack = h('button', { type: 'button', class: 'danger', 'data-testid': 'bar-ack' }, 'Acknowledge');
        ack.addEventListener('click', () => act(ack, () => this.book.acknowledge(a, '')));
        const more = this.waiting.size - 1;
        clear(this.el, h('strong', {}, words(a.kind)), h('span', {}, this.fleet.vehicles.get(a.device_id)?.label ?? a.serial ?? ''),
            h('span', { class: 'dim' }, clock(a.at)), more > 0 ? h('span', {}, `and ${more} more`) : null, h('span', { class: 'spring' }),
            this.api.can('alarm:acknowledge') ? ack : null,
            h('a', { class: 'button', href: `#/alarms/${a.id}`, 'data-testid': 'bar-show' }, 'Show'),
            this.loud ? h('button', { type: 'button', 'data-testid': 'bar-silence', title: 'Key Q', onclick: () => this.silence() }, 'Silence') : null);
    }
}
