{{/* The name of all objects: the release's, which is `apicred` in the docs. */}}
{{- define "apicred.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "apicred.serviceAccount" -}}
{{- default (include "apicred.name" .) .Values.serviceAccount.name -}}
{{- end }}

{{/* What a selector may use: these never change in an upgrade. */}}
{{- define "apicred.selector" -}}
app.kubernetes.io/name: apicred
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "apicred.labels" -}}
{{ include "apicred.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "apicred.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}
