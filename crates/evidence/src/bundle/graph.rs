//! The custody chain as other tools of digital forensics read it: a CASE/UCO graph in JSON-LD. (CASE 1.4 and 1.5,
//! <https://caseontology.org>.)
//!
//! One `InvestigativeAction` for each custody entry, in the order of the log, with the entry's file as its object; and one
//! `ProvenanceRecord` whose objects are the files of the exchanges' entries. Nothing rests on the graph. But a graph that
//! says something else than the entries would mislead, so it is held against them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{Contents, Files, entry_path};
use crate::entry::Entry;
use crate::tree::sha256;

/// What acts when nobody does.
const TOOL: &str = "tabellion";
/// RFC 9562, section 6.6: names that are URLs.
const NAMESPACE: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

const ACTION: &str = "case-investigation:InvestigativeAction";
const PROVENANCE: &str = "case-investigation:ProvenanceRecord";
const FILE: &str = "uco-observable:File";
const IDENTITY: &str = "uco-identity:Identity";
const TOOL_TYPE: &str = "uco-tool:Tool";

/// A node's name: what it is, and a UUID of version 5 of what it stands for.
fn id(what: &str, of: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(NAMESPACE);
    hash.update(format!("https://tabellion.example/{what}/{of}"));
    let mut bytes: [u8; 16] = hash.finalize()[..16].try_into().expect("16 of 20 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("kb:{what}-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn file_node(index: u64, bytes: &[u8]) -> Value {
    let path = entry_path(index);
    let hash = sha256(bytes).to_string();
    let of = format!("{index}/{hash}");
    json!({
        "@id": id("entry", &of),
        "@type": FILE,
        "uco-core:hasFacet": [
            {
                "@id": id("file", &of),
                "@type": "uco-observable:FileFacet",
                "uco-observable:fileName": format!("{index}.json"),
                "uco-observable:filePath": path,
                "uco-observable:sizeInBytes": bytes.len(),
            },
            {
                "@id": id("content", &of),
                "@type": "uco-observable:ContentDataFacet",
                "uco-observable:hash": {
                    "@id": id("hash", &of),
                    "@type": "uco-types:Hash",
                    "uco-types:hashMethod": "SHA256",
                    "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": hash},
                },
            },
        ],
    })
}

/// Who does an act: the actor's node, or the tool's.
fn performer(entry: &Entry) -> String {
    entry.actor.as_deref().map_or_else(|| id("tool", TOOL), |actor| id("actor", actor))
}

/// Writes the graph of a bundle's entries, which must all be among `entries`, with their bytes among `files`.
pub fn write(contents: &Contents, entries: &BTreeMap<u64, Entry>, files: &Files) -> Vec<u8> {
    let bytes = |index: u64| files.get(&entry_path(index)).map(Vec::as_slice).unwrap_or_default();
    let mut nodes = vec![json!({"@id": id("tool", TOOL), "@type": TOOL_TYPE, "uco-core:name": TOOL})];
    let acts: Vec<(u64, &Entry)> =
        contents.custody.iter().filter_map(|index| Some((*index, entries.get(index)?))).collect();
    let actors: std::collections::BTreeSet<&str> =
        acts.iter().filter_map(|(_, entry)| entry.actor.as_deref()).collect();
    for actor in actors {
        nodes.push(json!({"@id": id("actor", actor), "@type": IDENTITY, "uco-core:name": actor}));
    }
    let mut exhibits = Vec::new();
    for index in exhibited(contents) {
        let node = file_node(index, bytes(index));
        exhibits.push(json!({"@id": node["@id"]}));
        nodes.push(node);
    }
    if !exhibits.is_empty() {
        nodes.push(json!({
            "@id": id("exhibit", &sha256(exhibits.iter().map(|node| node.to_string()).collect::<String>()).to_string()),
            "@type": PROVENANCE,
            "case-investigation:exhibitNumber": "exchanges",
            "uco-core:description": "the recorded exchanges, as they stand in the log",
            "uco-core:object": exhibits,
        }));
    }
    for (index, entry) in acts {
        let file = file_node(index, bytes(index));
        let mut act = json!({
            "@id": id("act", &entry.id),
            "@type": ACTION,
            "uco-core:name": entry.kind.as_str(),
            "uco-action:startTime": {"@type": "xsd:dateTime", "@value": entry.time},
            "uco-action:performer": {"@id": performer(entry)},
            "uco-action:instrument": [{"@id": id("tool", TOOL)}],
            "uco-action:object": [{"@id": file["@id"]}],
        });
        if let Some(why) = &entry.why {
            act["uco-core:description"] = json!(why);
        }
        nodes.push(file);
        nodes.push(act);
    }
    let prefix = |path: &str| format!("https://ontology.unifiedcyberontology.org/uco/{path}/");
    let graph = json!({
        "@context": {
            "case-investigation": "https://ontology.caseontology.org/case/investigation/",
            "kb": "urn:tabellion:",
            "uco-action": prefix("action"),
            "uco-core": prefix("core"),
            "uco-identity": prefix("identity"),
            "uco-observable": prefix("observable"),
            "uco-tool": prefix("tool"),
            "uco-types": prefix("types"),
            "xsd": "http://www.w3.org/2001/XMLSchema#",
        },
        "@graph": nodes,
    });
    serde_json::to_vec_pretty(&graph).expect("it has only text and numbers")
}

/// The entries of the exchanges, in the order of the exchanges.
fn exhibited(contents: &Contents) -> impl Iterator<Item = u64> + '_ {
    contents.exchanges.iter().flat_map(|exchange| std::iter::once(exchange.request).chain(exchange.response))
}

/// Holds a graph against the entries; says what in it is not so.
///
/// A graph of another version of this program may have more to say of its nodes. What is checked is what a reader takes
/// from it: which acts there were, when, by whom, why, on which entries; and which files are exhibits, with their hashes.
pub fn check(
    bytes: &[u8],
    contents: &Contents,
    entries: &BTreeMap<u64, Entry>,
    files: &Files,
) -> Result<(), &'static str> {
    let graph = crate::entry::parse_unambiguous(bytes).ok_or("it is no JSON object that every reader reads alike")?;
    let nodes = graph["@graph"].as_array().ok_or("it has no nodes")?;
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut acts, mut exhibits) = (Vec::new(), Vec::new());
    for node in nodes {
        let node_id = node["@id"].as_str().ok_or("it has a node without a name")?;
        match node["@type"].as_str() {
            Some(FILE) => {
                let path = file_of(node, files)?;
                if paths.insert(node_id, path).is_some() {
                    return Err("it has a node twice");
                }
            }
            Some(IDENTITY | TOOL_TYPE) => {
                if names
                    .insert(node_id, node["uco-core:name"].as_str().ok_or("it has somebody without a name")?)
                    .is_some()
                {
                    return Err("it has a node twice");
                }
            }
            Some(ACTION) => acts.push(node),
            Some(PROVENANCE) => exhibits.push(node),
            _ => return Err("it has a node of another kind"),
        }
    }
    let objects = |node: &Value, member: &str| -> Option<Vec<String>> {
        let list = node[member].as_array()?;
        list.iter().map(|one| paths.get(one["@id"].as_str()?).map(|&path| path.to_owned())).collect()
    };
    if acts.len() != contents.custody.len() {
        return Err("its acts are not as many as the custody entries");
    }
    for (act, index) in acts.iter().zip(&contents.custody) {
        let Some(entry) = entries.get(index) else { continue };
        let performer = act["uco-action:performer"]["@id"].as_str().and_then(|id| names.get(id)).copied();
        let said = (
            act["uco-core:name"].as_str(),
            act["uco-action:startTime"]["@value"].as_str(),
            act.get("uco-core:description").and_then(Value::as_str),
            performer,
        );
        let is = (
            Some(entry.kind.as_str()),
            Some(&*entry.time),
            entry.why.as_deref(),
            Some(entry.actor.as_deref().unwrap_or(TOOL)),
        );
        if said != is || objects(act, "uco-action:object") != Some(vec![entry_path(*index)]) {
            return Err("an act is not what its entry says");
        }
    }
    let expected: Vec<String> = exhibited(contents).map(entry_path).collect();
    let shown: Option<Vec<String>> = match &exhibits[..] {
        [] => Some(Vec::new()),
        [one] => objects(one, "uco-core:object"),
        _ => None,
    };
    if shown != Some(expected) {
        return Err("its exhibits are not the exchanges' entries");
    }
    Ok(())
}

/// The path that a file's node names, once the hash that it names is the file's.
fn file_of<'g>(node: &'g Value, files: &Files) -> Result<&'g str, &'static str> {
    let facets = node["uco-core:hasFacet"].as_array().ok_or("it has a file without facets")?;
    let facet = |member: &str| facets.iter().find_map(|facet| facet.get(member));
    let path = facet("uco-observable:filePath").and_then(Value::as_str).ok_or("it has a file without a path")?;
    let hash = facet("uco-observable:hash").map(|hash| &hash["uco-types:hashValue"]["@value"]).and_then(Value::as_str);
    let bytes = files.get(path).ok_or("it has a file that is not in the bundle")?;
    if hash != Some(&*sha256(bytes).to_string()) {
        return Err("it has another hash for a file than the file has");
    }
    Ok(path)
}
