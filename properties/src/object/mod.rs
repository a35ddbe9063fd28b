//! An ELF object through the loader, as a worker takes it.
//!
//! An object that the loader accepts must have a layout within its limits, a guard page around every segment, an entry
//! in its text, and every byte of its image must be what [`independent`] makes of the same file with another library.

mod independent;
mod psabi;

use webrunner_protocol::job::EntryRule;
use webrunner_protocol::limits::{MAX_IMAGE_BYTES, MAX_OBJECT_BYTES};
use webrunner_protocol::refusal::ObjectRefusal;
use webrunner_worker::load::{Entry, ImageLayout, LinkError, Object, PAGE_BYTES, Rights};

use crate::memory;

/// Where images are loaded.
const BASE: u64 = 0x1000_0000;

/// What the loader promises for all it allocates, in `worker/src/load/mod.rs`.
const MAX_LOADER_BYTES: u64 = 3 << 19;

/// Largest image whose bytes are compared: filling tens of mebibytes of zeroes for each input finds nothing.
const MAX_COMPARED_BYTES: u64 = 1 << 20;

/// Loads an object and checks what came of it.
///
/// # Errors
/// The loader's refusal.
///
/// # Panics
/// If something that must hold does not.
pub fn check(bytes: &[u8]) -> Result<(), ObjectRefusal> {
    if bytes.len() > MAX_OBJECT_BYTES {
        return Ok(());
    }
    memory::within(MAX_LOADER_BYTES, "the loader", || Object::parse(bytes).map(|_| ()))?;
    let object = Object::parse(bytes)?;
    check_layout(object.layout());
    let expected = independent::Image::read(bytes);
    let expected = match expected {
        Ok(image) => image,
        Err(difference) => panic!("taken here, but not by the object crate: {difference}"),
    };
    assert_eq!(object.layout(), &expected.layout(), "the layout differs");
    check_entries(&object, &expected);
    if object.layout().bytes <= MAX_COMPARED_BYTES {
        check_image(&object, &expected)?;
    }
    Ok(())
}

/// Whole pages in order, a closed page before, between and after, no more than the limit.
fn check_layout(layout: &ImageLayout) {
    let mut free = PAGE_BYTES;
    for segment in &layout.segments {
        assert!(segment.offset >= free, "no guard page before {segment:?}");
        assert!(segment.offset.is_multiple_of(PAGE_BYTES), "{segment:?} begins inside a page");
        assert!(segment.bytes > 0 && segment.bytes.is_multiple_of(PAGE_BYTES), "no whole pages: {segment:?}");
        free = segment.offset + segment.bytes + PAGE_BYTES;
    }
    assert_eq!(layout.bytes, free, "no guard page at the end");
    assert!(layout.segments.iter().map(|segment| segment.bytes).sum::<u64>() <= MAX_IMAGE_BYTES);
}

/// Whichever function is asked for, what is found lies in text and is where the other reader has it.
fn check_entries(object: &Object<'_>, expected: &independent::Image<'_>) {
    let named = ["sdot", "chain", "main", ""].map(|name| Some(name.to_owned()));
    for symbol in named.into_iter().chain([None]) {
        let Ok(entry) = object.entry(&EntryRule { symbol, kernel: "kernel".into() }) else { continue };
        let text = object.layout().segments[0];
        assert_eq!(text.rights, Rights::ReadExecute, "an entry without text");
        let Entry { offset, text_offset, size, .. } = entry;
        assert_eq!(offset, text.offset + text_offset);
        assert!(text_offset < text.bytes && size <= text.bytes - text_offset, "{entry:?} is not in {text:?}");
        if let Some(name) = &entry.symbol {
            assert!(expected.has_function(name, offset), "no symbol {name} at {offset:#x}");
        }
    }
}

fn check_image(object: &Object<'_>, expected: &independent::Image<'_>) -> Result<(), ObjectRefusal> {
    let mut segments: Vec<_> =
        object.layout().segments.iter().map(|segment| vec![0; segment.bytes as usize]).collect();
    let mut memory: Vec<_> = segments.iter_mut().map(Vec::as_mut_slice).collect();
    let linked = object.link(BASE, &mut memory);
    match (linked, expected.link(BASE)) {
        (Ok(()), Some(expected)) => {
            for (found, wanted) in segments.iter().zip(&expected) {
                let at = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
                assert!(at.is_none(), "the images differ at {at:#x?}");
            }
            Ok(())
        }
        (Err(LinkError::Object(refusal)), None) => Err(refusal),
        (Err(LinkError::Base { .. } | LinkError::Memory), _) => {
            panic!("memory of its own layout was refused")
        }
        (linked, expected) => panic!("{linked:?} here, a value that does not fit: {}", expected.is_none()),
    }
}
