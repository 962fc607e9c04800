//! Two processes that send to each other through the crate `ibverbs`, whose authors do
//! not know what it runs on here. Its argument names the device; who it is and where the
//! two meet is in the environment, as `cargo xtask rig up` sets it.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
};

use ibverbs::{Context, QueuePair, QueuePairEndpoint, ibv_qp_type, ibv_wc};

/// Messages each way, of each kind of queue pair.
const MESSAGES: u64 = 100;

/// 8-byte words of a message.
const WORDS: usize = 512;

/// What completions are of.
const SEND: u64 = 1;
const RECEIVE: u64 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let name = env::args().nth(1).ok_or("name a device")?;
    let devices = ibverbs::devices()?;
    let is_it = |known: &ibverbs::Device| {
        known
            .name()
            .is_some_and(|it| it.to_bytes() == name.as_bytes())
    };
    let device = devices.iter().find(is_it).ok_or("no such device")?;
    let context = device.open()?;
    let rank: u64 = env::var("RIG_RANK")?.parse()?;
    let mut peer = meet(rank, &env::var("RIG_COORDINATOR")?)?;
    for (kind, called) in [
        (ibv_qp_type::IBV_QPT_UC, "UC"),
        (ibv_qp_type::IBV_QPT_RC, "RC"),
    ] {
        exchange(&context, kind, rank, &mut peer)?;
        println!("{MESSAGES} messages each way over {called}");
    }
    Ok(())
}

fn meet(rank: u64, address: &str) -> Result<BufReader<TcpStream>, Box<dyn Error>> {
    Ok(BufReader::new(match rank {
        0 => TcpListener::bind(address)?.accept()?.0,
        _ => TcpStream::connect(address)?,
    }))
}

/// Tells the other process where the queue pair here is, and hears where its own is.
fn introduce(
    own: &QueuePairEndpoint,
    peer: &mut BufReader<TcpStream>,
) -> Result<QueuePairEndpoint, Box<dyn Error>> {
    writeln!(peer.get_mut(), "{}", serde_json::to_string(own)?)?;
    let mut line = String::new();
    peer.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Sends messages both ways at a time and looks at every word that comes.
fn exchange(
    context: &Context,
    kind: ibv_qp_type::Type,
    rank: u64,
    peer: &mut BufReader<TcpStream>,
) -> Result<(), Box<dyn Error>> {
    let queue = context.create_cq(16, 0)?;
    let domain = context.alloc_pd()?;
    let pair = domain
        .create_qp(&queue, &queue, kind)
        .set_gid_index(1)
        .build()?;
    let theirs = introduce(&pair.endpoint(), peer)?;
    let mut pair: QueuePair<'_> = pair.handshake(theirs)?;
    // The crate's reliable queue pairs give up after half a millisecond in which the
    // other is not connected.
    introduce(&theirs, peer)?;
    // What comes is in the first half, and what is sent in the second.
    let mut memory = domain.allocate::<u64>(2 * WORDS)?;
    for number in 0..MESSAGES {
        let word = |rank| rank << 32 | number;
        memory[WORDS..].fill(word(rank));
        // SAFETY: the memory lives, and is left alone, until both have completed.
        unsafe {
            pair.post_receive(&mut memory, ..WORDS, RECEIVE)?;
            pair.post_send(&mut memory, WORDS.., SEND)?;
        }
        let mut open = vec![SEND, RECEIVE];
        while !open.is_empty() {
            for completion in queue.poll(&mut [ibv_wc::default(); 2])? {
                if let Some((status, _)) = completion.error() {
                    return Err(format!("message {number}: status {status}").into());
                }
                open.retain(|id| *id != completion.wr_id());
            }
        }
        if memory[..WORDS].iter().any(|got| *got != word(1 - rank)) {
            return Err(format!("message {number} is not what was sent").into());
        }
    }
    // The other may still wait for what is on its way from here.
    introduce(&theirs, peer)?;
    Ok(())
}
