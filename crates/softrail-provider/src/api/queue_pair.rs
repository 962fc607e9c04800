//! Queue pairs: creation and state transitions.

use std::{ffi::c_int, time::Duration};

use rig::Crossed;

use super::{
    query::{is_route, mapped_gid},
    steps::{are_valid, is_legal},
};
use crate::{
    bindings as ibv,
    builder::{self, Builder},
    clock, complain, explain, fail, handles, lock,
    objects::{ProtectionDomain, Qp},
    queue_pair::{Patience, Peer, Phase, QueuePair, Transport},
};
use softrail::shm::ClaimError;

/// Makes a queue pair and returns its actual capacities. Null with `EOPNOTSUPP` for
/// datagrams and other types, and for a shared receive queue; `EINVAL` for more than the
/// device offers; `ENOMEM`, and over Thunderbolt `EBUSY`, if the device has no more;
/// `ENOMEM` if there is no memory for its messages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_create_qp(
    domain: *mut ibv::ibv_pd,
    wanted: *mut ibv::ibv_qp_init_attr,
) -> *mut ibv::ibv_qp {
    // SAFETY: a live protection domain, and the caller's own description, read and
    // updated in place.
    unsafe { create(&*domain.cast(), &mut *wanted, None) }
}

/// The same with the later extensions of the description. Of these only the protection
/// domain and the operations of `ibv_wr_start` are offered.
pub unsafe extern "C" fn create_qp_ex(
    _context: *mut ibv::ibv_context,
    wanted: *mut ibv::ibv_qp_init_attr_ex,
) -> *mut ibv::ibv_qp {
    let known = ibv::IBV_QP_INIT_ATTR_PD
        | ibv::IBV_QP_INIT_ATTR_CREATE_FLAGS
        | ibv::IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    // SAFETY: the caller's own description.
    let asked = unsafe { (*wanted).comp_mask };
    let has = |part| asked & part != 0;
    if !has(ibv::IBV_QP_INIT_ATTR_PD) {
        return fail(libc::EINVAL);
    }
    // SAFETY: the caller's own description, with the extensions that its mask names.
    let (flags, operations, domain) = unsafe {
        let flags = has(ibv::IBV_QP_INIT_ATTR_CREATE_FLAGS).then(|| (*wanted).create_flags);
        let operations =
            has(ibv::IBV_QP_INIT_ATTR_SEND_OPS_FLAGS).then(|| (*wanted).send_ops_flags);
        (flags, operations, (*wanted).pd)
    };
    let offered = operations.unwrap_or_default() & !builder::OPERATIONS == 0;
    if asked & !known != 0 || flags.unwrap_or_default() != 0 || !offered {
        return fail(libc::EOPNOTSUPP);
    }
    // SAFETY: a live protection domain, and the caller's own description, which
    // begins with the shorter one.
    unsafe {
        let wanted = &mut *wanted.cast();
        create(
            &*domain.cast(),
            wanted,
            operations.map(|_| Builder::default()),
        )
    }
}

fn create(
    domain: &ProtectionDomain,
    wanted: &mut ibv::ibv_qp_init_attr,
    builder: Option<Builder>,
) -> *mut ibv::ibv_qp {
    let transport = match wanted.qp_type {
        ibv::IBV_QPT_UC => Transport::Unreliable,
        ibv::IBV_QPT_RC => Transport::Reliable,
        _ => {
            explain(
                "a device has unreliable (UC) and, unless its profile is thunderbolt, reliable connections (RC) alone",
            );
            return fail(libc::EOPNOTSUPP);
        }
    };
    let offer = domain.context().offer();
    if offer.has_credits && (transport == Transport::Reliable || builder.is_some()) {
        explain(
            "RDMA over Thunderbolt has unreliable connections (UC) and ibv_post_send alone; for \
             reliable ones and ibv_wr_start write profile = \"rdma\" into the rig's [defaults]",
        );
        return fail(libc::EOPNOTSUPP);
    }
    if !wanted.srq.is_null() {
        explain("a device has no shared receive queues");
        return fail(libc::EOPNOTSUPP);
    }
    let cap = &mut wanted.cap;
    let too_much = cap.max_send_wr.max(cap.max_recv_wr) > offer.depth
        || cap.max_send_sge.max(cap.max_recv_sge) > offer.scatter
        || cap.max_inline_data > offer.inline;
    if too_much && offer.has_credits {
        explain(
            "a queue was to be deeper than max_qp_wr, or to have more than one scatter-gather \
             entry or inline data, which RDMA over Thunderbolt does not have",
        );
    }
    if wanted.send_cq.is_null() || wanted.recv_cq.is_null() || too_much {
        return fail(libc::EINVAL);
    }
    cap.max_send_wr = offer.granted(cap.max_send_wr);
    cap.max_recv_wr = offer.granted(cap.max_recv_wr);
    match Qp::new(domain, wanted, transport, builder) {
        Ok(qp) => handles::give(qp).cast(),
        Err(ClaimError::InUse) if offer.has_credits => {
            explain("all queue pairs of a device are in use");
            fail(libc::EBUSY)
        }
        Err(ClaimError::InUse) => fail(libc::ENOMEM),
        // An error number does not say which memory.
        Err(error @ ClaimError::Memory(_)) => {
            complain(softrail::with_causes(&error));
            fail(libc::ENOMEM)
        }
    }
}

/// Frees a queue pair, its completions that were not polled, and its events. Waits until
/// every event that was read is acknowledged, as libibverbs does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_destroy_qp(pair: *mut ibv::ibv_qp) -> c_int {
    handles::retire(pair.cast::<Qp>(), |_| false, Qp::retire)
}

/// The same queue pair for `ibv_wr_start`; null if it was not created for that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_qp_to_qp_ex(pair: *mut ibv::ibv_qp) -> *mut ibv::ibv_qp_ex {
    // SAFETY: a live queue pair.
    let is_built = unsafe { &*pair.cast::<Qp>() }.builder.is_some();
    if is_built {
        pair.cast()
    } else {
        fail(libc::EOPNOTSUPP)
    }
}

/// Changes the state of a queue pair, with the checks that have failed on rigs in the
/// field. `EINVAL` refuses a queue pair without a global route or with a GID index that
/// the port does not have, and also a transition that the specification does not have or
/// for which it requires other attributes.
///
/// An address that is not at the other end of this cable is refused with `ETIMEDOUT` if
/// the rig says so, as on systems that have to resolve it. Otherwise a queue pair cannot
/// detect it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_modify_qp(
    pair: *mut ibv::ibv_qp,
    attributes: *mut ibv::ibv_qp_attr,
    mask: c_int,
) -> c_int {
    // SAFETY: a live queue pair and the caller's attributes.
    let (pair, attributes) = unsafe { (&*pair.cast::<Qp>(), &*attributes) };
    let mask = mask.cast_unsigned();
    // Held from the check to the end: of two threads that ask for the same transition one
    // makes it and the other finds it made.
    let mut kept = lock(&pair.attributes);
    let from = pair.state(&kept);
    let to = match mask & ibv::IBV_QP_STATE {
        0 => from,
        _ => attributes.qp_state,
    };
    let is_reliable = pair.wanted.qp_type == ibv::IBV_QPT_RC;
    if !is_legal(from, to, mask, is_reliable) || !are_valid(attributes, mask) {
        return libc::EINVAL;
    }
    if mask & ibv::IBV_QP_STATE != 0 {
        let errno = step(pair, attributes);
        if errno != 0 {
            return errno;
        }
        pair.show_state(attributes.qp_state);
    }
    if mask & ibv::IBV_QP_ACCESS_FLAGS != 0 {
        pair.inner.allow(attributes.qp_access_flags);
    }
    remember(&mut kept, attributes, mask);
    pair.inner.set_patience(patience(&kept));
    drop(kept);
    // Requests that were posted before may go now, or are flushed.
    pair.context().engine.wake();
    0
}

/// Makes one state transition.
fn step(pair: &Qp, attributes: &ibv::ibv_qp_attr) -> c_int {
    let inner = &pair.inner;
    let done = match attributes.qp_state {
        ibv::IBV_QPS_RESET => {
            inner.reset();
            true
        }
        ibv::IBV_QPS_INIT => inner.advance(Phase::Init),
        ibv::IBV_QPS_RTR => {
            let route = &attributes.ah_attr;
            let condition = &inner.own_end().condition;
            let index = c_int::from(route.grh.sgid_index);
            let is_routed = route.is_global != 0 && is_route(inner.device(), condition, index);
            if !is_routed && inner.offer().has_credits {
                explain(
                    "a queue pair was connected from a GID that is not the IPv4-mapped one, which \
                     RDMA over Thunderbolt does not route (the rig's gid_index, the fault no-gid)",
                );
            }
            let peer = destination(inner, attributes);
            let is_crossed = matches!(peer, Peer::Unreachable);
            if is_routed && is_crossed && inner.device().rules.crossed == Crossed::Refuse {
                return libc::ETIMEDOUT;
            }
            is_routed && inner.connect(peer)
        }
        ibv::IBV_QPS_RTS => inner.advance(Phase::ReadyToSend),
        ibv::IBV_QPS_ERR => {
            // What has ended by now is not flushed.
            inner.serve(clock::now());
            inner.advance(Phase::Error)
        }
        _ => false,
    };
    if done { 0 } else { libc::EINVAL }
}

/// The retry limits for these attributes. The specification counts the timeout in powers
/// of two of 4.096 us, with 0 for none, and defines 7 receiver-not-ready retries as no
/// limit.
fn patience(attributes: &ibv::ibv_qp_attr) -> Patience {
    let once = Duration::from_nanos(4096 << attributes.timeout.min(31));
    let tries = 1 + u32::from(attributes.retry_cnt);
    Patience {
        resend: (attributes.timeout != 0 && attributes.retry_cnt != 0).then_some(once),
        answer: (attributes.timeout != 0).then_some(once * tries),
        receiver: attributes.rnr_retry == 7,
    }
}

/// The peer: the queue pair of that number, if the GID is the one at the other end of
/// this queue pair's cable.
fn destination(pair: &QueuePair, attributes: &ibv::ibv_qp_attr) -> Peer {
    let reachable = mapped_gid(pair.device().peer_address);
    // SAFETY: every variant of the union is 16 plain bytes.
    if unsafe { attributes.ah_attr.grh.dgid.raw == reachable.raw } {
        Peer::Number(attributes.dest_qp_num)
    } else {
        Peer::Unreachable
    }
}

/// Copies the attributes that `mask` names.
fn remember(kept: &mut ibv::ibv_qp_attr, told: &ibv::ibv_qp_attr, mask: u32) {
    macro_rules! keep {
        ($($flag:ident: $($field:ident),+;)*) => {
            $(if mask & ibv::$flag != 0 { $(kept.$field = told.$field;)+ })*
        };
    }
    keep! {
        IBV_QP_STATE: qp_state;
        IBV_QP_ACCESS_FLAGS: qp_access_flags;
        IBV_QP_PKEY_INDEX: pkey_index;
        IBV_QP_PORT: port_num;
        IBV_QP_QKEY: qkey;
        IBV_QP_AV: ah_attr;
        IBV_QP_PATH_MTU: path_mtu;
        IBV_QP_TIMEOUT: timeout;
        IBV_QP_RETRY_CNT: retry_cnt;
        IBV_QP_RNR_RETRY: rnr_retry;
        IBV_QP_RQ_PSN: rq_psn;
        IBV_QP_MAX_QP_RD_ATOMIC: max_rd_atomic;
        IBV_QP_ALT_PATH: alt_ah_attr, alt_pkey_index, alt_port_num, alt_timeout;
        IBV_QP_MIN_RNR_TIMER: min_rnr_timer;
        IBV_QP_SQ_PSN: sq_psn;
        IBV_QP_MAX_DEST_RD_ATOMIC: max_dest_rd_atomic;
        IBV_QP_PATH_MIG_STATE: path_mig_state;
        IBV_QP_DEST_QPN: dest_qp_num;
    }
}

/// Returns the attributes of a queue pair, all of them whatever the mask, and its initial
/// attributes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_qp(
    pair: *mut ibv::ibv_qp,
    attributes: *mut ibv::ibv_qp_attr,
    _mask: c_int,
    wanted: *mut ibv::ibv_qp_init_attr,
) -> c_int {
    // SAFETY: a live queue pair, and the caller's room for both answers.
    unsafe {
        let pair = &*pair.cast::<Qp>();
        let kept = *lock(&pair.attributes);
        let state = pair.state(&kept);
        attributes.write(ibv::ibv_qp_attr {
            qp_state: state,
            cur_qp_state: state,
            cap: pair.wanted.cap,
            ..kept
        });
        wanted.write(pair.wanted);
    }
    0
}
