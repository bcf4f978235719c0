/*
 * The documents that the server sends, as far as the console reads them.  Names follow the client contract;
 * members that a server may leave out are optional, so that an older or newer server does not break a page.
 */

export interface User {
    id: string;
    email: string;
    name?: string;
    role: string;
    tenant_id?: string | null;
    scopes?: string[];
    extra_scopes?: string[];
    active?: boolean;
    totp_enabled?: boolean;
    last_login_at?: string | null;
    device_ids?: string[];
    group_ids?: string[];
}

export interface Tokens {
    access_token: string;
    refresh_token: string;
    expires_in: number;
    user?: User;
}

export interface Tenant {
    id: string;
    name: string;
    status?: string;
    retention_days?: number;
    time_zone?: string;
    created_at?: string;
}

export interface Position {
    at: string;
    received_at?: string;
    lat: number | null;
    lon: number | null;
    gps_valid?: boolean;
    satellites?: number | null;
    speed_kmh?: number | null;
    course_deg?: number | null;
    acc?: boolean | null;
    mileage_m?: number | null;
    fuel_l?: number | null;
    status?: unknown;
    trigger?: string | null;
}

export interface Device {
    id: string;
    serial: string;
    name?: string | null;
    plate?: string | null;
    imei?: string | null;
    channels?: number | Array<{ channel: number; name?: string }>;
    group_ids?: string[];
    settings?: Record<string, unknown>;
    online?: boolean;
    offline_reason?: string | null;
    last_seen_at?: string | null;
    connected_at?: string | null;
    last_position?: Position | null;
    position?: Position | null;
}

export interface Page<T> {
    items: T[];
    next_cursor: string | null;
}

export interface VideoSession {
    session_id: string;
    device_id: string;
    channel: number;
    stream: Stream;
    status: string;
    token: string;
    expires_at: string;
    urls: { hls: string; fmp4: string; ws: string; whep?: string };
}

export type Stream = 'main' | 'sub';

export interface Alarm {
    id: string;
    device_id: string;
    serial?: string;
    code: string;
    kind: string;
    severity: 'info' | 'warning' | 'critical';
    status?: 'open' | 'ended' | 'acknowledged' | 'closed';
    at: string;
    ended_at?: string | null;
    acknowledged_at?: string | null;
    acknowledged_by?: string | null;
    note?: string | null;
    position?: Position | null;
    media?: MediaItem[];
    findings?: Finding[];
    data?: unknown;
    uid?: string;
}

export interface Finding {
    kind: string;
    confidence?: number;
    at_s?: number;
    picture_url?: string | null;
}

export interface MediaItem {
    id: string;
    kind: 'mp4' | 'jpeg';
    status: string;
    channel?: number;
    at?: string;
    duration_s?: number | null;
    size_bytes?: number | null;
    thumbnail_url?: string | null;
    failed_reason?: string | null;
    findings?: Finding[];
    sprite_url?: string | null;
    sprite?: { rows: number; columns: number; count: number; width: number; height: number; every_s: number } | null;
}

export interface TelemetryMessage extends Position {
    type: 'telemetry';
    id: string;
    device_id: string;
    serial?: string;
}

export interface AlarmMessage {
    type: 'alarm';
    id: string;
    alarm_id: string;
    device_id: string;
    code: string;
    kind: string;
    phase: string;
    at: string;
    uid?: string;
    serial?: string;
    severity: 'info' | 'warning' | 'critical';
    status?: Alarm['status'];
    started_at?: string | null;
    ended_at?: string | null;
    position?: Position | null;
}

export interface DeviceMessage {
    type: 'device';
    id: string;
    device_id: string;
    event: string;
    reason?: string | null;
    at?: string;
}

export interface MediaMessage {
    type: 'media';
    id: string;
    media_id: string;
    device_id: string;
    alarm_id: string | null;
    kind: string;
    status: string;
}

export interface CommandMessage {
    type: 'command';
    id: string;
    command_id: string;
    device_id?: string;
    status: string;
}

export type ServerMessage = TelemetryMessage | AlarmMessage | DeviceMessage | MediaMessage | CommandMessage;

export interface Command {
    id: string;
    type: string;
    status: string;
    params?: unknown;
    answer?: unknown;
    content?: string | null;
    error?: string | null;
    error_code?: string | null;
    created_at?: string;
    updated_at?: string;
    answered_at?: string | null;
}

export interface Group {
    id: string;
    name: string;
    device_ids: string[];
}

export interface Recording {
    path: string;
    channel: number | null;
    type: string | null;
    from: string | null;
    to: string | null;
    size_bytes: number | null;
}

export interface Download {
    id: string;
    status: 'queued' | 'running' | 'complete' | 'failed';
    received_bytes: number;
    size_bytes: number | null;
    media_id: string | null;
    failed_reason: string | null;
}

export interface Geofence {
    id: string;
    name: string;
    shape: 'polygon' | 'circle';
    geometry: { type: string; coordinates: unknown };
    radius_m: number | null;
    dwell_s?: number | null;
    group_ids?: string[];
    active: boolean;
}

/* The answer of POST /devices/{id}/talk/start. */
export interface TalkSession {
    session_id: string;
    device_id: string;
    mode: 'talk' | 'listen';
    duplex: 'full' | 'half';
    status: 'starting' | 'live';
    token: string;
    expires_at: string;
    urls: { ws: string; whep: string };
}
