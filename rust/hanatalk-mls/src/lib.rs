//! Hanatalk's MLS profile over OpenMLS, for Python: bytes in, bytes out, and every stored write handed to the caller.
//!
//! The surface is `hanatalk_mls.pyi`. What each error means is the table in [`errors`]; what is fixed is in [`profile`].

mod codec;
mod commit;
pub mod errors;
mod group;
mod guard;
mod handle;
mod key_package;
mod overlay;
mod pool;
mod process;
pub mod profile;
mod provider;
mod storage;
#[cfg(feature = "testing")]
mod testing;
mod values;
mod welcome;

use pyo3::prelude::*;

/// The version of OpenMLS this was built with.
const OPENMLS_VERSION: &str = "0.9.2";

/// The Python module.
#[pymodule]
fn hanatalk_mls(module: &Bound<'_, PyModule>) -> PyResult<()> {
    guard::install();
    let py = module.py();
    module.add("SUITE_X_WING", u16::from(profile::X_WING))?;
    module.add("SUITE_X25519", u16::from(profile::X25519))?;
    module.add("OPENMLS_VERSION", OPENMLS_VERSION)?;
    module.add("MlsError", py.get_type::<errors::MlsError>())?;
    module.add("WrongEpoch", py.get_type::<errors::WrongEpoch>())?;
    module.add("PubliclyInvalidCommit", py.get_type::<errors::PubliclyInvalidCommit>())?;
    module.add("PathFault", py.get_type::<errors::PathFault>())?;
    module.add("Evicted", py.get_type::<errors::Evicted>())?;
    module.add("PendingCommit", py.get_type::<errors::PendingCommit>())?;
    module.add("BadKeyPackage", py.get_type::<errors::BadKeyPackage>())?;
    module.add("Replay", py.get_type::<errors::Replay>())?;
    module.add("TooOld", py.get_type::<errors::TooOld>())?;
    module.add("Unsupported", py.get_type::<errors::Unsupported>())?;
    module.add("BadMessage", py.get_type::<errors::BadMessage>())?;
    module.add("Poisoned", py.get_type::<errors::Poisoned>())?;
    module.add_class::<key_package::Signer>()?;
    module.add_class::<values::Member>()?;
    module.add_class::<values::KeyPackageMade>()?;
    module.add_class::<values::KeyPackageInfo>()?;
    module.add_class::<values::CommitMade>()?;
    module.add_class::<values::Application>()?;
    module.add_class::<values::StagedCommit>()?;
    module.add_class::<values::OwnMessage>()?;
    module.add_class::<welcome::StagedWelcome>()?;
    module.add_class::<group::Group>()?;
    module.add_function(wrap_pyfunction!(key_package::signer_new, module)?)?;
    module.add_function(wrap_pyfunction!(key_package::key_package_new, module)?)?;
    module.add_function(wrap_pyfunction!(key_package::key_package_inspect, module)?)?;
    module.add_function(wrap_pyfunction!(welcome::welcome_stage, module)?)?;
    #[cfg(feature = "testing")]
    testing::register(module)?;
    Ok(())
}
