/* A recording that the vehicle plays: pause, speed, and any place in it, by pointer or keyboard. */

import type { Api } from '../api';
import { clear, h, icon_button, set_attr, set_text, toast } from '../dom';
import { bitrate, date_time } from '../format';
import { Player, recording_source } from '../player';
import type { Recording } from '../types';
import { say, select } from '../ui';

const step_s = 10;          /* of an arrow key */

export class Playback {
    readonly el = h('div', { class: 'playback', hidden: true, tabindex: '-1', role: 'group', 'aria-label': 'Playback', 'data-testid': 'playback' });
    private player: Player | null = null;
    private keys: (e: KeyboardEvent) => boolean = () => false;

    constructor(private readonly api: Api, private readonly device_id: string) {
        this.el.addEventListener('keydown', (e) => {
            if (!(e.target as Element).matches('select, input, button') && this.keys(e)) {
                e.preventDefault();
                e.stopPropagation();
            }
        });
    }

    stop(): void {
        this.player?.close();
        this.player = null;
        this.keys = () => false;
        this.el.replaceChildren();
        this.el.hidden = true;
    }

    /* A stored clip instead: the browser's own controls. */
    clip(url: string): void {
        this.stop();
        clear(this.el, h('div', { class: 'media-head' }, h('span', {}), icon_button('close', 'Close', {}, () => this.stop())),
            h('video', { class: 'clip', controls: true, autoplay: true, playsinline: true, src: url, 'data-testid': 'clip-video' }));
        this.el.hidden = false;
    }

    /* From `begin_s` of the file on. */
    play(r: Recording, begin_s = 0): void {
        this.stop();

        const video = h('video', { playsinline: true, 'data-testid': 'playback-video', 'aria-label': 'Recording' });
        video.muted = true;
        const state = h('p', { class: 'tile-state', role: 'status' });
        const stats = h('span', { class: 'tile-stats' });
        const length = r.from && r.to ? Math.max(1, (Date.parse(r.to) - Date.parse(r.from)) / 1000) : 0;
        const begin = Math.min(Math.max(0, Math.floor(begin_s)), Math.max(0, length - 1));
        const slider = h('input', { type: 'range', min: '0', max: String(Math.floor(length)), value: String(begin), 'aria-label': 'Position',
            'data-testid': 'playback-slider', hidden: length === 0 });
        const rate = select('speed', [['0.5', '½×'], ['1', '1×'], ['2', '2×'], ['4', '4×'], ['8', '8×']], '1');
        rate.setAttribute('aria-label', 'Speed');
        const player = new Player(this.api, video, recording_source(this.api, this.device_id, r.path,
            { ...(r.channel ? { channel: r.channel } : {}), ...(length ? { duration_s: length } : {}), ...(begin > 0 ? { position_s: begin } : {}) }), 'main');

        const control = (body: Record<string, unknown>) => this.api.post(`/devices/${this.device_id}/playback/control`,
            { session_id: player.session_id, ...body }).catch((e: unknown) => toast(say(e), 'error'));

        const pause = h('button', { type: 'button', 'aria-pressed': 'false', 'data-testid': 'playback-pause' }, 'Pause');
        const readout = h('span', { class: 'readout', 'data-testid': 'playback-at' });
        const place = (s: number) => {
            set_text(readout, r.from ? date_time(Date.parse(r.from) + s * 1000) : '');
            set_attr(this.el, 'data-at-s', String(Math.floor(s)));
        };
        let held = false;
        let last = 0;           /* of the video element's clock */
        let at_s = begin;       /* in the recording */

        const toggle = () => {
            player.paused = !player.paused;
            set_attr(pause, 'aria-pressed', String(player.paused));
            set_text(pause, player.paused ? 'Go on' : 'Pause');
            void control({ action: player.paused ? 'pause' : 'resume' });
        };
        const seek = (s: number) => {
            at_s = Math.min(Math.max(0, s), Math.max(0, length - 1));
            place(at_s);
            slider.value = String(Math.floor(at_s));
            void control({ action: 'seek', position_s: at_s }).finally(() => { held = false; });
        };

        /* the picture runs at its own pace: what has been shown, times the speed, is how far it is */
        video.addEventListener('timeupdate', () => {
            const step = video.currentTime - last;
            last = video.currentTime;
            if (step > 0 && step < 2 && !player.paused) {
                at_s = Math.min(length, at_s + step * Math.max(1, Number(rate.value)));
            }
            if (!held && length > 0) {
                slider.value = String(Math.floor(at_s));
                place(at_s);
            }
        });
        pause.addEventListener('click', toggle);
        slider.addEventListener('input', () => {
            held = true;
            place(Number(slider.value));
        });
        slider.addEventListener('change', () => seek(Number(slider.value)));
        rate.addEventListener('change', () => void control({ action: 'speed', speed: Number(rate.value) }));

        this.keys = (e) => {
            if (e.key === ' ' || e.key === 'k') {
                toggle();
            } else if ((e.key === 'ArrowLeft' || e.key === 'ArrowRight') && length > 0) {
                seek(at_s + (e.key === 'ArrowLeft' ? -step_s : step_s));
            } else if (e.key === 'Escape') {
                this.stop();
            } else {
                return false;
            }
            return true;
        };

        player.once = true;
        player.on_change = () => {
            const s = player.stats();
            set_text(state, player.state === 'live' ? '' : player.state === 'starting' ? 'Asking the recorder…' : player.reason || player.state);
            set_text(stats, player.state === 'live' ? `${bitrate(s.bits_per_s)} · ${s.width}×${s.height} · ${Math.round(s.fps)} fps` : '');
            set_attr(this.el, 'data-state', player.state);
        };
        player.play('main');
        this.player = player;
        place(begin);

        clear(this.el,
            h('div', { class: 'tile', 'data-state': 'live' }, video,
                h('div', { class: 'tile-top' }, h('span', { class: 'tile-title' }, `${r.channel ? `CH ${r.channel} · ` : ''}${date_time(r.from)}`)),
                h('div', { class: 'playback-state' }, state), h('div', { class: 'tile-bottom' }, stats)),
            h('div', { class: 'replay' }, pause, rate, slider, readout,
                icon_button('close', 'Close (Esc)', { 'data-testid': 'playback-close' }, () => this.stop())),
            h('p', { class: 'hint' }, 'Space pauses, ← and → go ten seconds.'));
        this.el.hidden = false;
        this.el.focus({ preventScroll: true });
        this.el.scrollIntoView({ block: 'nearest' });
    }
}
