# What a cluster is made of, with the flags that matter and why. Each function may be called again at any time.
# shellcheck shell=bash

COMPONENTS=(kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd containerd)

etcd_up() {
  # No fsync: a throwaway cluster, on disks that may be slow. Its data may not survive a power cut; see store_up.
  ensure etcd "$KUBERNETES/bin/etcd" --data-dir="$DATA/etcd" --unsafe-no-fsync \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=default=http://127.0.0.1:2380 --log-level=warn
}

apiserver_up() {
  # --kubelet-preferred-address-types: or `kubectl logs` looks up the node's name in DNS.
  ensure kube-apiserver "$KUBERNETES/bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$NODE_IP" --service-cluster-ip-range="$SERVICE_CIDR" \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$PKI/service-accounts.key" --service-account-signing-key-file="$PKI/service-accounts.key" \
    --kubelet-client-certificate="$PKI/apiserver-to-kubelet.crt" --kubelet-client-key="$PKI/apiserver-to-kubelet.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged
}

controller_manager_up() {
  # --use-service-account-credentials: without it its controllers are refused, silently, and Jobs never finish.
  # --kube-api-qps: 20 by default, which throttles it long before the operator is busy.
  ensure kube-controller-manager "$KUBERNETES/bin/kube-controller-manager" --bind-address=127.0.0.1 --leader-elect=false \
    --kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --authentication-kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --authorization-kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --use-service-account-credentials --service-account-private-key-file="$PKI/service-accounts.key" \
    --root-ca-file="$PKI/ca.crt" --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --kube-api-qps=100 --kube-api-burst=200
}

scheduler_up() {
  ensure kube-scheduler "$KUBERNETES/bin/kube-scheduler" --bind-address=127.0.0.1 --config="$CONFIG/kube-scheduler.yaml" \
    --authentication-kubeconfig="$PKI/kube-scheduler.kubeconfig" --authorization-kubeconfig="$PKI/kube-scheduler.kubeconfig"
}

containerd_up() { ensure containerd "$(command -v containerd)" --config="$CONFIG/containerd.toml"; }

kubelet_up() {
  # --node-ip: a loopback address is refused.
  ensure kubelet "$KUBERNETES/bin/kubelet" --config="$CONFIG/kubelet.yaml" --kubeconfig="$PKI/kubelet.kubeconfig" \
    --root-dir="$DATA/kubelet" --hostname-override="$NODE" --node-ip="$NODE_IP"
}

proxy_up() { ensure kube-proxy "$KUBERNETES/bin/kube-proxy" --config="$CONFIG/kube-proxy.yaml"; }
