//! The mark that a signature was checked.

use std::ops::Deref;

/// Something whose signature was checked.
///
/// Only the `verify` functions of this crate make one, so a function that
/// takes `Verified<T>` cannot be reached with unchecked bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn new(checked: T) -> Self {
        Self(checked)
    }

    /// Gives up the mark.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
