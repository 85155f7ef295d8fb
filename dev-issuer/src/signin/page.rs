//! The pages that a user sees. Plain HTML: they work in any browser, and a test can read them.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, StatusCode};

use crate::answer::Answer;

/// One input of a form.
pub(crate) enum Field<'a> {
    Hidden(&'a str, &'a str),
    Text {
        name: &'a str,
        label: &'a str,
        value: &'a str,
    },
    Password {
        name: &'a str,
        label: &'a str,
    },
}

/// A page with one form.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) text: &'a str,
    /// The error of the previous attempt.
    pub(crate) alert: Option<&'a str>,
    pub(crate) fields: Vec<Field<'a>>,
}

impl Page<'_> {
    /// The form is sent to the address of the page. `decision` is `allow` or `deny`.
    pub(crate) fn into_answer(self, status: StatusCode) -> Answer {
        let inputs: String = self.fields.iter().map(Field::html).collect();
        let alert = self.alert.map_or(String::new(), |alert| {
            format!("<p role=\"alert\">{}</p>\n", escape(alert))
        });
        let body = format!(
            "<p>{}</p>\n{alert}<form method=\"post\">\n{inputs}<button name=\"decision\" value=\"allow\">Allow</button>\n\
             <button name=\"decision\" value=\"deny\">Deny</button>\n</form>\n",
            escape(self.text)
        );
        html(status, self.title, &body)
    }
}

impl Field<'_> {
    fn html(&self) -> String {
        match self {
            Self::Hidden(name, value) => format!(
                "<input type=\"hidden\" name=\"{}\" value=\"{}\">\n",
                escape(name),
                escape(value)
            ),
            Self::Text { name, label, value } => format!(
                "<p><label>{label} <input name=\"{name}\" value=\"{}\"></label></p>\n",
                escape(value)
            ),
            Self::Password { name, label } => {
                format!("<p><label>{label} <input type=\"password\" name=\"{name}\"></label></p>\n")
            }
        }
    }
}

/// A page with a message only.
pub(crate) fn notice(status: StatusCode, title: &str, text: &str) -> Answer {
    html(status, title, &format!("<p>{}</p>\n", escape(text)))
}

/// A page that submits itself (`response_mode=form_post`).
pub(super) fn form_post(action: &str, fields: &[(&str, &str)]) -> Answer {
    let inputs: String = fields
        .iter()
        .map(|(name, value)| Field::Hidden(name, value).html())
        .collect();
    let body = format!(
        "<form method=\"post\" action=\"{}\">\n{inputs}<button>Continue</button>\n</form>\n\
         <script>document.forms[0].submit()</script>\n",
        escape(action)
    );
    let mut answer = html(StatusCode::OK, "Redirecting", &body);
    answer.headers.remove(CONTENT_SECURITY_POLICY);
    answer
}

fn html(status: StatusCode, title: &str, body: &str) -> Answer {
    let title = escape(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n{body}</html>\n"
    );
    let answer = Answer {
        status,
        body: text.into(),
        ..Answer::default()
    };
    // The address contains the request, and the page contains codes: neither may be passed on to others.
    answer
        .header(CONTENT_TYPE, "text/html; charset=utf-8")
        .header(CONTENT_SECURITY_POLICY, "default-src 'none'")
        .header(HeaderName::from_static("cache-control"), "no-store")
        .header(HeaderName::from_static("referrer-policy"), "no-referrer")
}

/// Text as HTML, also inside of quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_request_becomes_markup() {
        let evil = "\"><script>alert('x')</script>&";
        let page = Page {
            title: evil,
            text: evil,
            alert: Some(evil),
            fields: vec![
                Field::Hidden(evil, evil),
                Field::Text {
                    name: "user",
                    label: "User",
                    value: evil,
                },
            ],
        };
        for answer in [
            page.into_answer(StatusCode::OK),
            notice(StatusCode::OK, evil, evil),
        ] {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(
                !body.contains("<script>") && !body.contains("\"\">"),
                "{body}"
            );
        }
        let post = form_post(evil, &[("code", evil)]);
        let body = String::from_utf8(post.body.to_vec()).unwrap();
        assert_eq!(body.matches("<script>").count(), 1, "{body}");
    }
}
