//! A client of `sse-fuzz hostile` in a page, as `fuzz/examples/native.rs` is one without a browser:
//! the page's script calls `follow`, and hands on what it says.
//!
//! `cargo xtask test` has it go through all cases, by `sse-client-wasm/tests/hostile.rs`.

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this is for pages: see the file");
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(target_family = "wasm")]
mod page {
    use std::error::Error;
    use std::time::Duration;

    use js_sys::{Function, Reflect};
    use sse_client::{EventSource, Item};
    use wasm_bindgen::JsValue;
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen::prelude::wasm_bindgen;
    use web_sys::AbortSignal;

    /// The suite waits for a client to notice silence, and not for minutes.
    const SILENCE: Duration = Duration::from_secs(3);

    /// Reads until the stream is over, or `signal` aborts it. `task` has texts: the `url`, the
    /// `name` and the `value` of a header, the `method`, the `body` (empty: none). `say` is called
    /// with the type, the data and the id of each event.
    #[wasm_bindgen]
    #[expect(unreachable_pub, reason = "wasm-bindgen wants it, and JavaScript reaches it")]
    pub async fn follow(task: JsValue, say: Function, signal: AbortSignal) -> Result<(), String> {
        read(&task, &say, &signal).await.map_err(|error| error.to_string())
    }

    async fn read(
        task: &JsValue,
        say: &Function,
        signal: &AbortSignal,
    ) -> Result<(), Box<dyn Error>> {
        let text = |name: &str| -> Result<String, String> {
            let value = Reflect::get(task, &name.into()).ok();
            value.and_then(|value| value.as_string()).ok_or_else(|| format!("no {name}"))
        };
        let mut builder = EventSource::builder(text("url")?).method(text("method")?.parse()?);
        builder = builder.header(text("name")?, text("value")?);
        let body = text("body")?;
        if !body.is_empty() {
            builder = builder.body(body);
        }
        let config = |config: sse_client::SessionConfig| {
            config.connect_timeout(SILENCE).idle_timeout(Some(SILENCE))
        };
        let mut source = builder.session(config).build()?;
        let handle = source.handle();
        if signal.aborted() {
            return Ok(());
        }
        signal.set_onabort(Some(&Closure::once_into_js(move || handle.close()).into()));
        while let Some(item) = source.next().await {
            match item {
                Ok(Item::Event(event)) => {
                    let [kind, data, id] =
                        [event.event_type(), event.data(), event.last_event_id()]
                            .map(JsValue::from);
                    drop(say.call3(&JsValue::UNDEFINED, &kind, &data, &id));
                }
                Ok(_) => {}
                Err(error) if error.is_final() => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(())
    }
}
