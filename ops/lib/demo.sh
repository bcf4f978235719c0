# The demo fleet: devices of the first tenant, driven by the simulator.
demo_start() { :; }
demo_stop() { daemon_stop sim; }
