/*
 * Live video over WebRTC, asked for with WHEP: one POST carries our SDP offer, its answer is the SDP answer, its
 * Location ends the session with DELETE.  Candidates are gathered before the offer is sent: no trickle.
 */

import type { Failure, Sink, Transport } from './transport';

const gather_ms = 1000;
const count_every_ms = 500;

export class WhepTransport implements Transport {
    readonly name = 'RTC';

    private readonly pc = new RTCPeerConnection();
    private readonly abort = new AbortController();
    private resource = '';
    private closed = false;
    private timer = 0;
    private received = 0;
    private delay_s: number | null = null;
    private delay_sum = 0;
    private emitted = 0;
    private codecs = '';

    constructor(private readonly video: HTMLVideoElement, url: string, private readonly sink: Sink) {
        const stream = new MediaStream();

        this.pc.addTransceiver('video', { direction: 'recvonly' });
        this.pc.addTransceiver('audio', { direction: 'recvonly' });

        this.pc.ontrack = (e) => {
            stream.addTrack(e.track);
            if (e.track.kind === 'audio') {
                e.track.onunmute = () => this.sink.audio(true);
            }
            if (video.srcObject !== stream) {
                video.srcObject = stream;
            }
            video.play().catch(() => {
                video.muted = true;
                video.play().catch(() => { /* the tile's state shows it */ });
            });
        };
        this.pc.onconnectionstatechange = () => {
            if (this.pc.connectionState === 'failed') {
                this.fail('network', 'The WebRTC connection was lost.');
            } else if (this.pc.connectionState === 'closed') {
                this.fail('ended', 'The stream has ended.');
            }
        };

        this.timer = window.setInterval(() => void this.count(), count_every_ms);
        void this.open(url).catch((e: unknown) => {
            this.fail('network', e instanceof Error ? e.message : 'WebRTC could not be started.');
        });
    }

    codec(): string {
        return this.codecs;
    }

    lag_s(): number | null {
        return this.delay_s;
    }

    close(): void {
        if (this.closed) {
            return;
        }
        this.closed = true;
        clearInterval(this.timer);
        this.abort.abort();
        this.pc.close();
        this.video.srcObject = null;
        if (this.resource) {
            fetch(this.resource, { method: 'DELETE', keepalive: true }).catch(() => { /* it times out there */ });
        }
    }

    private fail(kind: Failure, reason: string): void {
        if (!this.closed) {
            this.close();
            this.sink.failed(kind, reason);
        }
    }

    private async open(url: string): Promise<void> {
        await this.pc.setLocalDescription(await this.pc.createOffer());
        await this.gathered();
        if (this.closed) {
            return;
        }

        const r = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' },
            body: this.pc.localDescription?.sdp ?? '', signal: this.abort.signal });

        if (!r.ok) {
            if (r.status === 401 || r.status === 403) {
                this.fail('refused', 'The permission to watch has ended.');
            } else if (r.status === 404 || r.status === 410) {
                this.fail('ended', 'The stream has ended.');
            } else if (r.status === 415 || r.status === 422) {
                this.fail('unsupported', 'This camera\'s picture cannot be sent over WebRTC to this browser.');
            } else {
                this.fail('network', `WebRTC was refused (${r.status}).`);
            }
            return;
        }

        const where = r.headers.get('Location');
        if (where) {
            this.resource = new URL(where, url).href;
        }
        const sdp = await r.text();
        if (!this.closed) {
            await this.pc.setRemoteDescription({ type: 'answer', sdp });
        }
    }

    private gathered(): Promise<void> {
        return new Promise((resolve) => {
            if (this.pc.iceGatheringState === 'complete') {
                resolve();
                return;
            }
            const done = () => {
                if (this.pc.iceGatheringState === 'complete') {
                    resolve();
                }
            };
            this.pc.addEventListener('icegatheringstatechange', done);
            setTimeout(resolve, gather_ms);
        });
    }

    /* Bytes and delay, from the browser's own statistics. */
    private async count(): Promise<void> {
        if (this.closed) {
            return;
        }
        const report = await this.pc.getStats();

        report.forEach((s: { type: string; kind?: string; bytesReceived?: number; jitterBufferDelay?: number;
            jitterBufferEmittedCount?: number; codecId?: string }) =>
        {
            if (s.type !== 'inbound-rtp' || s.kind !== 'video') {
                return;
            }
            const n = s.bytesReceived ?? 0;
            if (n > this.received) {
                this.sink.bytes(n - this.received);
                this.received = n;
            }
            const emitted = s.jitterBufferEmittedCount ?? 0;
            const sum = s.jitterBufferDelay ?? 0;
            if (emitted > this.emitted) {
                this.delay_s = (sum - this.delay_sum) / (emitted - this.emitted);
                this.emitted = emitted;
                this.delay_sum = sum;
            }
            if (s.codecId) {
                this.codecs = (report.get(s.codecId) as { mimeType?: string } | undefined)?.mimeType ?? this.codecs;
            }
        });
    }
}
