#!/usr/bin/env bash
# usage: stories.sh BINARY ARGS... [--then ARGS...]...    Runs the stories of a test binary side by side; those after
# --then when the ones before it are done. One that fails is run once more, with few beside it: a story that was only
# starved of time by a dozen others passes then, a broken one does not. The last line names those that needed it.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
cd "$ROOT" || exit 1
binary=$1
shift
log=$(mktemp)
again=()

leave() {
  rm -f "$log"
  if [ "${#again[@]}" != 0 ]; then say "passed only when run again: ${again[*]}"; fi
}
trap leave EXIT

stories() { # stories ARGS...: the output is also in $log
  cargo test --locked --test "$binary" -- "$@" 2>&1 | tee "$log"
  return "${PIPESTATUS[0]}"
}

stories_or_again() {
  local status failed passed
  stories "$@"
  status=$?
  if [ "$status" = 0 ]; then return; fi
  mapfile -t failed < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
  # More than a few is no matter of load, and no name is no story: it did not build, or the binary died.
  if [ "${#failed[@]}" = 0 ] || [ "${#failed[@]}" -gt 6 ]; then exit "$status"; fi
  say "==== ${#failed[@]} failed beside the others, and run once more: ${failed[*]}"
  stories --test-threads 3 --exact "${failed[@]}" || exit "$?"
  # A name that is none of a story's is run as nothing, which is good as well.
  passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed;.*/\1/p' "$log")
  expect "how many stories passed when run again" "${#failed[@]}" "$passed"
  again+=("${failed[@]}")
}

group=()
for argument in "$@" --then; do
  if [ "$argument" != --then ]; then
    group+=("$argument")
    continue
  fi
  stories_or_again "${group[@]}"
  group=()
done
