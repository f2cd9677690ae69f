//! DataDog's scanner with the first ten and with all twenty patterns; `rates DIR SECONDS PATTERNS`. Its cards pass Luhn's check and its
//! IBANs their check digits, as they would in use; keywords are left out, because the patterns of the others have none.

mod texts;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dd_sds::{MatchAction, RegexRuleConfig, RootRuleConfig, RuleConfig, Scanner, SecondaryValidator};
use texts::{patterns, rate, read_texts, sample};

const BYTES_MAX: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = Duration::from_secs_f64(arguments[2].parse().expect("seconds"));
    let listed = std::fs::read_to_string(&arguments[3]).expect("patterns");
    let rules: Vec<RootRuleConfig<Arc<dyn RuleConfig>>> = patterns(&listed)
        .into_iter()
        .map(|(name, pattern)| {
            let rule = match name {
                "card" => RegexRuleConfig::new(pattern).with_validator(Some(SecondaryValidator::LuhnChecksum)),
                "iban" => RegexRuleConfig::new(pattern).with_validator(Some(SecondaryValidator::IbanChecker)),
                _ => RegexRuleConfig::new(pattern),
            };
            RootRuleConfig::new(rule.build()).match_action(MatchAction::Redact { replacement: "[x]".to_owned() })
        })
        .collect();
    for count in [10, rules.len()] {
        let scanner = Scanner::builder(&rules[..count]).build().expect("the rules are DataDog's too");
        for kind in ["chat", "prose", "logs", "code"] {
            let texts = read_texts(&Path::new(&arguments[1]).join(format!("{kind}.texts")));
            let (mb_per_s, found) = rate(sample(&texts, BYTES_MAX), seconds, |texts| {
                texts.iter().map(|text| scanner.scan(&mut text.clone()).map_or(0, |found| found.len())).sum()
            });
            println!(
                "{{\"contender\":\"datadog {count} rules\",\"text\":\"{kind}\",\"mb_per_s\":{mb_per_s},\"found\":{found}}}"
            );
        }
    }
}
