# The cluster's own certificate authority, one certificate for each component, and their kubeconfigs.
# shellcheck shell=bash

PKI=$STATE/pki

key_and_cert() { # key_and_cert NAME SUBJECT EXTENSION
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$PKI/$1.key" -out "$PKI/$1.csr" -subj "$2"
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 3650 \
    -out "$PKI/$1.crt" -extfile <(printf '%s\n' "$3")
}

make_pki() {
  local client=extendedKeyUsage=clientAuth
  rm -rf "$PKI"
  mkdir -p "$PKI"
  chmod 700 "$PKI"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$PKI/ca.key" -out "$PKI/ca.crt" \
    -subj /CN=nightshift-local -days 3650
  openssl genrsa -out "$PKI/service-accounts.key" 2048
  key_and_cert apiserver /CN=kube-apiserver \
    "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$SERVICE_IP,IP:$NODE_IP"
  key_and_cert apiserver-to-kubelet /O=system:masters/CN=kube-apiserver $client
  key_and_cert admin /O=system:masters/CN=admin $client
  key_and_cert kube-controller-manager /CN=system:kube-controller-manager $client
  key_and_cert kube-scheduler /CN=system:kube-scheduler $client
  key_and_cert kube-proxy /CN=system:kube-proxy $client
  key_and_cert kubelet "/O=system:nodes/CN=system:node:$NODE" "subjectAltName=DNS:$NODE,IP:127.0.0.1,IP:$NODE_IP"
  local user
  for user in admin kube-controller-manager kube-scheduler kube-proxy kubelet; do kubeconfig "$user" >"$PKI/$user.kubeconfig"; done
  chmod 600 "$PKI"/*.key "$PKI"/*.kubeconfig
  touch "$PKI/complete"
}

# With the certificates inside, so that the file can be copied and the checkout can be moved.
kubeconfig() {
  cat <<K
apiVersion: v1
kind: Config
clusters:
- name: nightshift-local
  cluster:
    server: https://127.0.0.1:6443
    certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$PKI/$1.crt")
    client-key-data: $(base64 -w0 "$PKI/$1.key")
contexts:
- name: nightshift-local
  context: {cluster: nightshift-local, user: $1}
current-context: nightshift-local
K
}
