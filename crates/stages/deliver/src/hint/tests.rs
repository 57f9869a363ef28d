//! What servers write, and what is read from it.

use super::*;

fn read(text: &str) -> Option<u64> {
    retry_after(&Reply::new(451, None, text)).map(|wait| wait.as_secs())
}

fn all_are_read(cases: &[(&str, Option<u64>)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(text, secs)| read(text) != *secs)
        .map(|(text, secs)| format!("{text}: {:?} instead of {secs:?}", read(text)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// No time at all may be read from these.
const fn none(text: &str) -> (&str, Option<u64>) {
    (text, None)
}

const fn wait(text: &str, seconds: u64) -> (&str, Option<u64>) {
    (text, Some(seconds))
}

#[test]
fn hints_are_read_from_what_servers_write() {
    all_are_read(&[
        // Postgrey, its older texts, and its likes.
        wait(
            "<a@b.example>: Recipient address rejected: Greylisted for 300 seconds (see http://isg.ee.ethz.ch/tools/postgrey/help/b.example.html)",
            300,
        ),
        none(
            "<a@b.example>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/b.example.html",
        ),
        wait("Greylisted, please try again in 300 seconds", 300),
        // SQLgrey.
        wait(
            "<a@b.example>: Recipient address rejected: Greylisted for 5 minutes (1)",
            300,
        ),
        wait("Greylisted for 2 minutes (12)", 120),
        // milter-greylist.
        wait("Greylisting in action, please come back in 00:04:59", 299),
        wait(
            "4.7.1 Greylisting in action, please come back in 01:30:00",
            5400,
        ),
        // Exim's recipes.
        wait(
            "<b.example> is greylisted, please try again in 10 minutes.",
            600,
        ),
        wait(
            "Greylisted - please try again in 4 minutes and 30 seconds",
            270,
        ),
        wait(
            "Temporary greylisting in effect, please retry after 15 minutes",
            900,
        ),
        none("deferred: greylisted, please try again soon"),
        wait("Deferred for 5m (greylisting)", 300),
        // gld, policyd-weight, cbpolicyd, Rspamd.
        wait(
            "Service temporarily unavailable, greylisted, retry after 60 seconds",
            60,
        ),
        none("Try again later"),
        none("Ratelimit \"rcpt\" exceeded, try again later"),
        wait("Greylisted, try again after 300s", 300),
        wait("4.7.1 Greylisting: 299 seconds remaining", 299),
        wait("Greylisted. Time left: 4m59s", 299),
        wait("Please wait 239 more seconds", 239),
        // HTTP's word for it.
        wait("Too many requests. Retry-After: 300", 300),
        wait("rate limited; retry_after=120", 120),
        wait("retry after 45", 45),
        none("retry after 3 attempts were made"),
    ]);
}

#[test]
fn limits_are_no_waits() {
    all_are_read(&[
        none("You have reached the limit of 100 messages in 24 hours, please try again later"),
        none("4.7.1 limit of 100 messages in 24 hours reached; try again later"),
        none("Try again later. Limit of 100 messages in 24 hours"),
        none("try again later (limit: 100 messages in 24 hours)"),
        none("100 messages in 24 hours. Try again"),
        none("too many messages in the last 1 hour, retry later"),
        none("More than 100 messages in 1 hour"),
        none("Idle for 300 seconds, closing connection"),
        none("4.4.2 Connection idle for 300 seconds, please reconnect"),
        none("Timeout: connection timed out after 300 seconds, please try again"),
        none("Timed out waiting for client input"),
        none("Only 5 connections within 10 minutes are allowed, try again later"),
        none("try again later (24 hour limit)"),
        none("Sender has sent too much mail in 2 hours; retry later"),
        none("message is more than 4 days old, try another host"),
        wait(
            "Too many connections in 60 seconds, please try again in 10 minutes",
            600,
        ),
        wait(
            "limit of 100 messages per 24 hours exceeded, wait 30 minutes and retry",
            1800,
        ),
        wait(
            "More than 20 mails in 1 minute; please wait at least 5 minutes",
            300,
        ),
        wait(
            "Blocked for 24 hours at most; please try again in 10 minutes",
            600,
        ),
    ]);
}

#[test]
fn lengths_are_read_in_all_their_forms() {
    all_are_read(&[
        wait("try again in 5 minutes", 300),
        wait("TRY AGAIN IN 5 MINUTES", 300),
        wait("try again\n4.7.1 in 5 minutes", 300),
        wait("Please retry after 00:05:00", 300),
        none("Try again after 12:30"),
        none("Try again after 12:30:00:00"),
        wait("retry in 1h30m", 5400),
        wait("retry in 1h 30m", 5400),
        wait("retry in 1h30", 5400),
        wait("please wait 1 hour 30 minutes", 5400),
        wait("please wait 1 hour and 30 minutes", 5400),
        wait("try again in 1 hour, 30 minutes", 3600),
        wait("try again in 4min 59sec", 299),
        wait("try again in 2.5 minutes", 150),
        wait("try again in 1,800 seconds", 1800),
        wait("try again in 5-10 minutes", 600),
        wait("try again in 5 to 10 minutes", 600),
        wait("No more than 100 messages; wait for about 15 min.", 900),
        wait("wait approx. 15 min. and retry", 900),
        wait("Rate limit reached: retry in an hour", 3600),
        wait("wait 60s and retry", 60),
        wait("come back in 2 hours", 7200),
        // No longer than four hours.
        wait("Come back in one day", 14_400),
        wait("retry in 36h", 14_400),
        wait("Try again in 18446744073709551615 seconds", 14_400),
        none("Try again in 18446744073709551615 hours"),
        none("Try again later: 99999999999999999999 in 9s9"),
        none("Resend it in a while"),
        none("Try again in 0 seconds"),
        none("mailbox full"),
        none("error in 5 places"),
        none("in"),
        none(""),
        // Before what it belongs to.
        wait("In 5 minutes, please try again", 300),
        wait("Mail is deferred. After 300 seconds try again", 300),
        wait("Please allow 5 minutes before resending", 300),
        wait("please wait 5 minutes before trying again", 300),
        // What comes before, for as long as it lasts.
        wait("Your host has been blocked for 15 minutes", 900),
    ]);
    assert_eq!(
        retry_after(&Reply::new(550, None, "try again in 300 seconds")),
        None
    );
}

#[test]
fn what_the_large_providers_write_has_seldom_a_time() {
    all_are_read(&[
        // Google.
        none("4.7.0 Try again later, closing connection. (EHLO) 5b1f17b1804b1-42f"),
        none(
            "4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message at a later time. If the user is able to receive mail at that time, your message will be delivered.",
        ),
        none(
            "4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited.",
        ),
        // Microsoft.
        none(
            "4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77712) [X.eurprd05.prod.outlook.com 2024-05-06T07:08:09.000Z 08DC0A]",
        ),
        none(
            "4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://postmaster.live.com (S775)",
        ),
        none(
            "RP-001 (BAY004-MC2F1) Unfortunately, some messages from 192.0.2.1 weren't sent. Please try again. We have limits for how many messages can be sent per hour and per day.",
        ),
        none(
            "4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel",
        ),
        // Yahoo, Apple, Comcast, Mimecast, Proofpoint.
        none(
            "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
        ),
        none(
            "4.16.55 [TSS11] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
        ),
        none("4.1.0 192.0.2.1 Throttled - try again later. Please see http://postmaster.example/"),
        none("Internal resources are temporarily unavailable - please try again later"),
        wait(
            "4.7.1 Connection rate limit exceeded. Please try again in 15 minutes",
            900,
        ),
        none("#4.4.5 Too many connections to this host."),
    ]);
}

#[test]
fn german_and_french_are_read() {
    all_are_read(&[
        wait(
            "Greylisting aktiv, bitte versuchen Sie es in 5 Minuten erneut",
            300,
        ),
        wait("Bitte in 300 Sekunden erneut versuchen", 300),
        wait(
            "Zu viele Verbindungen in 60 Sekunden, bitte in 10 Minuten erneut versuchen",
            600,
        ),
        wait("Bitte warten Sie 1 Stunde und 30 Minuten", 5400),
        wait(
            "Bitte versuchen Sie es frühestens nach 15 Minuten noch einmal",
            900,
        ),
        wait("Bitte versuchen Sie es später wieder (in 30 Minuten)", 1800),
        wait("Bitte warten: noch 299 Sekunden verbleibend", 299),
        wait(
            "Absender für 10 Minuten gesperrt; bitte nach einer Stunde erneut senden",
            3600,
        ),
        none(
            "Limit von 100 Nachrichten in 24 Stunden erreicht, bitte versuchen Sie es später erneut",
        ),
        none(
            "In 24 Stunden dürfen nur 100 Nachrichten gesendet werden, bitte später erneut versuchen",
        ),
        none("Nachrichtenrate überschritten. Bitte versuchen Sie es später erneut."),
        none("Verbindung 300 Sekunden ohne Befehl"),
        // web.de and GMX.
        none(
            "Requested action not taken: mailbox unavailable Reject due to policy restrictions. For explanation visit https://postmaster.gmx.net/de/case?c=r0402",
        ),
        none("Rate limit reached. Please try again later"),
        // OVH, Free, Orange.
        wait(
            "4.7.1 <a@b.example>: Recipient address rejected: Liste grise, réessayez dans 5 minutes",
            300,
        ),
        wait("Veuillez réessayer dans 300 secondes", 300),
        wait("Merci de patienter 10 minutes avant de renvoyer", 600),
        wait(
            "Trop de connexions en 60 secondes, veuillez réessayer dans 10 minutes",
            600,
        ),
        wait("Message en liste grise pour 5 minutes", 300),
        wait(
            "Nouvelle tentative possible dans 1 heure et 30 minutes",
            5400,
        ),
        wait("Réessayez d'ici une heure", 3600),
        none("Limite de 200 messages en 24 heures atteinte, merci de réessayer plus tard"),
        none("Too many spam from your IP (192.0.2.1), please visit http://postmaster.free.fr/"),
        none("service refused, please try later. OFR004_104"),
    ]);
}

/// A text that is as long as a reply can be takes no time to speak of.
#[test]
fn long_texts_are_read_up_to_a_bound() {
    let text = format!("{} try again in 5 minutes", "in 5 a ".repeat(20_000));
    assert_eq!(read(&text), None);
    assert_eq!(read(&"again 1 m 2 s ".repeat(20_000)), Some(62));
}
