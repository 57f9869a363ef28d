//! The administrator's verbs and their typed answers: one vocabulary for the CLI, the admin socket
//! and, later, HTTP and console.
//!
//! A [`Request`] crosses the admin socket as one line of JSON and is answered by one
//! [`Answer`]. The verbs that change a recipient are carried out by [`act`] on store and scheduler
//! together; it returns what must be committed before the administrator is answered.

mod act;
mod answer;
mod columns;
mod event;
mod explain;
mod figures;
mod request;
mod summary;
mod table;

pub use act::{Acted, act, ended_by_admin, verdict_of_admin};
pub use answer::{
    Answer, AttemptView, DomainView, FinishedView, HoldRuleView, LaterView, MessageView,
    QueuedView, RefusedView, SiteView, SourceView, SuppressionView, TraceView, WarmSiteView,
    WarmUpView, report_of,
};
pub use event::{
    EventReply, EventSelection, EventType, EventView, ListedEvent, PutAsideView, Replay,
    ReplayView, WebhookTested, WebhookVerb, WebhookView, domain_pattern,
};
pub use explain::{Explanation, Step};
pub use figures::DELAY_BOUNDS;
pub use request::{
    HistorySelection, NewSuppression, Order, Request, Selection, SuppressionSelection, Verb,
};
pub use summary::{
    Ages, AnswerCount, DomainCount, SubmitterCount, Summarise, SummaryView, grouped, summary_text,
};
pub use table::{
    attempts_table, events_table, labels_lines, later_table, queue_table, sites_table,
    sources_table, suppressions_table, webhooks_table,
};
