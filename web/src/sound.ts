/* Short tones, made here: no file to load. */

let context: AudioContext | null = null;

/* false: the browser makes no sound before somebody has clicked or typed here. */
export function beep(tones: Array<[number, number]> = [[0, 880], [0.22, 660]]): boolean {
    try {
        context ??= new AudioContext();
        if (context.state === 'suspended') {
            void context.resume();
        }
        const gain = context.createGain();
        gain.gain.value = 0.08;
        gain.connect(context.destination);
        for (const [at, hz] of tones) {
            const o = context.createOscillator();
            o.frequency.value = hz;
            o.connect(gain);
            o.start(context.currentTime + at);
            o.stop(context.currentTime + at + 0.16);
        }
        return context.state === 'running';
    } catch {
        return true;        /* no sound device: nothing to be done about it here */
    }
}
