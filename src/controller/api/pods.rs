//! Lists pods by metadata, one page at a time, and reads one pod at a time, because users control the size of a pod's metadata.

use std::pin::pin;

use futures::AsyncBufReadExt;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Client, Resource, api::ListParams, core::Request};
use serde::Deserialize;

use super::list_body::{ListBody, Part};
use crate::plan::notify::{self, PAGE};

/// Pods whose containers have terminated do not read files.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// A page of a list.
#[derive(Debug, Default)]
pub(in crate::controller) struct PodPage {
    pub(in crate::controller) pods: Vec<SelectedPod>,
    /// The token of the next page; empty on the last one.
    pub(in crate::controller) more: String,
}

/// The used fields of a pod.
#[derive(Debug)]
pub(in crate::controller) struct SelectedPod {
    pub(in crate::controller) name: String,
    pub(in crate::controller) uid: String,
    ending: bool,
    noted: Option<String>,
}

impl SelectedPod {
    /// The pod as input of the decision.
    pub(in crate::controller) fn seen(&self) -> notify::Pod<'_> {
        notify::Pod {
            ending: self.ending,
            noted: self.noted.as_deref(),
        }
    }
}

/// The next page of the current pods that a label selector matches.
pub(in crate::controller) async fn page(
    client: &Client,
    namespace: &str,
    selector: &str,
    from: &str,
) -> Result<PodPage, kube::Error> {
    let params = ListParams {
        label_selector: Some(selector.to_owned()),
        field_selector: Some(RUNNING.to_owned()),
        limit: Some(PAGE),
        continue_token: (!from.is_empty()).then(|| from.to_owned()),
        ..ListParams::default()
    };
    let url = Pod::url_path(&(), Some(namespace));
    let request = Request::new(url).list_metadata(&params);
    let request = request.map_err(kube::Error::BuildRequest)?;
    let mut body = pin!(client.request_stream(request).await?);
    let (mut list, mut page) = (ListBody::default(), PodPage::default());
    loop {
        let input = body.fill_buf().await.map_err(broken)?;
        if input.is_empty() {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let (size, part) = list.read(input).map_err(|_| malformed())?;
        let ended = part == Some(Part::End);
        match part {
            Some(Part::Item(item)) => page.pods.push(read(item)?),
            Some(Part::Metadata(metadata)) => {
                let metadata: ListMetadata =
                    serde_json::from_slice(metadata).map_err(|_| malformed())?;
                page.more = metadata.more;
            }
            Some(Part::End) | None => {}
        }
        body.consume_unpin(size);
        if ended {
            return Ok(page);
        }
    }
}

fn broken(error: std::io::Error) -> kube::Error {
    kube::Error::Service(Box::new(error))
}

fn malformed() -> kube::Error {
    broken(std::io::ErrorKind::InvalidData.into())
}

fn read(item: &[u8]) -> Result<SelectedPod, kube::Error> {
    let Object { metadata } = serde_json::from_slice(item).map_err(|_| malformed())?;
    Ok(SelectedPod {
        name: metadata.name,
        uid: metadata.uid,
        ending: metadata.deletion_timestamp.is_some(),
        noted: metadata.annotations.and_then(|a| a.noted),
    })
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    deletion_timestamp: Option<Time>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    // Equal to `names::TOKEN_UPDATED_AT`; a test checks this.
    #[serde(rename = "apicred.dev/token-updated-at")]
    noted: Option<String>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue", default)]
    more: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{api::names, plan::notify::is_due};

    #[test]
    fn a_pod_is_read_by_what_decides() {
        let written = "2026-01-31T09:00:00Z";
        let pod = |more: &serde_json::Value| {
            let mut pod =
                json!({ "metadata": { "name": "p", "uid": "u", "labels": { "app": "a" } } });
            for (key, value) in more.as_object().unwrap() {
                pod["metadata"][key] = value.clone();
            }
            read(&serde_json::to_vec(&pod).unwrap()).unwrap()
        };
        let at = written.parse().unwrap();
        for (more, due) in [
            (json!({}), true),
            (json!({ "annotations": null }), true),
            (json!({ "annotations": { "other": written } }), true),
            (
                json!({ "annotations": { names::TOKEN_UPDATED_AT: written } }),
                false,
            ),
            (
                json!({ "annotations": { names::TOKEN_UPDATED_AT: "2026-01-31T08:59:59Z" } }),
                true,
            ),
            (json!({ "deletionTimestamp": written }), false),
        ] {
            assert_eq!(is_due(pod(&more).seen(), at), due, "{more}");
        }
        assert!(read(b"{}").is_err());
    }
}
