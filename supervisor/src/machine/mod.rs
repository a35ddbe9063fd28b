//! What this machine is: gathered once at the start, from `cpuid`, `/proc` and `/sys`.
//!
//! A farm compares numbers between machines by these facts, so what is not known is said to be unknown, with a reason,
//! and never filled in.

pub mod host;
pub mod isa;
mod microarchitecture;

use raw_cpuid::CpuId;
use serde_json::{Map, Value, json};

use self::host::Fact;
use self::isa::Isa;
use crate::pool;

/// Facts about this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Name of the CPU.
    pub cpu: Option<String>,
    /// Name of its microarchitecture, as LLVM has it.
    pub microarchitecture: Option<&'static str>,
    /// Its instruction sets.
    pub isa: Isa,
    /// Why there are no hardware counters, if there are none.
    pub no_counters: Option<&'static str>,
    facts: Map<String, Value>,
}

impl Machine {
    /// Looks at this machine; `core` is one that jobs run on.
    #[must_use]
    pub fn gather(core: u32) -> Self {
        let cpu_id = Identity::read();
        let isa = host::cpu_flags().map(|flags| Isa::of_flags(flags.split_ascii_whitespace()));
        let cpu = cpu_id.brand.clone().or_else(|| host::cpu_model().ok());
        let mut facts = Facts::default();
        facts.put("cpu", cpu.clone().map(Value::from).ok_or("the CPU tells no name"));
        facts.put("vendor", cpu_id.vendor.clone().map(Value::from).ok_or("the CPU tells no vendor"));
        cpu_id.put_into(&mut facts);
        facts.put("microcode", host::microcode());
        facts.put("isa", isa.as_ref().map(|isa| isa.names().into()).map_err(String::clone));
        facts.put(
            "hypervisor",
            cpu_id.hypervisor.clone().map(Value::from).ok_or("no hypervisor reports itself"),
        );
        facts.put("smt", host::smt());
        facts.put("governor", host::governor(core));
        facts.put("kernel", host::kernel());
        facts.put("mitigations", host::mitigations());
        facts.put("speculation_store_bypass", host::speculation_store_bypass());
        facts.put("clocksource", host::clocksource());
        facts.put("tsc", tsc(isa.as_ref().ok()));
        facts.put("perf_event_paranoid", host::perf_event_paranoid());
        Self {
            cpu,
            microarchitecture: cpu_id.microarchitecture(),
            isa: isa.unwrap_or_default(),
            no_counters: host::missing_hardware_counters(),
            facts: facts.finish(),
        }
    }

    /// Everything known, with what the pool found: the body of `GET /machine`.
    #[must_use]
    pub fn describe(&self, pool: &pool::Facts) -> Value {
        let mut body = self.facts.clone();
        body.insert("id".into(), "local".into());
        body.insert("cores".into(), pool.cores.iter().map(|core| core.0).collect());
        body.insert("quick_cores".into(), pool.quick_cores.iter().map(|core| core.0).collect());
        let (counted, missing): (Vec<_>, Vec<_>) =
            pool.events.iter().partition(|event| event.missing.is_none());
        let counted = counted.iter().map(|event| json!({ "name": event.name, "unit": event.unit }));
        body.insert("counters".into(), counted.collect());
        let mut absent: Vec<_> =
            missing.iter().map(|event| json!({ "name": event.name, "reason": event.missing })).collect();
        if let Some(reason) = self.no_counters {
            absent.push(json!({ "name": "*hardware*", "reason": reason }));
        }
        body.insert("absent_counters".into(), absent.into());
        let (missing, in_force): (Vec<_>, Vec<_>) =
            pool.layers.iter().partition(|layer| layer.missing.is_some());
        body.insert("isolation".into(), in_force.iter().map(|layer| layer.name.as_str()).collect());
        let missing = missing.iter().map(|layer| json!({ "name": layer.name, "reason": layer.missing }));
        body.insert("isolation_missing".into(), missing.collect());
        Value::Object(body)
    }

    /// One fact by name; null if it is not known.
    #[must_use]
    pub fn fact(&self, name: &str) -> &Value {
        self.facts.get(name).unwrap_or(&Value::Null)
    }
}

/// Facts being gathered, the unknown ones apart with their reasons.
#[derive(Debug, Default)]
struct Facts {
    known: Map<String, Value>,
    unknown: Map<String, Value>,
}

impl Facts {
    fn put<E: Into<String>>(&mut self, name: &str, fact: Result<Value, E>) {
        let value = fact.unwrap_or_else(|reason| {
            self.unknown.insert(name.to_owned(), Value::String(reason.into()));
            Value::Null
        });
        self.known.insert(name.to_owned(), value);
    }

    fn finish(mut self) -> Map<String, Value> {
        self.known.insert("unknown".into(), Value::Object(self.unknown));
        self.known
    }
}

/// What the `cpuid` instruction tells.
#[derive(Debug)]
struct Identity {
    vendor: Option<String>,
    brand: Option<String>,
    /// Family, model and stepping, extended fields added in.
    signature: Option<(u8, u8, u8)>,
    hypervisor: Option<String>,
}

impl Identity {
    fn read() -> Self {
        let cpuid = CpuId::new();
        Self {
            vendor: cpuid.get_vendor_info().map(|vendor| vendor.as_str().to_owned()),
            brand: cpuid.get_processor_brand_string().map(|brand| brand.as_str().trim().to_owned()),
            signature: cpuid
                .get_feature_info()
                .map(|info| (info.family_id(), info.model_id(), info.stepping_id())),
            hypervisor: cpuid.get_hypervisor_info().map(|info| format!("{:?}", info.identify())),
        }
    }

    fn microarchitecture(&self) -> Option<&'static str> {
        let (family, model, stepping) = self.signature?;
        microarchitecture::name(self.vendor.as_deref()?, family, model, stepping)
    }

    fn put_into(&self, facts: &mut Facts) {
        let absent = "the CPU does not tell";
        facts.put("family", self.signature.map(|(family, ..)| family.into()).ok_or(absent));
        facts.put("model", self.signature.map(|(_, model, _)| model.into()).ok_or(absent));
        facts.put("stepping", self.signature.map(|(.., stepping)| stepping.into()).ok_or(absent));
        let unlisted = "this family and model are in no table of ours";
        facts.put("microarchitecture", self.microarchitecture().map(Value::from).ok_or(unlisted));
    }
}

/// How the time stamp counter behaves, which cycles are measured against.
fn tsc(isa: Option<&Isa>) -> Fact {
    let isa = isa.ok_or("the CPU's flags cannot be read")?;
    Ok(json!({ "constant": isa.has("constant_tsc"), "nonstop": isa.has("nonstop_tsc") }))
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::control::{Event, EventSource, Layer};
    use webrunner_protocol::ids::CoreId;

    use super::*;

    #[test]
    fn a_fact_that_is_null_has_a_reason_and_others_have_none() {
        let machine = Machine::gather(0);
        let unknown = machine.fact("unknown").as_object().unwrap();
        for (name, value) in &machine.facts {
            assert_eq!(value.is_null(), unknown.contains_key(name), "{name}: {value}");
        }
    }

    #[test]
    fn counters_and_layers_are_listed_as_present_or_missing() {
        let pool = pool::Facts {
            cores: vec![CoreId(1)],
            quick_cores: Vec::new(),
            ticks_per_ms: 2_000_000,
            layers: vec![
                Layer { name: "seccomp".into(), missing: None },
                Layer { name: "landlock".into(), missing: Some("kernel too old".into()) },
            ],
            events: vec![
                Event {
                    name: "task-clock".into(),
                    unit: "ns".into(),
                    source: EventSource::Kernel,
                    missing: None,
                },
                Event {
                    name: "Instructions".into(),
                    unit: "1".into(),
                    source: EventSource::Pmu,
                    missing: Some("no PMU".into()),
                },
            ],
        };
        let body = Machine::gather(0).describe(&pool);
        assert_eq!(body["cores"], json!([1]));
        assert_eq!(body["counters"], json!([{ "name": "task-clock", "unit": "ns" }]));
        assert_eq!(body["absent_counters"][0], json!({ "name": "Instructions", "reason": "no PMU" }));
        assert_eq!(body["isolation"], json!(["seccomp"]));
        assert_eq!(body["isolation_missing"], json!([{ "name": "landlock", "reason": "kernel too old" }]));
    }
}
