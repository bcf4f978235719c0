/* How late the picture is, by each way of playing: one camera, watched for a while. */

import { note, ok, run, settings, sign_in, until, value, watch_clock } from './browser.mjs';

await run(async (b) => {
    const { page, t } = b;

    /* only by candidates that match: [protocol, address] */
    if (settings.candidate) {
        await page.route('**/whep', async (route) => {
            const response = await route.fetch();
            const body = (await response.text()).split('\r\n').filter((line) => {
                const [, , protocol, , address] = line.split(' ');
                return !line.startsWith('a=candidate:') || (protocol === settings.candidate[0] && address === settings.candidate[1]);
            }).join('\r\n');
            await route.fulfill({ response, body });
        });
    }

    for (const way of settings.ways) {
        const first = [];

        await page.goto('about:blank');
        if (way === settings.ways[0]) {
            await sign_in(b, settings.email, settings.password, `?player=${way}`);
        } else {
            await page.goto(`${settings.url}/?player=${way}`);
        }
        await t(`device-${settings.serial}`).click();

        /* the first time the device must be told; then its stream is shared or started again */
        for (let i = 0; i < settings.starts; i++) {
            await t('camera-1').click();
            if (!await until(async () => await t('tile').getAttribute('data-state') === 'live', 25)) {
                ok(false, `${way}: the camera plays`);
                note(await t('tile').innerText());
                return;
            }
            first.push(Number(await t('tile').getAttribute('data-first-frame-ms')));
            if (i < settings.starts - 1) {
                await t('camera-1').click();
                await until(async () => await t('tile').count() === 0);
            }
        }
        value(`${way}_first`, JSON.stringify(first));

        await page.waitForTimeout(3000);
        const seen = await watch_clock(page, '[data-testid="video"]', settings.seconds, settings.clock);
        value(`${way}_seen`, JSON.stringify(seen.map(({ n, at }) => ({ n, at }))));
        value(`${way}_lag`, JSON.stringify(seen.map((f) => f.lag)));
        await t('camera-1').click();
        await until(async () => await t('tile').count() === 0);
    }
}, { args: settings.candidate ? ['--allow-loopback-in-peer-connection'] : [] });
