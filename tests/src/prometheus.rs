//! Prometheus and its tool, where they are installed: Debian has both in the package `prometheus`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::wait;

/// Whether the tools are there; says so if not, as the test that asked is then skipped.
#[must_use]
pub fn is_installed() -> bool {
    let runs = |program| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let installed = runs("promtool") && runs("prometheus");
    if !installed {
        eprintln!("SKIPPED: prometheus and promtool are not installed (Debian: the package prometheus)");
    }
    installed
}

/// Runs promtool in a folder with something on its standard input; what it said, and whether it was content.
///
/// # Panics
/// If it cannot be run.
#[must_use]
pub fn promtool(folder: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool can be started");
    // It reads to the end before it writes.
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A running Prometheus that scrapes one service; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `target` often, with these rules.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn scraping(target: SocketAddr, rules: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n  - job_name: webrunner\n    static_configs: [{{ targets: ['{target}'] }}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, configuration).expect("a file");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg("--web.listen-address=127.0.0.1:0").current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("Prometheus can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| address(&line));
        // Nobody reads the rest, but somebody must take it.
        std::thread::spawn(move || lines.count());
        Self { child, address: address.expect("Prometheus says where it listens"), _folder: folder }
    }

    /// Asks its API; `None` while it is not ready, or finds the question wrong.
    #[must_use]
    pub fn ask(&self, path: &str) -> Option<Value> {
        // In HTTP/1.0 the answer comes in one piece and ends with the connection.
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(wait::LIMIT)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        (body["status"] == "success").then(|| body["data"].clone())
    }

    /// The series an expression gives.
    #[must_use]
    pub fn query(&self, expression: &str) -> Option<Vec<Value>> {
        let data = self.ask(&format!("/api/v1/query?query={}", escaped(expression)))?;
        Some(data["result"].as_array()?.clone())
    }

    /// Waits until an expression gives exactly one series, with this value.
    pub fn wait_for(&self, expression: &str, value: &str) {
        wait::until(&format!("{expression} is {value}"), || {
            let result = self.query(expression).unwrap_or_default();
            result.len() == 1 && result[0]["value"][1] == value
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(line: &str) -> Option<SocketAddr> {
    line.contains("msg=\"Listening on\"").then(|| line.split("address=").nth(1)?.trim().parse().ok())?
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
