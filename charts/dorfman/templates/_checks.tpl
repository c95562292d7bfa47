{{- /* Refuses values that the schema cannot check and that would fail only at the first rollout. */}}
{{- define "dorfman.check" -}}
{{- include "dorfman.check.worker" . }}
{{- include "dorfman.check.secrets" . }}
{{- include "dorfman.check.bundle" . }}
{{- include "dorfman.check.replicas" . }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled: enable only one of them, or every worker is scraped twice" }}
{{- end }}
{{- end }}

{{- define "dorfman.check.worker" -}}
{{- $deadline := include "dorfman.deadline" . | int }}
{{- $grace := include "dorfman.gracePeriod" . | int }}
{{- if le $grace (mul 2 $deadline) }}
{{- fail (printf "terminationGracePeriodSeconds is %d: it must be longer than twice config.shutdown.deadline (%d s), for the drain and the last flush; leave it out, and it will be %d" $grace $deadline (add (mul 2 $deadline) 5)) }}
{{- end }}
{{- $provider := dig "model" "provider" "cpu" .Values.config }}
{{- if and (ne $provider "cpu") (eq (int .Values.gpu.count) 0) (not (dig "model" "allow_cpu" false .Values.config)) }}
{{- fail (printf "config.model.provider is %s: set gpu.count to 1" $provider) }}
{{- end }}
{{- if and (eq $provider "cpu") (gt (int .Values.gpu.count) 0) }}
{{- fail "gpu.count is 1, but config.model.provider is cpu: set it to cuda or tensorrt, or the GPU stays idle" }}
{{- end }}
{{- $listen := dig "ops" "listen" "" .Values.config }}
{{- if not (regexMatch ":[0-9]{1,5}$" $listen) }}
{{- fail (printf "config.ops.listen is %q: it must be an address and a port, such as 0.0.0.0:9464" $listen) }}
{{- end }}
{{- if regexMatch "^(127\\.|\\[::1\\]|localhost)" $listen }}
{{- fail "config.ops.listen must not be a loopback address, since the probes come from outside the pod: use 0.0.0.0" }}
{{- end }}
{{- if and (eq .Values.kind "StatefulSet") (has (get .Values.strategy "type") (list "Recreate")) }}
{{- fail "strategy.type is Recreate, which only a Deployment has: for kind StatefulSet use RollingUpdate or OnDelete" }}
{{- end }}
{{- if and (eq .Values.kind "Deployment") (eq (get .Values.strategy "type") "OnDelete") }}
{{- fail "strategy.type is OnDelete, which only a StatefulSet has: for kind Deployment use RollingUpdate or Recreate" }}
{{- end }}
{{- if hasKey (include "dorfman.consumerProperties" . | fromYaml) "group.instance.id" }}
{{- fail "config: group.instance.id must differ between workers: use kind StatefulSet, where it is the name of the pod" }}
{{- end }}
{{- end }}

{{- /* Refuses secrets in `config`, which is stored in a ConfigMap. */}}
{{- define "dorfman.check.secrets" -}}
{{- $places := dict "kafka" "credentials.sasl, or extraEnv with a secretKeyRef" "source" "extraEnv with a secretKeyRef" "sink" "extraEnv with a secretKeyRef" }}
{{- range $section, $instead := $places }}
{{- range $property, $_ := dig $section "properties" dict $.Values.config | default dict }}
{{- if has $property (list "sasl.password" "ssl.key.password" "ssl.key.pem" "ssl.keystore.password" "sasl.oauthbearer.client.secret" "sasl.oauthbearer.config") }}
{{- fail (printf "config.%s.properties.%s would be readable in a ConfigMap: use %s" $section $property $instead) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.credentials.tls.secret (ne (empty .Values.credentials.tls.certKey) (empty .Values.credentials.tls.keyKey)) }}
{{- fail "credentials.tls: set both certKey and keyKey for a client certificate, or neither" }}
{{- end }}
{{- if .Values.credentials.sasl.secret }}
{{- $protocol := get (include "dorfman.consumerProperties" . | fromYaml) "security.protocol" | lower }}
{{- if not (hasPrefix "sasl_" $protocol) }}
{{- fail "credentials.sasl.secret is set: set config.kafka.properties.\"security.protocol\" to sasl_ssl (or sasl_plaintext), or it is not used" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dorfman.check.bundle" -}}
{{- $sources := list }}
{{- if .Values.bundle.volume }}{{ $sources = append $sources "bundle.volume" }}{{ end }}
{{- if .Values.bundle.image.reference }}{{ $sources = append $sources "bundle.image.reference" }}{{ end }}
{{- if .Values.bundle.download.image }}{{ $sources = append $sources "bundle.download.image" }}{{ end }}
{{- if gt (len $sources) 1 }}
{{- fail (printf "%s: set only one of them as the source of the bundle" (join " and " $sources)) }}
{{- end }}
{{- $bundle := dig "model" "bundle" "" .Values.config }}
{{- if and $sources (not (hasPrefix (printf "%s/" (trimSuffix "/" .Values.bundle.mountPath)) (printf "%s/" $bundle))) }}
{{- fail (printf "config.model.bundle is %q, but %s puts bundles in %s: set it to a folder there" $bundle (first $sources) .Values.bundle.mountPath) }}
{{- end }}
{{- end }}

{{- define "dorfman.check.replicas" -}}
{{- $partitions := int (default 0 .Values.topicPartitions) }}
{{- if .Values.keda.enabled }}
{{- if not $partitions }}
{{- fail "keda.enabled needs topicPartitions, the number of partitions of config.source.topic: more workers than that stay idle" }}
{{- end }}
{{- $most := int (default $partitions .Values.keda.maxReplicas) }}
{{- if gt $most $partitions }}
{{- fail (printf "keda.maxReplicas is %d, but the topic has %d partitions (topicPartitions): more workers than that stay idle" $most $partitions) }}
{{- end }}
{{- if gt (int .Values.keda.minReplicas) $most }}
{{- fail (printf "keda.minReplicas is %d: it must be at most %d, the largest number of workers" (int .Values.keda.minReplicas) $most) }}
{{- end }}
{{- else if and $partitions (gt (int .Values.replicaCount) $partitions) }}
{{- fail (printf "replicaCount is %d, but the topic has %d partitions (topicPartitions): more workers than that stay idle" (int .Values.replicaCount) $partitions) }}
{{- end }}
{{- end }}
