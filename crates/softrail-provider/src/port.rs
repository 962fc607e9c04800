//! Changes of a device's port while the device is open.

use std::sync::{Arc, Mutex};

use rail_matrix::DeviceFault;
use softrail::Condition;

use super::{
    bindings as ibv,
    events::{AsyncEvent, EventQueue},
    lock,
};

/// Sends asynchronous events to an application when its port goes down or comes back, and
/// when the GIDs change.
pub struct Port {
    events: Arc<EventQueue<AsyncEvent>>,
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
    pub fn new(events: Arc<EventQueue<AsyncEvent>>, condition: &Condition) -> Self {
        let told = Mutex::new(State::of(condition));
        Port { events, told }
    }

    /// Reports what has changed since the last look.
    pub fn look(&self, condition: &Condition) {
        let now = State::of(condition);
        let told = std::mem::replace(&mut *lock(&self.told), now);
        if now.is_down != told.is_down {
            self.events.push(AsyncEvent::of_port(match now.is_down {
                true => ibv::IBV_EVENT_PORT_ERR,
                false => ibv::IBV_EVENT_PORT_ACTIVE,
            }));
        }
        if now.has_no_gid != told.has_no_gid {
            let event = AsyncEvent::of_port(ibv::IBV_EVENT_GID_CHANGE);
            self.events.push(event);
        }
    }
}
