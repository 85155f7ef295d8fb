//! Starts the servers, waits until they are ready, and stops one for a fault test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use reqwest::Client;

use crate::process::{Launch, Watched, send_signal};
use crate::progress::Progress;
use crate::scratch::Scratch;
use crate::servers::{ETCD_DATA, Layout};
use crate::{Error, Programs, http, ports};

/// A long time limit, because several control planes may start at once on a small machine.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// Options of a control plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether the API server logs every request. On by default.
    pub audit: bool,
    /// More flags for kube-apiserver; the last one counts if a flag occurs twice.
    pub apiserver_flags: Vec<String>,
    /// More flags for kube-controller-manager.
    pub controller_manager_flags: Vec<String>,
    /// Whether etcd waits for the disk, as in a cluster. Off by default, because the data is deleted with its folder.
    pub fsync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            audit: true,
            apiserver_flags: Vec::new(),
            controller_manager_flags: Vec::new(),
            fsync: false,
        }
    }
}

/// One of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The store.
    Etcd,
    /// The API.
    ApiServer,
    /// Garbage collection, namespaces, service accounts and the like.
    ControllerManager,
}

/// A running control plane. On drop, its servers are stopped and its folder is removed.
pub struct ControlPlane {
    // Fields drop in this order: clients before the servers that they call, the folder last.
    controller_manager: Watched,
    apiserver: Watched,
    etcd: Watched,
    pub(crate) layout: Layout,
    pub(crate) client: Client,
    pub(crate) programs: Programs,
    /// How many were written for service accounts: each has a separate file.
    pub(crate) kubeconfigs: AtomicU32,
    options: Options,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts etcd, kube-apiserver and kube-controller-manager and waits until they are ready.
    ///
    /// The programs are found or built first; see [`Programs::locate_or_build`].
    pub async fn start(options: Options) -> Result<Self, Error> {
        let programs = Programs::locate_or_build().await?;
        ports::started(async || Self::start_once(&programs, &options).await).await
    }

    async fn start_once(programs: &Programs, options: &Options) -> Result<Self, Error> {
        let scratch = Scratch::new("apicred-testenv-")?;
        let layout = Layout::write(&scratch)?;
        let client = http::client(&layout.ca_pem)?;
        let mut progress = Progress::quiet("starting the control plane");
        let began = Instant::now();

        let mut etcd = launch(&scratch, "etcd", &programs.etcd, layout.etcd(options))?;
        let mut apiserver = launch_apiserver(&scratch, programs, &layout, options)?;
        let ready = Probe {
            client: &client,
            url: &layout.server_url,
            token: &layout.admin_token,
            began,
        };
        ready
            .wait("/readyz", &mut progress, &mut [&mut etcd, &mut apiserver])
            .await?;
        // If it were started before the API answers, it would only wait for it, with growing pauses.
        let mut controller_manager = launch(
            &scratch,
            "kube-controller-manager",
            &programs.kube_controller_manager,
            layout.controller_manager(options),
        )?;
        ready
            .wait(
                "/api/v1/namespaces/default/serviceaccounts/default",
                &mut progress,
                &mut [&mut etcd, &mut apiserver, &mut controller_manager],
            )
            .await?;
        Ok(Self {
            controller_manager,
            apiserver,
            etcd,
            layout,
            client,
            programs: programs.clone(),
            kubeconfigs: AtomicU32::new(0),
            options: options.clone(),
            scratch,
        })
    }

    /// Kills a server (SIGKILL) and returns when it has ended. Its stored data remains.
    pub fn kill(&mut self, component: Component) {
        match component {
            Component::Etcd => self.etcd.kill(),
            Component::ApiServer => self.apiserver.kill(),
            Component::ControllerManager => self.controller_manager.kill(),
        }
    }

    /// Starts a killed server again, with the same flags and data. Waits until the API server is
    /// ready, and does not wait for the others. Does nothing while it runs.
    pub async fn start_again(&mut self, component: Component) -> Result<(), Error> {
        let (scratch, programs) = (&self.scratch, &self.programs);
        match component {
            Component::ApiServer => return self.start_apiserver().await,
            Component::Etcd if self.etcd.ended().is_some() => {
                let flags = self.layout.etcd(&self.options);
                self.etcd = launch(scratch, "etcd", &programs.etcd, flags)?;
            }
            Component::ControllerManager if self.controller_manager.ended().is_some() => {
                self.controller_manager = launch(
                    scratch,
                    "kube-controller-manager",
                    &programs.kube_controller_manager,
                    self.layout.controller_manager(&self.options),
                )?;
            }
            Component::Etcd | Component::ControllerManager => {}
        }
        Ok(())
    }

    /// Stops a server (SIGSTOP) until [`ControlPlane::go_on`]: it neither answers nor closes a connection.
    pub fn pause(&self, component: Component) {
        send_signal(self.pid_of(component), "STOP");
    }

    /// Continues a stopped server (SIGCONT).
    pub fn go_on(&self, component: Component) {
        send_signal(self.pid_of(component), "CONT");
    }

    /// Kills kube-apiserver (SIGKILL) and returns when it has ended. The data in etcd remains.
    pub fn stop_apiserver(&mut self) {
        self.apiserver.kill();
    }

    /// Starts kube-apiserver again, on the same port and with the same certificates, and waits until
    /// it is ready. Does nothing while it runs.
    pub async fn start_apiserver(&mut self) -> Result<(), Error> {
        if self.apiserver.ended().is_none() {
            return Ok(());
        }
        self.apiserver =
            launch_apiserver(&self.scratch, &self.programs, &self.layout, &self.options)?;
        let mut progress = Progress::quiet("starting kube-apiserver again");
        Probe {
            client: &self.client,
            url: &self.layout.server_url,
            token: &self.layout.admin_token,
            began: Instant::now(),
        }
        .wait(
            "/readyz",
            &mut progress,
            &mut [&mut self.etcd, &mut self.apiserver],
        )
        .await
    }

    /// Starts another API server with the same store, which it reaches at this URL, for example a relay. It has no audit log.
    pub async fn another_apiserver(&self, etcd: &str) -> Result<AnotherApiServer, Error> {
        let port = ports::free()?;
        let url = format!("https://127.0.0.1:{port}");
        let mut server = launch(
            &self.scratch,
            "another-apiserver",
            &self.programs.kube_apiserver,
            self.layout.apiserver_at(etcd, port),
        )?;
        let ready = Probe {
            client: &self.client,
            url: &url,
            token: &self.layout.admin_token,
            began: Instant::now(),
        };
        let mut progress = Progress::quiet("starting another kube-apiserver");
        ready
            .wait("/readyz", &mut progress, &mut [&mut server])
            .await?;
        Ok(AnotherApiServer {
            _server: server,
            url,
        })
    }

    /// Creates another certificate of the same authority for the API server. It is used from its next start.
    pub fn renew_certificate(&self) -> Result<(), Error> {
        self.layout.renew_certificate(&self.scratch)
    }

    /// Stops everything, copies the data of etcd, and starts everything again. For [`ControlPlane::restore`].
    pub async fn backup(&mut self, name: &str) -> Result<Backup, Error> {
        let backup = self.dir().join(format!("etcd-{name}"));
        self.stop_all();
        copy_folder(&self.dir().join(ETCD_DATA), &backup)?;
        self.start_all().await?;
        Ok(Backup(backup))
    }

    /// Restores an old state of etcd, as after a disaster: all resource versions become lower. Clients are not notified.
    pub async fn restore(&mut self, backup: &Backup) -> Result<(), Error> {
        let data = self.dir().join(ETCD_DATA);
        self.stop_all();
        fs::remove_dir_all(&data).map_err(|error| Error::io("removing", &data, error))?;
        copy_folder(&backup.0, &data)?;
        self.start_all().await
    }

    fn stop_all(&mut self) {
        self.kill(Component::ControllerManager);
        self.kill(Component::ApiServer);
        self.kill(Component::Etcd);
    }

    async fn start_all(&mut self) -> Result<(), Error> {
        self.start_again(Component::Etcd).await?;
        self.start_again(Component::ApiServer).await?;
        self.start_again(Component::ControllerManager).await
    }

    /// The process ID of a server, also after it ended.
    pub fn pid_of(&self, component: Component) -> u32 {
        match component {
            Component::Etcd => self.etcd.pid(),
            Component::ApiServer => self.apiserver.pid(),
            Component::ControllerManager => self.controller_manager.pid(),
        }
    }

    /// The URL of the API server, without a slash at the end.
    pub fn server_url(&self) -> &str {
        &self.layout.server_url
    }

    /// The URL of etcd, without a slash at the end: for faults of the store.
    pub fn etcd_url(&self) -> String {
        self.layout.etcd_url()
    }

    /// The CA of the API server's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.layout.ca_pem
    }

    /// The folder with logs, certificates, kubeconfigs and data.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// A kubeconfig of a member of `system:masters`, which RBAC does not limit.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.layout.admin_kubeconfig
    }

    /// The programs that this control plane was started with.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }
}

/// A second API server. It is stopped on drop.
pub struct AnotherApiServer {
    _server: Watched,
    url: String,
}

impl AnotherApiServer {
    /// Its URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A state of the store that can be restored while its control plane exists.
#[derive(Debug)]
pub struct Backup(PathBuf);

/// Copies folders and files; etcd's data contains nothing else.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("copying", from, error);
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(failed)?;
        }
    }
    Ok(())
}

fn launch(
    scratch: &Scratch,
    name: &str,
    program: &PathBuf,
    args: Vec<String>,
) -> Result<Watched, Error> {
    Watched::spawn(Launch {
        name,
        program,
        args,
        folder: scratch.path(),
        env: Vec::new(),
    })
}

fn launch_apiserver(
    scratch: &Scratch,
    programs: &Programs,
    layout: &Layout,
    options: &Options,
) -> Result<Watched, Error> {
    launch(
        scratch,
        "kube-apiserver",
        &programs.kube_apiserver,
        layout.apiserver(options),
    )
}

/// Requests a path of the API server until it succeeds.
struct Probe<'a> {
    client: &'a Client,
    url: &'a str,
    token: &'a str,
    began: Instant,
}

impl Probe<'_> {
    /// Ends early, with the reason, if one of the servers ends.
    async fn wait(
        &self,
        path: &str,
        progress: &mut Progress,
        servers: &mut [&mut Watched],
    ) -> Result<(), Error> {
        let url = format!("{}{path}", self.url);
        loop {
            let request = self.client.get(&url).bearer_auth(self.token);
            let state = match request.timeout(Duration::from_secs(5)).send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => format!("it answers {}", response.status()),
                Err(_) => "it does not answer yet".to_owned(),
            };
            for server in servers.iter_mut() {
                server.still_runs()?;
            }
            if self.began.elapsed() > READY_WITHIN {
                let logs: Vec<String> = servers.iter().map(|server| server.log_tail()).collect();
                return Err(Error::NotInTime {
                    what: format!("the API server's {path}"),
                    waited: self.began.elapsed(),
                    state: format!("{state}. Last lines of the servers:\n{}", logs.join("\n")),
                });
            }
            progress.tick();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
