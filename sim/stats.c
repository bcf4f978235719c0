/* Counters and latencies: as a line while running, as JSON at the end. */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/basics/json.h"
#include "sim/sim.h"

sim_stats_t  sim_stats;

static uint32_t  *sim_latencies;            /* microseconds */
static size_t     sim_nlatencies, sim_caplatencies;


void
sim_stats_registered(uint64_t us)
{
    if (sim_nlatencies == sim_caplatencies) {
        sim_caplatencies = sim_caplatencies ? 2 * sim_caplatencies : 1024;
        sim_latencies = sim_realloc(sim_latencies, sim_caplatencies
                                    * sizeof(sim_latencies[0]));
    }

    sim_latencies[sim_nlatencies++] = us > UINT32_MAX ? UINT32_MAX
                                                      : (uint32_t) us;
}


static int
sim_stats_compare(const void *a, const void *b)
{
    uint32_t  x = *(const uint32_t *) a, y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}


static double
sim_stats_ms(double part)
{
    size_t  i;

    if (sim_nlatencies == 0) {
        return 0;
    }

    i = (size_t) (part * (double) sim_nlatencies);

    return sim_latencies[i < sim_nlatencies ? i : sim_nlatencies - 1] / 1e3;
}


static void
sim_stats_states(unsigned *connected, unsigned *online)
{
    unsigned  i;

    *connected = *online = 0;

    for (i = 0; i < sim_options.devices; i++) {
        *connected += sim_devices[i].state == SIM_REGISTERING
                      || sim_devices[i].state == SIM_ONLINE;
        *online += sim_devices[i].state == SIM_ONLINE;
    }
}


void
sim_stats_line(void)
{
    unsigned                connected, online;
    static uint64_t         before_us, before;

    uint64_t  now;
    double    rate;

    now = sim_now_exact_us();
    rate = before_us ? (double) (sim_stats.positions_sent - before) * 1e6
                       / (double) (now - before_us) : 0;
    before_us = now;
    before = sim_stats.positions_sent;
    sim_stats_states(&connected, &online);

    sim_log(false, "%u of %u registered, %.0f positions/s, %llu answers, "
            "%llu frames (%llu lost), %llu media bytes", online,
            sim_options.devices, rate,
            (unsigned long long) sim_stats.answers,
            (unsigned long long) sim_stats.frames_sent,
            (unsigned long long) sim_stats.frames_lost,
            (unsigned long long) sim_stats.media_bytes);
}


void
sim_stats_write(const char *path)
{
    char         mem[8192], part[300];
    FILE        *f;
    unsigned     connected, online;
    mdvr_buf_t   b;
    mdvr_json_t  j;

    if (sim_nlatencies) {
        qsort(sim_latencies, sim_nlatencies, sizeof(sim_latencies[0]),
              sim_stats_compare);
    }

    sim_stats_states(&connected, &online);

    b = mdvr_buf(mem, sizeof(mem));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_u64(&j, "devices", sim_options.devices);
    mdvr_json_u64(&j, "connected", connected);
    mdvr_json_u64(&j, "registered", online);
    mdvr_json_object(&j, "registration_ms");
    mdvr_json_u64(&j, "count", sim_nlatencies);
    mdvr_json_dec(&j, "p50", sim_stats_ms(0.50), 3);
    mdvr_json_dec(&j, "p95", sim_stats_ms(0.95), 3);
    mdvr_json_dec(&j, "p99", sim_stats_ms(0.99), 3);
    mdvr_json_dec(&j, "max", sim_stats_ms(1.00), 3);
    mdvr_json_object_end(&j);

#define SIM_COUNTER(name)  mdvr_json_u64(&j, #name, sim_stats.name);
    SIM_COUNTERS(SIM_COUNTER)
#undef SIM_COUNTER

    mdvr_json_object_end(&j);
    mdvr_buf_chr(&b, '\n');

    /* the file appears whole */

    snprintf(part, sizeof(part), "%s.part", path);
    f = fopen(part, "w");

    if (f == NULL) {
        sim_log(false, "cannot write %s", part);
        return;
    }

    fwrite(mem, 1, b.len, f);
    fclose(f);

    if (rename(part, path) != 0) {
        sim_log(false, "cannot rename %s", part);
    }
}
