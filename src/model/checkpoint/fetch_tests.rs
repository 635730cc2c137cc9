//! Against a server of one answer on loopback.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::thread;

use super::*;

const BODY: &[u8] = b"weights of a small network";

/// Serves one connection: `answer`, then silence for `hang`. The URL.
fn serve(answer: Vec<u8>, hang: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/w.pth", listener.local_addr().unwrap());
    thread::Builder::new()
        .name("test/server".to_owned())
        .spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while request.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            stream.write_all(&answer).unwrap();
            thread::sleep(hang);
        })
        .unwrap();
    url
}

fn ok(length: usize, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend(body);
    answer
}

fn digest() -> [u8; 32] {
    Sha256::digest(BODY).into()
}

struct Case {
    folder: tempfile::TempDir,
    told: Vec<(u64, Option<u64>)>,
}

impl Case {
    fn new() -> Case {
        Case {
            folder: tempfile::tempdir().unwrap(),
            told: Vec::new(),
        }
    }

    fn destination(&self) -> PathBuf {
        self.folder.path().join("new/w.pth")
    }

    fn run(&mut self, url: &str, sha256: &str, limits: Limits) -> Result<Fetched, FetchError> {
        let destination = self.destination();
        let download = Download {
            url,
            destination: &destination,
            sha256: sha256.parse().unwrap(),
            limits,
        };
        download.run(|done, total| self.told.push((done, total)))
    }

    /// Nothing was left behind.
    fn assert_empty(&self) {
        let folder = self.folder.path().join("new");
        let left = fs::read_dir(folder).map_or(0, Iterator::count);
        assert_eq!(left, 0);
    }
}

fn quick() -> Limits {
    Limits {
        bytes: 1000,
        answer: Duration::from_millis(300),
        silence: Duration::from_millis(300),
        whole: Duration::from_secs(5),
    }
}

#[test]
fn the_right_file_arrives() {
    let full = engine::Digest(digest()).to_string();
    for sha256 in [&full[..], &full[..8], &full[..9], &full[..16].to_uppercase()] {
        let mut case = Case::new();
        let url = serve(ok(BODY.len(), BODY), Duration::ZERO);
        let fetched = case.run(&url, sha256, quick()).unwrap();
        assert_eq!(
            fetched,
            Fetched {
                bytes: BODY.len() as u64,
                sha256: digest()
            }
        );
        assert_eq!(fs::read(case.destination()).unwrap(), BODY);
        let total = Some(BODY.len() as u64);
        assert_eq!(case.told.first(), Some(&(0, total)));
        assert_eq!(case.told.last(), Some(&(BODY.len() as u64, total)));
        assert_eq!(fs::read_dir(case.destination().parent().unwrap()).unwrap().count(), 1);
    }
}

#[test]
fn another_file_replaces_nothing() {
    let mut case = Case::new();
    fs::create_dir(case.folder.path().join("new")).unwrap();
    fs::write(case.destination(), b"old").unwrap();
    let url = serve(ok(BODY.len(), BODY), Duration::ZERO);
    let text = case.run(&url, "01234567", quick()).unwrap_err().to_string();
    assert_eq!(
        text,
        format!(
            "fetch {url}: expected SHA-256 01234567, got {}",
            engine::Digest(digest())
        )
    );
    assert_eq!(fs::read(case.destination()).unwrap(), b"old");
    assert_eq!(fs::read_dir(case.folder.path().join("new")).unwrap().count(), 1);
}

#[test]
fn what_goes_wrong_on_the_way() {
    let right = engine::Digest(digest()).to_string();
    let hang = Duration::from_secs(3);
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n".to_vec(),
        vec![b'a'; 2000],
    ]
    .concat();
    for (answer, hang, expected) in [
        (ok(BODY.len() + 5, BODY), Duration::ZERO, "after 26 bytes: "),
        (ok(BODY.len() + 5, BODY), hang, "after 26 bytes: "),
        (b"HTTP/1.1 200 OK\r\n".to_vec(), hang, ": timeout"),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Duration::ZERO,
            "http status: 404",
        ),
        (ok(1001, BODY), Duration::ZERO, "expected at most 1000 bytes, got more"),
        (chunked, Duration::ZERO, "expected at most 1000 bytes, got more"),
    ] {
        let mut case = Case::new();
        let url = serve(answer, hang);
        let start = std::time::Instant::now();
        let text = case.run(&url, &right, quick()).unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("fetch {url}: ")) && text.contains(expected),
            "{text}"
        );
        assert!(start.elapsed() < Duration::from_secs(2), "{text}");
        case.assert_empty();
    }
}

#[test]
fn two_downloads_of_one_file_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("w.pth");
    let parts = [0; 8].map(|_| Part::create(&destination).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 8);
    parts[3].finish(&destination).unwrap();
    drop(parts);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/w.pth", listener.local_addr().unwrap());
    drop(listener);
    let mut case = Case::new();
    let text = case.run(&url, "01234567", quick()).unwrap_err().to_string();
    assert!(text.starts_with(&format!("fetch {url}: ")), "{text}");
    case.assert_empty();
}

#[test]
fn a_trickle_ends_with_the_time_for_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/w.pth", listener.local_addr().unwrap());
    let server = thread::Builder::new().name("test/server".to_owned());
    let server = server.spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = stream.write_all(&ok(500, b""));
        while sent.is_ok() {
            thread::sleep(Duration::from_millis(50));
            sent = stream.write_all(b"a");
        }
    });
    let mut case = Case::new();
    let limits = Limits {
        whole: Duration::from_millis(600),
        ..quick()
    };
    let start = std::time::Instant::now();
    let text = case.run(&url, "01234567", limits).unwrap_err().to_string();
    assert!(
        start.elapsed() < Duration::from_secs(3) && text.contains("timeout"),
        "{text}"
    );
    case.assert_empty();
    server.unwrap().join().unwrap();
}

#[test]
fn digests_are_hex_of_some_length() {
    for wrong in ["", "0123456", "0123456g", &"0".repeat(65), "öööö"] {
        assert!(wrong.parse::<DigestPrefix>().is_err(), "{wrong}");
    }
    assert_eq!(
        "0123456".parse::<DigestPrefix>(),
        Err("expected 8 to 64 hex digits of a SHA-256, got \"0123456\"".to_owned())
    );
}
