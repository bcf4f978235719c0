/*
 * The push socket: authenticates with its first message, subscribes, keeps itself alive, and after a loss
 * resumes where it was with `after`.
 *
 * Close codes: 4401 the token is no longer good, 4408 this client was too slow.  Replayed events may repeat what
 * was already seen; their ids are remembered and repeats dropped.
 */

import { Backoff } from './backoff';
import type { ServerMessage } from './types';

export type LinkState = 'idle' | 'connecting' | 'live' | 'waiting';

const ping_every_ms = 20_000;
const answer_ms = 15_000;
const topics = ['telemetry', 'alarm', 'device', 'media', 'command'];

/* The last event ids, bounded. */
export class Seen {
    private readonly ids = new Set<string>();

    constructor(private readonly max = 2000) {
    }

    /* true when the id is new */
    add(id: string): boolean {
        if (this.ids.has(id)) {
            return false;
        }
        this.ids.add(id);
        if (this.ids.size > this.max) {
            for (const first of this.ids) {
                this.ids.delete(first);
                break;
            }
        }
        return true;
    }

    clear(): void {
        this.ids.clear();
    }
}

export class Link {
    on_message: (m: ServerMessage) => void = () => {};
    on_state: (s: LinkState, retry_at_ms: number) => void = () => {};
    on_open: (resumed: boolean) => void = () => {};
    on_dropped: (count: number) => void = () => {};
    on_gap: () => void = () => {};

    private ws: WebSocket | null = null;
    private readonly backoff = new Backoff(500, 20_000);
    private readonly seen = new Seen();
    private after = '';
    private opened_before = false;
    private asked_ms = 0;               /* when the ping that is not answered yet was sent; 0: none */
    private ping = 0;
    private retry = 0;
    private wanted = false;

    constructor(private readonly url: string, private readonly token: () => string,
        private readonly tenant: () => string | null, private readonly refresh: () => Promise<boolean>)
    {
        addEventListener('online', () => this.hurry());
        document.addEventListener('visibilitychange', () => {
            if (!document.hidden) {
                this.hurry();
            }
        });
    }

    start(): void {
        this.wanted = true;
        this.open();
    }

    stop(): void {
        this.wanted = false;
        clearTimeout(this.retry);
        this.close();
        this.after = '';
        this.opened_before = false;
        this.seen.clear();
        this.on_state('idle', 0);
    }

    /* Another tenant: what was seen so far belongs to the old one. */
    restart(): void {
        this.stop();
        this.backoff.reset();
        this.start();
    }

    /* A new access token goes to the open socket in place. */
    renew(): void {
        if (this.ws?.readyState === WebSocket.OPEN) {
            this.send(this.auth());
        }
    }

    /* Now instead of when the next try is due. */
    hurry(): void {
        if (this.wanted && !this.ws) {
            this.backoff.reset();
            this.open();
        }
    }

    private auth(): Record<string, unknown> {
        const m: Record<string, unknown> = { type: 'auth', token: this.token() };
        const tenant = this.tenant();
        if (tenant) {
            m.tenant_id = tenant;
        }
        return m;
    }

    private send(m: unknown): void {
        this.ws?.send(JSON.stringify(m));
    }

    private open(): void {
        clearTimeout(this.retry);
        this.close();
        this.on_state('connecting', 0);

        const ws = new WebSocket(this.url);
        this.ws = ws;

        ws.onopen = () => {
            this.send(this.auth());

            const m: Record<string, unknown> = { type: 'subscribe', topics };
            if (this.after) {
                m.after = this.after;
            }
            this.send(m);
            this.ask();                         /* the answer proves that the token was taken */

            this.ping = window.setInterval(() => this.check(), ping_every_ms);
        };

        ws.onmessage = (e) => {
            if (ws === this.ws && typeof e.data === 'string') {
                this.receive(e.data);
            }
        };

        ws.onclose = (e) => {
            if (ws === this.ws) {
                this.lost(e.code);
            }
        };
    }

    private ask(): void {
        this.asked_ms ||= Date.now();
        this.send({ type: 'ping' });
    }

    /* In a hidden page this runs as seldom as once a minute: only an unanswered question counts as silence. */
    private check(): void {
        if (this.asked_ms && Date.now() - this.asked_ms > answer_ms) {
            const ws = this.ws;
            this.close();
            ws?.close();
            this.lost(0);
            return;
        }
        this.ask();
    }

    private receive(text: string): void {
        let m: { type?: string; id?: string; count?: number };
        try {
            m = JSON.parse(text) as typeof m;
        } catch {
            return;
        }

        this.asked_ms = 0;

        switch (m.type) {
        case 'pong':
        case 'telemetry':
        case 'alarm':
        case 'device':
        case 'media':
        case 'command':
            this.confirm();
            break;

        case 'token_expired':
            void this.refresh();               /* the new token is sent by renew() */
            return;

        case 'dropped':
            this.on_dropped(m.count ?? 0);
            return;

        case 'gap':                            /* as after a restore: what was seen may be void, numbers come again */
            this.seen.clear();
            this.after = m.id ?? '';
            this.on_gap();
            return;

        default:
            return;
        }

        if (m.type === 'pong') {
            return;
        }

        if (typeof m.id === 'string') {
            /* an event's id is the better place to resume from: nothing before it is missing */
            if (m.type !== 'telemetry') {
                if (!this.seen.add(m.id)) {
                    return;
                }
                this.after = m.id;

            } else if (!this.after) {
                this.after = m.id;
            }
        }

        this.on_message(m as unknown as ServerMessage);
    }

    private confirmed = false;

    private confirm(): void {
        if (!this.confirmed) {
            this.confirmed = true;
            this.backoff.reset();
            this.on_state('live', 0);
            this.on_open(this.opened_before);
            this.opened_before = true;
        }
    }

    private close(): void {
        const ws = this.ws;
        this.ws = null;
        this.asked_ms = 0;
        this.confirmed = false;
        clearInterval(this.ping);
        if (ws) {
            ws.onclose = null;
            ws.onmessage = null;
            if (ws.readyState <= WebSocket.OPEN) {
                ws.close();
            }
        }
    }

    private lost(code: number): void {
        this.close();
        if (!this.wanted) {
            return;
        }

        const delay = code === 4408 ? 100 : this.backoff.next();
        this.on_state('waiting', Date.now() + delay);

        this.retry = window.setTimeout(() => {
            if (code === 4401) {
                void this.refresh().then(() => {
                    if (this.wanted && !this.ws) {
                        this.open();
                    }
                });
                return;
            }
            this.open();
        }, delay);
    }
}
