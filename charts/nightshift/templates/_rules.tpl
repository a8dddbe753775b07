{{- /*
What the operator may do: the same rules in a ClusterRole, or in a Role per watched namespace. Nothing on Secrets,
ConfigMaps or pods/exec, and no wildcards. It does create Jobs, so whoever may create a task or run in a namespace can
run pods there, as whoever may create Jobs can.
*/}}
{{- define "nightshift.rules" -}}
# Tasks: read only. Their spec belongs to the user, or to Git.
- apiGroups: [nightshift.dev]
  resources: [automationtasks]
  verbs: [get, list, watch]
# Runs: created to record the Jobs of a schedule and for the steps of workflows, deleted when `history` says so. patch makes the task an owner of a run
# that somebody created, so that it goes when the task goes.
- apiGroups: [nightshift.dev]
  resources: [automationruns]
  verbs: [get, list, watch, create, patch, delete]
# Workflows, backfills and pools: read only, as tasks.
- apiGroups: [nightshift.dev]
  resources: [workflows, backfills, concurrencypools]
  verbs: [get, list, watch]
# All that happened is written to status.
- apiGroups: [nightshift.dev]
  resources: [automationtasks/status, workflows/status, automationruns/status, backfills/status, concurrencypools/status]
  verbs: [update]
# The operator sets no finalizers. Where the API server enforces OwnerReferencesPermissionEnforcement, making a task,
# workflow, run or backfill the owner of what it creates (blockOwnerDeletion) asks for this verb.
- apiGroups: [nightshift.dev]
  resources: [automationtasks/finalizers, workflows/finalizers, automationruns/finalizers, backfills/finalizers]
  verbs: [update]
# What a run is to run is frozen in a ControllerRevision before it starts, so that an edit of the task changes no run in
# flight and a rerun can take the original. It is never changed, and deleted once no run needs it.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, create, delete]
# A schedule is a CronJob: it fires with the operator down. update puts hand edits right; patch suspends one whose task
# is suspended while the rest of its spec cannot be carried out.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, create, update, patch, delete]
# Moves lastScheduleTime on before a schedule is edited or resumed: the CronJob controller would otherwise start a slot
# that lies before the edit, or in the pause.
- apiGroups: [batch]
  resources: [cronjobs/status]
  verbs: [patch]
# Attempts are Jobs. patch adopts those of a CronJob (label, second owner) and stops a run; delete comes after recording.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# Exit codes, reasons and log tails are on pods. patch only lowers spec.activeDeadlineSeconds, which stops an attempt and
# keeps its evidence; deleting the pod would not.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
# Why a pod never came to be (quota, Pod Security, service account, Secret missing as a file) stands only in the events
# of a run's pod and Job. Listed where a run does not start, never watched.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
# Its own events on tasks and runs.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
