/* The keyboard, on one card. */

import { h } from './dom';

const keys: Array<[string, string]> = [
    ['/', 'search'],
    ['↑ ↓', 'previous, next vehicle'],
    ['1 … 9', 'open or close that camera of the selected vehicle'],
    ['F', 'follow the selected vehicle'],
    ['0', 'show all vehicles on the map'],
    ['D', 'details of the selected vehicle'],
    ['N', 'next alarm that needs attention'],
    ['X', 'close all cameras'],
    ['W', 'all cameras on the full screen'],
    ['← → ↑ ↓', 'on a camera: the next one'],
    ['Enter, S, M, R, Delete', 'on a camera: large, main or sub stream, sound, record, close'],
    ['Q', 'silence the sound of alarms'],
    ['A', 'on an alarm: acknowledge'],
    ['Esc', 'back'],
    ['?', 'this card'],
];

export function help_dialog(): void {
    const box = h('dialog', { class: 'dialog', 'aria-label': 'Keyboard', 'data-testid': 'help' },
        h('h2', {}, 'Keyboard'),
        h('dl', { class: 'keys' }, ...keys.flatMap(([k, t]) => [h('dt', {}, h('kbd', {}, k)), h('dd', {}, t)])),
        h('div', { class: 'form-actions' }, h('button', { type: 'button', class: 'primary', onclick: () => box.close() }, 'Close')));

    box.addEventListener('close', () => box.remove());
    document.body.append(box);
    box.showModal();
}
