#!/usr/bin/env bash
# usage: stories.sh BINARY ARGS...    Runs the stories of a test binary side by side. One that fails there is run once
# more, with few beside it: a story that was only starved of time by a dozen others passes then, a broken one does not.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
cd "$ROOT" || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

binary=$1
shift
cargo test --locked --test "$binary" -- "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
mapfile -t failed < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
if [ "$status" = 0 ]; then exit 0; fi
# More than a few is no matter of load, and no name is no story: it did not build, or the binary died.
if [ "${#failed[@]}" = 0 ] || [ "${#failed[@]}" -gt 6 ]; then exit "$status"; fi
say "==== ${#failed[@]} failed beside the others, and run once more: ${failed[*]}"
exec cargo test --locked --test "$binary" -- --test-threads 3 --exact "${failed[@]}"
