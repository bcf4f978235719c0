/* See track.h. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/loop.h"
#include "sim/track.h"

#define SIM_EARTH_M    6371000.0
#define SIM_DEG        (3.14159265358979323846 / 180)
#define SIM_ACCELERATE 1.4              /* metres per second and second */
#define SIM_BRAKE      2.2

/* a round through Zurich, main station to main station */
static const struct {
    double    lat, lon;
    unsigned  stop_s;
} sim_city[] = {
    { 47.37790, 8.54030, 20 }, { 47.37705, 8.54195, 0 },
    { 47.37672, 8.54365, 12 }, { 47.37560, 8.54370, 0 },
    { 47.37350, 8.54305, 0 },  { 47.37210, 8.54310, 0 },
    { 47.37050, 8.54345, 15 }, { 47.36870, 8.54460, 0 },
    { 47.36710, 8.54520, 18 }, { 47.36665, 8.54385, 0 },
    { 47.36650, 8.54200, 0 },  { 47.36640, 8.54085, 14 },
    { 47.36770, 8.53990, 0 },  { 47.36900, 8.53930, 0 },
    { 47.36970, 8.53890, 10 }, { 47.37080, 8.53650, 0 },
    { 47.37230, 8.53310, 0 },  { 47.37345, 8.52950, 16 },
    { 47.37490, 8.52830, 0 },  { 47.37630, 8.52700, 0 },
    { 47.37760, 8.52725, 0 },  { 47.37910, 8.52800, 12 },
    { 47.38080, 8.52910, 0 },  { 47.38270, 8.53050, 0 },
    { 47.38460, 8.53180, 90 }, { 47.38640, 8.52890, 0 },
    { 47.38830, 8.52580, 0 },  { 47.39010, 8.52270, 0 },
    { 47.39080, 8.52230, 15 }, { 47.38870, 8.51980, 0 },
    { 47.38530, 8.51750, 0 },  { 47.38270, 8.51480, 10 },
    { 47.38020, 8.51240, 0 },  { 47.37850, 8.51080, 14 },
    { 47.37760, 8.51350, 0 },  { 47.37640, 8.51750, 0 },
    { 47.37520, 8.52160, 12 }, { 47.37430, 8.52560, 0 },
    { 47.37345, 8.52950, 8 },  { 47.37350, 8.53180, 0 },
    { 47.37360, 8.53400, 0 },  { 47.37450, 8.53540, 0 },
    { 47.37560, 8.53660, 16 }, { 47.37700, 8.53810, 0 },
};


static double
sim_distance(const sim_point_t *a, const sim_point_t *b)
{
    double  x, y;

    x = (b->lon - a->lon) * SIM_DEG * cos((a->lat + b->lat) / 2 * SIM_DEG);
    y = (b->lat - a->lat) * SIM_DEG;

    return sqrt(x * x + y * y) * SIM_EARTH_M;
}


static double
sim_bearing(const sim_point_t *a, const sim_point_t *b)
{
    double  x, y, deg;

    x = (b->lon - a->lon) * cos((a->lat + b->lat) / 2 * SIM_DEG);
    y = b->lat - a->lat;
    deg = atan2(x, y) / SIM_DEG;

    return deg < 0 ? deg + 360 : deg;
}


static void
sim_track_measure(sim_track_t *t)
{
    unsigned  i;

    t->point[0].at_m = 0;

    for (i = 1; i < t->n; i++) {
        t->point[i].at_m = t->point[i - 1].at_m
                           + sim_distance(&t->point[i - 1], &t->point[i]);
    }

    t->length_m = t->point[t->n - 1].at_m
                  + sim_distance(&t->point[t->n - 1], &t->point[0]);
}


bool
sim_track_load(sim_track_t *t, const char *file)
{
    FILE         *f;
    char          line[256];
    double        lat, lon;
    unsigned      i, stop;
    sim_point_t  *p;

    t->n = 0;
    t->point = NULL;

    if (file == NULL) {
        t->n = sizeof(sim_city) / sizeof(sim_city[0]);
        t->point = sim_alloc(t->n * sizeof(sim_point_t));

        for (i = 0; i < t->n; i++) {
            t->point[i].lat = sim_city[i].lat;
            t->point[i].lon = sim_city[i].lon;
            t->point[i].stop_s = sim_city[i].stop_s;
        }

        sim_track_measure(t);
        return true;
    }

    f = fopen(file, "r");

    if (f == NULL) {
        fprintf(stderr, "mdvr-sim: cannot open track \"%s\"\n", file);
        return false;
    }

    while (fgets(line, sizeof(line), f)) {
        stop = 0;

        if (line[0] == '#' || sscanf(line, "%lf %lf %u", &lat, &lon, &stop)
                              < 2)
        {
            continue;
        }

        t->point = sim_realloc(t->point, (t->n + 1) * sizeof(sim_point_t));
        p = &t->point[t->n++];
        p->lat = lat;
        p->lon = lon;
        p->stop_s = stop;
    }

    fclose(f);

    if (t->n < 2) {
        fprintf(stderr, "mdvr-sim: track \"%s\" has fewer than two points\n",
                file);
        return false;
    }

    sim_track_measure(t);

    return true;
}


void
sim_track_move(sim_track_t *t, double lat, double lon)
{
    double    dlat, dlon, squeeze;
    unsigned  i;

    /* metres stay metres: degrees of longitude are shorter elsewhere */

    dlat = lat - t->point[0].lat;
    squeeze = cos(t->point[0].lat * SIM_DEG) / cos(lat * SIM_DEG);

    for (i = t->n; i > 0; i--) {
        dlon = (t->point[i - 1].lon - t->point[0].lon) * squeeze;
        t->point[i - 1].lat += dlat;
        t->point[i - 1].lon = lon + dlon;
    }

    sim_track_measure(t);
}


/* between the points `next - 1` and `next` */
static void
sim_drive_place(sim_drive_t *d)
{
    double              part, from_m, to_m;
    const sim_point_t  *a, *b;

    b = &d->track->point[d->next];
    a = &d->track->point[(d->next + d->track->n - 1) % d->track->n];
    from_m = a->at_m;
    to_m = d->next ? b->at_m : d->track->length_m;
    part = to_m > from_m ? (d->at_m - from_m) / (to_m - from_m) : 0;

    d->lat = a->lat + (b->lat - a->lat) * part + d->shift_lat;
    d->lon = a->lon + (b->lon - a->lon) * part + d->shift_lon;

    if (to_m > from_m) {
        d->course_deg = sim_bearing(a, b);
    }
}


/* change of direction at the point ahead, -180..180 */
static double
sim_drive_bend(const sim_drive_t *d)
{
    double              turn;
    const sim_point_t  *a, *b, *c;

    a = &d->track->point[(d->next + d->track->n - 1) % d->track->n];
    b = &d->track->point[d->next];
    c = &d->track->point[(d->next + 1) % d->track->n];
    turn = sim_bearing(b, c) - sim_bearing(a, b);

    if (turn > 180) {
        turn -= 360;
    }

    return turn < -180 ? turn + 360 : turn;
}


void
sim_drive_start(sim_drive_t *d, const sim_track_t *t, uint64_t seed)
{
    memset(d, 0, sizeof(sim_drive_t));

    d->track = t;
    d->random = seed;
    d->factor = 0.8 + 0.4 * sim_uniform(&d->random);
    d->at_m = sim_uniform(&d->random) * t->length_m;
    d->ignition = true;
    d->mileage_m = (double) (1000000 + sim_random(&d->random) % 90000000);
    d->fuel_l = 30 + 50 * sim_uniform(&d->random);

    for (d->next = 1; d->next < t->n && t->point[d->next].at_m <= d->at_m;
         d->next++)
    {
        /* void */
    }

    d->next %= t->n;
    sim_drive_place(d);
}


/* the point ahead has been reached */
static void
sim_drive_arrive(sim_drive_t *d)
{
    const sim_point_t  *p;

    p = &d->track->point[d->next];
    d->next = (d->next + 1) % d->track->n;

    if (d->next == 1) {
        d->at_m -= d->track->length_m;
    }

    /* lights are green for every third; long stops are always made */

    if (p->stop_s >= 60 || (p->stop_s && sim_random(&d->random) % 3)) {
        d->stop_left_s = p->stop_s * (0.7 + 0.6 * sim_uniform(&d->random));
        d->speed_kmh = 0;
        d->parked_s = 0;
        d->ignition = p->stop_s < 60;
    }
}


static void
sim_drive_second(sim_drive_t *d, double s)
{
    double              left_m, target, v, room, moved;
    const sim_point_t  *p;

    if (d->stop_left_s > 0) {
        d->stop_left_s -= s;
        d->parked_s += s;
        d->braking = d->stop_left_s > 1 && d->ignition;

        if (d->stop_left_s <= 0) {
            d->stop_left_s = 0;
            d->ignition = true;
            d->braking = false;
        }

        return;
    }

    p = &d->track->point[d->next];
    left_m = (d->next ? p->at_m : d->track->length_m) - d->at_m;
    d->turn_deg = left_m < 40 ? sim_drive_bend(d) : 0;

    target = 50 * d->factor;

    if (fabs(d->turn_deg) > 25) {
        target = 18;
    }

    if (p->stop_s) {

        /* the speed from which it can still stop at the point */

        room = sqrt(2 * SIM_BRAKE * (left_m > 1 ? left_m : 1)) * 3.6;
        target = room < target ? room : target;
    }

    v = d->speed_kmh / 3.6;
    d->braking = d->speed_kmh > target + 1;

    if (d->speed_kmh < target) {
        v += SIM_ACCELERATE * s;
        v = v > target / 3.6 ? target / 3.6 : v;

    } else {
        v -= SIM_BRAKE * s;
        v = v < target / 3.6 ? target / 3.6 : v;
    }

    v = v < 1.5 ? 1.5 : v;
    d->speed_kmh = v * 3.6;
    d->parked_s = 0;

    moved = v * s;
    d->at_m += moved;
    d->mileage_m += moved;
    d->fuel_l -= moved * 0.00025;

    if (d->fuel_l < 5) {
        d->fuel_l = 80;
    }

    if (moved >= left_m) {
        sim_drive_arrive(d);
    }

    sim_drive_place(d);
}


void
sim_drive_move(sim_drive_t *d, double seconds)
{
    double  s;

    /* more than ten minutes away: let only those pass */

    for (seconds = seconds > 600 ? 600 : seconds; seconds > 1e-6;
         seconds -= s)
    {
        s = seconds > 1 ? 1 : seconds;
        sim_drive_second(d, s);
    }
}
