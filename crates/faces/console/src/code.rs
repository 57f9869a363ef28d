//! The codes of errors: each with its statuses, what it means, and what a program does about it. The table in
//! docs/api.md is made from them.

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($name:ident $word:literal $statuses:literal, $meaning:literal, $todo:literal;)*) => {
        /// Which error it is, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $($name,)*
        }

        impl Code {
            /// Every code.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its word, its statuses with commas, what it means, and what a program does about it.
            pub(crate) const fn row(self) -> [&'static str; 4] {
                match self {
                    $(Self::$name => [$word, $statuses, $meaning, $todo],)*
                }
            }
        }
    };
}

codes! {
    BadField "bad-field" "400", "A field, parameter or header is missing or not valid: `field` names it",
        "Do not repeat it: correct the request.";
    BadJson "bad-json" "400", "The body is not JSON", "Do not repeat it: correct the request.";
    CutOff "cut-off" "400", "The body did not arrive completely", "Repeat it.";
    NoKey "no-key" "401", "The request has no API key", "Send `Authorization: Bearer …`.";
    WrongKey "wrong-key" "401", "The key is not valid, or no longer", "Use a valid key; stop until you have one.";
    WrongScope "wrong-scope" "403", "The key does not have the scope that this needs", "Use a key with the scope.";
    WrongSender "wrong-sender" "403", "The key may not send as this sender",
        "Use a sender that the key allows.";
    WrongNetwork "wrong-network" "403", "Health and metrics are not for this client's network",
        "Ask the administrator (`console.metrics_networks`).";
    NeedsTls "needs-tls" "403", "The client connected to the reverse proxy without TLS", "Use https.";
    Unknown "unknown" "404", "There is no such message, webhook, rule or entry, or none that the key may see",
        "Do not repeat it.";
    UnknownPath "unknown-path" "404", "There is no such path, or it is not served at this address",
        "Correct the URL.";
    UnknownVerb "unknown-verb" "404", "There is no such verb for the queue", "Use one that `detail` lists.";
    WrongMethod "wrong-method" "405", "The path does not support the method", "Use one that `Allow` lists.";
    UnknownPlace "unknown-place" "409", "`after` is a place after the last event that there ever was: the server's data was reset, or \
        restored from a backup", "Begin again with `after=0`; events that you have seen have the same `id`.";
    TooSlow "too-slow" "408", "The body did not arrive in time", "Repeat it.";
    NotReloaded "not-reloaded" "409", "The configuration is not valid, and the one before is kept",
        "Correct the configuration.";
    Refused "refused" "409, 413, 422", "What was asked cannot be done: `detail` gives the reason. With 422: the message, \
        or each of its `recipients`, is refused for good", "Do not repeat it unchanged.";
    TooLarge "too-large" "413", "The body or the message is too large", "Send less.";
    WrongType "wrong-type" "415", "The Content-Type is not supported", "Set it as `detail` says.";
    WrongHost "wrong-host" "421", "The Host header names another server",
        "Use a name of the server, or have it added to `console.hosts`.";
    IdempotencyConflict "idempotency-conflict" "422", "The `Idempotency-Key` was used for another request",
        "Use a new key for each message, and the same one only to repeat a request octet for octet.";
    Quota "quota" "429", "A quota is used up", "Repeat it after `retry_after` seconds, not before.";
    Internal "internal" "500", "An error of the server's own", "Report it.";
    Unavailable "unavailable" "503", "Not possible at present", "Repeat it after `retry_after` seconds.";
    NotReady "not-ready" "503", "Only `/readyz`: the server does not accept mail at present", "Ask again later.";
}

impl Code {
    /// Its word.
    pub(crate) const fn word(self) -> &'static str {
        let [word, ..] = self.row();
        word
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_the_codes_that_there_are_and_no_others() {
        let page = include_str!("../../../../docs/api.md");
        let (_, table) = page
            .split_once("| code | status |")
            .expect("a table of codes");
        let (table, _) = table.split_once("\n\n").expect("its end");
        let rows = table.lines().skip(2).map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            format!("{} {}", cells[1].trim_matches('`'), cells[2])
        });
        let listed: Vec<String> = rows.collect();
        let all = Code::ALL.iter().map(|code| {
            let [word, statuses, ..] = code.row();
            format!("{word} {statuses}")
        });
        assert_eq!(listed, all.collect::<Vec<_>>());
    }
}
