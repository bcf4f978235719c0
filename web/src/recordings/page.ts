/*
 * What the recorder keeps on its own disks: a calendar of it, and its files asked for by time and channel; played
 * from the vehicle, or fetched to the server as a stored clip.
 */

import type { Context } from '../app';
import { clear, h, set_text, toast } from '../dom';
import { has } from '../features';
import { bytes, date_time, duration } from '../format';
import { Problem } from '../problem';
import type { Download, Page, Recording } from '../types';
import { act, local_input, say, select, table } from '../ui';
import type { Table } from '../ui';
import { CalendarView } from './calendar';
import { Playback } from './playback';
import { file_at } from './spans';

const look_ms = 2 * 3600_000;      /* no file is longer */

export class Recordings {
    readonly el: HTMLElement;

    private readonly from = h('input', { type: 'datetime-local', 'aria-label': 'From' });
    private readonly to = h('input', { type: 'datetime-local', 'aria-label': 'To' });
    private readonly channel;
    private readonly table: Table;
    private readonly playback: Playback;
    private readonly calendar: CalendarView | null;
    private asked = false;
    private readonly timers = new Set<number>();

    constructor(private readonly c: Context, private readonly device_id: string, channels: number) {
        this.playback = new Playback(c.api, device_id);
        this.calendar = has('GET', '/devices/{}/recordings/calendar')
            ? new CalendarView((from, to) => c.api.get(`/devices/${device_id}/recordings/calendar`, { from, to })) : null;
        if (this.calendar) {
            this.calendar.on_moment = (channel, t_ms) => void this.play_at(channel, t_ms);
        }

        const now = new Date();
        this.to.value = local_input(new Date(now.getTime() + 60_000));
        this.from.value = local_input(new Date(now.getTime() - 2 * 3600_000));
        this.channel = select('channel', [['', 'All cameras'],
            ...Array.from({ length: channels }, (_, i) => [String(i + 1), `CH ${i + 1}`] as [string, string])], '');

        this.channel.setAttribute('aria-label', 'Camera');

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
            load: (cursor) => this.c.api.get<Page<Recording> & { truncated?: boolean }>(`/devices/${device_id}/recordings`, {
                from: new Date(this.from.value).toISOString(), to: new Date(this.to.value).toISOString(),
                channel: this.channel.value, cursor,
            }).then((p) => {
                if (p.truncated) {
                    toast('More than 5,000 files: the oldest are missing. Ask for a shorter time.', 'error');
                }
                return p;
            }).then((p) => ({ items: p.next_cursor ? p.items : p.items.slice().sort(newest_first), next_cursor: p.next_cursor ?? null })),
        });

        const span = (text: string, hours: number) => h('button', { type: 'button', class: 'chip', onclick: () => {
            const end = new Date();
            this.to.value = local_input(new Date(end.getTime() + 60_000));
            this.from.value = local_input(new Date(end.getTime() - hours * 3600_000));
            ask.click();
        } }, text);

        this.el = h('div', { class: 'recordings' }, this.playback.el, this.calendar?.el,
            h('h3', {}, 'Files'),
            h('div', { class: 'filters' }, this.from, this.to, this.channel, ask, span('2 h', 2), span('8 h', 8), span('24 h', 24)), this.table.el);
    }

    /* The recorder is asked once without a click: later only when somebody wants it. */
    show(): void {
        if (!this.asked) {
            this.asked = true;
            void this.calendar?.show();
        }
    }

    close(): void {
        this.playback.stop();
        this.timers.forEach((t) => clearInterval(t));
    }

    private tools(r: Recording): HTMLElement {
        const box = h('span', { class: 'chips' });
        const state = h('span', { class: 'dim', role: 'status' });

        if (has('POST', '/devices/{}/playback/start') && this.c.api.can('video:watch')) {
            box.append(h('button', { type: 'button', class: 'chip', 'data-testid': 'recording-play', onclick: () => this.playback.play(r) }, 'Play'));
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
            this.playback.clip(a.url);
        }));
        return b;
    }

    /* The file that holds this moment of a channel is looked for, and played from there. */
    private async play_at(channel: number | null, t_ms: number): Promise<void> {
        try {
            const around = await this.c.api.get<Page<Recording>>(`/devices/${this.device_id}/recordings`, {
                from: new Date(t_ms - look_ms).toISOString(), to: new Date(t_ms + 60_000).toISOString(), channel });
            const file = file_at(around.items, channel, t_ms);
            if (!file) {
                throw new Error('The recorder no longer has this.');
            }
            this.playback.play(file, (t_ms - Date.parse(file.from ?? '')) / 1000);
        } catch (e) {
            toast(say(e), 'error');
        }
    }
}

function newest_first(a: Recording, b: Recording): number {
    return (b.from ?? '').localeCompare(a.from ?? '') || (a.channel ?? 0) - (b.channel ?? 0);
}
