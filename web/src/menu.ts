/* The user's menu: who is signed in, settings of this browser, sign out. */

import type { Context } from './app';
import { player_choice, read, store } from './config';
import { h, icon, toast } from './dom';
import { zone_text } from './format';
import { help_dialog } from './help';

export function user_menu(c: Context): HTMLElement {
    const u = c.api.user;

    const theme = h('button', { type: 'button', role: 'menuitem', onclick: () => {
        const theme = document.documentElement.dataset.theme === 'light' ? 'dark' : 'light';
        document.documentElement.dataset.theme = theme;
        store('theme', theme);
    } }, 'Dark or light');

    const player = h('select', { 'aria-label': 'Player', 'data-testid': 'player', onchange: () => {
        store('player', player.value === 'auto' ? null : player.value);
        toast('Cameras opened from now on use this player.');
    } },
    h('option', { value: 'auto' }, 'automatic'), h('option', { value: 'ws' }, 'WebSocket only'),
    h('option', { value: 'webrtc' }, 'WebRTC only'), h('option', { value: 'hls' }, 'HLS only'));
    player.value = player_choice();

    const record = h('select', { 'aria-label': 'Length of a recording', 'data-testid': 'record-length', onchange: () => store('record-s', record.value) },
        ...[['30', '30 s'], ['60', '1 min'], ['300', '5 min'], ['900', '15 min']].map(([v, text]) => h('option', { value: v }, text)));
    record.value = read('record-s') ?? '60';

    const sound = h('input', { type: 'checkbox', onchange: () => store('alarm-sound', sound.checked ? '1' : null) });
    sound.checked = read('alarm-sound') === '1';

    return h('details', { class: 'menu', 'data-testid': 'user-menu' },
        h('summary', { 'aria-label': `User menu, ${u?.email ?? ''}`, title: u?.email ?? '' }, icon('user') as unknown as Node, u?.email ?? 'User'),
        h('div', { class: 'menu-body', role: 'menu' },
            h('p', { class: 'menu-user' }, u?.name || u?.email || '', h('span', { class: 'dim' }, ` ${(u?.role ?? '').replace('_', ' ')}`)),
            h('a', { class: 'menu-row', role: 'menuitem', href: '#/admin/account', 'data-testid': 'my-account' }, 'My account'),
            h('label', { class: 'menu-row' }, 'Video player', player),
            h('label', { class: 'menu-row' }, 'The record button stores', record),
            h('label', { class: 'menu-row' }, 'Sound for critical alarms', sound),
            theme,
            h('p', { class: 'menu-row dim', 'data-testid': 'zone' }, `Times are in ${zone_text()}`),
            h('button', { type: 'button', role: 'menuitem', onclick: help_dialog }, 'Keyboard (?)'),
            h('button', { type: 'button', role: 'menuitem', 'data-testid': 'sign-out', onclick: () => void c.api.logout() }, 'Sign out')));
}
