//! Snapshots of every help text and of the manual page: a change of words is seen in review. After a change run these
//! tests with `INSTA_UPDATE=always`, and read what git shows as changed in `snapshots/`. Tables and errors have their
//! snapshots in `tests/it/texts.rs`, each variant of an error in [`error_texts`], tables of builds and downloads in [`tables`].

mod error_texts;
mod tables;

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use crate::cli::args::Cli;

/// Where the options of all commands begin, which `hermes --help` shows.
const GLOBAL: &str = "\nGlobal options:\n";

/// The help of a command and those below it, short and long.
fn help(command: &mut Command, words: &str, with_global: bool, shown: &mut String) {
    for (option, text) in [("-h", command.render_help()), ("--help", command.render_long_help())] {
        let text = text.to_string();
        let text = if with_global { &text } else { text.split(GLOBAL).next().unwrap() };
        writeln!(shown, "$ {words} {option}\n{}\n", text.trim_end()).expect("a string takes any text");
    }
    for inner in command.get_subcommands_mut().filter(|inner| !with_global && inner.get_name() != "help") {
        let words = format!("{words} {}", inner.get_name());
        help(inner, &words, false, shown);
    }
}

fn command() -> Command {
    let mut command = <Cli>::command().term_width(100);
    command.build();
    command
}

#[test]
fn help_texts() {
    let mut all = command();
    let mut shown = String::new();
    help(&mut all, "hermes", true, &mut shown);
    insta::assert_snapshot!("help", shown);
    for verb in all.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        let name = verb.get_name().to_owned();
        let mut shown = String::new();
        help(verb, &format!("hermes {name}"), false, &mut shown);
        insta::assert_snapshot!(format!("help-{name}"), shown);
    }
}

#[test]
fn manual_page() {
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).render(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!("manual", page);
}
