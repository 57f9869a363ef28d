//! docs/api.md, made from the OpenAPI document in docs/openapi.json, which `sendoff openapi` prints.
//!
//! That the document is what the code says is a test of the crate `console`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

const DOCUMENT: &str = "docs/openapi.json";
const PAGE: &str = "docs/api.md";
/// What stands above the generated part.
const INTRODUCTION: &str = "\
# HTTP

<!-- Generated from the code by `cargo xtask docs`. Do not edit. -->

HTTP is answered at `console.address`, 127.0.0.1:8025 unless it is set, or at each `[[http]]`
([several addresses, reverse proxies](running.md#http-addresses-and-reverse-proxies)). The same as a document for
programs (OpenAPI 3.1): [openapi.json](openapi.json), from a running server
`/api/v1/openapi.json`, or `sendoff openapi`.

```sh
key=$(sendoff key add web --scope send --senders shop.example)   # shown once
curl http://127.0.0.1:8025/api/v1/messages \\
     -H \"Authorization: Bearer $key\" -H \"Idempotency-Key: order-4711\" \\
     -H \"Content-Type: application/json\" \\
     -d '{\"from\": \"Shop <orders@shop.example>\", \"to\": [\"bob@example.net\"],
          \"subject\": \"Your order\", \"text\": \"Thank you.\\n\"}'
printf 'From: Ann <ann@shop.example>\\nSubject: Hello\\n\\nHello.\\n' > mail.eml
curl \"http://127.0.0.1:8025/api/v1/messages?from=ann@shop.example&to=bob@example.net\" \\
     -H \"Authorization: Bearer $key\" -H \"Content-Type: message/rfc822\" --data-binary @mail.eml
```

These ask the server that runs with the default configuration, `sendoff serve`; `sendoff` finds another one's keys by
`--config FILE`, as the server does.

Everything under `/api/v1` but the document needs a key with the scope named, from this computer too.
Errors are `application/problem+json` (RFC 9457): `code` is for programs ([all of them](#errors)), `detail` says why,
`field` what of the request is wrong, `remedy` what to do. A request must be addressed (Host) to `hostname`,
a loopback name or one of `console.hosts`; for health and metrics any name will do. A time is written as RFC 3339 has it, `2026-01-31T08:00:00Z`.

## Clients in your language

Generate one from [openapi.json](openapi.json). These two are checked for every build:

- Python: `openapi-python-client generate --path openapi.json` (PyPI). To send whole messages too, give it a `--config`
  file with `content_type_overrides: {message/rfc822: application/octet-stream}`.
- TypeScript: `npx -p typescript@5 -p openapi-typescript openapi-typescript openapi.json -o schema.d.ts`, and `createClient<paths>()` of `openapi-fetch` (npm).

Web frameworks send by SMTP with the mailer that they have: [frameworks.md](frameworks.md).

## What a key may do

| scope | allows |
|---|---|
| `send` | to submit mail, and everything that `read-own` allows |
| `read-own` | to see the queue, the history, the events and the status of mail that was submitted with a key of the same name |
| `read` | to see all of that of everybody's mail, and the state of the server |
| `admin` | everything that an administrator can do; includes `read`, not `send` |

`sendoff key add NAME --scope send,read`. Mail still belongs to its key when the key is revoked: a key that is created
later with the same name has access to it. `sendoff key add shop-reader --scope read-own --for shop` makes a key for a second
program that sees what `shop` submits, and nothing else.

To change a secret without an outage: `sendoff key rotate shop` shows a new one, and the old one stays valid beside it.
Change the programs, then end the old one: `sendoff key rotate shop --finish`. `sendoff key list` shows since when two are
valid. The name stays, and with it the mail, its limits and its Idempotency-Keys.

## The result of a message

The answer to a message says for each recipient whether it was accepted; `GET /api/v1/messages/ID` gives the result
for each. A message is accepted if one of its recipients is: others may be refused because they are suppressed, unknown in a
local domain, or too many. Those have the status `refused`, with the reason, in the answer and later:

```json
{\"id\": \"6h0c99hdr00\", \"subject\": \"Your order\", \"recipients\": [
  {\"address\": \"bob@example.net\", \"status\": \"delivered\", \"reply\": \"250 2.0.0 OK\", \"attempts\": 1},
  {\"address\": \"eve@example.net\", \"status\": \"refused\", \"reply\": \"550 eve@example.net is on the suppression list\",
   \"refusal\": \"suppressed\", \"attempts\": 0}]}
```

(Some fields are left out here.) To learn it as it happens, use events: [webhooks.md](webhooks.md).

`POST /api/v1/messages/batch` takes up to 500 mails in one request. Each has its own result, with the status that it would
have had alone, and the request as a whole is answered with 200 unless all are refused for good: look at each.

## Test keys

`sendoff key add trial --scope send --test` makes a key for tests. What it submits is checked like all mail, and shown in
the queue, the history and events, with `test`. It never leaves this server: it is not sent to any server and not stored in
any mailbox, no report about it is sent, it does not count for a quota, and it puts nobody on the suppression list. This is
stored with the message, so it also applies after a restart, and when the key is revoked.

Recipients are shown as delivered. Those at `sendoff.test`, a domain that cannot exist in DNS, say what is to happen:

| address | simulates |
|---|---|
| `delivered@sendoff.test` | a delivery |
| `deferred@sendoff.test` | a first attempt that is deferred, and a second that delivers; `sendoff queue retry ID` does not wait for it |
| `failed@sendoff.test` | a final refusal |
| `bounced@sendoff.test` | a delivery, and a bounce after that (event `bounced`) |
| `complained@sendoff.test` | a delivery, and a complaint after that (event `complained`) |

What follows a `+` is yours: `bounced+order7@sendoff.test`. Any other name there is refused when it is submitted
(`unknown-test-address`). For other keys these are
addresses like any other: they do not exist. The log and the metrics count tests with the rest; replies in the log begin
with `simulated`.

## Tags and metadata

A program can label its mail, and find it by that later: `tags` are words (`[\"invoice\", \"2026-01\"]`), `metadata` are
names with values (`{\"order\": \"4711\"}`). Lists of the queue, the history and every event show them, and
`tag:invoice` and `meta:order=4711` select by them ([filters](cli.md#which-messages)). They do not leave this server.

By SMTP and `sendmail`, and in a mail that is sent whole, header fields say the same:

```
X-Sendoff-Tag: invoice, 2026-01
X-Sendoff-Meta-Order: 4711
```

They count only from those who may submit mail: users who have logged in, trusted networks, keys, and programs on this
computer. They are removed from every mail before it is signed, whoever sent it: left in a stranger's mail, they would
become labels when a program here forwards it. Do not cover them by a DKIM signature of your own. Values are in
UTF-8 or in encoded words (RFC 2047), and names become lower case.

A mail has at most 32 tags, each of at most 256 octets, without commas, and at most 32 entries of metadata. A name
has at most 64 letters, digits and `-` `_` `.`, and is the same in upper and lower case; a value has at most 256 octets.
What does not fit is refused, with 400 by HTTP, by 554 5.6.0 by SMTP, and by a failure message of `sendmail`: mail that
its sender would not find again is better not sent unnoticed.
";
/// What stands above the table of errors' codes.
const ERRORS: &str = "
## Errors

`code` says which error it is; later versions may add codes, so treat one that you do not know by its status: 429 and 5xx
may be repeated later, other 4xx not without a change. A recipient that is refused has `refusal` in the same way, beside
`code` and `reason`: `suppressed`, `bad-address` (an address of this server's that stands for nobody, or no longer),
`no-mailboxes` (a local domain without mailboxes), `too-many`, `unknown-test-address` ([test keys](#test-keys)), or
`refused` for the rest. A message that is
refused because each recipient is has them in `recipients`, as the answer to an accepted one.

| code | status | meaning | what to do |
|---|---|---|---|
";
/// The methods that a path may have, in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Asks the code for the document, and writes it and the page.
pub(crate) fn write(root: &Path) -> Result<()> {
    let output = Command::new("cargo")
        .args(["run", "--quiet", "--package", "sendoff", "--", "openapi"])
        .current_dir(root)
        .output()
        .context("sendoff openapi")?;
    if !output.status.success() {
        bail!(
            "sendoff openapi: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::write(root.join(DOCUMENT), &output.stdout).context(DOCUMENT)?;
    fs::write(root.join(PAGE), page(root)?).context(PAGE)
}

/// Whether the page is what the document says.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let is = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    if is == page(root)? {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{PAGE}: is not what {DOCUMENT} says; run `cargo xtask docs`"
    )])
}

fn page(root: &Path) -> Result<String> {
    let text = fs::read_to_string(root.join(DOCUMENT)).context(DOCUMENT)?;
    let document: Value = serde_json::from_str(&text).context(DOCUMENT)?;
    Ok(format!("{INTRODUCTION}{}", render(&document)))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn object<'a>(value: &'a Value, pointer: &str) -> Vec<(&'a String, &'a Value)> {
    let map = value.pointer(pointer).and_then(Value::as_object);
    map.map(Map::iter).into_iter().flatten().collect()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn render(document: &Value) -> String {
    let mut page = codes_text(document);
    for tag in list(document, "tags") {
        let name = text(tag, "name");
        page += &format!("\n## {name}\n\n{}.\n", text(tag, "description"));
        for (path, item) in object(document, "/paths") {
            for method in METHODS {
                if let Some(operation) = item.get(method)
                    && list(operation, "tags").iter().any(|t| t == name)
                {
                    page += &operation_text(path, method, operation);
                }
            }
        }
    }
    page += "\n## Objects\n";
    for (name, schema) in object(document, "/components/schemas") {
        page += &schema_text(name, schema);
    }
    page
}

/// The table of errors' codes.
fn codes_text(document: &Value) -> String {
    let codes = list(document, "x-error-codes");
    if codes.is_empty() {
        return String::new();
    }
    let mut page = String::from(ERRORS);
    for code in codes {
        page += &format!(
            "| `{}` | {} | {} | {} |\n",
            text(code, "code"),
            text(code, "status"),
            sentence(text(code, "meaning")),
            text(code, "what_to_do")
        );
    }
    page
}

fn operation_text(path: &str, method: &str, operation: &Value) -> String {
    let mut page = format!(
        "\n### `{} {path}`\n\n{}.",
        method.to_uppercase(),
        text(operation, "summary")
    );
    for line in text(operation, "description").lines() {
        page += &format!("\n{line}");
    }
    page += "\n";
    let scopes: Vec<&str> = list(operation, "security")
        .iter()
        .flat_map(|one| list(one, "key"))
        .filter_map(Value::as_str)
        .collect();
    if !scopes.is_empty() {
        page += &format!("\nScope: `{}`.\n", scopes.join("`, `"));
    }
    let parameters = list(operation, "parameters");
    if !parameters.is_empty() {
        page += "\n| parameter | in | type | meaning |\n|---|---|---|---|\n";
    }
    for parameter in parameters {
        let schema = parameter.get("schema").unwrap_or(&Value::Null);
        page += &format!(
            "| `{}` | {} | {} | {} |\n",
            text(parameter, "name"),
            text(parameter, "in"),
            type_of(schema),
            sentence(text(parameter, "description"))
        );
    }
    let bodies = contents(operation.get("requestBody").unwrap_or(&Value::Null));
    if !bodies.is_empty() {
        page += &format!("\nBody: {}.\n", bodies.join(", or "));
    }
    page += "\n| status | answer |\n|---|---|\n";
    for (status, response) in object(operation, "/responses") {
        let what = text(response, "description");
        let is_problem = response
            .pointer("/content/application~1problem+json")
            .is_some();
        let body = match (is_problem, contents(response).as_slice()) {
            (true, _) | (false, []) => String::new(),
            (false, bodies) => format!(": {}", bodies.join(", ")),
        };
        page += &format!("| {status} | {what}{body} |\n");
    }
    page
}

/// The media types of a body with their types.
fn contents(body: &Value) -> Vec<String> {
    let one = |(media, content): (&String, &Value)| {
        let schema = content.get("schema").unwrap_or(&Value::Null);
        format!("{} as `{media}`", type_of(schema))
    };
    object(body, "/content").into_iter().map(one).collect()
}

fn schema_text(name: &str, schema: &Value) -> String {
    let mut page = format!("\n### {name}\n");
    let description = text(schema, "description");
    if !description.is_empty() {
        page += &format!("\n{description}\n");
    }
    let (one_of, values) = (list(schema, "oneOf"), list(schema, "enum"));
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(|v| format!("`{v}`")).collect();
        page += &format!("\nOne of {}.\n", values.join(", "));
    }
    for (number, choice) in one_of.iter().enumerate() {
        let before = if number > 0 { "Or: " } else { "" };
        let value = list(choice, "enum").first();
        let value = value.map(|v| format!("`{v}`: ")).unwrap_or_default();
        page += &format!("\n{before}{value}{}\n", text(choice, "description"));
        page += &fields_text(choice);
    }
    for part in list(schema, "allOf") {
        if part.get("$ref").is_some() {
            page += &format!("\nThe fields of {}, and:\n", type_of(part));
        }
        page += &fields_text(part);
    }
    page + &fields_text(schema)
}

fn fields_text(schema: &Value) -> String {
    let fields = object(schema, "/properties");
    if fields.is_empty() {
        return String::new();
    }
    let required = list(schema, "required");
    let mut page = String::from("\n| field | type | meaning |\n|---|---|---|\n");
    for (name, field) in fields {
        let needed = match required.iter().any(|r| r == name.as_str()) {
            true => "",
            false => ", optional",
        };
        let meaning = text(field, "description").replace('\n', " ");
        page += &format!("| `{name}` | {}{needed} | {meaning} |\n", type_of(field));
    }
    page
}

/// A type in words.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap_or(name);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let choices = list(schema, "oneOf");
    if let Some(choice) = choices.iter().find(|c| text(c, "type") != "null") {
        return type_of(choice);
    }
    let values = list(schema, "enum");
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(|v| format!("`{v}`")).collect();
        return values.join(", ").replace('"', "");
    }
    let names = list(schema, "type").iter().filter_map(Value::as_str);
    let kind = names
        .chain(schema.get("type").and_then(Value::as_str))
        .find(|name| *name != "null");
    match kind {
        Some("array") => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            format!("list of {}", type_of(items))
        }
        Some("string") if text(schema, "format") == "date-time" => "time".to_owned(),
        Some("string") => "text".to_owned(),
        Some("integer") => "number".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "anything".to_owned(),
    }
}

/// A description as a sentence in one line.
fn sentence(text: &str) -> String {
    let text = text.replace('\n', " ").replace('|', "\\|");
    match text.ends_with('.') || text.is_empty() {
        true => text,
        false => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_and_an_object_are_shown() {
        let document = serde_json::json!({
            "tags": [{ "name": "queue", "description": "What waits" }],
            "paths": { "/q/{id}": { "get": {
                "tags": ["queue"], "summary": "Show one", "security": [{ "key": ["read"] }],
                "parameters": [{ "name": "id", "in": "path", "description": "Its id",
                                 "schema": { "type": ["string", "null"] } }],
                "responses": {
                    "200": { "description": "It", "content": { "application/json": {
                        "schema": { "$ref": "#/components/schemas/One" } } } },
                    "404": { "description": "None", "content": { "application/problem+json": {
                        "schema": { "$ref": "#/components/schemas/One" } } } }
                }
            } } },
            "components": { "schemas": { "One": { "description": "A thing.",
                "required": ["n"], "properties": {
                    "n": { "type": "integer", "description": "How\nmany." },
                    "l": { "type": "array", "items": { "type": "string" } } } },
                "Two": { "allOf": [{ "$ref": "#/components/schemas/One" },
                    { "type": "object", "properties": { "m": { "type": "string" } } }] } } }
        });
        let expected = "\n## queue\n\nWhat waits.\n\n### `GET /q/{id}`\n\nShow one.\n\n\
            Scope: `read`.\n\n| parameter | in | type | meaning |\n|---|---|---|---|\n\
            | `id` | path | text | Its id. |\n\n| status | answer |\n|---|---|\n\
            | 200 | It: [One](#one) as `application/json` |\n| 404 | None |\n\n## Objects\n\n\
            ### One\n\nA thing.\n\n| field | type | meaning |\n|---|---|---|\n\
            | `l` | list of text, optional |  |\n| `n` | number | How many. |\n\n\
            ### Two\n\nThe fields of [One](#one), and:\n\n| field | type | meaning |\n|---|---|---|\n\
            | `m` | text, optional |  |\n";
        assert_eq!(render(&document), expected);
    }
}
