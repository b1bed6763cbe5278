{{/* The settings that this chart gives, by what they mean here: the one place where the names of variables stand. */}}
{{- define "p92.names" -}}
http: P92_HTTP
grpc: P92_GRPC
ops: P92_OPS
data: P92_DATA
keys: P92_KEYS
domain: P92_DOMAIN
publicUrl: P92_PUBLIC_URL
shards: P92_STORE__SHARDS
storeKind: P92_STORE__KIND
contactPoints: P92_STORE__CQL__CONTACT_POINTS
keyspace: P92_STORE__CQL__KEYSPACE
datacenter: P92_STORE__CQL__DATACENTER
replication: P92_STORE__CQL__REPLICATION
storeUser: P92_STORE__CQL__USERNAME
storePassword: P92_STORE__CQL__PASSWORD_FILE
storeAuthority: P92_STORE__CQL__TLS__AUTHORITY_PATH
storeCertificate: P92_STORE__CQL__TLS__CERTIFICATE_PATH
storeKey: P92_STORE__CQL__TLS__KEY_PATH
busKind: P92_BUS__KIND
busUrl: P92_BUS__URL
busNkey: P92_BUS__NKEY_PATH
busCredentials: P92_BUS__CREDENTIALS_PATH
busAuthority: P92_BUS__TLS__AUTHORITY_PATH
busCertificate: P92_BUS__TLS__CERTIFICATE_PATH
busKey: P92_BUS__TLS__KEY_PATH
internal: P92_INTERNAL__LISTEN
advertise: P92_INTERNAL__ADVERTISE
peers: P92_PEERS__
tlsCertificate: P92_TLS__CERTIFICATE_PATH
tlsKey: P92_TLS__KEY_PATH
tlsAuthority: P92_TLS__AUTHORITY_PATH
tokens: P92_OPERATORS__TOKENS_PATH
ownToken: P92_TOKEN_FILE
ownOps: P92_OPERATOR
ownInternal: P92_ENDPOINT
otlpEndpoint: P92_TELEMETRY__OTLP_ENDPOINT
traceShare: P92_TELEMETRY__TRACE_SHARE
logFormat: P92_TELEMETRY__LOG_FORMAT
{{- end }}

{{/* Ports by their names in pods and Services. */}}
{{- define "p92.ports" -}}
http: 8092
grpc: 8093
internal: 8094
ops: 9092
{{- end }}

{{/* Who asks whom: the edges between services. Each also asks its own replicas, which pass a command on to the owner. The
     doctor asks each how it stands. */}}
{{- define "p92.edges" -}}
identity: [identity]
posting: [posting, identity]
timelines: [timelines, identity, posting]
federation-delivery: [federation-delivery]
ranking: [ranking]
gateway: [identity, posting, timelines, ranking]
doctor: [identity, posting, timelines, federation-delivery, ranking]
{{- end }}

{{/* Free settings as variables. Takes the maps in a list, the last one wins. */}}
{{- define "p92.free" -}}
{{- $all := dict -}}
{{- range . }}{{ $all = mergeOverwrite $all (deepCopy .) }}{{ end }}
{{- range $name, $value := $all }}
- name: P92_{{ $name }}
  value: {{ if kindIs "slice" $value }}{{ toJson $value | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end }}
{{- end }}

{{/* What every process is told, whatever its role. */}}
{{- define "p92.env.all" -}}
{{- $n := include "p92.names" . | fromYaml -}}
{{- $p := include "p92.ports" . | fromYaml -}}
- name: {{ $n.ops }}
  value: "{{ .Values.listen }}:{{ $p.ops }}"
- name: {{ $n.logFormat }}
  value: json
{{- with .Values.telemetry.otlpEndpoint }}
- name: {{ $n.otlpEndpoint }}
  value: {{ . | quote }}
- name: {{ $n.traceShare }}
  value: {{ toString $.Values.telemetry.traceShare | quote }}
{{- end }}
{{- end }}

{{/* The address of the first server and the listeners of the door. */}}
{{- define "p92.env.door" -}}
{{- $n := include "p92.names" . | fromYaml -}}
{{- $p := include "p92.ports" . | fromYaml -}}
- name: {{ $n.http }}
  value: "{{ .Values.listen }}:{{ $p.http }}"
- name: {{ $n.grpc }}
  value: "{{ .Values.listen }}:{{ $p.grpc }}"
- name: {{ $n.publicUrl }}
  value: {{ .Values.server.publicUrl | quote }}
{{- with .Values.server.domain }}
- name: {{ $n.domain }}
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* The store of the cluster. */}}
{{- define "p92.env.store" -}}
{{- $n := include "p92.names" . | fromYaml -}}
- name: {{ $n.storeKind }}
  value: cql
- name: {{ $n.shards }}
  value: {{ .Values.store.shards | quote }}
{{- with .Values.store.cql }}
- name: {{ $n.contactPoints }}
  value: {{ include "p92.contactPoints" $ | quote }}
- name: {{ $n.keyspace }}
  value: {{ .keyspace | quote }}
{{- with (include "p92.datacenter" $) }}
- name: {{ $n.datacenter }}
  value: {{ . | quote }}
{{- end }}
- name: {{ $n.replication }}
  value: {{ .replication | quote }}
{{- if .credentials.existingSecret }}
- name: {{ $n.storeUser }}
  value: {{ .credentials.username | quote }}
- name: {{ $n.storePassword }}
  value: /etc/p92/store/{{ .credentials.passwordKey }}
{{- end }}
{{- if .tls.existingSecret }}
- name: {{ $n.storeAuthority }}
  value: /etc/p92/store-tls/{{ .tls.authorityKey }}
{{- if .tls.certificateKey }}
- name: {{ $n.storeCertificate }}
  value: /etc/p92/store-tls/{{ .tls.certificateKey }}
- name: {{ $n.storeKey }}
  value: /etc/p92/store-tls/{{ .tls.privateKeyKey }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The bus of the cluster. Takes root and role. */}}
{{- define "p92.env.bus" -}}
{{- $n := include "p92.names" .root | fromYaml -}}
- name: {{ $n.busKind }}
  value: nats
{{- with .root.Values.bus.nats }}
- name: {{ $n.busUrl }}
  value: {{ .url | quote }}
{{- if .credentials.existingSecret }}
- name: {{ if eq .credentials.kind "nkey" }}{{ $n.busNkey }}{{ else }}{{ $n.busCredentials }}{{ end }}
  value: /etc/p92/bus/{{ $.role }}{{ .credentials.keySuffix }}
{{- end }}
{{- if .tls.existingSecret }}
- name: {{ $n.busAuthority }}
  value: /etc/p92/bus-tls/{{ .tls.authorityKey }}
{{- if .tls.certificateKey }}
- name: {{ $n.busCertificate }}
  value: /etc/p92/bus-tls/{{ .tls.certificateKey }}
- name: {{ $n.busKey }}
  value: /etc/p92/bus-tls/{{ .tls.privateKeyKey }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* How services find and trust each other. Takes root and role. */}}
{{- define "p92.env.transport" -}}
{{- $n := include "p92.names" .root | fromYaml -}}
{{- $p := include "p92.ports" .root | fromYaml -}}
{{- $full := include "p92.fullname" .root -}}
{{- $edges := include "p92.edges" .root | fromYaml -}}
{{- if has .role (include "p92.owners" .root | fromYamlArray) }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: {{ $n.internal }}
  value: "{{ .root.Values.listen }}:{{ $p.internal }}"
# So others call it, and so do commands that are run in its pod.
{{- range list $n.advertise $n.ownInternal }}
- name: {{ . }}
  value: "$(POD_NAME).{{ $full }}-{{ $.role }}-members.{{ $.root.Release.Namespace }}.svc:{{ $p.internal }}"
{{- end }}
{{- end }}
{{- range $callee := without (get $edges .role) .role }}
- name: {{ $n.peers }}{{ $callee | upper | replace "-" "_" }}
  value: '["{{ $full }}-{{ $callee }}.{{ $.root.Release.Namespace }}.svc:{{ $p.internal }}"]'
{{- end }}
{{- if .root.Values.transport.tls.existingSecret }}
- name: {{ $n.tlsCertificate }}
  value: /etc/p92/tls/tls.crt
- name: {{ $n.tlsKey }}
  value: /etc/p92/tls/tls.key
- name: {{ $n.tlsAuthority }}
  value: /etc/p92/tls/ca.crt
{{- end }}
{{- end }}

{{/* The tokens of operators, for a process that answers them; in a cluster also the way of commands that are run in its pod. */}}
{{- define "p92.env.operators" -}}
{{- if .Values.operators.existingSecret }}
{{- $n := include "p92.names" . | fromYaml -}}
{{- $p := include "p92.ports" . | fromYaml -}}
- name: {{ $n.tokens }}
  value: /etc/p92/operators/tokens
{{- if eq .Values.shape "cluster" }}
- name: {{ $n.ownToken }}
  value: /etc/p92/operators/tokens
- name: {{ $n.ownOps }}
  value: "{{ ternary "[::1]" "127.0.0.1" (contains ":" .Values.listen) }}:{{ $p.ops }}"
{{- end }}
{{- end }}
{{- end }}
