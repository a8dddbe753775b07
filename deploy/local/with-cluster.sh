#!/usr/bin/env bash
# usage: with-cluster.sh COMMAND...    Runs COMMAND with KUBECONFIG set to the current cluster (see target.sh) and
# kubectl and helm on the PATH; CLUSTER tells it whether that is the local one.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show packages binaries target; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
export CLUSTER
exec "$@"
