//! Tokens for the login at the relay (OAuth 2): got ahead of need, kept over restarts, asked for once for all.
//!
//! What cannot be had is a fault of ours: mail waits, and nobody is charged (`faults.rs`). How a token is asked for
//! stands in `oauth/flows.rs`, what a refusal means in `oauth/words.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::oauth::OauthSettings;
use deliver::{Credentials, Failure, Secret, Stage};
use mail::{EnhancedCode, Reply, Timestamp};
use node::event::Event;
use node::{Node, Settings};
use oauth::flows::Web;
use oauth::kept::{Access, Kept, Refused};
use oauth::{flows, kept, words};
use route::Mode;

use crate::Sending;

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Workers that come within this time after a failure are told of it, and do not ask anew.
const FAILED_HOLDS: Duration = Duration::from_secs(5);
/// While an old token still holds, the next is asked for this often.
const RENEW_AGAIN: Duration = Duration::from_secs(60);
/// How long it is until a token that cannot be had is asked for by itself, from failure to failure.
const WAITS: [Duration; 4] = [
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1800),
];
/// Days ahead of a secret's end on which it is warned of.
const NOTICES: [u64; 3] = [1, 7, 30];
const DAY: u64 = 86_400;

/// The token of the relay.
#[derive(Debug)]
pub struct Oauth {
    file: PathBuf,
    /// Held while a token is asked for: who comes meanwhile waits for that.
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    /// The file as it was read or written last.
    seen: Option<SystemTime>,
    failed: Option<Failed>,
    /// Tokens in a row that the relay has refused, and when it refused the last.
    refused: Option<(u32, Timestamp)>,
}

#[derive(Debug, Clone)]
struct Failed {
    at: Timestamp,
    rounds: usize,
    why: String,
}

/// How the relay's token is got, where one is wanted.
pub(crate) fn wanted(settings: &Settings) -> Option<Arc<OauthSettings>> {
    let is_relay = matches!(settings.config.routing.mode, Mode::Relay(_));
    let relay = settings
        .config
        .outgoing
        .relay
        .as_ref()
        .filter(|_| is_relay)?;
    relay.oauth.clone()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

impl State {
    /// What the file says, where somebody else has written it: `sendoff relay login` does.
    fn look(&mut self, file: &Path, subject: &str) {
        let now = modified(file);
        if now != self.seen || self.kept.subject != subject {
            self.seen = now;
            self.kept = Kept::read(file, subject);
            self.failed = None;
        }
    }

    fn write(&mut self, node: &Node, file: &Path) {
        // At most a page, seldom.
        if let Err(error) = self.kept.write(file) {
            let line = node
                .journal
                .line(node.now(), "oauth")
                .field("what", "the token cannot be stored");
            line.field("why", error).send();
        }
        self.seen = modified(file);
    }

    /// The token in hand, while it holds.
    fn in_hand(&self, now: Timestamp) -> Option<&Access> {
        self.kept
            .access
            .as_ref()
            .filter(|access| now < access.expires())
    }

    /// Whether a new token is asked for now.
    fn is_due(&self, now: Timestamp) -> bool {
        let (wait, due) = match self.in_hand(now) {
            Some(access) => (RENEW_AGAIN, now >= access.renewed_at()),
            None => (FAILED_HOLDS, true),
        };
        let lately = |failed: &Failed| now.since(failed.at) < wait;
        due && !self.failed.as_ref().is_some_and(lately)
    }
}

impl Oauth {
    /// The token is kept in this directory.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            file: kept::file(data_dir),
            state: tokio::sync::Mutex::default(),
        }
    }

    /// A token that holds; why there is none, otherwise.
    async fn token(
        &self,
        node: &Node,
        settings: &Settings,
        oauth: &OauthSettings,
    ) -> Result<String, String> {
        let mut state = self.state.lock().await;
        state.look(&self.file, &oauth.subject());
        if state.is_due(node.now()) {
            let web = Web {
                tls: &settings.client_tls,
                dns: &settings.dns,
            };
            let got = flows::get(&web, oauth, state.kept.refresh.as_deref()).await;
            self.settle(node, oauth, &mut state, got);
        }
        match (state.in_hand(node.now()), &state.failed) {
            (Some(access), _) => Ok(access.token.clone()),
            (None, Some(failed)) => Err(failed.why.clone()),
            (None, None) => Err("the token is no longer valid".to_owned()),
        }
    }

    /// The configuration was read anew, perhaps to mend what was wrong: it is asked again at once.
    pub async fn begin_anew(&self) {
        let mut state = self.state.lock().await;
        (state.failed, state.refused) = (None, None);
    }

    fn settle(
        &self,
        node: &Node,
        oauth: &OauthSettings,
        state: &mut State,
        got: Result<flows::Got, flows::Trouble>,
    ) {
        if modified(&self.file) != state.seen {
            // Somebody has logged in meanwhile, which is newer than what was asked by.
            return state.look(&self.file, &oauth.subject());
        }
        let now = node.now();
        let line = node
            .journal
            .line(now, "oauth")
            .field("flow", oauth.flow.word());
        match got {
            Ok(got) => {
                state.kept.take(got, now);
                state.failed = None;
                let access = state.kept.access.as_ref();
                line.field("what", "token renewed")
                    .maybe("expires", access.map(Access::expires))
                    .maybe("next", access.map(Access::renewed_at))
                    .send();
            }
            Err(trouble) => {
                let why = trouble.to_string();
                let rounds = state.failed.as_ref().map_or(0, |failed| failed.rounds) + 1;
                line.field("what", "no token").field("why", &why).send();
                state.kept.refused = Some(Refused::new(now, &why));
                state.failed = Some(Failed {
                    at: now,
                    rounds,
                    why,
                });
            }
        }
        state.write(node, &self.file);
    }

    /// The relay has taken the token.
    async fn accepted(&self) {
        self.state.lock().await.refused = None;
    }

    /// The relay has refused a token: it is thrown away.
    async fn refused(&self, node: &Node, token: &str, why: &str) {
        let mut state = self.state.lock().await;
        // Sessions that were begun with the same one say the same.
        if state
            .kept
            .access
            .as_ref()
            .is_some_and(|access| access.token == token)
        {
            let now = node.now();
            state.kept.access = None;
            state.kept.refused = Some(Refused::new(now, why));
            state.refused = Some((state.refused.map_or(1, |(count, _)| count + 1), now));
            state.write(node, &self.file);
        }
    }

    /// Gets what is due, so that no mail waits for it; and lets mail go that has waited for it.
    async fn tend(&self, sending: &Sending, settings: &Settings, oauth: &OauthSettings) {
        let now = sending.node.now();
        let (waited, is_early) = {
            let mut state = self.state.lock().await;
            state.look(&self.file, &oauth.subject());
            let early = |failed: &Failed| {
                let place = failed.rounds.saturating_sub(1).min(WAITS.len() - 1);
                now.since(failed.at) < WAITS.get(place).copied().unwrap_or_default()
            };
            let early = state.in_hand(now).is_none() && state.failed.as_ref().is_some_and(early);
            // One new token is tried at once; a relay that refuses that as well is left alone for longer.
            let once =
                |(count, at): (u32, Timestamp)| count == 1 && now.since(at) >= FAILED_HOLDS / 2;
            let refused = state.kept.access.is_none() && state.refused.is_some_and(once);
            let fresh = state
                .refused
                .is_some_and(|(count, at)| count == 1 && !once((count, at)));
            (refused || state.failed.is_some(), early || fresh)
        };
        if !is_early && self.token(&sending.node, settings, oauth).await.is_ok() && waited {
            sending.faults.forget();
            sending.node.tell(Event::Reloaded);
        }
    }
}

/// Puts the token that holds now into a login that is by one; why there is none, otherwise.
pub async fn fill(
    sending: &Sending,
    settings: &Settings,
    login: Option<&mut Credentials>,
) -> Result<Option<String>, Failure> {
    let (Some(login), Some(oauth)) = (login, wanted(settings)) else {
        return Ok(None);
    };
    let token = sending.oauth.token(&sending.node, settings, &oauth).await;
    let token = token.map_err(|why| Failure {
        tls: mail::TlsUsed::None,
        stage: Stage::Login,
        reply: Reply::own(
            EnhancedCode::new(4, 7, 0),
            format!("no token for the relay: {why}"),
        ),
        retry: None,
        ours: true,
    })?;
    login.secret = Secret::Token(token.clone());
    Ok(Some(token))
}

/// The relay has taken the login by a token.
pub(crate) async fn accepted(sending: &Sending, token: Option<&str>) {
    if token.is_some() {
        sending.oauth.accepted().await;
    }
}

/// A session came to nothing: where the relay has refused its token, with what that means.
pub(crate) async fn refused(
    sending: &Sending,
    token: Option<&str>,
    mut failure: Failure,
) -> Failure {
    let (Some(token), Stage::Login, 500..) = (token, failure.stage, failure.reply.code) else {
        return failure;
    };
    if let Some(words) = words::of_login(&failure.reply.to_string()) {
        failure.reply.text = format!("{} [{words}]", failure.reply.text);
    }
    sending
        .oauth
        .refused(
            &sending.node,
            token,
            &format!("the relay answered {}", failure.reply),
        )
        .await;
    failure
}

/// Renews the token ahead of its end, and warns of the end of its secret, until the server stops.
pub async fn keep(sending: Arc<Sending>) {
    // What is to be said at the start, the configuration has said.
    let mut noticed = None;
    while !sending.node.stopping.is_cancelled() {
        let settings = sending.node.settings();
        if let Some(oauth) = wanted(&settings) {
            let now = sending.node.now();
            let notice = oauth.secret_ends.and_then(|ends| {
                let left = ends.since(now).as_secs();
                NOTICES
                    .iter()
                    .find(|days| left <= **days * DAY)
                    .map(|days| (ends, *days))
            });
            if noticed.is_some_and(|before| before != notice)
                && let Some(words) = oauth.secret_words(now)
            {
                sending
                    .node
                    .journal
                    .line(now, "warning")
                    .field("what", words)
                    .send();
            }
            noticed = Some(notice);
            sending.oauth.tend(&sending, &settings, &oauth).await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = sending.node.stopping.cancelled() => {}
        }
    }
}
