#!/usr/bin/env bash
# What the chart renders, and what it refuses: part of `make test-chart`. Needs helm, and no cluster.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
for file in paths show; do
  # shellcheck source=/dev/null
  . "$HERE/$file.sh"
done

render() { helm template nightshift "$ROOT/charts/nightshift" --namespace nightshift-system --kube-version 1.34.0 "$@"; }

# Each line on standard input after the object that it belongs to: "Role a/nightshift: rules:".
by_object() {
  awk '
    function show(  i) {
      for (i = 1; i <= n; i++) print kind " " namespace "/" name ": " line[i]
      kind = namespace = name = ""; n = 0
    }
    function plain(text) { gsub(/"/, "", text); return text }
    /^---/ { show(); next }
    /^[a-zA-Z]/ { top = $1 }
    top == "kind:" { kind = plain($2) }
    top == "metadata:" && /^  name:/ { name = plain($2) }
    top == "metadata:" && /^  namespace:/ { namespace = plain($2) }
    /^#/ || /^ *$/ { next }
    { line[++n] = $0 }
    END { show() }'
}

objects() { sed 's/: .*//' | uniq; }

rules_of() { sed -n "s#^$1: ##p" | sed -n '/^rules:/,$p'; } # rules_of "KIND NAMESPACE/NAME"

refuses() { # refuses PATH: there is no such value
  local said
  if said=$(render --set "$1=1" 2>&1); then
    fail "helm template --set $1=1" "expected: the schema of the values refuses it" \
      "seen:     it renders $(grep -c '^kind:' <<<"$said") objects"
  fi
  case $said in
    *dditional\ propert*"${1##*.}"*) ;;
    *) fail "helm template --set $1=1" "expected: an error that ${1##*.} is no property" "seen:     $said" ;;
  esac
}

refuses nosuch
refuses log.nosuch
say "  ok: values that do not exist are refused"

everywhere=$(render | by_object)
two=$(render --set 'watchNamespaces={a,b}' | by_object)
# The two ClusterRoles that are left are for people, and bound to nobody.
expect "the roles with watchNamespaces={a,b}" \
  "$(printf '%s\n' 'ClusterRole /nightshift-edit' 'ClusterRole /nightshift-view' \
    'Role a/nightshift' 'Role b/nightshift' 'RoleBinding a/nightshift' 'RoleBinding b/nightshift')" \
  "$(objects <<<"$two" | grep -E '^(Cluster)?Role' | LC_ALL=C sort)"
rules=$(rules_of 'ClusterRole /nightshift' <<<"$everywhere")
if [ -z "$rules" ]; then fail "the chart's ClusterRole nightshift has no rules, or is not there"; fi
for namespace in a b; do
  expect "the rules of the Role in $namespace" "$rules" "$(rules_of "Role $namespace/nightshift" <<<"$two")"
done
expect "the namespaces that the operator is told to watch" 'a b ' \
  "$(sed -n 's/^Deployment .*- --namespace=//p' <<<"$two" | tr '\n' ' ')"
say "  ok: watchNamespaces={a,b} renders a Role in a and b with the operator's rules, and no ClusterRole with them"
