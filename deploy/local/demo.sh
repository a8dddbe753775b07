#!/usr/bin/env bash
# `make demo`: the nightly import of deploy/examples, on the current cluster. Two runs: one whose partner is down at
# first, and one for a day that has no file. Ends with 0 only where each ended as it should, and its rows are there.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
EXAMPLES=$ROOT/deploy/examples
NAMESPACE=nightly
DAY=2026-11-20
ROWS=5 # what the partner's file of that day has
DAY_WITHOUT_FILE=2026-11-22
STARTED=$(now_ms)
PARTNER_IS_DOWN=

headline() { printf '\n%s\n' "$*"; }
in_namespace() { kubectl --namespace "$NAMESPACE" "$@"; }
# The examples name the images of the local cluster.
manifests() {
  local import shell
  import=$("$HERE/images.sh" reference import) shell=$("$HERE/images.sh" reference shell)
  sed -s -e '$a---' -e "s#localhost/nightshift/import:1#$import#" -e "s#localhost/nightshift/shell:1#$shell#" "$@"
}

# Whatever happens in between, the partner is left as the example has it.
leave() {
  local status=$?
  if [ -n "$WATCH" ]; then kill "$WATCH" 2>/dev/null || true; fi
  if [ -n "$PARTNER_IS_DOWN" ]; then in_namespace scale deployment/partner --replicas=1 >/dev/null || true; fi
  exit "$status"
}
WATCH=
trap leave EXIT

apply_surroundings() {
  # Deleted a moment ago, and not gone yet.
  if [ "$(kubectl get namespace "$NAMESPACE" --ignore-not-found -o jsonpath='{.status.phase}')" = Terminating ]; then
    kubectl wait namespace "$NAMESPACE" --for=delete --timeout=120s
  fi
  kubectl apply -f "$EXAMPLES/nightly-import/1-namespace.yaml"
  # Made once, from nothing that anybody knows: no password stands in a file or on a command line.
  if ! in_namespace get secret database; then
    od -An -tx1 -N16 /dev/urandom | tr -d ' \n' | in_namespace create secret generic database --from-file=password=/dev/stdin
  fi
  manifests "$EXAMPLES"/nightly-import/[2-9]*.yaml | kubectl apply -f -
}

rolled_out() {
  if in_namespace rollout status "deployment/$1" --timeout=180s; then return; fi
  in_namespace describe pods -l "app=$1" | tail -n 25
  in_namespace logs "deployment/$1" --tail=15 || true
  return 1
}

apply_task() {
  manifests "$EXAMPLES/nightly-import.yaml" | kubectl apply -f -
  if in_namespace wait automationtask/nightly-import --for=condition=Ready --timeout=30s; then return; fi
  in_namespace describe automationtask/nightly-import
  return 1
}

partner_goes_down() {
  in_namespace scale deployment/partner --replicas=0
  in_namespace wait pods -l app=partner --for=delete --timeout=60s
}

partner_comes_back() {
  in_namespace scale deployment/partner --replicas=1
  rolled_out partner
}

start_run() { # start_run DATE: sets RUN and RUN_STARTED
  RUN=$(
    in_namespace create -o name -f - <<RUN
apiVersion: nightshift.dev/v1alpha1
kind: AutomationRun
metadata:
  generateName: demo-$1-
spec:
  taskRef: {name: nightly-import}
  parameters:
    - {name: DATE, value: "$1"}
RUN
  )
  RUN=${RUN#*/}
  RUN_STARTED=$(now_ms)
  printf '  %6s  %-9s %s\n' "" "Created" "$RUN, with DATE $1"
}

# follow WHEN_WAITING: prints what changes on the run until it is finished, and calls WHEN_WAITING when it first waits to
# be tried again.
follow() {
  local phase outcome reason until message shown=
  exec 3< <(exec timeout 240 kubectl --namespace "$NAMESPACE" get automationrun "$RUN" --watch \
    -o jsonpath='{.status.phase}|{.status.outcome}|{.status.reason}|{.status.waitingOn.until}|{.status.message}{"\n"}' 2>/dev/null)
  WATCH=$!
  while IFS='|' read -r phase outcome reason until message <&3; do
    if [ -z "$phase" ] || [ "$phase $reason" = "$shown" ]; then continue; fi
    shown="$phase $reason"
    case $phase-$reason in
      Finished-*) reason=Finished message="$outcome: $message" ;;
      *-Backoff) message="$message${until:+ at $(date -d "$until" +%T)}" ;;
    esac
    printf '  %6s  %-9s %s\n' "$(elapsed $(($(now_ms) - RUN_STARTED)))" "$reason" "$message"
    if [ "$phase" = Finished ]; then break; fi
    if [ "$reason" = Backoff ] && [ -n "$1" ]; then "$1"; set -- ''; fi
  done
  kill "$WATCH" 2>/dev/null || true
  exec 3<&-
  WATCH=
}

as_it_should() { # as_it_should WHAT WANTED SEEN
  if [ "$2" = "$3" ]; then return; fi
  headline "This is not how it should end. What is known:"
  in_namespace get automationrun "$RUN" -o wide || true
  in_namespace describe automationrun "$RUN" | tail -n 40 || true
  in_namespace get jobs,pods -l nightshift.dev/task=nightly-import || true
  expect "$@"
}

should_be() { # should_be OUTCOME REASON ATTEMPTS
  local seen
  seen=$(in_namespace get automationrun "$RUN" \
    -o jsonpath='{.status.phase} {.status.outcome}, {.status.reason}, attempts: {.status.attemptCount}')
  as_it_should "how run $RUN has ended, after 240 s at most" "Finished $1, $2, attempts: $3" "$seen"
}

attempts() {
  in_namespace get automationrun "$RUN" -o go-template='
{{- range $n, $attempt := .status.attempts }}  {{ .pod }}{{ if .exitCode | ne nil }}, exit code {{ .exitCode }}{{ end }}: {{ .class }} ({{ .reason }})
{{ with .logTail }}{{ . }}{{ end }}{{ end }}' | sed -e 's/^\([^ ]\)/      | \1/'
}

in_database() { # in_database SQL [OPTION OF PSQL]...
  local sql=$1
  shift
  in_namespace exec deployment/database -- sh -c \
    'PGPASSWORD=$POSTGRES_PASSWORD exec psql --host=127.0.0.1 --username=importer --dbname=import --no-psqlrc --pset=footer=off "$@"' \
    sh --command="$sql" "$@"
}

# In the name of this run: the rows of a demo before it must not pass for its own.
should_have_loaded() { # should_have_loaded DAY ROWS RUN
  local seen
  seen=$(in_database "select count(*) || ' rows, loaded by ' || coalesce(min(run), 'none')
    from prices left join imports using (day) where day = '$1'" --tuples-only --no-align)
  as_it_should "what the database has for $1" "$2 rows, loaded by $3" "$seen"
}

indented() { sed -e 's/ *$//' -e '/./!d' -e 's/^/  /'; }

main() {
  local outputs
  headline "The nightly import: fetch a partner's file, check it, load it into a database"
  step "applying namespace, Secret, database and partner" apply_surroundings
  step "waiting for the database" rolled_out database
  step "waiting for the partner" rolled_out partner
  step "applying the task deploy/examples/nightly-import.yaml" apply_task

  headline "1. A night on which the partner is down at first"
  PARTNER_IS_DOWN=yes
  step "taking the partner's host down" partner_goes_down
  start_run "$DAY"
  follow while_it_waits
  should_be Succeeded Completed 2
  headline "  Its attempts: the host that is down is told apart, and tried again"
  attempts
  headline "  Its outputs, and what is really in the database"
  outputs=$(in_namespace get automationrun "$RUN" -o jsonpath='{.status.outputs}')
  printf '  %s\n' "$outputs"
  as_it_should "the outputs of run $RUN" "{\"date\":\"$DAY\",\"rows\":$ROWS}" "$outputs"
  in_database "select * from prices where day = '$DAY' order by sku" | indented
  should_have_loaded "$DAY" "$ROWS" "$NAMESPACE/$RUN"

  headline "2. A day on which the partner has no file"
  start_run "$DAY_WITHOUT_FILE"
  follow ''
  should_be NoData ExitCodeNoData 1
  should_have_loaded "$DAY_WITHOUT_FILE" 0 none
  attempts

  headline "How it stands"
  in_namespace get automationruns --field-selector spec.taskRef.name=nightly-import | indented
  printf '\n'
  in_namespace get automationtask nightly-import | indented
  printf '\n'
  in_namespace get automationtask nightly-import -o go-template='
{{- range .status.conditions }}  {{ .type }}={{ .status }}  {{ .message }}
{{ end }}  clock {{ .status.clock.type }}: {{ .status.clock.reason }}
'

  cat <<END

To look further${HOW:+, first: $HOW}
  kubectl -n nightly describe arun $RUN
  kubectl -n nightly get events --field-selector involvedObject.kind=AutomationRun
  kubectl -n nightly logs -l nightshift.dev/task=nightly-import --prefix
  kubectl get arun -A --field-selector status.result=Bad      what ended badly, in all namespaces
  kubectl explain automationtask.spec

To run it again, for a day whose file is malformed (ends Fatal: one attempt, Failed)
  kubectl -n nightly create -f - <<< '{apiVersion: nightshift.dev/v1alpha1, kind: AutomationRun, metadata: {generateName: by-hand-},
    spec: {taskRef: {name: nightly-import}, parameters: [{name: DATE, value: "2026-11-19"}]}}'

To stop
  kubectl delete namespace nightly      the import, its database and its runs
END
  if [ "$CLUSTER" = local ]; then say "  make cluster-down                     the local cluster"; else say "  make uninstall                        the operator"; fi
  printf '\nDone in %s.\n' "$(elapsed $(($(now_ms) - STARTED)))"
}

while_it_waits() {
  step "        the partner's host comes back" partner_comes_back
  PARTNER_IS_DOWN=
}

HOW=
if [ "$CLUSTER" = local ]; then HOW="export KUBECONFIG=$KUBECONFIG PATH=$STATE/bin:\$PATH"; fi
main
