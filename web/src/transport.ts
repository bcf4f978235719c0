/* What a way of playing must offer to the player, and what it tells it. */

export type Failure = 'unsupported' | 'network' | 'decode' | 'ended' | 'refused';

export interface Sink {
    bytes(n: number): void;                         /* media arrived */
    failed(kind: Failure, reason: string): void;    /* at most once; the transport has closed itself */
    audio(present: boolean): void;
}

export interface Transport {
    readonly name: string;
    close(): void;
    lag_s(): number | null;                         /* how far the picture is behind the newest data */
    codec(): string;
}
