//! The scene with an error: what the user sees, and how it is fixed.

use std::time::Instant;

use crate::story::{NAMESPACE, apply, ready};
use crate::{Outcome, console::Console, stage::Stage, token::Token};

const NAME: &str = "weekly-report";

/// A client secret with a typing error, which is found and corrected.
pub(crate) async fn wrong_secret(console: &Console, stage: &mut Stage) -> Outcome<()> {
    console.scene("5. a wrong client secret, and how to fix it");
    apply(console, stage, "4-wrong-secret.yaml").await?;
    let (reason, _) = ready(stage, NAME, "False").await?;
    if !reason.starts_with("ClientSecret") {
        return Err(format!("a wrong client secret was reported as {reason}"));
    }
    let table = stage
        .cluster()?
        .kubectl(&["-n", NAMESPACE, "get", "ac"])
        .await?;
    console.shell(&format!("kubectl -n {NAMESPACE} get ac"), &table);
    let whole = stage
        .cluster()?
        .kubectl(&["-n", NAMESPACE, "describe", "ac", NAME])
        .await?;
    // The lines above it are metadata and spec, which the reader already knows.
    let status = whole
        .find("\nStatus:")
        .map_or(whole.as_str(), |at| &whole[at + 1..]);
    console.shell(
        &format!("kubectl -n {NAMESPACE} describe ac {NAME}    # from Status on"),
        status,
    );

    let args = [
        "-n",
        NAMESPACE,
        "patch",
        "secret",
        "typo-client",
        "--type",
        "merge",
        "-p",
    ];
    let corrected = r#"{"stringData": {"client-secret": "demo~secret.1"}}"#;
    stage
        .cluster()?
        .kubectl(&[&args[..], &[corrected]].concat())
        .await?;
    console.step("the Secret typo-client now contains the right client secret");
    let began = Instant::now();
    ready(stage, NAME, "True").await?;
    console.step(&format!(
        "Ready again {:.1} s later, without a restart",
        began.elapsed().as_secs_f32()
    ));
    let args = ["-n", NAMESPACE, "get", "ac", NAME];
    let table = stage.cluster()?.kubectl(&args).await?;
    console.shell(&format!("kubectl {}", args.join(" ")), &table);
    let token = Token::read(stage.cluster()?, "weekly-report-token").await?;
    let (status, answer) = stage.issuer()?.call_api("graph/v1.0/users", &token).await?;
    console.step(&format!(
        "weekly-report-token -> GET /api/graph/v1.0/users: HTTP {status}"
    ));
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("the API refused a fresh token: {answer}"))
    }
}
