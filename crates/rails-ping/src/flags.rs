//! The command line.

use std::{net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration};

use clap::{Parser, ValueEnum};
use rig::units;
use serde::{Deserialize, Serialize};

/// The port that perftest uses.
const PORT: u16 = 18515;

#[derive(Parser)]
#[command(
    version,
    about = "Latency and bandwidth of one rail, between two processes",
    after_help = "Over emulated cables, on both nodes of the embedded rig:\n  \
                  cargo xtask rig up -- rails-ping latency --transport uc --size 4096\n\n\
                  Over real devices:\n  \
                  rails-ping latency --server --device mlx5_0\n  \
                  rails-ping latency --client HOST --device mlx5_0\n\n\
                  The client measures and prints, and its flags count for both, but for --device, \
                  --gid-index and --timeout."
)]
pub struct Flags {
    /// What to measure
    #[arg(value_enum, default_value_t = Measure::Latency)]
    pub measure: Measure,
    /// Wait for the other process, and answer it
    #[arg(long, conflicts_with = "client")]
    pub server: bool,
    /// Connect to the process that waits on this host, and measure
    #[arg(long, value_name = "HOST")]
    pub client: Option<String>,
    /// The TCP port at which the two processes meet
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
    /// The device, such as rdma_en5; by default the first one
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// The index in the port's GID table of this end's address
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub gid_index: u32,
    /// Unreliable (uc) or reliable (rc) connections; a comma list gives a row for each
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Transport::Uc, Transport::Rc])]
    pub transport: Vec<Transport>,
    /// Bytes of a message, as in 4096 or 64KiB; a comma list gives a row for each
    #[arg(
        long,
        value_name = "SIZE",
        value_delimiter = ',',
        default_value = "4096"
    )]
    pub size: Vec<Size>,
    /// The number of round trips (latency) or messages (bandwidth) that are measured
    #[arg(long, value_name = "N", default_value = "1000")]
    pub iterations: NonZeroU32,
    /// The number of round trips or messages before them that are not measured
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub warm_up: u32,
    /// Compare every byte that arrives, rather than the first eight
    #[arg(long)]
    pub check: bool,
    /// Give up when nothing has arrived or left for this long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::parse_duration)]
    pub timeout: Duration,
    /// A table for people, or JSON (schema mlx-rails/ping/1)
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Set by `cargo xtask rig up`
    #[arg(long, env = "RIG_RANK", hide = true)]
    pub rig_rank: Option<u32>,
    /// Set by `cargo xtask rig up`
    #[arg(long, env = "RIG_COORDINATOR", hide = true)]
    pub rig_coordinator: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Half of a round trip
    Latency,
    /// One direction, kept full
    Bandwidth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Unreliable connection
    Uc,
    /// Reliable connection
    Rc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns as in perftest
    Text,
    /// One object
    Json,
}

/// The bytes of a message. Each end has memory for 64 of them.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u32);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = match text.parse() {
            Ok(bytes) => bytes,
            Err(_) => units::parse_size(text).map_err(|error| error.to_string())?,
        };
        match u32::try_from(bytes) {
            Ok(bytes @ 1..=0x100_0000) => Ok(Size(bytes)),
            _ => Err("a message has from 1 B to 16 MiB".to_owned()),
        }
    }
}

/// The meeting address, and the role of this process.
pub enum Role {
    /// Listens at this address.
    Server(String),
    /// Connects to it.
    Client(String),
}

impl Flags {
    pub fn role(&self) -> anyhow::Result<Role> {
        Ok(match (&self.client, self.server) {
            (Some(host), _) => Role::Client(format!("{host}:{}", self.port)),
            (None, true) => Role::Server(format!("0.0.0.0:{}", self.port)),
            (None, false) => match (self.rig_rank, self.rig_coordinator) {
                (Some(0), Some(address)) => Role::Server(address.to_string()),
                (Some(_), Some(address)) => Role::Client(address.to_string()),
                _ => anyhow::bail!(
                    "which process is this? Give --server or --client HOST, or run it under \
                     `cargo xtask rig up`"
                ),
            },
        })
    }
}
