#!/usr/bin/env bash
# Nextflow from the jars beside this file. NXF_HOME must be set: without it Nextflow takes
# itself for a development build. Plugins are not on Maven Central: stay off the network.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export NXF_HOME="${NXF_HOME:-$here/home}"
export NXF_OFFLINE="${NXF_OFFLINE:-true}"
export NXF_PLUGINS_DEFAULT="${NXF_PLUGINS_DEFAULT:-false}"
# A log file gets one line a task, not a redrawn screen.
[ -t 1 ] || export NXF_ANSI_LOG="${NXF_ANSI_LOG:-false}"

opened=()
for package in \
    java.lang java.io java.nio java.net java.util java.util.concurrent.locks java.util.concurrent.atomic \
    java.nio.file.spi java.util.regex sun.nio.ch sun.nio.fs sun.net.www.protocol.http sun.net.www.protocol.https \
    sun.net.www.protocol.ftp sun.net.www.protocol.file jdk.internal.misc jdk.internal.vm; do
    opened+=("--add-opens=java.base/$package=ALL-UNNAMED")
done
quick=()
[ "${1:-}" = run ] || quick=(-XX:+TieredCompilation -XX:TieredStopAtLevel=1)

exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" -Xmx"${NXF_XMX:-1g}" ${quick[@]+"${quick[@]}"} \
    -Dfile.encoding=UTF-8 -Djava.awt.headless=true -Dcom.sun.security.enableAIAcaIssuers=true \
    "${opened[@]}" -cp "$here/jars/*" nextflow.cli.Launcher "$@"
