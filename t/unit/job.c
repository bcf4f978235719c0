/* Job kinds, their queues, and the document of a staged file. */

#include <stdio.h>
#include <string.h>

#include "mdvr/domain/job.h"
#include "mdvr/domain/keys.h"

static int  n, bad;

static void
is(mdvr_buf_t *b, const char *want, const char *what)
{
    bool  ok;

    ok = !b->full && b->len == strlen(want) && memcmp(b->p, want, b->len) == 0;
    printf("%sok %d - %s\n", ok ? "" : "not ", ++n, what);

    if (!ok) {
        bad++;
        printf("#  got: %.*s\n# want: %s\n", (int) b->len, b->p, want);
    }

    b->len = 0;
    b->full = false;
}


static void
ok(bool cond, const char *what)
{
    printf("%sok %d - %s\n", cond ? "" : "not ", ++n, what);
    bad += !cond;
}


int
main(void)
{
    char        text[1024];
    mdvr_buf_t  b = mdvr_buf(text, sizeof(text));
    mdvr_job_t  job = { .id = MDVR_STR("j") };

    mdvr_job_queue(&b, MDVR_JOB_INGEST, MDVR_STR("n1"));
    is(&b, "ingest@n1", "a local kind waits in its node's queue");
    mdvr_job_queue(&b, MDVR_JOB_TRANSCODE, MDVR_STR("n1"));
    is(&b, "transcode", "another in one for all");
    mdvr_key_job(&b, MDVR_STR("ingest@n1"), ":delayed");
    is(&b, "mdvr:job:{ingest@n1}:delayed",
       "keys of a queue share a hash tag");

    ok(mdvr_job_kind(MDVR_STR("transcode")) == MDVR_JOB_TRANSCODE,
       "a kind is found by its name");
    ok(mdvr_job_kind(MDVR_STR("transcodes")) == MDVR_JOB_KINDS,
       "and no other by another");

    mdvr_job_write(&b, MDVR_JOB_TRANSCODE, &job, 5);
    is(&b, "{\"id\":\"j\",\"kind\":\"transcode\",\"enqueued_ms\":5}",
       "what is not known is left out");

    job.file = MDVR_STR("/s/\"x\".bin");
    job.media_kind = "mp4";
    job.channel = 2;
    job.at_ms = -1000;
    job.duration_s = 7;
    mdvr_job_write(&b, MDVR_JOB_INGEST, &job, 5);
    is(&b, "{\"id\":\"j\",\"kind\":\"ingest\",\"enqueued_ms\":5,"
       "\"file\":\"/s/\\\"x\\\".bin\",\"media_kind\":\"mp4\",\"channel\":2,"
       "\"at_ms\":-1000,\"duration_s\":7}",
       "what is known is escaped and in order");

    b.cap = 20;
    mdvr_job_write(&b, MDVR_JOB_INGEST, &job, 5);
    ok(b.full, "a short buffer says so");

    printf("1..%d\n", n);
    return bad != 0;
}
