//! Which server of a database answers: what tells it from another one that the same address leads
//! to later, as after a fail-over.
//!
//! May enter: drivers. May not: what follows from it.
//!
//! Not every server says so: it may forbid the question, or only look like the one that is asked.
//! Its identity is then `None`, and it is taken for the same as any other.

/// What a server calls itself, from its start to its end.
pub(crate) type Identity = Option<String>;

/// Whether two connections lead to different servers, as far as is known.
pub(crate) fn differ(one: &Identity, other: &Identity) -> bool {
    one.is_some() && other.is_some() && one != other
}

/// The identity of a PostgreSQL server: when it was started.
#[cfg(feature = "postgres")]
pub(crate) async fn of_postgres(
    connection: impl sqlx::PgExecutor<'_>,
) -> Result<Identity, sqlx::Error> {
    let started = sqlx::query_scalar("SELECT pg_postmaster_start_time()::text");
    match started.fetch_one(connection).await {
        Ok(started) => Ok(Some(started)),
        Err(sqlx::Error::Database(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The identity of a Redis server: its run ID.
#[cfg(feature = "redis")]
pub(crate) async fn of_redis(
    connection: &mut impl redis::aio::ConnectionLike,
) -> redis::RedisResult<Identity> {
    match redis::cmd("INFO").arg("server").query_async::<redis::InfoDict>(connection).await {
        Ok(info) => Ok(info.get("run_id")),
        Err(error) if error.is_io_error() => Err(error),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_are_known_differ() {
        let [a, b] = ["a", "b"].map(|name| Some(name.to_owned()));
        assert!(differ(&a, &b) && !differ(&a, &a));
        assert!(!differ(&a, &None) && !differ(&None, &b) && !differ(&None, &None));
    }
}
