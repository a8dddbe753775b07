#!/usr/bin/env bash
# `make test`: every layer in order, each under a headline that also says how long the one before took. The first
# that fails ends it, with what the operator said. The last lines of a good run are those of the cargo test runner.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
cd "$ROOT"
# Tests stop, starve and break things: never on a cluster that somebody else uses.
export KUBECONFIG=$STATE/kubeconfig
# The layers need not install again what the layer "install" has installed.
export NIGHTSHIFT_TESTING=1

LAYERS=(
  "check: format, lints, unit and property tests"
  "cluster: a real one, on this machine"
  "install: the operator, by its Helm chart"
  "test-chart: the Helm chart"
  "test-api: against the real API server"
  "test-e2e: on the real cluster, with real pods"
  "test-install: upgrade, uninstall, and the plain manifests"
  "demo: the nightly import, from the chart to the database"
  "test-chaos: the operator stopped at every write"
)

explain() {
  say ""
  say "==== events, the last 40"
  kubectl get events -A --sort-by=.lastTimestamp --request-timeout=10s 2>&1 | tail -n 40 || true
  say "==== the operators' logs, the last 100 lines of each"
  kubectl -n nightshift-system logs -l app.kubernetes.io/name=nightshift --prefix --tail=100 --request-timeout=10s 2>&1 || true
}

number=0
before=
for layer in "${LAYERS[@]}"; do
  number=$((number + 1))
  target=${layer%%:*}
  say ""
  say "==== $number/${#LAYERS[@]} $layer${before:+   ($before)}"
  from=$(now_ms)
  if ! make "$target"; then
    case $target in check | cluster | test-chart) ;; *) explain ;; esac
    say ""
    fail "make $target failed after $(elapsed $(($(now_ms) - from)))"
  fi
  before="$target took $(elapsed $(($(now_ms) - from)))"
done
