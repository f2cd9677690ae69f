//! Numbers and names that are the same everywhere: cards, accounts, wallets, addresses of machines and mailboxes, dates,
//! devices, travel documents, places.

mod bank;
mod card;
mod countries;
mod crypto;
mod device;
mod location;
mod network;
mod online;
mod time;
mod travel;

use super::Validator;

pub(super) fn by_name(name: &str) -> Option<Validator> {
    let themes = [
        bank::by_name,
        card::by_name,
        crypto::by_name,
        device::by_name,
        location::by_name,
        network::by_name,
        online::by_name,
        time::by_name,
        travel::by_name,
    ];
    themes.iter().find_map(|by_name| by_name(name))
}

#[cfg(test)]
pub(super) mod tests {
    use crate::validate::{Check, Validator};

    /// What a validator leaves of a text that is a candidate from end to end, and the score that it gives.
    pub(in crate::validate) fn verdict(validator: Validator, text: &str) -> Option<(&str, Option<f32>)> {
        let check = Check { text, start: 0, end: text.len(), context: false, least: 0.0 };
        validator(&check).map(|v| (&text[v.start..v.end], v.score))
    }

    /// The same, with a word of context beside it.
    pub(in crate::validate) fn verdict_in_context(validator: Validator, text: &str) -> Option<(&str, Option<f32>)> {
        let check = Check { text, start: 0, end: text.len(), context: true, least: 0.0 };
        validator(&check).map(|v| (&text[v.start..v.end], v.score))
    }
}
