#!/usr/bin/env bash
# Sees that Rust is there, and the linker that it calls.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show packages; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
command -v cargo >/dev/null || fail "cargo is not installed; it builds everything here" \
  "Install Rust with rustup; rust-toolchain.toml says which version"
MISSING=()
need gcc gcc
need libc6-dev /usr/include/stdio.h
install_missing
