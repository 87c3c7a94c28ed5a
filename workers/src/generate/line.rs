//! Line `n`: a pure function of the settings, the number and its time, so that a torn last line can be
//! completed to the byte, and the auditor knows what must be there.

use logpipe_api::pipeline::GeneratorFormat;

use super::body::{self, Level, Template};
use super::check::{Style, Summer};
use super::random::Random;
use super::text::{Clock, push_hex, push_number};

/// Writes the lines of one generator.
pub(super) struct Lines {
    format: GeneratorFormat,
    seed: u64,
    malformed_percent: u8,
    summer: Summer,
    clock: Clock,
}

/// What is wrong with a line that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It ends right after the message: no closing quote or brace.
    Torn,
    /// Only the message is there.
    Bare,
    /// Its time is no time.
    BadTime,
    /// Its message holds bytes that are not UTF-8.
    NotUtf8,
}

impl Lines {
    pub(super) fn new(
        producer: &str,
        format: GeneratorFormat,
        seed: u64,
        malformed_percent: u8,
    ) -> Self {
        Self {
            format,
            seed,
            malformed_percent,
            summer: Summer::new(producer),
            clock: Clock::default(),
        }
    }

    /// Appends line `n` at `millis` (since 1970, UTC) and its newline.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, n: u64, millis: u64) {
        let mut random = Random::new(self.seed, n);
        let fault = self.fault(&mut random);
        let level = Level::choose(&mut random);
        let template = body::choose(level, &mut random);
        let line = Line {
            n,
            millis,
            level,
            template,
            fault,
        };
        match self.format {
            _ if fault == Some(Fault::Bare) => self.message(out, &line, &mut random),
            GeneratorFormat::Text => self.text(out, &line, &mut random),
            GeneratorFormat::Json => self.json(out, &line, &mut random),
            GeneratorFormat::Logfmt => self.logfmt(out, &line, &mut random),
            GeneratorFormat::Nginx => self.nginx(out, &line, &mut random),
            GeneratorFormat::Syslog => self.syslog(out, &line, &mut random),
            GeneratorFormat::Cri => self.cri(out, &line, &mut random),
        }
        out.push(b'\n');
    }

    fn fault(&self, random: &mut Random) -> Option<Fault> {
        const FAULTS: [Fault; 4] = [Fault::Torn, Fault::Bare, Fault::BadTime, Fault::NotUtf8];
        let chance = random.below(100);
        let fault = random.choose(&FAULTS);
        (chance < u32::from(self.malformed_percent)).then_some(fault)
    }

    fn message(&self, out: &mut Vec<u8>, line: &Line, random: &mut Random) {
        let from = out.len();
        line.template.push(random, out);
        if line.fault == Some(Fault::NotUtf8) {
            out.extend_from_slice(b" \xff\xfe\xc3");
        }
        self.summer.push_tail(out, from, line.n, Style::Message);
    }

    fn time(&mut self, out: &mut Vec<u8>, line: &Line, between: u8, point: u8) {
        if line.fault == Some(Fault::BadTime) {
            out.extend_from_slice(b"2026-13-45");
            out.push(between);
            out.extend_from_slice(b"27:61:99");
            return;
        }
        self.clock.push(out, line.millis, between, point);
    }

    fn text(&mut self, out: &mut Vec<u8>, line: &Line, random: &mut Random) {
        if line.fault == Some(Fault::Torn) {
            // What a reader sees who came in the middle of a line.
            out.extend_from_slice(b"0:00,123");
        } else {
            self.time(out, line, b' ', b',');
        }
        out.push(b' ');
        out.extend_from_slice(line.level.upper());
        out.push(b' ');
        self.message(out, line, random);
    }

    fn json(&mut self, out: &mut Vec<u8>, line: &Line, random: &mut Random) {
        out.extend_from_slice(br#"{"timestamp":""#);
        self.time(out, line, b'T', b'.');
        out.extend_from_slice(br#"Z","level":""#);
        out.extend_from_slice(line.level.upper());
        out.extend_from_slice(br#"","service":""#);
        out.extend_from_slice(line.template.service.as_bytes());
        out.extend_from_slice(br#"","duration_ms":"#);
        push_number(out, body::latency(random));
        out.extend_from_slice(br#","message":""#);
        self.message(out, line, random);
        if line.fault != Some(Fault::Torn) {
            out.extend_from_slice(br#""}"#);
        }
    }

    fn logfmt(&mut self, out: &mut Vec<u8>, line: &Line, random: &mut Random) {
        out.extend_from_slice(b"ts=");
        self.time(out, line, b'T', b'.');
        out.extend_from_slice(b"Z level=");
        out.extend_from_slice(line.level.lower());
        out.extend_from_slice(b" service=");
        out.extend_from_slice(line.template.service.as_bytes());
        out.extend_from_slice(b" trace_id=");
        push_hex(out, random.next(), 16);
        out.extend_from_slice(b" msg=\"");
        self.message(out, line, random);
        if line.fault != Some(Fault::Torn) {
            out.push(b'"');
        }
    }

    fn nginx(&mut self, out: &mut Vec<u8>, line: &Line, random: &mut Random) {
        body::push_address(random, out);
        out.extend_from_slice(b" - - [");
        if line.fault == Some(Fault::BadTime) {
            out.extend_from_slice(b"45/Foo/2026:27:61:99 +0000");
        } else {
            self.clock.push_access(out, line.millis);
        }
        out.extend_from_slice(b"] \"GET ");
        let from = out.len();
        body::push_path(random, out);
        if line.fault == Some(Fault::NotUtf8) {
            out.extend_from_slice(b"\xff\xfe\xc3");
        }
        self.summer.push_tail(out, from, line.n, Style::Query);
        if line.fault == Some(Fault::Torn) {
            return;
        }
        out.extend_from_slice(b" HTTP/1.1\" ");
        out.extend_from_slice(match line.level {
            Level::Debug => b"304",
            Level::Info => b"200",
            Level::Warn => b"404",
            Level::Error => b"502",
        });
        out.push(b' ');
        push_number(out, u64::from(120 + random.below(60_000)));
        out.extend_from_slice(b" \"-\" \"");
        out.extend_from_slice(
            random
                .choose(&[
                    "Mozilla/5.0 (X11; Linux x86_64)",
                    "curl/8.5.0",
                    "shop-app/4.2 (iPhone)",
                ])
                .as_bytes(),
        );
        out.push(b'"');
    }

    fn syslog(&mut self, out: &mut Vec<u8>, line: &Line, random: &mut Random) {
        // Facility 16, local0. A torn line lacks the bracket that closes the priority.
        out.push(b'<');
        push_number(out, 16 * 8 + line.level.severity());
        if line.fault != Some(Fault::Torn) {
            out.extend_from_slice(b">1 ");
        }
        self.time(out, line, b'T', b'.');
        out.extend_from_slice(b"Z ");
        out.extend_from_slice(body::host(random).as_bytes());
        out.push(b' ');
        out.extend_from_slice(line.template.service.as_bytes());
        out.push(b' ');
        push_number(out, u64::from(1000 + random.below(8)));
        out.extend_from_slice(b" - - ");
        self.message(out, line, random);
    }

    fn cri(&mut self, out: &mut Vec<u8>, line: &Line, random: &mut Random) {
        if line.fault != Some(Fault::Torn) {
            self.time(out, line, b'T', b'.');
            out.extend_from_slice(b"000000Z ");
        }
        let errors = line.level == Level::Error;
        out.extend_from_slice(if errors { b"stderr F " } else { b"stdout F " });
        out.extend_from_slice(line.level.upper());
        out.push(b' ');
        self.message(out, line, random);
    }
}

/// What was decided about a line.
struct Line {
    n: u64,
    millis: u64,
    level: Level,
    template: &'static Template,
    fault: Option<Fault>,
}

#[cfg(test)]
mod tests {
    use super::super::check::{Checked, check};
    use super::*;

    const FORMATS: [GeneratorFormat; 6] = [
        GeneratorFormat::Text,
        GeneratorFormat::Json,
        GeneratorFormat::Logfmt,
        GeneratorFormat::Nginx,
        GeneratorFormat::Syslog,
        GeneratorFormat::Cri,
    ];
    const TIME: u64 = 1_769_842_800_123;

    fn line(lines: &mut Lines, n: u64) -> Vec<u8> {
        let mut out = Vec::new();
        lines.push(&mut out, n, TIME + n * 10);
        out
    }

    #[test]
    fn a_line_depends_on_nothing_that_came_before() {
        for format in FORMATS {
            let mut forwards = Lines::new("demo", format, 42, 20);
            let all: Vec<Vec<u8>> = (0..500).map(|n| line(&mut forwards, n)).collect();
            for n in (0..500).rev() {
                let mut alone = Lines::new("demo", format, 42, 20);
                assert_eq!(line(&mut alone, n), all[n as usize], "{format:?} {n}");
            }
            let mut other = Lines::new("demo", format, 43, 20);
            assert_ne!(line(&mut other, 7), all[7]);
        }
    }

    #[test]
    fn every_line_of_every_format_carries_its_checksum_even_a_broken_one() {
        for format in FORMATS {
            for malformed in [0, 100] {
                let mut lines = Lines::new("demo", format, 1, malformed);
                for n in 0..500 {
                    let line = line(&mut lines, n);
                    let good = Checked::Good {
                        producer: "demo",
                        n,
                    };
                    assert_eq!(check(&line), good, "{}", line.escape_ascii());
                    assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1);
                }
            }
        }
    }

    #[test]
    fn a_text_line_looks_as_the_documentation_says() {
        let text = line(&mut Lines::new("demo", GeneratorFormat::Text, 42, 0), 0);
        let text = String::from_utf8(text).unwrap();
        let (time, rest) = text.split_at(24);
        assert_eq!(time, "2026-01-31 07:00:00,123 ");
        let (level, message) = rest.split_once(' ').unwrap();
        assert!(
            ["DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
            "{text}"
        );
        assert!(
            matches!(check(message.trim_end().as_bytes()), Checked::Good { .. }),
            "{text}"
        );
    }

    #[test]
    fn json_lines_are_json_and_say_the_message() {
        let mut lines = Lines::new("demo", GeneratorFormat::Json, 42, 0);
        for n in 0..2000 {
            let value: serde_json::Value = serde_json::from_slice(&line(&mut lines, n)).unwrap();
            let message = value["message"].as_str().unwrap();
            let good = Checked::Good {
                producer: "demo",
                n,
            };
            assert_eq!(check(message.as_bytes()), good);
        }
    }

    #[test]
    fn a_share_of_the_lines_is_broken_and_lines_are_as_long_as_real_ones() {
        let mut lines = Lines::new("quickstart", GeneratorFormat::Json, 42, 10);
        let broken = (0..10_000)
            .filter(|&n| {
                let text = line(&mut lines, n);
                serde_json::from_slice::<serde_json::Value>(&text)
                    .ok()
                    .is_none_or(|value| value["timestamp"].as_str().unwrap().contains("-13-"))
            })
            .count();
        assert!((900..1100).contains(&broken), "{broken} of 10000");
        let mut lines = Lines::new("quickstart", GeneratorFormat::Text, 42, 0);
        let bytes: usize = (0..10_000)
            .map(|n| line(&mut lines, 100_000 + n).len())
            .sum();
        assert!(
            (105..125).contains(&(bytes / 10_000)),
            "{} bytes a line",
            bytes / 10_000
        );
    }
}
