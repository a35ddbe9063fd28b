//! Figures from block counting: exact counts of what one call executed.
//!
//! The worker sends numbers only; mnemonics are named here, by the same version of the decoder.

use iced_x86::Mnemonic;
use serde_json::{Map, Value, json};
use webrunner_protocol::counts::{Counting, Counts};

use super::{Report, Row};

/// Source of these figures.
const BLOCK_COUNT: &str = "block-count";

/// Name of the one figure that is always listed, as absent if it is not there.
pub(super) const INSTRUCTIONS: &str = "Instructions";

const SINGLE_FLOPS: [&str; 4] = ["SingleFlopsScalar", "SingleFlops128", "SingleFlops256", "SingleFlops512"];
const DOUBLE_FLOPS: [&str; 4] = ["DoubleFlopsScalar", "DoubleFlops128", "DoubleFlops256", "DoubleFlops512"];

/// Every count of a call that was counted whole; widths that were not used are left out.
pub(super) fn rows<'a>(report: &Report<'a>) -> Vec<Row<'a>> {
    let Some(counts) = report.measurement.counts.whole() else { return Vec::new() };
    let fixed = [
        (INSTRUCTIONS, "instructions", counts.instructions),
        ("Loads", "instructions", counts.loads),
        ("Stores", "instructions", counts.stores),
        ("BytesLoaded", "bytes", counts.load_bytes),
        ("BytesStored", "bytes", counts.store_bytes),
        ("Branches", "instructions", counts.branches),
        ("Calls", "instructions", counts.calls),
    ];
    let single = SINGLE_FLOPS.into_iter().zip(counts.single_flops);
    let double = DOUBLE_FLOPS.into_iter().zip(counts.double_flops);
    let flops = single.chain(double).filter(|(_, count)| *count > 0);
    let x87 = Some(("X87Flops", counts.x87_flops)).filter(|(_, count)| *count > 0);
    let rows = fixed.into_iter().chain(flops.chain(x87).map(|(name, count)| (name, "flop", count)));
    let row = |(name, unit, count)| Row {
        name,
        unit,
        source: BLOCK_COUNT,
        value: count as f64,
        n: 1,
        spread: None,
        samples: None,
    };
    rows.map(row).collect()
}

/// Why there are no counts; `None` if there are.
pub(super) fn absence(counting: &Counting) -> Option<String> {
    match counting {
        Counting::Counted(_) => None,
        Counting::RanOut(counts) => Some(format!(
            "the counted call was stopped after {} instructions; try a smaller problem or more effort",
            counts.instructions
        )),
        Counting::Impossible(reason) => Some(reason.to_string()),
        Counting::NotAsked => Some("not asked for; add _counts=yes (--counts yes)".into()),
    }
}

/// Floating-point operations of all widths.
pub(super) fn flops(counts: &Counts) -> u64 {
    let vector = counts.single_flops.iter().chain(&counts.double_flops);
    vector.fold(counts.x87_flops, |sum, &count| sum.saturating_add(count))
}

/// Bytes read and written.
pub(super) fn bytes(counts: &Counts) -> u64 {
    counts.load_bytes.saturating_add(counts.store_bytes)
}

/// The counts that are no single figure: instructions by class and by mnemonic, and turns of loops.
pub(super) fn breakdown(counting: &Counting) -> Value {
    let Some(counts) = counting.whole() else { return Value::Null };
    let mix: Map<String, Value> =
        counts.mix.iter().map(|entry| (mnemonic(entry.mnemonic), entry.count.into())).collect();
    let loops: Vec<Value> =
        counts.loops.iter().map(|turns| json!({ "offset": turns.offset, "turns": turns.count })).collect();
    let classes = &counts.classes;
    json!({
        "classes": {
            "general": classes.general,
            "x87_mmx": classes.x87_mmx,
            "sse": classes.sse,
            "avx": classes.avx,
            "avx512": classes.avx512,
        },
        "mix": mix,
        "loops": loops,
        "string_elements": counts.string_elements,
        "unlisted": {
            "mnemonics": counts.unlisted.mnemonics,
            "instructions": counts.unlisted.instructions,
            "loops": counts.unlisted.loops,
        },
    })
}

fn mnemonic(number: u16) -> String {
    match Mnemonic::try_from(usize::from(number)) {
        Ok(mnemonic) => format!("{mnemonic:?}").to_lowercase(),
        Err(_) => format!("unknown_{number}"),
    }
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::counts::MnemonicCount;

    use super::*;

    #[test]
    fn mnemonics_are_named_and_forged_ones_do_no_harm() {
        let mix =
            [Mnemonic::Vfmadd231ps as u16, u16::MAX].map(|mnemonic| MnemonicCount { mnemonic, count: 1 });
        let counting = Counting::Counted(Box::new(Counts { mix: mix.to_vec(), ..Counts::default() }));
        assert_eq!(breakdown(&counting)["mix"], json!({ "vfmadd231ps": 1, "unknown_65535": 1 }));
    }
}
