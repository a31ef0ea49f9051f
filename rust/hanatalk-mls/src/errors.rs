//! What can go wrong, and which OpenMLS error means which.
//!
//! | raised | when | OpenMLS 0.9.2 |
//! |---|---|---|
//! | `WrongEpoch` | a message of another epoch; past secrets are gone, future ones not here yet | `ValidationError::{WrongEpoch, NoPastEpochData}`, `StageCommitError::EpochMismatch` |
//! | `PubliclyInvalidCommit` | it decrypts, its sender signed it, and every client in this epoch refuses it | `ValidationError::{InvalidLeafNodeSignature, InvalidLeafNodeSourceType, KeyPackageVerifyError, UpdatePathError, InvalidAddProposalCiphersuite, CommitterIncludedOwnUpdate, ExternalCommitValidation, InvalidExtension, MissingConfirmationTag}` of a commit; every `StageCommitError` not named under `PathFault`; the profile's own rules ([`crate::profile`]) |
//! | `PathFault` | valid as far as everyone sees, but this client cannot follow it | `StageCommitError::UpdatePathError` with `UnableToDecrypt`, `PathMismatch`, `MissingCiphertext`, `MissingSender`, `MissingOwnLeaf`, `LibraryError`; `ConfirmationTagMismatch`, `MissingDecryptionKey`, `OwnKeyNotFound`, `LibraryError`; `PskError` for a PSK this client lacks |
//! | `Evicted` | this leaf was removed | `MlsGroupStateError::UseAfterEviction` |
//! | `PendingCommit` | an own commit, or a staged one, waits for merge or discard | ours |
//! | `BadKeyPackage` | a KeyPackage is malformed, forged, of another suite, outside the profile, or collides | `KeyPackageVerifyError`, `ProposalValidationError` of an add, a key the KEM refuses |
//! | `Replay` | this generation's key is used up | `SecretTreeError::SecretReuseError` |
//! | `TooOld` | outside the ratchet's window, either way | `SecretTreeError::{TooDistantInThePast, TooDistantInTheFuture, RatchetTooLong}` |
//! | `Unsupported` | a suite, version or extension outside the profile | `*::UnsupportedCiphersuite`, `WelcomeError::{UnsupportedCapability, UnsupportedExtensions, UnsupportedMlsVersion}` |
//! | `BadMessage` | malformed, forged, of another group, or a kind the profile does not take | everything else about a message |
//! | `Poisoned` | a panic was caught, or the rows are not what this version wrote | a panic, `RowError` |
//!
//! Why `LibraryError` while staging counts as `PathFault`: it stands for a failure inside this client's cryptography. If
//! it were called public, a client that fails alone would take the next candidate and fork; as a fault it stops and says
//! so. A wrong confirmation tag is a fault for the same reason: nobody outside the group can see that it is wrong.
//!
//! `ValueError` is raised for plain misuse (a leaf that does not exist, merging when nothing is pending).

use openmls::framing::errors::{MessageDecryptionError, SecretTreeError};
use openmls::group::{
    ExportGroupInfoError, ExportSecretError, GroupEpoch, MergeCommitError, MergePendingCommitError, MlsGroupStateError,
    ProcessMessageError, StageCommitError, ValidationError, WelcomeError,
};
use openmls::prelude::{ApplyUpdatePathError, LibraryError};
use openmls::schedule::errors::PskError;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::{create_exception, PyErr};

use crate::codec::RowError;

create_exception!(hanatalk_mls, MlsError, PyException, "Root of the binding's errors.");
create_exception!(hanatalk_mls, WrongEpoch, MlsError, "A message of another epoch.");
create_exception!(
    hanatalk_mls,
    PubliclyInvalidCommit,
    MlsError,
    "Decrypted, signed by a member, and refused by every client alike."
);
create_exception!(
    hanatalk_mls,
    PathFault,
    MlsError,
    "Valid in public; this client's path secret or confirmation tag fails."
);
create_exception!(hanatalk_mls, Evicted, MlsError, "This leaf was removed from the group.");
create_exception!(
    hanatalk_mls,
    PendingCommit,
    MlsError,
    "A commit waits for merge or discard."
);
create_exception!(hanatalk_mls, BadKeyPackage, MlsError, "args: (index, why).");
create_exception!(hanatalk_mls, Replay, MlsError, "The generation's key is used up.");
create_exception!(hanatalk_mls, TooOld, MlsError, "Outside the ratchet's window.");
create_exception!(hanatalk_mls, Unsupported, MlsError, "Outside the profile.");
create_exception!(
    hanatalk_mls,
    BadMessage,
    MlsError,
    "Malformed, forged, of another group, or not allowed by the profile."
);
create_exception!(
    hanatalk_mls,
    Poisoned,
    MlsError,
    "The handle is unusable: load it again."
);

/// The same, before it becomes a Python exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The message's epoch and the group's.
    WrongEpoch { message: u64, group: u64 },
    /// See the table.
    PubliclyInvalidCommit(String),
    /// See the table.
    PathFault(String),
    /// See the table.
    Evicted,
    /// What waits.
    PendingCommit(&'static str),
    /// Which of the KeyPackages, and why.
    BadKeyPackage(usize, String),
    /// See the table.
    Replay,
    /// See the table.
    TooOld(&'static str),
    /// See the table.
    Unsupported(String),
    /// See the table.
    BadMessage(String),
    /// See the table.
    Poisoned(String),
    /// The caller's mistake.
    Misuse(&'static str),
}

/// Result of everything below the Python surface.
pub(crate) type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    /// A message that cannot be taken, in our words.
    pub(crate) fn bad(why: impl ToString) -> Self {
        Self::BadMessage(why.to_string())
    }

    /// A commit that breaks the profile, in our words.
    pub(crate) fn invalid(why: impl ToString) -> Self {
        Self::PubliclyInvalidCommit(why.to_string())
    }
}

impl From<Refusal> for PyErr {
    fn from(fault: Refusal) -> Self {
        match fault {
            Refusal::WrongEpoch { message, group } => WrongEpoch::new_err((message, group)),
            Refusal::PubliclyInvalidCommit(why) => PubliclyInvalidCommit::new_err(why),
            Refusal::PathFault(why) => PathFault::new_err(why),
            Refusal::Evicted => Evicted::new_err("this leaf was removed"),
            Refusal::PendingCommit(what) => PendingCommit::new_err(what),
            Refusal::BadKeyPackage(index, why) => BadKeyPackage::new_err((index, why)),
            Refusal::Replay => Replay::new_err("the generation's key is used up"),
            Refusal::TooOld(why) => TooOld::new_err(why),
            Refusal::Unsupported(why) => Unsupported::new_err(why),
            Refusal::BadMessage(why) => BadMessage::new_err(why),
            Refusal::Poisoned(why) => Poisoned::new_err(why),
            Refusal::Misuse(why) => PyValueError::new_err(why),
        }
    }
}

impl From<RowError> for Refusal {
    fn from(error: RowError) -> Self {
        Self::Poisoned(error.to_string())
    }
}

impl From<LibraryError> for Refusal {
    fn from(error: LibraryError) -> Self {
        Self::BadMessage(error.to_string())
    }
}

impl From<MlsGroupStateError> for Refusal {
    fn from(error: MlsGroupStateError) -> Self {
        match error {
            MlsGroupStateError::UseAfterEviction => Self::Evicted,
            MlsGroupStateError::PendingCommit => Self::PendingCommit("own"),
            other => Self::BadMessage(other.to_string()),
        }
    }
}

impl From<ExportSecretError> for Refusal {
    fn from(error: ExportSecretError) -> Self {
        match error {
            ExportSecretError::GroupStateError(error) => error.into(),
            ExportSecretError::KeyLengthTooLong => Self::Misuse("an exported secret is at most 65,535 bytes"),
            ExportSecretError::LibraryError(error) => error.into(),
        }
    }
}

impl From<ExportGroupInfoError> for Refusal {
    fn from(error: ExportGroupInfoError) -> Self {
        match error {
            ExportGroupInfoError::GroupStateError(error) => error.into(),
            other => Self::BadMessage(other.to_string()),
        }
    }
}

impl From<MergePendingCommitError<RowError>> for Refusal {
    fn from(error: MergePendingCommitError<RowError>) -> Self {
        match error {
            MergePendingCommitError::MlsGroupStateError(error) => error.into(),
            MergePendingCommitError::MergeCommitError(error) => error.into(),
        }
    }
}

impl From<MergeCommitError<RowError>> for Refusal {
    fn from(error: MergeCommitError<RowError>) -> Self {
        // A merge of what was staged cannot fail; if it does, the state in memory is not to be trusted.
        Self::Poisoned(error.to_string())
    }
}

impl From<SecretTreeError> for Refusal {
    fn from(error: SecretTreeError) -> Self {
        match error {
            SecretTreeError::SecretReuseError => Self::Replay,
            SecretTreeError::TooDistantInThePast => Self::TooOld("past"),
            SecretTreeError::TooDistantInTheFuture | SecretTreeError::RatchetTooLong => Self::TooOld("future"),
            other => Self::BadMessage(other.to_string()),
        }
    }
}

impl From<PskError> for Refusal {
    fn from(error: PskError) -> Self {
        match error {
            PskError::KeyNotFound | PskError::Storage | PskError::LibraryError(_) => Self::PathFault(error.to_string()),
            other => Self::PubliclyInvalidCommit(other.to_string()),
        }
    }
}

impl From<StageCommitError> for Refusal {
    fn from(error: StageCommitError) -> Self {
        use ApplyUpdatePathError as Path;
        use StageCommitError as Stage;
        let text = error.to_string();
        match error {
            Stage::UpdatePathError(
                Path::UnableToDecrypt
                | Path::PathMismatch
                | Path::MissingCiphertext
                | Path::MissingSender
                | Path::MissingOwnLeaf
                | Path::LibraryError(_),
            )
            | Stage::ConfirmationTagMismatch
            | Stage::MissingDecryptionKey
            | Stage::OwnKeyNotFound
            | Stage::LibraryError(_) => Self::PathFault(text),
            Stage::PskError(error) => error.into(),
            _ => Self::PubliclyInvalidCommit(text),
        }
    }
}

/// What a failed `process_message` means. The content type is in the clear, so it is known before decryption.
pub(crate) fn process_fault(
    error: ProcessMessageError<RowError>,
    is_commit: bool,
    message_epoch: GroupEpoch,
    group_epoch: GroupEpoch,
) -> Refusal {
    use ValidationError as Invalid;
    let text = error.to_string();
    let wrong_epoch = Refusal::WrongEpoch {
        message: message_epoch.as_u64(),
        group: group_epoch.as_u64(),
    };
    match error {
        ProcessMessageError::StorageError(error) => error.into(),
        ProcessMessageError::GroupStateError(error) => error.into(),
        ProcessMessageError::InvalidCommit(StageCommitError::EpochMismatch) => wrong_epoch,
        ProcessMessageError::InvalidCommit(error) => error.into(),
        ProcessMessageError::ValidationError(error) => match error {
            Invalid::WrongEpoch | Invalid::NoPastEpochData => wrong_epoch,
            Invalid::UnableToDecrypt(MessageDecryptionError::SecretTreeError(error)) => error.into(),
            Invalid::InvalidLeafNodeSignature
            | Invalid::InvalidLeafNodeSourceType
            | Invalid::KeyPackageVerifyError(_)
            | Invalid::UpdatePathError(_)
            | Invalid::InvalidAddProposalCiphersuite
            | Invalid::CommitterIncludedOwnUpdate
            | Invalid::ExternalCommitValidation(_)
            | Invalid::InvalidExtension(_)
            | Invalid::MissingConfirmationTag
                if is_commit =>
            {
                Refusal::PubliclyInvalidCommit(text)
            }
            _ => Refusal::BadMessage(text),
        },
        ProcessMessageError::LibraryError(_) if is_commit => Refusal::PathFault(text),
        _ => Refusal::BadMessage(text),
    }
}

impl From<WelcomeError<RowError>> for Refusal {
    fn from(error: WelcomeError<RowError>) -> Self {
        let text = error.to_string();
        match error {
            WelcomeError::UnsupportedCiphersuite(_)
            | WelcomeError::UnsupportedCapability
            | WelcomeError::UnsupportedExtensions
            | WelcomeError::UnsupportedMlsVersion => Self::Unsupported(text),
            WelcomeError::StorageError(error) => error.into(),
            _ => Self::BadMessage(text),
        }
    }
}
