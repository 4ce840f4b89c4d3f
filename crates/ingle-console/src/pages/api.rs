//! The API as a page for people, made of the document that programs read.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde_json::Value;

use crate::{
    api::DOCUMENT,
    context::{Context, Top},
    problem::Problem,
    view::page,
};

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage {
    top: Top,
    reference: &'static Reference,
}

/// What the document says.
#[derive(Debug, Default)]
struct Reference {
    description: String,
    operations: Vec<Operation>,
    schemas: Vec<Schema>,
}

#[derive(Debug)]
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Parameter>,
    body: Vec<Word>,
    example: String,
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    place: String,
    is_required: bool,
    kind: Vec<Word>,
    description: String,
    example: Option<Value>,
}

#[derive(Debug)]
struct Answer {
    status: String,
    description: String,
    body: Vec<Word>,
    headers: Vec<String>,
}

#[derive(Debug)]
struct Schema {
    name: String,
    description: String,
    /// Those whose fields it has as well.
    parts: Vec<Word>,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    is_required: bool,
    kind: Vec<Word>,
    description: String,
}

/// A part of what is said of a type: some words, or the name of a schema, which is a link to it.
#[derive(Debug)]
enum Word {
    Text(String),
    Schema(String),
}

pub(crate) async fn get(context: Context) -> Result<Response, Problem> {
    static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
        Reference::of(&document)
    });
    Ok(page(StatusCode::OK, &ApiPage { top: context.top("api"), reference: &REFERENCE }))
}

/// The page is at one address, below which the API is.
pub(crate) async fn lead(context: Context) -> Response {
    Redirect::permanent(&context.base.to("/api/v1/")).into_response()
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl Reference {
    fn of(document: &Value) -> Self {
        let part = |path| document.pointer(path).unwrap_or(&Value::Null);
        let operations = fields(part("/paths")).flat_map(|(path, item)| {
            let of_method = |method| Some(Operation::of(method, path, item, item.get(method)?));
            METHODS.into_iter().filter_map(of_method)
        });
        let schemas = fields(part("/components/schemas"));
        Self {
            description: text(part("/info/description")),
            operations: in_order(operations.collect(), |operation| &operation.path),
            schemas: in_order(
                schemas.map(|(name, schema)| Schema::of(name, schema)).collect(),
                |schema| &schema.name,
            ),
        }
    }
}

/// In the order of the document, where each is named once as a field.
fn in_order<T>(mut all: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    all.sort_by_key(|one| DOCUMENT.find(&format!("\"{}\": {{", name(one))));
    all
}

impl Operation {
    fn of(method: &str, path: &str, item: &Value, operation: &Value) -> Self {
        let parameters = items(&item["parameters"]).chain(items(&operation["parameters"]));
        let parameters: Vec<_> = parameters.map(Parameter::of).collect();
        let content = content(&operation["requestBody"]);
        let body = content.get("example");
        let method = method.to_uppercase();
        Self {
            id: text(&operation["operationId"]),
            example: example(&method, path, &parameters, body),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            body: kind(&content["schema"], ""),
            answers: fields(&operation["responses"]).map(Answer::of).collect(),
            parameters,
            method,
        }
    }
}

impl Parameter {
    fn of(parameter: &Value) -> Self {
        Self {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            is_required: parameter["required"] == true,
            kind: kind(&parameter["schema"], ANYTHING),
            description: text(&parameter["description"]),
            example: parameter.get("example").cloned(),
        }
    }
}

impl Answer {
    fn of((status, answer): (&String, &Value)) -> Self {
        Self {
            status: status.clone(),
            description: text(&answer["description"]),
            body: kind(&content(answer)["schema"], ""),
            headers: fields(&answer["headers"]).map(|(name, _)| name.clone()).collect(),
        }
    }
}

impl Schema {
    fn of(name: &str, schema: &Value) -> Self {
        let (named, own): (Vec<_>, Vec<_>) =
            items(&schema["allOf"]).partition(|part| part.get("$ref").is_some());
        let own = own.into_iter().chain([schema]);
        Self {
            name: name.to_owned(),
            description: text(&schema["description"]),
            parts: named.into_iter().flat_map(|part| kind(part, ANYTHING)).collect(),
            fields: own.flat_map(Field::all).collect(),
        }
    }
}

impl Field {
    fn all(schema: &Value) -> impl Iterator<Item = Self> {
        fields(&schema["properties"]).map(|(name, field)| Self {
            name: name.clone(),
            is_required: items(&schema["required"]).any(|required| required == name),
            kind: kind(field, ANYTHING),
            description: text(&field["description"]),
        })
    }
}

/// The type of a schema that names none.
const ANYTHING: &str = "anything";

/// The type of a schema in words.
fn kind(schema: &Value, otherwise: &str) -> Vec<Word> {
    let word = |text: String| vec![Word::Text(text)];
    if let Some((_, name)) = schema["$ref"].as_str().and_then(|path| path.rsplit_once('/')) {
        return vec![Word::Schema(name.to_owned())];
    }
    if let Some(values) = schema["enum"].as_array() {
        return word(values.iter().map(text).collect::<Vec<_>>().join(", "));
    }
    if let Some(options) = schema["oneOf"].as_array() {
        let options = options.iter().map(|option| kind(option, ANYTHING));
        return options.reduce(|one, other| joined(one, " or ", other)).unwrap_or_default();
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => {
            joined(word("list of ".to_owned()), "", kind(&schema["items"], ANYTHING))
        }
        Value::String(name) => word(match schema["format"].as_str() {
            Some(format) => format!("{name} ({format})"),
            None => name.clone(),
        }),
        Value::Array(names) => word(names.iter().map(text).collect::<Vec<_>>().join(" or ")),
        _ if otherwise.is_empty() => Vec::new(),
        _ => word(otherwise.to_owned()),
    }
}

fn joined(mut words: Vec<Word>, between: &str, others: Vec<Word>) -> Vec<Word> {
    words.push(Word::Text(between.to_owned()));
    words.extend(others);
    words
}

/// How one asks by curl.
fn example(method: &str, path: &str, parameters: &[Parameter], body: Option<&Value>) -> String {
    let mut path = path.to_owned();
    let (mut options, mut query) = (vec!["curl".to_owned()], Vec::new());
    for parameter in parameters {
        let Some(value) = parameter.example.as_ref().map(text) else { continue };
        let name = &parameter.name;
        match &*parameter.place {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            "header" => options.push(format!("-H '{name}: {value}'")),
            _ => query.push(format!("--data-urlencode '{name}={value}'")),
        }
    }
    if method != "GET" {
        options.push(format!("-X {method}"));
    }
    options.push("-H \"$LOGIN\"".to_owned());
    if !query.is_empty() {
        options.push("--get".to_owned());
        options.append(&mut query);
    }
    let mut command = format!("{} \"$CONSOLE{path}\"", options.join(" "));
    if let Some(body) = body {
        let body = body.to_string().replace('\'', "'\\''");
        command.push_str(&format!(" \\\n  --json '{body}'"));
    }
    command
}

/// What is said of a body.
fn content(of: &Value) -> &Value {
    fields(&of["content"]).next().map_or(&Value::Null, |(_, content)| content)
}

/// A text as it is, nothing as an empty one, and anything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
