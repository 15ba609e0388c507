{{- define "traefik-proxy.release" -}}
{{ .Values.jupyterhub.release | default .Release.Name }}
{{- end }}

{{- define "traefik-proxy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "traefik-proxy.labels" -}}
{{ include "traefik-proxy.selector" . }}
app.kubernetes.io/part-of: jupyterhub
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* The labels by which Zero to JupyterHub finds its pods of one kind. */}}
{{- define "traefik-proxy.jupyterhub" -}}
app: {{ .Values.jupyterhub.app | quote }}
release: {{ include "traefik-proxy.release" . | quote }}
component: {{ .component }}
{{- end }}

{{- define "traefik-proxy.etcd" -}}
{{ .Values.fullnameOverride }}-etcd
{{- end }}

{{- /* The names of the members of etcd, as JSON. */}}
{{- define "traefik-proxy.members" -}}
{{- $etcd := include "traefik-proxy.etcd" . -}}
{{- $names := list -}}
{{- range until 3 -}}
{{- $names = append $names (printf "%s-%d.%s.%s.svc" $etcd . $etcd $.Release.Namespace) -}}
{{- end -}}
{{ toJson $names }}
{{- end }}

{{- /* The URLs of etcd for the Hub and the replicas, as JSON. */}}
{{- define "traefik-proxy.endpoints" -}}
{{- if .Values.etcd.enabled -}}
{{- $urls := list -}}
{{- range include "traefik-proxy.members" . | fromJsonArray -}}
{{- $urls = append $urls (printf "https://%s:2379" .) -}}
{{- end -}}
{{ toJson $urls }}
{{- else -}}
{{ toJson .Values.etcd.endpoints }}
{{- end -}}
{{- end }}

{{- /* The Secret with the certificate that the Hub and the replicas show to etcd; empty if there is none. */}}
{{- define "traefik-proxy.clientSecret" -}}
{{- if .Values.etcd.tls.existingSecret -}}
{{ .Values.etcd.tls.existingSecret }}
{{- else if .Values.etcd.enabled -}}
{{ include "traefik-proxy.etcd" . }}-client
{{- end -}}
{{- end }}

{{- /* Where the Hub and the replicas have its files. */}}
{{- define "traefik-proxy.etcdFiles" -}}
/etc/traefik-proxy/etcd
{{- end }}

{{- define "traefik-proxy.showsCertificate" -}}
{{- if and (include "traefik-proxy.clientSecret" .) (or .Values.etcd.enabled .Values.etcd.tls.clientCertificate) -}}
yes
{{- end -}}
{{- end }}

{{- /* Of all pods: no user is root, and nobody asks Kubernetes for anything. */}}
{{- define "traefik-proxy.pod" -}}
automountServiceAccountToken: false
# Otherwise a Service with the name traefik would set variables that Traefik reads as settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "traefik-proxy.selector" $ | nindent 8 }}
  {{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "traefik-proxy.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* What Traefik is told about port 8000 when port 8443 has https. */}}
{{- define "traefik-proxy.redirect" -}}
entryPoints:
  https:
    # A router that names no entry point is for this one alone.
    asDefault: true
  http:
    address: ":8000"
    http:
      # The path is kept as it is.
      sanitizePath: false
      redirections:
        entryPoint: {to: ":443", scheme: https, permanent: false}
{{- end }}
