//! Reads what clients write: JSON bodies and query parameters. Every mistake is a [`Problem`] that names the field and
//! what to write.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::problem::{Code, Problem};
use crate::spelling::nearest;

/// The largest body that is read.
const LARGEST: usize = 64 * 1024;

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A JSON body, and its bytes as they came.
#[derive(Debug)]
pub(crate) struct Json<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(
                Problem::new(Code::BodyNotJson, "Send `Content-Type: application/json`.").at("Content-Type")
            );
        }
        let Raw(bytes) = Raw::from_request(request, state).await?;
        let value = read(&bytes)?;
        Ok(Self { value, bytes })
    }
}

/// A body as it came, whatever it is.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = Limited::new(request.into_body(), LARGEST).collect();
        let collected = tokio::time::timeout(PATIENCE, body)
            .await
            .map_err(|_| Problem::new(Code::RequestTimeout, "The body did not come within 10 seconds."))?;
        Ok(Self(collected.map_err(|error| cut_off(&*error))?.to_bytes()))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn cut_off(error: &(dyn std::error::Error + 'static)) -> Problem {
    if error.is::<LengthLimitError>() {
        Problem::new(Code::BodyTooLarge, "The body has more than 65536 bytes.")
    } else {
        Problem::new(Code::RequestMalformed, "The body broke off.")
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        refuse(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| refuse("", &error))?;
    Ok(value)
}

fn refuse(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let said = text.split(" at line ").next().unwrap_or_default();
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => {
            let at = format!("line {} column {}", error.line(), error.column());
            Problem::new(Code::RequestMalformed, format!("The body is not JSON at {at}: {said}."))
        }
        Category::Data => wrong_data(path, said),
    }
}

/// `said` is serde's own sentence; its words are those of the generated code, and the tests below hold us to them.
fn wrong_data(path: &str, said: &str) -> Problem {
    let named = said.split('`').nth(1).unwrap_or_default();
    let parent = path.trim_end_matches('?').trim_end_matches('.');
    let within = |name: &str| match parent {
        "" => name.to_owned(),
        parent if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    if said.starts_with("unknown field ") {
        let field = within(named);
        let detail = match nearest(named, expected(said)) {
            Some(nearest) => format!("There is no field `{field}`; did you mean `{nearest}`?"),
            None => format!("There is no field `{field}`; known here are {}.", list(expected(said))),
        };
        return Problem::new(Code::FieldUnknown, detail).at(field);
    }
    if said.starts_with("missing field ") {
        let field = within(named);
        return Problem::new(Code::FieldMissing, format!("Add the field `{field}`.")).at(field);
    }
    if said.starts_with("duplicate field ") {
        let field = within(named);
        return Problem::new(Code::FieldInvalid, format!("`{field}` comes twice; write it once.")).at(field);
    }
    let field = if parent.is_empty() { "the body" } else { parent };
    let detail = if said.starts_with("unknown variant ") {
        match nearest(named, expected(said)) {
            Some(nearest) => format!("`{field}`: `{named}` is not known here; did you mean `{nearest}`?"),
            None => format!("`{field}`: `{named}` is not known here; write one of {}.", list(expected(said))),
        }
    } else {
        format!("`{field}`: {said}.")
    };
    let problem = Problem::new(Code::FieldInvalid, detail);
    if parent.is_empty() { problem } else { problem.at(parent) }
}

/// The names between back-quotes, the first one aside.
fn expected(said: &str) -> impl Iterator<Item = &str> {
    said.split('`').skip(3).step_by(2)
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Query parameters, of which every name is known.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a URI's query.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail = match nearest(name, known.iter().copied()) {
                    Some(nearest) => format!("There is no parameter `{name}`; did you mean `{nearest}`?"),
                    None => {
                        format!(
                            "There is no parameter `{name}`; known here are {}.",
                            list(known.iter().copied())
                        )
                    }
                };
                return Err(Problem::new(Code::FieldUnknown, detail).at(name));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::invalid(name, &pairs[index].1, "comes twice; write the parameter once"));
            }
        }
        Ok(Self { pairs })
    }

    /// A parameter, when it is there, as `parse` understands it; `rule` says what to write.
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        rule: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some((_, text)) = self.pairs.iter().find(|(found, _)| found == name) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| Problem::invalid(name, text, rule))
    }

    /// `limit`: 1 to `most`, or what is usual.
    pub(crate) fn limit(&self, usual: u32, most: u32) -> Result<u32, Problem> {
        let rule = format!("is not a limit; write 1 to {most}");
        let limit = |text: &str| text.parse().ok().filter(|limit| (1..=most).contains(limit));
        Ok(self.parsed("limit", &rule, limit)?.unwrap_or(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{PlaceCall, TransferCall};

    fn place(text: &str) -> Problem {
        read::<PlaceCall>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_is_not_json_is_told_by_line_and_column() {
        for (text, place_of) in [
            ("", "line 1 column 0"),
            ("{\n \"to\": }", "line 2 column 8"),
            ("{\"to\": \"1\"} x", "line 1 column 13"),
        ] {
            let problem = place(text);

            assert_eq!(problem.code, Code::RequestMalformed, "{text}");
            assert!(problem.detail.contains(place_of), "{text}: {}", problem.detail);
        }
        assert_eq!(place(&"[".repeat(10_000)).code, Code::FieldInvalid);
        let deep = format!("{{\"context\":{{\"merge_fields\":{{\"a\":{}", "[".repeat(10_000));
        assert_eq!(place(&deep).code, Code::RequestMalformed);
    }

    #[test]
    fn a_wrong_body_names_the_field_and_the_nearest_there_is() {
        let cases = [
            ("{}", Code::FieldMissing, "to", "Add the field `to`."),
            (
                "{\"to\":\"1\",\"tp\":1}",
                Code::FieldUnknown,
                "tp",
                "There is no field `tp`; did you mean `to`?",
            ),
            (
                "{\"to\":\"1\",\"ringtimeout_sec\":1}",
                Code::FieldUnknown,
                "ringtimeout_sec",
                "There is no field `ringtimeout_sec`; did you mean `ring_timeout_sec`?",
            ),
            (
                "{\"to\":\"1\",\"context\":{\"campain_id\":\"x\"}}",
                Code::FieldUnknown,
                "context.campain_id",
                "There is no field `context.campain_id`; did you mean `campaign_id`?",
            ),
            (
                "{\"to\":\"1\",\"answering_machine\":{}}",
                Code::FieldMissing,
                "answering_machine.detect",
                "Add the field `answering_machine.detect`.",
            ),
            ("{\"to\":1}", Code::FieldInvalid, "to", "`to`: invalid type: integer `1`, expected a string."),
            (
                "{\"to\":\"1\",\"mode\":\"ai_frist\"}",
                Code::FieldInvalid,
                "mode",
                "`mode`: `ai_frist` is not known here; did you mean `ai_first`?",
            ),
            (
                "{\"to\":\"1\",\"headers\":{\"X-A\":1}}",
                Code::FieldInvalid,
                "headers.X-A",
                "`headers.X-A`: invalid type: integer `1`, expected a string.",
            ),
            (
                "{\"to\":\"1\",\"ring_timeout_sec\":-1}",
                Code::FieldInvalid,
                "ring_timeout_sec",
                "`ring_timeout_sec`: invalid value: integer `-1`, expected u32.",
            ),
            ("{\"to\":\"1\",\"to\":\"2\"}", Code::FieldInvalid, "to", "`to` comes twice; write it once."),
        ];
        for (text, code, field, detail) in cases {
            let problem = place(text);

            assert_eq!(problem.detail, detail, "{text}");
            assert_eq!((problem.code, problem.field.as_deref()), (code, Some(field)), "{text}");
        }
    }

    #[test]
    fn a_wrong_call_id_and_a_wrong_element_of_a_list_are_fields_at_fault() {
        let body = r#"{"call_id":"x","to":{}}"#;
        let wrong_id = read::<TransferCall>(body.as_bytes()).unwrap_err();
        let body = r#"{"call_id":"call_00000000000000000000000001","to":{},"then":[{"nmber":"1"}]}"#;
        let wrong_element = read::<TransferCall>(body.as_bytes()).unwrap_err();

        assert_eq!(wrong_id.field.as_deref(), Some("call_id"));
        assert!(wrong_id.detail.contains("a call id is `call_`"), "{}", wrong_id.detail);
        assert_eq!(wrong_element.field.as_deref(), Some("then[0].nmber"));
    }

    #[test]
    fn query_parameters_are_as_strict_as_fields() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let known = ["status", "limit"];

        let unknown = Query::read(&uri("/x?statsu=ended"), &known).unwrap_err();
        let twice = Query::read(&uri("/x?limit=1&limit=2"), &known).unwrap_err();
        let query = Query::read(&uri("/x?limit=500"), &known).unwrap();

        assert_eq!(unknown.detail, "There is no parameter `statsu`; did you mean `status`?");
        assert_eq!(twice.field.as_deref(), Some("limit"));
        assert_eq!(
            query.limit(50, 200).unwrap_err().detail,
            "`limit`: `500` is not a limit; write 1 to 200."
        );
        assert_eq!(Query::read(&uri("/x"), &known).unwrap().limit(50, 200), Ok(50));
    }
}
