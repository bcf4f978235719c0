/*
 * One camera being watched: asks the server for a session, plays it by the best way that works, keeps the session
 * alive, and comes back by itself after a loss.  States, as the operator sees them:
 *
 *   starting   asked for; no picture yet
 *   live       pictures arrive
 *   stalled    the connection stands, but nothing arrived for three seconds
 *   waiting    lost or refused for now; tried again at `retry_at`
 *   ended      over, with a reason; comes back only when asked (or when the vehicle comes online)
 */

import type { Api } from './api';
import { Backoff } from './backoff';
import { player_choice, share_choice } from './config';
import { own_feed, wall_feed } from './feed';
import { Problem } from './problem';
import type { Failure, Sink, Transport } from './transport';
import { HlsTransport } from './transport_hls';
import { MseTransport } from './transport_mse';
import { WhepTransport } from './transport_whep';
import type { Stream, VideoSession } from './types';

export type PlayerState = 'starting' | 'live' | 'stalled' | 'waiting' | 'ended';

export interface Stats {
    transport: string;
    codec: string;
    lag_s: number | null;
    bits_per_s: number;
    fps: number;
    width: number;
    height: number;
    first_frame_ms: number | null;
}

const first_frame_limit_ms = 22_000;     /* the device gets 20 s */
const stalled_after_ms = 3_000;
const attempts_max = 12;

/* What is being watched: how to ask for it and how to say that it is no longer wanted. */
export interface Source {
    key(stream: Stream): string;
    start(stream: Stream): Promise<VideoSession>;
    stop(s: VideoSession): Promise<unknown>;
}

export function live_source(api: Api, device_id: string, channel: number): Source {
    return {
        key: (stream) => `${device_id}/${channel}/${stream}`,
        start: (stream) => api.post<VideoSession>(`/devices/${device_id}/video/start`, { channel, stream }, { idempotent: true }),
        stop: (s) => api.post(`/devices/${device_id}/video/stop`, { channel, stream: s.stream }, { keepalive: true }),
    };
}

/* A recording that the device plays like a live stream. */
export function recording_source(api: Api, device_id: string, path: string, known: { channel?: number; duration_s?: number; position_s?: number } = {}): Source {
    return {
        key: () => `${device_id}/${path}`,
        start: () => api.post<VideoSession>(`/devices/${device_id}/playback/start`, { path, ...known }, { idempotent: true }),
        stop: (s) => api.post(`/devices/${device_id}/playback/stop`, { session_id: s.session_id }, { keepalive: true }),
    };
}

/* Stops on their way, so that a start of the same stream is never overtaken by an older stop. */
const stopping = new Map<string, Promise<unknown>>();

export class Player {
    state: PlayerState = 'starting';
    paused = false;                      /* the device was asked to pause: silence is no fault */
    shares = false;                      /* a tile of the wall: its socket may be that of others, too */
    once = false;                        /* a recording: when it ends it has ended */
    reason = '';
    retry_at = 0;
    started_at = 0;                      /* performance.now() of the last POST video/start */
    stream: Stream;

    on_change: () => void = () => {};
    on_audio: (present: boolean) => void = () => {};

    private transport: Transport | null = null;
    private session: VideoSession | null = null;
    private generation = 0;
    private readonly backoff = new Backoff(1000, 30_000);
    private ws_failures = 0;
    private retry_timer = 0;
    private renew_timer = 0;
    private check_timer = 0;
    private first_frame_ms: number | null = null;
    private last_data = 0;
    private bytes_seen: Array<[number, number]> = [];
    private frames_seen: Array<[number, number]> = [];
    private offline = false;
    private sounds = false;              /* sound is wanted */

    constructor(private readonly api: Api, readonly video: HTMLVideoElement, private readonly source: Source, stream: Stream) {
        this.stream = stream;
        this.check_timer = window.setInterval(() => this.check(), 500);
    }

    /* Starts, or starts anew, e.g. with another stream. */
    play(stream: Stream = this.stream): void {
        const old = this.session;

        this.halt();
        if (old && old.stream !== stream) {
            void this.tell_stop(old);
        }
        this.stream = stream;
        this.ws_failures = 0;
        this.backoff.reset();
        void this.start();
    }

    /* Sound that a WebSocket brings is asked for once somebody wants to hear it: the picture comes anew, with it. */
    sound(on: boolean): void {
        this.sounds = on;
        if (on && this.transport instanceof MseTransport && !this.transport.sound) {
            this.transport.close();
            this.open();
        }
    }

    close(): void {
        const old = this.session;
        this.halt();
        clearInterval(this.check_timer);
        if (old) {
            void this.tell_stop(old);
        }
    }

    get session_id(): string {
        return this.session?.session_id ?? '';
    }

    /* The vehicle came online: what ended because it was offline comes back. */
    device_online(): void {
        if (this.state === 'waiting' || (this.state === 'ended' && this.offline)) {
            this.play();
            return;
        }
        this.offline = false;
    }

    device_offline(): void {
        if (this.state !== 'ended') {
            this.offline = true;
        }
    }

    stats(): Stats {
        const now = performance.now();
        const recent = this.bytes_seen.filter(([t]) => now - t < 3000);
        const bits = recent.length > 1
            ? recent.reduce((n, [, b]) => n + b, 0) * 8000 / Math.max(500, now - recent[0][0]) : 0;
        const f = this.frames_seen;
        const fps = f.length > 1 ? (f[f.length - 1][1] - f[0][1]) * 1000 / (f[f.length - 1][0] - f[0][0]) : 0;

        return {
            transport: this.transport?.name ?? '',
            codec: this.transport?.codec() ?? '',
            lag_s: this.transport?.lag_s() ?? null,
            bits_per_s: bits,
            fps: Math.max(0, fps),
            width: this.video.videoWidth,
            height: this.video.videoHeight,
            first_frame_ms: this.first_frame_ms,
        };
    }

    private set(state: PlayerState, reason = ''): void {
        if (this.state !== state || this.reason !== reason) {
            this.state = state;
            this.reason = reason;
            this.on_change();
        }
    }

    private halt(): void {
        this.generation++;
        clearTimeout(this.retry_timer);
        clearTimeout(this.renew_timer);
        this.transport?.close();
        this.transport = null;
        this.session = null;
        this.bytes_seen = [];
        this.frames_seen = [];
        this.offline = false;
    }

    private tell_stop(s: VideoSession): Promise<unknown> {
        const key = this.source.key(s.stream);
        const p = this.source.stop(s).catch(() => { /* the server stops by itself when nobody watches */ });

        stopping.set(key, p);
        void p.then(() => {
            if (stopping.get(key) === p) {
                stopping.delete(key);
            }
        });
        return p;
    }

    private async start(): Promise<void> {
        const generation = ++this.generation;

        this.first_frame_ms = null;
        this.set('starting');
        await stopping.get(this.source.key(this.stream));
        if (generation !== this.generation) {
            return;
        }
        this.started_at = performance.now();

        let s: VideoSession;
        try {
            s = await this.source.start(this.stream);
        } catch (e) {
            if (generation === this.generation) {
                this.refused(e);
            }
            return;
        }

        if (generation !== this.generation) {
            void this.tell_stop({ ...s, stream: s.stream ?? this.stream });
            return;
        }

        this.session = { ...s, stream: s.stream ?? this.stream };
        this.schedule_renew();
        this.open();
    }

    private refused(e: unknown): void {
        if (!(e instanceof Problem)) {
            this.set('ended', e instanceof Error ? e.message : 'The start failed.');
            return;
        }

        if (e.code === 'device_offline') {
            this.offline = true;
            this.set('ended', 'The vehicle is offline. The camera returns with it.');
            return;
        }

        if (e.status === 0 || e.status === 429 || e.status >= 500) {
            this.again(e.message, e.retry_after_s * 1000);
            return;
        }

        this.set('ended', e.message);
    }

    private again(reason: string, at_least_ms = 0): void {
        this.halt();

        if (this.backoff.tries >= attempts_max) {
            this.set('ended', reason);
            return;
        }

        const delay = Math.max(at_least_ms, this.backoff.next());
        this.retry_at = Date.now() + delay;
        this.set('waiting', reason);
        this.retry_timer = window.setTimeout(() => void this.start(), delay);
    }

    private open(): void {
        const s = this.session;
        if (!s) {
            return;
        }

        const choice = player_choice();
        const ws = choice === 'ws' || (choice === 'auto' && MseTransport.supported() && this.ws_failures < 2);
        const generation = this.generation;
        const now = performance.now();

        const sink: Sink = {
            bytes: (n) => {
                this.last_data = performance.now();
                this.bytes_seen.push([this.last_data, n]);
                if (this.bytes_seen.length > 600) {
                    this.bytes_seen.splice(0, 300);
                }
            },
            audio: (present) => this.on_audio(present),
            failed: (kind, reason) => {
                if (generation === this.generation) {
                    this.transport = null;
                    this.transport_failed(kind, reason, ws);
                }
            },
        };

        this.last_data = now;
        this.transport = ws
            ? new MseTransport(this.video, this.absolute(s.urls.ws, true), sink,
                this.shares && share_choice() && !this.sounds ? wall_feed : own_feed, this.sounds)
            : choice === 'webrtc' && s.urls.whep
            ? new WhepTransport(this.video, this.absolute(s.urls.whep, false), sink)
            : new HlsTransport(this.video, this.absolute(s.urls.hls, false), sink);

        this.watch_first_frame(generation);
    }

    private absolute(path: string, ws: boolean): string {
        const u = new URL(path, location.origin);
        if (ws) {
            u.protocol = u.protocol === 'https:' ? 'wss:' : 'ws:';
        }
        return u.href;
    }

    private watch_first_frame(generation: number): void {
        const v = this.video;
        const seen = () => {
            if (generation !== this.generation || this.state === 'live') {
                return;
            }
            this.first_frame_ms ??= performance.now() - this.started_at;
            this.last_data = performance.now();
            this.set('live');
        };

        if ('requestVideoFrameCallback' in v) {
            v.requestVideoFrameCallback(seen);
        } else {
            (v as HTMLVideoElement).addEventListener('playing', seen, { once: true });
        }
    }

    private transport_failed(kind: Failure, reason: string, was_ws: boolean): void {
        const played = this.first_frame_ms !== null;

        if (this.offline || kind === 'offline') {
            this.halt();
            this.offline = true;
            this.set('ended', 'The vehicle is offline. The camera returns with it.');
            return;
        }

        switch (kind) {
        case 'unsupported':
            this.halt();
            this.set('ended', reason);
            return;

        case 'decode':
            if (was_ws) {
                this.ws_failures = 2;       /* the other player may be more tolerant */
                this.set('starting');
                this.open();
                return;
            }
            this.again(reason);
            return;

        case 'network':
            if (was_ws && !played) {
                this.ws_failures++;
                this.set('starting');
                this.open();
                return;
            }
            this.again(reason);
            return;

        case 'refused':
        case 'ended':
            if (this.once && played) {
                this.halt();
                this.set('ended', reason);
                return;
            }
            this.again(reason, played ? 1000 : 3000);
        }
    }

    private schedule_renew(delay_ms?: number): void {
        const s = this.session;
        if (!s) {
            return;
        }

        /* the two clocks may differ: never trust more than ten minutes, never ask more often than every 10 s */
        const life = Math.min(600_000, Date.parse(s.expires_at) - Date.now());
        const wait = delay_ms ?? Math.max(10_000, (Number.isNaN(life) ? 0 : life) * 0.5);
        const generation = this.generation;

        clearTimeout(this.renew_timer);
        this.renew_timer = window.setTimeout(() => {
            void this.renew(s).then((next) => {
                if (generation === this.generation) {
                    this.schedule_renew(next);
                }
            });
        }, wait);
    }

    private async renew(s: VideoSession): Promise<number | undefined> {
        try {
            const n = await this.api.post<Partial<VideoSession> | null>(`/video/sessions/${s.session_id}/renew`, {});
            if (n?.expires_at) {
                s.expires_at = n.expires_at;
            }
            return undefined;
        } catch {
            return 10_000;      /* away for now, or over: then the stream itself ends and is asked for anew */
        }
    }

    private check(): void {
        const now = performance.now();

        if (this.transport) {
            const q = this.video.getVideoPlaybackQuality?.();
            if (q) {
                this.frames_seen.push([now, q.totalVideoFrames]);
                if (this.frames_seen.length > 7) {
                    this.frames_seen.shift();
                }
            }
        }

        if (this.state === 'live' && now - this.last_data > stalled_after_ms && !this.paused) {
            this.set('stalled', 'No picture arrives');

        } else if (this.state === 'stalled' && now - this.last_data < stalled_after_ms) {
            this.backoff.reset();
            this.set('live');

        } else if (this.state === 'stalled' && now - this.last_data > 20_000) {
            this.transport?.close();
            this.transport = null;
            this.again('Nothing arrived for 20 seconds.');

        } else if (this.state === 'starting' && this.transport && now - this.started_at > first_frame_limit_ms) {
            this.transport.close();
            this.transport = null;
            this.again('The camera did not send a picture.');

        } else if (this.state === 'live' && this.backoff.tries > 0 && now - this.started_at > 30_000) {
            this.backoff.reset();
        }

        this.on_change();
    }
}
