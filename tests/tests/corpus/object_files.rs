//! Rows E1 to E11: what can be wrong with the file. It is refused by name, or it is loaded after all and then runs as
//! locked as any other; the worker never dies of it.

use serde_json::json;
use webrunner_tests::http::{Answer, Request, slug};
use webrunner_tests::objects;

use crate::elf::{Object, RELOCATION_BYTES, header, relocation, section, symbol};
use crate::outcome::is_measured;
use crate::target::{Target, body, locked, request_of};

const PLAYGROUND: &str = "kernel=playground";

/// The largest object taken.
const MOST_BYTES: usize = 1 << 20;

fn post(target: &Target, object: &Object) -> Answer {
    target.send(&request_of(object.bytes(), PLAYGROUND))
}

/// Asserts that an answer refuses the object in a sentence with these words.
fn is_refused(answer: &Answer, what: &str, words: &str) {
    let problem = body(answer);
    assert_eq!((answer.status, slug(&problem)), (422, "bad-object"), "{what}: {problem}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains(words)), "{what}: {problem}");
}

/// Posts committed objects that are to be refused.
fn refuse(target: &Target, objects: &[(&str, &str)]) {
    target.unharmed_by(|| {
        for (object, words) in objects {
            is_refused(&target.post(&format!("bad/{object}.o"), PLAYGROUND), object, words);
        }
    });
}

/// Posts spoilt objects that are to be refused.
fn refuse_spoilt(target: &Target, objects: Vec<(&str, Object, &str)>) {
    target.unharmed_by(|| {
        for (what, object, words) in objects {
            is_refused(&post(target, &object), what, words);
        }
    });
}

/// Posts spoilt objects that are loaded: what comes of them is a measurement or a fault of their own.
fn load(target: &Target, objects: Vec<(&str, Object)>) {
    target.unharmed_by(|| {
        for (what, object) in objects {
            let answer = post(target, &object);
            let body = body(&answer);
            assert!(answer.status == 200 || slug(&body) == "fault", "{what}: {body}");
        }
    });
}

/// E1. Cut at every byte; nothing, one byte, as much as there may be, and one more.
#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let target = locked();
    let whole = objects::read("good/base_gas.o");
    let cut = (0..whole.len()).map(|bytes| request_of(&whole[..bytes], PLAYGROUND));
    for (bytes, answer) in target.unharmed_by(|| target.send_all(cut)).into_iter().enumerate() {
        is_refused(&answer, &format!("{bytes} bytes"), "");
    }
    target.unharmed_by(|| {
        is_refused(&target.send(&request_of(&vec![0; MOST_BYTES], PLAYGROUND)), "1 MiB", "not an ELF file");
        let larger = target.send(&request_of(&vec![0; MOST_BYTES + 1], PLAYGROUND));
        assert_eq!((larger.status, larger.slug().as_str()), (413, "body-too-large"));
    });
    refuse(
        &target,
        &[
            ("empty_file", "body is empty"),
            ("one_byte", "not an ELF file"),
            ("truncated_header", "not an ELF file"),
        ],
    );
}

/// E2. Files of other kinds: other formats, classes, byte orders, machines, types, versions.
#[test]
fn a_file_of_another_kind_is_refused() {
    let target = locked();
    refuse(
        &target,
        &[
            ("text_file", "not an ELF file"),
            ("zip_header", "not an ELF file"),
            ("class_32", "class is 1, expected 2"),
            ("big_endian", "byte order is 2, expected 1"),
            ("ident_version", "version is 2, expected 1"),
            ("file_version", "version is 2, expected 1"),
            ("et_exec", "type is 2, expected 1"),
            ("et_dyn", "type is 3, expected 1"),
            ("et_core", "type is 4, expected 1"),
            ("machine_aarch64", "machine is 183, expected 62"),
            ("program_headers", "number of program headers is 1, expected 0"),
        ],
    );
    refuse_spoilt(
        &target,
        vec![("flags", Object::good().header(header::FLAGS, u32::MAX.into()), "flags field is 4294967295")],
    );
    let windows = [&b"MZ\x90\0"[..], &[0; 200]].concat();
    is_refused(&target.send(&request_of(&windows, PLAYGROUND)), "PE", "not an ELF file");
}

/// E3. The section table: its length, its place, its names.
#[test]
fn a_wrong_section_table_is_refused() {
    let target = locked();
    let good = Object::good;
    let table = "section header table 0 does not fit the file";
    refuse_spoilt(
        &target,
        vec![
            ("none", good().header(header::SECTIONS, 0), table),
            ("65535", good().header(header::SECTIONS, 0xffff), "65535 sections, the limit is"),
            ("one", good().header(header::SECTIONS, 1), "section 12 does not fit the file"),
            ("odd size", good().header(header::SECTION_HEADER_BYTES, 65), "header size is 65, expected 64"),
            ("odd place", good().header(header::SECTIONS_AT, 65), "does not fit the file"),
            ("at the start", good().header(header::SECTIONS_AT, 0), table),
            ("at the end", good().header(header::SECTIONS_AT, good().bytes().len() as u64), table),
            ("at 2^64 - 1", good().header(header::SECTIONS_AT, u64::MAX), table),
            ("names by XINDEX", good().header(header::NAMES, 0xffff), "section 65535 does not fit the file"),
            ("no names", good().header(header::NAMES, 0), "name 1 does not fit the file"),
            (
                "names in text",
                good().header(header::NAMES, good().index_of(".text")),
                "string table 1 does not fit",
            ),
        ],
    );
    refuse(
        &target,
        &[
            ("truncated", table),
            ("truncated_half", table),
            ("section_header_size", "section header size is 40, expected 64"),
            ("section_table_far", table),
            ("section_table_wraps", table),
            ("section_count", "65279 sections, the limit is"),
            ("section_count_extended", "4294967296 sections, the limit is"),
            ("section_names_outside", "section 32767 does not fit the file"),
            ("section_name_outside", "name 1 does not fit the file"),
        ],
    );
}

/// E4. Sections: ends that wrap, places outside, alignments that are none. Sections that overlap are taken: each is
/// copied to a place of its own.
#[test]
fn a_wrong_section_is_refused() {
    let target = locked();
    let good = Object::good;
    refuse_spoilt(
        &target,
        vec![
            (
                "offset 2^64 - 1",
                good().section(".text", section::OFFSET, u64::MAX),
                "section 1 does not fit the file",
            ),
            (
                "2^64 - 1 bytes",
                good().section(".text", section::BYTES, u64::MAX),
                "section 1 does not fit the file",
            ),
            (
                "alignment 2^20",
                good().section(".bss", section::ALIGNMENT, 1 << 20),
                "expected a power of two up to",
            ),
        ],
    );
    refuse(
        &target,
        &[
            ("section_outside", "section 1 does not fit the file"),
            ("section_wraps", "section 1 does not fit the file"),
            ("section_alignment_3", ".data has alignment 3, expected a power of two"),
            ("section_alignment_huge", ".data has alignment 9223372036854775808, expected"),
            ("section_unknown_type", "Section .data is of type 0x60000001"),
        ],
    );
    load(
        &target,
        vec![
            ("text in the header", good().section(".text", section::OFFSET, 0)),
            ("constants in text", good().section(".rodata", section::OFFSET, 64)),
        ],
    );
}

/// E5. Zeroed data: 2^40 bytes, 2^64 - 1, and thousands of times 1 GiB. Refused by the sum, before anything is mapped.
#[test]
fn more_zeroed_data_than_there_may_be_is_refused() {
    let target = locked();
    let good = Object::good;
    refuse_spoilt(
        &target,
        vec![
            (
                "2^40",
                good().section(".bss", section::BYTES, 1 << 40),
                "bytes when loaded, the limit is 67108864",
            ),
            (
                "2^64 - 1",
                good().section(".bss", section::BYTES, u64::MAX),
                "bytes when loaded, the limit is 67108864",
            ),
            ("4000 times 1 GiB", good().with_huge_sections(4000), "bytes when loaded, the limit is 67108864"),
            ("16000 times 1 GiB", good().with_huge_sections(16_000), "16013 sections, the limit is 4096"),
        ],
    );
    refuse(
        &target,
        &[
            ("bss_sum_wraps", "bytes when loaded, the limit is"),
            ("huge_bss", "takes 1099511627776 bytes when loaded"),
            ("huge_common", "takes 1099511627776 bytes when loaded"),
        ],
    );
}

/// E6. Symbols and their names: sizes, links, ends, lengths, and bytes no terminal or page should see.
#[test]
fn wrong_symbols_are_refused_and_their_names_are_harmless() {
    let target = locked();
    let good = Object::good;
    let itself = good().index_of(".symtab");
    refuse_spoilt(
        &target,
        vec![
            (
                "link to itself",
                good().section(".symtab", section::LINK, itself),
                "string table 10 does not fit",
            ),
            ("no NUL", good().section(".strtab", section::BYTES, 5), "string table 11 does not fit the file"),
            (
                "name outside",
                good().symbol("playground", symbol::NAME, 1 << 30),
                "name 9 does not fit the file",
            ),
        ],
    );
    refuse(
        &target,
        &[
            ("symbol_table_entries", "symbol table 10 does not fit the file"),
            ("symbol_names_link", "string table 32767 does not fit the file"),
            ("symbol_name_outside", "name 9 does not fit the file"),
            ("symbol_section_outside", "symbol 9 does not fit the file"),
            ("symbol_extended_index", "Symbol playground is in a section with an extended index"),
        ],
    );
    let name_of = |name: &[u8]| {
        let object = good().with_entry_named(name);
        let answer = target.unharmed_by(|| {
            target.send(&request_of(object.bytes(), &format!("{PLAYGROUND}&_symbol=nowhere")))
        });
        let problem = body(&answer);
        assert_eq!(slug(&problem), "missing-symbol", "{problem}");
        problem["candidates"][0].as_str().expect("a name").to_owned()
    };
    assert!(!name_of(b"\x1b[31m<script>\n\xff").contains(|letter: char| letter.is_control()));
    assert!(name_of(&vec![b'A'; 900_000]).len() <= 128);
}

/// E7. Relocations: outside their section, of no symbol, of no type, too far for their field, to nothing.
#[test]
fn a_wrong_relocation_is_refused_by_its_number() {
    let target = locked();
    let good = Object::good;
    let text = ".rela.text";
    refuse_spoilt(
        &target,
        vec![
            (
                "offset",
                good().relocation(text, relocation::OFFSET, u64::MAX),
                "writes at offset 18446744073709551615",
            ),
            (
                "symbol",
                good().relocation(text, relocation::SYMBOL, u32::MAX.into()),
                "names symbol 4294967295",
            ),
            ("type", good().relocation(text, relocation::TYPE, u32::MAX.into()), "has type 4294967295"),
        ],
    );
    refuse(
        &target,
        &[
            ("relocation_outside", "Relocation 0 of section .text writes at offset 1099511627776, outside"),
            (
                "relocation_straddles",
                "Relocation 0 of section .data writes at offset 4, outside the section.",
            ),
            ("relocation_type", "Relocation 0 of section .text has type 255"),
            ("relocation_symbol", "Relocation 0 of section .text names symbol 16777215"),
            (
                "relocation_overflow",
                "Relocation 0 of section .text (type 2, symbol .rodata) overflows its field.",
            ),
            ("undefined", "Symbol puts is undefined; an object must bring all it calls."),
        ],
    );
}

/// E8. Every relocation type from 0 to 255: those of the psABI that an object can use by itself, and no other.
#[test]
fn relocation_types_are_taken_by_a_written_table() {
    let target = locked();
    // As in the table of `worker/src/load/relocation.rs`: NONE to PC8, then PC64 to SIZE64, then the relaxable ones.
    const TAKEN: [u64; 24] =
        [0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 41, 42];
    target.unharmed_by(|| {
        for kind in 0..256 {
            let object = Object::good().relocation(".rela.text", relocation::TYPE, kind);
            let answer = post(&target, &object);
            let unknown = format!("Relocation 0 of section .text has type {kind}, which");
            if TAKEN.contains(&kind) {
                // It writes over an instruction it is not meant for: what then runs, or does not fit, is the object's
                // affair.
                assert!(!answer.text().contains("has type"), "{kind}: {}", answer.text());
                assert!(answer.status < 500, "{kind}: {}", answer.text());
            } else {
                is_refused(&answer, &kind.to_string(), unknown.trim_end_matches(", which"));
            }
        }
    });
    refuse(
        &target,
        &[("ifunc", "Symbol playground is an indirect function"), ("tls", "Section .tdata is thread-local")],
    );
}

/// E9. Tables of relocations: for themselves, for what is not loaded, two for one section, without addends, very long.
#[test]
fn odd_tables_of_relocations_are_refused_or_done() {
    let target = locked();
    let good = Object::good;
    let table = "relocation table 2 does not fit the file";
    refuse_spoilt(
        &target,
        vec![
            ("for no section", good().section(".rela.text", section::INFO, 0), table),
            ("of no symbols", good().section(".rela.text", section::LINK, good().index_of(".strtab")), table),
            ("of odd length", good().section(".rela.text", section::BYTES, 25), table),
            (
                "without addends",
                good().section(".rela.text", section::TYPE, 9),
                "relocation table without addends",
            ),
        ],
    );
    refuse(
        &target,
        &[
            ("relocation_target", "relocation table 2 does not fit the file"),
            ("relocation_without_addend", "Section .rela.text is a relocation table without addends"),
        ],
    );
    // Tables for what is not loaded are passed over; the function then lacks its relocations, and faults.
    let (itself, symbols) = (good().index_of(".rela.text"), good().index_of(".symtab"));
    let many = vec![0; 40_000 * RELOCATION_BYTES];
    let long = good().section(".rela.text", section::OFFSET, good().bytes().len() as u64).section(
        ".rela.text",
        section::BYTES,
        many.len() as u64,
    );
    load(
        &target,
        vec![
            ("for itself", good().section(".rela.text", section::INFO, itself)),
            ("for symbols", good().section(".rela.text", section::INFO, symbols)),
            ("two for one", good().section(".rela.data", section::INFO, good().index_of(".text"))),
            ("40000 of NONE", long.append(&many)),
        ],
    );
}

/// E10. The entry: missing, twice, weak, local, no function, in data, without a size, outside, absolute, undefined.
#[test]
fn an_entry_is_a_function_in_the_object_s_text_or_none() {
    let target = locked();
    let good = Object::good;
    let entry = |field, value| good().symbol("playground", field, value);
    let not_a_function = "Symbol playground is not a function in the object's text.";
    let same_name =
        good().symbol("nine", symbol::INFO, 0x12).symbol("nine", symbol::NAME, good().name_of("playground"));
    target.unharmed_by(|| {
        for (what, object, words) in [
            ("object", entry(symbol::INFO, 0x11), not_a_function),
            ("absolute", entry(symbol::SECTION, 0xfff1), not_a_function),
            ("common", entry(symbol::SECTION, 0xfff2), not_a_function),
            ("in data", entry(symbol::SECTION, good().index_of(".data")), not_a_function),
            ("undefined", entry(symbol::SECTION, 0), "no function named playground"),
            ("twice", same_name, "playground"),
        ] {
            let problem = body(&post(&target, &object));
            assert_eq!(slug(&problem), "missing-symbol", "{what}: {problem}");
            assert!(problem["detail"].as_str().is_some_and(|text| text.contains(words)), "{what}: {problem}");
        }
        for (what, words) in [
            ("no_code", "The object has no code."),
            ("entry_is_data", not_a_function),
            ("entry_absolute", not_a_function),
        ] {
            let problem = body(&target.post(&format!("bad/{what}.o"), PLAYGROUND));
            assert_eq!((slug(&problem), &problem["detail"]), ("missing-symbol", &json!(words)), "{what}");
        }
        for (what, object) in [
            ("weak", entry(symbol::INFO, 0x22)),
            ("local", entry(symbol::INFO, 0x02)),
            ("without a size", entry(symbol::BYTES, 0)),
            ("of 1 TiB", entry(symbol::BYTES, 1 << 40)),
        ] {
            assert_eq!(post(&target, &object).status, 200, "{what}");
        }
        is_measured(&target.post("bad/entry_undefined.o", PLAYGROUND));
    });
    refuse_spoilt(
        &target,
        vec![
            ("outside", entry(symbol::VALUE, 1 << 30), "Symbol playground lies outside its section."),
            ("thread-local", entry(symbol::INFO, 0x16), "Symbol playground is thread-local"),
            ("indirect", entry(symbol::INFO, 0x1a), "Symbol playground is an indirect function"),
        ],
    );
    refuse(&target, &[("symbol_outside", "Symbol playground lies outside its section.")]);
}

/// E11. Sections with rights or meanings that are not given: written and executed, compressed, thread-local, constructors.
#[test]
fn sections_that_would_run_or_change_by_themselves_are_refused() {
    let target = locked();
    let good = Object::good;
    refuse_spoilt(
        &target,
        vec![
            ("W and X", good().section(".data", section::FLAGS, 0x7), "both writable and executable"),
            ("compressed", good().section(".data", section::FLAGS, 0x803), "is compressed"),
            ("thread-local", good().section(".data", section::FLAGS, 0x403), "is thread-local"),
            ("constructors", good().section(".data", section::TYPE, 14), "is a table of constructors"),
        ],
    );
    refuse(
        &target,
        &[
            ("writable_code", "Section .both is both writable and executable"),
            ("section_compressed", "Section .rodata is compressed"),
            ("tls", "Section .tdata is thread-local"),
            ("constructor", "Section .init_array is a table of constructors"),
            ("ctors", "Section .ctors is a table of constructors"),
        ],
    );
    // A group says what a linker may drop; whoever links nothing else need not care.
    load(&target, vec![("group", good().section(".note.GNU-stack", section::TYPE, 17))]);
    let answer =
        target.unharmed_by(|| target.send(&Request::post("/x/run?kernel=playground", good().bytes())));
    is_measured(&answer);
}
