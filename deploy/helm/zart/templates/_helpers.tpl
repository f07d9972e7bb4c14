{{- /* Labels of one component: dict "root" $ "component" "server". */}}
{{- define "zart.selector" -}}
app.kubernetes.io/name: zart
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "zart.labels" -}}
{{ include "zart.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "zart.image" -}}
{{ .Values.image.name }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "zart.server" -}}
{{ .Release.Name }}-server
{{- end }}

{{- define "zart.serverName" -}}
{{ .Values.tls.serverName | default (include "zart.server" .) }}
{{- end }}

{{- /* Of every pod: it calls no API of Kubernetes, is nobody and writes nothing, but for /tmp of a dispatcher. */}}
{{- define "zart.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "zart.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* Settings as they are given: a map of names and values. */}}
{{- define "zart.settings" -}}
{{- range $name, $value := . }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{- /* A setting of servers that is a number of seconds, rounded up: dict "root" $ "name" "otherwise" what it is by
default. */}}
{{- define "zart.seconds" -}}
{{- $settings := .root.Values.server.settings | default dict }}
{{- hasKey $settings .name | ternary (get $settings .name) .otherwise | float64 | ceil | int }}
{{- end }}

{{- /* Where spans go, if anywhere. */}}
{{- define "zart.tracing" -}}
{{- with .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{- /* Settings of what calls the server: by the name that is in its certificate. */}}
{{- define "zart.caller" -}}
- {name: ZART_ADDRESS, value: {{ printf "%s:50051" (include "zart.serverName" .) | quote }}}
{{- if .Values.tls.secret }}
- {name: ZART_TLS_CA, value: /etc/zart/tls/ca.crt}
{{- end }}
{{- if .Values.insecure }}
- {name: ZART_INSECURE, value: "1"}
{{- end }}
{{- end }}

{{- /* By which names a gateway is called: those of its Service, and what the values say. */}}
{{- define "zart.gatewayHosts" -}}
{{- $name := printf "%s-gateway" .Release.Name }}
{{- $within := printf "%s.%s" $name .Release.Namespace }}
{{- $names := list $name $within (printf "%s.svc" $within) (printf "%s.svc.cluster.local" $within) }}
{{- with .Values.gateway.hosts }}
{{- $names = append $names . }}
{{- end }}
{{- join "," $names }}
{{- end }}

{{- /* The replicas in the manifest of what an autoscaler scales, if any: dict "root" $ "name" of the
Deployment, "least" of the autoscaler. Of a number that was in the last manifest and is gone from this one
Kubernetes makes 1. So what had one before the autoscaler goes on to have one, that of the pods that there
are, and an annotation tells the next upgrade so. */}}
{{- define "zart.kept" -}}
{{- $namespace := .root.Release.Namespace }}
{{- $there := lookup "apps/v1" "Deployment" $namespace .name }}
{{- if $there }}
{{- $scaler := lookup "autoscaling/v2" "HorizontalPodAutoscaler" $namespace .name }}
{{- if or (not $scaler) (hasKey ($there.metadata.annotations | default dict) "zart/replicas") }}
{{- max $there.spec.replicas .least }}
{{- end }}
{{- end }}
{{- end }}

{{- define "zart.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "zart.selector" . | nindent 8 }}
{{- end }}

{{- /* Refuses what could not start, or would be open to anybody or to nobody, with one sentence. */}}
{{- define "zart.check" -}}
{{- if not .Values.database.secret }}
{{- fail "database.secret: name the secret that has the database's URL" }}
{{- end }}
{{- if not .Values.insecure }}
{{- if not .Values.tls.secret }}
{{- fail "tls.secret: name the secret with certificate and key, or set insecure" }}
{{- end }}
{{- if not (or .Values.auth.tokens.secret .Values.auth.jwks.url) }}
{{- fail "auth.tokens.secret or auth.jwks.url: say who may call, or set insecure" }}
{{- end }}
{{- end }}
{{- with .Values.auth.jwks }}
{{- if and .url (not (and .issuer .audience)) }}
{{- fail "auth.jwks.issuer and auth.jwks.audience: say who issues JWTs, and for whom they are" }}
{{- end }}
{{- if and (or .issuer .audience) (not .url) }}
{{- fail "auth.jwks.url: say where the keys of JWTs are, or leave issuer and audience out" }}
{{- end }}
{{- end }}
{{- if hasKey (.Values.server.settings | default dict) "ZART_DRAIN_NOTICE" }}
{{- fail "server.drainNotice: say it here, not as ZART_DRAIN_NOTICE in server.settings: pods have time to stop by it" }}
{{- end }}
{{- if hasKey (.Values.server.settings | default dict) "ZART_TLS_CLIENT_CA" }}
{{- range $one := .Values.dispatchers }}
{{- $shows := or $one.tlsSecret $one.envFrom (hasKey ($one.settings | default dict) "ZART_TLS_CERT") }}
{{- range $one.env }}
{{- $shows = or $shows (eq .name "ZART_TLS_CERT") }}
{{- end }}
{{- if not $shows }}
{{- fail (printf "dispatchers.tlsSecret: name the secret with a certificate for %s: server.settings has ZART_TLS_CLIENT_CA, by which servers answer nobody without one" $one.name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $one := .Values.dispatchers }}
{{- $named := keys ($one.settings | default dict) }}
{{- range $one.env }}
{{- $named = append $named .name }}
{{- end }}
{{- if has "ZART_CONCURRENCY" $named }}
{{- fail (printf "dispatchers.concurrency: say it here, not as ZART_CONCURRENCY of %s, which would not be heeded" $one.name) }}
{{- end }}
{{- if has "ZART_GRACE" $named }}
{{- fail (printf "dispatchers.graceSeconds: say it here, not as ZART_GRACE of %s: pods have time to stop by it" $one.name) }}
{{- end }}
{{- end }}
{{- if and .Values.metrics.podMonitor .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) }}
{{- fail "networkPolicy.monitoring: say where Prometheus calls from (metrics.podMonitor), or have networkPolicy.enabled: false where a policy of your own lets it in" }}
{{- end }}
{{- end }}
