/*
 * mdvr-bus: looks into the frame bus of a running instance.
 *
 *   mdvr-bus <name> list                    one line per session
 *   mdvr-bus <name> start <device uuid> <serial> <channel> main|sub [s] [kind]
 *                                           makes a session that waits for its
 *                                           device for s seconds (20)
 *   mdvr-bus <name> end <slot>              ends one (the device is not told)
 *   mdvr-bus <name> view <slot> [s]         init segment and fragments to the
 *                                           standard output, as a viewer
 *   mdvr-bus <name> hls <slot>              the table of segments and parts
 *
 * MDVR_BUS_DIR is where the segment is, /dev/shm by default.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/mdvr_bus.h"


static mdvr_bus_t  *bus;


static int
usage(void)
{
    fputs("usage: mdvr-bus <name> list | start <device> <serial> <channel> "
          "main|sub [seconds] [kind] | end <slot> | view <slot> [seconds] | "
          "hls <slot>\n", stderr);
    return 2;
}


static int
complain(const char *what)
{
    fprintf(stderr, "mdvr-bus: %s\n", what);
    return 1;
}


static void
show(const mdvr_bus_info_t *i)
{
    int64_t      now = mdvr_bus_clock_ms();
    const char  *states[] = { "free", "starting", "live", "ending" };

    printf("slot=%u generation=%u session=%s kind=%d state=%s end=%s "
           "serial=%s channel=%u stream=%s codecs=%s size=%ux%u connected=%d "
           "viewers=%u frames=%llu keys=%llu bytes=%llu dropped=%llu "
           "gaps=%llu restarts=%u init=%u age_ms=%lld silent_ms=%lld\n",
           i->ref.index, i->ref.generation, i->session, (int) i->kind,
           states[i->state], mdvr_bus_end_name(i->end), i->serial, i->channel,
           i->stream ? "sub" : "main", i->codecs[0] ? i->codecs : "-",
           i->width, i->height, i->connected, i->viewers,
           (unsigned long long) i->frames, (unsigned long long) i->key_frames,
           (unsigned long long) i->bytes, (unsigned long long) i->dropped,
           (unsigned long long) i->discontinuities, i->restarts,
           i->init_version, (long long) (now - i->created_ms),
           (long long) (i->last_frame_ms ? now - i->last_frame_ms : -1));
}


static int
list(void)
{
    mdvr_bus_ref_t   ref;
    mdvr_bus_info_t  info;

    for (uint32_t n = 0; n < mdvr_bus_streams(bus); n++) {
        if (mdvr_bus_at(bus, n, &ref) == MDVR_OK
            && mdvr_bus_info(bus, ref, &info) == MDVR_OK)
        {
            show(&info);
        }
    }

    return 0;
}


static int
start(int argc, char **argv)
{
    bool               created;
    char               hex[33];
    size_t             n = 0;
    mdvr_bus_ref_t     ref;
    mdvr_bus_info_t    info;
    mdvr_bus_start_t   req;

    if (argc < 4) {
        return usage();
    }

    memset(&req, 0, sizeof(req));

    for (const char *p = argv[0]; *p && n < 32; p++) {
        if (*p != '-') {
            hex[n++] = *p;
        }
    }

    if (n != 32) {
        return complain("the device is not a UUID");
    }

    for (n = 0; n < 16; n++) {
        char  two[3] = { hex[2 * n], hex[2 * n + 1], '\0' };

        req.device_id[n] = (uint8_t) strtoul(two, NULL, 16);
    }

    req.serial = argv[1];
    req.channel = (uint8_t) atoi(argv[2]);
    req.stream = strcmp(argv[3], "sub") == 0;
    req.deadline_ms = mdvr_bus_clock_ms()
                      + 1000 * (argc > 4 ? atoi(argv[4]) : 20);
    req.kind = argc > 5 ? (mdvr_bus_kind_e) atoi(argv[5])
                        : MDVR_BUS_KIND_LIVE;
    req.note = argc > 6 ? argv[6] : NULL;

    if (mdvr_bus_start(bus, &req, mdvr_bus_clock_ms(), &ref, &created)
        != MDVR_OK
        || mdvr_bus_info(bus, ref, &info) != MDVR_OK)
    {
        return complain("no session could be made");
    }

    show(&info);

    return 0;
}


static int
view(mdvr_bus_ref_t ref, int seconds)
{
    int64_t             end = mdvr_bus_clock_ms() + seconds * 1000, left;
    size_t              len, cap = 16 << 20;
    uint32_t            have = 0, version;
    uint64_t            dirty[MDVR_BUS_DIRTY_WORDS];
    uint8_t            *buf = malloc(cap), head[MDVR_BUS_INIT_MAX];
    mdvr_rc_t           rc;
    mdvr_bus_rec_t      rec;
    mdvr_bus_info_t     info;
    mdvr_bus_reader_t   reader;

    if (buf == NULL || mdvr_bus_viewer_add(bus, ref) != MDVR_OK
        || mdvr_bus_reader_init(bus, ref, MDVR_BUS_RING_MEDIA, false, &reader)
           != MDVR_OK)
    {
        return complain("no such session");
    }

    mdvr_bus_want(bus, ref, MDVR_BUS_WANT_KEY);

    for ( ;; ) {

        rc = mdvr_bus_read(bus, &reader, &rec, buf, cap);

        if (rc == MDVR_OK) {

            if (rec.flags & MDVR_BUS_F_AUDIO) {
                continue;
            }

            if (rec.init_version != have
                && mdvr_bus_get_init(bus, ref, head, sizeof(head), &len,
                                     &version) == MDVR_OK)
            {
                fwrite(head, 1, len, stdout);
                have = version;
            }

            fwrite(buf, 1, rec.len, stdout);
            continue;
        }

        fflush(stdout);
        left = end - mdvr_bus_clock_ms();

        if (left <= 0 || mdvr_bus_info(bus, ref, &info) != MDVR_OK
            || info.state == MDVR_BUS_ENDING)
        {
            break;
        }

        struct pollfd  p = { mdvr_bus_fd(bus), POLLIN, 0 };

        if (poll(&p, 1, left > 200 ? 200 : (int) left) == 1) {
            (void) mdvr_bus_woken(bus, dirty);
        }
    }

    fprintf(stderr, "overruns=%llu skipped=%llu end=%s\n",
            (unsigned long long) reader.overruns,
            (unsigned long long) reader.skipped,
            mdvr_bus_info(bus, ref, &info) == MDVR_OK
            ? mdvr_bus_end_name(info.end) : "gone");
    mdvr_bus_viewer_del(bus, ref, mdvr_bus_clock_ms());
    free(buf);

    return 0;
}


static int
hls(mdvr_bus_ref_t ref)
{
    static mdvr_bus_hls_t  t;

    if (mdvr_bus_hls_get(bus, ref, &t) != MDVR_OK) {
        return complain("no such session");
    }

    for (uint32_t i = 0; i < t.n_segments; i++) {
        printf("segment %u%s%s init=%u parts=%u size=%u dur_us=%u\n",
               t.segment[i].msn, t.segment[i].closed ? "" : " open",
               t.segment[i].discont ? " discontinuity" : "",
               t.segment[i].init_version, t.segment[i].parts,
               t.segment[i].size, t.segment[i].dur_us);
    }

    for (uint32_t i = 0; i < t.n_parts; i++) {
        printf("part %u.%u%s offset=%u size=%u dur_us=%u\n", t.part[i].msn,
               t.part[i].part, t.part[i].independent ? " key" : "",
               t.part[i].offset, t.part[i].size, t.part[i].dur_us);
    }

    return 0;
}


int
main(int argc, char **argv)
{
    int              rc;
    char             err[256];
    const char      *dir = getenv("MDVR_BUS_DIR");
    mdvr_bus_ref_t   ref;

    if (argc < 3) {
        return usage();
    }

    if (mdvr_bus_attach(&bus, dir ? dir : "/dev/shm", argv[1], "mdvr-bus", err,
                        sizeof(err))
        != MDVR_OK)
    {
        return complain(err);
    }

    if (strcmp(argv[2], "list") == 0) {
        rc = list();

    } else if (strcmp(argv[2], "start") == 0) {
        rc = start(argc - 3, argv + 3);

    } else if (argc < 4) {
        rc = usage();

    } else if (mdvr_bus_at(bus, (uint32_t) atoi(argv[3]), &ref) != MDVR_OK) {
        rc = complain("no session in that slot");

    } else if (strcmp(argv[2], "end") == 0) {
        rc = mdvr_bus_end(bus, ref, MDVR_BUS_END_STOPPED) != MDVR_OK;

    } else if (strcmp(argv[2], "view") == 0) {
        rc = view(ref, argc > 4 ? atoi(argv[4]) : 86400);

    } else if (strcmp(argv[2], "hls") == 0) {
        rc = hls(ref);

    } else {
        rc = usage();
    }

    mdvr_bus_detach(bus);

    return rc;
}
