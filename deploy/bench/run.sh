#!/usr/bin/env bash
# usage: run.sh [CASE]    `make bench`: builds the release operator and what measures it, starts a cluster without a
# kubelet, measures, and stops all of it. `list` names the cases. Results go to target/bench.
set -euo pipefail
BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=/dev/null
. "$BENCH/paths.sh"
for file in "$HERE"/{show,packages,binaries,pki,processes}.sh "$BENCH"/{kwok,components}.sh; do
  # shellcheck source=/dev/null
  . "$file"
done
PORTS=(16443 12379 12380 20257 20259 20247 18080)

measure() { cargo bench --quiet --locked --bench cluster -- "$@"; }

main() {
  cd "$ROOT"
  if [ "${1:-}" = list ]; then
    measure list
    return
  fi
  # shellcheck disable=SC2034 # of packages.sh
  MISSING=()
  need openssl openssl
  need iproute2 ss
  need util-linux flock
  install_missing
  if ! have_kubernetes; then with_build_lock kubernetes_unless_built; fi
  if [ ! -x "$KWOK/bin/kwok" ]; then with_build_lock kwok_unless_built; fi
  step "building the operator and what measures it (release; about 3 minutes the first time)" \
    cargo bench --quiet --locked --bench cluster --no-run
  mkdir -p "$STATE"
  exec 9>"$STATE/lock"
  flock -n 9 || fail "another make bench runs in this checkout"
  trap stop_all EXIT
  # What a run that was killed has left.
  stop_all
  rm -rf "$DATA"
  if [ ! -e "$PKI/complete" ]; then step "making certificates" make_bench_pki; fi
  mkdir -p "$RUN" "$DATA" "$LOGS"
  write_config
  for port in "${PORTS[@]}"; do port_is_free "$port" || fail "port $port is in use; the measuring cluster needs ${PORTS[*]}"; done
  step "starting the cluster: API server, controllers, kwok" start_all
  NIGHTSHIFT_BENCH_CLUSTER=$STATE NIGHTSHIFT_BENCH_VERSIONS="Kubernetes $KUBERNETES_VERSION, kwok $KWOK_VERSION" measure "$@" 9>&-
}

start_all() {
  etcd_up
  apiserver_up
  until_true 60 ready || {
    tail -n 20 "$LOGS/bench-kube-apiserver.log"
    return 1
  }
  controller_manager_up
  scheduler_up
  kwok_up
}

ready() { "$KUBERNETES/bin/kubectl" --kubeconfig "$PKI/bench.kubeconfig" get --raw /readyz --request-timeout=5s; }

# At once: the API server would drain for a minute. The operator is stopped by who started it, and left behind only
# where that one was killed.
stop_all() {
  local component
  for component in bench-operator "${COMPONENTS[@]}"; do stop_process "$component"; done
}

main "$@"
