/*
 * The REST side: signing in, keeping the access token fresh, and one request function that turns every failure
 * into a Problem.
 *
 * The access token lives in memory only.  The refresh token may be used once, so it must never exist in two
 * pages: it is taken out of session storage when the page starts and put back when the page goes away.  A
 * duplicated tab therefore asks for a password instead of spending its original's token, which would revoke both.
 */

import { Problem, retry_after } from './problem';
import type { ProblemBody } from './problem';
import type { Tokens, User } from './types';

const base = '/api/v1';
const storage_key = 'mdvr.refresh';

export interface Options {
    query?: Record<string, string | number | boolean | null | undefined>;
    body?: unknown;
    signal?: AbortSignal;
    headers?: Record<string, string>;
    idempotent?: boolean;      /* sends an Idempotency-Key, so that a repeated POST starts nothing twice */
    keepalive?: boolean;       /* survives the page */
    anonymous?: boolean;
    blob?: boolean;            /* the answer is a file */
    file?: Blob;               /* the body is this file */
}

export function uuid(): string {
    if (typeof crypto.randomUUID === 'function') {
        return crypto.randomUUID();
    }

    /* randomUUID is missing on plain HTTP origins other than localhost */
    const b = crypto.getRandomValues(new Uint8Array(16));
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    const s = Array.from(b, (v) => v.toString(16).padStart(2, '0')).join('');
    return `${s.slice(0, 8)}-${s.slice(8, 12)}-${s.slice(12, 16)}-${s.slice(16, 20)}-${s.slice(20)}`;
}

export class Api {
    user: User | null = null;
    tenant_id: string | null = null;       /* set for a super_admin only */
    access = '';

    /* told of every new access token and of the end of the session */
    on_token: (token: string) => void = () => {};
    on_signed_out: (why: string) => void = () => {};

    private refresh_token = '';
    private expires_ms = 0;
    private timer = 0;
    private refreshing: Promise<boolean> | null = null;

    constructor() {
        this.take();
        addEventListener('pagehide', () => this.put());
        addEventListener('pageshow', (e) => {
            if (e.persisted) {
                this.take();
            }
        });
        document.addEventListener('visibilitychange', () => {
            if (!document.hidden && this.access && Date.now() > this.expires_ms - 30_000) {
                void this.refresh();        /* the laptop was asleep */
            }
        });
    }

    get has_session(): boolean {
        return this.refresh_token !== '';
    }

    async login(email: string, password: string, otp: string): Promise<User> {
        const body: Record<string, string> = { email, password };
        if (otp) {
            body.otp = otp;
        }

        this.accept(await this.request<Tokens>('POST', '/auth/login', { body, anonymous: true }));
        return this.whoami();
    }

    /* Continues the session of an earlier load of this page; false when there is none. */
    async resume(): Promise<User | null> {
        if (!this.refresh_token || !await this.refresh()) {
            return null;
        }
        return this.user ?? this.whoami();
    }

    async whoami(): Promise<User> {
        if (!this.user || !this.user.role) {
            const me = await this.request<User & { user?: User }>('GET', '/auth/me');
            this.user = me.user ?? me;
        }
        return this.user;
    }

    async logout(): Promise<void> {
        try {
            await this.request('POST', '/auth/logout', { body: {} });
        } catch {
            /* signed out here in any case; the server forgets the session when it expires */
        }
        this.drop('');
    }

    can(scope: string): boolean {
        const u = this.user;
        if (!u) {
            return false;
        }
        if (u.scopes) {
            return u.scopes.includes(scope) || (u.extra_scopes ?? []).includes(scope);
        }
        return role_scopes(u.role).includes(scope) || (u.extra_scopes ?? []).includes(scope);
    }

    async request<T = unknown>(method: string, path: string, o: Options = {}): Promise<T> {
        const key = o.idempotent ? uuid() : '';
        const reading = method === 'GET';

        for (let attempt = 0; ; attempt++) {
            if (!o.anonymous && this.access && Date.now() > this.expires_ms - 2000) {
                await this.refresh();
            }

            try {
                return await this.once<T>(method, path, o, key);

            } catch (e) {
                if (!(e instanceof Problem) || o.signal?.aborted) {
                    throw e;
                }

                if (e.status === 401 && !o.anonymous && attempt === 0 && await this.refresh()) {
                    continue;
                }

                if (reading && (e.status === 503 || e.status === 429) && attempt < 2) {
                    await new Promise((r) => setTimeout(r, 1000 * Math.min(5, e.retry_after_s || 1)));
                    continue;
                }

                throw e;
            }
        }
    }

    get<T>(path: string, query?: Options['query'], signal?: AbortSignal): Promise<T> {
        return this.request<T>('GET', path, { query, signal });
    }

    post<T>(path: string, body: unknown, o: Options = {}): Promise<T> {
        return this.request<T>('POST', path, { ...o, body });
    }

    /* Fetches a file with the session's rights and hands it to the browser's download. */
    async download(path: string, name: string, o: Options = {}): Promise<void> {
        const blob = await this.request<Blob>('GET', path, { ...o, blob: true });
        const url = URL.createObjectURL(blob);
        const a = document.createElement('a');
        a.href = url;
        a.download = name;
        a.click();
        setTimeout(() => URL.revokeObjectURL(url), 60_000);
    }

    private async once<T>(method: string, path: string, o: Options, key: string): Promise<T> {
        const url = new URL(base + path, location.origin);
        for (const [k, v] of Object.entries(o.query ?? {})) {
            if (v !== null && v !== undefined && v !== '') {
                url.searchParams.set(k, String(v));
            }
        }

        const headers: Record<string, string> = { Accept: 'application/json', ...o.headers };
        if (o.body !== undefined) {
            headers['Content-Type'] = 'application/json';
        }
        if (o.file) {
            headers['Content-Type'] = 'application/octet-stream';
        }
        if (!o.anonymous && this.access) {
            headers.Authorization = `Bearer ${this.access}`;
            if (this.tenant_id && !headers['X-Tenant-Id']) {
                headers['X-Tenant-Id'] = this.tenant_id;
            }
        }
        if (key) {
            headers['Idempotency-Key'] = key;
        }

        let r: Response;
        try {
            r = await fetch(url, {
                method,
                headers,
                body: o.file ?? (o.body === undefined ? undefined : JSON.stringify(o.body)),
                signal: o.signal,
                keepalive: o.keepalive,
                cache: 'no-store',
                credentials: 'omit',
            });
        } catch (e) {
            if (e instanceof DOMException && e.name === 'AbortError') {
                throw e;
            }
            throw new Problem(0, {}, 0);
        }

        if (!r.ok) {
            let body: ProblemBody = {};
            try {
                body = await r.json() as ProblemBody;
            } catch {
                /* a proxy answered in HTML; the status says enough */
            }
            throw new Problem(r.status, body, retry_after(r.headers.get('Retry-After'), Date.now()));
        }

        if (o.blob) {
            return await r.blob() as unknown as T;
        }

        const text = r.status === 204 ? '' : await r.text();
        return (text ? JSON.parse(text) : null) as T;
    }

    /* One refresh at a time; everybody waits for the same answer. */
    refresh(): Promise<boolean> {
        this.refreshing ??= this.do_refresh().finally(() => {
            this.refreshing = null;
        });
        return this.refreshing;
    }

    private async do_refresh(): Promise<boolean> {
        const token = this.refresh_token;
        if (!token) {
            return false;
        }

        try {
            this.accept(await this.once<Tokens>('POST', '/auth/refresh',
                { body: { refresh_token: token }, anonymous: true }, ''));
            return true;

        } catch (e) {
            const status = e instanceof Problem ? e.status : 0;

            if (status === 0 || status === 429 || status >= 500) {
                /* away, not refused: keep the session and try again */
                clearTimeout(this.timer);
                this.timer = window.setTimeout(() => void this.refresh(), 5000);
                return false;
            }

            this.drop('Your session has ended. Sign in again.');
            return false;
        }
    }

    private accept(t: Tokens): void {
        const life_ms = Math.max(10, t.expires_in) * 1000;

        this.access = t.access_token;
        this.refresh_token = t.refresh_token;
        this.expires_ms = Date.now() + life_ms;
        if (t.user) {
            this.user = t.user;
        }

        clearTimeout(this.timer);
        this.timer = window.setTimeout(() => void this.refresh(), Math.min(life_ms * 0.8, 0x7fffffff));
        this.on_token(this.access);
    }

    private drop(why: string): void {
        const had = this.access !== '' || this.refresh_token !== '';

        clearTimeout(this.timer);
        this.access = '';
        this.refresh_token = '';
        this.user = null;
        this.tenant_id = null;
        if (had) {
            this.on_signed_out(why);
        }
    }

    private take(): void {
        try {
            this.refresh_token = sessionStorage.getItem(storage_key) ?? '';
            sessionStorage.removeItem(storage_key);
        } catch {
            this.refresh_token = '';
        }
    }

    private put(): void {
        try {
            if (this.refresh_token) {
                sessionStorage.setItem(storage_key, this.refresh_token);
            }
        } catch {
            /* no storage: the next load asks for the password */
        }
    }
}

/* The table of the client contract, used when the server's user document does not list scopes. */
export function role_scopes(role: string): string[] {
    const view = ['device:read', 'video:watch', 'alarm:read'];
    const tech = [...view, 'device:write', 'device:control'];

    switch (role) {
    case 'super_admin':
    case 'tenant_admin':
        return [...tech, 'video:download', 'alarm:acknowledge', 'user:manage', 'billing:manage'];
    case 'technician':
        return tech;
    case 'client_user':
        return view;
    default:
        return [];
    }
}
