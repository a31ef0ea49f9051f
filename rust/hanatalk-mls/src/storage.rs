//! OpenMLS's `StorageProvider` over the overlay: nothing but the naming of rows.

use openmls_traits::storage::{traits, StorageProvider, CURRENT_VERSION as V};

use crate::codec::{Kind, RowError};
use crate::overlay::Overlay;

/// One value per group: its writer, reader and deleter.
macro_rules! per_group {
    ($kind:ident, $bound:ident, $write:ident, $read:ident, $delete:ident) => {
        fn $write<G: traits::GroupId<V>, T: traits::$bound<V>>(&self, group_id: &G, value: &T) -> Result<(), RowError> {
            self.write(Kind::$kind, group_id, value)
        }

        fn $read<G: traits::GroupId<V>, T: traits::$bound<V>>(&self, group_id: &G) -> Result<Option<T>, RowError> {
            self.read(Kind::$kind, group_id)
        }

        fn $delete<G: traits::GroupId<V>>(&self, group_id: &G) -> Result<(), RowError> {
            self.delete(Kind::$kind, group_id)
        }
    };
}

/// One value per public key or reference.
macro_rules! per_key {
    ($kind:ident, $key:ident, $bound:ident, $write:ident, $delete:ident) => {
        fn $write<K: traits::$key<V>, T: traits::$bound<V>>(&self, key: &K, value: &T) -> Result<(), RowError> {
            self.write(Kind::$kind, key, value)
        }

        fn $delete<K: traits::$key<V>>(&self, key: &K) -> Result<(), RowError> {
            self.delete(Kind::$kind, key)
        }
    };
}

impl StorageProvider<V> for Overlay {
    type Error = RowError;

    per_group!(Tree, TreeSync, write_tree, tree, delete_tree);
    per_group!(Context, GroupContext, write_context, group_context, delete_context);
    per_group!(
        InterimTranscriptHash,
        InterimTranscriptHash,
        write_interim_transcript_hash,
        interim_transcript_hash,
        delete_interim_transcript_hash
    );
    per_group!(
        ConfirmationTag,
        ConfirmationTag,
        write_confirmation_tag,
        confirmation_tag,
        delete_confirmation_tag
    );
    per_group!(
        MessageSecrets,
        MessageSecrets,
        write_message_secrets,
        message_secrets,
        delete_message_secrets
    );
    per_group!(
        ResumptionPsks,
        ResumptionPskStore,
        write_resumption_psk_store,
        resumption_psk_store,
        delete_all_resumption_psk_secrets
    );
    per_group!(
        OwnLeafIndex,
        LeafNodeIndex,
        write_own_leaf_index,
        own_leaf_index,
        delete_own_leaf_index
    );
    per_group!(
        EpochSecrets,
        GroupEpochSecrets,
        write_group_epoch_secrets,
        group_epoch_secrets,
        delete_group_epoch_secrets
    );
    per_group!(
        JoinConfig,
        MlsGroupJoinConfig,
        write_mls_join_config,
        mls_group_join_config,
        delete_group_config
    );
    per_key!(
        SignatureKeyPair,
        SignaturePublicKey,
        SignatureKeyPair,
        write_signature_key_pair,
        delete_signature_key_pair
    );
    per_key!(
        EncryptionKeyPair,
        EncryptionKey,
        HpkeKeyPair,
        write_encryption_key_pair,
        delete_encryption_key_pair
    );
    per_key!(
        KeyPackage,
        HashReference,
        KeyPackage,
        write_key_package,
        delete_key_package
    );
    per_key!(Psk, PskId, PskBundle, write_psk, delete_psk);

    fn write_group_state<S: traits::GroupState<V>, G: traits::GroupId<V>>(
        &self,
        group_id: &G,
        group_state: &S,
    ) -> Result<(), RowError> {
        self.write(Kind::GroupState, group_id, group_state)
    }

    fn group_state<S: traits::GroupState<V>, G: traits::GroupId<V>>(
        &self,
        group_id: &G,
    ) -> Result<Option<S>, RowError> {
        self.read(Kind::GroupState, group_id)
    }

    fn delete_group_state<G: traits::GroupId<V>>(&self, group_id: &G) -> Result<(), RowError> {
        self.delete(Kind::GroupState, group_id)
    }

    fn signature_key_pair<K: traits::SignaturePublicKey<V>, T: traits::SignatureKeyPair<V>>(
        &self,
        public_key: &K,
    ) -> Result<Option<T>, RowError> {
        self.read(Kind::SignatureKeyPair, public_key)
    }

    fn encryption_key_pair<T: traits::HpkeKeyPair<V>, K: traits::EncryptionKey<V>>(
        &self,
        public_key: &K,
    ) -> Result<Option<T>, RowError> {
        self.read(Kind::EncryptionKeyPair, public_key)
    }

    fn key_package<K: traits::HashReference<V>, T: traits::KeyPackage<V>>(
        &self,
        hash_ref: &K,
    ) -> Result<Option<T>, RowError> {
        self.read(Kind::KeyPackage, hash_ref)
    }

    fn psk<T: traits::PskBundle<V>, K: traits::PskId<V>>(&self, psk_id: &K) -> Result<Option<T>, RowError> {
        self.read(Kind::Psk, psk_id)
    }

    fn write_encryption_epoch_key_pairs<G: traits::GroupId<V>, E: traits::EpochKey<V>, T: traits::HpkeKeyPair<V>>(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[T],
    ) -> Result<(), RowError> {
        self.write(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index), key_pairs)
    }

    fn encryption_epoch_key_pairs<G: traits::GroupId<V>, E: traits::EpochKey<V>, T: traits::HpkeKeyPair<V>>(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<Vec<T>, RowError> {
        self.read_list(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index))
    }

    fn delete_encryption_epoch_key_pairs<G: traits::GroupId<V>, E: traits::EpochKey<V>>(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<(), RowError> {
        self.delete(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index))
    }

    fn own_leaf_nodes<G: traits::GroupId<V>, L: traits::LeafNode<V>>(&self, group_id: &G) -> Result<Vec<L>, RowError> {
        self.read_list(Kind::OwnLeafNodes, group_id)
    }

    fn append_own_leaf_node<G: traits::GroupId<V>, L: traits::LeafNode<V>>(
        &self,
        group_id: &G,
        leaf_node: &L,
    ) -> Result<(), RowError> {
        let stored: Vec<L> = self.read_list(Kind::OwnLeafNodes, group_id)?;
        let list: Vec<&L> = stored.iter().chain([leaf_node]).collect();
        self.write(Kind::OwnLeafNodes, group_id, &list)
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<V>>(&self, group_id: &G) -> Result<(), RowError> {
        self.delete(Kind::OwnLeafNodes, group_id)
    }

    fn queue_proposal<G: traits::GroupId<V>, R: traits::ProposalRef<V>, P: traits::QueuedProposal<V>>(
        &self,
        group_id: &G,
        proposal_ref: &R,
        proposal: &P,
    ) -> Result<(), RowError> {
        self.write(Kind::QueuedProposal, &(group_id, proposal_ref), proposal)?;
        let stored: Vec<R> = self.read_list(Kind::ProposalRefs, group_id)?;
        let list: Vec<&R> = stored.iter().chain([proposal_ref]).collect();
        self.write(Kind::ProposalRefs, group_id, &list)
    }

    fn queued_proposal_refs<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        group_id: &G,
    ) -> Result<Vec<R>, RowError> {
        self.read_list(Kind::ProposalRefs, group_id)
    }

    fn queued_proposals<G: traits::GroupId<V>, R: traits::ProposalRef<V>, P: traits::QueuedProposal<V>>(
        &self,
        group_id: &G,
    ) -> Result<Vec<(R, P)>, RowError> {
        let refs: Vec<R> = self.read_list(Kind::ProposalRefs, group_id)?;
        refs.into_iter()
            .map(|proposal_ref| {
                let proposal = self.read(Kind::QueuedProposal, &(group_id, &proposal_ref))?;
                Ok((proposal_ref, proposal.ok_or(RowError)?))
            })
            .collect()
    }

    fn remove_proposal<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        group_id: &G,
        proposal_ref: &R,
    ) -> Result<(), RowError> {
        let removed = crate::codec::encode(proposal_ref)?;
        let mut kept: Vec<R> = Vec::new();
        for stored in self.read_list::<_, R>(Kind::ProposalRefs, group_id)? {
            if crate::codec::encode(&stored)? != removed {
                kept.push(stored);
            }
        }
        self.write(Kind::ProposalRefs, group_id, &kept)?;
        self.delete(Kind::QueuedProposal, &(group_id, proposal_ref))
    }

    fn clear_proposal_queue<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        group_id: &G,
    ) -> Result<(), RowError> {
        for proposal_ref in self.read_list::<_, R>(Kind::ProposalRefs, group_id)? {
            self.delete(Kind::QueuedProposal, &(group_id, &proposal_ref))?;
        }
        self.delete(Kind::ProposalRefs, group_id)
    }
}
