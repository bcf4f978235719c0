/*
 * The log: one JSON object a line on stdout.
 *
 * The level is that of all processes that come of one program: it lives in a
 * page that they share, so that a job that runs for minutes follows, too.
 * SIGHUP reads MDVR_LOG_LEVEL_FILE (one word) again, SIGUSR2 goes on to the
 * next level; both need nothing but a few system calls, inside the handler.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mdvr/basics/json.h"
#include "mdvr/dc/time.h"
#include "worker/worker.h"

#define WK_LOG_LINE   4096
#define WK_LOG_WITH   12

static const char *const  wk_log_words[] = { "ERROR", "WARN", "INFO", "DEBUG" };

static atomic_int   wk_log_own = WK_INFO;
static atomic_int  *wk_log_at = &wk_log_own;
static const char  *wk_log_file;

static struct {
    const char  *key;
    char         value[128];
} wk_with[WK_LOG_WITH];


/* nginx's names, in either case; false: another word. */

static bool
wk_log_read(const char *word, size_t len)
{
    unsigned  i;

    static const struct {
        const char  *name;
        wk_level_e   level;
    } words[] = {
        { "debug", WK_DEBUG }, { "info", WK_INFO }, { "notice", WK_INFO },
        { "warn", WK_WARN }, { "error", WK_ERROR }
    };

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (len == strlen(words[i].name)
            && strncasecmp(word, words[i].name, len) == 0)
        {
            atomic_store(wk_log_at, (int) words[i].level);
            return true;
        }
    }

    return false;
}


static void
wk_log_file_read(void)
{
    int      fd;
    char     word[16];
    size_t   len;
    ssize_t  n;

    if (wk_log_file == NULL) {
        return;
    }

    fd = open(wk_log_file, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    n = read(fd, word, sizeof(word));
    (void) close(fd);

    for (len = 0; n > 0 && len < (size_t) n; len++) {
        if (word[len] == '\n' || word[len] == ' ') {
            break;
        }
    }

    (void) wk_log_read(word, len);
}


static void
wk_log_on_signal(int signo)
{
    int  saved = errno;

    if (signo == SIGHUP) {
        wk_log_file_read();

    } else {
        atomic_store(wk_log_at, (atomic_load(wk_log_at) + 1) % 4);
    }

    errno = saved;
}


bool
wk_log_init(void)
{
    void              *page;
    const char        *word;
    struct sigaction   sa;

    page = mmap(NULL, sizeof(atomic_int), PROT_READ|PROT_WRITE,
                MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (page != MAP_FAILED) {
        atomic_init((atomic_int *) page, atomic_load(wk_log_at));
        wk_log_at = page;
    }

    word = getenv("MDVR_LOG_LEVEL_WORKER");

    if (word == NULL || *word == '\0') {
        word = getenv("MDVR_LOG_LEVEL");
    }

    if (word && *word && !wk_log_read(word, strlen(word))) {
        fprintf(stderr, "mdvr-worker: invalid log level \"%s\": it must be "
                "debug, info, notice, warn or error\n", word);
        return false;
    }

    wk_log_file = getenv("MDVR_LOG_LEVEL_FILE");

    if (wk_log_file && *wk_log_file == '\0') {
        wk_log_file = NULL;
    }

    wk_log_file_read();

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = wk_log_on_signal;
    sa.sa_flags = SA_RESTART;
    sigaction(SIGHUP, &sa, NULL);
    sigaction(SIGUSR2, &sa, NULL);

    return true;
}


void
wk_log_level_set(wk_level_e level)
{
    atomic_store(wk_log_at, (int) level);
}


wk_level_e
wk_log_level(void)
{
    return (wk_level_e) atomic_load(wk_log_at);
}


void
wk_log_with(const char *key, const char *value)
{
    unsigned  i;

    for (i = 0; i < WK_LOG_WITH; i++) {
        if (wk_with[i].key == NULL || strcmp(wk_with[i].key, key) == 0) {
            wk_with[i].key = key;
            snprintf(wk_with[i].value, sizeof(wk_with[i].value), "%s",
                     value ? value : "");
            return;
        }
    }
}


void
wk_log(wk_level_e level, const char *msg, ...)
{
    char          line[WK_LOG_LINE];
    va_list       args;
    unsigned      i;
    mdvr_buf_t    b;
    mdvr_json_t   j;
    uint8_t       stamp[40];
    mdvr_buf_t    s;
    const char   *key, *value;
    size_t        n;
    ssize_t       put;
    static bool   torn;

    if (level > wk_log_level()) {
        return;
    }

    b = mdvr_buf(line, sizeof(line) - 2);
    s = mdvr_buf(stamp, sizeof(stamp));
    mdvr_time_write_rfc3339(&s, wk_now_ms());

    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_str(&j, "time", mdvr_buf_view(&s));
    mdvr_json_cstr(&j, "level", wk_log_words[level]);
    mdvr_json_cstr(&j, "msg", msg);

    for (i = 0; i < WK_LOG_WITH && wk_with[i].key; i++) {
        if (wk_with[i].value[0]) {
            mdvr_json_cstr(&j, wk_with[i].key, wk_with[i].value);
        }
    }

    va_start(args, msg);

    while ((key = va_arg(args, const char *)) != NULL) {
        value = va_arg(args, const char *);
        if (value) {
            n = strnlen(value, 1000);
            mdvr_json_str(&j, key, mdvr_str(value, n));
        }
    }

    va_end(args);

    mdvr_json_object_end(&j);

    if (b.full) {                       /* too long: the message alone */
        b = mdvr_buf(line, sizeof(line) - 2);
        mdvr_json_init(&j, &b);
        mdvr_json_object(&j, NULL);
        mdvr_json_str(&j, "time", mdvr_buf_view(&s));
        mdvr_json_cstr(&j, "level", wk_log_words[level]);
        mdvr_json_cstr(&j, "msg", msg);
        mdvr_json_object_end(&j);
    }

    line[b.len] = '\n';

    /* a full disk takes half of a line: the next one begins a new line */

    if (torn && write(STDOUT_FILENO, "\n", 1) != 1) {
        return;
    }

    n = b.len + 1;
    put = write(STDOUT_FILENO, line, n);
    torn = put > 0 && (size_t) put < n;
}
