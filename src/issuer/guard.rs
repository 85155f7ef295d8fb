//! Restricts issuer traffic to the allowed [`addresses`](crate::credential::addresses). The address that is checked here is the
//! address that is connected to: reqwest gets exactly these addresses and resolves nothing again, so the result for a name
//! cannot change between the two.

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

/// Time limit for resolving a name before the proxy is used for it. Behind a proxy, the DNS often does not know public
/// names, and some DNS servers then do not answer.
const LOOK_UP: Duration = Duration::from_secs(2);

/// Time limit for resolving the name of an issuer. It is shorter than the limit for the whole connection, so that a silent DNS is
/// distinguished from a silent issuer.
const OWN_LOOK_UP: Duration = Duration::from_secs(4);

/// Resolves names with the system's resolver and returns only addresses to which a connection is allowed.
pub struct GuardedResolver {
    cidrs: Vec<IpNet>,
}

impl GuardedResolver {
    /// A resolver that allows these networks in addition to public ones.
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

/// Checks the name of an issuer before each connection through a proxy.
#[derive(Clone)]
pub struct ProxyGuard {
    name: String,
    cidrs: Vec<IpNet>,
}

impl ProxyGuard {
    /// For this name, with these networks allowed in addition to public ones.
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

/// Resolves only the name of the proxy, which an administrator set.
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
