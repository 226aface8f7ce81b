//! `Grip-Last`: where a connection is.

use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;

/// The channels of a connection, by the proxy's names, and the id of the last item that it has got
/// of each. What has another form is left out.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all("grip-last").iter().filter_map(|line| line.to_str().ok());
    let entries = lines.flat_map(|line| line.split(','));
    entries.filter_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next()?;
        Some((name, parts.find_map(|part| part.strip_prefix("last-id="))?))
    })
}

/// The same of a hub's channels: without this prefix, and decoded.
pub(super) fn last_ids(headers: &HeaderMap, prefix: &str) -> Vec<(String, u64)> {
    let decoded = |(name, id): (&str, &str)| {
        let name = percent_decode_str(name.strip_prefix(prefix)?).decode_utf8().ok()?;
        Some((name.into_owned(), id.parse().ok()?))
    };
    all(headers).filter_map(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_connection_are_read_from_one_line_or_several() {
        let mut headers = HeaderMap::new();
        for line in [
            "p-events-a; last-id=7, p-events-a%20b%2C%C3%A9%25; x=y; last-id=0",
            "nonsense",
            "p-events-c; last-id=x, events-d; last-id=1, p-events-e;last-id=2",
        ] {
            headers.append("grip-last", line.parse().expect("a value"));
        }
        let expected = [("a".to_owned(), 7), ("a b,é%".to_owned(), 0), ("e".to_owned(), 2)];
        assert_eq!(last_ids(&headers, "p-events-"), expected);
    }
}
