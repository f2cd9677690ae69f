//! The real binary, started, questioned, stopped and killed.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::{Request, eventually};

/// How a server is to be started.
pub(crate) struct Setup {
    data: PathBuf,
    environment: Vec<(String, String)>,
    stderr: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Setup {
    /// With its data in a directory, and both providers at a URL.
    pub(crate) fn new(data: &Path, upstream: &str) -> Self {
        let environment = [
            ("TABELLION_GATEWAY_LISTEN", "127.0.0.1:0"),
            ("TABELLION_CONSOLE_LISTEN", "127.0.0.1:0"),
            ("TABELLION_UPSTREAM_OPENAI_URL", upstream),
            ("TABELLION_UPSTREAM_ANTHROPIC_URL", upstream),
            ("TABELLION_LEDGER_PUBLISH_MS", "50"),
            ("TABELLION_GATEWAY_GRACE_S", "5"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { data: data.to_owned(), environment, stderr: None, config: None }
    }

    /// Sets a variable in the server's environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a configuration file, beside the data.
    pub(crate) fn configured(mut self, text: &str) -> Self {
        let path = self.data.with_extension("toml");
        std::fs::write(&path, text).unwrap();
        self.config = Some(path);
        self
    }

    /// Sends stderr to a file instead of keeping it.
    pub(crate) fn stderr_to(mut self, path: &Path) -> Self {
        self.stderr = Some(path.to_owned());
        self
    }

    pub(crate) fn start(&self) -> Server {
        // A write beyond the limit on file sizes is to fail like one to a full disk, not to kill.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" serve --data \"$1\" ${2:+--config \"$2\"}"])
            .arg(env!("CARGO_BIN_EXE_tabellion"))
            .arg(&self.data)
            .args(&self.config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(match &self.stderr {
                Some(path) => std::fs::File::create(path).unwrap().into(),
                None => Stdio::piped(),
            })
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take(), said.clone());
        collect(child.stderr.take(), said.clone());
        let addresses = eventually("the server to start", || {
            if let Some(status) = child.try_wait().unwrap() {
                std::thread::sleep(std::time::Duration::from_millis(200));
                let said = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
                panic!("the server ended at its start with {status}:\n{said}");
            }
            let text = std::fs::read(self.data.join("server.json")).ok()?;
            let addresses: serde_json::Value = serde_json::from_slice(&text).ok()?;
            // One that was killed leaves its file behind.
            (addresses["pid"].as_u64() == Some(u64::from(child.id()))).then_some(addresses)
        });
        let address = |name: &str| -> SocketAddr {
            addresses[name].as_str().unwrap().split_once("://").unwrap().1.parse().unwrap()
        };
        Server {
            gateway: address("gateway"),
            console: address("console"),
            data: self.data.clone(),
            child,
            said,
            stderr: self.stderr.clone(),
        }
    }
}

fn collect(from: Option<impl Read + Send + 'static>, into: Arc<Mutex<Vec<u8>>>) {
    let Some(mut from) = from else { return };
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            into.lock().unwrap().extend_from_slice(&piece[..read]);
        }
    });
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    pub(crate) gateway: SocketAddr,
    pub(crate) console: SocketAddr,
    pub(crate) data: PathBuf,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    stderr: Option<PathBuf>,
}

impl Server {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let status = eventually("the server to stop", || self.child.try_wait().unwrap());
        assert!(status.success(), "it stopped with {status}:\n{}", self.said());
        self.assert_no_panic();
    }

    /// No file may grow beyond so many bytes; `None` lets them again.
    pub(crate) fn limit_file_bytes(&self, bytes: Option<u64>) {
        prlimit(Some(self.pid()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }

    /// What it wrote to stdout and stderr.
    pub(crate) fn said(&self) -> String {
        let mut said = self.said.lock().unwrap().clone();
        if let Some(path) = &self.stderr {
            said.extend(std::fs::read(path).unwrap());
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    pub(crate) fn assert_no_panic(&self) {
        let said = self.said();
        assert!(!said.contains("a defect of ours"), "{said}");
    }

    /// It runs, has not panicked, and records.
    pub(crate) fn assert_well(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the server ended:\n{}", self.said());
        self.assert_no_panic();
        // After a failure it is ready again once a publication has succeeded, which is tried twice a second.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = Request::get("/readyz").send(self.console);
            if answer.status == 200 {
                return;
            }
            assert!(Instant::now() < deadline, "{}", answer.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Sets the peak back to what it has now. False where the system cannot.
    pub(crate) fn forget_memory_peak(&self) -> bool {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the server said:\n{}---", self.said());
        }
    }
}
