//! docs/webhooks.schema.json, and the table of fields in docs/webhooks.md, made from docs/openapi.json.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

const DOCUMENT: &str = "docs/openapi.json";
const SCHEMA: &str = "docs/webhooks.schema.json";
const PAGE: &str = "docs/webhooks.md";
/// Around the generated part of the page.
const BEGIN: &str = "<!-- Generated from the code by `cargo xtask docs`: -->\n";
const END: &str = "<!-- Until here. -->\n";

/// Writes the schema and the table.
pub(crate) fn write(root: &Path) -> Result<()> {
    let (schema, page) = made(root)?;
    fs::write(root.join(SCHEMA), schema).context(SCHEMA)?;
    fs::write(root.join(PAGE), page).context(PAGE)
}

/// Whether both are what the document says.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let (schema, page) = made(root)?;
    let differs = |name: &str, made: &str| {
        let is = fs::read_to_string(root.join(name)).unwrap_or_default();
        let why = format!("{name}: is not what {DOCUMENT} says; run `cargo xtask docs`");
        (is != made).then_some(why)
    };
    let found = [differs(SCHEMA, &schema), differs(PAGE, &page)];
    Ok(found.into_iter().flatten().collect())
}

fn made(root: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(root.join(DOCUMENT)).context(DOCUMENT)?;
    let document: Value = serde_json::from_str(&text).context(DOCUMENT)?;
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    Ok((schema(&document)?, with_table(&page, &document)?))
}

fn of<'a>(document: &'a Value, name: &str) -> Result<&'a Value> {
    let found = document.pointer(&format!("/components/schemas/{name}"));
    found.with_context(|| format!("{DOCUMENT}: no {name}"))
}

/// The schema of the body of a request.
fn schema(document: &Value) -> Result<String> {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What a webhook of Sendoff is told",
        "type": "object",
        "required": ["version", "webhook", "replay", "events"],
        "properties": {
            "version": { "type": "integer", "description": "The version of the events' fields." },
            "webhook": { "type": "string", "description": "The webhook's name." },
            "replay": { "type": "boolean", "description": "The events are told again on demand." },
            "events": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/EventView" } },
        },
        "$defs": {
            "EventView": of(document, "EventView")?,
            "EventReply": of(document, "EventReply")?,
            "EventType": of(document, "EventType")?,
        },
    });
    let text = serde_json::to_string_pretty(&schema)?;
    Ok(text.replace("#/components/schemas/", "#/$defs/") + "\n")
}

fn with_table(page: &str, document: &Value) -> Result<String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .context("docs/webhooks.md: no begin")?;
    let (_, after) = rest.split_once(END).context("docs/webhooks.md: no end")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(document)?))
}

/// A row for each field.
fn table(document: &Value) -> Result<String> {
    let view = of(document, "EventView")?;
    let fields = view.pointer("/properties").and_then(Value::as_object);
    let fields = fields.context("docs/openapi.json: EventView has no fields")?;
    let mut out = "\n| field | type | meaning |\n|---|---|---|\n".to_owned();
    for (name, field) in fields {
        let part = |pointer: &str| field.pointer(pointer).and_then(Value::as_str);
        let kind = match (name.as_str(), field.get("type")) {
            (_, Some(Value::String(kind))) => kind.clone(),
            (_, Some(Value::Array(kinds))) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                kinds.collect::<Vec<_>>().join(" or ")
            }
            ("type", _) => "string".to_owned(),
            (_, Some(_) | None) => "object or null".to_owned(),
        };
        let text = part("/description").or_else(|| part("/oneOf/0/description"));
        let text = text.unwrap_or("What happened.").replace('\n', " ");
        out += &format!("| `{name}` | {kind} | {text} |\n");
    }
    out.push('\n');
    Ok(out)
}
