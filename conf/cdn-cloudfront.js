// CloudFront function (runtime 2.0, event "viewer request") for /live/*: takes
// the token out of the address of a segment, so that it is cached once, after it
// has checked the token's signature and time itself.
//
//   /live/<token>/<stream>/seg-7.m4s  ->  /live/<stream>/seg-7.m4s, the token in
//                                         x-mdvr-token, which is not in the key
//
// Playlists and everything else go to the origin as they are; it checks them.  An
// address without a token is refused: what is cached lies at such ones.
// The key value store holds, for each signing key of purpose "stream", the first
// eight hexadecimal digits of its name and its secret in hexadecimal.
// docs/cdn.md says how it is put together.

import cf from 'cloudfront';
const crypto = require('crypto');

const cached = /^\/live\/([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})\/([0-9a-f]{24}\/(?:init|seg|part)-[0-9.]+\.(?:mp4|m4s))$/;
const named = /^\/live\/[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}\//;

function refused(status, text) {
    return { statusCode: status, statusDescription: text, headers: { 'cache-control': { value: 'no-store' } } };
}

async function handler(event) {
    const request = event.request;
    const m = cached.exec(request.uri);

    if (!m) {
        return named.test(request.uri) ? request : refused(401, 'Unauthorized');
    }

    // version, key (4), issued (4), expires (4), ...: ngx_mdvr_stream_token.c
    const fields = Buffer.from(m[1], 'base64url');

    if (fields.length < 96 || fields[0] !== 1 || fields.toString('base64url') !== m[1]) {
        return refused(401, 'Unauthorized');
    }

    let secret;
    try {
        secret = await cf.kvs().get(fields.toString('hex', 1, 5));
    } catch (e) {
        return refused(401, 'Unauthorized');
    }

    const mac = crypto.createHmac('sha256', Buffer.from(secret, 'hex')).update(fields).digest('base64url');
    let differ = mac.length ^ m[2].length;
    for (let i = 0; i < mac.length; i++) {
        differ |= mac.charCodeAt(i) ^ m[2].charCodeAt(i);
    }

    if (differ !== 0) {
        return refused(401, 'Unauthorized');
    }

    if (fields.readUInt32BE(9) <= Date.now() / 1000) {
        return refused(403, 'Forbidden');
    }

    request.headers['x-mdvr-token'] = { value: m[1] + '.' + m[2] };
    request.uri = '/live/' + m[3];

    return request;
}
