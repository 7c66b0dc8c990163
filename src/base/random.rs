//! Random numbers, all from the operating system through ring: names, attempt ids, jitter.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::base::error::{Error, Result};
use crate::base::secret::Secret;

/// 16 random bytes in hexadecimal.
pub fn id() -> String {
    bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes that must not be guessed, in base64url.
///
/// # Errors
/// Internal (5): the system has none.
pub fn secret<const N: usize>() -> Result<Secret> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(&mut bytes[..]).map_err(|_| Error::internal("the system has no random numbers"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(&bytes[..])))
}

/// A length between the two, evenly drawn.
pub fn between(least: Duration, most: Duration) -> Duration {
    let share = f64::from(u32::from_le_bytes(bytes())) / f64::from(u32::MAX);
    least + most.saturating_sub(least).mul_f64(share)
}

/// A number from 0 up to, not including, `limit`; 0 where that is 0.
pub fn below(limit: usize) -> usize {
    u64::from_le_bytes(bytes()).checked_rem(limit as u64).unwrap_or(0) as usize
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // It fails only where the kernel has no random numbers at all; then uniqueness still comes from the process id, and
    // nothing that these numbers serve is a secret ([`secret`] fails instead).
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
    fn ids_differ_and_draws_stay_between() {
        assert_ne!(id(), id());
        assert_eq!(id().len(), 32);
        let (least, most) = (Duration::from_millis(5), Duration::from_millis(50));
        assert!((0..1000).map(|_| between(least, most)).all(|drawn| least <= drawn && drawn <= most));
    }
}
