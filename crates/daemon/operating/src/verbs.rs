//! Which part of the server carries each verb out. Nothing is decided here.

use std::sync::Arc;

use ops::{
    AccountView, Accounts, Act, ActLater, ActedView, Acting, Acts, ActsView, Audit, BackedUpView,
    Backup, Carry, ConsoleLink, ConsoleLinkView, Content, Count, Detailed, DomainView, Done,
    EndSession, Events, EventsView, Explain, Explanation, Export, FinishedView, FollowLog, Health,
    Healthy, History, HistoryCount, HoldRule, HoldRuleView, HoldRules, List, Listening,
    LogTailView, LogView, LookUpMx, MessageView, MxView, Overview, OverviewView, Pause, Pending,
    PendingView, QueuedView, Reload, RemoveAccount, Replies, RepliesView, ReplyTestedView,
    SearchLog, Series, SeriesView, SessionView, Sessions, SetAccount, Show, Site, Sites, SitesView,
    Slow, SourceView, Sources, Stats, Summary, SummaryView, Suppress, Suppressions,
    SuppressionsView, TestReply, TestWebhook, Trace, TraceView, Undo, Unsuppress, VerbError,
    Webhook, WebhookTested, WebhookView, Webhooks, WhatSmtp, WhatSmtpView,
};
use returns::suppression;
use sources::leaving;
use store::Page;

use crate::admin::{self, Progress};
use crate::{
    Operating, acts, explain, health, later, log, orders, people, replies, summary, tools, watching,
};

type Result<T> = std::result::Result<T, VerbError>;

/// Carries verbs out for somebody.
pub(crate) struct Carrier<'a> {
    pub(crate) operating: &'a Arc<Operating>,
    /// Who asks, for the log.
    pub(crate) who: &'a str,
    /// Hears how far a long order is.
    pub(crate) progress: Option<&'a Progress>,
}

impl Audit for Carrier<'_> {
    async fn record(
        &self,
        acting: Acting,
        answer: std::result::Result<serde_json::Value, &VerbError>,
    ) {
        watching::record(&self.operating.node, self.who, acting, answer).await;
    }
}

impl Carry<Accounts> for Carrier<'_> {
    async fn carry(&self, Accounts: Accounts) -> Result<Vec<AccountView>> {
        Ok(people::accounts(self.operating))
    }
}

impl Carry<SetAccount> for Carrier<'_> {
    async fn carry(&self, ask: SetAccount) -> Result<Done> {
        people::set(self.operating, ask).await
    }
}

impl Carry<RemoveAccount> for Carrier<'_> {
    async fn carry(&self, RemoveAccount(name): RemoveAccount) -> Result<Done> {
        people::remove(self.operating, name).await
    }
}

impl Carry<Sessions> for Carrier<'_> {
    async fn carry(&self, Sessions: Sessions) -> Result<Vec<SessionView>> {
        Ok(people::sessions(self.operating))
    }
}

impl Carry<EndSession> for Carrier<'_> {
    async fn carry(&self, EndSession(id): EndSession) -> Result<Done> {
        people::end(self.operating, &id)
    }
}

impl Carry<ConsoleLink> for Carrier<'_> {
    async fn carry(&self, ConsoleLink: ConsoleLink) -> Result<ConsoleLinkView> {
        people::link(self.operating)
    }
}

impl Carry<ActLater> for Carrier<'_> {
    async fn carry(&self, ask: ActLater) -> Result<PendingView> {
        later::give(self.operating, ask, self.who).await
    }
}

impl Carry<Pending> for Carrier<'_> {
    async fn carry(&self, Pending: Pending) -> Result<Vec<PendingView>> {
        Ok(later::pending(self.operating))
    }
}

impl Carry<Undo> for Carrier<'_> {
    async fn carry(&self, Undo(id): Undo) -> Result<Done> {
        later::undo(self.operating, &id).await
    }
}

impl Carry<Overview> for Carrier<'_> {
    async fn carry(&self, Overview: Overview) -> Result<OverviewView> {
        watching::overview(self.operating).await
    }
}

impl Carry<Series> for Carrier<'_> {
    async fn carry(&self, Series(selection): Series) -> Result<SeriesView> {
        watching::series(&self.operating.node, selection).await
    }
}

impl Carry<Acts> for Carrier<'_> {
    async fn carry(&self, ask: Acts) -> Result<ActsView> {
        watching::acts(&self.operating.node, ask.before, ask.limit).await
    }
}

impl Carry<Replies> for Carrier<'_> {
    async fn carry(&self, Replies: Replies) -> Result<RepliesView> {
        Ok(replies::book(
            &self.operating.node.settings().config.replies,
        ))
    }
}

impl Carry<TestReply> for Carrier<'_> {
    async fn carry(&self, ask: TestReply) -> Result<ReplyTestedView> {
        let settings = self.operating.node.settings();
        Ok(replies::test(&settings.config.replies, &ask))
    }
}

impl Carry<LookUpMx> for Carrier<'_> {
    async fn carry(&self, ask: LookUpMx) -> Result<MxView> {
        tools::mx(self.operating, ask, self.who).await
    }
}

impl Carry<WhatSmtp> for Carrier<'_> {
    async fn carry(&self, ask: WhatSmtp) -> Result<WhatSmtpView> {
        tools::what_smtp(self.operating, ask, self.who).await
    }
}

impl Carry<SearchLog> for Carrier<'_> {
    async fn carry(&self, ask: SearchLog) -> Result<LogView> {
        log::search(self.operating, ask).await
    }
}

impl Carry<FollowLog> for Carrier<'_> {
    async fn carry(&self, ask: FollowLog) -> Result<LogTailView> {
        log::follow(self.operating, ask).await
    }
}

impl Carry<List> for Carrier<'_> {
    async fn carry(&self, ask: List) -> Result<Vec<QueuedView>> {
        let page = Page {
            sort: ask.order.into(),
            descending: ask.descending,
            offset: ask.offset,
            limit: ask.limit,
        };
        admin::list(&self.operating.node, ask.selection, page).await
    }
}

impl Carry<Count> for Carrier<'_> {
    async fn carry(&self, Count(selection): Count) -> Result<u64> {
        admin::count(&self.operating.node, selection).await
    }
}

impl Carry<Summary> for Carrier<'_> {
    async fn carry(&self, Summary(limit): Summary) -> Result<SummaryView> {
        summary::summary(&self.operating.node, limit).await
    }
}

impl Carry<Show> for Carrier<'_> {
    async fn carry(&self, Show(id): Show) -> Result<MessageView> {
        let found = admin::show(&self.operating.node, &id).await?;
        found.ok_or_else(|| admin::unknown(&id))
    }
}

impl Carry<Trace> for Carrier<'_> {
    async fn carry(&self, Trace(id): Trace) -> Result<TraceView> {
        admin::trace(&self.operating.node, &id).await
    }
}

impl Carry<Act> for Carrier<'_> {
    async fn carry(&self, ask: Act) -> Result<ActedView> {
        acts::act(
            self.operating,
            ask.verb,
            ask.selection,
            self.who,
            self.progress,
        )
        .await
    }
}

impl Carry<Export> for Carrier<'_> {
    async fn carry(&self, Export(id): Export) -> Result<Content> {
        admin::export(&self.operating.node, &id).await
    }
}

impl Carry<Sites> for Carrier<'_> {
    async fn carry(&self, Sites: Sites) -> Result<SitesView> {
        admin::sites(self.operating).await
    }
}

impl Carry<Sources> for Carrier<'_> {
    async fn carry(&self, Sources: Sources) -> Result<Vec<SourceView>> {
        Ok(leaving::views(&self.operating.sources))
    }
}

impl Carry<Site> for Carrier<'_> {
    async fn carry(&self, Site(domain): Site) -> Result<DomainView> {
        orders::site(self.operating, &domain).await
    }
}

impl Carry<Pause> for Carrier<'_> {
    async fn carry(&self, ask: Pause) -> Result<Done> {
        orders::pause(self.operating, &ask.domain, ask.on, self.who).await
    }
}

impl Carry<Slow> for Carrier<'_> {
    async fn carry(&self, ask: Slow) -> Result<Done> {
        orders::slow(self.operating, &ask, self.who).await
    }
}

impl Carry<HoldRules> for Carrier<'_> {
    async fn carry(&self, HoldRules: HoldRules) -> Result<Vec<HoldRuleView>> {
        Ok(orders::hold_rules(&self.operating.node))
    }
}

impl Carry<HoldRule> for Carrier<'_> {
    async fn carry(&self, ask: HoldRule) -> Result<Done> {
        orders::hold_rule(&self.operating.node, ask.name, ask.filter, self.who).await
    }
}

impl Carry<Explain> for Carrier<'_> {
    async fn carry(&self, ask: Explain) -> Result<Explanation> {
        explain::explain(self.operating, &ask.address, ask.probe).await
    }
}

impl Carry<History> for Carrier<'_> {
    async fn carry(&self, ask: History) -> Result<Vec<FinishedView>> {
        orders::history(&self.operating.node, ask.selection, ask.offset, ask.limit).await
    }
}

impl Carry<HistoryCount> for Carrier<'_> {
    async fn carry(&self, ask: HistoryCount) -> Result<u64> {
        orders::history_count(&self.operating.node, ask.selection, ask.most).await
    }
}

impl Carry<Detailed> for Carrier<'_> {
    async fn carry(&self, ask: Detailed) -> Result<Done> {
        Ok(admin::detailed(&self.operating.node, ask, self.who))
    }
}

impl Carry<Suppressions> for Carrier<'_> {
    async fn carry(&self, ask: Suppressions) -> Result<SuppressionsView> {
        suppression::list(&self.operating.node, &ask.selection, ask.offset, ask.limit)
    }
}

impl Carry<Suppress> for Carrier<'_> {
    async fn carry(&self, Suppress(new): Suppress) -> Result<Done> {
        suppression::add(&self.operating.returns, new, self.who).await
    }
}

impl Carry<Unsuppress> for Carrier<'_> {
    async fn carry(&self, ask: Unsuppress) -> Result<Done> {
        suppression::remove(&self.operating.returns, ask.recipient, ask.scope, self.who).await
    }
}

impl Carry<Webhooks> for Carrier<'_> {
    async fn carry(&self, Webhooks: Webhooks) -> Result<Vec<WebhookView>> {
        webhooks::list(&self.operating.webhooks).await
    }
}

impl Carry<Webhook> for Carrier<'_> {
    async fn carry(&self, ask: Webhook) -> Result<Done> {
        webhooks::act(&self.operating.webhooks, &ask.name, ask.verb, self.who).await
    }
}

impl Carry<TestWebhook> for Carrier<'_> {
    async fn carry(&self, TestWebhook(name): TestWebhook) -> Result<WebhookTested> {
        webhooks::test(&self.operating.webhooks, &name, self.who).await
    }
}

impl Carry<Events> for Carrier<'_> {
    async fn carry(&self, Events(selection): Events) -> Result<EventsView> {
        webhooks::events(&self.operating.node, selection).await
    }
}

impl Carry<Backup> for Carrier<'_> {
    async fn carry(&self, Backup(directory): Backup) -> Result<BackedUpView> {
        admin::back_up(&self.operating.node, directory, self.who).await
    }
}

impl Carry<Listening> for Carrier<'_> {
    async fn carry(&self, Listening: Listening) -> Result<Vec<String>> {
        Ok(self.operating.reception.listening.addresses())
    }
}

impl Carry<Reload> for Carrier<'_> {
    async fn carry(&self, Reload: Reload) -> Result<Done> {
        admin::reload(&self.operating.node, self.who).await
    }
}

impl Carry<Stats> for Carrier<'_> {
    async fn carry(&self, Stats: Stats) -> Result<serde_json::Map<String, serde_json::Value>> {
        admin::stats(self.operating).await
    }
}

impl Carry<Health> for Carrier<'_> {
    async fn carry(&self, Health: Health) -> Result<Healthy> {
        health::health(self.operating).await
    }
}
