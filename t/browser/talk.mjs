/* An operator talks to vehicles: by WebRTC, by the WebSocket, and where somebody or something is in the way. */

import { act, note, ok, run, settings, sign_in, until, value } from './browser.mjs';

const args = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream',
    `--use-file-for-fake-audio-capture=${settings.wav}`, '--autoplay-policy=no-user-gesture-required'];

await run(async (b) => {
    const { page, errors } = b;
    const t = (id) => b.t(id).first();          /* the vehicle's page has such a row, too */
    const bar = t('talk-bar');
    const state = () => bar.getAttribute('data-state');
    const said = () => t('talk-state').innerText();
    let first = true;

    async function open(query, serial) {
        if (first) {
            await sign_in(b, settings.email, settings.password, query);
        } else {
            await page.goto(`${settings.url}/${query}`);
            await t('link').waitFor();
        }
        first = false;
        await t(`device-${serial}`).click();
        await until(async () => await t(`device-${serial}`).getAttribute('data-online') === 'true', 15);
        await until(async () => await t('talk').isEnabled());
    }

    for (const [way, query, serial, mode] of [['WebRTC', '?talk=webrtc', '00001', 'open'], ['WebSocket', '?talk=ws', '00002', 'press']]) {
        await open(query, serial);
        await t('talk-open').setChecked(mode === 'open');

        const begin = Date.now();
        await t('talk').click();
        if (!ok(await until(async () => await state() === 'live', 15), `${way}: the line is open`)) {
            note(`${await state()}: ${await said()}`);
            note(errors.join('\n'));
            return;
        }
        value(`${way}_ms`, Date.now() - begin);
        ok(await bar.getAttribute('data-way') === way, `... by ${way}`);

        /* press: heard only while the button is held, and hearing otherwise */
        if (mode === 'press') {
            ok(/listening/.test(await said()), '... listening until the button is held');
        }
        ok(await until(async () => Math.abs(Number(await bar.getAttribute('data-heard-hz')) - 500) < 30, 10), '... the vehicle is heard')
            || note(`${await bar.getAttribute('data-heard')} ${await bar.getAttribute('data-heard-hz')}`);
        value(`${way}_hz`, Number(await bar.getAttribute('data-heard-hz')));
        value(`${way}_level`, Number(await bar.getAttribute('data-heard')));

        if (mode === 'press') {
            await t('talk-press').dispatchEvent('keydown', { key: ' ' });
            ok(await until(async () => /you are heard/.test(await said())), '... then the operator speaks');
            ok(await until(async () => Number(await bar.getAttribute('data-heard')) < 0.01, 5), '... and the vehicle is silent meanwhile');
            await page.waitForTimeout(2500);
            await t('talk-press').dispatchEvent('keyup', { key: ' ' });
            ok(await until(async () => Number(await bar.getAttribute('data-heard')) > 0.05, 5), '... and heard again afterwards');
        } else {
            await page.waitForTimeout(2500);
        }
        await t('talk-stop').click();
        ok(await until(async () => await state() === 'idle'), '... hung up');
    }
    ok(errors.length === 0, 'no error in the console') || note(errors.join('\n'));
    errors.length = 0;

    /* somebody else talks */
    await act('other', '00002');
    await t('talk').click();
    ok(await until(async () => /has the device's voice channel since/.test(await said())), 'a second talker is told who is in the way') || note(await said());
    await t('talk-force').click();
    ok(await until(async () => await state() === 'live', 15), '... and can take over') || note(await said());
    await act('gone', '00002');
    ok(await until(async () => await state() !== 'live', 20), 'the vehicle vanishes: the line is no longer open');
    ok(await until(async () => await state() === 'ended', 30), '... and ends') || note(await state());
    ok(/closed|lost|offline|ended/i.test(await said()), '... in words') || note(await said());

    /* from a camera's tile, and on the vehicle's page */
    await t('device-00001').click();
    await t('camera-1').click();
    await t('tile').hover();
    await t('tile-talk').click();
    ok(await until(async () => await state() === 'live', 15), 'a tile calls its vehicle') || note(await said());
    await t('talk-stop').click();
    await t('camera-1').click();
    await page.evaluate((id) => {
        location.hash = `#/device/${id}`;
    }, settings.ids['00001']);
    ok(await until(() => page.locator('.device-page [data-testid="talk"]').isVisible()), '... and so does its page');
    await page.evaluate(() => {
        location.hash = '#/';
    });

    /* the driver refuses */
    await t('device-00003').click();
    await t('talk').click();
    ok(await until(async () => /refused.*not now/.test(await said())), 'a refusal in the driver\'s words') || note(await said());

    /* the driver calls: refused, then taken */
    await t('device-00001').click();
    await act('call', '00001');
    ok(await until(async () => await bar.getAttribute('data-calling') === 'true'), 'the driver asks for a call');
    await t('talk-refuse').click();
    ok(await until(async () => await bar.getAttribute('data-calling') === null), '... and is refused');
    await act('call', '00001');
    await until(async () => await bar.getAttribute('data-calling') === 'true');
    await t('talk').click();
    ok(await until(async () => await state() === 'live', 15), '... asks again and is answered') || note(await said());
    await act('call', '00001', 'off');
    ok(await until(async () => await state() === 'ended' && /hung up/i.test(await said())), '... and hangs up') || note(`${await state()} ${await said()}`);

    /* no permission, no microphone */
    await page.evaluate(() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('x', 'NotAllowedError'));
    });
    await t('device-00001').click();
    await t('talk').click();
    ok(await until(async () => /not permitted/.test(await said())), 'a microphone that is not permitted');
    await page.evaluate(() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('x', 'NotFoundError'));
    });
    await t('talk').click();
    ok(await until(async () => /no microphone/.test(await said())), 'none at this computer');
}, { args, context: { permissions: ['microphone'] } });
