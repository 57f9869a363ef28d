//! Mail that goes on while the demonstration stays open.

use std::net::SocketAddr;
use std::time::Duration;

use lab::Client;
use tokio_util::sync::CancellationToken;

/// Between two mails.
const PAUSE: Duration = Duration::from_millis(400);

/// To whom, in turn.
const RECIPIENTS: [&str; 12] = [
    "bob@good.example",
    "tina@tls.example",
    "carl@good.example",
    "greta@grey.example",
    "sam@slow.example",
    "nobody@reject.example",
    "ines@good.example",
    "dan@dead.example",
    "rita@reject.example",
    "toni@tls.example",
    "full@reject.example",
    "gina@grey.example",
];

/// Hands mails in until the demonstration ends.
pub(crate) async fn go_on(address: SocketAddr, stop: CancellationToken) {
    for n in 0_u64.. {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
        let recipient = RECIPIENTS.get((n % 12) as usize).copied();
        let recipient = recipient.unwrap_or("bob@good.example");
        let send = move || -> std::io::Result<()> {
            let mut client = Client::connect(address)?;
            client.ehlo()?;
            let content = format!(
                "From: <anna@sender.example>\r\nTo: <{recipient}>\r\nSubject: Number {n}\r\n\r\nSent by the demonstration.\r\n"
            );
            client.send_mail("anna@sender.example", &[recipient], content.as_bytes())?;
            client.expect("QUIT", 221).map(drop)
        };
        // A mail that is not taken is missing in the demonstration, and nothing else.
        drop(tokio::task::spawn_blocking(send).await);
    }
}
