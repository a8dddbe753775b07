# kwok, which plays nodes and pods. In a Go module of its own: its dependencies clash with Kubernetes' own.
# shellcheck shell=bash

build_kwok() {
  build_into "$KWOK" ../bench/kwok "-s -w -X sigs.k8s.io/kwok/pkg/consts.Version=$KWOK_VERSION" sigs.k8s.io/kwok/cmd/kwok
}

kwok_unless_built() {
  if [ -x "$KWOK/bin/kwok" ]; then return; fi
  check_go
  step "building kwok $KWOK_VERSION from source (about a minute, once)" build_kwok
}
