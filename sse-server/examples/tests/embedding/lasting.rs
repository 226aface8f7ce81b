//! What holds for the program holds for channels within an application: nothing acknowledged is
//! lost, however often it is killed.

use std::time::Duration;

use fastrand::Rng;
use testkit::server::TOKEN;
use testkit::traffic::Load;
use tokio::time::sleep;

use crate::program::Example;

async fn lasting(folder: &tempfile::TempDir) -> Example {
    let file = folder.path().join("events.db").display().to_string();
    Example::start(env!("CARGO_BIN_EXE_lasting"), &[&file, TOKEN]).await
}

/// `SSE_KILLS` says how often, `SSE_SEED` chooses when.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_reach_everyone_exactly_once_though_the_application_is_killed() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let rounds: u64 = number("SSE_KILLS").unwrap_or(20);
    let seed = number("SSE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let again = format!("SSE_SEED={seed} SSE_KILLS={rounds}");
    println!("{again}");
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut application = lasting(&folder).await;
    let place = format!("{}/sse", application.port);
    let load = Load::begin(&place, again, &mut random).await;
    for round in 1..=rounds {
        load.record().begin_round(round);
        sleep(Duration::from_millis(random.u64(..1000))).await;
        load.record().note("is killed".to_owned());
        application.kill().await;
        sleep(Duration::from_millis(random.u64(..200))).await;
        application.restart().await;
        load.is_back("a kill", &mut random).await;
    }
    load.end().await;
}
