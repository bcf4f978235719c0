/* Settings from the environment, clocks and identifiers. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "worker/s3.h"

static unsigned
wk_conf_number(const char *name, unsigned min, unsigned max, unsigned value,
    bool *bad)
{
    char           *end;
    const char     *text;
    unsigned long   n;

    text = getenv(name);

    if (text == NULL || *text == '\0') {
        return value;
    }

    errno = 0;
    n = strtoul(text, &end, 10);

    if (errno || *end || !isdigit((unsigned char) *text) || n < min
        || n > max)
    {
        fprintf(stderr, "mdvr-worker: invalid value \"%s\" of %s: it must be "
                "between %u and %u\n", text, name, min, max);
        *bad = true;
        return value;
    }

    return (unsigned) n;
}


static char *
wk_conf_secret(const char *file)
{
    char    line[512], *p;
    FILE   *f;

    f = fopen(file, "r");
    if (f == NULL) {
        fprintf(stderr, "mdvr-worker: cannot open %s: %s\n", file,
                strerror(errno));
        return NULL;
    }

    p = fgets(line, sizeof(line), f);
    fclose(f);

    if (p == NULL) {
        fprintf(stderr, "mdvr-worker: %s is empty\n", file);
        return NULL;
    }

    line[strcspn(line, "\r\n")] = '\0';

    return strdup(line);
}


/* A setting that is absent when it is empty. */

static const char *
wk_conf_text(const char *name)
{
    const char  *text;

    text = getenv(name);

    return text && *text ? text : NULL;
}


static const char *
wk_conf_or(const char *name, const char *otherwise)
{
    const char  *text;

    text = wk_conf_text(name);

    return text ? text : otherwise;
}


/* Without the slash at the end, or with one. */

static char *
wk_conf_slash(const char *text, bool slash)
{
    char    *p;
    size_t   n;

    n = strlen(text);
    p = malloc(n + 2);

    if (p == NULL) {
        return NULL;
    }

    while (n && text[n - 1] == '/') {
        n--;
    }

    memcpy(p, text, n);

    if (slash && n) {
        p[n++] = '/';
    }

    p[n] = '\0';

    return p;
}


static bool
wk_conf_s3(wk_conf_t *conf, bool *bad)
{
    char         error[200];
    const char  *text;

    if (strncmp(conf->storage, "s3:", 3) != 0) {
        return true;
    }

    text = wk_conf_text("MDVR_S3_ENDPOINT");
    conf->s3_endpoint = text ? wk_conf_slash(text, false) : NULL;
    conf->s3_bucket = wk_conf_text("MDVR_S3_BUCKET");
    text = wk_conf_text("MDVR_S3_REGION");
    conf->s3_region = text ? text : "us-east-1";
    text = wk_conf_text("MDVR_S3_PREFIX");
    conf->s3_prefix = text ? wk_conf_slash(text, true) : "";
    conf->s3_encryption = wk_conf_text("MDVR_S3_ENCRYPTION");
    conf->s3_kms_key = wk_conf_text("MDVR_S3_KMS_KEY");
    conf->s3_part = (uint64_t) wk_conf_number("MDVR_S3_PART_MB", 5, 512, 8,
                                              bad) << 20;

    text = wk_conf_text("MDVR_S3_ACCESS_KEY_FILE");

    if (text && (conf->s3_access_key = wk_conf_secret(text)) == NULL) {
        return false;
    }

    text = wk_conf_text("MDVR_S3_SECRET_KEY_FILE");

    if (text && (conf->s3_secret_key = wk_conf_secret(text)) == NULL) {
        return false;
    }

    if (!wk_s3_check(conf, error, sizeof(error))) {
        fprintf(stderr, "mdvr-worker: %s\n", error);
        return false;
    }

    return true;
}


/* Without a file nothing sealed can be opened, and nothing is. */

static bool
wk_conf_seal(wk_conf_t *conf)
{
    const char  *file, *wrong;

    file = wk_conf_text("MDVR_SECRET_KEY_FILE");
    wrong = file ? mdvr_seal_read(&conf->seal, file) : NULL;

    if (wrong) {
        fprintf(stderr, "mdvr-worker: the file %s of MDVR_SECRET_KEY_FILE %s\n",
                file, wrong);
    }

    return wrong == NULL;
}


bool
wk_conf_read(wk_conf_t *conf)
{
    bool         bad;
    long         cores;
    unsigned     i;
    const char  *text;

    bad = false;
    memset(conf, 0, sizeof(*conf));

    cores = sysconf(_SC_NPROCESSORS_ONLN);
    text = getenv("MDVR_NODE");

    if (text == NULL || *text == '\0') {
        text = "worker";
    }

    for (i = 0; text[i]; i++) {
        if (i == 64 || (!isalnum((unsigned char) text[i])
                        && strchr("._-", text[i]) == NULL))
        {
            fprintf(stderr, "mdvr-worker: invalid MDVR_NODE \"%s\"\n", text);
            return false;
        }
    }

    snprintf(conf->node, sizeof(conf->node), "%s", text);
    snprintf(conf->name, sizeof(conf->name), "%s-%d", conf->node,
             (int) getpid());

    conf->pg = getenv("MDVR_PG_CONNINFO");
    conf->redis = getenv("MDVR_REDIS");
    conf->state_dir = getenv("MDVR_STATE_DIR");
    conf->storage = getenv("MDVR_STORAGE");
    conf->tmp = getenv("MDVR_TMP");

    if (conf->tmp == NULL) {
        conf->tmp = "/tmp";
    }

    if (conf->pg == NULL || conf->redis == NULL || conf->storage == NULL) {
        fprintf(stderr, "mdvr-worker: MDVR_PG_CONNINFO, MDVR_REDIS and "
                "MDVR_STORAGE must be set\n");
        return false;
    }

    text = getenv("MDVR_REDIS_PASSWORD_FILE");

    if (text && *text) {
        conf->redis_password = wk_conf_secret(text);
        if (conf->redis_password == NULL) {
            return false;
        }
    }

    conf->slots = wk_conf_number("MDVR_WORKER_JOBS", 1, 64,
                                 cores > 0 && cores < 64 ? (unsigned) cores : 2,
                                 &bad);
    conf->lease_ms = wk_conf_number("MDVR_WORKER_LEASE_MS", 500, 600000,
                                    30000, &bad);
    conf->retry_ms = wk_conf_number("MDVR_WORKER_RETRY_MS", 10, 60000, 2000,
                                    &bad);
    conf->tick_ms = wk_conf_number("MDVR_WORKER_TICK_MS", 100, 60000, 5000,
                                   &bad);
    conf->orphan_s = wk_conf_number("MDVR_WORKER_ORPHAN_S", 1, 2592000, 86400,
                                    &bad);
    conf->memory = (uint64_t) wk_conf_number("MDVR_WORKER_JOB_MEMORY_MB", 256,
                                             65536, 2048, &bad) << 20;
    conf->spare = (uint64_t) wk_conf_number("MDVR_WORKER_SPARE_MB", 0, 1048576,
                                            256, &bad) << 20;

    conf->ai = wk_conf_or("MDVR_AI", "all");
    conf->ai_frames = wk_conf_number("MDVR_AI_FRAMES", 1, 500, 30, &bad);
    conf->ai_driver = wk_conf_or("MDVR_AI_DRIVER_CHANNELS", "");
    conf->ai_cascades = wk_conf_or("MDVR_AI_CASCADES",
                                   "/usr/share/opencv4/haarcascades");
    conf->ai_model = wk_conf_text("MDVR_AI_MODEL");
    conf->ai_labels = wk_conf_text("MDVR_AI_LABELS");
    conf->ai_layout = wk_conf_or("MDVR_AI_LAYOUT", "yolov5");
    conf->ai_size = wk_conf_or("MDVR_AI_SIZE", "640x640");
    conf->ai_threshold = wk_conf_number("MDVR_AI_THRESHOLD", 1, 100, 50,
                                        &bad);

    if (!wk_conf_s3(conf, &bad) || !wk_conf_seal(conf)) {
        return false;
    }

    return !bad;
}


int64_t
wk_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int64_t
wk_clock_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


void
wk_uuid(char *out)
{
    int       i;
    uint8_t   u[16];
    int64_t   ms;

    ms = wk_now_ms();

    if (getrandom(u, sizeof(u), 0) != (ssize_t) sizeof(u)) {
        abort();                        /* never for 16 bytes */
    }

    for (i = 0; i < 6; i++) {
        u[i] = (uint8_t) (ms >> (40 - 8 * i));
    }

    u[6] = 0x70 | (u[6] & 0x0f);
    u[8] = 0x80 | (u[8] & 0x3f);

    for (i = 0; i < 16; i++) {
        out += sprintf(out, "%s%02x",
                       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                       u[i]);
    }
}


bool
wk_is_uuid(const char *s)
{
    int  i;

    for (i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s[i] != '-') {
                return false;
            }

        } else if (!isxdigit((unsigned char) s[i])) {
            return false;
        }
    }

    return s[36] == '\0';
}


int64_t
wk_uuid_ms(const char *uuid)
{
    unsigned  hi, lo;

    if (!wk_is_uuid(uuid) || uuid[14] != '7'
        || sscanf(uuid, "%8x-%4x", &hi, &lo) != 2)
    {
        return 0;
    }

    return ((int64_t) hi << 16) | lo;
}
