//! Writes the small model of the tests, a directory for each family of networks: `cargo run -p tabellion-model --example toy
//! -- DIRECTORY`. What `transformers` makes of them is in `tests/model`.

mod making;

fn main() {
    let directory = std::env::args_os().nth(1).map(std::path::PathBuf::from).expect("a directory");
    for family in making::FAMILIES {
        making::write(&directory.join(family), family);
    }
}
