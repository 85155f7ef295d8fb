//! The port to which the browser returns. Every program on the machine, and every page in a browser, can send data to
//! it.

use std::time::Duration;

use apicred::oauth::sign_in::{Consent, Sender};
use futures::future::join_all;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use url::Url;

use super::user;
use crate::{
    callback::{CallbackResult, RedirectListener},
    page::Page,
    wire::explain,
};

fn allowed() -> Consent {
    Consent::new(&user(None).issuer, Vec::new())
}

fn sender(consent: &Consent) -> Sender<'_> {
    Sender {
        issuer: None,
        announced: false,
        consent,
    }
}

/// Requests a page like a browser, without waiting for the end of the answer.
async fn get(listener: &Url, path_and_query: &str) -> String {
    let (host, port) = (
        listener.host_str().expect("a host"),
        listener.port().expect("a port"),
    );
    let mut stream = TcpStream::connect((host, port))
        .await
        .expect("an open listener");
    let request = format!(
        "GET {path_and_query} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn the_listener_waits_for_the_right_browser_and_shows_the_last_page() {
    let listener = RedirectListener::open(false, None, None)
        .await
        .expect("a port");
    let at = Url::parse(&listener.redirect_uri).expect("a URL");
    assert_eq!(at.path(), "/callback");
    let browser = tokio::spawn(async move {
        let favicon = get(&at, "/favicon.ico").await;
        assert!(favicon.starts_with("HTTP/1.1 404"), "{favicon}");
        let forged = get(&at, "/callback?code=evil&state=guess").await;
        assert!(forged.starts_with("HTTP/1.1 400"), "{forged}");
        get(&at, "/callback?code=good&state=word").await
    });
    let came = listener
        .wait("word", sender(&allowed()), Duration::from_secs(20))
        .await
        .expect("a browser");
    let CallbackResult::Code(code, waiting) = came else {
        panic!("a refusal");
    };
    assert_eq!(code.expose_secret(), "good");
    waiting.show(Page::done("As ada.".to_owned())).await;
    let page = browser.await.expect("a page");
    assert!(
        page.contains("As ada.") && page.contains("no-store"),
        "{page}"
    );
}

#[tokio::test]
async fn a_failure_ends_the_wait_and_so_does_the_deadline() {
    let listener = RedirectListener::open(true, None, None)
        .await
        .expect("a port");
    let at = Url::parse(&listener.redirect_uri).expect("a URL");
    assert_eq!(at.path(), "/");
    let browser = tokio::spawn(async move { get(&at, "/?error=access_denied&state=word").await });
    let came = listener
        .wait("word", sender(&allowed()), Duration::from_secs(20))
        .await
        .expect("a browser");
    let CallbackResult::Refused(token_error, waiting) = came else {
        panic!("a code");
    };
    let reported = explain(&token_error);
    assert!(
        reported.contains("access_denied") && reported.contains("declined"),
        "{reported}"
    );
    waiting.show(Page::failed(reported)).await;
    let page = browser.await.expect("a page");
    assert!(page.contains("Not signed in"), "{page}");

    let listener = RedirectListener::open(true, None, None)
        .await
        .expect("a port");
    let reported = listener
        .wait("word", sender(&allowed()), Duration::from_millis(50))
        .await;
    assert!(
        reported
            .err()
            .expect("no visitor")
            .contains("before the timeout")
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_reported() {
    let first = RedirectListener::open(true, None, None)
        .await
        .expect("a port");
    let port = Url::parse(&first.redirect_uri).expect("a URL").port();
    let reported = RedirectListener::open(true, None, port)
        .await
        .err()
        .expect("taken");
    assert!(reported.contains("--port"), "{reported}");
    let given = Url::parse("http://localhost:1/").expect("a URL");
    let reported = RedirectListener::open(true, Some(&given), Some(2))
        .await
        .err()
        .expect("two ports");
    assert!(reported.contains("two ports"), "{reported}");
}

/// Sends these bytes, and returns the answer until the end of the connection.
async fn send(listener: &Url, bytes: &[u8]) -> String {
    let place = (
        listener.host_str().expect("a host"),
        listener.port().expect("a port"),
    );
    let mut stream = TcpStream::connect(place).await.expect("an open listener");
    // The listener may close the connection in the middle.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request with this head.
fn request(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}connection: close\r\n\r\n").into_bytes()
}

/// Requests from others, none of which is the answer to the sign-in.
fn nonsense() -> Vec<Vec<u8>> {
    let long = "a".repeat(1 << 20);
    let origin = "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n";
    let many = "x: y\r\n".repeat(5_000);
    vec![
        // Another protocol, or no protocol.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0; 4_096],
        b"\r\n\r\n\r\n\r\n".to_vec(),
        b"GET /callback?code=evil&state=word\r\n\r\n".to_vec(),
        // Heads that never end.
        request(&format!("GET /callback?code={long}&state=word"), ""),
        request(
            "GET /callback?code=evil&state=word",
            &format!("x: {long}\r\n"),
        ),
        request("GET /callback?code=evil&state=word", &many),
        // Another method or path, with the correct state: a page cannot make a browser send it like the issuer does.
        request(
            "POST /callback?code=evil&state=word",
            "content-length: 0\r\n",
        ),
        request("HEAD /callback?code=evil&state=word", ""),
        request("OPTIONS /callback?code=evil&state=word", origin),
        request("GET /other?code=evil&state=word", ""),
        request("GET /callback/?code=evil&state=word", ""),
        request("GET //callback?code=evil&state=word", ""),
        // Another origin that does not know the state.
        request("GET /callback?code=evil&state=guess", origin),
        request("GET /callback?code=evil&state=", origin),
        request("GET /callback?code=evil", origin),
        request("GET /callback?code=evil&state=word&state=word", origin),
        request("GET /callback?code=evil&state=word%00", origin),
        request("GET /callback?error=access_denied&state=guess", origin),
        request("GET /callback", ""),
        // A body that is larger than the limit.
        request(
            "POST /callback",
            &format!("content-length: {}\r\n", u64::MAX),
        ),
        request(
            "GET /callback?code=evil&state=guess",
            "transfer-encoding: chunked\r\n",
        ),
    ]
}

#[tokio::test]
async fn requests_of_other_programs_are_rejected_and_the_user_comes_through() {
    let listener = RedirectListener::open(false, None, None)
        .await
        .expect("a port");
    let at = Url::parse(&listener.redirect_uri).expect("a URL");
    let all = tokio::spawn(async move {
        // Clients that hold connections without sending anything, or that never finish: more than the limit of the listener.
        let place = ("127.0.0.1", at.port().expect("a port"));
        let holds = (0..100).map(async |n| {
            let mut stream = TcpStream::connect(place).await.ok()?;
            let half: &[u8] = if n % 2 == 0 { b"" } else { b"GET /callback?co" };
            stream.write_all(half).await.ok()?;
            Some(stream)
        });
        let held = join_all(holds).await;
        let answers = nonsense();
        let answers = join_all(answers.iter().map(|bytes| send(&at, bytes))).await;
        for answer in &answers {
            assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
            assert!(
                !answer.contains("evil"),
                "what was sent comes back: {answer}"
            );
        }
        // At least one must have got an answer, and not only a closed connection.
        let reported = answers
            .iter()
            .filter(|a| a.starts_with("HTTP/1.1 4"))
            .count();
        assert!(reported >= 12, "{reported} were answered: {answers:?}");
        let page = get(&at, "/callback?code=good&state=word").await;
        drop(held);
        page
    });
    let consent = allowed();
    let waits = listener.wait("word", sender(&consent), Duration::from_mins(1));
    let CallbackResult::Code(code, browser) = waits.await.expect("a browser") else {
        panic!("a refusal");
    };
    assert_eq!(code.expose_secret(), "good");
    // It ends in time although other clients still hold connections.
    let reported = timeout(
        Duration::from_secs(20),
        browser.show(Page::done("As ada.".to_owned())),
    );
    reported.await.expect("an end");
    let page = all.await.expect("a page");
    assert!(page.contains("As ada."), "{page}");
}

#[tokio::test]
async fn only_the_first_answer_to_a_sign_in_counts() {
    let listener = RedirectListener::open(false, None, None)
        .await
        .expect("a port");
    let at = Url::parse(&listener.redirect_uri).expect("a URL");
    let first = tokio::spawn({
        let at = at.clone();
        async move { get(&at, "/callback?code=good&state=word").await }
    });
    let consent = allowed();
    let waits = listener.wait("word", sender(&consent), Duration::from_mins(1));
    let CallbackResult::Code(code, browser) = waits.await.expect("a browser") else {
        panic!("a refusal");
    };
    // While the code is redeemed, another client sends a different code with the correct state.
    let again = request("GET /callback?code=evil&state=word", "");
    let place = ("127.0.0.1", at.port().expect("a port"));
    let mut second = TcpStream::connect(place).await.expect("an open listener");
    second.write_all(&again).await.expect("a request");
    browser.show(Page::done("As ada.".to_owned())).await;
    assert_eq!(code.expose_secret(), "good");
    assert!(first.await.expect("a page").contains("As ada."));
    let mut answer = Vec::new();
    let _ = second.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("As ada."), "{answer}");
}
