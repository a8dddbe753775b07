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
# The three ClusterRoles that are left are for people, and bound to nobody.
expect "the roles with watchNamespaces={a,b}" \
  "$(printf '%s\n' 'ClusterRole /nightshift-approve' 'ClusterRole /nightshift-edit' 'ClusterRole /nightshift-view' \
    'Role a/nightshift' 'Role b/nightshift' 'Role nightshift-system/nightshift-leader' \
    'RoleBinding a/nightshift' 'RoleBinding b/nightshift' 'RoleBinding nightshift-system/nightshift-leader')" \
  "$(objects <<<"$two" | grep -E '^(Cluster)?Role' | LC_ALL=C sort)"
rules=$(rules_of 'ClusterRole /nightshift' <<<"$everywhere")
if [ -z "$rules" ]; then fail "the chart's ClusterRole nightshift has no rules, or is not there"; fi
for namespace in a b; do
  expect "the rules of the Role in $namespace" "$rules" "$(rules_of "Role $namespace/nightshift" <<<"$two")"
done
expect "the namespaces that the operator is told to watch" 'a b ' \
  "$(sed -n 's/^Deployment .*- --namespace=//p' <<<"$two" | tr '\n' ' ')"
say "  ok: watchNamespaces={a,b} renders a Role in a and b with the operator's rules, and no ClusterRole with them"

# The policies judge everybody but the account that the operator has, in the namespaces that it serves.
account() { sed -n 's/^ValidatingAdmissionPolicy \(.*\):  *expression: request.userInfo.username != /\1 /p' | tr -d "'"; }
judged() { sed -n 's/^ValidatingAdmissionPolicyBinding \(.*\):  *- "\(.*\)"$/\1 \2/p'; }
expect "whom the policies do not judge" \
  "$(printf '%s\n' /nightshift-{runs,status}.'nightshift-system system:serviceaccount:nightshift-system:nightshift')" \
  "$(account <<<"$everywhere")"
expect "whom they do not judge with a service account of another name" \
  "$(printf '%s\n' /nightshift-{runs,status}.'nightshift-system system:serviceaccount:nightshift-system:other')" \
  "$(render --set serviceAccount.name=other | by_object | account)"
expect "the namespaces that they judge" "" "$(judged <<<"$everywhere")"
expect "the namespaces that they judge with watchNamespaces={a,b}" \
  "$(printf '%s\n' /nightshift-{runs,status}.nightshift-system\ {a,b})" "$(judged <<<"$two")"
expect "the policies with admissionPolicies.enabled=false" "" \
  "$(render --set admissionPolicies.enabled=false | by_object | objects | grep Admission || true)"
say "  ok: the admission policies judge everybody but the operator's account, where it serves"
# The Lease is the Deployment's own, and so is the right to it.
lease=$(render --namespace elsewhere --set fullnameOverride=other | by_object)
expect "the lease that the operator is told of" elsewhere/other \
  "$(sed -n 's/^Deployment .*- --leader-election-lease=//p' <<<"$lease")"
expect "what the operator may do with leases" \
  "$(printf '%s\n' 'apiGroups: [coordination.k8s.io]' 'resources: [leases]' 'resourceNames: ["other"]' 'verbs: [get, update]' \
    'apiGroups: [coordination.k8s.io]' 'resources: [leases]' 'verbs: [create]')" \
  "$(rules_of 'Role elsewhere/other-leader' <<<"$lease" | sed -n '2,$p' | sed 's/^[- ]*//')"
expect "how many replicas there are" 2 "$(sed -n 's/^Deployment .*:   replicas: //p' <<<"$everywhere")"
expect "how many replicas there are with replicas=1" 1 "$(render --set replicas=1 | by_object | sed -n 's/^Deployment .*:   replicas: //p')"
say "  ok: two replicas by default, and the right to one Lease in the release's namespace"
