/*
 * What a page keeps in the address, behind the `?` of its part after `#`: filters survive a reload and travel with a
 * copied link.  Writing replaces the address without a new entry in the history and without telling the router.
 */

export function split_hash(hash: string): { path: string[]; query: URLSearchParams } {
    const text = hash.replace(/^#\/?/, '');
    const at = text.indexOf('?');
    const path = (at < 0 ? text : text.slice(0, at)).split('/').map((part) => {
        try {
            return decodeURIComponent(part);
        } catch {
            return part;
        }
    });
    return { path, query: new URLSearchParams(at < 0 ? '' : text.slice(at + 1)) };
}

/* The hash with these parameters: empty ones are left out, others that were there stay. */
export function with_query(hash: string, values: Record<string, string>): string {
    const { query } = split_hash(hash);
    const at = hash.indexOf('?');
    const path = at < 0 ? hash : hash.slice(0, at);

    for (const [name, value] of Object.entries(values)) {
        if (value === '') {
            query.delete(name);
        } else {
            query.set(name, value);
        }
    }
    const text = query.toString();
    return (path || '#/') + (text ? `?${text}` : '');
}

export const address = {
    read: (): URLSearchParams => split_hash(location.hash).query,
    write: (values: Record<string, string>): void => {
        const next = with_query(location.hash, values);
        if (next !== location.hash) {
            history.replaceState(history.state, '', next);
        }
    },
};
