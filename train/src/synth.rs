//! Sentences made from templates: what is written to assistants, support desks, banks, doctors and tools.
//!
//! In a template `{P}` is a person's full name, `{F}` a first and `{L}` a last name, `{V}` the last before the first, `{C}` a city, `{N}` a country, `{W}`
//! any place, `{O}` an organization, `{A}` a street with its number, `{#}` a number, `{D}` a date, `{E}` an address on the net, `{X}` a word of code.

use crate::data::Sentence;
use crate::names::Names;
use crate::random::Random;
use tabellion_detect::tagger::Entity;

const TEMPLATES: &str = include_str!("../templates.txt");

/// The templates, a line each.
pub(crate) fn templates() -> Vec<&'static str> {
    TEMPLATES.lines().filter(|l| !l.is_empty() && !l.starts_with("##")).collect()
}

/// Fills a template.
pub(crate) fn fill(template: &str, names: &Names, random: &mut Random) -> Sentence {
    let mut s = Sentence::default();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        s.text.push_str(before);
        let Some((slot, after)) = after.split_once('}').filter(|(slot, _)| slot.len() == 1) else {
            s.text.push('{');
            rest = after;
            continue;
        };
        let (value, entity) = match slot {
            "P" => (names.full(random), Some(Entity::Person)),
            "F" => (names.first(random), Some(Entity::Person)),
            "V" => (format!("{}, {}", names.last(random), names.first(random)), Some(Entity::Person)),
            "L" => (names.last(random), Some(Entity::Person)),
            // Lists of places are often in capitals.
            "C" => {
                let city = names.city(random);
                (if random.chance(6) { city.to_uppercase() } else { city }, Some(Entity::Location))
            }
            "A" => (street(names, random), None),
            "N" => (names.country(random), Some(Entity::Location)),
            "W" => (names.place(random), Some(Entity::Location)),
            "O" => (names.org(random), Some(Entity::Organization)),
            "#" => (number(random), None),
            "D" => (date(random), None),
            "E" => (
                format!(
                    "{}{}@example.{}",
                    names.first(random).to_lowercase(),
                    random.below(100),
                    random.pick(&["com", "org", "net"])
                ),
                None,
            ),
            "X" => (code(random), None),
            _ => (format!("{{{slot}}}"), None),
        };
        if let Some(entity) = entity {
            s.spans.push((s.text.len(), s.text.len() + value.len(), entity));
        }
        s.text.push_str(&value);
        rest = after;
    }
    s.text.push_str(rest);
    s
}

/// What an address says before the town. It is no name of the tagger's: the address detector finds it.
fn street(names: &Names, random: &mut Random) -> String {
    const KIND: [&str; 16] = [
        "Street",
        "St",
        "Road",
        "Rd",
        "Avenue",
        "Ave",
        "Lane",
        "Drive",
        "Court",
        "Way",
        "Place",
        "Square",
        "Terrace",
        "Hill",
        "Close",
        "Boulevard",
    ];
    let most = if random.chance(30) { 20_000 } else { 300 };
    let house = 1 + random.below(most);
    let name = if random.chance(60) { names.last(random) } else { names.first(random) };
    let flat = if random.chance(25) {
        format!("{}{} {}", random.pick(&[" ", ", ", "\n"]), random.pick(&["Apt.", "Suite", "Flat"]), random.below(999))
    } else {
        String::new()
    };
    match random.below(8) {
        0 => format!("{name}straße {house}"),
        1 => format!("{house} {} {name}", random.pick(&["Rue de", "Avenue", "Rua", "Via"])),
        2 => format!("{name}{} {house}{flat}", random.pick(&["gatan", "vej", "straat", "katu", "vegen"])),
        _ => format!("{house} {name} {}{flat}", random.pick(&KIND)),
    }
}

fn number(random: &mut Random) -> String {
    match random.below(5) {
        0 => random.below(10).to_string(),
        1 => random.below(100_000).to_string(),
        2 => format!("{}.{:02}", random.below(5000), random.below(100)),
        3 => format!("{:08}", random.below(100_000_000)),
        _ => format!("{}", 1900 + random.below(130)),
    }
}

fn date(random: &mut Random) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (day, month, year) = (1 + random.below(28), random.below(12), 1940 + random.below(90));
    match random.below(6) {
        0 => format!("{} {day}, {year}", MONTHS[month]),
        1 => format!("{day} {}", MONTHS[month]),
        2 => format!("{year}-{:02}-{day:02}", month + 1),
        3 => format!("{:02}/{day:02}/{year}", month + 1),
        4 => (*random.pick(&[
            "Monday",
            "Tuesday",
            "next Friday",
            "last week",
            "tomorrow",
            "yesterday",
            "Sunday evening",
        ]))
        .to_owned(),
        _ => format!("{} {year}", MONTHS[month]),
    }
}

fn code(random: &mut Random) -> String {
    const WORDS: &str = include_str!("../lists/code.words");
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let (a, b, c) = (*random.pick(&words), *random.pick(&words), *random.pick(&words));
    let big = |s: &str| crate::data::capitalized(s);
    match random.below(12) {
        9..=11 => a.to_owned(),
        0 => format!("{}_{}", a.to_lowercase(), b.to_lowercase()),
        1 => format!("{}{}", big(a), big(b)),
        2 => format!("{}{}{}", a.to_lowercase(), big(b), big(c)),
        3 => format!("{}.{}", a.to_lowercase(), b.to_lowercase()),
        4 => format!("{}::{}", a.to_lowercase(), big(b)),
        5 => format!("{}_{}", a.to_uppercase(), b.to_uppercase()),
        6 => big(a),
        7 => format!("{}-{}", a.to_lowercase(), b.to_lowercase()),
        _ => format!("{}()", a.to_lowercase()),
    }
}
