//! What a report says: a page for people (Markdown), and the same for programs.

use serde_json::{Value, json};
use tabellion_evidence::checkpoint::Checkpoint;

use super::{Count, Counts, Found, Row, Selection, rows};

/// Text of callers, which must not become markup: as a code block's lines.
fn block(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("    {}\n", crate::ui::plain(line))).collect();
    if lines.is_empty() { "    (nothing)\n".to_owned() } else { lines }
}

fn exchanges(count: u64) -> String {
    if count == 1 { "1 exchange".to_owned() } else { format!("{count} exchanges") }
}

/// Text of callers within a line.
fn inline(text: &str) -> String {
    let plain: String = crate::ui::plain(text).replace('\n', " ").replace('`', "'").replace('|', "\\|");
    format!("`{plain}`")
}

fn counted(heading: &str, counts: &Counts) -> String {
    let mut text = format!("| {heading} | exchanges | first | last |\n|---|---:|---|---|\n");
    for (what, Count { count, first, last }) in &counts.0 {
        text.push_str(&format!(
            "| {} | {count} | entry {}, {} | entry {}, {} |\n",
            inline(what),
            first.0,
            first.1,
            last.0,
            last.1
        ));
    }
    if counts.1 > 0 {
        text.push_str(&format!("\nand {} in others, which are not listed here but are in the rows.\n", counts.1));
    }
    text
}

/// The page.
pub(super) fn page(selection: &Selection, head: &Checkpoint, found: &Found) -> String {
    let said: Vec<String> = selection.said.iter().map(|(name, value)| format!("{name} {}", inline(value))).collect();
    let completeness = &found.completeness;
    let period = match (&selection.since, &selection.until) {
        (None, None) => "in the whole of the log".to_owned(),
        (since, until) => format!(
            "between {} and {}",
            since.as_deref().unwrap_or("the log's first entry"),
            until.as_deref().unwrap_or("the log's last entry")
        ),
    };
    let mut text = format!(
        "# Report on {} with a model\n\nSelection: {}.\n\nFrom the log `{}`: its {} entries, whose tree has the root \
         `{}`, as `checkpoint` beside this page says, signed. All of them were read and hashed for this report, and they \
         are that tree. The record of this report is an entry of the same log (`record.tlog-proof`), and commits to \
         `SHA256SUMS`.\n\n## Completeness\n\n",
        exchanges(found.rows),
        said.join(", "),
        head.origin,
        head.size,
        head.root
    );
    if completeness.reasons.is_empty() {
        text.push_str(&format!(
            "**{} of this selection: all whose requests were recorded {period}, none missing.** Every entry of the log has a \
             number in its session, given in the same write as its place, and no number is missing, twice or out of order; \
             no loss is declared.",
            exchanges(found.rows)
        ));
    } else {
        text.push_str(&format!(
            "**{} of this selection, recorded {period}. It cannot be said that none is missing:**\n\n",
            exchanges(found.rows)
        ));
        for reason in &completeness.reasons {
            text.push_str(&format!("- {}\n", inline(reason)));
        }
    }
    if found.removed > 0 {
        text.push_str(&format!(
            "\n\n**Of {} the time was over, and their bodies were removed**, as the `custody.expire` entries say that \
             `removed_by` names. Their entries, hashes and commitments are here as of all others.",
            exchanges(found.removed)
        ));
    }
    if let Some((first, last)) = completeness.range() {
        text.push_str(&format!(
            "\n\nThe entries of the period are {first} to {last}; the log has {} sessions.\n",
            completeness.sessions
        ));
    }
    for remark in &completeness.remarks {
        text.push_str(&format!("\n{remark}\n"));
    }
    if found.unanswered > 0 {
        text.push_str(&format!("\n{} exchanges have no answer in the log.\n", found.unanswered));
    }
    text.push_str(&format!("\n## Outcomes\n\n{}", counted("outcome", &found.outcomes)));
    text.push_str(&format!(
        "\n## Models\n\nAs asked for → as the provider named it.\n\n{}",
        counted("model", &found.models)
    ));
    text.push_str(&format!(
        "\n## Parameters\n\nThe members of the requests other than what was said.\n\n{}",
        counted("parameters", &found.parameters)
    ));
    text.push_str(&format!(
        "\n## Redaction policies in force\n\nBy the SHA-256 of the rules, as each entry names them (both sides of an exchange \
         are counted).\n\n{}",
        counted("policy", &found.policies)
    ));
    if !found.findings.is_empty() {
        text.push_str("\nTaken out under them:\n\n| what | how often |\n|---|---:|\n");
        for (entity, count) in &found.findings {
            text.push_str(&format!("| {entity} | {count} |\n"));
        }
    }
    if found.is_whole() {
        text.push_str("\n## The exchanges\n");
        found.whole.iter().for_each(|row| text.push_str(&exchange(row)));
    }
    text.push_str(&format!(
        "\n## The rows\n\n`decisions.csv` and `decisions.parquet` have a row an exchange, in the order in which the answers \
         ended. In the CSV file a text that a spreadsheet would take for a formula has an apostrophe before it.\n\n\
         | column | is |\n|---|---|\n{}\n## How to rely on this\n\nA report is made from the log by whoever runs it. To prove \
         a row to somebody who trusts nobody, export its exchange (`tabellion export --id EXCHANGE -o F.zip`), or hand over \
         the log; both are checked with tools that have no part of this program. What was taken out before it was stored is \
         not here: the commitments bind it, and a copy that somebody kept can be checked against them.\n",
        rows::dictionary()
    ));
    text
}

fn exchange(row: &Row) -> String {
    let or_none = |name: &str| row.text(name).map_or_else(|| "-".to_owned(), inline);
    let at = |name: &str| row.number(name).map_or_else(|| "-".to_owned(), |index| index.to_string());
    format!(
        "\n### {}\n\nRequest: entry {}, model {}, parameters {}. Answer: entry {}, model {}, outcome {}.\nCase {}, actor {}, \
         policy {}.\n\nCommitments to the exact bytes: request {}, answer {}.\n\nThe request, redacted:\n\n{}\nThe answer, \
         redacted:\n\n{}",
        or_none("exchange"),
        at("request_entry"),
        or_none("model_requested"),
        or_none("parameters"),
        at("response_entry"),
        or_none("model_answered"),
        or_none("outcome"),
        or_none("case"),
        or_none("actor"),
        or_none("policy"),
        or_none("input_commitment"),
        or_none("output_commitment"),
        block(row.text("input").unwrap_or_default()),
        block(row.text("output").unwrap_or_default()),
    )
}

/// The same for programs.
pub(super) fn facts(selection: &Selection, head: &Checkpoint, found: &Found) -> Vec<u8> {
    let counts = |counts: &Counts| -> Value {
        counts
            .0
            .iter()
            .map(|(what, count)| (what.clone(), json!(count.count)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let completeness = &found.completeness;
    let facts = json!({
        "selection": selection.said,
        "origin": head.origin,
        "size": head.size,
        "root": head.root,
        "exchanges": found.rows,
        "unanswered": found.unanswered,
        "complete": completeness.reasons.is_empty(),
        "incomplete_because": completeness.reasons,
        "remarks": completeness.remarks,
        "entries_of_the_period": completeness.range().map(|(first, last)| [first, last]),
        "outcomes": counts(&found.outcomes),
        "models": counts(&found.models),
        "parameters": counts(&found.parameters),
        "policies": counts(&found.policies),
        "findings": found.findings,
    });
    serde_json::to_vec_pretty(&facts).unwrap_or_default()
}
