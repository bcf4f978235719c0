/*
 * Builds the console: src/app.ts and src/app.css become dist/app.js and dist/app.css, the files of static/ are
 * copied beside them; talk_worklet.js runs on the audio thread.  hls.js is a chunk of its own, fetched only when a player falls back to it.
 *
 *   node build.mjs            build for production
 *   node build.mjs --watch    keep rebuilding, with source maps
 *   node build.mjs --test     bundle test/*.test.js to ../build/web-test and run node's test runner on them
 */

import * as esbuild from 'esbuild';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const mode = process.argv[2] ?? '';

if (mode === '--test') {
    const out = join(here, '..', 'build', 'web-test');
    const names = readdirSync(join(here, 'test')).filter((n) => n.endsWith('.test.js'));

    rmSync(out, { recursive: true, force: true });

    await esbuild.build({
        entryPoints: names.map((n) => join(here, 'test', n)),
        bundle: true,
        platform: 'node',
        format: 'esm',
        target: 'node18',
        outdir: out,
        outExtension: { '.js': '.mjs' },
        logLevel: 'warning',
    });

    const files = names.map((n) => join(out, n.replace(/\.js$/, '.mjs')));
    const run = spawnSync(process.execPath,
        ['--test', ...process.argv.slice(3), ...files], { stdio: 'inherit' });

    process.exit(run.status ?? 1);
}

const out = join(here, 'dist');

const options = {
    entryPoints: [join(here, 'src', 'app.ts'), join(here, 'src', 'app.css'),
        join(here, 'src', 'talk_worklet.ts')],
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    target: ['es2020', 'safari14'],
    minify: mode !== '--watch',
    sourcemap: mode === '--watch',
    legalComments: 'linked',
    loader: { '.png': 'dataurl' },
    logLevel: 'warning',
    outdir: out,
};

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

if (mode === '--watch') {
    cpSync(join(here, 'static'), out, { recursive: true });
    const context = await esbuild.context(options);
    await context.watch();

} else {
    await esbuild.build(options);
    cpSync(join(here, 'static'), out, { recursive: true });
}
