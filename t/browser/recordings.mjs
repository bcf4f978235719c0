/* The calendar of recordings and playback; the record button and the sound of a camera that is watched. */

import { note, ok, run, settings, sign_in, until } from './browser.mjs';

await run(async (b) => {
    const { page, t, errors } = b;
    const text = async (id) => await t(id).count() === 1 ? t(id).innerText() : '';
    const posts = [];
    page.on('request', (r) => {
        if (r.method() === 'POST') {
            posts.push({ path: new URL(r.url()).pathname, body: r.postDataJSON?.() });
        }
    });
    const sockets = [];
    page.on('websocket', (ws) => sockets.push(ws.url()));
    const sent = (end) => posts.filter((p) => p.path.endsWith(end));

    await sign_in(b, settings.email, settings.password);
    await until(async () => await t('device-DEMO1').getAttribute('data-online') === 'true');
    await t('device-DEMO1').click();

    /* a camera is recorded while it is watched */
    await t('camera-1').click();
    ok(await until(async () => await t('tile').getAttribute('data-state') === 'live', 20), 'a camera plays') || note(await text('tile'));
    await t('tile').focus();
    await page.keyboard.press('r');
    ok(await until(async () => /REC \d+ s/.test(await text('tile-recording'))), 'R records it, and the tile says so') || note(await text('tile'));
    const record = sent('/video/record')[0];
    ok(record && record.body.channel === 1 && record.body.duration_s === 60 && record.body.preroll_s === 10, 'a minute, with ten seconds of before')
        || note(JSON.stringify(posts));
    await page.keyboard.press('r');
    ok(await until(async () => /recorded until/.test(await t('toast').last().innerText().catch(() => ''))) && sent('/video/record').length === 1,
        'a second press starts nothing twice');

    /* its sound comes when it is asked for */
    const heard = () => t('video').evaluate((v) => (v.muted ? 0 : v.webkitAudioDecodedByteCount ?? 0));
    ok(await t('tile-sound').isVisible(), 'the tile has a button for sound');
    ok(!sockets.some((url) => /audio=1/.test(url)), 'none is fetched before');
    await t('tile').focus();
    await page.keyboard.press('m');
    ok(await until(async () => await heard() > 0, 20), 'M lets one hear the camera') || note(`${await text('tile')} ${sockets}`);
    ok(/audio=1/.test(sockets.at(-1)) && await t('tile-sound').getAttribute('aria-pressed') === 'true', 'by a socket with sound, and the button shows it')
        || note(sockets.at(-1));
    ok(await until(async () => await t('tile').getAttribute('data-state') === 'live' && await t('video').evaluate((v) => v.currentTime > 0 && !v.paused)),
        'the picture goes on');
    const n_sockets = sockets.length;
    await page.keyboard.press('m');
    ok(await t('video').evaluate((v) => v.muted), 'a second press mutes it');
    await page.keyboard.press('m');
    ok(await until(async () => await heard() > 0) && sockets.length === n_sockets, 'a third one needs no new socket') || note(sockets.join(' '));
    await page.keyboard.press('Delete');

    /* the week on the recorder */
    await t('details').click();
    await t('tab-recordings').click();
    ok(await until(async () => await t('calendar-day').count() >= 7, 20), 'the calendar shows the days of a week')
        || note(await text('calendar-note'));
    ok(await until(async () => /UTC[+−]\d\d:\d\d/.test(await text('calendar-note'))), 'and whose clock they go by') || note(await text('calendar-note'));

    await t('calendar-earlier').click();
    ok(await until(async () => !await t('calendar-later').isDisabled()), 'a week earlier');
    await t('calendar-later').click();
    ok(await until(async () => await t('calendar-later').isDisabled() && await t('calendar-day').count() >= 7, 20), 'and back to this one');

    /* a click on a lane plays from there */
    const day = t('calendar-day').nth(1);
    const lane = day.locator('[data-testid="calendar-lane"][data-channel="2"]');
    const box = await lane.locator('.cal-bar').boundingBox();
    await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    ok(await until(async () => await t('playback').getAttribute('data-state') === 'live', 30), 'a click in the calendar plays')
        || note(`${await text('playback')} ${JSON.stringify(posts.slice(-2))}`);
    const start = sent('/playback/start')[0];
    ok(start && start.body.channel === 2 && /ch02/.test(start.body.path), 'that camera') || note(JSON.stringify(start));
    ok((await text('playback-at')).startsWith(await day.getAttribute('data-date')), 'that day') || note(await text('playback-at'));

    /* pause, seek, speed, by the keyboard and by the controls */
    await t('playback').focus();
    await page.keyboard.press(' ');
    ok(await until(() => sent('/playback/control').some((p) => p.body.action === 'pause')), 'space pauses')
        && ok(await t('playback-pause').getAttribute('aria-pressed') === 'true', 'and the button shows it');
    await page.keyboard.press(' ');
    ok(await until(() => sent('/playback/control').some((p) => p.body.action === 'resume')), 'and goes on');
    await page.keyboard.press('ArrowRight');
    ok(await until(() => sent('/playback/control').some((p) => p.body.action === 'seek')), 'an arrow key seeks');
    await t('select-speed').selectOption('4');
    ok(await until(() => sent('/playback/control').some((p) => p.body.action === 'speed' && p.body.speed === 4)), 'the speed is changed');
    await t('playback').focus();
    await page.keyboard.press('Escape');
    ok(await until(async () => await t('playback').isHidden()), 'Esc closes it');

    await t('tab-stored').click();
    ok(await until(async () => await t('stored').count() === 1 && !/Loading/.test(await text('stored'))), 'what is stored has a page of its own');
    ok(errors.length === 0, 'no error in the browser\'s console') || note(errors.join('\n'));
});
