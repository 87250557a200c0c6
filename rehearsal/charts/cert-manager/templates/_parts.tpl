{{- define "labels" -}}
app: {{ .name }}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "pod" -}}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
serviceAccountName: {{ .name }}
enableServiceLinks: false
nodeSelector:
  kubernetes.io/os: linux
{{- end }}

{{- define "container" -}}
image: "{{ .of.image.repository }}:{{ .of.image.tag }}"
imagePullPolicy: IfNotPresent
env:
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  readOnlyRootFilesystem: true
resources: {{- toYaml .of.resources | nindent 2 }}
{{- end }}
