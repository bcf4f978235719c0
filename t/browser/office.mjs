/* The administration: what an administrator and the platform's own people do, and what they find again afterwards. */

import { note, ok, run, settings, until } from './browser.mjs';

await run(async (b) => {
    const { page, t, errors } = b;
    const text = async (id) => await t(id).count() === 1 ? t(id).innerText() : '';
    const open = (hash) => page.evaluate((x) => { location.hash = x; }, hash);

    await page.goto(settings.url);
    await t('email').fill(settings.email);
    await t('password').fill(settings.password);
    await t('login').click();
    await t('tenant').waitFor();
    await t('tenant').selectOption({ label: settings.tenant });
    await t('device-00007').waitFor();

    /* a vehicle that never called, and one that is not there */
    await t('device-00007').click();
    ok(await until(async () => /never connected/.test(await text('panel'))), 'a vehicle that never called is said to have never connected');
    await open('#/device/01a204e4-1fd9-78d1-8be5-b26b414d5aff/history');
    ok(await until(async () => /does not exist/.test(await text('device-unknown'))), 'an unknown vehicle is said to be unknown, on any tab')
        || note(await page.locator('body').innerText());
    errors.length = 0;

    /* a polygon: clicked on the map, typed, kept, changed */
    await open('#/admin/fences');
    await t('fence-add').click();
    await t('admin-fence-name').fill('Harbour');
    await t('select-fence-shape').selectOption('polygon');
    await t('dialog-ok').click();
    ok(await until(async () => /three corners/.test(await text('dialog-error'))), 'a polygon without corners is refused in words');
    const map = await t('fence-map').boundingBox();
    for (const [x, y] of [[0.3, 0.3], [0.7, 0.3], [0.7, 0.7]]) {
        await page.mouse.click(map.x + map.width * x, map.y + map.height * y);
    }
    ok(await until(async () => await t('fence-corner').count() === 3), 'clicks on the map set corners');
    const drawn = (await t('admin-fence-corners').inputValue()).trim().split('\n');
    ok(drawn.length === 3, 'which are lines of text, too') || note(drawn.join('\n'));
    await t('admin-fence-corners').fill([...drawn, '0.5, 0.5'].join('\n'));
    ok(await until(async () => await t('fence-corner').count() === 4), 'and a typed one is on the map');
    await t('dialog-ok').click();
    ok(await until(async () => /Harbour\s+polygon of 4 corners/.test(await text('fences'))), 'the polygon is kept') || note(await text('fences'));
    await t('fences').getByText('Harbour').click();
    ok(await until(async () => await t('fence-corner').count() === 4), 'and shown again when it is opened');
    await t('admin-fence-name').fill('Old harbour');
    await t('dialog-ok').click();
    ok(await until(async () => /Old harbour/.test(await text('fences'))), 'and changed');

    /* a webhook is changed */
    await open('#/admin/webhooks');
    await t('webhook-add').click();
    await t('user-webhook-url').fill('https://hooks.example.com/one');
    await t('dialog-ok').click();
    await t('key-value').waitFor();
    await t('dialog-ok').click();
    await t('webhook-change').click();
    ok(await until(async () => await t('user-webhook-url').inputValue() === 'https://hooks.example.com/one'), 'a webhook is opened');
    await t('user-webhook-url').fill('https://hooks.example.com/two');
    await t('webhook-dialog').getByLabel('Recordings').check();
    await t('select-webhook-active').selectOption('false');
    await t('dialog-ok').click();
    ok(await until(async () => /two\s+Alarms, Online, offline, Recordings\s+off/.test(await text('webhooks'))), 'and changed: address, events, off')
        || note(await text('webhooks'));

    /* what one wants to be told */
    await open('#/admin/notifications');
    await t('select-min-severity').selectOption('critical');
    await t('quiet-from').fill('22:00');
    await t('notifications-save').click();
    ok(await until(async () => /both ends/.test(await t('toast').last().innerText().catch(() => ''))), 'half a quiet time is refused in words');
    await t('quiet-to').fill('06:00');
    await t('quiet-zone').fill('Europe/Zurich');
    await t('notifications').getByLabel('Vibration').check();
    await t('notifications-save').click();
    ok(await until(async () => /Saved/.test(await text('notifications-note'))), 'notifications are saved') || note(await text('notifications'));
    await open('#/admin/users');
    await open('#/admin/notifications');
    ok(await until(async () => await t('quiet-to').inputValue() === '06:00' && await t('select-min-severity').inputValue() === 'critical'
        && await t('notifications').getByLabel('Vibration').isChecked()), 'and read again');

    /* the second factor */
    await open('#/admin/account');
    await t('totp').click();
    ok(await until(async () => /^[A-Z2-7 ]{20,}$/.test(await t('totp-secret').inputValue())), 'the key for the authenticator is shown');
    await t('totp-code').fill('000000');
    await t('dialog-ok').click();
    ok(await until(async () => await text('dialog-error') !== ''), 'a wrong code is refused') || note(await text('totp-dialog'));
    await page.keyboard.press('Escape');
    errors.length = 0;

    /* the audit trail is searched, and the search is in the address */
    await open('#/admin/audit');
    ok(await until(async () => /webhook\.create/.test(await text('audit'))), 'the trail shows everything');
    await t('select-audit-area').selectOption('geofence');
    ok(await until(async () => !/webhook\.create/.test(await text('audit')) && /geofence\.create/.test(await text('audit'))), 'then only geofences')
        || note(await text('audit'));
    ok(/what=geofence/.test(page.url()), 'as the address says') || note(page.url());
    await page.reload();
    ok(await until(async () => /geofence\.update/.test(await text('audit')) && !/webhook\.create/.test(await text('audit'))), 'and a reload asks for it again')
        || note(await text('audit'));

    /* a new tenant, its plan, and acting for it */
    await open('#/admin/tenants');
    await t('tenant-add').click();
    await t('user-tenant-name').fill('North');
    await t('dialog-ok').click();
    ok(await until(async () => /North/.test(await text('tenants')) && /North/.test(await t('tenant').innerText())), 'a new tenant is in the list and in the top bar');
    await t('plan-North').click();
    await t('max_devices').fill('1');
    await t('max_storage_bytes').fill('2');
    await t('dialog-ok').click();
    ok(await until(async () => await t('plan-dialog').count() === 0), 'a plan is set') || note(await text('dialog-error'));
    await t('act-for-North').click();
    ok(await until(async () => /No vehicles yet/.test(await text('list-note')) && await t('device-00007').count() === 0), 'one acts for the new tenant');
    ok(await t('tenant').getAttribute('data-foreign') === '', 'and it is marked');
    await open('#/admin/fences');
    ok(await until(async () => /No geofences/.test(await text('fences'))), 'nothing of the first one is left on the pages');
    await open('#/admin/usage');
    ok(await until(async () => /Vehicles\s+0\s+1\s+0 %/.test(await text('usage')) && /2\.0 GiB/.test(await text('usage'))), 'its usage stands against its plan')
        || note(await text('usage'));

    ok(errors.length === 0, 'no error in the browser\'s console') || note(errors.join('\n'));
});
