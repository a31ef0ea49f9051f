//! The state behind `Group`: an `MlsGroup`, its rows, its signer, and at most one staged commit.

use openmls::group::{GroupId, MlsGroup, StagedCommit};
use openmls::schedule::psk::PreSharedKeyId;
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::signatures::Signer as _;
use openmls_traits::types::SignatureScheme;
use openmls_traits::OpenMlsProvider;
use tls_codec::Serialize;

use crate::codec::{decode, Kind};
use crate::errors::{Outcome, Refusal};
use crate::key_package::credential_with_key;
use crate::overlay::{Overlay, Writes};
use crate::profile::{self, ExtensionList};
use crate::provider::Provider;
use crate::values::MemberValue;

/// See the module. A method that fails leaves it as it was (see [`Handle::attempt`]).
pub(crate) struct Handle {
    pub(crate) provider: Provider,
    pub(crate) group: MlsGroup,
    /// None only after removal, when no leaf says which key is ours.
    pub(crate) signer: Option<SignatureKeyPair>,
    pub(crate) staged: Option<Box<StagedCommit>>,
}

impl Handle {
    pub(crate) fn new(provider: Provider, group: MlsGroup, signer: Option<SignatureKeyPair>) -> Self {
        Self {
            provider,
            group,
            signer,
            staged: None,
        }
    }

    /// A new group with this signer's leaf as its only member.
    pub(crate) fn create(
        signer: &SignatureKeyPair,
        suite: u16,
        group_id: &[u8],
        credential: &[u8],
        extensions: &[(u16, Vec<u8>)],
        ratchet_tree_in_welcome: bool,
    ) -> Outcome<(Self, Writes)> {
        let suite = profile::suite(suite)?;
        let provider = Provider::default();
        signer.store(provider.overlay())?;
        let extensions = profile::group_extensions(extensions)?;
        let group = MlsGroup::new_with_group_id(
            &provider,
            signer,
            &profile::create_config(suite, extensions, ratchet_tree_in_welcome),
            GroupId::from_slice(group_id),
            credential_with_key(credential, signer.public()),
        )
        .map_err(|error| Refusal::Unsupported(error.to_string()))?;
        let writes = provider.overlay().drain();
        let signer = read_signer(provider.overlay(), &group);
        Ok((Self::new(provider, group, signer), writes))
    }

    /// A group from its stored rows.
    pub(crate) fn load(group_id: &[u8], rows: Vec<(Vec<u8>, Vec<u8>)>) -> Outcome<Self> {
        let provider = Provider::new(Overlay::from_rows(rows));
        let group = load_group(&provider, &GroupId::from_slice(group_id))?;
        let signer = read_signer(provider.overlay(), &group);
        Ok(Self::new(provider, group, signer))
    }

    /// Run a change. If it fails, rows and group go back to where they were before it.
    pub(crate) fn attempt<T>(&mut self, change: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        let outcome = change(self);
        if outcome.is_err() && self.provider.overlay().rollback() {
            self.group = load_group(&self.provider, &self.group.group_id().clone())?;
        }
        outcome
    }

    pub(crate) fn drain(&self) -> Writes {
        self.provider.overlay().drain()
    }

    pub(crate) fn require_active(&self) -> Outcome<&SignatureKeyPair> {
        match &self.signer {
            Some(signer) if self.group.is_active() => Ok(signer),
            _ => Err(Refusal::Evicted),
        }
    }

    pub(crate) fn extensions(&self) -> ExtensionList {
        profile::unknown_of(self.group.extensions().iter())
    }

    pub(crate) fn roster(&self) -> Outcome<Vec<MemberValue>> {
        self.group
            .members()
            .map(|member| MemberValue::from_member(&member))
            .collect()
    }

    pub(crate) fn export_secret(&self, label: &str, context: &[u8], length: usize) -> Outcome<Vec<u8>> {
        Ok(self
            .group
            .export_secret(self.provider.crypto(), label, context, length)?)
    }

    pub(crate) fn ratchet_tree(&self) -> Outcome<Vec<u8>> {
        self.group
            .export_ratchet_tree()
            .tls_serialize_detached()
            .map_err(Refusal::bad)
    }

    pub(crate) fn group_info(&self) -> Outcome<Vec<u8>> {
        let signer = self.require_active()?;
        let info = self.group.export_group_info(self.provider.crypto(), signer, false)?;
        info.to_bytes().map_err(Refusal::bad)
    }

    /// Sign with the leaf key. What MLS itself signs starts with a length and `MLS 1.0 `: such a message is refused, so
    /// that no caller can be talked into signing a Commit or a LeafNode.
    pub(crate) fn leaf_sign(&self, message: &[u8]) -> Outcome<Vec<u8>> {
        const RESERVED: &[u8] = b"MLS 1.0 ";
        let reserved = |skip: usize| message.get(skip..).is_some_and(|rest| rest.starts_with(RESERVED));
        if [0, 1, 2, 4].into_iter().any(reserved) {
            return Err(Refusal::Misuse("this reads as a structure that only MLS signs"));
        }
        let signer = self.require_active()?;
        signer.sign(message).map_err(|_| Refusal::bad("signing failed"))
    }

    pub(crate) fn encrypt(&mut self, plaintext: &[u8], aad: &[u8]) -> Outcome<(Vec<u8>, Writes)> {
        self.require_active()?;
        self.attempt(|handle| {
            let Some(signer) = handle.signer.as_ref() else {
                return Err(Refusal::Evicted);
            };
            handle.group.set_aad(aad.to_vec());
            let message = handle
                .group
                .create_message(&handle.provider, signer, plaintext)
                .map_err(Refusal::bad);
            handle.group.set_aad(Vec::new());
            let bytes = message?.to_bytes().map_err(Refusal::bad)?;
            Ok((bytes, handle.drain()))
        })
    }

    pub(crate) fn psk_put(&mut self, psk_id: &[u8], psk: &[u8]) -> Outcome<Writes> {
        self.attempt(|handle| {
            PreSharedKeyId::external(psk_id.to_vec(), Vec::new())
                .store(&handle.provider, psk)
                .map_err(|_| Refusal::Poisoned("the PSK could not be stored".into()))?;
            Ok(handle.drain())
        })
    }

    /// SHA-256 of the pending commit, from its row.
    pub(crate) fn pending_digest(&self) -> Option<Vec<u8>> {
        self.provider
            .overlay()
            .read(Kind::PendingDigest, self.group.group_id())
            .ok()
            .flatten()
    }
}

/// Load the group of an overlay's rows.
fn load_group(provider: &Provider, group_id: &GroupId) -> Outcome<MlsGroup> {
    MlsGroup::load(provider.overlay(), group_id)?
        .ok_or_else(|| Refusal::Poisoned("the rows hold no group of this id".into()))
}

fn read_signer(overlay: &Overlay, group: &MlsGroup) -> Option<SignatureKeyPair> {
    match group.own_leaf_node() {
        Some(leaf) => SignatureKeyPair::read(overlay, leaf.signature_key().as_slice(), SignatureScheme::ED25519),
        None => overlay
            .first_of(Kind::SignatureKeyPair)
            .and_then(|row| decode(&row).ok()),
    }
}
