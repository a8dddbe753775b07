# Stopping everything and leaving nothing: processes, containers, mounts, control groups, network, data.
# shellcheck shell=bash

any_running() {
  local component
  for component in "${COMPONENTS[@]}"; do
    if pid_of "$component" >/dev/null; then return 0; fi
  done
  return 1
}

tear_down() {
  if [ ! -d "$RUN" ] && [ ! -d "$DATA" ]; then return; fi
  local component pid
  # At once and together: the API server would drain for a minute, and etcd refuses to start on a port still held.
  for component in "${COMPONENTS[@]}"; do
    if pid=$(pid_of "$component"); then kill -KILL "$pid" 2>/dev/null || true; fi
  done
  for component in "${COMPONENTS[@]}"; do stop_process "$component"; done
  kill_containers
  remove_traces
  unmount_all
  remove_cgroups
  network_down
  rm -rf --one-file-system "$RUN" "$DATA"
}

# What shims, containerd's CNI library and the kubelet write outside the folders they are given.
remove_traces() {
  { sed 's#^unix://##' "$RUN"/containerd/io.containerd.runtime.v2.task/k8s.io/*/address | xargs -r rm -f; } 2>/dev/null || true
  { grep -rlF "\"$RUN/" /var/lib/cni/results | xargs -r rm -f; } 2>/dev/null || true
  find /var/log/containers -maxdepth 1 -type l -lname "$DATA/*" -delete 2>/dev/null || true
}

# Shims outlive containerd, on purpose, and are the ancestors of every process in a container. They carry the mark
# that containerd was started with.
kill_containers() {
  local shims
  for _ in 1 2 3; do
    shims=$(marked_processes)
    if [ -z "$shims" ]; then return; fi
    # shellcheck disable=SC2046,SC2086
    kill -KILL $(descendants $shims) $shims 2>/dev/null || true
    until_true 5 no_marked_processes || true
  done
  say "  some containers do not end: $(marked_processes | tr '\n' ' ')"
}

marked_processes() {
  { grep -lzE '^NIGHTSHIFT_LOCAL_CLUSTER=containerd ' /proc/[0-9]*/environ || true; } 2>/dev/null | cut -d/ -f3
}

no_marked_processes() { [ -z "$(marked_processes)" ]; }

descendants() { # descendants PID...
  ps -eo pid=,ppid= | awk -v roots="$*" '
    { parent[$1] = $2 }
    END {
      n = split(roots, r, " "); for (i = 1; i <= n; i++) ours[r[i]] = 1
      for (pid in parent) {
        for (p = pid; p in parent && p > 1; p = parent[p]) if (parent[p] in ours) { print pid; break }
      }
    }'
}

# Root file systems, shared memory, network namespaces, and the kubelet's volumes (secrets are tmpfs); innermost first.
unmount_all() {
  local mount
  while read -r mount; do
    umount -l "$mount" 2>/dev/null || true
  done < <(awk -v run="$RUN/" -v data="$DATA/" 'index($2, run) == 1 || index($2, data) == 1 { print $2 }' /proc/self/mounts | tac)
}

remove_cgroups() {
  local group
  for group in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    if [ -d "$group" ]; then find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
  done
}
