//! The transport of a source whose caller gives none, by the crate's features.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::error::BuildError;
use crate::transport::Transport;

#[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
pub(super) fn default(
    url: &Url,
    connect_timeout: Duration,
) -> Result<Arc<dyn Transport>, BuildError> {
    if url.scheme() == "https" && !cfg!(any(feature = "rustls", feature = "native-tls")) {
        return Err(BuildError::NoTls);
    }
    Ok(Arc::new(crate::transport::Reqwest::with_defaults(connect_timeout)?))
}

#[cfg(all(feature = "hyper", not(any(feature = "reqwest", target_family = "wasm"))))]
pub(super) fn default(
    url: &Url,
    connect_timeout: Duration,
) -> Result<Arc<dyn Transport>, BuildError> {
    #[cfg(feature = "hyper-rustls")]
    if url.scheme() == "https" {
        let hyper = crate::transport::Hyper::with_rustls(connect_timeout);
        let hyper = hyper.map_err(|error| BuildError::Client { reason: error.to_string() })?;
        return Ok(Arc::new(hyper));
    }
    if url.scheme() == "https" {
        return Err(BuildError::NoTls);
    }
    Ok(Arc::new(crate::transport::Hyper::new(connect_timeout)))
}

#[cfg(all(feature = "fetch", target_family = "wasm"))]
#[expect(clippy::unnecessary_wraps, reason = "others may have none")]
pub(super) fn default(_: &Url, _: Duration) -> Result<Arc<dyn Transport>, BuildError> {
    Ok(Arc::new(crate::transport::Fetch::new()))
}

#[cfg(not(any(
    all(any(feature = "reqwest", feature = "hyper"), not(target_family = "wasm")),
    all(feature = "fetch", target_family = "wasm")
)))]
pub(super) fn default(_: &Url, _: Duration) -> Result<Arc<dyn Transport>, BuildError> {
    Err(BuildError::NoTransport)
}
