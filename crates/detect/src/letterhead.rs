//! The firm in a letter's head, which no word tells: the line between a person's and a street's.

/// A firm's name has so many words and bytes.
const WORDS_MAX: usize = 6;
const BYTES_MAX: usize = 60;

/// Where firms stand. `people` and `addresses` are places in `text`, in order.
pub(crate) fn firms(text: &str, people: &[(usize, usize)], addresses: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let line_before = |at: usize| {
        let end = text[..at].strip_suffix('\n')?.len();
        let start = text[..end].rfind('\n').map_or(0, |i| i + 1);
        let line = &text[start..end];
        let lead = line.len() - line.trim_start().len();
        let line = line.trim();
        (!line.is_empty() && line.len() <= BYTES_MAX).then_some((start, start + lead, start + lead + line.len()))
    };
    let firm = |&(address, _): &(usize, usize)| {
        let (begins, start, end) = line_before(address)?;
        let (_, _, above) = line_before(begins)?;
        let firm = &text[start..end];
        let words = firm.split_whitespace().count();
        let named = firm.contains(char::is_alphabetic) && !firm.contains([':', '?', '!', '@', ';']);
        let person = people.partition_point(|(_, end)| *end < above);
        let signed = people.get(person).is_some_and(|(_, end)| *end == above);
        (named && words <= WORDS_MAX && signed).then_some((start, end))
    };
    addresses.iter().filter_map(firm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_between_a_person_and_a_street_is_a_firm() {
        let text = "Ana Ruiz\nPlaneta\n12 Oak Street\nAustin";
        assert_eq!(firms(text, &[(0, 8)], &[(17, 37)]), [(9, 16)]);
        for text in
            ["Ana Ruiz\n12 Oak Street", "Ana Ruiz\nlives at:\n12 Oak Street", "Ana Ruiz said\nPlaneta\n12 Oak Street"]
        {
            let street = text.find("12").unwrap();
            assert!(firms(text, &[(0, 8)], &[(street, text.len())]).is_empty(), "{text}");
        }
    }
}
