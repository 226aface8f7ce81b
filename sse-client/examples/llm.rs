//! Asks a language model, and prints its answer as it comes, from any server with OpenAI's API.
//!
//! `cargo run --example llm -- http://127.0.0.1:11434/v1 MODEL 'Why SSE?'`
//!
//! With `--no-default-features --features json,hyper-rustls` it asks by hyper, and reqwest is not
//! built at all. A key is taken from the variable `API_KEY`.

use std::error::Error;
use std::io::Write;

use sse_client::EventSource;

#[derive(serde::Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<serde_json::Value>,
}

#[derive(serde::Deserialize)]
struct Choice {
    delta: Delta,
}

#[derive(serde::Deserialize)]
struct Delta {
    content: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().ok_or("give the URL of an API, up to /v1")?;
    let model = arguments.next().ok_or("give a model")?;
    let prompt = arguments.next().ok_or("give a prompt")?;

    let request = serde_json::json!({
        "model": model,
        "stream": true,
        "messages": [{"role": "user", "content": prompt}],
    });
    // It may think for minutes, and an answer without its mark at the end is not whole.
    let url = format!("{}/chat/completions", base.trim_end_matches('/'));
    let mut builder = EventSource::openai(url).json(&request);
    if let Ok(key) = std::env::var("API_KEY") {
        builder = builder.bearer_token(key);
    }
    // A POST is asked only once, so whatever goes wrong ends this with an error that says what.
    let mut chunks = builder.events()?.json::<Chunk>();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if let Some(error) = chunk.error {
            return Err(format!("the server says: {error}").into());
        }
        for choice in chunk.choices {
            print!("{}", choice.delta.content.unwrap_or_default());
        }
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
