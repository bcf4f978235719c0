/* A night in the control room: a vehicle that is away and returns, an alarm, a camera nobody can decode, a server that restarts. */

import { act, note, ok, run, settings, until } from './browser.mjs';

const { email, password } = settings;

await run(async (b) => {
    const { page, t, errors } = b;
    const tile = (serial) => page.locator(`[data-testid="tile"][data-serial="${serial}"]`);

    /* a super admin works inside one tenant */
    await page.goto(settings.url);
    await t('email').fill(email);
    await t('password').fill(password);
    await t('login').click();
    await t('tenant').waitFor();
    await t('tenant').selectOption({ label: settings.other_tenant });
    ok(await until(async () => await t('device-00077').count() === 1 && await t('device-00007').count() === 0), 'the other tenant has its own vehicles');
    await t('tenant').selectOption({ label: settings.tenant });
    ok(await until(async () => await t('device-00007').count() === 1 && await t('device-00077').count() === 0), 'and the first one its own');

    /* adding a vehicle */
    await t('add-device').click();
    await t('device-serial').fill('00007');
    await t('dialog-ok').click();
    ok(await until(async () => /already/.test(await t('dialog-error').innerText())), 'a serial that exists is refused in words');
    await t('device-serial').fill('00042');
    await t('device-plate').fill('06 NEW 42');
    await t('dialog-ok').click();
    ok(await until(async () => await t('device-00042').count() === 1), 'a new vehicle is in the list');
    errors.length = 0;

    /* search and keyboard */
    await page.keyboard.press('/');
    await page.keyboard.type('new 06');
    ok(await until(async () => await t('device-list').locator('> *').count() === 1), 'the search finds its plate');
    await t('search').fill('');

    /* a vehicle comes online, and shows its position without a reload */
    ok(await t('device-00007').getAttribute('data-online') === 'false', 'the vehicle is offline');
    await t('device-00007').click();
    ok(await t('camera-1').isDisabled(), 'an offline vehicle\'s cameras cannot be asked');
    await act('vehicle', '00007');
    ok(await until(async () => await t('device-00007').getAttribute('data-online') === 'true', 15), 'it comes online by itself');
    ok(await until(async () => await t('marker-00007').count() === 1, 15), 'and appears on the map');

    /* its camera; it goes away and returns */
    await t('camera-1').click();
    ok(await until(async () => await tile('00007').getAttribute('data-state') === 'live', 20), 'its camera plays');
    await act('leave', '00007');
    ok(await until(async () => await t('device-00007').getAttribute('data-online') === 'false', 15), 'it goes offline');
    ok(await until(async () => ['ended', 'waiting', 'stalled'].includes(await tile('00007').getAttribute('data-state')), 30), 'its camera says so')
        || note(await tile('00007').innerText());
    await act('vehicle', '00007');
    ok(await until(async () => await tile('00007').getAttribute('data-state') === 'live', 60), 'it returns, and its camera plays again by itself')
        || note(await tile('00007').innerText());
    errors.length = 0;

    /* H.265 in a browser that cannot decode it */
    await act('vehicle', '00265', 'h265');
    ok(await until(async () => await t('device-00265').getAttribute('data-online') === 'true', 15), 'a vehicle with H.265 is online');
    await t('device-00265').click();
    await t('camera-1').click();
    const can = await page.evaluate(() => MediaSource.isTypeSupported('video/mp4; codecs="hvc1.1.6.L93.B0"'));
    ok(await until(async () => can ? await tile('00265').getAttribute('data-state') === 'live'
        : /H\.265/.test(await tile('00265').innerText()), 20), can ? 'this browser plays it' : 'the tile explains why there is no picture')
        || note(await tile('00265').innerText());

    /* an alarm */
    await act('alarm', '00265');
    const row = page.locator('[data-testid="alarm"]').first();
    ok(await until(async () => await row.count() === 1 && /00265|265/.test(await row.innerText()), 15), 'an alarm appears at once');
    await row.locator('[data-testid="alarm-ack"]').click();
    ok(await until(async () => await row.getAttribute('data-status') === 'acknowledged'), 'and is acknowledged with one click');
    errors.length = 0;

    /* the server restarts: the page says so and resumes */
    await act('restart');
    ok(await until(async () => await t('link').getAttribute('data-state') !== 'good' || /Live/.test(await t('link').innerText()), 15), 'the page notices');
    ok(await until(async () => /^Live$/.test(await t('link').innerText()), 40), 'the push socket is back');
    ok(await until(async () => await t('device-00007').getAttribute('data-online') === 'true', 60), 'and so is the vehicle');
    ok(errors.every((e) => /WebSocket|Failed to load|ERR_/.test(e)), 'no exception in the page') || note(errors.join('\n'));
});
