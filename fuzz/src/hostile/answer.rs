//! Answers a request, by whatever protocol it came: plays its case, or tells what there is.

use std::sync::Arc;

use super::catalogue;
use super::certificate::Certificate;
use super::doubles::Double;
use super::play::{End, Outlet, play};
use super::record::{Origin, Record};
use super::request::Request;

/// The path of the authority's certificate.
const CERTIFICATE: &str = "/ca.pem";

/// What all answers need.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) record: Arc<Record>,
    pub(super) certificate: Certificate,
}

impl Stage {
    pub(super) async fn respond(
        &self,
        mut request: Request,
        origin: Origin,
        mut outlet: impl Outlet,
    ) {
        request.at_other_origin = origin == Origin::Other;
        let case = request.case_and_run().0;
        if let Some(case) = self.record.case(case, origin) {
            let (entry, number) = self.record.record(request);
            return play(outlet, case.script(number), &entry).await;
        }
        if let Some((double, trouble)) = Double::asked(&request) {
            let (entry, number) = self.record.record(request.clone());
            return play(outlet, &double.script(trouble, &request, number), &entry).await;
        }
        let (status, text) = match request.target.as_str() {
            "/" => ("200 OK", index(&self.record)),
            CERTIFICATE => ("200 OK", self.certificate.authority.clone()),
            target => ("404 Not Found", format!("there is no case {target} here; see /\n")),
        };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        if outlet.head(&response).await.is_ok() {
            outlet.end(End::Closed).await;
        }
    }
}

fn index(record: &Record) -> String {
    let cases = catalogue::cases().into_iter().map(|case| {
        let url = record.url(record.origin(&case.id), &case.id, "", "");
        format!("\n{} {url}\n  {}\n  {}\n", case.method(), case.title, case.correct)
    });
    let head = format!(
        "Each of these misbehaves. Add ?run=ANY-WORD to start again. {CERTIFICATE} has the \
         authority for those with https.\n"
    );
    std::iter::once(head).chain(cases).collect()
}
