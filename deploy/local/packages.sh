# Debian packages, installed only where a command or file is missing.
# shellcheck shell=bash

# need PACKAGE COMMAND-OR-FILE...: notes PACKAGE when one of them is missing.
need() {
  local package=$1 thing
  shift
  for thing; do
    case $thing in
      /*) if [ -e "$thing" ]; then continue; fi ;;
      *) if command -v "$thing" >/dev/null; then continue; fi ;;
    esac
    MISSING+=("$package")
    return
  done
}

install_missing() {
  if [ ${#MISSING[@]} = 0 ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    fail "missing: ${MISSING[*]} (Debian package names), and this is no Debian" \
      "Install them in your own way, or use a cluster of yours: export KUBECONFIG=…"
  fi
  if [ "$(id -u)" != 0 ]; then
    fail "missing Debian packages: ${MISSING[*]}" "As root: apt-get update && apt-get install ${MISSING[*]}"
  fi
  step "installing Debian packages: ${MISSING[*]}" apt_install "${MISSING[@]}"
  MISSING=()
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  # A source that is down must not stop us where the packages can be had all the same.
  apt-get -o DPkg::Lock::Timeout=300 update -q || true
  apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends "$@"
}

packages_for_cluster() {
  MISSING=()
  need containerd containerd ctr containerd-shim-runc-v2
  need runc runc
  need containernetworking-plugins /usr/lib/cni/bridge
  need iptables iptables
  need conntrack conntrack
  need iproute2 ip ss
  need procps sysctl
  need util-linux flock mount
  need openssl openssl
  packages_for_images_noted
  install_missing
}

packages_for_images() {
  MISSING=()
  packages_for_images_noted
  install_missing
}

packages_for_images_noted() {
  need buildah buildah
  # `busybox` of the package of that name needs libraries, which an image from scratch has not.
  if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then MISSING+=(busybox-static); fi
  need gcc gcc # the pause image, and Rust's linker
  need libc6-dev /usr/include/stdio.h
  need ca-certificates /etc/ssl/certs/ca-certificates.crt
}

packages_for_debootstrap() {
  MISSING=()
  need debootstrap debootstrap
  install_missing
}
