/* Arithmetic of the calendar of recordings: days by the recorder's own clock.  Pure. */

export interface Span { from: string; to: string; type: 'normal' | 'alarm' }
export interface Lane { channel: number | null; normal_s: number; alarm_s: number; spans: Span[] }
export interface Day { date: string; channels: Lane[] }
export interface Calendar { utc_offset_minutes: number; days: Day[]; truncated?: boolean }

export const day_ms = 86400_000;

/* Unix ms at which a day of the recorder's clock begins; `date` is YYYY-MM-DD. */
export function day_start(date: string, offset_minutes: number): number {
    return Date.parse(`${date}T00:00:00Z`) - offset_minutes * 60_000;
}

/* The day of the recorder's clock in which a moment lies. */
export function day_of(t_ms: number, offset_minutes: number): string {
    return new Date(t_ms + offset_minutes * 60_000).toISOString().slice(0, 10);
}

/* Where a span lies in its day, both from 0 to 1. */
export function place_of(span: Span, start_ms: number): { from: number; to: number } {
    const part = (at: string) => Math.min(1, Math.max(0, (Date.parse(at) - start_ms) / day_ms));
    return { from: part(span.from), to: part(span.to) };
}

/* The moment that a click at `part` of a day means: within the span there, or the beginning of the next one; null
 * when nothing follows on that day. */
export function moment_at(spans: Span[], start_ms: number, part: number): number | null {
    const t = start_ms + part * day_ms;
    let next: number | null = null;

    for (const s of spans) {
        const from = Date.parse(s.from);
        const to = Date.parse(s.to);
        if (t >= from && t < to) {
            return t;
        }
        if (from >= t && (next === null || from < next)) {
            next = from;
        }
    }
    return next;
}

/* The file that holds a moment of a channel: the one that begins last, if several do. */
export function file_at<T extends { from: string | null; to: string | null; channel: number | null }>(files: T[], channel: number | null, t_ms: number): T | null {
    let best: T | null = null;
    for (const f of files) {
        if (!f.from || !f.to || (channel !== null && f.channel !== channel)) {
            continue;
        }
        const from = Date.parse(f.from);
        if (from <= t_ms && t_ms < Date.parse(f.to) && (!best || from > Date.parse(best.from ?? ''))) {
            best = f;
        }
    }
    return best;
}
