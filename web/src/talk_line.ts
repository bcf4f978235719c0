/*
 * The line of a talk, by WebRTC or, where UDP does not get through, by a WebSocket: the microphone's track goes in, the
 * vehicle's voice comes out of the loudspeaker and past an analyser.
 */

import { end_of } from './transport';

export interface LineSink {
    live(is: boolean): void;                /* the vehicle is on the line */
    failed(reason: string, again: boolean): void;       /* at most once; again: another way may work */
}

export interface Line {
    readonly name: string;
    speak(on: boolean): void;
    level(): number;                        /* loudness of the vehicle, RMS of 1 */
    spectrum(): { hz: number; level: number };          /* its loudest frequency */
    close(): Promise<unknown>;
}

const gather_ms = 1000;
const connect_ms = 3000;
const queue_max = 6400;                     /* bytes on their way: 0.4 s */

class Ear {
    readonly analyser: AnalyserNode;
    private readonly samples: Float32Array<ArrayBuffer>;
    private readonly bins: Float32Array<ArrayBuffer>;

    constructor(readonly context: AudioContext) {
        this.analyser = context.createAnalyser();
        this.analyser.fftSize = 4096;
        this.samples = new Float32Array(this.analyser.fftSize);
        this.bins = new Float32Array(this.analyser.frequencyBinCount);
    }

    level(): number {
        this.analyser.getFloatTimeDomainData(this.samples);
        return Math.sqrt(this.samples.reduce((sum, v) => sum + v * v, 0) / this.samples.length);
    }

    spectrum(): { hz: number; level: number } {
        this.analyser.getFloatFrequencyData(this.bins);
        let best = 0;
        this.bins.forEach((v, i) => {
            best = v > this.bins[best] ? i : best;
        });
        return { hz: best * this.context.sampleRate / this.analyser.fftSize, level: this.bins[best] };
    }
}

export class WhepLine implements Line {
    readonly name = 'WebRTC';
    private readonly pc = new RTCPeerConnection();
    private readonly context = new AudioContext();
    private readonly ear = new Ear(this.context);
    private readonly audio = new Audio();
    private readonly abort = new AbortController();
    private readonly timer: number;
    private resource = '';
    private closed = false;

    constructor(private readonly mic: MediaStreamTrack | null, url: string, private readonly sink: LineSink) {
        if (mic) {
            this.pc.addTransceiver(mic, { direction: 'sendrecv' });
        } else {
            this.pc.addTransceiver('audio', { direction: 'recvonly' });
        }

        this.pc.ontrack = (e) => {
            const stream = new MediaStream([e.track]);
            this.audio.srcObject = stream;          /* without an element Chrome gives the analyser silence */
            void this.audio.play().catch(() => { /* the page's first click starts it */ });
            this.context.createMediaStreamSource(stream).connect(this.ear.analyser);
        };
        this.pc.onconnectionstatechange = () => {
            const s = this.pc.connectionState;
            if (s === 'connected') {
                clearTimeout(this.timer);
                this.sink.live(true);
            } else if (s === 'failed' || s === 'closed') {
                this.fail('The connection was lost.', true);
            }
        };
        this.timer = window.setTimeout(() => this.fail('WebRTC does not get through.', true), connect_ms);
        void this.open(url).catch((e: unknown) => this.fail(e instanceof Error ? e.message : 'WebRTC could not be started.', true));
    }

    speak(on: boolean): void {
        if (this.mic) {
            this.mic.enabled = on;
        }
    }

    level(): number {
        return this.ear.level();
    }

    spectrum(): { hz: number; level: number } {
        return this.ear.spectrum();
    }

    async close(): Promise<void> {
        if (this.closed) {
            return;
        }
        this.closed = true;
        clearTimeout(this.timer);
        this.abort.abort();
        this.audio.srcObject = null;
        void this.context.close();
        if (this.resource) {                    /* before the goodbye of the connection itself, which would end it, too */
            await fetch(this.resource, { method: 'DELETE', keepalive: true }).catch(() => { /* it times out there */ });
        }
        this.pc.close();
    }

    private fail(reason: string, again: boolean): void {
        if (!this.closed) {
            void this.close();
            this.sink.failed(reason, again);
        }
    }

    private async open(url: string): Promise<void> {
        await this.pc.setLocalDescription(await this.pc.createOffer());
        await new Promise<void>((resolve) => {
            const done = () => {
                if (this.pc.iceGatheringState === 'complete') {
                    resolve();
                }
            };
            this.pc.addEventListener('icegatheringstatechange', done);
            setTimeout(resolve, gather_ms);
            done();
        });
        if (this.closed) {
            return;
        }

        const r = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' },
            body: this.pc.localDescription?.sdp ?? '', signal: this.abort.signal });
        if (!r.ok) {
            this.fail(r.status === 401 ? 'The permission to talk has ended.' : `WebRTC was refused (${r.status}).`, r.status !== 401);
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
}

export class WsLine implements Line {
    readonly name = 'WebSocket';
    private readonly context = new AudioContext();
    private readonly ear = new Ear(this.context);
    private readonly socket: WebSocket;
    private speaking = false;
    private closed = false;

    constructor(mic: MediaStreamTrack | null, url: string, private readonly sink: LineSink) {
        this.socket = new WebSocket(url);
        this.socket.binaryType = 'arraybuffer';
        void this.open(mic).catch(() => this.fail('This browser cannot process sound here.', false));
    }

    speak(on: boolean): void {
        this.speaking = on;
    }

    level(): number {
        return this.ear.level();
    }

    spectrum(): { hz: number; level: number } {
        return this.ear.spectrum();
    }

    async close(): Promise<void> {
        if (this.closed) {
            return;
        }
        this.closed = true;
        this.socket.close(1000);
        await this.context.close();
    }

    private fail(reason: string, again: boolean): void {
        if (!this.closed) {
            void this.close();
            this.sink.failed(reason, again);
        }
    }

    private async open(mic: MediaStreamTrack | null): Promise<void> {
        let play: AudioWorkletNode | null = null;

        this.socket.onmessage = (e: MessageEvent<string | ArrayBuffer>) => {
            if (typeof e.data === 'string') {
                const m = JSON.parse(e.data) as { type?: string; state?: string };
                if (m.type === 'talk') {
                    this.sink.live(m.state === 'live');
                }
            } else {
                play?.port.postMessage(new Int16Array(e.data));
            }
        };
        this.socket.onclose = (e) => this.fail(end_of(e.code, e.reason).text, false);

        await this.context.audioWorklet.addModule('talk_worklet.js');
        if (this.closed) {
            return;
        }
        play = new AudioWorkletNode(this.context, 'talk-play', { numberOfInputs: 0, outputChannelCount: [1] });
        play.connect(this.ear.analyser);
        play.connect(this.context.destination);

        if (mic) {
            const capture = new AudioWorkletNode(this.context, 'talk-capture', { numberOfOutputs: 0 });
            capture.port.onmessage = (e: MessageEvent<Int16Array<ArrayBuffer>>) => {
                if (this.speaking && this.socket.readyState === WebSocket.OPEN && this.socket.bufferedAmount < queue_max) {
                    this.socket.send(e.data);
                }
            };
            this.context.createMediaStreamSource(new MediaStream([mic])).connect(capture);
        }
        await this.context.resume();
    }
}
