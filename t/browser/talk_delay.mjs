/* Bursts of a tone into a talk, and when each of them comes back from a vehicle that echoes: t/bench/talk. */

import { ok, run, settings, value } from './browser.mjs';

await run(async ({ page }) => {
    await page.goto(settings.url);

    const ms = await page.evaluate(async ({ way, urls, seconds }) => {
        const context = new AudioContext();
        await context.resume();
        await context.audioWorklet.addModule('talk_worklet.js');

        /* the burst, into the microphone's track and into channel 0 of the meter */
        const tone = context.createOscillator();
        const gate = context.createGain();
        const mic = context.createMediaStreamDestination();
        const meter = context.createScriptProcessor(256, 2, 1);
        const both = context.createChannelMerger(2);
        tone.frequency.value = 800;
        gate.gain.value = 0;
        tone.connect(gate).connect(mic);
        gate.connect(both, 0, 0);
        both.connect(meter).connect(context.destination);
        tone.start();

        const heard = context.createGain();
        heard.connect(both, 0, 1);

        const sent = [];
        const got = [];
        let samples = 0;
        const quiet = [0, 0];
        meter.onaudioprocess = (e) => {
            for (let c = 0; c < 2; c++) {
                const x = e.inputBuffer.getChannelData(c);
                for (let i = 0; i < x.length; i++) {
                    if (Math.abs(x[i]) > 0.06) {
                        if (samples + i - quiet[c] > context.sampleRate * 0.3) {
                            (c ? got : sent).push(samples + i);
                        }
                        quiet[c] = samples + i;
                    }
                }
            }
            samples += e.inputBuffer.length;
        };

        if (way === 'WebRTC') {
            const pc = new RTCPeerConnection();
            pc.addTransceiver(mic.stream.getAudioTracks()[0], { direction: 'sendrecv' });
            pc.ontrack = (e) => {
                const stream = new MediaStream([e.track]);
                const audio = new Audio();
                audio.muted = true;
                audio.srcObject = stream;
                void audio.play();
                context.createMediaStreamSource(stream).connect(heard);
            };
            await pc.setLocalDescription(await pc.createOffer());
            for (let i = 0; pc.iceGatheringState !== 'complete' && i < 20; i++) {
                await new Promise((r) => setTimeout(r, 50));
            }
            const r = await fetch(urls.whep, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp });
            await pc.setRemoteDescription({ type: 'answer', sdp: await r.text() });
        } else {
            const ws = new WebSocket(urls.ws.replace(/^/, location.origin.replace(/^http/, 'ws')));
            ws.binaryType = 'arraybuffer';
            const play = new AudioWorkletNode(context, 'talk-play', { numberOfInputs: 0, outputChannelCount: [1] });
            const capture = new AudioWorkletNode(context, 'talk-capture', { numberOfOutputs: 0 });
            play.connect(heard);
            gate.connect(capture);
            ws.onmessage = (e) => typeof e.data !== 'string' && play.port.postMessage(new Int16Array(e.data));
            capture.port.onmessage = (e) => ws.readyState === 1 && ws.send(e.data);
        }

        await new Promise((r) => setTimeout(r, 3000));
        sent.length = got.length = 0;
        for (let at = context.currentTime + 0.2, end = at + seconds; at < end; at += 1.3) {
            gate.gain.setValueAtTime(0.8, at);
            gate.gain.setValueAtTime(0, at + 0.15);
        }
        await new Promise((r) => setTimeout(r, seconds * 1000 + 1500));

        return sent.map((s) => {
            const g = got.find((x) => x > s);
            return g && g - s < context.sampleRate ? Math.round((g - s) * 1000 / context.sampleRate) : null;
        }).filter((x) => x !== null);
    }, settings);

    value('ms', JSON.stringify(ms));
    ok(ms.length > settings.seconds / 2, `${settings.way}: the bursts come back`);
}, { args: ['--autoplay-policy=no-user-gesture-required', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'] });
