/* Arithmetic of a recorded track.  Pure. */

export interface Fix {
    t: number;              /* ms */
    lat: number;
    lon: number;
    speed: number | null;
    course: number | null;
}

/* Reports further apart than this are a gap: the vehicle waits at the last one instead of flying to the next. */
const gap_ms = 5 * 60_000;

export function at_time(fixes: Fix[], t: number): (Fix & { index: number }) | null {
    if (fixes.length === 0) {
        return null;
    }

    let low = 0;
    let high = fixes.length - 1;

    while (low < high) {
        const mid = (low + high + 1) >> 1;
        if (fixes[mid].t <= t) {
            low = mid;
        } else {
            high = mid - 1;
        }
    }

    const a = fixes[low];
    const b = fixes[low + 1];
    if (!b || t <= a.t || b.t - a.t > gap_ms) {
        return { ...a, index: low };
    }

    const f = (t - a.t) / (b.t - a.t);
    return { t, lat: a.lat + (b.lat - a.lat) * f, lon: a.lon + (b.lon - a.lon) * f, speed: a.speed, course: a.course, index: low };
}

/* One trip or stop in a line. */
export function trips_text(t: Record<string, unknown>, when: (at: string) => string, long: (s: number) => string): string {
    const kind = String(t.kind ?? t.type ?? 'trip');
    const from = String(t.started_at ?? t.from ?? t.at ?? '');
    const parts = [kind, when(from)];

    if (typeof t.duration_s === 'number') {
        parts.push(long(t.duration_s));
    }
    if (typeof t.distance_m === 'number') {
        parts.push(`${(t.distance_m / 1000).toFixed(1)} km`);
    }
    return parts.join(' · ');
}
