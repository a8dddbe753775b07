# How the scripts speak: one line for each step, with the time it took.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }

# fail MESSAGE [HOW TO FIX IT]...: each on a line of its own, on stderr.
fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  if [ $# -gt 0 ]; then printf '%s\n' "$@" | sed 's/^/       /' >&2; fi
  exit 1
}

elapsed() { # elapsed MILLISECONDS: 4m41s, 12s, 0.4s
  local ms=$1
  if ((ms >= 60000)); then printf '%dm%02ds' $((ms / 60000)) $((ms / 1000 % 60))
  elif ((ms >= 10000)); then printf '%ds' $((ms / 1000))
  else printf '%d.%ds' $((ms / 1000)) $((ms % 1000 / 100)); fi
}

now_ms() { date +%s%3N; }

# expect WHAT WANTED SEEN: ends the script where they differ.
expect() {
  if [ "$2" = "$3" ]; then return; fi
  fail "$1" "expected: $2" "seen:     $3"
}

# tick FROM: every 30 s how long it has been, on the same line, until standard input ends: a pipe from a script that
# waits, which closes when the script ends, whatever it ends of. Not `sleep`: one that is left behind holds our locks.
tick() {
  local status
  while true; do
    status=0
    read -r -t 30 || status=$?
    if ((status <= 128)); then return; fi # more than that is how `read` says that the time is up
    printf '%s … ' "$(elapsed $(($(now_ms) - $1)))"
  done
}

# step TITLE COMMAND...: runs COMMAND silently; shows what happens and how long it took, or takes. When it fails, the
# last of its output is shown and the script ends. COMMAND runs in a subshell: it cannot set variables here.
step() {
  local title=$1 log from status ticking ticker
  shift
  log=$(mktemp)
  from=$(now_ms)
  printf '  %s … ' "$title"
  exec {ticking}> >(tick "$from")
  ticker=$!
  # Not `( … ) || status=$?`: bash ignores `set -e` inside of that.
  set +e
  (
    exec {ticking}>&-
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  exec {ticking}>&-
  wait "$ticker"
  set -e
  if [ "$status" = 0 ]; then
    printf '%s\n' "$(elapsed $(($(now_ms) - from)))"
  else
    printf 'failed after %s\n' "$(elapsed $(($(now_ms) - from)))"
    tail -n 60 "$log" | sed 's/^/    /' >&2
  fi
  rm -f "$log"
  if [ "$status" != 0 ]; then exit "$status"; fi
}

# until_true SECONDS COMMAND...: tries until COMMAND succeeds; every wait has an end.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then return 1; fi
    sleep 0.1
  done
}
