/*
 * A talk with a vehicle: asks for the microphone, then for the vehicle's voice channel, keeps it while it lasts, and says
 * in words what stands in the way.
 *
 *   press   the operator is heard while the button is held; the vehicle is heard otherwise (half duplex)
 *   open    both are heard all the time; the browser cancels the echo
 */

import type { Api } from './api';
import { read, store } from './config';
import { h, set_attr, set_text } from './dom';
import { has } from './features';
import type { Vehicle } from './fleet';
import { Problem } from './problem';
import { WhepLine, WsLine } from './talk_line';
import type { Line } from './talk_line';
import type { TalkSession } from './types';

export type TalkState = 'idle' | 'asking' | 'starting' | 'live' | 'ended';
export type TalkMode = 'press' | 'open';

export function can_talk(api: Api): boolean {
    return api.can('device:control') && has('POST', '/devices/{}/talk/start');
}

/* Why there is no microphone, in words; null: there may be one. */
export function no_microphone(secure: boolean, has_devices: boolean): string | null {
    if (!secure) {
        return 'The microphone needs HTTPS: open this page over https:// or on localhost.';
    }
    return has_devices ? null : 'This browser offers no microphone.';
}

export function microphone_error(name: string): string {
    switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
        return 'The microphone is not permitted. Allow it for this page in the browser\'s address bar.';
    case 'NotFoundError':
    case 'OverconstrainedError':
        return 'There is no microphone at this computer.';
    case 'NotReadableError':
        return 'The microphone is used by another program.';
    default:
        return 'The microphone could not be opened.';
    }
}

function way(): 'auto' | 'ws' | 'webrtc' {
    const q = new URLSearchParams(location.search).get('talk');
    return q === 'ws' || q === 'webrtc' ? q : 'auto';
}

export class Talk {
    state: TalkState = 'idle';
    reason = '';
    busy = false;                       /* somebody else talks: it can be taken over */
    speaking = false;
    line: Line | null = null;
    on_change: () => void = () => {};

    private session: TalkSession | null = null;
    private mic: MediaStream | null = null;
    private generation = 0;
    private renew_timer = 0;

    constructor(private readonly api: Api, readonly vehicle: Vehicle, public mode: TalkMode) {
    }

    async start(force = false): Promise<void> {
        const generation = ++this.generation;
        const missing = no_microphone(window.isSecureContext, navigator.mediaDevices !== undefined);

        this.busy = false;
        if (missing) {
            this.set('ended', missing);
            return;
        }

        this.set('asking');
        try {
            this.mic ??= await navigator.mediaDevices.getUserMedia({ audio: {
                echoCancellation: this.mode === 'open', noiseSuppression: true, autoGainControl: true, channelCount: 1 } });
        } catch (e) {
            void this.over(microphone_error(e instanceof Error ? e.name : ''));
            return;
        }
        if (generation !== this.generation) {
            this.release();
            return;
        }

        this.set('starting');
        try {
            const s = await this.api.post<TalkSession>(`/devices/${this.vehicle.id}/talk/start`,
                { duplex: this.mode === 'press' ? 'half' : 'full', force });
            if (generation !== this.generation) {
                void this.tell_stop();
                return;
            }
            this.session = s;
        } catch (e) {
            this.busy = e instanceof Problem && e.code === 'device_busy';
            void this.over(e instanceof Error ? e.message : 'The talk could not be started.');
            return;
        }
        this.schedule_renew();
        this.open(way() === 'ws' ? 'ws' : 'webrtc');
    }

    speak(on: boolean): void {
        this.speaking = on;
        this.line?.speak(on);
        this.on_change();
    }

    /* Hangs up. */
    stop(): void {
        const had = this.session !== null;
        const gone = this.over('');

        this.set('idle');
        if (had) {
            void gone.then(() => this.tell_stop());     /* the line is part of it: it goes first */
        }
    }

    private tell_stop(): Promise<unknown> {
        return this.api.post(`/devices/${this.vehicle.id}/talk/stop`, {}, { keepalive: true })
            .catch(() => { /* it ends by itself when nobody talks */ });
    }

    private set(state: TalkState, reason = ''): void {
        this.state = state;
        this.reason = reason;
        this.on_change();
    }

    private release(): void {
        this.mic?.getTracks().forEach((t) => t.stop());
        this.mic = null;
    }

    private over(reason: string): Promise<unknown> {
        const gone = this.line?.close() ?? Promise.resolve();

        this.generation++;
        clearTimeout(this.renew_timer);
        this.line = null;
        this.session = null;
        this.speaking = false;
        this.release();
        this.set('ended', reason);
        return gone;
    }

    private open(by: 'ws' | 'webrtc'): void {
        const s = this.session;
        const track = this.mic?.getAudioTracks()[0];
        const generation = this.generation;

        if (!s || !track) {
            return;
        }

        const url = new URL(by === 'ws' ? s.urls.ws : s.urls.whep, location.origin);
        const sink = {
            live: (is: boolean) => {
                if (generation === this.generation) {
                    this.set(is ? 'live' : 'starting');
                }
            },
            failed: (reason: string, again: boolean) => {
                if (generation !== this.generation) {
                    return;
                }
                this.line = null;
                if (by === 'webrtc' && again && way() === 'auto' && this.state === 'starting') {
                    this.open('ws');
                } else {
                    void this.why(reason);
                }
            },
        };

        if (by === 'ws') {
            url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
            this.line = new WsLine(track, url.href, sink);
        } else {
            this.line = new WhepLine(track, url.href, sink);
        }
        this.speak(this.mode === 'open');
    }

    /* WebRTC ends without a word: the address knows the reason. */
    private async why(reason: string): Promise<void> {
        const url = this.session?.urls.ws;
        const generation = this.generation;
        let text = reason;

        if (url && /lost|refused/.test(reason)) {
            try {
                const r = await fetch(url);
                const p = await r.json() as { detail?: string; title?: string };
                text = r.status === 401 ? 'The permission to talk has ended.' : r.status === 404 && p.detail ? sentence(p.detail) : reason;
            } catch {
                /* the first reason stands */
            }
        }
        if (generation === this.generation) {
            void this.over(text);
        }
    }

    private schedule_renew(): void {
        const s = this.session;
        if (!s) {
            return;
        }
        const life = Math.min(600_000, Date.parse(s.expires_at) - Date.now());
        const generation = this.generation;

        this.renew_timer = window.setTimeout(() => {
            void this.api.post<{ expires_at?: string } | null>(`/video/sessions/${s.session_id}/renew`, {}).then((n) => {
                if (n?.expires_at) {
                    s.expires_at = n.expires_at;
                }
            }).catch(() => { /* away for now, or over: then the line ends */ }).then(() => {
                if (generation === this.generation) {
                    this.schedule_renew();
                }
            });
        }, Math.max(10_000, (Number.isNaN(life) ? 0 : life) * 0.5));
    }
}

function sentence(text: string): string {
    return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/* The row under the cameras: one button to call, then one to speak and one to hang up. */
export class TalkBar {
    readonly el: HTMLElement;
    private talk: Talk | null = null;
    private vehicle: Vehicle | null = null;
    private mode: TalkMode = read('talk-mode') === 'open' ? 'open' : 'press';
    private readonly call: HTMLButtonElement;
    private readonly press: HTMLButtonElement;
    private readonly hang_up: HTMLButtonElement;
    private readonly force: HTMLButtonElement;
    private readonly refuse: HTMLButtonElement;
    private readonly open: HTMLInputElement;
    private readonly state = h('span', { class: 'talk-state', role: 'status', 'data-testid': 'talk-state' });
    private readonly meter = h('meter', { class: 'talk-meter', min: '0', max: '0.3', 'aria-label': 'Loudness of the vehicle' });
    private timer = 0;

    constructor(private readonly api: Api) {
        this.call = h('button', { type: 'button', 'data-testid': 'talk', title: 'Talk to the vehicle', onclick: () => this.begin() }, 'Talk');
        this.press = h('button', { type: 'button', class: 'talk-press', 'data-testid': 'talk-press', 'aria-pressed': 'false' }, 'Hold to speak');
        this.hang_up = h('button', { type: 'button', class: 'danger', 'data-testid': 'talk-stop', onclick: () => this.talk?.stop() }, 'Hang up');
        this.force = h('button', { type: 'button', 'data-testid': 'talk-force', onclick: () => void this.talk?.start(true) }, 'Take over');
        this.refuse = h('button', { type: 'button', 'data-testid': 'talk-refuse', onclick: () => {
            if (this.vehicle) {
                this.api.post(`/devices/${this.vehicle.id}/talk/stop`, {}).catch(() => { /* it waits no longer */ });
            }
        } }, 'Refuse');
        this.open = h('input', { type: 'checkbox', 'data-testid': 'talk-open' });
        this.open.checked = this.mode === 'open';
        this.open.addEventListener('change', () => {
            this.mode = this.open.checked ? 'open' : 'press';
            store('talk-mode', this.mode);
        });

        const down = (e: Event) => {
            e.preventDefault();
            this.talk?.speak(true);
        };
        const up = () => {
            if (this.talk?.mode === 'press') {
                this.talk.speak(false);
            }
        };
        this.press.addEventListener('pointerdown', (e) => {
            this.press.setPointerCapture(e.pointerId);
            down(e);
        });
        for (const name of ['pointerup', 'pointercancel', 'blur']) {
            this.press.addEventListener(name, up);
        }
        this.press.addEventListener('keydown', (e) => {
            if (e.key === ' ' || e.key === 'Enter') {
                e.stopPropagation();
                if (!e.repeat) {
                    down(e);
                }
            }
        });
        this.press.addEventListener('keyup', up);

        this.el = h('div', { class: 'talk', 'data-testid': 'talk-bar', 'data-state': 'idle' }, this.call, this.press, this.hang_up,
            this.force, this.refuse, h('label', { class: 'talk-open' }, this.open, 'Open line'), this.meter, this.state);
        window.addEventListener('pagehide', this.leave);
        this.draw();
    }

    /* Another vehicle is selected: a talk that runs stays with its own until it is hung up. */
    show(v: Vehicle | null): void {
        this.vehicle = v;
        if (this.talk && this.talk.vehicle.id !== v?.id && !this.running) {
            this.talk = null;
        }
        this.draw();
    }

    begin(): void {
        if (!this.vehicle || this.running) {
            return;
        }
        this.talk = new Talk(this.api, this.vehicle, this.mode);
        this.talk.on_change = () => this.draw();
        void this.talk.start();
    }

    close(): void {
        this.talk?.stop();
        clearInterval(this.timer);
        window.removeEventListener('pagehide', this.leave);
    }

    /* what is not sent any more ends by itself */
    private readonly leave = (): void => this.talk?.stop();

    private get running(): boolean {
        const s = this.talk?.state;
        return s === 'asking' || s === 'starting' || s === 'live';
    }

    draw(): void {
        const t = this.talk;
        const state = t?.state ?? 'idle';
        const texts: Record<TalkState, string> = {
            idle: '', asking: 'Waiting for the microphone…', starting: 'Calling…', live: '', ended: t?.reason ?? '' };
        let text = texts[state];

        if (state === 'live' && t) {
            text = `${t.vehicle.label} · ${t.speaking ? 'you are heard' : t.mode === 'press' ? 'listening' : ''} · ${t.line?.name ?? ''}`;
        }

        const calling = this.vehicle?.calling === true && !this.running;
        if (calling) {
            text = 'The driver asks for a call.';
        }

        set_attr(this.el, 'data-state', state);
        set_attr(this.el, 'data-calling', calling ? 'true' : null);
        set_text(this.call, calling ? 'Answer' : 'Talk');
        this.refuse.hidden = !calling;
        set_attr(this.el, 'data-way', t?.line?.name ?? null);
        set_attr(this.press, 'aria-pressed', String(t?.speaking ?? false));
        set_text(this.state, text);
        this.call.hidden = this.running;
        this.call.disabled = !this.vehicle?.online;
        this.press.hidden = !(state === 'live' && t?.mode === 'press');
        this.hang_up.hidden = !this.running;
        this.force.hidden = !(state === 'ended' && t?.busy);
        this.open.disabled = this.running;
        this.meter.hidden = state !== 'live';

        if (state === 'live' && !this.timer) {
            this.timer = window.setInterval(() => this.measure(), 100);
        } else if (state !== 'live') {
            clearInterval(this.timer);
            this.timer = 0;
        }
    }

    private measure(): void {
        const line = this.talk?.line;
        if (!line) {
            return;
        }
        const level = line.level();
        const s = line.spectrum();
        this.meter.value = level;
        set_attr(this.el, 'data-heard', level.toFixed(4));
        set_attr(this.el, 'data-heard-hz', level > 0.01 ? String(Math.round(s.hz)) : null);
    }
}
