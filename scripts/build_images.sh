#!/usr/bin/env bash
# Build the images of the pipeline. Settings, all optional, from the environment:
#   ENGINE          docker (default) or podman
#   KINDS           "cpu gpu" (default), or one of them
#   REPOSITORY      name before the tag: stlatent (default), or registry.example.org/core/stlatent
#   BASE_IMAGE      Debian or Ubuntu with Python 3.12 to 3.14; GPU_BASE_IMAGE for the GPU image alone
#   INDEX           package index instead of PyPI
#   CERT            file in the base image with the site's certificates, for pip
#   TORCH_INDEX     index of torch for the CPU image: https://download.pytorch.org/whl/cpu
#   TORCH_HASH      sha256:... of that index's torch wheel
#   GPU_TORCH_INDEX index of torch for the GPU image: one for another CUDA
#   BUILD_OPTIONS   more options for `docker build`: --network=host, --no-cache, ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=${ENGINE:-docker}
version=$(sed -n "/^manifest {/,/^}/s/^ *version = '\(.*\)'/\1/p" nextflow.config)

# The commit, of this folder's own repository and not of one around it.
revision() {
    if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ]; then
        git describe --always --dirty --abbrev=40 --exclude '*'
    else
        echo unknown
    fi
}

command -v "$engine" >/dev/null || {
    echo "build_images: there is no $engine on the PATH; ENGINE=docker or ENGINE=podman chooses" >&2
    exit 1
}

for kind in ${KINDS:-cpu gpu}; do
    arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=${REVISION:-$(revision)}")
    argument() {
        [ -z "$2" ] || arguments+=(--build-arg "$1=$2")
    }
    argument PIP_INDEX_URL "${INDEX:-}"
    argument PIP_CERT "${CERT:-}"
    if [ "$kind" = gpu ]; then
        argument BASE_IMAGE "${GPU_BASE_IMAGE:-${BASE_IMAGE:-}}"
        argument TORCH_INDEX "${GPU_TORCH_INDEX:-}"
    else
        argument BASE_IMAGE "${BASE_IMAGE:-}"
        argument TORCH_INDEX "${TORCH_INDEX:-}"
        argument TORCH_HASH "${TORCH_HASH:-}"
    fi
    tag=${REPOSITORY:-stlatent}:$version-$kind
    echo "Building $tag with $engine" >&2
    # shellcheck disable=SC2086
    "$engine" build ${BUILD_OPTIONS:-} "${arguments[@]}" --tag "$tag" --file "containers/$kind.Dockerfile" .
done
