/* The console as an operator uses it: signs in, sees the vehicle move, watches its camera by both ways. */

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { note, ok, run, settings, sign_in, until, value, watch_clock } from './browser.mjs';

const { serial, email, password, clock, shot, seconds = 4, frames = 500 } = settings;

/* Frames per second by the clock in the picture, and whether it ever ran backwards. */
function judge(seen) {
    let advanced = 0;
    let backwards = 0;

    for (let i = 1; i < seen.length; i++) {
        const step = (seen[i].n - seen[i - 1].n + frames) % frames;
        if (step > frames / 2) {
            backwards++;
        } else {
            advanced += step;
        }
    }
    const s = seen.length > 1 ? (seen[seen.length - 1].at - seen[0].at) / 1000 : 0;
    return { fps: s > 0 ? advanced / s : 0, backwards, seconds: s };
}

async function watch(b, name) {
    const { page, t } = b;
    const live = await until(async () => await t('tile').getAttribute('data-state') === 'live', 20);

    if (!ok(live, `${name}: the camera plays`)) {
        note(await t('tile').innerText());
        return;
    }
    value(`${name}_first_frame_ms`, Number(await t('tile').getAttribute('data-first-frame-ms')));

    await page.waitForTimeout(1500);        /* the player settles at the live edge */
    const seen = await watch_clock(page, '[data-testid="video"]', seconds, clock);
    const j = judge(seen);

    ok(seen.length > seconds * 8, `${name}: frames are presented`);
    ok(j.fps > 22 && j.fps < 28, `${name}: the clock in the picture advances at about 25 frames a second`)
        || note(`${j.fps.toFixed(2)} frames/s over ${j.seconds.toFixed(2)} s: ${seen.slice(0, 40).map((f) => f.n).join(' ')}`);
    ok(j.backwards === 0, `${name}: and never runs backwards`);
    value(`${name}_seen`, JSON.stringify(seen.map(({ n, at }) => ({ n, at }))));
}

await run(async (b) => {
    const { page, t, errors } = b;

    /* signing in */
    await page.goto(settings.url);
    await t('email').fill(email);
    await t('password').fill('not the password');
    await t('login').click();
    ok(await until(async () => /wrong/.test(await t('login-error').innerText())), 'a wrong password is refused in words');
    errors.length = 0;                      /* the 401 is in the browser's console by design */

    await t('password').fill(password);
    await t('login').click();
    await t(`device-${serial}`).waitFor();
    ok(true, 'signed in');

    /* the list and the map */
    ok(await until(async () => await t(`device-${serial}`).getAttribute('data-online') === 'true'), 'the vehicle is online');
    ok(await until(async () => /^Live$/.test(await t('link').innerText())), 'the push socket is live');

    const where = async () => `${await t(`marker-${serial}`).getAttribute('data-lat')} ${await t(`marker-${serial}`).getAttribute('data-lon')}`;
    await t(`marker-${serial}`).waitFor();
    const before = await where();
    ok(await until(async () => await where() !== before, 8), 'the marker moves');
    ok(await until(async () => Number(await t(`device-${serial}`).locator('.c-speed').innerText()) > 0), 'the list shows its speed');

    /* the camera over the socket */
    await t(`device-${serial}`).click();
    await t('panel').waitFor();
    await t('camera-1').click();
    await watch(b, 'ws');
    ok(await t('tile').getAttribute('data-transport') === 'WS', 'it came over the WebSocket');

    if (shot) {
        await page.keyboard.press('f');
        await page.waitForTimeout(6000);
        mkdirSync(dirname(shot), { recursive: true });
        await page.screenshot({ path: shot });
    }

    /* main and sub */
    await t('tile').hover();
    await t('tile-stream').click();
    ok(await until(async () => await t('tile').getAttribute('data-state') === 'live'
        && await page.evaluate(() => document.querySelector('[data-testid="video"]').videoWidth) === 1280, 15), 'the main stream is larger');
    await t('tile-stream').click();
    ok(await until(async () => await t('tile').getAttribute('data-state') === 'live'
        && await page.evaluate(() => document.querySelector('[data-testid="video"]').videoWidth) === 640, 15), 'and back to the sub stream');

    /* a reload continues where it was */
    await page.reload();
    await t(`device-${serial}`).waitFor();
    ok(await until(async () => await t('tile').count() === 1 && await t('tile').getAttribute('data-state') === 'live', 20),
        'after a reload the session and the camera are back');
    await t('tile').hover();
    await t('tile-close').click();
    ok(await until(async () => await t('tile').count() === 0), 'a closed camera is gone');

    /* the same over HLS */
    await page.goto(`${settings.url}/?player=hls`);
    await t(`device-${serial}`).click();
    await t('camera-1').click();
    await watch(b, 'hls');
    ok(await t('tile').getAttribute('data-transport') === 'HLS', 'it came over HLS');
    await t('tile').hover();
    await t('tile-close').click();

    ok(errors.length === 0, 'no error in the browser\'s console') || note(errors.join('\n'));

    /* signing out */
    await t('user-menu').locator('summary').click();
    await t('sign-out').click();
    await t('email').waitFor();
    ok(true, 'signed out');
    await page.reload();
    await t('email').waitFor();
    ok(await t('device-list').count() === 0, 'and a reload does not bring the session back');

    await sign_in(b, email, password);
    ok(await until(async () => await t(`device-${serial}`).count() === 1), 'and in again');
});
