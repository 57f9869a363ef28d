//! The verbs: each a type of its own with its answer's type, so that nobody can mistake one's answer for
//! another's. Whoever asks has an [`Ask`]; whoever carries verbs out is a [`Carry`] for each of them.

mod later;
mod log;
mod people;
mod queue;
mod server;
mod steering;
mod tools;
mod watch;

use std::future::Future;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::VerbError;
use crate::malformed::Malformed;
use crate::records::Acting;
use crate::right::Right;

pub use later::{ActLater, Pending, Undo};
pub use log::{FollowLog, SearchLog};
pub use people::{Accounts, ConsoleLink, EndSession, RemoveAccount, Sessions, SetAccount};
pub use queue::{Act, Count, Export, List, Show, Summary, Trace};
pub use server::{
    Backup, Events, Health, Listening, Reload, Stats, Suppress, Suppressions, TestWebhook,
    Unsuppress, Webhook, Webhooks,
};
pub use steering::{
    Detailed, Explain, History, HistoryCount, HoldRule, HoldRules, Pause, Site, Sites, Slow,
    Sources,
};
pub use tools::{LookUpMx, WhatSmtp};
pub use watch::{Acts, Overview, Replies, Series, TestReply};

/// A question or an order of an administrator.
pub trait Ask: Crosses {
    /// What it is answered.
    type Answer: Serialize + DeserializeOwned;

    /// The right that whoever asks needs.
    const NEEDS: Right;

    /// The right that this one needs, where it asks for more than others of its kind.
    fn needs(&self) -> Right {
        Self::NEEDS
    }

    /// What it changes, for the audit; `None` for a question.
    fn acting(&self) -> Option<Acting> {
        None
    }

    /// Whether what it says can be meant: ids, filters and domains are read, and nothing is looked up.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Who keeps what was done.
pub trait Audit {
    /// Keeps that this was done, with its answer as JSON, or why it was not. Durable on return.
    fn record(
        &self,
        acting: Acting,
        answer: Result<serde_json::Value, &VerbError>,
    ) -> impl Future<Output = ()> + Send;
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
        pub trait CarryAll: Sync + Audit $(+ Carry<$verb>)* {}

        impl<C: Sync + Audit $(+ Carry<$verb>)*> CarryAll for C {}

        impl Request {
            /// The right that whoever asks needs.
            #[must_use]
            pub fn needs(&self) -> Right {
                match &self.0 {
                    $(AnyAsk::$verb(ask) => ask.needs(),)*
                }
            }

            /// The names of all verbs, each with the right that it needs.
            #[must_use]
            pub fn all() -> Vec<(&'static str, Right)> {
                vec![$((stringify!($verb), $verb::NEEDS),)*]
            }
        }

        /// Has the verb that has crossed carried out.
        ///
        /// # Errors
        /// Why it was not done.
        pub async fn carry_out(by: &impl CarryAll, request: Request) -> Result<Answer, VerbError> {
            match request.0 {
                $(
                    AnyAsk::$verb(ask) => {
                        ask.check()?;
                        let acting = ask.acting();
                        let answer = by.carry(ask).await;
                        if let Some(acting) = acting {
                            let told = answer.as_ref().map(told);
                            by.record(acting, told).await;
                        }
                        answer.map(|answer| Answer(AnyAnswer::$verb(Box::new(answer))))
                    }
                )*
            }
        }
    };
}

/// An answer as the audit has it.
fn told(answer: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(answer).unwrap_or_default()
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
    Backup Listening Reload Stats Health Overview Series Acts Replies TestReply SearchLog FollowLog
    LookUpMx WhatSmtp
    Accounts SetAccount RemoveAccount Sessions EndSession ConsoleLink
    ActLater Pending Undo
}
