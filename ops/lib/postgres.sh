# The database: a private PostgreSQL under $STATE/pg, or MDVR_DATABASE_URL.
#
# The application's roles (mdvr_stream, mdvr_api, mdvr_worker) get passwords
# that are derived from the administrator's, so that several nodes that are
# given the same URL agree on them.  They are written to $SECRETS/pgpass.
#
# Every user of the machine can read the arguments of a program: passwords and
# keys go to programs in their environment, from a file, or on their standard input.

# shellcheck source=/dev/null
. "$TOP/sql/connect.sh"

PGBIN=$(ls -d /usr/lib/postgresql/15/bin 2>/dev/null || ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1 || true)

postgres_private() { [ -z "$MDVR_DATABASE_URL" ]; }

postgres_up() {
    [ -S "$PGSOCK/.s.PGSQL.5432" ] && pg_isready -q -h "$PGSOCK" -p 5432
}

postgres_start() {
    postgres_private || return 0
    ! postgres_up || return 0
    if [ ! -s "$STATE/pg/PG_VERSION" ]; then
        say "making the database cluster"
        put_secret initdb "$DB_USER" <"$SECRETS/postgres"
        as "$DB_USER" env LC_ALL=C.UTF-8 "$PGBIN/initdb" -D "$STATE/pg" -U mdvr_admin \
            --pwfile="$SECRETS/initdb" -A scram-sha-256 -E UTF8 --locale=C.UTF-8 --no-sync \
            >"$RUN/initdb.log" 2>&1 || { tail "$RUN/initdb.log" >&2; fail "initdb failed"; }
        rm -f "$SECRETS/initdb"
        ( sync -f "$STATE/pg" 8>&- & )
    fi
    say "starting PostgreSQL"
    as "$DB_USER" tee "$STATE/pg/mdvr.conf" >/dev/null <<TXT
listen_addresses = ''
unix_socket_directories = '$PGSOCK'
port = 5432
max_connections = 200
shared_buffers = 128MB
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_compression = on
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
password_encryption = scram-sha-256
log_line_prefix = '%m [%p] %u '
log_min_error_statement = panic
log_parameter_max_length_on_error = 0
logging_collector = on
log_directory = '$LOG/postgresql'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
TXT
    as "$DB_USER" grep -q mdvr.conf "$STATE/pg/postgresql.conf" \
        || echo "include 'mdvr.conf'" | as "$DB_USER" tee -a "$STATE/pg/postgresql.conf" >/dev/null
    as "$DB_USER" "$PGBIN/pg_ctl" -D "$STATE/pg" -l "$LOG/postgresql/start.log" -s -w -t 60 start 8>&- \
        || { tail -n 5 "$LOG/postgresql/start.log" >&2; fail "PostgreSQL did not start"; }
}

postgres_stop() {
    if [ -s "$STATE/pg/postmaster.pid" ]; then
        as "$DB_USER" "$PGBIN/pg_ctl" -D "$STATE/pg" -s -w -t 60 -m fast stop || true
    fi
}

url_encode() { jq -rn --arg s "$1" '$s|@uri'; }

# The administrator's URL.  Sets DATABASE_URL, ADMIN_PASSWORD, and DATABASE_PLACE:
# the URL without its password.
database_find() {
    local url PGPASSWORD
    database_url
    connect "$DATABASE_URL"
    DATABASE_PLACE=$url
}

database_url() {
    if postgres_private; then
        ADMIN_PASSWORD=$(cat "$SECRETS/postgres")
        DATABASE_URL="postgresql://mdvr_admin:$ADMIN_PASSWORD@/mdvr?host=$(url_encode "$PGSOCK")&port=5432"
        return
    fi
    DATABASE_URL=$MDVR_DATABASE_URL
    if [[ $DATABASE_URL =~ ^postgres(ql)?://[^:/@]*:([^@]*)@ ]]; then
        ADMIN_PASSWORD=$(printf '%b' "${BASH_REMATCH[2]//%/\\x}")
    else
        fail "MDVR_DATABASE_URL has to name a user and a password: postgresql://user:password@host/database"
    fi
}

role_password() {
    KEY=$ADMIN_PASSWORD perl -MDigest::SHA=hmac_sha256_hex -e 'print hmac_sha256_hex("$ARGV[0]:mdvr", $ENV{KEY})' "$1"
}

# The key that seals secrets in the database: nodes of one database need the same.
# When the administrator's password has changed the old key stays, below the new.
seal_prepare() {
    local key
    key=$(role_password seal)
    [ "$(head -n 1 "$SECRETS/seal" 2>/dev/null)" != "$key" ] || return 0
    { echo "$key"; grep -vxf <(echo "$key") "$SECRETS/seal" 2>/dev/null | head -n 7 || true; } | put_secret seal "$SVC_USER"
}

admin_sql() { PGPASSWORD=$ADMIN_PASSWORD psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$DATABASE_PLACE" "$@"; }

# Connection string of one of the application's roles, for libpq; name
# resolution would block nginx, so it is done here.
role_conninfo() {
    local facts host port db addr=
    facts=$(admin_sql -F ' ' -c '\echo :HOST :PORT :DBNAME')
    read -r host port db <<<"$facts"
    if [ "${host:0:1}" != / ] && [[ ! $host =~ ^[0-9.]+$ ]]; then
        addr=$(getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }')
        [ -n "$addr" ] || fail "cannot resolve the database host $host"
        addr="hostaddr=$addr "
    fi
    echo "host=$host ${addr}port=$port dbname=$db user=$1 passfile=$SECRETS/pgpass connect_timeout=5"
}

database_prepare() {
    local role want have
    database_find
    if postgres_private; then
        PGPASSWORD=$ADMIN_PASSWORD psql -X -q -A -t -h "$PGSOCK" -U mdvr_admin -d postgres \
            -c "select 1 from pg_database where datname = 'mdvr'" | grep -q 1 \
            || PGPASSWORD=$ADMIN_PASSWORD createdb -h "$PGSOCK" -U mdvr_admin mdvr
    fi
    admin_sql -c 'select 1' >/dev/null || fail "the database does not answer"
    seal_prepare

    say "bringing the database schema up to date"
    MDVR_DATABASE_URL=$DATABASE_URL "$TOP/sql/migrate" >"$RUN/migrate.log" 2>&1 8>&- \
        || { tail "$RUN/migrate.log" >&2; fail "migration failed"; }

    # passwords of the roles: set only when they changed, since two nodes may start at once
    want=$(role_password all)
    have=$(cat "$SECRETS/pg-roles" 2>/dev/null || true)
    if [ "$want" != "$have" ] || ! database_roles_work; then
        for role in mdvr_stream mdvr_api mdvr_worker; do
            echo "alter role $role login password '$(role_password $role)';"
        done | admin_sql
        for role in mdvr_stream mdvr_api mdvr_worker; do
            echo "*:*:*:$role:$(role_password $role)"
        done | put_secret pgpass "$SVC_USER"
        put_secret pg-roles "$ME" <<<"$want"
    fi

    [ -s "$MDVR_VAR/credentials.json" ] || database_first_admin
}

database_roles_work() {
    [ -s "$SECRETS/pgpass" ] && PGPASSWORD=$(role_password mdvr_api) \
        psql -X -q -A -t -d "$(role_conninfo mdvr_api)" -c 'select 1' >/dev/null 2>&1
}

# The first super admin, with a random password; only when there is none yet.
database_first_admin() {
    local email=admin@mdvr.local password hash answer
    password=$(openssl rand -base64 18 | tr '+/' '-_')
    hash=$("$BIN/mdvr-passwd" <<<"$password")
    answer=$(HASH=$hash admin_sql -v email="$email" <<'SQL'
\getenv hash HASH
select row_to_json(b) from mdvr.bootstrap_admin(:'email', :'hash', 'My fleet') b where tenant_id is not null;
SQL
    )
    if [ -z "$answer" ]; then
        say "the database has a super admin already; no credentials.json is made"
        return
    fi
    ( umask 077
      PASSWORD=$password jq -n --arg email "$email" --argjson made "$answer" \
          '{email: $email, password: env.PASSWORD} + $made' >"$MDVR_VAR/credentials.json.new" )
    mv "$MDVR_VAR/credentials.json.new" "$MDVR_VAR/credentials.json"
}
