//! Runs the dialogues of `tests/dialogs` against the session, whole and byte by byte.

use std::path::Path;

use intake::{Auth, LocalDomains, Policy, Tls};
use smtp::data::BareNewline;
use smtp::dialog::{Dialog, DialogStep, Pattern};
use smtp::sasl::{Binding, BindingKind};

use crate::shell::{INSIDE, OUTSIDE, Shell, policy, without_received};

/// The settings that dialogues know. `from` is `inside` (may relay) or `outside`; `binding` is what logins
/// can be bound to in TLS.
fn configured(dialog: &Dialog) -> (Policy, &'static str, bool, Option<Binding>) {
    let (mut policy, mut peer, mut tls) = (policy(), INSIDE, false);
    let mut binding = None;
    for (name, value) in &dialog.settings {
        let listener = &mut policy.listeners[0];
        match (name.as_str(), value.as_str()) {
            ("from", "inside") => peer = INSIDE,
            ("from", "outside") => peer = OUTSIDE,
            ("tls", "none") => listener.tls = Tls::None,
            ("tls", "starttls") => listener.tls = Tls::StartTls,
            ("tls", "implicit") => {
                listener.tls = Tls::Implicit;
                tls = true;
            }
            ("auth", "required") => listener.auth = Auth::Required,
            ("auth", "optional") => listener.auth = Auth::Optional,
            ("auth", "none") => listener.auth = Auth::None,
            ("binding", data) => {
                binding = Some(Binding {
                    kind: BindingKind::TlsExporter,
                    data: data.as_bytes().to_vec(),
                });
            }
            ("bare_newline", "normalise") => policy.bare_newline = BareNewline::Normalise,
            ("store", "none") => {
                let domains = ["local.example".parse().unwrap()];
                policy.local = LocalDomains::new(domains, false);
            }
            ("message_size", n) => policy.limits.message_size = n.parse().unwrap(),
            ("line_length", n) => policy.limits.line_length = n.parse().unwrap(),
            ("recipients", n) => policy.limits.recipients = n.parse().unwrap(),
            ("bad_commands", n) => policy.limits.bad_commands = n.parse().unwrap(),
            ("received_hops", n) => policy.limits.received_hops = n.parse().unwrap(),
            _ => panic!("no setting {name} with the value {value}"),
        }
    }
    (policy, peer, tls, binding)
}

fn run(name: &str, dialog: &Dialog, piece: usize) {
    let (policy, peer, tls, binding) = configured(dialog);
    let mut shell = Shell::with_tls(policy, peer, tls);
    shell.binding = binding;
    for (line, step) in &dialog.steps {
        let at = format!("{name}:{line} in pieces of {piece}");
        match step {
            DialogStep::Send(bytes) => bytes.chunks(piece).for_each(|part| shell.send(part)),
            DialogStep::Line(pattern) => expect(&mut shell, pattern, &at, |_| true),
            DialogStep::Reply(pattern) => {
                expect(&mut shell, pattern, &at, |line| line.get(3) != Some(&b'-'));
            }
            DialogStep::Tls => shell.start_tls(),
            DialogStep::Closed => assert!(shell.closed && !shell.has_output(), "{at}"),
            DialogStep::Accepted(count) => assert_eq!(shell.accepted.len(), *count, "{at}"),
            DialogStep::Content(expected) => {
                let content = without_received(shell.accepted.last().expect(&at));
                let shown = String::from_utf8_lossy(content);
                assert_eq!(shown, String::from_utf8_lossy(expected), "{at}");
            }
        }
    }
    assert!(
        !shell.has_output(),
        "{name}: the server said more: {}",
        shell.heard()
    );
}

fn expect(shell: &mut Shell, pattern: &Pattern, at: &str, is_last: impl Fn(&[u8]) -> bool) {
    loop {
        let line = shell
            .line()
            .unwrap_or_else(|| panic!("{at}: the server said nothing"));
        if is_last(&line) {
            let shown = String::from_utf8_lossy(&line);
            assert!(pattern.matches(&line), "{at}: the server said {shown}");
            return;
        }
    }
}

#[test]
fn every_dialogue_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/dialogs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "smtp") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let dialog = Dialog::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        run(&name, &dialog, usize::MAX);
        if !text.contains("# whole writes only") {
            run(&name, &dialog, 1);
            run(&name, &dialog, 3);
        }
        count += 1;
    }
    assert!(count >= 20, "{count} dialogues");
}
