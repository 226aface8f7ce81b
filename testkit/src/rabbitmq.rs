//! Settings with which RabbitMQ uses one folder and three ports, and nothing else.
//!
//! `cargo xtask` starts one for all tests, and some tests start one of their own, to kill it.

use std::path::Path;
use std::process::Command;

/// Free ports of the loopback address.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For clients.
    pub amqp: u16,
    /// For other nodes; there are none.
    pub nodes: u16,
    /// For `epmd`, Erlang's name server. If it is missing, RabbitMQ starts it, and it stays when
    /// RabbitMQ ends.
    pub epmd: u16,
}

/// Adds the settings to a command that runs `rabbitmq-server`.
pub fn configure(command: &mut Command, folder: &Path, ports: Ports) {
    command
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", format!("sse-{}@localhost", ports.amqp))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", ports.amqp.to_string())
        .env("RABBITMQ_DIST_PORT", ports.nodes.to_string())
        .env("RABBITMQ_MNESIA_BASE", folder)
        .env("RABBITMQ_LOG_BASE", folder)
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("none"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
        .env("ERL_EPMD_PORT", ports.epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1");
}
