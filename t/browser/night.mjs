/* What an operator meets at night. */

import { act, note, ok, run, settings, sign_in, until } from './browser.mjs';

/* Controls on the page that a screen reader could not name. */
function nameless() {
    return [...document.querySelectorAll('button, a[href], input, select, textarea, video, [role=button], [role=tab]')]
        .filter((e) => e.checkVisibility() && !e.closest('.leaflet-container .leaflet-control'))
        .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.getAttribute('title')
            || [...(e.labels ?? [])].some((l) => l.textContent.trim()) || (e.tagName !== 'SELECT' && e.textContent.trim()))).map((e) => e.outerHTML.slice(0, 120));
}

await run(async (b) => {
    const { page, t, errors } = b;
    const text = async (id) => await t(id).count() === 1 && await t(id).isVisible() ? t(id).innerText() : '';
    const open = (hash) => page.evaluate((x) => { location.hash = x; }, hash);
    const first_alarm = () => t('alarms').locator('.alarm').first().getAttribute('data-kind').catch(() => '');

    /* the push socket passes through here, to be cut */
    let down = false;
    let tries = 0;
    const links = new Set();
    const subscribed = [];
    await page.routeWebSocket(/\/ws$/, (ws) => {
        if (/\/live\//.test(ws.url())) {
            ws.connectToServer();
            return;
        }
        if (down) {
            tries++;
            ws.close({ code: 4000 });
            return;
        }
        const server = ws.connectToServer();
        ws.onMessage((m) => {
            const said = JSON.parse(m);
            if (said.type === 'subscribe') {
                subscribed.push(said);
            }
            server.send(m);
        });
        links.add(ws);
    });
    const cut = () => {
        down = true;
        for (const ws of links) {
            ws.close({ code: 4000 });
        }
        links.clear();
    };

    await page.addInitScript(() => localStorage.setItem('mdvr.alarm-sound', '1'));
    await sign_in(b, settings.email, settings.password);
    ok(await until(async () => /^Live$/.test(await text('link'))), 'the page is live');

    /* the search is in the address */
    await t('search').fill('MDV');
    await t('filter-online').click();
    ok(await until(async () => await t('device-list').locator('> *').count() === 1), 'the list is filtered');
    ok(/q=MDV/.test(page.url()) && /show=online/.test(page.url()), 'and the address says how') || note(page.url());
    await page.reload();
    await t('device-00007').waitFor();
    ok(await t('search').inputValue() === 'MDV' && await t('filter-online').getAttribute('aria-pressed') === 'true'
        && await t('device-00008').count() === 0, 'a reload finds it again');
    await open('#/alarms');
    await t('select-severity').selectOption('critical');
    ok(await until(() => /alarms\?severity=critical/.test(page.url())), 'so does the alarm page') || note(page.url());
    await open('#/');
    await t('filter-all').click();
    await t('search').fill('');
    ok(await until(async () => /^Live$/.test(await text('link'))), 'the page is live again');

    /* a critical alarm: a bar on every page, a sound until somebody acts */
    await act('alarm', 'V202');
    ok(await until(async () => /Panic button\s+34 MDV 007/.test(await text('alarm-bar'))), 'a critical alarm has a bar') || note(await text('alarm-bar'));
    ok(await t('alarm-bar').getAttribute('data-sounding') === '', 'and sounds');
    await page.setViewportSize({ width: 390, height: 844 });
    ok(await until(() => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth
        && document.querySelector('[data-testid="user-menu"]').getBoundingClientRect().right <= innerWidth)), 'and fits a phone');
    await page.setViewportSize({ width: 1440, height: 860 });
    await t('map').click();
    await page.keyboard.press('q');
    ok(await until(async () => await t('alarm-bar').getAttribute('data-sounding') === null) && await t('alarm-bar').isVisible(), 'Q silences it, the bar stays');
    await t('bar-ack').click();
    ok(await until(() => t('alarm-bar').isHidden()), 'until it is acknowledged');

    /* the list of alarms holds still while somebody reads it */
    ok(await first_alarm() === 'panic_button', 'the alarm is in the list');
    await t('alarms').locator('.alarm').first().hover();
    await act('alarm', 'V205');
    ok(await until(async () => await text('alarms-new') === '1 new'), 'a new one waits') || note(await text('alarms'));
    ok(await first_alarm() === 'panic_button', 'and nothing has moved');
    await t('alarms-new').click();
    ok(await until(async () => await first_alarm() === 'camera_covered'), 'a click shows it');
    await page.mouse.move(700, 200);

    /* the connection is lost, and found */
    const before = subscribed.length;
    cut();
    ok(await until(async () => /connection was lost at \d\d:/.test(await text('banner'))), 'a lost connection is said, with the time');
    await act('alarm', 'V211');
    const tried = tries;
    await t('banner-retry').click();
    ok(await until(() => tries > tried), 'and tried again at once when one asks for it');
    down = false;
    ok(await until(async () => /Connected again.*after.*[1-9] alarms? came meanwhile/.test(await text('banner'))), 'then how long one was away, and what came meanwhile')
        || note(await text('banner'));
    ok(subscribed.length > before && subscribed[subscribed.length - 1].after, 'it went on where it was') || note(JSON.stringify(subscribed));
    ok(await until(async () => await first_alarm() === 'overspeed'), 'the missed alarm is in the list');
    await t('banner-close').click();
    ok(await until(() => t('banner').isHidden()), 'the line can be closed');

    /* the server's database is away */
    await page.route('**/api/v1/devices?*', (r) => r.fulfill({ status: 503, headers: { 'Retry-After': '1' }, contentType: 'application/problem+json',
        body: '{"status":503,"code":"unavailable"}' }));
    cut();
    await until(async () => /lost/.test(await text('banner')));
    down = false;
    ok(await until(async () => /busy or a part of it is away/.test(await text('banner')), 20), 'a server that does not answer is said') || note(await text('banner'));
    ok(await t('device-00007').isVisible(), 'and what was known stays');
    await page.unroute('**/api/v1/devices?*');
    await t('banner-retry').click({ timeout: 2000 }).catch(() => { /* it was tried by itself */ });
    ok(await until(async () => !/away/.test((await text('banner')).replace(/after.*/, ''))), 'until it does') || note(await text('banner'));

    /* cameras by keyboard, over one connection */
    const sockets = [];
    page.on('websocket', (ws) => sockets.push(ws.url()));
    await t('device-00007').click();
    await page.keyboard.press('1');
    await page.keyboard.press('2');
    const tile = (n) => page.locator(`[data-testid="tile"][data-channel="${n}"]`);
    ok(await until(async () => await tile(1).getAttribute('data-state') === 'live' && await tile(2).getAttribute('data-state') === 'live', 20), 'two cameras play')
        || note(await text('wall'));
    ok(sockets.length === 1 && /mux=1/.test(sockets[0]), 'over one connection') || note(sockets.join('\n'));
    await tile(1).focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowRight');
    const focused = () => page.evaluate(() => document.activeElement?.dataset.channel);
    ok(await focused() === '2', 'an arrow key goes to the next one') || note(await focused());
    await page.keyboard.press('Enter');
    await page.keyboard.press('ArrowLeft');
    ok(await until(async () => /large/.test(await tile(1).getAttribute('class'))), 'of large ones, too');
    await page.keyboard.press('w');
    ok(await until(() => page.evaluate(() => document.fullscreenElement?.className === 'wall')), 'W fills the screen');
    await page.keyboard.press('w');
    ok(await until(() => page.evaluate(() => !document.fullscreenElement)), 'and leaves it');
    await page.keyboard.press('Delete');
    ok(await until(async () => await tile(1).count() === 0 && await tile(2).getAttribute('data-state') === 'live'), 'closing the first leaves the second');

    /* names for everything that can be pressed */
    const id = await t('device-00007').getAttribute('data-id');
    const bad = await page.evaluate(nameless);
    await page.keyboard.press('x');
    for (const hash of ['#/alarms', `#/device/${id}/status`, `#/device/${id}/history`, `#/device/${id}/recordings`, `#/device/${id}/commands`, '#/admin/users', '#/admin/audit',
        '#/admin/usage', '#/admin/notifications', '#/admin/account']) {
        await open(hash);
        await until(async () => !/Loading/.test(await page.locator('main').innerText()), 3);
        bad.push(...(await page.evaluate(nameless)).map((x) => `${hash} ${x}`));
    }
    ok(bad.length === 0, 'every control has a name') || note(bad.join('\n'));
    ok(errors.every((e) => /50[23]|409|504|WebSocket/.test(e)), 'nothing else in the browser\'s console') || note(errors.join('\n'));

    /* the session ends, and the door is busy */
    await page.route('**/api/v1/auth/refresh', (r) => r.fulfill({ status: 401, contentType: 'application/problem+json', body: '{"status":401,"code":"unauthenticated"}' }));
    await page.route('**/api/v1/alarms*', (r) => r.fulfill({ status: 401, contentType: 'application/problem+json', body: '{"status":401,"code":"token_expired"}' }));
    await open('#/alarms?severity=any');
    ok(await until(async () => /session has ended/.test(await text('login-error'))), 'a session that has ended asks for the password, and says why');
    await page.route('**/api/v1/auth/login', (r) => r.fulfill({ status: 429, headers: { 'Retry-After': '600' }, contentType: 'application/problem+json', body: '{"status":429,"code":"rate_limited"}' }));
    await t('email').fill(settings.email);
    await t('password').fill(settings.password);
    await t('login').click();
    ok(await until(async () => /Too many attempts. Try again in 10 min/.test(await text('login-error')) && await t('login').isDisabled()), 'and too many tries when to come back')
        || note(await text('login-error'));
    await page.unroute('**/api/v1/auth/login');
    await page.unroute('**/api/v1/alarms*');
    await page.unroute('**/api/v1/auth/refresh');
    await page.reload();
    await t('email').fill(settings.email);
    await t('password').fill(settings.password);
    await t('login').click();
    ok(await until(async () => await t('alarm-table').count() === 1 && await t('select-severity').inputValue() === ''), 'after that one is where one was');
});
