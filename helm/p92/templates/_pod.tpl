{{/* Restricted pods, by the Pod Security Standards: what every pod of this chart has. */}}
{{- define "p92.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "p92.serviceAccount" . }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "p92.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where it may run. Takes root, role and pod (the overrides). */}}
{{- define "p92.placement" -}}
{{- $pod := mergeOverwrite (deepCopy .root.Values.pod) (deepCopy .pod) -}}
{{- with $pod.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "p92.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: {{ .root.Values.spread.nodes }}
    labelSelector:
      matchLabels: {{- include "p92.role" . | nindent 8 }}
    matchLabelKeys: [{{ .revision }}]
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: {{ .root.Values.spread.zones }}
    labelSelector:
      matchLabels: {{- include "p92.role" . | nindent 8 }}
    matchLabelKeys: [{{ .revision }}]
{{- end }}

{{- define "p92.podMetadata" -}}
{{- $pod := mergeOverwrite (deepCopy .root.Values.pod) (deepCopy .pod) -}}
labels: {{- mergeOverwrite (deepCopy $pod.labels) (include "p92.labels" .root | fromYaml) (dict "app.kubernetes.io/component" .role) | toYaml | nindent 2 }}
{{- with $pod.annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* gRPC's own health protocol on the operators' listener: no binary in the image, and no dependency is asked. */}}
{{- define "p92.probes" -}}
{{- $p := include "p92.ports" . | fromYaml -}}
startupProbe:
  # Memory is filled and views may be rebuilt: half an hour, while liveness waits.
  grpc: {port: {{ $p.ops }}, service: startup}
  periodSeconds: 5
  failureThreshold: 360
readinessProbe:
  grpc: {port: {{ $p.ops }}, service: readiness}
  periodSeconds: 2
  failureThreshold: 2
  timeoutSeconds: 2
livenessProbe:
  grpc: {port: {{ $p.ops }}, service: liveness}
  periodSeconds: 10
  failureThreshold: 3
  timeoutSeconds: 5
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.drain.preStopSeconds }}}
{{- end }}

{{/* Files of the cluster: what a process reads from secrets. Takes root and role. */}}
{{- define "p92.mounts" -}}
{{- $v := .root.Values -}}
{{- if ne .role "gateway" }}
{{- if and (ne .role "migrate") (or $v.keys.existingSecret $v.keys.existingClaim) }}
- {name: keys, mountPath: /etc/p92/keys, readOnly: {{ not $v.keys.existingClaim }}}
{{- end }}
{{- if $v.store.cql.credentials.existingSecret }}
- {name: store, mountPath: /etc/p92/store, readOnly: true}
{{- end }}
{{- if $v.store.cql.tls.existingSecret }}
- {name: store-tls, mountPath: /etc/p92/store-tls, readOnly: true}
{{- end }}
{{- if ne .role "migrate" }}
{{- if $v.bus.nats.credentials.existingSecret }}
- {name: bus, mountPath: /etc/p92/bus, readOnly: true}
{{- end }}
{{- if $v.bus.nats.tls.existingSecret }}
- {name: bus-tls, mountPath: /etc/p92/bus-tls, readOnly: true}
{{- end }}
{{- end }}
{{- end }}
{{- if and $v.transport.tls.existingSecret (ne .role "migrate") }}
- {name: tls, mountPath: /etc/p92/tls, readOnly: true}
{{- end }}
{{- if and $v.operators.existingSecret (has .role (include "p92.owners" .root | fromYamlArray)) }}
- {name: operators, mountPath: /etc/p92/operators, readOnly: true}
{{- end }}
{{- end }}

{{- define "p92.volumes" -}}
{{- $v := .root.Values -}}
{{- if ne .role "gateway" }}
{{- if ne .role "migrate" }}
{{- include "p92.keysVolume" .root }}
{{- end }}
{{- with $v.store.cql.credentials.existingSecret }}
- name: store
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ $v.store.cql.credentials.passwordKey }}, path: {{ $v.store.cql.credentials.passwordKey }}}]
{{- end }}
{{- with $v.store.cql.tls.existingSecret }}
- name: store-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if ne .role "migrate" }}
{{- with $v.bus.nats.credentials.existingSecret }}
- name: bus
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    # Its own credentials only: who reads this pod's files is not the other services.
    items: [{key: {{ $.role }}{{ $v.bus.nats.credentials.keySuffix }}, path: {{ $.role }}{{ $v.bus.nats.credentials.keySuffix }}}]
{{- end }}
{{- with $v.bus.nats.tls.existingSecret }}
- name: bus-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- end }}
{{- if ne .role "migrate" }}
{{- with $v.transport.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- if has .role (include "p92.owners" .root | fromYamlArray) }}
{{- include "p92.operatorsVolume" .root }}
{{- end }}
{{- end }}

{{/* The tokens of operators, if there are any. */}}
{{- define "p92.operatorsVolume" -}}
{{- with .Values.operators.existingSecret }}
- name: operators
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ $.Values.operators.secretKey }}, path: tokens}]
{{- end }}
{{- end }}

{{/* The key file, if it exists before the release. */}}
{{- define "p92.keysVolume" -}}
{{- with .Values.keys.existingSecret }}
- name: keys
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ $.Values.keys.secretKey }}, path: p92.keys}]
{{- end }}
{{- with .Values.keys.existingClaim }}
- name: keys
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- end }}
