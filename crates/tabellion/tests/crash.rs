//! Acknowledged is durable: the server is killed at random moments under load, over one data directory. What a client
//! was given whole is in the log, once and as complete; what was begun is closed; and the log verifies.

#![allow(clippy::print_stdout, reason = "a failure is to say its seed")]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Log, Random, Request, Setup, StandIn, chat, verify};

const KILLS: usize = 20;
const CLIENTS: usize = 6;

#[test]
fn what_was_acknowledged_survives_being_killed() {
    // TABELLION_SEED repeats a run, as far as the moments of a kill can be repeated.
    let seed = std::env::var("TABELLION_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    println!("TABELLION_SEED={seed}");
    let mut random = Random(seed);
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let setup = Setup::new(&data, &standin.url()).with("TABELLION_LEDGER_PUBLISH_MS", "20");
    // What clients were given: the exchange and whether all of it came, in order, with 200.
    let acknowledged: Mutex<Vec<String>> = Mutex::default();
    let named: Mutex<Vec<String>> = Mutex::default();

    for round in 0..KILLS {
        let mut server = setup.start();
        let gateway = server.gateway;
        let killed = AtomicBool::new(false);
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.next()).collect();
        let moment = Duration::from_millis(20 + random.below(300));
        std::thread::scope(|scope| {
            for seed in seeds {
                let (killed, acknowledged, named) = (&killed, &acknowledged, &named);
                scope.spawn(move || {
                    let mut random = Random(seed);
                    for n in 0.. {
                        if killed.load(Ordering::SeqCst) {
                            return;
                        }
                        let stream = random.below(2) == 0;
                        let model = ["echo-3", "m", "tool-4", "slow-1"][random.below(4) as usize];
                        let text =
                            format!("round {round} number {n} of {seed} {}", "word ".repeat(random.below(40) as usize));
                        let path = ["/v1/chat/completions", "/anthropic/v1/messages"][random.below(2) as usize];
                        let Ok(mut client) = Request::post(path, chat(model, &text, stream)).begin(gateway) else {
                            continue;
                        };
                        let Ok(mut answer) = client.answer_head("POST") else { continue };
                        named.lock().unwrap().push(answer.exchange());
                        if client.rest(&mut answer.body) && answer.status == 200 {
                            if stream {
                                assert!(answer.text().contains("[DONE]") || answer.text().contains("message_stop"));
                            }
                            acknowledged.lock().unwrap().push(answer.exchange());
                        }
                    }
                });
            }
            std::thread::sleep(moment);
            server.kill();
            killed.store(true, Ordering::SeqCst);
        });
        server.assert_no_panic();
        if round % 5 == 4 {
            // A log that nobody has recovered yet verifies too, as far as it was published.
            verify(&data);
        }
    }

    let mut server = setup.start();
    let answer = Request::post("/v1/chat/completions", chat("m", "after all that", false)).send(server.gateway);
    assert_eq!(answer.status, 200);
    acknowledged.lock().unwrap().push(answer.exchange());
    server.stop();
    verify(&data);

    let log = Log::read(&data);
    let (acknowledged, named) = (acknowledged.into_inner().unwrap(), named.into_inner().unwrap());
    assert!(acknowledged.len() > KILLS, "too little happened to say anything: {}", acknowledged.len());
    for exchange in &acknowledged {
        let requests = log.entries.iter().filter(|entry| entry["id"] == exchange.as_str()).count();
        assert_eq!(requests, 1, "{exchange} (TABELLION_SEED={seed})");
        let responses = log.responses(exchange);
        assert_eq!(responses.len(), 1, "{exchange} (TABELLION_SEED={seed})");
        assert_eq!(responses[0]["outcome"], "complete", "{exchange} (TABELLION_SEED={seed})");
    }
    // The headers of an answer name an exchange whose request was durable before.
    for exchange in &named {
        assert!(log.request(exchange).is_some(), "{exchange} (TABELLION_SEED={seed})");
    }
    let mut interrupted = 0;
    for request in log.requests() {
        let id = request["id"].as_str().unwrap();
        let responses = log.responses(id);
        assert_eq!(responses.len(), 1, "{id} was not closed once (TABELLION_SEED={seed})");
        interrupted += usize::from(responses[0]["outcome"] == "interrupted");
    }
    let said: usize = log
        .entries
        .iter()
        .filter(|entry| entry["kind"] == "custody.recover")
        .map(|entry| entry["tags"]["interrupted"].as_str().unwrap().parse::<usize>().unwrap())
        .sum();
    // One that is killed itself before it has closed them leaves the rest to the next.
    assert!(said >= interrupted, "recovery says how many it found open (TABELLION_SEED={seed})");
    assert!(said - interrupted < interrupted, "{said} of {interrupted} (TABELLION_SEED={seed})");
    assert!(interrupted > 0, "no kill came in the middle of anything (TABELLION_SEED={seed})");
    let starts = log.entries.iter().filter(|entry| entry["kind"] == "custody.start").count();
    assert_eq!(starts, KILLS + 1);
    // Positions are given out once, and times do not go back by more than clocks do.
    let mut ids: Vec<&str> = log.entries.iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an entry is in the log twice (TABELLION_SEED={seed})");
}
