//! The defaults without a config file: enough to try every preset of apicred and every failure that a
//! directory can return.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use crate::users::User;

use super::{
    AssertionAudience, Client, Config, IdentityEndpoints, RefreshPolicy, Resource, Route, Secret,
    Tenant,
};

/// Long ago, for the expired secret.
const PAST: Timestamp = Timestamp::UNIX_EPOCH;
/// After every possible run of the program. A client secret without an expiry would be replaced at once.
const FAR: Timestamp = Timestamp::constant(4_102_444_800, 0);

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            cloud: super::Cloud::Public,
            host: None,
            tenants: vec![Tenant {
                id: "6f3c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50".to_owned(),
                domains: vec!["contoso.example".to_owned()],
            }],
            // The value in the samples of Entra for "one hour".
            lifetime_seconds: 3599,
            refresh_in_seconds: None,
            leeway_seconds: 5,
            resources: resources(),
            clients: clients(),
            generic_scopes: Vec::new(),
            identity: IdentityEndpoints::default(),
            managed_identities: Vec::new(),
            mtls: None,
            users: vec![User::new("ada@contoso.example", "ada~password.1")],
            trusted: Vec::new(),
            auto_approve: None,
            device_interval_seconds: 5,
            device_lifetime_seconds: 900,
            assertion_audience: AssertionAudience::default(),
            refresh_policy: RefreshPolicy::default(),
        }
    }
}

/// ID of the application that replaces its own certificate. The admin API sets the first one.
const ROLLING: &str = "00000000-0000-4000-8000-0000000000e1";
/// ID of the application whose client secret another application replaces, and ID of that one.
const RENEWED: &str = "00000000-0000-4000-8000-0000000000f1";
const ROTATOR: &str = "00000000-0000-4000-8000-0000000000f2";
/// ID of the API in the middle, as a client and as a resource.
const MIDDLE: &str = "00000000-0000-4000-8000-0000000000c1";

fn clients() -> Vec<Client> {
    let for_users = |client: Client| {
        client
            .scope("demo", "Records.Read")
            .scope("cloudapps", "Investigation.Read")
            .scope("endpoint", "Alert.Read")
            .scope("graph", "User.Read")
            .scope("middle", "access_as_user")
    };
    let granted = |client: Client| {
        client
            .role("demo", "Records.Read")
            .role("cloudapps", "Investigation.Read")
            .role("endpoint", "Alert.Read.All")
            .role("xdr", "Incident.Read.All")
            .role("graph", "User.Read.All")
            .role("manageddesktop", "MmdSupport.ReadWrite")
    };
    let mut expired = Client::new("demo-expired");
    expired.secrets = vec![Secret::new("expired~secret.1").expiring(PAST)];
    let mut renewed = Client::new(RENEWED);
    renewed.secrets = vec![Secret::new("renewed~secret.1").expiring(FAR)];
    vec![
        granted(Client::new("demo").secret("demo~secret.1")),
        granted(
            Client::new("demo-short")
                .secret("short~secret.1")
                .lifetime(Duration::from_mins(1)),
        ),
        Client::new("demo-no-roles").secret("no-roles~secret.1"),
        // It may read itself and remove the certificate before the new one.
        Client::new(ROLLING)
            .role("demo", "Records.Read")
            .role("graph", "Application.ReadWrite.OwnedBy")
            .owns(ROLLING),
        renewed.role("demo", "Records.Read"),
        Client::new(ROTATOR)
            .secret("rotator~secret.1")
            .role("graph", "Application.ReadWrite.OwnedBy")
            .owns(RENEWED),
        // A program on a user's machine.
        Client::new("demo-cli")
            .public()
            .redirect_uri("http://localhost")
            .redirect_uri("http://127.0.0.1/callback")
            .scope("demo", "Records.Read")
            .scope("cloudapps", "Investigation.Read")
            .scope("endpoint", "Alert.Read")
            .scope("graph", "User.Read")
            .role("demo", "Records.Read"),
        // A service to which users have signed in, or that stores their passwords.
        for_users(Client::new("demo-user").secret("user~secret.1")).role("demo", "Records.Read"),
        // An API that calls others on behalf of its callers: a client and a resource with the same ID.
        for_users(Client::new(MIDDLE).secret("middle~secret.1")),
        // As Auth0 requires it, and as Salesforce responds.
        granted(Client::new("demo-audience").secret("audience~secret.1")).wants_audience(),
        granted(Client::new("demo-instance").secret("instance~secret.1"))
            .without_lifetime()
            .default_audience("api://demo"),
        granted(expired),
    ]
}

/// Names, audiences and roles as in Microsoft's pages of each API. If those pages do not contain an application ID, it is a
/// placeholder (`…-4000-8000-…`). All of these accept v1 tokens, the custom one accepts v2.
#[expect(clippy::too_many_lines, reason = "a table")]
fn resources() -> Vec<Resource> {
    vec![
        resource("demo", "00000000-0000-4000-8000-0000000000d1", 2)
            .uri("api://demo")
            .roles(&["Records.Read", "Records.Write"])
            .scopes(&["Records.Read", "Records.Write"])
            .route("/whoami", &[])
            .route("/records", &["Records.Read", "Records.Write"])
            .route("/records/write", &["Records.Write"]),
        resource("middle", MIDDLE, 2)
            .uri("api://middle")
            .scopes(&["access_as_user"])
            .route("/", &["access_as_user"]),
        // All registries of Azure have one audience.
        resource("registry", "00000000-0000-4000-8000-0000000000a1", 1)
            .uri("https://containerregistry.azure.net")
            .roles(&["AcrPull"]),
        // Defender for Cloud Apps, registered as "Microsoft Cloud App Security".
        resource("cloudapps", "05a65629-4c1b-48c1-a78b-804c4abdd4af", 1)
            .roles(&[
                "Investigation.Read",
                "Investigation.Manage",
                "Discovery.Read",
                "Discovery.Manage",
                "Settings.Read",
                "Settings.Manage",
            ])
            .scopes(&["Investigation.Read", "Investigation.Manage"])
            .route(
                "/v1/alerts",
                &["Investigation.Read", "Investigation.Manage"],
            )
            .route(
                "/v1/activities",
                &["Investigation.Read", "Investigation.Manage"],
            )
            .route("/v1/discovery", &["Discovery.Read", "Discovery.Manage"])
            .static_key("cloudapps~static.1"),
        // Defender for Endpoint, registered as "WindowsDefenderATP". Its pages contain two spellings of the audience.
        resource("endpoint", "00000000-0000-4000-8000-0000000000e1", 1)
            .uri("https://api.securitycenter.microsoft.com")
            .uri("https://securitycenter.onmicrosoft.com/windowsatpservice")
            .roles(&["Alert.Read.All", "Alert.ReadWrite.All"])
            .scopes(&["Alert.Read", "Alert.ReadWrite"])
            .route(
                "/alerts",
                &[
                    "Alert.Read.All",
                    "Alert.ReadWrite.All",
                    "Alert.Read",
                    "Alert.ReadWrite",
                ],
            ),
        // Defender XDR, registered as "Microsoft Threat Protection".
        resource("xdr", "00000000-0000-4000-8000-0000000000a1", 1)
            .uri("https://api.security.microsoft.com")
            .roles(&["Incident.Read.All", "AdvancedHunting.Read.All"])
            .route("/incidents", &["Incident.Read.All"])
            .route("/advancedhunting", &["AdvancedHunting.Read.All"]),
        resource("graph", "00000003-0000-0000-c000-000000000000", 1)
            .uri("https://graph.microsoft.com")
            .roles(&[
                "User.Read.All",
                "Application.Read.All",
                "Application.ReadWrite.All",
                "Application.ReadWrite.OwnedBy",
            ])
            .scopes(&["User.Read", "User.Read.All"])
            .route("/v1.0/me", &["User.Read", "User.Read.All"])
            .route("/v1.0/users", &["User.Read.All"]),
        // Managed Desktop, registered as "Modern Workplace Customer APIs". The API itself has another host.
        resource("manageddesktop", "00000000-0000-4000-8000-0000000000b1", 1)
            .uri("https://mwaas-services-customerapi-prod.azurewebsites.net")
            .roles(&["MmdSupport.ReadWrite"])
            .route("/support/odata/v1/tickets", &["MmdSupport.ReadWrite"]),
    ]
}

fn resource(name: &str, app_id: &str, version: u8) -> Resource {
    Resource {
        name: name.to_owned(),
        app_id: app_id.to_owned(),
        uris: Vec::new(),
        access_token_accepted_version: version,
        roles: Vec::new(),
        scopes: Vec::new(),
        routes: Vec::new(),
        static_keys: Vec::new(),
    }
}

impl Resource {
    fn uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    fn roles(mut self, roles: &[&str]) -> Self {
        self.roles = roles.iter().map(ToString::to_string).collect();
        self
    }

    fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(ToString::to_string).collect();
        self
    }

    fn static_key(mut self, key: &str) -> Self {
        self.static_keys.push(Secret::new(key));
        self
    }

    fn route(mut self, path: &str, roles: &[&str]) -> Self {
        self.routes.push(Route {
            path: path.to_owned(),
            roles: roles.iter().map(ToString::to_string).collect(),
        });
        self
    }
}
