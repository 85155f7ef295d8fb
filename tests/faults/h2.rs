//! HTTP/2 that ends in the middle of a request: GOAWAY and resets, once and repeatedly (F54). And names that do not resolve
//! (F55).

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustls::{ServerConnection, StreamOwned};
use serde_json::json;
use testenv::eventually;

use crate::{
    hostile::{Act, Endpoint, at, each},
    scenario::{Case, in_both_modes, world},
    support::{LATER, merge, run},
};

/// The first bytes of a client.
const PREFACE: usize = 24;
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
/// Connections that break in a row.
const STORM: usize = 4;

/// A frame (RFC 9113, section 4.1).
fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, 0]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Of the first request of a connection.
fn reset(code: u32) -> Act {
    Act::Frames(frame(RST_STREAM, 1, &code.to_be_bytes()))
}

/// The server closes the connection, and states up to which request it has executed anything.
fn goaway(last: u32, code: u32) -> Act {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    Act::Frames(frame(GOAWAY, 0, &payload))
}

/// Reads HTTP/2 up to the end of the first request, then sends these frames and closes the connection.
pub(crate) fn play(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    first: &[u8],
    frames: &[u8],
) -> std::io::Result<()> {
    stream.write_all(&frame(SETTINGS, 0, &[]))?;
    stream.flush()?;
    let mut got = first.to_vec();
    while !is_whole(&got) {
        let mut part = [0; 4096];
        match stream.read(&mut part)? {
            0 => return Ok(()),
            read => got.extend(&part[..read]),
        }
    }
    stream.write_all(frames)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Whether the bytes of a client contain the end of the body of a request.
fn is_whole(request: &[u8]) -> bool {
    let mut rest = request.get(PREFACE..).unwrap_or_default();
    while let [a, b, c, kind, flags, _, _, _, _, tail @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(next) = tail.get(length..) else {
            return false;
        };
        if *kind == DATA && flags & END_STREAM != 0 {
            return true;
        }
        rest = next;
    }
    false
}

#[test]
fn an_http_2_connection_that_ends_in_the_middle_of_a_request_is_reported_and_outlived() {
    run(async {
        each([
            ("f54-goaway-before", "IssuerUnreachable", goaway(0, 0)),
            ("f54-goaway-after", "IssuerUnreachable", goaway(1, 0)),
            ("f54-goaway-calm", "IssuerUnreachable", goaway(0, 0xb)),
            ("f54-reset", "IssuerUnreachable", reset(2)),
            ("f54-refused", "IssuerUnreachable", reset(7)),
            ("f54-old", "IssuerUnreachable", reset(0xd)),
        ])
        .await;
    });
}

#[test]
fn a_storm_of_resets_is_met_with_one_request_a_try() {
    run(in_both_modes(async |mode| {
        let endpoint = Endpoint::start((0..STORM).map(|_| reset(2)).collect());
        let mut case = at(mode, "f54-storm", &endpoint).await;
        let view = case.until_ready(None).await;
        assert!(!view.token.is_empty());
        assert_eq!(
            endpoint.requests(),
            STORM + 1,
            "each failure waits for its time"
        );
        case.stays_quiet(Duration::from_millis(500)).await;
        case.stop().await;
    }));
}

#[test]
fn an_unknown_host_name_is_reported_and_works_after_its_correction() {
    run(in_both_modes(async |mode| {
        let endpoint = Endpoint::start(Vec::new());
        let mut case = Case::within(world().await, "f55-name", mode).await;
        let spec = |url: &str| {
            let oauth2 =
                json!({ "entra": null, "oauth2": { "tokenUrl": url }, "caBundle": endpoint.ca });
            merge(case.place.entra_issuer(), oauth2)
        };
        let nowhere = spec("https://nobody.invalid/token");
        let corrected = spec(&endpoint.url);
        case.place.put_issuer(nowhere).await;
        case.start();
        case.place.create("c", json!({})).await;
        eventually(LATER, "a name that leads nowhere", async || {
            let events = case.place.events("c").await;
            let reported = events
                .iter()
                .any(|e| e.1 == "IssuerUnreachable" && e.2.contains("DNS"));
            if reported {
                Ok(())
            } else {
                Err(format!("{events:?}"))
            }
        })
        .await;
        case.place.put_issuer(corrected).await;
        case.until_ready(None).await;
        assert_eq!(endpoint.requests(), 1);
        case.stop().await;
    }));
}
