//! Words that no report may have.

use super::publish::Hook;
use crate::wire::target::{REDACTED, Target, is_harmless};

/// Words that must not be seen, wherever they turn up: a server may send them back.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of a run.
    pub(crate) fn of<'a>(
        target: &Target,
        headers: impl Iterator<Item = &'a (String, String)>,
        publish: Option<&Hook>,
    ) -> Self {
        let mut secrets = Self::default();
        for (name, value) in headers {
            if !is_harmless(name) {
                secrets.add(value);
                value.split([' ', ';', '=', ',']).for_each(|part| {
                    if part.len() >= 8 {
                        secrets.add(part);
                    }
                });
            }
        }
        for secret in target.secrets() {
            secrets.add(&secret);
        }
        if let Some(Hook::Url { token, headers, target, .. }) = publish {
            let values = headers.iter().map(|(_, value)| value.clone());
            for secret in values.chain(token.clone()).chain(target.secrets()) {
                secrets.add(&secret);
            }
        }
        secrets
    }

    pub(crate) fn add(&mut self, secret: &str) {
        // Shorter ones would take harmless text with them.
        if secret.len() >= 4 {
            self.0.push(secret.to_owned());
        }
    }

    pub(crate) fn hide(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret) {
                *text = text.replace(secret, REDACTED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret");
        let mut text = "the token s3cret is wrong".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "the token [redacted] is wrong");
    }
}
