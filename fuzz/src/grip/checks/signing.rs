//! Who is taken for the proxy.

use std::time::Duration;

use crate::grip::check::{Check, Needs, ask};
use crate::grip::origin::Origin;
use crate::grip::signer::Forgery;
use crate::probe::Severity::{Error, Security, Warning};
use crate::probe::finding::{Finding, Judged};

const SIG: &str = "GRIP, Grip-Sig";

pub(super) const CHECKS: [Check; 10] = [
    Check::new(
        "sig.held",
        Error,
        SIG,
        "A signed request for the stream is answered with a hold",
        ask!(held),
    ),
    Check::new(
        "sig.unsigned",
        Security,
        SIG,
        "Without a signature, no header of GRIP is in the answer",
        ask!(unsigned),
    ),
    Check::new(
        "sig.altered",
        Security,
        SIG,
        "A signature for other claims is as none",
        ask!(forged, Forgery::Altered, "of a signature that is for other claims"),
    ),
    Check::new(
        "sig.other-key",
        Security,
        SIG,
        "A signature by another key is as none",
        ask!(forged, Forgery::OtherKey, "of another key"),
    ),
    Check::new(
        "sig.none",
        Security,
        "RFC 8725, section 3.2",
        "A token with `alg: none` is as none",
        ask!(forged, Forgery::None, "of `alg: none`, which everyone can make"),
    ),
    Check::new(
        "sig.confused",
        Security,
        "RFC 8725, section 2.1",
        "An HMAC with the text of the public key is as none",
        ask!(forged, Forgery::Confused, "made with the public key, which everyone has"),
    )
    .with(Needs::PublicKey),
    Check::new(
        "sig.expired",
        Security,
        SIG,
        "A signature that has expired is as none",
        ask!(forged, Forgery::Expired, "that expired two minutes ago"),
    ),
    Check::new(
        "sig.endless",
        Warning,
        SIG,
        "A signature without `exp` is as none",
        ask!(forged, Forgery::Endless, "without exp: it would be good for ever"),
    ),
    Check::new(
        "sig.issuer",
        Security,
        SIG,
        "A signature of another issuer is as none",
        ask!(
            forged,
            Forgery::OtherIssuer,
            "of another issuer; where several services have one key, as Fastly's, any of them could"
        ),
    )
    .with(Needs::Issuer),
    Check::new(
        "sig.direct",
        Warning,
        "WHATWG 9.2.4",
        "Who comes without a proxy gets a stream that goes on, or a status that says no",
        ask!(direct),
    ),
];

async fn held(origin: &Origin) -> Judged {
    let answer = origin.first_answer().await?;
    let text = "a signed request is not answered with Grip-Hold; is the key that of the proxy \
                (--key, --issuer)?";
    let is_held = answer.hold.is_held();
    Ok(origin.show(Finding::of((!is_held).then(|| text.to_owned())), answer))
}

async fn unsigned(origin: &Origin) -> Judged {
    let answer = origin.glance(&origin.target, origin.ask()).await?;
    let names = answer.for_proxies();
    let text = format!("an answer to an unsigned request has {}", names.join(", "));
    Ok(origin.show(Finding::of((!names.is_empty()).then_some(text)), &answer))
}

async fn forged(origin: &Origin, forgery: Forgery, what: &str) -> Judged {
    origin.first().await?;
    let ask = origin.ask().with("Grip-Sig", origin.settings.signer.forge(forgery));
    let answer = origin.glance(&origin.target, ask).await?;
    let names = answer.for_proxies();
    let text = format!("a signature {what} is believed: the answer has {}", names.join(", "));
    Ok(origin.show(Finding::of((!names.is_empty()).then_some(text)), &answer))
}

async fn direct(origin: &Origin) -> Judged {
    let answer = origin.watch(origin.ask(), Duration::from_secs(1)).await?;
    let text = match answer.status() {
        None => "a request without a signature is not answered within 5 s",
        Some(204 | 300..) => return Ok(Finding::pass_with("it is refused")),
        Some(_) if answer.tape.end.is_some() => {
            "a request without a signature gets a stream that ends at once: an EventSource comes \
             back again and again"
        }
        Some(_) => return Ok(Finding::pass()),
    };
    let finding = Finding::fault(text).of_time_if(answer.tape.is_unanswered());
    Ok(origin.show(finding, &answer))
}
