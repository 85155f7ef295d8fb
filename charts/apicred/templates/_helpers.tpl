{{/* The name of all objects: the release name, which is `apicred` in the docs. */}}
{{- define "apicred.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "apicred.serviceAccount" -}}
{{- default (include "apicred.name" .) .Values.serviceAccount.name -}}
{{- end }}

{{/* Labels for selectors. They must not change in an upgrade. */}}
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

{{/* Not empty if requests to issuers use a proxy. */}}
{{- define "apicred.proxied" -}}
{{- $proxy := default dict .Values.issuerProxy -}}
{{- $secret := (default dict $proxy.existingSecret).name -}}
{{- if and $proxy.url $secret -}}
{{- fail "issuerProxy: set url or existingSecret.name, not both" -}}
{{- end -}}
{{- if and $proxy.noProxy (not (or $proxy.url $secret)) -}}
{{- fail "issuerProxy.noProxy needs a proxy: set issuerProxy.url or issuerProxy.existingSecret.name" -}}
{{- end -}}
{{- or $proxy.url $secret | default "" -}}
{{- end }}

{{/* The ports to which the pod may connect, with the port of the proxy if it is known. */}}
{{- define "apicred.egressPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.egressPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- with (default dict .Values.issuerProxy).url -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $ports = append $ports (default (ternary "443" "80" (eq $url.scheme "https")) $port | int) -}}
{{- end -}}
{{- range $ports | uniq }}
- port: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}
