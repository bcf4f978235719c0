# nginx: the configuration made from conf/nginx.conf.in, start, reload, stop.

# alive <pid>: it runs; one that waits to be reaped does not
alive() { [ -n "$1" ] && [ -e "/proc/$1/stat" ] && ! grep -q ') [ZX] ' "/proc/$1/stat" 2>/dev/null; }

# gone <pid> <seconds>: waits until a process has left
gone() {
    local i
    for ((i = 0; i < $2 * 20; i++)); do
        alive "$1" || return 0
        sleep 0.05
    done
    return 1
}

nginx_pid() {
    local pid
    pid=$(cat "$RUN/nginx.pid" 2>/dev/null) && [ -n "$pid" ] \
        && alive "$pid" && grep -q nginx "/proc/$pid/comm" 2>/dev/null && echo "$pid"
}

nginx_up() { [ -n "$(nginx_pid)" ]; }

nginx_ready() { curl -fsS -o /dev/null -m 3 "http://$LOCAL:$MDVR_HTTP_PORT/readyz" 2>/dev/null; }

# Fills @NAME@ in the template; a line "@IF NAME@ text" stays when NAME is set.
nginx_fill() {
    local text name value
    text=$(cat)
    for name in "$@"; do
        value=${!name}
        if [ -n "$value" ]; then
            text=${text//"@IF $name@ "/}
        else
            text=$(grep -v "@IF $name@ " <<<"$text" || true)
        fi
        text=${text//"@$name@"/"$value"}
    done
    printf '%s\n' "$text"
}

nginx_write() {
    local files MODULE STREAM_MODULE USER_LINE WORKERS NOFILE CONNECTIONS PREPARE PG_STREAM PG_API OBJECTS S3 WEBHOOK_ALLOW TRACE
    database_find; redis_find
    MODULE=${MDVR_MODULE:-$TOP/build/ngx_mdvr_module.so}
    STREAM_MODULE=/usr/lib/nginx/modules/ngx_stream_module.so
    [ -e $STREAM_MODULE ] || STREAM_MODULE=
    USER_LINE=
    [ "$ME" != root ] || USER_LINE="$SVC_USER $(id -gn $SVC_USER)"
    WORKERS=$MDVR_WORKERS
    files=$(ulimit -Hn)
    [ "$files" != unlimited ] && [ "$files" -lt 200000 ] || files=200000
    NOFILE=$files
    CONNECTIONS=$((files - files / 10))
    [ "$CONNECTIONS" -lt 65536 ] || CONNECTIONS=65536
    PG_STREAM=$(role_conninfo mdvr_stream)
    PG_API=$(role_conninfo mdvr_api)
    WEBHOOK_ALLOW=${MDVR_WEBHOOK_ALLOW:-}
    WEBHOOK_ALLOW=${WEBHOOK_ALLOW//,/ }
    OBJECTS=$STATE/objects
    S3=
    case ${MDVR_STORAGE:-} in
        file:/*) OBJECTS=${MDVR_STORAGE#file:} ;;
        file:?*) OBJECTS=$PWD/${MDVR_STORAGE#file:} ;;
        s3:*)
            S3="$MDVR_S3_ENDPOINT $MDVR_S3_BUCKET region=${MDVR_S3_REGION:-us-east-1}"
            S3+=" access_key_file=$(realpath "$MDVR_S3_ACCESS_KEY_FILE") secret_key_file=$(realpath "$MDVR_S3_SECRET_KEY_FILE")"
            [ -z "$MDVR_S3_PREFIX" ] || S3+=" prefix=${MDVR_S3_PREFIX%/}/"
            ;;
    esac
    PREPARE=$MDVR_DATABASE_PREPARE
    if [ -z "$PREPARE" ]; then
        PREPARE=off
        ! postgres_private || PREPARE=on
    fi
    TRACE=
    [ -z "$MDVR_OTLP_ENDPOINT" ] || TRACE="$STATE/state/trace.sock sample=${MDVR_TRACE_SAMPLE:-1}"
    local component
    for component in SIGNALING MEDIA API WS CORE; do
        local set=MDVR_LOG_LEVEL_$component
        printf -v "LEVEL_$component" %s "${!set:-$MDVR_LOG_LEVEL}"
    done
    nginx_fill LEVEL_SIGNALING LEVEL_MEDIA LEVEL_API LEVEL_WS LEVEL_CORE TOP STATE RUN LOG WWW SECRETS NODE MODULE STREAM_MODULE USER_LINE WORKERS NOFILE CONNECTIONS BUS_DIR \
        PG_STREAM PG_API PREPARE OBJECTS S3 WEBHOOK_ALLOW REDIS_DIRECTIVE MDVR_LISTEN MDVR_PUBLIC_HOST MDVR_NODE_URL \
        MDVR_SIGNAL_PORT MDVR_MEDIA_PORT MDVR_HTTP_PORT MDVR_WS_PORT MDVR_HTTPS_PORT MDVR_LOG_LEVEL \
        MDVR_TILE_URL MDVR_NGINX_EXTRA TRACE <"$TOP/conf/nginx.conf.in" >"$RUN/nginx.conf.new"
    NGINX_CHANGED=
    cmp -s "$RUN/nginx.conf.new" "$RUN/nginx.conf" || NGINX_CHANGED=yes
    mv -f "$RUN/nginx.conf.new" "$RUN/nginx.conf"
}

nginx_command() {
    ( cd "$STATE" && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TZ=UTC LC_ALL=C.UTF-8 \
        ${MDVR_NGINX_ENV:-} "$MDVR_NGINX" -p "$STATE" -c "$RUN/nginx.conf" -e "$RUN/nginx-error.raw" "$@" 8>&- )
}

nginx_start() {
    if nginx_up; then
        [ -z "$NGINX_CHANGED" ] || { say "the configuration changed: reloading nginx"; nginx_reload; }
        return 0
    fi
    say "starting nginx"
    nginx_command 2>"$RUN/nginx-start.log" || {
        sed 's/^nginx: //' "$RUN/nginx-start.log" | tail -n 5 >&2
        fail "nginx did not start"
    }
}

# Our ports are shared between workers (reuseport), so the kernel would let two
# instances of one user share them too, and give devices to either.
nginx_ports_free() {
    local name port
    for name in SIGNAL MEDIA HTTP WS HTTPS; do
        port=MDVR_${name}_PORT
        ! (exec 3<>"/dev/tcp/$LOCAL/${!port}") 2>/dev/null \
            || fail "another program uses port ${!port}; choose another one with $port"
    done
}

nginx_reload() {
    nginx_command -t 2>"$RUN/nginx-start.log" || { tail -n 5 "$RUN/nginx-start.log" >&2; fail "the configuration is not valid; nothing was changed"; }
    kill -HUP "$(nginx_pid)"
}

# Each worker has connections of its own, and the kernel chooses which of them
# answers: ready is who is ready many times in a row.
nginx_wait_ready() {
    local i good=0 want=$((4 * $(pgrep -c -P "$(nginx_pid)" || echo 1)))
    for ((i = 0; i < 300 + want; i++)); do
        if nginx_ready; then
            good=$((good + 1))
            [ $good -lt "$want" ] || return 0
        else
            good=0
            nginx_up || break
            sleep 0.1
        fi
    done
    curl -sS -m 3 "http://$LOCAL:$MDVR_HTTP_PORT/readyz" >&2 || true
    tail -n 10 "$LOG/nginx.log" >&2 2>/dev/null || true
    fail "the instance did not become ready; see $LOG"
}

# TERM, not QUIT: devices reconnect by themselves, and the user waits
nginx_stop() {
    local pid
    pid=$(nginx_pid) || return 0
    kill -TERM "$pid" 2>/dev/null || true
    if ! gone "$pid" 20; then
        pkill -KILL -P "$pid" 2>/dev/null || true
        kill -KILL "$pid" 2>/dev/null || true
    fi
}
