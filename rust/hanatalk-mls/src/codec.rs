//! The encoding of stored rows: one version byte, then MessagePack with field names and packed byte strings.
//!
//! Field names make the rows self-describing, which is what OpenMLS asks of a store that must survive its upgrades;
//! byte strings cost one byte each (a JSON store needs almost four). A row of another version is refused.

use rmp_serde::{config::BytesMode, Serializer};
use serde::{de::DeserializeOwned, Serialize};
use zeroize::Zeroizing;

/// First byte of every value this version writes.
const ROW_VERSION: u8 = 1;

/// A row could not be written or read. Carries no detail: details of a row are key material.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored row is not what this version writes")]
pub(crate) struct RowError;

fn write<T: Serialize + ?Sized>(value: &T, mut bytes: Vec<u8>) -> Result<Vec<u8>, RowError> {
    let mut serializer = Serializer::new(&mut bytes)
        .with_struct_map()
        .with_bytes(BytesMode::ForceIterables);
    value.serialize(&mut serializer).map_err(|_| RowError)?;
    Ok(bytes)
}

/// Encode the value of a row.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>, RowError> {
    encode_into(value, 0)
}

/// Encode the value of a row that will have about this many bytes: a vector that grows leaves copies behind.
pub(crate) fn encode_into<T: Serialize + ?Sized>(value: &T, about: usize) -> Result<Zeroizing<Vec<u8>>, RowError> {
    let mut bytes = Vec::with_capacity(about.saturating_add(64));
    bytes.push(ROW_VERSION);
    write(value, bytes).map(Zeroizing::new)
}

/// Encode the key of a row: two letters for its kind, then what it belongs to.
pub(crate) fn row_key<T: Serialize + ?Sized>(kind: Kind, key: &T) -> Result<Vec<u8>, RowError> {
    write(key, kind.prefix().to_vec())
}

/// Decode the value of a row.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RowError> {
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|_| RowError),
        _ => Err(RowError),
    }
}

/// What a row holds; two ASCII letters lead its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Configuration of a group (wire format, retention, ratchet windows).
    JoinConfig,
    /// Leaves made for update proposals (unused by the profile).
    OwnLeafNodes,
    /// A queued proposal (unused by the profile).
    QueuedProposal,
    /// References of the queued proposals (unused by the profile).
    ProposalRefs,
    /// The ratchet tree.
    Tree,
    /// Interim transcript hash.
    InterimTranscriptHash,
    /// GroupContext.
    Context,
    /// Confirmation tag.
    ConfirmationTag,
    /// Operational, inactive, or the pending commit.
    GroupState,
    /// Sender ratchets of the epoch.
    MessageSecrets,
    /// Resumption PSKs.
    ResumptionPsks,
    /// Own leaf index.
    OwnLeafIndex,
    /// Key schedule of the epoch.
    EpochSecrets,
    /// A leaf's signature key pair.
    SignatureKeyPair,
    /// An HPKE key pair of an update proposal (unused by the profile).
    EncryptionKeyPair,
    /// The HPKE private keys of the own direct path in one epoch.
    EpochKeyPairs,
    /// A KeyPackage with its private keys.
    KeyPackage,
    /// An external PSK.
    Psk,
    /// SHA-256 of the pending commit's bytes (ours, not OpenMLS's).
    PendingDigest,
}

impl Kind {
    /// The letters before the key proper.
    pub(crate) const fn prefix(self) -> &'static [u8; 2] {
        match self {
            Self::JoinConfig => b"jc",
            Self::OwnLeafNodes => b"ol",
            Self::QueuedProposal => b"qp",
            Self::ProposalRefs => b"pr",
            Self::Tree => b"tr",
            Self::InterimTranscriptHash => b"it",
            Self::Context => b"gc",
            Self::ConfirmationTag => b"ct",
            Self::GroupState => b"gs",
            Self::MessageSecrets => b"ms",
            Self::ResumptionPsks => b"rp",
            Self::OwnLeafIndex => b"oi",
            Self::EpochSecrets => b"es",
            Self::SignatureKeyPair => b"sk",
            Self::EncryptionKeyPair => b"ek",
            Self::EpochKeyPairs => b"ep",
            Self::KeyPackage => b"kp",
            Self::Psk => b"ps",
            Self::PendingDigest => b"pd",
        }
    }
}
