//! Names of the whole world, to put into sentences.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::{Sentence, rebuild};
use crate::random::Random;
use tabellion_detect::tagger::Entity;

/// The lists that `gather.py` made.
pub(crate) struct Names {
    /// First and last names by place.
    people: Vec<(Vec<String>, Vec<String>)>,
    /// All of them, whatever the place.
    all: (Vec<String>, Vec<String>),
    cities: Vec<String>,
    big: Vec<String>,
    countries: Vec<String>,
    regions: Vec<String>,
    orgs: Vec<String>,
    code: Vec<String>,
}

fn lines(path: &Path) -> Vec<Vec<String>> {
    let file = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.lines().map(|l| l.split('\t').map(str::to_owned).collect()).collect()
}

impl Names {
    pub(crate) fn read(lists: &Path) -> Self {
        let mut people: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
        let mut all = (Vec::new(), Vec::new());
        for row in lines(&lists.join("names.tsv")) {
            let place = people.entry(row[0].clone()).or_default();
            let name = &row[2];
            // Lists that are not written as names are.
            if !name.chars().next().is_some_and(char::is_uppercase) || name.contains(' ') {
                continue;
            }
            if row[1] == "F" {
                place.0.push(name.clone());
                all.0.push(name.clone());
            } else {
                place.1.push(name.clone());
                all.1.push(name.clone());
            }
        }
        all.0.sort();
        all.0.dedup();
        all.1.sort();
        all.1.dedup();
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in lines(&lists.join("places.tsv")) {
            places.entry(row[0].clone()).or_default().push(row[1].clone());
        }
        let mut kind = |k: &str| places.remove(k).unwrap_or_default();
        Self {
            people: people.into_values().filter(|(f, l)| f.len() >= 10 && l.len() >= 8).collect(),
            all,
            cities: kind("city"),
            big: kind("big"),
            countries: kind("country"),
            regions: {
                let mut r = kind("region");
                r.extend(kind("feature"));
                r
            },
            code: lines(&lists.join("code.tsv")).into_iter().map(|r| r.join(" ")).collect(),
            orgs: lines(&lists.join("orgs.tsv")).into_iter().map(|r| r[0].clone()).collect(),
        }
    }

    pub(crate) fn first(&self, random: &mut Random) -> String {
        let place = random_place(self, random);
        let from = if random.chance(70) { &place.0 } else { &self.all.0 };
        random.pick(from).clone()
    }

    pub(crate) fn last(&self, random: &mut Random) -> String {
        let place = random_place(self, random);
        let from = if random.chance(65) { &place.1 } else { &self.all.1 };
        random.pick(from).clone()
    }

    /// A name made of others' syllables, as no list has it.
    fn coined(&self, random: &mut Random) -> String {
        let (a, b) = (self.last(random), self.last(random));
        let half = |s: &str, head: bool| {
            let n = s.chars().count();
            let keep = n.div_ceil(2).max(2);
            if head { s.chars().take(keep).collect::<String>() } else { s.chars().skip(n - keep.min(n)).collect() }
        };
        half(&a, true) + &half(&b, false).to_lowercase()
    }

    /// A first and a last name of one place.
    pub(crate) fn full(&self, random: &mut Random) -> String {
        let place = random_place(self, random);
        let first = random.pick(&place.0).clone();
        let last = if random.chance(12) {
            self.coined(random)
        } else if random.chance(25) {
            self.last(random)
        } else {
            random.pick(&place.1).clone()
        };
        match random.below(24) {
            0 | 1 => format!("{first} {}. {last}", self.first(random).chars().next().unwrap_or('A')),
            2 => format!("{first} {} {last}", random.pick(&place.0)),
            3 => format!("{first} {last}-{}", random.pick(&place.1)),
            4 => format!(
                "{first} {} {last}",
                random.pick(&["de", "van", "von", "al", "bin", "da", "del", "van der", "de la", "dos", "ibn", "di"])
            ),
            5 => format!("{first} {last} {}", random.pick(&place.1)),
            6 => format!("{first}-{} {last}", random.pick(&place.0)),
            7 => format!("{}. {last}", first.chars().next().unwrap_or('A')),
            _ => format!("{first} {last}"),
        }
    }

    /// One to four lines of code.
    pub(crate) fn code(&self, random: &mut Random) -> String {
        let from = random.below(self.code.len() - 4);
        self.code[from..=from + random.below(4)].join("\n")
    }

    pub(crate) fn city(&self, random: &mut Random) -> String {
        let from = if random.chance(45) { &self.big } else { &self.cities };
        random.pick(from).clone()
    }

    pub(crate) fn country(&self, random: &mut Random) -> String {
        random.pick(&self.countries).clone()
    }

    pub(crate) fn place(&self, random: &mut Random) -> String {
        match random.below(10) {
            0..=5 => self.city(random),
            6..=7 => self.country(random),
            _ => random.pick(&self.regions).clone(),
        }
    }

    pub(crate) fn org(&self, random: &mut Random) -> String {
        const KIND: [&str; 40] = [
            "Inc",
            "Inc.",
            "Ltd",
            "LLC",
            "Group",
            "Corporation",
            "Corp.",
            "& Co",
            "Holdings",
            "Partners",
            "Bank",
            "Industries",
            "Technologies",
            "Systems",
            "Foundation",
            "University",
            "Institute",
            "College",
            "Insurance",
            "Consulting",
            "Solutions",
            "GmbH",
            "AG",
            "S.A.",
            "AB",
            "A/S",
            "Airlines",
            "Motors",
            "Hospital",
            "Clinic",
            "Pharmaceuticals",
            "Energy",
            "Capital",
            "Media",
            "Labs",
            "Software",
            "Logistics",
            "Foods",
            "Telecom",
            "Ltda",
        ];
        const HEAD: [&str; 40] = [
            "Golden", "Fancy", "Happy", "Blue", "Royal", "Green", "Little", "Grand", "Sunny", "Quick", "Red", "Silver",
            "First", "United", "Global", "National", "Pacific", "Northern", "Family", "Premier", "Urban", "Bright",
            "Fresh", "Elite", "Classic", "Modern", "Crystal", "Diamond", "Eagle", "Lion", "Sun", "Star", "River",
            "Mountain", "Valley", "Garden", "Harbor", "Summit", "Liberty", "Perfect",
        ];
        const TRADE: [&str; 40] = [
            "Flowers", "Pizza", "Dental", "Auto", "Nails", "Bakery", "Cafe", "Grill", "Spa", "Plumbing", "Bistro",
            "Tavern", "Kitchen", "Burger", "Deli", "Salon", "Pharmacy", "Market", "Books", "Sushi", "Fitness", "Yoga",
            "Cleaners", "Electric", "Roofing", "Movers", "Realty", "Travel", "Tours", "Vets", "Pets", "Toys", "Shoes",
            "Jewelers", "Optics", "Farm", "Brewery", "Hotel", "Inn", "Lounge",
        ];
        // How companies of the last thirty years are called: two halves of words in one.
        const FRONT: [&str; 48] = [
            "Open", "Data", "Health", "Care", "Solar", "Flight", "Bright", "Clear", "Cloud", "Code", "Green", "Learn",
            "Think", "True", "Med", "Legal", "Fin", "Pay", "Home", "Geo", "Eco", "Planet", "Urban", "Civic", "Agri",
            "Bio", "Nano", "Info", "Inter", "Trans", "Omni", "Veri", "Ever", "Blue", "Red", "Silver", "Smart", "Swift",
            "Zen", "Terra", "Luma", "Nova", "Quanti", "Rapid", "Sky", "Spark", "Tele", "Type",
        ];
        const BACK: [&str; 44] = [
            "stats", "list", "lesson", "num", "counter", "storm", "graphy", "scape", "base", "hub", "works", "soft",
            "tech", "gen", "ware", "logic", "metrics", "path", "mint", "nav", "star", "guide", "coach", "link", "cast",
            "sense", "ly", "io", "ify", "era", "ara", "ico", "ant", "ix", "ex", "on", "um", "us", "fero", "via",
            "leaf", "bridge", "point", "field",
        ];
        const FIELD: [&str; 24] = [
            "Analytics",
            "Research",
            "Capital",
            "Finance",
            "Investments",
            "Traffic",
            "Reports",
            "Resources",
            "Agency",
            "Service",
            "Consulting",
            "Schools",
            "Lines",
            "Programming",
            "Factoring",
            "Networks",
            "Studios",
            "Partners",
            "Trading",
            "Security",
            "Robotics",
            "Imports",
            "Publishing",
            "Dynamics",
        ];
        const LEGAL: [&str; 12] = [
            "Inc",
            "Inc.",
            "LLC",
            "Ltd",
            "Ltd.",
            "PLC",
            "Group",
            "and Sons",
            "Corp.",
            "Incorporated",
            "GmbH",
            "Limited",
        ];
        let letters = |random: &mut Random| {
            (0..3 + random.below(2)).map(|_| char::from(b'A' + random.below(26) as u8)).collect::<String>()
        };
        match random.below(46) {
            24..=31 => {
                let back = *random.pick(&BACK);
                let back = if random.chance(20) { crate::data::capitalized(back) } else { back.to_owned() };
                let name = format!("{}{back}", random.pick(&FRONT));
                return if random.chance(15) { format!("{name} {}", random.pick(&LEGAL)) } else { name };
            }
            32..=35 => return format!("{}-{}", self.last(random), self.last(random)),
            36..=38 => return format!("{}, {} and {}", self.last(random), self.last(random), self.last(random)),
            39..=40 => return format!("{} {}", self.last(random), random.pick(&LEGAL)),
            41..=43 => return format!("{} {}", random.pick(&FRONT), random.pick(&FIELD)),
            44 => return format!("{} {} {}", random.pick(&HEAD), random.pick(&FRONT), random.pick(&FIELD)),
            45 => return format!("{} {}", random.pick(&HEAD), random.pick(&FIELD)),
            0..=2 => return format!("{} {}", random.pick(&HEAD), random.pick(&TRADE)),
            3 => return format!("{}'s {}", self.last(random), random.pick(&TRADE)),
            4 => return format!("{} {}", self.last(random), random.pick(&TRADE)),
            5..=6 => return letters(random),
            7 => return self.coined(random),
            _ => {}
        }
        let name = match random.below(4) {
            0 => self.city(random),
            1 => self.coined(random),
            _ => self.last(random),
        };
        match random.below(10) {
            0..=3 => random.pick(&self.orgs).clone(),
            4..=6 => format!("{name} {}", random.pick(&KIND)),
            7 => format!("{name} {} {}", random.pick(&KIND[8..20]), random.pick(&KIND[..6])),
            8 => format!("{name} and {}", self.last(random)),
            _ => format!("University of {}", self.city(random)),
        }
    }

    /// Puts other names in the place of some.
    pub(crate) fn replace(&self, s: &Sentence, random: &mut Random) -> Sentence {
        let mut at = false;
        rebuild(s, |text, entity| {
            let handle = at;
            at = text.trim_end().ends_with('@');
            let words = text.split(' ').count();
            if handle || at || text.chars().any(|c| c.is_ascii_digit() || c == '_') {
                return text.to_owned();
            }
            match entity {
                Some(Entity::Person) if random.chance(40) => {
                    if words == 1 {
                        if random.chance(55) {
                            self.first(random)
                        } else if random.chance(15) {
                            self.coined(random)
                        } else {
                            self.last(random)
                        }
                    } else {
                        self.full(random)
                    }
                }
                Some(Entity::Location) if random.chance(25) && words <= 2 => self.place(random),
                Some(Entity::Organization) if random.chance(12) && words <= 3 => self.org(random),
                _ => text.to_owned(),
            }
        })
    }
}

fn random_place<'a>(names: &'a Names, random: &mut Random) -> &'a (Vec<String>, Vec<String>) {
    let at = random.below(names.people.len());
    &names.people[at]
}
