#!/usr/bin/env bash
# Fail when `nextflow lint -format` would change a file: check_nextflow_format.sh NEXTFLOW FILE...
set -euo pipefail
nextflow=$1
shift
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$@" "$copy"
(cd "$copy" && "$nextflow" lint -format -spaces 4 "$@" >/dev/null)
for file in "$@"; do
    diff -r "$file" "$copy/$file" || { echo "Run make format." >&2; exit 1; }
done
