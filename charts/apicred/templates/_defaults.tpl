{{/*
Sets every value that is null or missing to the default of values.yaml, so that no template meets a nil pointer: after
`helm upgrade --reuse-values` to a chart with a new block, and for a block that a user set to null. A null value without a
default is removed, so that a later values file can remove a label, an issuer, an override or a part of one of an earlier file. Each
file that creates objects begins with it. Templates cannot read values.yaml, so files/ contains a copy (`make chart-docs` writes it).
*/}}
{{- define "apicred.defaults" -}}
{{- include "apicred.fill" (list .Values (.Files.Get "files/values.yaml" | fromYaml)) -}}
{{- include "apicred.renamed" . -}}
{{- end }}

{{/* Takes a list: the given values, which it changes, and the defaults. */}}
{{- define "apicred.fill" -}}
{{- $given := index . 0 -}}
{{- /* Parts of a pod spec: a key of these that a user sets to null is removed. */ -}}
{{- $asGiven := list "resources" "strategy" "podSecurityContext" "securityContext" -}}
{{- range $key, $default := index . 1 -}}
{{- $value := index $given $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $given $key $default -}}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) $default (not (has $key $asGiven)) -}}
{{- include "apicred.fill" (list $value $default) -}}
{{- else if kindIs "map" $value -}}
{{- include "apicred.withoutNulls" $value -}}
{{- end -}}
{{- end -}}
{{- $defaults := index . 1 -}}
{{- range $key, $value := $given -}}
{{- if and (kindIs "invalid" $value) (not (hasKey $defaults $key)) -}}
{{- $_ := unset $given $key -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Removes the keys of a map that are null, at all levels: a limit of null would be a limit of 0. */}}
{{- define "apicred.withoutNulls" -}}
{{- $map := . -}}
{{- range $key, $value := $map -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $map $key -}}
{{- else if kindIs "map" $value -}}
{{- include "apicred.withoutNulls" $value -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Values that were renamed. */}}
{{- define "apicred.renamed" -}}
{{- /* With --reuse-values, the old default `false` is still there. */ -}}
{{- if .Values.metricsPerCredential -}}
{{- fail "metricsPerCredential is now metrics.perCredential: rename it in your values" -}}
{{- end -}}
{{- end }}
