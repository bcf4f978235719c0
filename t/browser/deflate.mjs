/* permessage-deflate as Chromium does it: what arrives deflated, and what it sends deflated, is understood. */

import { ok, run, settings } from './browser.mjs';

await run(async (b) => {
    const { page } = b;
    await page.goto(settings.url);
    const got = await page.evaluate(({ ws, token, count }) => new Promise((done) => {
        const socket = new WebSocket(ws);
        const seen = { texts: [] };
        const end = (why) => { seen.end = why; seen.extensions = socket.extensions; done(seen); };
        setTimeout(() => end('time'), 15000);
        socket.onclose = (e) => end(`closed with ${e.code}`);
        socket.onopen = () => {
            socket.send(JSON.stringify({ type: 'auth', token }));
            socket.send(JSON.stringify({ type: 'subscribe', topics: ['alarm'], after: '0', nothing: 'x'.repeat(2000) }));
        };
        socket.onmessage = (e) => {
            const m = JSON.parse(e.data);
            if (m.type === 'alarm') seen.texts.push(m.text);
            if (seen.texts.length === count) end('all');
        };
    }), settings);
    ok(/^permessage-deflate; server_no_context_takeover; client_no_context_takeover$/.test(got.extensions), `Chromium agrees: ${got.extensions}`);
    ok(got.end === 'all', `all that was missed arrives in Chromium: ${got.end}`);
    ok(JSON.stringify(got.texts) === JSON.stringify(settings.texts), 'with the same text');
});
