# Kubernetes and helm, built from source. The Go module proxy is the one place that every machine that can
# build this project can reach, and go.sum pins every byte.
# shellcheck shell=bash

GO_NEEDED=1.26

# The command, and the name that `go build` gives it.
KUBERNETES_BINARIES=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl etcd)

check_go() {
  local have
  if ! command -v go >/dev/null && [ -x /usr/local/go/bin/go ]; then PATH=$PATH:/usr/local/go/bin; fi
  command -v go >/dev/null || fail "go is not installed; it builds Kubernetes $KUBERNETES_VERSION for the local cluster" \
    "Install Go $GO_NEEDED or later and put it on the PATH, or use a cluster of yours: export KUBECONFIG=…"
  have=$(go env GOVERSION)
  have=${have#go}
  if [ "$(printf '%s\n' "$GO_NEEDED" "$have" | sort -V | head -n 1)" != "$GO_NEEDED" ]; then
    # GOTOOLCHAIN=auto (the default) fetches a newer one by itself.
    [ "$(go env GOTOOLCHAIN)" != local ] || fail "go $have is too old: Kubernetes $KUBERNETES_VERSION and helm are built with $GO_NEEDED or later" \
      "Install Go $GO_NEEDED or later, or let go fetch it: export GOTOOLCHAIN=auto"
  fi
}

# build_into DIR MODULE LDFLAGS PACKAGE...: all or nothing. Built beside DIR and moved there with one rename, so
# that a build that was killed never leaves half a cache.
build_into() {
  local dir=$1 module=$2 ldflags=$3 part
  shift 3
  mkdir -p "$(dirname "$dir")"
  part=$dir.part.$$
  rm -rf "$dir".part.*
  mkdir -p "$part/bin"
  cd "$HERE/$module" || return
  GOWORK=off CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags "$ldflags" -o "$part/bin/" "$@"
  if [ -e "$part/bin/server" ]; then mv "$part/bin/server" "$part/bin/etcd"; fi
  rm -rf "$dir"
  mv -T "$part" "$dir"
}

build_kubernetes() {
  # Without the version flags the server calls itself v0.0.0 and clients misbehave.
  local v=k8s.io/component-base/version minor=${KUBERNETES_VERSION#v1.}
  build_into "$KUBERNETES" kubernetes \
    "-s -w -X $v.gitVersion=$KUBERNETES_VERSION -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} -X $v.gitTreeState=clean" tool
}

# For a cluster of the user's own: the one command, not the seven.
build_kubectl() {
  local v=k8s.io/component-base/version minor=${KUBERNETES_VERSION#v1.}
  build_into "$CACHE/kubectl/$KUBERNETES_VERSION" kubernetes \
    "-s -w -X $v.gitVersion=$KUBERNETES_VERSION -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} -X $v.gitTreeState=clean" \
    k8s.io/kubernetes/cmd/kubectl
}

build_helm() {
  build_into "$HELM" helm "-s -w -X helm.sh/helm/v3/internal/version.version=$HELM_VERSION" helm.sh/helm/v3/cmd/helm
}

have_kubernetes() {
  local binary
  for binary in "${KUBERNETES_BINARIES[@]}"; do
    if [ ! -x "$KUBERNETES/bin/$binary" ]; then return 1; fi
  done
}

# One build at a time on a machine: two at once take twice as long, and remove each other's parts.
with_build_lock() {
  mkdir -p "$CACHE"
  (
    flock -n 8 || { say "  waiting for another build into $CACHE (20 minutes at most)"; flock -w 1200 8; } ||
      fail "another build still holds $CACHE/.lock"
    "$@"
  ) 8>>"$CACHE/.lock"
}

kubernetes_unless_built() {
  if have_kubernetes; then return; fi
  check_go
  step "building Kubernetes $KUBERNETES_VERSION from source (about 5 minutes on 2 cores, once)" build_kubernetes
}

helm_unless_built() {
  if [ -x "$HELM/bin/helm" ]; then return; fi
  check_go
  step "building helm $HELM_VERSION from source (about a minute, once)" build_helm
}

kubectl_unless_built() {
  if have_kubernetes || [ -x "$CACHE/kubectl/$KUBERNETES_VERSION/bin/kubectl" ]; then return; fi
  check_go
  step "building kubectl $KUBERNETES_VERSION from source (about 2 minutes, once)" build_kubectl
}

link_binaries() { # link_binaries DIR: into .cluster/bin, where scripts and people find them
  mkdir -p "$STATE/bin"
  ln -sfn "$1"/bin/* "$STATE/bin/"
}

binaries_for_cluster() {
  if ! have_kubernetes; then with_build_lock kubernetes_unless_built; fi
  link_binaries "$KUBERNETES"
  binaries_helm
}

binaries_helm() {
  if [ ! -x "$HELM/bin/helm" ]; then with_build_lock helm_unless_built; fi
  link_binaries "$HELM"
}

# kubectl and helm for a cluster of the user's own: theirs where they have them.
binaries_for_clients() {
  if ! command -v kubectl >/dev/null; then
    with_build_lock kubectl_unless_built
    if have_kubernetes; then link_binaries "$KUBERNETES"; else link_binaries "$CACHE/kubectl/$KUBERNETES_VERSION"; fi
  fi
  if ! command -v helm >/dev/null; then binaries_helm; fi
}
