//! The next step of a token error: a complete sentence, and notes about the request and the answer.

use std::fmt;

/// The reader of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// A user of the cluster: the operator retries automatically, and an administrator configures its proxy.
    Cluster,
    /// A user of `kubectl apicred`, who is present and runs the command again.
    Command,
}

/// What happens after a failure, and who acts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Then {
    /// The sentence contains it.
    #[default]
    Stated,
    /// Another attempt, without a change.
    TryAgain,
    /// Another attempt after a pause.
    Pause,
    /// The proxy needs a user and password.
    SetProxyPassword,
    /// The settings of the proxy are wrong.
    CorrectProxy,
}

impl Then {
    const fn clause(self, reader: Reader) -> &'static str {
        match (self, reader) {
            (Self::Stated, _) => "",
            (Self::TryAgain, Reader::Cluster) => "; apicred tries again",
            (Self::TryAgain, Reader::Command) => "; run the command again",
            (Self::Pause, Reader::Cluster) => "; apicred pauses",
            (Self::Pause, Reader::Command) => "; run the command again later",
            (Self::SetProxyPassword, Reader::Cluster) => "; an administrator adds them",
            (Self::SetProxyPassword, Reader::Command) => "; put them into APICRED_PROXY",
            (Self::CorrectProxy, Reader::Cluster) => "; an administrator corrects them",
            (Self::CorrectProxy, Reader::Command) => "; correct --proxy or APICRED_PROXY",
        }
    }
}

/// A detail of the request or the answer. Each kind is rendered in one place, in the order in which they were noted.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// More in parentheses.
    Aside(String),
    /// Another clause.
    Clause(String),
    /// The rest of the sentence, with its own punctuation.
    Rest(String),
    /// Which entry of the client's list was used.
    Used(String),
    /// The client authentication method that was sent.
    SentMethod(String),
    /// The identity that an assertion named.
    SentIdentity(String),
    /// Scopes, resources and audience of the request.
    Requested(String),
    /// The value in this Secret has an unexpected form.
    UnexpectedForm(String),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aside(text) => write!(f, " ({text})"),
            Self::Clause(text) => write!(f, "; {text}"),
            Self::Rest(text) => f.write_str(text),
            Self::Used(entry) => write!(f, " (used: {entry})"),
            Self::SentMethod(method) => write!(f, " (sent: {method})"),
            Self::SentIdentity(claims) => write!(f, "; sent: {claims}"),
            Self::Requested(what) => write!(f, "; requested: {what}"),
            Self::UnexpectedForm(secret) => write!(
                f,
                "; the stored value has an unexpected form, which the events of Secret {secret} and the operator's log describe"
            ),
        }
    }
}

/// The next step. [`fmt::Display`] writes it for a user of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NextStep(Box<Sentence>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Sentence {
    /// What failed, if the sentence does not name it.
    part: Option<&'static str>,
    text: String,
    then: Then,
    notes: Vec<Note>,
}

impl NextStep {
    /// A sentence, and what happens after it.
    pub fn new(text: impl Into<String>, then: Then) -> Self {
        Self(Box::new(Sentence {
            text: text.into(),
            then,
            ..Sentence::default()
        }))
    }

    /// The same, as the failure of a part.
    #[must_use]
    pub fn of_part(mut self, part: &'static str) -> Self {
        self.0.part = Some(part);
        self
    }

    /// Adds a detail.
    pub fn note(&mut self, note: Note) {
        self.0.notes.push(note);
    }

    /// What happens after the sentence.
    pub fn then(&self) -> Then {
        self.0.then
    }

    /// The failure, without what happens after it.
    pub fn what(&self) -> String {
        self.text_for(None)
    }

    /// The whole sentence.
    pub fn for_reader(&self, reader: Reader) -> String {
        self.text_for(Some(reader))
    }

    fn text_for(&self, reader: Option<Reader>) -> String {
        let Sentence {
            part,
            text: sentence,
            then,
            notes,
        } = &*self.0;
        let mut text = part.map(|p| format!("{p}: ")).unwrap_or_default();
        text.push_str(sentence);
        text.push_str(reader.map_or("", |reader| then.clause(reader)));
        for note in notes {
            text.push_str(&note.to_string());
        }
        text
    }
}

impl fmt::Display for NextStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_reader(Reader::Cluster))
    }
}

impl From<&str> for NextStep {
    fn from(text: &str) -> Self {
        Self::new(text, Then::Stated)
    }
}

impl From<String> for NextStep {
    fn from(text: String) -> Self {
        Self::new(text, Then::Stated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_gets_what_that_reader_can_do() {
        for then in [
            Then::TryAgain,
            Then::Pause,
            Then::SetProxyPassword,
            Then::CorrectProxy,
        ] {
            let mut step = NextStep::new("this failed", then);
            step.note(Note::Used("a key".to_owned()));
            let [cluster, command] = [Reader::Cluster, Reader::Command].map(|r| step.for_reader(r));
            assert_ne!(cluster, command, "{then:?}");
            for text in [&cluster, &command] {
                assert!(text.starts_with("this failed; "), "{text}");
                assert!(text.ends_with(" (used: a key)"), "{text}");
            }
            assert!(!command.contains("apicred "), "{command}");
            assert!(!command.contains("administrator"), "{command}");
            assert_eq!(step.what(), "this failed (used: a key)");
            assert_eq!(step.to_string(), cluster);
        }
    }

    #[test]
    fn what_was_seen_comes_in_its_order_behind_the_part_that_failed() {
        let mut step = NextStep::from("it is wrong").of_part("token endpoint");
        step.note(Note::Clause("first".to_owned()));
        step.note(Note::Aside("second".to_owned()));
        assert_eq!(
            step.to_string(),
            "token endpoint: it is wrong; first (second)"
        );
    }
}
