/* Arithmetic of the plain map grid and of the video wall.  Pure. */

const mantissas = [1, 2, 5];

/* The smallest step of 1, 2 or 5 times a power of ten, in degrees, that is at least `min_px` wide. */
export function grid_step(deg_per_px: number, min_px: number): number {
    const want = Math.max(1e-6, deg_per_px * min_px);

    for (let e = Math.floor(Math.log10(want)); ; e++) {
        for (const m of mantissas) {
            const step = m * 10 ** e;
            if (step >= want * 0.999999) {
                return step;
            }
        }
    }
}

export function decimals(step: number): number {
    return Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
}

/* The multiples of `step` between two values, bounded in number. */
export function ticks(from: number, to: number, step: number): number[] {
    const list: number[] = [];
    const first = Math.ceil(from / step);
    const last = Math.min(Math.floor(to / step), first + 200);

    for (let i = first; i <= last; i++) {
        list.push(i * step);
    }
    return list;
}

/* Columns and rows for n pictures of the given aspect ratio that make them as large as possible. */
export function best_wall(n: number, width: number, height: number, ratio = 16 / 9): { columns: number; rows: number } {
    let best = { columns: 1, rows: Math.max(1, n) };
    let area = -1;

    for (let columns = 1; columns <= n; columns++) {
        const rows = Math.ceil(n / columns);
        const w = Math.min(width / columns, (height / rows) * ratio);

        if (w > area + 1e-9) {
            area = w;
            best = { columns, rows };
        }
    }
    return best;
}
