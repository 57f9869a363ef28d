//! Logins of clients of SMTP.

use std::net::IpAddr;
use std::sync::Arc;

use accounts::{Try, UsersError};
use intake::LoginVerdict;
use node::Node;
use smtp::sasl::{Evidence, Keys, Login};

use super::{Account, RestsOn};
use crate::{Reception, floods};

/// The keys that a client must prove to know; `None` when the users' file cannot be read.
pub(super) async fn fetch_keys(
    reception: &Arc<Reception>,
    user: String,
    peer: IpAddr,
) -> Option<Keys> {
    let settings = reception.node.settings();
    let fetched = tokio::task::spawn_blocking(move || settings.logins.keys(&user)).await;
    match fetched {
        Ok(Ok(keys)) => Some(keys),
        Ok(Err(error)) => {
            log_users_trouble(reception, peer, &error);
            None
        }
        Err(_) => None,
    }
}

fn log_users_trouble(reception: &Reception, peer: IpAddr, why: &UsersError) {
    let why = why.to_string();
    let fields = [("what", Some("users")), ("why", Some(why.as_str()))];
    floods::tell(reception, peer, "error", &fields);
}

impl Account {
    /// Whether who has logged in still may.
    pub(super) fn stands(&self, node: &Node) -> bool {
        let Some((user, rests_on)) = &self.user else {
            return true;
        };
        // A file that cannot be read ends nobody's session.
        let now = node.settings().logins.standing(user);
        now.is_ok_and(|now| now.is_some() && now == *rests_on)
    }
}

/// Begins an attempt to log in; `None`: too many have failed.
pub(super) async fn begin(
    reception: &Reception,
    peer: IpAddr,
    user: &str,
) -> Option<(Try, RestsOn)> {
    let attempt = reception.guard.begin(peer, user).await?;
    // A file that cannot be read is told of when the login is looked at.
    let rests_on = reception
        .node
        .settings()
        .logins
        .standing(user)
        .ok()
        .flatten();
    Some((attempt, rests_on))
}

/// Checks a login. A wrong one is answered the later the more have failed from its address.
pub(super) async fn check_login(
    reception: &Arc<Reception>,
    login: Login,
    peer: IpAddr,
    account: &mut Account,
) -> LoginVerdict {
    // A proof has begun with its challenge.
    let begun = account.attempt.take();
    let begun = begun.filter(|(attempt, _)| {
        attempt.user == login.user && matches!(login.evidence, Evidence::Proof(_))
    });
    let begun = match begun {
        Some(begun) => Some(begun),
        None => begin(reception, peer, &login.user).await,
    };
    let Some((attempt, rests_on)) = begun else {
        return LoginVerdict::TooMany;
    };
    let settings = reception.node.settings();
    let user = login.user;
    let right = match login.evidence {
        Evidence::Proof(right) => right,
        Evidence::Password(password) => {
            match settings
                .logins
                .is_remembered(&user, &password, reception.node.now())
            {
                true => true,
                false => match check_password(reception, user.clone(), password, peer).await {
                    Some(right) => right,
                    None => return LoginVerdict::Unavailable,
                },
            }
        }
    };
    if !right {
        tokio::time::sleep(attempt.wrong()).await;
        return LoginVerdict::Wrong;
    }
    attempt.right();
    let name = user.clone();
    let found = tokio::task::spawn_blocking(move || {
        let found = settings.logins.user(&user)?;
        Ok((found, settings.logins.standing(&user)?))
    });
    match found.await {
        // What was proved is what holds now: a challenge may have waited while the password was changed.
        Ok(Ok((Some(user), now))) if now == rests_on => {
            account.user = Some((name, rests_on));
            LoginVerdict::Right(user)
        }
        // Taken out, or changed, meanwhile.
        Ok(Ok(_)) => LoginVerdict::Wrong,
        Ok(Err(error)) => {
            log_users_trouble(reception, peer, &error);
            LoginVerdict::Unavailable
        }
        Err(_) => LoginVerdict::Unavailable,
    }
}

async fn check_password(
    reception: &Arc<Reception>,
    user: String,
    password: String,
    peer: IpAddr,
) -> Option<bool> {
    let settings = reception.node.settings();
    let _permit = reception.hashing.acquire().await.ok()?;
    let now = reception.node.now();
    let checked = tokio::task::spawn_blocking(move || settings.logins.check(&user, &password, now));
    match checked.await {
        Ok(Ok(right)) => Some(right),
        Ok(Err(error)) => {
            log_users_trouble(reception, peer, &error);
            None
        }
        Err(_) => None,
    }
}
