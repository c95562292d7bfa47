{{- /* Whether the bundle is copied into an empty volume before the worker starts. */}}
{{- define "dorfman.bundle.copied" -}}
{{- if or .Values.bundle.image.reference .Values.bundle.download.image }}yes{{ end }}
{{- end }}

{{- define "dorfman.bundle.volumes" -}}
{{- if .Values.bundle.volume }}
- name: bundle
  {{- toYaml .Values.bundle.volume | nindent 2 }}
{{- else if include "dorfman.bundle.copied" . }}
- name: bundle
  emptyDir:
    sizeLimit: {{ .Values.bundle.sizeLimit }}
{{- end }}
{{- end }}

{{- define "dorfman.bundle.mount" -}}
{{- if or .Values.bundle.volume (include "dorfman.bundle.copied" .) }}
- name: bundle
  mountPath: {{ .Values.bundle.mountPath }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "dorfman.bundle.initContainer" -}}
{{- $bundle := .Values.bundle }}
{{- if include "dorfman.bundle.copied" . }}
- name: bundle
  {{- with $bundle.image.reference }}
  image: {{ . | quote }}
  imagePullPolicy: {{ $bundle.image.pullPolicy }}
  # The dot copies the content of the folder, not the folder itself.
  command: [cp, -R, {{ printf "%s/." (trimSuffix "/" $bundle.image.path) | quote }}, {{ $bundle.mountPath | quote }}]
  {{- else }}
  image: {{ $bundle.download.image | quote }}
  imagePullPolicy: {{ $bundle.download.pullPolicy }}
  {{- with $bundle.download.command }}
  command:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $bundle.download.args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $bundle.download.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $bundle.download.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  resources:
    {{- toYaml $bundle.resources | nindent 4 }}
  volumeMounts:
    - name: bundle
      mountPath: {{ $bundle.mountPath }}
    # Clients of object stores write settings and caches to their home folder.
    - name: tmp
      mountPath: /tmp
{{- end }}
{{- end }}
