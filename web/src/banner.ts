/*
 * The line under the top bar that is there only when something is wrong, or was: the connection is lost (since when,
 * and when it is tried again), the server does not answer, and afterwards how long one was away and what was missed.
 */

import { clear, h, icon_button, set_attr } from './dom';
import { clock, duration } from './format';
import type { AlarmMessage } from './types';

export class Banner {
    readonly el = h('div', { class: 'banner', role: 'status', 'aria-live': 'polite', 'data-testid': 'banner', hidden: true });
    on_retry: () => void = () => {};

    private lost_ms = 0;            /* 0: not lost */
    private back_ms = 0;            /* 0: nothing to tell about */
    private away_ms = 0;
    private missed = 0;
    private shown = '';

    /* Now and again while something is wrong. */
    draw(state: { network: boolean; live: boolean; was_live: boolean; retry_at: number; error: string }): void {
        const now = Date.now();

        if (!state.live && (state.was_live || !state.network)) {
            this.lost_ms ||= now;
            this.back_ms = 0;
        } else if (state.live && this.lost_ms) {
            this.away_ms = now - this.lost_ms;
            this.lost_ms = 0;
            this.back_ms = now;
            this.missed = 0;
        }

        if (this.lost_ms) {
            const s = Math.max(0, Math.ceil((state.retry_at - now) / 1000));
            this.show('lost', state.network ? `The connection was lost at ${clock(this.lost_ms)}. What is shown is from then. `
                + (s > 0 ? `Next try in ${s} s.` : 'Connecting…') : `There is no network since ${clock(this.lost_ms)}. What is shown is from then.`);
        } else if (state.error) {
            this.show('error', `${state.error} What is shown may be old; it is tried again by itself.`);
        } else if (this.back_ms) {
            this.tell();
        } else {
            this.hide();
        }
    }

    /* An alarm arrived: one that is older than the connection was missed. */
    alarm(m: AlarmMessage): void {
        if (this.back_ms && m.phase === 'start' && m.severity !== 'info' && Date.parse(m.at) < this.back_ms) {
            this.missed++;
            this.tell();
        }
    }

    private tell(): void {
        this.show('back', `Connected again at ${clock(this.back_ms)}, after ${duration(this.away_ms / 1000)}. `
            + (this.missed > 0 ? `${this.missed} alarm${this.missed > 1 ? 's' : ''} came meanwhile.` : 'What happened meanwhile has been fetched.'));
    }

    private hide(): void {
        this.el.hidden = true;
        this.shown = '';
    }

    private show(kind: 'lost' | 'error' | 'back', text: string): void {
        const key = `${kind} ${text}`;
        this.el.hidden = false;
        if (key === this.shown) {
            return;
        }
        this.shown = key;
        set_attr(this.el, 'data-kind', kind);
        clear(this.el, h('span', {}, text),
            kind === 'back' && this.missed > 0 ? h('a', { class: 'button', href: '#/alarms' }, 'Show alarms') : null,
            kind === 'back' ? icon_button('close', 'Close', { 'data-testid': 'banner-close' }, () => {
                this.back_ms = 0;
                this.hide();
            }) : h('button', { type: 'button', 'data-testid': 'banner-retry', onclick: () => this.on_retry() }, 'Try now'));
    }
}
