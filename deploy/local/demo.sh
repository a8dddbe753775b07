#!/usr/bin/env bash
# `make demo`: the nightly import of deploy/examples, on the current cluster. A run whose partner is down at first, one for
# a day that has no file, the first one run again, a backfill of three nights, and the same import as a workflow of three
# steps. Ends with 0 only where each ended as it should, and its rows are there.
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
NIGHTS=(2026-11-16 2026-11-17 2026-11-18)
ROWS_OF_NIGHTS=(3 4 2)
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

# create_and_tell WORDS: creates the object on standard input; sets NAME, SUBJECT and SUBJECT_STARTED.
create_and_tell() {
  SUBJECT=$(in_namespace create -o name -f -)
  SUBJECT_STARTED=$(now_ms)
  NAME=${SUBJECT#*/}
  tell Created "$NAME, $1"
}

tell() { printf '  %6s  %-9s %s\n' "$(if [ "$1" != Created ]; then elapsed $(($(now_ms) - SUBJECT_STARTED)); fi)" "$1" "$2"; }

start_run() { # start_run DATE
  create_and_tell "with DATE $1" <<RUN
apiVersion: nightshift.dev/v1alpha1
kind: AutomationRun
metadata:
  generateName: demo-$1-
spec:
  taskRef: {name: nightly-import}
  parameters:
    - {name: DATE, value: "$1"}
RUN
}

start_rerun() { # start_rerun RUN
  create_and_tell "with rerunOf $1" <<RUN
apiVersion: nightshift.dev/v1alpha1
kind: AutomationRun
metadata:
  generateName: demo-rerun-
spec:
  taskRef: {name: nightly-import}
  rerunOf: $1
RUN
}

apply_workflow() {
  manifests "$EXAMPLES/nightly-workflow.yaml" | kubectl apply -f -
  if in_namespace wait workflow/nightly-prices --for=condition=Ready --timeout=30s; then return; fi
  in_namespace describe workflow/nightly-prices
  return 1
}

start_workflow() { # start_workflow DATE
  create_and_tell "of the workflow, with DATE $1" <<RUN
apiVersion: nightshift.dev/v1alpha1
kind: AutomationRun
metadata:
  generateName: demo-steps-
spec:
  workflowRef: {name: nightly-prices}
  parameters:
    - {name: DATE, value: "$1"}
RUN
}

# All: where a demo before this one has run these nights, they are run again. Missing, where left out, would leave them.
start_backfill() {
  create_and_tell "the slots from ${NIGHTS[0]} to ${NIGHTS[-1]}, two at a time" <<BACKFILL
apiVersion: nightshift.dev/v1alpha1
kind: Backfill
metadata:
  generateName: demo-nights-
spec:
  taskRef: {name: nightly-import}
  range: {from: "${NIGHTS[0]}T00:00:00Z", to: "${NIGHTS[-1]}T23:59:59Z"}
  select: All
  concurrency: 2
BACKFILL
}

watch_subject() { # watch_subject JSONPATH: what it says of the subject at each change, on descriptor 3
  exec 3< <(exec timeout 240 kubectl --namespace "$NAMESPACE" get "$SUBJECT" --watch -o jsonpath="$1"'{"\n"}' 2>/dev/null)
  WATCH=$!
}

watch_no_more() {
  kill "$WATCH" 2>/dev/null || true
  exec 3<&-
  WATCH=
}

# follow WHEN_WAITING: prints what changes on the run until it is finished, and calls WHEN_WAITING when it first waits to
# be tried again.
follow() {
  local phase outcome reason until message shown=
  watch_subject '{.status.phase}|{.status.outcome}|{.status.reason}|{.status.waitingOn.until}|{.status.message}'
  while IFS='|' read -r phase outcome reason until message <&3; do
    if [ -z "$reason" ] || [ "$phase $reason" = "$shown" ]; then continue; fi
    shown="$phase $reason"
    case $phase-$reason in
      Finished-*) reason=Finished message="$outcome: $message" ;;
      *-Backoff) message="$message${until:+ at $(date -d "$until" +%T)}" ;;
    esac
    tell "$reason" "$message"
    if [ "$phase" = Finished ]; then break; fi
    if [ "$reason" = Backoff ] && [ -n "$1" ]; then "$1"; set -- ''; fi
  done
  watch_no_more
}

follow_backfill() {
  local phase message shown=
  watch_subject '{.status.phase}|{.status.message}'
  while IFS='|' read -r phase message <&3; do
    if [ -z "$message" ] || [ "$phase $message" = "$shown" ]; then continue; fi
    shown="$phase $message"
    tell "$phase" "$message"
    if [ "$phase" = Finished ]; then break; fi
  done
  watch_no_more
}

as_it_should() { # as_it_should WHAT WANTED SEEN
  if [ "$2" = "$3" ]; then return; fi
  headline "This is not how it should end. What is known:"
  in_namespace get "$SUBJECT" -o wide || true
  in_namespace describe "$SUBJECT" | tail -n 40 || true
  in_namespace get automationruns,jobs,pods -l nightshift.dev/task=nightly-import || true
  expect "$@"
}

should_be() { # should_be OUTCOME REASON ATTEMPTS
  local seen
  seen=$(in_namespace get "$SUBJECT" -o jsonpath='{.status.phase} {.status.outcome}, {.status.reason}, attempts: {.status.attemptCount}')
  as_it_should "how run $NAME has ended, after 240 s at most" "Finished $1, $2, attempts: $3" "$seen"
}

attempts() {
  in_namespace get "$SUBJECT" -o go-template='
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

loaded_at() { in_database "select loaded from imports where day = '$1'" --tuples-only --no-align; }

should_have_loaded_again() { # should_have_loaded_again DAY WHEN-BEFORE
  local seen
  seen=$(in_database "select case when loaded > '$2' then 'later' else 'at ' || loaded end from imports where day = '$1'" \
    --tuples-only --no-align)
  as_it_should "whether the rows of $1 were loaded later than at $2" later "$seen"
}

should_repeat() { # should_repeat RUN
  local seen
  seen=$(in_namespace get "$SUBJECT" -o jsonpath='rerunChain {.status.rerunChain}, idempotencyKey {.status.idempotencyKey}')
  as_it_should "what run $NAME repeats" "rerunChain [\"$1\"], idempotencyKey $NAMESPACE/$1" "$seen"
  printf '  %s\n' "$seen"
}

nights_should_be_loaded() {
  local night slot rest seen='' wanted='' slots=()
  seen=$(in_namespace get "$SUBJECT" -o jsonpath='{.status.phase} {.status.outcome}, {.status.succeeded} of {.status.total}, failed: {.status.failed}, left alone: {.status.skipped}')
  as_it_should "how backfill $NAME has ended, after 240 s at most" \
    "Finished Succeeded, ${#NIGHTS[@]} of ${#NIGHTS[@]}, failed: 0, left alone: 0" "$seen"
  # One run for each night and no other, for the file of that night, whatever day it is today.
  for night in "${!NIGHTS[@]}"; do
    wanted+="${NIGHTS[night]} Backfill Succeeded Completed {\"date\":\"${NIGHTS[night]}\",\"rows\":${ROWS_OF_NIGHTS[night]}}"$'\n'
  done
  seen=
  while read -r slot rest; do
    slots+=("$slot")
    seen+="$(date -u -d "$slot" +%F) $rest"$'\n'
  done < <(in_namespace get automationruns -l "nightshift.dev/backfill=$NAME" --sort-by=.spec.scheduledTime -o jsonpath='{range .items[*]}{.spec.scheduledTime} {.spec.trigger} {.status.outcome} {.status.reason} {.status.outputs}{"\n"}{end}')
  as_it_should "the runs of backfill $NAME" "$wanted" "$seen"
  # Under the key that a run of the schedule has for its slot.
  for night in "${!NIGHTS[@]}"; do
    should_have_loaded "${NIGHTS[night]}" "${ROWS_OF_NIGHTS[night]}" "$NAMESPACE/nightly-import-$(($(date -d "${slots[night]}" +%s) / 60))"
  done
}

steps_should_be() { # steps_should_be OUTCOME STEP...
  local seen outcome=$1
  shift
  seen=$(in_namespace get "$SUBJECT" -o jsonpath='{.status.phase} {.status.outcome}:{range .status.steps[*]} {.name} {.outcome}{end}')
  as_it_should "how run $NAME has ended, after 240 s at most" "Finished $outcome: $*" "$seen"
}

should_have_left_word() { # should_have_left_word TEXT
  as_it_should "the last word that notify left" "$1" \
    "$(in_database "select text from notices order by at desc limit 1" --tuples-only --no-align)"
}

indented() { sed -e 's/ *$//' -e '/./!d' -e 's/^/  /'; }

main() {
  local outputs first loaded backfill steps
  headline "The nightly import: fetch a partner's file, check it, load it into a database"
  step "applying namespace, Secret, database and partner" apply_surroundings
  step "waiting for the database" rolled_out database
  step "waiting for the partner" rolled_out partner
  step "applying the task deploy/examples/nightly-import.yaml" apply_task

  headline "1. A night on which the partner is down at first"
  PARTNER_IS_DOWN=yes
  step "taking the partner's host down" partner_goes_down
  start_run "$DAY"
  first=$NAME
  follow while_it_waits
  should_be Succeeded Completed 2
  headline "  Its attempts: the host that is down is told apart, and tried again"
  attempts
  headline "  Its outputs, and what is really in the database"
  outputs=$(in_namespace get "$SUBJECT" -o jsonpath='{.status.outputs}')
  printf '  %s\n' "$outputs"
  as_it_should "the outputs of run $NAME" "{\"date\":\"$DAY\",\"rows\":$ROWS}" "$outputs"
  in_database "select * from prices where day = '$DAY' order by sku" | indented
  should_have_loaded "$DAY" "$ROWS" "$NAMESPACE/$first"

  headline "2. A day on which the partner has no file"
  start_run "$DAY_WITHOUT_FILE"
  follow ''
  should_be NoData ExitCodeNoData 1
  should_have_loaded "$DAY_WITHOUT_FILE" 0 none
  attempts

  headline "3. The first one run again: for the same day, under the same idempotency key, and nothing is there twice"
  loaded=$(loaded_at "$DAY")
  start_rerun "$first"
  follow ''
  should_be Succeeded Completed 1
  should_repeat "$first"
  should_have_loaded "$DAY" "$ROWS" "$NAMESPACE/$first"
  should_have_loaded_again "$DAY" "$loaded"

  headline "4. A backfill: three nights of the past, each with the file of its own day"
  start_backfill
  follow_backfill
  backfill=$NAME
  nights_should_be_loaded
  in_namespace get "$SUBJECT" | indented
  in_database "select * from imports where day between '${NIGHTS[0]}' and '${NIGHTS[-1]}' order by day" | indented

  headline "5. The import as a workflow: fetch, then transform, then load, each a run of its own, and word of it in the end"
  step "applying the workflow deploy/examples/nightly-workflow.yaml" apply_workflow
  start_workflow "$DAY"
  steps=$NAME
  follow ''
  steps_should_be Succeeded fetch Succeeded transform Succeeded load Succeeded notify Succeeded
  should_have_loaded "$DAY" "$ROWS" "$NAMESPACE/$steps/load"
  should_have_left_word "$DAY ended Succeeded"
  in_namespace get automationruns -l "nightshift.dev/workflow-run=$steps" --sort-by=.metadata.creationTimestamp | indented
  start_workflow "$DAY_WITHOUT_FILE"
  follow ''
  steps_should_be NoData fetch NoData transform Skipped load Skipped notify Succeeded
  should_have_left_word "$DAY_WITHOUT_FILE ended NoData"

  headline "How it stands"
  in_namespace get automationruns --field-selector spec.taskRef.name=nightly-import | indented
  printf '\n'
  in_namespace get automationtask nightly-import | indented
  printf '\n'
  in_namespace get workflow nightly-prices | indented
  printf '\n'
  in_namespace get automationtask nightly-import -o go-template='
{{- range .status.conditions }}  {{ .type }}={{ .status }}  {{ .message }}
{{ end }}  clock {{ .status.clock.type }}: {{ .status.clock.reason }}
'

  cat <<END

To look further${HOW:+, first: $HOW}
  kubectl -n nightly describe arun $first
  kubectl -n nightly describe abackfill $backfill
  kubectl -n nightly describe arun $steps
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
