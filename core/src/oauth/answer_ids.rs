//! What identifies an answer in the logs of its issuer.

use serde::{Deserialize, Serialize};

use super::TokenError;

/// The status, codes and ids of an answer without a token. Only values of fixed alphabets, no free text.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerIds {
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// OAuth `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The server's own code of the error, such as `AADSTS7000215`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Entra's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Entra's id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl From<&TokenError> for AnswerIds {
    fn from(token_error: &TokenError) -> Self {
        Self {
            http_status: token_error.http_status,
            error: token_error.error.clone(),
            code: token_error.code(),
            correlation_id: token_error.correlation_id.clone(),
            trace_id: token_error.trace_id.clone(),
        }
    }
}

impl AnswerIds {
    /// The part that is the same at another attempt with the same result.
    #[must_use]
    pub fn repeated(self) -> Self {
        Self {
            correlation_id: None,
            trace_id: None,
            ..self
        }
    }

    /// Text for messages. None: there was no answer.
    pub fn text(&self) -> Option<String> {
        let status = self.http_status.map(|status| format!("HTTP {status}"));
        let parts = [status, self.error.clone(), self.code.clone()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let id = self.correlation_id.as_ref();
        let id = id.map_or(String::new(), |id| format!(" (correlation id {id})"));
        (!parts.is_empty()).then(|| format!("the issuer answered {}{id}", parts.join(", ")))
    }
}
