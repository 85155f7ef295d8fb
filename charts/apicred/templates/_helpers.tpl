{{/* The name of all objects: the release name, which is `apicred` in the docs. */}}
{{- define "apicred.name" -}}
{{- $name := default .Release.Name .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the release is named %s, and the name of its Service begins with a letter and has no dots: set fullnameOverride to such a name" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "apicred.serviceAccount" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create=false needs serviceAccount.name: the name of a ServiceAccount that exists" -}}
{{- end -}}
{{- default (include "apicred.name" .) .Values.serviceAccount.name -}}
{{- end }}

{{/*
The release, or the full name: a release whose chart depends on apicred several times, by aliases, has several operators in one namespace, and no
selector of one of them may match the pods of another.
*/}}
{{- define "apicred.instance" -}}
{{- default .Release.Name .Values.fullnameOverride -}}
{{- end }}

{{/* Labels for selectors. They must not change in an upgrade. */}}
{{- define "apicred.selector" -}}
app.kubernetes.io/name: apicred
app.kubernetes.io/instance: {{ include "apicred.instance" . | quote }}
{{- end }}

{{/* Labels of the pod of `helm test`. They differ from those of the operator's pods, so that selectors do not match it. */}}
{{- define "apicred.checkSelector" -}}
app.kubernetes.io/name: apicred-check
app.kubernetes.io/instance: {{ include "apicred.instance" . | quote }}
{{- end }}

{{- define "apicred.labels" -}}
{{ include "apicred.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The same with other labels, which take precedence. Takes a list: the root and a map. */}}
{{- define "apicred.labelsAnd" -}}
{{- merge dict (index . 1) (include "apicred.labels" (index . 0) | fromYaml) | toYaml -}}
{{- end }}

{{- define "apicred.image" -}}
{{- $name := .Values.image.repository -}}
{{- with .Values.global.imageRegistry -}}
{{- /* The first part of a name is a registry if it has a dot or a port. */ -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^[^/]*[.:][^/]*/" $name "") -}}
{{- end -}}
{{ $name }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "apicred.pullSecrets" -}}
{{- $names := list -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name")) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end -}}
{{- end }}

{{/* The security context of pods. OpenShift sets separate ids for each namespace and refuses others. */}}
{{- define "apicred.podSecurityContext" -}}
{{- $context := deepCopy .Values.podSecurityContext -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- range tuple "runAsUser" "runAsGroup" "fsGroup" -}}
{{- if eq (index $context . | int) 65532 -}}
{{- $_ := unset $context . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{ toYaml $context }}
{{- end }}

{{/* A probe with the changes of the user. Takes a list: the probe and the changes. A probe has one handler. */}}
{{- define "apicred.probe" -}}
{{- $probe := index . 0 -}}
{{- with pick (index . 1) "exec" "grpc" "tcpSocket" -}}
{{- $_ := unset $probe "httpGet" -}}
{{- end -}}
{{- mergeOverwrite $probe (index . 1) | toYaml -}}
{{- end }}

{{/* Not empty if requests to issuers use a proxy. */}}
{{- define "apicred.proxied" -}}
{{- $proxy := .Values.issuerProxy -}}
{{- if and $proxy.url $proxy.existingSecret.name -}}
{{- fail "issuerProxy: set url or existingSecret.name, not both; `--set issuerProxy.url=` removes an earlier url" -}}
{{- end -}}
{{- if and $proxy.noProxy (not (or $proxy.url $proxy.existingSecret.name)) -}}
{{- fail "issuerProxy.noProxy needs a proxy: set issuerProxy.url or issuerProxy.existingSecret.name" -}}
{{- end -}}
{{- or $proxy.url $proxy.existingSecret.name | default "" -}}
{{- end }}

{{/* The ports to which the pod may connect, with the port of the proxy if it is known. */}}
{{- define "apicred.egressPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.egressPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- with .Values.issuerProxy.url -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $ports = append $ports (default (ternary "443" "80" (eq $url.scheme "https")) $port | int) -}}
{{- end -}}
{{- range $ports | uniq }}
- port: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}

{{/* The common part of a ServiceMonitor and a PodMonitor. Takes a dict: root, monitor, kind, endpoints. */}}
{{- define "apicred.monitor" -}}
{{- $root := .root -}}
{{- $monitor := .monitor -}}
apiVersion: monitoring.coreos.com/v1
kind: {{ .kind }}
metadata:
  name: {{ include "apicred.name" $root | quote }}
  namespace: {{ default $root.Release.Namespace $monitor.namespace | quote }}
  labels:
    {{- include "apicred.labelsAnd" (list $root $monitor.labels) | nindent 4 }}
  {{- with $monitor.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "apicred.selector" $root | nindent 6 }}
  namespaceSelector:
    matchNames: [{{ $root.Release.Namespace | quote }}]
  {{ .endpoints }}:
    - port: http
      path: /metrics
      interval: {{ $monitor.interval }}
      {{- with $monitor.scrapeTimeout }}
      scrapeTimeout: {{ . }}
      {{- end }}
      honorLabels: {{ $monitor.honorLabels }}
      {{- with $monitor.relabelings }}
      relabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $monitor.metricRelabelings }}
      metricRelabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
