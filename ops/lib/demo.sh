# The demo fleet: three vehicles of the first tenant, driven by the simulator,
# unless DEMO=0.  Their films are made by `make` (sim/clips.sh).

demo_wanted() { [ "${DEMO:-1}" != 0 ] && [ -x "$BIN/mdvr-sim" ] && [ -s "$MDVR_VAR/credentials.json" ]; }

demo_start() {
    local tenant clips=$TOP/build/clips
    if ! demo_wanted; then
        demo_stop
        return 0
    fi
    tenant=$(jq -r .tenant_id "$MDVR_VAR/credentials.json")
    say "adding the demo fleet (DEMO=0 leaves it out)"
    admin_sql -v tenant="$tenant" <<'SQL'
insert into mdvr.device (tenant_id, serial, name, plate, channels)
values (:'tenant', 'DEMO1', 'Bus 1', 'DEMO 1', 4),
       (:'tenant', 'DEMO2', 'Truck 2', 'DEMO 2', 4),
       (:'tenant', 'DEMO3', 'Van 3', 'DEMO 3', 4)
on conflict (serial) where deleted_at is null do nothing;
SQL
    if ! as "$SVC_USER" test -r "$clips/DEMO1-ch1-sub.h264"; then
        own "$ME" 755 "$STATE/clips"
        cp -ru "$clips/." "$STATE/clips/"
        clips=$STATE/clips
    fi
    daemon_start sim "$BIN/mdvr-sim" --server "$LOCAL" --signal-port "$MDVR_SIGNAL_PORT" --media-host "$LOCAL" \
        --media-port "$MDVR_MEDIA_PORT" --devices 3 --serial-format DEMO%u --first 1 --plate 'DEMO %s' --channels 4 \
        --clip-dir "$clips" --interval 2 --alarm-every 120 --retry 6
    demo_wait
}

# Until the vehicles are on the map, at most 10 s.
demo_wait() {
    local i n
    for ((i = 0; i < 50; i++)); do
        n=$(admin_sql -c "select count(*) from mdvr.position p join mdvr.device d on d.id = p.device_id
            where d.serial like 'DEMO_' and p.received_at > now() - interval '30 s'" 2>/dev/null || echo 0)
        [ "$n" -lt 3 ] || return 0
        sleep 0.2
    done
    say "the demo fleet is slow to report; see $LOG/sim.log"
}

demo_stop() { daemon_stop sim; }
