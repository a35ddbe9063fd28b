//! `webrunner generate`: what a package holds beside the executables, made from the same tables as they are.

use std::fs;
use std::io;
use std::path::Path;

use clap_complete::Shell;

use super::Failure;
use crate::cli::{self, GenerateArgs};
use crate::settings::listing;

/// Writes everything into the directory, over what is there.
pub(super) fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    let directory = &args.directory;
    write_all(directory)
        .map_err(|error| Failure::Other(format!("cannot write into {}: {error}", directory.display())))
}

fn write_all(directory: &Path) -> io::Result<()> {
    let (manual, completions) = (directory.join("man"), directory.join("completions"));
    for folder in [&manual, &completions] {
        fs::create_dir_all(folder)?;
    }
    let mut command = cli::definition();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "webrunner", &completions)?;
    }
    // A page for each command, but none for `help`.
    clap_mangen::generate_to(cli::definition().disable_help_subcommand(true), &manual)?;
    fs::write(directory.join("webrunner.toml"), listing::defaults_file())?;
    fs::write(directory.join("settings.md"), listing::documentation())
}
