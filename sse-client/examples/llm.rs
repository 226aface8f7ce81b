//! Asks a language model, and prints its answer as it comes, from any server with OpenAI's API.
//!
//! `cargo run --features json --example llm -- http://127.0.0.1:11434/v1 MODEL 'Why SSE?'`
//!
//! A key is taken from the variable `API_KEY`.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

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
    let mut builder = EventSource::post(format!("{}/chat/completions", base.trim_end_matches('/')))
        .json(&request)
        // Without it, the answer is not whole.
        .must_end_with("[DONE]")
        // It may think for long before it says the first word, and between two.
        .session(|config| {
            let config = config.connect_timeout(Duration::from_secs(600));
            config.idle_timeout(Some(Duration::from_secs(300)))
        });
    if let Ok(key) = std::env::var("API_KEY") {
        builder = builder.bearer_token(key);
    }
    // A POST is asked only once, so whatever goes wrong ends this with an error that says what.
    let mut chunks = builder.build()?.json::<Chunk>();
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
