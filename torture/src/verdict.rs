//! What is checked, how often it was, and where it did not hold.

use std::collections::BTreeMap;

/// Everything the judge checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Check {
    /// Each 202 is there by its id, until it is erased.
    There,
    /// Each task ends.
    Ends,
    /// Numbers rise from 1 and times never go back.
    Order,
    /// A log is one possible life: one outcome a run, and the last is the task's status.
    OneLife,
    /// The stream and the page of a log say the same.
    Streams,
    /// What was read does not become unread: no version goes back.
    Stays,
    /// A settle that was answered is in the log.
    Settles,
    /// An outcome is recorded once; a stale holder changes nothing.
    Fences,
    /// Results come back byte for byte.
    Results,
    /// Upstreams get what was handed in, byte for byte.
    Inputs,
    /// Nothing that must not be sent twice was.
    Once,
    /// Nothing starts before its moment.
    Early,
    /// Limits of queues, lanes and upstreams hold.
    Caps,
    /// Strict lanes neither overlap nor reorder.
    Strict,
    /// One task a key, and never more than were handed in.
    Keys,
    /// The counts of queues are those of their tasks.
    Counts,
    /// At the end all slots are free.
    Slots,
    /// What was canceled, retried or erased by hand is.
    Hands,
    /// An attempt is leased once, and its start is in the log.
    Leases,
    /// Checkpoints survive.
    Checkpoints,
    /// Nothing is answered that was not promised, and nobody panics.
    Answers,
}

impl Check {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 21] = [
        Self::There,
        Self::Ends,
        Self::Order,
        Self::OneLife,
        Self::Streams,
        Self::Stays,
        Self::Settles,
        Self::Fences,
        Self::Results,
        Self::Inputs,
        Self::Once,
        Self::Early,
        Self::Caps,
        Self::Strict,
        Self::Keys,
        Self::Counts,
        Self::Slots,
        Self::Hands,
        Self::Leases,
        Self::Checkpoints,
        Self::Answers,
    ];

    /// What it says when it holds.
    pub(crate) const fn claim(self) -> &'static str {
        match self {
            Self::There => "each 202 is there by its id",
            Self::Ends => "each task ends",
            Self::Order => "log: numbers rise from 1, times never go back",
            Self::OneLife => "log: one outcome a run, the last is the status",
            Self::Streams => "stream and page of a log agree",
            Self::Stays => "what was read stays: no version goes back",
            Self::Settles => "a settle that was answered is in the log",
            Self::Fences => "one outcome is recorded, stale holders change nothing",
            Self::Results => "results come back byte for byte",
            Self::Inputs => "upstreams get each request byte for byte",
            Self::Once => "no unsafe request is sent twice",
            Self::Early => "nothing starts before its moment",
            Self::Caps => "limits of queues, lanes and upstreams hold",
            Self::Strict => "strict lanes neither overlap nor reorder",
            Self::Keys => "one task a key",
            Self::Counts => "counts of queues are those of their tasks",
            Self::Slots => "slots used = leases live: at the end all are free",
            Self::Hands => "canceled, retried and erased by hand is kept",
            Self::Leases => "an attempt is leased once, its start is in the log",
            Self::Checkpoints => "checkpoints survive",
            Self::Answers => "no answer outside the contract, no panic",
        }
    }
}

/// Something that did not hold.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// Which check it fails.
    pub(crate) check: Check,
    /// Of which task, if it is of one.
    pub(crate) task: Option<String>,
    /// What was seen.
    pub(crate) what: String,
}

/// What was found so far. Violations beyond [`SHOWN_MAX`] a check are counted, not kept.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    checked: BTreeMap<Check, u64>,
    failed: BTreeMap<Check, u64>,
    kept: Vec<Violation>,
}

impl Verdict {
    /// Notes one more case that was looked at; it is a violation unless it `holds`.
    pub(crate) fn note(
        &mut self,
        check: Check,
        task: Option<&str>,
        holds: bool,
        what: impl FnOnce() -> String,
    ) {
        *self.checked.entry(check).or_default() += 1;
        if !holds {
            self.fail(check, task, what());
        }
    }

    /// Notes a violation without counting a case.
    pub(crate) fn fail(&mut self, check: Check, task: Option<&str>, what: String) {
        let failed = self.failed.entry(check).or_default();
        *failed += 1;
        if *failed <= SHOWN_MAX {
            self.kept.push(Violation { check, task: task.map(str::to_owned), what });
        }
    }

    /// How many cases of a check were looked at.
    pub(crate) fn checked(&self, check: Check) -> u64 {
        self.checked.get(&check).copied().unwrap_or(0)
    }

    /// How many of them did not hold.
    pub(crate) fn failed(&self, check: Check) -> u64 {
        self.failed.get(&check).copied().unwrap_or(0)
    }

    /// Whether everything held.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed.is_empty()
    }

    /// The checks that failed.
    pub(crate) fn failures(&self) -> Vec<Check> {
        self.failed.keys().copied().collect()
    }

    /// What is known of the violations.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.kept
    }

    /// Adds what another found.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (check, count) in other.checked {
            *self.checked.entry(check).or_default() += count;
        }
        for (check, count) in other.failed {
            *self.failed.entry(check).or_default() += count;
        }
        self.kept.extend(other.kept);
    }
}

const SHOWN_MAX: u64 = 8;
