//! Test-only surface (cargo feature `testing`, on by default, off in a release wheel: `--no-default-features`).
//!
//! * [`passive`]: a client without the profile, for the official passive-client vectors, and decoders for `messages.json`;
//! * [`adversary`]: what a member who cheats would send.

pub(crate) mod adversary;
pub(crate) mod passive;

use pyo3::prelude::*;

/// Add the test-only surface to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<passive::TestingPassiveClient>()?;
    module.add_function(wrap_pyfunction!(passive::testing_reencode, module)?)?;
    module.add_function(wrap_pyfunction!(adversary::testing_commit, module)?)?;
    module.add_function(wrap_pyfunction!(adversary::testing_proposal, module)?)?;
    module.add_function(wrap_pyfunction!(adversary::testing_external_commit, module)?)?;
    module.add_function(wrap_pyfunction!(adversary::testing_panic, module)?)?;
    Ok(())
}
