//! What the values of settings are: read in one way from flags, variables and files, and refused in
//! the same words.
//!
//! A [`Value`] says how it is written. clap and serde both read it by way of that, so a mistake on
//! the command line is one of the command line (exit code 2), and a mistake in the file has its
//! line.
//!
//! May enter: values that several rooms or several sources share. May not: what settings mean
//! together.

mod kinds;
mod listen;
mod token;

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Command};
use serde::de::{Deserializer, Visitor};

pub(crate) use crate::access::SHORT_SECRET;
pub(crate) use kinds::nearest;
pub use kinds::{
    BasePath, Count, HostNames, LogFilter, LogFormat, Networks, Pause, ServerUrl, Time,
};
pub use listen::{InheritedSocket, Listen, ListenAddress, SocketMode};
pub(crate) use token::SHORT_TOKEN;
pub use token::Token;

/// The value of a setting, as people write it.
pub(crate) trait Value: Clone + Send + Sync + Sized + 'static {
    /// What would do, for the file: `"7d"`.
    const EXAMPLE: &'static str;

    /// Reads what somebody has written. The problem that it tells shows nothing that may be secret.
    fn read(text: &str) -> Result<Self, String>;

    /// Reads a number in the file.
    fn of_number(_: u64) -> Result<Self, String> {
        Err(format!("a number is there where a text belongs; write for example {}", Self::EXAMPLE))
    }
}

/// Reads values of the command line and the environment.
#[derive(Clone, Debug)]
pub struct Reader<T>(PhantomData<T>);

impl<T> Default for Reader<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

#[allow(private_bounds, reason = "only values of settings are read")]
impl<T: Value> TypedValueParser for Reader<T> {
    type Value = T;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        self.parse_ref_(cmd, arg, value, ValueSource::CommandLine)
    }

    // The other messages of clap show the value, which may hold a password.
    fn parse_ref_(
        &self,
        cmd: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<T, clap::Error> {
        let is_variable = source == ValueSource::EnvVariable;
        let read = value.to_str().ok_or_else(|| "this is not UTF-8".to_owned()).and_then(|text| {
            // `echo`, editors and secret stores leave a line end in variables.
            T::read(if is_variable { text.trim_end_matches(['\r', '\n']) } else { text })
        });
        read.map_err(|problem| {
            let variable = arg.and_then(Arg::get_env).filter(|_| is_variable);
            let name = match (variable, arg.and_then(Arg::get_long)) {
                (Some(variable), _) => variable.to_string_lossy().into_owned(),
                (None, Some(flag)) => format!("--{flag}"),
                (None, None) => arg.map(|arg| arg.get_id().to_string()).unwrap_or_default(),
            };
            clap::Error::raw(ErrorKind::ValueValidation, format!("{name}: {problem}\n"))
                .with_cmd(cmd)
        })
    }
}

/// What serde is told about a value.
struct Written<T>(PhantomData<T>);

impl<T: Value> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text such as {}", T::EXAMPLE)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        T::of_number(number).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(format!(
                "a negative number is not possible; write for example {}",
                T::EXAMPLE
            ))),
        }
    }
}

pub(crate) fn deserialize<'de, T: Value, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Written(PhantomData))
}

/// Lets clap and serde read values of a type.
macro_rules! readable {
    ($($type:ty),* $(,)?) => { $(
        impl clap::builder::ValueParserFactory for $type {
            type Parser = $crate::values::Reader<Self>;

            fn value_parser() -> Self::Parser {
                Self::Parser::default()
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $crate::values::Value::read(text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::values::deserialize(from)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                String::json_schema(generator)
            }
        }
    )* };
}
pub(crate) use readable;

/// Variables that are set, but empty, as `${X:-}` leaves them, count as not set.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.to_string_lossy().trim().is_empty())
    };
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}
