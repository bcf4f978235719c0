/*
 * Where the bytes of a stream come from: a WebSocket of its own, or one that all tiles of the wall share.
 *
 * On a shared socket (`ws?mux=1`) each binary message begins with the number of its stream, two bytes, big-endian;
 * streams are added and removed by text messages.  The stream whose address opened it has number 0.  What cannot be
 * shared (a stream of another node, too many of them) gets a socket of its own; so does everything for a while after
 * a shared socket could not be opened, so that one bad address does not keep eight cameras dark.
 */

export interface FeedSink {
    data(bytes: Uint8Array): void;
    end(code: number, reason: string): void;        /* at most once, and not after close() */
}

export interface Feed {
    close(): void;
}

const not_shared = new Set(['other_node', 'too_many']);
const alone_ms = 30_000;

export function own_feed(url: string, sink: FeedSink): Feed {
    const ws = new WebSocket(url);
    let reason = '';

    ws.binaryType = 'arraybuffer';
    ws.onmessage = (e) => {
        if (typeof e.data === 'string') {
            reason = reason_of(e.data) || reason;
        } else {
            sink.data(new Uint8Array(e.data as ArrayBuffer));
        }
    };
    ws.onclose = (e) => sink.end(e.code, reason || e.reason);

    return { close: () => {
        ws.onmessage = null;
        ws.onclose = null;
        ws.close(1000);
    } };
}

function reason_of(text: string): string {
    try {
        const m = JSON.parse(text) as { reason?: unknown };
        return typeof m.reason === 'string' ? m.reason : '';
    } catch {
        return '';
    }
}

/* wss://host/live/<token>/ws: what makes one address differ from another of the same server. */
export function token_of(url: string): { server: string; token: string } | null {
    const m = /^(wss?:\/\/[^/]+.*)\/live\/([^/?]+)\/ws$/.exec(url);
    return m ? { server: m[1], token: m[2] } : null;
}

/* The number and the bytes of a message of a shared socket. */
export function unpack(data: ArrayBuffer): { stream: number; bytes: Uint8Array } | null {
    if (data.byteLength < 2) {
        return null;
    }
    return { stream: new DataView(data).getUint16(0), bytes: new Uint8Array(data, 2) };
}

class Shared {
    private readonly ws: WebSocket;
    private readonly sinks = new Map<number, { url: string; sink: FeedSink; own: Feed | null }>();
    private readonly waiting: string[] = [];
    private next = 1;
    opened = false;

    constructor(url: string, private readonly gone: (s: Shared) => void) {
        this.ws = new WebSocket(`${url}?mux=1`);
        this.ws.binaryType = 'arraybuffer';
        this.ws.onopen = () => {
            this.opened = true;
            this.waiting.forEach((m) => this.ws.send(m));
        };
        this.ws.onmessage = (e) => {
            if (typeof e.data === 'string') {
                this.told(e.data);
            } else {
                const m = unpack(e.data as ArrayBuffer);
                if (m) {
                    this.sinks.get(m.stream)?.sink.data(m.bytes);
                }
            }
        };
        this.ws.onclose = (e) => {
            this.gone(this);
            const all = [...this.sinks.values()].filter((s) => !s.own);
            this.sinks.clear();
            all.forEach((s) => s.sink.end(e.code, e.reason));
        };
    }

    get usable(): boolean {
        return this.ws.readyState <= WebSocket.OPEN && this.next < 65_535;
    }

    add(url: string, token: string | null, sink: FeedSink): Feed {
        const stream = token === null ? 0 : this.next++;
        this.sinks.set(stream, { url, sink, own: null });
        if (token !== null) {
            this.say({ type: 'add', stream, token });
        }

        return { close: () => {
            const s = this.sinks.get(stream);
            this.sinks.delete(stream);
            if (s?.own) {
                s.own.close();
            } else if (s) {
                this.say({ type: 'remove', stream });
            }
        } };
    }

    private say(m: unknown): void {
        if (this.ws.readyState === WebSocket.CONNECTING) {
            this.waiting.push(JSON.stringify(m));
        } else if (this.ws.readyState === WebSocket.OPEN) {
            this.ws.send(JSON.stringify(m));
        }
    }

    private told(text: string): void {
        let m: { type?: string; stream?: number; code?: number; reason?: string };
        try {
            m = JSON.parse(text) as typeof m;
        } catch {
            return;
        }
        const s = m.type === 'ended' && typeof m.stream === 'number' ? this.sinks.get(m.stream) : undefined;
        if (!s) {
            return;
        }
        if (not_shared.has(m.reason ?? '')) {
            s.own = own_feed(s.url, s.sink);
            return;
        }
        this.sinks.delete(m.stream as number);
        s.sink.end(m.code ?? 4410, m.reason ?? '');
    }
}

/* One shared socket per server. */
const shared = new Map<string, Shared>();
const alone_until = new Map<string, number>();

export function wall_feed(url: string, sink: FeedSink): Feed {
    const place = token_of(url);
    if (!place || (alone_until.get(place.server) ?? 0) > Date.now()) {
        return own_feed(url, sink);
    }

    const known = shared.get(place.server);
    if (known?.usable) {
        return known.add(url, place.token, sink);
    }

    const made = new Shared(url, (s) => {
        if (shared.get(place.server) === s) {
            shared.delete(place.server);
        }
        if (!s.opened) {
            alone_until.set(place.server, Date.now() + alone_ms);
        }
    });
    shared.set(place.server, made);
    return made.add(url, null, sink);
}
