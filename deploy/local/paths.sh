# Where everything is. Sourced by the other scripts; sets names and does nothing else.
# shellcheck shell=bash disable=SC2034

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(cd "$HERE/../.." && pwd -P)

# Outside target/ and outside the checkout: `cargo clean` or a second clone must not cost five minutes.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/nightshift

KUBERNETES_VERSION=v1.34.4
KUBERNETES=$CACHE/kubernetes/$KUBERNETES_VERSION
HELM_VERSION=$(sed -nE 's#^[[:space:]]*helm.sh/helm/v3 (v[0-9.]+).*#\1#p' "$HERE/helm/go.mod")
HELM=$CACHE/helm/$HELM_VERSION
IMAGES=$CACHE/images

# What belongs to this checkout: kubeconfig, certificates, logs, links to the binaries.
STATE=$ROOT/.cluster
# What belongs to the machine, of which a cluster needs the whole: sockets (their paths may have 108
# characters at most, a checkout's path may not), process ids, mounts. Fixed, so that any checkout finds it.
RUN=/run/nightshift
# Containers, volumes and the store. Not in the checkout either: it may be deleted under a running cluster, and a
# search through the tree should not walk through the file systems of containers.
DATA=/var/lib/nightshift

NODE=node1
NODE_IP=10.244.0.1
POD_CIDR=10.244.0.0/24
SERVICE_CIDR=10.96.0.0/16
SERVICE_IP=10.96.0.1

export PATH=$STATE/bin:$PATH:/usr/sbin:/sbin
