#!/usr/bin/env bash
# usage: context.sh DIR    Fills DIR with what the Containerfile copies.
set -euo pipefail
root=$1/rootfs
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,etc,root,tmp,home}
chmod 1777 "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
"$root/bin/busybox" --list-full | while read -r applet; do
  if [ "$applet" != bin/busybox ] && [ -d "$root/$(dirname "$applet")" ]; then ln -s /bin/busybox "$root/$applet"; fi
done
cat >"$root/etc/passwd" <<'P'
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh
nonroot:x:65532:65532:nonroot:/:/bin/sh
P
cat >"$root/etc/group" <<'G'
root:x:0:
nogroup:x:65534:
nonroot:x:65532:
G
