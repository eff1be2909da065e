//! The least HTTP client: one kept connection, one request at a time, in a process that is not measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Outcome<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The body if all is well.
    pub fn good(self) -> Outcome<Answer> {
        match self.status {
            200 => Ok(self),
            status => Err(format!("status {status}: {}", String::from_utf8_lossy(&self.body)).into()),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn retry_after(&self) -> Duration {
        let seconds = self.header("retry-after").and_then(|value| value.parse().ok());
        Duration::from_secs(seconds.unwrap_or(1))
    }
}

impl Connection {
    pub fn open(to: SocketAddr) -> Outcome<Connection> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    pub fn get(&mut self, path: &str) -> Outcome<Answer> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    }

    pub fn post(&mut self, path: &str, body: &str) -> Outcome<Answer> {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        ))
    }

    fn ask(&mut self, request: &str) -> Outcome<Answer> {
        self.stream.write_all(request.as_bytes())?;
        self.buffer.clear();
        let end = loop {
            self.read()?;
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec())?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").ok_or("no content-length")?.parse()?;
        while self.buffer.len() < end + length {
            self.read()?;
        }
        answer.body = self.buffer[end..end + length].to_vec();
        Ok(answer)
    }

    fn read(&mut self) -> Outcome<()> {
        let mut piece = [0; 8 * 1024];
        match self.stream.read(&mut piece)? {
            0 => Err("the connection was closed in the middle".into()),
            length => {
                self.buffer.extend_from_slice(&piece[..length]);
                Ok(())
            }
        }
    }
}
