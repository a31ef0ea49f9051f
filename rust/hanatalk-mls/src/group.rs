//! `Group` as Python sees it: one handle behind a lock, the GIL released while it works.

use std::sync::Mutex;

use openmls_basic_credential::SignatureKeyPair;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};
use pyo3::IntoPyObjectExt;

use crate::commit::CommitParts;
use crate::errors::{Outcome, Refusal};
use crate::guard::guarded;
use crate::handle::Handle;
use crate::key_package::Signer;
use crate::process::Processed;
use crate::values::{
    bytes_to_python, extensions_to_python, members_to_python, writes_to_python, Application, CommitMade, OwnMessage,
    StagedCommit,
};

/// The default of byte arguments.
const NO_BYTES: &[u8] = b"";

/// An MLS group of one leaf.
#[pyclass(frozen, module = "hanatalk_mls")]
pub(crate) struct Group {
    /// The MLS group id: what a poisoned handle is loaded again by.
    group_id: Vec<u8>,
    suite: u16,
    /// None once a panic was caught.
    handle: Mutex<Option<Box<Handle>>>,
}

impl Group {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            group_id: handle.group.group_id().as_slice().to_vec(),
            suite: handle.group.ciphersuite().into(),
            handle: Mutex::new(Some(Box::new(handle))),
        }
    }

    /// Run with the handle and without the GIL. A panic leaves the handle unusable, and so do rows that cannot be read.
    pub(crate) fn with<T: Send>(
        &self,
        py: Python<'_>,
        run: impl FnOnce(&mut Handle) -> Outcome<T> + Send,
    ) -> PyResult<T> {
        let outcome = py.detach(|| {
            let mut slot = self.handle.lock().map_err(|_| Refusal::Poisoned("lock".into()))?;
            let handle = slot
                .as_deref_mut()
                .ok_or_else(|| Refusal::Poisoned("load the group again".into()))?;
            let outcome = guarded(|| run(handle));
            if matches!(outcome, Err(Refusal::Poisoned(_))) {
                *slot = None;
            }
            outcome
        });
        outcome.map_err(PyErr::from)
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        run: impl FnOnce(&mut Handle) -> Outcome<Vec<u8>> + Send,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.with(py, run)?;
        Ok(PyBytes::new(py, &bytes))
    }
}

#[pymethods]
impl Group {
    /// Found a group.
    #[staticmethod]
    #[pyo3(signature = (signer, *, suite, group_id, credential, extensions, ratchet_tree_in_welcome = true))]
    fn create(
        py: Python<'_>,
        signer: &Signer,
        suite: u16,
        group_id: &[u8],
        credential: &[u8],
        extensions: Vec<(u16, Vec<u8>)>,
        ratchet_tree_in_welcome: bool,
    ) -> PyResult<(Self, Py<PyList>)> {
        let key_pair: &SignatureKeyPair = &signer.key_pair;
        let (handle, writes) = py.detach(|| {
            guarded(|| {
                Handle::create(
                    key_pair,
                    suite,
                    group_id,
                    credential,
                    &extensions,
                    ratchet_tree_in_welcome,
                )
            })
        })?;
        Ok((Self::new(handle), writes_to_python(py, writes)?))
    }

    /// Load a group from its stored rows.
    #[staticmethod]
    fn load(py: Python<'_>, group_id: &[u8], rows: Vec<(Vec<u8>, Vec<u8>)>) -> PyResult<Self> {
        let handle = py.detach(|| guarded(|| Handle::load(group_id, rows)))?;
        Ok(Self::new(handle))
    }

    /// The group's id.
    #[getter]
    fn group_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.group_id)
    }

    /// The suite's id.
    #[getter]
    fn suite(&self) -> u16 {
        self.suite
    }

    /// The current epoch.
    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |handle| Ok(handle.group.epoch().as_u64()))
    }

    /// The own leaf index.
    #[getter]
    fn own_leaf(&self, py: Python<'_>) -> PyResult<u32> {
        self.with(py, |handle| Ok(handle.group.own_leaf_index().u32()))
    }

    /// False once removed.
    #[getter]
    fn is_active(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |handle| Ok(handle.group.is_active()))
    }

    /// Whether an own commit waits.
    #[getter]
    fn has_pending_commit(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |handle| Ok(handle.group.pending_commit().is_some()))
    }

    /// The epoch's authenticator.
    #[getter]
    fn epoch_authenticator<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| Ok(handle.group.epoch_authenticator().as_slice().to_vec()))
    }

    /// GroupContext extensions of unknown types.
    fn extensions(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let extensions = self.with(py, |handle| Ok(handle.extensions()))?;
        extensions_to_python(py, extensions)
    }

    /// The members, by leaf index.
    fn roster(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let members = self.with(py, |handle| handle.roster())?;
        members_to_python(py, members)
    }

    /// MLS-Exporter of this epoch.
    fn export_secret<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.export_secret(label, context, length))
    }

    /// The ratchet tree.
    fn ratchet_tree<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.ratchet_tree())
    }

    /// MLSMessage(GroupInfo) without the tree.
    fn group_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.group_info())
    }

    /// Ed25519 signature of the leaf key.
    fn leaf_sign<'py>(&self, py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.leaf_sign(message))
    }

    /// Encrypt an application message.
    #[pyo3(signature = (plaintext, *, aad = NO_BYTES))]
    fn encrypt(&self, py: Python<'_>, plaintext: &[u8], aad: &[u8]) -> PyResult<(Py<PyBytes>, Py<PyList>)> {
        let (message, writes) = self.with(py, |handle| handle.encrypt(plaintext, aad))?;
        Ok((bytes_to_python(py, &message), writes_to_python(py, writes)?))
    }

    /// Make a commit; it stays pending.
    #[pyo3(signature = (*, adds = vec![], removes = vec![], self_update = false, extensions = None, psks = vec![],
                        credential = None, aad = NO_BYTES))]
    #[allow(clippy::too_many_arguments)] // keyword-only in Python
    fn commit(
        &self,
        py: Python<'_>,
        adds: Vec<PyBackedBytes>,
        removes: Vec<u32>,
        self_update: bool,
        extensions: Option<Vec<(u16, Vec<u8>)>>,
        psks: Vec<PyBackedBytes>,
        credential: Option<&[u8]>,
        aad: &[u8],
    ) -> PyResult<CommitMade> {
        let made = self.with(py, |handle| {
            handle.commit(&CommitParts {
                adds: adds.iter().map(|bytes| &bytes[..]).collect(),
                removes: &removes,
                self_update,
                extensions: extensions.as_deref(),
                psks: psks.iter().map(|bytes| &bytes[..]).collect(),
                credential,
                aad,
            })
        })?;
        Ok(CommitMade {
            commit: bytes_to_python(py, &made.commit),
            welcome: made.welcome.map(|welcome| bytes_to_python(py, &welcome)),
            group_info: made.group_info.map(|info| bytes_to_python(py, &info)),
            digest: bytes_to_python(py, &made.digest),
            writes: writes_to_python(py, made.writes)?,
        })
    }

    /// Merge the own pending commit.
    fn pending_merge(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let writes = self.with(py, Handle::pending_merge)?;
        writes_to_python(py, writes)
    }

    /// Discard the own pending commit.
    fn pending_discard(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let writes = self.with(py, Handle::pending_discard)?;
        writes_to_python(py, writes)
    }

    /// MLS-Exporter of the epoch that the pending commit starts.
    fn pending_export<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.pending_export(label, context, length))
    }

    /// Authenticator of the epoch that the pending commit starts.
    fn pending_epoch_authenticator<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.pending_epoch_authenticator())
    }

    /// Take an incoming message.
    fn process(&self, py: Python<'_>, message: &[u8]) -> PyResult<Py<PyAny>> {
        match self.with(py, |handle| handle.process(message))? {
            Processed::Application {
                plaintext,
                aad,
                sender,
                epoch,
                writes,
            } => Application {
                plaintext: bytes_to_python(py, &plaintext),
                aad: bytes_to_python(py, &aad),
                sender,
                epoch,
                writes: writes_to_python(py, writes)?,
            }
            .into_py_any(py),
            Processed::Staged(staged) => StagedCommit {
                sender: staged.sender,
                epoch: staged.epoch,
                digest: bytes_to_python(py, &staged.digest),
                aad: bytes_to_python(py, &staged.aad),
                adds: members_to_python(py, staged.adds)?,
                removes: PyList::new(py, staged.removes)?.unbind(),
                updates: members_to_python(py, staged.updates)?,
                extensions: staged
                    .extensions
                    .map(|extensions| extensions_to_python(py, extensions))
                    .transpose()?,
                self_removed: staged.self_removed,
                writes: writes_to_python(py, staged.writes)?,
            }
            .into_py_any(py),
            Processed::Own { digest, pending } => OwnMessage {
                digest: bytes_to_python(py, &digest),
                pending,
            }
            .into_py_any(py),
        }
    }

    /// MLS-Exporter of the epoch that the staged commit starts.
    fn staged_export<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.staged_export(label, context, length))
    }

    /// Authenticator of the epoch that the staged commit starts.
    fn staged_epoch_authenticator<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, |handle| handle.staged_epoch_authenticator())
    }

    /// Merge the staged commit.
    fn staged_merge(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let writes = self.with(py, Handle::staged_merge)?;
        writes_to_python(py, writes)
    }

    /// Drop the staged commit.
    fn staged_drop(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let writes = self.with(py, Handle::staged_drop)?;
        writes_to_python(py, writes)
    }

    /// Store an external PSK.
    fn psk_put(&self, py: Python<'_>, psk_id: &[u8], psk: &[u8]) -> PyResult<Py<PyList>> {
        let writes = self.with(py, |handle| handle.psk_put(psk_id, psk))?;
        writes_to_python(py, writes)
    }
}
