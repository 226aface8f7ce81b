//! `cargo xtask proof`: the tests that kill servers, alone and for as many rounds as you like.

use lexopt::prelude::*;
use testkit::programs::find;

use crate::process::{cargo, ended, shown};
use crate::setup::{self, Programs};
use crate::{Failure, Outcome, services};

/// How many rounds there are without `--rounds`.
const ROUNDS: u64 = 100;

/// The relays, each with the word that finds its test.
const RELAYS: [(&str, &str); 3] =
    [("redis", "told_by_redis"), ("postgres", "told_by_postgres"), ("amqp", "told_by_rabbitmq")];

/// The word that finds the test whose readers are behind a proxy.
const PROXIED: &str = "behind_pushpin";

/// What gets killed.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    /// One server, this often.
    OneServer { kills: u64 },
    /// Several servers, and the services that they use. Only the tests run that have `filter` in
    /// their names.
    Instances { rounds: u64, filter: &'static str },
}

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let (proof, seed) = parse(args)?;
    let mut test = match proof {
        Proof::OneServer { kills } => {
            let mut test = cargo(&["test", "-p", "ssekit-server", "--test", "kill9"]);
            test.env("SSE_KILLS", kills.to_string()).args(["--", "--nocapture"]);
            test
        }
        Proof::Instances { rounds, filter } => {
            let programs = Programs::set_up(&mut shown)?;
            let mut test = cargo(&["test", "-p", "ssekit-server", "--test", "chaos"]);
            test.env("SSE_ROUNDS", rounds.to_string()).envs(services::programs(&programs));
            if filter == PROXIED {
                setup::pushpin(&mut shown)?;
                test.envs(find("pushpin").map(|path| (services::PUSHPIN, path)));
            }
            test.args(["--", "--nocapture", "--test-threads=1", filter]);
            test
        }
    };
    if let Some(seed) = seed {
        test.env("SSE_SEED", seed.to_string());
    }
    ended(test)
}

/// Reads what to prove, and the seed.
fn parse(args: &mut lexopt::Parser) -> Result<(Proof, Option<u64>), Failure> {
    let mut of_instances = false;
    let mut filter = None;
    let [mut kills, mut rounds, mut seed] = [None::<u64>; 3];
    while let Some(arg) = args.next()? {
        match arg {
            Long("instances") => of_instances = true,
            Long("pushpin") => filter = Some(PROXIED),
            Long("relay") => filter = Some(args.value()?.parse_with(relay)?),
            Long("kills") => kills = Some(args.value()?.parse()?),
            Long("rounds") => rounds = Some(args.value()?.parse()?),
            Long("seed") => seed = Some(args.value()?.parse()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let proof = match (of_instances, kills, rounds, filter) {
        (true, None, rounds, filter) if rounds != Some(0) => {
            // The names of all these tests contain this.
            let filter = filter.unwrap_or("told_by");
            Proof::Instances { rounds: rounds.unwrap_or(ROUNDS), filter }
        }
        (false, Some(kills), None, None) if kills > 0 => Proof::OneServer { kills },
        _ => {
            let needed = "proof needs --kills N, or --instances [--rounds N] [--relay RELAY or --pushpin], with an N of \
                          at least 1";
            return Err(Failure::Usage(needed.to_owned()));
        }
    };
    Ok((proof, seed))
}

/// The word that finds a relay's test.
fn relay(name: &str) -> Result<&'static str, String> {
    let known = RELAYS.iter().find(|(known, _)| *known == name);
    let names = RELAYS.map(|(name, _)| name).join(", ");
    known.map(|(_, filter)| *filter).ok_or(format!("the relays are {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_proofs_is_asked_for() {
        let parse = |args: &str| parse(&mut lexopt::Parser::from_args(args.split_whitespace()));
        let instances = |rounds, filter| Proof::Instances { rounds, filter };
        assert_eq!(parse("--kills 5 --seed 7"), Ok((Proof::OneServer { kills: 5 }, Some(7))));
        assert_eq!(parse("--instances"), Ok((instances(100, "told_by"), None)));
        let one = parse("--relay amqp --rounds 3 --instances");
        assert_eq!(one, Ok((instances(3, "told_by_rabbitmq"), None)));
        let proxied = parse("--instances --pushpin --seed 1");
        assert_eq!(proxied, Ok((instances(100, PROXIED), Some(1))));
        for nonsense in [
            "",
            "--kills 0",
            "--kills x",
            "--instances --rounds 0",
            "--instances --relay pigeon",
            "--instances --kills 1",
            "--kills 1 --relay redis",
            "--rounds 3",
            "--x",
        ] {
            parse(nonsense).expect_err(nonsense);
        }
    }
}
