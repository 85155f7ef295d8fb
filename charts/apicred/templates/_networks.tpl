{{/*
Functions for networks, which templates do not have. The operator has the same rules (core/src/credential/addresses.rs), and
tests/chart/checks.rs compares them.
*/}}

{{/* The bits of an address, as a text of 32 or 128 digits. Empty if it is not an address. */}}
{{- define "apicred.bits" -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" -}}
{{- $v4 := printf "(%s[.]){3}%s$" $byte $byte -}}
{{- if regexMatch (print "^" $v4) . -}}
{{- range splitList "." . -}}{{- printf "%08b" (int .) -}}{{- end -}}
{{- else -}}
{{- $text := . -}}
{{- /* An IPv4 address at the end replaces two groups. */ -}}
{{- with regexFind (print ":" $v4) . -}}
{{- $bytes := splitList "." (trimPrefix ":" .) -}}
{{- $high := add (mul 256 (index $bytes 0)) (index $bytes 1) -}}
{{- $low := add (mul 256 (index $bytes 2)) (index $bytes 3) -}}
{{- $text = printf "%s:%x:%x" (trimSuffix . $text) $high $low -}}
{{- end -}}
{{- $halves := splitList "::" $text -}}
{{- $fits := and (contains ":" $text) (le (len $halves) 2) -}}
{{- range $halves -}}
{{- $fits = and $fits (regexMatch "^([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*)?$" .) -}}
{{- end -}}
{{- $zeros := sub 8 (regexFindAll "[0-9a-fA-F]+" $text -1 | len) | int -}}
{{- if and $fits (ternary (eq $zeros 0) (gt $zeros 0) (eq (len $halves) 1)) -}}
{{- $nibbles := dict "0" "0000" "1" "0001" "2" "0010" "3" "0011" "4" "0100" "5" "0101" "6" "0110" "7" "0111" -}}
{{- $more := dict "8" "1000" "9" "1001" "a" "1010" "b" "1011" "c" "1100" "d" "1101" "e" "1110" "f" "1111" -}}
{{- range join (print ":" (repeat $zeros "0:")) $halves | splitList ":" | compact -}}
{{- range regexFind ".{4}$" (print "000" (lower .)) | splitList "" -}}
{{- index (merge dict $nibbles $more) . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Not empty if it is the host of a URL, as the operator reads it: a name, an IPv4 address, or an IPv6 address in brackets. */}}
{{- define "apicred.isHost" -}}
{{- $label := "[^\\[\\]:/?#@*%,.<>^|\\\\\\s\\x00-\\x1f\\x7f]+" -}}
{{- if hasPrefix "[" . -}}
{{- $bits := trimPrefix "[" . | trimSuffix "]" | include "apicred.bits" -}}
{{- if and (hasSuffix "]" .) (eq (len $bits) 128) -}}true{{- end -}}
{{- /* A host whose last label is a number is an IPv4 address. */ -}}
{{- else if regexMatch "(^|[.])([0-9]+|0[xX][0-9a-fA-F]*)[.]?$" . -}}
{{- if trimSuffix "." . | include "apicred.bits" -}}true{{- end -}}
{{- else if regexMatch (printf "^%s([.]%s)*[.]?$" $label $label) . -}}true{{- end -}}
{{- end }}

{{/* Not empty if it is a network: an address and the length of its prefix. */}}
{{- define "apicred.isNetwork" -}}
{{- $parts := splitList "/" . -}}
{{- if and (eq (len $parts) 2) (regexMatch "^(0|[1-9][0-9]{0,2})$" (last $parts)) -}}
{{- $bits := include "apicred.bits" (first $parts) -}}
{{- if and $bits (le (last $parts | int) (len $bits)) -}}true{{- end -}}
{{- end -}}
{{- end }}

{{/* What a network opens beyond the expectation of its author; empty if nothing. */}}
{{- define "apicred.tooWide" -}}
{{- $bits := include "apicred.bits" (splitList "/" . | first) -}}
{{- $long := splitList "/" . | last | int -}}
{{- $shortest := ternary 8 16 (eq (len $bits) 32) -}}
{{- $network := substr 0 $long $bits -}}
{{- $dangerous := dict
  "169.254.169.254" "the metadata service of most clouds"
  "169.254.170.2" "the credentials of ECS tasks"
  "169.254.170.23" "the credentials of EKS pods"
  "100.100.100.200" "the metadata service of Alibaba Cloud"
  "192.0.0.192" "the metadata service of Oracle Cloud"
  "168.63.129.16" "Azure's host endpoint"
  "fd00:ec2::254" "the metadata service of AWS"
  "fd00:ec2::23" "the credentials of EKS pods"
  "fd20:ce::254" "the metadata service of Google Cloud"
  "0.0.0.0" "the operator's own machine"
  "::" "the operator's own machine" -}}
{{- if lt $long 128 -}}{{- $_ := set $dangerous "::1" "the operator's own machine" -}}{{- end -}}
{{- if lt $long $shortest -}}
{{- printf "is wider than /%d" $shortest -}}
{{- else -}}
{{- $found := list -}}
{{- range $address, $what := $dangerous -}}
{{- $other := include "apicred.bits" $address -}}
{{- if and (eq (len $other) (len $bits)) (hasPrefix $network $other) -}}
{{- $found = append $found (printf "contains %s, which is %s" $address $what) -}}
{{- end -}}
{{- end -}}
{{- append $found "" | first -}}
{{- end -}}
{{- end }}
