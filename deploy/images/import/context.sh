#!/usr/bin/env bash
# usage: context.sh DIR    Fills DIR with what the Containerfile copies: a minimal Debian of this machine's release,
# from this machine's mirror, without what only packaging needs.
set -euo pipefail
root=$1/rootfs
release=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(SITE)' 'Identifier: Packages' 'Origin: Debian' "Codename: $release" 'Component: main' | head -n 1)

debootstrap --variant=minbase --include=postgresql,postgresql-client,curl,ca-certificates "$release" "$root" ${mirror:+"$mirror"}

# What is removed below must be what debootstrap made, and not a /dev or /proc that it left mounted there.
if grep -F " $root/" /proc/self/mounts; then
  echo "debootstrap left these mounts behind" >&2
  exit 1
fi
# PostgreSQL's just-in-time compiler brings LLVM, more than all the rest together.
rm -rf "$root"/usr/lib/*/libLLVM*.so* "$root"/usr/lib/llvm-* "$root"/usr/lib/postgresql/*/lib/{llvmjit*,bitcode}
# Debian's psql and pg_* are wrappers in Perl, for several versions side by side. Here there is one.
for tool in "$root"/usr/lib/postgresql/*/bin/*; do ln -sf "${tool#"$root"}" "$root/usr/bin/$(basename "$tool")"; done
rm -rf "$root"/usr/lib/*/perl* "$root"/usr/share/perl* "$root"/usr/bin/perl*
rm -rf "$root"/usr/share/{doc,man,locale,info,lintian,bug,postgresql-common} "$root"/var/{cache,log}/* \
  "$root"/var/lib/{apt,dpkg,postgresql,systemd} "$root"/usr/lib/*/gconv "$root"/usr/lib/{apt,dpkg,systemd,udev} \
  "$root"/usr/bin/{apt*,dpkg*} "${root:?}"/{dev,tmp}/* "$root"/debootstrap

# initdb wants a name for the user it runs as; 999 is what PostgreSQL's usual images use.
for account in passwd group; do sed -i '/^postgres:/d' "$root/etc/$account"; done
printf '%s\n' 'postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/sh' 'nonroot:x:65532:65532:nonroot:/tmp:/bin/sh' >>"$root/etc/passwd"
printf '%s\n' 'postgres:x:999:' 'nonroot:x:65532:' >>"$root/etc/group"
mkdir -p "$root/var/lib/postgresql"
chown 999:999 "$root/var/lib/postgresql"

install -m 755 "$(dirname "${BASH_SOURCE[0]}")/run-postgres" "$root/usr/local/bin/run-postgres"
