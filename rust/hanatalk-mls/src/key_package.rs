//! Signers and KeyPackages.

use std::sync::Arc;

use openmls::credentials::{BasicCredential, CredentialWithKey};
use openmls::framing::{MlsMessageBodyIn, MlsMessageIn, MlsMessageOut};
use openmls::key_packages::KeyPackage;
use openmls::prelude::ProtocolVersion;
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::types::SignatureScheme;
use openmls_traits::OpenMlsProvider;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tls_codec::Deserialize;

use crate::errors::{Outcome, Refusal};
use crate::guard::guarded;
use crate::overlay::Writes;
use crate::profile;
use crate::provider::Provider;
use crate::values::{bytes_to_python, extensions_to_python, writes_to_python, KeyPackageInfo, KeyPackageMade};

/// A leaf's Ed25519 signature key, not yet in a group. `repr` shows the public key only.
#[pyclass(frozen, module = "hanatalk_mls")]
pub(crate) struct Signer {
    pub(crate) key_pair: Arc<SignatureKeyPair>,
}

#[pymethods]
impl Signer {
    /// The public key, 32 bytes.
    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key_pair.public())
    }

    fn __repr__(&self) -> String {
        let hex: String = self
            .key_pair
            .public()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("Signer({hex})")
    }
}

/// A fresh leaf signature key.
#[pyfunction]
pub(crate) fn signer_new(py: Python<'_>) -> PyResult<Signer> {
    py.detach(|| {
        guarded(|| {
            SignatureKeyPair::new(SignatureScheme::ED25519)
                .map(|key_pair| Signer {
                    key_pair: Arc::new(key_pair),
                })
                .map_err(|error| Refusal::Unsupported(error.to_string()))
        })
    })
    .map_err(PyErr::from)
}

/// BasicCredential and key of a leaf.
pub(crate) fn credential_with_key(identity: &[u8], signature_key: &[u8]) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(identity.to_vec()).into(),
        signature_key: signature_key.into(),
    }
}

struct Made {
    key_package: Vec<u8>,
    reference: Vec<u8>,
    writes: Writes,
}

fn make(
    signer: &SignatureKeyPair,
    suite: u16,
    credential: &[u8],
    extensions: &[(u16, Vec<u8>)],
    (not_before, not_after): (u64, u64),
    last_resort: bool,
) -> Outcome<Made> {
    let suite = profile::suite(suite)?;
    let provider = Provider::default();
    let mut builder = KeyPackage::builder()
        .leaf_node_capabilities(profile::capabilities())
        .key_package_lifetime(profile::lifetime())
        .key_package_extensions(profile::key_package_extensions(extensions, not_before, not_after)?);
    if last_resort {
        builder = builder.mark_as_last_resort();
    }
    let with_key = credential_with_key(credential, signer.public());
    let bundle = builder
        .build(suite, &provider, signer, with_key)
        .map_err(|error| Refusal::Unsupported(error.to_string()))?;
    signer.store(provider.overlay())?;
    let reference = bundle.key_package().hash_ref(provider.crypto())?.as_slice().to_vec();
    let key_package = MlsMessageOut::from(bundle.into_key_package())
        .to_bytes()
        .map_err(Refusal::bad)?;
    Ok(Made {
        key_package,
        reference,
        writes: provider.overlay().drain(),
    })
}

/// A KeyPackage and the private rows that open a Welcome made for it.
#[pyfunction]
#[pyo3(signature = (signer, *, suite, credential, extensions, not_before, not_after, last_resort = false))]
#[allow(clippy::too_many_arguments)] // keyword-only in Python
pub(crate) fn key_package_new(
    py: Python<'_>,
    signer: &Signer,
    suite: u16,
    credential: &[u8],
    extensions: Vec<(u16, Vec<u8>)>,
    not_before: u64,
    not_after: u64,
    last_resort: bool,
) -> PyResult<KeyPackageMade> {
    let key_pair = &signer.key_pair;
    let made = py.detach(|| {
        guarded(|| {
            make(
                key_pair,
                suite,
                credential,
                &extensions,
                (not_before, not_after),
                last_resort,
            )
        })
    })?;
    Ok(KeyPackageMade {
        key_package: bytes_to_python(py, &made.key_package),
        r#ref: bytes_to_python(py, &made.reference),
        writes: writes_to_python(py, made.writes)?,
    })
}

/// Parse and verify MLSMessage(KeyPackage) in every way that needs no clock. `index` is for the error.
pub(crate) fn verify(provider: &Provider, index: usize, bytes: &[u8]) -> Outcome<KeyPackage> {
    let flawed = |why: String| Refusal::BadKeyPackage(index, why);
    let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(|_| flawed("malformed".into()))?;
    let MlsMessageBodyIn::KeyPackage(unverified) = message.extract() else {
        return Err(flawed("not a KeyPackage".into()));
    };
    let key_package = unverified
        .validate(provider.crypto(), ProtocolVersion::Mls10)
        .map_err(|error| flawed(error.to_string()))?;
    match profile::key_package_flaw(&key_package) {
        Some(flaw) => Err(flawed(flaw.into())),
        None => Ok(key_package),
    }
}

/// Verify a KeyPackage and say what is in it.
#[pyfunction]
pub(crate) fn key_package_inspect(py: Python<'_>, key_package: &[u8]) -> PyResult<KeyPackageInfo> {
    let (verified, reference, credential) = py.detach(|| {
        guarded(|| {
            let provider = Provider::default();
            let verified = verify(&provider, 0, key_package)?;
            let reference = verified.hash_ref(provider.crypto())?.as_slice().to_vec();
            let credential = profile::identity(verified.leaf_node().credential())?;
            Ok((verified, reference, credential))
        })
    })?;
    let (not_before, not_after) =
        profile::lifetime_of(&verified).ok_or_else(|| Refusal::BadKeyPackage(0, "lifetime".into()))?;
    let mut extensions = profile::unknown_of(verified.extensions().iter());
    extensions.retain(|(kind, _)| *kind != profile::LIFETIME_EXTENSION);
    Ok(KeyPackageInfo {
        suite: verified.ciphersuite().into(),
        r#ref: bytes_to_python(py, &reference),
        credential: bytes_to_python(py, &credential),
        signature_key: bytes_to_python(py, verified.leaf_node().signature_key().as_slice()),
        extensions: extensions_to_python(py, extensions)?,
        not_before,
        not_after,
        last_resort: verified.last_resort(),
    })
}
