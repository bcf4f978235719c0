// The other side of notifications: an OAuth token endpoint, FCM HTTP v1, APNs
// (HTTP/2, TLS) and a webhook receiver in one process.  Each checks what the
// real one checks and appends what came to <dir>/push.log, one JSON object a
// line.  <dir>/mode.json says how to behave: {"fcm": "ok", "apns": "ok",
// "hook": "ok"}, else "503", "gone", "redirect", "hang", "401".
//
//   node push.mjs <dir> <tls port> <http port>

import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';

const [dir, tlsPort, httpPort] = process.argv.slice(2);
const read = (name) => readFileSync(`${dir}/${name}`, 'utf8');
const account = JSON.parse(read('account.json'));
const rsa = createPublicKey(read('rsa.pub'));
const ec = createPublicKey(read('ec.pub'));
const secret = read('hook.secret');
const mode = () => { try { return JSON.parse(read('mode.json')); } catch { return {}; } };
const log = (entry) => appendFileSync(`${dir}/push.log`, JSON.stringify({ at: Date.now() / 1000, ...entry }) + '\n');
const unpack = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
const access = new Map();       // token -> expiry

function jwt(text, key, alg) {
    const [head, body, sig] = String(text).split('.');
    const header = unpack(head);
    const good = header.alg === alg && verify('sha256', Buffer.from(`${head}.${body}`),
        alg === 'ES256' ? { key, dsaEncoding: 'ieee-p1363' } : key, Buffer.from(sig, 'base64url'));
    if (!good) throw new Error('bad signature');
    return { header, claims: unpack(body) };
}

const now = () => Math.floor(Date.now() / 1000);

function token(body) {
    const form = new URLSearchParams(body);
    if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer') return [400, { error: 'unsupported_grant_type' }];
    try {
        const { claims } = jwt(form.get('assertion'), rsa, 'RS256');
        if (claims.iss !== account.client_email || claims.aud !== account.token_uri
            || !claims.scope.split(' ').includes('https://www.googleapis.com/auth/firebase.messaging')
            || claims.exp - claims.iat > 3600 || claims.exp < now() || claims.iat > now() + 60) throw new Error('bad claims');
    } catch (e) {
        log({ to: 'token', error: e.message });
        return [401, { error: 'invalid_grant' }];
    }
    const made = `ya29.${Math.random().toString(36).slice(2)}`;
    access.set(made, now() + 3600);
    log({ to: 'token' });
    return [200, { access_token: made, expires_in: 3599, token_type: 'Bearer' }];
}

function fcm(req, body) {
    const bearer = (req.headers.authorization || '').replace(/^Bearer /, '');
    const how = mode().fcm || 'ok';
    if (how === '401') access.clear();
    if (!(access.get(bearer) > now())) { log({ to: 'fcm', status: 401 }); return [401, { error: { status: 'UNAUTHENTICATED' } }]; }
    if (req.url !== `/v1/projects/${account.project_id}/messages:send`) return [404, { error: { status: 'NOT_FOUND' } }];
    const { message } = JSON.parse(body);
    const strings = Object.values(message.data).every((v) => typeof v === 'string');
    if (!message.token || !strings) { log({ to: 'fcm', status: 400, body }); return [400, { error: { status: 'INVALID_ARGUMENT' } }]; }
    const status = how === '503' ? 503 : how === 'gone' ? 404 : 200;
    log({ to: 'fcm', status, message });
    if (status === 404) return [404, { error: { status: 'NOT_FOUND', details: [{ errorCode: 'UNREGISTERED' }] } }];
    return status === 200 ? [200, { name: `projects/${account.project_id}/messages/1` }] : [status, { error: { status: 'UNAVAILABLE' } }];
}

function apns(req, body) {
    const h = req.headers;
    try {
        const { header, claims } = jwt((h.authorization || '').replace(/^bearer /, ''), ec, 'ES256');
        if (header.kid !== 'KEY1234567' || claims.iss !== 'TEAM123456' || Math.abs(now() - claims.iat) > 3600) throw new Error('claims');
    } catch (e) {
        log({ to: 'apns', status: 403, error: e.message });
        return [403, { reason: 'InvalidProviderToken' }];
    }
    if (req.httpVersion !== '2.0') return [505, { reason: 'HTTP/2 only' }];
    if (!h['apns-topic'] || h['apns-push-type'] !== 'alert' || (h['apns-collapse-id'] || '').length > 64) {
        return [400, { reason: 'BadTopic' }];
    }
    const how = mode().apns || 'ok';
    const status = how === 'gone' ? 410 : how === '503' ? 503 : 200;
    log({ to: 'apns', status, token: req.url.replace('/3/device/', ''), topic: h['apns-topic'], id: h['apns-id'],
        collapse: h['apns-collapse-id'], body: JSON.parse(body) });
    return [status, status === 410 ? { reason: 'Unregistered' } : status === 503 ? { reason: 'ServiceUnavailable' } : null];
}

function hook(req, body) {
    const h = req.headers;
    const mine = 'v1,' + createHmac('sha256', secret).update(`${h['webhook-id']}.${h['webhook-timestamp']}.${body}`).digest('base64');
    const theirs = h['webhook-signature'] || '';
    const good = mine.length === theirs.length && timingSafeEqual(Buffer.from(mine), Buffer.from(theirs))
        && Math.abs(now() - h['webhook-timestamp']) < 300;
    const how = mode().hook || 'ok';
    const status = !good ? 401 : how === '503' ? 503 : how === 'redirect' ? 302 : 204;
    log({ to: 'hook', status, path: req.url, id: h['webhook-id'], body, agent: h['user-agent'] });
    return [status, null, how === 'redirect' ? { location: `http://127.0.0.1:${httpPort}/inside` } : {}];
}

function serve(req, res) {
    let body = '';
    req.on('data', (d) => { body += d; });
    req.on('end', () => {
        const [status, answer, headers] = req.url === '/token' ? token(body)
            : req.url.startsWith('/v1/') ? fcm(req, body)
            : req.url.startsWith('/3/') ? apns(req, body) : hook(req, body);
        // "hang": it was received, but the answer takes its time
        setTimeout(() => {
            res.writeHead(status, { 'content-type': 'application/json', ...headers });
            res.end(answer ? JSON.stringify(answer) : '');
        }, mode().delay_ms || 0);
    });
}

createSecureServer({ key: read('tls.key'), cert: read('tls.crt'), allowHTTP1: true }, serve).listen(tlsPort, '127.0.0.1');
createServer(serve).listen(httpPort, '127.0.0.1', () => log({ to: 'start' }));
