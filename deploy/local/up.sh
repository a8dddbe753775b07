#!/usr/bin/env bash
# `make cluster`: a real Kubernetes cluster of one node on this machine. Safe to repeat: starts what is missing,
# restarts what died or whose configuration changed, and is done in a second when all is well.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show packages binaries pki network node processes components images teardown; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done

main() {
  local from
  from=$(now_ms)
  [ "$(id -u)" = 0 ] || fail "the local cluster runs containers, so it needs root" \
    "Run as root, or use a cluster of yours: export KUBECONFIG=…"
  packages_for_cluster
  binaries_for_cluster

  exec 9>/run/nightshift.lock
  flock -n 9 || { say "  waiting for another make target that is busy with the cluster" && flock -w 300 9; } ||
    fail "another make target has been busy with the cluster for 5 minutes"
  claim_machine
  # Other certificates, other cluster: what an older one left behind would trust neither.
  if [ ! -e "$PKI/complete" ]; then
    tear_down
    step "making certificates" make_pki
  fi
  mkdir -p "$RUN" "$DATA" "$LOGS"
  printf '%s\n' "$ROOT" >"$RUN/owner"
  network_up
  write_config
  install -m 600 "$PKI/admin.kubeconfig" "$STATE/kubeconfig"
  export KUBECONFIG=$STATE/kubeconfig

  store_up
  controller_manager_up
  scheduler_up
  containerd_up
  until_true 30 ctr -a "$RUN/containerd.sock" version || not_ready containerd
  image_unless_loaded pause
  image_unless_loaded shell
  image_unless_loaded_if_built import
  kubelet_up
  proxy_up
  if [ -n "$STARTED" ] || ! node_ready; then step "waiting for node $NODE" wait_for_node; fi
  touch "$RUN/up"
  if [ -n "$STARTED" ]; then
    say "cluster is up after $(elapsed $(($(now_ms) - from))): export KUBECONFIG=$STATE/kubeconfig"
  else
    say "cluster is up: export KUBECONFIG=$STATE/kubeconfig"
  fi
}

# Only one cluster fits on a machine: it needs the ports, the bridge and the pods' addresses.
claim_machine() {
  local owner
  owner=$(cat "$RUN/owner" 2>/dev/null || true)
  if [ -z "$owner" ] || [ "$owner" = "$ROOT" ]; then return; fi
  if any_running && [ -d "$owner" ]; then
    fail "a cluster of another checkout runs on this machine: $owner" "Stop it first: make -C $owner cluster-down"
  fi
  say "  the cluster of $owner was left behind: removing it"
  tear_down
}

# etcd writes without fsync, so a power cut may cost its data. An empty cluster is then better than none.
store_up() {
  etcd_up
  apiserver_up
  case $STARTED in *etcd* | *kube-apiserver*) ;; *) if api_ready; then return; fi ;; esac
  if ! wait_for_api && ! pid_of etcd >/dev/null; then
    say "  etcd cannot read its data (see .cluster/logs/etcd.log): starting with an empty cluster"
    tear_down
    mkdir -p "$RUN" "$DATA"
    printf '%s\n' "$ROOT" >"$RUN/owner"
    network_up
    write_config
    etcd_up
    apiserver_up
    wait_for_api || not_ready etcd
  fi
  api_ready || not_ready kube-apiserver
}

api_ready() { kubectl get --raw /readyz --request-timeout=5s >/dev/null 2>&1; }

wait_for_api() {
  local end=$((SECONDS + 60))
  sleep 0.3 # until the processes have become what they are to be
  until api_ready; do
    if ((SECONDS > end)) || ! pid_of etcd >/dev/null || ! pid_of kube-apiserver >/dev/null; then return 1; fi
    sleep 0.2
  done
}

# Ready, and reachable for `kubectl logs`; and a pod that is created now finds its service account and the API.
node_ready() {
  local ready
  ready=$(kubectl get node "$NODE" --request-timeout=5s -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) &&
    [ "$ready" = True ] &&
    kubectl get --raw "/api/v1/nodes/$NODE/proxy/healthz" --request-timeout=5s >/dev/null 2>&1 &&
    kubectl get serviceaccount default -n default --request-timeout=5s >/dev/null 2>&1 &&
    iptables -w 5 -t nat -S KUBE-SERVICES 2>/dev/null | grep "$SERVICE_IP/32" >/dev/null
}

wait_for_node() {
  until_true 90 node_ready && return
  kubectl get node "$NODE" -o wide || true
  kubectl describe node "$NODE" | sed -n '/^Conditions/,/^Addresses/p' || true
  return 1
}

not_ready() {
  tail -n 15 "$LOGS/$1.log" | cut -c1-300 | sed 's/^/    /' >&2
  fail "$1 does not come up" "Its log: $LOGS/$1.log"
}

main "$@"
