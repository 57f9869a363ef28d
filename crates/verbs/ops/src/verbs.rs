//! The verbs: each a type of its own with its answer's type, so that nobody can mistake one's answer for
//! another's. Whoever asks has an [`Ask`]; whoever carries verbs out is a [`Carry`] for each of them.

use std::future::Future;

use mail::{Address, Domain};
use schedule::Rate;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::Filter;

use crate::answer::{
    ActedView, BackedUpView, Content, DomainView, Done, EventsView, FinishedView, Healthy,
    HoldRuleView, MessageView, QueuedView, SitesView, SourceView, SuppressionsView, TraceView,
};
use crate::error::VerbError;
use crate::event::{EventSelection, WebhookTested, WebhookVerb, WebhookView};
use crate::explain::Explanation;
use crate::malformed::{CONNECTIONS_MAX, Malformed};
use crate::request::{
    self, HistorySelection, NewSuppression, Order, Selection, SuppressionSelection, Verb,
};
use crate::summary::SummaryView;

/// A question or an order of an administrator.
pub trait Ask: Crosses {
    /// What it is answered.
    type Answer: Serialize + DeserializeOwned;

    /// Whether what it says can be meant: ids, filters and domains are read, and nothing is looked up.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Who carries out one verb.
pub trait Carry<A: Ask> {
    /// Carries it out. What it changes is durable when it is answered.
    ///
    /// # Errors
    /// Why it was not done.
    fn carry(&self, ask: A) -> impl Future<Output = Result<A::Answer, VerbError>> + Send;
}

macro_rules! verbs {
    ($($verb:ident)*) => {
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum AnyAsk {
            $($verb($verb),)*
        }

        #[derive(Debug, Serialize)]
        #[serde(untagged)]
        enum AnyAnswer {
            $($verb(Box<<$verb as Ask>::Answer>),)*
        }

        $(
            impl From<$verb> for Request {
                fn from(ask: $verb) -> Self {
                    Self(AnyAsk::$verb(ask))
                }
            }

            impl Crosses for $verb {
                fn answer_of(answer: Answer) -> Option<<Self as Ask>::Answer> {
                    if let AnyAnswer::$verb(answer) = answer.0 {
                        Some(*answer)
                    } else {
                        None
                    }
                }
            }
        )*

        /// Who carries out every verb.
        pub trait CarryAll: Sync $(+ Carry<$verb>)* {}

        impl<C: Sync $(+ Carry<$verb>)*> CarryAll for C {}

        /// Has the verb that has crossed carried out.
        ///
        /// # Errors
        /// Why it was not done.
        pub async fn carry_out(by: &impl CarryAll, request: Request) -> Result<Answer, VerbError> {
            match request.0 {
                $(
                    AnyAsk::$verb(ask) => {
                        ask.check()?;
                        let answer = by.carry(ask).await?;
                        Ok(Answer(AnyAnswer::$verb(Box::new(answer))))
                    }
                )*
            }
        }
    };
}

/// Any verb, on its way to whoever carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Request(AnyAsk);

/// The answer to any verb, on its way back: [`Crosses::answer_of`] takes it out again.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Answer(AnyAnswer);

/// A verb that crosses to whoever carries it out, and its answer back.
pub trait Crosses: Into<Request> + Sized {
    /// The answer to this verb; `None` where it is another's.
    fn answer_of(answer: Answer) -> Option<<Self as Ask>::Answer>
    where
        Self: Ask;
}

verbs! {
    List Count Summary Show Trace Act Export Sites Sources Site Pause Slow HoldRules HoldRule Explain
    History HistoryCount Detailed Suppressions Suppress Unsuppress Webhooks Webhook TestWebhook Events
    Backup Listening Reload Stats Health
}

/// Waiting recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Which.
    pub selection: Selection,
    /// In which order.
    pub order: Order,
    /// The largest first.
    #[serde(default)]
    pub descending: bool,
    /// Maximum number of entries.
    pub limit: u64,
    /// How many are passed over first.
    pub offset: u64,
}

impl Ask for List {
    type Answer = Vec<QueuedView>;

    fn check(&self) -> Result<(), Malformed> {
        match &self.selection {
            Selection::Ids(ids) if ids.len() != 1 => Err(Malformed::SeveralIds),
            Selection::Ids(_) | Selection::Filter(_) | Selection::All => self.selection.check(),
        }
    }
}

/// How many wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count(pub Selection);

impl Ask for Count {
    type Answer = u64;

    fn check(&self) -> Result<(), Malformed> {
        self.0.check()
    }
}

/// What waits, in numbers: at most so many domains by age, last answers, submitters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary(pub u64);

impl Ask for Summary {
    type Answer = SummaryView;
}

/// One message, by its id, with its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show(pub String);

impl Ask for Show {
    type Answer = MessageView;

    fn check(&self) -> Result<(), Malformed> {
        request::parse_id(&self.0).map(drop)
    }
}

/// Everything that happened to one message, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace(pub String);

impl Ask for Trace {
    type Answer = TraceView;

    fn check(&self) -> Result<(), Malformed> {
        request::parse_id(&self.0).map(drop)
    }
}

/// Change waiting recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// How.
    pub verb: Verb,
    /// Which.
    pub selection: Selection,
}

/// Octets of a server's name.
const ROUTE_MAX: usize = 300;

impl Ask for Act {
    type Answer = ActedView;

    fn check(&self) -> Result<(), Malformed> {
        if let Verb::Reroute(Some(to)) = &self.verb
            && (to.trim().is_empty() || to.len() > ROUTE_MAX)
        {
            return Err(Malformed::NoServer);
        }
        self.selection.check()
    }
}

/// The content of a message that waits, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export(pub String);

impl Ask for Export {
    type Answer = Content;

    fn check(&self) -> Result<(), Malformed> {
        request::parse_id(&self.0).map(drop)
    }
}

/// The sites mail goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sites;

impl Ask for Sites {
    type Answer = SitesView;
}

/// The addresses that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources;

impl Ask for Sources {
    type Answer = Vec<SourceView>;
}

/// What is known of the site that a domain's mail goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site(pub String);

impl Ask for Site {
    type Answer = DomainView;

    fn check(&self) -> Result<(), Malformed> {
        check_domain(&self.0)
    }
}

/// Stop the mail for a domain, or let it go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The domain.
    pub domain: String,
    /// Stop it, or let it go.
    pub on: bool,
}

impl Ask for Pause {
    type Answer = Done;

    fn check(&self) -> Result<(), Malformed> {
        check_domain(&self.domain)
    }
}

/// Limit the mail for a domain; without limits: no more than the rules do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// The domain.
    pub domain: String,
    /// Messages in a time, such as `10/min`.
    pub rate: Option<String>,
    /// Connections at once.
    pub connections: Option<u32>,
}

impl Ask for Slow {
    type Answer = Done;

    fn check(&self) -> Result<(), Malformed> {
        check_domain(&self.domain)?;
        match self.connections {
            Some(0) => return Err(Malformed::NoConnections),
            Some(n) if n > CONNECTIONS_MAX => return Err(Malformed::TooManyConnections(n)),
            Some(_) | None => {}
        }
        self.rate.as_deref().map(Rate::parse).transpose()?;
        Ok(())
    }
}

/// The rules that hold new mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRules;

impl Ask for HoldRules {
    type Answer = Vec<HoldRuleView>;
}

/// Hold new mail that a filter matches, under a name; without a filter: take the rule away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRule {
    /// The rule's name.
    pub name: String,
    /// The filter.
    pub filter: Option<String>,
}

/// Octets of a rule's name, and of its filter.
const RULE_NAME_MAX: usize = 60;
const RULE_FILTER_MAX: usize = 2000;

impl Ask for HoldRule {
    type Answer = Done;

    fn check(&self) -> Result<(), Malformed> {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > RULE_NAME_MAX || !name.chars().all(plain) {
            return Err(Malformed::RuleName(name.clone()));
        }
        match self.filter.as_deref() {
            None => Ok(()),
            Some(text) if text.len() > RULE_FILTER_MAX => Err(Malformed::LongFilter),
            Some(text) => {
                let filter = Filter::parse(text)?;
                if filter.names_kinds() {
                    return Err(Malformed::KindsOfNewMail);
                }
                match filter.terms().is_empty() {
                    true => Err(Malformed::EmptyFilter),
                    false => Ok(()),
                }
            }
        }
    }
}

/// Where the mail for an address would go, and why; sends nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// The address.
    pub address: String,
    /// Ask the mail host as well, up to RCPT.
    pub probe: bool,
}

impl Ask for Explain {
    type Answer = Explanation;

    fn check(&self) -> Result<(), Malformed> {
        Ok(Address::parse(&self.address).map(drop)?)
    }
}

/// Finished recipients, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Which.
    pub selection: HistorySelection,
    /// Maximum number of entries.
    pub limit: u64,
    /// How many are passed over first.
    pub offset: u64,
}

impl Ask for History {
    type Answer = Vec<FinishedView>;

    fn check(&self) -> Result<(), Malformed> {
        self.selection.filter().map(drop)
    }
}

/// How many finished recipients match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCount {
    /// Which.
    pub selection: HistorySelection,
    /// No more than so many are counted.
    pub most: u64,
}

impl Ask for HistoryCount {
    type Answer = u64;

    fn check(&self) -> Result<(), Malformed> {
        self.selection.filter().map(drop)
    }
}

/// The detailed log: for everything, or for one domain or sender; on or off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detailed {
    /// A domain or an address; none: everything.
    pub only: Option<String>,
    /// On or off.
    pub on: bool,
    /// On for so many seconds; `None`: until it is switched off.
    pub seconds: Option<u64>,
}

impl Ask for Detailed {
    type Answer = Done;
}

/// The suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressions {
    /// Which of its entries.
    #[serde(default)]
    pub selection: SuppressionSelection,
    /// Maximum number of entries.
    pub limit: u64,
    /// How many are passed over first.
    pub offset: u64,
}

impl Ask for Suppressions {
    type Answer = SuppressionsView;

    fn check(&self) -> Result<(), Malformed> {
        self.selection.check()
    }
}

/// Put recipients on the suppression list, at most 1000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppress(pub Vec<NewSuppression>);

impl Ask for Suppress {
    type Answer = Done;

    fn check(&self) -> Result<(), Malformed> {
        self.0.iter().try_for_each(NewSuppression::check)
    }
}

/// Take a recipient off the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsuppress {
    /// The recipient.
    pub recipient: String,
    /// From this scope; none: from all.
    pub scope: Option<String>,
}

impl Ask for Unsuppress {
    type Answer = Done;

    fn check(&self) -> Result<(), Malformed> {
        request::check_address(Some(&self.recipient))?;
        request::check_scope(self.scope.as_deref())
    }
}

/// The webhooks and how they fare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhooks;

impl Ask for Webhooks {
    type Answer = Vec<WebhookView>;
}

/// Do something with a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// What.
    pub verb: WebhookVerb,
}

impl Ask for Webhook {
    type Answer = Done;

    fn check(&self) -> Result<(), Malformed> {
        Ok(self.verb.check()?)
    }
}

/// Send an example to the webhook of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestWebhook(pub String);

impl Ask for TestWebhook {
    type Answer = WebhookTested;
}

/// Events that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events(pub EventSelection);

impl Ask for Events {
    type Answer = EventsView;
}

/// Copy the queue and what belongs to it into this directory of the server's machine; an absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup(pub String);

impl Ask for Backup {
    type Answer = BackedUpView;

    fn check(&self) -> Result<(), Malformed> {
        match self.0.starts_with('/') {
            true => Ok(()),
            false => Err(Malformed::Directory(self.0.clone())),
        }
    }
}

/// The addresses that are listened at, each with its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening;

impl Ask for Listening {
    type Answer = Vec<String>;
}

/// Read the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload;

impl Ask for Reload {
    type Answer = Done;
}

/// Figures by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats;

impl Ask for Stats {
    type Answer = serde_json::Map<String, serde_json::Value>;
}

/// Whether mail can be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health;

impl Ask for Health {
    type Answer = Healthy;
}

fn check_domain(text: &str) -> Result<(), Malformed> {
    Ok(Domain::parse(text).map(drop)?)
}
