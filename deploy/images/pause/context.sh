#!/usr/bin/env bash
# usage: context.sh DIR    Fills DIR with what the Containerfile copies.
set -euo pipefail
gcc -static -Os -s -o "$1/pause" "$(dirname "${BASH_SOURCE[0]}")/pause.c"
