/* One's own account: where one is signed in, the password, the second factor, and what one wants to be told. */

import type { Context } from '../app';
import { clear, dialog, field, h, set_text, toast } from '../dom';
import { has } from '../features';
import { ago, date_time, words } from '../format';
import type { Page } from '../types';
import { act, say, select, table } from '../ui';
import type { Table } from '../ui';
import { browser_of } from './agent';
import { checks, input, remover } from './parts';
import type { Check } from './parts';

interface Session { id: string; created_at?: string; last_used_at?: string; address?: string; user_agent?: string; current?: boolean }

export function sessions(c: Context): Table {
    const t: Table = table<Session>({
        label: 'Where I am signed in', testid: 'sessions', empty: 'No sessions.',
        columns: [
            { head: 'Since', cell: (s) => date_time(s.created_at) },
            { head: 'Last used', cell: (s) => s.last_used_at ? ago(s.last_used_at, Date.now()) : '' },
            { head: 'From', cell: (s) => s.address ?? '' },
            { head: 'With', class: 'dim', cell: (s) => browser_of(s.user_agent ?? '') },
            { head: '', cell: (s) => s.current ? 'this one' : remover(c, `/auth/sessions/${s.id}`, 'Sign out', () => t, '', 'The browser or program there has to sign in again.') },
        ],
        load: async (cursor) => {
            const a = await c.api.get<Page<Session>>('/auth/sessions', { cursor });
            return { items: a.items, next_cursor: a.next_cursor ?? null };
        },
    });
    return t;
}

/* The secret is typed into an authenticator app; a first code from it turns the second factor on. */
export async function totp_on(c: Context): Promise<boolean> {
    const a = await c.api.post<{ secret: string; otpauth_url: string }>('/auth/totp', {});
    const otp = h('input', { type: 'text', name: 'otp', inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: '6', 'data-testid': 'totp-code' });
    const shown = h('input', { type: 'text', readonly: true, class: 'code', 'data-testid': 'totp-secret', value: a.secret.replace(/(.{4})/g, '$1 ').trim() });

    const done = await dialog('Second factor', [
        h('p', { class: 'hint' }, 'Add this key to an authenticator app, then enter the code that it shows. From then on signing in asks for a code.'),
        field('Key for the authenticator app', shown), h('p', {}, h('a', { href: a.otpauth_url }, 'Open in an app on this device')),
        field('Code that the app shows', otp),
    ], 'Turn on', async () => {
        await c.api.request('PUT', '/auth/totp', { body: { otp: otp.value.trim() } });
        if (c.api.user) {
            c.api.user.totp_enabled = true;
        }
    }, { testid: 'totp-dialog' });
    if (done) {
        toast('From now on signing in asks for a code.');
    }
    return done;
}

async function totp_off(c: Context): Promise<boolean> {
    return dialog('Turn the second factor off?', [h('p', {}, 'From then on the password alone is enough to sign in.')], 'Turn off', async () => {
        await c.api.request('DELETE', '/auth/totp');
        if (c.api.user) {
            c.api.user.totp_enabled = false;
        }
    }, { danger: true });
}

async function change_password(c: Context): Promise<boolean> {
    const old = h('input', { type: 'password', autocomplete: 'current-password' });
    const fresh = h('input', { type: 'password', autocomplete: 'new-password' });
    const again = h('input', { type: 'password', autocomplete: 'new-password' });
    const note = h('p', { class: 'hint', role: 'status' });
    again.addEventListener('input', () => set_text(note, again.value === '' || again.value === fresh.value ? '' : 'They differ.'));

    const done = await dialog('Change my password', [field('Present password', old), field('New password', fresh, '8 characters or more.'),
        field('New password again', again), note], 'Change', async () => {
        if (fresh.value !== again.value) {
            throw new Error('The two new passwords differ.');
        }
        await c.api.request('PUT', '/auth/password', { body: { current_password: old.value, new_password: fresh.value } });
    });
    if (done) {
        toast('The password was changed.');
    }
    return done;
}

/* The buttons above the list of sessions. */
export function account_tools(c: Context, t: Table): HTMLElement {
    const el = h('div', { class: 'filters' });

    const draw = () => {
        const button = (text: string, testid: string, fn: (c: Context) => Promise<boolean>) => {
            const b = h('button', { type: 'button', 'data-testid': testid, onclick: () => act(b, async () => {
                if (await fn(c)) {
                    draw();
                    await t.reload();
                }
            }) }, text);
            return b;
        };
        const on = c.api.user?.totp_enabled === true;
        clear(el,
            has('PUT', '/auth/password') ? button('Change my password', 'password-change', change_password) : null,
            has('POST', '/auth/totp') ? button(on ? 'Renew the second factor' : 'Set up a second factor', 'totp', totp_on) : null,
            on && has('DELETE', '/auth/totp') ? button('Turn the second factor off', 'totp-off', totp_off) : null);
    };
    draw();
    return el;
}

/* ----------------------------------------------------------- notifications */

interface Preferences { push?: boolean; min_severity?: string; muted_kinds?: string[]; quiet_from?: string | null; quiet_to?: string | null; time_zone?: string }

/* The protocol's catalogue, without what nobody is called for at night. */
const kinds = ['custom', 'panic_button', 'vibration', 'video_loss', 'camera_covered', 'door_illegal', 'password_error', 'ignition_illegal',
    'temperature', 'disk_error', 'overspeed', 'geofence', 'door_abnormal', 'ignition_on', 'ignition_off', 'parking_long', 'motion',
    'gps_failure', 'fatigue', 'power_cut', 'disk_hot', 'panel_open', 'fuel_up', 'fuel_down'];

export function notifications(c: Context): { el: HTMLElement; show: () => void } {
    const el = h('div', { 'data-testid': 'notifications' });
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

    const draw = (p: Preferences) => {
        const push = select('push', [['true', 'On'], ['false', 'Off']], String(p.push !== false));
        const severity = select('min-severity', [['info', 'Everything'], ['warning', 'Warning and critical'], ['critical', 'Critical only']], p.min_severity ?? 'warning');
        const from = h('input', { type: 'time', value: p.quiet_from ?? '', 'aria-label': 'Quiet from', 'data-testid': 'quiet-from' });
        const to = h('input', { type: 'time', value: p.quiet_to ?? '', 'aria-label': 'Quiet to', 'data-testid': 'quiet-to' });
        const zone = input('zone', 'text', p.time_zone ?? here, 'quiet');
        const all = [...new Set([...kinds, ...(p.muted_kinds ?? [])])];
        const muted = checks('Never tell me of', all.map((k) => [k, words(k), (p.muted_kinds ?? []).includes(k), false] as Check));
        const note = h('p', { class: 'hint', role: 'status', 'data-testid': 'notifications-note' });
        const save = h('button', { type: 'submit', class: 'primary', 'data-testid': 'notifications-save' }, 'Save');
        const zone_hint = zone.value === here ? 'Your browser\'s zone.' : `Your browser is in ${here}.`;

        const form = h('form', { class: 'form card', novalidate: true }, h('h3', {}, 'Messages to my phone'),
            h('p', { class: 'hint' }, 'They arrive in the app, once it has been signed in there.'),
            field('Messages', push), field('From severity', severity),
            h('div', { class: 'pair' }, field('Quiet from', from), field('to', to)), field('In the time zone', zone, zone_hint), muted.el,
            h('div', { class: 'form-actions' }, note, save));

        form.addEventListener('submit', (e) => {
            e.preventDefault();
            act(save, async () => {
                if ((from.value === '') !== (to.value === '')) {
                    throw new Error('Enter both ends of the quiet time, or none.');
                }
                const q = await c.api.request<Preferences>('PUT', '/notification-preferences', { body: {
                    push: push.value === 'true', min_severity: severity.value, muted_kinds: muted.chosen(),
                    quiet_from: from.value || null, quiet_to: to.value || null, time_zone: zone.value.trim() } });
                draw(q);
                set_text(el.querySelector('[data-testid="notifications-note"]') as Element, 'Saved.');
            });
        });
        clear(el, form);
    };

    return { el, show: () => {
        c.api.get<Preferences>('/notification-preferences').then(draw, (e: unknown) => clear(el, h('p', { class: 'empty' }, say(e))));
    } };
}
