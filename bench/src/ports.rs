//! Ports for jaccl's coordinators.

use std::net::TcpListener;

/// No port of the range is free.
#[derive(Debug, thiserror::Error)]
#[error(
    "no port of 127.0.0.1 from {} to {} is free for jaccl's coordinator; end what listens there",
    Ports::FIRST,
    Ports::LAST
)]
pub struct NoPort;

/// Hands out free ports, another each time. Below 32768 the system gives none
/// to outgoing connections, so a free one stays free until jaccl listens on it.
#[derive(Debug)]
pub(crate) struct Ports {
    next: u16,
}

impl Ports {
    const FIRST: u16 = 20_000;
    const LAST: u16 = 32_000;

    /// Begins at a place of this process's own, so that two runs at once do not
    /// find the same port free at the same time.
    pub(crate) fn new() -> Self {
        let span = u32::from(Self::LAST - Self::FIRST);
        let offset = std::process::id().wrapping_mul(37) % span;
        Self {
            next: Self::FIRST + offset as u16,
        }
    }

    pub(crate) fn take(&mut self) -> Result<u16, NoPort> {
        for _ in Self::FIRST..=Self::LAST {
            let port = self.next;
            self.next = if port == Self::LAST {
                Self::FIRST
            } else {
                port + 1
            };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        Err(NoPort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_passed_over() {
        let mut ports = Ports::new();
        let free = ports.take().unwrap();
        let _held = TcpListener::bind(("127.0.0.1", free)).unwrap();
        ports.next = free;
        let other = ports.take().unwrap();
        assert_ne!(other, free);
        assert!((Ports::FIRST..=Ports::LAST).contains(&other));
    }
}
