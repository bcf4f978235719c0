# Settings: read (environment, else $MDVR_VAR/mdvr.env, else default), checked,
# and written back as $MDVR_VAR/mdvr.env.  Sourced by ops/mdvr.

# name=default; "-" means unset.  MDVR_VAR itself never comes from the file.
SETTINGS=(
    MDVR_SIGNAL_PORT=1087
    MDVR_MEDIA_PORT=6602
    MDVR_HTTP_PORT=3000
    MDVR_WS_PORT=4000
    MDVR_HTTPS_PORT=3443
    MDVR_RTC_PORT=0
    MDVR_RTC_LISTEN=-
    MDVR_H264_STREAMS=-
    MDVR_AI_LIVE=-
    MDVR_LISTEN=127.0.0.1
    MDVR_PUBLIC_HOST=127.0.0.1
    MDVR_NODE_URL=-
    MDVR_DATABASE_URL=-
    MDVR_DATABASE_PREPARE=-
    MDVR_REDIS_URL=-
    MDVR_STORAGE=-
    MDVR_S3_ENDPOINT=-
    MDVR_S3_REGION=-
    MDVR_S3_BUCKET=-
    MDVR_S3_ACCESS_KEY_FILE=-
    MDVR_S3_SECRET_KEY_FILE=-
    MDVR_S3_PREFIX=-
    MDVR_S3_ENCRYPTION=-
    MDVR_S3_KMS_KEY=-
    MDVR_S3_PART_MB=-
    MDVR_OTLP_ENDPOINT=-
    MDVR_OTLP_HEADERS_FILE=-
    MDVR_TRACE_SAMPLE=-
    MDVR_WEBHOOK_ALLOW=-
    MDVR_FCM_CREDENTIALS_FILE=-
    MDVR_FCM_ENDPOINT=-
    MDVR_APNS_KEY_FILE=-
    MDVR_APNS_KEY_ID=-
    MDVR_APNS_TEAM_ID=-
    MDVR_APNS_TOPIC=-
    MDVR_APNS_ENDPOINT=-
    MDVR_NOTIFY_CA_FILE=-
    MDVR_NOTIFY_REPEAT_S=-
    MDVR_WORKERS=auto
    MDVR_LOG_LEVEL=info
    MDVR_LOG_LEVEL_SIGNALING=-
    MDVR_LOG_LEVEL_MEDIA=-
    MDVR_LOG_LEVEL_API=-
    MDVR_LOG_LEVEL_WS=-
    MDVR_LOG_LEVEL_CORE=-
    MDVR_LOG_LEVEL_WORKER=-
    MDVR_LOG_LEVEL_RTC=-
    MDVR_TILE_URL=-
    MDVR_MODULE=-
    MDVR_NGINX=/usr/sbin/nginx
    MDVR_NGINX_EXTRA=-
)

settings_load() {
    local entry name value file
    MDVR_VAR=$(realpath -m "${MDVR_VAR:-$TOP/var}")
    export MDVR_VAR
    file=$MDVR_VAR/mdvr.env

    for entry in "${SETTINGS[@]}"; do
        name=${entry%%=*}
        if [ -n "${!name:-}" ]; then
            continue
        fi
        value=
        if [ -r "$file" ]; then
            # our own private stores are found again, not taken for external ones
            case $name in
            MDVR_DATABASE_URL) ! grep -q '^MDVR_PRIVATE_POSTGRES=yes' "$file" || { printf -v "$name" ''; continue; } ;;
            MDVR_REDIS_URL)    ! grep -q '^MDVR_PRIVATE_REDIS=yes' "$file" || { printf -v "$name" ''; continue; } ;;
            esac
            value=$(settings_read "$file" "$name")
        fi
        if [ -z "$value" ]; then
            value=${entry#*=}
            [ "$value" != - ] || value=
        fi
        printf -v "$name" %s "$value"
    done

    for name in SIGNAL MEDIA HTTP WS HTTPS RTC; do
        entry=MDVR_${name}_PORT
        [[ ${!entry} =~ ^[0-9]{1,5}$ ]] && [ "${!entry}" -lt 65536 ] \
            || fail "$entry must be a port number, not \"${!entry}\""
    done
    [[ $MDVR_LISTEN =~ ^[0-9.]+$ ]] || fail "MDVR_LISTEN must be an IPv4 address, not \"$MDVR_LISTEN\""
    [[ $MDVR_PUBLIC_HOST =~ ^[A-Za-z0-9.:-]+$ ]] || fail "MDVR_PUBLIC_HOST must be an address or name"
    [[ $MDVR_WORKERS =~ ^(auto|[0-9]+)$ ]] || fail "MDVR_WORKERS must be a number or auto"
    for name in MDVR_LOG_LEVEL MDVR_LOG_LEVEL_{SIGNALING,MEDIA,API,WS,CORE,WORKER,RTC}; do
        case ${!name:-info} in debug|info|notice|warn|error) ;;
        *) fail "$name must be debug, info, notice, warn or error" ;;
        esac
    done

    if [ -z "$MDVR_NODE_URL" ]; then
        value=$MDVR_LISTEN
        [ "$value" != 0.0.0.0 ] || value=$MDVR_PUBLIC_HOST
        MDVR_NODE_URL=http://$value:$MDVR_HTTP_PORT
    fi
    case $MDVR_LISTEN in 0.0.0.0) LOCAL=127.0.0.1 ;; *) LOCAL=$MDVR_LISTEN ;; esac
}

# The value of one line of a file, without quotes; the file is never executed.
settings_read() {
    local line
    line=$(grep -E "^(export )?$2=" "$1" | tail -n 1) || return 0
    line=${line#*=}
    case $line in
    \'*\') line=${line:1:-1} ;;
    \"*\") line=${line:1:-1} ;;
    esac
    printf %s "$line"
}

# The effective settings, readable by a shell, by systemd and by us.
settings_write() {
    local entry name tmp=$MDVR_VAR/mdvr.env.new
    (
        umask 077
        {
            echo "# Effective settings of this instance, written at each start."
            echo "MDVR_VAR='$MDVR_VAR'"
            for entry in "${SETTINGS[@]}"; do
                name=${entry%%=*}
                case $name in
                MDVR_DATABASE_URL) printf "%s='%s'\n" "$name" "$DATABASE_URL" ;;
                MDVR_REDIS_URL)    printf "%s='%s'\n" "$name" "$REDIS_URL" ;;
                *)                 [ -z "${!name}" ] || printf "%s='%s'\n" "$name" "${!name}" ;;
                esac
            done
            ! postgres_private || echo "MDVR_PRIVATE_POSTGRES=yes"
            ! redis_private || echo "MDVR_PRIVATE_REDIS=yes"
            echo "MDVR_NODE='$NODE'"
            echo "MDVR_HTTP_URL='http://$LOCAL:$MDVR_HTTP_PORT'"
            echo "MDVR_HTTPS_URL='https://$LOCAL:$MDVR_HTTPS_PORT'"
            echo "MDVR_API_URL='http://$LOCAL:$MDVR_HTTP_PORT/api/v1'"
            echo "MDVR_WS_URL='ws://$LOCAL:$MDVR_WS_PORT/ws'"
            echo "MDVR_CREDENTIALS='$MDVR_VAR/credentials.json'"
        } >"$tmp"
    )
    mv -f "$tmp" "$MDVR_VAR/mdvr.env"
}
