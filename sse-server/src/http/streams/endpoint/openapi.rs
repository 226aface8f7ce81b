//! What endpoints are, for programs: OpenAPI 3.2, whose `itemSchema` says what one event of a
//! stream is.

use serde_json::{Map, Value, json};

use super::{CHANNEL, Endpoint, Endpoints};

impl Endpoints {
    /// A description of these endpoints, below this path (empty for none), in OpenAPI 3.2: to be
    /// served as `openapi.json`, or to become a part of the application's.
    pub fn openapi(&self, title: &str, version: &str, below: &str) -> Value {
        let paths = self.iter().map(|(endpoint, _)| {
            let path = format!("{below}{}", endpoint.path().replace("{*", "{"));
            (path, json!({"get": operation(endpoint)}))
        });
        json!({
            "openapi": "3.2.0",
            "info": {"title": title, "version": version},
            "paths": paths.collect::<Map<_, _>>(),
        })
    }
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut content = json!({"text/event-stream": {"itemSchema": item(endpoint)}});
    let mut headers = Map::new();
    if endpoint.state.is_some() {
        content["application/json"] = json!({"schema": {}});
        let text = "With application/json: the position after which a stream goes on.";
        headers.insert(
            "Last-Event-ID".to_owned(),
            json!({"description": text, "schema": {"type": "string"}}),
        );
    }
    let refusal = |text: &str| json!({"description": text});
    json!({
        "summary": format!("Events of {}", endpoint.channels_in_words()),
        "parameters": parameters(endpoint),
        "responses": {
            "200": {"description": "The stream", "headers": headers, "content": content},
            "400": refusal("The client comes back after a stream-error, which is final"),
            "401": refusal("Credentials are missing, or do not hold"),
            "503": refusal("Not now; Retry-After says when"),
        },
    })
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let text = json!({"type": "string"});
    let list = json!({"type": "array", "items": text});
    let of_path = endpoint.parameters.iter();
    let mut all: Vec<Value> = of_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": text}))
        .collect();
    let names_channel = endpoint.parameters.iter().any(|name| name == CHANNEL);
    if endpoint.channels_count() == 0 && !names_channel {
        all.push(json!({"name": "channel", "in": "query", "required": true, "schema": list}));
    }
    if endpoint.types().is_none() {
        let name = "messages_types";
        all.push(json!({"name": name, "in": "query", "explode": false, "schema": list}));
    }
    for (name, place) in [("lastEventId", "query"), ("Last-Event-ID", "header")] {
        all.push(json!({"name": name, "in": place, "schema": text}));
    }
    all
}

/// One event: those that were described, or any.
fn item(endpoint: &Endpoint) -> Value {
    let event = |event_type: Value, data: Value| {
        json!({
            "type": "object",
            "properties": {
                "event": event_type,
                "id": {"type": "string"},
                "data": data,
            },
            "required": ["data"],
        })
    };
    let text = json!({"type": "string"});
    if endpoint.schemas.is_empty() {
        let event_type = match endpoint.types() {
            Some(types) => json!({"enum": types.names()}),
            None => text.clone(),
        };
        return event(event_type, text);
    }
    let described = endpoint.schemas.iter().map(|(event_type, schema)| {
        let media = "application/json";
        let data = json!({"type": "string", "contentMediaType": media, "contentSchema": schema});
        event(json!({"const": event_type}), data)
    });
    let control = ["stream-open", "stream-reset", "stream-error", "keep-alive"];
    let control = event(json!({"enum": control}), text.clone());
    json!({"oneOf": described.chain([control]).collect::<Vec<_>>()})
}
