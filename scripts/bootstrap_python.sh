#!/usr/bin/env bash
# Install the locked Python environment into .venv, unless it is there already. With "peers" as
# argument, install the optional packages of published methods too; they stay at the next call.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stamp=.venv/installed.lock
packages=requirements
if [ "${1:-}" = peers ] || grep -qs '^tangram-sc==' "$stamp"; then
    packages=requirements-peers
fi
locks=("containers/$packages.lock" containers/requirements-dev.lock)

fail() {
    printf 'stlatent: %s\n' "$@" >&2
    exit 1
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if supported "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH." \
        "Debian 12, Ubuntu 24.04: sudo apt install python3 python3-venv; macOS: brew install python@3.12"
}

# uv from the PATH, else from the package index into .uv
find_uv() {
    local python=$1
    if uv --version >/dev/null 2>&1; then
        command -v uv
        return
    fi
    if [ ! -x .uv/bin/uv ]; then
        "$python" -m venv .uv >&2 ||
            fail "$python cannot make a virtual environment." "Debian, Ubuntu: sudo apt install python3-venv"
        .uv/bin/python -m pip install --quiet uv >&2 ||
            fail "pip could not install uv: look at its message above (network, proxy, certificate)."
    fi
    echo "$PWD/.uv/bin/uv"
}

if [ -x .venv/bin/python ] && cat "${locks[@]}" | cmp -s - "$stamp"; then
    exit 0
fi

python=$(find_python)
uv=$(find_uv "$python")
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
if [ -n "${PIP_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
fi

echo "Installing the Python environment into .venv (about 6 GB with CUDA libraries)" >&2
if ! supported .venv/bin/python; then
    rm -rf .venv
    "$uv" venv --quiet --relocatable --python "$python" .venv
fi
# Tasks write no bytecode: compile it once here, or each of them compiles its imports anew.
"$uv" pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes "${locks[@]}" ||
    fail "the Python environment could not be installed: look at the message above." \
        "Behind a mirror, set UV_DEFAULT_INDEX to its address; with too little space, see the size above."
cat "${locks[@]}" >"$stamp"
