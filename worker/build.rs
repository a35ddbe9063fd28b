//! Lays the executable out so that its code and constants each begin a huge page, and what is written lies far enough
//! behind them for a stack (see `sys/image.rs`).
//!
//! Linkers put each segment at its offset in the file past a multiple of this. With one of two huge pages, the data
//! begin at least one huge page after the end of the last that holds constants, wherever in the file they happen to be.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for kind in ["bins", "examples"] {
        println!("cargo:rustc-link-arg-{kind}=-Wl,-z,max-page-size=0x400000");
    }
}
