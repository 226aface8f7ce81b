//! `cargo xtask proof`: the tests that kill servers or cut the power, alone and for as many rounds
//! as you like.

use lexopt::prelude::*;
use testkit::programs::find;

use crate::process::{cargo, ended, shown};
use crate::setup::{self, Programs};
use crate::{Failure, Outcome, django, services};

/// How many rounds there are without `--rounds`.
const ROUNDS: u64 = 100;

/// The relays, each with the word that finds its test.
const RELAYS: [(&str, &str); 3] =
    [("redis", "told_by_redis"), ("postgres", "told_by_postgres"), ("amqp", "told_by_rabbitmq")];

/// The word that finds the test whose readers are behind a proxy.
const PROXIED: &str = "behind_pushpin";

/// The word that finds the test of an application.
const EMBEDDED: &str = "though_the_application_is_killed";

/// The storages whose power is cut, each with the word that finds its test.
const STORAGES: [(&str, &str); 3] =
    [("sqlite", "sqlite_file"), ("postgres", "in_postgres"), ("redis", "redis_has")];

/// The word that finds all of these tests.
const POWER: &str = "after_a_power_cut";

/// What gets killed.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    /// One server, this often; or an application that has our streams in it.
    OneServer { kills: u64, is_embedded: bool },
    /// Several servers, and the services that they use. Only the tests run that have `filter` in
    /// their names.
    Instances { rounds: u64, filter: &'static str },
    /// The machine of a server and its storage, many times in so many records of what they do.
    Power { rounds: u64, filter: &'static str },
}

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let (proof, seed) = parse(args)?;
    let mut test = match proof {
        Proof::OneServer { kills, is_embedded } => {
            let (package, test) = if is_embedded {
                ("sse-server-examples", "embedding")
            } else {
                ("ssekit-server", "kill9")
            };
            let mut test = cargo(&["test", "-p", package, "--test", test]);
            test.env("SSE_KILLS", kills.to_string()).args(["--", "--nocapture"]);
            if is_embedded {
                test.arg(EMBEDDED);
            }
            test
        }
        Proof::Instances { rounds, filter } => {
            let programs = Programs::set_up(&mut shown)?;
            let mut test = cargo(&["test", "-p", "ssekit-server", "--test", "chaos"]);
            test.env("SSE_ROUNDS", rounds.to_string()).envs(services::programs(&programs));
            if filter == PROXIED {
                setup::pushpin(&mut shown)?;
                test.envs(find("pushpin").map(|path| (services::PUSHPIN, path)));
                // A Django site publishes beside this server, and is killed as well.
                django::set_up(&mut shown)?;
                test.env(django::VARIABLE, django::python());
            }
            test.args(["--", "--nocapture", "--test-threads=1", filter]);
            test
        }
        Proof::Power { rounds, filter } => {
            let programs = Programs::set_up(&mut shown)?;
            setup::strace(&mut shown)?;
            let mut test = cargo(&["test", "-p", "ssekit-server", "--test", "power"]);
            test.env("SSE_POWER_RUNS", rounds.to_string()).envs(services::programs(&programs));
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
    let (mut of_instances, mut of_power, mut is_embedded) = (false, false, false);
    let (mut filter, mut storage) = (None, None);
    let [mut kills, mut rounds, mut seed] = [None::<u64>; 3];
    while let Some(arg) = args.next()? {
        match arg {
            Long("instances") => of_instances = true,
            Long("embedded") => is_embedded = true,
            Long("pushpin") => filter = Some(PROXIED),
            Long("power") => of_power = true,
            Long("storage") => {
                storage = Some(args.value()?.parse_with(|name| word(name, &STORAGES))?);
            }
            Long("relay") => filter = Some(args.value()?.parse_with(|name| word(name, &RELAYS))?),
            Long("kills") => kills = Some(args.value()?.parse()?),
            Long("rounds") => rounds = Some(args.value()?.parse()?),
            Long("seed") => seed = Some(args.value()?.parse()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let proof = match (of_instances, kills, rounds, filter) {
        (_, None, ..) if is_embedded => {
            return Err(Failure::Usage("proof --embedded goes with --kills N".to_owned()));
        }
        (false, None, rounds, None) if of_power && rounds != Some(0) => {
            let filter = storage.unwrap_or(POWER);
            Proof::Power { rounds: rounds.unwrap_or(ROUNDS), filter }
        }
        _ if of_power || storage.is_some() => {
            let needed = "proof --power goes with --rounds N of at least 1, --storage STORAGE and --seed S only";
            return Err(Failure::Usage(needed.to_owned()));
        }
        (true, None, rounds, filter) if rounds != Some(0) => {
            // The names of all these tests contain this.
            let filter = filter.unwrap_or("told_by");
            Proof::Instances { rounds: rounds.unwrap_or(ROUNDS), filter }
        }
        (false, Some(kills), None, None) if kills > 0 => Proof::OneServer { kills, is_embedded },
        _ => {
            let needed = "proof needs --kills N [--embedded], --instances [--rounds N] [--relay RELAY or --pushpin], or --power \
                          [--rounds N] [--storage STORAGE], with an N of at least 1";
            return Err(Failure::Usage(needed.to_owned()));
        }
    };
    Ok((proof, seed))
}

/// The word that finds the test of this name.
fn word(name: &str, all: &[(&str, &'static str)]) -> Result<&'static str, String> {
    let known = all.iter().find(|(known, _)| *known == name);
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    known.map(|(_, word)| *word).ok_or(format!("there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_proofs_is_asked_for() {
        let parse = |args: &str| parse(&mut lexopt::Parser::from_args(args.split_whitespace()));
        let instances = |rounds, filter| Proof::Instances { rounds, filter };
        let one = |kills, is_embedded| Proof::OneServer { kills, is_embedded };
        assert_eq!(parse("--kills 5 --seed 7"), Ok((one(5, false), Some(7))));
        assert_eq!(parse("--embedded --kills 5"), Ok((one(5, true), None)));
        assert_eq!(parse("--instances"), Ok((instances(100, "told_by"), None)));
        let one = parse("--relay amqp --rounds 3 --instances");
        assert_eq!(one, Ok((instances(3, "told_by_rabbitmq"), None)));
        let proxied = parse("--instances --pushpin --seed 1");
        assert_eq!(proxied, Ok((instances(100, PROXIED), Some(1))));
        let power = |rounds, filter| Proof::Power { rounds, filter };
        assert_eq!(parse("--power"), Ok((power(100, POWER), None)));
        let one = parse("--power --rounds 7 --storage redis --seed 2");
        assert_eq!(one, Ok((power(7, "redis_has"), Some(2))));
        for nonsense in [
            "",
            "--power --kills 1",
            "--embedded",
            "--embedded --instances",
            "--power --instances",
            "--power --rounds 0",
            "--power --storage paper",
            "--kills 1 --storage redis",
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
