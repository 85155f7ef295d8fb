//! Each system for which apicred was made, from YAML to an answer of its API: the request has the form that the system
//! requires, and the token is read from the Secret as a workload reads it.

use std::time::Duration;

use dev_issuer::{AuthMethod, User};
use serde_json::{Value, json};

use super::service_accounts::generic;
use crate::support::{
    Place, World, condition,
    keys::{Kind, keys},
    run,
};

pub(crate) const PASSWORD: &str = "ada~password.of-this-test";

/// A client with every permission of the systems, and a user who may sign in.
pub(crate) async fn place(world: &World, label: &str) -> Place {
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

pub(crate) fn user(label: &str) -> String {
    format!("{label}@contoso.example")
}

/// Waits for the token and calls the API with it.
pub(crate) async fn works(place: &Place, name: &str, (api, path): (&str, &str)) {
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
            let resource = last.resource.clone().or(last
                .scope
                .as_ref()
                .map(|s| s.trim_end_matches("/.default").to_owned()));
            assert_eq!(resource.as_deref(), Some(audience), "{name}");
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
        // A certificate that is not registered at Entra ID.
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
        let reported = place.not_ready("ec", "MaterialInvalid").await;
        assert!(reported.contains("use RSA"), "{reported}");
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
        // Each has its own settings.
        let list = json!([{ "secretName": "new", "algorithm": "RS256" }, { "secretName": "old" }]);
        let spec = json!({
            "client": { "secrets": null, "certificates": list },
            "scopes": null, "api": "ManagedDesktop",
        });
        place.create("c", spec).await;
        let call = ("manageddesktop", "support/odata/v1/tickets");
        works(&place, "c", call).await;
        let used = place.until("c", "the refused one reported", |c| {
            let reported = condition(c, "ClientCredentialExpiring")?;
            let named = reported.message.contains("the certificate in Secret new");
            (reported.reason == "ClientCredentialRefused" && named)
                .then(|| c.status.as_ref()?.client_in_use())?
        });
        assert_eq!(used.await, "old/tls.key");
        // The new one is registered at the issuer now. It is used at the next renewal, and the fault ends.
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
fn auth0_wants_an_audience_and_salesforce_states_no_lifetime() {
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
                .without_lifetime()
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

#[test]
fn missing_permissions_are_reported_with_the_next_step() {
    run(async {
        let world = World::shared().await;
        let place = world.place("expect").await;
        let spec = json!({
            "scopes": null, "api": "DefenderForCloudApps",
            "expect": { "roles": ["Investigation.Read", "Investigation.Manage"], "tenant": place.issuer.tenant() },
        });
        place.create("c", spec).await;
        place.ready("c").await;
        let reported = place
            .until("c", "what is missing", |c| {
                condition(c, "PermissionsMissing")
            })
            .await;
        assert_eq!(reported.reason, "RolesMissing");
        let consent = format!(
            "/{}/adminconsent?client_id={}",
            place.issuer.tenant(),
            place.client
        );
        assert!(
            reported.message.contains("Investigation.Manage")
                && !reported.message.contains("permissions Investigation.Read,")
                && reported.message.contains(&consent)
                && reported.message.contains("Microsoft Cloud App Security"),
            "{}",
            reported.message
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
        let reported = place
            .until("c", "the warning", |c| {
                condition(c, "ClientCredentialExpiring")
            })
            .await;
        assert_eq!(reported.reason, "SecretExpiring");
        assert_eq!(place.posts(), 1, "a note is no reason for a token");
        // The series exists with 0 as well. Other tests may add to it, and none removes this one.
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
        // A quoted token is read back. From keys without it to keys with it: one more token, and no loop.
        for (format, file) in [
            ("DotEnv", ".env"),
            ("CurlConfig", "curlrc"),
            ("TokenType", "token_type"),
        ] {
            let keys = json!({ "spec": { "target": { "keys": [{ "format": format }] } } });
            place.edit("c", keys).await;
            testenv::eventually(crate::support::SOON, format, async || {
                let data = place.secrets().get("token").await.ok()?.data?;
                data.contains_key(file).then_some(())
            })
            .await;
            assert_eq!(place.posts(), 1, "{format}");
        }
        place
            .edit("c", json!({ "spec": { "target": { "keys": null } } }))
            .await;
        place.another_token("token", &old).await;
        assert_eq!(place.posts(), 2);
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        // An edit of a key of the new set is detected.
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
