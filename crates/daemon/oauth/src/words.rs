//! What a refusal means, and what is to be done: those of the servers that give tokens out, and of relays.

/// What codes of Microsoft mean (`AADSTS` and these digits).
const MICROSOFT: [(&str, &str); 20] = [
    (
        "7000215",
        "the client secret is wrong: use its value, not its id",
    ),
    (
        "7000222",
        "the client secret has expired: make a new one for the application",
    ),
    (
        "7000218",
        "the application requires a client secret, or must allow public client flows",
    ),
    ("7000112", "the application is switched off in this tenant"),
    (
        "700016",
        "this tenant does not know the application: compare client_id and tenant",
    ),
    (
        "700082",
        "the login has expired because it was not used for too long: run `sendoff relay login`",
    ),
    ("70008", "the login has expired: run `sendoff relay login`"),
    (
        "70011",
        "the scope is wrong: see outgoing.relay.oauth.scope",
    ),
    (
        "70043",
        "the login has expired by a rule of the tenant: run `sendoff relay login`",
    ),
    (
        "90002",
        "there is no such tenant: see outgoing.relay.oauth.tenant",
    ),
    (
        "900023",
        "the tenant is neither an id nor a domain: see outgoing.relay.oauth.tenant",
    ),
    (
        "65001",
        "nobody has consented to the application's permission: an administrator must grant it",
    ),
    (
        "500011",
        "the scope names a service that this tenant does not know",
    ),
    ("50126", "user name or password is wrong"),
    ("50034", "there is no such user in this tenant"),
    ("50057", "the account is switched off"),
    (
        "50173",
        "the password was changed since the login: run `sendoff relay login`",
    ),
    (
        "50076",
        "a second factor is required: run `sendoff relay login`",
    ),
    (
        "50079",
        "a second factor must be set up for the account first",
    ),
    (
        "53003",
        "a rule of the tenant (conditional access) forbids it",
    ),
];

/// What codes of any server mean (RFC 6749 §5.2, RFC 8628 §3.5).
const STANDARD: [(&str, &str); 9] = [
    (
        "invalid_grant",
        "the login was revoked, has expired, or belongs to another application: run `sendoff relay login`. Google \
         ends it after 7 days while the application is being tested, and when the password changes; for a service \
         account: its key was revoked, the clock is wrong, or there is no such user",
    ),
    ("invalid_client", "client_id or the client secret is wrong"),
    (
        "unauthorized_client",
        "the application may not do this: for a service account of Google, the administrator of the domain must \
         delegate it, for this scope",
    ),
    (
        "unsupported_grant_type",
        "the server does not support this flow: see outgoing.relay.oauth.flow",
    ),
    (
        "invalid_scope",
        "the scope is wrong: see outgoing.relay.oauth.scope",
    ),
    (
        "access_denied",
        "the user, or an administrator, refused consent",
    ),
    (
        "expired_token",
        "the code was not used in time: start again",
    ),
    (
        "server_error",
        "the server has a temporary problem; Sendoff will try again",
    ),
    (
        "temporarily_unavailable",
        "the server has a temporary problem; Sendoff will try again",
    ),
];

/// What relays say of a token, in lower case, and what it means; the first that fits counts.
const LOGIN: [(&str, &str); 7] = [
    (
        "smtpclientauthentication is disabled for the tenant",
        "SMTP AUTH is switched off for the whole tenant of Microsoft 365: Set-TransportConfig \
         -SmtpClientAuthenticationDisabled $false, or for the mailbox alone",
    ),
    (
        "smtpclientauthentication is disabled for the mailbox",
        "SMTP AUTH is switched off for this mailbox: Set-CASMailbox -SmtpClientAuthenticationDisabled $false",
    ),
    (
        "security defaults policy",
        "the tenant's security defaults forbid SMTP AUTH: they, or a rule of conditional access, must allow it",
    ),
    (
        "5.7.139",
        "a rule of the tenant (conditional access, security defaults) forbids this login",
    ),
    (
        "5.7.3",
        "the token is not valid for this mailbox: wrong scope or audience (outgoing.relay.oauth.scope), the \
         application is not registered in Exchange (New-ServicePrincipal, Add-MailboxPermission), SMTP.SendAsApp \
         is not consented to, or the mailbox has no licence",
    ),
    (
        "mail.google.com",
        "the token is not valid for sending: wrong scope (https://mail.google.com/ is required) or another mailbox \
         than `user`",
    ),
    (
        "5.7.8",
        "the token is not valid for this mailbox: compare `user` and outgoing.relay.oauth.scope",
    ),
];

/// The most of a server's own account that is shown.
const ACCOUNT_MAX: usize = 300;

fn meaning(code: &str, account: &str) -> Option<&'static str> {
    let digits = account.split_once("AADSTS").map(|(_, behind)| behind);
    let digits = digits.and_then(|behind| behind.split(|c: char| !c.is_ascii_digit()).next());
    let of = |list: &[(&str, &'static str)], wanted: &str| {
        list.iter()
            .find(|(code, _)| *code == wanted)
            .map(|(_, words)| *words)
    };
    let special = digits.and_then(|digits| of(&MICROSOFT, digits));
    special.or_else(|| of(&STANDARD, code))
}

/// A token is refused: with this code, and this account.
pub(crate) fn of_token(code: &str, account: &str) -> String {
    let account = account.lines().next().unwrap_or_default();
    let shown: String = account
        .chars()
        .filter(|c| !c.is_control())
        .take(ACCOUNT_MAX)
        .collect();
    let said = match shown.is_empty() {
        true => code.to_owned(),
        false => format!("{code}, {shown}"),
    };
    match meaning(code, account) {
        Some(words) => format!("{words} (its answer: {said})"),
        None => format!("the token was refused: {said}"),
    }
}

/// A relay refuses a token with this reply.
pub fn of_login(reply: &str) -> Option<&'static str> {
    let reply = reply.to_ascii_lowercase();
    LOGIN
        .iter()
        .find(|(said, _)| reply.contains(said))
        .map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_microsoft_and_google_are_told_in_words() {
        for (code, account, words) in [
            (
                "invalid_client",
                "AADSTS7000215: Invalid client secret provided. Ensure",
                "use its value",
            ),
            (
                "invalid_client",
                "AADSTS7000222: The provided client secret keys",
                "has expired",
            ),
            (
                "unauthorized_client",
                "AADSTS700016: Application with identifier",
                "does not know the application",
            ),
            (
                "invalid_grant",
                "AADSTS50126: Error validating credentials",
                "password is wrong",
            ),
            (
                "invalid_grant",
                "Token has been expired or revoked.",
                "relay login",
            ),
            ("strange", "", "the token was refused: strange"),
        ] {
            let told = of_token(code, account);
            assert!(told.contains(words) && told.contains(code), "{told}");
        }
    }

    #[test]
    fn a_relay_s_refusal_says_what_to_switch_on() {
        let tenant = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the \
                      Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.";
        let mailbox = tenant.replace("Tenant", "Mailbox");
        assert!(of_login(tenant).unwrap().contains("Set-TransportConfig"));
        assert!(of_login(&mailbox).unwrap().contains("Set-CASMailbox"));
        let scope =
            "535 5.7.3 Authentication unsuccessful [AM6P192CA0100.EURP192.PROD.OUTLOOK.COM]";
        assert!(of_login(scope).unwrap().contains("licence"));
        assert!(of_login("454 4.7.0 later").is_none());
    }
}
