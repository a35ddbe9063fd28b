//! Kernel specifications: what a client may ask to have measured, and what a right answer looks like.
//!
//! This crate owns the XML format, the parameters of a request, the call plan made from them, and the references
//! results are checked against. It starts nothing, sends nothing and holds no state beyond the [`Catalogue`].
//!
//! Trust: specifications come from the program or its operator and are held to their format when they are loaded, with
//! file, line and reason. Names and parameter values come from clients, array contents from workers; both are hostile.
//!
//! ```
//! use webrunner_kernels::Catalogue;
//!
//! let catalogue = Catalogue::builtin()?;
//! let kernel = catalogue.get("blis::sdot")?;
//! assert!(kernel.prototype().starts_with("float sdot(size_t n, const float* x, size_t incx"));
//!
//! let binding = kernel.bind([("n", "1000"), ("offx", "16")])?;
//! assert_eq!(binding.plan.buffers[0].elements, 1000);
//! assert_eq!(binding.work.flop, Some(2000));
//!
//! let refused = kernel.bind([("offx", "64")]).unwrap_err();
//! assert_eq!(refused.to_string(), "parameter `offx` must be a whole number from 0 to 63, got `64`");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! - `xml`, `specification`, `kernel`: a file becomes a [`Kernel`], or an error with a line.
//! - `types`, `parameter`, `argument`, `expression`: what its attributes mean.
//! - `catalogue`, `builtin`: all kernels, by name.
//! - `bind`, `refusal`: a request's parameters become a [`Binding`] with its call plan, or a [`ParameterError`].
//! - `reference`: a [`Binding`] and what a call gave become a [`Verdict`].
//! - `text`: what came from outside, made safe to show and compared with names that are known.
#![forbid(unsafe_code)]
// The library is also linted without its tests, where the lint stands.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod argument;
mod bind;
mod builtin;
mod catalogue;
mod expression;
mod kernel;
mod parameter;
mod reference;
mod refusal;
mod specification;
mod text;
mod types;
mod xml;

pub use bind::{Binding, Work};
pub use catalogue::{Catalogue, CatalogueError, LookupError};
pub use expression::ExpressionError;
pub use kernel::{Check, Kernel};
pub use parameter::Parameter;
pub use reference::{Before, Block, Function, Observation, Place, Reference, Shown, Verdict};
pub use refusal::{ComputedError, ParameterError};
pub use specification::SpecificationError;
pub use text::{near, shown};
pub use types::{ParameterType, Value};
pub use xml::XmlError;
