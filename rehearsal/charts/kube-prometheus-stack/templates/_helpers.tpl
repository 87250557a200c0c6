{{- define "stack.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 26 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-kube-prometheus-stack" .Release.Name | trunc 26 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- /* Image of a part: list of its values, and of the chart's context. */ -}}
{{- define "stack.image" -}}
{{- $image := index . 0 -}}
{{- $tag := $image.tag | default (index . 1).Chart.AppVersion -}}
{{ $image.registry }}/{{ $image.repository }}:{{ $tag }}{{ with $image.sha }}@sha256:{{ . }}{{ end }}
{{- end -}}

{{- /* Labels that the published chart gives, of a part by its name. */ -}}
{{- define "stack.labels" -}}
app: kube-prometheus-stack-{{ index . 0 }}
release: {{ (index . 1).Release.Name }}
heritage: {{ (index . 1).Release.Service }}
app.kubernetes.io/instance: {{ (index . 1).Release.Name }}
app.kubernetes.io/part-of: kube-prometheus-stack
{{- end -}}

{{- /* Which objects Prometheus sees: every one, or those of this release. */ -}}
{{- define "stack.selector" -}}
{{- if index . 0 }}
matchLabels:
  release: {{ (index . 1).Release.Name }}
{{- else }}
{}
{{- end }}
{{- end -}}

{{- define "stack.closed" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "stack.nobody" -}}
fsGroup: 65534
runAsGroup: 65534
runAsNonRoot: true
runAsUser: 65534
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "stack.pod" -}}
runAsGroup: 2000
runAsNonRoot: true
runAsUser: 1000
fsGroup: 2000
seccompProfile:
  type: RuntimeDefault
{{- end -}}
