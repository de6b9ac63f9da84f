//! The only place that asks the system for the time, and for randomness.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use relais_core::Timestamp;
use tokio::sync::watch;

/// What time it is, and waiting for a moment.
pub trait Clock: Send + Sync + 'static {
    /// Now. Never goes back while the process lives.
    fn now(&self) -> Timestamp;

    /// Resolves at `moment`, or soon after it.
    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's clock: read once, then counted on with the monotonic clock, so that neither a step
/// back nor a leap moves a lease.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
}

impl SystemClock {
    /// Reads the machine's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    pub fn start() -> Self {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at: Timestamp::EPOCH.plus(since_epoch) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.plus(self.started.elapsed())
    }

    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // A timer rounds; the moment itself must have come.
            while self.now() < moment {
                let span = moment.since(self.now()).min(Duration::from_secs(3_600));
                tokio::time::sleep(span).await;
            }
        })
    }
}

/// A clock that stands still until it is moved: tests decide what time it is.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now: watch::Sender::new(now) }
    }

    /// Moves the clock forward and wakes those who waited for it.
    pub fn advance(&self, span: Duration) {
        self.now.send_modify(|now| *now = now.plus(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut moved = self.now.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock, which lives as long as this future.
            let _ = moved.wait_for(|now| *now >= moment).await;
        })
    }
}

/// Where chance comes from.
pub trait Chance: Send + Sync + 'static {
    /// 128 unguessable bits.
    fn bits(&self) -> u128;

    /// A number in `0.0..1.0`, for jitter.
    fn unit(&self) -> f64 {
        // 53 bits fill a double's mantissa.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
        let numerator = (self.bits() >> 75) as f64;
        numerator / (1u64 << 53) as f64
    }
}

/// The system's secure random numbers, drawn in blocks because leases and ids need many.
#[derive(Debug, Default)]
pub struct SystemChance {
    pool: Mutex<Vec<u128>>,
}

impl Chance for SystemChance {
    fn bits(&self) -> u128 {
        let mut pool = self.pool.lock().expect("nothing panics while it is held");
        if let Some(bits) = pool.pop() {
            return bits;
        }
        let mut block = [0u8; 16 * 64];
        aws_lc_rs::rand::fill(&mut block).expect("the system has random numbers");
        pool.extend(
            block
                .chunks_exact(16)
                .map(|chunk| u128::from_le_bytes(chunk.try_into().expect("chunks have 16 bytes"))),
        );
        pool.pop().expect("a block was just added")
    }
}

/// Chance by seed, for tests: the same seed draws the same numbers (SplitMix64).
#[derive(Debug)]
pub struct SeededChance {
    state: Mutex<u64>,
}

impl SeededChance {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }
}

impl Chance for SeededChance {
    fn bits(&self) -> u128 {
        let mut state = self.state.lock().expect("nothing panics while it is held");
        let mut draw = || {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = *state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(bits ^ (bits >> 31))
        };
        draw() << 64 | draw()
    }
}
