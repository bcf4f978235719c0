/*
 * What the recorder keeps on its own disks: asked for by time and channel, played from the vehicle, or fetched to
 * the server as a stored clip.
 */

import type { Context } from './app';
import { clear, h, icon_button, set_attr, set_text, toast } from './dom';
import { has } from './features';
import { bitrate, bytes, date_time, duration } from './format';
import { Player, recording_source } from './player';
import { Problem } from './problem';
import type { Download, Page, Recording } from './types';
import { act, local_input, say, select, table } from './ui';
import type { Table } from './ui';

export class Recordings {
    readonly el: HTMLElement;

    private readonly from = h('input', { type: 'datetime-local', 'aria-label': 'From' });
    private readonly to = h('input', { type: 'datetime-local', 'aria-label': 'To' });
    private readonly channel;
    private readonly table: Table;
    private readonly screen = h('div', { class: 'playback', hidden: true, 'data-testid': 'playback' });
    private player: Player | null = null;
    private readonly timers = new Set<number>();

    constructor(private readonly c: Context, private readonly device_id: string, channels: number) {
        const now = new Date();
        this.to.value = local_input(new Date(now.getTime() + 60_000));
        this.from.value = local_input(new Date(now.getTime() - 2 * 3600_000));
        this.channel = select('channel', [['', 'All cameras'],
            ...Array.from({ length: channels }, (_, i) => [String(i + 1), `CH ${i + 1}`] as [string, string])], '');

        const ask = h('button', { type: 'button', class: 'primary', 'data-testid': 'recordings-ask' }, 'Ask the recorder');
        ask.addEventListener('click', () => act(ask, () => this.table.reload()));

        this.table = table<Recording>({
            label: 'Recordings', testid: 'recordings', empty: 'The recorder has nothing in this time.',
            columns: [
                { head: 'From', cell: (r) => date_time(r.from) },
                { head: 'Length', cell: (r) => r.from && r.to ? duration((Date.parse(r.to) - Date.parse(r.from)) / 1000) : '' },
                { head: 'Camera', cell: (r) => r.channel === null ? '' : `CH ${r.channel}` },
                { head: 'Kind', cell: (r) => r.type ?? '' },
                { head: 'Size', cell: (r) => bytes(r.size_bytes) },
                { head: '', cell: (r) => this.tools(r) },
            ],
            load: (cursor) => this.c.api.get<Page<Recording>>(`/devices/${device_id}/recordings`, {
                from: new Date(this.from.value).toISOString(), to: new Date(this.to.value).toISOString(),
                channel: this.channel.value, cursor,
            }).then((p) => ({ items: p.next_cursor ? p.items : p.items.slice().sort(newest_first), next_cursor: p.next_cursor ?? null })),
        });

        const span = (text: string, hours: number) => h('button', { type: 'button', class: 'chip', onclick: () => {
            const end = new Date();
            this.to.value = local_input(new Date(end.getTime() + 60_000));
            this.from.value = local_input(new Date(end.getTime() - hours * 3600_000));
            ask.click();
        } }, text);

        this.el = h('div', { class: 'recordings' },
            h('div', { class: 'filters' }, this.from, this.to, this.channel, ask, span('2 h', 2), span('8 h', 8), span('24 h', 24)), this.screen, this.table.el);
    }

    close(): void {
        this.stop();
        this.timers.forEach((t) => clearInterval(t));
    }

    private tools(r: Recording): HTMLElement {
        const box = h('span', { class: 'chips' });
        const state = h('span', { class: 'dim', role: 'status' });

        if (has('POST', '/devices/{}/playback/start') && this.c.api.can('video:watch')) {
            box.append(h('button', { type: 'button', class: 'chip', 'data-testid': 'recording-play', onclick: () => this.play(r) }, 'Play'));
        }
        if (has('POST', '/devices/{}/recordings/download') && this.c.api.can('video:download')) {
            const b = h('button', { type: 'button', class: 'chip', 'data-testid': 'recording-fetch' }, 'Fetch');
            b.addEventListener('click', () => act(b, async () => {
                const d = await this.c.api.post<{ download_id: string }>(`/devices/${this.device_id}/recordings/download`,
                    { path: r.path }, { idempotent: true });
                this.follow(d.download_id, state, b);
            }));
            box.append(b);
        }
        box.append(state);
        return box;
    }

    /* Shows how far a download is until it is over; then the clip can be saved. */
    private follow(id: string, state: HTMLElement, button: HTMLButtonElement): void {
        button.hidden = true;
        set_text(state, 'asked for');

        const timer = window.setInterval(() => {
            this.c.api.get<Download>(`/downloads/${id}`).then((d) => {
                if (d.status === 'failed') {
                    set_text(state, `failed: ${d.failed_reason ?? 'unknown'}`);
                    button.hidden = false;
                    clearInterval(timer);
                } else if (d.status === 'complete') {
                    clear(state, d.media_id ? this.save_link(d.media_id) : 'complete');
                    clearInterval(timer);
                } else {
                    const part = d.size_bytes ? ` ${Math.floor(d.received_bytes * 100 / d.size_bytes)} %` : '';
                    set_text(state, `${d.status}${part}`);
                }
            }, (e: unknown) => {
                if (e instanceof Problem && e.status === 404) {
                    clearInterval(timer);
                }
            });
        }, 2000);
        this.timers.add(timer);
    }

    private save_link(media_id: string): HTMLElement {
        const b = h('button', { type: 'button', class: 'chip' }, 'Open the clip');
        b.addEventListener('click', () => act(b, async () => {
            const a = await this.c.api.get<{ url: string }>(`/media/${media_id}/url`, { variant: 'playback' });
            this.stop();
            clear(this.screen, h('video', { class: 'clip', controls: true, autoplay: true, playsinline: true, src: a.url }));
            this.screen.hidden = false;
        }));
        return b;
    }

    private stop(): void {
        this.player?.close();
        this.player = null;
        this.screen.replaceChildren();
        this.screen.hidden = true;
    }

    private play(r: Recording): void {
        this.stop();

        const video = h('video', { playsinline: true, 'data-testid': 'playback-video' });
        video.muted = true;
        const state = h('p', { class: 'tile-state' });
        const stats = h('span', { class: 'tile-stats' });
        const length = r.from && r.to ? Math.max(1, (Date.parse(r.to) - Date.parse(r.from)) / 1000) : 0;
        const slider = h('input', { type: 'range', min: '0', max: String(Math.floor(length)), value: '0', 'aria-label': 'Position', hidden: length === 0 });
        const rate = select('speed', [['0.5', '½×'], ['1', '1×'], ['2', '2×'], ['4', '4×'], ['8', '8×']], '1');
        const player = new Player(this.c.api, video, recording_source(this.c.api, this.device_id, r.path,
            { ...(r.channel ? { channel: r.channel } : {}), ...(length ? { duration_s: length } : {}) }), 'main');

        const control = (body: Record<string, unknown>) => this.c.api.post(`/devices/${this.device_id}/playback/control`,
            { session_id: player.session_id, ...body }).catch((e: unknown) => toast(say(e), 'error'));

        const pause = h('button', { type: 'button', 'aria-pressed': 'false' }, 'Pause');
        pause.addEventListener('click', () => {
            player.paused = !player.paused;
            set_attr(pause, 'aria-pressed', String(player.paused));
            set_text(pause, player.paused ? 'Go on' : 'Pause');
            void control({ action: player.paused ? 'pause' : 'resume' });
        });
        const readout = h('span', { class: 'dim', 'data-testid': 'playback-at' }, date_time(r.from));
        const place = (s: number) => set_text(readout, r.from ? date_time(Date.parse(r.from) + s * 1000) : '');
        let held = false;
        let last = 0;           /* of the video element's clock */
        let at_s = 0;           /* in the recording */

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
        slider.addEventListener('input', () => {
            held = true;
            place(Number(slider.value));
        });
        slider.addEventListener('change', () => {
            at_s = Number(slider.value);
            void control({ action: 'seek', position_s: at_s }).finally(() => { held = false; });
        });
        rate.addEventListener('change', () => void control({ action: 'speed', speed: Number(rate.value) }));

        player.once = true;
        player.on_change = () => {
            const s = player.stats();
            set_text(state, player.state === 'live' ? '' : player.state === 'starting' ? 'Asking the recorder…' : player.reason || player.state);
            set_text(stats, player.state === 'live' ? `${bitrate(s.bits_per_s)} · ${s.width}×${s.height} · ${Math.round(s.fps)} fps` : '');
            set_attr(this.screen, 'data-state', player.state);
        };
        player.play('main');
        this.player = player;

        clear(this.screen,
            h('div', { class: 'tile', 'data-state': 'live' }, video, h('div', { class: 'playback-state' }, state),
                h('div', { class: 'tile-bottom' }, stats)),
            h('div', { class: 'replay' }, pause, rate, slider, readout,
                icon_button('close', 'Close', {}, () => this.stop())));
        this.screen.hidden = false;
    }
}

function newest_first(a: Recording, b: Recording): number {
    return (b.from ?? '').localeCompare(a.from ?? '') || (a.channel ?? 0) - (b.channel ?? 0);
}
