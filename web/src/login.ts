/* The sign-in form: one try at a time, every refusal in words, and a countdown when the server asks for patience. */

import type { Api } from './api';
import { field, h, set_text } from './dom';
import { Problem } from './problem';

export function login_page(api: Api, why: string, done: () => void): HTMLElement {
    const email = h('input', { type: 'email', name: 'email', autocomplete: 'username', required: true, 'data-testid': 'email' });
    const password = h('input', { type: 'password', name: 'password', autocomplete: 'current-password', required: true,
        'data-testid': 'password' });
    const otp = h('input', { type: 'text', name: 'otp', inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: '6',
        'data-testid': 'otp' });
    const otp_field = field('Code from the authenticator app', otp);
    const error = h('p', { class: 'form-error', role: 'alert', 'data-testid': 'login-error' }, why);
    const button = h('button', { type: 'submit', class: 'primary', 'data-testid': 'login' }, 'Sign in');
    let timer = 0;

    otp_field.hidden = true;

    const wait = (seconds: number) => {
        const until = Date.now() + seconds * 1000;
        clearInterval(timer);
        button.disabled = true;

        const step = () => {
            const left = Math.ceil((until - Date.now()) / 1000);
            if (left <= 0 || !error.isConnected) {
                clearInterval(timer);
                button.disabled = false;
                set_text(error, '');
                return;
            }
            set_text(error, `Too many attempts. Try again in ${left < 90 ? `${left} s` : `${Math.ceil(left / 60)} min`}.`);
        };
        step();
        timer = window.setInterval(step, 1000);
    };

    const form = h('form', { class: 'form login', novalidate: true, 'aria-label': 'Sign in' },
        h('h1', {}, 'MDVR console'),
        field('E-mail', email), field('Password', password), otp_field, error, button);

    form.addEventListener('submit', (e) => {
        e.preventDefault();
        if (!email.value || !password.value) {
            set_text(error, 'Enter your e-mail address and password.');
            (email.value ? password : email).focus();
            return;
        }

        button.disabled = true;
        set_text(error, '');

        api.login(email.value.trim(), password.value, otp.value.trim()).then(() => {
            clearInterval(timer);
            password.value = '';
            done();
        }, (err: unknown) => {
            button.disabled = false;

            if (err instanceof Problem && err.status === 429) {
                wait(err.retry_after_s || 30);
                return;
            }
            if (err instanceof Problem && /otp/.test(err.code)) {
                const first = otp_field.hidden;
                otp_field.hidden = false;
                otp.focus();
                if (first) {
                    set_text(error, 'This account needs a second factor.');
                    return;
                }
            }
            if (err instanceof Problem && err.status === 401 && !/otp/.test(err.code)) {
                set_text(error, 'The e-mail address or the password is wrong.');
                password.select();
                password.focus();
                return;
            }
            set_text(error, err instanceof Error ? err.message : 'Signing in failed.');
        });
    });

    queueMicrotask(() => email.focus());
    return h('main', { class: 'login-page' }, form);
}
