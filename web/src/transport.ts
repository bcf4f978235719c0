/* What a way of playing must offer to the player, and what it tells it. */

export type Failure = 'unsupported' | 'network' | 'decode' | 'ended' | 'refused' | 'offline';

export interface Sink {
    bytes(n: number): void;                         /* media arrived */
    failed(kind: Failure, reason: string): void;    /* at most once; the transport has closed itself */
    audio(present: boolean): void;                  /* there is sound, or may be when it is asked for */
}

export interface Transport {
    readonly name: string;
    close(): void;
    lag_s(): number | null;                         /* how far the picture is behind the newest data */
    codec(): string;
}

/* Why a stream ended, by the name that the server gives as the close reason of its socket. */
const ends: Record<string, { kind: Failure; text: string }> = {
    stopped: { kind: 'ended', text: 'The stream was stopped.' },
    no_viewers: { kind: 'ended', text: 'The stream was stopped.' },
    device_offline: { kind: 'offline', text: 'The vehicle is offline.' },
    device_refused: { kind: 'ended', text: 'The recorder refused: is this camera connected?' },
    no_media: { kind: 'ended', text: 'The recorder did not open its video connection.' },
    stalled: { kind: 'ended', text: 'The recorder stopped sending.' },
    disconnected: { kind: 'ended', text: 'The recorder closed its video connection.' },
    malformed: { kind: 'ended', text: 'The recorder sent video that could not be read.' },
    unsupported: { kind: 'unsupported', text: 'This camera\'s video format is not supported.' },
    hung_up: { kind: 'ended', text: 'The person in the vehicle hung up.' },
    replaced: { kind: 'ended', text: 'Another session took this stream\'s place.' },
    complete: { kind: 'ended', text: 'The end of the recording.' },
    failed: { kind: 'ended', text: 'The stream could not be started.' },
    shutdown: { kind: 'network', text: 'The server is restarting.' },
};

export function end_of(code: number, reason: string): { kind: Failure; text: string } {
    if (code === 4401 || code === 4403 || code === 1008) {
        return { kind: 'refused', text: 'The permission to watch has ended.' };
    }

    const known = Object.prototype.hasOwnProperty.call(ends, reason) ? ends[reason] : undefined;
    if (known) {
        return known;
    }
    if (code === 1000 || code === 4410) {
        return { kind: 'ended', text: reason || 'The stream has ended.' };
    }
    return { kind: 'network', text: 'The connection was lost.' };
}
