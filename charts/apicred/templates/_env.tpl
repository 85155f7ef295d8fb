{{/* The variables of the operator that the chart sets. */}}
{{- define "apicred.env" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_SERVICE_ACCOUNT
  valueFrom:
    fieldRef:
      fieldPath: spec.serviceAccountName
{{- if and .Values.rbac.create .Values.notifyPods.create }}
- name: APICRED_NOTIFY_PODS_ROLE
  value: {{ printf "%s-notify-pods" (include "apicred.name" .) | quote }}
{{- end }}
- name: APICRED_ADMIN_LISTEN
  value: {{ printf "%s:%d" .Values.listenAddress (int .Values.metrics.port) | quote }}
- name: APICRED_CONCURRENCY
  value: {{ .Values.concurrency | quote }}
- name: APICRED_LEADER_ELECT
  value: "true"
- name: APICRED_LEASE_NAME
  value: {{ include "apicred.name" . | quote }}
# In a volume of the pod: a restarted container takes over the Lease of the previous process at once.
- name: APICRED_INSTANCE_FILE
  value: /run/apicred/instance
- name: APICRED_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
- name: APICRED_LOG_FILTER
  value: {{ .Values.log.filter | quote }}
{{- with .Values.watchNamespaces }}
- name: APICRED_WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- if $.Values.clusterIssuers }}
- name: APICRED_CLUSTER_ISSUERS
  value: "true"
{{- end }}
{{- end }}
{{- with .Values.allowCidrs }}
- name: APICRED_ALLOW_CIDR
  value: {{ join "," . | quote }}
{{- end }}
{{- if .Values.allowWideCidrs }}
- name: APICRED_ALLOW_WIDE_CIDRS
  value: "true"
{{- end }}
{{- if not .Values.issuerChecks }}
- name: APICRED_ISSUER_CHECKS
  value: "false"
{{- end }}
- name: APICRED_ENTRA_CLOUDS
  value: {{ .Values.entraClouds | join "," | quote }}
{{- with .Values.targetMetadata.allow }}
- name: APICRED_TARGET_KEYS_ALLOWED
  value: {{ join "," . | quote }}
{{- end }}
{{- if include "apicred.proxied" . }}
- name: APICRED_ISSUER_PROXY
  {{- if .Values.issuerProxy.url }}
  value: {{ .Values.issuerProxy.url | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.issuerProxy.existingSecret.name | quote }}
      key: {{ .Values.issuerProxy.existingSecret.key | quote }}
  {{- end }}
{{- with .Values.issuerProxy.noProxy }}
- name: APICRED_ISSUER_NO_PROXY
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: APICRED_CA_FILE
  value: {{ printf "/etc/apicred/ca/%s" .Values.caBundle.key | quote }}
{{- end }}
{{- if .Values.metrics.perCredential }}
- name: APICRED_METRICS_PER_CREDENTIAL
  value: "true"
{{- end }}
{{- end }}
