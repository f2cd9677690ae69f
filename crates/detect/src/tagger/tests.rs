use proptest::prelude::*;

use super::token::{Shape, tokenize};
use super::*;

fn cut(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    tokenize(text, &mut tokens);
    tokens.iter().map(|t| &text[t.start as usize..t.end as usize]).collect()
}

fn found(text: &str) -> Vec<(Entity, &str)> {
    Tagger::embedded().tag(text).iter().map(|s| (s.entity, &text[s.start..s.end])).collect()
}

#[test]
fn cuts_words_marks_and_clitics() {
    assert_eq!(cut("Maria's flat, in Łódź-Widzew!"), ["Maria", "'s", "flat", ",", "in", "Łódź", "-", "Widzew", "!"]);
    assert_eq!(cut("O'Brien and D’Angelo don't"), ["O'Brien", "and", "D’Angelo", "don't"]);
    assert_eq!(cut("J. R. Smith of the U.S. Army."), ["J.", "R.", "Smith", "of", "the", "U.S.", "Army", "."]);
    assert_eq!(
        cut("see https://example.com/a?b=c, or a.b-c@example.com."),
        ["see", "https://example.com/a?b=c", ",", "or", "a.b-c@example.com", "."]
    );
    assert_eq!(cut("@user_1 #tag"), ["@", "user_1", "#", "tag"]);
    assert_eq!(cut("नमस्ते दुनिया"), ["नमस्ते", "दुनिया"]);
    assert_eq!(cut("e\u{301}tude"), ["e\u{301}tude"]);
}

#[test]
fn knows_how_words_are_written() {
    let shape = |word: &str| {
        let mut tokens = Vec::new();
        tokenize(word, &mut tokens);
        tokens[0].shape
    };
    for (word, expected) in [
        ("word", Shape::Lower),
        ("Émile", Shape::Capital),
        ("ЖЭК", Shape::Upper),
        ("McDonald", Shape::Mixed),
        ("X", Shape::Letter),
        ("X.", Shape::Initial),
        ("2024", Shape::Number),
        ("snake_case", Shape::Code),
        ("?", Shape::Mark),
    ] {
        assert_eq!(shape(word), expected, "{word}");
    }
}

#[test]
fn sentences_end_with_full_stops_and_lines_and_not_after_titles() {
    let count = |text: &str| {
        let mut tokens = Vec::new();
        tokenize(text, &mut tokens);
        sentences(&tokens).count()
    };
    assert_eq!(count("It rains. We stay. Mr. Lee too."), 3);
    assert_eq!(count("one\ntwo"), 2);
    assert_eq!(count("no stop at all, e.g. none"), 1);
    assert_eq!(count(&"word ".repeat(1000)), 1000usize.div_ceil(feature::SENTENCE_MAX));
}

#[test]
fn the_embedded_model_is_small_and_there_at_once() {
    assert!(MODEL.len() <= 12_000_000, "{}", MODEL.len());
    let clock = std::time::Instant::now();
    let tagger = Tagger::embedded();
    assert!(clock.elapsed().as_millis() < 20);
    assert!(tagger.tag("").is_empty());
}

#[test]
fn refuses_what_is_no_model() {
    assert!(Tagger::new(b"").is_none());
    assert!(Tagger::new(&MODEL[..MODEL.len() - 1]).is_none());
    assert!(Tagger::new(&[0; 4096]).is_none());
    for at in [8, 12, 16] {
        let mut head = MODEL[..4096].to_vec();
        head[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Tagger::new(&head).is_none(), "{at}");
    }
}

#[test]
fn finds_names_however_they_are_written() {
    use Entity::{Location, Person};
    assert_eq!(found("my name is maria gonzalez"), [(Person, "maria gonzalez")]);
    assert_eq!(found("hi this is raj"), [(Person, "raj")]);
    assert_eq!(found("My name is JOHN SMITH."), [(Person, "JOHN SMITH")]);
    assert_eq!(
        found("Please call Oluwaseun about the flat in Gjirokastër."),
        [(Person, "Oluwaseun"), (Location, "Gjirokastër")]
    );
    assert_eq!(
        found("{\"name\": \"Priya Raghunathan\", \"city\": \"Chennai\"}"),
        [(Person, "Priya Raghunathan"), (Location, "Chennai")]
    );
}

#[test]
fn finds_nothing_where_nothing_is() {
    for text in [
        "Will this work in May or in April?",
        "The quick brown fox jumps over the lazy dog.",
        "INFO Starting worker 3 of 8",
        "let client = Client::new(config)?;",
        "Thank you very much for your help!",
        "Can you summarize the text below?",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn tells_names_from_what_is_called_alike() {
    use Entity::{Location, Person};
    assert_eq!(found("I met Paris Hilton in Paris."), [(Person, "Paris Hilton"), (Location, "Paris")]);
    assert_eq!(found("Michael Jordan flew to Jordan."), [(Person, "Michael Jordan"), (Location, "Jordan")]);
    let washington = found("Denzel Washington was born near Washington.");
    assert_eq!(washington, [(Person, "Denzel Washington"), (Location, "Washington")]);
    assert_eq!(found("May I ask Will Smith about it?"), [(Person, "Will Smith")]);
    assert_eq!(found("The Gemini model beats Claude on this."), []);
}

#[test]
fn code_is_no_language() {
    let text = "let builder = nfa::thompson::Config::new();\nimpl Mul for Guard<'_> {\n    fn mul(&self) -> Self { Guard(self.val) }\n}";
    assert_eq!(found(text), []);
    let json = "{\"user\": {\"first_name\": \"Maria\", \"last_name\": \"Lopez\", \"tags\": [\"a\", \"b\"]}}";
    assert_eq!(found(json), [(Entity::Person, "Maria"), (Entity::Person, "Lopez")]);
}

#[test]
fn finds_professions_and_handles() {
    assert_eq!(found("Ana Ruiz, the technical writer, said so.")[1], (Entity::Title, "technical writer"));
    assert_eq!(found("RT @ mariaruiz_1 : hello"), [(Entity::Person, "@"), (Entity::Person, "mariaruiz_1")]);
}

#[test]
fn finds_peoples_and_believers() {
    assert_eq!(
        found("She is a Muslim and her husband is Catholic."),
        [(Entity::Nrp, "Muslim"), (Entity::Nrp, "Catholic")]
    );
    assert_eq!(found("the brazilian embassy")[0].0, Entity::Nrp);
}

#[test]
fn what_was_found_once_is_found_again() {
    let text = "I spoke with Oluwaseun Adebayo on Monday.\nthen adebayo wrote to me, and oluwaseun adebayo called";
    let people: Vec<&str> = found(text).into_iter().filter(|(e, _)| *e == Entity::Person).map(|(_, t)| t).collect();
    assert_eq!(people, ["Oluwaseun Adebayo", "adebayo", "oluwaseun adebayo"]);
    // An ordinary word is not remembered by itself.
    let text = "Will Smith came.\nand he will go";
    assert!(found(text).iter().all(|(_, t)| *t != "will"), "{:?}", found(text));
}

#[test]
fn long_runs_take_time_in_proportion() {
    let tagger = Tagger::embedded();
    for unit in ["\" ", "Aa ", "a", "J.", "Maria Lopez ", "@a", "'s", "www.", "New York ", "…", ". \" ", "Anna, "] {
        let time = |count: usize| {
            let text = unit.repeat(count / unit.len());
            (0..2)
                .map(|_| {
                    let clock = std::time::Instant::now();
                    tagger.tag(&text);
                    clock.elapsed()
                })
                .min()
                .expect("two runs")
        };
        let (short, long) = (time(6_000), time(60_000));
        // Ten times the text; what is quadratic takes a hundred times as long.
        assert!(long < short * 40 + std::time::Duration::from_millis(50), "{unit:?}: {short:?}, {long:?}");
    }
}

proptest! {
    #[test]
    fn spans_lie_on_boundaries_in_order_and_apart(text in "(\\PC|[A-Z][a-z]+ |@|\\n|Maria Lopez ){0,60}") {
        let mut last = 0;
        for span in Tagger::embedded().tag(&text) {
            prop_assert!(last <= span.start && span.start < span.end && span.end <= text.len());
            prop_assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
            prop_assert!((0.0..=1.0).contains(&span.score));
            last = span.end;
        }
    }

    #[test]
    fn tokens_cover_everything_but_spaces(text in "\\PC{0,80}") {
        let mut tokens = Vec::new();
        tokenize(&text, &mut tokens);
        let mut at = 0;
        for token in &tokens {
            let (start, end) = (token.start as usize, token.end as usize);
            prop_assert!(at <= start && start < end);
            prop_assert_eq!(token.joined, at == start && at > 0);
            at = end;
        }
        let covered: usize = tokens.iter().map(|t| (t.end - t.start) as usize).sum();
        prop_assert!(covered <= text.len());
    }

    #[test]
    fn any_bytes_as_text_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        Tagger::embedded().tag(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_model_makes_wrong_tags_at_worst(at in 300usize..MODEL.len(), with: u8) {
        let mut model = MODEL.to_vec();
        model[at] = with;
        Tagger::new(&model).expect("its sizes are right").tag("Maria Lopez lives in New York City.");
    }
}
