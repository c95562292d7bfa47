{{- define "dorfman.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "dorfman.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "dorfman.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "dorfman.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "dorfman.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dorfman.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dorfman.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "dorfman.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "dorfman.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "dorfman.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The port is said once, in the worker's own configuration. */}}
{{- define "dorfman.port" -}}
{{- splitList ":" .Values.config.ops.listen | last }}
{{- end }}

{{- /* What would only show at the first rollout is refused here. */}}
{{- define "dorfman.check" -}}
{{- $deadline := .Values.config.shutdown.deadline | trimSuffix "s" | int }}
{{- if ge $deadline (int .Values.terminationGracePeriodSeconds) }}
{{- fail (printf "terminationGracePeriodSeconds (%v) must be longer than config.shutdown.deadline (%s)" .Values.terminationGracePeriodSeconds .Values.config.shutdown.deadline) }}
{{- end }}
{{- $provider := dig "model" "provider" "cpu" .Values.config }}
{{- if and (ne $provider "cpu") (eq (int .Values.gpu.count) 0) }}
{{- fail (printf "config.model.provider is %s: set gpu.count to 1" $provider) }}
{{- end }}
{{- if regexMatch "^(127\\.|\\[::1\\]|localhost)" .Values.config.ops.listen }}
{{- fail "config.ops.listen must not be a loopback address: the probes come from outside the pod" }}
{{- end }}
{{- end }}
