//! Where on Earth something is.

use crate::validate::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "coordinate" => coordinate,
        "coordinates" => coordinates,
        "coordinates_dms" => coordinates_dms,
        _ => return None,
    })
}

/// WGS 84: a latitude of up to 90 degrees and a longitude of up to 180. Two numbers below 1 are more often shares than a
/// place in the Gulf of Guinea.
fn coordinates(check: &Check<'_>) -> Option<Verdict> {
    let number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let mut numbers = check.value().split(|c: char| !number(c)).filter_map(|n| n.parse::<f64>().ok());
    let (latitude, longitude) = (numbers.next()?, numbers.next()?);
    // A third number makes it a vector, unless an address of a map has a zoom there.
    let alone = check.before().ends_with(b"@")
        || !matches!(check.before().trim_ascii_end(), [.., d, b','] if d.is_ascii_digit())
            && !matches!(check.after(check.end).trim_ascii_start(), [b',', rest @ ..]
            if matches!(rest.trim_ascii_start(), [b'0'..=b'9' | b'-', ..]));
    let is_place = numbers.next().is_none() && latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    let small = latitude.abs() < 1.0 && longitude.abs() < 1.0;
    (is_place && alone).then(|| if small { check.rescore(0.1) } else { check.keep() })
}

/// One of the two, under a key that says so.
fn coordinate(check: &Check<'_>) -> Option<Verdict> {
    let degrees: f64 = check.value().parse().ok()?;
    (degrees.abs() <= 180.0).then(|| check.keep())
}

/// ISO 6709, annex D: degrees, minutes below 60 and seconds below 60, each of two angles with its letter.
fn coordinates_dms(check: &Check<'_>) -> Option<Verdict> {
    let numbers: Vec<f64> = check
        .value()
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .filter_map(|n| n.trim_end_matches('.').parse().ok())
        .collect();
    let half = numbers.len() / 2;
    let angle = |n: &[f64], most: f64| n[0] <= most && n[1..].iter().all(|&part| part < 60.0);
    let fits = match numbers.len() {
        2 | 4 | 6 => angle(&numbers[..half], 90.0) && angle(&numbers[half..], 180.0),
        1 | 3 => angle(&numbers, 180.0),
        _ => false,
    };
    fits.then(|| check.keep())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    #[test]
    fn the_earth_has_an_end() {
        assert_eq!(verdict(coordinates, "40.7128, -74.0060").map(|v| v.1), Some(None));
        assert_eq!(verdict(coordinates, "0.1278, -0.5074").map(|v| v.1), Some(Some(0.1)));
        assert_eq!(verdict(coordinates, "91.7128, -74.0060"), None);
        assert_eq!(verdict(coordinates, "40.7128, 274.0060"), None);
        assert!(verdict(coordinates_dms, "40°26'46\"N 79°58'56\"W").is_some());
        assert!(verdict(coordinates_dms, "40°66'46\"N 79°58'56\"W").is_none());
        assert!(verdict(coordinate, "-181.5").is_none());
    }
}
