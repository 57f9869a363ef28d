//! What people read in a terminal: answers on standard output, complaints on standard error. The one way there, so that
//! nothing that strangers wrote does anything to a terminal.

use std::io::{IsTerminal, Write};

/// Says something to whoever runs the program. Standard error that nobody reads holds nothing up
/// for longer than a second.
pub fn complain(text: &str) {
    let text = format!("sendoff: {}\n", mail::visible(text));
    let (said, heard) = std::sync::mpsc::channel::<()>();
    let teller = std::thread::Builder::new().spawn(move || {
        // With standard error gone there is nobody to tell.
        drop(std::io::stderr().write_all(text.as_bytes()));
        drop(said);
    });
    if teller.is_ok() {
        // Either it was said, or nobody reads it.
        heard
            .recv_timeout(std::time::Duration::from_secs(1))
            .unwrap_or(());
    }
}

/// Prints a part of the answer. What strangers wrote in it does nothing to a terminal.
pub fn print(text: &str) {
    let text = mail::visible(text);
    if std::io::stdout().write_all(text.as_bytes()).is_err() {
        // The reader has seen enough (`| head`).
        std::process::exit(0);
    }
}

/// Prints a part of the answer whose lines are rows: on a terminal each is cut to its width.
pub fn print_cut(text: &str) {
    let stdout = std::io::stdout();
    let size = stdout
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(&stdout));
    match size
        .and_then(Result::ok)
        .map(|size| usize::from(size.ws_col))
    {
        Some(width) if width > 0 => {
            let lines = text.lines().map(|line| cut(line, width));
            print(&lines.collect::<String>());
        }
        Some(_) | None => print(text),
    }
}

/// A line of at most so many characters, with its end.
fn cut(line: &str, width: usize) -> String {
    // Written out, what is hidden takes more room.
    let line = mail::visible(line);
    match line.char_indices().nth(width) {
        None => format!("{line}\n"),
        Some(_) => {
            let kept: String = line.chars().take(width - 1).collect();
            format!("{kept}…\n")
        }
    }
}
