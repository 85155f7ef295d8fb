//! Holds issuer traffic to the [`addresses`](crate::credential::addresses) it may go to. The address that is checked here is the
//! address that is connected to: reqwest is given these very addresses and looks nothing up again, so a name cannot
//! change its mind in between.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    time::Duration,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower::{BoxError, filter::AsyncPredicate};

use crate::credential::addresses::{AddressNotAllowed, NameNotFound, allowed, fit_for_proxy};

/// How long a name may take to be looked up before a proxy is asked for it. Behind a proxy the DNS often knows no
/// name of the outside, and some say so by silence.
const LOOK_UP: Duration = Duration::from_secs(2);

/// How long the name of an issuer may take to be looked up: less than a connection may take as a whole, so that a silent DNS is
/// distinguished from a silent issuer.
const OWN_LOOK_UP: Duration = Duration::from_secs(4);

/// Looks names up with the system's resolver and hands on only addresses that may be connected to.
pub struct GuardedResolver {
    cidrs: Vec<IpNet>,
}

impl GuardedResolver {
    /// A resolver that allows these networks beside public ones.
    pub fn new(cidrs: Vec<IpNet>) -> Self {
        Self { cidrs }
    }
}

/// The addresses of a name.
async fn look_up(name: &Name) -> Result<Vec<SocketAddr>, NameNotFound> {
    let looked_up = tokio::net::lookup_host((name.as_str(), 0));
    let found = tokio::time::timeout(OWN_LOOK_UP, looked_up)
        .await
        .map_err(|_| NameNotFound::Silent)?
        .map_err(|error| NameNotFound::of(&error.to_string()))?;
    Ok(found.collect())
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let cidrs = self.cidrs.clone();
        Box::pin(async move {
            let found = look_up(&name).await?;
            if found.is_empty() {
                return Err(NameNotFound::Unknown.into());
            }
            let vetted: Vec<SocketAddr> = found
                .iter()
                .copied()
                .filter(|a| allowed(a.ip(), &cidrs))
                .collect();
            if vetted.is_empty() {
                return Err(AddressNotAllowed::to(name.as_str()).into());
            }
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

/// Looks at the name of an issuer before each connection that a proxy is asked for.
#[derive(Clone)]
pub struct ProxyGuard {
    name: String,
    cidrs: Vec<IpNet>,
}

impl ProxyGuard {
    /// For this name, with these networks allowed beside public ones.
    pub fn new(name: String, cidrs: Vec<IpNet>) -> Self {
        Self { name, cidrs }
    }
}

impl<R: Send + 'static> AsyncPredicate<R> for ProxyGuard {
    type Future = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;
    type Request = R;

    fn check(&mut self, request: R) -> Self::Future {
        let Self { name, cidrs } = self.clone();
        Box::pin(async move {
            let looked_up = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((&*name, 0)));
            let found: Vec<IpAddr> = match looked_up.await {
                Ok(Ok(found)) => found.map(|a| a.ip()).collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            fit_for_proxy(&name, &found, &cidrs)?;
            Ok(request)
        })
    }
}

/// Looks up the name of the proxy, which an administrator chose, and no other.
pub struct ProxyResolver {
    proxy: String,
}

impl ProxyResolver {
    /// For a proxy at this host.
    pub fn new(proxy: String) -> Self {
        Self { proxy }
    }
}

impl Resolve for ProxyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let fits = name.as_str().eq_ignore_ascii_case(&self.proxy);
        Box::pin(async move {
            if !fits {
                return Err(AddressNotAllowed::to(name.as_str()).into());
            }
            let found = look_up(&name).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
