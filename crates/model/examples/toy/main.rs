//! Writes the small model of the tests, a directory for each family of networks: `cargo run -p tabellion-model --example toy
//! -- DIRECTORY`. `tests/model/compare.py` compares what `transformers` makes of them.

mod making;

fn main() {
    let directory = std::env::args_os().nth(1).map(std::path::PathBuf::from).expect("a directory");
    for family in making::FAMILIES {
        making::write(&directory.join(family), family);
    }
}
