//! The story, scene by scene: from an empty cluster to a token that rotates without a gap.

use std::time::{Duration, Instant};

use testenv::wait_until;

use crate::children::Folder;
use crate::issuer::Issuer;
use crate::renewal::{self, SHORT_LIFETIME, SUBJECTS};
use crate::{Options, Outcome, cluster::Cluster, console::Console, operator, operator::Operator};
use crate::{source, stage::Stage, token::Token, trouble};

/// The namespace of the demo's credentials (`examples/demo/`).
pub(crate) const NAMESPACE: &str = "apicred-demo";

/// Runs all scenes.
pub(crate) async fn run(console: &Console, options: &Options, stage: &mut Stage) -> Outcome<()> {
    set_up(console, options, stage).await?;
    first_tokens(console, stage).await?;
    call_apis(console, stage).await?;
    renewal::renewal(console, stage).await?;
    trouble::wrong_secret(console, stage).await?;
    count(console, stage).await
}

async fn set_up(console: &Console, options: &Options, stage: &mut Stage) -> Outcome<()> {
    console.scene("1. Kubernetes control plane, issuer, operator");
    stage.folder = Some(Folder::new()?);
    let cluster = if options.current_cluster {
        Cluster::current(console, stage.folder()?).await?
    } else {
        console
            .during(
                "the control plane",
                Cluster::start(console, stage.folder()?),
            )
            .await?
    };
    stage.cluster = Some(cluster);

    let issuer = console
        .during("the dev-issuer", Issuer::start(stage.folder()?))
        .await?;
    for of in &SUBJECTS {
        issuer.set_lifetime(of.client, SHORT_LIFETIME).await?;
    }
    console.step(&format!(
        "an issuer with the API of Entra ID, and its own CA, runs at {}",
        issuer.origin
    ));
    stage.issuer = Some(issuer);

    // Set before the first object is created, so that a Ctrl-C in between removes it.
    stage.installed = true;
    console.step(&format!(
        "$ helm install {} charts/apicred -n {} --create-namespace --set replicas=0",
        operator::RELEASE,
        operator::NAMESPACE
    ));
    console
        .during("helm install", operator::install(stage.cluster()?))
        .await?;
    console.step(if options.current_cluster {
        "chart installed with replicas=0: the operator runs on this machine, where the issuer is"
    } else {
        "chart installed with replicas=0: this cluster has no node, so the operator runs as a process on this machine"
    });

    let operator = Operator::start(stage.cluster()?, stage.folder()?, options.keep);
    let operator = console.during("the operator", operator).await?;
    stage.operator = Some(operator);
    console.step("the operator is ready; it has only the rights of the chart's ServiceAccount");
    may_it(console, stage).await
}

/// Shows that it has only the few rights of the chart.
async fn may_it(console: &Console, stage: &Stage) -> Outcome<()> {
    let kubeconfig = stage
        .folder()?
        .path()
        .join("operator.kubeconfig")
        .display()
        .to_string();
    let mut answers = Vec::new();
    for (verb, what) in [
        ("patch", "secrets"),
        ("delete", "secrets"),
        ("list", "pods"),
    ] {
        // `can-i` exits with 1 for "no", which is a valid answer here.
        let args = [
            "--kubeconfig",
            &kubeconfig,
            "auth",
            "can-i",
            verb,
            what,
            "-A",
        ];
        let yes = stage.cluster()?.kubectl(&args).await.is_ok();
        answers.push(format!("{verb} {what}: {}", if yes { "yes" } else { "no" }));
    }
    console.step(&format!("may the operator …  {}", answers.join("   ")));
    Ok(())
}

/// Applies a file of `examples/demo/` with the issuer's address and CA filled in.
pub(crate) async fn apply(console: &Console, stage: &Stage, name: &str) -> Outcome<()> {
    let path = source("examples/demo").join(name);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let issuer = stage.issuer()?;
    // A JSON string is a YAML string on one line.
    let ca = serde_json::Value::from(issuer.ca_pem.as_str()).to_string();
    let text = text
        .replace("${ISSUER_ORIGIN}", &issuer.origin)
        .replace("${ISSUER_CA}", &ca);
    let output = stage.cluster()?.apply(&text).await?;
    console.shell(&format!("kubectl apply -f examples/demo/{name}"), &output);
    Ok(())
}

/// Waits until a credential's condition `Ready` has a status; returns its reason and message.
pub(crate) async fn ready(
    stage: &mut Stage,
    name: &str,
    status: &str,
) -> Outcome<(String, String)> {
    let what = format!("Ready={status} of ApiCredential {name}");
    let found = wait_until(Duration::from_secs(30), what, async || {
        if let Err(why) = stage.check() {
            return Ok(Err(why));
        }
        let renewal_shown = async {
            let object = stage
                .cluster()?
                .json(&["-n", NAMESPACE, "get", "ac", name])
                .await?;
            let conditions = object["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let ready = conditions.into_iter().find(|c| c["type"] == "Ready");
            ready.ok_or_else(|| "it has no condition yet".to_owned())
        };
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        match renewal_shown.await {
            Ok(c) if c["status"] == status => Ok(Ok((text(&c["reason"]), text(&c["message"])))),
            Ok(c) => Err(format!("{}: {}", text(&c["reason"]), text(&c["message"]))),
            Err(why) => Err(why),
        }
    });
    found.await.map_err(|error| error.to_string())?
}

async fn first_tokens(console: &Console, stage: &mut Stage) -> Outcome<()> {
    console.scene("2. issuers and credentials, and their tokens");
    apply(console, stage, "1-issuers.yaml").await?;
    apply(console, stage, "2-credentials.yaml").await?;
    let began = Instant::now();
    for name in ["defender-alerts", "endpoint-alerts", "partner-records"] {
        ready(stage, name, "True").await?;
    }
    console.step(&format!(
        "three Secrets contain their tokens after {:.1} s",
        began.elapsed().as_secs_f32()
    ));
    let table = stage
        .cluster()?
        .kubectl(&["get", "apicredentials", "-A"])
        .await?;
    console.shell("kubectl get apicredentials -A", &table);
    let args = ["get", "tokenissuers,clustertokenissuers", "-A"];
    let table = stage.cluster()?.kubectl(&args).await?;
    console.shell("kubectl get tokenissuers,clustertokenissuers -A", &table);
    Ok(())
}

async fn call_apis(console: &Console, stage: &Stage) -> Outcome<()> {
    console.scene(
        "3. API calls with these tokens, read from the Secret as a pod reads its mounted file",
    );
    for (secret, path) in [
        ("defender-alerts-token", "cloudapps/v1/alerts"),
        ("endpoint-alerts-token", "endpoint/alerts"),
        ("partner-records-token", "demo/records"),
    ] {
        let token = Token::read(stage.cluster()?, secret).await?;
        let (status, answer) = stage.issuer()?.call_api(path, &token).await?;
        console.step(&format!("{secret} -> GET /api/{path}: HTTP {status}"));
        console.block(&format!("claims: {}", token.summary()?));
        if !status.is_success() {
            return Err(format!("the API refused a fresh token: {answer}"));
        }
    }
    Ok(())
}

async fn count(console: &Console, stage: &Stage) -> Outcome<()> {
    console.scene("6. number of requests");
    let stats = stage.issuer()?.stats().await?;
    let number = |name: &str| stats[name].as_u64().unwrap_or_default();
    console.step(&format!(
        "the issuer received {} token requests ({} tokens, {} refused), and {} API calls ({} accepted)",
        number("tokenRequests"),
        number("tokensIssued"),
        number("tokensRefused"),
        number("apiCalls"),
        number("apiCallsAccepted"),
    ));
    console.step("requests of the operator to the Kubernetes API, without watches:");
    let calls = stage.operator()?.api_calls().await?;
    let lines: Vec<String> = calls
        .iter()
        .map(|(what, count)| format!("{count:4}  {what}"))
        .collect();
    console.block(&lines.join("\n"));
    Ok(())
}
