//! What the states of Asia, Africa and Oceania call persons and companies.

use super::Validator;

pub(super) fn by_name(_name: &str) -> Option<Validator> {
    None
}
