#!/bin/bash
# Proves that a bare Debian 12 needs nothing but `make`: builds a minimal
# system in a directory, puts a clean copy of the last commit into it and runs
# the two commands of the README there.  As root; takes 10 to 30 minutes.
#
# usage: t/chroot/prove.sh [directory]      (default /var/tmp/mdvr-chroot)
#   MDVR_PROVE=deps|run|test  only that step      KEEP=1  keep the system
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
root=${1:-/var/tmp/mdvr-chroot}
steps=${MDVR_PROVE:-deps run test}
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 1; }
command -v debootstrap >/dev/null || { echo "needs debootstrap"; exit 1; }
mirror=$(apt-cache policy 2>/dev/null | grep -oE 'https?://[^ ]+/debian' | head -n 1)

unmount() {
    local m
    for m in dev/shm dev/pts dev proc sys; do
        ! mountpoint -q "$root/$m" || umount -l "$root/$m"
    done
}
finish() {
    unmount
    [ -n "${KEEP:-}" ] || rm -rf --one-file-system "$root"
}
trap finish EXIT

if [ ! -e "$root/etc/debian_version" ]; then
    echo "== debootstrap from ${mirror:-the default mirror}"
    debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 \
        || { tail "$root.log"; exit 1; }
fi
for m in proc sys dev dev/pts dev/shm; do
    mkdir -p "$root/$m"
    mountpoint -q "$root/$m" || mount --bind "/$m" "$root/$m"
done

# how this machine reaches package mirrors
cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
rm -f "$root/etc/apt/apt.conf.d/"*docker*
find /etc/apt -maxdepth 2 \( -name 'debian*.sources' -o -name sources.list \) -size +0 -exec cp {} "$root/tmp/" \;
if ls "$root"/tmp/*.sources >/dev/null 2>&1; then
    rm -f "$root/etc/apt/sources.list"
    mkdir -p "$root/etc/apt/sources.list.d"
    cp "$root"/tmp/*.sources "$root/etc/apt/sources.list.d/"
fi
registry=$(npm config get registry 2>/dev/null | grep -E '^https?://' || true)
for d in /usr/local/share/ca-certificates; do
    mkdir -p "$root$d"; cp -r $d/. "$root$d/"
done

inside() {
    chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        TERM=dumb ${http_proxy:+http_proxy=$http_proxy} ${https_proxy:+https_proxy=$https_proxy} \
        ${registry:+npm_config_registry=$registry} \
        ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS=$NODE_EXTRA_CA_CERTS} /bin/bash -c "$1"
}

echo "== make, and a clean copy of $(git -C "$top" log -1 --format='%h %s')"
inside 'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install make ca-certificates >/dev/null 2>&1'
rm -rf "$root/root/mdvr"
mkdir -p "$root/root/mdvr"
git -C "$top" archive HEAD | tar -x -C "$root/root/mdvr"
inside 'cd /root/mdvr && (echo "packages before: $(dpkg -l | grep -c ^ii)"; command -v gcc nginx psql redis-server node || echo "nothing installed")'

for step in $steps; do
    echo "== $step"
    t0=$SECONDS
    case $step in
    deps) inside 'cd /root/mdvr && make deps' ;;
    test) inside 'cd /root/mdvr && make test' 2>&1 | tail -n 25 ;;
    run)
        inside 'cd /root/mdvr && MDVR_HTTP_PORT=13000 MDVR_WS_PORT=14000 MDVR_HTTPS_PORT=13443 MDVR_SIGNAL_PORT=11087 MDVR_MEDIA_PORT=16602 make start &&
            curl -fsS localhost:13000/readyz && echo && make status; rc=$?; make stop; exit $rc' ;;
    esac
    echo "== $step: done in $((SECONDS - t0)) s"
done
