//! What a member who cheats would send: commits outside the profile, and commits that only one victim cannot follow.

use openmls::extensions::{Extension, ExtensionType, Extensions, RequiredCapabilitiesExtension, UnknownExtension};
use openmls::framing::{MlsMessageBodyIn, MlsMessageIn};
use openmls::group::{GroupContext, MlsGroup, MlsGroupJoinConfig, MIXED_PLAINTEXT_WIRE_FORMAT_POLICY};
use openmls::prelude::{ExternalSender, LeafNodeIndex, LeafNodeParameters, RatchetTreeIn};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig, HpkeKeyPair, KemOutput,
    SignatureScheme,
};
use openmls_traits::OpenMlsProvider;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};
use tls_codec::{Deserialize, SecretVLBytes};

use crate::codec::Kind;
use crate::errors::{Outcome, Refusal};
use crate::group::Group;
use crate::guard::guarded;
use crate::handle::Handle;
use crate::key_package::{credential_with_key, Signer};
use crate::profile;
use crate::provider::Provider;
use crate::values::writes_to_python;

/// RustCrypto, except that what is sealed to one public key is spoilt, or every MAC is.
struct Saboteur<'a> {
    inner: &'a RustCrypto,
    victim: Option<Vec<u8>>,
    spoil_mac: bool,
}

impl OpenMlsCrypto for Saboteur<'_> {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        self.inner.supports(ciphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.inner.supported_ciphersuites()
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.inner.hkdf_extract(hash, salt, ikm)
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        let mac = self.inner.hmac(hash, key, message)?;
        if !self.spoil_mac {
            return Ok(mac);
        }
        Ok(spoil(mac.as_slice().to_vec()).into())
    }

    fn hkdf_expand(
        &self,
        hash: HashType,
        prk: &[u8],
        info: &[u8],
        length: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        self.inner.hkdf_expand(hash, prk, info, length)
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.hash(hash, data)
    }

    fn aead_encrypt(
        &self,
        aead: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.inner.aead_encrypt(aead, key, data, nonce, aad)
    }

    fn aead_decrypt(
        &self,
        aead: AeadType,
        key: &[u8],
        ciphertext: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.inner.aead_decrypt(aead, key, ciphertext, nonce, aad)
    }

    fn signature_key_gen(&self, scheme: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        self.inner.signature_key_gen(scheme)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        data: &[u8],
        public_key: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner.verify_signature(scheme, data, public_key, signature)
    }

    fn sign(&self, scheme: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.sign(scheme, data, key)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        public_key: &[u8],
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let mut sealed = self.inner.hpke_seal(config, public_key, info, aad, plaintext)?;
        if self.victim.as_deref() == Some(public_key) {
            sealed.ciphertext = spoil(sealed.ciphertext.into()).into();
        }
        Ok(sealed)
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        private_key: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.inner.hpke_open(config, input, private_key, info, aad)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        public_key: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        self.inner
            .hpke_setup_sender_and_export(config, public_key, info, context, length)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        private_key: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        self.inner
            .hpke_setup_receiver_and_export(config, enc, private_key, info, context, length)
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        self.inner.derive_hpke_keypair(config, ikm)
    }
}

fn spoil(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

fn mixed_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .build()
}

/// What to cheat with.
struct Cheat<'a> {
    adds: Vec<&'a [u8]>,
    victim_leaf: Option<u32>,
    spoil_tag: bool,
    group_context: Option<&'a str>,
    queued: bool,
    public: bool,
    self_update: bool,
}

fn cheating_extensions(kind: &str, handle: &Handle) -> Outcome<Extensions<GroupContext>> {
    let required = |kinds: &[u16]| {
        let kinds: Vec<ExtensionType> = kinds.iter().map(|kind| ExtensionType::Unknown(*kind)).collect();
        Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(&kinds, &[], &[]))
    };
    let policy = Extension::Unknown(profile::POLICY_EXTENSION, UnknownExtension(b"policy".to_vec()));
    let list = match kind {
        "external-senders" => {
            let leaf = handle.group.own_leaf_node().ok_or(Refusal::Evicted)?;
            let sender = ExternalSender::new(leaf.signature_key().clone(), leaf.credential().clone());
            let mut list: Vec<Extension> = handle.group.extensions().iter().cloned().collect();
            list.push(Extension::ExternalSenders(vec![sender]));
            list
        }
        "no-required-capabilities" => vec![],
        "fewer-required-capabilities" => vec![required(&[profile::POLICY_EXTENSION]), policy],
        _ => return Err(Refusal::Misuse("no such cheat")),
    };
    Extensions::from_vec(list).map_err(Refusal::bad)
}

fn cheat(handle: &mut Handle, cheat: &Cheat<'_>) -> Outcome<(Vec<u8>, Option<Vec<u8>>)> {
    let victim = cheat.victim_leaf.and_then(|victim| {
        let member = handle.group.members().find(|member| member.index.u32() == victim)?;
        Some(member.encryption_key)
    });
    let adds = cheat
        .adds
        .iter()
        .map(|bytes| {
            let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(Refusal::bad)?;
            match message.extract() {
                MlsMessageBodyIn::KeyPackage(key_package) => Ok(key_package.into_unchecked()),
                _ => Err(Refusal::bad("not a KeyPackage")),
            }
        })
        .collect::<Outcome<Vec<_>>>()?;
    let extensions = cheat
        .group_context
        .map(|kind| cheating_extensions(kind, handle))
        .transpose()?;
    if cheat.public {
        handle
            .group
            .set_configuration(handle.provider.overlay(), &mixed_config())?;
    }
    let Handle {
        provider,
        group,
        signer: Some(signer),
        ..
    } = handle
    else {
        return Err(Refusal::Evicted);
    };
    let saboteur = Saboteur {
        inner: provider.crypto(),
        victim,
        spoil_mac: cheat.spoil_tag,
    };
    let mut builder = group
        .commit_builder()
        .consume_proposal_store(cheat.queued)
        .force_self_update(cheat.self_update)
        .propose_adds(adds);
    if let Some(extensions) = extensions {
        builder = builder
            .propose_group_context_extensions(extensions)
            .map_err(Refusal::bad)?;
    }
    let bundle = builder
        .load_psks(provider.overlay())
        .map_err(Refusal::bad)?
        .create_group_info(false)
        .build(provider.rand(), &saboteur, signer, |_| true)
        .map_err(Refusal::bad)?
        .stage_commit(provider)
        .map_err(Refusal::bad)?;
    let (commit, welcome, _) = bundle.into_messages();
    let welcome = welcome
        .map(|welcome| welcome.to_bytes())
        .transpose()
        .map_err(Refusal::bad)?;
    let commit = commit.to_bytes().map_err(Refusal::bad)?;
    provider
        .overlay()
        .write(Kind::PendingDigest, group.group_id(), &Vec::<u8>::new())?;
    Ok((commit, welcome))
}

/// (commit, welcome, writes)
type Cheated = (Py<PyBytes>, Option<Py<PyBytes>>, Py<PyList>);

/// A commit outside the rules, left pending in the cheater's handle. Returns (commit, welcome, writes).
#[pyfunction]
#[pyo3(signature = (group, *, adds = vec![], victim_leaf = None, spoil_tag = false, group_context = None,
                    queued = false, public = false, self_update = true))]
#[allow(clippy::too_many_arguments)] // keyword-only in Python
pub(crate) fn testing_commit(
    py: Python<'_>,
    group: &Group,
    adds: Vec<PyBackedBytes>,
    victim_leaf: Option<u32>,
    spoil_tag: bool,
    group_context: Option<String>,
    queued: bool,
    public: bool,
    self_update: bool,
) -> PyResult<Cheated> {
    let (commit, welcome, writes) = group.with(py, |handle| {
        let plan = Cheat {
            adds: adds.iter().map(|bytes| &bytes[..]).collect(),
            victim_leaf,
            spoil_tag,
            group_context: group_context.as_deref(),
            queued,
            public,
            self_update,
        };
        let (commit, welcome) = handle.attempt(|handle| cheat(handle, &plan))?;
        Ok((commit, welcome, handle.drain()))
    })?;
    Ok((
        PyBytes::new(py, &commit).unbind(),
        welcome.map(|welcome| PyBytes::new(py, &welcome).unbind()),
        writes_to_python(py, writes)?,
    ))
}

/// A standalone proposal (an update, or a removal of `remove`), queued in the cheater's handle.
#[pyfunction]
#[pyo3(signature = (group, *, remove = None))]
pub(crate) fn testing_proposal<'py>(
    py: Python<'py>,
    group: &Group,
    remove: Option<u32>,
) -> PyResult<(Bound<'py, PyBytes>, Py<PyList>)> {
    let (proposal, writes) = group.with(py, |handle| {
        let Handle {
            provider,
            group,
            signer: Some(signer),
            ..
        } = handle
        else {
            return Err(Refusal::Evicted);
        };
        let message = match remove {
            Some(leaf) => {
                let leaf = LeafNodeIndex::new(leaf);
                group
                    .propose_remove_member(provider, signer, leaf)
                    .map_err(Refusal::bad)?
                    .0
            }
            None => {
                let parameters = LeafNodeParameters::default();
                group
                    .propose_self_update(provider, signer, parameters)
                    .map_err(Refusal::bad)?
                    .0
            }
        };
        Ok((message.to_bytes().map_err(Refusal::bad)?, handle.drain()))
    })?;
    Ok((PyBytes::new(py, &proposal), writes_to_python(py, writes)?))
}

/// An external commit into a group whose GroupInfo and tree leaked.
#[pyfunction]
pub(crate) fn testing_external_commit<'py>(
    py: Python<'py>,
    signer: &Signer,
    credential: &[u8],
    group_info: &[u8],
    ratchet_tree: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let signer = &signer.key_pair;
    let commit = py.detach(|| {
        guarded(|| {
            let message = MlsMessageIn::tls_deserialize_exact(group_info).map_err(Refusal::bad)?;
            let MlsMessageBodyIn::GroupInfo(group_info) = message.extract() else {
                return Err(Refusal::bad("not a GroupInfo"));
            };
            let provider = Provider::default();
            let parameters = LeafNodeParameters::builder().with_capabilities(profile::capabilities());
            let (_, bundle) = MlsGroup::external_commit_builder()
                .with_config(mixed_config())
                .with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(ratchet_tree).map_err(Refusal::bad)?)
                .build_group(&provider, group_info, credential_with_key(credential, signer.public()))
                .map_err(Refusal::bad)?
                .leaf_node_parameters(parameters.build())
                .load_psks(provider.overlay())
                .map_err(Refusal::bad)?
                .build(provider.rand(), provider.crypto(), signer.as_ref(), |_| true)
                .map_err(Refusal::bad)?
                .finalize(&provider)
                .map_err(Refusal::bad)?;
            bundle.into_commit().to_bytes().map_err(Refusal::bad)
        })
    })?;
    Ok(PyBytes::new(py, &commit))
}

/// Panic inside the handle, as a bug would.
#[pyfunction]
pub(crate) fn testing_panic(py: Python<'_>, group: &Group) -> PyResult<()> {
    #[allow(clippy::panic)] // what this is for
    group.with(py, |_| -> Outcome<()> { panic!("a secret: {}", "hunter2") })
}
