//! Reads the XML of one specification into plain attributes, each with the line it stands on.
//!
//! Owns the shape of the format: which element may stand where, and which attributes it has. What the attributes mean
//! is for [`specification`](crate::specification) to say.
//!
//! The outline is walked event by event, and each tag's attributes are deserialised on their own, because a
//! deserialiser of the whole file looks ahead and could not name the line of an error. Nothing but elements,
//! attributes, comments and white space is taken: no text, no document type, so no entity beyond the predefined ones.

use quick_xml::Reader;
use quick_xml::errors::serialize::DeError;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::text::shown;

/// Most parameters, and most arguments, a file may list; arguments are bounded further by the call plan.
const MAX_ENTRIES: usize = 64;

/// Something read from a file, and where.
#[derive(Debug)]
pub(crate) struct Located<T> {
    /// Counted from 1.
    pub(crate) line: u32,
    pub(crate) value: T,
}

/// A specification as it is written.
#[derive(Debug)]
pub(crate) struct RawSpecification {
    pub(crate) kernel: Located<RawKernel>,
    pub(crate) parameters: Vec<Located<RawParameter>>,
    pub(crate) call: Located<RawCall>,
    pub(crate) arguments: Vec<Located<RawArgument>>,
    pub(crate) work: Option<Located<RawWork>>,
    pub(crate) check: Option<Located<RawCheck>>,
}

/// Attributes of `<kernel>`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawKernel {
    #[serde(rename = "@name")]
    pub(crate) name: String,
    #[serde(rename = "@namespace")]
    pub(crate) namespace: Option<String>,
    #[serde(rename = "@summary")]
    pub(crate) summary: Option<String>,
}

/// Attributes of `<query>`, which has none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuery {}

/// Attributes of `<parameter>`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawParameter {
    #[serde(rename = "@name")]
    pub(crate) name: String,
    #[serde(rename = "@type")]
    pub(crate) type_name: String,
    #[serde(rename = "@default")]
    pub(crate) default: String,
    #[serde(rename = "@min")]
    pub(crate) min: Option<String>,
    #[serde(rename = "@max")]
    pub(crate) max: Option<String>,
    #[serde(rename = "@summary")]
    pub(crate) summary: Option<String>,
}

/// Attributes of `<call>`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCall {
    #[serde(rename = "@returns")]
    pub(crate) returns: Option<String>,
}

/// Attributes of `<argument>`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawArgument {
    #[serde(rename = "@name")]
    pub(crate) name: String,
    #[serde(rename = "@type")]
    pub(crate) type_name: String,
    #[serde(rename = "@value")]
    pub(crate) value: Option<String>,
    #[serde(rename = "@length")]
    pub(crate) length: Option<String>,
    #[serde(rename = "@offset")]
    pub(crate) offset: Option<String>,
    #[serde(rename = "@fill")]
    pub(crate) fill: Option<String>,
    #[serde(rename = "@direction")]
    pub(crate) direction: Option<String>,
}

/// Attributes of `<work>`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWork {
    #[serde(rename = "@flop")]
    pub(crate) flop: Option<String>,
    #[serde(rename = "@bytes")]
    pub(crate) bytes: Option<String>,
}

/// Attributes of `<check>`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCheck {
    #[serde(rename = "@reference")]
    pub(crate) reference: String,
    #[serde(rename = "@tolerance")]
    pub(crate) tolerance: String,
}

/// What is wrong with a file as XML, or with the outline of the specification in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed.
    #[error("malformed XML: {0}")]
    Malformed(String),
    /// The file ends inside an element.
    #[error("the file ends inside <{0}>")]
    Unclosed(String),
    /// The file declares an encoding other than UTF-8.
    #[error("encoding `{0}` is not supported; save the file as UTF-8")]
    Encoding(String),
    /// Something other than elements and comments.
    #[error("{0} is not allowed here")]
    NotAllowed(&'static str),
    /// An element that does not belong where it stands.
    #[error("unexpected element <{element}> {place}")]
    UnexpectedElement {
        /// The element.
        element: String,
        /// Where it stands: inside which element.
        place: String,
    },
    /// An element that may come once came again.
    #[error("second <{0}>, only one is allowed")]
    Repeated(&'static str),
    /// An element that must come did not.
    #[error("<{0}> is missing")]
    Missing(&'static str),
    /// Far too many of an element.
    #[error("more than {MAX_ENTRIES} <{0}> elements")]
    TooMany(&'static str),
    /// Attributes that are unknown, missing, doubled or malformed.
    #[error("<{element}>: {reason}")]
    Attributes {
        /// The element.
        element: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Reads a whole file.
///
/// # Errors
/// The first thing wrong, and the line it is on.
pub(crate) fn read(text: &str) -> Result<RawSpecification, Located<XmlError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut outline = Outline::default();
    loop {
        let start = reader.buffer_position();
        let event = reader.read_event().map_err(|error| Located {
            line: line_at(text, reader.error_position()),
            value: XmlError::Malformed(shown(&error.to_string())),
        })?;
        let end = matches!(event, Event::Eof);
        let tag = text.get(to_index(start)..to_index(reader.buffer_position())).unwrap_or_default();
        let line = line_at(text, start);
        outline.take(event, tag, line).map_err(|value| Located { line, value })?;
        if end {
            return outline.finish().map_err(|value| Located { line, value });
        }
    }
}

/// Line of a byte offset, counted from 1.
fn line_at(text: &str, offset: u64) -> u32 {
    let before = text.as_bytes().get(..to_index(offset)).unwrap_or(text.as_bytes());
    let breaks = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX - 1) + 1
}

/// An offset past what memory can hold is past the end of any text.
fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// An element of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Kernel,
    Query,
    Parameter,
    Call,
    Argument,
    Work,
    Check,
}

impl Element {
    /// The element of this name, if it may stand in `parent`.
    fn inside(parent: Option<Self>, name: &str) -> Option<Self> {
        Some(match (parent, name) {
            (None, "kernel") => Self::Kernel,
            (Some(Self::Kernel), "query") => Self::Query,
            (Some(Self::Kernel), "call") => Self::Call,
            (Some(Self::Kernel), "work") => Self::Work,
            (Some(Self::Kernel), "check") => Self::Check,
            (Some(Self::Query), "parameter") => Self::Parameter,
            (Some(Self::Call), "argument") => Self::Argument,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Query => "query",
            Self::Parameter => "parameter",
            Self::Call => "call",
            Self::Argument => "argument",
            Self::Work => "work",
            Self::Check => "check",
        }
    }
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Outline {
    open: Vec<Element>,
    kernel: Option<Located<RawKernel>>,
    query: Option<Located<RawQuery>>,
    parameters: Vec<Located<RawParameter>>,
    call: Option<Located<RawCall>>,
    arguments: Vec<Located<RawArgument>>,
    work: Option<Located<RawWork>>,
    check: Option<Located<RawCheck>>,
}

impl Outline {
    fn take(&mut self, event: Event<'_>, tag: &str, line: u32) -> Result<(), XmlError> {
        match event {
            Event::Start(start) => {
                let element = self.element(&start)?;
                self.open.push(element);
                // Closed at once, the tag is a document of its own and can be deserialised apart from its content.
                self.store(element, &format!("{tag}</{}>", element.name()), line)
            }
            Event::Empty(start) => {
                let element = self.element(&start)?;
                self.store(element, tag, line)
            }
            // The reader has checked that the names match.
            Event::End(_) => {
                self.open.pop();
                Ok(())
            }
            Event::Text(_) if tag.trim_ascii().is_empty() => Ok(()),
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => Err(XmlError::NotAllowed("text")),
            Event::DocType(_) => Err(XmlError::NotAllowed("a document type")),
            Event::PI(_) => Err(XmlError::NotAllowed("a processing instruction")),
            Event::Decl(declaration) => check_encoding(&declaration),
            Event::Comment(_) => Ok(()),
            Event::Eof => match self.open.last() {
                Some(element) => Err(XmlError::Unclosed(element.name().to_owned())),
                None => Ok(()),
            },
        }
    }

    /// Which element a tag opens.
    fn element(&self, start: &BytesStart<'_>) -> Result<Element, XmlError> {
        let parent = self.open.last().copied();
        Element::inside(parent, start.name().as_ref()).ok_or_else(|| XmlError::UnexpectedElement {
            element: shown(start.name().as_ref()),
            place: parent.map_or_else(|| "at the top".to_owned(), |parent| format!("in <{}>", parent.name())),
        })
    }

    fn store(&mut self, element: Element, document: &str, line: u32) -> Result<(), XmlError> {
        match element {
            Element::Kernel => once(&mut self.kernel, element, document, line),
            Element::Query => once(&mut self.query, element, document, line),
            Element::Parameter => append(&mut self.parameters, element, document, line),
            Element::Call => once(&mut self.call, element, document, line),
            Element::Argument => append(&mut self.arguments, element, document, line),
            Element::Work => once(&mut self.work, element, document, line),
            Element::Check => once(&mut self.check, element, document, line),
        }
    }

    fn finish(self) -> Result<RawSpecification, XmlError> {
        Ok(RawSpecification {
            kernel: self.kernel.ok_or(XmlError::Missing("kernel"))?,
            parameters: self.parameters,
            call: self.call.ok_or(XmlError::Missing("call"))?,
            arguments: self.arguments,
            work: self.work,
            check: self.check,
        })
    }
}

fn once<T: DeserializeOwned>(
    place: &mut Option<Located<T>>,
    element: Element,
    document: &str,
    line: u32,
) -> Result<(), XmlError> {
    if place.is_some() {
        return Err(XmlError::Repeated(element.name()));
    }
    *place = Some(Located { line, value: attributes(element, document)? });
    Ok(())
}

fn append<T: DeserializeOwned>(
    list: &mut Vec<Located<T>>,
    element: Element,
    document: &str,
    line: u32,
) -> Result<(), XmlError> {
    if list.len() == MAX_ENTRIES {
        return Err(XmlError::TooMany(element.name()));
    }
    list.push(Located { line, value: attributes(element, document)? });
    Ok(())
}

fn attributes<T: DeserializeOwned>(element: Element, document: &str) -> Result<T, XmlError> {
    quick_xml::de::from_str(document).map_err(|error: DeError| {
        // serde calls an attribute a field and its name `@name`, which would puzzle the author of a file.
        let reason = error.to_string().replace("field `@", "attribute `").replace("`@", "`");
        XmlError::Attributes { element: element.name(), reason: reason.escape_debug().take(400).collect() }
    })
}

fn check_encoding(declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii") => {
            Ok(())
        }
        Some(Ok(name)) => Err(XmlError::Encoding(shown(&name))),
        Some(Err(error)) => Err(XmlError::Malformed(shown(&error.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> (u32, String) {
        let error = read(text).unwrap_err();
        (error.line, error.value.to_string())
    }

    #[test]
    fn lines_are_those_of_the_opening_tag() {
        let raw = read("<?xml version='1.0' encoding='utf-8'?>\n<kernel name=\"k\">\n<!-- \n -->\n<call>\n\n<argument name='n'\n type='int' value='1'/>\n</call></kernel>\n").unwrap();
        assert_eq!((raw.kernel.line, raw.call.line, raw.arguments[0].line), (2, 5, 7));
    }

    #[test]
    fn predefined_entities_are_resolved_and_others_refused() {
        let raw = read("<kernel name='k' summary='a &lt; b &#x26; c'><call/></kernel>").unwrap();
        assert_eq!(raw.kernel.value.summary.as_deref(), Some("a < b & c"));
        let (_, reason) = refusal("<kernel name='k' summary='&bomb;'><call/></kernel>");
        assert!(reason.contains("bomb"), "{reason}");
        let (line, reason) = refusal("\n<!DOCTYPE kernel [<!ENTITY bomb 'x'>]><kernel name='k'/>");
        assert_eq!((line, reason.as_str()), (2, "a document type is not allowed here"));
    }

    #[test]
    fn attributes_are_held_to_the_format() {
        let within = |tag: &str| format!("<kernel name='k'>\n<query>\n{tag}\n</query><call/></kernel>");
        let cases = [
            (
                "<parameter name='n' type='int8' default='0' size='1'/>",
                "<parameter>: unknown attribute `size`",
            ),
            ("<parameter name='n' default='0'/>", "<parameter>: missing attribute `type`"),
            ("<parameter name='n' name='n' type='int8' default='0'/>", "<parameter>: "),
            ("<parameter name=n/>", "<parameter>: "),
            (
                "<parameter name='n' type='int8' default='0' xmlns='x'/>",
                "<parameter>: unknown attribute `xmlns`",
            ),
        ];
        for (tag, expected) in cases {
            let (line, reason) = refusal(&within(tag));
            assert_eq!(line, 3, "{tag}");
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn the_outline_is_held_to_the_format() {
        let cases = [
            ("", 1, "<kernel> is missing"),
            ("<kernel name='k'>\n</kernel>", 2, "<call> is missing"),
            ("<kernel name='k'><call/>\n<call/></kernel>", 2, "second <call>, only one is allowed"),
            (
                "<kernel name='k'><call/></kernel>\n<kernel name='k'/>",
                2,
                "second <kernel>, only one is allowed",
            ),
            ("<kernel name='k'>\n<argument/></kernel>", 2, "unexpected element <argument> in <kernel>"),
            ("<spec/>", 1, "unexpected element <spec> at the top"),
            ("<kernel name='k'><call>\n", 2, "the file ends inside <call>"),
            ("<kernel name='k'>\nhello<call/></kernel>", 1, "text is not allowed here"),
            ("<kernel name='k'>\n<?go?><call/></kernel>", 2, "a processing instruction is not allowed here"),
        ];
        for (text, line, reason) in cases {
            assert_eq!(refusal(text), (line, reason.to_owned()), "{text}");
        }
        assert!(
            refusal("<?xml version='1.0' encoding='utf-16'?><kernel/>").1.contains("save the file as UTF-8")
        );
        assert!(refusal("<kernel name='k'>\n</call>").1.starts_with("malformed XML"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,400}") {
            let _ = read(&text);
        }

        #[test]
        fn text_made_of_tags_is_read_or_refused(
            parts in prop::collection::vec(prop::sample::select(vec![
                "<kernel name='k'>", "</kernel>", "<call>", "</call>", "<call/>", "<query>", "</query>", "<argument name='", "'/>",
                "<parameter ", "&amp;", "&x;", "<!--", "-->", "<![CDATA[", "]]>", "\n", "é", "\u{feff}", "<?xml ", "?>", "<!DOCTYPE",
            ]), 0..30)
        ) {
            let _ = read(&parts.concat());
        }
    }
}
