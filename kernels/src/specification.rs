//! Turns the attributes of a file into a kernel, or says which line is wrong and why.
//!
//! A specification comes from an operator, so its mistakes must be found when it is loaded: names that clash,
//! parameters that nothing uses, expressions over unknown parameters, defaults that do not make a call. What is left
//! to go wrong at a request is what the client chose.

use webrunner_protocol::limits::MAX_ARGUMENTS;
use webrunner_protocol::plan::ElementType;

use crate::argument::{ArgumentSpecification, expression};
use crate::expression::{Expression, ExpressionError};
use crate::kernel::{Check, Kernel};
use crate::parameter::{Parameter, check_summary};
use crate::reference::Reference;
use crate::refusal::ParameterError;
use crate::text::{is_identifier, shown};
use crate::types::{Value, parse_decimal, parse_return};
use crate::xml::{
    self, Located, RawArgument, RawCheck, RawKernel, RawParameter, RawSpecification, RawWork, XmlError,
};

/// What is wrong with a specification.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum SpecificationError {
    #[error(transparent)]
    Xml(#[from] XmlError),
    #[error("{what} name `{name}` is no C identifier of at most 64 characters")]
    Name { what: &'static str, name: String },
    #[error("parameter name `{name}` begins with `_`, which is kept for the service's own parameters")]
    ReservedName { name: String },
    #[error("{what} `{name}` is declared twice")]
    Duplicate { what: &'static str, name: String },
    #[error("the summary is longer than 512 bytes")]
    SummaryTooLong,
    #[error("unknown {what} type `{text}`")]
    Type { what: &'static str, text: String },
    #[error("{attribute} of parameter `{parameter}` is no {parameter_type}: `{text}`")]
    Value { parameter: String, attribute: &'static str, text: String, parameter_type: &'static str },
    #[error("default {default} of parameter `{parameter}` is outside its range, {min} to {max}")]
    Default { parameter: String, default: Value, min: Value, max: Value },
    #[error("{count} arguments, the limit is {MAX_ARGUMENTS}")]
    TooManyArguments { count: usize },
    #[error("{attribute}: {source}")]
    Expression { attribute: &'static str, source: ExpressionError },
    #[error("argument `{argument}` is no pointer and cannot have `{attribute}`")]
    OnScalar { argument: String, attribute: &'static str },
    #[error("argument `{argument}` is a pointer and needs `length`, in elements")]
    NoLength { argument: String },
    #[error("argument `{argument}` is a pointer and cannot have `value`")]
    ValueOnPointer { argument: String },
    #[error("argument `{argument}` has no `value`, and no parameter has its name")]
    NoValue { argument: String },
    #[error("direction is `{text}`, expected `in`, `out` or `inout`")]
    Direction { text: String },
    #[error("argument `{argument}` points to const and cannot be written")]
    WrittenConst { argument: String },
    #[error("fill is `{text}`, expected `zero`, `uniform`, `uniform(low, high)`, `index` or `constant(x)`")]
    Fill { text: String },
    #[error("fill `uniform({low}, {high})` is empty: low must be below high")]
    EmptyFill { low: f64, high: f64 },
    #[error("`{text}` does not fit the type {element:?}")]
    Number { text: String, element: ElementType },
    #[error("parameter `{name}` is used by no argument and no expression")]
    Unused { name: String },
    #[error("tolerance is `{text}`, expected a number above 0 and below 1")]
    Tolerance { text: String },
    #[error("unknown reference `{name}`, expected one of {known}")]
    UnknownReference { name: String, known: String },
    #[error("reference `{reference}` needs a call of the shape {expected}")]
    Shape { reference: &'static str, expected: String },
    #[error("the defaults make no call: {0}")]
    Defaults(Box<ParameterError>),
}

type Compiled<T> = Result<T, Located<SpecificationError>>;

/// Reads a whole file into a kernel.
pub(crate) fn parse(text: &str) -> Compiled<Kernel> {
    let raw = xml::read(text).map_err(|error| Located { line: error.line, value: error.value.into() })?;
    compile(raw)
}

fn compile(raw: RawSpecification) -> Compiled<Kernel> {
    let kernel_line = raw.kernel.line;
    let identity = raw.kernel.value;
    check_identity(&identity).map_err(|value| Located { line: kernel_line, value })?;

    let lines: Vec<u32> = raw.parameters.iter().map(|parameter| parameter.line).collect();
    let parameters = parameters(raw.parameters)?;
    let arguments = arguments(raw.arguments, raw.call.line, &parameters)?;
    let (flop, bytes) = match raw.work {
        Some(Located { line, value }) => {
            work(&value, &parameters).map_err(|value| Located { line, value })?
        }
        None => (None, None),
    };
    check_use(&parameters, &lines, &arguments, [&flop, &bytes])?;

    let (returns_text, returns) = parse_return(raw.call.value.returns.as_deref()).ok_or_else(|| {
        let text = shown(raw.call.value.returns.as_deref().unwrap_or_default());
        Located { line: raw.call.line, value: SpecificationError::Type { what: "return", text } }
    })?;
    let full_name = match &identity.namespace {
        Some(namespace) => format!("{namespace}.{}", identity.name),
        None => identity.name.clone(),
    };
    let mut kernel = Kernel {
        name: identity.name,
        namespace: identity.namespace,
        full_name,
        summary: identity.summary,
        parameters,
        arguments,
        returns,
        returns_text,
        flop,
        bytes,
        check: None,
    };
    kernel.bind(std::iter::empty::<(&str, &str)>()).map_err(|error| Located {
        line: kernel_line,
        value: SpecificationError::Defaults(Box::new(error)),
    })?;
    if let Some(Located { line, value }) = raw.check {
        kernel.check = Some(check(&value, &kernel).map_err(|value| Located { line, value })?);
    }
    Ok(kernel)
}

fn check_identity(raw: &RawKernel) -> Result<(), SpecificationError> {
    if !is_identifier(&raw.name) {
        return Err(SpecificationError::Name { what: "kernel", name: shown(&raw.name) });
    }
    if let Some(namespace) = raw.namespace.as_ref().filter(|namespace| !is_identifier(namespace)) {
        return Err(SpecificationError::Name { what: "namespace", name: shown(namespace) });
    }
    check_summary(raw.summary.as_deref())
}

fn parameters(raw: Vec<Located<RawParameter>>) -> Compiled<Vec<Parameter>> {
    let mut parameters: Vec<Parameter> = Vec::with_capacity(raw.len());
    for Located { line, value } in raw {
        let parameter = Parameter::compile(value).map_err(|value| Located { line, value })?;
        if parameters.iter().any(|other| other.name() == parameter.name()) {
            let name = parameter.name().to_owned();
            return Err(Located { line, value: SpecificationError::Duplicate { what: "parameter", name } });
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

fn arguments(
    raw: Vec<Located<RawArgument>>,
    call_line: u32,
    parameters: &[Parameter],
) -> Compiled<Vec<ArgumentSpecification>> {
    if raw.len() > MAX_ARGUMENTS {
        let value = SpecificationError::TooManyArguments { count: raw.len() };
        return Err(Located { line: call_line, value });
    }
    let mut arguments: Vec<ArgumentSpecification> = Vec::with_capacity(raw.len());
    for Located { line, value } in raw {
        let argument =
            ArgumentSpecification::compile(&value, parameters).map_err(|value| Located { line, value })?;
        if arguments.iter().any(|other| other.name == argument.name) {
            let name = argument.name;
            return Err(Located { line, value: SpecificationError::Duplicate { what: "argument", name } });
        }
        arguments.push(argument);
    }
    Ok(arguments)
}

type WorkExpressions = (Option<Expression>, Option<Expression>);

fn work(raw: &RawWork, parameters: &[Parameter]) -> Result<WorkExpressions, SpecificationError> {
    let compile = |attribute, text: &Option<String>| {
        text.as_ref().map(|text| expression(attribute, text, parameters)).transpose()
    };
    Ok((compile("flop", &raw.flop)?, compile("bytes", &raw.bytes)?))
}

/// Every parameter must change something, or a client would be misled about what it can ask for.
fn check_use(
    parameters: &[Parameter],
    lines: &[u32],
    arguments: &[ArgumentSpecification],
    work: [&Option<Expression>; 2],
) -> Compiled<()> {
    let mut used = vec![false; parameters.len()];
    let by_arguments = arguments.iter().flat_map(ArgumentSpecification::parameters);
    let by_work = work.into_iter().flatten().flat_map(Expression::parameters);
    for index in by_arguments.chain(by_work) {
        used[index] = true;
    }
    match used.iter().position(|used| !used) {
        None => Ok(()),
        Some(index) => Err(Located {
            line: lines[index],
            value: SpecificationError::Unused { name: parameters[index].name().to_owned() },
        }),
    }
}

fn check(raw: &RawCheck, kernel: &Kernel) -> Result<Check, SpecificationError> {
    let reference = Reference::named(&raw.reference).ok_or_else(|| SpecificationError::UnknownReference {
        name: shown(&raw.reference),
        known: Reference::all().map(Reference::name).collect::<Vec<_>>().join(", "),
    })?;
    if !reference.fits(kernel) {
        return Err(SpecificationError::Shape { reference: reference.name(), expected: reference.shape() });
    }
    let tolerance = parse_decimal(&raw.tolerance)
        .filter(|tolerance| *tolerance > 0.0 && *tolerance < 1.0)
        .ok_or_else(|| SpecificationError::Tolerance { text: shown(&raw.tolerance) })?;
    Ok(Check { reference, tolerance })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use webrunner_protocol::plan::Argument;

    use super::*;

    /// A sound specification with one line of it replaced.
    fn with(line: usize, replacement: &str) -> String {
        let mut lines = [
            "<kernel name='sdot' namespace='test' summary='s'>",
            "<query>",
            "<parameter name='n' type='uint64' default='8' max='100'/>",
            "<parameter name='off' type='int32' default='0'/>",
            "</query>",
            "<call returns='float'>",
            "<argument name='n' type='size_t'/>",
            "<argument name='x' type='const float*' length='n' offset='off'/>",
            "<argument name='incx' type='int' value='1'/>",
            "<argument name='y' type='const float *' length='n' fill='uniform(0.5, 2)'/>",
            "<argument name='incy' type='int' value='1'/>",
            "</call>",
            "<work flop='2 * n'/>",
            "<check reference='dot' tolerance='1e-5'/>",
            "</kernel>",
        ];
        lines[line - 1] = replacement;
        lines.join("\n")
    }

    #[test]
    fn the_sound_specification_is_taken() {
        let kernel = parse(&with(2, "<query>")).unwrap();
        assert_eq!(
            kernel.prototype(),
            "float sdot(size_t n, const float* x, int incx, const float* y, int incy);"
        );
    }

    #[test]
    fn each_mistake_is_refused_with_its_line_and_reason() {
        let (_, mistakes) = include_str!("../tests/mistakes.txt").split_once("\n\n").unwrap();
        for mistake in mistakes.trim_end().split("\n\n") {
            let (made, expected) = mistake.split_once('\n').unwrap();
            let (line, by) = made.split_once(' ').unwrap();
            let error = parse(&with(line.parse().unwrap(), by)).unwrap_err();
            let told = format!("{}: {}", error.line, error.value);
            assert!(told.starts_with(expected), "{by}: {told}");
        }
    }

    #[test]
    fn arguments_are_extended_as_their_c_type_asks() {
        let kernel = parse(
            "<kernel name='k'><query><parameter name='n' type='int16' default='-1'/></query><call>
            <argument name='n' type='int8_t'/><argument name='a' type='uint8_t' value='n + 256'/>
            <argument name='b' type='double' value='-1'/><argument name='c' type='float' value='n * 3'/>
            </call></kernel>",
        )
        .unwrap();
        let expected = [
            Argument::Integer(u64::MAX),
            Argument::Integer(255),
            Argument::Double(-1.0),
            Argument::Float(-3.0),
        ];
        assert_eq!(kernel.bind([]).unwrap().plan.arguments, expected);
        let error = kernel.bind([("n", "-129")]).unwrap_err();
        assert_eq!(error.to_string(), "argument n, `n`, is -129 with n = -129; it must be from -128 to 127");
        assert_eq!(error.parameter(), Some("n"));
    }

    #[test]
    fn a_kernel_has_no_more_arguments_than_a_call() {
        let argument = |i| format!("<argument name='a{i}' type='int' value='0'/>");
        let call = |count| {
            format!("<kernel name='k'><call>{}</call></kernel>", (0..count).map(argument).collect::<String>())
        };
        assert!(parse(&call(32)).is_ok());
        assert_eq!(parse(&call(33)).unwrap_err().value.to_string(), "33 arguments, the limit is 32");
    }

    proptest! {
        #[test]
        fn any_attribute_value_is_taken_or_refused(line in 0usize..6, text in "[^<&']{0,40}") {
            let (line, replacement) = vec![
                (3, format!("<parameter name='n' type='uint64' default='{text}'/>")),
                (8, format!("<argument name='x' type='{text}' length='n' offset='off'/>")),
                (8, format!("<argument name='x' type='float*' length='{text}' offset='off'/>")),
                (8, format!("<argument name='x' type='float*' length='n' offset='off' fill='{text}'/>")),
                (10, format!("<argument name='y' type='double' value='{text}'/>")),
                (14, format!("<check reference='dot' tolerance='{text}'/>")),
            ].swap_remove(line);
            let _ = parse(&with(line, &replacement));
        }
    }
}
