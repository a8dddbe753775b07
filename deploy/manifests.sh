#!/usr/bin/env bash
# Plain manifests for those without Helm, rendered from the chart.
#   manifests.sh write    renders deploy/manifests/install.yaml anew
#   manifests.sh check    fails where what is committed is not what the chart renders
# Needs helm on the PATH, or in $HELM_BIN.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
OUT=deploy/manifests/install.yaml
NAMESPACE=nightshift-system
cd "$ROOT"

# Helm's own labels mean nothing where Helm does not manage the objects.
plain() {
  sed -E \
    -e '/^ +helm\.sh\/chart: nightshift-[^ ]+$/d' \
    -e '/^ +app\.kubernetes\.io\/managed-by: "?Helm"?$/d' \
    -e '/^# Source: /d'
}

header() {
  cat <<END
# Nightshift without Helm: kinds, roles and the operator, in the namespace $NAMESPACE.
#
#   1. Set the image of the Deployment, further down, to one that your nodes can pull.
#   2. kubectl apply --server-side -f $(basename "$OUT")
#   3. kubectl -n $NAMESPACE rollout status deployment/nightshift
#
# --server-side, because client-side apply would copy each kind into an annotation of limited size.
# An upgrade is the same again. To remove the operator and keep all tasks, runs and schedules:
#   kubectl -n $NAMESPACE delete deployment,service,serviceaccount,role,rolebinding -l app.kubernetes.io/name=nightshift
#   kubectl delete clusterrole,clusterrolebinding,validatingadmissionpolicybinding,validatingadmissionpolicy -l app.kubernetes.io/name=nightshift
# Never "kubectl delete -f" of this file: it deletes the kinds, and with them every task and run.
#
# Generated from charts/nightshift by deploy/manifests.sh. Do not edit.
---
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE
  labels:
    app.kubernetes.io/name: nightshift
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
END
}

render() {
  header
  "${HELM_BIN:-helm}" template nightshift charts/nightshift --namespace "$NAMESPACE" --kube-version 1.34.0 \
    --set crds.keep=false | plain
}

case ${1:-} in
  write)
    fresh=$(mktemp)
    trap 'rm -f "$fresh"' EXIT
    render >"$fresh"
    mkdir -p "$(dirname "$OUT")"
    cat "$fresh" >"$OUT"
    ;;
  check)
    fresh=$(mktemp)
    trap 'rm -f "$fresh"' EXIT
    render >"$fresh"
    if ! cmp -s "$OUT" "$fresh"; then
      { diff -u "$OUT" "$fresh" || true; } | head -n 40 >&2
      echo "$OUT is not what the chart renders. Render it anew and commit it: deploy/manifests.sh write" >&2
      exit 1
    fi
    ;;
  *)
    echo "usage: manifests.sh write | check" >&2
    exit 2
    ;;
esac
