//! The profile: everything about MLS that is fixed here and not left to the caller (spec/02-mls-profile.md).
//!
//! * suites 0x004E (X-Wing, a draft's id) and 0x0001; BasicCredential only;
//! * handshakes only as PrivateMessage, no standalone proposals, nothing from outside the group;
//! * `max_past_epochs` 0, out-of-order tolerance 64, forward distance 4,096, no padding (the entry is padded outside);
//! * a commit may carry, all by value: Add, Remove, one GroupContextExtensions, external PSKs, and a path;
//! * GroupContext extensions: RequiredCapabilities exactly as [`group_extensions`] makes it, else private-use types only;
//! * a KeyPackage's MLS lifetime is unbounded. OpenMLS checks lifetimes against the machine's clock even while it stages
//!   somebody's commit, so a client that was away would refuse a commit that the others took. The real lifetime is the
//!   signed extension 0xF0A2, which the *adder* checks with a clock of its own.

use openmls::extensions::{Extension, ExtensionType, Extensions, RequiredCapabilitiesExtension, UnknownExtension};
use openmls::group::{
    GroupContext, MlsGroupCreateConfig, MlsGroupJoinConfig, StagedCommit, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
};
use openmls::key_packages::{KeyPackage, Lifetime};
use openmls::messages::proposals::{Proposal, ProposalOrRefType};
use openmls::prelude::{
    BasicCredential, Capabilities, Credential, CredentialType, LeafNode, ProtocolVersion, SenderRatchetConfiguration,
};
use openmls_traits::types::{Ciphersuite, HpkeKemType};
use tls_codec::{Deserialize, Serialize, VLBytes};

use crate::errors::{Outcome, Refusal};

/// X-Wing, AES-256-GCM, SHA-384, Ed25519. A draft's id: defined here and nowhere else.
pub(crate) const X_WING: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;

/// X25519, AES-128-GCM, SHA-256, Ed25519 (RFC 9420's 0x0001).
pub(crate) const X25519: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// GroupContext extension: the conversation's policy.
pub(crate) const POLICY_EXTENSION: u16 = 0xF0A0;

/// KeyPackage extension: where the Welcome goes.
pub(crate) const WELCOME_CHANNEL_EXTENSION: u16 = 0xF0A1;

/// KeyPackage extension: the lifetime, `not_before` and `not_after`, each eight bytes, big endian, seconds since 1970.
pub(crate) const LIFETIME_EXTENSION: u16 = 0xF0A2;

/// `not_after` of every leaf, far behind any clock; signed 63 bits, so that every language can hold it.
const FOREVER: u64 = i64::MAX as u64;

const OUT_OF_ORDER_TOLERANCE: u32 = 64;
const MAXIMUM_FORWARD_DISTANCE: u32 = 4096;

/// Unknown extensions as the caller sees them.
pub(crate) type ExtensionList = Vec<(u16, Vec<u8>)>;

/// One of the two suites.
pub(crate) fn suite(id: u16) -> Outcome<Ciphersuite> {
    match Ciphersuite::try_from(id) {
        Ok(suite) if suite == X_WING || suite == X25519 => Ok(suite),
        _ => Err(Refusal::Unsupported(format!("suite 0x{id:04X}"))),
    }
}

/// Length of an HPKE public key of the suite, in bytes.
pub(crate) fn hpke_public_key_length(suite: Ciphersuite) -> usize {
    match suite.hpke_kem_algorithm() {
        HpkeKemType::XWingKemDraft6 => 1216,
        _ => 32,
    }
}

/// Configuration of a group that we join; the founder's is made from it.
pub(crate) fn join_config(ratchet_tree_in_welcome: bool) -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(0)
        .max_past_epochs(0)
        .number_of_resumption_psks(0)
        .use_ratchet_tree_extension(ratchet_tree_in_welcome)
        .sender_ratchet_configuration(sender_ratchet())
        .build()
}

/// Configuration of a group that we create.
pub(crate) fn create_config(
    suite: Ciphersuite,
    extensions: Extensions<GroupContext>,
    ratchet_tree_in_welcome: bool,
) -> MlsGroupCreateConfig {
    MlsGroupCreateConfig::builder()
        .ciphersuite(suite)
        .capabilities(capabilities())
        .lifetime(lifetime())
        .with_group_context_extensions(extensions)
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(0)
        .max_past_epochs(0)
        .number_of_resumption_psks(0)
        .use_ratchet_tree_extension(ratchet_tree_in_welcome)
        .sender_ratchet_configuration(sender_ratchet())
        .build()
}

fn sender_ratchet() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(OUT_OF_ORDER_TOLERANCE, MAXIMUM_FORWARD_DISTANCE)
}

/// What every leaf says it can do.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(vec![X_WING, X25519])
        .extensions(vec![
            ExtensionType::LastResort,
            ExtensionType::Unknown(POLICY_EXTENSION),
            ExtensionType::Unknown(WELCOME_CHANNEL_EXTENSION),
            ExtensionType::Unknown(LIFETIME_EXTENSION),
        ])
        .proposals(vec![])
        .credentials(vec![CredentialType::Basic])
        .build()
}

/// The MLS lifetime of every leaf (see the module).
pub(crate) fn lifetime() -> Lifetime {
    Lifetime::init(0, FOREVER)
}

fn private_use(kind: u16) -> bool {
    (0xF000..=0xFFFF).contains(&kind)
}

/// GroupContext extensions: the caller's, and the RequiredCapabilities that go with them.
pub(crate) fn group_extensions(list: &[(u16, Vec<u8>)]) -> Outcome<Extensions<GroupContext>> {
    let known = [POLICY_EXTENSION, WELCOME_CHANNEL_EXTENSION, LIFETIME_EXTENSION];
    if let Some((kind, _)) = list.iter().find(|(kind, _)| !known.contains(kind)) {
        return Err(Refusal::Unsupported(format!("GroupContext extension 0x{kind:04X}")));
    }
    let mut kinds: Vec<u16> = list.iter().map(|(kind, _)| *kind).chain([POLICY_EXTENSION]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let required: Vec<ExtensionType> = kinds.into_iter().map(ExtensionType::Unknown).collect();
    let required = RequiredCapabilitiesExtension::new(&required, &[], &[CredentialType::Basic]);
    let extensions = std::iter::once(Extension::RequiredCapabilities(required))
        .chain(
            list.iter()
                .map(|(kind, data)| Extension::Unknown(*kind, UnknownExtension(data.clone()))),
        )
        .collect();
    Extensions::from_vec(extensions).map_err(|error| Refusal::Unsupported(error.to_string()))
}

/// KeyPackage extensions: the caller's and the lifetime.
pub(crate) fn key_package_extensions(
    list: &[(u16, Vec<u8>)],
    not_before: u64,
    not_after: u64,
) -> Outcome<Extensions<KeyPackage>> {
    if let Some((kind, _)) = list.iter().find(|(kind, _)| *kind != WELCOME_CHANNEL_EXTENSION) {
        return Err(Refusal::Unsupported(format!("KeyPackage extension 0x{kind:04X}")));
    }
    let mut bytes = not_before.to_be_bytes().to_vec();
    bytes.extend_from_slice(&not_after.to_be_bytes());
    let extensions = list
        .iter()
        .map(|(kind, data)| Extension::Unknown(*kind, UnknownExtension(data.clone())))
        .chain([Extension::Unknown(LIFETIME_EXTENSION, UnknownExtension(bytes))])
        .collect();
    Extensions::from_vec(extensions).map_err(|error| Refusal::Unsupported(error.to_string()))
}

/// The private-use extensions of a list, in its order.
pub(crate) fn unknown_of<'a>(extensions: impl Iterator<Item = &'a Extension>) -> ExtensionList {
    extensions
        .filter_map(|extension| match extension {
            Extension::Unknown(kind, UnknownExtension(data)) => Some((*kind, data.clone())),
            _ => None,
        })
        .collect()
}

/// The identity of a BasicCredential.
pub(crate) fn identity(credential: &Credential) -> Outcome<Vec<u8>> {
    BasicCredential::try_from(credential.clone())
        .map(|basic| basic.identity().to_vec())
        .map_err(|_| Refusal::Unsupported("credential type".into()))
}

/// A leaf's HPKE public key.
pub(crate) fn encryption_key(leaf: &LeafNode) -> Outcome<Vec<u8>> {
    let encoded = leaf.encryption_key().tls_serialize_detached().map_err(Refusal::bad)?;
    VLBytes::tls_deserialize_exact(encoded)
        .map(Into::into)
        .map_err(Refusal::bad)
}

/// The lifetime a KeyPackage carries in its extension.
pub(crate) fn lifetime_of(key_package: &KeyPackage) -> Option<(u64, u64)> {
    let bytes = &key_package.extensions().unknown(LIFETIME_EXTENSION)?.0;
    let (not_before, not_after) = bytes.split_at_checked(8)?;
    Some((
        u64::from_be_bytes(not_before.try_into().ok()?),
        u64::from_be_bytes(not_after.try_into().ok()?),
    ))
}

/// Whether a verified KeyPackage fits the profile; the reason if not.
pub(crate) fn key_package_flaw(key_package: &KeyPackage) -> Option<&'static str> {
    let suite = key_package.ciphersuite();
    let leaf = key_package.leaf_node();
    let length = hpke_public_key_length(suite);
    let only_private_use = |extension: &Extension| match extension {
        Extension::Unknown(kind, _) => private_use(*kind),
        Extension::LastResort(_) => true,
        _ => false,
    };
    if suite != X_WING && suite != X25519 {
        Some("suite")
    } else if key_package.life_time() != &lifetime() || lifetime_of(key_package).is_none() {
        Some("lifetime")
    } else if !key_package.extensions().iter().all(only_private_use) {
        Some("extension")
    } else if key_package.hpke_init_key().as_slice().len() != length {
        Some("init key length")
    } else {
        leaf_flaw(leaf, suite)
    }
}

/// Whether a leaf fits the profile; the reason if not.
pub(crate) fn leaf_flaw(leaf: &LeafNode, suite: Ciphersuite) -> Option<&'static str> {
    let can = leaf.capabilities();
    if encryption_key(leaf).map(|key| key.len()) != Ok(hpke_public_key_length(suite)) {
        Some("encryption key length")
    } else if leaf.signature_key().as_slice().len() != 32 {
        Some("signature key length")
    } else if leaf.credential().credential_type() != CredentialType::Basic || identity(leaf.credential()).is_err() {
        Some("credential type")
    } else if leaf.extensions().iter().next().is_some() {
        Some("leaf extension")
    } else if !can.versions().contains(&ProtocolVersion::Mls10) {
        Some("protocol version")
    } else if !can.ciphersuites().contains(&suite.into()) {
        Some("suite capability")
    } else if !can.credentials().contains(&CredentialType::Basic) {
        Some("credential capability")
    } else if ![POLICY_EXTENSION, WELCOME_CHANNEL_EXTENSION, LIFETIME_EXTENSION]
        .iter()
        .all(|kind| can.extensions().contains(&ExtensionType::Unknown(*kind)))
    {
        Some("extension capability")
    } else {
        None
    }
}

/// Whether GroupContext extensions fit the profile; the reason if not.
pub(crate) fn group_extensions_flaw(extensions: &Extensions<GroupContext>) -> Option<&'static str> {
    let list = unknown_of(extensions.iter());
    let Ok(expected) = group_extensions(&list) else {
        return Some("GroupContext extension");
    };
    let required = |extensions: &Extensions<GroupContext>| {
        extensions.required_capabilities().map(|required| {
            let mut kinds = required.extension_types().to_vec();
            kinds.sort_unstable();
            (
                kinds,
                required.proposal_types().to_vec(),
                required.credential_types().to_vec(),
            )
        })
    };
    if extensions.iter().count() != expected.iter().count() {
        Some("GroupContext extension")
    } else if required(extensions) != required(&expected) {
        Some("RequiredCapabilities")
    } else {
        None
    }
}

/// The profile's rules for a commit that OpenMLS accepted. All are visible to every member alike.
pub(crate) fn check_commit(commit: &StagedCommit, suite: Ciphersuite) -> Outcome<()> {
    for queued in commit.queued_proposals() {
        if queued.proposal_or_ref_type() != ProposalOrRefType::Proposal {
            return Err(Refusal::invalid("a proposal by reference"));
        }
        match queued.proposal() {
            Proposal::Add(add) => {
                if let Some(flaw) = key_package_flaw(add.key_package()) {
                    return Err(Refusal::invalid(format!("an added KeyPackage: {flaw}")));
                }
            }
            Proposal::Remove(_) => {}
            Proposal::GroupContextExtensions(proposal) => {
                if let Some(flaw) = group_extensions_flaw(proposal.extensions()) {
                    return Err(Refusal::invalid(flaw));
                }
            }
            Proposal::PreSharedKey(proposal) => {
                // The type leads the encoding: 1 external, 2 resumption (RFC 9420, 8.4).
                let encoded = proposal.tls_serialize_detached().map_err(Refusal::invalid)?;
                if encoded.first() != Some(&1) {
                    return Err(Refusal::invalid("a PSK that is not external"));
                }
            }
            _ => return Err(Refusal::invalid("a proposal outside the profile")),
        }
    }
    match commit.update_path_leaf_node().and_then(|leaf| leaf_flaw(leaf, suite)) {
        Some(flaw) => Err(Refusal::invalid(format!("the committer's leaf: {flaw}"))),
        None => Ok(()),
    }
}
