#!/usr/bin/env bash
# The CRDs, generated from the Rust types, into crds/ and into the chart, which may not read outside of its folder.
#   crds.sh write    generates them
#   crds.sh check    fails where what is committed is not what would be generated
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done
COPIES=(crds charts/nightshift/files/crds)

cd "$ROOT"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
cargo run --quiet --locked --bin crdgen -- "$fresh"
for copy in "${COPIES[@]}"; do
  if diff -r "$fresh" "$copy" >/dev/null 2>&1; then continue; fi
  if [ "${1:-}" = write ]; then
    mkdir -p "$copy"
    rm -f "$copy"/*.yaml
    cp "$fresh"/*.yaml "$copy"
    say "  $copy: generated anew"
  else
    { diff -ru "$copy" "$fresh" || true; } | head -n 40 >&2
    fail "$copy is not what the Rust types say" "Generate it anew and commit it: make crds"
  fi
done
