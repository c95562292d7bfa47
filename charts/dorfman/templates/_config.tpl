{{- /* The port, from the worker's own configuration, which is the only place that sets it. */}}
{{- define "dorfman.port" -}}
{{- splitList ":" .Values.config.ops.listen | last }}
{{- end }}

{{- /* The seconds of a duration in the worker's format, such as `1m 30s`, rounded up. Takes a dict with `key` and `text`. */}}
{{- define "dorfman.seconds" -}}
{{- $units := dict "ms" 1 "msec" 1 "millis" 1 "s" 1000 "sec" 1000 "secs" 1000 "second" 1000 "seconds" 1000
      "m" 60000 "min" 60000 "mins" 60000 "minute" 60000 "minutes" 60000 "h" 3600000 "hr" 3600000 "hrs" 3600000 "hour" 3600000 "hours" 3600000 }}
{{- if not (regexMatch "^( *[0-9]+ *[a-z]+)+ *$" .text) }}
{{- fail (printf "%s is %q: it must be a duration, such as 25s or 1m 30s" .key .text) }}
{{- end }}
{{- $sum := 0 }}
{{- $key := .key }}
{{- range $part := regexFindAll "[0-9]+ *[a-z]+" .text -1 }}
{{- $unit := regexFind "[a-z]+" $part }}
{{- if not (hasKey $units $unit) }}
{{- fail (printf "%s: %q is not a unit; use ms, s, m or h" $key $unit) }}
{{- end }}
{{- $sum = add $sum (mul (regexFind "[0-9]+" $part | int64) (get $units $unit)) }}
{{- end }}
{{- div (add $sum 999) 1000 }}
{{- end }}

{{- define "dorfman.deadline" -}}
{{- include "dorfman.seconds" (dict "key" "config.shutdown.deadline" "text" (dig "shutdown" "deadline" "25s" .Values.config)) }}
{{- end }}

{{- define "dorfman.gracePeriod" -}}
{{- $deadline := include "dorfman.deadline" . | int }}
{{- with .Values.terminationGracePeriodSeconds }}
{{- int . }}
{{- else }}
{{- add (mul 2 $deadline) 5 }}
{{- end }}
{{- end }}

{{- define "dorfman.startSeconds" -}}
{{- $derived := ternary 1800 300 (eq (dig "model" "provider" "cpu" .Values.config) "tensorrt") }}
{{- default $derived .Values.probes.startup.seconds | int }}
{{- end }}

{{- /* The Kafka properties of the consumer: those of `kafka`, overridden by those of `source`. */}}
{{- define "dorfman.consumerProperties" -}}
{{- $own := dig "source" "properties" dict .Values.config | default dict }}
{{- $shared := dig "kafka" "properties" dict .Values.config | default dict }}
{{- merge (dict) $own $shared | toYaml }}
{{- end }}

{{- /* The worker's configuration: `config`, plus the settings that follow from the chart's other values. */}}
{{- define "dorfman.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $tls := .Values.credentials.tls }}
{{- if $tls.secret }}
{{- $files := dict }}
{{- range $property, $key := dict "ssl.ca.location" $tls.caKey "ssl.certificate.location" $tls.certKey "ssl.key.location" $tls.keyKey }}
{{- with $key }}{{ $_ := set $files $property (printf "/etc/dorfman-tls/%s" .) }}{{ end }}
{{- end }}
{{- $config = mergeOverwrite $config (dict "kafka" (dict "properties" $files)) }}
{{- end }}
{{- if eq .Values.kind "StatefulSet" }}
{{- $properties := include "dorfman.consumerProperties" . | fromYaml }}
{{- if not (or (hasKey $properties "session.timeout.ms") (eq (get $properties "group.protocol") "consumer")) }}
{{- $config = merge $config (dict "source" (dict "properties" (dict "session.timeout.ms" (int64 .Values.staticMembership.sessionTimeoutMs)))) }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}
