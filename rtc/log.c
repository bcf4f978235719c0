/*
 * The log: one JSON object a line on stderr.
 *
 * The level is that of MDVR_LOG_LEVEL_FILE (one word), else of
 * MDVR_LOG_LEVEL_RTC, else of MDVR_LOG_LEVEL.  SIGHUP reads the file again,
 * SIGUSR2 goes on to the next level; what they ask for is done by the loop.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "rtc/app.h"

static const char *const  log_words[] = { "ERROR", "WARN", "INFO", "DEBUG" };

enum {
    LOG_INFO = 2,
    LOG_LEVELS = 4
};

static unsigned     log_at = LOG_INFO;      /* of log_words */
static const char  *log_file;

static volatile sig_atomic_t  log_again, log_next;


static void
log_on_signal(int sig)
{
    if (sig == SIGHUP) {
        log_again = 1;

    } else {
        log_next = 1;
    }
}


/* nginx's names, in either case; false: another word. */

static bool
log_read(const char *word)
{
    if (strcasecmp(word, "notice") == 0) {
        word = "INFO";
    }

    for (unsigned i = 0; i < LOG_LEVELS; i++) {
        if (strcasecmp(word, log_words[i]) == 0) {
            log_at = i;
            return true;
        }
    }

    return false;
}


static void
log_file_read(void)
{
    char   word[16];
    FILE  *f;

    f = log_file ? fopen(log_file, "re") : NULL;

    if (f == NULL) {
        return;
    }

    if (fscanf(f, "%15s", word) == 1) {
        (void) log_read(word);
    }

    fclose(f);
}


bool
rtc_log_init(void)
{
    const char  *word;

    signal(SIGHUP, log_on_signal);
    signal(SIGUSR2, log_on_signal);

    word = getenv("MDVR_LOG_LEVEL_RTC");

    if (word == NULL || *word == '\0') {
        word = getenv("MDVR_LOG_LEVEL");
    }

    if (word && *word && !log_read(word)) {
        rtc_say("ERROR", "invalid log level \"%s\": it must be debug, info, "
                "notice, warn or error", word);
        return false;
    }

    log_file = getenv("MDVR_LOG_LEVEL_FILE");
    log_file_read();

    return true;
}


void
rtc_log_signals(void)
{
    if (log_again) {
        log_again = 0;
        log_file_read();
    }

    if (log_next) {
        log_next = 0;
        log_at = (log_at + 1) % LOG_LEVELS;
    }
}


void
rtc_say(const char *level, const char *fmt, ...)
{
    char             msg[512], at[32], when[40];
    va_list          args;
    struct tm        tm;
    struct timespec  now;

    for (unsigned i = log_at + 1; i < LOG_LEVELS; i++) {
        if (strcmp(level, log_words[i]) == 0) {
            return;
        }
    }

    va_start(args, fmt);
    vsnprintf(msg, sizeof(msg), fmt, args);
    va_end(args);

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when, sizeof(when), "%s.%03dZ", at,
             (int) (now.tv_nsec / 1000000));

    json_t *line = json_pack("{s:s,s:s,s:s,s:s}", "time", when, "level", level,
                             "component", "rtc", "msg", msg);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

    if (text) {
        fprintf(stderr, "%s\n", text);
    }

    free(text);
    json_decref(line);
}
