/*
 * The line under the top bar that is there only when something is wrong, or was: the connection is lost (since when,
 * and when it is tried again), the server does not answer, and afterwards how long one was away and what was missed.
 */

import { h, icon_button, set_attr, set_text } from './dom';
import { clock, duration } from './format';

const slack_ms = 1000;       /* times of alarms are whole seconds */

export class Banner {
    readonly el = h('div', { class: 'banner', role: 'status', 'aria-live': 'polite', 'data-testid': 'banner', hidden: true });
    on_retry: () => void = () => {};

    private lost_ms = 0;            /* 0: not lost */
    private back_ms = 0;            /* 0: nothing to tell about */
    private left_ms = 0;            /* when one was away from */
    private readonly missed = new Set<string>();
    private readonly text = h('span', {});
    private readonly link = h('a', { class: 'button', href: '#/alarms' }, 'Show alarms');
    private readonly retry = h('button', { type: 'button', 'data-testid': 'banner-retry', onclick: () => this.on_retry() }, 'Try now');
    private readonly close = icon_button('close', 'Close', { 'data-testid': 'banner-close' }, () => {
        this.back_ms = 0;
        this.hide();
    });

    constructor() {
        this.el.append(this.text, this.link, this.retry, this.close);
    }

    /* Now and again while something is wrong. */
    draw(state: { network: boolean; live: boolean; was_live: boolean; retry_at: number; error: string }): void {
        const now = Date.now();

        if (!state.live && (state.was_live || !state.network)) {
            this.lost_ms ||= now;
            this.back_ms = 0;
        } else if (state.live && this.lost_ms) {
            this.left_ms = this.lost_ms;
            this.lost_ms = 0;
            this.back_ms = now;
            this.missed.clear();
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

    /* Alarms that came by message or were read anew: the ones from while one was away were missed. */
    alarms(list: Iterable<{ id: string; at: string; severity: string }>): void {
        if (!this.back_ms) {
            return;
        }
        for (const a of list) {
            const t = Date.parse(a.at);
            if (a.severity !== 'info' && t > this.left_ms - slack_ms && t < this.back_ms) {
                this.missed.add(a.id);
            }
        }
        this.tell();
    }

    private tell(): void {
        this.show('back', `Connected again at ${clock(this.back_ms)}, after ${duration((this.back_ms - this.left_ms) / 1000)}. `
            + (this.missed.size > 0 ? `${this.missed.size} alarm${this.missed.size > 1 ? 's' : ''} came meanwhile.` : 'What happened meanwhile has been fetched.'));
    }

    private hide(): void {
        this.el.hidden = true;
    }

    /* The buttons stay the same ones: a countdown must not take away what somebody is about to press. */
    private show(kind: 'lost' | 'error' | 'back', text: string): void {
        this.el.hidden = false;
        set_attr(this.el, 'data-kind', kind);
        set_text(this.text, text);
        this.link.hidden = kind !== 'back' || this.missed.size === 0;
        this.close.hidden = kind !== 'back';
        this.retry.hidden = kind === 'back';
    }
}
