# Where the measuring cluster is: beside the local one and apart from it, with ports and folders of its own, so that
# both can be up. It runs no containers and needs no root. Sourced by the other scripts; sets names and does nothing else.
# shellcheck shell=bash disable=SC2034,SC1091

. "$BENCH/../local/paths.sh"

RESULTS=$ROOT/target/bench
# What deploy/local's scripts write to, moved.
STATE=$RESULTS/cluster
RUN=$STATE/run
DATA=$STATE/data
CONFIG=$STATE/config
AUDIT=$DATA/audit.log

KWOK_VERSION=$(sed -nE 's#^[[:space:]]*(require )?sigs.k8s.io/kwok (v[0-9.]+).*#\2#p' "$BENCH/kwok/go.mod")
KWOK=$CACHE/kwok/$KWOK_VERSION

API_PORT=16443
ETCD_PORT=12379
ETCD_PEER_PORT=12380
