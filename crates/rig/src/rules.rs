//! What emulated devices allow and do, where real ones differ.

use serde::{Deserialize, Serialize};

use super::RigProblem;

/// The most entries of an emulated port's table of GIDs.
pub(super) const GID_ENTRIES: u8 = 8;

/// What emulated devices allow and do: `[defaults]` of `rig.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// How strict they are.
    pub profile: Profile,
    /// What a cable does with a message that finds no posted receive
    /// ([`Profile::Rdma`] only).
    #[serde(skip_serializing_if = "is_usual")]
    pub receiver_not_ready: ReceiverNotReady,
    /// What happens to a queue pair that is connected to an address on another cable.
    #[serde(skip_serializing_if = "is_usual")]
    pub crossed: Crossed,
    /// Where a port's table has the IPv4-mapped GID: 1 in Apple's example, at other
    /// indices in the field. The entries between are link-local ones.
    #[serde(skip_serializing_if = "is_first")]
    pub gid_index: u8,
    /// How Macs are emulated where what is known of them contradicts itself
    /// ([`Profile::Thunderbolt`] only).
    #[serde(flatten)]
    pub likeness: Likeness,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            profile: Profile::default(),
            receiver_not_ready: ReceiverNotReady::default(),
            crossed: Crossed::default(),
            gid_index: 1,
            likeness: Likeness::default(),
        }
    }
}

impl Rules {
    /// Those of [`Profile::Rdma`].
    pub fn rdma() -> Self {
        Rules {
            profile: Profile::Rdma,
            ..Rules::default()
        }
    }

    /// Checks that the profile has every rule that is not the usual one.
    pub(super) fn check(&self) -> Result<(), RigProblem> {
        if !(1..GID_ENTRIES).contains(&self.gid_index) {
            return Err(RigProblem::BadGidIndex(self.gid_index));
        }
        let other = match self.profile {
            Profile::Thunderbolt => Profile::Rdma,
            Profile::Rdma => Profile::Thunderbolt,
        };
        let Likeness {
            refuses_over_posting,
            refuses_local_write_alone,
            leaks_after_error,
            loses_first_after_abnormal_end,
        } = self.likeness;
        let unusual = [
            (
                "receiver_not_ready",
                Profile::Rdma,
                !is_usual(&self.receiver_not_ready),
            ),
            (
                "refuses_over_posting",
                Profile::Thunderbolt,
                !refuses_over_posting,
            ),
            (
                "refuses_local_write_alone",
                Profile::Thunderbolt,
                !refuses_local_write_alone,
            ),
            (
                "leaks_after_error",
                Profile::Thunderbolt,
                !leaks_after_error,
            ),
            (
                "loses_first_after_abnormal_end",
                Profile::Thunderbolt,
                !loses_first_after_abnormal_end,
            ),
        ];
        let wrong = |of: Profile, unusual: bool| unusual && of != self.profile;
        let stray = unusual.iter().find(|(_, of, it)| wrong(*of, *it));
        stray.map_or(Ok(()), |(rule, ..)| {
            Err(RigProblem::RuleOfOtherProfile {
                rule,
                profile: self.profile.name(),
                other: other.name(),
            })
        })
    }
}

/// How strict emulated devices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As Apple's RDMA over Thunderbolt: its technote TN3205, and what people saw.
    #[default]
    Thunderbolt,
    /// As the InfiniBand specification, for programs that use more than jaccl does.
    Rdma,
}

impl Profile {
    /// Its name in `rig.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thunderbolt => "thunderbolt",
            Self::Rdma => "rdma",
        }
    }
}

/// What a Mac does where sources contradict each other. The strict answer is the usual one:
/// `true` is what breaks more programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Likeness {
    /// A work request beyond the queue's depth is refused with `ENOMEM`. Otherwise it is
    /// accepted, and starts when there is room.
    #[serde(skip_serializing_if = "is_true")]
    pub refuses_over_posting: bool,
    /// Memory cannot be registered for local writes alone: `ibv_reg_mr` fails with
    /// `EINVAL` when neither remote reads nor remote writes are asked for as well.
    #[serde(skip_serializing_if = "is_true")]
    pub refuses_local_write_alone: bool,
    /// Memory stays registered until the process ends, once a queue pair of the device was
    /// destroyed in the error state to which the program had moved it.
    #[serde(skip_serializing_if = "is_true")]
    pub leaks_after_error: bool,
    /// After a process ended without destroying its queue pair, the first message of the
    /// next queue pair is lost.
    #[serde(skip_serializing_if = "is_true")]
    pub loses_first_after_abnormal_end: bool,
}

impl Default for Likeness {
    fn default() -> Self {
        Likeness {
            refuses_over_posting: true,
            refuses_local_write_alone: true,
            leaks_after_error: true,
            loses_first_after_abnormal_end: true,
        }
    }
}

/// What happens to a message that arrives before a receive was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverNotReady {
    /// It waits on the cable.
    #[default]
    Wait,
    /// It is lost, as the InfiniBand specification defines for unreliable connections.
    Drop,
    /// The sender's queue pair enters the error state.
    Error,
}

/// What happens to a queue pair whose peer's address is not at the other end of its
/// cable, as with crossed rails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crossed {
    /// What it sends leaves and never arrives.
    #[default]
    BlackHole,
    /// It cannot be made ready to receive: `ibv_modify_qp` returns `ETIMEDOUT`.
    Refuse,
    /// What it sends never leaves, and so never completes.
    Stall,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_first(index: &u8) -> bool {
    *index == 1
}

fn is_true(value: &bool) -> bool {
    *value
}
