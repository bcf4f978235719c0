/*
 * What the recorder holds, week by week: a line for each day, a lane for each camera, a bar where there is film.  A
 * click on a bar plays from there.  Days and hours are those of the recorder's own clock, which is said beside them.
 */

import { clear, h, set_text } from '../dom';
import { duration, offset_text } from '../format';
import { act, say } from '../ui';
import { day_ms, day_of, day_start, moment_at, place_of } from './spans';
import type { Calendar, Day, Lane } from './spans';

const week = 7;

export class CalendarView {
    readonly el: HTMLElement;
    on_moment: (channel: number | null, t_ms: number) => void = () => {};

    private readonly body = h('div', { class: 'cal-body', 'data-testid': 'calendar' });
    private readonly note = h('p', { class: 'hint', role: 'status', 'data-testid': 'calendar-note' });
    private readonly title = h('span', { class: 'cal-title' });
    private readonly next = h('button', { type: 'button', 'aria-label': 'A week later', 'data-testid': 'calendar-later', onclick: () => this.go(-1) }, '›');
    private readonly again = h('button', { type: 'button', 'data-testid': 'calendar-again' }, 'Ask again');
    private weeks_back = 0;
    private offset = -new Date().getTimezoneOffset();       /* minutes; of the recorder, once it has answered */
    private generation = 0;

    constructor(private readonly load: (from: string, to: string) => Promise<Calendar>) {
        this.again.addEventListener('click', () => act(this.again, () => this.show()));
        this.el = h('section', { class: 'calendar', 'aria-label': 'Calendar of recordings' },
            h('div', { class: 'filters' },
                h('button', { type: 'button', 'aria-label': 'A week earlier', 'data-testid': 'calendar-earlier', onclick: () => this.go(1) }, '‹'),
                this.title, this.next, this.again), this.body, this.note);
    }

    private go(back: number): void {
        this.weeks_back = Math.max(0, this.weeks_back + back);
        void this.show();
    }

    /* Day by day, newest first: an answer of the recorder for a whole week would be cut off. */
    async show(): Promise<void> {
        const mine = ++this.generation;
        const now = Date.now();
        const end = now - this.weeks_back * week * day_ms;
        const days: Day[] = [];
        let cut = false;

        this.next.disabled = this.weeks_back === 0;
        this.body.replaceChildren();
        set_text(this.title, `${day_of(end - (week - 1) * day_ms, this.offset)} to ${day_of(end, this.offset)}`);
        for (let i = 0; i < week; i++) {
            set_text(this.note, `Asking the recorder, day ${i + 1} of ${week}…`);
            try {
                const date = day_of(end - i * day_ms, this.offset);
                const from = day_start(date, this.offset);
                const c = await this.load(new Date(from).toISOString(), new Date(Math.min(now, from + day_ms - 1)).toISOString());
                if (mine !== this.generation) {
                    return;
                }
                if (c.utc_offset_minutes !== this.offset) {         /* its days begin elsewhere: once more */
                    this.offset = c.utc_offset_minutes;
                    void this.show();
                    return;
                }
                days.push(...c.days.filter((d) => d.date === date));
                cut ||= c.truncated ?? false;
                this.draw({ ...c, days });
            } catch (e) {
                if (mine === this.generation) {
                    set_text(this.note, say(e));
                }
                return;
            }
        }
        this.tell(days.length, cut);
    }

    private tell(days: number, cut: boolean): void {
        const here = -new Date().getTimezoneOffset();
        set_text(this.note, days === 0 ? 'The recorder has nothing of this week.'
            : `Days and hours by the recorder's clock (UTC${offset_text(this.offset)})`
                + (here === this.offset ? '.' : `; yours is UTC${offset_text(here)}.`)
                + (cut ? ' Of a day with more than 5,000 files the oldest are missing.' : ''));
    }

    private draw(c: Calendar): void {
        const hours = h('div', { class: 'cal-hours', 'aria-hidden': 'true' });
        for (let hour = 0; hour < 24; hour += 3) {
            const mark = h('span', {}, `${String(hour).padStart(2, '0')}:00`);
            mark.style.left = `${hour * 100 / 24}%`;
            hours.append(mark);
        }

        const { days } = c;
        clear(this.body, days.length > 0 ? h('div', { class: 'cal-day' }, h('span', {}), hours) : null,
            ...days.map((d) => this.day(d, c.utc_offset_minutes)));
    }

    private day(d: Day, offset: number): HTMLElement {
        const start = day_start(d.date, offset);
        const name = new Date(`${d.date}T12:00:00Z`).toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric', month: 'short', timeZone: 'UTC' });
        return h('div', { class: 'cal-day', 'data-testid': 'calendar-day', 'data-date': d.date }, h('span', { class: 'cal-date' }, name),
            h('div', { class: 'cal-lanes' }, ...d.channels.map((lane) => this.lane(lane, start, name))));
    }

    private lane(lane: Lane, start: number, day: string): HTMLElement {
        const long = [lane.normal_s > 0 ? duration(lane.normal_s) : '', lane.alarm_s > 0 ? `${duration(lane.alarm_s)} of alarms` : ''].filter(Boolean).join(', ');
        const camera = lane.channel === null ? 'all cameras' : `CH ${lane.channel}`;
        const bar = h('div', { class: 'cal-bar' });
        const el = h('div', { class: 'cal-lane', role: 'button', tabindex: '0', 'data-testid': 'calendar-lane', 'data-channel': lane.channel,
            'aria-label': `${day}, ${camera}: ${long}. Enter plays from the beginning.`, title: `${camera}: ${long}` },
        h('span', { class: 'cal-channel', 'aria-hidden': 'true' }, lane.channel === null ? '' : String(lane.channel)), bar);

        for (const s of lane.spans) {
            const { from, to } = place_of(s, start);
            const piece = h('i', { class: s.type === 'alarm' ? 'of-alarm' : null });
            piece.style.left = `${from * 100}%`;
            piece.style.width = `${Math.max(0.15, (to - from) * 100)}%`;
            bar.append(piece);
        }

        el.addEventListener('click', (e) => {
            const box = bar.getBoundingClientRect();
            const t = moment_at(lane.spans, start, Math.max(0, (e.clientX - box.left) / box.width));
            if (t !== null) {
                this.on_moment(lane.channel, t);
            }
        });
        el.addEventListener('keydown', (e) => {
            const t = e.key === 'Enter' || e.key === ' ' ? moment_at(lane.spans, start, 0) : null;
            if (t !== null) {
                e.preventDefault();
                this.on_moment(lane.channel, t);
            }
        });
        return el;
    }
}
