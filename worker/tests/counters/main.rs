//! Hardware counters without hardware: planning, switching and reading against a PMU that refuses as real ones do, and
//! the kernel's real groups, made of events it counts in software.

mod fake;
mod kernel;
mod measuring;
mod planning;
