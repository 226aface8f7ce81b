//! What public keys look like, so that none is taken for a secret.
//!
//! Everybody may know a public key. If it were the secret of HS256, everybody could sign tokens
//! with it.

use serde_json::Value;

/// Base64 of the identifiers of RSA, P-256 and Ed25519, as they are in keys (RFC 5280, section
/// 4.1), at each of the places that base64 can begin at.
const BARE_BASE64: [&str; 5] =
    ["BgkqhkiG9w0BAQ", "GCSqGSIb3DQEBAQ", "BgcqhkjOPQIB", "YHKoZIzj0CAQ", "MCowBQYDK2Vw"];

/// The form of public key that this is, if it is one.
pub(super) fn form(bytes: &[u8]) -> Option<&'static str> {
    let trimmed = bytes.trim_ascii();
    if trimmed.starts_with(b"-----BEGIN") || trimmed.starts_with(b"---- BEGIN") {
        return Some("PEM");
    }
    if is_der(bytes) {
        return Some("DER");
    }
    let text = str::from_utf8(trimmed).ok()?;
    if ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| text.starts_with(start)) {
        return Some("OpenSSH");
    }
    if let Ok(Value::Object(json)) = serde_json::from_str(text) {
        return json
            .contains_key("kty")
            .then_some("JWK")
            .or(json.contains_key("keys").then_some("JWK set"));
    }
    let begin = text.get(..48).unwrap_or(text);
    BARE_BASE64.iter().any(|mark| begin.contains(mark)).then_some("base64")
}

/// One sequence of DER, from the first byte to the last. Text secrets are not.
fn is_der(bytes: &[u8]) -> bool {
    let [0x30, len, rest @ ..] = bytes else { return false };
    if bytes.iter().all(u8::is_ascii_graphic) {
        return false;
    }
    let (len, rest) = match len {
        0..=0x7f => (usize::from(*len), rest),
        0x81 if !rest.is_empty() => (usize::from(rest[0]), &rest[1..]),
        0x82 if rest.len() >= 2 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
        _ => return false,
    };
    // A line end that an editor has left does not make it a secret.
    rest.len() == len || rest.trim_ascii_end().len() == len
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Ed25519 key of RFC 8410, section 10.1.
    const BASE64: &str = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    #[test]
    fn a_public_key_is_known_in_each_of_its_forms_and_a_secret_is_none() {
        let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        der.extend([0xa5; 32]);
        let mut with_line_end = der.clone();
        with_line_end.push(b'\n');
        let rsa = [&[0x30, 0x82, 0x01, 0x22][..], &[0x86; 0x122]].concat();
        for (bytes, expected) in [
            (&b"-----BEGIN PUBLIC KEY-----\n"[..], "PEM"),
            (b"---- BEGIN SSH2 PUBLIC KEY ----", "PEM"),
            (&der, "DER"),
            (&with_line_end, "DER"),
            (&rsa, "DER"),
            (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@here", "OpenSSH"),
            (b"ecdsa-sha2-nistp256 AAAAE2VjZHNh", "OpenSSH"),
            (b" {\"kty\": \"RSA\", \"n\": \"\", \"e\": \"AQAB\"}\n", "JWK"),
            (b"{\"keys\":[]}", "JWK set"),
            (BASE64.as_bytes(), "base64"),
            (b"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA", "base64"),
            (b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "base64"),
        ] {
            assert_eq!(form(bytes), Some(expected), "{}", bytes.escape_ascii());
        }
        for secret in [
            &b"a secret of more than thirty-two bytes"[..],
            b"{\"not\": \"a key\", \"but\": \"some JSON\"}",
            b"0\"of thirty-six bytes, 34 after these",
            &[0x30; 32],
            &[0xff; 32],
            b"",
        ] {
            assert_eq!(form(secret), None, "{}", secret.escape_ascii());
        }
    }
}
