{{- /* Environment of the worker's container: secrets by reference, and the static member's name at the broker. */}}
{{- define "dorfman.env" -}}
{{- with .Values.credentials.sasl }}
{{- if .secret }}
- name: DORFMAN_KAFKA__PROPERTIES__SASL_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .usernameKey }}}
- name: DORFMAN_KAFKA__PROPERTIES__SASL_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .passwordKey }}}
{{- end }}
{{- end }}
{{- if eq .Values.kind "StatefulSet" }}
- name: DORFMAN_SOURCE__PROPERTIES__GROUP_INSTANCE_ID
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dorfman.configMounts" -}}
- name: config
  mountPath: /etc/dorfman
  readOnly: true
{{- if .Values.credentials.tls.secret }}
- name: tls
  mountPath: /etc/dorfman-tls
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- end }}

{{- define "dorfman.configVolumes" -}}
- name: config
  configMap:
    name: {{ include "dorfman.fullname" . }}
{{- with .Values.credentials.tls.secret }}
- name: tls
  secret:
    secretName: {{ . }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- end }}

{{- /* The resources of the values, plus the limit that requests a GPU. */}}
{{- define "dorfman.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if gt (int .Values.gpu.count) 0 }}
{{- $resources = merge (dict "limits" (dict .Values.gpu.resource (int .Values.gpu.count))) $resources }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- define "dorfman.tolerations" -}}
{{- $tolerations := .Values.tolerations }}
{{- if and (gt (int .Values.gpu.count) 0) .Values.gpu.tolerate }}
{{- $tolerations = append $tolerations (dict "key" .Values.gpu.resource "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- with $tolerations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- /* Spread by revision, so that the pods that a rollout will stop do not count. */}}
{{- define "dorfman.topologySpread" -}}
{{- $revision := ternary "controller-revision-hash" "pod-template-hash" (eq .Values.kind "StatefulSet") }}
{{- $selector := dict "matchLabels" (include "dorfman.selectorLabels" . | fromYaml) }}
{{- $constraints := list }}
{{- range .Values.topologySpread }}
{{- $constraints = append $constraints (merge (dict) . (dict "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" $selector "matchLabelKeys" (list $revision))) }}
{{- end }}
{{- with $constraints }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- /* The pod template, shared by the Deployment and the StatefulSet. */}}
{{- define "dorfman.podTemplate" -}}
{{- $start := include "dorfman.startSeconds" . | int -}}
metadata:
  # The chart's version is left out: a new chart replaces the pods only if it changes them.
  labels:
    {{- merge (include "dorfman.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml | nindent 4 }}
  annotations:
    # The worker reads its configuration once, so a change must replace the pods.
    checksum/config: {{ include "dorfman.config" . | sha256sum }}
    kubectl.kubernetes.io/default-container: dorfman
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "dorfman.serviceAccountName" . }}
  automountServiceAccountToken: false
  # Service links only add variables to the environment, which the worker reads for DORFMAN_ keys.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "dorfman.gracePeriod" . }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.gpu.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- if or (include "dorfman.bundle.copied" .) .Values.extraInitContainers }}
  initContainers:
    {{- with include "dorfman.bundle.initContainer" . }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- with .Values.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: dorfman
      image: {{ include "dorfman.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --config, /etc/dorfman/dorfman.yaml]
      {{- with include "dorfman.env" . | trim }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ include "dorfman.port" . }}
      # Loading and warming up a large network takes a while; it is not a hang.
      startupProbe:
        httpGet:
          path: /healthz
          port: http
        periodSeconds: {{ .Values.probes.startup.periodSeconds }}
        failureThreshold: {{ ceil (divf $start (int .Values.probes.startup.periodSeconds)) }}
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      resources:
        {{- include "dorfman.resources" . | nindent 8 }}
      volumeMounts:
        {{- include "dorfman.configMounts" . | nindent 8 }}
        {{- with include "dorfman.bundle.mount" . }}
        {{- . | trim | nindent 8 }}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "dorfman.configVolumes" . | nindent 4 }}
    {{- with include "dorfman.bundle.volumes" . }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "dorfman.tolerations" . }}
  tolerations:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "dorfman.topologySpread" . }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}
