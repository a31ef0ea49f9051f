//! Joining: open a Welcome, look at the group, then join it.

use std::sync::Mutex;

use openmls::framing::{MlsMessageBodyIn, MlsMessageIn};
use openmls::group::{ProcessedWelcome, StagedWelcome as MlsStagedWelcome};
use openmls::prelude::RatchetTreeIn;
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::types::SignatureScheme;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tls_codec::Deserialize;

use crate::codec::Kind;
use crate::errors::{Outcome, Refusal};
use crate::group::Group;
use crate::guard::guarded;
use crate::handle::Handle;
use crate::overlay::{Overlay, Writes};
use crate::pool::parallel;
use crate::profile;
use crate::provider::Provider;
use crate::values::{extensions_to_python, members_to_python, writes_to_python, MemberValue};

struct Opened {
    provider: Provider,
    welcome: MlsStagedWelcome,
    tree_in_welcome: bool,
}

/// A Welcome that was opened but not yet joined. Nothing is written before `join`.
#[pyclass(frozen, module = "hanatalk_mls")]
pub(crate) struct StagedWelcome {
    opened: Mutex<Option<Box<Opened>>>,
    #[pyo3(get)]
    group_id: Py<PyBytes>,
    #[pyo3(get)]
    suite: u16,
    #[pyo3(get)]
    epoch: u64,
    #[pyo3(get)]
    sender: u32,
    #[pyo3(get)]
    extensions: Py<PyList>,
    #[pyo3(get)]
    members: Py<PyList>,
    #[pyo3(get)]
    own_leaf: u32,
}

fn open(
    welcome: &[u8],
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    ratchet_tree: Option<&[u8]>,
) -> Outcome<(Opened, Vec<MemberValue>)> {
    let message = MlsMessageIn::tls_deserialize_exact(welcome).map_err(Refusal::bad)?;
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
        return Err(Refusal::bad("not a Welcome"));
    };
    let ratchet_tree = ratchet_tree
        .map(RatchetTreeIn::tls_deserialize_exact)
        .transpose()
        .map_err(Refusal::bad)?;
    let provider = Provider::new(Overlay::from_rows(rows));
    let processed = ProcessedWelcome::new_from_welcome(&provider, &profile::join_config(true), welcome)?;
    profile::suite(processed.unverified_group_info().ciphersuite().into())?;
    let tree_in_welcome = processed.unverified_group_info().extensions().ratchet_tree().is_some();
    let mut builder = openmls::group::JoinBuilder::new(&provider, processed).skip_lifetime_validation();
    if let Some(ratchet_tree) = ratchet_tree {
        builder = builder.with_ratchet_tree(ratchet_tree);
    }
    let welcome = builder.build()?;
    let suite = welcome.group_context().ciphersuite();
    if let Some(flaw) = profile::group_extensions_flaw(welcome.group_context().extensions()) {
        return Err(Refusal::Unsupported(flaw.into()));
    }
    let members = welcome
        .members()
        .map(|member| MemberValue::from_member(&member))
        .collect::<Outcome<Vec<_>>>()?;
    let key_length = profile::hpke_public_key_length(suite);
    if welcome
        .members()
        .any(|member| member.encryption_key.len() != key_length)
    {
        return Err(Refusal::bad("a leaf's encryption key has the wrong length"));
    }
    let opened = Opened {
        provider,
        welcome,
        tree_in_welcome,
    };
    Ok((opened, members))
}

fn join(opened: Opened) -> Outcome<(Handle, Writes)> {
    let Opened {
        provider,
        welcome,
        tree_in_welcome,
    } = opened;
    let key = welcome
        .own_leaf_node()
        .map(|leaf| leaf.signature_key().as_slice().to_vec())
        .ok_or_else(|| Refusal::bad("no own leaf"))?;
    let signer = SignatureKeyPair::read(provider.overlay(), &key, SignatureScheme::ED25519)
        .ok_or_else(|| Refusal::bad("the KeyPackage's rows hold no signature key"))?;
    let mut group = welcome.into_group(&provider)?;
    group.set_configuration(provider.overlay(), &profile::join_config(tree_in_welcome))?;
    // The KeyPackage's own row stays with the caller until "joining" is over.
    provider.overlay().forget(&[Kind::KeyPackage]);
    let writes = provider.overlay().drain_all();
    Ok((Handle::new(provider, group, Some(signer)), writes))
}

#[pymethods]
impl StagedWelcome {
    /// Join: the group and all its rows, the leaf's signer included. Once only.
    fn join(&self, py: Python<'_>) -> PyResult<(Group, Py<PyList>)> {
        let (handle, writes) = py.detach(|| {
            guarded(|| {
                let opened = self.opened.lock().map_err(|_| Refusal::Poisoned("lock".into()))?.take();
                join(*opened.ok_or(Refusal::Misuse("this Welcome was joined already"))?)
            })
        })?;
        Ok((Group::new(handle), writes_to_python(py, writes)?))
    }
}

/// Open a Welcome with a copy of a KeyPackage's rows.
#[pyfunction]
#[pyo3(signature = (welcome, key_package_rows, *, ratchet_tree = None))]
pub(crate) fn welcome_stage(
    py: Python<'_>,
    welcome: &[u8],
    key_package_rows: Vec<(Vec<u8>, Vec<u8>)>,
    ratchet_tree: Option<&[u8]>,
) -> PyResult<StagedWelcome> {
    let (opened, members) = py.detach(|| guarded(|| parallel(|| open(welcome, key_package_rows, ratchet_tree))))?;
    let context = opened.welcome.group_context();
    Ok(StagedWelcome {
        group_id: PyBytes::new(py, context.group_id().as_slice()).unbind(),
        suite: context.ciphersuite().into(),
        epoch: context.epoch().as_u64(),
        sender: opened.welcome.welcome_sender_index().u32(),
        extensions: extensions_to_python(py, profile::unknown_of(context.extensions().iter()))?,
        members: members_to_python(py, members)?,
        own_leaf: opened.welcome.own_leaf_index().u32(),
        opened: Mutex::new(Some(Box::new(opened))),
    })
}
