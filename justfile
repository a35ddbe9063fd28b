# Shorthand for what CI does too: `.ci/run` holds the commands, so `just` need not be installed.

# List the recipes.
default:
    @just --list

# Everything CI does, in its order.
ci:
    .ci/run

# Format the sources.
format:
    cargo fmt --all

# Formatting, module docs, licences, lints and documentation: what fails fastest.
check:
    .ci/run format tidy licences lints docs

# Build the service and its worker.
build:
    .ci/run build

# Build a Debian package; needs `cargo install --locked cargo-deb`.
package:
    PROFILE=dist .ci/run package

# Run every test.
test:
    .ci/run tests

# Run the commands of README.md against a service.
readme:
    .ci/run readme

# Build the executables as they are to be installed, optimised as one program.
dist:
    cargo build --profile dist -p webrunner -p webrunner-worker

# Serve on port 8081.
serve *flags: build
    target/x86_64-unknown-linux-gnu/release/webrunner serve {{flags}}

# Measure the service against what this machine can do at all, in 150 s; `just bench quick` in 40 s.
bench *words: dist
    cargo bench --profile dist -p webrunner-tests --bench service -- {{words}}

# Good and hostile jobs and clients for an hour; `just soak --seconds 60` for a minute. As root it counts BPF programs too.
soak *words: build
    cargo bench -p webrunner-tests --bench soak -- {{words}}

# Measure functions of known latency, to see how true the harness is on this machine.
chains *words:
    cargo bench -p webrunner-worker --bench chains -- {{words}}

# Licences, advisories, bans and sources; needs `cargo install cargo-deny --locked`.
deny:
    cargo deny --locked check

# Fuzz `object`, `frame`, `query` or `specification`: `just fuzz object 600`; needs nightly Rust and cargo-fuzz.
fuzz *words:
    fuzz/run {{words}}

# Renew the frames that fuzzing starts from, after a change of the protocol.
seeds:
    cargo build --release -p webrunner-worker
    cargo run --release -p webrunner-properties --example frames -- target/x86_64-unknown-linux-gnu/release/webrunner-worker

# Rebuild the test objects; needs gcc, clang, NASM and Python.
objects:
    tests/objects/build
