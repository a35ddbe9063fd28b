//! Settings on the command line: clap's flags, made from the table.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, value_parser};

use super::{Default, Program, Setting, find, table};

/// Flag that names the configuration file.
const CONFIG: &str = "config";

/// Short for `listen` at this host, as the old program took it: a port alone does not open the service to others.
const PORT: &str = "port";

/// What the command line sets.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The configuration file named.
    pub config: Option<PathBuf>,
    /// Everything else.
    pub written: Vec<(&'static Setting, String)>,
}

/// The flags of a command.
pub fn of(program: Program) -> impl Iterator<Item = Arg> {
    let settings = table::ALL.iter().filter(move |setting| setting.used_by.contains(&program)).map(flag);
    let port = (program == Program::Serve).then(|| {
        let port = Arg::new(PORT).short('p').long(PORT).value_name("PORT").value_parser(value_parser!(u16));
        port.conflicts_with("listen")
            .help("Port to listen on at 127.0.0.1: short for --listen 127.0.0.1:PORT")
    });
    let config = Arg::new(CONFIG).long(CONFIG).value_name("FILE").value_parser(value_parser!(PathBuf));
    let help = format!("Configuration file [default: {} if there is one]", super::file::DEFAULT_PATH);
    settings.chain(port).chain([config.help(help)])
}

fn flag(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        Default::Is(text) | Default::Means(text) => text,
    };
    let arg = Arg::new(setting.name).long(setting.name).value_name(setting.placeholder);
    let arg = arg.help(format!("{} [default: {default}]", setting.help));
    if let Some(short) = setting.short { arg.short(short) } else { arg }
}

impl Flags {
    /// Those that were given to a command.
    #[must_use]
    pub fn given(matches: &ArgMatches) -> Self {
        // A command that does not take a flag has no such argument, which is as good as one that was not given.
        let mut written: Vec<(&Setting, String)> = table::ALL
            .iter()
            .filter_map(|setting| Some((setting, matches.try_get_one::<String>(setting.name).ok()??.clone())))
            .collect();
        let port = matches.try_get_one::<u16>(PORT).ok().flatten();
        if let (Some(port), Some(listen)) = (port, find("listen")) {
            written.push((listen, format!("{}:{port}", Ipv4Addr::LOCALHOST)));
        }
        Self { config: matches.try_get_one::<PathBuf>(CONFIG).ok().flatten().cloned(), written }
    }
}
