//! The memory promised to running cases, over all groups of ranks.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use launch::{Cancel, Interrupted};

use crate::system;

/// A case below this size takes no promise, which would cost as much as the case.
const WORTH_ASKING: u64 = 64 << 20;

/// How often a case that waits for memory checks whether the caller asked to stop.
const LOOK: Duration = Duration::from_millis(50);

/// The memory that is promised, and its limit.
pub struct Memory {
    promised: Mutex<u64>,
    returned: Condvar,
    available: fn() -> Option<u64>,
}

/// Bytes that are promised until this is dropped.
pub struct Promise<'a> {
    memory: &'a Memory,
    bytes: u64,
}

/// The answer to a case that needs memory.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Run,
    /// Until another case has ended.
    Wait,
    /// The machine does not have that much.
    Skip,
}

/// Other cases may not have touched their promised memory yet, so that it still counts as
/// available. It is therefore subtracted once more; at worst the case waits.
fn answer(bytes: u64, promised: u64, available: Option<u64>) -> Answer {
    match available {
        None => Answer::Run,
        Some(available) if bytes.saturating_add(promised) < available => Answer::Run,
        Some(_) if promised > 0 => Answer::Wait,
        Some(_) => Answer::Skip,
    }
}

impl Memory {
    /// The memory of this machine, with nothing promised yet.
    pub fn of_this_machine() -> Self {
        Memory {
            promised: Mutex::new(0),
            returned: Condvar::new(),
            available: system::available_memory,
        }
    }

    /// Promises a case its memory, and waits for other cases to return theirs if
    /// necessary. `None` if the machine does not have that much.
    ///
    /// # Errors
    /// If the caller asked to stop meanwhile.
    pub fn promise(
        &self,
        bytes: usize,
        cancel: &Cancel,
    ) -> Result<Option<Promise<'_>>, Interrupted> {
        let bytes = bytes as u64;
        if bytes < WORTH_ASKING {
            return Ok(Some(Promise {
                memory: self,
                bytes: 0,
            }));
        }
        let mut promised = self.promised();
        loop {
            match answer(bytes, *promised, (self.available)()) {
                Answer::Run => {
                    *promised += bytes;
                    return Ok(Some(Promise {
                        memory: self,
                        bytes,
                    }));
                }
                Answer::Skip => return Ok(None),
                Answer::Wait => {
                    cancel.check()?;
                    let waited = self.returned.wait_timeout(promised, LOOK);
                    promised = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn promised(&self) -> MutexGuard<'_, u64> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        *self.memory.promised() -= self.bytes;
        self.memory.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const GIB: usize = 1 << 30;

    fn memory(available: fn() -> Option<u64>) -> Memory {
        Memory {
            available,
            ..Memory::of_this_machine()
        }
    }

    #[test]
    fn a_case_waits_for_others_and_is_skipped_only_when_alone() {
        assert_eq!(answer(3, 0, Some(4)), Answer::Run);
        assert_eq!(answer(3, 2, Some(4)), Answer::Wait);
        assert_eq!(answer(5, 2, Some(4)), Answer::Wait);
        assert_eq!(answer(5, 0, Some(4)), Answer::Skip);
        assert_eq!(answer(5, 9, None), Answer::Run);
    }

    #[test]
    fn two_cases_do_not_take_the_same_memory() {
        let memory = memory(|| Some(5 << 30));
        let goes_on = Cancel::default();
        let first = memory.promise(4 * GIB, &goes_on);
        let first = first.expect("nobody asked to stop").expect("there is room");
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let promise = memory.promise(4 * GIB, &goes_on);
                let _promise = promise.expect("nobody asked to stop").expect("room again");
                *memory.promised()
            });
            drop(first);
            let promised = second.join().expect("no panic");
            assert_eq!(promised, 4 << 30, "the first was returned by then");
        });
        assert_eq!(*memory.promised(), 0);
    }

    #[test]
    fn a_case_that_waits_for_memory_can_be_stopped() {
        let memory = memory(|| Some(5 << 30));
        let cancel = Cancel::default();
        let _first = memory.promise(4 * GIB, &cancel);
        cancel.cancel();
        assert!(memory.promise(4 * GIB, &cancel).is_err());
    }

    #[test]
    fn a_small_case_asks_nobody() {
        let memory = memory(|| Some(0));
        let goes_on = Cancel::default();
        assert!(matches!(memory.promise(4096, &goes_on), Ok(Some(_))));
        assert!(matches!(memory.promise(GIB, &goes_on), Ok(None)));
    }
}
