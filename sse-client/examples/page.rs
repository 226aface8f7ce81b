//! Tails a stream in a page, without a framework: the same crate, on the browser's `fetch`.
//!
//! `cargo build --example page --target wasm32-unknown-unknown`, then `wasm-bindgen --target web`
//! with the file that this makes. A page loads it by a module script and has an element `events`:
//!
//! ```html
//! <ul id=events data-url='/events/?channel=test'></ul>
//! <script type=module>import start from './page.js'; start()</script>
//! ```

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this is for pages: see the file");
}

#[cfg(target_family = "wasm")]
fn main() {
    page::start();
}

#[cfg(target_family = "wasm")]
mod page {
    use sse_client::{EventSource, Item};
    use wasm_bindgen::JsValue;
    use web_sys::{Element, Url};

    pub(super) fn start() {
        wasm_bindgen_futures::spawn_local(async {
            if let Err(error) = tail().await {
                web_sys::console::error_1(&error);
            }
        });
    }

    async fn tail() -> Result<(), JsValue> {
        let document = web_sys::window().and_then(|window| window.document());
        let document = document.ok_or("there is no document")?;
        let list = document.get_element_by_id("events").ok_or("there is no element \"events\"")?;
        // The crate wants the whole URL, as everywhere else.
        let url = list.get_attribute("data-url").unwrap_or_default();
        let base = document.base_uri()?.unwrap_or_default();
        let url = Url::new_with_base(&url, &base)?.href();
        let mut source = EventSource::get(url).build().map_err(|error| error.to_string())?;
        let show = |list: &Element, text: &str| -> Result<(), JsValue> {
            let line = document.create_element("li")?;
            line.set_text_content(Some(text));
            list.prepend_with_node_1(&line)
        };
        while let Some(item) = source.next().await {
            match item {
                Ok(Item::Event(event)) => show(&list, event.data())?,
                Ok(Item::Waiting { why, .. }) => show(&list, &format!("({why}; trying again)"))?,
                Ok(Item::Reset { .. }) => show(&list, "(some are missing)")?,
                Ok(_) => {}
                Err(error) => show(&list, &format!("({error})"))?,
            }
        }
        Ok(())
    }
}
