{{- /* The name of the TriggerAuthentication. Empty if the brokers need no credentials. */}}
{{- define "dorfman.keda.authentication" -}}
{{- if .Values.keda.authentication }}
{{- .Values.keda.authentication }}
{{- else if or .Values.credentials.sasl.secret .Values.credentials.tls.secret }}
{{- include "dorfman.fullname" . }}
{{- end }}
{{- end }}

{{- /* KEDA's name for the worker's SASL mechanism. */}}
{{- define "dorfman.keda.sasl" -}}
{{- $properties := include "dorfman.consumerProperties" . | fromYaml }}
{{- if hasPrefix "sasl_" (get $properties "security.protocol" | lower) }}
{{- $mechanism := coalesce (get $properties "sasl.mechanism") (get $properties "sasl.mechanisms") | default "none" | upper }}
{{- $words := dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" "OAUTHBEARER" "oauthbearer" "GSSAPI" "gssapi" }}
{{- get $words $mechanism | required (printf "config.kafka.properties: with sasl.mechanism %s KEDA can't read the lag; it knows PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER and GSSAPI" $mechanism) }}
{{- end }}
{{- end }}

{{- define "dorfman.keda.offsetReset" -}}
{{- $properties := include "dorfman.consumerProperties" . | fromYaml }}
{{- $reset := get $properties "auto.offset.reset" | default "earliest" }}
{{- ternary "latest" "earliest" (has $reset (list "latest" "largest" "end")) }}
{{- end }}
