//! Lays the executable out so that its code and constants each begin a huge page (see `sys/image.rs`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,max-page-size=0x200000");
}
