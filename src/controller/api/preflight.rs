//! Checks whether a standby could lead: lists one object of each kind that it would watch, and checks its other permissions
//! with the API server. A release whose role lacks a rule, or whose CRDs are not installed, then never becomes Ready, and the
//! rollout stops while the old leader works.

use std::{convert::Infallible, fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
        core::v1::{Namespace, Secret},
    },
};
use kube::{
    Api, Resource,
    api::{ListParams, PostParams},
};
use serde::de::DeserializeOwned;

use super::calls::{ApiErrorKind, call, call_once};
use crate::api::{ApiClient, ApiCredential, ClusterTokenIssuer, TokenIssuer};
use crate::controller::context::Context;

/// The interval after a successful check.
const PERIOD: Duration = Duration::from_secs(30);
/// The interval until the first successful check.
const AGAIN: Duration = Duration::from_secs(2);

/// The verbs for a resource of an API group, except list. A subresource follows after a slash.
type Use = (&'static str, &'static str, &'static [&'static str]);

/// Needed in each namespace that the operator watches. Permissions for ServiceAccounts are not included, because they are optional.
const IN_EACH_NAMESPACE: [Use; 9] = [
    ("", "secrets", &["get", "watch", "create", "patch"]),
    ("apicred.dev", "apicredentials", &["watch", "patch"]),
    ("apicred.dev", "apicredentials/status", &["patch"]),
    ("apicred.dev", "apiclients", &["watch"]),
    ("apicred.dev", "apiclients/status", &["patch"]),
    ("apicred.dev", "tokenissuers", &["watch"]),
    ("apicred.dev", "tokenissuers/status", &["patch"]),
    ("events.k8s.io", "events", &["create"]),
    ("", "configmaps", &["list", "watch"]),
];
/// Needed for the cluster.
const IN_CLUSTER: [Use; 2] = [
    ("apicred.dev", "clustertokenissuers", &["watch"]),
    ("apicred.dev", "clustertokenissuers/status", &["patch"]),
];

/// A permission that the operator needs.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Right {
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    /// Empty for all namespaces, or if the resource is cluster-scoped.
    namespace: String,
    /// Empty for all names.
    name: String,
}

/// The permissions for these uses, one by one.
fn rights(uses: &[Use], namespace: &str) -> Vec<Right> {
    let each = |(group, resource, verbs): &Use| {
        let (group, resource) = (*group, *resource);
        verbs.iter().map(move |verb| Right {
            group,
            resource,
            verb,
            namespace: namespace.to_owned(),
            name: String::new(),
        })
    };
    uses.iter().flat_map(each).collect()
}

/// Needed in the operator's own namespace: its Lease and, if it may not access Secrets everywhere, its digest key.
fn at_home(home: &str, lease: &str, everywhere: bool) -> Vec<Right> {
    let leases: Use = ("coordination.k8s.io", "leases", &["get", "update"]);
    let mut all = rights(&[leases], home);
    for right in &mut all {
        lease.clone_into(&mut right.name);
    }
    all.extend(rights(
        &[("coordination.k8s.io", "leases", &["create"])],
        home,
    ));
    if !everywhere {
        all.extend(rights(&[("", "secrets", &["create"])], home));
    }
    all
}

/// Checks repeatedly. Never returns. `lease` is the name of the Lease.
pub(in crate::controller) async fn repeat(context: &Arc<Context>, lease: &str) -> Infallible {
    let (mut ready, mut reported) = (false, None);
    loop {
        match check(context, lease).await {
            Ok(()) => {
                (ready, reported) = (true, None);
                context.health.set_standby(Ok(()));
            }
            // An API server that does not respond is not a problem of this process.
            Err(Missing::List(_, ApiErrorKind::Unavailable)) if ready => {}
            Err(missing) => {
                let why = missing.text();
                if reported.as_ref() != Some(&why) {
                    tracing::warn!("not ready to lead: {why}");
                }
                (ready, reported) = (false, Some(why.clone()));
                context.health.set_standby(Err(why));
            }
        }
        tokio::time::sleep(if ready { PERIOD } else { AGAIN }).await;
    }
}

/// What is missing for a leader.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Missing {
    List(&'static str, ApiErrorKind),
    Right(Right),
}

impl Missing {
    fn text(&self) -> String {
        match self {
            Self::List(kind, ApiErrorKind::Forbidden) => {
                format!("the operator's role lacks list on {kind}")
            }
            Self::List(kind, ApiErrorKind::NotFound) => {
                format!("the API server does not serve {kind}; are the CRDs installed?")
            }
            Self::List(kind, _) => format!("the API server does not answer a list of {kind}"),
            Self::Right(right) => {
                let Right { verb, resource, .. } = right;
                let place = match right.namespace.as_str() {
                    "" => String::new(),
                    namespace => format!(" in namespace {namespace}"),
                };
                format!("the operator's role lacks {verb} on {resource}{place}")
            }
        }
    }
}

async fn check(context: &Arc<Context>, lease: &str) -> Result<(), Missing> {
    let scope = &context.settings.scope;
    if scope.reads_cluster() {
        let client = || context.client.clone();
        let issuers = Api::<ClusterTokenIssuer>::all(client());
        one(context, "clustertokenissuers", &issuers, "").await?;
        // As in the watch: by name if the scope is limited to named namespaces.
        let name = scope.names().and_then(|names| names.first());
        let name = name.map_or("", String::as_str);
        one(
            context,
            "namespaces",
            &Api::<Namespace>::all(client()),
            name,
        )
        .await?;
        let mut needed = rights(&IN_CLUSTER, "");
        needed.extend(rights(&[("", "namespaces", &["watch"])], ""));
        if let Some(namespaces) = needed.last_mut() {
            name.clone_into(&mut namespaces.name);
        }
        may(context, needed).await?;
    }
    let home = &context.settings.namespace;
    may(context, at_home(home, lease, scope.names().is_none())).await?;
    let Some(names) = scope.names() else {
        return in_namespace(context, None).await;
    };
    // A leader continues without the namespaces that it may not read, and reports this in each status there.
    let mut result = Ok(());
    for name in names {
        result = in_namespace(context, Some(name)).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Checks with the API server whether this process has these permissions. Every authenticated user may do this
/// (`system:basic-user`), so the operator's role has no rule for it. In a cluster that removed this permission, the result is
/// unknown, and only the lists are checked.
async fn may(context: &Context, needed: Vec<Right>) -> Result<(), Missing> {
    let reviews = Api::<SelfSubjectAccessReview>::all(context.client.clone());
    for right in needed {
        let review = review(&right);
        let params = PostParams::default();
        let response = call_once(
            &context.metrics,
            "preflight",
            reviews.create(&params, &review),
        );
        match response.await {
            Ok(answer) if answer.status.as_ref().is_none_or(|s| s.allowed) => {}
            Ok(_) => return Err(Missing::Right(right)),
            Err(ApiErrorKind::Unavailable) => {
                return Err(Missing::List(right.resource, ApiErrorKind::Unavailable));
            }
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn review(right: &Right) -> SelfSubjectAccessReview {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (resource, subresource) = right
        .resource
        .split_once('/')
        .unwrap_or((right.resource, ""));
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: some(right.group),
                resource: some(resource),
                subresource: some(subresource),
                verb: some(right.verb),
                namespace: some(&right.namespace),
                name: some(&right.name),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

async fn in_namespace(context: &Arc<Context>, name: Option<&str>) -> Result<(), Missing> {
    one(context, "secrets", &api::<Secret>(context, name), "").await?;
    one(
        context,
        "tokenissuers",
        &api::<TokenIssuer>(context, name),
        "",
    )
    .await?;
    one(context, "apiclients", &api::<ApiClient>(context, name), "").await?;
    one(
        context,
        "apicredentials",
        &api::<ApiCredential>(context, name),
        "",
    )
    .await?;
    let needed = rights(&IN_EACH_NAMESPACE, name.unwrap_or_default());
    may(context, needed).await
}

fn api<K>(context: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let client = context.client.clone();
    match namespace {
        Some(name) => Api::namespaced(client, name),
        None => Api::all(client),
    }
}

/// Lists the metadata of one object.
async fn one<K>(
    context: &Context,
    kind: &'static str,
    api: &Api<K>,
    name: &str,
) -> Result<(), Missing>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(1);
    if !name.is_empty() {
        params = params.fields(&format!("metadata.name={name}"));
    }
    let listed = call(&context.metrics, "preflight", || api.list_metadata(&params)).await;
    listed
        .map(drop)
        .map_err(|error_kind| Missing::List(kind, error_kind))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The rules in a template of the chart's role, one by one, without rules that a value enables.
    fn rules(template: &str) -> BTreeSet<(String, String, String)> {
        let role = include_str!("../../../charts/apicred/templates/_rules.tpl");
        let (_, rules) = role.split_once(&format!("define \"{template}\"")).unwrap();
        let rules = rules.split("{{/*").next().unwrap();
        let optional = |text: &str| {
            let mut parts = text.split("{{- if .Values.serviceAccountTokens }}");
            let first = parts.next().unwrap().to_owned();
            parts.fold(first, |all, part| {
                all + part.split_once("{{- end }}").map_or("", |(_, rest)| rest)
            })
        };
        let list = |line: &str| -> Vec<String> {
            let (_, list) = line.split_once('[').unwrap();
            let list = list.trim_end_matches(']').split(", ");
            list.map(|item| item.trim_matches('"').to_owned()).collect()
        };
        let (mut group, mut resources) = (Vec::new(), Vec::new());
        let mut all = BTreeSet::new();
        for line in optional(rules).lines().map(str::trim) {
            if line.starts_with("- apiGroups:") {
                group = list(line);
            } else if line.starts_with("resources:") {
                resources = list(line);
            } else if line.starts_with("verbs:") {
                for (resource, verb) in resources
                    .iter()
                    .flat_map(|r| list(line).into_iter().map(move |v| (r, v)))
                {
                    all.insert((group[0].clone(), resource.clone(), verb));
                }
            }
        }
        all
    }

    fn checked(uses: &[Use], listed: &[(&str, &str)]) -> BTreeSet<(String, String, String)> {
        let owned = |group: &str, resource: &str, verb: &str| {
            (group.to_owned(), resource.to_owned(), verb.to_owned())
        };
        let rights = rights(uses, "");
        let rights = rights.iter().map(|r| owned(r.group, r.resource, r.verb));
        let lists = listed
            .iter()
            .map(|(group, kind)| owned(group, kind, "list"));
        rights.chain(lists).collect()
    }

    #[test]
    fn a_standby_checks_each_rule_of_the_charts_role() {
        let listed = [
            ("", "secrets"),
            ("apicred.dev", "apicredentials"),
            ("apicred.dev", "apiclients"),
            ("apicred.dev", "tokenissuers"),
        ];
        assert_eq!(rules("apicred.rules"), checked(&IN_EACH_NAMESPACE, &listed));
        let listed = [("", "namespaces"), ("apicred.dev", "clustertokenissuers")];
        let mut uses = IN_CLUSTER.to_vec();
        uses.push(("", "namespaces", &["watch"]));
        assert_eq!(rules("apicred.clusterRules"), checked(&uses, &listed));
    }

    #[test]
    fn a_right_is_checked_as_the_api_server_knows_it() {
        let right = rights(&[IN_EACH_NAMESPACE[2]], "team-a").remove(0);
        let attributes = review(&right).spec.resource_attributes.unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(attributes.group, text("apicred.dev"));
        assert_eq!(attributes.resource, text("apicredentials"));
        assert_eq!(attributes.subresource, text("status"));
        assert_eq!(attributes.verb, text("patch"));
        assert_eq!(attributes.namespace, text("team-a"));
        assert_eq!(attributes.name, None);
        assert_eq!(
            Missing::Right(right).text(),
            "the operator's role lacks patch on apicredentials/status in namespace team-a"
        );
        let home = at_home("apicred-system", "apicred", true);
        let named = home.iter().filter(|r| r.name == "apicred");
        assert_eq!(named.count(), 2, "{home:?}");
        assert!(home.iter().all(|r| r.resource == "leases"), "{home:?}");
    }
}
