# Daemons beside nginx, each kept running by mdvr-keeper, which restarts it
# within a second.

daemon_start() {   # <name> <program> [argument]...
    local name=$1; shift
    ( cd "$STATE" && exec "$BIN/mdvr-keeper" -n "$name" -r "$RUN" -l "$LOG/$name.log" \
        -u "$SVC_USER" -- "$@" 8>&- )
}

daemon_up() {
    local pid
    pid=$(cat "$RUN/$1.keeper" 2>/dev/null) && alive "$pid"
}

daemon_names() {
    local f
    for f in "$RUN"/*.keeper; do
        [ ! -e "$f" ] || basename "$f" .keeper
    done
}

daemon_stop() {
    local pid
    pid=$(cat "$RUN/$1.keeper" 2>/dev/null || true)
    [ -n "$pid" ] && grep -q mdvr-keeper "/proc/$pid/comm" 2>/dev/null || { rm -f "$RUN/$1.keeper"; return 0; }
    kill "$pid" 2>/dev/null || true
    gone "$pid" 15 || kill -9 "$pid" 2>/dev/null || true
}

# What the daemons are told, in the environment.
daemons_env() {
    local entry name
    for entry in "${SETTINGS[@]}"; do
        name=${entry%%=*}
        [ -z "${!name}" ] || export "${name?}"
    done
    MDVR_PG_CONNINFO=$(role_conninfo mdvr_worker)
    export MDVR_PG_CONNINFO
    export MDVR_REDIS=$REDIS_PLACE MDVR_REDIS_PASSWORD_FILE=$REDIS_PASSWORD_FILE
    export MDVR_NODE=$NODE MDVR_STATE_DIR=$STATE/state MDVR_BUS=$NODE MDVR_BUS_DIR=$BUS_DIR
    export MDVR_STORAGE=${MDVR_STORAGE:-file:$STATE/objects} MDVR_TMP=$STATE/tmp
    [ -z "${MDVR_OTLP_ENDPOINT:-}" ] || export MDVR_TRACE_SOCKET=$STATE/state/trace.sock
    export MDVR_LOG_LEVEL_FILE=$RUN/worker.level
    export MDVR_SECRET_KEY_FILE=$SECRETS/seal
    export MDVR_STORAGE_KEY_FILE=$SECRETS/storage TZ=UTC LC_ALL=C.UTF-8
}

# The level of the worker's processes and of mdvr-rtc: read when they start and with SIGHUP.
daemons_level() {
    local name level
    level=${MDVR_LOG_LEVEL_RTC:-$MDVR_LOG_LEVEL}
    if [ "$(cat "$RUN/rtc.level" 2>/dev/null)" != "$level" ]; then
        echo "$level" >"$RUN/rtc.level"
        ! daemon_up rtc || kill -HUP "$(cat "$RUN/rtc.keeper")"
    fi
    level=${MDVR_LOG_LEVEL_WORKER:-$MDVR_LOG_LEVEL}
    [ "$(cat "$RUN/worker.level" 2>/dev/null)" != "$level" ] || return 0
    echo "$level" >"$RUN/worker.level"
    for name in worker sound h264 watch traces; do
        ! daemon_up "$name" || kill -HUP "$(cat "$RUN/$name.keeper")"
    done
}

daemons_start() {
    daemons_level
    (
        daemons_env
        if [ -x "$BIN/mdvr-worker" ]; then
            daemon_start worker "$BIN/mdvr-worker"
            daemon_start sound "$BIN/mdvr-worker" sound
            daemon_start h264 "$BIN/mdvr-worker" h264
            [ "${MDVR_AI_LIVE:-off}" != on ] || daemon_start watch "$BIN/mdvr-worker" watch
            [ -z "${MDVR_OTLP_ENDPOINT:-}" ] || daemon_start traces "$BIN/mdvr-worker" traces
        fi
        if [ -x "$BIN/mdvr-rtc" ]; then
            MDVR_LOG_LEVEL_FILE=$RUN/rtc.level daemon_start rtc "$BIN/mdvr-rtc"
        fi
    )
}

daemons_stop() {
    daemon_stop worker
    daemon_stop sound
    daemon_stop h264
    daemon_stop watch
    daemon_stop rtc
    daemon_stop traces
}
