/* The command line of the simulator. */

#ifndef SIM_OPTIONS_H
#define SIM_OPTIONS_H

#include "sim/sim.h"

/* -1: go on; else the exit status (0 after --help, 2 after a mistake, which
 * has been told on stderr) */
int sim_options_read(int argc, char **argv);

/* --dump-file and --out; empty when not given */
extern char  sim_dump_path[256], sim_dump_to[256];

#endif /* SIM_OPTIONS_H */
