/* The pages behind the live view: one vehicle, users, groups, keys; and what a client user is shown. */

import { note, ok, run, settings, sign_in, until } from './browser.mjs';

await run(async (b) => {
    const { page, t, errors } = b;
    const text = async (id) => await t(id).count() === 1 ? t(id).innerText() : '';

    await sign_in(b, settings.email, settings.password);
    await t('device-00007').click();

    /* one vehicle */
    await t('details').click();
    ok(await until(async () => /34 MDV 007/.test(await text('device-title'))), 'the vehicle has a page');
    ok(await until(async () => /Firmware/.test(await text('device-status'))), 'with its status');

    await t('tab-history').click();
    ok(await until(async () => /^\d+ positions/.test(await text('history-note')), 10), 'its history is shown') || note(await text('history-note'));
    await t('select-rate').selectOption('10');
    await t('history-play').click();
    const first = await text('history-readout');
    ok(await until(async () => await text('history-readout') !== first), 'and replayed');

    await t('tab-diagnostics').click();
    ok(await until(async () => /Connections/.test(await text('device-diagnostics'))), 'diagnostics list its connections');

    await t('tab-commands').click();
    await t('select-command').selectOption('text_message');
    await t('command-send').click();
    ok(await until(async () => await t('command-list').locator('tbody tr').count() === 1), 'a command is in the list');
    ok(await until(async () => /acknowledged/.test(await t('command-list').innerText()), 15), 'and the recorder\'s answer arrives')
        || note(await t('command-list').innerText());

    await t('device-edit').click();
    await t('device-plate').fill('34 MDV 700');
    await t('dialog-ok').click();
    ok(await until(async () => /34 MDV 700/.test(await text('device-title'))), 'its plate is changed');

    /* groups */
    await t('nav-admin').click();
    await t('tab-groups').click();
    await t('group-add').click();
    await t('user-group-name').fill('Night line');
    await t('group-dialog').getByLabel('34 MDV 700').check();
    await t('dialog-ok').click();
    ok(await until(async () => /Night line/.test(await text('groups'))), 'a group is made');

    /* a user who sees one vehicle */
    await t('tab-users').click();
    await t('user-add').click();
    await t('user-email').fill('not an address');
    await t('user-password').fill('short');
    await t('dialog-ok').click();
    ok(await until(async () => /email/.test(await text('dialog-error'))), 'what is wrong with a new user is said') || note(await text('dialog-error'));
    await t('user-email').fill('guest@example.test');
    await t('user-password').fill(settings.guest_password);
    await t('user-dialog').getByLabel('34 MDV 700').check();
    await t('dialog-ok').click();
    ok(await until(async () => /guest@example\.test/.test(await text('users'))), 'a client user is made');

    /* a key */
    await t('tab-keys').click();
    await t('key-add').click();
    await t('user-key-name').fill('ERP');
    await t('dialog-ok').click();
    ok(await until(async () => await t('key-value').count() === 1 && (await t('key-value').inputValue()).length > 20), 'an API key is shown once');
    await t('dialog-ok').click();
    ok(await until(async () => /ERP/.test(await text('keys'))), 'and listed');

    await t('tab-audit').click();
    ok(await until(async () => /user\.create/.test(await text('audit'))), 'the audit trail knows');
    await t('tab-account').click();
    ok(await until(async () => /this one/.test(await text('sessions'))), 'my sessions are listed');

    /* the group filters the list */
    await t('nav-live').click();
    await page.reload();
    await t('device-00007').waitFor();
    ok(await until(async () => await t('device-list').locator('> *').count() === 2), 'two vehicles');
    await t('group').selectOption({ label: 'Night line' });
    ok(await until(async () => await t('device-list').locator('> *').count() === 1), 'one in the group');

    ok(errors.every((e) => /422/.test(e)), 'no error in the browser\'s console') || note(errors.join('\n'));
    errors.length = 0;

    /* the client user */
    await t('user-menu').locator('summary').click();
    await t('sign-out').click();
    await t('email').waitFor();
    await sign_in(b, 'guest@example.test', settings.guest_password);
    ok(await until(async () => await t('device-00007').count() === 1 && await t('device-00008').count() === 0), 'a client user sees the assigned vehicle only');
    ok(await t('nav-admin').count() === 0 && await t('add-device').count() === 0, 'and nothing to administer');
    ok(errors.length === 0, 'nor an error') || note(errors.join('\n'));
});
