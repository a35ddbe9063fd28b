//! The log as JSON: an object on a line for each event, with the event's fields beside `timestamp`, `level` and `message`.
//!
//! `tracing-subscriber` writes the same line; a request's costs it four times as long, on the thread that serves.

use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::{Lines, may_wait};

/// Writes every event it sees.
#[derive(Debug)]
pub(super) struct Json {
    lines: Lines,
}

impl Json {
    /// Writes to these lines.
    pub(super) fn to(lines: Lines) -> Self {
        Self { lines }
    }
}

impl<S: Subscriber> Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => self.lines.take(scratch.line(event), may_wait(event.metadata())),
            // An event within the formatting of another.
            Err(_) => self.lines.take(Scratch::default().line(event), may_wait(event.metadata())),
        });
    }
}

/// What is kept from one line to the next, for its memory.
#[derive(Debug, Default)]
struct Scratch {
    line: Vec<u8>,
    clock: Clock,
}

impl Scratch {
    fn line(&mut self, event: &Event<'_>) -> &[u8] {
        self.line.clear();
        self.line.extend_from_slice(b"{\"timestamp\":\"");
        self.clock.append(SystemTime::now(), &mut self.line);
        self.line.extend_from_slice(b"\",\"level\":\"");
        self.line.extend_from_slice(event.metadata().level().as_str().as_bytes());
        self.line.push(b'"');
        event.record(&mut Fields(&mut self.line));
        self.line.extend_from_slice(b"}\n");
        &self.line
    }
}

/// Appends fields, each with a comma in front.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn append(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        self.0.extend_from_slice(b",\"");
        // Names are identifiers of this program's own and of its libraries.
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
        // Neither memory nor what is written here refuses anything.
        let _ = serde_json::to_writer(&mut *self.0, value);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.append(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.append(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.append(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.append(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.append(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.append(field, &Shown(value));
    }
}

/// A value as its text.
struct Shown<'a>(&'a dyn fmt::Debug);

impl Serialize for Shown<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

/// The time in RFC 3339, whose date and time to the second are made once a second.
#[derive(Debug, Default)]
struct Clock {
    second: u64,
    /// `2026-01-31T23:59:59.`; empty before the first use.
    prefix: String,
}

impl Clock {
    fn append(&mut self, now: SystemTime, line: &mut Vec<u8>) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.prefix.is_empty() || self.second != now.as_secs() {
            self.second = now.as_secs();
            self.prefix = to_the_second(self.second);
        }
        line.extend_from_slice(self.prefix.as_bytes());
        // Memory refuses nothing.
        let _ = write!(line, "{:06}Z", now.subsec_micros());
    }
}

/// Seconds since 1970 as a date and a time of UTC, up to the point of the second's fraction.
fn to_the_second(second: u64) -> String {
    let (days, rest) = (second / 86_400, second % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.")
}

/// Year, month and day of a day since 1970, of the Gregorian calendar: the year is taken to begin in March, so that a
/// leap day is its last, and an era is the 400 years after which the calendar repeats.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    /// From the first of March of year 0.
    const DAYS_TO_1970: u64 = 719_468;
    let days = days_since_1970 + DAYS_TO_1970;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let leap_days = day_of_era / 1460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // 153 days are the five months from March to July, and from August to December.
    let march_based = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn seconds_are_dates_and_times() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00."),
            (951_782_399, "2000-02-28T23:59:59."),
            (951_782_400, "2000-02-29T00:00:00."),
            (951_868_800, "2000-03-01T00:00:00."),
            (1_735_689_599, "2024-12-31T23:59:59."),
            (4_107_542_400, "2100-03-01T00:00:00."),
        ] {
            assert_eq!(to_the_second(second), text);
        }
    }

    #[test]
    fn a_clock_goes_on_with_each_second() {
        let mut clock = Clock::default();
        let mut at = |micros| {
            let mut text = Vec::new();
            clock.append(UNIX_EPOCH + Duration::from_micros(micros), &mut text);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(at(42), "1970-01-01T00:00:00.000042Z");
        assert_eq!(at(999_999), "1970-01-01T00:00:00.999999Z");
        assert_eq!(at(61_000_000), "1970-01-01T00:01:01.000000Z");
        assert_eq!(at(1), "1970-01-01T00:00:00.000001Z", "a clock that is set back");
    }

    #[test]
    fn an_event_is_a_line_whatever_its_fields_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let json = Json::to(Lines::to(Some(File::create(&path).unwrap())));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(json), || {
            tracing::warn!(
                path = "a\n\"b\u{1}ü",
                negative = -1,
                many = u64::MAX,
                half = 0.5,
                right = true,
                absent = None::<u64>,
                shown = %"dis\"played",
                debugged = ?[1, 2],
                "said {}", 7
            );
            tracing::info!("second");
        });
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [mut first, second] = <[Value; 2]>::try_from(lines).unwrap();
        let timestamp = first.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert_eq!(timestamp.as_str().unwrap().len(), "2026-01-31T23:59:59.000000Z".len());
        let expected = serde_json::json!({
            "level": "WARN", "message": "said 7", "path": "a\n\"b\u{1}ü", "negative": -1, "many": u64::MAX, "half": 0.5,
            "right": true, "shown": "dis\"played", "debugged": "[1, 2]"
        });
        assert_eq!(first, expected);
        assert_eq!(second["message"], "second");
    }
}
