//! What calls return: frozen, made once, their bytes shared with Python and not copied at every look.

use openmls::credentials::Credential;
use openmls::group::Member as MlsMember;
use openmls::prelude::LeafNode;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::errors::Outcome;
use crate::overlay::Writes;
use crate::profile::{identity, ExtensionList};

/// `writes` as Python sees it: `list[tuple[bytes, bytes | None]]`.
pub(crate) fn writes_to_python(py: Python<'_>, writes: Writes) -> PyResult<Py<PyList>> {
    let list = PyList::empty(py);
    for (key, value) in writes {
        let value = value.map(|value| PyBytes::new(py, &value));
        list.append((PyBytes::new(py, &key), value))?;
    }
    Ok(list.unbind())
}

/// Extensions as Python sees them: `list[tuple[int, bytes]]`.
pub(crate) fn extensions_to_python(py: Python<'_>, extensions: ExtensionList) -> PyResult<Py<PyList>> {
    let list = PyList::empty(py);
    for (kind, data) in extensions {
        list.append((kind, PyBytes::new(py, &data)))?;
    }
    Ok(list.unbind())
}

/// Members as Python sees them.
pub(crate) fn members_to_python(py: Python<'_>, members: Vec<MemberValue>) -> PyResult<Py<PyList>> {
    let list = PyList::empty(py);
    for member in members {
        list.append(Py::new(py, Member::new(py, member))?)?;
    }
    Ok(list.unbind())
}

pub(crate) fn bytes_to_python(py: Python<'_>, bytes: &[u8]) -> Py<PyBytes> {
    PyBytes::new(py, bytes).unbind()
}

/// One leaf, before it becomes a Python object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberValue {
    pub(crate) leaf: u32,
    pub(crate) credential: Vec<u8>,
    pub(crate) signature_key: Vec<u8>,
}

impl MemberValue {
    fn from_parts(leaf: u32, credential: &Credential, signature_key: &[u8]) -> Outcome<Self> {
        Ok(Self {
            leaf,
            credential: identity(credential)?,
            signature_key: signature_key.to_vec(),
        })
    }

    pub(crate) fn from_member(member: &MlsMember) -> Outcome<Self> {
        Self::from_parts(member.index.u32(), &member.credential, &member.signature_key)
    }

    pub(crate) fn from_leaf(leaf: u32, node: &LeafNode) -> Outcome<Self> {
        Self::from_parts(leaf, node.credential(), node.signature_key().as_slice())
    }
}

/// One leaf of the group.
#[pyclass(frozen, eq, get_all, module = "hanatalk_mls")]
pub(crate) struct Member {
    /// Leaf index.
    leaf: u32,
    /// Identity of its BasicCredential.
    credential: Py<PyBytes>,
    /// Its Ed25519 public key, 32 bytes.
    signature_key: Py<PyBytes>,
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Python::attach(|py| {
            self.leaf == other.leaf
                && self.credential.as_bytes(py) == other.credential.as_bytes(py)
                && self.signature_key.as_bytes(py) == other.signature_key.as_bytes(py)
        })
    }
}

impl Member {
    fn new(py: Python<'_>, value: MemberValue) -> Self {
        Self {
            leaf: value.leaf,
            credential: bytes_to_python(py, &value.credential),
            signature_key: bytes_to_python(py, &value.signature_key),
        }
    }
}

#[pymethods]
impl Member {
    fn __repr__(&self, py: Python<'_>) -> String {
        let credential = self.credential.as_bytes(py).len();
        format!("Member(leaf={}, credential={credential} bytes)", self.leaf)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        PyTuple::new(py, [&self.credential, &self.signature_key])?.hash()
    }
}

/// A KeyPackage with its private rows.
#[pyclass(frozen, get_all, module = "hanatalk_mls")]
pub(crate) struct KeyPackageMade {
    /// MLSMessage(KeyPackage).
    pub(crate) key_package: Py<PyBytes>,
    /// KeyPackageRef.
    pub(crate) r#ref: Py<PyBytes>,
    /// The private rows.
    pub(crate) writes: Py<PyList>,
}

/// What a verified KeyPackage says.
#[pyclass(frozen, get_all, module = "hanatalk_mls")]
pub(crate) struct KeyPackageInfo {
    /// Suite id.
    pub(crate) suite: u16,
    /// KeyPackageRef.
    pub(crate) r#ref: Py<PyBytes>,
    /// Identity of the BasicCredential.
    pub(crate) credential: Py<PyBytes>,
    /// The leaf's Ed25519 public key.
    pub(crate) signature_key: Py<PyBytes>,
    /// KeyPackage extensions, without the lifetime.
    pub(crate) extensions: Py<PyList>,
    /// Seconds since 1970.
    pub(crate) not_before: u64,
    /// Seconds since 1970.
    pub(crate) not_after: u64,
    /// Whether it may be used more than once.
    pub(crate) last_resort: bool,
}

/// A commit, now pending.
#[pyclass(frozen, get_all, module = "hanatalk_mls")]
pub(crate) struct CommitMade {
    /// MLSMessage(PrivateMessage).
    pub(crate) commit: Py<PyBytes>,
    /// MLSMessage(Welcome), if there were adds.
    pub(crate) welcome: Option<Py<PyBytes>>,
    /// MLSMessage(GroupInfo), if there were adds.
    pub(crate) group_info: Option<Py<PyBytes>>,
    /// SHA-256 of `commit`.
    pub(crate) digest: Py<PyBytes>,
    /// Rows to store.
    pub(crate) writes: Py<PyList>,
}

/// A decrypted application message.
#[pyclass(frozen, get_all, module = "hanatalk_mls")]
pub(crate) struct Application {
    /// What was sent.
    pub(crate) plaintext: Py<PyBytes>,
    /// What was authenticated beside it.
    pub(crate) aad: Py<PyBytes>,
    /// Leaf index.
    pub(crate) sender: u32,
    /// Epoch it was sent in.
    pub(crate) epoch: u64,
    /// Rows to store.
    pub(crate) writes: Py<PyList>,
}

/// A commit that was staged in the handle.
#[pyclass(frozen, get_all, module = "hanatalk_mls")]
pub(crate) struct StagedCommit {
    /// Leaf index of the committer.
    pub(crate) sender: u32,
    /// The epoch it ends.
    pub(crate) epoch: u64,
    /// SHA-256 of the message.
    pub(crate) digest: Py<PyBytes>,
    /// Authenticated data of the commit.
    pub(crate) aad: Py<PyBytes>,
    /// Members as they will stand in the new tree.
    pub(crate) adds: Py<PyList>,
    /// Leaf indices.
    pub(crate) removes: Py<PyList>,
    /// Changed leaves, the committer's included.
    pub(crate) updates: Py<PyList>,
    /// New GroupContext extensions, None if unchanged.
    pub(crate) extensions: Option<Py<PyList>>,
    /// Whether this leaf is removed.
    pub(crate) self_removed: bool,
    /// Rows to store.
    pub(crate) writes: Py<PyList>,
}

/// An echo of what this leaf made itself.
#[pyclass(frozen, get_all, module = "hanatalk_mls")]
pub(crate) struct OwnMessage {
    /// SHA-256 of the message.
    pub(crate) digest: Py<PyBytes>,
    /// Whether it is the pending commit.
    pub(crate) pending: bool,
}
