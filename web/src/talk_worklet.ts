/*
 * Sound between the browser's rate and the 8 kHz of a talk, on the audio thread: one processor takes the microphone, the
 * other plays what the vehicle says.
 *
 *   capture   messages out: Int16Array of 160 samples (20 ms)
 *   play      messages in: Int16Array; begins when 80 ms are there, never holds more than 400 ms
 */

declare const sampleRate: number;
declare class AudioWorkletProcessor {
    readonly port: MessagePort;
}
declare function registerProcessor(name: string, ctor: unknown): void;

const rate = 8000;
const frame = 160;
const begin = 640;
const limit = 3200;
const taps = 63;

/* A low-pass at 3.6 kHz, so that what is above half of 8 kHz does not fold back. */
function low_pass(): Float32Array {
    const h = new Float32Array(taps);
    const cut = 3600 / sampleRate;
    let sum = 0;

    for (let i = 0; i < taps; i++) {
        const x = i - (taps - 1) / 2;
        const sinc = x === 0 ? 2 * cut : Math.sin(2 * Math.PI * cut * x) / (Math.PI * x);
        h[i] = sinc * (0.54 - 0.46 * Math.cos(2 * Math.PI * i / (taps - 1)));
        sum += h[i];
    }
    return h.map((v) => v / sum);
}

class Capture extends AudioWorkletProcessor {
    private readonly h = low_pass();
    private readonly past = new Float32Array(taps);
    private at = 0;
    private phase = 0;
    private out = new Int16Array(frame);
    private fill = 0;

    process(inputs: Float32Array[][]): boolean {
        const input = inputs[0]?.[0];
        if (!input) {
            return true;
        }

        for (const v of input) {
            this.past[this.at] = v;
            this.at = (this.at + 1) % taps;
            this.phase += rate;
            if (this.phase >= sampleRate) {
                this.phase -= sampleRate;
                this.take();
            }
        }
        return true;
    }

    private take(): void {
        let sum = 0;
        for (let i = 0; i < taps; i++) {
            sum += this.h[i] * this.past[(this.at + i) % taps];
        }
        this.out[this.fill++] = Math.max(-32768, Math.min(32767, Math.round(sum * 32767)));
        if (this.fill === frame) {
            this.port.postMessage(this.out, [this.out.buffer]);
            this.out = new Int16Array(frame);
            this.fill = 0;
        }
    }
}

class Play extends AudioWorkletProcessor {
    private readonly ring = new Float32Array(limit);
    private head = 0;
    private count = 0;
    private running = false;
    private phase = 0;
    private last = 0;
    private now = 0;

    constructor() {
        super();
        this.port.onmessage = (e: MessageEvent<Int16Array>) => {
            for (const v of e.data) {
                if (this.count === limit) {             /* too much waits: the oldest goes */
                    this.head = (this.head + 1) % limit;
                    this.count--;
                }
                this.ring[(this.head + this.count++) % limit] = v / 32768;
            }
        };
    }

    process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
        const output = outputs[0];

        this.running = this.running ? this.count > 0 : this.count >= begin;
        for (let i = 0; i < output[0].length; i++) {
            this.phase += rate;
            while (this.phase >= sampleRate) {
                this.phase -= sampleRate;
                this.last = this.now;
                this.now = 0;
                if (this.running && this.count > 0) {
                    this.now = this.ring[this.head];
                    this.head = (this.head + 1) % limit;
                    this.count--;
                }
            }
            const v = this.last + (this.now - this.last) * this.phase / sampleRate;
            for (const channel of output) {
                channel[i] = v;
            }
        }
        return true;
    }
}

registerProcessor('talk-capture', Capture);
registerProcessor('talk-play', Play);
