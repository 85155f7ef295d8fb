//! The scene with tokens of a short lifetime: they are renewed and the client's certificate is replaced, while an API is called every
//! second.

use std::time::{Duration, Instant};

use serde_json::Value;
use testenv::wait_until;

use crate::story::{NAMESPACE, apply, ready};
use crate::{Outcome, console::Console, keys, stage::Stage, token::Token};

/// The application whose certificate is replaced (`examples/demo/3-short-lived.yaml`).
pub(crate) const CLIENT: &str = "00000000-0000-4000-8000-0000000000e1";
/// Lifetime of its tokens in seconds. They are renewed at about half of it.
pub(crate) const SHORT_LIFE: u64 = 40;
/// Long enough for two renewals, and for a new certificate that is tried, used, and alone at last.
const WATCH: Duration = Duration::from_secs(44);
/// What is left of a rotation after that.
const REST: Duration = Duration::from_secs(30);
const NAME: &str = "ticket-sync";

/// What the calls of the API saw.
#[derive(Default)]
struct Reader {
    calls: u32,
    accepted: u32,
    renewals: u32,
    last: String,
}

impl Reader {
    async fn call(&mut self, console: &Console, stage: &Stage) -> Outcome<()> {
        let token = Token::read(stage.cluster()?, "ticket-sync-token").await?;
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
            console.step(&format!("{what} ({id}), {left} s left: HTTP {status}"));
            self.last = id;
        } else if self.calls.is_multiple_of(5) || !status.is_success() {
            console.step(&format!(
                "  {left:2} s left, {} calls, HTTP {status}",
                self.calls
            ));
        }
        Ok(())
    }

    fn result(&self) -> Outcome<()> {
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

/// What the `ApiClient` reports of its rotation.
#[derive(Clone, Default, PartialEq)]
struct Rotation {
    state: String,
    /// Of the certificate in use.
    thumbprint: String,
    /// The issuer's id of it.
    key_id: String,
    keys: usize,
}

impl Rotation {
    async fn read(stage: &Stage) -> Outcome<Self> {
        let args = ["-n", NAMESPACE, "get", "apiclient", NAME];
        let status = stage.cluster()?.json(&args).await?["status"].take();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let keys = status["keys"].as_array().map_or(0, Vec::len);
        Ok(Self {
            state: text(&status["rotationState"]),
            thumbprint: text(&status["keys"][0]["thumbprint"]),
            key_id: text(&status["keys"][0]["keyId"]),
            keys,
        })
    }

    fn words(&self) -> &'static str {
        match self.state.as_str() {
            "Adding" => "a new key pair is in the Secret, and is added at the issuer",
            "Proving" => "the new certificate gets tokens alone before it is used",
            "Overlap" => "credentials use the new certificate; the old one stays valid for a while",
            "Retiring" => "the old certificate is removed at the issuer",
            _ => "there is one certificate",
        }
    }
}

/// Plays the scene.
pub(crate) async fn renewal(console: &Console, stage: &mut Stage) -> Outcome<()> {
    console.scene(&format!(
        "4. renewal: tokens that expire after {SHORT_LIFE} s, and a new client certificate, with an API call every second"
    ));
    let first = begin(console, stage).await?;
    let began = Instant::now();
    let (mut reader, mut seen) = (Reader::default(), Rotation::default());
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    while began.elapsed() < WATCH {
        every_second.tick().await;
        stage.check()?;
        reader.call(console, stage).await?;
        seen = follow(console, stage, seen).await?;
    }
    console.step(&format!(
        "{} of {} calls succeeded, with {} renewals",
        reader.accepted, reader.calls, reader.renewals
    ));
    reader.result()?;
    end(console, stage, &first).await?;
    warning(console, stage).await
}

/// The client with its first certificate, and the request to replace it. Gives the thumbprint of the first one.
async fn begin(console: &Console, stage: &mut Stage) -> Outcome<String> {
    create_certificate(stage).await?;
    let owner = format!("apicred.dev/rotate-by={NAME}");
    let args = ["annotate", "secret", "ticket-sync-client", &owner];
    shown(console, stage, &args, &args.join(" ")).await?;
    apply(console, stage, "3-short-lived.yaml").await?;
    ready(stage, NAME, "True").await?;
    let first = wait_until(
        Duration::from_secs(30),
        "the first certificate",
        async || {
            Rotation::read(stage)
                .await
                .ok()
                .filter(|seen| !seen.key_id.is_empty())
        },
    );
    let first = first.await.map_err(|error| error.to_string())?;
    // A user made the first one, so that it is removed only if it is named.
    let adopt = format!(
        r#"{{"spec":{{"rotation":{{"adopt":{{"keyId":"{}"}}}}}}}}"#,
        first.key_id
    );
    let patch = ["patch", "apiclient", NAME, "--type=merge", "-p"];
    let typed = format!("{} '{adopt}'", patch.join(" "));
    shown(console, stage, &[&patch[..], &[&adopt]].concat(), &typed).await?;
    let request = "apicred.dev/rotate-requested-at=now";
    let args = ["annotate", "apiclient", NAME, request];
    shown(console, stage, &args, &args.join(" ")).await?;
    Ok(first.thumbprint)
}

/// Creates the first certificate: at the issuer, and in the Secret of the client.
async fn create_certificate(stage: &mut Stage) -> Outcome<()> {
    let (certificate, key) = keys::pair("ticket-sync")?;
    stage
        .issuer()?
        .set_certificate(CLIENT, &certificate)
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

/// Runs kubectl in the namespace of the demo, and shows the command as a user types it, with what it says.
async fn shown(console: &Console, stage: &Stage, args: &[&str], typed: &str) -> Outcome<()> {
    let all = [&["-n", NAMESPACE][..], args].concat();
    let said = stage.cluster()?.kubectl(&all).await?;
    console.shell(&format!("kubectl -n {NAMESPACE} {typed}"), &said);
    Ok(())
}

/// Says what is new of the rotation.
async fn follow(console: &Console, stage: &Stage, before: Rotation) -> Outcome<Rotation> {
    let seen = Rotation::read(stage).await?;
    if seen.state != before.state {
        console.step(&format!("rotation {}: {}", seen.state, seen.words()));
    }
    Ok(seen)
}

/// The rotation has ended: another certificate is in use, and it is alone.
async fn end(console: &Console, stage: &mut Stage, first: &str) -> Outcome<()> {
    let seen = wait_until(REST, "the end of the rotation", async || {
        if let Err(why) = stage.check() {
            return Ok(Err(why));
        }
        match Rotation::read(stage).await {
            Ok(seen) if seen.state == "Steady" && seen.keys == 1 => Ok(Ok(seen)),
            Ok(seen) => Err(format!("it is {}, with {} keys", seen.state, seen.keys)),
            Err(why) => Err(why),
        }
    });
    let seen = seen.await.map_err(|error| error.to_string())??;
    if seen.thumbprint == first {
        return Err("the certificate was not replaced".to_owned());
    }
    let left = stage.issuer()?.certificates(CLIENT).await?;
    if left != 1 {
        return Err(format!("{left} certificates are at the issuer"));
    }
    let args = ["-n", NAMESPACE, "get", "apiclient"];
    let table = stage.cluster()?.kubectl(&args).await?;
    console.shell(&format!("kubectl {}", args.join(" ")), &table);
    console.step("one certificate is left at the issuer: the new one. No call was refused");
    Ok(())
}

async fn warning(console: &Console, stage: &Stage) -> Outcome<()> {
    let args = ["-n", NAMESPACE, "get", "ac", NAME, "-o"];
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
