//! The API server's record of every request. It proves what a program reads and writes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{ControlPlane, Error};

/// One request. Fields that a request does not have are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The user that sent it, such as `system:serviceaccount:apicred:operator`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the HTTP
    /// method in lower case for paths that are not a resource.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural, such as `secrets`.
    pub resource: String,
    /// The subresource, such as `status`.
    pub subresource: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name. A create may have it only in the body, which this record does not contain.
    pub name: String,
    /// The HTTP status.
    pub code: u16,
    /// `ResponseComplete`, `ResponseStarted` (watches) or `Panic`.
    pub stage: String,
    /// When the request arrived.
    pub request_received: Timestamp,
    /// When it was answered; for a watch, when it began.
    pub answered: Timestamp,
    /// The `User-Agent` of the client.
    pub user_agent: String,
    /// Path and query, as requested.
    pub uri: String,
}

/// A moment in the audit log. [`ControlPlane::audit_since`] returns the requests after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditMark(u64);

impl ControlPlane {
    /// All requests since the start that match the filter, each once, in the order in which they ended.
    pub fn audit_events(
        &self,
        filter: impl FnMut(&AuditEvent) -> bool,
    ) -> Result<Vec<AuditEvent>, Error> {
        let mut events = self.audit_since(AuditMark(0))?;
        events.retain(filter);
        Ok(events)
    }

    /// The current end of the log.
    pub fn audit_mark(&self) -> Result<AuditMark, Error> {
        let text = self.audit_text(0)?;
        // Not the length of the file: its last line may be incomplete.
        Ok(AuditMark(text.rfind('\n').map_or(0, |end| end as u64 + 1)))
    }

    /// The requests that were recorded after the mark, each once. Watches are recorded when they
    /// begin, all others when they are answered.
    pub fn audit_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>, Error> {
        Ok(parse(&self.audit_text(mark.0)?))
    }

    /// The same, and the mark from which to continue: for a log that is read while it grows.
    pub fn audit_after(&self, mark: AuditMark) -> Result<(Vec<AuditEvent>, AuditMark), Error> {
        let text = self.audit_text(mark.0)?;
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        // Counted in bytes of the file. The log is JSON in ASCII, so an unreadable byte does not change the length of the text.
        Ok((
            parse(&text[..complete]),
            AuditMark(mark.0 + complete as u64),
        ))
    }

    fn audit_text(&self, from: u64) -> Result<String, Error> {
        let path = &self.layout.audit_log;
        let failed = |error| Error::io("reading", path, error);
        // Without a log (`Options::audit` off) this is an error: no record must not look
        // like a record without requests.
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Parses complete lines only; a line that a killed server left incomplete is skipped.
fn parse(text: &str) -> Vec<AuditEvent> {
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        // A watch is logged when it begins and again when it ends. The beginning counts as the request.
        .filter(|line| !(line.verb == "watch" && line.stage == "ResponseComplete"))
        .filter(|line| line.stage != "RequestReceived")
        .map(AuditEvent::from)
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
    #[serde(default)]
    stage_timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl From<Line> for AuditEvent {
    fn from(line: Line) -> Self {
        Self {
            user: line.user.username,
            verb: line.verb,
            group: line.object_ref.api_group,
            resource: line.object_ref.resource,
            subresource: line.object_ref.subresource,
            namespace: line.object_ref.namespace,
            name: line.object_ref.name,
            code: line.response_status.code,
            stage: line.stage,
            request_received: line.request_received_timestamp,
            answered: line
                .stage_timestamp
                .unwrap_or(line.request_received_timestamp),
            user_agent: line.user_agent,
            uri: line.request_uri,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verb: &str, stage: &str) -> String {
        format!(
            r#"{{"kind":"Event","stage":"{stage}","verb":"{verb}","requestURI":"/api/v1/secrets",
            "user":{{"username":"someone"}},"userAgent":"it","responseStatus":{{"code":200}},
            "objectRef":{{"resource":"secrets","namespace":"a","name":"b"}},
            "requestReceivedTimestamp":"2026-11-20T10:00:00.123456Z"}}"#
        )
        .replace('\n', "")
            + "\n"
    }

    #[test]
    fn each_request_counts_once() {
        let text = line("watch", "ResponseStarted")
            + &line("watch", "ResponseComplete")
            + &line("get", "RequestReceived")
            + &line("get", "ResponseComplete");
        let seen: Vec<String> = parse(&text).into_iter().map(|event| event.verb).collect();
        assert_eq!(seen, ["watch", "get"]);
    }

    #[test]
    fn a_line_in_the_writing_is_left_for_later() {
        let whole = line("get", "ResponseComplete");
        let text = whole.clone() + &whole[..40];
        assert_eq!(parse(&text).len(), 1);
    }

    #[test]
    fn a_torn_line_hides_no_other() {
        let whole = line("get", "ResponseComplete");
        assert_eq!(parse(&format!("{}\n{whole}", &whole[..40])).len(), 1);
    }

    #[test]
    fn a_path_that_is_no_resource_has_empty_fields() {
        let text = r#"{"stage":"ResponseComplete","verb":"get","requestURI":"/readyz","user":{},"requestReceivedTimestamp":"2026-11-20T10:00:00Z"}"#;
        let events = parse(&format!("{text}\n"));
        assert_eq!(
            (events[0].resource.as_str(), events[0].uri.as_str()),
            ("", "/readyz")
        );
    }
}
