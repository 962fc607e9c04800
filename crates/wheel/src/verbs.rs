//! Where in an `ibv_context` a library looks for the verbs.
//!
//! `ibv_post_send`, `ibv_post_recv` and `ibv_poll_cq` are no symbols: `verbs.h` makes them
//! calls through a table in the context, `qp->context->ops.post_send(...)`. Apple's context
//! is in a header of the SDK that no other system has. So a library that was compiled with
//! another header is held against one that Apple's compiler made: the offsets are in the
//! instructions.

use std::collections::{BTreeMap, HashMap};

use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Opcode, Operand};

use crate::{error::Result, macho::Dylib};

/// The part of an `ibv_context` in which the two headers could differ and in which jaccl
/// calls nothing else: beyond the last entry of a table of virtual functions, which are
/// called by the same two instructions, and within `ibv_context` (rdma-core's has 328 bytes).
const OFFSETS: std::ops::Range<i32> = 0x60..328;

/// How often a library calls a function at each offset of what a pointer's first word
/// points to: `ldr x8, [x0]; ldr x8, [x8, #offset]; blr x8`.
pub(crate) fn calls(library: &Dylib) -> Result<BTreeMap<i32, usize>> {
    let mut calls = BTreeMap::new();
    // For each register that was loaded: the offset, and the offset at which the address
    // was loaded from.
    let mut loaded: HashMap<u16, (i32, Option<i32>)> = HashMap::new();
    let decoder = InstDecoder::default();
    for word in library.text()?.chunks_exact(4) {
        let Ok(instruction) = decoder.decode(&mut U8Reader::new(word)) else {
            continue;
        };
        match (instruction.opcode, instruction.operands) {
            (
                Opcode::LDR,
                [
                    Operand::Register(_, to),
                    Operand::RegPreIndex(from, offset, false),
                    ..,
                ],
            ) => {
                let through = loaded.get(&from).map(|(offset, _)| *offset);
                loaded.insert(to, (offset, through));
            }
            (Opcode::BLR, [Operand::Register(_, target), ..]) => {
                if let Some((offset, Some(0))) = loaded.get(&target)
                    && OFFSETS.contains(offset)
                {
                    *calls.entry(*offset).or_default() += 1;
                }
                // A call may change the registers.
                loaded.clear();
            }
            (Opcode::BL, _) => loaded.clear(),
            _ => {}
        }
    }
    Ok(calls)
}
