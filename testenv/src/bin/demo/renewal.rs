//! The scene with tokens of a short lifetime: they are renewed, and a certificate and a client secret are replaced, while an API is called
//! with both tokens every second.

use std::time::{Duration, Instant};

use serde_json::Value;
use testenv::wait_until;

use crate::story::{NAMESPACE, apply, ready};
use crate::{Outcome, console::Console, keys, stage::Stage, token::Token};

/// An application whose client credential is replaced (`examples/demo/3-short-lived.yaml`).
pub(crate) struct Subject {
    /// Name of the `ApiClient` and its `ApiCredential`.
    name: &'static str,
    /// Client ID.
    pub(crate) client: &'static str,
    /// The kind of credential that is replaced.
    what: &'static str,
}

/// One has a certificate, the other a client secret.
pub(crate) const SUBJECTS: [Subject; 2] = [
    Subject {
        name: "ticket-sync",
        client: "00000000-0000-4000-8000-0000000000e1",
        what: "certificate",
    },
    Subject {
        name: "order-sync",
        client: "00000000-0000-4000-8000-0000000000f1",
        what: "client secret",
    },
];
/// Lifetime of their tokens in seconds. They are renewed at about half of it.
pub(crate) const SHORT_LIFETIME: u64 = 40;
/// Long enough for two renewals, and for a new credential that is tried, used, and in the end the only one.
const WATCH: Duration = Duration::from_secs(44);
/// Time limit for the rest of a rotation after that.
const REST: Duration = Duration::from_secs(30);

/// The results of the API calls.
#[derive(Default)]
struct Reader {
    calls: u32,
    accepted: u32,
    renewals: u32,
    last: String,
}

impl Reader {
    async fn call(&mut self, console: &Console, stage: &Stage, of: &Subject) -> Outcome<()> {
        let name = of.name;
        let token = Token::read(stage.cluster()?, &format!("{name}-token")).await?;
        let (status, _) = stage.issuer()?.call_api("demo/whoami", &token).await?;
        self.calls += 1;
        self.accepted += u32::from(status.is_success());
        let left = token.seconds_left(now())?;
        let id = token.id()?;
        if id != self.last {
            self.renewals += u32::from(!self.last.is_empty());
            let what = if self.last.is_empty() {
                "the first token"
            } else {
                "a NEW token"
            };
            console.step(&format!(
                "{name}: {what} ({id}), {left} s left: HTTP {status}"
            ));
            self.last = id;
        } else if self.calls.is_multiple_of(5) || !status.is_success() {
            console.step(&format!(
                "{name}:   {left:2} s left, {} calls, HTTP {status}",
                self.calls
            ));
        }
        Ok(())
    }

    fn result(&self, console: &Console, of: &Subject) -> Outcome<()> {
        console.step(&format!(
            "{}: {} of {} calls succeeded, with {} renewals",
            of.name, self.accepted, self.calls, self.renewals
        ));
        if self.accepted != self.calls {
            return Err(format!(
                "there was a gap: {} of {} calls were refused",
                self.calls - self.accepted,
                self.calls
            ));
        }
        if self.renewals == 0 {
            return Err(format!("no renewal within {} s", WATCH.as_secs()));
        }
        Ok(())
    }
}

/// The rotation status of the `ApiClient`.
#[derive(Clone, Default, PartialEq)]
struct Rotation {
    state: String,
    /// The issuer's id of the credential in use.
    key_id: String,
    keys: usize,
}

impl Rotation {
    async fn read(stage: &Stage, of: &Subject) -> Outcome<Self> {
        let args = ["-n", NAMESPACE, "get", "apiclient", of.name];
        let status = stage.cluster()?.json(&args).await?["status"].take();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let keys = status["keys"].as_array().map_or(0, Vec::len);
        Ok(Self {
            state: text(&status["rotationState"]),
            key_id: text(&status["keys"][0]["keyId"]),
            keys,
        })
    }

    fn summary(&self, what: &str) -> String {
        match self.state.as_str() {
            "Adding" => format!("a new {what} is added at the issuer, and is in the Secret"),
            "Proving" => format!("the new {what} gets tokens alone before it is used"),
            "Overlap" => {
                format!("credentials use the new {what}; the old one stays valid for a while")
            }
            "Retiring" => format!("the old {what} is removed at the issuer"),
            _ => format!("there is one {what}"),
        }
    }
}

/// Runs the scene.
pub(crate) async fn renewal(console: &Console, stage: &mut Stage) -> Outcome<()> {
    console.scene(&format!(
        "4. renewal: tokens that expire after {SHORT_LIFETIME} s, a new certificate and a new client secret, with API calls every second"
    ));
    let firsts = begin(console, stage).await?;
    let began = Instant::now();
    let mut readers: [Reader; 2] = Default::default();
    let mut seen: [Rotation; 2] = Default::default();
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    while began.elapsed() < WATCH {
        every_second.tick().await;
        stage.check()?;
        for (of, (reader, seen)) in SUBJECTS.iter().zip(readers.iter_mut().zip(&mut seen)) {
            reader.call(console, stage, of).await?;
            *seen = follow(console, stage, (of, seen)).await?;
        }
    }
    for (of, reader) in SUBJECTS.iter().zip(&readers) {
        reader.result(console, of)?;
    }
    for (of, first) in SUBJECTS.iter().zip(&firsts) {
        end(stage, of, first).await?;
    }
    let args = ["-n", NAMESPACE, "get", "apiclient"];
    let table = stage.cluster()?.kubectl(&args).await?;
    console.shell(&format!("kubectl {}", args.join(" ")), &table);
    console.step("each client has one credential at the issuer: the new one. No call was refused");
    warning(console, stage).await
}

/// The clients with their first credentials, and the requests to replace them. Returns the key IDs of the first ones.
async fn begin(console: &Console, stage: &mut Stage) -> Outcome<Vec<String>> {
    let [with_certificate, _] = &SUBJECTS;
    create_certificate(stage, with_certificate.client).await?;
    let owner = format!("apicred.dev/rotate-by={}", with_certificate.name);
    let args = ["annotate", "secret", "ticket-sync-client", &owner];
    shown(console, stage, &args, &args.join(" ")).await?;
    apply(console, stage, "3-short-lived.yaml").await?;
    let mut firsts = Vec::new();
    for of in &SUBJECTS {
        ready(stage, of.name, "True").await?;
        let limit = Duration::from_secs(30);
        let first = wait_until(limit, format!("the first {}", of.what), async || {
            let seen = Rotation::read(stage, of).await;
            seen.ok().filter(|seen| !seen.key_id.is_empty())
        });
        firsts.push(first.await.map_err(|error| error.to_string())?.key_id);
    }
    for (of, first) in SUBJECTS.iter().zip(&firsts) {
        // A user created the first one, so it is removed only if `adopt` names it.
        let adopt = format!(r#"{{"spec":{{"rotation":{{"adopt":{{"keyId":"{first}"}}}}}}}}"#);
        let patch = ["patch", "apiclient", of.name, "--type=merge", "-p"];
        let typed = format!("{} '{adopt}'", patch.join(" "));
        shown(console, stage, &[&patch[..], &[&adopt]].concat(), &typed).await?;
        let request = "apicred.dev/rotate-requested-at=now";
        let args = ["annotate", "apiclient", of.name, request];
        shown(console, stage, &args, &args.join(" ")).await?;
    }
    Ok(firsts)
}

/// Creates the first certificate: at the issuer, and in the Secret of the client.
async fn create_certificate(stage: &mut Stage, client: &str) -> Outcome<()> {
    let (certificate, key) = keys::pair("ticket-sync")?;
    stage
        .issuer()?
        .set_certificate(client, &certificate)
        .await?;
    let folder = stage.folder()?;
    let files = [
        ("tls.crt", folder.write("first.crt", &certificate)?),
        ("tls.key", folder.write("first.key", &key)?),
    ];
    let from = files.map(|(name, path)| format!("--from-file={name}={}", path.display()));
    let args = [
        "-n",
        NAMESPACE,
        "create",
        "secret",
        "generic",
        "ticket-sync-client",
        &from[0],
        &from[1],
    ];
    stage.cluster()?.kubectl(&args).await?;
    Ok(())
}

/// Runs kubectl in the namespace of the demo, and shows the command as a user types it, with its output.
async fn shown(console: &Console, stage: &Stage, args: &[&str], typed: &str) -> Outcome<()> {
    let all = [&["-n", NAMESPACE][..], args].concat();
    let output = stage.cluster()?.kubectl(&all).await?;
    console.shell(&format!("kubectl -n {NAMESPACE} {typed}"), &output);
    Ok(())
}

/// Shows what changed in the rotation.
async fn follow(
    console: &Console,
    stage: &Stage,
    (of, before): (&Subject, &Rotation),
) -> Outcome<Rotation> {
    let seen = Rotation::read(stage, of).await?;
    if seen.state != before.state {
        let summary = seen.summary(of.what);
        console.step(&format!("{}: rotation {}: {summary}", of.name, seen.state));
    }
    Ok(seen)
}

/// Checks the end of the rotation: another credential is in use, and it is the only one.
async fn end(stage: &mut Stage, of: &Subject, first: &str) -> Outcome<()> {
    let seen = wait_until(REST, "the end of the rotation", async || {
        if let Err(why) = stage.check() {
            return Ok(Err(why));
        }
        match Rotation::read(stage, of).await {
            Ok(seen) if seen.state == "Steady" && seen.keys == 1 => Ok(Ok(seen)),
            Ok(seen) => Err(format!("it is {}, with {} keys", seen.state, seen.keys)),
            Err(why) => Err(why),
        }
    });
    let seen = seen.await.map_err(|error| error.to_string())??;
    if seen.key_id == first {
        return Err(format!("the {} was not replaced", of.what));
    }
    let left = stage.issuer()?.credentials(of.client).await?;
    if left != 1 {
        return Err(format!(
            "{left} credentials of {} are at the issuer",
            of.name
        ));
    }
    Ok(())
}

async fn warning(console: &Console, stage: &Stage) -> Outcome<()> {
    let args = ["-n", NAMESPACE, "get", "ac", SUBJECTS[0].name, "-o"];
    let path = "jsonpath={.status.conditions[?(@.type==\"LifetimeAtRisk\")].message}";
    let warning = stage
        .cluster()?
        .kubectl(&[&args[..], &[path]].concat())
        .await?;
    if !warning.is_empty() {
        console.step("this lifetime is too short for pods, and the credential reports it:");
        console.block(&warning);
    }
    Ok(())
}

fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}
