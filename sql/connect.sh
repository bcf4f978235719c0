# connect <URL>: prepares psql, pg_dump and pg_restore for a database.  Arguments
# of a program can be read by every user of a machine, so the password goes into
# the environment (PGPASSWORD) and $url keeps the rest.  URL is anything psql takes
# after -d; without one MDVR_DATABASE_URL counts.  Sourced.
connect() {
    local word
    url=${1:-${MDVR_DATABASE_URL:-}}
    if [[ $url =~ ^(postgres(ql)?://[^:/@]*):([^@/]*)(@.*)$ ]]; then
        url=${BASH_REMATCH[1]}${BASH_REMATCH[4]}
        printf -v PGPASSWORD %b "${BASH_REMATCH[3]//%/\\x}"
        export PGPASSWORD
    elif [[ $url =~ ^(postgres(ql)?://.*[?\&])password=([^\&]*)(.*)$ ]]; then
        url=${BASH_REMATCH[1]}${BASH_REMATCH[4]#&}
        printf -v PGPASSWORD %b "${BASH_REMATCH[3]//%/\\x}"
        export PGPASSWORD
    elif [[ $url != *://* && " $url" =~ ^(.*[[:space:]])password[[:space:]]*=[[:space:]]*(\'(([^\'\\]|\\.)*)\'|[^[:space:]]+)(.*)$ ]]; then
        word=${BASH_REMATCH[3]:-${BASH_REMATCH[2]}}
        url=${BASH_REMATCH[1]}${BASH_REMATCH[5]}
        export PGPASSWORD=${word//\\/}
    fi
}
