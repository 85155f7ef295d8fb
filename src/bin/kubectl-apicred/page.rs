//! The page that the browser shows at the end of a sign-in.

use axum::{
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};

/// The content of the page.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn done(text: String) -> Self {
        Self {
            status: StatusCode::OK,
            title: "Signed in",
            text,
        }
    }

    pub(crate) fn failed(text: String) -> Self {
        Self {
            status: StatusCode::OK,
            title: "Not signed in",
            text,
        }
    }

    pub(crate) fn stray() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "Not expected here",
            text: "This is not the answer to the current sign-in. Open the URL that the command line shows.".to_owned(),
        }
    }

    pub(crate) fn html(&self) -> String {
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}</style>\
             </head><body><h1>{title}</h1><p>{text}</p><p>You can close this window.</p></body></html>\n",
            title = self.title,
            text = escape(&self.text),
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        // The address in the browser contains the code: nothing may be loaded, cached or sent because of it.
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            ),
            (CONNECTION, "close"),
        ];
        (self.status, headers, self.html()).into_response()
    }
}

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    apicred::printable(text)
        .chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}
