//! `[[sender]]`: other senders towards a relay.

use deliver::{SenderRule, SenderRuleError, SenderRules};
use mail::Domain;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw;

pub(super) fn rules(
    list: &[Spanned<raw::Sender>],
    place: &Place<'_>,
    hostname: &Domain,
    local: &intake::LocalDomains,
) -> Result<SenderRules, ConfigError> {
    let rules: Result<Vec<SenderRule>, ConfigError> =
        list.iter().map(|entry| rule(entry, place)).collect();
    Ok(SenderRules::new(rules?, hostname, local.domains()))
}

fn rule(entry: &Spanned<raw::Sender>, place: &Place<'_>) -> Result<SenderRule, ConfigError> {
    let given = entry.get_ref();
    let (Some(matching), Some(becomes)) = (&given.matching, &given.becomes) else {
        return Err(place.wrong(
            entry.span(),
            "a [[sender]] rule needs the keys match and as",
        ));
    };
    let reply_to = given.reply_to.unwrap_or(true);
    let rule = SenderRule::parse(matching.get_ref(), becomes.get_ref(), reply_to);
    rule.map_err(|why| {
        let (key, text) = match why {
            SenderRuleError::Matching => ("sender.match", matching),
            SenderRuleError::Replacement => ("sender.as", becomes),
        };
        place.key(text.span(), key, format!("`{}`: {why}", text.get_ref()))
    })
}
