/*
 * What the browser tests share: Chromium, the way to report, and the reader of the clock in the picture.
 *
 * Reports go to standard output, a line each, for the Perl test that started us:
 *
 *   ok <text>     not ok <text>     note <text>     value <name> <JSON>     do <action> <words>
 *
 * `do` asks that test to do something; it answers with a line when it is done.
 */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const top = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const require = createRequire(join(top, 'web', 'package.json'));
const { chromium } = require('playwright-core');

export const settings = JSON.parse(process.env.MDVR_BROWSER ?? '{}');

const patience = process.env.MDVR_SLOW || process.env.MDVR_ASAN ? 5 : 1;
let failed = 0;

export function ok(good, text) {
    failed += good ? 0 : 1;
    console.log(`${good ? 'ok' : 'not ok'} ${text}`);
    return good;
}

export function note(text) {
    for (const line of String(text).split('\n')) {
        console.log(`note ${line}`);
    }
}

export function value(name, n) {
    console.log(`value ${name} ${n}`);
}

const answers = [];
let input = null;

/* Has the Perl test do something, and waits until it is done. */
export function act(action, ...words) {
    if (!input) {
        input = createInterface({ input: process.stdin });
        input.on('line', () => answers.shift()?.());
    }
    return new Promise((resolve) => {
        answers.push(resolve);
        console.log(['do', action, ...words].join(' '));
    });
}

/* Waits until fn() gives something true; its last value. */
export async function until(fn, seconds = 10) {
    const end = Date.now() + seconds * 1000 * patience;
    for (;;) {
        const v = await fn();
        if (v || Date.now() > end) {
            return v;
        }
        await new Promise((r) => setTimeout(r, 50));
    }
}

/*
 * Runs a script in a fresh browser.  `t(id)` finds by data-testid.  Console errors and exceptions of the page
 * are collected in `errors`; what a test provokes on purpose it takes out again.
 */
export async function run(script, options = {}) {
    const browser = await chromium.launch({
        executablePath: process.env.MDVR_CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync', ...(options.args ?? [])],
    });

    try {
        const context = await browser.newContext({ viewport: { width: 1440, height: 860 }, ...options.context });
        const page = await context.newPage();
        const errors = [];

        page.on('console', (m) => {
            if (m.type() === 'error') {
                errors.push(m.text());
            }
        });
        page.on('pageerror', (e) => errors.push(e.stack ?? e.message));
        page.setDefaultTimeout(15_000 * patience);

        const t = (id) => page.locator(`[data-testid="${id}"]`);

        try {
            await script({ browser, context, page, t, errors });
        } catch (e) {
            ok(false, `the script ran to its end: ${String(e.message ?? e).split('\n')[0]}`);
            note(e.stack ?? e);
            note(errors.join('\n'));
            await page.screenshot({ path: join(process.env.MDVR_SHOTS ?? '/tmp', 'browser-failure.png') }).catch(() => {});
        }
    } finally {
        await browser.close();
    }
    input?.close();
    process.exitCode = failed ? 1 : 0;
}

export async function sign_in({ page, t }, email, password, query = '') {
    await page.goto(`${settings.url}/${query}`);
    await t('email').fill(email);
    await t('password').fill(password);
    await t('login').click();
    await t('link').waitFor();
}

/*
 * Reads the clock of every frame that the video element presents, for so many seconds: [{ n, at }] with the
 * frame's number and the time at which it was on the screen (ms since 1970).
 *
 * The clock is a row of equal black and white squares at the picture's upper left, most significant bit first:
 * layout { x, y, cell, bits } in parts of the picture's width.
 */
export function watch_clock(page, selector, seconds, layout) {
    return page.evaluate(([sel, s, l]) => new Promise((resolve) => {
        const video = document.querySelector(sel);
        const canvas = document.createElement('canvas');
        const g = canvas.getContext('2d', { willReadFrequently: true });
        const frames = [];
        const end = performance.now() + s * 1000;

        const read = (now, meta) => {
            const w = video.videoWidth;
            const cell = l.cell * w;
            canvas.width = Math.ceil(cell * l.bits);
            canvas.height = Math.ceil(cell);
            g.drawImage(video, l.x * w, l.y * w, cell * l.bits, cell, 0, 0, canvas.width, canvas.height);
            const p = g.getImageData(0, Math.floor(canvas.height / 2), canvas.width, 1).data;
            let n = 0;
            for (let i = 0; i < l.bits; i++) {
                const at = Math.floor((i + 0.5) * cell) * 4;
                n = n * 2 + (p[at] + p[at + 1] + p[at + 2] > 384 ? 1 : 0);
            }
            frames.push({ n, at: performance.timeOrigin + meta.expectedDisplayTime, lag: video.buffered.length
                ? video.buffered.end(video.buffered.length - 1) - video.currentTime : null, presented: meta.presentedFrames });

            if (performance.now() < end) {
                video.requestVideoFrameCallback(read);
            } else {
                resolve(frames);
            }
        };
        video.requestVideoFrameCallback(read);
        setTimeout(() => resolve(frames), s * 1000 + 5000);
    }), [selector, seconds, layout]);
}

export function percentile(list, p) {
    const a = [...list].sort((x, y) => x - y);
    return a.length === 0 ? NaN : a[Math.min(a.length - 1, Math.floor(a.length * p / 100))];
}
