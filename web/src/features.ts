/*
 * Which routes this server has, from its own OpenAPI document: pages of parts that an installation does not offer
 * stay away instead of failing.  Unknown (document not loaded yet, or not readable) counts as present.
 */

import type { Api } from './api';

let known: Set<string> | null = null;
let examples: Record<string, Record<string, unknown>> = {};

export async function load_features(api: Api): Promise<void> {
    if (known) {
        return;
    }
    try {
        const doc = await api.get<{ paths?: Record<string, Record<string, unknown>> }>('/openapi.json');
        if (doc.paths) {
            known = routes(doc.paths);
            examples = command_examples(doc.paths);
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

/* The example body of every command type, by type, as the OpenAPI document gives them. */
export function command_examples(paths: Record<string, Record<string, unknown>>): Record<string, Record<string, unknown>> {
    const found: Record<string, Record<string, unknown>> = {};

    for (const [path, methods] of Object.entries(paths)) {
        if (!/\/devices\/\{[^}]*\}\/commands$/.test(path)) {
            continue;
        }
        const post = methods.post as { requestBody?: { content?: Record<string, { examples?: Record<string, { value?: unknown }> }> } } | undefined;
        for (const e of Object.values(post?.requestBody?.content?.['application/json']?.examples ?? {})) {
            const value = e.value as { type?: unknown } | undefined;
            if (value && typeof value.type === 'string') {
                found[value.type] = value as Record<string, unknown>;
            }
        }
    }
    return found;
}

export function example_of(type: string): Record<string, unknown> | null {
    return examples[type] ?? null;
}
