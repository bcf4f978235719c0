/* What is stored on the server of one vehicle: clips of alarms, recordings that were asked for, pictures. */

import type { Context } from '../app';
import { h } from '../dom';
import { bytes, date_time, duration, words } from '../format';
import type { MediaItem, Page } from '../types';
import { row_button } from '../admin/parts';
import { select, table } from '../ui';
import type { Table } from '../ui';
import { Playback } from './playback';

interface Stored extends MediaItem { source?: string; alarm_id?: string | null }

export class StoredMedia {
    readonly el: HTMLElement;
    private readonly table: Table;
    private readonly playback: Playback;
    private readonly unlisten: () => void;

    constructor(private readonly c: Context, device_id: string) {
        const state = select('media-status', [['', 'Any state'], ['ready', 'Ready'], ['processing', 'Being prepared'], ['failed', 'Failed']], '');
        state.setAttribute('aria-label', 'State');
        state.addEventListener('change', () => void this.table.reload());
        this.playback = new Playback(c.api, device_id);

        this.table = table<Stored>({
            label: 'Stored recordings', testid: 'stored', empty: 'Nothing is stored yet. An alarm, the record button of a camera, or Fetch on a recording stores one.',
            columns: [
                { head: 'Time', cell: (m) => date_time(m.at) },
                { head: '', cell: (m) => m.thumbnail_url ? h('img', { class: 'thumb', src: m.thumbnail_url, alt: '', loading: 'lazy' }) : '' },
                { head: 'Camera', cell: (m) => m.channel ? `CH ${m.channel}` : '' },
                { head: 'From', cell: (m) => m.alarm_id ? h('a', { href: `#/alarms/${m.alarm_id}` }, 'alarm') : words(m.source ?? '') },
                { head: 'Length', cell: (m) => m.duration_s ? duration(m.duration_s) : '' },
                { head: 'Size', class: 'wide-only', cell: (m) => bytes(m.size_bytes) },
                { head: 'State', class: 'wide-only', cell: (m) => h('span', { class: `state ${m.status}` }, m.failed_reason ? `${m.status}: ${m.failed_reason}` : m.status) },
                { head: '', cell: (m) => this.tools(m) },
            ],
            load: (cursor) => c.api.get<Page<Stored>>('/media', { device_id, limit: 50, cursor, status: state.value }),
        });

        this.unlisten = c.listen((m) => {
            if (m.type === 'media' && m.device_id === device_id && this.el.isConnected && !this.el.closest('[hidden]')) {
                void this.table.reload();
            }
        });
        this.el = h('div', { class: 'recordings' }, h('div', { class: 'filters' }, state), this.playback.el, this.table.el);
    }

    show(): void {
        void this.table.reload();
    }

    close(): void {
        this.unlisten();
        this.playback.stop();
    }

    private tools(m: Stored): HTMLElement {
        if (m.status !== 'ready' || !this.c.api.can('video:download')) {
            return h('span', {});
        }
        const link = async (variant: string) => (await this.c.api.get<{ url: string }>(`/media/${m.id}/url`, { variant })).url;
        return h('span', { class: 'chips' },
            m.kind === 'mp4' ? row_button('Play', 'stored-play', async () => this.playback.clip(await link('playback'))) : null,
            row_button('Save', 'stored-save', async () => {
                const a = h('a', { href: await link('original'), download: `${date_time(m.at).replace(/[ :]/g, '-')}-ch${m.channel ?? 0}.${m.kind === 'mp4' ? 'mp4' : 'jpg'}` });
                a.click();
            }));
    }
}
