#!/usr/bin/env bash
# `make cluster-down`: stops the local cluster and removes what it left on the machine. Binaries, images and
# certificates stay where they are, so that the next `make cluster` takes seconds.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show pki network node processes components teardown; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done

owner=$(cat "$RUN/owner" 2>/dev/null || true)
if [ ! -d "$RUN" ] && [ ! -d "$DATA" ]; then
  say "no cluster is running"
  exit
fi
[ "$(id -u)" = 0 ] || fail "the local cluster runs as root, so stopping it needs root"
if [ -n "$owner" ] && [ "$owner" != "$ROOT" ] && [ -d "$owner" ]; then
  fail "the cluster on this machine is that of another checkout: $owner" "Stop it there: make -C $owner cluster-down"
fi
exec 9>/run/nightshift.lock
flock -w 300 9 || fail "another make target has been busy with the cluster for 5 minutes"
step "stopping the cluster" tear_down
