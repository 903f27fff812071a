{{- define "terminals.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "terminals.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "terminals.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change: Deployments select by them, and the guests' NetworkPolicy names the orchestrator by them. */}}
{{- define "terminals.selector" -}}
app.kubernetes.io/name: {{ include "terminals.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "terminals.labels" -}}
{{ include "terminals.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "terminals.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Where terminals live. */}}
{{- define "terminals.guestNamespace" -}}
{{- .Values.terminalsNamespace | default .Release.Namespace -}}
{{- end -}}

{{- define "terminals.hasOperator" -}}
{{- if kindIs "bool" .Values.operator.enabled -}}
{{- if .Values.operator.enabled -}}true{{- end -}}
{{- else if eq .Values.orchestrator.backend "kubernetes-operator" -}}true
{{- end -}}
{{- end -}}

{{/* The namespaces that the operator watches, comma-separated; * for all. */}}
{{- define "terminals.watched" -}}
{{- .Values.operator.namespaces | default (list (include "terminals.guestNamespace" .)) | uniq | join "," -}}
{{- end -}}

{{- define "terminals.serviceAccount" -}}
{{- $part := index .root.Values .component -}}
{{- if $part.serviceAccount.name -}}
{{- $part.serviceAccount.name -}}
{{- else if $part.serviceAccount.create -}}
{{- printf "%s-%s" (include "terminals.fullname" .root) .component -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "terminals.keySecret" -}}
{{- .Values.existingSecret | default (printf "%s-api-key" (include "terminals.fullname" .)) -}}
{{- end -}}

{{- define "terminals.keyName" -}}
{{- ternary .Values.existingSecretKey "api-key" (ne .Values.existingSecret "") -}}
{{- end -}}

{{/* What the orchestrator and the operator must agree on about terminals. */}}
{{- define "terminals.guestEnv" -}}
- {name: TERMINALS_KUBERNETES_NAMESPACE, value: {{ include "terminals.guestNamespace" . | quote }}}
- {name: TERMINALS_IMAGE, value: {{ .Values.orchestrator.terminalImage | quote }}}
- {name: TERMINALS_IDLE_TIMEOUT_MINUTES, value: {{ .Values.orchestrator.idleTimeoutMinutes | int64 | quote }}}
- {name: TERMINALS_KUBERNETES_STORAGE_SIZE, value: {{ .Values.terminals.storageSize | quote }}}
- {name: TERMINALS_KUBERNETES_STORAGE_MODE, value: {{ .Values.terminals.storageMode | quote }}}
- {name: TERMINALS_KUBERNETES_SERVICE_TYPE, value: {{ .Values.terminals.serviceType | quote }}}
- {name: TERMINALS_KUBERNETES_ADDRESS, value: {{ .Values.terminals.address | quote }}}
- {name: TERMINALS_KUBERNETES_RESTRICTED, value: {{ .Values.terminals.restricted | quote }}}
- {name: TERMINALS_KUBERNETES_NETWORK_POLICY, value: {{ .Values.networkPolicy.guests | quote }}}
- {name: TERMINALS_KUBERNETES_CRD_GROUP, value: {{ .Values.crd.group | quote }}}
- {name: TERMINALS_KUBERNETES_CRD_VERSION, value: {{ .Values.crd.version | quote }}}
{{- with .Values.terminals.storageClass }}
- {name: TERMINALS_KUBERNETES_STORAGE_CLASS, value: {{ . | quote }}}
{{- end }}
{{- with .Values.terminals.podSecurityContext }}
- {name: TERMINALS_KUBERNETES_POD_SECURITY_CONTEXT, value: {{ toJson . | quote }}}
{{- end }}
{{- with .Values.terminals.containerSecurityContext }}
- {name: TERMINALS_KUBERNETES_CONTAINER_SECURITY_CONTEXT, value: {{ toJson . | quote }}}
{{- end }}
{{- with .Values.terminals.nodeSelector }}
- {name: TERMINALS_KUBERNETES_NODE_SELECTOR, value: {{ toJson . | quote }}}
{{- end }}
{{- with .Values.terminals.tolerations }}
- {name: TERMINALS_KUBERNETES_TOLERATIONS, value: {{ toJson . | quote }}}
{{- end }}
{{- with .Values.terminals.labels }}
- name: TERMINALS_KUBERNETES_LABELS
  value: "{{ range $i, $key := keys . | sortAlpha }}{{ if $i }},{{ end }}{{ $key }}={{ index $.Values.terminals.labels $key }}{{ end }}"
{{- end }}
{{- end -}}

{{/* Settings given by name, and what is given as it is. */}}
{{- define "terminals.moreEnv" -}}
{{- range $name := keys .settings | sortAlpha }}
- {name: TERMINALS_{{ $name }}, value: {{ index $.settings $name | toString | quote }}}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What decides on which nodes our own pods run. */}}
{{- define "terminals.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}
