#!/usr/bin/env bash
# Run the demo in containers and compare it with a plain run: test_engine.sh docker|podman
#
# Uses the engine as it is. Where it is not running or not able to (as root on a machine inside of
# another), a Docker daemon is started and ended again, and Podman gets settings that need no cgroups.
# BASE_IMAGE, INDEX, ... as in scripts/build_images.sh; without BASE_IMAGE the official Python image
# is pulled, and where that fails a base is made with debootstrap.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

engine=${1:?which engine: docker or podman}
project=$PWD
nextflow=$project/.nextflow-runtime/nextflow
results=$project/results/test-containers
logs=$results/logs
image=stlatent:$(sed -n "/^manifest {/,/^}/s/^ *version = '\(.*\)'/\1/p" nextflow.config)-cpu
mkdir -p "$logs"
daemon=

say() {
    printf '== %s\n' "$*"
}

fail() {
    printf 'test-%s: %s\n' "$engine" "$@" >&2
    exit 1
}

stop() {
    if [ -n "$daemon" ]; then
        say "Stopping the Docker daemon"
        kill "$daemon"
        wait "$daemon" || true
    fi
}
trap stop EXIT

start_docker() {
    docker info >/dev/null 2>&1 && return
    command -v dockerd >/dev/null && [ "$(id -u)" = 0 ] ||
        fail "No Docker daemon answers, and only root with dockerd can start one (Debian, Ubuntu: sudo apt install docker.io)"
    say "Starting a Docker daemon; its log: $logs/dockerd.log"
    dockerd --iptables=false --ip6tables=false --bridge=none >"$logs/dockerd.log" 2>&1 &
    daemon=$!
    for _ in $(seq 60); do
        docker info >/dev/null 2>&1 && break
        kill -0 "$daemon" 2>/dev/null || break
        sleep 1
    done
    docker info >/dev/null 2>&1 || fail "The Docker daemon did not start: $(tail -n 1 "$logs/dockerd.log")"
    # It has no bridge: what needs the network shares the machine's.
    export BUILD_OPTIONS="--network=host ${BUILD_OPTIONS:-}"
}

# Root without a cgroup tree of its own: runc, the machine's network, limits that may be set.
adapt_podman() {
    command -v podman >/dev/null || fail "There is no podman (Debian, Ubuntu: sudo apt install podman)"
    podman run --rm "$BASE_IMAGE" true 2>/dev/null && return
    say "Podman cannot run a container as it is; trying runc, the host's network and lower limits"
    printf '%s\n' '[containers]' 'netns = "host"' \
        'default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]' '[engine]' 'runtime = "runc"' \
        >"$logs/containers.conf"
    export CONTAINERS_CONF=$logs/containers.conf
    podman run --rm "$BASE_IMAGE" true || fail "Podman cannot run a container"
}

find_base() {
    if [ -z "${BASE_IMAGE:-}" ]; then
        local official
        official=$(sed -n 's/^ARG BASE_IMAGE=//p' containers/cpu.Dockerfile)
        if "$engine" pull "docker.io/library/$official" >/dev/null 2>&1; then
            BASE_IMAGE=docker.io/library/$official
        else
            BASE_IMAGE=localhost/stlatent-base:trixie
            tests/platforms/containers/local_base.sh "$engine" "$BASE_IMAGE"
        fi
    fi
    export BASE_IMAGE
    say "Base image: $BASE_IMAGE"
}

# What Nextflow and the clouds ask of an image, under a user that the image does not know.
check_image() {
    inspect() { "$engine" image inspect --format "$1" "$image"; }
    [[ "$(inspect '{{.Config.Entrypoint}}')" =~ ^(\[\]|<nil>|)$ ]] || fail "$image has an ENTRYPOINT"
    [[ "$(inspect '{{.Config.User}}')" =~ ^(|0|root)$ ]] && fail "$image runs as root"
    [ "$(inspect '{{index .Config.Labels "org.opencontainers.image.version"}}')" = "${image//[!0-9.]/}" ] ||
        fail "$image has another version in its label"
    inspect '{{range $name, $value := .Config.Labels}}{{$name}}={{$value}}{{"\n"}}{{end}}'
    if "$engine" history --no-trunc "$image" | grep -iE 'PIP_|INDEX' ||
        inspect '{{.Config.Env}}' | grep -iE 'PIP_|INDEX|PROXY|CERT'; then
        fail "$image knows the package index or certificates of this machine"
    fi
    "$engine" run --rm "$image" bash -c '[ "$(id -u)" != 0 ] && whoami && ps -o pid,comm && aws --version' ||
        fail "$image lacks ps or aws, or runs as root"
    # All imports and a compilation, for a user without name and home, as Nextflow starts it.
    "$engine" run --rm -u 4242:4242 -e HOME=/nowhere -e NUMBA_CACHE_DIR=.numba -e MPLCONFIGDIR=.matplotlib \
        -w /tmp "$image" bash -euc '
        python -c "
import sys
import anndata, click, h5py, matplotlib.pyplot, multiqc, numba, scanpy, scvi, sklearn, skmisc, torch, umap
import scviva.external, scviva.model
numba.njit(lambda x: x + 1)(1)
print(\"Python\", sys.version.split()[0], \"torch\", torch.__version__)
"
        multiqc --version' || fail "$image lacks something, or needs a home"
}

# Each run has a launch folder of its own, with its work and its history.
run_demo() {
    local name=$1 launch=$results/$1.launch
    shift
    mkdir -p "$launch"
    say "Running the demo: $name"
    (cd "$launch" && NXF_ANSI_LOG=false "$nextflow" run "$project" "$@" --use_gpu false --outdir "$results/$name")
}

make --no-print-directory setup
[ "$engine" != docker ] || start_docker
find_base
[ "$engine" != podman ] || adapt_podman

say "Building $image"
SECONDS=0
ENGINE=$engine KINDS=cpu scripts/build_images.sh >"$logs/build-$engine.log" 2>&1 ||
    fail "The image could not be built: $(tail -n 3 "$logs/build-$engine.log")"
say "Built in $SECONDS s: $("$engine" images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep -F "${image}")"
check_image

resume=
[ ! -f "$results/plain.launch/.nextflow/history" ] || resume=-resume
run_demo plain -profile test ${resume:+"$resume"}
rm -rf "${results:?}/$engine" "$results/$engine.launch"
SECONDS=0
run_demo "$engine" -profile "test,$engine"
say "Ran in $SECONDS s"

# Every task in a container, and every file the property of who started the run.
folders=$(cd "$results/$engine.launch" && "$nextflow" log last -f workdir)
[ -n "$folders" ] || fail "The run left no tasks"
for folder in $folders; do
    grep -q "$engine.* run -i" "$folder/.command.run" || fail "A task did not run in a container: $folder"
done
strangers=$(find "$results/$engine" $folders ! -user "$(id -u)" | head -n 3)
[ -z "$strangers" ] || fail "These belong to another user: $strangers"
say "$(wc -w <<<"$folders") tasks ran in containers; all files belong to $(id -un)"

"$project/.venv/bin/python" scripts/compare_results.py "$results/plain" "$results/$engine"
say "The demo gives the same with $engine as without"
