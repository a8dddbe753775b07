# What the measuring cluster is made of: no kubelet and no containers, and clients that nothing throttles, so that what
# is measured is the work and not a limit that somebody set.
# shellcheck shell=bash

# In the order in which they are stopped (run.sh).
# shellcheck disable=SC2034
COMPONENTS=(bench-kwok bench-kube-scheduler bench-kube-controller-manager bench-kube-apiserver bench-etcd)

etcd_up() {
  ensure bench-etcd "$KUBERNETES/bin/etcd" --data-dir="$DATA/etcd" --unsafe-no-fsync \
    --listen-client-urls="http://127.0.0.1:$ETCD_PORT" --advertise-client-urls="http://127.0.0.1:$ETCD_PORT" \
    --listen-peer-urls="http://127.0.0.1:$ETCD_PEER_PORT" --initial-advertise-peer-urls="http://127.0.0.1:$ETCD_PEER_PORT" \
    --initial-cluster="default=http://127.0.0.1:$ETCD_PEER_PORT" --quota-backend-bytes=4294967296 --log-level=warn
}

apiserver_up() {
  # The audit log tells who wrote what and when, to the microsecond. Batched, so that no request waits for it.
  # --max-…-inflight: a thousand runs at once are the load, not an attack. --event-ttl: nothing expires meanwhile.
  ensure bench-kube-apiserver "$KUBERNETES/bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$ETCD_PORT" \
    --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none --secure-port="$API_PORT" \
    --service-cluster-ip-range="$SERVICE_CIDR" --authorization-mode=RBAC \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$PKI/service-accounts.key" --service-account-signing-key-file="$PKI/service-accounts.key" \
    --audit-policy-file="$CONFIG/audit-policy.yaml" --audit-log-path="$AUDIT" --audit-log-mode=batch \
    --audit-log-batch-buffer-size=100000 --audit-log-batch-max-size=1000 --audit-log-batch-max-wait=500ms \
    --audit-log-maxsize=4000 \
    --max-requests-inflight=1600 --max-mutating-requests-inflight=800 --event-ttl=3h
}

controller_manager_up() {
  # Only the rate of its requests is raised (20 a second by default); the number of its workers is as everywhere.
  # --node-monitor-grace-period: on a busy machine the node would be taken for lost, and its pods be marked for it.
  ensure bench-kube-controller-manager "$KUBERNETES/bin/kube-controller-manager" --bind-address=127.0.0.1 --secure-port=20257 \
    --leader-elect=false --kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --authentication-kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --authorization-kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --use-service-account-credentials --service-account-private-key-file="$PKI/service-accounts.key" \
    --root-ca-file="$PKI/ca.crt" --node-monitor-grace-period=1h --kube-api-qps=2000 --kube-api-burst=4000
}

scheduler_up() {
  ensure bench-kube-scheduler "$KUBERNETES/bin/kube-scheduler" --bind-address=127.0.0.1 --secure-port=20259 \
    --config="$CONFIG/kube-scheduler.yaml" \
    --authentication-kubeconfig="$PKI/kube-scheduler.kubeconfig" --authorization-kubeconfig="$PKI/kube-scheduler.kubeconfig"
}

kwok_up() {
  ensure bench-kwok "$KWOK/bin/kwok" --kubeconfig="$PKI/kwok.kubeconfig" --config="$BENCH/stages.yaml" \
    --manage-all-nodes --server-address=127.0.0.1:20247 --node-ip=127.0.0.1
}

write_config() {
  mkdir -p "$CONFIG"
  cp "$BENCH/audit-policy.yaml" "$CONFIG/audit-policy.yaml"
  cat >"$CONFIG/kube-scheduler.yaml" <<C
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: $PKI/kube-scheduler.kubeconfig, qps: 2000, burst: 4000}
leaderElection: {leaderElect: false}
C
}

# deploy/local's authority and certificates, and those of whom only this cluster knows. The operator is a user of its
# own, with the roles that it gets anywhere, so that its writes can be told apart.
make_bench_pki() {
  make_pki
  local client=extendedKeyUsage=clientAuth user
  rm "$PKI/complete"
  key_and_cert kwok /O=system:masters/CN=kwok $client
  key_and_cert bench /O=system:masters/CN=bench $client
  key_and_cert nightshift /CN=nightshift $client
  for user in kwok bench nightshift kube-controller-manager kube-scheduler; do
    kubeconfig "$user" | sed "s#https://127.0.0.1:[0-9]*#https://127.0.0.1:$API_PORT#" >"$PKI/$user.kubeconfig"
  done
  touch "$PKI/complete"
}
