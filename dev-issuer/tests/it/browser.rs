//! A user with a browser, as far as the tests of sign-in need one.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{Bench, Reply};

pub(crate) const USER: &str = "ada@contoso.example";
pub(crate) const PASSWORD: &str = "ada~password.1";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Where `demo-cli` may be sent: a port that it did not register.
pub(crate) const LOOPBACK: &str = "http://localhost:43210/";
pub(crate) const ENTRA: &str = "/{tenant}/oauth2/v2.0/authorize";
pub(crate) const GENERIC: &str = "/generic/authorize";

pub(crate) type Pairs<'a> = Vec<(&'a str, &'a str)>;

pub(crate) fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()))
}

/// The parameters of a correct authorization request; the issuer checks `scope`.
pub(crate) fn authorization_request<'a>(challenge: &'a str, scope: &'a str) -> Pairs<'a> {
    vec![
        ("client_id", "demo-cli"),
        ("response_type", "code"),
        ("redirect_uri", LOOPBACK),
        ("scope", scope),
        ("state", "st&te=1"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ]
}

/// Opens the address.
pub(crate) async fn open(bench: &Bench, path: &str, query: &[(&str, &str)]) -> Reply {
    let mut url = reqwest::Url::parse(&bench.url(path)).unwrap();
    url.query_pairs_mut().extend_pairs(query);
    Reply::of(bench.http.get(url).send().await.unwrap()).await
}

/// Fills the form of a page in and presses a button.
pub(crate) async fn press(
    bench: &Bench,
    path: &str,
    page: &Reply,
    (user, password, decision): (&str, &str, &str),
) -> Reply {
    let mut fields = hidden(page);
    for (name, value) in [
        ("user", user),
        ("password", password),
        ("decision", decision),
    ] {
        fields.insert(name.to_owned(), value.to_owned());
    }
    let request = bench.http.post(bench.url(path)).form(&fields);
    Reply::of(request.send().await.unwrap()).await
}

/// The hidden inputs of a page.
pub(crate) fn hidden(page: &Reply) -> BTreeMap<String, String> {
    let inputs = page.body.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            let (value, _) = rest.split_once("\">").unwrap();
            (plain(name), plain(value))
        })
        .collect()
}

fn plain(html: &str) -> String {
    html.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// The parameters of the redirect to the client, if the browser was sent to `redirect_uri`.
pub(crate) fn redirected(reply: &Reply, redirect_uri: &str) -> BTreeMap<String, String> {
    assert_eq!(reply.status, 302, "{reply:?}");
    let location = reqwest::Url::parse(reply.header("location")).unwrap();
    let pairs = location.query_pairs().into_owned().collect();
    let mut bare = location.clone();
    bare.set_query(None);
    assert_eq!(bare.as_str(), redirect_uri);
    pairs
}

/// The code of a user who allows everything.
pub(crate) async fn code(bench: &Bench, path: &str, query: &[(&str, &str)]) -> String {
    bench.issuer.auto_approve(Some(USER)).unwrap();
    let reply = open(bench, path, query).await;
    let query = query.iter().find(|(name, _)| *name == "redirect_uri");
    redirected(&reply, query.unwrap().1)["code"].clone()
}

/// The request that redeems a code.
pub(crate) fn redeeming(code: &str) -> Pairs<'_> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", "demo-cli"),
        ("code", code),
        ("redirect_uri", LOOPBACK),
        ("code_verifier", VERIFIER),
    ]
}
