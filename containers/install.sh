#!/bin/sh
# Fill /opt/stlatent in the build stage of an image: env with the locked packages, aws with the AWS CLI.
#
# TORCH_INDEX: take torch from this index instead. Its wheels have other hashes than the lock's, so
# pip checks them against the hash that the index gives, or against TORCH_HASH (sha256:...).
set -eu
locks=$(dirname "$0")
target=${1:-/opt/stlatent}

# The lock without torch and the CUDA libraries that only torch asks for.
without_torch() {
    awk '/^[a-z0-9]/ { keep = $0 !~ /^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==/ } keep' "$1"
}

if [ "${1:-}" = --without-torch ]; then
    without_torch "$2"
    exit
fi

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    apt-get update
    apt-get install --yes --no-install-recommends ca-certificates python3-venv
fi
python3 -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 15))' || {
    echo "The base image's python3 is $(python3 -V); the locked packages need 3.12, 3.13 or 3.14." >&2
    exit 1
}

# pip stays outside of what it fills, and compiles: tasks write no bytecode.
python3 -m venv /tmp/pip
pip() {
    python=$1
    shift
    /tmp/pip/bin/pip --python "$python" --no-cache-dir --disable-pip-version-check "$@"
}

python3 -m venv --without-pip "$target/env"
env=$target/env/bin/python
if [ -n "${TORCH_INDEX:-}" ]; then
    without_torch "$locks/requirements.lock" >/tmp/requirements.lock
    pip "$env" install --require-hashes --no-deps -r /tmp/requirements.lock
    sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$locks/requirements.lock" >/tmp/torch.lock
    if [ -n "${TORCH_HASH:-}" ]; then
        sed -i "s/\$/ --hash=$TORCH_HASH/" /tmp/torch.lock
        pip "$env" install --require-hashes --no-deps --index-url "$TORCH_INDEX" -r /tmp/torch.lock
    else
        pip "$env" install --index-url "$TORCH_INDEX" -r /tmp/torch.lock
    fi
else
    pip "$env" install --require-hashes -r "$locks/requirements.lock"
fi
pip "$env" check

python3 -m venv --without-pip "$target/aws"
pip "$target/aws/bin/python" install --require-hashes -r "$locks/requirements-awscli.lock"
rm -rf "$target"/aws/lib/python3*/site-packages/awscli/examples
ln -s ../../aws/bin/aws "$target/env/bin/aws"
