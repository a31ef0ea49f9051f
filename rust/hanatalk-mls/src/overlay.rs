//! The in-memory rows of one handle, with the writes since the last drain.
//!
//! OpenMLS writes up to a dozen rows per merge. They land here; the call that caused them returns them all at once, and
//! the caller stores them in the transaction of the message they belong to. A call that fails is undone row by row.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{de::DeserializeOwned, Serialize};
use zeroize::Zeroizing;

use crate::codec::{decode, encode_into, row_key, Kind, RowError};

/// A stored value, wiped when nobody holds it any more. Shared, because the tree of a large group is half a megabyte.
pub(crate) type Value = Arc<Zeroizing<Vec<u8>>>;

/// Rows to store (`Some`) or delete (`None`), each key once, in key order.
pub(crate) type Writes = Vec<(Vec<u8>, Option<Value>)>;

#[derive(Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Value>,
    /// What a changed row held when the current call began (`None`: it did not exist).
    before: BTreeMap<Vec<u8>, Option<Value>>,
}

impl State {
    fn put(&mut self, key: Vec<u8>, value: Option<Value>) {
        let old = match value {
            Some(value) => self.rows.insert(key.clone(), value),
            None => self.rows.remove(&key),
        };
        self.before.entry(key).or_insert(old);
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Overlay {
    state: Mutex<State>,
}

impl Overlay {
    /// An overlay that holds these rows, none of them counted as a write.
    pub(crate) fn from_rows(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let rows = rows
            .into_iter()
            .map(|(key, value)| (key, Arc::new(Zeroizing::new(value))))
            .collect();
        Self {
            state: Mutex::new(State {
                rows,
                before: BTreeMap::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside a map operation cannot happen; the handle is poisoned by its owner anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writes since the last drain or rollback; rows that hold what they held before are left out.
    pub(crate) fn drain(&self) -> Writes {
        let mut state = self.state();
        let before = std::mem::take(&mut state.before);
        before
            .into_iter()
            .filter_map(|(key, old)| {
                let new = state.rows.get(&key);
                (new != old.as_ref()).then(|| {
                    let new = new.cloned();
                    (key, new)
                })
            })
            .collect()
    }

    /// Undo the writes since the last drain. True if there were any.
    pub(crate) fn rollback(&self) -> bool {
        let mut state = self.state();
        let before = std::mem::take(&mut state.before);
        let changed = !before.is_empty();
        for (key, old) in before {
            match old {
                Some(value) => {
                    state.rows.insert(key, value);
                }
                None => {
                    state.rows.remove(&key);
                }
            }
        }
        changed
    }

    /// Forget every row of these kinds without counting it as a write.
    pub(crate) fn forget(&self, kinds: &[Kind]) {
        let mut state = self.state();
        let is_of = |key: &[u8]| kinds.iter().any(|kind| key.starts_with(kind.prefix()));
        state.rows.retain(|key, _| !is_of(key));
        state.before.retain(|key, _| !is_of(key));
    }

    /// Every row as a write, and nothing left to drain.
    pub(crate) fn drain_all(&self) -> Writes {
        let mut state = self.state();
        state.before.clear();
        state
            .rows
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect()
    }

    /// Raw value of the first row of a kind.
    pub(crate) fn first_of(&self, kind: Kind) -> Option<Value> {
        let state = self.state();
        state
            .rows
            .range(kind.prefix().to_vec()..)
            .next()
            .filter(|(key, _)| key.starts_with(kind.prefix()))
            .map(|(_, value)| value.clone())
    }

    /// Store a value.
    pub(crate) fn write<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &self,
        kind: Kind,
        key: &K,
        value: &V,
    ) -> Result<(), RowError> {
        let key = row_key(kind, key)?;
        let before = self.state().rows.get(&key).map_or(0, |value| value.len());
        let value = encode_into(value, before + before / 8)?;
        self.state().put(key, Some(Arc::new(value)));
        Ok(())
    }

    /// Read a value.
    pub(crate) fn read<K: Serialize + ?Sized, V: DeserializeOwned>(
        &self,
        kind: Kind,
        key: &K,
    ) -> Result<Option<V>, RowError> {
        let key = row_key(kind, key)?;
        self.state().rows.get(&key).map(|value| decode(value)).transpose()
    }

    /// Delete a value; deleting what is not there is no write.
    pub(crate) fn delete<K: Serialize + ?Sized>(&self, kind: Kind, key: &K) -> Result<(), RowError> {
        let key = row_key(kind, key)?;
        self.state().put(key, None);
        Ok(())
    }

    /// Read a list, empty if there is none.
    pub(crate) fn read_list<K: Serialize + ?Sized, V: DeserializeOwned>(
        &self,
        kind: Kind,
        key: &K,
    ) -> Result<Vec<V>, RowError> {
        Ok(self.read(kind, key)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_returns_each_changed_key_once_with_its_last_value() -> Result<(), RowError> {
        let overlay = Overlay::default();
        overlay.write(Kind::Tree, &1u8, &1u32)?;
        overlay.write(Kind::Tree, &1u8, &2u32)?;
        overlay.write(Kind::Psk, &2u8, &3u32)?;
        overlay.delete(Kind::Psk, &2u8)?;
        let writes = overlay.drain();
        assert_eq!(writes.len(), 1);
        assert_eq!(overlay.read::<_, u32>(Kind::Tree, &1u8)?, Some(2));
        assert!(overlay.drain().is_empty());
        Ok(())
    }

    #[test]
    fn a_rollback_restores_what_was_there_before_the_call() -> Result<(), RowError> {
        let overlay = Overlay::default();
        overlay.write(Kind::Tree, &1u8, &1u32)?;
        overlay.drain();
        overlay.write(Kind::Tree, &1u8, &2u32)?;
        overlay.delete(Kind::Tree, &1u8)?;
        overlay.write(Kind::Context, &1u8, &9u32)?;
        assert!(overlay.rollback());
        assert_eq!(overlay.read::<_, u32>(Kind::Tree, &1u8)?, Some(1));
        assert_eq!(overlay.read::<_, u32>(Kind::Context, &1u8)?, None);
        assert!(overlay.drain().is_empty());
        Ok(())
    }

    #[test]
    fn a_row_of_another_version_is_refused() {
        assert_eq!(decode::<u32>(&[2, 1]), Err(RowError));
        assert_eq!(decode::<u32>(&[]), Err(RowError));
    }

    #[test]
    fn byte_strings_are_packed() -> Result<(), RowError> {
        let row = encode_into(&vec![0xffu8; 1000], 0)?;
        assert!(row.len() < 1010);
        assert_eq!(decode::<Vec<u8>>(&row)?, vec![0xffu8; 1000]);
        Ok(())
    }
}
