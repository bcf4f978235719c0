// An OTLP/HTTP collector for tests: checks each request against the published
// schema and appends its spans, one JSON object a line, to a file.
//
//   node otlp.mjs DIR    writes DIR/port, DIR/spans, DIR/refused; while DIR/away
//                        exists it answers 503; DIR/hooks has the headers of what came to /hook

import http from 'node:http';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../../web/package.json', import.meta.url));
const root = require('@opentelemetry/otlp-transformer/build/src/generated/root');
const Request = root.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
const dir = process.argv[2];
const ids = { traceId: 32, spanId: 16, parentSpanId: 16 };

function bytes(o) {                     // identifiers are hexadecimal in JSON
  if (Array.isArray(o)) return o.map(bytes);
  if (!o || typeof o !== 'object') return o;
  const out = {};
  for (const [k, v] of Object.entries(o)) {
    if (ids[k]) {
      if (!new RegExp(`^[0-9a-f]{${ids[k]}}$`).test(v) || /^0+$/.test(v)) throw new Error(`${k} is ${v}`);
      out[k] = Buffer.from(v, 'hex');
    } else {
      out[k] = bytes(v);
    }
  }
  return out;
}

function same(sent, known, path) {      // what the schema does not know is lost on the way
  for (const k of Object.keys(sent)) {
    const here = `${path}.${k}`;
    if (!(k in known)) throw new Error(`${here} is unknown`);
    if (Buffer.isBuffer(sent[k])) {
      if (Buffer.compare(sent[k], Buffer.from(known[k]))) throw new Error(`${here} differs`);
    } else if (sent[k] && typeof sent[k] === 'object') {
      same(sent[k], known[k], here);
    } else if (String(sent[k]) !== String(known[k])) {
      throw new Error(`${here} differs`);
    }
    if (/UnixNano$|^intValue$/.test(k) && typeof sent[k] !== 'string') throw new Error(`${here} is no string`);
  }
}

function take(text) {
  const doc = JSON.parse(text);
  const message = bytes(doc);
  const known = Request.fromObject(message);
  const wrong = Request.verify(known);
  if (wrong) throw new Error(wrong);
  same(message, Request.toObject(known, { longs: String, defaults: true, bytes: Array }), '');
  for (const resource of doc.resourceSpans) {
    const named = resource.resource.attributes.find(a => a.key === 'service.name');
    for (const scope of resource.scopeSpans) {
      for (const span of scope.spans) {
        fs.appendFileSync(`${dir}/spans`, JSON.stringify({ ...span, service: named.value.stringValue }) + '\n');
      }
    }
  }
}

const server = http.createServer((req, res) => {
  const parts = [];
  req.on('data', d => parts.push(d));
  req.on('end', () => {
    if (fs.existsSync(`${dir}/away`)) {
      fs.appendFileSync(`${dir}/sent-away`, '.');
      res.writeHead(503).end();
      return;
    }
    if (req.url === '/hook') {          // somebody who is told about alarms
      fs.appendFileSync(`${dir}/hooks`, JSON.stringify(req.headers) + '\n');
      res.writeHead(204).end();
      return;
    }
    try {
      if (req.method !== 'POST' || req.url !== '/v1/traces') throw new Error(`${req.method} ${req.url}`);
      if (req.headers['content-type'] !== 'application/json') throw new Error('content type');
      take(Buffer.concat(parts).toString('utf8'));
      res.writeHead(200, { 'content-type': 'application/json' }).end('{"partialSuccess":{}}');
    } catch (e) {
      fs.appendFileSync(`${dir}/refused`, `${e.message}\n`);
      res.writeHead(400).end();
    }
  });
});

server.listen(0, '127.0.0.1', () => {
  fs.writeFileSync(`${dir}/port.new`, String(server.address().port));
  fs.renameSync(`${dir}/port.new`, `${dir}/port`);
});
