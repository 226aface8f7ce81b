//! Real services, which `cargo xtask test` starts and names in variables. Without them the tests that
//! want one say so.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::env;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use sqlx::{Connection, PgConnection};

/// The URL of a PostgreSQL database that is empty, and nobody else's.
pub async fn postgres() -> Option<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let url = variable("SSE_TEST_POSTGRES")?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{count}", std::process::id());
    let mut connection = PgConnection::connect(&url).await.expect("PostgreSQL runs");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(&mut connection).await.expect("a database");
    connection.close().await.expect("closed");
    let (server, _) = url.rsplit_once('/').expect("a database");
    Some(format!("{server}/{name}"))
}

/// The URL of a Redis server, which other tests use too.
pub fn redis() -> Option<String> {
    variable("SSE_TEST_REDIS")
}

/// The URL of a broker, which other tests use too.
pub fn amqp() -> Option<String> {
    variable("SSE_TEST_AMQP")
}

pub fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let test = thread::current();
        // Past the test harness, which keeps what tests print to itself.
        let _ = writeln!(
            io::stderr(),
            "{}: left out, it needs {name}; `cargo xtask test` runs it",
            test.name().unwrap_or("a test")
        );
    }
    value
}
