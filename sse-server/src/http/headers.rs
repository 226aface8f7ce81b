//! Values of headers that several answers need, and how they are read.

use axum::http::{HeaderMap, HeaderName, header};

/// Keeps nginx from holding back what is small.
pub(super) const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The media type of a body, without parameters.
pub(super) fn essence(headers: &HeaderMap) -> &str {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

/// The entries of a list such as `gzip;q=0.5, br`, each with its weight from 0 to 1 (RFC 9110,
/// section 12.4.2): 1 if it has none, `None` if that is no number.
pub(super) fn weighed<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = (&'a str, Option<f32>)> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|entry| {
        let mut parts = entry.split(';').map(str::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim_ascii_end().eq_ignore_ascii_case("q").then(|| value.trim_ascii())
        });
        let number = |weight: &str| weight.parse().ok().filter(|weight: &f32| !weight.is_nan());
        (name, weight.map_or(Some(1.0), number).map(|weight| weight.clamp(0.0, 1.0)))
    })
}
