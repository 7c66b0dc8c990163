//! Random numbers for names, attempt ids and jitter. All come from the operating system, through ring.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::base::error::{Error, Result};
use crate::base::secret::Secret;

/// Returns 16 random bytes in hexadecimal.
pub fn id() -> String {
    bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns `N` unpredictable random bytes in base64url.
///
/// # Errors
/// Unavailable (4): the system provides no random numbers.
pub fn secret<const N: usize>() -> Result<Secret> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new()
        .fill(&mut bytes[..])
        .map_err(|_| Error::unavailable("the system provides no random numbers"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(&bytes[..])))
}

/// Returns a uniformly random duration between `min` and `max`.
pub fn between(min: Duration, max: Duration) -> Duration {
    let share = f64::from(u32::from_le_bytes(bytes())) / f64::from(u32::MAX);
    min + max.saturating_sub(min).mul_f64(share)
}

/// Returns a random number below `limit`, or 0 if `limit` is 0.
pub fn below(limit: usize) -> usize {
    u64::from_le_bytes(bytes()).checked_rem(limit as u64).unwrap_or(0) as usize
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Fails only if the kernel provides no random numbers at all. The process id is unique enough then: these numbers
    // are not secret, and [`secret`] reports the failure.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        for (byte, part) in bytes.iter_mut().zip(std::process::id().to_le_bytes().iter().cycle()) {
            *byte = *part;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_durations_stay_in_range() {
        assert_ne!(id(), id());
        assert_eq!(id().len(), 32);
        let (min, max) = (Duration::from_millis(5), Duration::from_millis(50));
        assert!((0..1000).map(|_| between(min, max)).all(|duration| min <= duration && duration <= max));
    }
}
