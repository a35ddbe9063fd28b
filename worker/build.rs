//! Lays the executable out so that its code and constants each begin a huge page (see `sys/image.rs`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for kind in ["bins", "examples"] {
        println!("cargo:rustc-link-arg-{kind}=-Wl,-z,max-page-size=0x200000");
    }
}
