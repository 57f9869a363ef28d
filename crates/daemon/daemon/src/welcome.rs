//! What `serve` says to a person who starts it on a terminal: what runs, where everything is, and what to do next.

use std::io::IsTerminal;

use config::Config;
use config::console::HttpListener;
use route::Mode;
use terminal::print;

/// Says it, where somebody looks and the log does not go to the same place.
pub(crate) fn show(config: &Config, warnings: &[String]) {
    if std::io::stdout().is_terminal() && config.log.file.is_some() {
        print(&text(config, warnings));
    }
}

fn text(config: &Config, warnings: &[String]) -> String {
    let mut text = format!("Sendoff {}, {}\n\n", version::VERSION, config.hostname);
    let mut row = |name: &str, value: String| {
        text += &format!("  {name:<15} {value}\n");
    };
    row(
        "configuration",
        match &config.path {
            Some(path) => path.display().to_string(),
            None => "none: all settings have their defaults (use --config FILE)".to_owned(),
        },
    );
    let listeners = config.listeners.iter();
    let listeners: Vec<String> = listeners.map(ToString::to_string).collect();
    row("SMTP", listeners.join(", "));
    let http = config.console.listeners.iter();
    let http: Vec<String> = http.map(HttpListener::url).collect();
    if !http.is_empty() {
        row("HTTP", http.join(", "));
    }
    row(
        "sends",
        match &config.routing.mode {
            _ if !config.outgoing.enabled => {
                "nothing: outgoing.enabled is false, mail waits".to_owned()
            }
            Mode::Independent => "directly to the mail hosts of each domain (MX)".to_owned(),
            Mode::Relay(relays) => {
                let relays = relays.iter().map(ToString::to_string);
                format!("everything by {}", relays.collect::<Vec<_>>().join(", "))
            }
        },
    );
    row("data", config.data_dir.display().to_string());
    if let Some(file) = &config.log.file {
        row("log", file.display().to_string());
    }
    for warning in warnings {
        text += &format!("\n{warning}\n");
    }
    let options = match &config.path {
        Some(path) => format!("--config {} ", path.display()),
        None => String::new(),
    };
    let first = config.listeners.first();
    let smtp =
        first.map(|address| format!("Send a mail to {address} with any mail client, or by HTTP. "));
    text += &format!(
        "\n{}In another terminal:\n\n  sendoff {options}dns test                  can this computer send mail \
         itself?\n  sendoff {options}explain you@example.com   where would mail for this address go?\n  sendoff \
         {options}queue list                what waits, and why\n  sendoff {options}log tail                  what \
         happens\n\nCtrl-C stops the server; accepted mail stays in its queue.\n",
        smtp.unwrap_or_default()
    );
    text
}
