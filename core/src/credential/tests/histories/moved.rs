//! Histories of one edit: an issuer, or its realm, takes the place of another.

use super::*;

#[test]
fn a_token_of_an_administrators_issuer_goes_to_no_issuer_of_the_namespace_at_the_same_address() {
    let place = Place {
        shape: Shape::OAuth2,
        host: 0,
        documents: (0, 0),
        alias: None,
        path: 0,
    };
    let mut world = World {
        issuers: [place; ISSUERS],
        refer: 0,
        client: 0,
        scope: 0,
        grant: "clientCredentials",
        memory: None,
        secret: None,
        state: None,
    };
    world.renew();
    let token = world.secret.clone().unwrap();
    let may = |world: &World| {
        let credential = world.credential().unwrap();
        let endpoint = world.endpoint(&credential).unwrap();
        let to = endpoint.revocation.clone().unwrap();
        may_return(Some(&token.issued), &now(&credential, &endpoint), &to).is_ok()
    };
    assert!(may(&world));
    // Another object of an administrator with the same address is the same issuer.
    world.refer = 1;
    assert!(may(&world));
    // The namespace chooses the certificates of its own issuer.
    world.refer = 2;
    assert!(!may(&world));

    // The same holds for refresh tokens. An administrator's issuer may take over what was an issuer of the namespace.
    let refreshes = |world: &World, noted: &str| {
        let credential = world.credential().unwrap();
        let endpoint = world.endpoint(&credential).unwrap();
        let notes = crate::fixtures::map(&[(ISSUED_BY, noted)]);
        may_refresh(&credential, &endpoint, "grant", Some(&notes)).is_ok()
    };
    // An origin alone was recorded by a user.
    let (theirs, own) = ("https://good.example", "https://good.example TokenIssuer");
    assert!(refreshes(&world, own) && !refreshes(&world, theirs));
    world.refer = 0;
    assert!(refreshes(&world, own) && refreshes(&world, theirs));
    assert!(!refreshes(&world, "https://evil.example") && !refreshes(&world, ""));
}

/// Realms of one server, each of which is a separate issuer.
#[test]
fn a_refresh_token_goes_to_no_other_realm_of_its_server_unless_an_administrator_moves_the_realm() {
    let oauth2 = |url: &str| json!({ "oauth2": { "tokenUrl": url } });
    let oidc = |url: &str| json!({ "oidc": { "issuerUrl": url } });
    let entra = |tenant: &str| json!({ "entra": { "tenantId": tenant } });
    let mark_and_may = |name: &str, own: bool, spec: &serde_json::Value, noted: Option<&str>| {
        let mut spec = spec.clone();
        let issuer = if own {
            Issuer::namespaced(&token_issuer(&spec), &[]).unwrap()
        } else {
            spec["allowedNamespaces"] = json!({ "selector": {} });
            let mut object = cluster_issuer(&spec);
            object.metadata.name = Some(name.to_owned());
            Issuer::cluster(&object).unwrap()
        };
        let key = json!({ "name": "grant", "key": "k" });
        let change = json!({ "grant": { "refreshToken": { "secretRef": key } } });
        let credential = parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap();
        let endpoint = known_endpoint(&credential).unwrap_or_else(|| {
            let url = spec["oidc"]["issuerUrl"].as_str().unwrap();
            // As at Google: all realms have one token endpoint, on another host.
            let document =
                json!({ "issuer": url, "token_endpoint": "https://tokens.example/token" });
            discovery::read(url, document.to_string().as_bytes(), None).unwrap()
        });
        let notes = noted.map(|noted| crate::fixtures::map(&[(ISSUED_BY, noted)]));
        let may = may_refresh(&credential, &endpoint, "grant", notes.as_ref()).is_ok();
        (issuer_mark(&credential, &endpoint), may)
    };
    let fixed = [1, 2].map(|n| oauth2(&format!("https://server.example/realms/{n}/token")));
    let queries = [1, 2].map(|n| oauth2(&format!("https://server.example/token?p=realm-{n}")));
    let none = oauth2("https://server.example/token");
    let elsewhere = oauth2("https://other.example/realms/1/token");
    let found = [1, 2].map(|n| oidc(&format!("https://server.example/realms/{n}")));
    let tenants = [entra("contoso.example"), entra("fabrikam.example")];
    for (from, to, by_its_administrator) in [
        (&fixed[0], &fixed[1], true),
        (&fixed[1], &fixed[0], true),
        (&queries[0], &queries[1], true),
        (&queries[0], &none, true),
        (&none, &queries[0], true),
        (&fixed[0], &elsewhere, false),
        (&found[0], &found[1], true),
        (&found[1], &found[0], true),
        // A discovery document names another host than the token URL did.
        (&fixed[0], &found[0], false),
        (&found[0], &fixed[0], false),
        // A tenant by its name, and then by its id: the host belongs to Microsoft.
        (&tenants[0], &tenants[1], true),
        (&tenants[0], &fixed[0], false),
    ] {
        for own in [false, true] {
            let (noted, _) = mark_and_may("one", own, from, None);
            let may = |name, own, spec| mark_and_may(name, own, spec, Some(&noted)).1;
            let case = format!("{from} {to} {own}");
            assert!(may("one", own, from), "{case}: nothing changed");
            assert!(may("two", own, from), "{case}: another name");
            assert!(!may("two", own, to), "{case}: another issuer");
            assert_eq!(may("one", own, to), by_its_administrator && !own, "{case}");
        }
    }
}

/// The example of RFC 8705 section 5: the endpoints for clients that show a certificate are on another host.
#[test]
fn a_token_for_a_certificate_goes_back_to_the_hosts_that_its_issuer_had_for_it() {
    let parts = |alias: Option<&str>, mtls: bool| {
        let issuer = json!({ "oidc": { "issuerUrl": "https://server.example" } });
        let issuer = Issuer::namespaced(&token_issuer(&issuer), &[]).unwrap();
        let client = if mtls {
            json!({ "secrets": null, "mtls": { "secretName": "t" } })
        } else {
            json!({})
        };
        let key = json!({ "name": "grant", "key": "k" });
        let change = json!({ "client": client, "grant": { "refreshToken": { "secretRef": key } } });
        let credential = parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap();
        let mut document = json!({
            "issuer": "https://server.example", "token_endpoint": "https://server.example/token",
        });
        if let Some(alias) = alias {
            document["mtls_endpoint_aliases"] = json!({ "token_endpoint": alias });
        }
        let document = document.to_string();
        let endpoint = discovery::read("https://server.example", document.as_bytes(), None);
        (credential, endpoint.unwrap())
    };
    let (alias, evil) = ("https://mtls.example/token", "https://evil.example/token");
    let issued = |alias, mtls| {
        let (credential, endpoint) = parts(alias, mtls);
        now(&credential, &endpoint)
    };
    let may = |by: &IssuedBy, alias, mtls, to: &str| {
        let to = Url::parse(to).unwrap();
        may_return(Some(by), &issued(alias, mtls), &to).is_ok()
    };
    let refreshes = |noted: &str, alias, mtls| {
        let (credential, endpoint) = parts(alias, mtls);
        let notes = crate::fixtures::map(&[(ISSUED_BY, noted)]);
        may_refresh(&credential, &endpoint, "grant", Some(&notes)).is_ok()
    };
    let by = issued(Some(alias), true);
    assert_eq!(
        by.issuer,
        "https://server.example mtls=https://mtls.example iss=https://server.example TokenIssuer"
    );
    assert!(may(&by, Some(alias), true, "https://mtls.example/revoke"));
    // The document need not have an alias of its revocation endpoint.
    assert!(may(&by, Some(alias), true, "https://server.example/revoke"));
    assert!(refreshes(&by.issuer, Some(alias), true));
    // The document names another host now, or none.
    assert!(!may(&by, Some(evil), true, "https://evil.example/revoke"));
    assert!(!may(&by, Some(evil), true, "https://server.example/revoke"));
    assert!(!may(&by, None, true, "https://mtls.example/revoke"));
    assert!(!refreshes(&by.issuer, Some(evil), true));
    // A token without a certificate does not go to the host for certificates.
    let plain = issued(Some(alias), false);
    assert_eq!(
        plain.issuer,
        "https://server.example iss=https://server.example TokenIssuer"
    );
    assert!(may(
        &plain,
        Some(alias),
        false,
        "https://server.example/revoke"
    ));
    assert!(!may(
        &plain,
        Some(alias),
        false,
        "https://mtls.example/revoke"
    ));
    assert!(!may(
        &plain,
        Some(alias),
        true,
        "https://mtls.example/revoke"
    ));
    // A host that a user wrote by hand means every issuer there.
    assert!(refreshes(
        "https://server.example TokenIssuer",
        Some(alias),
        true
    ));
}
