#!/usr/bin/env bash
# `make test-install`: what users have outlives the operator. There are a task with a schedule, a run and a backfill that
# have ended; then the operator is upgraded, uninstalled, installed by the plain manifests, removed as these say, and
# installed by its chart again. After each of it kinds, task, runs, backfill, CronJob and Jobs are still the same objects.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
# It takes the operator away: never on a cluster that somebody else uses.
export KUBECONFIG=$STATE/kubeconfig
NAMESPACE=nightshift-lifecycle
SYSTEM=nightshift-system
OURS=app.kubernetes.io/name=nightshift
MANIFESTS=$ROOT/deploy/manifests/install.yaml
RUNS=()

in_namespace() { kubectl --namespace "$NAMESPACE" "$@"; }
in_system() { kubectl --namespace "$SYSTEM" "$@"; }
ok() { say "  ok: $*"; }

# Where it fails, what is known is told before the namespace goes, and its events with it.
leave() {
  local status=$?
  if [ "$status" != 0 ]; then
    say "  what is known:"
    {
      in_namespace get automationtasks,automationruns,backfills,concurrencypools,cronjobs,jobs,pods -o wide
      in_namespace get events --sort-by=.lastTimestamp | tail -n 20
      in_system get deployments,pods -o wide
    } 2>&1 || true
    kubectl delete namespace "$NAMESPACE" --ignore-not-found --wait=false || true
    say "  the operator may be gone, or another than it was; it is back after: make install"
  fi
  exit "$status"
}

no_namespace() { kubectl delete namespace "$NAMESPACE" --ignore-not-found --timeout=120s; }

operator_is_up() { in_system rollout status deployment/nightshift --timeout=120s; }

operator_is() { # what the operator is started from and with
  in_system get deployment nightshift -o jsonpath='{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].args}'
}

operator_is_gone() {
  local left
  in_system wait pods -l "$OURS" --for=delete --timeout=60s
  left=$(in_system get deployments,services,serviceaccounts,pods,roles,rolebindings,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings -l "$OURS" -o name)
  expect "what is left of the operator" "" "$left"
}

make_task() {
  no_namespace # of one that was killed
  kubectl create namespace "$NAMESPACE"
  in_namespace create -f - <<'TASK'
apiVersion: nightshift.dev/v1alpha1
kind: AutomationTask
metadata:
  name: kept
spec:
  owner: {team: platform}
  schedule: {cron: ["0 3 1 1 *"]} # once a year: not now
  image: localhost/nightshift/shell:1
  command: ["true"]
TASK
  task_is_ready
}

task_is_ready() {
  if in_namespace wait automationtask/kept --for=condition=Ready --timeout=30s; then return; fi
  in_namespace describe automationtask/kept
  return 1
}

run_succeeds() { # run_succeeds NAME
  local seen
  in_namespace create -f - <<RUN
apiVersion: nightshift.dev/v1alpha1
kind: AutomationRun
metadata:
  name: $1
spec:
  taskRef: {name: kept}
RUN
  # What it is instead is said below.
  in_namespace wait "automationrun/$1" --for=jsonpath='{.status.phase}'=Finished --timeout=120s || true
  seen=$(in_namespace get "automationrun/$1" -o jsonpath='{.status.phase} {.status.outcome}, {.status.reason}, attempts: {.status.attemptCount}')
  expect "how run $1 has ended, after 120 s at most" "Finished Succeeded, Completed, attempts: 1" "$seen"
}

a_run_succeeds() {
  RUNS+=("$1")
  step "a run: $1" run_succeeds "$1"
}

# Of the one slot that the schedule had in that range.
SLOT=2026-01-01T03:00:00Z
backfill_succeeds() {
  local seen
  in_namespace create -f - <<BACKFILL
apiVersion: nightshift.dev/v1alpha1
kind: Backfill
metadata:
  name: past
spec:
  taskRef: {name: kept}
  range: {from: "${SLOT%T*}T00:00:00Z", to: "${SLOT%T*}T23:59:59Z"}
BACKFILL
  in_namespace wait backfill/past --for=jsonpath='{.status.phase}'=Finished --timeout=120s || true
  seen=$(in_namespace get backfill/past -o jsonpath='{.status.phase} {.status.outcome}, {.status.progress}, failed: {.status.failed}')
  expect "how backfill past has ended, after 120 s at most" "Finished Succeeded, 1/1, failed: 0" "$seen"
}

a_backfill_succeeds() {
  RUNS+=("past-bf-$(($(date -d "$SLOT" +%s) / 60))")
  step "a backfill: past" backfill_succeeds
}

# Each object with its UID and, where it is being deleted, since when; what the user wrote; what was recorded. An error is
# a line as well, so that a comparison shows it.
what_users_have() {
  local each='{range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.metadata.deletionTimestamp}{"\n"}{end}'
  {
    kubectl get crd/automationtasks.nightshift.dev crd/automationruns.nightshift.dev crd/backfills.nightshift.dev -o jsonpath="$each"
    in_namespace get automationtask/kept automationrun/first backfill/past cronjob/kept job/first-1 -o jsonpath="$each"
    in_namespace get automationtask/kept -o jsonpath='spec of the task: {.spec}{"\n"}'
    in_namespace get cronjob/kept -o jsonpath='schedule: {.spec.schedule}, suspended: {.spec.suspend}{"\n"}'
    in_namespace get automationrun/first -o jsonpath='record of the run: {.status.outcome}, {.status.completionTime}, attempts: {.status.attemptCount}{"\n"}'
    in_namespace get backfill/past -o jsonpath='record of the backfill: {.status.outcome}, {.status.completionTime}, {.status.progress}{"\n"}'
  } 2>&1 || true
}

still_there() { # still_there AFTER-WHAT
  local now runs jobs seen lines
  now=$(what_users_have)
  if [ "$now" != "$BEFORE" ]; then
    mapfile -t lines < <(diff <(printf '%s\n' "$BEFORE") <(printf '%s\n' "$now"))
    fail "what users have, after $1 (< expected, > seen)" "${lines[@]}"
  fi
  # Nothing was lost, and nothing was run twice.
  runs=$(printf 'automationrun.nightshift.dev/%s\n' "${RUNS[@]}")
  jobs=$(printf 'job.batch/%s-1\n' "${RUNS[@]}")
  seen=$(in_namespace get automationruns,jobs -o name)
  expect "runs and Jobs, after $1" "$(printf '%s\n' "$runs" "$jobs" | LC_ALL=C sort)" "$(LC_ALL=C sort <<<"$seen")"
}

upgrade() {
  local seen
  helm upgrade nightshift "$ROOT/charts/nightshift" --namespace "$SYSTEM" --reuse-values --set log.format=text \
    --wait --timeout 120s
  seen=$(operator_is)
  expect "the operator after the upgrade" "${AS_INSTALLED/--log-format=json/--log-format=text}" "$seen"
}

apply_manifests() {
  local image seen
  image=$("$HERE/images.sh" reference operator)
  sed "s#registry\.example\.com/nightshift/operator:[^\"]*#$image#" "$MANIFESTS" |
    kubectl apply --server-side --force-conflicts -f -
  seen=$(in_system get deployment nightshift \
    -o jsonpath='{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].imagePullPolicy}')
  expect "the image of the Deployment in the manifests" "$image IfNotPresent" "$seen"
  operator_is_up
}

# By the very commands that their header gives.
remove_manifests() {
  local lines line
  mapfile -t lines < <(sed -n 's/^#   \(kubectl .*delete .* -l .*\)$/\1/p' "$MANIFESTS")
  expect "how many commands that remove the operator stand in the header of $MANIFESTS" 2 "${#lines[@]}"
  for line in "${lines[@]}"; do bash -c "$line"; done
  operator_is_gone
  # The namespace stays, with what the manifests have put on it. Helm puts nothing there.
  kubectl label namespace "$SYSTEM" app.kubernetes.io/name- pod-security.kubernetes.io/enforce- pod-security.kubernetes.io/warn-
}

main() {
  trap leave EXIT
  step "waiting for the operator" operator_is_up
  AS_INSTALLED=$(operator_is)
  case $AS_INSTALLED in *--log-format=json*) ;; *) expect "the operator as installed" "--log-format=json among its arguments" "$AS_INSTALLED" ;; esac
  step "a task with a schedule" make_task
  a_run_succeeds first
  a_backfill_succeeds
  # All must be there to begin with, or what is missing would be missing ever after without a word.
  in_namespace get backfill/past cronjob/kept job/first-1 >/dev/null
  BEFORE=$(what_users_have)

  step "helm upgrade, with another log format" upgrade
  a_run_succeeds upgraded
  still_there "helm upgrade"
  ok "helm upgrade keeps kinds, tasks, runs, backfills, CronJobs and Jobs, and runs go on"

  "$HERE/operator.sh" uninstall
  step "waiting until the operator is gone" operator_is_gone
  still_there "helm uninstall"
  ok "helm uninstall removes the operator with its roles, and keeps kinds, tasks, runs, backfills, CronJobs and Jobs"

  step "applying deploy/manifests/install.yaml" apply_manifests
  a_run_succeeds plain
  still_there "the plain manifests"
  ok "the plain manifests take up what is there, and runs go on"

  step "removing the operator as install.yaml says" remove_manifests
  still_there "the removal of the plain manifests"
  ok "what install.yaml says removes the operator with its roles, and keeps all else"

  "$HERE/operator.sh" install
  step "waiting for the task" task_is_ready
  a_run_succeeds again
  still_there "another installation by the chart"
  expect "the operator, installed again" "$AS_INSTALLED" "$(operator_is)"
  ok "the chart installs over what was kept, and runs go on"
  step "removing namespace $NAMESPACE" no_namespace
}

main
