# Starting, recognising and stopping the cluster's processes. A process is known by its recorded id *and* by a
# mark in its environment: after a crash or a reboot the same id may be anybody's. Nothing is ever found or killed by name.
# shellcheck shell=bash

PIDS=$RUN/pids
LOGS=$STATE/logs

mark_of() { # mark_of PID: the mark that we gave it, if it is ours
  { tr '\0' '\n' <"/proc/$1/environ" | sed -n 's/^NIGHTSHIFT_LOCAL_CLUSTER=//p'; } 2>/dev/null || true
}

pid_of() { # pid_of NAME: prints its id where it runs; fails where it does not
  local pid
  pid=$(cat "$PIDS/$1" 2>/dev/null) || return 1
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  case $(mark_of "$pid") in "$1 "*) printf '%s\n' "$pid" ;; *) return 1 ;; esac
}

# ensure NAME COMMAND...: starts it unless it runs already with these very arguments and configuration files; says
# so where something had to be started. Sets STARTED.
STARTED=
ensure() {
  local name=$1 mark pid argument
  shift
  mark="$name $({
    printf '%s\n' "$@"
    for argument; do
      argument=${argument#*=}
      case $argument in "$STATE"/* | "$CONFIG"/*) if [ -f "$argument" ]; then cat "$argument"; fi ;; esac
    done
  } | sha256sum | cut -c1-16)"
  if pid=$(pid_of "$name"); then
    if [ "$(mark_of "$pid")" = "$mark" ]; then return; fi
    say "  $name is configured otherwise now: restarting it"
    stop_process "$name"
  elif [ -e "$PIDS/$name" ] && [ -e "$RUN/up" ]; then
    say "  $name had died (its log: ${LOGS#"$ROOT"/}/$name.log.1): starting it again"
  fi
  free_ports "$name"
  mkdir -p "$PIDS" "$LOGS"
  if [ -f "$LOGS/$name.log" ]; then mv "$LOGS/$name.log" "$LOGS/$name.log.1"; fi
  (
    # Nothing of ours stays open in a process that outlives us: make's jobserver, our lock, a pipe to `tee`.
    for argument in /proc/self/fd/*; do
      argument=${argument##*/}
      if ((argument > 2)); then eval "exec $argument>&-"; fi
    done
    unset MAKEFLAGS MFLAGS MAKELEVEL KUBECONFIG
    export NIGHTSHIFT_LOCAL_CLUSTER=$mark
    export NO_PROXY=${NO_PROXY:+$NO_PROXY,}localhost,127.0.0.1,$POD_CIDR,$SERVICE_CIDR
    cd /
    exec setsid "$@"
  ) </dev/null >"$LOGS/$name.log" 2>&1 &
  printf '%s\n' $! >"$PIDS/$name"
  disown
  STARTED="$STARTED $name"
}

stop_process() { # stop_process NAME: at once; nothing here needs a soft landing
  local pid
  if pid=$(pid_of "$1"); then
    kill -KILL "$pid" 2>/dev/null || true
    until_true 5 gone "$pid" || say "  $1 (process $pid) does not end"
  fi
  rm -f "$PIDS/$1"
}

gone() { [ -z "$(mark_of "$1")" ]; }

# The ports each process needs. Only one cluster fits on a machine, and "address already in use" is in a log file.
free_ports() {
  local ports port holder
  case $1 in
    etcd) ports='2379 2380' ;;
    kube-apiserver) ports=6443 ;;
    kube-controller-manager) ports=10257 ;;
    kube-scheduler) ports=10259 ;;
    kubelet) ports='10248 10250' ;;
    kube-proxy) ports='10249 10256' ;;
    *) return 0 ;;
  esac
  for port in $ports; do
    if until_true 3 port_is_free "$port"; then continue; fi
    holder=$(ss -ltnpH "sport = :$port" | sed -nE 's/.*users:\(\("([^"]+)",pid=([0-9]+).*/\1 (process \2)/p' | head -n 1)
    fail "$1 needs port $port, which ${holder:-another process} holds" \
      "Stop it, or use that cluster instead: export KUBECONFIG=…"
  done
}

port_is_free() { [ -z "$(ss -ltnH "sport = :$1")" ]; }
