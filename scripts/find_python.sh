#!/usr/bin/env bash
# Print the newest Python that the locked packages are for; fail when there is none. Looks at those
# given, else at those on the PATH, in pyenv's folder and in uv's.
set -euo pipefail

# "3.13.0 /path/of/python" of an interpreter that suits, nothing of any other.
describe() {
    "$1" -c '
import sys, sysconfig
suits = (3, 12) <= sys.version_info < (3, 15) and sys.implementation.name == "cpython"
if suits and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    print("%d.%d.%d" % sys.version_info[:3], sys.executable)
' </dev/null 2>/dev/null || true
}

candidates() {
    local name
    if [ $# -gt 0 ]; then
        printf '%s\n' "$@"
        return
    fi
    for name in python3.14 python3.13 python3.12 python3; do
        command -v "$name" || true
    done
    printf '%s\n' "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[234].*/bin/python \
        "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}"/cpython-3.1[234]*/bin/python3
}

candidates "$@" | while read -r python; do describe "$python"; done |
    sort --version-sort --reverse --stable --key 1,1 | sed -n '1s/^[^ ]* //p' | grep .
