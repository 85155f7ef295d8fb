//! Each file of `examples/`, as the operator reads it: it is valid, may use its issuer, and contains the objects that it names. Its comments
//! name the Secrets that a user must create, with the annotations that they need.

#![allow(clippy::panic, reason = "the functions beside the tests are tests too")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use apicred::{
    api::{
        ApiClient, ApiCredential, ApiPreset, ClusterTokenIssuer, GrantKey, IssuerKind, IssuerRef,
        TokenIssuer,
    },
    credential::{
        ClientLookup, Credential, Issuer, IssuerLookup,
        binding::{self, Denial, Use},
        parse_client, parse_with_client,
    },
    rotation::{Pace, Registry, Trials, may_change, rotating},
};
use k8s_openapi::{
    api::core::v1::{Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NAMESPACE: &str = "default";

/// The objects of some files, and their comments.
struct Example {
    name: String,
    comments: String,
    objects: Vec<Value>,
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

impl Example {
    fn read(files: &[PathBuf]) -> Self {
        let mut example = Self {
            name: files[0].display().to_string(),
            comments: String::new(),
            objects: Vec::new(),
        };
        for file in files {
            let text = std::fs::read_to_string(file).expect("a file");
            let text = text
                .replace("${ISSUER_ORIGIN}", "https://issuer.example.com")
                .replace("${ISSUER_CA}", "null");
            let comments = text.lines().filter_map(|line| line.split_once('#'));
            for (_, comment) in comments {
                example.comments.push_str(comment);
                example.comments.push('\n');
            }
            let objects = serde_saphyr::from_multiple::<Value>(&text).expect("YAML");
            let objects = objects.into_iter().filter(|object| !object.is_null());
            example.objects.extend(objects.map(with_namespace));
        }
        example
    }

    fn all<K: DeserializeOwned>(&self, kind: &str) -> Vec<K> {
        let all = self.objects.iter().filter(|object| object["kind"] == kind);
        all.map(|object| serde_json::from_value(object.clone()).expect("an object"))
            .collect()
    }

    fn issuer(&self, reference: &IssuerRef) -> IssuerLookup {
        let named = |meta: &ObjectMeta| meta.name.as_ref() == Some(&reference.name);
        let found = match reference.kind {
            IssuerKind::ClusterTokenIssuer => {
                let all = self.all::<ClusterTokenIssuer>("ClusterTokenIssuer");
                let found = all.into_iter().find(|i| named(&i.metadata));
                found.map(|issuer| Issuer::cluster(&issuer))
            }
            IssuerKind::TokenIssuer => {
                let all = self.all::<TokenIssuer>("TokenIssuer");
                let found = all.into_iter().find(|i| named(&i.metadata));
                found.map(|issuer| Issuer::namespaced(&issuer, &[]))
            }
        };
        match found {
            Some(Ok(issuer)) => IssuerLookup::Found(issuer),
            Some(Err(faults)) => IssuerLookup::Faulty(faults),
            None => IssuerLookup::Missing,
        }
    }

    fn client(&self, name: &str) -> ClientLookup {
        let all = self.all::<ApiClient>("ApiClient");
        let found = all
            .into_iter()
            .find(|client| client.metadata.name.as_deref() == Some(name));
        found.map_or(ClientLookup::Missing, |client| {
            ClientLookup::Found(Box::new(client.spec))
        })
    }

    fn credential(&self, object: &ApiCredential) -> Credential {
        let parsed = parse_with_client(object, |name| self.client(name), |r| self.issuer(r));
        parsed.unwrap_or_else(|faults| panic!("{}: {faults:?}", self.name))
    }

    /// The metadata of a Secret. One that is not in the file has no annotation, and the comments name it.
    fn secret(&self, name: &str) -> ObjectMeta {
        let all = self.all::<Secret>("Secret");
        let found = all
            .into_iter()
            .find(|secret| secret.metadata.name.as_deref() == Some(name));
        found.map_or_else(
            || {
                let named = self.comments.contains(name);
                assert!(named, "{}: no comment names Secret {name}", self.name);
                ObjectMeta {
                    name: Some(name.to_owned()),
                    ..ObjectMeta::default()
                }
            },
            |secret| secret.metadata,
        )
    }

    /// If a Secret does not allow a use yet, a comment requests the permission from the user.
    fn allowed(&self, allowed: Result<(), Denial>) {
        let Err(denial) = allowed else {
            return;
        };
        let message = denial.message();
        let mut words = message.split_whitespace();
        let annotation =
            words.find_map(|word| word.strip_prefix("apicred.dev/")?.strip_suffix(':'));
        let annotation = annotation.unwrap_or_else(|| panic!("{}: {message}", self.name));
        assert!(
            self.comments.contains(annotation),
            "{}: {message}",
            self.name
        );
    }

    /// The ServiceAccounts that a spec names exist, and allow the issuer.
    fn accounts(&self, spec: &Value, issuer: &Issuer) {
        let all = self.all::<ServiceAccount>("ServiceAccount");
        for name in accounts(spec) {
            let mut all = all.iter().map(|account| &account.metadata);
            let found = all.find(|meta| meta.name.as_deref() == Some(&name));
            let found = found.unwrap_or_else(|| panic!("{}: no ServiceAccount {name}", self.name));
            self.allowed(binding::may_go_to(
                issuer,
                &name,
                found.annotations.as_ref(),
            ));
        }
    }

    fn check_credential(&self, object: &ApiCredential) {
        let credential = self.credential(object);
        let labels = labels(&credential.namespace);
        let (issuer, request) = (&credential.issuer, &credential.request);
        let may = binding::may_request(issuer, &credential.namespace, Some(&labels), request);
        assert_eq!(may, Ok(()), "{}", self.name);
        for source in credential.alternatives() {
            let meta = self.secret(&source.name);
            self.allowed(binding::may_open(&credential, Use::Client, &meta));
        }
        let signs_in = credential.request.grant == GrantKey::RefreshToken;
        if signs_in {
            let login = format!("kubectl apicred login {}", credential.name);
            assert!(self.comments.contains(&login), "{}: {login}", self.name);
        }
        for (purpose, need) in credential.inputs() {
            // The sign-in creates the state Secret.
            let created = signs_in && purpose == Use::Grant;
            let Some(source) = need.reference().filter(|_| !created) else {
                continue;
            };
            let meta = self.secret(&source.name);
            self.allowed(binding::may_open(&credential, purpose, &meta));
        }
        let spec = serde_json::to_value(&object.spec).expect("JSON");
        self.accounts(&spec, issuer);
    }

    fn check_client(&self, object: &ApiClient) {
        let (name, spec) = (
            object.metadata.name.as_deref().expect("a name"),
            &object.spec,
        );
        let parsed = parse_client(spec, |r| self.issuer(r));
        let (issuer, method) = parsed.unwrap_or_else(|f| panic!("{}: {f:?}", self.name));
        let namespace = object.metadata.namespace.as_deref().expect("a namespace");
        let labels = labels(namespace);
        let served = binding::may_be_served(&issuer, namespace, Some(&labels));
        assert_eq!(served, Ok(()), "{}", self.name);
        for source in method.alternatives() {
            let meta = self.secret(&source.name);
            self.allowed(binding::may_authenticate(&issuer, &method, &meta));
        }
        self.accounts(&serde_json::to_value(spec).expect("JSON"), &issuer);
        let pace = (Trials::default(), Pace::default());
        let rotating = rotating(spec, (&issuer, &method), pace);
        let rotating = rotating.unwrap_or_else(|fault| panic!("{}: {fault:?}", self.name));
        let Some(rotating) = rotating else {
            return;
        };
        let named = ["=", ": "].map(|sign| format!("apicred.dev/rotate-by{sign}{name}"));
        let named = named.iter().any(|words| self.comments.contains(words));
        let meta = self.secret(&rotating.secret);
        let by = meta
            .annotations
            .unwrap_or_default()
            .remove("apicred.dev/rotate-by");
        let named = named || by.as_deref() == Some(name);
        assert!(
            named,
            "{}: no comment lets {name} rotate its Secret",
            self.name
        );
        if let Registry::Registration { url, token } = &rotating.registry {
            let both = self.comments.contains(url) && self.comments.contains(token);
            assert!(both, "{}: {url}, {token}", self.name);
        }
        let Some(manager) = &rotating.manager else {
            return;
        };
        let mut all = self.all::<ApiCredential>("ApiCredential").into_iter();
        let found = all.find(|c| c.metadata.name.as_ref() == Some(manager));
        let found = found.unwrap_or_else(|| panic!("{}: no {manager}", self.name));
        let mut own = found.clone();
        own.spec = serde_json::from_value(json!({
            "clientRef": { "name": name }, "api": ApiPreset::MicrosoftGraph, "target": { "secretName": "none" },
        }))
        .expect("a spec");
        let (own, manager) = (self.credential(&own), self.credential(&found));
        assert_eq!(may_change(&own, &manager, None), Ok(()), "{}", self.name);
    }
}

/// The labels that the API server sets.
fn labels(namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(
        "kubernetes.io/metadata.name".to_owned(),
        namespace.to_owned(),
    )])
}

fn with_namespace(mut object: Value) -> Value {
    let meta = &mut object["metadata"];
    if meta["namespace"].is_null() {
        meta["namespace"] = json!(NAMESPACE);
    }
    object
}

/// The names under each `serviceAccount` of a spec.
fn accounts(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match spec {
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == "serviceAccount" {
                    found.extend(value["name"].as_str().map(str::to_owned));
                }
                found.extend(accounts(value));
            }
        }
        Value::Array(all) => found.extend(all.iter().flat_map(accounts)),
        _ => {}
    }
    found
}

fn check(example: &Example) {
    for object in example.all::<ClusterTokenIssuer>("ClusterTokenIssuer") {
        let parsed = Issuer::cluster(&object);
        assert!(parsed.is_ok(), "{}: {:?}", example.name, parsed.err());
    }
    for object in example.all::<TokenIssuer>("TokenIssuer") {
        let parsed = Issuer::namespaced(&object, &[]);
        assert!(parsed.is_ok(), "{}: {:?}", example.name, parsed.err());
    }
    for object in example.all::<ApiCredential>("ApiCredential") {
        example.check_credential(&object);
    }
    for object in example.all::<ApiClient>("ApiClient") {
        example.check_client(&object);
    }
}

#[test]
fn each_example_works_once_its_secrets_are_there() {
    let files = files("examples");
    assert!(files.len() > 30, "{files:?}");
    let mut found = Vec::new();
    for file in &files {
        let check = || check(&Example::read(std::slice::from_ref(file)));
        if std::panic::catch_unwind(check).is_err() {
            found.push(file.file_name());
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_files_of_the_demo_work_together() {
    check(&Example::read(&files("examples/demo")));
}
