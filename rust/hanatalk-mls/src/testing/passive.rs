//! A passive client as the official vectors describe it: a KeyPackage with its private keys, a Welcome, then messages.

use std::sync::Mutex;

use openmls::ciphersuite::HpkePrivateKey;
use openmls::framing::{MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage};
use openmls::group::{JoinBuilder, MlsGroup, MlsGroupJoinConfig, ProcessedWelcome, MIXED_PLAINTEXT_WIRE_FORMAT_POLICY};
use openmls::key_packages::KeyPackage;
use openmls::messages::proposals::{ExternalInitProposal, PreSharedKeyProposal, ReInitProposal, RemoveProposal};
use openmls::messages::proposals_in::{AddProposalIn, GroupContextExtensionProposalIn, UpdateProposalIn};
use openmls::prelude::RatchetTreeIn;
use openmls::schedule::psk::PreSharedKeyId;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::OpenMlsProvider;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Serialize as SerdeSerialize;
use tls_codec::{Deserialize, Serialize};

use crate::codec::Kind;
use crate::errors::{Outcome, Refusal};
use crate::guard::guarded;
use crate::provider::Provider;

/// Reads as OpenMLS's `KeyPackageBundle`, which cannot be built from outside.
#[derive(SerdeSerialize)]
struct Bundle {
    key_package: KeyPackage,
    private_init_key: HpkePrivateKey,
    private_encryption_key: EncryptionPrivateKey,
}

#[derive(SerdeSerialize)]
struct EncryptionPrivateKey {
    key: HpkePrivateKey,
}

struct State {
    provider: Provider,
    group: Option<MlsGroup>,
}

fn config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .use_ratchet_tree_extension(true)
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .number_of_resumption_psks(16)
        .build()
}

impl State {
    fn import(
        key_package: &[u8],
        init_private: &[u8],
        encryption_private: &[u8],
        psks: &[(Vec<u8>, Vec<u8>)],
    ) -> Outcome<Self> {
        let provider = Provider::default();
        for (psk_id, psk) in psks {
            PreSharedKeyId::external(psk_id.clone(), Vec::new())
                .store(&provider, psk)
                .map_err(Refusal::bad)?;
        }
        let message = MlsMessageIn::tls_deserialize_exact(key_package).map_err(Refusal::bad)?;
        let MlsMessageBodyIn::KeyPackage(key_package) = message.extract() else {
            return Err(Refusal::bad("not a KeyPackage"));
        };
        let key_package = key_package.into_unchecked();
        if provider.crypto().supports(key_package.ciphersuite()).is_err() {
            return Err(Refusal::Unsupported(format!("{:?}", key_package.ciphersuite())));
        }
        let reference = key_package.hash_ref(provider.crypto())?;
        let bundle = Bundle {
            key_package,
            private_init_key: init_private.to_vec().into(),
            private_encryption_key: EncryptionPrivateKey {
                key: encryption_private.to_vec().into(),
            },
        };
        provider.overlay().write(Kind::KeyPackage, &reference, &bundle)?;
        Ok(Self { provider, group: None })
    }

    fn join(&mut self, welcome: &[u8], ratchet_tree: Option<&[u8]>) -> Outcome<()> {
        let message = MlsMessageIn::tls_deserialize_exact(welcome).map_err(Refusal::bad)?;
        let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
            return Err(Refusal::bad("not a Welcome"));
        };
        let processed = ProcessedWelcome::new_from_welcome(&self.provider, &config(), welcome)?;
        let mut builder = JoinBuilder::new(&self.provider, processed);
        if let Some(tree) = ratchet_tree {
            builder = builder.with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(tree).map_err(Refusal::bad)?);
        }
        self.group = Some(builder.build()?.into_group(&self.provider)?);
        Ok(())
    }

    fn process(&mut self, message: &[u8]) -> Outcome<&'static str> {
        let Self {
            provider,
            group: Some(group),
        } = self
        else {
            return Err(Refusal::Misuse("not joined"));
        };
        let message = MlsMessageIn::tls_deserialize_exact(message).map_err(Refusal::bad)?;
        let message: ProtocolMessage = message.try_into_protocol_message().map_err(Refusal::bad)?;
        let processed = group.process_message(provider, message).map_err(Refusal::bad)?;
        match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(proposal)
            | ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => {
                group.store_pending_proposal(provider.overlay(), *proposal)?;
                Ok("proposal")
            }
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                group.merge_staged_commit(provider, *commit)?;
                Ok("commit")
            }
            ProcessedMessageContent::ApplicationMessage(_) => Ok("application"),
            _ => Err(Refusal::bad("neither a proposal, a commit nor an application message")),
        }
    }

    /// Load the group from its rows, as a restarted client would.
    fn reload(&mut self) -> Outcome<()> {
        let Some(group) = &self.group else {
            return Err(Refusal::Misuse("not joined"));
        };
        self.group = MlsGroup::load(self.provider.overlay(), group.group_id())?;
        Ok(())
    }
}

/// See the module. Not part of the profile; only tests use it.
#[pyclass(frozen, module = "hanatalk_mls")]
pub(crate) struct TestingPassiveClient {
    state: Mutex<State>,
}

impl TestingPassiveClient {
    fn with<T: Send>(&self, py: Python<'_>, run: impl FnOnce(&mut State) -> Outcome<T> + Send) -> PyResult<T> {
        py.detach(|| {
            let mut state = self.state.lock().map_err(|_| Refusal::Poisoned("lock".into()))?;
            guarded(|| run(&mut state))
        })
        .map_err(PyErr::from)
    }
}

#[pymethods]
impl TestingPassiveClient {
    #[new]
    #[pyo3(signature = (key_package, *, init_private, encryption_private, psks))]
    fn new(
        py: Python<'_>,
        key_package: &[u8],
        init_private: &[u8],
        encryption_private: &[u8],
        psks: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> PyResult<Self> {
        let state = py.detach(|| guarded(|| State::import(key_package, init_private, encryption_private, &psks)))?;
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// Join by a Welcome.
    fn join(&self, py: Python<'_>, welcome: &[u8], ratchet_tree: Option<&[u8]>) -> PyResult<()> {
        self.with(py, |state| state.join(welcome, ratchet_tree))
    }

    /// Process a message; commits are merged, proposals kept.
    fn process(&self, py: Python<'_>, message: &[u8]) -> PyResult<&'static str> {
        self.with(py, |state| state.process(message))
    }

    /// Load the group from its rows.
    fn reload(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, State::reload)
    }

    /// The epoch's authenticator.
    #[getter]
    fn epoch_authenticator<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let authenticator = self.with(py, |state| match &state.group {
            Some(group) => Ok(group.epoch_authenticator().as_slice().to_vec()),
            None => Err(Refusal::Misuse("not joined")),
        })?;
        Ok(PyBytes::new(py, &authenticator))
    }
}

fn reencode<T: Deserialize + Serialize>(bytes: &[u8]) -> Outcome<Vec<u8>> {
    T::tls_deserialize_exact(bytes)
        .and_then(|value| value.tls_serialize_detached())
        .map_err(Refusal::bad)
}

/// Decode one structure of `messages.json` and encode it again.
#[pyfunction]
pub(crate) fn testing_reencode<'py>(py: Python<'py>, kind: &str, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let encoded = match kind {
        "message" => MlsMessageIn::tls_deserialize_exact(bytes)
            .and_then(|message| message.tls_serialize_detached())
            .map_err(Refusal::bad),
        "ratchet_tree" => reencode::<RatchetTreeIn>(bytes),
        "add" => reencode::<AddProposalIn>(bytes),
        "update" => reencode::<UpdateProposalIn>(bytes),
        "remove" => reencode::<RemoveProposal>(bytes),
        "pre_shared_key" => reencode::<PreSharedKeyProposal>(bytes),
        "re_init" => reencode::<ReInitProposal>(bytes),
        "external_init" => reencode::<ExternalInitProposal>(bytes),
        "group_context_extensions" => reencode::<GroupContextExtensionProposalIn>(bytes),
        _ => Err(Refusal::Misuse("no such kind")),
    }?;
    Ok(PyBytes::new(py, &encoded))
}
