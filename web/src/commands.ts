/*
 * Commands to a recorder: choose a type, fill in its parameters, watch the answer.  The form of each type starts
 * from the example in the server's own OpenAPI document; the few that operators use daily have fields.
 */

import type { Context } from './app';
import { clear, field, h, set_text, toast } from './dom';
import { example_of } from './features';
import { date_time, words } from './format';
import type { Command, Page } from './types';
import { act, facts, select, table } from './ui';

const types: Array<[string, string]> = [
    ['device_info', 'Device information'], ['snapshot', 'Snapshot'], ['text_message', 'Text message'], ['control', 'Control'],
    ['position_interval', 'Position interval'], ['ptz', 'Pan, tilt, zoom'], ['picture_get', 'Picture settings, read'],
    ['picture_set', 'Picture settings, change'], ['motion_get', 'Motion detection, read'], ['motion_set', 'Motion detection, change'],
    ['params', 'Parameters'], ['config_pull', 'Configuration, read'], ['config_push', 'Configuration, send'], ['listen', 'Listen in'],
    ['log_query', 'Device log'], ['search', 'Search recordings'], ['alarm_server', 'Alarm server'], ['transparent', 'Transparent data'],
    ['upgrade', 'Upgrade'], ['factory_reset', 'Factory reset'],
];

const actions: Array<[string, string]> = [
    ['reboot', 'Restart the recorder'], ['fuel_cut', 'Cut fuel'], ['fuel_restore', 'Restore fuel'], ['power_cut', 'Cut power'],
    ['power_restore', 'Restore power'], ['factory_reset', 'Factory reset'],
];

const needs_confirmation = new Set(['fuel_cut', 'power_cut']);

export function commands_panel(c: Context, device_id: string, label: string):
    { el: HTMLElement; reload: () => void; close: () => void }
{
    const choices = c.api.user?.role === 'super_admin' ? [...types, ['raw', 'Raw keyword'] as [string, string]] : types;
    const type = select('command', choices, 'device_info');
    const params = h('div', { class: 'form' });
    const send = h('button', { type: 'button', class: 'primary', 'data-testid': 'command-send' }, 'Send');
    const hold = h('input', { type: 'number', min: '0', max: '86400', value: '0', 'aria-label': 'Keep while offline, seconds' });
    const answer = h('div', { class: 'answer', role: 'status', 'data-testid': 'command-answer' });
    let read: () => Record<string, unknown> = () => ({});
    let watched = '';

    const draw = () => {
        const made = form_of(type.value, label);
        clear(params, ...made.fields);
        read = made.read;
    };
    type.addEventListener('change', draw);
    draw();

    const list = table<Command>({
        label: 'Commands', testid: 'command-list', empty: 'No commands yet.',
        columns: [
            { head: 'Time', cell: (x) => date_time(x.created_at) },
            { head: 'Command', cell: (x) => words(x.type) },
            { head: 'State', cell: (x) => h('span', { class: `state ${x.status}` }, x.status) },
            { head: 'Answer', cell: (x) => x.error ?? x.content ?? '' },
        ],
        load: (cursor) => c.api.get<Page<Command>>(`/devices/${device_id}/commands`, { limit: 30, cursor }),
        pick: (x) => void show(x.id),
    });

    const show = async (id: string) => {
        watched = id;
        const x = await c.api.get<Command>(`/commands/${id}`);
        clear(answer, facts(x as unknown as Record<string, unknown>, ['id', 'device_id', 'tenant_id', 'request_id', 'traceparent', 'user_id']));
    };

    send.addEventListener('click', () => act(send, async () => {
        const body: Record<string, unknown> = { type: type.value, ...read() };
        if (Number(hold.value) > 0) {
            body.hold_s = Number(hold.value);
        }
        const x = await c.api.post<Command>(`/devices/${device_id}/commands`, body, { idempotent: true });
        watched = x.id;
        set_text(answer, `${words(type.value)}: ${x.status}`);
        toast('The command is on its way.');
        await list.reload();
    }));

    const close = c.listen((m) => {
        if (m.type === 'command' && m.command_id === watched) {
            void show(m.command_id).catch(() => { /* the list shows its state */ });
            void list.reload();
        }
    });

    return {
        el: h('div', { class: 'commands' },
            h('div', { class: 'command-form' }, field('Command', type), params,
                field('Keep while the vehicle is offline, seconds', hold), send, answer),
            list.el),
        reload: () => void list.reload(),
        close,
    };
}

function form_of(type: string, label: string): { fields: HTMLElement[]; read: () => Record<string, unknown> } {
    if (type === 'control') {
        const action = select('action', actions, 'reboot');
        const confirm = h('input', { type: 'text', autocomplete: 'off', 'data-testid': 'command-confirm' });
        const confirm_field = field(`Type ${label} to confirm`, confirm);
        const check = () => { confirm_field.hidden = !needs_confirmation.has(action.value); };
        action.addEventListener('change', check);
        check();
        return { fields: [field('Action', action), confirm_field], read: () => ({ params: { action: action.value },
            ...(needs_confirmation.has(action.value) ? { confirm: confirm.value.trim() } : {}) }) };
    }

    const example = example_of(type);
    const text = h('textarea', { rows: '7', class: 'code', spellcheck: 'false', 'data-testid': 'command-params' });
    text.value = JSON.stringify(example?.params ?? (type === 'text_message' ? { text: '' } : type === 'snapshot' ? { channel: 1 } : {}), null, 2);

    return {
        fields: [field('Parameters', text)],
        read: () => {
            let params: unknown;
            try {
                params = JSON.parse(text.value || '{}');
            } catch {
                throw new Error('The parameters are not valid JSON.');
            }
            return { params };
        },
    };
}
