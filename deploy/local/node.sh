# The configuration files of what runs on the node: containerd, kubelet, kube-proxy, and the scheduler.
# shellcheck shell=bash

CONFIG=$DATA/config

# Some machines (containers, small VMs) have no CAP_SYS_RESOURCE (bit 24): there nobody may lower an OOM score, and
# runc fails with "can't get final child's PID from pipe". Elsewhere the real scores are worth having.
may_lower_oom_score() {
  local caps
  caps=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
  (((16#$caps >> 24) & 1))
}

# put FILE: from standard input, and only where it changes: kube-proxy ends itself when its file is written.
put() {
  cat >"$1.new"
  if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

write_config() {
  local restrict=true oom=0
  if may_lower_oom_score; then restrict=false oom=-999; fi
  mkdir -p "$CONFIG/cni"
  cni_config | put "$CONFIG/cni/10-nightshift.conflist"
  put "$CONFIG/containerd.toml" <<C
version = 2
root = "$DATA/containerd"
state = "$RUN/containerd"
[grpc]
  address = "$RUN/containerd.sock"
[ttrpc]
  address = "$RUN/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "$DATA/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/nightshift/pause:1"
  # Its default profile needs apparmor_parser, which is not on every machine.
  disable_apparmor = true
  restrict_oom_score_adj = $restrict
  # All mounts in one place, so that stopping finds them.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CONFIG/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
C
  # clusterDNS: there is no DNS server. A pod's own loopback refuses at once and every time, where an address that
  # nobody has lets every look-up hang; and with none configured each pod gets a warning event.
  # cgroupDriver, failCgroupV1: cgroupfs works on every machine; 1.35 and later refuse cgroup v1 by default.
  # imageGC…: our images are in no registry, so a full disk must not remove them.
  # eventRecordQPS 0, kubeAPI…, registryPullQPS 0: no throttling, so that tests measure the operator.
  put "$CONFIG/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {x509: {clientCAFile: $PKI/ca.crt}, webhook: {enabled: true}, anonymous: {enabled: false}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
containerRuntimeEndpoint: unix://$RUN/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: $oom
maxPods: 250
clusterDomain: cluster.local
clusterDNS: [127.0.0.1]
podLogsDir: $DATA/pod-logs
volumePluginDir: $DATA/volume-plugins
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 100
kubeAPIBurst: 200
C
  # conntrack 0: leave the machine's limits alone (and some kernels do not let them be set).
  put "$CONFIG/kube-proxy.yaml" <<C
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $POD_CIDR
hostnameOverride: $NODE
clientConnection: {kubeconfig: $PKI/kube-proxy.kubeconfig, qps: 100, burst: 200}
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
C
  put "$CONFIG/kube-scheduler.yaml" <<C
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: $PKI/kube-scheduler.kubeconfig, qps: 100, burst: 200}
leaderElection: {leaderElect: false}
C
}
