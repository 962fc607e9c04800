//! A device's queue pair and the memory that it sends from and receives into: the only
//! unsafe code of this program.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ibverbs::{
    CompletionQueue, Context, MemoryRegion, ProtectionDomain, QueuePair, QueuePairEndpoint,
    ibv_qp_type, ibv_wc,
};

use crate::{flags::Transport, meeting::Meeting};

/// The number of posted receives, and twice the number of sends that are acknowledged
/// together.
pub const DEPTH: usize = 32;

/// The number of completions polled at a time.
const BATCH: usize = 16;

/// The timeout of a reliable connection is 4.096 us times two to the power of this: 67
/// ms. The default of the crate `ibverbs`, with its retries, gives up after half a
/// millisecond.
const TIMEOUT: u8 = 14;

/// Retries without limit while the receiver is not ready.
const WITHOUT_END: u8 = 7;

/// Marks the completion id of a send; that of a receive is its slot alone.
const SEND: u64 = 1 << 63;

pub fn open(name: Option<&str>) -> Result<(String, Context)> {
    let devices = ibverbs::devices().context("the system lists no RDMA devices")?;
    let named = |device: &ibverbs::Device<'_>| {
        let name = device.name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let known: Vec<_> = devices.iter().map(|device| named(&device)).collect();
    let place = match name {
        None if known.is_empty() => bail!("there is no RDMA device here"),
        None => 0,
        Some(name) => match known.iter().position(|it| it == name) {
            Some(place) => place,
            None => bail!(
                "there is no device '{name}' here (available: {})",
                known.join(", ")
            ),
        },
    };
    let name = known[place].clone();
    let device = devices.get(place).context("the device is gone")?;
    let context = device.open();
    let context = context.with_context(|| format!("cannot open the device {name}"))?;
    Ok((name, context))
}

/// The resources of a wire.
pub struct Port<'ctx> {
    gid_index: u32,
    domain: ProtectionDomain<'ctx>,
    queue: CompletionQueue<'ctx>,
}

impl<'ctx> Port<'ctx> {
    pub fn new(context: &'ctx Context, gid_index: u32) -> Result<Self> {
        let entries = context.gid_table().len();
        if gid_index as usize >= entries {
            bail!("--gid-index {gid_index}: the port's table has {entries} entries");
        }
        let completions = i32::try_from(4 * DEPTH)?;
        Ok(Port {
            gid_index,
            domain: context
                .alloc_pd()
                .context("cannot allocate a protection domain")?,
            queue: (context.create_cq(completions, 0))
                .context("cannot create a completion queue")?,
        })
    }

    /// Connects to the other process's queue pair. Every slot is posted as a receive
    /// before either process can send.
    pub fn connect(
        &self,
        transport: Transport,
        bytes: usize,
        timeout: Duration,
        meeting: &mut Meeting,
    ) -> Result<Wire<'_>> {
        let kind = match transport {
            Transport::Uc => ibv_qp_type::IBV_QPT_UC,
            Transport::Rc => ibv_qp_type::IBV_QPT_RC,
        };
        let mut builder = self.domain.create_qp(&self.queue, &self.queue, kind);
        builder
            .set_gid_index(self.gid_index)
            .set_max_send_wr(2 * DEPTH as u32)
            .set_max_recv_wr(DEPTH as u32);
        if transport == Transport::Rc {
            builder
                .set_timeout(TIMEOUT)
                .set_retry_count(7)
                .set_rnr_retry(WITHOUT_END);
        }
        let prepared = builder.build().context("cannot create a queue pair")?;
        meeting.tell(&prepared.endpoint())?;
        let theirs: QueuePairEndpoint = meeting.hear()?;
        let pair = prepared.handshake(theirs);
        // Twice the slots: received messages are in the first half, messages to send in
        // the second.
        let memory = self.domain.allocate::<u8>(2 * DEPTH * bytes);
        let mut wire = Wire {
            pair: pair.context("the queue pair does not connect")?,
            memory: memory.context("cannot register memory")?,
            queue: &self.queue,
            bytes,
            timeout,
        };
        for slot in 0..DEPTH {
            wire.post_receive(slot)?;
        }
        meeting.meet()?;
        Ok(wire)
    }
}

/// A connected queue pair.
pub struct Wire<'a> {
    // Dropped before the memory that its work requests point to.
    pair: QueuePair<'a>,
    memory: MemoryRegion<u8>,
    queue: &'a CompletionQueue<'a>,
    bytes: usize,
    timeout: Duration,
}

/// A completed work request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Sent,
    /// A message of this many bytes is in this slot.
    Received(usize, usize),
}

impl Wire<'_> {
    /// The message that arrived in a slot.
    pub fn received(&self, slot: usize, bytes: usize) -> &[u8] {
        let start = slot * self.bytes;
        &self.memory[start..start + bytes]
    }

    /// The memory for the message that a slot sends. The slot's last send must be done.
    pub fn outgoing(&mut self, slot: usize) -> &mut [u8] {
        let start = (DEPTH + slot) * self.bytes;
        &mut self.memory[start..start + self.bytes]
    }

    pub fn post_receive(&mut self, slot: usize) -> Result<()> {
        let start = slot * self.bytes;
        // SAFETY: the memory is dropped after the queue pair. No code reads a slot
        // between this and its completion, because slots are handed out only by
        // completions.
        let posted = unsafe {
            self.pair
                .post_receive(&mut self.memory, start..start + self.bytes, slot as u64)
        };
        posted.context("cannot post a receive")
    }

    /// Sends the first `bytes` of an outgoing slot.
    pub fn post_send(&mut self, slot: usize, bytes: usize) -> Result<()> {
        let start = (DEPTH + slot) * self.bytes;
        // SAFETY: the memory is dropped after the queue pair, and a slot is written again
        // only when its send is done.
        let posted = unsafe {
            self.pair
                .post_send(&mut self.memory, start..start + bytes, SEND | slot as u64)
        };
        posted.context("cannot post a send")
    }

    /// Waits until some work requests complete, and passes each to `each`.
    pub fn wait(&mut self, mut each: impl FnMut(Done)) -> Result<()> {
        let mut completions = [ibv_wc::default(); BATCH];
        let mut begun = None;
        loop {
            let done = self.queue.poll(&mut completions).context("cannot poll")?;
            for completion in &*done {
                if let Some((status, _)) = completion.error() {
                    bail!(
                        "a {} failed: {}",
                        match completion.wr_id() & SEND {
                            0 => "receive",
                            _ => "send",
                        },
                        meaning(status)
                    );
                }
                each(match completion.wr_id() {
                    id if id & SEND != 0 => Done::Sent,
                    slot => Done::Received(slot as usize, completion.len()),
                });
            }
            if !done.is_empty() {
                return Ok(());
            }
            let begun = *begun.get_or_insert_with(Instant::now);
            if begun.elapsed() > self.timeout {
                bail!(
                    "nothing arrived or left for {:?}: the devices may not be the two ends of \
                     one cable, or the other process is gone",
                    self.timeout
                );
            }
        }
    }
}

/// The text of libibverbs (`ibv_wc_status_str`) for the statuses that these sends can
/// have.
fn meaning(status: u32) -> String {
    use ibverbs::ibv_wc_status as status_is;
    let words = match status {
        status_is::IBV_WC_RETRY_EXC_ERR => "transport retry counter exceeded",
        status_is::IBV_WC_RNR_RETRY_EXC_ERR => "RNR retry counter exceeded",
        status_is::IBV_WC_WR_FLUSH_ERR => "Work Request Flushed Error",
        status_is::IBV_WC_LOC_LEN_ERR => "local length error",
        status_is::IBV_WC_REM_OP_ERR => "remote operation error",
        other => return format!("status {other}"),
    };
    format!("{words} (status {status})")
}
