/*
 * Every page as each role: it shows something, and the browser has nothing to complain about.  At a phone's width nothing
 * covers the vehicle that was chosen, and a page is not wider than the screen.
 */

import { note, ok, run, settings, sign_in, until } from './browser.mjs';

const tabs = ['users', 'keys', 'webhooks', 'groups', 'fences', 'firmware', 'usage', 'audit', 'tenants', 'account', 'notifications'];

const may = {
    client_user: ['account', 'notifications'],
    technician: ['groups', 'fences', 'firmware', 'account', 'notifications'],
    tenant_admin: tabs.filter((x) => x !== 'tenants'),
    super_admin: tabs,
};

await run(async (b) => {
    const { page, t, errors } = b;
    const bad = [];

    page.on('response', (r) => {
        if (r.status() >= 400) {
            bad.push(`${r.status()} ${r.request().method()} ${new URL(r.url()).pathname}`);
        }
    });

    const quiet = (what) => {
        const said = [...errors.splice(0), ...bad.splice(0)].filter((e) => !/\b40[34]\b/.test(e));
        ok(said.length === 0, `${what}: no error`) || note(said.join('\n'));
    };
    const open = async (hash, selector) => {
        await page.evaluate((x) => { location.hash = x; }, hash);
        return until(() => page.locator(selector).first().isVisible());
    };

    for (const [role, email] of Object.entries(settings.users)) {
        await page.setViewportSize({ width: 1366, height: 768 });
        await sign_in(b, email, settings.password);
        ok(await until(() => t('device-00007').isVisible()), `${role} sees the vehicle`);
        await t('device-00007').click();
        await t('details').click();
        const id = await page.evaluate(() => location.hash.split('/')[2]);

        const seen = await page.locator('[role=tab]').evaluateAll((l) => l.map((x) => x.dataset.testid.slice(4)));
        const missing = [];
        for (const name of seen) {
            if (!await open(`#/device/${id}/${name}`, `[data-testid="tab-${name}"][aria-selected="true"]`)
                || !await until(async () => (await page.locator('.device-page [role=tabpanel]:not([hidden])').innerText()).trim() !== '')) {
                missing.push(name);
            }
        }
        ok(seen.length >= 3 && missing.length === 0, `${role}: the vehicle's pages (${seen.join(', ')})`) || note(missing.join());

        ok(await open('#/alarms', '[data-testid="alarm-table"]'), `${role}: alarms`);
        ok(await open('#/admin/account', '[data-testid="sessions"] tbody tr'), `${role}: one's own account`);
        const shown = await page.locator('.page:visible [role=tab]').evaluateAll((l) => l.map((x) => x.dataset.testid.slice(4)));
        ok(shown.join() === may[role].join(), `${role} may open ${may[role].join(', ')}`) || note(shown.join());

        for (const name of shown) {
            await open(`#/admin/${name}`, `[data-testid="tab-${name}"][aria-selected="true"]`);
            ok(await until(async () => !/Loading/.test(await page.locator('.page:visible [role=tabpanel]:not([hidden])').innerText())), `${role}: ${name}`);
        }
        quiet(role);

        await page.setViewportSize({ width: 390, height: 844 });
        await open('#/', '[data-testid="device-00007"]');
        await t('device-00007').click();
        ok(await t('details').click({ timeout: 5000 }).then(() => true, () => false), `${role}: details are in reach on a phone`);
        const wide = [];
        for (const hash of [`#/device/${id}/status`, `#/device/${id}/recordings`, '#/alarms', '#/admin/account']) {
            await open(hash, '.page:visible');
            if (!await until(() => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 3)) {
                wide.push(hash);
            }
        }
        ok(wide.length === 0, `${role}: pages fit a phone`) || note(wide.join());
        quiet(`${role} on a phone`);
        await page.setViewportSize({ width: 1366, height: 768 });

        if (role === 'tenant_admin') {
            await open('#/admin/fences', '[data-testid="fence-add"]');
            await t('fence-add').click();
            await t('admin-fence-name').fill('Depot');
            await t('admin-fence-place').fill('47.37');
            await t('dialog-ok').click();
            ok(await until(async () => /latitude/.test(await t('dialog-error').innerText())), 'a place that is none is refused in words');
            await t('admin-fence-place').fill('47.3702, 8.5377');
            await t('dialog-ok').click();
            ok(await until(async () => /Depot\s+circle of 200 m/.test(await t('fences').innerText())), 'a geofence is made');
            quiet('geofences');
        }

        await t('user-menu').locator('summary').click();
        await t('sign-out').click();
        await t('email').waitFor();
        errors.length = bad.length = 0;
    }
});
