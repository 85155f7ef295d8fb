//! Each system that apicred exists for, from YAML to an answer of its API: the request in the shape that the system
//! wants, the token out of the Secret as a workload reads it.

use std::time::Duration;

use dev_issuer::{AuthMethod, User};
use serde_json::{Value, json};

use crate::support::{
    Place, World, condition,
    keys::{Kind, keys},
    run,
};

const PASSWORD: &str = "ada~password.of-this-test";

/// A client with every permission that the systems know, and a person who may sign in.
async fn place(world: &World, label: &str) -> Place {
    let place = world.place(label).await;
    place.add_client(
        place
            .oauth_client()
            .role("endpoint", "Alert.Read.All")
            .role("xdr", "Incident.Read.All")
            .role("graph", "User.Read.All")
            .role("manageddesktop", "MmdSupport.ReadWrite")
            .scope("demo", "Records.Read")
            .scope("cloudapps", "Investigation.Read")
            .scope("endpoint", "Alert.Read")
            .scope("graph", "User.Read"),
    );
    place.canaries.add(PASSWORD);
    place
        .issuer
        .add_user(User::new(format!("{label}@contoso.example"), PASSWORD))
        .expect("a user");
    place
}

fn user(label: &str) -> String {
    format!("{label}@contoso.example")
}

/// Waits for the token and calls the API with it.
async fn works(place: &Place, name: &str, (api, path): (&str, &str)) {
    let view = place.ready(name).await;
    assert_eq!(place.call(api, path, &view.token).await, 200, "{name}");
}

#[test]
fn microsoft_apis_in_application_context_by_their_names() {
    run(async {
        let world = World::shared().await;
        let place = place(world, "by-name").await;
        let v1 = format!("/{}/oauth2/token", place.issuer.tenant());
        let v2 = format!("/{}/oauth2/v2.0/token", place.issuer.tenant());
        #[rustfmt::skip]
        let systems = [
            ("cloud-apps", json!({ "api": "DefenderForCloudApps" }), ("cloudapps", "v1/alerts"), &v2, "05a65629-4c1b-48c1-a78b-804c4abdd4af"),
            ("cloud-app-security", json!({ "api": "CloudAppSecurity", "endpointVersion": "V1" }), ("cloudapps", "v1/alerts"), &v1, "05a65629-4c1b-48c1-a78b-804c4abdd4af"),
            ("endpoint", json!({ "api": "DefenderForEndpoint" }), ("endpoint", "alerts"), &v2, "https://api.securitycenter.microsoft.com"),
            ("atp", json!({ "api": "WindowsDefenderATP", "endpointVersion": "V1" }), ("endpoint", "alerts"), &v1, "https://api.securitycenter.microsoft.com"),
            ("xdr", json!({ "api": "DefenderXdr" }), ("xdr", "incidents"), &v2, "https://api.security.microsoft.com"),
            ("managed-desktop", json!({ "api": "ManagedDesktop", "endpointVersion": "V1" }), ("manageddesktop", "support/odata/v1/tickets"), &v1, "https://mwaas-services-customerapi-prod.azurewebsites.net"),
            ("graph", json!({ "api": "MicrosoftGraph" }), ("graph", "v1.0/users"), &v2, "https://graph.microsoft.com"),
            ("custom", json!({ "scopes": ["api://demo/.default"] }), ("demo", "records"), &v2, "api://demo"),
        ];
        for (name, spec, call, path, audience) in systems {
            let mut changes = json!({ "scopes": null, "target": { "secretName": name } });
            for (key, value) in spec.as_object().expect("an object") {
                changes[key] = value.clone();
            }
            place.create(name, changes).await;
            works(&place, name, call).await;
            let posts = place.issuer.token_requests_of(&place.client);
            let last = posts.last().expect("a request");
            assert_eq!(&last.path, path, "{name}");
            let asked = last.resource.clone().or(last
                .scope
                .as_ref()
                .map(|s| s.trim_end_matches("/.default").to_owned()));
            assert_eq!(asked.as_deref(), Some(audience), "{name}");
        }
    });
}

#[test]
fn a_certificate_at_both_endpoints_of_entra() {
    run(async {
        let world = World::shared().await;
        let place = place(world, "entra-cert").await;
        let own = keys(Kind::Rsa, "entra-cert", None);
        place.add_client(
            place
                .oauth_client()
                .certificate(own.certificate.clone())
                .role("manageddesktop", "MmdSupport.ReadWrite"),
        );
        place.put_tls("tls", &own).await;
        for (name, certificate, version) in [
            ("ps256", json!({ "secretName": "tls" }), "V2"),
            ("ps256-v1", json!({ "secretName": "tls" }), "V1"),
            (
                "rs256",
                json!({ "secretName": "tls", "algorithm": "RS256", "x5c": true }),
                "V2",
            ),
        ] {
            let spec = json!({
                "client": { "secrets": null, "certificates": [certificate] },
                "scopes": null, "api": "ManagedDesktop", "endpointVersion": version,
                "target": { "secretName": name },
            });
            place.create(name, spec).await;
            let call = ("manageddesktop", "support/odata/v1/tickets");
            works(&place, name, call).await;
        }
        let posts = place.issuer.token_requests_of(&place.client);
        assert!(
            posts
                .iter()
                .all(|p| p.auth_method == AuthMethod::PrivateKeyJwt)
        );
        // A certificate that Entra does not know.
        let other = keys(Kind::Rsa, "entra-cert", None);
        place.put_tls("other", &other).await;
        let spec = json!({
            "client": { "secrets": null, "certificates": [{ "secretName": "other" }] },
            "target": { "secretName": "other-token" },
        });
        place.create("other", spec).await;
        place
            .until("other", "refused with 700027", |c| {
                let last = c.status.as_ref()?.last_attempt.as_ref()?;
                (last.code.as_deref() == Some("AADSTS700027")).then_some(())
            })
            .await;
        // An EC key is refused before anything is sent.
        place
            .put_tls("ec", &keys(Kind::P256, "entra-cert", None))
            .await;
        let spec = json!({
            "client": { "secrets": null, "certificates": [{ "secretName": "ec" }] },
            "target": { "secretName": "ec-token" },
        });
        place.create("ec", spec).await;
        let told = place.not_ready("ec", "MaterialInvalid").await;
        assert!(told.contains("use RSA"), "{told}");
    });
}

#[test]
fn the_certificates_of_a_list_are_tried_in_order() {
    run(async {
        let world = World::shared().await;
        let place = place(world, "entra-certs").await;
        let (old, new) = (keys(Kind::Rsa, "old", None), keys(Kind::Rsa, "new", None));
        let client = place
            .oauth_client()
            .certificate(old.certificate.clone())
            .role("manageddesktop", "MmdSupport.ReadWrite");
        place.add_client(client.clone());
        place.put_tls("new", &new).await;
        place.put_tls("old", &old).await;
        // Each has settings of its own.
        let list = json!([{ "secretName": "new", "algorithm": "RS256" }, { "secretName": "old" }]);
        let spec = json!({
            "client": { "secrets": null, "certificates": list },
            "scopes": null, "api": "ManagedDesktop",
        });
        place.create("c", spec).await;
        let call = ("manageddesktop", "support/odata/v1/tickets");
        works(&place, "c", call).await;
        let used = place.until("c", "the refused one told", |c| {
            let told = condition(c, "ClientCredentialExpiring")?;
            let named = told.message.contains("the certificate in Secret new");
            (told.reason == "ClientCredentialRefused" && named)
                .then(|| c.status.as_ref()?.client_in_use())?
        });
        assert_eq!(used.await, "old/tls.key");
        // The issuer knows the new one by now. It is used at the next renewal, and the fault is gone.
        place.add_client(client.certificate(new.certificate.clone()));
        place.request_renewal("c").await;
        place
            .until("c", "the new one in use", |c| {
                let used = c.status.as_ref()?.client_in_use()?;
                let calm = condition(c, "ClientCredentialExpiring").is_none();
                (used == "new/tls.key" && calm).then_some(())
            })
            .await;
        works(&place, "c", call).await;
    });
}

/// The cluster's own issuer and keys, as Entra would fetch them.
pub(crate) async fn cluster_issuer(world: &World) -> (String, String) {
    let get = async |path: &str| {
        let request = http::Request::get(path)
            .body(Vec::new())
            .expect("a request");
        world.admin.request_text(request).await.expect("an answer")
    };
    let document: Value =
        serde_json::from_str(&get("/.well-known/openid-configuration").await).expect("JSON");
    let issuer = document["issuer"].as_str().expect("an issuer").to_owned();
    (issuer, get("/openid/v1/jwks").await)
}

pub(crate) async fn service_account(place: &Place, name: &str, annotations: Value) {
    use k8s_openapi::api::core::v1::ServiceAccount;
    let api: kube::Api<ServiceAccount> =
        kube::Api::namespaced(place.kube.clone(), &place.namespace);
    let object = crate::support::typed(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": name, "annotations": annotations },
    }));
    api.create(&kube::api::PostParams::default(), &object)
        .await
        .expect("a ServiceAccount");
}

#[test]
fn a_service_account_proves_its_client_and_nothing_is_stored() {
    run(async {
        let world = World::shared().await;
        let place = place(world, "keyless").await;
        let (issuer, jwks) = cluster_issuer(world).await;
        place.issuer.trust_issuer(&issuer, &jwks).expect("keys");
        service_account(&place, "workload", Value::Null).await;
        let subject = format!("system:serviceaccount:{}:workload", place.namespace);
        let generic = place.issuer.generic_issuer();
        place.add_client(
            place
                .oauth_client()
                .federated(&issuer, &subject, "api://AzureADTokenExchange")
                .federated(&issuer, &subject, &generic),
        );
        let account = json!({ "id": place.client, "secrets": null, "serviceAccount": { "name": "workload" } });
        place
            .create(
                "entra",
                json!({ "client": account, "target": { "secretName": "entra" } }),
            )
            .await;
        works(&place, "entra", ("demo", "records")).await;

        // A mistyped name is told with what Entra wants.
        let mut nobody = account.clone();
        nobody["serviceAccount"]["name"] = json!("nobody");
        place
            .create(
                "nobody",
                json!({ "client": nobody, "target": { "secretName": "nobody" } }),
            )
            .await;
        let told = place.not_ready("nobody", "ServiceAccountMissing").await;
        assert!(told.contains("nobody does not exist"), "{told}");
        service_account(&place, "stranger", Value::Null).await;
        let mut stranger = account.clone();
        stranger["serviceAccount"]["name"] = json!("stranger");
        place
            .create(
                "stranger",
                json!({ "client": stranger, "target": { "secretName": "stranger" } }),
            )
            .await;
        // What the API server calls itself is no audience for a token that leaves: here it is its issuer.
        let mut own = account.clone();
        own["serviceAccount"]["audience"] = json!(issuer);
        place
            .create(
                "own",
                json!({ "client": own, "target": { "secretName": "own" } }),
            )
            .await;
        let told = place.not_ready("own", "ServiceAccountTokenRefused").await;
        assert!(told.contains(&issuer), "{told}");
        place
            .until("stranger", "refused with 700213", |c| {
                let last = c.status.as_ref()?.last_attempt.as_ref()?;
                (last.code.as_deref() == Some("AADSTS700213")).then_some(())
            })
            .await;
    });
}

/// A place whose issuer is the generic one.
pub(crate) async fn generic(world: &World, label: &str) -> Place {
    let place = place(world, label).await;
    let mut spec =
        place.issuer_spec(json!({ "oidc": { "issuerUrl": place.issuer.generic_issuer() } }));
    spec["entra"] = Value::Null;
    place.put_issuer(spec).await;
    place.issuer_ready().await;
    place
}

#[test]
fn a_service_account_is_exchanged_and_asserted_at_any_issuer() {
    run(async {
        let world = World::shared().await;
        let place = generic(world, "exchange").await;
        let (issuer, jwks) = cluster_issuer(world).await;
        place.issuer.trust_issuer(&issuer, &jwks).expect("keys");
        service_account(&place, "workload", Value::Null).await;
        let subject = format!("system:serviceaccount:{}:workload", place.namespace);
        let own = place.issuer.generic_issuer();
        place.add_client(place.oauth_client().federated(&issuer, &subject, &own));
        let asserted = json!({
            "client": { "secrets": null, "serviceAccount": { "name": "workload" } },
            "scopes": ["read"], "audience": "api://demo", "target": { "secretName": "asserted" },
        });
        place.create("asserted", asserted).await;
        works(&place, "asserted", ("demo", "records")).await;
        let exchanged = json!({
            "grant": { "tokenExchange": { "subject": { "serviceAccount": { "name": "workload" } } } },
            "scopes": ["read"], "audience": "api://demo", "target": { "secretName": "exchanged" },
        });
        place.create("exchanged", exchanged).await;
        let view = place.ready("exchanged").await;
        assert_eq!(view.claims["sub"], subject);
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
    });
}

#[test]
fn a_google_key_file_signs_for_a_token() {
    run(async {
        let world = World::shared().await;
        let place = generic(world, "google").await;
        let own = keys(Kind::Rsa, "google", None);
        let email = format!("{}@project.iam.example.com", place.client);
        place.add_client(
            dev_issuer::Client::new(&email)
                .jwks(own.jwks.clone())
                .role("demo", "Records.Read"),
        );
        let file = json!({
            "type": "service_account", "private_key_id": "google", "private_key": own.key,
            "client_email": email, "token_uri": "https://elsewhere.example.com/token",
        });
        place
            .put_key_file("google", "key.json", &file.to_string(), &own.key)
            .await;
        let spec = json!({
            "client": null,
            "grant": { "jwtBearer": { "signed": { "keyRef": { "name": "google", "key": "key.json" } } } },
            "scopes": ["cloud-platform", "read"], "audience": "api://demo",
        });
        place.create("c", spec).await;
        let view = place.ready("c").await;
        assert_eq!(
            view.claims["scope"], "cloud-platform read",
            "out of the assertion"
        );
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        let posts = place.issuer.requests();
        let post = posts.iter().rfind(|p| {
            p.grant_type
                .as_deref()
                .is_some_and(|g| g.ends_with("jwt-bearer"))
        });
        assert_eq!(post.and_then(|p| p.scope.clone()), None, "not in the form");
    });
}

#[test]
fn auth0_wants_an_audience_and_salesforce_says_nothing_of_a_life() {
    run(async {
        let world = World::shared().await;
        let place = generic(world, "others").await;
        place.add_client(place.oauth_client().wants_audience());
        place
            .create(
                "auth0",
                json!({ "scopes": null, "target": { "secretName": "auth0" } }),
            )
            .await;
        place.not_ready("auth0", "AccessDenied").await;
        place
            .edit("auth0", json!({ "spec": { "audience": "api://demo" } }))
            .await;
        works(&place, "auth0", ("demo", "records")).await;

        place.add_client(
            place
                .oauth_client()
                .silent_about_life()
                .lifetime(Duration::from_hours(2)),
        );
        let spec = json!({ "scopes": null, "audience": "api://demo", "target": { "secretName": "salesforce" } });
        place.create("salesforce", spec).await;
        let view = place.ready("salesforce").await;
        let secret = place.secrets().get("salesforce").await.expect("a Secret");
        let whole = secret
            .data
            .expect("data")
            .remove("token.json")
            .expect("a file");
        let whole: Value = serde_json::from_slice(&whole.0).expect("JSON");
        assert_eq!(whole["instance_url"], place.issuer.origin());
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
    });
}

/// A credential for a person at Entra.
fn person(api: &str, more: &Value) -> Value {
    let mut spec = json!({
        "client": { "secrets": null, "public": {} },
        "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "refresh_token" } } },
        "scopes": null, "api": api,
    });
    for (key, value) in more.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    spec
}

#[test]
fn user_context_by_refresh_token_at_entra() {
    run(async {
        let world = World::shared().await;
        for (label, api, scopes, call) in [
            (
                "mcas-user",
                "CloudAppSecurity",
                Value::Null,
                ("cloudapps", "v1/alerts"),
            ),
            (
                "mdca-user",
                "DefenderForCloudApps",
                json!(["Investigation.Read"]),
                ("cloudapps", "v1/alerts"),
            ),
            (
                "mde-user",
                "DefenderForEndpoint",
                json!(["Alert.Read"]),
                ("endpoint", "alerts"),
            ),
        ] {
            let place = place(world, label).await;
            place.add_client(
                dev_issuer::Client::new(&place.client)
                    .public()
                    .scope("cloudapps", "Investigation.Read")
                    .scope("endpoint", "Alert.Read"),
            );
            let token = place.issuer.issue_refresh_token(
                &place.client,
                &user(label),
                "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default offline_access",
            );
            place.put_secret("state", "refresh_token", &token).await;
            let note = json!({ "metadata": { "annotations": { "apicred.dev/state-of": "c" } } });
            place.edit_secret("state", note).await;
            place
                .create("c", person(api, &json!({ "scopes": scopes })))
                .await;
            let view = place.ready("c").await;
            assert!(view.claims["scp"].is_string(), "a user's token");
            assert_eq!(
                place.call(call.0, call.1, &view.token).await,
                200,
                "{label}"
            );
            // Entra does not mind a second use, so nothing is marked.
            let state = place.secrets().get("state").await.expect("the state");
            // The answer brings another refresh token only if it was asked for one.
            let data = state.data.as_ref().expect("data");
            assert_ne!(data["refresh_token"].0, token.as_bytes(), "{label}");
            let notes = state.metadata.annotations.unwrap_or_default();
            assert!(!notes.contains_key("apicred.dev/in-flight-since"));
            place.issuer.revoke_sign_ins(&user(label));
            place.request_renewal("c").await;
            let late = place
                .until("c", "the person is asked for", |c| {
                    condition(c, "RenewalFailing").filter(|r| r.status == "True")
                })
                .await;
            assert!(
                late.message.contains("kubectl apicred login c"),
                "{}",
                late.message
            );
        }
    });
}

/// A ClusterTokenIssuer takes no password unless its administrator says so.
async fn allow_passwords(place: &Place) {
    let mut spec = place.entra_issuer();
    spec["allowedGrants"] = json!(["OnBehalfOf", "Password"]);
    place.put_issuer(spec).await;
    place.issuer_ready().await;
}

#[test]
fn on_behalf_of_and_password_at_entra() {
    run(async {
        let world = World::shared().await;
        let label = "other-user";
        let place = place(world, label).await;
        let hour = Duration::from_hours(1);
        let assertion = place
            .issuer
            .issue_user_token(&place.client, &user(label), hour);
        place.put_secret("assertion", "token", &assertion).await;
        let grant =
            json!({ "onBehalfOf": { "assertionRef": { "name": "assertion", "key": "token" } } });
        let spec = json!({ "grant": grant, "scopes": null, "api": "MicrosoftGraph", "target": { "secretName": "obo" } });
        place.create("obo", spec).await;
        works(&place, "obo", ("graph", "v1.0/me")).await;

        // The samples of Defender for Endpoint in user context: v1, with a password.
        allow_passwords(&place).await;
        place.put_secret("password", "password", PASSWORD).await;
        let grant = json!({ "password": { "username": user(label), "passwordRef": { "name": "password", "key": "password" } } });
        let spec = json!({ "grant": grant, "scopes": null, "api": "DefenderForEndpoint", "endpointVersion": "V1", "target": { "secretName": "ropc" } });
        place.create("ropc", spec).await;
        works(&place, "ropc", ("endpoint", "alerts")).await;
    });
}

#[test]
fn a_refused_password_is_not_tried_again_even_by_another_process() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let label = "locked";
        let place = place(&world, label).await;
        allow_passwords(&place).await;
        place
            .put_secret("password", "password", "wrong~password.of-this-test")
            .await;
        let grant = json!({ "password": { "username": user(label), "passwordRef": { "name": "password", "key": "password" } } });
        let spec = json!({ "grant": grant, "scopes": null, "api": "MicrosoftGraph" });
        place.create("c", spec).await;
        place
            .until("c", "refused with 50126", |c| {
                let status = c.status.as_ref()?;
                let last = status.last_attempt.as_ref()?;
                (last.code.as_deref() == Some("AADSTS50126") && status.next_attempt.is_none())
                    .then_some(())
            })
            .await;
        let before = place.posts();
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        world.kill_operator().await;
        world.start_operator().await;
        place.operator_has_seen_it().await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), before, "each try counts towards a lockout");
        place.put_secret("password", "password", PASSWORD).await;
        works(&place, "c", ("graph", "v1.0/me")).await;
    });
}

#[test]
fn what_a_person_has_to_do_is_reported() {
    run(async {
        let world = World::shared().await;
        let label = "mfa";
        let place = place(world, label).await;
        place
            .issuer
            .add_user(User::new(user(label), PASSWORD).needs_mfa())
            .expect("a user");
        let assertion =
            place
                .issuer
                .issue_user_token(&place.client, &user(label), Duration::from_hours(1));
        place.put_secret("assertion", "token", &assertion).await;
        let grant =
            json!({ "onBehalfOf": { "assertionRef": { "name": "assertion", "key": "token" } } });
        place
            .create(
                "c",
                json!({ "grant": grant, "scopes": null, "api": "MicrosoftGraph" }),
            )
            .await;
        place
            .until("c", "a person is needed", |c| {
                let last = c.status.as_ref()?.last_attempt.as_ref()?;
                (last.code.as_deref() == Some("AADSTS50076")
                    && last.error.as_deref() == Some("interaction_required"))
                .then_some(())
            })
            .await;
    });
}

#[test]
fn permissions_that_are_missing_are_reported_with_who_grants_them() {
    run(async {
        let world = World::shared().await;
        let place = world.place("expect").await;
        let spec = json!({
            "scopes": null, "api": "DefenderForCloudApps",
            "expect": { "roles": ["Investigation.Read", "Investigation.Manage"], "tenant": place.issuer.tenant() },
        });
        place.create("c", spec).await;
        place.ready("c").await;
        let told = place
            .until("c", "what is missing", |c| {
                condition(c, "PermissionsMissing")
            })
            .await;
        assert_eq!(told.reason, "RolesMissing");
        let consent = format!(
            "/{}/adminconsent?client_id={}",
            place.issuer.tenant(),
            place.client
        );
        assert!(
            told.message.contains("Investigation.Manage")
                && !told.message.contains("permissions Investigation.Read,")
                && told.message.contains(&consent)
                && told.message.contains("Microsoft Cloud App Security"),
            "{}",
            told.message
        );
        place.add_client(
            place
                .oauth_client()
                .role("cloudapps", "Investigation.Manage"),
        );
        place.request_renewal("c").await;
        place
            .until("c", "nothing missing", |c| {
                condition(c, "PermissionsMissing").is_none().then_some(())
            })
            .await;
    });
}

#[test]
fn the_end_of_a_client_secret_is_reported_ahead() {
    run(async {
        let world = World::shared().await;
        let place = world.place("ending").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 10);
        let note = json!({ "metadata": { "annotations": { "apicred.dev/secret-expires-at": soon.to_string() } } });
        place.edit_secret("source", note).await;
        let told = place
            .until("c", "the warning", |c| {
                condition(c, "ClientCredentialExpiring")
            })
            .await;
        assert_eq!(told.reason, "SecretExpiring");
        assert_eq!(place.posts(), 1, "a note is no reason for a token");
        // The series is there with 0 as well. Other tests may add to it, and none takes this one away.
        let series = "apicred_client_credentials_ending{state=\"expiring\"}";
        let ending = world.operator().metric(series).await;
        assert!(ending.is_some_and(|count| count >= 1), "{ending:?}");
        let later = soon + jiff::SignedDuration::from_hours(24 * 60);
        let note = json!({ "metadata": { "annotations": { "apicred.dev/secret-expires-at": later.to_string() } } });
        place.edit_secret("source", note).await;
        place
            .until("c", "no warning", |c| {
                condition(c, "ClientCredentialExpiring")
                    .is_none()
                    .then_some(())
            })
            .await;
    });
}

#[test]
fn other_formats_are_written_without_a_request() {
    run(async {
        let world = World::shared().await;
        let place = world.place("formats").await;
        place.create("c", json!({})).await;
        let old = place.ready("c").await;
        let keys = json!([
            { "format": "Authorization" },
            { "format": "DotEnv", "key": "api.env", "variable": "API_TOKEN" },
            { "format": "Netrc", "host": "git.example.com" },
        ]);
        place
            .edit("c", json!({ "spec": { "target": { "keys": keys } } }))
            .await;
        let data = testenv::eventually(crate::support::SOON, "the new keys", async || {
            let data = place.secrets().get("token").await.ok()?.data?;
            data.contains_key("api.env").then_some(data)
        })
        .await;
        let names: Vec<&str> = data.keys().map(String::as_str).collect();
        assert_eq!(names, [".netrc", "api.env", "authorization"]);
        assert_eq!(
            data["authorization"].0,
            format!("Bearer {}", old.token).into_bytes()
        );
        assert_eq!(place.posts(), 1, "the issuer was not asked");
        // From keys that hide it to keys that show it: one token more, and no loop.
        place
            .edit(
                "c",
                json!({ "spec": { "target": { "keys": [{ "format": "DotEnv" }] } } }),
            )
            .await;
        testenv::eventually(crate::support::SOON, "the hidden one", async || {
            let data = place.secrets().get("token").await.ok()?.data?;
            data.contains_key(".env").then_some(())
        })
        .await;
        place
            .edit("c", json!({ "spec": { "target": { "keys": null } } }))
            .await;
        place.another_token("token", &old).await;
        assert_eq!(place.posts(), 2);
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        // Somebody's hand on a key of the new set is seen.
        place
            .edit(
                "c",
                json!({ "spec": { "target": { "keys": [{ "format": "Authorization" }] } } }),
            )
            .await;
        testenv::eventually(crate::support::SOON, "one key", async || {
            let data = place.secrets().get("token").await.ok()?.data?;
            (data.len() == 1).then_some(())
        })
        .await;
        place
            .edit_secret(
                "token",
                json!({ "stringData": { "authorization": "Bearer spoilt" } }),
            )
            .await;
        testenv::eventually(crate::support::SOON, "the repair", async || {
            let data = place.secrets().get("token").await.ok()?.data?;
            (data["authorization"].0 != b"Bearer spoilt").then_some(())
        })
        .await;
        place.delete("c").await;
    });
}
