/* An answer that is not a success, as RFC 9457 problem+json gives it, or the absence of an answer. */

export interface ProblemBody {
    title?: string;
    status?: number;
    code?: string;
    detail?: string;
    request_id?: string;
    errors?: Array<{ field: string; message: string }>;
}

export class Problem extends Error {
    readonly status: number;            /* 0: the server could not be reached */
    readonly code: string;
    readonly request_id: string;
    readonly retry_after_s: number;     /* 0: not given */
    readonly errors: Array<{ field: string; message: string }>;

    constructor(status: number, body: ProblemBody, retry_after_s: number) {
        super(sentence(status, body, retry_after_s));
        this.name = 'Problem';
        this.status = status;
        this.code = body.code ?? '';
        this.request_id = body.request_id ?? '';
        this.retry_after_s = retry_after_s;
        this.errors = body.errors ?? [];
    }
}

const by_code: Record<string, string> = {
    device_offline: 'The vehicle is offline. Try again when it is back.',
    device_timeout: 'The recorder did not answer in time. Try again.',
    device_disabled: 'This vehicle is switched off in the console. An administrator can switch it on.',
    forbidden: 'You are not allowed to do this. An administrator can give you the right.',
    invalid_credentials: 'The e-mail address or the password is wrong.',
    token_expired: 'The session has expired. Sign in again.',
    unauthenticated: 'The session has ended. Sign in again.',
    already_acknowledged: 'Somebody acknowledged this alarm before you.',
    not_found: 'This does not exist, or it is not yours to see.',
    not_ready: 'This is not ready yet. Try again in a moment.',
};

export function sentence(status: number, body: ProblemBody, retry_after_s: number): string {
    if (status === 0) {
        return 'The server cannot be reached.';
    }

    if (status === 429 && body.code !== 'quota_exceeded') {
        return `Too many attempts. Try again ${retry_after_s > 0 ? `in ${wait(retry_after_s)}` : 'in a moment'}.`;
    }

    const known = body.code ? by_code[body.code] : undefined;
    let text = known ?? body.detail ?? body.title ?? '';

    if (text && !known) {
        text = text.charAt(0).toUpperCase() + text.slice(1);
    }

    if (body.code === 'device_busy' && text) {
        text = `${text.replace(/\.$/, '')}. Stop that first, or try again later.`;
    }

    if (!text) {
        if (status === 503) {
            text = 'The service is busy or a part of it is away. Try again in a moment.';
        } else if (status === 403) {
            text = 'You are not allowed to do this.';
        } else if (status === 404) {
            text = 'This does not exist.';
        } else {
            text = `The server answered ${status}.`;
        }
    }

    if (body.errors && body.errors.length > 0) {
        text += ` ${body.errors.map((e) => `${e.field}: ${e.message}`).join('; ')}`;
    }

    return text;
}

function wait(s: number): string {
    return s < 90 ? `${Math.ceil(s)} s` : `${Math.ceil(s / 60)} min`;
}

/* Retry-After is a number of seconds or a date. */
export function retry_after(value: string | null, now_ms: number): number {
    if (!value) {
        return 0;
    }

    const n = Number(value);
    if (Number.isFinite(n)) {
        return Math.max(0, n);
    }

    const t = Date.parse(value);
    return Number.isNaN(t) ? 0 : Math.max(0, (t - now_ms) / 1000);
}
