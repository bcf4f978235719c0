/*
 * Settings of the installation, from config.json beside the page, and of this browser, from local storage.
 *
 * config.json: ws_url (complete address of the push socket, or null), ws_port (used when ws_url is null and the
 * page came over plain HTTP; over HTTPS the socket is /ws on the page's own origin), tile_url (map tiles with
 * {z} {x} {y}, or null for the plain grid), tile_attribution, tile_max_zoom.
 */

export interface Config {
    ws_url: string | null;
    ws_port: number;
    tile_url: string | null;
    tile_attribution: string;
    tile_max_zoom: number;
}

const defaults: Config = { ws_url: '/ws', ws_port: 4000, tile_url: null, tile_attribution: '', tile_max_zoom: 19 };

export async function load_config(): Promise<Config> {
    try {
        const r = await fetch('config.json', { cache: 'no-cache' });
        if (r.ok) {
            const c = { ...defaults, ...(await r.json() as Partial<Config>) };
            return { ...c, tile_url: c.tile_url || null, ws_url: c.ws_url || null };
        }
    } catch {
        /* the defaults are good enough to sign in and to see that the server is away */
    }
    return defaults;
}

export function socket_url(config: Config, page: { protocol: string; hostname: string; host: string }): string {
    if (config.ws_url) {
        if (config.ws_url.startsWith('/')) {
            return `${page.protocol === 'https:' ? 'wss' : 'ws'}://${page.host}${config.ws_url}`;
        }
        return config.ws_url;
    }

    return page.protocol === 'https:' ? `wss://${page.host}/ws` : `ws://${page.hostname}:${config.ws_port}/ws`;
}

export type PlayerChoice = 'auto' | 'ws' | 'webrtc' | 'hls';

/* ?player=hls in the address wins over what the user menu stored. */
export function player_choice(): PlayerChoice {
    const q = new URLSearchParams(location.search).get('player') ?? read('player');
    return q === 'ws' || q === 'webrtc' || q === 'hls' ? q : 'auto';
}

/* ?mux=0 in the address: every camera has a socket of its own. */
export function share_choice(): boolean {
    return new URLSearchParams(location.search).get('mux') !== '0';
}

export function read(name: string): string | null {
    try {
        return localStorage.getItem(`mdvr.${name}`);
    } catch {
        return null;
    }
}

export function store(name: string, value: string | null): void {
    try {
        if (value === null) {
            localStorage.removeItem(`mdvr.${name}`);
        } else {
            localStorage.setItem(`mdvr.${name}`, value);
        }
    } catch {
        /* private mode: the setting lasts as long as the page */
    }
}
