#!/usr/bin/env bash
# Install the locked Python environment into .venv, unless it is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stamp=.venv/installed.lock
locks=(containers/requirements.lock containers/requirements-dev.lock)

fail() {
    printf 'stlatent: %s\n' "$@" >&2
    exit 1
}

# uv from the PATH, else from the package index into .uv, by any Python
find_uv() {
    local python=$1
    if uv --version >/dev/null 2>&1; then
        command -v uv
        return
    fi
    if [ ! -x .uv/bin/uv ]; then
        command -v "$python" >/dev/null || return 1
        "$python" -m venv .uv >&2 || {
            echo "stlatent: $python cannot make a virtual environment. Debian, Ubuntu: sudo apt install python3-venv" >&2
            return 1
        }
        .uv/bin/python -m pip install --quiet uv >&2 || {
            echo "stlatent: pip could not install uv: look at its message above (network, proxy, certificate)." >&2
            return 1
        }
    fi
    echo "$PWD/.uv/bin/uv"
}

# Of nothing that suits on this machine, what uv can fetch: into .uv, as all else is in this folder.
fetch_python() {
    echo "No Python 3.12, 3.13 or 3.14 on this machine: uv fetches one into .uv" >&2
    export UV_PYTHON_INSTALL_DIR=$PWD/.uv/python UV_PYTHON_INSTALL_BIN=0
    "$1" python install --quiet 3.13 >&2 && scripts/find_python.sh
}

if [ -x .venv/bin/python ] && cat "${locks[@]}" | cmp -s - "$stamp"; then
    exit 0
fi

export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
if [ -n "${PIP_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
fi
python=$(scripts/find_python.sh) || python=
if [ -n "$python" ]; then
    uv=$(find_uv "$python")
elif ! { uv=$(find_uv python3) && python=$(fetch_python "$uv"); }; then
    fail "Python 3.12, 3.13 or 3.14 is needed; none was found, and none could be fetched. Install one:" \
        "Debian 13, Ubuntu 24.04: sudo apt install python3 python3-venv; RHEL 9: sudo dnf install python3.12; macOS: brew install python@3.13; Debian 12 has none: pyenv install 3.13, or uv python install 3.13 where GitHub can be reached"
fi

echo "Installing the Python environment into .venv (about 7 GB with CUDA libraries)" >&2
# One of an older Python, or of one that is gone, is made anew.
if ! scripts/find_python.sh .venv/bin/python >/dev/null; then
    rm -rf .venv
    "$uv" venv --quiet --relocatable --python "$python" .venv
fi
# Tasks write no bytecode: compile it once here, or each of them compiles its imports anew.
"$uv" pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes "${locks[@]}" ||
    fail "the Python environment could not be installed: look at the message above." \
        "Behind a mirror, set UV_DEFAULT_INDEX to its address; with too little space, see the size above."
cat "${locks[@]}" >"$stamp"
