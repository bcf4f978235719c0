/*
 * The command line.  One table: name, kind, where it goes, range or words,
 * and the line of --help; docs/simulator.md says more.
 */

#include <stdio.h>
#include <stdlib.h>

#include "sim/options.h"

sim_options_t  sim_options = {
    .host = "127.0.0.1", .signal_port = 1087, .devices = 1,
    .serial = "00007", .first = 1, .plate = "ZH 4711",
    .firmware = "T2019061202", .channels = 4, .seed = 1,
    .connect_rate = 500, .interval_s = 1, .batch = 10, .heartbeat_s = 60,
    .retry_s = 30, .silence_s = 180, .clip_dir = "build/clips",
    .codec = "h264", .audio_type = 1, .audio_padding = 4,
    .audio_header = true, .talk_hz = 600, .talk_type = MDVR_MEDIA_TALK,
    .speed = 1, .ignition_events = true,
    .recording_s = 300, .layout = MDVR_LOC_CURRENT, .bus_fields = 9,
    .media_fail_s = 5, .v103_plate = MDVR_PLATE_COMMA,
    .snapshot_type = MDVR_MEDIA_SNAPSHOT, .text = MDVR_TEXT_GB18030,
    .answer_code = "8", .answer_reason = "told to fail, on purpose",
};

char  sim_dump_path[256], sim_dump_to[256];

typedef enum { TEXT, UINT, REAL, WORD, FLAG } sim_kind_e;

typedef struct {
    const char  *word;
    int          value;
} sim_word_t;

/* switches that set more than one member are words with a number, handled
 * by name below */

static const sim_word_t  sim_words_layout[] = {
    { "current", 0 }, { "current12", 1 }, { "b", 2 }, { "c", 3 }, { NULL, 0 }
};
static const sim_word_t  sim_words_fix[] = {
    { "valid", SIM_FIX_VALID }, { "void", SIM_FIX_VOID },
    { "none", SIM_FIX_NONE }, { "zero", SIM_FIX_ZERO }, { NULL, 0 }
};
static const sim_word_t  sim_words_v101[] = {
    { "full", SIM_V101_FULL }, { "extra", SIM_V101_EXTRA },
    { "short", SIM_V101_SHORT }, { NULL, 0 }
};
static const sim_word_t  sim_words_numbers[] = {
    { "dec", 0 }, { "hex", 1 }, { NULL, 0 }
};
static const sim_word_t  sim_words_connection[] = {
    { "main", 0 }, { "own", 1 }, { NULL, 0 }
};
static const sim_word_t  sim_words_order[] = {
    { "answer", 0 }, { "data", 1 }, { NULL, 0 }
};
static const sim_word_t  sim_words_late[] = {
    { "early", 0 }, { "late", 1 }, { NULL, 0 }
};
static const sim_word_t  sim_words_fail[] = {
    { "no", SIM_MEDIA_OK }, { "never", SIM_MEDIA_NEVER },
    { "mid", SIM_MEDIA_MID }, { "garbage", SIM_MEDIA_GARBAGE }, { NULL, 0 }
};
static const sim_word_t  sim_words_eof[] = {
    { "zero", 0 }, { "size", 1 }, { NULL, 0 }
};
static const sim_word_t  sim_words_plate[] = {
    { "comma", MDVR_PLATE_COMMA }, { "bar", MDVR_PLATE_BAR },
    { "none", MDVR_PLATE_NONE }, { NULL, 0 }
};
static const sim_word_t  sim_words_snapshot[] = {
    { "6201", MDVR_MEDIA_SNAPSHOT }, { "6102", MDVR_MEDIA_BLOCK },
    { NULL, 0 }
};
static const sim_word_t  sim_words_talk[] = {
    { "6411", MDVR_MEDIA_TALK }, { "6402", MDVR_MEDIA_TALK_OLD },
    { NULL, 0 }
};
static const sim_word_t  sim_words_tcp[] = {
    { "whole", SIM_TCP_WHOLE }, { "bytes", SIM_TCP_BYTES },
    { "split", SIM_TCP_SPLIT }, { "batch", 9 }, { NULL, 0 }
};
static const sim_word_t  sim_words_text[] = {
    { "gb18030", MDVR_TEXT_GB18030 }, { "utf8", MDVR_TEXT_UTF8 },
    { NULL, 0 }
};
static const sim_word_t  sim_words_answer[] = {
    { "ok", SIM_ANSWER_OK }, { "fail", SIM_ANSWER_FAIL },
    { "none", SIM_ANSWER_NONE }, { NULL, 0 }
};
static const sim_word_t  sim_words_reject[] = {
    { "retry", 0 }, { "stop", 1 }, { NULL, 0 }
};
static const sim_word_t  sim_words_yes[] = {
    { "yes", 1 }, { "no", 0 }, { NULL, 0 }
};

#define O(member)  &sim_options.member, sizeof(sim_options.member)

static const struct {
    const char        *name;
    sim_kind_e         kind;
    void              *to;
    size_t             size;
    double             min, max;
    const sim_word_t  *words;
    const char        *help;
} sim_table[] = {
    { "server", TEXT, O(host), 0, 0, NULL, "address of the platform" },
    { "signal-port", UINT, O(signal_port), 1, 65535, NULL, "1087" },
    { "media-host", TEXT, O(media_host), 0, 0, NULL,
      "instead of the one in the command" },
    { "media-port", UINT, O(media_port), 0, 65535, NULL,
      "instead of the one in the command" },
    { "devices", UINT, O(devices), 1, 1000000, NULL, "how many" },
    { "serial", TEXT, O(serial), 0, 0, NULL, "of a single device" },
    { "serial-format", TEXT, O(serial_format), 0, 0, NULL,
      "of many, with one %u, as SIM%05u" },
    { "first", UINT, O(first), 0, 1e9, NULL, "first number" },
    { "plate", TEXT, O(plate), 0, 0, NULL, "may contain %s: the serial" },
    { "imei", TEXT, O(imei), 0, 0, NULL, "default: the serial" },
    { "firmware", TEXT, O(firmware), 0, 0, NULL, "version text" },
    { "channels", UINT, O(channels), 1, 16, NULL, "cameras" },
    { "seed", UINT, O(seed), 0, 1e15, NULL, "same seed, same run" },
    { "connect-rate", REAL, O(connect_rate), 0.1, 1e6, NULL,
      "connections per second" },
    { "interval", REAL, O(interval_s), 0, 65535, NULL,
      "seconds between positions, 0 = none" },
    { "rate", REAL, O(rate), 0, 1e7, NULL,
      "positions per second of all devices together" },
    { "batch", UINT, O(batch), 1, 200, NULL,
      "positions per write with --rate" },
    { "heartbeat", REAL, O(heartbeat_s), 0.1, 3600, NULL, "seconds" },
    { "duration", REAL, O(duration_s), 0, 1e9, NULL,
      "seconds, 0 = until told to stop" },
    { "retry", REAL, O(retry_s), 0.05, 3600, NULL,
      "seconds after a refusal; a sixth of it after a loss" },
    { "silence", REAL, O(silence_s), 1, 1e6, NULL,
      "gives a silent link up after so many seconds" },
    { "clip-dir", TEXT, O(clip_dir), 0, 0, NULL, "films of sim/clips.sh" },
    { "codec", TEXT, O(codec), 0, 0, NULL, "h264 or h265" },
    { "audio-type", UINT, O(audio_type), 1, 13, NULL,
      "1 G.726-40 ... 10 A-law, 11 u-law" },
    { "audio-padding", UINT, O(audio_padding), 0, 64, NULL, "bytes" },
    { "audio-header", WORD, O(audio_header), 0, 0, sim_words_yes,
      "voice header in front of the sound" },
    { "talk-tone", REAL, O(talk_hz), 0, 3800, NULL,
      "Hz that the intercom says, 0 = silence" },
    { "talk-layout", WORD, O(talk_type), 0, 0, sim_words_talk,
      "of the messages of a talk" },
    { "talk-record", TEXT, O(talk_record), 0, 0, NULL,
      "file for what is heard; may contain %s: the serial" },
    { "hang-up", REAL, O(hang_up_s), 0, 3600, NULL,
      "seconds until the driver hangs up, 0 = never" },
    { "track", TEXT, O(track), 0, 0, NULL,
      "file with \"lat lon [stop]\" lines" },
    { "speed", REAL, O(speed), 0.01, 100, NULL, "factor on the drive" },
    { "alarm-every", REAL, O(alarm_every_s), 0, 1e6, NULL,
      "seconds between alarms of a device" },
    { "alarm-kinds", TEXT, O(alarm_kinds), 0, 0, NULL, "V201,V211,..." },
    { "ignition-events", WORD, O(ignition_events), 0, 0, sim_words_yes,
      "V214 and V215" },
    { "recording-length", UINT, O(recording_s), 10, 3600, NULL,
      "seconds of one recorded file" },
    { "upload-rate", REAL, O(upload_kbps), 0, 1e6, NULL,
      "kilobytes per second and file, 0 = as fast as it goes" },
    { "exclusive", FLAG, O(exclusive), 0, 0, NULL,
      "a session ends those it cannot run with" },
    { "call-every", REAL, O(call_every_s), 0, 1e6, NULL,
      "seconds between calls (V130)" },
    { "v141", FLAG, O(v141), 0, 0, NULL, "asks for a file after V101" },
    { "layout", WORD, NULL, 0, 0, 0, sim_words_layout,
      "of the location group" },
    { "fix", WORD, O(fix), 0, 0, sim_words_fix, "of the position" },
    { "v101", WORD, O(v101), 0, 0, sim_words_v101, "fields of V101" },
    { "numbers", WORD, O(hex_numbers), 0, 0, sim_words_numbers,
      "transmission numbers" },
    { "alarm-counter", FLAG, O(alarm_counter), 0, 0, NULL,
      "alarms count by themselves" },
    { "alarm-connection", WORD, O(alarm_connection), 0, 0,
      sim_words_connection, "own: without V101" },
    { "media-order", WORD, O(data_first), 0, 0, sim_words_order,
      "data: before 0x6000" },
    { "answer-order", WORD, O(answer_late), 0, 0, sim_words_late,
      "late: V100 when data flows" },
    { "media-fail", WORD, O(media_fail), 0, 0, sim_words_fail,
      "never connects, breaks, garbage between frames" },
    { "media-fail-after", REAL, O(media_fail_s), 0.01, 1e6, NULL,
      "seconds" },
    { "eof", WORD, O(eof_size), 0, 0, sim_words_eof,
      "offset of the end block" },
    { "v103", WORD, O(v103_plate), 0, 0, sim_words_plate,
      "plate behind the file name" },
    { "snapshot-type", WORD, O(snapshot_type), 0, 0, sim_words_snapshot,
      "message type of pictures" },
    { "stamp-jump", REAL, O(stamp_jump_s), 0, 1e6, NULL,
      "stamps go back 30 s after so many seconds" },
    { "tcp", WORD, NULL, 0, 0, 0, sim_words_tcp, "how bytes are sent" },
    { "text", WORD, O(text), 0, 0, sim_words_text, "encoding of the plate" },
    { "answer", WORD, O(answer), 0, 0, sim_words_answer, "to commands" },
    { "answer-code", TEXT, O(answer_code), 0, 0, NULL, "with fail" },
    { "answer-reason", TEXT, O(answer_reason), 0, 0, NULL, "with fail" },
    { "on-reject", WORD, O(stop_on_reject), 0, 0, sim_words_reject,
      "when V101 is refused" },
    { "stats-json", TEXT, O(stats_json), 0, 0, NULL,
      "file, written at the end and on SIGUSR1" },
    { "report", REAL, O(report_s), 0, 1e6, NULL,
      "a line every so many seconds" },
    { "control", TEXT, O(control), 0, 0, NULL, "FIFO that takes orders" },
    { "verbose", FLAG, &sim_verbose, sizeof(sim_verbose), 0, 0, NULL,
      "tells what happens" },
    { "dump-file", TEXT, sim_dump_path, sizeof(sim_dump_path), 0, 0, NULL,
      "writes a recording by its name, and ends" },
    { "out", TEXT, sim_dump_to, sizeof(sim_dump_to), 0, 0, NULL,
      "where --dump-file writes" },
};

#define SIM_OPTIONS  (sizeof(sim_table) / sizeof(sim_table[0]))


static void
sim_usage(void)
{
    size_t             i;
    const sim_word_t  *w;

    printf("usage: mdvr-sim [--option value]...\n"
           "Devices that register, drive, film and answer; the options are\n"
           "explained in docs/simulator.md.\n\n");

    for (i = 0; i < SIM_OPTIONS; i++) {
        printf("  --%-18s %s", sim_table[i].name, sim_table[i].help);

        if (sim_table[i].words && sim_table[i].words != sim_words_yes) {
            printf(" (");

            for (w = sim_table[i].words; w->word; w++) {
                printf("%s%s", w == sim_table[i].words ? "" : "|", w->word);
            }

            printf(")");
        }

        printf("\n");
    }

    printf("  --%-18s %s\n  --%-18s %s\n", "origin",
           "LAT,LON of the first point of the track", "clock",
           "utc, minutes of offset, or wrong");
}


static bool
sim_bad(const char *name, const char *value, const char *why)
{
    fprintf(stderr, "mdvr-sim: invalid value \"%s\" of \"--%s\": %s\n",
            value, name, why);
    return false;
}


/* options that are more than one member */
static bool
sim_special(const char *name, const char *value, int word)
{
    static const mdvr_loc_layout_e  layouts[] = {
        MDVR_LOC_CURRENT, MDVR_LOC_CURRENT, MDVR_LOC_DOCUMENTED,
        MDVR_LOC_MINUTES
    };

    if (strcmp(name, "layout") == 0) {
        sim_options.layout = layouts[word];
        sim_options.bus_fields = word == 1 ? 12 : 9;
        return true;
    }

    if (strcmp(name, "tcp") == 0) {
        sim_options.tcp_batch = word == 9;
        sim_options.tcp = word == 9 ? SIM_TCP_WHOLE : (sim_tcp_e) word;
        return true;
    }

    if (strcmp(name, "origin") == 0) {
        sim_options.origin_set = true;

        return sscanf(value, "%lf,%lf", &sim_options.origin_lat,
                      &sim_options.origin_lon) == 2
               || sim_bad(name, value, "not LAT,LON");
    }

    if (strcmp(name, "clock") == 0) {

        if (strcmp(value, "utc") == 0) {
            return true;
        }

        if (strcmp(value, "wrong") == 0) {
            sim_options.clock_error_s = -5 * 365 * 86400LL;
            return true;
        }

        sim_options.clock_minutes = atoi(value);

        return (sim_options.clock_minutes != 0
                && abs(sim_options.clock_minutes) <= 900)
               || sim_bad(name, value, "not utc, wrong or -900..900");
    }

    return false;
}


static bool
sim_set(size_t i, const char *value)
{
    char              *end;
    double             v;
    const sim_word_t  *w;

    switch (sim_table[i].kind) {

    case TEXT:
        if (strlen(value) >= sim_table[i].size) {
            return sim_bad(sim_table[i].name, value, "too long");
        }

        strcpy(sim_table[i].to, value);
        return true;

    case FLAG:
        *(bool *) sim_table[i].to = true;
        return true;

    case WORD:
        for (w = sim_table[i].words; w->word; w++) {

            if (strcmp(w->word, value) != 0) {
                continue;
            }

            if (sim_table[i].to == NULL) {
                return sim_special(sim_table[i].name, value, w->value);
            }

            if (sim_table[i].size == sizeof(bool)) {
                *(bool *) sim_table[i].to = w->value;

            } else {
                *(unsigned *) sim_table[i].to = (unsigned) w->value;
            }

            return true;
        }

        return sim_bad(sim_table[i].name, value, "not one of its words");

    default:
        v = strtod(value, &end);

        /* "1s" and "10s" are seconds, too */

        if (end == value || (*end && strcmp(end, "s") != 0)
            || v < sim_table[i].min || v > sim_table[i].max)
        {
            return sim_bad(sim_table[i].name, value, "not in its range");
        }

        if (sim_table[i].kind == REAL) {
            *(double *) sim_table[i].to = v;

        } else if (sim_table[i].size == sizeof(uint64_t)) {
            *(uint64_t *) sim_table[i].to = (uint64_t) v;

        } else {
            *(unsigned *) sim_table[i].to = (unsigned) v;
        }

        return true;
    }
}


/* one "%" directive of the kind that is wanted, nothing else */
static bool
sim_format_valid(const char *s, const char *kinds, unsigned max)
{
    unsigned  n;

    for (n = 0; *s; s++) {

        if (*s != '%') {
            continue;
        }

        for (s++; *s >= '0' && *s <= '9'; s++) { /* void */ }

        if (*s == '\0' || strchr(kinds, *s) == NULL || ++n > max) {
            return false;
        }
    }

    return true;
}


static bool
sim_options_check(void)
{
    if (strcmp(sim_options.codec, "h264") != 0
        && strcmp(sim_options.codec, "h265") != 0)
    {
        return sim_bad("codec", sim_options.codec, "not h264 or h265");
    }

    if (!sim_format_valid(sim_options.serial_format, "ud", 1)) {
        return sim_bad("serial-format", sim_options.serial_format,
                       "needs one %u");
    }

    if (!sim_format_valid(sim_options.plate, "s", 1)) {
        return sim_bad("plate", sim_options.plate, "at most one %s");
    }

    if (sim_options.devices > 1 && sim_options.serial_format[0] == '\0') {
        strcpy(sim_options.serial_format, "SIM%05u");
    }

    if (sim_options.devices == 1
        && strlen(sim_options.serial) > MDVR_SERIAL_MAX)
    {
        return sim_bad("serial", sim_options.serial, "more than 20 bytes");
    }

    return true;
}


int
sim_options_read(int argc, char **argv)
{
    int          i;
    size_t       k;
    const char  *name, *value;

    for (i = 1; i < argc; i++) {
        name = argv[i];

        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            sim_usage();
            return 0;
        }

        if (strncmp(name, "--", 2) != 0) {
            fprintf(stderr, "mdvr-sim: \"%s\" is no option\n", name);
            return 2;
        }

        name += 2;

        for (k = 0; k < SIM_OPTIONS; k++) {
            if (strcmp(sim_table[k].name, name) == 0) {
                break;
            }
        }

        if (k < SIM_OPTIONS && sim_table[k].kind == FLAG) {
            (void) sim_set(k, "");
            continue;
        }

        if (k == SIM_OPTIONS && strcmp(name, "origin") != 0
            && strcmp(name, "clock") != 0)
        {
            fprintf(stderr, "mdvr-sim: unknown option \"--%s\"\n", name);
            return 2;
        }

        if (i + 1 == argc) {
            fprintf(stderr, "mdvr-sim: \"--%s\" needs a value\n", name);
            return 2;
        }

        value = argv[++i];

        if (k < SIM_OPTIONS ? !sim_set(k, value)
                            : !sim_special(name, value, 0))
        {
            return 2;
        }
    }

    return sim_options_check() ? -1 : 2;
}
