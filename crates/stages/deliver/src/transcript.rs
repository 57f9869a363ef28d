//! What was said on the wire, kept with the attempt: both sides' lines, bounded, without passwords
//! and without content.

use mail::Reply;

/// The most that is kept of one session's talk about one batch, in octets.
const MAX: usize = 8 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Transcript {
    text: String,
    cut: bool,
    /// Our lines since they were last asked for, where the detailed log wants them all.
    said: Option<Vec<String>>,
}

impl Transcript {
    /// Lines of ours, as sent.
    pub(crate) fn sent(&mut self, commands: &[u8]) {
        for line in commands.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.note(&String::from_utf8_lossy(line));
        }
    }

    /// Something of ours that is not shown as it is.
    pub(crate) fn note(&mut self, text: &str) {
        if let Some(said) = &mut self.said {
            said.push(text.to_owned());
        }
        self.line("> ", text);
    }

    /// A reply of the host, or our own account of what went wrong.
    pub(crate) fn received(&mut self, reply: &Reply) {
        let mark = if reply.code == 0 { "! " } else { "< " };
        self.line(mark, &reply.to_string());
    }

    fn line(&mut self, mark: &str, text: &str) {
        if self.text.len() + text.len() > MAX {
            if !self.cut {
                self.text.push_str("… (the rest is not kept)\n");
                self.cut = true;
            }
            return;
        }
        self.text.push_str(mark);
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Whether our lines are wanted one by one.
    pub(crate) fn listen(&mut self, on: bool) {
        self.said = on.then(Vec::new);
    }

    /// Our lines since this was last asked.
    pub(crate) fn take_said(&mut self) -> Vec<String> {
        self.said.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn take(&mut self) -> String {
        self.cut = false;
        std::mem::take(&mut self.text)
    }
}
