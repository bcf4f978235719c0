/* Waiting times between attempts: doubling, with jitter so that a whole control room does not return at once. */

export class Backoff {
    private attempt = 0;

    constructor(private readonly first_ms: number, private readonly max_ms: number,
        private readonly random: () => number = Math.random)
    {
    }

    /* The wait before the next attempt, in milliseconds: half of it certain, half of it random. */
    next(): number {
        const full = Math.min(this.max_ms, this.first_ms * 2 ** this.attempt);
        this.attempt++;
        return Math.round(full / 2 + this.random() * full / 2);
    }

    get tries(): number {
        return this.attempt;
    }

    reset(): void {
        this.attempt = 0;
    }
}
