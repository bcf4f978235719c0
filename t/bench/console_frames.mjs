/* How long frames take: the times between requestAnimationFrame, while nobody, a hand on the map, or on the list. */

import { ok, percentile, run, settings, sign_in, until, value } from '../browser/browser.mjs';

await run(async (b) => {
    const { page, t, context } = b;
    let reports = 0;
    page.on('websocket', (ws) => ws.on('framereceived', (f) => { reports += /"type":"telemetry"/.test(String(f.payload)) ? 1 : 0; }));

    await sign_in(b, settings.email, settings.password);
    ok(await until(async () => await t('device-list').locator('> [data-online="true"]').count() === settings.count, 60), 'all are online');
    const cdp = await context.newCDPSession(page);
    await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });      /* CPU, whatever else the machine does */
    const metrics = async () => Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map((m) => [m.name, m.value]));

    const measure = async (name, hand) => {
        const before = await metrics();
        const first = reports;
        const watching = page.evaluate((ms) => new Promise((resolve) => {
            const times = [];
            const end = performance.now() + ms;
            let last = 0;
            const step = (at) => {
                if (last) {
                    times.push(at - last);
                }
                last = at;
                if (at < end) {
                    requestAnimationFrame(step);
                } else {
                    resolve(times);
                }
            };
            requestAnimationFrame(step);
        }), settings.seconds * 1000);
        let moving = true;
        void watching.then(() => { moving = false; });
        for (let i = 0; moving; i++) {
            await hand(i);
            await new Promise((r) => setTimeout(r, 40));
        }
        const times = await watching;
        const after = await metrics();
        const share = (key) => (after[key] - before[key]) * 100 / settings.seconds;
        value(name, JSON.stringify({ frames: times.length, p50: percentile(times, 50), p95: percentile(times, 95), p99: percentile(times, 99), max: Math.max(...times),
            main: share('TaskDuration'), script: share('ScriptDuration'), layout: share('LayoutDuration') + share('RecalcStyleDuration'), reports: reports - first }));
    };

    await page.waitForTimeout(2000);
    await measure('still', async () => {});

    const map = await t('map').boundingBox();
    await page.mouse.move(map.x + map.width / 2, map.y + map.height / 2);
    await page.mouse.down();
    await measure('map', (i) => page.mouse.move(map.x + map.width / 2 + Math.sin(i / 8) * 200, map.y + map.height / 2 + Math.cos(i / 8) * 100));
    await page.mouse.up();

    const list = await t('device-list').boundingBox();
    await page.mouse.move(list.x + 50, list.y + 100);
    await measure('list', (i) => page.mouse.wheel(0, Math.floor(i / 30) % 2 ? -120 : 120));
});
