#!/usr/bin/env bash
# Images, from scratch and without a registry: built once into the cache under a hash of what they are made from,
# and loaded into the local cluster where it does not have them yet.
#
#   images.sh ensure NAME...    pause, shell, import: built, and in the current cluster where that is possible
#   images.sh operator          the operator of this working tree, likewise; the tag stays, the content changes
#   images.sh reference NAME    what to write into a manifest for the current cluster
#   images.sh operator-hash     a hash of the operator's image as last built: changes when the operator does
# shellcheck shell=bash

image_source() { printf '%s\n' "$ROOT/deploy/images/$1"; }

image_name() { # the name in the local cluster
  case $1 in
    operator) printf 'localhost/nightshift/operator:dev\n' ;;
    *) printf 'localhost/nightshift/%s:1\n' "$1" ;;
  esac
}

# hash_of PATH...: of names and contents, whatever the checkout is called.
hash_of() {
  local path
  for path; do
    (
      cd "$(dirname "$path")"
      find "$(basename "$path")" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    )
  done | sha256sum | cut -c1-16
}

# build_image NAME ARCHIVE CONTEXT: CONTEXT is the folder that the Containerfile copies from.
build_image() (
  local name=$1 archive=$2 context=$3 reference store
  reference=$(image_name "$name")
  mkdir -p "$IMAGES"
  store=$(mktemp -d "$IMAGES/build.XXXXXX")
  trap 'rm -rf "$store"' EXIT
  # chroot and vfs: no overlay inside overlay, no user namespaces, no runtime needed. vfs copies everything, so the
  # store goes as soon as the archive is there.
  buildah() { command buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
  buildah build -q --isolation chroot --timestamp 0 -t "$reference" -f "$(image_source "$name")/Containerfile" "$context"
  buildah push -q --digestfile "$store/digest" "$reference" "oci-archive:$store/image.tar:$reference"
  mv "$store/digest" "$archive.digest"
  mv "$store/image.tar" "$archive"
)

archive_of() { printf '%s/%s-%s.tar\n' "$IMAGES" "$1" "$(hash_of "$(image_source "$1")")"; }

image_unless_built() {
  if [ -f "$(archive_of "$1")" ]; then return; fi
  packages_for_images
  if [ "$1" = import ]; then packages_for_debootstrap; fi
  with_build_lock build_from_source "$1"
}

build_from_source() {
  local archive what
  archive=$(archive_of "$1")
  if [ -f "$archive" ]; then return; fi # whom we waited for has built it
  case $1 in import) what=' (Debian with PostgreSQL and curl; about a minute, once)' ;; *) what= ;; esac
  step "building image $(image_name "$1")$what" context_and_image "$1" "$archive"
}

context_and_image() (
  mkdir -p "$IMAGES"
  # Older ones, and what builds that were killed have left; we hold the lock.
  rm -rf --one-file-system "$IMAGES/$1"-*.tar "$IMAGES/$1"-*.tar.digest "$IMAGES"/{context,build,push}.*
  context=$(mktemp -d "$IMAGES/context.XXXXXX")
  trap 'rm -rf --one-file-system "$context"' EXIT
  "$(image_source "$1")/context.sh" "$context"
  build_image "$1" "$2" "$context"
)

is_loaded() { # is_loaded NAME ARCHIVE: this very image, not just one of that name
  [ "$(ctr -a "$RUN/containerd.sock" -n k8s.io images ls "name==$(image_name "$1")" 2>/dev/null | awk 'NR == 2 { print $3 }')" = "$(cat "$2.digest")" ]
}

load() { # load NAME ARCHIVE
  if is_loaded "$1" "$2"; then return; fi
  step "loading image $(image_name "$1")" ctr -a "$RUN/containerd.sock" -n k8s.io images import "$2"
}

image_unless_loaded() {
  image_unless_built "$1"
  load "$1" "$(archive_of "$1")"
}

# Large, and not needed by everybody: built on demand, but a new cluster gets it where it is built already.
image_unless_loaded_if_built() {
  local archive
  archive=$(archive_of "$1")
  if [ -f "$archive" ]; then load "$1" "$archive"; fi
}

# A static binary: it runs in an image that has nothing else. A musl target would do as well, but its allocator is
# slow and it needs another toolchain.
build_operator() {
  local target binary
  packages_for_images
  target=$(rustc -vV | sed -n 's/^host: //p')
  binary=$ROOT/target/$target/release/nightshift
  step "building the operator (release, static; about 2 minutes the first time)" compile_operator "$target"
  if readelf -lW "$binary" | grep -q INTERP || readelf -dW "$binary" | grep -q NEEDED; then
    fail "$binary is not static: it would not start in an image from scratch" "Look for a dependency that links a C library: ldd $binary"
  fi
  OPERATOR_HASH=$(hash_of "$binary" "$(image_source operator)")
  OPERATOR_ARCHIVE=$IMAGES/operator-$OPERATOR_HASH.tar
  if [ ! -f "$OPERATOR_ARCHIVE" ]; then
    mkdir -p "$IMAGES"
    rm -f "$IMAGES"/operator-*.tar "$IMAGES"/operator-*.tar.digest
    with_build_lock step "building image $(image_name operator)" build_image operator "$OPERATOR_ARCHIVE" "$(dirname "$binary")"
  fi
  mkdir -p "$STATE"
  printf '%s\n' "$OPERATOR_HASH" >"$STATE/operator-hash"
}

compile_operator() {
  cd "$ROOT"
  # With --target, RUSTFLAGS do not reach build scripts and procedural macros, which cannot be static.
  RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release --locked --target "$1" --bin nightshift
}

# push_archive ARCHIVE REFERENCE: to a registry, for a cluster that is not on this machine. One on this machine may
# speak plain HTTP, as with docker.
push_archive() (
  store=$(mktemp -d "$IMAGES/push.XXXXXX")
  trap 'rm -rf "$store"' EXIT
  buildah() { command buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
  verify=true
  case $2 in localhost:* | 127.*) verify=false ;; esac
  image=$(buildah pull -q "oci-archive:$1")
  buildah push -q --tls-verify=$verify "$image" "docker://$2"
)

# reference NAME: as the current cluster knows it. A registry's operator is tagged by content: nodes may cache.
reference() {
  if [ "$CLUSTER" = local ] || [ -z "${REGISTRY:-}" ]; then
    image_name "$1"
  elif [ "$1" = operator ]; then
    printf '%s/nightshift/operator:%s\n' "${REGISTRY%/}" "$(cat "$STATE/operator-hash")"
  else
    printf '%s/nightshift/%s:1\n' "${REGISTRY%/}" "$1"
  fi
}

deliver() { # deliver NAME ARCHIVE: to where the current cluster can find it
  if [ "$CLUSTER" = local ]; then
    if local_is_up; then load "$1" "$2"; fi
  elif [ -n "${REGISTRY:-}" ]; then
    with_build_lock step "pushing $(reference "$1")" push_archive "$2" "$(reference "$1")"
  else
    say "warning: the current cluster is not the local one, and no REGISTRY is given: its nodes must already have the image"
    say "         $(image_name "$1"), or its pods will not start. Either: make … REGISTRY=registry.example.com/team"
    say "         or load this OCI archive into each node: $2"
  fi
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
  for file in paths show packages binaries target; do
    # shellcheck source=/dev/null
    . "$HERE/$file.sh"
  done
  verb=${1:-}
  shift || true
  case $verb in
    ensure)
      for name; do
        image_unless_built "$name"
        deliver "$name" "$(archive_of "$name")"
      done
      ;;
    operator)
      build_operator
      deliver operator "$OPERATOR_ARCHIVE"
      ;;
    reference) reference "$1" ;;
    operator-hash) cat "$STATE/operator-hash" ;;
    *) fail "usage: images.sh ensure NAME... | operator | reference NAME | operator-hash" ;;
  esac
fi
