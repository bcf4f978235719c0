/* Values as an operator reads them.  Pure: the time is always an argument. */

export const nothing = '–';

export function speed(kmh: number | null | undefined): string {
    return kmh === null || kmh === undefined ? nothing : String(Math.round(kmh));
}

export function coordinate(lat: number, lon: number): string {
    return `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? 'S' : 'N'}, ${Math.abs(lon).toFixed(5)}° ${lon < 0 ? 'W' : 'E'}`;
}

/* How long ago, short enough for a table cell: "now", "12 s", "4 min", "3 h", "2 d". */
export function ago(at: string | null | undefined, now_ms: number): string {
    if (!at) {
        return 'never';
    }

    const t = Date.parse(at);
    if (Number.isNaN(t)) {
        return nothing;
    }

    const s = Math.floor((now_ms - t) / 1000);
    if (s < 5) {
        return 'now';
    }
    if (s < 60) {
        return `${s} s`;
    }
    if (s < 3600) {
        return `${Math.floor(s / 60)} min`;
    }
    if (s < 86400) {
        return `${Math.floor(s / 3600)} h`;
    }
    return `${Math.floor(s / 86400)} d`;
}

/* The same in a sentence: "seen now", "seen 4 min ago", "never connected". */
export function seen(at: string | null | undefined, now_ms: number): string {
    const text = ago(at, now_ms);
    return text === 'never' ? 'never connected' : text === 'now' || text === nothing ? `seen ${text}` : `seen ${text} ago`;
}

export function clock(at: string | number | Date): string {
    const d = new Date(at);
    return Number.isNaN(d.getTime()) ? nothing : d.toLocaleTimeString('en-GB');
}

export function date_time(at: string | number | Date | null | undefined): string {
    if (at === null || at === undefined || at === '') {
        return nothing;
    }
    const d = new Date(at);
    if (Number.isNaN(d.getTime())) {
        return nothing;
    }
    return `${d.toLocaleDateString('sv-SE')} ${d.toLocaleTimeString('en-GB')}`;
}

/* "Europe/Zurich, UTC+01:00": the zone in which times are shown. */
export function zone_text(at: Date = new Date()): string {
    const minutes = -at.getTimezoneOffset();
    return `${Intl.DateTimeFormat().resolvedOptions().timeZone || 'local time'}, UTC${offset_text(minutes)}`;
}

/* "+02:00" */
export function offset_text(minutes: number): string {
    const m = Math.abs(minutes);
    return `${minutes < 0 ? '−' : '+'}${String(Math.floor(m / 60)).padStart(2, '0')}:${String(m % 60).padStart(2, '0')}`;
}

export function duration(s: number): string {
    const m = Math.floor(s / 60);
    const hh = Math.floor(m / 60);
    if (hh > 0) {
        return `${hh} h ${m % 60} min`;
    }
    return m > 0 ? `${m} min ${Math.floor(s % 60)} s` : `${Math.floor(s)} s`;
}

export function bitrate(bits_per_s: number): string {
    if (bits_per_s >= 1e6) {
        return `${(bits_per_s / 1e6).toFixed(1)} Mbit/s`;
    }
    return `${Math.round(bits_per_s / 1e3)} kbit/s`;
}

export function bytes(n: number | null | undefined): string {
    if (n === null || n === undefined) {
        return nothing;
    }
    if (n >= 1 << 30) {
        return `${(n / (1 << 30)).toFixed(1)} GiB`;
    }
    if (n >= 1 << 20) {
        return `${(n / (1 << 20)).toFixed(1)} MiB`;
    }
    return n >= 1024 ? `${Math.round(n / 1024)} KiB` : `${n} B`;
}

/* "camera_covered" -> "Camera covered" */
export function words(name: string): string {
    const s = name.replace(/_/g, ' ').replace(/\b(acc|ai|api|gps|id|imei|ip|obd|rpm|sos|url|utc)\b/g, (w) => w.toUpperCase());
    return s.charAt(0).toUpperCase() + s.slice(1);
}

const points = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'];

export function compass(deg: number | null | undefined): string {
    if (deg === null || deg === undefined) {
        return nothing;
    }
    return points[Math.round((((deg % 360) + 360) % 360) / 45) % 8];
}

export function short_id(id: string): string {
    return id.slice(-8);
}
