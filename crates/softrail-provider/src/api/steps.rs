//! The transitions between queue pair states, and the attributes that each requires and
//! permits: the InfiniBand specification's table of QP transition attributes for
//! connected queue pairs, checked as Linux does (`ib_modify_qp_is_ok`).

use super::query::{PORT, READS};
use crate::bindings as ibv;

/// Whether the transition exists, has all required attributes and no others than the
/// permitted ones.
pub fn is_legal(
    from: ibv::ibv_qp_state,
    to: ibv::ibv_qp_state,
    mask: u32,
    is_reliable: bool,
) -> bool {
    let brought = mask & !ibv::IBV_QP_STATE;
    attributes(from, to, is_reliable).is_some_and(|(needed, allowed)| {
        brought & needed == needed && brought & !(needed | allowed) == 0
    })
}

/// The required and the optional attributes of a transition. `None` if there is no such
/// transition.
fn attributes(
    from: ibv::ibv_qp_state,
    to: ibv::ibv_qp_state,
    is_reliable: bool,
) -> Option<(u32, u32)> {
    let reliable = |attributes| if is_reliable { attributes } else { 0 };
    let initial = ibv::IBV_QP_PKEY_INDEX | ibv::IBV_QP_PORT | ibv::IBV_QP_ACCESS_FLAGS;
    let sending = ibv::IBV_QP_CUR_STATE
        | ibv::IBV_QP_ALT_PATH
        | ibv::IBV_QP_ACCESS_FLAGS
        | ibv::IBV_QP_PATH_MIG_STATE
        | reliable(ibv::IBV_QP_MIN_RNR_TIMER);
    Some(match (from, to) {
        (_, ibv::IBV_QPS_RESET) => (0, 0),
        (ibv::IBV_QPS_RESET, ibv::IBV_QPS_INIT) => (initial, 0),
        (ibv::IBV_QPS_RESET, _) => return None,
        (_, ibv::IBV_QPS_ERR) => (0, 0),
        (ibv::IBV_QPS_INIT, ibv::IBV_QPS_INIT) => (0, initial),
        (ibv::IBV_QPS_INIT, ibv::IBV_QPS_RTR) => (
            ibv::IBV_QP_AV
                | ibv::IBV_QP_PATH_MTU
                | ibv::IBV_QP_DEST_QPN
                | ibv::IBV_QP_RQ_PSN
                | reliable(ibv::IBV_QP_MAX_DEST_RD_ATOMIC | ibv::IBV_QP_MIN_RNR_TIMER),
            ibv::IBV_QP_ALT_PATH | ibv::IBV_QP_ACCESS_FLAGS | ibv::IBV_QP_PKEY_INDEX,
        ),
        (ibv::IBV_QPS_RTR, ibv::IBV_QPS_RTS) => (
            ibv::IBV_QP_SQ_PSN
                | reliable(
                    ibv::IBV_QP_TIMEOUT
                        | ibv::IBV_QP_RETRY_CNT
                        | ibv::IBV_QP_RNR_RETRY
                        | ibv::IBV_QP_MAX_QP_RD_ATOMIC,
                ),
            sending,
        ),
        (ibv::IBV_QPS_RTS, ibv::IBV_QPS_RTS) => (0, sending),
        _ => return None,
    })
}

/// Whether the attributes of a transition have valid values: timeouts and counts must fit
/// into their fields on the wire.
pub fn are_valid(attributes: &ibv::ibv_qp_attr, mask: u32) -> bool {
    let wrong = [
        (ibv::IBV_QP_PORT, attributes.port_num != PORT),
        (ibv::IBV_QP_PKEY_INDEX, attributes.pkey_index != 0),
        (
            ibv::IBV_QP_PATH_MTU,
            !(ibv::IBV_MTU_256..=ibv::IBV_MTU_4096).contains(&attributes.path_mtu),
        ),
        (ibv::IBV_QP_TIMEOUT, attributes.timeout > 31),
        (ibv::IBV_QP_RETRY_CNT, attributes.retry_cnt > 7),
        (ibv::IBV_QP_RNR_RETRY, attributes.rnr_retry > 7),
        (ibv::IBV_QP_MIN_RNR_TIMER, attributes.min_rnr_timer > 31),
        (
            ibv::IBV_QP_MAX_QP_RD_ATOMIC,
            attributes.max_rd_atomic > READS,
        ),
        (
            ibv::IBV_QP_MAX_DEST_RD_ATOMIC,
            attributes.max_dest_rd_atomic > READS,
        ),
    ];
    !wrong
        .iter()
        .any(|(flag, is_wrong)| mask & flag != 0 && *is_wrong)
}
