//! What a process has used so far, as `/proc` tells it.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a process used up to a moment, or between two.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    /// On a core, all threads together.
    pub(super) cpu: Duration,
    /// Ready to run, but another had the core.
    pub(super) waited: Duration,
    /// On a core, by the threads' names.
    pub(super) threads: BTreeMap<String, Duration>,
    /// Memory that is in use now.
    pub(super) resident_kib: u64,
}

impl Usage {
    /// Of the process `id` up to now.
    ///
    /// # Errors
    /// When there is no such process, or the system does not tell.
    pub(super) fn of(id: u32) -> std::io::Result<Self> {
        let mut usage = Self { resident_kib: resident_kib(id)?, ..Self::default() };
        for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
            let path = thread?.path();
            // A thread may end while it is looked at.
            let Ok(name) = std::fs::read_to_string(path.join("comm")) else { continue };
            let Ok(spent) = std::fs::read_to_string(path.join("schedstat")) else { continue };
            let mut spent = spent.split_whitespace().map_while(|number| number.parse().ok());
            let (ran, waited) = (spent.next().unwrap_or(0), spent.next().unwrap_or(0));
            usage.cpu += Duration::from_nanos(ran);
            usage.waited += Duration::from_nanos(waited);
            *usage.threads.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(ran);
        }
        Ok(usage)
    }

    /// Between `earlier` and `self`; memory is that of `self`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let spent = |(name, ran): (&String, &Duration)| {
            let before = earlier.threads.get(name).copied().unwrap_or_default();
            (name.clone(), ran.saturating_sub(before))
        };
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waited: self.waited.saturating_sub(earlier.waited),
            threads: self.threads.iter().map(spent).filter(|(_, ran)| !ran.is_zero()).collect(),
            resident_kib: self.resident_kib,
        }
    }
}

fn resident_kib(id: u32) -> std::io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| std::io::Error::other("the process has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something_and_uses_more_as_it_works() {
        let before = Usage::of(std::process::id()).unwrap();
        let busy: u64 = (0..30_000_000_u64).fold(1, |sum, number| sum.wrapping_mul(31) ^ number);
        assert_ne!(busy, 0);

        let spent = Usage::of(std::process::id()).unwrap().since(&before);

        assert!(before.resident_kib > 1000, "{before:?}");
        assert!(spent.cpu > Duration::from_millis(1), "{spent:?}");
        // Other tests' threads come and go meanwhile; this one's work is in both.
        assert!(spent.threads.values().sum::<Duration>() > Duration::from_millis(1), "{spent:?}");
    }
}
