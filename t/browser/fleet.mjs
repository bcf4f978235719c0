/* A fleet and a full wall of nine cameras: everything arrives, nothing stalls, nothing grows. */

import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { note, ok, run, settings, sign_in, until, value, watch_clock } from './browser.mjs';

const { count, seconds, shot, clock } = settings;

/* Anonymous memory of the browser's processes, in bytes: all that descend from this one. */
function memory() {
    const parent = new Map();
    const anon = new Map();
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)) {
        try {
            const status = readFileSync(`/proc/${pid}/status`, 'utf8');
            parent.set(pid, Number(/^PPid:\s+(\d+)/m.exec(status)[1]));
            anon.set(pid, Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024);
        } catch { /* it has gone */ }
    }
    const ours = (pid) => pid === process.pid || (pid > 1 && parent.has(pid) && ours(parent.get(pid)));
    return [...anon].filter(([pid]) => pid !== process.pid && ours(pid)).reduce((sum, [, bytes]) => sum + bytes, 0);
}

await run(async (b) => {
    const { page, t, errors, context } = b;
    const tiles = () => page.$$eval('[data-testid="tile"]', (list) => list.map((e) => ({ state: e.dataset.state,
        lag: Number(e.dataset.lagMs), name: e.getAttribute('aria-label'), stats: e.querySelector('.tile-stats').textContent })));

    const walls = [];
    page.on('websocket', (ws) => walls.push(ws.url()));
    await sign_in(b, settings.email, settings.password);
    ok(await until(async () => await t('device-list').locator('> *').count() === count, 15), 'the whole fleet is listed');
    ok(await until(async () => await t('device-list').locator('> [data-online="true"]').count() === count, 20), 'and online')
        || note(await t('online-count').innerText());

    for (const serial of ['DEMO1', 'DEMO2', 'DEMO3']) {
        await t(`device-${serial}`).click();
        for (const channel of [1, 2, 3]) {
            await t(`camera-${channel}`).click();
        }
    }
    ok(await until(async () => (await tiles()).filter((x) => x.state === 'live').length === 9, 30), 'nine cameras play')
        || note(JSON.stringify(await tiles()));

    ok(walls.filter((url) => /\/live\/.*mux=1/.test(url)).length === 1 && walls.filter((url) => /\/live\//.test(url)).length === 1,
        'over one connection') || note(walls.join('\n'));

    const metrics = async () => {
        await cdp.send('HeapProfiler.collectGarbage');
        return Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map((m) => [m.name, m.value]));
    };
    const cdp = await context.newCDPSession(page);
    await cdp.send('Performance.enable');
    await page.waitForTimeout(5000);

    const before = await metrics();
    const rss = [memory()];
    const states = [];
    const lags = [];
    const watching = watch_clock(page, '[data-testid="video"]', seconds, clock);

    for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
        for (const x of await tiles()) {
            states.push(x.state);
            lags.push(x.lag);
        }
        await page.waitForTimeout(500);
    }

    const seen = await watching;
    const after = await metrics();
    rss.push(memory());
    const bad = states.filter((s) => s !== 'live').length;

    ok(bad === 0, 'none of them stalls') || note(`${bad} of ${states.length} looks: ${JSON.stringify(await tiles())}`);
    ok(after.JSHeapUsedSize < before.JSHeapUsedSize * 1.3 + 2e6, 'the page\'s memory does not grow')
        || note(`${before.JSHeapUsedSize} -> ${after.JSHeapUsedSize}`);
    ok(rss[1] < rss[0] * 1.25 + 50e6, 'nor do the browser\'s processes') || note(`${rss[0]} -> ${rss[1]}`);
    ok(await page.evaluate(() => [...document.querySelectorAll('video')].every((v) => v.buffered.length === 0
        || v.buffered.end(v.buffered.length - 1) - v.buffered.start(0) < 40)), 'nor do the buffers of the players');

    value('seen', JSON.stringify(seen.map(({ n, at }) => ({ n, at }))));
    value('lag_ms', JSON.stringify(lags.sort((x, y) => x - y)));
    value('heap', JSON.stringify([before.JSHeapUsedSize, after.JSHeapUsedSize]));
    value('rss', JSON.stringify(rss));
    value('main_thread_percent', ((after.TaskDuration - before.TaskDuration) * 100 / (after.Timestamp - before.Timestamp)).toFixed(1));
    value('script_percent', ((after.ScriptDuration - before.ScriptDuration) * 100 / (after.Timestamp - before.Timestamp)).toFixed(1));

    if (!shot) {
        /* the wall full: sixteen, still over that connection, and a seventeenth is refused */
        for (const [serial, channels] of [['DEMO1', [4]], ['DEMO2', [4]], ['DEMO3', [4]], ['SIM00001', [1, 2, 3, 4]]]) {
            await t('search').fill(serial);
            await t(`device-${serial}`).click();
            for (const channel of channels) {
                await t(`camera-${channel}`).click();
            }
        }
        ok(await until(() => page.$$eval('[data-testid="tile"]', (l) => l.filter((e) => e.dataset.firstFrameMs).length === 16), 60), 'sixteen cameras have shown a picture')
            || note(JSON.stringify(await tiles()));
        ok(walls.filter((url) => /\/live\//.test(url)).length === 1, 'over the same connection') || note(walls.join('\n'));
        const grid = await page.locator('.wall-grid').evaluate((e) => ({ w: e.scrollWidth - e.clientWidth, h: e.scrollHeight - e.clientHeight }));
        ok(grid.w <= 0 && grid.h <= 0, 'none is cut off') || note(JSON.stringify(grid));
        await t('search').fill('SIM00002');
        await t('device-SIM00002').click();
        await t('camera-1').click();
        ok(await until(async () => /16 cameras are open/.test(await t('toast').last().innerText().catch(() => ''))), 'a seventeenth is refused in words');
        await t('wall-close').click();
        ok(await until(async () => (await tiles()).length === 0), 'all are closed at once');
    }

    if (shot) {
        /* for the README: four cameras, the followed vehicle on its way, an alarm or two */
        for (const name of ['DEMO1', 'DEMO2', 'DEMO3']) {
            await t(`device-${name}`).click();
            for (const channel of name === 'DEMO1' ? [3] : [2, 3]) {
                await t(`camera-${channel}`).click();
            }
        }
        await t('fit').click();
        await t('device-DEMO1').click();
        await page.waitForTimeout(300);
        await until(async () => await t('alarm').count() >= 5, 30);
        await page.setViewportSize({ width: 1600, height: 900 });
        await page.mouse.move(700, 300);
        await page.waitForTimeout(1500);
        mkdirSync(dirname(shot), { recursive: true });
        await page.screenshot({ path: shot });
    }

    ok(errors.length === 0, 'no error in the browser\'s console') || note(errors.join('\n'));
});
