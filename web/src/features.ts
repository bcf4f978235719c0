/*
 * Which routes this server has, from its own OpenAPI document: pages of parts that an installation does not offer
 * stay away instead of failing.  Unknown (document not loaded yet, or not readable) counts as present.
 */

import type { Api } from './api';

let known: Set<string> | null = null;

export async function load_features(api: Api): Promise<void> {
    if (known) {
        return;
    }
    try {
        const doc = await api.get<{ paths?: Record<string, Record<string, unknown>> }>('/openapi.json');
        if (doc.paths) {
            known = routes(doc.paths);
        }
    } catch {
        /* treated as unknown */
    }
}

export function routes(paths: Record<string, Record<string, unknown>>): Set<string> {
    const set = new Set<string>();
    for (const [path, methods] of Object.entries(paths)) {
        const plain = path.replace(/^\/api\/v1/, '').replace(/\{[^}]*\}/g, '{}');
        for (const m of Object.keys(methods)) {
            set.add(`${m.toUpperCase()} ${plain}`);
        }
    }
    return set;
}

/* has('GET', '/devices/{}/trips') */
export function has(method: string, path: string): boolean {
    return known === null || known.size === 0 || known.has(`${method} ${path}`);
}
