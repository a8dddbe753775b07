#!/usr/bin/env bash
# The operator of this working tree in the current cluster, by the chart that users install.
#   operator.sh install      builds its image and installs or upgrades; starts the local cluster where it is the target
#   operator.sh uninstall    removes it; tasks, runs and their kinds stay
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show packages binaries target images; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
NAMESPACE=nightshift-system

install_operator() {
  local image
  if [ "$CLUSTER" = local ]; then "$HERE/up.sh"; fi
  build_operator
  deliver operator "$OPERATOR_ARCHIVE"
  image=$(reference operator)
  # The tag stays the same when the content changes; the annotation is what makes the Deployment roll.
  INSTALL=(helm upgrade --install nightshift "$ROOT/charts/nightshift" --namespace "$NAMESPACE" --create-namespace
    --set "image.repository=${image%:*}" --set "image.tag=${image##*:}" --set image.pullPolicy=IfNotPresent
    --set-string "podAnnotations.nightshift\.dev/image-digest=$OPERATOR_HASH"
    --take-ownership --wait --timeout 120s)
  step "installing the operator by its Helm chart" install_or_explain
}

install_or_explain() {
  local status=0
  "${INSTALL[@]}" || status=$?
  if [ "$status" != 0 ]; then
    kubectl -n "$NAMESPACE" get pods -o wide || true
    kubectl -n "$NAMESPACE" get events --sort-by=.lastTimestamp | tail -n 10 || true
    kubectl -n "$NAMESPACE" logs -l app.kubernetes.io/name=nightshift --prefix --tail=15 || true
  fi
  return "$status"
}

case ${1:-} in
  install) install_operator ;;
  uninstall)
    if [ "$CLUSTER" = local ] && ! local_is_up; then
      say "no cluster of this checkout is running"
      exit
    fi
    step "removing the operator" helm uninstall nightshift --namespace "$NAMESPACE" --ignore-not-found --wait --timeout 60s
    ;;
  *) fail "usage: operator.sh install | uninstall" ;;
esac
