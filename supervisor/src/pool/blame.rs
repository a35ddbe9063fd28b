//! Whose fault it is when workers cannot be forked: that of a limit which all zygotes share, or one zygote's own.
//!
//! A zygote of which nothing is to be hoped is replaced; one that others keep from forking goes on when they let it,
//! which is sooner than another would be there. What tells them apart is the kernel's error number, and for want of
//! memory how zygotes of other cores fare. A fault is found only where no job runs that its end would cost.

use rustix::io::Errno;

use super::slot::Slot;

/// Whether the zygote of the slot at `index`, which could not fork for the reason `errno`, is to be replaced.
#[must_use]
pub(super) fn is_zygotes_own(slots: &[Slot], index: usize, errno: i32) -> bool {
    let Some(slot) = slots.get(index) else { return false };
    let others = slots.iter().enumerate().filter(|(other, _)| *other != index);
    let others_can = others.map(|(_, other)| other).any(has_workers);
    slot.running() == 0 && slot.births.tripped().is_some() && can_be_own(errno, others_can)
}

/// Whether its workers come.
fn has_workers(slot: &Slot) -> bool {
    slot.has_zygote() && slot.standby() > 0 && slot.births.tripped().is_none()
}

fn can_be_own(errno: i32, others_can: bool) -> bool {
    match Errno::from_raw_os_error(errno) {
        // Processes of a user, a control group or the machine; files of the machine; sockets on the way, of a user.
        Errno::AGAIN | Errno::NFILE | Errno::TOOMANYREFS => false,
        Errno::NOMEM => others_can,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_zygotes_share_is_the_fault_of_none() {
        for errno in [Errno::AGAIN, Errno::NFILE, Errno::TOOMANYREFS] {
            assert!(!can_be_own(errno.raw_os_error(), true), "{errno:?}");
        }
        assert!(can_be_own(Errno::MFILE.raw_os_error(), false));
    }

    #[test]
    fn memory_that_others_get_is_not_short() {
        assert!(can_be_own(Errno::NOMEM.raw_os_error(), true));
        assert!(!can_be_own(Errno::NOMEM.raw_os_error(), false));
    }
}
