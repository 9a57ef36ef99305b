#!/usr/bin/env bash
# Import a base image made with debootstrap, for machines that cannot pull one:
#   local_base.sh docker|podman NAME
# Its archive is kept in $STLATENT_CACHE, so that a second call takes seconds.
set -euo pipefail

engine=$1
name=$2
suite=trixie
cache=${STLATENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stlatent}
archive=$cache/debian-$suite.tar

if "$engine" image inspect "$name" >/dev/null 2>&1; then
    exit 0
fi

if [ ! -f "$archive" ]; then
    if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "No base image: pull one and name it in BASE_IMAGE, or run as root with debootstrap" \
            "(Debian, Ubuntu: sudo apt install debootstrap)" >&2
        exit 1
    fi
    mkdir -p "$cache"
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=ca-certificates,procps,python3 "$suite" "$root" >"$cache/debootstrap.log" ||
        { tail -n 3 "$cache/debootstrap.log" >&2 && exit 1; }
    # The machine's certificates, its site's own ones included.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    tar -C "$root" -c . >"$archive.part"
    mv "$archive.part" "$archive"
fi
"$engine" import "$archive" "$name" >/dev/null
