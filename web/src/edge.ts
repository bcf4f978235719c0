/*
 * Keeping a player at the live edge without visible jumps: a little faster while it lags, a jump when it is far
 * behind, and more patience on a connection that keeps starving it.  Pure: time and positions are arguments.
 *
 * Values measured: 0.25 s and 1 s hold 0.1 to 0.2 s on a good network; on a bad one they must grow.
 */

export interface Step {
    rate: number;
    seek: number | null;
}

const tight_s = 0.25;
const loose_s = 1.5;
const catch_up = 1.1;
const cushion_s = 0.05;
const window_ms = 15_000;
const calm_ms = 60_000;

export class Edge {
    target_s = tight_s;

    private faster = false;
    private starved_at: number[] = [];
    private changed_ms = 0;

    get jump_s(): number {
        return this.target_s * 2 + 0.5;
    }

    /* The player ran out of data. */
    starved(now_ms: number): void {
        this.starved_at = this.starved_at.filter((t) => now_ms - t < window_ms);
        this.starved_at.push(now_ms);

        if (this.starved_at.length >= 3) {
            this.target_s = Math.min(loose_s, this.target_s * 1.6);
            this.starved_at = [];
            this.changed_ms = now_ms;
        }
    }

    /*
     * current: playing position; start, end: the buffered range that holds the newest data (seconds).
     */
    step(current: number, start: number, end: number, now_ms: number): Step {
        if (this.target_s > tight_s && now_ms - this.changed_ms > calm_ms) {
            this.target_s = Math.max(tight_s, this.target_s / 1.6);
            this.changed_ms = now_ms;
        }

        const lag = end - current;

        if (current < start - 0.001 || lag > this.jump_s || lag < -0.5) {
            this.faster = false;
            return { rate: 1, seek: Math.max(start, end - Math.max(cushion_s, this.target_s - 0.2)) };
        }

        if (lag > this.target_s) {
            this.faster = true;
        } else if (lag < this.target_s * 0.6) {
            this.faster = false;
        }

        return { rate: this.faster ? catch_up : 1, seek: null };
    }
}
