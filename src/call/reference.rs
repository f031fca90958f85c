//! Contexts too large for a SIP header: the header carries a one-use reference, and who has it gets the whole (CONTRACT §2).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::Rng;

use super::context::Context;
use super::ids::TenantId;

/// How long a reference can be used.
const KEPT: Duration = Duration::from_secs(3600);
/// References at once; the oldest gives way to a new one.
const MOST: usize = 4096;
/// Bytes of JSON at once, all references together.
const MOST_BYTES: usize = 32 << 20;

/// The contexts that references stand for.
#[derive(Debug, Default)]
pub(super) struct References {
    kept: HashMap<String, Kept>,
    /// Oldest first; those that were used are still among them.
    order: VecDeque<(Instant, String)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    tenant: TenantId,
    context: Context,
    bytes: usize,
}

impl References {
    /// A reference to `context`, whose JSON has `bytes` bytes: 32 hexadecimal digits that nobody can guess.
    pub(super) fn give(
        &mut self,
        now: Instant,
        chance: &mut impl Rng,
        tenant: &TenantId,
        context: &Context,
        bytes: usize,
    ) -> String {
        let reference = format!("{:032x}", chance.random::<u128>());
        let kept = Kept { tenant: tenant.clone(), context: context.clone(), bytes };
        self.bytes += bytes;
        self.kept.insert(reference.clone(), kept);
        self.order.push_back((now + KEPT, reference.clone()));
        while let Some((until, oldest)) = self.order.front()
            && (*until <= now || self.order.len() > MOST || self.bytes > MOST_BYTES)
            && *oldest != reference
        {
            let oldest = oldest.clone();
            self.remove(&oldest);
            self.order.pop_front();
        }
        reference
    }

    /// What `reference` stands for, once. With `tenant` only what is that tenant's.
    pub(super) fn take(
        &mut self,
        now: Instant,
        reference: &str,
        tenant: Option<&TenantId>,
    ) -> Option<Context> {
        while let Some((until, oldest)) = self.order.front()
            && *until <= now
        {
            let oldest = oldest.clone();
            self.remove(&oldest);
            self.order.pop_front();
        }
        let kept = self.kept.get(reference)?;
        if tenant.is_some_and(|tenant| *tenant != kept.tenant) {
            return None;
        }
        self.remove(reference).map(|kept| kept.context)
    }

    fn remove(&mut self, reference: &str) -> Option<Kept> {
        let kept = self.kept.remove(reference)?;
        self.bytes -= kept.bytes;
        Some(kept)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need a beginning")]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn context(intent: &str) -> Context {
        Context { intent: Some(intent.to_owned()), ..Context::default() }
    }

    #[test]
    fn a_reference_is_good_once_for_its_tenant_and_for_an_hour() {
        let (mut references, now) = (References::default(), Instant::now());
        let mut chance = StdRng::seed_from_u64(1);
        let (ours, theirs) = (TenantId::from("acme"), TenantId::from("other"));
        let mut give = |references: &mut References, what: &str| {
            references.give(now, &mut chance, &ours, &context(what), 100)
        };
        let (one, two, three) =
            (give(&mut references, "a"), give(&mut references, "b"), give(&mut references, "c"));

        assert_eq!(references.take(now, &one, Some(&theirs)), None, "not theirs, and not used up by asking");
        assert_eq!(references.take(now, &one, Some(&ours)), Some(context("a")));
        assert_eq!(references.take(now, &one, Some(&ours)), None, "once");
        assert_eq!(references.take(now, "x", None), None);
        assert_eq!(references.take(now + KEPT - Duration::from_secs(1), &two, None), Some(context("b")));
        assert_eq!(references.take(now + KEPT, &three, None), None);
        assert_eq!((references.bytes, references.kept.len(), references.order.len()), (0, 0, 0));
    }

    #[test]
    fn too_many_references_cost_the_oldest_and_no_more_memory() {
        let (mut references, now) = (References::default(), Instant::now());
        let mut chance = StdRng::seed_from_u64(1);
        let tenant = TenantId::from("acme");
        let first = references.give(now, &mut chance, &tenant, &context("first"), 1);
        let mut last = String::new();
        for _ in 0..MOST {
            last = references.give(now, &mut chance, &tenant, &context("more"), 1);
        }
        assert_eq!(references.order.len(), MOST);
        assert_eq!(references.take(now, &first, None), None);
        assert_eq!(references.take(now, &last, None), Some(context("more")));

        let large = references.give(now, &mut chance, &tenant, &context("large"), MOST_BYTES);
        assert_eq!(references.kept.len(), 1, "all others gave way");
        assert_eq!(references.take(now, &large, None), Some(context("large")));
        assert_eq!(references.bytes, 0);
    }
}
