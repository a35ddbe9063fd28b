//! From a query string to a job: strict reading, then the kernel's own rules.
//!
//! Everything here is the client's. A name that comes twice, a broken escape or an unknown option is refused rather than
//! guessed at: a typing error must not measure something else than was meant.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::web::Bytes;
use webrunner_kernels::{Catalogue, Kernel};
use webrunner_protocol::events::EventSet;
use webrunner_protocol::job::{Effort, EntryRule, KernelWork, Work};
use webrunner_protocol::options::MeasureOptions;
use webrunner_protocol::plan::CallPlan;
use webrunner_protocol::reply::Measurement;

use crate::catalogue;
use crate::check::{Correctness, Examination, Examined};
use crate::events::Selection;
use crate::events::host::HostEvents;
use crate::fault::CallNames;
use crate::machine::isa::Isa;
use crate::options::Options;
use crate::pool::{End, Order};
use crate::problem::Problem;

/// Most name=value pairs in one query.
const MAX_PAIRS: usize = 64;

/// Seed of pseudo-random input data. Fixed, so that every machine of a farm measures the same data every time.
pub const FILL_SEED: u64 = 0x5745_4252_554e_4e52;

/// A name and its value, decoded.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What a client asks for, its own words.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest<'a> {
    /// Name of the kernel.
    pub kernel: Cow<'a, str>,
    /// The service's own part.
    pub options: Options,
    /// The kernel's parameters.
    pub parameters: Vec<Pair<'a>>,
}

impl<'a> RunRequest<'a> {
    /// Reads a query string.
    ///
    /// # Errors
    /// What is wrong with it; the kernel's parameters are not looked at.
    pub fn from_query(query: &'a str) -> Result<Self, Problem> {
        Self::from_pairs(decode(query)?)
    }

    /// Sorts pairs into the kernel's and the service's own.
    ///
    /// # Errors
    /// As [`RunRequest::from_query`].
    pub fn from_pairs(pairs: Vec<Pair<'a>>) -> Result<Self, Problem> {
        let (mut kernel, mut options) = (None, Options::default());
        let mut parameters = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            match &*name {
                "kernel" => kernel = Some(value),
                option if option.starts_with('_') => options.set(option, &value)?,
                _ => parameters.push((name, value)),
            }
        }
        let kernel = kernel.filter(|name| !name.is_empty()).ok_or(Problem::KernelMissing)?;
        Ok(Self { kernel, options, parameters })
    }

    /// Finds the hardware events that were asked for; `None` if none were.
    ///
    /// # Errors
    /// [`Problem::UnknownEvent`], [`Problem::BadEvent`] or [`Problem::BadOption`]; [`Problem::NoCounters`] where this host
    /// counts none at all. What it may turn out not to count is told by the answer.
    pub fn selection(&self, events: &HostEvents) -> Result<Option<Selection>, Problem> {
        let Some(list) = &self.options.events else { return Ok(None) };
        if self.options.effort == Effort::Quick {
            // It is over before the counters could be read for several passes.
            let expected = "standard or thorough effort beside it";
            return Err(Problem::BadOption { name: "_events", expected, got: "quick effort".into() });
        }
        let selection = events.select(list)?;
        if selection.set.is_none() && !selection.names.is_empty() {
            return Err(Problem::NoCounters { events: selection.names });
        }
        Ok(Some(selection))
    }

    /// Finds the kernel and settles its parameters.
    ///
    /// # Errors
    /// [`Problem::UnknownKernel`] or [`Problem::BadParameter`].
    pub fn resolve<'k>(&self, catalogue: &'k Catalogue) -> Result<Call<'k>, Problem> {
        let options = &self.options;
        let kernel = catalogue::find(catalogue, &self.kernel)?;
        let binding =
            catalogue::bind(kernel, self.parameters.iter().map(|(name, value)| (&**name, &**value)))?;
        let examination = match options.check.unwrap_or(options.effort != Effort::Quick) {
            true => Examination::of(binding.clone(), FILL_SEED).map(Arc::new),
            false => Err("not asked for; add _check=yes (--check yes)".to_owned()),
        };
        Ok(Call {
            kernel,
            examination,
            parameters: binding.parameters,
            plan: binding.plan,
            flop: binding.work.flop,
            bytes: binding.work.bytes,
            effort: options.effort,
            // A quick job takes little longer than the counting.
            counts: options.counts.unwrap_or(options.effort != Effort::Quick),
            events: None,
            options: options.measuring,
            symbol: options.symbol.clone(),
        })
    }
}

/// A kernel with everything settled, ready to be sent to a worker.
#[derive(Debug, Clone)]
pub struct Call<'k> {
    /// The kernel.
    pub kernel: &'k Kernel,
    /// All of its parameters, defaults included.
    pub parameters: Vec<(String, webrunner_kernels::Value)>,
    /// How to call the function.
    pub plan: CallPlan,
    /// Floating-point operations of one call, if known.
    pub flop: Option<u64>,
    /// Bytes one call must move, if known.
    pub bytes: Option<u64>,
    /// How much time to spend.
    pub effort: Effort,
    /// Whether to count instructions.
    pub counts: bool,
    /// Hardware events to count in place of the usual ones.
    pub events: Option<Selection>,
    /// How to measure.
    pub options: MeasureOptions,
    /// The function the client named.
    pub symbol: Option<String>,
    /// The check of what the function computes, or why there is none, in words.
    pub examination: Result<Arc<Examination>, String>,
}

impl Call<'_> {
    /// The hardware events to ask the kernel for in place of the usual ones. None either on a host that has no counters:
    /// those asked for are then absent.
    #[must_use]
    pub fn chosen_events(&self) -> Option<EventSet> {
        self.events.as_ref().and_then(|selection| selection.set.clone())
    }

    /// The call as a job for the pool, made on this object.
    #[must_use]
    pub fn order(&self, object: Bytes) -> Order {
        let (events, examination) = (self.chosen_events(), self.examination());
        Order { work: self.work(), object, events, examination }
    }

    /// The measurement this call ended with.
    ///
    /// # Errors
    /// What it ended in instead, in terms of this call's arguments.
    pub fn measurement(&self, end: End, isa: &Isa) -> Result<Box<Measurement>, Problem> {
        if let End::Measured(measurement) = end {
            return Ok(measurement);
        }
        let prototype = self.kernel.prototype();
        Problem::from_end(end, isa, &CallNames::new(&prototype, &self.plan))
    }

    /// The check of its outputs, if there is one.
    #[must_use]
    pub fn examination(&self) -> Option<Arc<Examination>> {
        self.examination.as_ref().ok().cloned()
    }

    /// What is known of the function's outputs.
    #[must_use]
    pub fn correctness(&self, examined: Option<&Examined>) -> Correctness {
        match (examined, &self.examination) {
            (Some(examined), _) => examined.correctness.clone(),
            (None, Err(reason)) => Correctness::Unchecked { reason: reason.clone() },
            (None, Ok(_)) => Correctness::Unchecked { reason: "the check was not made".to_owned() },
        }
    }

    /// The job for a worker; the pool adds the check.
    #[must_use]
    pub fn work(&self) -> Work {
        Work::Kernel(KernelWork {
            entry: EntryRule { symbol: self.symbol.clone(), kernel: self.kernel.name().to_owned() },
            call: self.plan.clone(),
            effort: self.effort,
            options: self.options,
            counts: self.counts,
            fill_seed: FILL_SEED,
            checking: None,
        })
    }
}

/// Splits and decodes a query string; no name may come twice.
fn decode(query: &str) -> Result<Vec<Pair<'_>>, Problem> {
    let malformed = |reason: String| Problem::MalformedQuery { reason };
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MAX_PAIRS {
            return Err(malformed(format!("The query has more than {MAX_PAIRS} parameters")));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text =
            |raw| percent_decode(raw).ok_or_else(|| malformed("The query has a broken % escape".into()));
        let (name, value) = (text(name)?, text(value)?);
        if name.is_empty() {
            return Err(malformed("The query has a value without a name".into()));
        }
        if pairs.iter().any(|(known, _)| *known == name) {
            let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
            return Err(malformed(format!("{shown} is given more than once")));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Decodes `%xx` and `+`; `None` for a broken escape or for bytes that are not UTF-8.
fn percent_decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains(['%', '+']) {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = raw.bytes();
    let mut decoded = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_jobs_are_counted_only_when_asked() {
        let catalogue = Catalogue::builtin().unwrap();
        let counts = |options: &str| {
            let query = format!("kernel=playground{options}");
            RunRequest::from_query(&query).unwrap().resolve(&catalogue).unwrap().counts
        };
        assert!(counts("") && counts("&_effort=thorough") && counts("&_effort=quick&_counts=yes"));
        assert!(!counts("&_effort=quick") && !counts("&_counts=no"));
    }

    #[test]
    fn outputs_are_checked_unless_the_job_is_quick_or_it_is_not_possible() {
        let catalogue = Catalogue::builtin().unwrap();
        let reason = |query: &str| {
            let call = RunRequest::from_query(query).unwrap().resolve(&catalogue).unwrap();
            call.examination.err().unwrap_or_default()
        };
        assert_eq!(reason("kernel=sdot"), "");
        assert_eq!(reason("kernel=sdot&_effort=quick&_check=yes"), "");
        assert!(reason("kernel=sdot&_effort=quick").contains("not asked for"));
        assert!(reason("kernel=sdot&_check=no").contains("not asked for"));
        assert!(reason("kernel=playground&_check=yes").contains("no reference"));
        assert_eq!(reason("kernel=sdot&n=33000000"), "");
    }

    use crate::negotiate::Format;
    use crate::problem::Kind;

    fn kind(query: &str) -> Kind {
        RunRequest::from_query(query).unwrap_err().kind()
    }

    #[test]
    fn a_query_is_sorted_into_the_kernels_and_the_services_own() {
        let request =
            RunRequest::from_query("kernel=sdot&n=10&_symbol=my%5Fdot&_effort=quick&_format=json").unwrap();
        assert_eq!((&*request.kernel, request.options.symbol.as_deref()), ("sdot", Some("my_dot")));
        assert_eq!((request.options.effort, request.options.format), (Effort::Quick, Some(Format::Json)));
        assert_eq!(request.parameters, [("n".into(), "10".into())]);
    }

    #[test]
    fn a_query_needs_a_kernel() {
        assert_eq!(kind(""), Kind::KernelMissing);
        assert_eq!(kind("n=1"), Kind::KernelMissing);
        assert_eq!(kind("kernel="), Kind::KernelMissing);
    }

    #[test]
    fn options_the_service_does_not_know_are_refused() {
        assert_eq!(kind("kernel=sdot&_efort=quick"), Kind::UnknownOption);
        assert_eq!(kind("kernel=sdot&_effort=fast"), Kind::BadOption);
        assert_eq!(kind("kernel=sdot&_counts=1"), Kind::BadOption);
        assert_eq!(kind("kernel=sdot&_check=true"), Kind::BadOption);
        assert_eq!(kind("kernel=sdot&_placements=2"), Kind::BadOption);
        assert_eq!(kind("kernel=sdot&_format=xml"), Kind::BadOption);
        assert_eq!(kind("kernel=sdot&_symbol="), Kind::BadOption);
    }

    #[test]
    fn malformed_queries_are_refused() {
        let many = (0..65).map(|index| format!("p{index}=1")).collect::<Vec<_>>().join("&");
        for query in
            ["kernel=%", "kernel=%4", "kernel=%zz", "kernel=%ff", "kernel=%+1", "=1", "a=1&a=2", &many]
        {
            assert_eq!(kind(query), Kind::MalformedQuery, "{query}");
        }
        // The same name under another spelling.
        assert_eq!(kind("kernel=sdot&n=1&%6e=2"), Kind::MalformedQuery);
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(percent_decode("a%2Bb+c%C3%A9").as_deref(), Some("a+b cé"));
        assert!(matches!(percent_decode("plain"), Some(Cow::Borrowed("plain"))));
    }
}
