#!/usr/bin/env bash
# Make .nextflow-runtime/nextflow: the Nextflow on the PATH when it is new enough,
# else one from Maven Central, else the official launcher.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

oldest=25.04.0
tested=25.04.4
pom=scripts/nextflow-runtime.pom.xml
runtime=$PWD/.nextflow-runtime

fail() {
    printf 'stlatent: %s\n' "$@" >&2
    exit 1
}

check_java() {
    local version
    version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || version=
    [ -n "$version" ] || fail "Java 17 or newer is needed, and none was found." \
        "Debian, Ubuntu: sudo apt install default-jre-headless; macOS: brew install openjdk@21"
    [ "$version" -ge 17 ] || fail "Java 17 or newer is needed; the one found is version $version." \
        "Debian, Ubuntu: sudo apt install openjdk-17-jre-headless; or point JAVA_HOME to a newer one"
}

# NXF_OFFLINE keeps an old Nextflow from asking the network for its newest version.
is_new_enough() {
    local version
    version=$(NXF_OFFLINE=true "$1" -v 2>/dev/null | sed -n 's/^nextflow version \([0-9.]*[0-9]\).*/\1/p')
    [ -n "$version" ] && [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1)" = "$oldest" ]
}

from_path() {
    local own
    own=$(command -v nextflow) && [ "$own" != "$runtime/nextflow" ] && is_new_enough "$own" || return 1
    ln -sf "$own" "$runtime/nextflow"
    echo "Using the Nextflow on the PATH: $own" >&2
}

from_maven() {
    command -v mvn >/dev/null || return 1
    echo "Installing Nextflow $tested from Maven Central into .nextflow-runtime" >&2
    rm -rf "$runtime/jars"
    mvn --batch-mode --quiet -Dstyle.color=never --file "$pom" \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$runtime/jars" >&2 || return 1
    cp "$pom" "$runtime/jars/pom.xml"
    cp scripts/nextflow-from-jars.sh "$runtime/nextflow"
}

from_launcher() {
    command -v curl >/dev/null || return 1
    echo "Installing Nextflow $tested with its launcher into .nextflow-runtime" >&2
    (cd "$runtime" && mkdir -p launcher && cd launcher &&
        curl -fsSL https://get.nextflow.io | NXF_VER=$tested NXF_HOME="$runtime/home" bash >&2) || return 1
    cat >"$runtime/nextflow" <<'WRAPPER'
#!/usr/bin/env bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export NXF_HOME="${NXF_HOME:-$here/home}" NXF_VER="${NXF_VER:-@tested@}"
exec "$here/launcher/nextflow" "$@"
WRAPPER
    sed -i.orig "s/@tested@/$tested/" "$runtime/nextflow" && rm "$runtime/nextflow.orig"
    chmod +x "$runtime/nextflow"
}

check_java
if [ -x "$runtime/nextflow" ] && { [ ! -d "$runtime/jars" ] || cmp -s "$pom" "$runtime/jars/pom.xml"; }; then
    exit 0
fi
mkdir -p "$runtime"
rm -f "$runtime/nextflow"
from_path || from_maven || from_launcher || fail \
    "Nextflow $oldest or newer is needed and could not be installed: look at the messages above." \
    "Install Maven (Debian, Ubuntu: sudo apt install maven) or Nextflow itself (https://nextflow.io) and try again."
