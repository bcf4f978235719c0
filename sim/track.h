/*
 * A drive along a closed line of points: speed with acceleration, slower in
 * bends, stops at lights and a long stop with the ignition off.  The same
 * seed gives the same drive.
 */

#ifndef SIM_TRACK_H
#define SIM_TRACK_H

#include "mdvr/basics/str.h"

typedef struct {
    double    lat, lon;             /* degrees */
    double    at_m;                 /* distance from the first point */
    unsigned  stop_s;               /* 0: drive through */
} sim_point_t;

typedef struct {
    sim_point_t  *point;            /* the last one leads to the first */
    unsigned      n;
    double        length_m;
} sim_track_t;

/* The built-in round through a city, or "lat lon [stop seconds]" lines of a
 * file; false with a message on stderr. */
bool sim_track_load(sim_track_t *t, const char *file);

/* Moves the whole line so that its first point lies at lat, lon. */
void sim_track_move(sim_track_t *t, double lat, double lon);

typedef struct {
    const sim_track_t  *track;
    uint64_t  random;
    unsigned  next;                 /* index of the point ahead */
    double    at_m;                 /* along the track */
    double    shift_lat, shift_lon; /* this device's place in the world */
    double    factor;               /* of speed */

    double    lat, lon;
    double    speed_kmh;
    double    course_deg;
    double    turn_deg;             /* of the bend being driven, signed */
    bool      braking;
    bool      ignition;
    double    stop_left_s;          /* standing for so long still */
    double    parked_s;             /* standing since */
    double    mileage_m;
    double    fuel_l;
} sim_drive_t;

void sim_drive_start(sim_drive_t *d, const sim_track_t *t, uint64_t seed);

/* Lets `seconds` pass.  What changed is in the members. */
void sim_drive_move(sim_drive_t *d, double seconds);

#endif /* SIM_TRACK_H */
