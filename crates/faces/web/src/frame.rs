//! What stands around every page.

use ops::{Right, Role};

use crate::assets;
use crate::fields::Fields;
use crate::session::User;
use crate::state::Web;

/// A group of pages in the menu: a heading, and each page with its address and name.
type Group = (&'static str, &'static [(&'static str, &'static str)]);

/// The menu.
const MENU: [Group; 4] = [
    (
        "Mail",
        &[
            ("/", "Overview"),
            ("/queue", "Queue"),
            ("/finished", "Finished"),
            ("/sites", "Sites"),
            ("/reports", "Reports"),
            ("/log", "Log"),
        ],
    ),
    (
        "Lists",
        &[
            ("/suppressions", "Suppression"),
            ("/answers", "Answers"),
            ("/webhooks", "Webhooks"),
            ("/sources", "Addresses"),
        ],
    ),
    (
        "Server",
        &[
            ("/tools", "Tools"),
            ("/people", "People"),
            ("/audit", "Audit"),
        ],
    ),
    ("Help", &[("/help", "Help")]),
];

/// What stands around a page.
pub(crate) struct Frame {
    pub(crate) title: String,
    /// The address of the page in the menu.
    pub(crate) active: &'static str,
    pub(crate) user: String,
    pub(crate) role: Role,
    pub(crate) form_token: String,
    pub(crate) hostname: String,
    /// What came of the last form.
    pub(crate) notice: Option<String>,
    pub(crate) style: &'static str,
    pub(crate) script: &'static str,
    /// The page itself, to come back to.
    pub(crate) here: String,
}

impl Frame {
    /// Around a page for somebody.
    pub(crate) fn new(web: &Web, user: &User, active: &'static str, title: &str) -> Self {
        let query = user.here.split_once('?').map_or("", |(_, query)| query);
        let notice = Fields::parse(query.as_bytes())
            .get("done")
            .map(str::to_owned);
        Self {
            title: title.to_owned(),
            active,
            user: user.session.name.clone(),
            role: user.role(),
            form_token: user.session.form_token.clone(),
            hostname: web.0.backend.settings().hostname,
            notice,
            style: assets::style_path(),
            script: assets::script_path(),
            here: user.here.clone(),
        }
    }

    pub(crate) fn menu(&self) -> &'static [Group] {
        &MENU
    }

    /// Whether what changes something is offered.
    pub(crate) fn operates(&self) -> bool {
        self.role.has(Right::Operate)
    }

    pub(crate) fn reads_content(&self) -> bool {
        self.role.has(Right::Content)
    }

    pub(crate) fn administers(&self) -> bool {
        self.role.has(Right::Administer)
    }
}
