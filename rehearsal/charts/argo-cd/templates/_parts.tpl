{{- define "labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: argocd
{{- end }}

{{- define "selected" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "workload" -}}
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
spec:
  replicas: {{ .of.replicas | default 1 }}
  selector:
    matchLabels: {{- include "selected" . | nindent 6 }}
  {{- if .stateful }}
  serviceName: {{ .name }}
  {{- end }}
  template:
    metadata:
      labels: {{- include "labels" . | nindent 8 }}
      annotations:
        # Programs read some of their settings only once.
        leasehold/settings: {{ toJson .root.Values | sha256sum }}
    spec:
      serviceAccountName: {{ .name }}
      automountServiceAccountToken: {{ ne (toString .of.automountServiceAccountToken) "false" }}
      enableServiceLinks: false
      containers:
        - name: {{ .component }}
          image: "{{ .root.Values.global.image.repository }}:{{ .root.Values.global.image.tag }}"
          imagePullPolicy: IfNotPresent
          args:
            - /usr/local/bin/{{ .program }}
            {{- range .args }}
            - {{ . | quote }}
            {{- end }}
          env:
            - name: NAMESPACE
              valueFrom:
                fieldRef:
                  fieldPath: metadata.namespace
            - name: POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
            - name: REDIS_SERVER
              value: argocd-redis:6379
            - name: REDIS_PASSWORD
              valueFrom:
                secretKeyRef:
                  name: argocd-redis
                  key: auth
            - name: ARGOCD_GPG_ENABLED
              value: "false"
            - name: XDG_CONFIG_HOME
              value: /tmp
            - name: HELM_CACHE_HOME
              value: /tmp
            {{- range $key, $value := .environment }}
            - name: {{ $key }}
              value: {{ $value | quote }}
            {{- end }}
          ports:
            {{- range $port, $number := .ports }}
            - name: {{ $port }}
              containerPort: {{ $number }}
            {{- end }}
          readinessProbe:
            httpGet:
              path: /healthz
              port: {{ .health }}
            initialDelaySeconds: 2
            periodSeconds: 5
            timeoutSeconds: 5
          securityContext:
            runAsNonRoot: true
            runAsUser: 999
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            seccompProfile:
              type: RuntimeDefault
            capabilities:
              drop: [ALL]
          resources: {{- toYaml .of.resources | nindent 12 }}
          volumeMounts:
            - { name: tmp, mountPath: /tmp }
            - { name: ssh-known-hosts, mountPath: /app/config/ssh }
            - { name: tls-certs, mountPath: /app/config/tls }
      volumes:
        - name: tmp
          emptyDir: {}
        - name: ssh-known-hosts
          configMap: { name: argocd-ssh-known-hosts-cm }
        - name: tls-certs
          configMap: { name: argocd-tls-certs-cm }
{{- end }}

{{- define "account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
{{- end }}

{{- define "service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .service }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
spec:
  selector: {{- include "selected" . | nindent 4 }}
  ports:
    {{- range $port, $numbers := .serves }}
    - name: {{ $port }}
      port: {{ index $numbers 0 }}
      targetPort: {{ index $numbers 1 }}
    {{- end }}
{{- end }}

{{- define "metrics" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .metrics }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    app.kubernetes.io/name: {{ .metrics }}
    app.kubernetes.io/instance: {{ .root.Release.Name }}
    app.kubernetes.io/component: {{ .component }}
    app.kubernetes.io/part-of: argocd
spec:
  selector: {{- include "selected" . | nindent 4 }}
  ports:
    - name: http-metrics
      port: {{ .measured }}
      targetPort: {{ .measured }}
{{- end }}
