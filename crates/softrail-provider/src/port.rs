//! Changes of a device's port while the device is open.

use std::sync::{Arc, Mutex};

use rig::DeviceFault;
use softrail::Condition;

use super::{
    bindings as ibv,
    events::{AsyncEvents, Subject},
    lock,
};

/// Sends asynchronous events to an application when its port goes down or comes back, and
/// when the GIDs change.
pub struct Port {
    events: Arc<AsyncEvents>,
    subject: Arc<Subject>,
    told: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    is_down: bool,
    has_no_gid: bool,
}

impl State {
    fn of(condition: &Condition) -> Self {
        State {
            is_down: condition.is_down(),
            has_no_gid: condition.is(DeviceFault::NoGid),
        }
    }
}

impl Port {
    /// The port of a device that is opened while it is in this condition.
    pub fn new(events: Arc<AsyncEvents>, condition: &Condition) -> Self {
        let told = Mutex::new(State::of(condition));
        Port {
            events,
            subject: Arc::default(),
            told,
        }
    }

    /// Reports what has changed since the last look.
    pub fn look(&self, condition: &Condition) {
        let now = State::of(condition);
        let told = std::mem::replace(&mut *lock(&self.told), now);
        if now.is_down != told.is_down {
            let kind = match now.is_down {
                true => ibv::IBV_EVENT_PORT_ERR,
                false => ibv::IBV_EVENT_PORT_ACTIVE,
            };
            self.events.push(kind, &self.subject);
        }
        if now.has_no_gid != told.has_no_gid {
            self.events.push(ibv::IBV_EVENT_GID_CHANGE, &self.subject);
        }
    }
}
