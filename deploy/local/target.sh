# Which cluster a make target acts on: that of $KUBECONFIG, else the local one.
# Sets CLUSTER (local, foreign) and exports KUBECONFIG.
# shellcheck shell=bash

LOCAL_KUBECONFIG=$STATE/kubeconfig

authority() { # authority KUBECONFIG: the certificate authority of its current context
  KUBECONFIG=$1 kubectl config view --raw --flatten --minify \
    -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' 2>/dev/null || true
}

# Whether this checkout's own cluster is there to be acted on.
local_is_up() { [ -e "$RUN/up" ] && [ "$(cat "$RUN/owner" 2>/dev/null)" = "$ROOT" ]; }

choose_cluster() {
  local theirs
  CLUSTER=local
  if [ -n "${KUBECONFIG:-}" ] && [ "$KUBECONFIG" != "$LOCAL_KUBECONFIG" ]; then
    binaries_for_clients
    theirs=$(authority "$KUBECONFIG")
    # The local cluster's authority signs for nothing else, so the address need not be compared.
    if [ ! -f "$LOCAL_KUBECONFIG" ] || [ -z "$theirs" ] || [ "$theirs" != "$(authority "$LOCAL_KUBECONFIG")" ]; then CLUSTER=foreign; fi
  fi
  if [ "$CLUSTER" = local ]; then KUBECONFIG=$LOCAL_KUBECONFIG; fi
  export KUBECONFIG
}

choose_cluster
