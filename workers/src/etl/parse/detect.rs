//! `Auto`: which format reads a sample best. Pure.
//!
//! Every format and every known layout is tried on every line. The most telling one is taken that reads at
//! least nine of ten of the lines that the best one reads. Where that is a layout, those that read the
//! remaining lines follow it, so that a line with a time is never turned away because its header is of
//! another kind. Where the choice would turn away more than one line in five, lines are kept as they are.

use logpipe_api::pipeline::ParserType;

use super::format::{Format, owned};
use super::layout::Layouts;
use super::layout::known::{LAYOUTS, MESSAGE, TEXT, TIME_AND_MESSAGE};
use super::slots::Slots;
use super::syslog::Likeness;
use super::time::{Clock, Shape, TimeFault};
use super::zone::Zone;
use super::{cri, json, logfmt, nginx, syslog};

/// Most layouts that follow the first.
const MOST_OTHERS: usize = 3;

/// What was chosen.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) kind: ParserType,
    pub(super) layout: Option<String>,
    /// For a person.
    pub(super) why: String,
}

/// A format and the sample's lines that it reads.
struct Candidate {
    kind: ParserType,
    layout: Option<String>,
    fits: Vec<bool>,
}

impl Candidate {
    fn count(&self) -> usize {
        self.fits.iter().filter(|fits| **fits).count()
    }

    /// How many lines it reads of those that `covered` does not have.
    fn count_beyond(&self, covered: &[bool]) -> usize {
        self.fits
            .iter()
            .zip(covered)
            .filter(|(fits, covered)| **fits && !**covered)
            .count()
    }

    fn name(&self) -> String {
        match &self.layout {
            Some(layout) => format!("{} with the layout `{layout}`", self.kind.as_str()),
            None => self.kind.as_str().to_owned(),
        }
    }
}

/// Chooses among all formats, or among those of one kind.
pub(super) fn detect(
    lines: &[&str],
    only: Option<ParserType>,
    zone: &Zone,
    read_at: i64,
) -> Choice {
    let mut clock = Clock::new(zone.clone());
    clock.line_read_at(read_at);
    let candidates: Vec<Candidate> = all(lines, &mut clock)
        .into_iter()
        .filter(|candidate| only.is_none() || candidate.layout.is_some())
        .filter(|candidate| candidate.fits.contains(&true))
        .collect();
    let nothing = vec![false; lines.len()];
    let Some(first) = best(&candidates, &nothing) else {
        return kept_as_they_are(lines.len(), only, None);
    };
    let chosen = &candidates[first];
    let runner_up = runner_up(&candidates, first);
    if chosen.layout.is_some() {
        return with_others(&candidates, first, only, &runner_up);
    }
    if only.is_none() && chosen.count() * 5 < lines.len() * 4 {
        return kept_as_they_are(lines.len(), only, Some(chosen));
    }
    Choice {
        kind: chosen.kind,
        layout: None,
        why: format!(
            "{} reads {} of {} sample lines; {runner_up}",
            chosen.name(),
            chosen.count(),
            lines.len()
        ),
    }
}

/// The most telling candidate among those that read nearly as many of the lines as the best one.
fn best(candidates: &[Candidate], covered: &[bool]) -> Option<usize> {
    let most = candidates
        .iter()
        .map(|candidate| candidate.count_beyond(covered))
        .max()?;
    candidates.iter().position(|candidate| {
        let count = candidate.count_beyond(covered);
        count > 0 && count * 10 >= most * 9
    })
}

fn runner_up(candidates: &[Candidate], chosen: usize) -> String {
    let mut second: Option<&Candidate> = None;
    for (index, candidate) in candidates.iter().enumerate() {
        if index != chosen && second.is_none_or(|second| candidate.count() > second.count()) {
            second = Some(candidate);
        }
    }
    second.map_or_else(
        || "no other format reads any".to_owned(),
        |second| format!("the runner-up, {}, reads {}", second.name(), second.count()),
    )
}

fn kept_as_they_are(total: usize, only: Option<ParserType>, best: Option<&Candidate>) -> Choice {
    let why = best.map_or_else(
        || format!("no format reads any of the {total} sample lines"),
        |best| {
            format!(
                "the best format, {}, reads only {} of {total} sample lines",
                best.name(),
                best.count()
            )
        },
    );
    Choice {
        kind: only.unwrap_or(ParserType::Text),
        layout: Some(MESSAGE.to_owned()),
        why: format!(
            "{why}, so every line is kept as it is, as the message, without an event time"
        ),
    }
}

/// A layout, with those behind it that read the lines it does not.
fn with_others(
    candidates: &[Candidate],
    first: usize,
    only: Option<ParserType>,
    runner_up: &str,
) -> Choice {
    let chosen = &candidates[first];
    let total = chosen.fits.len();
    let mut layouts: Vec<&str> = chosen.layout.as_deref().into_iter().collect();
    let mut covered = chosen.fits.clone();
    let timed: Vec<Candidate> = candidates
        .iter()
        .filter(|candidate| {
            candidate
                .layout
                .as_ref()
                .is_some_and(|layout| layout.contains("%d"))
        })
        .map(|candidate| Candidate {
            fits: candidate.fits.clone(),
            layout: candidate.layout.clone(),
            kind: candidate.kind,
        })
        .collect();
    for _ in 0..MOST_OTHERS {
        let Some(next) = best(&timed, &covered).map(|next| &timed[next]) else {
            break;
        };
        layouts.extend(next.layout.as_deref());
        for (covered, fits) in covered.iter_mut().zip(&next.fits) {
            *covered |= fits;
        }
    }
    let last = fallback(layouts[0]);
    layouts.extend(last.as_deref().filter(|last| !layouts.contains(last)));
    let read = covered.iter().filter(|covered| **covered).count();
    let mut why = format!(
        "{} reads {} of {total} sample lines; {runner_up}",
        chosen.name(),
        chosen.count()
    );
    if read * 5 < total * 4 {
        layouts.push(MESSAGE);
        why.push_str("; more than one line in five has no header at all, so such lines are kept as they are, as the message");
    } else if layouts.len() > 1 {
        why.push_str("; lines with another header are read by the next layouts");
    }
    Choice {
        kind: only.unwrap_or(chosen.kind),
        layout: Some(layouts.join("\n")),
        why,
    }
}

/// The layout that reads at least the time of a line whose header is not of the first layout's kind.
fn fallback(first: &str) -> Option<String> {
    let start = &first[..first.find("%d")?];
    let time = &first[start.len()..];
    let time = match time.find('}') {
        Some(end) if time.starts_with("%d{") => &time[..=end],
        _ => "%d",
    };
    match start {
        "" => Some(format!("{time} %m")),
        "[" => Some(format!("[{time}] %m")),
        _ => None,
    }
}

/// Every format, tried on every line.
fn all(lines: &[&str], clock: &mut Clock) -> Vec<Candidate> {
    let format = |kind, fits| Candidate {
        kind,
        layout: None,
        fits,
    };
    let is_json = |line: &&str| json::walk(line, &mut json::Unseen).is_ok();
    let mut candidates = vec![
        format(ParserType::Json, lines.iter().map(is_json).collect()),
        format(
            ParserType::Cri,
            fits(Format::Cri(owned(&cri::FIELDS)), lines, clock),
        ),
        format(
            ParserType::Nginx,
            fits(Format::Nginx(owned(&nginx::FIELDS)), lines, clock),
        ),
        format(ParserType::Syslog, fits_syslog(lines, clock)),
        format(
            ParserType::Logfmt,
            lines.iter().map(|line| logfmt::is_logfmt(line)).collect(),
        ),
    ];
    let day_first = lines.iter().any(|line| is_day_first(line, clock));
    for layout in LAYOUTS {
        let layout = if day_first && !layout.contains("%d{") {
            layout.replace("%d", &format!("%d{{{}}}", Shape::DayMonthYear.name()))
        } else {
            (*layout).to_owned()
        };
        let Ok(layouts) = Layouts::compile(&layout) else {
            continue;
        };
        candidates.push(Candidate {
            kind: match layout.as_str() {
                TEXT | TIME_AND_MESSAGE => ParserType::Text,
                _ => ParserType::Log4j,
            },
            fits: fits(Format::Layouts(layouts), lines, clock),
            layout: Some(layout),
        });
    }
    candidates
}

fn fits(format: Format, lines: &[&str], clock: &mut Clock) -> Vec<bool> {
    read_all(format, lines, clock, |_, slots| slots.is_some())
}

/// Nearly every text behind a time could be syslog. It is, where at least half of such lines are for sure.
fn fits_syslog(lines: &[&str], clock: &mut Clock) -> Vec<bool> {
    let format = Format::Syslog(owned(&syslog::FIELDS));
    let like = read_all(format, lines, clock, |line, slots| {
        slots.map_or(Likeness::None, |slots| syslog::likeness(line, slots))
    });
    let count = |what: Likeness| like.iter().filter(|like| **like == what).count();
    let syslog = count(Likeness::Sure) >= count(Likeness::Some);
    like.iter()
        .map(|like| syslog && *like != Likeness::None)
        .collect()
}

/// Shows what was read of each line; nothing where it was turned away.
fn read_all<T>(
    mut format: Format,
    lines: &[&str],
    clock: &mut Clock,
    judge: impl Fn(&str, Option<&Slots>) -> T,
) -> Vec<T> {
    let mut slots = Slots::for_fields(format.fields().len());
    let mut scratch = String::new();
    let read = |line: &&str| {
        scratch.clear();
        slots.clear();
        let read = format.read(line, clock, &mut slots, &mut scratch).is_ok();
        judge(line, read.then_some(&slots))
    };
    lines.iter().map(read).collect()
}

/// Whether a line begins with a date such as 31/01/2026, which can only have the day first.
fn is_day_first(line: &str, clock: &mut Clock) -> bool {
    let text = line.strip_prefix('[').unwrap_or(line).as_bytes();
    Shape::of(text) == Some(Shape::MonthDayYear)
        && matches!(clock.any(text), Err(TimeFault::Invalid(_)))
        && clock.read(Shape::DayMonthYear, text).is_ok()
}
