/*
 * Live video as fMP4 over a WebSocket into Media Source Extensions.
 *
 * The feed delivers one init segment, then fragments of one frame each; a new init segment may come at any time (the
 * camera changed its picture size).  Sound is a track of it when it is asked for from the beginning.
 * Fragment times come from the device's clock: they are shifted so that the first one plays at zero, and a clock
 * that jumps starts a new timeline instead of stopping the picture.
 */

import { Edge } from './edge';
import { own_feed } from './feed';
import type { Feed, FeedSink } from './feed';
import { fragment_time, is_hevc, is_init, parse_init } from './mp4';
import type { Init } from './mp4';
import { end_of } from './transport';
import type { Failure, Sink, Transport } from './transport';

const keep_s = 10;              /* played data that stays in the buffer */
const trim_above_s = 20;
const queue_max = 16 << 20;     /* bytes waiting for the source buffer */
const jump_s = 2;               /* a larger step of the device's clock is a new timeline */

type Work = { init: Init; data: Uint8Array } | { data: Uint8Array; at: number | null };

export const hevc_text = 'This camera sends H.265, which this browser cannot play. '
    + 'Switch the camera to H.264 or use a browser with H.265 support.';

export class MseTransport implements Transport {
    readonly name = 'WS';

    private feed: Feed;
    private converted = false;                  /* H.264 made of H.265 was asked for ... */
    private converting = false;                 /* ... and has not come yet */
    private readonly source = new MediaSource();
    private readonly edge = new Edge();
    private readonly object_url: string;
    private buffer: SourceBuffer | null = null;
    private init: Init | null = null;
    private queue: Work[] = [];
    private queued = 0;
    private offset_s: number | null = null;     /* device time that plays at zero */
    private last_s = 0;
    private timer = 0;
    private closed = false;
    private started = false;

    constructor(private readonly video: HTMLVideoElement, private readonly url: string, private readonly sink: Sink,
        open: (url: string, sink: FeedSink) => Feed = own_feed, readonly sound = false)
    {
        this.object_url = URL.createObjectURL(this.source);
        video.src = this.object_url;
        video.addEventListener('waiting', this.on_waiting);
        video.addEventListener('error', this.on_error);
        this.source.addEventListener('sourceopen', this.on_source_open);

        this.feed = open(this.address(), this.bytes_sink);
        this.timer = window.setInterval(() => this.tick(), 100);
    }

    private readonly bytes_sink: FeedSink = {
        data: (bytes) => this.receive(bytes),
        end: (code, reason) => this.on_end(code, reason),
    };

    /* This browser shows no H.265: the server may make H.264 of it. */
    private convert(): void {
        this.converted = true;
        this.converting = true;
        this.feed.close();
        this.feed = own_feed(this.address(), this.bytes_sink);
    }

    private address(): string {
        const args = [this.sound ? 'audio=1' : '', this.converted ? 'codec=h264' : ''].filter(Boolean).join('&');
        return this.url + (args ? (this.url.includes('?') ? '&' : '?') + args : '');
    }

    static supported(): boolean {
        return typeof MediaSource === 'function' && typeof WebSocket === 'function';
    }

    codec(): string {
        return this.init?.tracks.find((t) => t.video)?.codec ?? '';
    }

    lag_s(): number | null {
        const end = this.range()?.end;
        return end === undefined ? null : Math.max(0, end - this.video.currentTime);
    }

    close(): void {
        if (this.closed) {
            return;
        }
        this.closed = true;

        clearInterval(this.timer);
        this.feed.close();
        this.video.removeEventListener('waiting', this.on_waiting);
        this.video.removeEventListener('error', this.on_error);
        this.buffer?.removeEventListener('updateend', this.pump);
        this.queue = [];
        this.video.removeAttribute('src');
        this.video.load();
        URL.revokeObjectURL(this.object_url);
    }

    private fail(kind: Failure, reason: string): void {
        if (!this.closed) {
            this.close();
            this.sink.failed(kind, reason);
        }
    }

    private readonly on_source_open = () => {
        this.pump();
    };

    private readonly on_waiting = () => {
        if (this.started) {
            this.edge.starved(performance.now());
        }
    };

    private readonly on_error = () => {
        this.fail('decode', this.video.error?.message || 'The picture could not be decoded.');
    };

    private on_end(code: number, reason: string): void {
        if (this.converting) {
            this.fail('unsupported', hevc_text);
            return;
        }
        const end = end_of(code, reason);
        this.fail(end.kind, end.text);
    }

    private receive(bytes: Uint8Array): void {
        this.sink.bytes(bytes.length);

        if (is_init(bytes)) {
            const init = parse_init(bytes);
            if (!init) {
                this.fail('decode', 'The stream begins with something unknown.');
                return;
            }
            if (!MediaSource.isTypeSupported(init.mime)) {
                if (is_hevc(init) && !this.converted) {
                    this.convert();
                    return;
                }
                this.fail('unsupported', is_hevc(init) ? hevc_text : `This browser cannot play ${init.mime}.`);
                return;
            }
            this.converting = false;
            this.sink.audio(!this.sound || init.tracks.some((t) => !t.video));
            this.latest = init;
            this.push({ init, data: bytes });
            return;
        }

        if (this.latest) {
            this.push({ data: bytes, at: fragment_time(bytes, this.latest) });
        }
    }

    private latest: Init | null = null;         /* of what was received last; `init` is of what was appended last */

    private push(work: Work): void {
        this.queue.push(work);
        this.queued += work.data.length;

        if (this.queued > queue_max) {
            this.fail('network', 'This computer cannot keep up.');
            return;
        }
        this.pump();
    }

    /* Appends what waits, as much at once as belongs together. */
    private readonly pump = (): void => {
        if (this.closed || this.source.readyState !== 'open' || this.buffer?.updating || this.queue.length === 0) {
            return;
        }

        try {
            this.pump_once();
        } catch (e) {
            if (e instanceof DOMException && e.name === 'QuotaExceededError') {
                this.trim(1);
                return;
            }
            this.fail('decode', e instanceof Error ? e.message : 'The picture could not be decoded.');
        }
    };

    private pump_once(): void {
        const first = this.queue[0];

        if ('init' in first) {
            if (!this.buffer) {
                this.buffer = this.source.addSourceBuffer(first.init.mime);
                this.buffer.mode = 'segments';
                this.buffer.addEventListener('updateend', this.pump);
            } else if (this.init && this.init.mime !== first.init.mime) {
                this.buffer.changeType(first.init.mime);
            }

            this.init = first.init;
            this.take(1);
            this.buffer.appendBuffer(first.data as unknown as ArrayBuffer);
            return;
        }

        if (!this.buffer) {
            this.take(1);
            return;
        }

        if (first.at !== null && (this.offset_s === null || Math.abs(first.at - this.last_s) > jump_s)) {
            if (this.offset_s !== null && this.video.buffered.length > 0) {
                /* a new timeline goes on where the old one ends */
                const end = this.video.buffered.end(this.video.buffered.length - 1);
                this.offset_s = first.at - end;
            } else {
                this.offset_s = first.at;
            }
            this.buffer.timestampOffset = -this.offset_s;
            this.last_s = first.at;
        }

        let n = 0;
        let size = 0;
        let last = this.last_s;

        for (const w of this.queue) {
            if ('init' in w || (w.at !== null && Math.abs(w.at - last) > jump_s)) {
                break;
            }
            last = w.at ?? last;
            size += w.data.length;
            n++;
        }

        const all = new Uint8Array(size);
        let at = 0;
        for (const w of this.queue.slice(0, n)) {
            all.set(w.data, at);
            at += w.data.length;
        }

        this.buffer.appendBuffer(all);      /* throws before anything is taken when the buffer is full */
        this.last_s = last;
        this.take(n);
    }

    private take(n: number): void {
        for (const w of this.queue.splice(0, n)) {
            this.queued -= w.data.length;
        }
    }

    private range(): { start: number; end: number } | null {
        const b = this.video.buffered;
        return b.length === 0 ? null : { start: b.start(b.length - 1), end: b.end(b.length - 1) };
    }

    private trim(keep: number): void {
        const to = this.video.currentTime - keep;
        if (this.buffer && !this.buffer.updating && to > 0) {
            this.buffer.remove(0, to);
        }
    }

    private tick(): void {
        const range = this.range();
        if (!range) {
            this.pump();
            return;
        }

        const v = this.video;

        if (!this.started) {
            this.started = true;
            v.currentTime = Math.max(range.start, range.end - 0.05);
            v.play().catch(() => {
                v.muted = true;
                v.play().catch(() => { /* the tile's state shows that nothing plays */ });
            });
            return;
        }

        const step = this.edge.step(v.currentTime, range.start, range.end, performance.now());

        if (step.seek !== null && !v.seeking) {
            v.currentTime = step.seek;
        }
        if (v.playbackRate !== step.rate) {
            v.playbackRate = step.rate;
        }
        if (v.paused && !document.hidden) {
            v.play().catch(() => { /* tried again on the next tick */ });
        }

        if (v.currentTime - v.buffered.start(0) > trim_above_s) {
            this.trim(keep_s);
        }
        this.pump();
    }
}
