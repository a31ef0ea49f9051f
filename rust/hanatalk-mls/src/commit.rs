//! Own commits: make, export from, merge, discard.

use std::collections::HashSet;

use openmls::group::{CommitMessageBundle, CreateCommitError};
use openmls::key_packages::KeyPackage;
use openmls::messages::proposals::{PreSharedKeyProposal, Proposal};
use openmls::prelude::{LeafNodeIndex, LeafNodeParameters};
use openmls::schedule::psk::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::OpenMlsProvider;
use sha2::{Digest, Sha256};

use crate::codec::Kind;
use crate::errors::{Outcome, Refusal};
use crate::handle::Handle;
use crate::key_package::{credential_with_key, verify};
use crate::overlay::Writes;
use crate::pool::parallel;
use crate::profile;

/// What goes into a commit.
pub(crate) struct CommitParts<'a> {
    pub(crate) adds: Vec<&'a [u8]>,
    pub(crate) removes: &'a [u32],
    pub(crate) self_update: bool,
    pub(crate) extensions: Option<&'a [(u16, Vec<u8>)]>,
    pub(crate) psks: Vec<&'a [u8]>,
    pub(crate) credential: Option<&'a [u8]>,
    pub(crate) aad: &'a [u8],
}

/// A commit's messages.
pub(crate) struct Committed {
    pub(crate) commit: Vec<u8>,
    pub(crate) welcome: Option<Vec<u8>>,
    pub(crate) group_info: Option<Vec<u8>>,
    pub(crate) digest: Vec<u8>,
    pub(crate) writes: Writes,
}

impl Handle {
    pub(crate) fn commit(&mut self, parts: &CommitParts<'_>) -> Outcome<Committed> {
        self.require_active()?;
        if self.group.pending_commit().is_some() {
            return Err(Refusal::PendingCommit("own"));
        }
        if self.staged.is_some() {
            return Err(Refusal::PendingCommit("staged"));
        }
        let adds = self.verified_adds(parts)?;
        self.check_removes(parts.removes)?;
        let committed = self.attempt(|handle| parallel(|| handle.build(parts, &adds)));
        self.group.set_aad(Vec::new());
        committed
    }

    /// Every KeyPackage verified, and none that collides with a member who stays or with another of them.
    fn verified_adds(&self, parts: &CommitParts<'_>) -> Outcome<Vec<KeyPackage>> {
        if parts.adds.is_empty() {
            return Ok(Vec::new());
        }
        let mut taken: HashSet<Vec<u8>> = HashSet::new();
        for member in self.group.members() {
            if !parts.removes.contains(&member.index.u32()) {
                taken.insert(member.signature_key);
                taken.insert(member.encryption_key);
            }
        }
        let verify_one = |(index, bytes): (usize, &&[u8])| {
            let key_package = verify(&self.provider, index, bytes)?;
            let flawed = |why: &str| Err(Refusal::BadKeyPackage(index, why.into()));
            let leaf = key_package.leaf_node();
            if key_package.ciphersuite() != self.group.ciphersuite() {
                return flawed("of another suite than the group");
            }
            if !taken.insert(leaf.signature_key().as_slice().to_vec()) {
                return flawed("its signature key is in the group already");
            }
            if !taken.insert(profile::encryption_key(leaf)?) {
                return flawed("its encryption key is in the group already");
            }
            if !taken.insert(key_package.hpke_init_key().as_slice().to_vec()) {
                return flawed("its init key is used twice");
            }
            Ok(key_package)
        };
        parts.adds.iter().enumerate().map(verify_one).collect()
    }

    fn check_removes(&self, removes: &[u32]) -> Outcome<()> {
        if removes.is_empty() {
            return Ok(());
        }
        let members: HashSet<u32> = self.group.members().map(|member| member.index.u32()).collect();
        let mut seen = HashSet::new();
        for leaf in removes {
            if !members.contains(leaf) || !seen.insert(leaf) {
                return Err(Refusal::Misuse("no such leaf to remove"));
            }
            if *leaf == self.group.own_leaf_index().u32() {
                return Err(Refusal::Misuse("a leaf cannot commit its own removal"));
            }
        }
        Ok(())
    }

    fn build(&mut self, parts: &CommitParts<'_>, adds: &[KeyPackage]) -> Outcome<Committed> {
        let Some(signer) = self.signer.as_ref() else {
            return Err(Refusal::Evicted);
        };
        let suite = self.group.ciphersuite();
        let mut parameters = LeafNodeParameters::builder();
        if let Some(credential) = parts.credential {
            parameters = parameters.with_credential_with_key(credential_with_key(credential, signer.public()));
        }
        let psks = parts
            .psks
            .iter()
            .map(|psk_id| {
                let psk = Psk::External(ExternalPsk::new(psk_id.to_vec()));
                let psk_id = PreSharedKeyId::new(suite, self.provider.rand(), psk).map_err(Refusal::bad)?;
                Ok(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(psk_id))))
            })
            .collect::<Outcome<Vec<_>>>()?;
        self.group.set_aad(parts.aad.to_vec());
        let mut builder = self
            .group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(parts.self_update)
            .propose_removals(parts.removes.iter().map(|leaf| LeafNodeIndex::new(*leaf)))
            .propose_adds(adds.iter().cloned())
            .add_proposals(psks);
        if let Some(extensions) = parts.extensions {
            builder = builder
                .propose_group_context_extensions(profile::group_extensions(extensions)?)
                .map_err(|error| Refusal::Unsupported(error.to_string()))?;
        }
        let bundle = builder
            .leaf_node_parameters(parameters.build())
            .load_psks(self.provider.overlay())
            .map_err(|_| Refusal::Misuse("no such PSK"))?
            .create_group_info(!adds.is_empty())
            .build(self.provider.rand(), self.provider.crypto(), signer, |_| true);
        let bundle = match bundle {
            Ok(bundle) => bundle,
            Err(error) => return Err(blame(&self.provider, adds, &error)),
        };
        let bundle: CommitMessageBundle = bundle
            .stage_commit(&self.provider)
            .map_err(|error| Refusal::Poisoned(error.to_string()))?;
        let (commit, welcome, group_info) = bundle.into_messages();
        let to_bytes = |message: openmls::framing::MlsMessageOut| message.to_bytes().map_err(Refusal::bad);
        let commit = to_bytes(commit)?;
        let digest = Sha256::digest(&commit).to_vec();
        self.provider
            .overlay()
            .write(Kind::PendingDigest, self.group.group_id(), &digest)?;
        Ok(Committed {
            welcome: welcome.map(to_bytes).transpose()?,
            group_info: group_info.map(to_bytes).transpose()?,
            commit,
            digest,
            writes: self.drain(),
        })
    }

    pub(crate) fn pending_merge(&mut self) -> Outcome<Writes> {
        self.require_active()?;
        if self.group.pending_commit().is_none() {
            return Err(Refusal::Misuse("no commit is pending"));
        }
        self.attempt(|handle| {
            handle.group.merge_pending_commit(&handle.provider)?;
            handle.forget_pending_digest()?;
            Ok(handle.drain())
        })
    }

    pub(crate) fn pending_discard(&mut self) -> Outcome<Writes> {
        self.require_active()?;
        if self.group.pending_commit().is_none() {
            return Err(Refusal::Misuse("no commit is pending"));
        }
        self.attempt(|handle| {
            handle.group.clear_pending_commit(handle.provider.overlay())?;
            handle.forget_pending_digest()?;
            Ok(handle.drain())
        })
    }

    pub(crate) fn forget_pending_digest(&self) -> Outcome<()> {
        Ok(self
            .provider
            .overlay()
            .delete(Kind::PendingDigest, self.group.group_id())?)
    }

    pub(crate) fn pending_export(&self, label: &str, context: &[u8], length: usize) -> Outcome<Vec<u8>> {
        let pending = self
            .group
            .pending_commit()
            .ok_or(Refusal::Misuse("no commit is pending"))?;
        Ok(pending.export_secret(self.provider.crypto(), label, context, length)?)
    }

    pub(crate) fn pending_epoch_authenticator(&self) -> Outcome<Vec<u8>> {
        let pending = self
            .group
            .pending_commit()
            .ok_or(Refusal::Misuse("no commit is pending"))?;
        let authenticator = pending.epoch_authenticator().ok_or(Refusal::Evicted)?;
        Ok(authenticator.as_slice().to_vec())
    }
}

/// Which KeyPackage made a commit fail: a key of the right length may still be one that the KEM refuses.
fn blame(provider: &crate::provider::Provider, adds: &[KeyPackage], error: &CreateCommitError) -> Refusal {
    for (index, key_package) in adds.iter().enumerate() {
        let suite = key_package.ciphersuite();
        let leaf_key = profile::encryption_key(key_package.leaf_node()).unwrap_or_default();
        for (key, name) in [
            (key_package.hpke_init_key().as_slice(), "init key"),
            (&leaf_key[..], "encryption key"),
        ] {
            if provider
                .crypto()
                .hpke_seal(suite.hpke_config(), key, b"", b"", b"")
                .is_err()
            {
                return Refusal::BadKeyPackage(index, format!("its {name} cannot be encrypted to"));
            }
        }
    }
    Refusal::bad(error)
}
