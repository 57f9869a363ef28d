//! The OpenAPI document, made from the handlers.

use std::collections::BTreeMap;

use ops::Verb;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, RefOr, Required, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};

use crate::code::Code;
use crate::problem::Problem;

/// The refusals that any request under `/api/v1` can meet.
pub(crate) struct Refusals;
/// Those of a request that names something.
pub(crate) struct NotFound;
/// Those of a request that cannot be done as things stand.
pub(crate) struct Conflict;
/// Those of a request with a body.
pub(crate) struct BodyRefusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (
                "400",
                "Something in the request is not valid; `field` names it",
            ),
            ("401", "The key is missing or not valid"),
            ("403", "The key does not allow this"),
            ("421", "The Host header names another server"),
            ("503", "Not possible at present: try again later"),
        ])
    }
}

impl IntoResponses for NotFound {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[("404", "Not found")])
    }
}

impl IntoResponses for Conflict {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(
            "409",
            "Not possible in the current state; `detail` gives the reason",
        )])
    }
}

impl IntoResponses for BodyRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            ("408", "The body did not arrive in time"),
            ("413", "The body is too large"),
            ("415", "The Content-Type is not supported"),
        ])
    }
}

fn problems(list: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let response = |(status, what): &(&str, &str)| {
        let schema = utoipa::openapi::Ref::from_schema_name(Problem::name());
        let content = Content::new(Some(RefOr::Ref(schema)));
        let response = ResponseBuilder::new()
            .description(*what)
            .content("application/problem+json", content);
        ((*status).to_owned(), RefOr::T(response.build()))
    };
    list.iter().map(response).collect()
}

// Octets and no text: clients made from the document must not decode it.
/// A whole mail.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct WholeMail(#[expect(dead_code, reason = "only its schema is used")] Vec<u8>);

/// The verb in the path of an action.
pub(crate) struct VerbParam;

impl IntoParams for VerbParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let words: Vec<&str> = Verb::ALL.iter().map(|v| v.word()).collect();
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(words));
        let parameter = ParameterBuilder::new()
            .name("verb")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("What to do"))
            .schema(Some(schema));
        vec![parameter.build()]
    }
}

struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A key made by `sendoff key add NAME --scope …`. `admin` includes `read`; each of `send`, `read` and \
             `admin` includes `read-own`, which gives access to mail that was submitted with a key of the same \
             name.",
        ));
        let codes = Code::ALL.iter().map(|code| {
            let [word, status, meaning, todo] = code.row();
            serde_json::json!({ "code": word, "status": status, "meaning": meaning, "what_to_do": todo })
        });
        let codes = serde_json::Value::from_iter(codes);
        let extensions = utoipa::openapi::extensions::Extensions::builder();
        document.extensions = Some(extensions.add("x-error-codes", codes).build());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme.build()));
    }
}

/// What the document says besides the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sendoff",
        description = "Submit mail, look at the queue, and manage waiting mail.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    tags(
        (name = "messages", description = "Submit mail and look at its status"),
        (name = "queue", description = "Waiting mail, and why it waits"),
        (name = "sites", description = "Where mail goes"),
        (name = "suppressions", description = "Recipients that no more mail is sent to"),
        (name = "events", description = "Events: what happened to each recipient; and webhooks"),
        (name = "server", description = "The server as a whole"),
        (name = "watching", description = "For monitoring: no key is needed, but only clients in \
                                           console.metrics_networks are allowed"),
    ),
    components(schemas(Problem)),
    modifiers(&Key)
)]
pub(crate) struct Document;
