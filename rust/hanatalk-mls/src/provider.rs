//! The OpenMLS provider of one handle: RustCrypto, the operating system's randomness, the overlay.

use openmls_rust_crypto::RustCrypto;
use openmls_traits::{random::OpenMlsRand, OpenMlsProvider};

use crate::overlay::Overlay;

/// The operating system failed to give random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no randomness from the operating system")]
pub(crate) struct NoRandomness;

/// Randomness straight from the operating system. RustCrypto's own generator lives in user memory: a forked child would
/// repeat its parent's nonces and path secrets.
#[derive(Debug, Default)]
pub(crate) struct SystemRandom;

impl OpenMlsRand for SystemRandom {
    type Error = NoRandomness;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0u8; N];
        getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }

    fn random_vec(&self, length: usize) -> Result<Vec<u8>, NoRandomness> {
        let mut bytes = vec![0u8; length];
        getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Provider {
    crypto: RustCrypto,
    random: SystemRandom,
    overlay: Overlay,
}

impl Provider {
    /// A provider over an overlay.
    pub(crate) fn new(overlay: Overlay) -> Self {
        Self {
            overlay,
            ..Self::default()
        }
    }

    /// The rows.
    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = RustCrypto;
    type RandProvider = SystemRandom;
    type StorageProvider = Overlay;

    fn storage(&self) -> &Overlay {
        &self.overlay
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &SystemRandom {
        &self.random
    }
}
