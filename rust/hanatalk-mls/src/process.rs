//! Incoming messages: sort, decrypt, stage, merge.

use std::collections::BTreeSet;

use openmls::framing::{
    ContentType, MlsMessageBodyIn, MlsMessageIn, ProcessedMessage, ProcessedMessageContent, ProtocolMessage, Sender,
};
use openmls::group::StagedCommit;
use openmls_traits::OpenMlsProvider;
use sha2::{Digest, Sha256};
use tls_codec::Deserialize;

use crate::errors::{process_fault, Outcome, Refusal};
use crate::handle::Handle;
use crate::overlay::Writes;
use crate::pool::parallel;
use crate::profile::{self, ExtensionList};
use crate::values::MemberValue;

/// A staged commit as the caller sees it.
pub(crate) struct Staged {
    pub(crate) sender: u32,
    pub(crate) epoch: u64,
    pub(crate) digest: Vec<u8>,
    pub(crate) aad: Vec<u8>,
    pub(crate) adds: Vec<MemberValue>,
    pub(crate) removes: Vec<u32>,
    pub(crate) updates: Vec<MemberValue>,
    pub(crate) extensions: Option<ExtensionList>,
    pub(crate) self_removed: bool,
    pub(crate) writes: Writes,
}

/// What a message turned out to be.
pub(crate) enum Processed {
    /// An application message.
    Application {
        plaintext: Vec<u8>,
        aad: Vec<u8>,
        sender: u32,
        epoch: u64,
        writes: Writes,
    },
    /// A commit, now staged in the handle.
    Staged(Staged),
    /// An echo.
    Own { digest: Vec<u8>, pending: bool },
}

impl Handle {
    pub(crate) fn process(&mut self, bytes: &[u8]) -> Outcome<Processed> {
        self.require_active()?;
        let digest = Sha256::digest(bytes).to_vec();
        // Before OpenMLS sees it: an echoed own PrivateMessage cannot be decrypted, so it cannot know the pending commit.
        if self.group.pending_commit().is_some() && self.pending_digest().as_ref() == Some(&digest) {
            return Ok(Processed::Own { digest, pending: true });
        }
        let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(Refusal::bad)?;
        let MlsMessageBodyIn::PrivateMessage(message) = message.extract() else {
            return Err(Refusal::bad("not a PrivateMessage"));
        };
        let message = ProtocolMessage::from(message);
        if message.group_id() != self.group.group_id() {
            return Err(Refusal::bad("of another group"));
        }
        let (epoch, content_type) = (message.epoch(), message.content_type());
        let group_epoch = self.group.epoch();
        if epoch != group_epoch {
            return Err(Refusal::WrongEpoch {
                message: epoch.as_u64(),
                group: group_epoch.as_u64(),
            });
        }
        let is_commit = match content_type {
            ContentType::Proposal => return Err(Refusal::bad("a standalone proposal")),
            ContentType::Commit if self.staged.is_some() => return Err(Refusal::PendingCommit("staged")),
            ContentType::Commit => true,
            ContentType::Application => false,
        };
        self.attempt(|handle| {
            let (group, provider) = (&mut handle.group, &handle.provider);
            let take = || group.process_message(provider, message);
            let processed = if is_commit { parallel(|| Ok(take()))? } else { take() };
            let processed = processed.map_err(|error| process_fault(error, is_commit, epoch, group_epoch))?;
            handle.sort(processed, digest)
        })
    }

    fn sort(&mut self, processed: ProcessedMessage, digest: Vec<u8>) -> Outcome<Processed> {
        let Sender::Member(sender) = *processed.sender() else {
            return Err(Refusal::bad("not from a member"));
        };
        let (sender, epoch, aad) = (sender.u32(), processed.epoch().as_u64(), processed.aad().to_vec());
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => Ok(Processed::Application {
                plaintext: message.into_bytes(),
                aad,
                sender,
                epoch,
                writes: self.drain(),
            }),
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                profile::check_commit(&commit, self.group.ciphersuite())?;
                let mut staged = self.describe(&commit, sender)?;
                staged.digest = digest;
                staged.aad = aad;
                staged.writes = self.drain();
                self.staged = Some(commit);
                Ok(Processed::Staged(staged))
            }
            ProcessedMessageContent::OwnPrivateMessage | ProcessedMessageContent::OwnPendingCommit => {
                Ok(Processed::Own { digest, pending: false })
            }
            _ => Err(Refusal::bad("not allowed by the profile")),
        }
    }

    fn describe(&self, commit: &StagedCommit, sender: u32) -> Outcome<Staged> {
        let removes: Vec<u32> = commit
            .remove_proposals()
            .map(|queued| queued.remove_proposal().removed().u32())
            .collect();
        let mut occupied: BTreeSet<u32> = self.group.members().map(|member| member.index.u32()).collect();
        for leaf in &removes {
            occupied.remove(leaf);
        }
        // RFC 9420, 12.4.2: removes come before adds, each add takes the leftmost free leaf.
        let mut free = (0u32..).filter(|leaf| !occupied.contains(leaf));
        let adds = commit
            .add_proposals()
            .map(|queued| {
                let leaf = free.next().ok_or_else(|| Refusal::bad("the tree is full"))?;
                MemberValue::from_leaf(leaf, queued.add_proposal().key_package().leaf_node())
            })
            .collect::<Outcome<Vec<_>>>()?;
        let updates = commit
            .update_path_leaf_node()
            .map(|leaf| MemberValue::from_leaf(sender, leaf))
            .into_iter()
            .collect::<Outcome<Vec<_>>>()?;
        let extensions = profile::unknown_of(commit.group_context().extensions().iter());
        Ok(Staged {
            sender,
            epoch: self.group.epoch().as_u64(),
            digest: Vec::new(),
            aad: Vec::new(),
            adds,
            removes,
            updates,
            extensions: (extensions != self.extensions()).then_some(extensions),
            self_removed: commit.self_removed(),
            writes: Writes::new(),
        })
    }

    fn staged(&self) -> Outcome<&StagedCommit> {
        self.staged.as_deref().ok_or(Refusal::Misuse("no commit is staged"))
    }

    pub(crate) fn staged_export(&self, label: &str, context: &[u8], length: usize) -> Outcome<Vec<u8>> {
        Ok(self
            .staged()?
            .export_secret(self.provider.crypto(), label, context, length)?)
    }

    pub(crate) fn staged_epoch_authenticator(&self) -> Outcome<Vec<u8>> {
        let authenticator = self.staged()?.epoch_authenticator().ok_or(Refusal::Evicted)?;
        Ok(authenticator.as_slice().to_vec())
    }

    pub(crate) fn staged_merge(&mut self) -> Outcome<Writes> {
        let commit = self.staged.take().ok_or(Refusal::Misuse("no commit is staged"))?;
        self.attempt(|handle| {
            handle.group.merge_staged_commit(&handle.provider, *commit)?;
            handle.forget_pending_digest()?;
            Ok(handle.drain())
        })
    }

    pub(crate) fn staged_drop(&mut self) -> Outcome<Writes> {
        self.staged()?;
        self.staged = None;
        Ok(self.drain())
    }
}
