# Redis: a private one on a Unix socket under $STATE/redis, or MDVR_REDIS_URL:
#   redis://[user:password@]host:port   unix://[:password@]/path

redis_private() { [ -z "$MDVR_REDIS_URL" ]; }

redis_up() {
    [ "$(REDISCLI_AUTH=$(cat "$SECRETS/redis" 2>/dev/null) redis-cli -s "$REDIS_SOCK" ping 2>/dev/null)" = PONG ]
}

redis_start() {
    local i
    redis_find
    redis_private || return 0
    ! redis_up || return 0
    say "starting Redis"
    (
        umask 077
        cat >"$STATE/redis/redis.conf.new" <<TXT
port 0
unixsocket $REDIS_SOCK
unixsocketperm 770
requirepass $(cat "$SECRETS/redis")
daemonize yes
pidfile $RUN/redis/redis.pid
logfile $LOG/redis/redis.log
dir $STATE/redis
save ""
appendonly yes
appendfsync everysec
aof-use-rdb-preamble yes
maxmemory-policy noeviction
client-output-buffer-limit pubsub 64mb 16mb 60
TXT
    )
    [ "$SVC_USER" = "$ME" ] || chown "$SVC_USER" "$STATE/redis/redis.conf.new"
    mv -f "$STATE/redis/redis.conf.new" "$STATE/redis/redis.conf"
    as "$SVC_USER" env TZ=UTC redis-server "$STATE/redis/redis.conf" >"$LOG/redis/start.log" 2>&1 8>&- \
        || { cat "$LOG/redis/start.log" >&2; fail "Redis did not start"; }
    for i in $(seq 100); do
        ! redis_up || return 0
        sleep 0.05
    done
    tail -n 5 "$LOG/redis/redis.log" >&2
    fail "Redis does not answer (tried $i times)"
}

redis_stop() {
    local pid
    pid=$(cat "$RUN/redis/redis.pid" 2>/dev/null || true)
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || true
    gone "$pid" 15 || kill -9 "$pid" 2>/dev/null || true
    rm -f "$RUN/redis/redis.pid" "$REDIS_SOCK"
}

# Sets REDIS_URL (for people and other nodes) and REDIS_DIRECTIVE (for nginx).
redis_find() {
    local rest auth host port addr
    if redis_private; then
        REDIS_URL="unix://:$(cat "$SECRETS/redis")@$REDIS_SOCK"
        REDIS_PLACE="unix:$REDIS_SOCK"
        REDIS_PASSWORD_FILE=$SECRETS/redis
    else
        REDIS_URL=$MDVR_REDIS_URL
        rest=${REDIS_URL#*://}
        auth=
        case $rest in *@*) auth=${rest%@*} rest=${rest##*@} ;; esac
        case $REDIS_URL in
        unix://*) REDIS_PLACE=unix:${rest%%\?*} ;;
        redis://*)
            rest=${rest%%/*}
            host=${rest%%:*} port=${rest##*:}
            [ "$port" != "$rest" ] || port=6379
            addr=$(getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }')
            [ -n "$addr" ] || fail "cannot resolve the Redis host $host"
            REDIS_PLACE=redis://$addr:$port ;;
        *) fail "MDVR_REDIS_URL must begin with redis:// or unix://" ;;
        esac
        REDIS_PASSWORD_FILE=
        if [ -n "${auth#*:}" ]; then
            printf '%b\n' "$(sed 's/%/\\x/g' <<<"${auth#*:}")" | put_secret redis-external "$SVC_USER"
            REDIS_PASSWORD_FILE=$SECRETS/redis-external
        fi
    fi
    REDIS_DIRECTIVE="$REDIS_PLACE${REDIS_PASSWORD_FILE:+ password_file=$REDIS_PASSWORD_FILE}"
}
