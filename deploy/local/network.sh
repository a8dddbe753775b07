# The pods' network: a bridge on this machine, and the little that iptables needs besides kube-proxy's own rules.
# shellcheck shell=bash

# The bridge is made before the API server starts: --advertise-address must not be loopback, and its address is
# what pods reach behind the service address. A bridge, because some kernels have no dummy interfaces.
network_up() {
  if [ ! -e /sys/class/net/cni0 ]; then ip link add cni0 type bridge; fi
  if ! ip -4 -o addr show dev cni0 | grep -q " $NODE_IP/"; then ip addr add "$NODE_IP/24" dev cni0; fi
  ip link set cni0 up
  # A module on most machines, built in on others.
  if [ ! -e /proc/sys/net/bridge ]; then modprobe br_netfilter 2>/dev/null || true; fi
  sysctl -qw net.ipv4.ip_forward=1
  # Without it a pod that reaches itself or a neighbour by a service's address gets answers from a stranger.
  sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
  # Pods reach what the machine reaches; and each other where a Docker engine has set the policy to DROP.
  rule nat POSTROUTING -s "$POD_CIDR" ! -d "$POD_CIDR" -m comment --comment nightshift-local -j MASQUERADE
  rule filter FORWARD -s "$POD_CIDR" -m comment --comment nightshift-local -j ACCEPT
  rule filter FORWARD -d "$POD_CIDR" -m comment --comment nightshift-local -j ACCEPT
}

rule() { # rule TABLE CHAIN MATCH...
  local table=$1 chain=$2
  shift 2
  iptables -w 5 -t "$table" -C "$chain" "$@" 2>/dev/null || iptables -w 5 -t "$table" -I "$chain" "$@"
}

# Everything that kube-proxy, the kubelet and we have put there; what others have put there stays.
network_down() {
  local tool
  for tool in iptables ip6tables; do
    command -v $tool-save >/dev/null || continue
    if $tool-save 2>/dev/null | grep -qE 'KUBE-|nightshift-local'; then
      $tool-save -c 2>/dev/null | grep -vE 'KUBE-|nightshift-local' | $tool-restore -c || true
    fi
  done
  if [ -e /sys/class/net/cni0 ]; then ip link delete cni0; fi
}

# Addresses are handed out by files: under /run/nightshift, so that they are gone when the pods are.
cni_config() {
  cat <<C
{
  "cniVersion": "0.4.0",
  "name": "nightshift-local",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
    "ipam": {
      "type": "host-local", "dataDir": "$RUN/addresses",
      "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
C
}
