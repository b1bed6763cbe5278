{{/* Names and labels. */}}
{{- define "p92.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "p92.selector" -}}
app.kubernetes.io/name: p92
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "p92.labels" -}}
{{ include "p92.selector" . }}
app.kubernetes.io/part-of: p92
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The selector of one role, for a label selector written on one line. Takes root and role. */}}
{{- define "p92.role" -}}
{{ include "p92.selector" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "p92.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "p92.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "p92.fullname" .) }}
{{- end }}

{{/* The host of the public URL. */}}
{{- define "p92.host" -}}
{{ (urlParse .Values.server.publicUrl).host | splitList ":" | first }}
{{- end }}

{{/* The services that own shards. */}}
{{- define "p92.owners" -}}
[identity, posting, timelines, federation-delivery, ranking]
{{- end }}

{{- define "p92.contactPoints" -}}
{{- $points := .Values.store.cql.contactPoints -}}
{{- if and .Values.scylla.enabled (not $points) }}
{{- $points = list (printf "%s-store-client.%s.svc:9042" (include "p92.fullname" .) .Release.Namespace) -}}
{{- end }}
{{- toJson $points }}
{{- end }}

{{- define "p92.datacenter" -}}
{{- if .Values.store.cql.datacenter }}{{ .Values.store.cql.datacenter }}{{ else if .Values.scylla.enabled }}{{ .Values.scylla.datacenter }}{{ end }}
{{- end }}

{{/* Where the store is, for a policy. */}}
{{- define "p92.storePeers" -}}
{{- if .Values.store.cql.egress }}
{{- toYaml .Values.store.cql.egress }}
{{- else }}
- podSelector:
    matchLabels: {scylla/cluster: {{ include "p92.fullname" . }}-store}
{{- end }}
{{- end }}

{{/* What the schema cannot say, since it compares two values. Everything that is wrong, at once. */}}
{{- define "p92.check" -}}
{{- $wrong := list -}}
{{- $v := .Values -}}
{{- if eq $v.shape "cluster" }}
{{- if and (not $v.scylla.enabled) (not $v.store.cql.contactPoints) }}{{ $wrong = append $wrong "store.cql.contactPoints: the cluster needs a store; name its hosts, or set scylla.enabled" }}{{ end }}
{{- if and $v.networkPolicy.enabled (not $v.scylla.enabled) (not $v.store.cql.egress) }}{{ $wrong = append $wrong "store.cql.egress: with networkPolicy.enabled the store must be named as peers, or nobody reaches it" }}{{ end }}
{{- if not $v.bus.nats.url }}{{ $wrong = append $wrong "bus.nats.url: the cluster needs a bus" }}{{ end }}
{{- if and $v.networkPolicy.enabled (not $v.bus.nats.egress) }}{{ $wrong = append $wrong "bus.nats.egress: with networkPolicy.enabled the bus must be named as peers, or nobody reaches it" }}{{ end }}
{{- if not (or $v.keys.existingSecret $v.keys.existingClaim) }}{{ $wrong = append $wrong "keys.existingSecret: the services of a cluster share one key file; name the secret that holds it" }}{{ end }}
{{- range $role := include "p92.owners" . | fromYamlArray }}
{{- if gt (int (index $v.services $role).replicas) (int $v.store.shards) }}{{ $wrong = append $wrong (printf "services.%s.replicas: more replicas than store.shards would stand idle" $role) }}{{ end }}
{{- end }}
{{- if and $v.keda.enabled (gt (int $v.keda.maxReplicas) (int $v.store.shards)) }}{{ $wrong = append $wrong "keda.maxReplicas: more replicas than store.shards would stand idle" }}{{ end }}
{{- if and $v.autoscaling.enabled (lt (int $v.autoscaling.maxReplicas) (int $v.services.gateway.replicas)) }}{{ $wrong = append $wrong "autoscaling.maxReplicas: fewer than services.gateway.replicas" }}{{ end }}
{{- if and $v.scylla.enabled (eq $v.migrate.mode "hook") }}{{ $wrong = append $wrong "migrate.mode: a hook runs before the store of this release is there; take job or init" }}{{ end }}
{{- else }}
{{- if $v.scylla.enabled }}{{ $wrong = append $wrong "scylla.enabled: the embedded shape has its store in the pod" }}{{ end }}
{{- if $v.keda.enabled }}{{ $wrong = append $wrong "keda.enabled: the embedded shape is one pod" }}{{ end }}
{{- end }}
{{- if and $v.keys.existingSecret $v.keys.existingClaim }}{{ $wrong = append $wrong "keys: existingSecret or existingClaim, not both" }}{{ end }}
{{- if $wrong }}{{ fail (printf "\n%s" (join "\n" $wrong)) }}{{ end }}
{{- end }}
