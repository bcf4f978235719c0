# Where the instance keeps things, who owns them, and its secrets.
#
#   $MDVR_VAR   as set by the user: mdvr.env, credentials.json
#   $STATE      the same directory, unless the unprivileged users cannot reach
#               it (a clone under /root, a mktemp directory): then
#               /var/lib/mdvr/<hash>, linked from $MDVR_VAR
#   $RUN $LOG $SECRETS  below $STATE; $RUN moves to /tmp/mdvr-<hash> when a
#               socket's path would be too long for the kernel (107 bytes)
#
# As root: PostgreSQL runs as `postgres`, everything else as `www-data`; both
# come with Debian's packages.  Otherwise all of it runs as who started it.

ME=$(id -un)
if [ "$(id -u)" = 0 ]; then
    DB_USER=postgres SVC_USER=www-data
else
    DB_USER=$ME SVC_USER=$ME
fi

# as <user> <command>...
as() {
    local user=$1; shift
    if [ "$user" = "$ME" ]; then
        ( cd / && exec "$@" )
    else
        ( cd / && HOME=/ exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@" )
    fi
}

reachable() {   # <directory>: by both unprivileged users
    as "$DB_USER" test -x "$1/." && as "$SVC_USER" test -x "$1/."
}

state_find() {
    local hash
    hash=$(printf %s "$MDVR_VAR" | sha256sum | cut -c 1-12)
    STATE=$MDVR_VAR
    [ ! -L "$MDVR_VAR/run" ] || STATE=/var/lib/mdvr/$hash
    SECRETS=$STATE/secrets
    LOG=$STATE/log
    RUN=$STATE/run
    [ ${#RUN} -lt 80 ] || RUN=${TMPDIR:-/tmp}/mdvr-$hash
    PGSOCK=$RUN/pg
    REDIS_SOCK=$RUN/redis/redis.sock
    BIN=$TOP/build/bin
    [ ! -d "$STATE/bin" ] || BIN=$STATE/bin
    WWW=$TOP/web/dist
    [ ! -d "$STATE/www" ] || WWW=$STATE/www
    # containers often have 64 MiB there, too little for the frame bus
    BUS_DIR=/dev/shm
    [ "$(df -m --output=size /dev/shm 2>/dev/null | tail -n 1)" -ge 512 ] 2>/dev/null || BUS_DIR=$STATE/bus
    NODE=$(cat "$MDVR_VAR/node" 2>/dev/null || echo none)
}

own() {   # <user> <mode> <directory>...
    local user=$1 mode=$2; shift 2
    mkdir -p "$@"
    if [ "$user" != "$ME" ]; then
        chown "$user:$(id -g "$user")" "$@"
    fi
    chmod "$mode" "$@"
}

state_prepare() {
    local d
    if [ ! -d "$MDVR_VAR" ]; then
        mkdir -p "$MDVR_VAR"
    fi
    [ -w "$MDVR_VAR" ] || fail "$MDVR_VAR is not writable by $ME"
    if [ "$ME" = root ] && [ ! -L "$MDVR_VAR/run" ]; then
        chmod a+x "$MDVR_VAR"
        reachable "$MDVR_VAR" || state_elsewhere
    fi
    if [ ! -s "$MDVR_VAR/node" ]; then
        echo "n-$(openssl rand -hex 5)" >"$MDVR_VAR/node"
    fi
    state_find

    if [ -L "$MDVR_VAR/run" ] || ! reachable "$TOP"; then
        state_copy_programs
        state_find
    fi

    # root writes only into directories that are its own
    own "$ME" 755 "$RUN" "$LOG"
    own "$ME" 711 "$SECRETS"
    own "$ME" 700 "$STATE/tls"
    [ "$BUS_DIR" = /dev/shm ] || own "$SVC_USER" 755 "$BUS_DIR"
    own "$SVC_USER" 755 "$STATE/objects" "$STATE/state" "$STATE/tmp"
    own "$SVC_USER" 750 "$STATE/redis" "$RUN/redis" "$RUN/body" "$LOG/redis"
    own "$DB_USER" 700 "$STATE/pg" "$LOG/postgresql"
    own "$DB_USER" 755 "$PGSOCK"
    for d in "$LOG/nginx.log" "$RUN/nginx-error.raw" "$RUN/nginx-error.raw.pos"; do
        [ -e "$d" ] || : >"$d"
        [ "$SVC_USER" = "$ME" ] || chown "$SVC_USER" "$d"
    done

    secret redis "$SVC_USER"
    secret postgres "$ME"
    secret storage "$SVC_USER"
}

# Programs and the console are copied to where their users can read them.
state_copy_programs() {
    local f
    own "$ME" 755 "$STATE/bin" "$STATE/www"
    for f in "$TOP"/build/bin/mdvr-*; do
        if [ -x "$f" ] && ! cmp -s "$f" "$STATE/bin/${f##*/}"; then
            install -m 755 "$f" "$STATE/bin/${f##*/}.new"
            mv -f "$STATE/bin/${f##*/}.new" "$STATE/bin/${f##*/}"
        fi
    done
    if [ -d "$TOP/web/dist" ]; then
        cp -r "$TOP/web/dist/." "$STATE/www/"
    fi
}

state_elsewhere() {
    local d hash
    hash=$(printf %s "$MDVR_VAR" | sha256sum | cut -c 1-12)
    STATE=/var/lib/mdvr/$hash
    say "$MDVR_VAR cannot be reached by $DB_USER and $SVC_USER: state goes to $STATE"
    rm -rf "$STATE"
    install -d -m 755 /var/lib/mdvr "$STATE"
    for d in log pg redis objects state secrets tls tmp run; do
        if [ -d "$MDVR_VAR/$d" ] && [ ! -L "$MDVR_VAR/$d" ]; then
            cp -a "$MDVR_VAR/$d" "$STATE/"
            rm -rf "${MDVR_VAR:?}/$d"
        fi
        mkdir -p "$STATE/$d"
        ln -sfn "$STATE/$d" "$MDVR_VAR/$d"
    done
}

# secret <name> <owner>: 32 random bytes in hex, made once, mode 0600
secret() {
    if [ ! -s "$SECRETS/$1" ]; then
        ( umask 077; openssl rand -hex 32 >"$SECRETS/$1.new" )
        [ "$2" = "$ME" ] || chown "$2" "$SECRETS/$1.new"
        mv "$SECRETS/$1.new" "$SECRETS/$1"
    fi
}

# put_secret <name> <owner>: from standard input
put_secret() {
    ( umask 077; cat >"$SECRETS/$1.new" )
    [ "$2" = "$ME" ] || chown "$2" "$SECRETS/$1.new"
    mv -f "$SECRETS/$1.new" "$SECRETS/$1"
}

tls_prepare() {
    local names="DNS:localhost,IP:127.0.0.1"
    [ ! -s "$STATE/tls/cert.pem" ] || return 0
    if [[ $MDVR_PUBLIC_HOST =~ ^[0-9.]+$ ]]; then
        [ "$MDVR_PUBLIC_HOST" = 127.0.0.1 ] || names+=",IP:$MDVR_PUBLIC_HOST"
    else
        names+=",DNS:$MDVR_PUBLIC_HOST"
    fi
    say "making a self-signed certificate"
    ( umask 077
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 \
        -subj "/CN=mdvr" -addext "subjectAltName=$names" \
        -keyout "$STATE/tls/key.pem" -out "$STATE/tls/cert.pem" 2>/dev/null )
}
