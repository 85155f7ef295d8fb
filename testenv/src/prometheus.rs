//! Prometheus and promtool: they check rules, and a server scrapes what a test starts.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;

use crate::cache::{Entry, Step, on_path, publish, run_step};
use crate::process::{Launch, Watched};
use crate::progress::Progress;
use crate::scratch::Scratch;
use crate::{Error, ports};

/// Debian's package: one file of 20 MB with both programs, signed by the distribution.
const PACKAGE: &str = "prometheus";
const READY_WITHIN: Duration = Duration::from_mins(1);
const ADVICE: &str = "install Prometheus (https://prometheus.io/download/), or run this on Debian, where the package is \
                      downloaded without root rights and not installed";

/// Gets the package from the archive and unpacks it. The package lists of a new image are empty, so they are fetched if the
/// first try fails, which needs root.
const UNPACK: &str = r#"
apt-get download "$1" || { apt-get update && apt-get download "$1"; } || exit 1
dpkg-deb -x "$1"_*.deb out
"#;

/// The paths of the two programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusPrograms {
    /// The server.
    pub prometheus: PathBuf,
    /// Checks rules and runs their unit tests.
    pub promtool: PathBuf,
}

impl PrometheusPrograms {
    /// Uses both from PATH, otherwise from the user's cache folder, and downloads Debian's package if neither has them: that
    /// takes seconds, once.
    pub async fn locate_or_download() -> Result<Self, Error> {
        let found = (on_path("prometheus", ADVICE), on_path("promtool", ADVICE));
        if let (Ok(prometheus), Ok(promtool)) = found {
            return Ok(Self {
                prometheus,
                promtool,
            });
        }
        let entry = Entry::new(PACKAGE, &[UNPACK])?;
        let programs = Self {
            prometheus: entry.folder.join("prometheus"),
            promtool: entry.folder.join("promtool"),
        };
        if programs.promtool.is_file() {
            return Ok(programs);
        }
        let _lock = entry.lock().await?;
        if !programs.promtool.is_file() {
            download(&entry).await?;
        }
        Ok(programs)
    }

    /// Runs promtool in a folder and returns its output.
    ///
    /// # Errors
    /// Its output, if it found a fault.
    pub async fn promtool(&self, folder: &Path, args: &[&str]) -> Result<String, Error> {
        let output = tokio::process::Command::new(&self.promtool)
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| Error::io("running", &self.promtool, error))?;
        let [out, err] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
        if output.status.success() {
            return Ok(out.into_owned());
        }
        Err(Error::Command {
            command: format!("promtool {}", args.join(" ")),
            status: output.status.to_string(),
            stderr: format!("{out}{err}"),
        })
    }
}

async fn download(entry: &Entry) -> Result<(), Error> {
    for program in ["apt-get", "dpkg-deb"] {
        on_path(program, ADVICE)?;
    }
    let what = "Debian's package of Prometheus";
    let mut progress =
        Progress::begin(format!("downloading {what}"), "some seconds, and only once");
    entry.open_workshop(&[])?;
    let launch = Launch {
        name: "download",
        program: Path::new("/bin/sh"),
        args: ["-c", UNPACK, "testenv-download", PACKAGE]
            .map(str::to_owned)
            .into(),
        folder: &entry.workshop,
        env: Vec::new(),
    };
    if let Step::Failed { tail, .. } = run_step(launch, &mut progress).await? {
        let what = what.to_owned();
        return Err(Error::Download { what, tail });
    }
    publish(&entry.workshop.join("out/usr/bin"), &entry.folder)?;
    let _ = std::fs::remove_dir_all(&entry.workshop);
    progress.done();
    Ok(())
}

/// A running Prometheus. It is stopped on drop.
pub struct Prometheus {
    server: Watched,
    client: Client,
    url: String,
    _scratch: Scratch,
}

impl Prometheus {
    /// Starts a server with this configuration (the text of `prometheus.yml`). `files` are the files that it names, in the same folder: name
    /// and text.
    pub async fn start(config: &str, files: &[(&str, &str)]) -> Result<Self, Error> {
        let programs = PrometheusPrograms::locate_or_download().await?;
        ports::started(async || Self::start_once(&programs, config, files).await).await
    }

    async fn start_once(
        programs: &PrometheusPrograms,
        config: &str,
        files: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let scratch = Scratch::new("apicred-prometheus-")?;
        for (name, text) in files {
            scratch.write(name, text)?;
        }
        let config = scratch.write("prometheus.yml", config)?;
        let address = format!("127.0.0.1:{}", ports::free()?);
        let server = Watched::spawn(Launch {
            name: "prometheus",
            program: &programs.prometheus,
            args: vec![
                format!("--config.file={}", config.display()),
                format!(
                    "--storage.tsdb.path={}",
                    scratch.path().join("data").display()
                ),
                format!("--web.listen-address={address}"),
            ],
            folder: scratch.path(),
            env: Vec::new(),
        })?;
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(15))
            .build()
            .map_err(|source| Error::Http {
                what: "making an HTTP client".to_owned(),
                source,
            })?;
        let mut prometheus = Self {
            server,
            client,
            url: format!("http://{address}"),
            _scratch: scratch,
        };
        prometheus.ready().await?;
        Ok(prometheus)
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let answer = self.client.get(format!("{}/-/ready", self.url)).send();
            if answer.await.is_ok_and(|a| a.status().is_success()) {
                return Ok(());
            }
            self.server.still_runs()?;
            if began.elapsed() > READY_WITHIN {
                return Err(Error::NotInTime {
                    what: "Prometheus".to_owned(),
                    waited: began.elapsed(),
                    state: self.server.log_tail(),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The present series of an expression: each with `metric` and `value`.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, Error> {
        let form = [("query", expression)];
        let request = self.client.post(format!("{}/api/v1/query", self.url));
        let mut answer =
            crate::http::json(&format!("the query {expression}"), request.form(&form)).await?;
        // A scalar is one value, and not a list of series.
        Ok(match answer["data"]["result"].take() {
            Value::Array(series) if answer["data"]["resultType"] != "scalar" => series,
            scalar => vec![scalar],
        })
    }

    /// The alerts that are pending or firing: each with `labels`, `annotations` and `state`.
    pub async fn alerts(&self) -> Result<Vec<Value>, Error> {
        let request = self.client.get(format!("{}/api/v1/alerts", self.url));
        let mut answer = crate::http::json("the alerts", request).await?;
        Ok(match answer["data"]["alerts"].take() {
            Value::Array(alerts) => alerts,
            _ => Vec::new(),
        })
    }
}
