{{/*
Values that Kubernetes accepts, but that break the operator later or have no effect. Each problem names its value and the fix; all are
reported at once. The operator refuses most of them too, but here `helm upgrade` fails, and not the new pods. tests/chart/checks.rs compares the two.
*/}}
{{- define "apicred.checks" -}}
{{- $found := "" -}}
{{- range tuple "image" "names" "addresses" "proxy" "arguments" "variables" "pods" "monitors" -}}
{{- $found = include (print "apicred.check." .) $ | print $found -}}
{{- end -}}
{{- with trim $found -}}{{- fail (print "these values do not work:\n" .) -}}{{- end -}}
{{- end }}

{{- define "apicred.check.image" -}}
{{- $host := "([a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?|\\[[0-9a-fA-F:]+\\])(:[0-9]+)?" -}}
{{- $path := "[a-z0-9]+(([.]|_{1,2}|-+)[a-z0-9]+)*" -}}
{{- with .Values.image -}}
{{- if not (regexMatch (printf "^(%s/)?%s(/%s)*$" $host $path $path) .repository) -}}
{{- printf "image.repository: %q is not the name of an image; write it as ghcr.io/apicred/apicred, without https://, and put tag and digest into image.tag and image.digest\n" .repository -}}
{{- end -}}
{{- if not (regexMatch "^([a-zA-Z0-9_][-.a-zA-Z0-9_]{0,127})?$" .tag) -}}
{{- printf "image.tag: %q is not a tag; write it as 1.2.3, and put a digest into image.digest\n" .tag -}}
{{- end -}}
{{- end -}}
{{- with .Values.global.imageRegistry -}}
{{- if not (regexMatch (printf "^%s(/%s)*/?$" $host $path) .) -}}
{{- printf "global.imageRegistry: %q is not a registry; write it as registry.example.com:5000, without https://\n" . -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "apicred.check.names" -}}
{{- $name := "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" -}}
{{- range include "apicred.pullSecrets" . | fromYaml | values | first -}}
{{- if not (regexMatch $name (toString .name)) -}}
{{- printf "imagePullSecrets: %q is not the name of a Secret; write small letters, digits, - and .\n" (default "" .name) -}}
{{- end -}}
{{- end -}}
{{- range keys .Values.issuers | sortAlpha -}}
{{- if not (regexMatch $name .) -}}
{{- printf "issuers: %q is not a name for a ClusterTokenIssuer; write small letters, digits, - and .\n" . -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "apicred.check.addresses" -}}
{{- range $network := .Values.allowCidrs -}}
{{- if not (include "apicred.isNetwork" .) -}}
{{- printf "allowCidrs: %q is not a network; write it as 10.20.0.0/16 or fd00:1234::/32\n" . -}}
{{- else if not $.Values.allowWideCidrs -}}
{{- with include "apicred.tooWide" . -}}
{{- printf "allowCidrs: %s %s; name smaller networks, or accept this with allowWideCidrs=true\n" $network . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $listen := .Values.listenAddress -}}
{{- $v6 := and (hasPrefix "[" $listen) (hasSuffix "]" $listen) | ternary (trimAll "[]" $listen) "" -}}
{{- $bits := include "apicred.bits" (default $listen $v6) -}}
{{- if ne (len $bits) (ternary 128 32 (ne $v6 "")) -}}
{{- printf "listenAddress: %q is not an address; write 0.0.0.0, or \"[::]\" for IPv6, and the port into metrics.port\n" $listen -}}
{{- else if and (or (hasPrefix "01111111" $bits) (eq $v6 "::1")) (not (and .Values.livenessProbe .Values.readinessProbe)) -}}
{{- printf "listenAddress: the kubelet cannot reach the probes at %q; write 0.0.0.0, or set livenessProbe and readinessProbe as well\n" $listen -}}
{{- end -}}
{{- range .Values.targetMetadata.allow -}}
{{- if regexMatch "^(.*[.])?(kubernetes[.]io|k8s[.]io|apicred[.]dev|argoproj[.]io|fluxcd[.]io)/" . -}}
{{- printf "targetMetadata.allow: %q cannot be allowed, because keys of kubernetes.io, k8s.io, apicred.dev, argoproj.io and fluxcd.io belong to their owners; remove it\n" . -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* No message contains a part of the URL, because it may contain a password. */}}
{{- define "apicred.check.proxy" -}}
{{- $port := "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?" -}}
{{- with .Values.issuerProxy.url -}}
{{- $host := regexReplaceAll "^https?://" . "" | trimSuffix "/" -}}
{{- $host = regexReplaceAll (print $port "$") $host "" -}}
{{- if contains "@" . -}}
{{- print "issuerProxy.url: a URL with a user or a password does not belong into values; put it into a Secret and set issuerProxy.existingSecret.name\n" -}}
{{- else if not (and (regexMatch "^https?://" .) (include "apicred.isHost" $host)) -}}
{{- print "issuerProxy.url: it is not the URL of a proxy; write it as http://proxy.example:3128, with http:// or https:// and nothing after the port\n" -}}
{{- end -}}
{{- end -}}
{{- range .Values.issuerProxy.noProxy -}}
{{- $host := regexReplaceAll (print $port "$") . "" -}}
{{- $name := regexReplaceAll "^[*]?[.]" $host "" -}}
{{- /* An address has no suffix. */ -}}
{{- $isHost := and (include "apicred.isHost" $name) (or (eq $name $host) (not (include "apicred.bits" (trimAll "[]." $name)))) -}}
{{- if not (or (eq . "*") (include "apicred.bits" .) $isHost (include "apicred.isNetwork" .)) -}}
{{- printf "issuerProxy.noProxy: %q is neither a host name, a .suffix, an address nor a network; write example.com, .svc, 10.1.2.3:8443 or 10.0.0.0/8, without https://\n" . -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "apicred.check.arguments" -}}
{{- /* TARGET[SPAN{FIELD=VALUE}]=LEVEL, of which a target or a span is enough. The operator reads a value as a regular expression. */ -}}
{{- $span := "\\[[^\\]{\\s]*(\\{[^}\\s]+\\})?\\]" -}}
{{- $target := printf "([-:_\\p{L}\\p{N}][^=\\[\\s]*(%s)?|%s)=" $span $span -}}
{{- $level := printf "(?i)^(%s|\\s*)(off|error|warn|info|debug|trace|[0-5])$" $target -}}
{{- range splitList "," .Values.log.filter -}}
{{- $value := regexFind "\\{[^}]*" . | splitList "=" | rest | join "=" | splitList "=" | first -}}
{{- if not (or (empty .) (and (regexMatch $level .) (regexMatch (print "|" $value) ""))) -}}
{{- printf "log.filter: %q is neither a level nor TARGET=LEVEL; write info or info,apicred=debug without blanks; levels are off, error, warn, info, debug and trace\n" . -}}
{{- end -}}
{{- end -}}
{{- $flags := list
  "admin-listen" "allow-cidr" "allow-wide-cidrs" "arc-folder" "azure-client-id" "ca-file" "cluster-issuers"
  "concurrency" "entra-clouds" "fast-rotations" "federated-token-file" "help" "identity-endpoint"
  "identity-header" "instance" "instance-file" "issuer-checks" "issuer-no-proxy" "issuer-proxy" "leader-elect"
  "lease-name" "log-filter" "log-format" "metrics-per-credential" "namespace" "notify-pods-role" "otlp-endpoint"
  "service-account" "target-keys-allowed" "watch-namespace" -}}
{{- /* Flags on which other objects of the chart depend (ports, Roles, the Lease), and the values for them. */ -}}
{{- $owned := dict
  "admin-listen" "listenAddress and metrics.port"
  "cluster-issuers" "clusterIssuers"
  "help" ""
  "instance" ""
  "instance-file" ""
  "leader-elect" ""
  "lease-name" "fullnameOverride"
  "namespace" ""
  "notify-pods-role" "notifyPods.create"
  "service-account" "serviceAccount.name"
  "watch-namespace" "watchNamespaces" -}}
{{- $plain := list "allow-wide-cidrs" "fast-rotations" "metrics-per-credential" -}}
{{- $before := "" -}}
{{- range .Values.extraArgs -}}
{{- $flag := regexFind "^--[^=]+" . | trimPrefix "--" -}}
{{- $of := default $before $flag -}}
{{- $isValue := or (eq $flag "") (contains "=" .) -}}
{{- $text := regexReplaceAll "^--[^=]+=" . "" -}}
{{- if and $flag (not (has $flag $flags)) -}}
{{- printf "extraArgs: the operator has no flag --%s; the flags are listed by `apicred run --help`\n" $flag -}}
{{- else if and $flag (hasKey $owned $flag) -}}
{{- printf "extraArgs: --%s belongs to the chart; remove it here" $flag -}}
{{- with get $owned $flag -}}{{- printf ", and use the value %s" . -}}{{- end -}}
{{- print "\n" -}}
{{- else if not $of -}}
{{- printf "extraArgs: %q does not begin with -- and belongs to no flag; write --FLAG=VALUE\n" . -}}
{{- else if and $isValue (has $of $plain) -}}
{{- printf "extraArgs: --%s has no value; write it alone\n" $of -}}
{{- else if and $isValue (has $of (list "otlp-endpoint" "identity-endpoint")) (not (regexMatch "^https?://[^/?#@\\s]+(/[^?#\\s]*)?$" $text)) -}}
{{- printf "extraArgs: the value of --%s is not a URL; write it as http://HOST:PORT\n" $of -}}
{{- end -}}
{{- $before = ternary $flag "" (and (ne $flag "") (not (contains "=" .)) (not (has $flag $plain))) -}}
{{- end -}}
{{- if and (has $before $flags) (not (hasKey $owned $before)) -}}
{{- printf "extraArgs: --%s has no value; write --%s=VALUE\n" $before $before -}}
{{- end -}}
{{- end }}

{{- define "apicred.check.variables" -}}
{{- /* The variables of the operator, and the values that set them. Without a value: for extraEnv. */ -}}
{{- $known := dict
  "APICRED_ADMIN_LISTEN" "listenAddress and metrics.port"
  "APICRED_ALLOW_CIDR" "allowCidrs"
  "APICRED_ALLOW_WIDE_CIDRS" "allowWideCidrs"
  "APICRED_ARC_FOLDER" ""
  "APICRED_CA_FILE" "caBundle"
  "APICRED_CLUSTER_ISSUERS" "clusterIssuers"
  "APICRED_CONCURRENCY" "concurrency"
  "APICRED_ENTRA_CLOUDS" "entraClouds"
  "APICRED_INSTANCE_FILE" ""
  "APICRED_ISSUER_CHECKS" "issuerChecks"
  "APICRED_ISSUER_NO_PROXY" "issuerProxy.noProxy"
  "APICRED_ISSUER_PROXY" "issuerProxy"
  "APICRED_LEADER_ELECT" ""
  "APICRED_LEASE_NAME" "fullnameOverride"
  "APICRED_LOG_FILTER" "log.filter"
  "APICRED_LOG_FORMAT" "log.format"
  "APICRED_METRICS_PER_CREDENTIAL" "metrics.perCredential"
  "APICRED_NOTIFY_PODS_ROLE" "notifyPods.create"
  "APICRED_TARGET_KEYS_ALLOWED" "targetMetadata.allow"
  "APICRED_WATCH_NAMESPACES" "watchNamespaces" -}}
{{- $set := list -}}
{{- range include "apicred.env" . | fromYamlArray -}}{{- $set = append $set .name -}}{{- end -}}
{{- /* Variables on which other objects of the chart depend (ports, Roles, the Lease), also if they are not set now. */ -}}
{{- $depends := list "APICRED_ADMIN_LISTEN" "APICRED_CLUSTER_ISSUERS" "APICRED_LEADER_ELECT" "APICRED_LEASE_NAME" "APICRED_NOTIFY_PODS_ROLE" "APICRED_WATCH_NAMESPACES" -}}
{{- $own := list -}}
{{- range .Values.extraEnv -}}
{{- if and (hasPrefix "APICRED_" .name) (not (hasKey $known .name)) -}}
{{- printf "extraEnv: the operator has no variable %s; its variables are %s\n" .name (keys $known | sortAlpha | join ", ") -}}
{{- else if has .name $set -}}
{{- printf "extraEnv: the chart sets %s; remove it here" .name -}}
{{- with get $known .name -}}{{- printf ", and use the value %s" . -}}{{- end -}}
{{- print "\n" -}}
{{- else if has .name $depends -}}
{{- printf "extraEnv: %s belongs to the chart; remove it here" .name -}}
{{- with get $known .name -}}{{- printf ", and use the value %s" . -}}{{- end -}}
{{- print "\n" -}}
{{- else if has .name $own -}}
{{- printf "extraEnv: %s is set twice; remove one\n" .name -}}
{{- end -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- end }}

{{- define "apicred.check.pods" -}}
{{- $both := merge dict .Values.securityContext .Values.podSecurityContext -}}
{{- if and $both.runAsNonRoot (hasKey $both "runAsUser") (eq (toString $both.runAsUser) "0") -}}
{{- print "podSecurityContext, securityContext: with runAsNonRoot=true the kubelet does not start a container with runAsUser=0; set another user\n" -}}
{{- end -}}
{{- end }}

{{- define "apicred.check.monitors" -}}
{{- range tuple "serviceMonitor" "podMonitor" -}}
{{- $monitor := index $.Values . -}}
{{- if and $monitor.enabled (gt (include "apicred.milliseconds" $monitor.scrapeTimeout | int) (include "apicred.milliseconds" $monitor.interval | int)) -}}
{{- printf "%s.scrapeTimeout: %s is more than the interval of %s, and the Prometheus operator then ignores the %s; make it shorter\n" . $monitor.scrapeTimeout $monitor.interval (title .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A duration of Prometheus, in milliseconds. */}}
{{- define "apicred.milliseconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 -}}
{{- $unit := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+" .) -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int) $unit) -}}
{{- end -}}
{{- $sum -}}
{{- end }}
