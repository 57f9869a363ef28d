//! The administrator's verbs and their typed answers: one vocabulary for the command line, the admin socket
//! and HTTP.
//!
//! Each verb is a type with the type of its answer ([`Ask`]). Whoever carries verbs out implements [`Carry`] for each
//! of them; [`carry_out`] finds the right one for a [`Request`], which is any verb on its way, by HTTP or as a
//! [line](mod@line) of JSON over the admin socket. The verbs that change a recipient are carried out by [`act`] on store
//! and scheduler together; it returns what must be committed before the administrator is answered.

mod act;
mod answer;
mod columns;
mod error;
mod event;
mod explain;
mod figures;
mod later;
pub mod line;
mod log;
mod malformed;
mod overview;
mod people;
mod records;
mod replies;
mod request;
mod right;
mod series;
mod sockets;
mod summary;
mod table;
mod tools;
mod verbs;

pub use act::{Acted, act, ended_by_admin, verdict_of_admin};
pub use answer::{
    ActedView, AttemptView, BackedUpView, Content, DomainView, Done, EventsView, FinishedView,
    Healthy, HoldRuleView, LaterView, MessageView, QueuedView, RefusedView, SiteView, SitesView,
    SourceView, SuppressionView, SuppressionsView, TraceView, WarmSiteView, WarmUpView, report_of,
};
pub use error::{VerbError, VerbErrorKind};
pub use event::{
    EventReply, EventSelection, EventType, EventView, ListedEvent, MalformedReplay, PutAsideView,
    Replay, ReplayView, UnknownEventType, WebhookTested, WebhookVerb, WebhookView, domain_pattern,
};
pub use explain::{Explanation, Step};
pub use figures::DELAY_BOUNDS;
pub use later::PendingView;
pub use log::{LogTailView, LogView};
pub use malformed::{Malformed, SelectError};
pub use overview::{FlowView, OverviewView, TroubleView};
pub use people::{AccountView, ConsoleLinkView, SessionView};
pub use records::{ActRecord, ActView, Acting, ActsView};
pub use replies::{RepliesView, ReplyActionView, ReplyRuleView, ReplyTestedView};
pub use request::{HistorySelection, NewSuppression, Order, Selection, SuppressionSelection, Verb};
pub use right::{Right, Role};
pub use series::{POINTS_MAX, SeriesPoint, SeriesSelection, SeriesView};
pub use sockets::{admin_socket, own_mail_socket};
pub use summary::{
    Ages, AnswerCount, DomainCount, SubmitterCount, Summarise, SummaryView, grouped, summary_text,
};
pub use table::{
    attempts_table, events_table, labels_lines, later_table, queue_table, sites_table,
    sources_table, suppressions_table, webhooks_table,
};
pub use tools::{MxHostView, MxView, WhatSmtpView};
pub use verbs::{
    Accounts, Act, ActLater, Acts, Answer, Ask, Audit, Backup, Carry, CarryAll, ConsoleLink, Count,
    Crosses, Detailed, EndSession, Events, Explain, Export, FollowLog, Health, History,
    HistoryCount, HoldRule, HoldRules, List, Listening, LookUpMx, Overview, Pause, Pending, Reload,
    RemoveAccount, Replies, Request, SearchLog, Series, Sessions, SetAccount, Show, Site, Sites,
    Slow, Sources, Stats, Summary, Suppress, Suppressions, TestReply, TestWebhook, Trace, Undo,
    Unsuppress, Webhook, Webhooks, WhatSmtp, carry_out,
};
