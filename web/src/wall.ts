/*
 * The video wall: up to sixteen cameras at once, each in a tile with its state in words, its delay and its bit rate.
 */

import type { Api } from './api';
import { read } from './config';
import { h, icon_button, set_attr, set_text, toast } from './dom';
import { has } from './features';
import { bitrate, clock } from './format';
import type { Fleet, Vehicle } from './fleet';
import { best_wall } from './grid';
import { Player, live_source } from './player';
import { can_talk } from './talk';
import type { MediaMessage, Stream } from './types';
import { act } from './ui';

const tiles_max = 16;
const preroll_s = 10;
const storage_key = 'mdvr.wall';

/* Seconds that the record button records. */
function record_length(): number {
    const n = Number(read('record-s') ?? '60');
    return n >= 1 && n <= 3600 ? n : 60;
}

interface Saved {
    device: string;
    channel: number;
    stream: Stream;
}

export class Tile {
    readonly el: HTMLElement;
    readonly player: Player;
    readonly video: HTMLVideoElement;
    on_close: () => void = () => {};
    on_big: () => void = () => {};
    on_pick: () => void = () => {};
    on_talk: () => void = () => {};

    private readonly state = h('p', { class: 'tile-state', 'data-testid': 'tile-state' });
    private readonly detail = h('p', { class: 'tile-detail' });
    private readonly again: HTMLButtonElement;
    private readonly stats = h('span', { class: 'tile-stats', 'data-testid': 'tile-stats' });
    private readonly badge = h('span', { class: 'badge' });
    private readonly recording = h('span', { class: 'badge rec', role: 'status', 'data-testid': 'tile-recording' });
    private readonly record: HTMLButtonElement;
    private record_end_ms = 0;          /* 0: nothing is recorded */
    private record_media = '';
    private readonly stream_button: HTMLButtonElement;
    private readonly mute: HTMLButtonElement;

    constructor(private readonly api: Api, readonly vehicle: Vehicle, readonly channel: number, stream: Stream) {
        const title = `${vehicle.label} · ${vehicle.channels[channel - 1] || `CH ${channel}`}`;

        this.video = h('video', { playsinline: true, disablepictureinpicture: true, 'data-testid': 'video',
            'aria-label': title });
        this.video.muted = true;
        this.video.autoplay = true;

        this.again = h('button', { type: 'button', 'data-testid': 'tile-again', onclick: () => this.player.play() }, 'Try again');
        this.stream_button = h('button', { type: 'button', class: 'chip', 'data-testid': 'tile-stream', onclick: () => {
            this.player.play(this.player.stream === 'sub' ? 'main' : 'sub');
        } });
        this.mute = icon_button('mute', 'Sound', { 'data-testid': 'tile-sound', hidden: true, 'aria-pressed': 'false' },
            () => this.hear(this.video.muted));

        this.record = icon_button('record', `Record ${record_length()} s (R)`, { 'data-testid': 'tile-record',
            hidden: !api.can('video:download') || !has('POST', '/devices/{}/video/record') }, () => act(this.record, () => this.begin_recording()));

        this.el = h('section', { class: 'tile', role: 'group', 'aria-label': title, tabindex: '0', 'data-testid': 'tile',
            'data-device': vehicle.id, 'data-serial': vehicle.serial, 'data-channel': String(channel) },
            this.video,
            h('div', { class: 'tile-top' }, h('span', { class: 'live-dot', 'aria-hidden': 'true' }),
                h('span', { class: 'tile-title' }, title), this.badge, this.recording,
                h('span', { class: 'tile-tools' }, this.stream_button, this.record, this.mute, can_talk(api)
                    ? icon_button('mic', 'Talk to the vehicle', { 'data-testid': 'tile-talk' }, () => this.on_talk()) : null,
                    icon_button('full', 'Large (Enter)', { 'data-testid': 'tile-large' }, () => this.on_big()),
                    icon_button('close', 'Close (Delete)', { 'data-testid': 'tile-close' }, () => this.on_close()))),
            h('div', { class: 'tile-middle', role: 'status' }, this.state, this.detail, this.again),
            h('div', { class: 'tile-bottom' }, this.stats));

        this.el.addEventListener('dblclick', (e) => {
            if (!(e.target as Element).closest('button')) {
                this.on_big();
            }
        });
        this.el.addEventListener('click', (e) => {
            if (!(e.target as Element).closest('button')) {
                this.on_pick();
            }
        });
        this.el.addEventListener('keydown', (e) => {
            if (e.target !== this.el) {
                return;
            }
            if (e.key === 'Enter') {
                this.on_big();
            } else if (e.key === 'Delete' || e.key === 'Backspace') {
                this.on_close();
            } else if (e.key === 's') {
                this.stream_button.click();
            } else if (e.key === 'r' && !this.record.hidden) {
                this.record.click();
            } else if (e.key === 'm' && !this.mute.hidden) {
                this.mute.click();
            } else {
                return;
            }
            e.preventDefault();
            e.stopPropagation();
        });

        this.player = new Player(api, this.video, live_source(api, vehicle.id, channel), stream);
        this.player.shares = true;
        this.player.on_change = () => this.draw();
        this.player.on_audio = (present) => {
            this.mute.hidden = !present;
            if (!present && !this.video.muted) {
                this.hear(false);
                set_text(this.badge, 'no sound');
            }
        };
        this.player.play(stream);
        this.draw();
    }

    private hear(on: boolean): void {
        this.video.muted = !on;
        set_attr(this.mute, 'aria-pressed', String(on));
        set_text(this.badge, on ? 'sound' : '');
        this.player.sound(on);
    }

    /* Stores what is seen: some seconds of before, and as long as the user menu says. */
    private async begin_recording(): Promise<void> {
        if (this.record_end_ms > Date.now()) {
            toast(`This camera is being recorded until ${clock(this.record_end_ms)}.`);
            return;
        }
        const seconds = record_length();
        const a = await this.api.post<{ media_id: string }>(`/devices/${this.vehicle.id}/video/record`,
            { channel: this.channel, stream: this.player.stream, duration_s: seconds, preroll_s: preroll_s }, { idempotent: true });
        this.record_media = a.media_id;
        this.record_end_ms = Date.now() + seconds * 1000;
        this.draw();
    }

    /* The server tells how far a recording is. */
    media(media_id: string, status: string): void {
        if (media_id !== this.record_media || (status !== 'ready' && status !== 'failed')) {
            return;
        }
        this.record_media = '';
        this.record_end_ms = 0;
        toast(status === 'ready' ? `${this.el.getAttribute('aria-label') ?? ''}: the recording is stored.`
            : `${this.el.getAttribute('aria-label') ?? ''}: the recording failed.`, status === 'ready' ? 'info' : 'error');
        this.draw();
    }

    private draw(): void {
        const p = this.player;
        const left = Math.ceil((this.record_end_ms - Date.now()) / 1000);
        set_text(this.recording, left > 0 ? `● REC ${left} s` : this.record_media ? '● storing…' : '');
        set_attr(this.el, 'data-recording', this.record_media || null);
        const live = p.state === 'live';
        const s = p.stats();

        set_attr(this.el, 'data-state', p.state);
        set_attr(this.el, 'data-stream', p.stream);
        set_attr(this.el, 'data-transport', s.transport || null);
        set_attr(this.el, 'data-first-frame-ms', s.first_frame_ms === null ? null : String(Math.round(s.first_frame_ms)));
        set_attr(this.el, 'data-lag-ms', s.lag_s === null ? null : String(Math.round(s.lag_s * 1000)));

        set_text(this.stream_button, p.stream === 'sub' ? 'SUB' : 'MAIN');
        set_attr(this.stream_button, 'title', p.stream === 'sub' ? 'Switch to the main stream (S)' : 'Switch to the sub stream (S)');

        let text = '';
        let detail = '';
        switch (p.state) {
        case 'starting':
            text = 'Starting…';
            if (performance.now() - p.started_at > 3000) {
                detail = `waiting for the camera, ${Math.round((performance.now() - p.started_at) / 1000)} s`;
            }
            break;
        case 'stalled':
            text = 'Stalled';
            detail = p.reason;
            break;
        case 'waiting':
            text = p.reason;
            detail = `next try in ${Math.max(0, Math.ceil((p.retry_at - Date.now()) / 1000))} s`;
            break;
        case 'ended':
            text = 'Ended';
            detail = p.reason;
            break;
        case 'live':
            break;
        }

        set_text(this.state, text);
        set_text(this.detail, detail);
        this.again.hidden = p.state !== 'ended' && p.state !== 'waiting';

        const parts: string[] = [];
        if (live || p.state === 'stalled') {
            if (s.lag_s !== null) {
                parts.push(`${s.lag_s.toFixed(2)} s`);
            }
            parts.push(bitrate(s.bits_per_s));
            if (s.height > 0) {
                parts.push(`${s.width}×${s.height}`);
            }
            if (s.fps > 0.5) {
                parts.push(`${Math.round(s.fps)} fps`);
            }
            if (s.transport) {
                parts.push(s.transport);
            }
        }
        set_text(this.stats, parts.join(' · '));
    }

    close(): void {
        this.player.close();
        this.el.remove();
    }
}

export class Wall {
    readonly el: HTMLElement;
    on_change: () => void = () => {};
    on_pick: (v: Vehicle) => void = () => {};
    on_talk: (v: Vehicle) => void = () => {};

    private tiles: Tile[] = [];
    private large: Tile | null = null;
    private columns = 1;
    private readonly grid = h('div', { class: 'wall-grid', 'data-testid': 'wall' });
    private readonly heading = h('span', { class: 'dim', 'data-testid': 'wall-count' });
    private readonly full = h('button', { type: 'button', class: 'chip', title: 'Key W', 'data-testid': 'wall-full' }, 'Full screen');

    constructor(private readonly api: Api, private readonly fleet: Fleet) {
        this.full.addEventListener('click', () => this.full_screen());
        this.el = h('div', { class: 'wall', role: 'region', 'aria-label': 'Cameras' },
            h('div', { class: 'wall-head' }, this.heading, h('span', { class: 'spring' }), this.full,
                h('button', { type: 'button', class: 'chip', title: 'Key X', 'data-testid': 'wall-close', onclick: () => this.close_all() }, 'Close all')),
            this.grid);
        this.grid.addEventListener('keydown', (e) => this.key_down(e));
        document.addEventListener('fullscreenchange', () => {
            set_text(this.full, document.fullscreenElement === this.el ? 'Leave full screen' : 'Full screen');
        });
        new ResizeObserver(() => this.layout()).observe(this.grid);

        const online = new Map<string, boolean>();
        fleet.listen((changed) => {
            for (const t of this.tiles) {
                const v = this.fleet.vehicles.get(t.vehicle.id);
                if (!v || (changed && !changed.has(v.id))) {
                    continue;
                }
                if (online.get(v.id) === false && v.online) {
                    t.player.device_online();
                } else if (online.get(v.id) === true && !v.online) {
                    t.player.device_offline();
                }
            }
            for (const t of this.tiles) {
                online.set(t.vehicle.id, this.fleet.vehicles.get(t.vehicle.id)?.online ?? false);
            }
        });
    }

    get count(): number {
        return this.tiles.length;
    }

    /* Of any camera: the tile that asked for it says so. */
    media(m: MediaMessage): void {
        this.tiles.forEach((t) => t.media(m.media_id, m.status));
    }

    is_open(device: string, channel: number): boolean {
        return this.tiles.some((t) => t.vehicle.id === device && t.channel === channel);
    }

    toggle(v: Vehicle, channel: number): void {
        const t = this.tiles.find((x) => x.vehicle.id === v.id && x.channel === channel);
        if (t) {
            this.remove(t);
        } else {
            this.open(v, channel, 'sub');
        }
    }

    open(v: Vehicle, channel: number, stream: Stream): void {
        if (this.is_open(v.id, channel)) {
            return;
        }
        if (this.tiles.length >= tiles_max) {
            toast(`${tiles_max} cameras are open. Close one first.`);
            return;
        }

        const t = new Tile(this.api, v, channel, stream);
        t.on_close = () => this.remove(t);
        t.on_big = () => this.enlarge(this.large === t ? null : t);
        t.on_pick = () => this.on_pick(v);
        t.on_talk = () => this.on_talk(v);
        this.tiles.push(t);
        this.grid.append(t.el);
        this.changed();
    }

    private remove(t: Tile): void {
        const at = this.tiles.indexOf(t);
        const had_focus = t.el.contains(document.activeElement);

        if (this.large === t) {
            this.enlarge(null);
        }
        t.close();
        this.tiles.splice(at, 1);
        this.changed();
        if (had_focus) {
            this.tiles[Math.min(at, this.tiles.length - 1)]?.el.focus();
        }
    }

    close_all(): void {
        for (const t of this.tiles) {
            t.close();
        }
        this.tiles = [];
        this.large = null;
        this.changed();
    }

    /* true when there was a large tile to make small again */
    shrink(): boolean {
        if (this.large) {
            this.enlarge(null);
            return true;
        }
        return false;
    }

    full_screen(): void {
        if (document.fullscreenElement) {
            void document.exitFullscreen();
        } else if (this.tiles.length > 0) {
            this.el.requestFullscreen().then(() => {
                if (!this.grid.contains(document.activeElement)) {
                    this.tiles[0]?.el.focus();
                }
            }, () => toast('The browser does not allow the full screen here.', 'error'));
        }
    }

    /* Arrow keys go from tile to tile; while one is large, to the one that becomes large. */
    private key_down(e: KeyboardEvent): void {
        const at = this.tiles.findIndex((t) => t.el === e.target);
        const step = ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.large ? 1 : this.columns, ArrowUp: this.large ? -1 : -this.columns } as Record<string, number>)[e.key];
        if (at < 0 || !step) {
            return;
        }
        e.preventDefault();
        const next = this.tiles[at + step];
        if (next) {
            if (this.large) {
                this.enlarge(next);
            }
            next.el.focus();
        }
    }

    private enlarge(t: Tile | null): void {
        this.large?.el.classList.remove('large');
        this.large = t;
        t?.el.classList.add('large');
        this.grid.classList.toggle('has-large', t !== null);
        this.layout();
    }

    private changed(): void {
        const saved: Saved[] = this.tiles.map((t) => ({ device: t.vehicle.id, channel: t.channel, stream: t.player.stream }));
        try {
            sessionStorage.setItem(storage_key, JSON.stringify(saved));
        } catch {
            /* the wall is then empty after a reload */
        }
        set_text(this.heading, `${this.tiles.length} camera${this.tiles.length === 1 ? '' : 's'}`);
        this.layout();
        this.on_change();
    }

    /* The cameras that were open before the page was reloaded. */
    restore(): void {
        let saved: Saved[] = [];
        try {
            saved = JSON.parse(sessionStorage.getItem(storage_key) ?? '[]') as Saved[];
        } catch {
            return;
        }
        for (const s of saved) {
            const v = this.fleet.vehicles.get(s.device);
            if (v) {
                this.open(v, s.channel, s.stream);
            }
        }
    }

    private layout(): void {
        const { columns, rows } = best_wall(this.tiles.length, this.grid.clientWidth, this.grid.clientHeight);
        this.columns = columns;
        this.grid.style.setProperty('--columns', String(columns));
        this.grid.style.setProperty('--rows', String(rows));
    }
}
