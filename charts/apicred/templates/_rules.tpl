{{/*
The rights of the operator in each namespace in its scope: in all of them by a ClusterRole, or in some by Roles.
A rule that no code uses is a defect, and so is a call without a rule.
*/}}
{{- define "apicred.rules" -}}
# src/controller/cache/streams.rs (secrets): watches all Secrets by metadata only, so that an edit of a client secret
# or of a target acts at once. RBAC does not separate metadata from content, hence the plain verbs.
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
# src/controller/token/source_secret.rs (open): reads a client secret, certificate or grant material when a token must be
# requested or the Secret has changed. src/controller/token/state_secret.rs (stored_token): the present refresh token after a
# conflict; (spent_on_target): the metadata of the target, which names the refresh tokens that were spent; (writer): the
# last writer of the state Secret. src/controller/cache/verify.rs (settle): the metadata of a Secret whose cached state may be wrong.
# src/controller/token/published.rs (published): the token of a credential that is being deleted, to revoke it, and the token that
# manages another application.
# src/controller/token/digest_key.rs (load): reads the operator's own digest key, once per process.
# src/controller/clients/rotate.rs (sight): the client secret or certificate that is rotated.
# src/controller/clients/unstored.rs (holder): the Secret that has the name now, if a registration access token could not be stored.
# src/controller/clients/held.rs (is_secret_gone): the metadata of the Secret of a client that was deleted, to see whether it still exists.
# src/controller/clients/upload.rs (copy): the last good certificate, by which the new one is authenticated.
# src/controller/clients/usable.rs (open): whether a Secret has the keys that a client names, after each change of it.
# src/controller/target/last_good.rs (store): a certificate that got a token, if its owner requests a copy; (empty): the metadata of its Secret.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# src/controller/target/write.rs (write): creates a target Secret. src/controller/token/digest_key.rs (load): creates the digest key.
# src/controller/target/last_good.rs (store): creates the copy of a certificate, if its owner requests one.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# src/controller/target/write.rs (patch_secret): writes the next token, labels or owner into a target Secret. The operator
# never deletes targets: the garbage collector does it, by owner reference.
# src/controller/token/state_secret.rs (write): the mark and the next refresh token of a state Secret.
# src/controller/clients/execute.rs (write): the next client secret or certificate, in a Secret whose owner names the client.
# src/controller/clients/unstored.rs (patch_token): the next registration access token, in the same Secret.
# src/controller/target/last_good.rs (patch): the next certificate in its copy, or an empty copy when its Secret does not request one any more.
- apiGroups: [""]
  resources: [secrets]
  verbs: [patch]
# src/controller/cache/ca_watch.rs (follow): the ConfigMaps that caBundleRef of an issuer names, one by one.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch]
{{- if .Values.serviceAccountTokens }}
# src/controller/token/service_account_token.rs (account_token): the annotations apicred.dev/allowed-issuers and allowed-audiences of a
# ServiceAccount, which limit where its tokens go.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
# src/controller/cache/streams.rs (service_accounts): whether the ServiceAccounts that credentials need exist, by metadata and as soon as a
# credential refers to one.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [list, watch]
# src/controller/token/service_account_token.rs (account_token): creates the token that authenticates a client (client.serviceAccount) or that is
# exchanged (grant.tokenExchange).
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end }}
# src/controller/cache/streams.rs (credentials): the desired tokens.
- apiGroups: [apicred.dev]
  resources: [apicredentials]
  verbs: [list, watch]
# src/controller/api/finalizer.rs (set): adds the finalizer apicred.dev/revoke to a credential with deletionPolicy Revoke, and
# removes it. RBAC does not separate metadata from the spec, hence the plain verb; it writes nothing else of a credential.
- apiGroups: [apicred.dev]
  resources: [apicredentials]
  verbs: [patch]
# src/controller/cache/client_watch.rs (clients): the clients that several credentials share.
- apiGroups: [apicred.dev]
  resources: [apiclients]
  verbs: [list, watch]
# src/controller/cache/issuers.rs (issuers): the issuers of tokens, and which namespaces may use them.
- apiGroups: [apicred.dev]
  resources: [tokenissuers]
  verbs: [list, watch]
# src/controller/reconcile/record.rs (write_status): the status of a credential, by server-side apply.
- apiGroups: [apicred.dev]
  resources: [apicredentials/status]
  verbs: [patch]
# src/controller/clients/mod.rs (write): whether a client can be used, by server-side apply.
- apiGroups: [apicred.dev]
  resources: [apiclients/status]
  verbs: [patch]
# src/controller/issuers.rs (write): whether an issuer can be used, by server-side apply.
- apiGroups: [apicred.dev]
  resources: [tokenissuers/status]
  verbs: [patch]
# src/controller/reconcile/record.rs (notify, object): reports changes as Events, those of a ClusterTokenIssuer in the namespace
# default. They are never read, patched or counted up.
# src/controller/clients/report.rs (notify): an Event of a rotation on its ApiClient.
# src/controller/token/hint_event.rs (report): an Event on a Secret whose client secret was refused and has an unusual form.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/*
The rights of the operator on cluster-scoped objects.
*/}}
{{- define "apicred.clusterRules" -}}
# src/controller/cache/issuers.rs (issuers): the issuers of tokens, and which namespaces may use them.
- apiGroups: [apicred.dev]
  resources: [clustertokenissuers]
  verbs: [list, watch]
# src/controller/issuers.rs (write): whether an issuer can be used, by server-side apply.
- apiGroups: [apicred.dev]
  resources: [clustertokenissuers/status]
  verbs: [patch]
# src/controller/cache/streams.rs (namespaces): labels of namespaces, by metadata, for allowedNamespaces.selector of a
# ClusterTokenIssuer.
- apiGroups: [""]
  resources: [namespaces]
  {{- with .Values.watchNamespaces }}
  resourceNames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  verbs: [list, watch]
{{- end }}
