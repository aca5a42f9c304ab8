#!/usr/bin/env bash
# What `mkdocs build --strict` ends with where a document links to a file that is not there, with and without `--quiet`.
#
# Expected: 1 both times: `--strict` makes of each warning a failure, and `--quiet` is about what is printed.
# Seen:     with `--quiet` it ends with 0, and a broken site passes in a script that wants no output. Warnings are
#           counted by a handler of the logger that `--quiet` turns off for everything below errors.
#
# Versions: mkdocs 1.6.1, Python 3.13. Runs for some seconds, in a temporary folder. Fails if this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check mkdocs==1.6.1

mkdir "$folder/docs"
printf 'site_name: Recipes\n' > "$folder/mkdocs.yml"
printf '# Recipes\n\n[Bread](bread.md)\n' > "$folder/docs/index.md"

ended() {
    local status=0
    (cd "$folder" && venv/bin/mkdocs build --strict "$@") > "$folder/output" 2>&1 || status=$?
    echo "$status"
}

loud=$(ended) quiet=$(ended --quiet)
echo "mkdocs 1.6.1: --strict ends with $loud, --strict --quiet with $quiet"
[ "$loud $quiet" = "1 0" ]
