/* A wall of sixteen: every camera shows a picture, all of them come by one connection, and a seventeenth is refused. */

import { note, ok, run, settings, sign_in, until } from './browser.mjs';

await run(async (b) => {
    const { page, t, errors } = b;
    const sockets = [];
    page.on('websocket', (ws) => {
        if (/\/live\//.test(ws.url())) {
            sockets.push(ws.url());
        }
    });
    const tiles = () => page.$$eval('[data-testid="tile"]', (l) => l.map((e) => ({ first: e.dataset.firstFrameMs, state: e.dataset.state, way: e.dataset.transport })));

    await sign_in(b, settings.email, settings.password);
    for (let i = 1; i <= 4; i++) {
        await until(async () => await t(`device-SIM0000${i}`).getAttribute('data-online') === 'true', 20);
        await t(`device-SIM0000${i}`).click();
        for (const channel of [1, 2, 3, 4]) {
            await t(`camera-${channel}`).click();
        }
    }
    ok(await until(async () => (await tiles()).filter((x) => x.first && x.way === 'WS').length === 16, 60), 'sixteen cameras have shown a picture')
        || note(JSON.stringify(await tiles()));
    ok(sockets.length === 1 && /mux=1/.test(sockets[0]), 'over one connection') || note(sockets.join('\n'));
    const grid = await page.locator('.wall-grid').evaluate((e) => ({ w: e.scrollWidth - e.clientWidth, h: e.scrollHeight - e.clientHeight,
        least: Math.min(...[...e.children].map((x) => x.clientWidth)) }));
    ok(grid.w <= 0 && grid.h <= 0 && grid.least > 100, 'none is cut off') || note(JSON.stringify(grid));

    await t('device-SIM00005').click();
    await t('camera-1').click();
    ok(await until(async () => /16 cameras are open/.test(await t('toast').last().innerText().catch(() => ''))), 'a seventeenth is refused in words');

    await t('wall-close').click();
    ok(await until(async () => (await tiles()).length === 0), 'all are closed at once');
    ok(errors.length === 0, 'no error in the browser\'s console') || note(errors.join('\n'));
});
