//! The names of numeric constants, and rates in other units.

use std::ffi::{CStr, c_char, c_int};

use crate::bindings as ibv;

/// The name at an index of a table, or `unknown`.
fn name(table: &[&'static CStr], index: c_int) -> *const c_char {
    let known = usize::try_from(index).ok();
    let name = known.and_then(|index| table.get(index));
    name.unwrap_or(&c"unknown").as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_node_type_str(kind: c_int) -> *const c_char {
    // Numbered from `IBV_NODE_CA`, which is 1.
    const NAMES: [&CStr; 6] = [
        c"InfiniBand channel adapter",
        c"InfiniBand switch",
        c"InfiniBand router",
        c"iWARP NIC",
        c"usNIC",
        c"usNIC UDP",
    ];
    name(&NAMES, kind.saturating_sub(1))
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_port_state_str(state: c_int) -> *const c_char {
    const NAMES: [&CStr; 6] = [
        c"no state change (NOP)",
        c"down",
        c"init",
        c"armed",
        c"active",
        c"active defer",
    ];
    name(&NAMES, state)
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_event_type_str(event: c_int) -> *const c_char {
    const NAMES: [&CStr; 20] = [
        c"CQ error",
        c"local work queue catastrophic error",
        c"invalid request local work queue error",
        c"local access violation work queue error",
        c"communication established",
        c"send queue drained",
        c"path migrated",
        c"path migration request error",
        c"local catastrophic error",
        c"port active",
        c"port error",
        c"LID change",
        c"P_Key change",
        c"SM change",
        c"SRQ catastrophic error",
        c"SRQ limit reached",
        c"last WQE reached",
        c"client reregistration",
        c"GID table change",
        c"WQ fatal",
    ];
    name(&NAMES, event)
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_wc_status_str(status: c_int) -> *const c_char {
    const NAMES: [&CStr; 24] = [
        c"success",
        c"local length error",
        c"local QP operation error",
        c"local EE context operation error",
        c"local protection error",
        c"Work Request Flushed Error",
        c"memory management operation error",
        c"bad response error",
        c"local access error",
        c"remote invalid request error",
        c"remote access error",
        c"remote operation error",
        c"transport retry counter exceeded",
        c"RNR retry counter exceeded",
        c"local RDD violation error",
        c"remote invalid RD request",
        c"aborted error",
        c"invalid EE context number",
        c"invalid EE context state",
        c"fatal error",
        c"response timeout error",
        c"general error",
        c"TM error",
        c"TM software rendezvous",
    ];
    name(&NAMES, status)
}

/// Rates: the constant, megabits a second, and multiples of 2.5 Gbit/s where
/// libibverbs gives one.
const RATES: [(ibv::ibv_rate, c_int, Option<c_int>); 21] = [
    (ibv::IBV_RATE_2_5_GBPS, 2_500, Some(1)),
    (ibv::IBV_RATE_5_GBPS, 5_000, Some(2)),
    (ibv::IBV_RATE_10_GBPS, 10_000, Some(4)),
    (ibv::IBV_RATE_20_GBPS, 20_000, Some(8)),
    (ibv::IBV_RATE_30_GBPS, 30_000, Some(12)),
    (ibv::IBV_RATE_40_GBPS, 40_000, Some(16)),
    (ibv::IBV_RATE_60_GBPS, 60_000, Some(24)),
    (ibv::IBV_RATE_80_GBPS, 80_000, Some(32)),
    (ibv::IBV_RATE_120_GBPS, 120_000, Some(48)),
    (ibv::IBV_RATE_14_GBPS, 14_062, None),
    (ibv::IBV_RATE_56_GBPS, 56_250, None),
    (ibv::IBV_RATE_112_GBPS, 112_500, None),
    (ibv::IBV_RATE_168_GBPS, 168_750, None),
    (ibv::IBV_RATE_25_GBPS, 25_781, None),
    (ibv::IBV_RATE_100_GBPS, 103_125, None),
    (ibv::IBV_RATE_200_GBPS, 206_250, None),
    (ibv::IBV_RATE_300_GBPS, 309_375, None),
    (ibv::IBV_RATE_28_GBPS, 28_125, Some(11)),
    (ibv::IBV_RATE_50_GBPS, 53_125, Some(20)),
    (ibv::IBV_RATE_400_GBPS, 425_000, Some(160)),
    (ibv::IBV_RATE_600_GBPS, 637_500, Some(240)),
];

#[unsafe(no_mangle)]
pub extern "C" fn ibv_rate_to_mbps(rate: ibv::ibv_rate) -> c_int {
    let known = RATES.iter().find(|(known, ..)| *known == rate);
    known.map_or(-1, |(_, mbps, _)| *mbps)
}

#[unsafe(no_mangle)]
pub extern "C" fn mbps_to_ibv_rate(mbps: c_int) -> ibv::ibv_rate {
    let known = RATES.iter().find(|(_, known, _)| *known == mbps);
    known.map_or(ibv::IBV_RATE_MAX, |(rate, ..)| *rate)
}

#[unsafe(no_mangle)]
pub extern "C" fn ibv_rate_to_mult(rate: ibv::ibv_rate) -> c_int {
    let known = RATES.iter().find(|(known, ..)| *known == rate);
    known.and_then(|(.., multiple)| *multiple).unwrap_or(-1)
}

#[unsafe(no_mangle)]
pub extern "C" fn mult_to_ibv_rate(multiple: c_int) -> ibv::ibv_rate {
    let known = RATES.iter().find(|(.., known)| *known == Some(multiple));
    known.map_or(ibv::IBV_RATE_MAX, |(rate, ..)| *rate)
}
