//! Reasons and types of conditions are values, and the page of reasons explains each; each message contains the next step.

use std::{collections::BTreeSet, fs, path::Path};

use apicred::{ConditionType, Reason};

use super::{files, is_test};

/// Reasons of a sign-in are shown in its terminal, in a sentence.
const OFF_THE_TABLE: [Reason; 7] = [
    Reason::CodeRefused,
    Reason::IssuerMismatch,
    Reason::NoRefreshToken,
    Reason::SignInDeclined,
    Reason::SignInExpired,
    Reason::SignInNotAllowed,
    Reason::SignInNotPossible,
];

/// The reasons in the table of the page, in its first column.
fn explained() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("troubleshooting.md")).expect("the page");
    let rows = page.split("## Reasons").nth(1).expect("reasons");
    let rows = rows.split("\n## ").next().expect("a table");
    let cells = rows
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    // Names are between backticks; the text next to them is not a name.
    cells
        .flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned))
        .collect()
}

#[test]
fn the_page_has_a_row_for_each_reason_of_the_code_and_for_no_other() {
    let explained: BTreeSet<String> = explained().into_iter().collect();
    let exist: BTreeSet<String> = Reason::ALL
        .iter()
        .filter(|reason| !OFF_THE_TABLE.contains(reason) && !reason.is_success())
        .map(ToString::to_string)
        .collect();
    let missing: Vec<_> = exist.difference(&explained).collect();
    assert!(missing.is_empty(), "the page does not explain {missing:?}");
    let gone: Vec<_> = explained.difference(&exist).collect();
    assert!(gone.is_empty(), "no code reports {gone:?}");
    assert!(exist.len() > 120, "{}", exist.len());
    // A success needs no row: the section about events explains it.
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("troubleshooting.md")).expect("the page");
    let named = |r: &&Reason| !page.contains(&format!("`{r}`"));
    let unnamed: Vec<_> = Reason::ALL
        .iter()
        .filter(|r| r.is_success())
        .filter(named)
        .collect();
    assert!(unnamed.is_empty(), "the page does not name {unnamed:?}");
    let code: String = files()
        .into_iter()
        .filter(|(path, _)| !is_test(path) && path != "reason.rs")
        .map(|(_, text)| text)
        .collect();
    let unused: Vec<_> = Reason::ALL
        .iter()
        .filter(|r| !code.contains(&format!("Reason::{r}")))
        .collect();
    assert!(unused.is_empty(), "no code reports {unused:?}");
}

/// Files that contain the text of a reason or of a condition's type, each with the reason.
const TEXTS: [&str; 5] = [
    "reason.rs",
    "condition_type.rs",
    "api/",                       // printer columns
    "controller/cache/packed.rs", // a sample that objects are compressed with
    "scripted.rs",                // an API server for tests
];

/// A reason and a condition's type are values. They become text only where they are shown, and no other code contains the text. A value of
/// the API server is parsed with `Reason::parse` and `ConditionType::is` before it is compared.
#[test]
fn no_reason_is_compared_as_text() {
    let texts: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    let types: BTreeSet<&str> = ConditionType::ALL.iter().map(|t| t.as_str()).collect();
    let as_text = |line: &str| {
        let written = line
            .split('"')
            .any(|part| texts.contains(part) || types.contains(part));
        let shown = line
            .match_indices("Reason::")
            .chain(line.match_indices("ConditionType::"));
        let mut shown = shown.map(|(at, _)| line[at..].split(".as_str()"));
        let shown = shown.any(|mut parts| {
            let name = parts.next().unwrap_or_default();
            parts.next().is_some() && name.chars().all(|c| c.is_alphanumeric() || c == ':')
        });
        let compares = ["==", "!=", "matches!(", ".is(", ".contains("];
        written || shown && compares.iter().any(|how| line.contains(how))
    };
    for refused in [
        "if refusal.reason == \"ClientRefused\" {",
        "const WAITS: [&str; 1] = [\"Pending\"];",
        "\"Stalled\" => true,",
        "if last.reason.as_deref() == Some(Reason::KubernetesUnavailable.as_str()) {",
        "line.condition == ConditionType::Ready.as_str()",
    ] {
        assert!(as_text(refused), "{refused}");
    }
    for allowed in [
        "(Class::Denied, Reason::ClientRefused, \"x\")",
        "reason: Reason::ClientRefused.as_str().to_owned(),",
        "\"not Ready yet\"",
    ] {
        assert!(!as_text(allowed), "{allowed}");
    }
    let found: Vec<String> = files()
        .into_iter()
        .filter(|(path, _)| !is_test(path) && !TEXTS.iter().any(|t| path.starts_with(t)))
        .flat_map(|(path, text)| {
            let text = text.split("mod tests {").next().unwrap_or_default();
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            let found = code.filter(|line| as_text(line));
            let found: Vec<String> = found.map(|l| format!("{path}: {}", l.trim())).collect();
            found
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Words in camel case, with at least two capital letters, that are the only content of a pair of quotes.
fn quoted_words(text: &str) -> BTreeSet<String> {
    let word = |w: &str| {
        w.starts_with(char::is_uppercase)
            && w.chars().all(char::is_alphanumeric)
            && w.chars().filter(|c| c.is_uppercase()).count() > 1
            && w.chars().any(char::is_lowercase)
    };
    // It does not matter which of the parts are the quoted ones: between two texts there is no such word alone.
    let parts = text.split('"').map(str::to_owned);
    parts.filter(|part| word(part)).collect()
}

/// Words in camel case that the code writes and that are neither a reason nor a type of condition.
const NO_REASONS: &[&str] = &[
    // Kinds, and formats of the target's keys.
    "ApiCredential",
    "ClusterTokenIssuer",
    "TokenIssuer",
    "ServiceAccount",
    "ExecCredential",
    "TokenType",
    "ExpiresAt",
    // Operators of label selectors.
    // Where a lifetime was read, and which rule chose the time of a renewal.
    "ExpiresIn",
    "ExpiresOn",
    "HalfLife",
    "MinLifetime",
    "MountDelay",
    "RefreshIn",
    "TooShort",
    "OtherUnit",
    "TooLong",
    // First words of permissions, and the API that describes itself.
    "AdvancedHunting",
    "AdvancedQuery",
    "IntegrationConfiguration",
    "MmdSupport",
    "MWaaSDevice",
    "RemediationTasks",
    "SecurityBaselinesAssessment",
    "SecurityConfiguration",
    "SecurityRecommendation",
    "WindowsDefenderATP",
    "DefenderForCloudApps",
    "DefenderForEndpoint",
    "ManagedDesktop",
    // Of the API server, and of a sample that objects are compressed with.
    "NamespaceTerminating",
    "RequestFailed",
    "MicrosoftGraph",
    // The name of a field manager: Terraform.
    "HashiCorp",
];

/// The code that decides what is reported, without its tests and comments.
fn reporting_code() -> Vec<(String, String)> {
    let rooms = [
        "controller/",
        "credential/",
        "http/",
        "issuer/",
        "oauth/",
        "plan/",
        "publish/",
    ];
    let comment = |line: &&str| !line.trim_start().starts_with("//");
    files()
        .into_iter()
        .filter(|(path, _)| rooms.iter().any(|room| path.starts_with(room)))
        .filter(|(path, _)| !is_test(path) && !path.starts_with("oauth/sign_in/"))
        .map(|(path, text)| {
            let text = text.split("mod tests {").next().unwrap_or_default();
            let lines: Vec<&str> = text.lines().filter(comment).collect();
            (path, lines.join("\n"))
        })
        .collect()
}

#[test]
fn the_page_explains_each_reason_and_each_reason_has_a_step() {
    let sample = "x(\"SecretExpiring\", \"text\", \"A\", \"With blank Here\", \"Word\")";
    assert_eq!(quoted_words(sample), ["SecretExpiring".to_owned()].into());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("troubleshooting.md")).expect("the page");
    let written: BTreeSet<String> = reporting_code()
        .iter()
        .flat_map(|(_, text)| quoted_words(text))
        .collect();
    let missing: Vec<_> = written
        .iter()
        .filter(|word| !NO_REASONS.contains(&word.as_str()))
        .filter(|word| !page.contains(&format!("`{word}`")))
        .collect();
    assert!(missing.is_empty(), "the page does not explain {missing:?}");
    let gone: Vec<_> = NO_REASONS
        .iter()
        .filter(|w| !written.contains(**w))
        .collect();
    assert!(gone.is_empty(), "{gone:?} is no longer written");
    let rows = page.split("## Reasons").nth(1).expect("reasons");
    let rows = rows.split("\n## ").next().expect("a table");
    let rows = rows.lines().filter_map(|line| line.strip_prefix("| `"));
    for (reasons, step) in rows.filter_map(|row| row.split_once('|')) {
        assert!(step.trim().len() > 10, "{reasons} has no next step");
    }
}

/// The code with the text of each reason in its place.
fn with_texts(code: &str) -> String {
    let mut parts = code.split("Reason::");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(part.len());
        out.push_str(&format!("\"{}\"{}", &part[..end], &part[end..]));
    }
    out
}

/// A reason or the path of a field, and the sentence after it, of an error in a piece of code.
fn sentences(code: &str) -> Vec<(String, String)> {
    let reason = |text: &str| !quoted_words(&format!("\"{text}\"")).is_empty();
    let field = |text: &str| text.starts_with("spec.");
    let text_at = |at: usize| -> Option<(&str, usize)> {
        let rest = &code[at..];
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        Some((&rest[..end], at + end + 1))
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = code[at..].find('"') {
        let Some((text, end)) = text_at(at + start + 1) else {
            break;
        };
        at = end;
        let between = code[end..]
            .trim_start()
            .strip_prefix(',')
            .map(str::trim_start);
        let between = between.map(|b| {
            let b = b.strip_prefix("format!(").unwrap_or(b);
            b.strip_prefix("or(").unwrap_or(b).trim_start()
        });
        if let Some(rest) = between.and_then(|b| b.strip_prefix('"'))
            && (reason(text) || field(text))
            && let Some((sentence, _)) = text_at(code.len() - rest.len())
            && sentence.contains(' ')
        {
            found.push((text.to_owned(), sentence.to_owned()));
        }
    }
    found
}

#[test]
fn each_message_has_a_next_step_and_is_short() {
    let sample = "local(A, \"TargetInvalid\", format!(\n \"it \\\"is\\\" {x}; fix it\")), new(\"spec.api\", \"set it\"), f(\"a\", \"b c\")";
    let found = sentences(sample);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].1, "it \\\"is\\\" {x}; fix it");
    // The verbs with which messages describe the next step of a reader or an administrator.
    let steps = [
        "apicred",
        "add",
        "ask",
        "check",
        "choose",
        "configure",
        "correct",
        "create",
        "delete",
        "exclude",
        "fix",
        "give",
        "did",
        "have",
        "look",
        "make",
        "must",
        "name",
        "put",
        "raise",
        "refer",
        "renew",
        "run",
        "remove",
        "report",
        "select",
        "set",
        "sign",
        "store",
        "use",
        "write",
    ];
    let mut count = 0;
    for (path, code) in reporting_code() {
        // The tables of issuers' errors contain complete sentences, followed by a link.
        if path.starts_with("oauth/") {
            continue;
        }
        for (reason, sentence) in sentences(&with_texts(&code)) {
            // Such a part of a sentence is joined with its next step elsewhere.
            if ["{problem}", "{what}", "permissions"]
                .iter()
                .any(|part| sentence.ends_with(part))
            {
                continue;
            }
            count += 1;
            let mut words = sentence.split(|c: char| !c.is_alphanumeric());
            assert!(
                words.any(|word| steps.contains(&word.strip_suffix("s").unwrap_or(word))),
                "{path}: {reason} does not say what to do: {sentence}"
            );
            assert!(
                sentence.chars().count() < 500,
                "{path}: {reason}: {sentence}"
            );
            assert!(
                !sentence.contains("\\n") && sentence.is_ascii(),
                "{path}: {sentence}"
            );
        }
    }
    assert!(count > 60, "{count}");
}
