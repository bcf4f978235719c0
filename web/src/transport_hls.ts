/*
 * Live video as low-latency HLS: hls.js, fetched only when it is needed, or the browser's own player where
 * Media Source Extensions are missing (iPhone).
 */

import type HlsType from 'hls.js';
import type { Failure, Sink, Transport } from './transport';
import { hevc_text } from './transport_mse';

export class HlsTransport implements Transport {
    readonly name = 'HLS';

    private hls: HlsType | null = null;
    private closed = false;
    private recovered = false;
    private codecs = '';
    private timer = 0;

    constructor(private readonly video: HTMLVideoElement, url: string, private readonly sink: Sink) {
        void this.open(url);
    }

    codec(): string {
        return this.codecs;
    }

    lag_s(): number | null {
        if (this.hls) {
            const l = this.hls.latency;
            return l > 0 ? l : null;
        }
        const b = this.video.seekable;
        return b.length > 0 ? Math.max(0, b.end(b.length - 1) - this.video.currentTime) : null;
    }

    close(): void {
        if (this.closed) {
            return;
        }
        this.closed = true;
        clearInterval(this.timer);
        this.hls?.destroy();
        this.hls = null;
        this.video.removeAttribute('src');
        this.video.load();
    }

    private fail(kind: Failure, reason: string): void {
        if (!this.closed) {
            this.close();
            this.sink.failed(kind, reason);
        }
    }

    private async open(url: string): Promise<void> {
        let Hls: typeof HlsType;
        try {
            Hls = (await import('hls.js/light')).default as unknown as typeof HlsType;
        } catch {
            this.fail('network', 'The HLS player could not be loaded.');
            return;
        }
        if (this.closed) {
            return;
        }

        if (!Hls.isSupported()) {
            this.native(url);
            return;
        }

        const retry = { maxNumRetry: 8, retryDelayMs: 400, maxRetryDelayMs: 2000 };
        const patient = { default: { maxTimeToFirstByteMs: 10_000, maxLoadTimeMs: 20_000, timeoutRetry: retry,
            errorRetry: retry } };

        const hls = new Hls({
            lowLatencyMode: true,
            enableWorker: false,
            maxLiveSyncPlaybackRate: 1.1,
            backBufferLength: 10,
            manifestLoadPolicy: patient,
            playlistLoadPolicy: patient,
        });
        this.hls = hls;

        hls.on(Hls.Events.MANIFEST_PARSED, (_e, data) => {
            this.codecs = data.levels[0]?.videoCodec ?? '';
            void this.video.play().catch(() => {
                this.video.muted = true;
                void this.video.play().catch(() => { /* the tile's state shows it */ });
            });
        });
        hls.on(Hls.Events.BUFFER_CODECS, (_e, data) => {
            this.sink.audio(Boolean(data.audio));
        });
        hls.on(Hls.Events.FRAG_LOADED, (_e, data) => this.sink.bytes(data.part ? 0 : data.frag.stats.loaded));
        hls.on(Hls.Events.FRAG_BUFFERED, (_e, data) => {
            if (data.part) {
                this.sink.bytes(data.part.stats.loaded);
            }
        });
        hls.on(Hls.Events.LEVEL_UPDATED, (_e, data) => {
            if (!data.details.live) {
                this.fail('ended', 'The stream has ended.');
            }
        });

        hls.on(Hls.Events.ERROR, (_e, data) => {
            if (!data.fatal) {
                return;
            }

            const status = data.response?.code ?? 0;

            if (data.details === Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR
                || data.details === Hls.ErrorDetails.BUFFER_ADD_CODEC_ERROR
                || data.details === Hls.ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR)
            {
                this.fail('unsupported', /hvc|hev/.test(this.codecs + data.error.message) || this.codecs === ''
                    ? hevc_text : `This browser cannot play ${this.codecs}.`);

            } else if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !this.recovered) {
                this.recovered = true;
                hls.recoverMediaError();

            } else if (data.type === Hls.ErrorTypes.NETWORK_ERROR) {
                if (status === 401 || status === 403) {
                    this.fail('refused', 'The permission to watch has ended.');
                } else if (status === 404 || status === 410) {
                    this.fail('ended', 'The stream has ended.');
                } else {
                    this.fail('network', 'The connection was lost.');
                }

            } else {
                this.fail('decode', data.error.message);
            }
        });

        hls.loadSource(url);
        hls.attachMedia(this.video);

        /* hls.js hurries by a tenth at most; who is seconds behind the edge would stay there for a minute */
        this.timer = window.setInterval(() => {
            const target = hls.targetLatency ?? 1;
            if (hls.liveSyncPosition !== null && hls.latency > target * 2 + 1 && !this.video.seeking
                && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA)
            {
                this.video.currentTime = hls.liveSyncPosition;
            }
        }, 1000);
    }

    private native(url: string): void {
        if (!this.video.canPlayType('application/vnd.apple.mpegurl')) {
            this.fail('unsupported', 'This browser can play neither Media Source Extensions nor HLS.');
            return;
        }

        this.video.src = url;
        this.video.addEventListener('error', () => this.fail('network', 'The stream could not be played.'),
            { once: true });
        void this.video.play().catch(() => { /* the tile's state shows it */ });
    }
}
