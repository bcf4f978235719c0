/* Places as text, and as GeoJSON keeps them: latitude first here, longitude first there.  Pure. */

export type Corner = [number, number];      /* latitude, longitude */

/* The corners of a GeoJSON polygon's outer ring without its repeated last one, or the one place of a point. */
export function corners_of(geometry: { type: string; coordinates: unknown }): Corner[] {
    if (geometry.type === 'Point') {
        const [lon, lat] = geometry.coordinates as [number, number];
        return [[lat, lon]];
    }
    const ring = ((geometry.coordinates as Array<Array<[number, number]>>)[0] ?? []).map(([lon, lat]) => [lat, lon] as Corner);
    const last = ring[ring.length - 1];
    return ring.length > 1 && last[0] === ring[0][0] && last[1] === ring[0][1] ? ring.slice(0, -1) : ring;
}

export function corners_text(list: Corner[]): string {
    return list.map(([lat, lon]) => `${lat}, ${lon}`).join('\n');
}

/* Lines "latitude, longitude"; empty ones do not count.  Throws in words at the first line that is no place. */
export function ring_of(text: string): Corner[] {
    return text.split('\n').map((line) => line.trim()).filter((line) => line !== '').map((line, i) => {
        const at = line.split(/[,;\s]+/).filter(Boolean).map(Number);
        if (at.length !== 2 || !at.every(Number.isFinite) || Math.abs(at[0]) > 90 || Math.abs(at[1]) > 180) {
            throw new Error(`Line ${i + 1}: enter the latitude and the longitude in degrees, with a comma between them.`);
        }
        return at as Corner;
    });
}
