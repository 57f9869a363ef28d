//! What the command line says of itself: man pages, completions, and the page in docs/cli.md.

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Arg, Command, CommandFactory};

use super::arguments::Cli;

/// Writes a man page for each command into a directory.
pub(super) fn man(directory: &Path) -> Result<()> {
    let at = || format!("writing man pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(at)?;
    clap_mangen::generate_to(Cli::command(), directory).with_context(at)
}

/// What a shell needs to complete commands and options.
pub(super) fn completions(shell: clap_complete::Shell) -> String {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sendoff", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Every command with its arguments, in Markdown.
pub(super) fn markdown() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = String::new();
    section(&mut command, &mut out);
    out
}

fn section(command: &mut Command, out: &mut String) {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_end();
    let has_options = own_arguments(command).any(|a| !a.is_positional());
    let usage = match has_options || command.has_subcommands() {
        true => usage.to_owned(),
        // The options of all commands are told once, at the top.
        false => usage.replace(" [OPTIONS]", ""),
    };
    let name = command
        .get_bin_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let commands: Vec<String> = command
        .get_subcommands()
        .filter(|c| c.get_name() != "help")
        .map(|c| c.get_name().to_owned())
        .collect();
    // A command that only holds others needs no section of its own.
    if commands.is_empty() || name == "sendoff" {
        let about = command.get_about().map(ToString::to_string);
        let about = about.unwrap_or_default();
        *out += &format!("\n### `{name}`\n\n{about}.\n\n    {usage}\n");
        arguments(command, out);
    }
    for inner in commands {
        if let Some(inner) = command.find_subcommand_mut(&inner) {
            section(inner, out);
        }
    }
}

/// The arguments of this command alone; at the top, those of all commands.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_top = command.get_name() == "sendoff";
    command.get_arguments().filter(move |arg| {
        let given = ["help", "version"].contains(&arg.get_id().as_str());
        !given && arg.is_global_set() == is_top
    })
}

fn arguments(command: &Command, out: &mut String) {
    let mut arguments = own_arguments(command).peekable();
    if arguments.peek().is_some() {
        out.push_str("\n| argument | meaning |\n|---|---|\n");
    }
    for arg in arguments {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let mut meaning = format!("{help}.");
        let takes_values = arg.get_action().takes_values();
        let values = arg.get_possible_values();
        if takes_values && !values.is_empty() {
            let names: Vec<&str> = values.iter().map(|v| v.get_name()).collect();
            meaning += &format!(" One of {}.", names.join(", "));
        }
        if let [default] = arg.get_default_values()
            && takes_values
        {
            meaning += &format!(" Default: {}.", default.to_string_lossy());
        }
        if let Some(name) = arg.get_env() {
            meaning += &format!(" Also: `{}`.", name.to_string_lossy());
        }
        let short = match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(_)) => format!("-{short}, "),
            _ => String::new(),
        };
        let meaning = meaning.replace('|', "\\|");
        *out += &format!("| `{short}{arg}` | {meaning} |\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_commands_is_what_the_command_line_says() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/cli.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&markdown()), "run `cargo xtask docs`");
    }

    #[test]
    fn every_command_has_a_man_page_and_is_completed() {
        let directory = lab::Scratch::new();
        man(directory.path()).unwrap();
        let page = std::fs::read_to_string(directory.path().join("sendoff-queue-list.1")).unwrap();
        assert!(page.contains("waiting recipients"), "{page}");
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
        ] {
            assert!(completions(shell).contains("what-smtp"));
        }
    }
}
